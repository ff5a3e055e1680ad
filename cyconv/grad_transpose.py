"""Gradients of transposed convolution; public through :mod:`cyconv.grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyconv import _grad_conv
from cyconv._arrays import Array
from cyconv.conv_plan import Padding, Size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "conv_transpose1d_input",
    "conv_transpose1d_weight",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "conv_transpose3d_input",
    "conv_transpose3d_weight",
]


def conv_transpose2d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv_transpose2d` with respect to its input: a convolution.

    .. math:: dx_{n,c,i} = \sum_{k,r} w_{c,k,r} \; g_{n,\;k,\;i s + r d - p}

    Parameters
    ----------
    input_size : sequence of int
        Shape of x, in its rank and layout.
    weight : array_like
        ``(C, K // groups, R, S)`` or ``(R, S)``.
    grad_output : array_like
        Gradient of the result, in the result's shape.
    stride, padding, output_padding, groups, dilation, layout
        As in :func:`cyconv.conv_transpose2d`, with the values that it had.
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
        As :func:`cyconv.conv_transpose2d`; shapes that do not belong together are a ValueError that names both.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv_transpose2d_input((2, 2), np.ones((2, 2)), np.ones((4, 4)), stride=2)
    array([[4., 4.],
           [4., 4.]])
    """
    return _grad_conv.transposed_input(
        2, input_size, weight, grad_output, stride, padding, output_padding, dilation, groups, layout, out,
        num_threads,
    )  # fmt: skip


def conv_transpose1d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv_transpose1d` with respect to its input; see :func:`conv_transpose2d_input`.

    Parameters
    ----------
    input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, layout, out, num_threads
        As in :func:`conv_transpose2d_input`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`conv_transpose2d_input`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv_transpose2d_input`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv_transpose1d_input((2,), np.array([1.0, 2.0]), np.ones(4), stride=2)
    array([3., 3.])
    """
    return _grad_conv.transposed_input(
        1, input_size, weight, grad_output, stride, padding, output_padding, dilation, groups, layout, out,
        num_threads,
    )  # fmt: skip


def conv_transpose3d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv_transpose3d` with respect to its input; see :func:`conv_transpose2d_input`.

    Parameters
    ----------
    input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, layout, out, num_threads
        As in :func:`conv_transpose2d_input`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`conv_transpose2d_input`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv_transpose2d_input`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv_transpose3d_input((1, 2, 2, 2), np.ones((1, 3, 2, 2, 2)), np.ones((3, 3, 3, 3))).shape
    (1, 2, 2, 2)
    """
    return _grad_conv.transposed_input(
        3, input_size, weight, grad_output, stride, padding, output_padding, dilation, groups, layout, out,
        num_threads,
    )  # fmt: skip


def conv_transpose2d_weight(
    x: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv_transpose2d` with respect to its weight.

    .. math:: dw_{c,k,r} = \sum_{n,i} x_{n,c,i} \; g_{n,\;k,\;i s + r d - p}

    The bias gradient is that of a convolution, :func:`conv2d_bias`.

    Parameters
    ----------
    x : array_like
        The input of the transposed convolution.
    weight_size : sequence of int
        Shape of the weight: ``(C, K // groups, R, S)`` or ``(R, S)``.
    grad_output : array_like
        Gradient of the result, in the result's shape.
    stride, padding, output_padding, groups, dilation, layout
        As in :func:`cyconv.conv_transpose2d`, with the values that it had.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        Of shape `weight_size`, with the error bound of :func:`conv2d_weight` for N H W products.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`cyconv.conv_transpose2d`; shapes that do not belong together are a ValueError that names both.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv_transpose2d_weight(np.array([[1.0, 2.0], [3.0, 4.0]]), (2, 2), np.ones((4, 4)), stride=2)
    array([[10., 10.],
           [10., 10.]])
    """
    return _grad_conv.transposed_weight(
        2, x, weight_size, grad_output, stride, padding, output_padding, dilation, groups, layout, out,
        num_threads,
    )  # fmt: skip


def conv_transpose1d_weight(
    x: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv_transpose1d` with respect to its weight; see :func:`conv_transpose2d_weight`.

    Parameters
    ----------
    x, weight_size, grad_output, stride, padding, output_padding, groups, dilation, layout, out, num_threads
        As in :func:`conv_transpose2d_weight`, with one spatial axis.

    Returns
    -------
    ndarray
        As :func:`conv_transpose2d_weight`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv_transpose2d_weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv_transpose1d_weight(np.array([1.0, 2.0]), (2,), np.ones(4), stride=2)
    array([3., 3.])
    """
    return _grad_conv.transposed_weight(
        1, x, weight_size, grad_output, stride, padding, output_padding, dilation, groups, layout, out,
        num_threads,
    )  # fmt: skip


def conv_transpose3d_weight(
    x: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Gradient of :func:`cyconv.conv_transpose3d` with respect to its weight; see :func:`conv_transpose2d_weight`.

    Parameters
    ----------
    x, weight_size, grad_output, stride, padding, output_padding, groups, dilation, layout, out, num_threads
        As in :func:`conv_transpose2d_weight`, with three spatial axes.

    Returns
    -------
    ndarray
        As :func:`conv_transpose2d_weight`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv_transpose2d_weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import grad
    >>> grad.conv_transpose3d_weight(np.ones((1, 2, 2, 2)), (1, 3, 2, 2, 2), np.ones((3, 3, 3, 3))).shape
    (1, 3, 2, 2, 2)
    """
    return _grad_conv.transposed_weight(
        3, x, weight_size, grad_output, stride, padding, output_padding, dilation, groups, layout, out,
        num_threads,
    )  # fmt: skip
