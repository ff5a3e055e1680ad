"""Pooling to a given size, and over all of a plane: the public functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from cyconv import _checks
from cyconv._arrays import Array
from cyconv._plans.pooling import MAX, SUM
from cyconv._pooling import Adaptive, OutputSize, find_max, run_pool

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "global_avg_pool1d",
    "global_avg_pool2d",
    "global_avg_pool3d",
    "global_max_pool1d",
    "global_max_pool2d",
    "global_max_pool3d",
]


def adaptive_avg_pool2d(
    x: ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average windows of images that divide them into a given number of parts.

    Window i of O along an axis of H cells has the cells r with

    .. math:: \lfloor i H / O \rfloor \le r < \lceil (i + 1) H / O \rceil

    so that windows differ by at most one cell in size and may overlap by one; the result may also be larger than x.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        float16, bfloat16, float32 or float64, any strides. It is never written to.
    output_size : int, None or sequence of them
        Cells of the result along all axes, or along each; None keeps the size of the input.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in x and in the result.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap x.
    num_threads : int, optional
        Threads of this call, instead of :func:`get_num_threads`. No bit of the result depends on it.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, ``output_size`` cells.

    Raises
    ------
    TypeError
        An argument of a wrong type, or an integer image.
    ValueError
        A size below 1, or too large for any memory.
    MemoryError
        The result cannot be had.

    Notes
    -----
    The bound of the error is that of :func:`avg_pool2d`.

    References
    ----------
    PyTorch, ``torch.nn.functional.adaptive_avg_pool2d``, whose windows these are.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import adaptive_avg_pool2d
    >>> adaptive_avg_pool2d(np.arange(12.0).reshape(3, 4), 2)
    array([[2.5, 4.5],
           [6.5, 8.5]])
    """
    return run_pool(SUM, 2, x, Adaptive, (output_size,), layout, out, num_threads)


def adaptive_avg_pool1d(
    x: ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average windows of signals that divide them into a given number of parts.

    .. math:: \lfloor i H / O \rfloor \le r < \lceil (i + 1) H / O \rceil

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``.
    output_size, out, num_threads
        As in :func:`adaptive_avg_pool2d`.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`adaptive_avg_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_avg_pool2d`.

    References
    ----------
    As :func:`adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import adaptive_avg_pool1d
    >>> adaptive_avg_pool1d(np.arange(5.0), 2)
    array([1., 3.])
    """
    return run_pool(SUM, 1, x, Adaptive, (output_size,), layout, out, num_threads)


def adaptive_avg_pool3d(
    x: ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average windows of volumes that divide them into a given number of parts.

    .. math:: \lfloor i H / O \rfloor \le r < \lceil (i + 1) H / O \rceil

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``.
    output_size, out, num_threads
        As in :func:`adaptive_avg_pool2d`.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`adaptive_avg_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_avg_pool2d`.

    References
    ----------
    As :func:`adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import adaptive_avg_pool3d
    >>> adaptive_avg_pool3d(np.ones((8, 5, 6, 7)), (2, None, 1)).shape
    (8, 2, 6, 1)
    """
    return run_pool(SUM, 3, x, Adaptive, (output_size,), layout, out, num_threads)


@overload
def adaptive_max_pool2d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: Literal[False] = False, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array: ...  # fmt: skip


@overload
def adaptive_max_pool2d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: Literal[True], layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> tuple[Array, Array]: ...  # fmt: skip


@overload
def adaptive_max_pool2d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: bool, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array | tuple[Array, Array]: ...  # fmt: skip


def adaptive_max_pool2d(
    x: ArrayLike,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array | tuple[Array, Array]:
    r"""Take the maximum of windows of images that divide them into a given number of parts.

    Window i of O along an axis of H cells has the cells r with

    .. math:: \lfloor i H / O \rfloor \le r < \lceil (i + 1) H / O \rceil

    so that windows differ by at most one cell in size and may overlap by one; the result may also be larger than x.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        any real dtype, any strides. It is never written to.
    output_size : int, None or sequence of them
        Cells of the result along all axes, or along each; None keeps the size of the input.
    return_indices : bool
        Also return where each maximum is, as :func:`max_pool2d` does.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in x and in the result.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap x.
    num_threads : int, optional
        Threads of this call, instead of :func:`get_num_threads`. No bit of the result depends on it.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, ``output_size`` cells. With indices: a pair.

    Raises
    ------
    TypeError
        An argument of a wrong type, or a complex image.
    ValueError
        A size below 1, or too large for any memory.
    MemoryError
        The result cannot be had.

    Notes
    -----
    NaN spreads; ties are resolved as in :func:`max_pool2d`.

    References
    ----------
    PyTorch, ``torch.nn.functional.adaptive_max_pool2d``, whose windows these are.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import adaptive_max_pool2d
    >>> adaptive_max_pool2d(np.arange(12).reshape(3, 4), (2, 1))
    array([[ 7],
           [11]])
    """
    if _checks.as_flag("return_indices", return_indices):
        return find_max(2, x, Adaptive, (output_size,), layout, out, num_threads)
    return run_pool(MAX, 2, x, Adaptive, (output_size,), layout, out, num_threads)


@overload
def adaptive_max_pool1d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: Literal[False] = False, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array: ...  # fmt: skip


@overload
def adaptive_max_pool1d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: Literal[True], layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> tuple[Array, Array]: ...  # fmt: skip


@overload
def adaptive_max_pool1d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: bool, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array | tuple[Array, Array]: ...  # fmt: skip


def adaptive_max_pool1d(
    x: ArrayLike,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array | tuple[Array, Array]:
    r"""Take the maximum of windows of signals that divide them into a given number of parts.

    .. math:: \lfloor i H / O \rfloor \le r < \lceil (i + 1) H / O \rceil

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``.
    output_size, return_indices, out, num_threads
        As in :func:`adaptive_max_pool2d`.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`adaptive_max_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_max_pool2d`.

    References
    ----------
    As :func:`adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import adaptive_max_pool1d
    >>> adaptive_max_pool1d(np.array([4, 1, 2, 5, 3]), 2, return_indices=True)
    (array([4, 5]), array([0, 3]))
    """
    if _checks.as_flag("return_indices", return_indices):
        return find_max(1, x, Adaptive, (output_size,), layout, out, num_threads)
    return run_pool(MAX, 1, x, Adaptive, (output_size,), layout, out, num_threads)


@overload
def adaptive_max_pool3d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: Literal[False] = False, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array: ...  # fmt: skip


@overload
def adaptive_max_pool3d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: Literal[True], layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> tuple[Array, Array]: ...  # fmt: skip


@overload
def adaptive_max_pool3d(
    x: ArrayLike, output_size: OutputSize, *,
    return_indices: bool, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array | tuple[Array, Array]: ...  # fmt: skip


def adaptive_max_pool3d(
    x: ArrayLike,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array | tuple[Array, Array]:
    r"""Take the maximum of windows of volumes that divide them into a given number of parts.

    .. math:: \lfloor i H / O \rfloor \le r < \lceil (i + 1) H / O \rceil

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``.
    output_size, return_indices, out, num_threads
        As in :func:`adaptive_max_pool2d`.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`adaptive_max_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_max_pool2d`.

    References
    ----------
    As :func:`adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import adaptive_max_pool3d
    >>> adaptive_max_pool3d(np.ones((8, 5, 6, 7)), (2, None, 1)).shape
    (8, 2, 6, 1)
    """
    if _checks.as_flag("return_indices", return_indices):
        return find_max(3, x, Adaptive, (output_size,), layout, out, num_threads)
    return run_pool(MAX, 3, x, Adaptive, (output_size,), layout, out, num_threads)


def global_avg_pool2d(
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average the whole of every channel.

    .. math:: y_{n,c} = \frac{1}{P} \sum_p x_{n,c,p}

    where p runs over the H*W plane of a channel.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        float16, bfloat16, float32 or float64.
    layout : {"NCHW", "NHWC"}
        Where the channels are.
    out, num_threads
        As in :func:`avg_pool2d`.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, with spatial axes ``(1, 1)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_avg_pool2d`.

    Notes
    -----
    The bound of the error is that of :func:`avg_pool2d`.

    References
    ----------
    ONNX operator GlobalAveragePool, https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import global_avg_pool2d
    >>> global_avg_pool2d(np.array([[1.0, 2.0], [3.0, 6.0]]))
    array([[3.]])
    """
    return run_pool(SUM, 2, x, Adaptive, (1,), layout, out, num_threads)


def global_avg_pool1d(
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average the whole of every channel.

    .. math:: y_{n,c} = \frac{1}{P} \sum_p x_{n,c,p}

    where p runs over the W cells of a channel.

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``;
        float16, bfloat16, float32 or float64.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.
    out, num_threads
        As in :func:`avg_pool1d`.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, with spatial axes ``(1)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_avg_pool2d`.

    Notes
    -----
    The bound of the error is that of :func:`avg_pool2d`.

    References
    ----------
    ONNX operator GlobalAveragePool, https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import global_avg_pool1d
    >>> global_avg_pool1d(np.array([1.0, 2.0, 6.0]))
    array([3.])
    """
    return run_pool(SUM, 1, x, Adaptive, (1,), layout, out, num_threads)


def global_avg_pool3d(
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average the whole of every channel.

    .. math:: y_{n,c} = \frac{1}{P} \sum_p x_{n,c,p}

    where p runs over the D*H*W volume of a channel.

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``;
        float16, bfloat16, float32 or float64.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.
    out, num_threads
        As in :func:`avg_pool3d`.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, with spatial axes ``(1, 1, 1)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_avg_pool2d`.

    Notes
    -----
    The bound of the error is that of :func:`avg_pool2d`.

    References
    ----------
    ONNX operator GlobalAveragePool, https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import global_avg_pool3d
    >>> global_avg_pool3d(np.array([[[1.0, 2.0], [3.0, 6.0]]]))
    array([[[3.]]])
    """
    return run_pool(SUM, 3, x, Adaptive, (1,), layout, out, num_threads)


def global_max_pool2d(
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Take the maximum over the whole of every channel.

    .. math:: y_{n,c} = \max_p x_{n,c,p}

    where p runs over the H*W plane of a channel.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        any real dtype.
    layout : {"NCHW", "NHWC"}
        Where the channels are.
    out, num_threads
        As in :func:`max_pool2d`.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, with spatial axes ``(1, 1)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_max_pool2d`.

    Notes
    -----
    NaN spreads.

    References
    ----------
    ONNX operator GlobalMaxPool, https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import global_max_pool2d
    >>> global_max_pool2d(np.array([[1.0, 2.0], [3.0, 6.0]]))
    array([[6.]])
    """
    return run_pool(MAX, 2, x, Adaptive, (1,), layout, out, num_threads)


def global_max_pool1d(
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Take the maximum over the whole of every channel.

    .. math:: y_{n,c} = \max_p x_{n,c,p}

    where p runs over the W cells of a channel.

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``;
        any real dtype.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.
    out, num_threads
        As in :func:`max_pool1d`.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, with spatial axes ``(1)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_max_pool2d`.

    Notes
    -----
    NaN spreads.

    References
    ----------
    ONNX operator GlobalMaxPool, https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import global_max_pool1d
    >>> global_max_pool1d(np.array([1.0, 2.0, 6.0]))
    array([6.])
    """
    return run_pool(MAX, 1, x, Adaptive, (1,), layout, out, num_threads)


def global_max_pool3d(
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Take the maximum over the whole of every channel.

    .. math:: y_{n,c} = \max_p x_{n,c,p}

    where p runs over the D*H*W volume of a channel.

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``;
        any real dtype.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.
    out, num_threads
        As in :func:`max_pool3d`.

    Returns
    -------
    ndarray
        In the rank and layout of x, of the dtype of x, with spatial axes ``(1, 1, 1)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`adaptive_max_pool2d`.

    Notes
    -----
    NaN spreads.

    References
    ----------
    ONNX operator GlobalMaxPool, https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import global_max_pool3d
    >>> global_max_pool3d(np.array([[[1.0, 2.0], [3.0, 6.0]]]))
    array([[[6.]]])
    """
    return run_pool(MAX, 3, x, Adaptive, (1,), layout, out, num_threads)
