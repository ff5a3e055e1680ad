"""Shapes, sizes and counts of convolution and pooling, in exact Python integers; no arrays are needed.

One axis at a time, with size H, kernel k, stride s, padding (p0, p1), dilation d::

    convolution              (H + p0 + p1 - d*(k - 1) - 1) // s + 1
    pooling                  the same; with ceil_mode the ceiling, but no window starts at H + p0 or later
    transposed convolution   (H - 1)*s - p0 - p1 + d*(k - 1) + output_padding + 1

The functions below are exported from `cyconv`; the arithmetic of one axis lies in `cyconv._axes`.
"""

from __future__ import annotations

from math import prod
from typing import TypeVar, cast

from cyconv._axes import (
    PADDING_NAMES,
    Padding,
    Pads,
    adaptive_window,
    conv_out_size,
    conv_transpose_out_size,
    dilated,
    pool_out_size,
    resolve_padding,
    resolve_transposed_padding,
    steps_taken,
)
from cyconv._scalars import Ints, as_flag, as_int, as_ints, is_sequence, naxes_of

__all__ = [
    "PADDING_NAMES",
    "Padding",
    "Pads",
    "adaptive_window",
    "conv_flops",
    "conv_out_size",
    "conv_output_shape",
    "conv_parameters",
    "conv_transpose_out_size",
    "conv_transpose_output_shape",
    "dilated",
    "linear_parameters",
    "pool_out_size",
    "pool_output_shape",
    "resolve_padding",
    "resolve_transposed_padding",
    "steps_taken",
]

Size = TypeVar("Size", int, tuple[int, ...])


def _shaped(like: object, sizes: tuple[int, ...]) -> tuple[int, ...] | int:
    return sizes if is_sequence(like) else sizes[0]


def conv_output_shape(
    input_size: Size, kernel_size: Ints, *, stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1
) -> Size:
    """Spatial shape of a convolution's output, ``(H + p0 + p1 - d*(k - 1) - 1) // s + 1`` per axis.

    Parameters
    ----------
    input_size : int or tuple of int
        Input size along one axis, or along each axis.
    kernel_size, stride, dilation : int or sequence of int
        One value for every axis, or one per axis; each at least 1.
    padding : int, sequence or str
        An int, one int per axis, a ``(before, after)`` pair per axis, ``"valid"``, ``"same"`` (also called
        ``"same_upper"``) or ``"same_lower"``. With ``"same"`` the output is ``ceil(H / stride)`` and the odd
        cell goes after; with ``"same_lower"`` it goes before.

    Returns
    -------
    int or tuple of int
        An int if `input_size` is one.

    Raises
    ------
    TypeError
        If a bool, a float or text stands where an int is meant.
    ValueError
        If a value is out of range, a length is wrong, or the kernel is larger than the padded input.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285,
    relationship 6; with dilation, relationship 15.

    Examples
    --------
    >>> conv_output_shape((224, 224), 7, stride=2, padding=3)
    (112, 112)
    >>> conv_output_shape(5, 2, padding="same", stride=2)
    3
    """
    naxes = naxes_of("input_size", input_size)
    size = as_ints("input_size", input_size, naxes, minimum=1)
    k = as_ints("kernel_size", kernel_size, naxes, minimum=1)
    s = as_ints("stride", stride, naxes, minimum=1)
    d = as_ints("dilation", dilation, naxes, minimum=1)
    pads = resolve_padding(padding, size, k, s, d)
    return cast(Size, _shaped(input_size, tuple(map(conv_out_size, size, k, s, pads, d))))


def conv_transpose_output_shape(
    input_size: Size,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
) -> Size:
    """Spatial shape of a transposed convolution's output.

    Along each axis ``(H - 1)*s - p0 - p1 + d*(k - 1) + output_padding + 1``.

    Parameters
    ----------
    input_size : int or tuple of int
        Input size along one axis, or along each axis.
    kernel_size, stride, dilation : int or sequence of int
        One value for every axis, or one per axis; each at least 1.
    padding : int, sequence or str
        As in `conv_output_shape`: what the convolution in the other direction would pad, hence cells that are
        cut off here. ``"same"`` gives an output of ``H * stride``, as ONNX defines it.
    output_padding : int or sequence of int
        Cells added after the end; smaller than the stride or the dilation.

    Returns
    -------
    int or tuple of int
        An int if `input_size` is one.

    Raises
    ------
    TypeError
        If a bool, a float or text stands where an int is meant.
    ValueError
        If a value is out of range, a sequence has the wrong length, or the padding leaves no output.

    References
    ----------
    Dumoulin and Visin, arXiv:1603.07285, relationship 14.

    Examples
    --------
    >>> conv_transpose_output_shape((7, 7), 4, stride=2, padding=1)
    (14, 14)
    """
    naxes = naxes_of("input_size", input_size)
    size = as_ints("input_size", input_size, naxes, minimum=1)
    k = as_ints("kernel_size", kernel_size, naxes, minimum=1)
    s = as_ints("stride", stride, naxes, minimum=1)
    extra = as_ints("output_padding", output_padding, naxes, minimum=0)
    d = as_ints("dilation", dilation, naxes, minimum=1)
    pads = resolve_transposed_padding(padding, k, s, extra, d)
    return cast(Size, _shaped(input_size, tuple(map(conv_transpose_out_size, size, k, s, pads, extra, d))))


def pool_output_shape(
    input_size: Size,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Size:
    """Spatial shape of pooling's output: ``floor((H + p0 + p1 - d*(k - 1) - 1) / s) + 1`` per axis.

    Parameters
    ----------
    input_size : int or tuple of int
        Input size along one axis, or along each axis.
    kernel_size, dilation : int or sequence of int
        One value for every axis, or one per axis; each at least 1.
    stride : int, sequence of int or None
        None means the kernel size: windows that touch and do not overlap.
    padding : int, sequence or str
        As in `conv_output_shape`; smaller than the dilated kernel.
    ceil_mode : bool
        Take the ceiling instead of the floor, and drop a last window that would start at ``H + p0`` or later.

    Returns
    -------
    int or tuple of int
        An int if `input_size` is one.

    Raises
    ------
    TypeError
        If a bool, a float or text stands where an int is meant, or `ceil_mode` is not a bool.
    ValueError
        If a value is out of range, a length is wrong, or the kernel is larger than the padded input.

    References
    ----------
    ONNX operators MaxPool and AveragePool, https://onnx.ai/onnx/operators/onnx__MaxPool.html

    Examples
    --------
    >>> pool_output_shape((112, 112), 3, stride=2, ceil_mode=True)
    (56, 56)
    """
    ceil_mode = as_flag("ceil_mode", ceil_mode)
    naxes = naxes_of("input_size", input_size)
    size = as_ints("input_size", input_size, naxes, minimum=1)
    k = as_ints("kernel_size", kernel_size, naxes, minimum=1)
    s = k if stride is None else as_ints("stride", stride, naxes, minimum=1)
    d = as_ints("dilation", dilation, naxes, minimum=1)
    pads = resolve_padding(padding, size, k, s, d)
    return cast(
        Size, _shaped(input_size, tuple(map(pool_out_size, size, k, s, pads, d, (ceil_mode,) * naxes)))
    )


def _check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups must divide in_channels and out_channels, got groups {groups}, "
            f"in_channels {in_channels}, out_channels {out_channels}"
        )


def conv_parameters(
    in_channels: int, out_channels: int, kernel_size: Ints, *, groups: int = 1, bias: bool = True
) -> int:
    """Count the learned numbers of a convolution: ``K * (C // groups) * R * S``, plus ``K`` with a bias.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K; at least 0.
    kernel_size : int or sequence of int
        An int means a square 2-D kernel; a sequence has one int per axis, ``(3,)`` for 1-D.
    groups : int
        Divides both channel counts.
    bias : bool
        Whether there is one bias per output channel.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value; the message names it.

    Examples
    --------
    >>> conv_parameters(1, 6, 5)
    156
    """
    c = as_int("in_channels", in_channels, minimum=0)
    k = as_int("out_channels", out_channels, minimum=0)
    g = as_int("groups", groups, minimum=1)
    _check_groups(c, k, g)
    naxes = naxes_of("kernel_size", kernel_size) if is_sequence(kernel_size) else 2
    kernel = as_ints("kernel_size", kernel_size, naxes, minimum=1)
    return k * (c // g) * prod(kernel) + (k if as_flag("bias", bias) else 0)


def linear_parameters(in_features: int, out_features: int, *, bias: bool = True) -> int:
    """Count the learned numbers of a fully connected layer: ``in * out``, plus ``out`` with a bias.

    Parameters
    ----------
    in_features, out_features : int
        At least 0.
    bias : bool
        Whether there is one bias per output feature.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value; the message names it.

    Examples
    --------
    >>> linear_parameters(28 * 28, 10)
    7850
    """
    n_in = as_int("in_features", in_features, minimum=0)
    n_out = as_int("out_features", out_features, minimum=0)
    return n_in * n_out + (n_out if as_flag("bias", bias) else 0)


def conv_flops(
    input_size: Ints,
    in_channels: int,
    out_channels: int,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> int:
    """Count the floating-point operations of a convolution of one image, by its definition.

    ``2 * K * (C // groups) * R * S * OH * OW``: a multiply-add counts as 2, products with padding count, the
    bias does not. An algorithm such as Winograd does fewer.

    Parameters
    ----------
    input_size, kernel_size : int or sequence of int
        One int per axis; ints for both mean a square image and a square kernel (2-D).
    in_channels, out_channels : int
        C and K; at least 0.
    stride, padding, dilation
        As in `conv_output_shape`.
    groups : int
        Divides both channel counts.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value; the message names it.

    Examples
    --------
    >>> conv_flops((224, 224), 3, 64, 3, padding=1)
    173408256
    """
    sizes = next((size for size in (input_size, kernel_size) if is_sequence(size)), (0, 0))
    naxes = naxes_of("input_size", sizes)
    kernel = as_ints("kernel_size", kernel_size, naxes, minimum=1)
    size = as_ints("input_size", input_size, naxes, minimum=1)
    out = conv_output_shape(size, kernel, stride=stride, padding=padding, dilation=dilation)
    return 2 * prod(out) * conv_parameters(in_channels, out_channels, kernel, groups=groups, bias=False)
