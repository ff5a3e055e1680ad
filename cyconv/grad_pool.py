"""Gradients of pooling; public through :mod:`cyconv.grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyconv import _grad_pool
from cyconv._arrays import Array
from cyconv._pooling import Size
from cyconv.geometry import Padding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


def max_pool2d(
    grad_output: ArrayLike,
    indices: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.max_pool2d` with respect to its input: each maximum passes its gradient on.

    ``dx[n, c, indices[n, c, o]] += grad_output[n, c, o]`` over all o; of equal cells the first one gets it
    all, as the indices say.

    Parameters
    ----------
    grad_output : array_like
        Gradient of the result, in the result's shape and layout.
    indices : array_like of int
        What ``max_pool2d(..., return_indices=True)`` returned; -1 stands for none.
    input_size : sequence of int
        Shape of x, in its rank and layout.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in all of them.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape `input_size`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.max_pool2d`; shapes and indices that do not belong together are a ValueError, and
        `out` is untouched then.

    References
    ----------
    ONNX operator MaxPool, https://onnx.ai/onnx/operators/onnx__MaxPool.html

    Examples
    --------
    >>> import numpy as np
    >>> import cyconv
    >>> x = np.array([[1.0, 2.0, 0.0], [4.0, 3.0, 5.0]])
    >>> y, indices = cyconv.max_pool2d(x, 2, stride=1, return_indices=True)
    >>> cyconv.grad.max_pool2d(np.array([[10.0, 20.0]]), indices, x.shape)
    array([[ 0.,  0.,  0.],
           [10.,  0., 20.]])
    """
    return _grad_pool.maximum(2, grad_output, indices, input_size, layout, out, num_threads)


def max_pool1d(
    grad_output: ArrayLike,
    indices: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.max_pool1d` with respect to its input; see :func:`max_pool2d`.

    Parameters
    ----------
    grad_output, indices, input_size, layout, out, num_threads
        As in :func:`max_pool2d`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`max_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.max_pool1d(np.array([10.0, 20.0]), np.array([1, 1]), (3,))
    array([ 0., 30.,  0.])
    """
    return _grad_pool.maximum(1, grad_output, indices, input_size, layout, out, num_threads)


def max_pool3d(
    grad_output: ArrayLike,
    indices: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.max_pool3d` with respect to its input; see :func:`max_pool2d`.

    Parameters
    ----------
    grad_output, indices, input_size, layout, out, num_threads
        As in :func:`max_pool2d`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`max_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.max_pool3d(np.ones((1, 1, 1)), np.array([[[7]]]), (2, 2, 2)).ravel()
    array([0., 0., 0., 0., 0., 0., 0., 1.])
    """
    return _grad_pool.maximum(3, grad_output, indices, input_size, layout, out, num_threads)


def adaptive_max_pool2d(
    grad_output: ArrayLike,
    indices: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.adaptive_max_pool2d` with respect to its input: each maximum passes its gradient on.

    ``dx[n, c, indices[n, c, o]] += grad_output[n, c, o]`` over all o; of equal cells the first one gets it
    all, as the indices say.

    Parameters
    ----------
    grad_output : array_like
        Gradient of the result, in the result's shape and layout.
    indices : array_like of int
        What ``adaptive_max_pool2d(..., return_indices=True)`` returned; -1 stands for none.
    input_size : sequence of int
        Shape of x, in its rank and layout.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in all of them.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape `input_size`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.adaptive_max_pool2d`; shapes and indices that do not belong together are a ValueError, and
        `out` is untouched then.

    References
    ----------
    ONNX operator MaxPool, https://onnx.ai/onnx/operators/onnx__MaxPool.html

    Examples
    --------
    >>> import numpy as np
    >>> import cyconv
    >>> x = np.array([[1.0, 2.0, 0.0], [4.0, 3.0, 5.0]])
    >>> y, indices = cyconv.adaptive_max_pool2d(x, (1, 2), return_indices=True)
    >>> cyconv.grad.adaptive_max_pool2d(np.array([[10.0, 20.0]]), indices, x.shape)
    array([[ 0.,  0.,  0.],
           [10.,  0., 20.]])
    """
    return _grad_pool.maximum(2, grad_output, indices, input_size, layout, out, num_threads)


def adaptive_max_pool1d(
    grad_output: ArrayLike,
    indices: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.adaptive_max_pool1d` with respect to its input; see :func:`adaptive_max_pool2d`.

    Parameters
    ----------
    grad_output, indices, input_size, layout, out, num_threads
        As in :func:`adaptive_max_pool2d`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`adaptive_max_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.adaptive_max_pool1d(np.array([10.0, 20.0]), np.array([1, 1]), (3,))
    array([ 0., 30.,  0.])
    """
    return _grad_pool.maximum(1, grad_output, indices, input_size, layout, out, num_threads)


def adaptive_max_pool3d(
    grad_output: ArrayLike,
    indices: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.adaptive_max_pool3d` with respect to its input; see :func:`adaptive_max_pool2d`.

    Parameters
    ----------
    grad_output, indices, input_size, layout, out, num_threads
        As in :func:`adaptive_max_pool2d`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`adaptive_max_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.adaptive_max_pool3d(np.ones((1, 1, 1)), np.array([[[7]]]), (2, 2, 2)).ravel()
    array([0., 0., 0., 0., 0., 0., 0., 1.])
    """
    return _grad_pool.maximum(3, grad_output, indices, input_size, layout, out, num_threads)


def avg_pool2d(
    grad_output: ArrayLike,
    input_size: Sequence[int],
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.avg_pool2d` with respect to its input: a window shares its gradient out evenly.

    .. math:: dx_{n,c,i} = \sum_{o \;:\; i \in window(o)} g_{n,c,o} \,/\, divisor(o)

    Parameters
    ----------
    grad_output : array_like
        Gradient of the result, in the result's shape and layout.
    input_size : sequence of int
        Shape of x, in its rank and layout.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
        As in :func:`cyconv.avg_pool2d`, with the values that the pooling had.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape `input_size`. The error of a cell that m windows hold is at most
        ``gamma(m + 5) * sum |g| / divisor``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.avg_pool2d`; shapes that do not belong together are a ValueError, and
        `out` is untouched then.

    References
    ----------
    ONNX operator AveragePool, https://onnx.ai/onnx/operators/onnx__AveragePool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.avg_pool2d(np.array([[4.0, 8.0]]), (2, 3), 2, stride=1)
    array([[1., 3., 2.],
           [1., 3., 2.]])
    """
    return _grad_pool.average(
        2, grad_output, input_size, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad,
        divisor_override, layout, out, num_threads,
    )  # fmt: skip


def avg_pool1d(
    grad_output: ArrayLike,
    input_size: Sequence[int],
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.avg_pool1d` with respect to its input; see :func:`avg_pool2d`.

    Parameters
    ----------
    grad_output, input_size, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, \
    divisor_override, layout, out, num_threads
        As in :func:`avg_pool2d`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`avg_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.avg_pool1d(np.array([1.0, 2.0]), (3,), 2, stride=1)
    array([0.5, 1.5, 1. ])
    """
    return _grad_pool.average(
        1, grad_output, input_size, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad,
        divisor_override, layout, out, num_threads,
    )  # fmt: skip


def avg_pool3d(
    grad_output: ArrayLike,
    input_size: Sequence[int],
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.avg_pool3d` with respect to its input; see :func:`avg_pool2d`.

    Parameters
    ----------
    grad_output, input_size, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, \
    divisor_override, layout, out, num_threads
        As in :func:`avg_pool2d`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`avg_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.avg_pool3d(np.ones((1, 1, 1)), (2, 2, 2), 2)[0]
    array([[0.125, 0.125],
           [0.125, 0.125]])
    """
    return _grad_pool.average(
        3, grad_output, input_size, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad,
        divisor_override, layout, out, num_threads,
    )  # fmt: skip


def adaptive_avg_pool2d(
    grad_output: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.adaptive_avg_pool2d`, and of :func:`cyconv.global_avg_pool2d`, with respect to x.

    The windows follow from `input_size` and from the shape of `grad_output`.

    Parameters
    ----------
    grad_output : array_like
        Gradient of the result, in the result's shape and layout.
    input_size : sequence of int
        Shape of x, in its rank and layout.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in both.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape `input_size`, with the error bound of :func:`avg_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.adaptive_avg_pool2d`; shapes that do not belong together are a ValueError, and
        `out` is untouched then.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.adaptive_avg_pool2d(np.array([[6.0, 12.0]]), (2, 3))
    array([[1.5, 4.5, 3. ],
           [1.5, 4.5, 3. ]])
    """
    return _grad_pool.adaptive_average(2, grad_output, input_size, layout, out, num_threads)


def adaptive_avg_pool1d(
    grad_output: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.adaptive_avg_pool1d` with respect to its input; see :func:`adaptive_avg_pool2d`.

    Parameters
    ----------
    grad_output, input_size, layout, out, num_threads
        As in :func:`adaptive_avg_pool2d`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`adaptive_avg_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.adaptive_avg_pool1d(np.array([3.0, 6.0]), (3,))
    array([1.5, 4.5, 3. ])
    """
    return _grad_pool.adaptive_average(1, grad_output, input_size, layout, out, num_threads)


def adaptive_avg_pool3d(
    grad_output: ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.adaptive_avg_pool3d` with respect to its input; see :func:`adaptive_avg_pool2d`.

    Parameters
    ----------
    grad_output, input_size, layout, out, num_threads
        As in :func:`adaptive_avg_pool2d`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`adaptive_avg_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.adaptive_avg_pool3d(np.ones((1, 1, 1)), (1, 2, 2))[0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    return _grad_pool.adaptive_average(3, grad_output, input_size, layout, out, num_threads)


def lp_pool2d(
    grad_output: ArrayLike,
    x: ArrayLike,
    output: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.lp_pool2d` with respect to its input.

    .. math:: dx_{n,c,i} = \mathrm{sign}(x_{n,c,i}) |x_{n,c,i}|^{p-1}
              \sum_{o \;:\; i \in window(o)} g_{n,c,o} \, y_{n,c,o}^{1-p}

    with p the norm; a window whose result is 0 passes nothing on, nor does a cell that is 0.

    Parameters
    ----------
    grad_output : array_like
        Gradient of the result, in the result's shape and layout.
    x, output : array_like
        Input and result of the pooling.
    norm_type : float
        Greater than 0 and finite: the norm of infinity is ``max_pool2d(abs(x))``, whose gradient needs its indices.
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in :func:`cyconv.lp_pool2d`, with the values that the pooling had.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape ``x.shape``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.lp_pool2d`; shapes that do not belong together are a ValueError, and
        `out` is untouched then.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.lp_pool2d(np.array([[1.0]]), np.array([[3.0, -4.0]]), np.array([[5.0]]), 2, (1, 2))
    array([[ 0.6, -0.8]])
    """
    return _grad_pool.lp(
        2, grad_output, x, output, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out,
        num_threads,
    )  # fmt: skip


def lp_pool1d(
    grad_output: ArrayLike,
    x: ArrayLike,
    output: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.lp_pool1d` with respect to its input; see :func:`lp_pool2d`.

    Parameters
    ----------
    grad_output, x, output, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out, num_threads
        As in :func:`lp_pool2d`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`lp_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.lp_pool1d(np.array([1.0]), np.array([3.0, -4.0]), np.array([5.0]), 2, 2)
    array([ 0.6, -0.8])
    """
    return _grad_pool.lp(
        1, grad_output, x, output, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out,
        num_threads,
    )  # fmt: skip


def lp_pool3d(
    grad_output: ArrayLike,
    x: ArrayLike,
    output: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """Gradient of :func:`cyconv.lp_pool3d` with respect to its input; see :func:`lp_pool2d`.

    Parameters
    ----------
    grad_output, x, output, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out, num_threads
        As in :func:`lp_pool2d`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`lp_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.lp_pool3d(np.ones((1, 1, 1)), np.ones((1, 2, 2)), np.full((1, 1, 1), 2.0), 2, (1, 2, 2))[0]
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    return _grad_pool.lp(
        3, grad_output, x, output, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out,
        num_threads,
    )  # fmt: skip
