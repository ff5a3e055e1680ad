"""Gradients of convolution and pooling: what a result's gradient says about input, weight and bias.

Signatures are those of ``torch.nn.grad``; every keyword of the function that is differentiated is here under the same
name, and sizes and gradients are in the same layout. With L any scalar function of the result y, ``grad_output`` is
dL/dy, and each function returns dL/d(its name).

Double backward, the gradient of a gradient, needs no functions of its own: each gradient is linear in what it is
computed from and is itself a convolution, so that these functions compose. For y = conv2d(x, w) and its gradients
dx = conv2d_input(x.shape, w, g) and dw = conv2d_weight(x, w.shape, g), and for a scalar M with the gradients
a = dM/d(dx) and b = dM/d(dw)::

    dM/dg = conv2d(a, w) + conv2d(x, b)
    dM/dw = conv2d_weight(a, w.shape, g)
    dM/dx = conv2d_input(x.shape, b, g)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyconv import _grad_conv
from cyconv._arrays import Array
from cyconv.conv_plan import Padding, Size
from cyconv.grad_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from cyconv.grad_transpose import (
    conv_transpose1d_input,
    conv_transpose1d_weight,
    conv_transpose2d_input,
    conv_transpose2d_weight,
    conv_transpose3d_input,
    conv_transpose3d_weight,
)

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
    "conv1d_bias",
    "conv1d_input",
    "conv1d_weight",
    "conv2d_bias",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_bias",
    "conv3d_input",
    "conv3d_weight",
    "conv_transpose1d_input",
    "conv_transpose1d_weight",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "conv_transpose3d_input",
    "conv_transpose3d_weight",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]



def conv2d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv2d` with respect to its input: a transposed convolution.

    .. math:: dx_{n,c,i} = \sum_{k} \sum_{o s + r d = i + p} w_{k,c,r} \; g_{n,k,o}

    With another padding mode than "zeros", the gradient of each padded cell is added to the cell that it shows.

    Parameters
    ----------
    input_size : sequence of int
        Shape of x, in its rank and layout.
    weight : array_like
        ``(K, C // groups, R, S)`` or ``(R, S)``.
    grad_output : array_like
        Gradient of the result, in the result's shape.
    stride, padding, dilation, groups, padding_mode, layout
        As in :func:`cyconv.conv2d`, with the values that the convolution had.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape `input_size`. The error of a cell is at most that of :func:`cyconv.conv2d` for K R S products.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.conv2d`; shapes that do not belong together are a ValueError that names both.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv2d_input((3, 3), np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2)))
    array([[ 1.,  3.,  2.],
           [ 4., 10.,  6.],
           [ 3.,  7.,  4.]])
    """
    return _grad_conv.conv_input(
        2, input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, layout, out,
        num_threads,
    )  # fmt: skip


def conv1d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv1d` with respect to its input; see :func:`conv2d_input`.

    Parameters
    ----------
    input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, layout, out, num_threads
        As in :func:`conv2d_input`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`conv2d_input`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d_input`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv1d_input((3,), np.array([1.0, -1.0]), np.array([1.0, 2.0]))
    array([ 1.,  1., -2.])
    """
    return _grad_conv.conv_input(
        1, input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, layout, out,
        num_threads,
    )  # fmt: skip


def conv3d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv3d` with respect to its input; see :func:`conv2d_input`.

    Parameters
    ----------
    input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, layout, out, num_threads
        As in :func:`conv2d_input`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`conv2d_input`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d_input`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv3d_input((1, 4, 4, 4), np.ones((8, 1, 3, 3, 3)), np.ones((8, 2, 2, 2))).shape
    (1, 4, 4, 4)
    """
    return _grad_conv.conv_input(
        3, input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, layout, out,
        num_threads,
    )  # fmt: skip


def conv2d_weight(
    x: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv2d` with respect to its weight: a product over the positions of the result.

    .. math:: dw_{k,c,r} = \sum_{n,o} g_{n,k,o} \; x_{n,\;c,\;o s + r d - p}

    Parameters
    ----------
    x : array_like
        The input of the convolution, in any rank of it.
    weight_size : sequence of int
        Shape of the weight: ``(K, C // groups, R, S)`` or ``(R, S)``.
    grad_output : array_like
        Gradient of the result, in the result's shape.
    stride, padding, dilation, groups, padding_mode, layout
        As in :func:`cyconv.conv2d`, with the values that the convolution had.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape `weight_size`. With n = N OH OW products a weight,
        ``|computed - exact| <= gamma(n + 1) * sum |g||x|``, ``gamma(m) = m u / (1 - m u)``,
        u the unit roundoff of the dtype that computes.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.conv2d`; shapes that do not belong together are a ValueError that names both.

    References
    ----------
    K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing",
    2006: the gradients as matrix products (here without their column matrix).

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv2d_weight(np.arange(9.0).reshape(3, 3), (2, 2), np.ones((2, 2)))
    array([[ 8., 12.],
           [20., 24.]])
    """
    return _grad_conv.conv_weight(
        2, x, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, layout, out,
        num_threads,
    )  # fmt: skip


def conv1d_weight(
    x: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv1d` with respect to its weight; see :func:`conv2d_weight`.

    Parameters
    ----------
    x, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, layout, out, num_threads
        As in :func:`conv2d_weight`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`conv2d_weight`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d_weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv1d_weight(np.array([1.0, 4.0, 9.0]), (2,), np.array([1.0, 1.0]))
    array([ 5., 13.])
    """
    return _grad_conv.conv_weight(
        1, x, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, layout, out,
        num_threads,
    )  # fmt: skip


def conv3d_weight(
    x: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv3d` with respect to its weight; see :func:`conv2d_weight`.

    Parameters
    ----------
    x, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, layout, out, num_threads
        As in :func:`conv2d_weight`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`conv2d_weight`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d_weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv3d_weight(np.ones((1, 4, 4, 4)), (8, 1, 3, 3, 3), np.ones((8, 2, 2, 2))).shape
    (8, 1, 3, 3, 3)
    """
    return _grad_conv.conv_weight(
        3, x, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, layout, out,
        num_threads,
    )  # fmt: skip


def conv2d_bias(
    grad_output: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv2d` with respect to its bias: the sum of ``grad_output`` over all but K.

    Parameters
    ----------
    grad_output : array_like
        Gradient of the result, in its rank and layout.
    layout : {"NCHW", "NHWC"}
        Where the channels are.
    out : ndarray, optional
        Where the result goes.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        ``(K,)``.

    Raises
    ------
    TypeError, ValueError
        As :func:`cyconv.conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv2d_bias(np.ones((8, 2, 4, 4)))
    array([128., 128.])
    """
    return _grad_conv.conv_bias(2, grad_output, layout, out, num_threads)


def conv1d_bias(
    grad_output: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv1d` with respect to its bias; see :func:`conv2d_bias`.

    Parameters
    ----------
    grad_output, layout, out, num_threads
        As in :func:`conv2d_bias`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`conv2d_bias`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d_bias`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv1d_bias(np.ones((8, 2, 4)))
    array([32., 32.])
    """
    return _grad_conv.conv_bias(1, grad_output, layout, out, num_threads)


def conv3d_bias(
    grad_output: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv3d` with respect to its bias; see :func:`conv2d_bias`.

    Parameters
    ----------
    grad_output, layout, out, num_threads
        As in :func:`conv2d_bias`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`conv2d_bias`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d_bias`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv3d_bias(np.ones((8, 2, 2, 2, 2)))
    array([64., 64.])
    """
    return _grad_conv.conv_bias(3, grad_output, layout, out, num_threads)
