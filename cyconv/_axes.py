"""Sizes and padding along each axis, in exact Python integers: the arithmetic behind `cyconv.geometry`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

from cyconv._scalars import as_int, is_sequence

Pads: TypeAlias = tuple[int, int]
Padding: TypeAlias = int | str | Sequence[int] | Sequence[Pads] | Sequence[int | Pads]

PADDING_NAMES = ("valid", "same", "same_upper", "same_lower")


# One axis.


def dilated(kernel: int, dilation: int) -> int:
    """Cells that a kernel spans, gaps included: the dilated kernel size."""
    return dilation * (kernel - 1) + 1


def conv_out_size(size: int, kernel: int, stride: int, pads: Pads, dilation: int) -> int:
    """Output size of a convolution along one axis, at least 1; ValueError with the formula otherwise."""
    if size < 1:
        raise ValueError(f"input size must be at least 1 along every spatial axis, got {size}")
    out = (size + pads[0] + pads[1] - dilation * (kernel - 1) - 1) // stride + 1
    if out < 1:
        raise ValueError(
            f"kernel_size {kernel} with dilation {dilation} is larger than the padded input: "
            "(size + before + after - dilation*(kernel_size - 1) - 1) // stride + 1 = "
            f"({size} + {pads[0]} + {pads[1]} - {dilation}*({kernel} - 1) - 1) // {stride} + 1 = {out}, "
            "must be at least 1"
        )
    return out


def pool_out_size(size: int, kernel: int, stride: int, pads: Pads, dilation: int, ceil_mode: bool) -> int:
    """Output size of pooling along one axis; every window starts before the end of the input."""
    span = dilated(kernel, dilation)
    if max(pads) >= span:
        raise ValueError(
            f"padding must be smaller than the dilated kernel: dilation*(kernel_size - 1) + 1 = "
            f"{dilation}*({kernel} - 1) + 1 = {span}, got padding {pads}"
        )
    out = conv_out_size(size, kernel, stride, pads, dilation)
    if ceil_mode and (size + sum(pads) - span) % stride and out * stride < size + pads[0]:
        return out + 1
    return out


def conv_transpose_out_size(
    size: int, kernel: int, stride: int, pads: Pads, output_padding: int, dilation: int
) -> int:
    """Output size of a transposed convolution along one axis; ValueError if the padding leaves nothing."""
    if size < 1:
        raise ValueError(f"input size must be at least 1 along every spatial axis, got {size}")
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"output_padding must be smaller than stride or dilation (stride {stride}, dilation {dilation}), "
            f"got {output_padding}"
        )
    out = (size - 1) * stride - pads[0] - pads[1] + dilation * (kernel - 1) + output_padding + 1
    if out < 1:
        raise ValueError(
            "padding removes the whole output: "
            "(size - 1)*stride - before - after + dilation*(kernel_size - 1) + output_padding + 1 = "
            f"({size} - 1)*{stride} - {pads[0]} - {pads[1]} + {dilation}*({kernel} - 1) + {output_padding} "
            f"+ 1 = {out}, must be at least 1"
        )
    return out


def adaptive_window(i: int, in_size: int, out_size: int) -> tuple[int, int]:
    """Input cells [start, end) that cell `i` of an adaptive pooling output averages or compares."""
    return i * in_size // out_size, -(-(i + 1) * in_size // out_size)


# All axes: the forms of `padding`.


def _split(total: int, name: str) -> Pads:
    small = total // 2
    return (total - small, small) if name == "same_lower" else (small, total - small)


def explicit_padding(padding: object, naxes: int) -> tuple[Pads, ...]:
    """Resolve an int, one int per axis, or one (before, after) pair per axis (in 1-D also a bare pair)."""
    if not is_sequence(padding):
        amount = as_int("padding", padding, minimum=0)
        return ((amount, amount),) * naxes
    items = tuple(cast("Sequence[object]", padding))
    if naxes == 1 and len(items) == 2 and not any(map(is_sequence, items)):
        items = (items,)
    if len(items) == 1 and not is_sequence(items[0]):
        items *= naxes
    if len(items) != naxes:
        raise ValueError(
            f"padding must be an int, {naxes} ints, {naxes} (before, after) pairs or one of {PADDING_NAMES}, "
            f"got {padding!r}"
        )
    pairs = []
    for item in items:
        ends = tuple(cast("Sequence[object]", item)) if is_sequence(item) else (item, item)
        if len(ends) != 2:
            raise ValueError(f"padding of one axis must be an int or a (before, after) pair, got {item!r}")
        pairs.append((as_int("padding", ends[0], minimum=0), as_int("padding", ends[1], minimum=0)))
    return tuple(pairs)


def _check_padding_name(padding: str) -> str:
    if padding not in PADDING_NAMES:
        raise ValueError(f"padding must be an int, ints, pairs or one of {PADDING_NAMES}, got {padding!r}")
    return padding


def resolve_padding(
    padding: object,
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Pads, ...]:
    """Resolve every form of `padding` to one (before, after) pair per axis.

    "same" gives an output of ceil(H / stride), with the odd cell after ("same_lower": before).
    """
    if not isinstance(padding, str):
        return explicit_padding(padding, len(input_size))
    if _check_padding_name(padding) == "valid":
        return ((0, 0),) * len(input_size)
    return tuple(
        _split(max((-(-h // s) - 1) * s + dilated(k, d) - h, 0), padding)
        for h, k, s, d in zip(input_size, kernel_size, stride, dilation, strict=True)
    )


def resolve_transposed_padding(
    padding: object,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Pads, ...]:
    """Resolve `padding` of a transposed convolution; "same" gives an output of H * stride, as in ONNX."""
    if not isinstance(padding, str):
        return explicit_padding(padding, len(kernel_size))
    if _check_padding_name(padding) == "valid":
        return ((0, 0),) * len(kernel_size)
    pads = []
    for k, s, extra, d in zip(kernel_size, stride, output_padding, dilation, strict=True):
        total = dilated(k, d) + extra - s
        if total < 0:
            raise ValueError(
                f"padding {padding!r} needs dilation*(kernel_size - 1) + 1 + output_padding to be at least "
                f"the stride, got {d}*({k} - 1) + 1 + {extra} = {total + s} with stride {s}"
            )
        pads.append(_split(total, padding))
    return tuple(pads)


def steps_taken(kernel: int, stride: int, dilation: int, out: int) -> tuple[int, int]:
    """Stride and dilation, with 1 for a step that is never taken: a huge one cannot overflow then."""
    return (stride if out > 1 else 1), (dilation if kernel > 1 else 1)
