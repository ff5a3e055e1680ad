"""What a convolution is (`ConvSpec`) and what one call of it looks like (`Call`), in three spatial axes throughout.

1-D and 2-D cases have axes of size 1 in front: ``(T, R, S) = (1, 1, S)`` for 1-D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, prod
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Triple = tuple[int, int, int]
Pairs = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
#: computes calls of one kind from x into out, both seen as (N, C, D, H, W)
Compute = Callable[[Array, Array], object]

#: ``ZEROS`` and so on of ``gather.pxd``; "symmetric" repeats the edge cell and serves ``signal``
PADDING_MODES = {"zeros": 0, "reflect": 1, "replicate": 2, "circular": 3, "symmetric": 4}
#: what ``conv*`` offers
CONV_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

#: bytes of a cache line
LINE = 64


class Activation(NamedTuple):
    """What the write-back does to each result v: v*slope if v < 0, then clip to [lo, hi]; or v*sigmoid(v)."""

    kind: str = "none"
    slope: float = 1.0
    lo: float = -inf
    hi: float = inf
    silu: bool = False

    def numbers(self, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
        """(slope, lo, hi) as kernels take them."""
        return np.array([self.slope, self.lo, self.hi], dtype)


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """A convolution layer without its numbers: weight is ``(K, C // groups, T, R, S)``."""

    in_channels: int
    out_channels: int
    kernel: Triple
    stride: Triple
    dilation: Triple
    groups: int
    padding_mode: str
    activation: Activation
    dtype: np.dtype[np.floating]
    workspace_limit: int | None = None
    """Bytes of scratch memory that a call should do with."""

    @property
    def group_inputs(self) -> int:
        return self.in_channels // self.groups

    @property
    def group_outputs(self) -> int:
        return self.out_channels // self.groups

    @property
    def taps(self) -> int:
        return prod(self.kernel)

    @property
    def depth(self) -> int:
        """Multiply-adds per output element."""
        return self.group_inputs * self.taps


class Call(NamedTuple):
    """One call: sizes, padding, and the strides (in scalars) of both arrays seen as (N, C, D, H, W)."""

    batch: int
    size: Triple
    pads: Pairs
    out: Triple
    x_strides: tuple[int, ...]
    out_strides: tuple[int, ...]

    @property
    def positions(self) -> int:
        """Output positions of one image."""
        return prod(self.out)


def strides_by_name(call: Call) -> dict[str, int]:
    """The strides of a call as the geometry of a kernel has them: those of x and of the result, which it calls y."""
    names = [f"x_{axis}" for axis in "ncdhw"] + [f"y_{axis}" for axis in "nkdhw"]
    return dict(zip(names, call.x_strides + call.out_strides, strict=True))


def exported_strides(array: Array) -> tuple[int, ...]:
    """Strides in scalars as kernels see them; for an axis of one cell NumPy may export another than its own."""
    itemsize = array.itemsize
    return tuple([step // itemsize for step in array.data.strides or ()])


def tap_offsets(weight: Array) -> Array:
    """Where each number of an output channel's weights lies, in scalars from the first; the strides may be any."""
    itemsize = weight.itemsize
    return _offsets(weight.shape[1:], tuple([step // itemsize for step in weight.strides[1:]]))


@lru_cache(maxsize=64)
def _offsets(shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    offsets = np.zeros(1, np.int64)
    for length, step in zip(shape, steps, strict=True):
        offsets = np.add.outer(offsets, np.arange(length) * step).reshape(-1)
    offsets.flags.writeable = False  # many calls share it
    return offsets


def flops(spec: ConvSpec, call: Call) -> int:
    """FLOPs by the definition, a multiply-add counted as two."""
    return 2 * call.batch * call.positions * spec.out_channels * spec.depth


def bytes_moved(spec: ConvSpec, call: Call) -> int:
    """Bytes of input, weights and result, each touched once."""
    scalars = (
        call.batch * spec.in_channels * prod(call.size)
        + spec.out_channels * spec.depth
        + call.batch * spec.out_channels * call.positions
    )
    return scalars * spec.dtype.itemsize


def missed(size: int, cache: int, room: tuple[float, float]) -> float:
    """The part of so many bytes that a cache does not keep until they are used again: none up to the first share of
    it that ``room`` names, all beyond the second."""
    some, most = room
    return min(max((size / cache - some) / (most - some), 0.0), 1.0)


def equal_segments(boxes: int, *limits: int) -> int:
    """Segments of as many boxes each, but for the last: at most these limits, as many as boxes allow."""
    return ceil(boxes / ceil(boxes / min(boxes, *limits)))


def equal_cut(length: int, most: int) -> int:
    """The size of equal cuts of at most this size."""
    return ceil(length / ceil(length / most))


def acts_as_one_axis(spec: ConvSpec, call: Call) -> bool:
    """Whether the spatial axes act as one: one tap, no padding, no stride, whole planes without gaps."""
    _, h, w = call.out
    return (
        spec.taps == 1
        and spec.stride == (1, 1, 1)
        and call.pads == ((0, 0),) * 3
        and call.size == call.out
        and all(
            (h == 1 or sh == w * sw) and (call.out[0] == 1 or sd == h * w * sw)
            for _, _, sd, sh, sw in (call.x_strides, call.out_strides)
        )
    )


def round_up(value: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-value // step) * step


def odd_lines(nbytes: int) -> int:
    """At least so many bytes, an odd number of cache lines, as ``gather.pxd`` has it: the same place in
    neighbouring blocks then lies in different sets of the cache."""
    return (-(-nbytes // LINE) | 1) * LINE


def contiguous_strides(channels: int, size: Triple, channels_last: bool) -> tuple[int, ...]:
    """Strides, in scalars, of a C-contiguous array seen as (N, C, D, H, W)."""
    plane = prod(size)
    inner = channels if channels_last else 1
    steps = (size[1] * size[2] * inner, size[2] * inner, inner)
    return (channels * plane, 1 if channels_last else plane, *steps)


def has_channels_last(spec: ConvSpec, call: Call) -> bool:
    """Whether the input has its channels last; if it has only one, whether the result has."""
    steps = call.out_strides if spec.in_channels == 1 else call.x_strides
    return 0 < abs(steps[1]) < abs(steps[4])


def contiguous(spec: ConvSpec, call: Call) -> Call:
    """The same call with both arrays contiguous, channels last where the input has them last."""
    last = has_channels_last(spec, call)
    return call._replace(
        x_strides=contiguous_strides(spec.in_channels, call.size, last),
        out_strides=contiguous_strides(spec.out_channels, call.out, last),
    )
