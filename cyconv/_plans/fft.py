"""Plan of the Fourier path: tiles, spectra of the weights, scratch, and what happens where samples are not finite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import product
from math import ceil, log2, prod
from typing import Any

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import fft_table as table
from cyconv._plans.dense import Dense
from cyconv._plans.sliding import Sliding
from cyconv._plans.spec import PADDING_MODES, Call, Compute, ConvSpec, bytes_moved, exported_strides, missed
from cyconv._plans.table import BANDWIDTH, CALL_SECONDS, CLOCK_HZ

Array = np.ndarray[Any, np.dtype[Any]]
Points = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Blocks:
    """One call's layout, in the form that the kernel takes."""

    points: Points
    valid: tuple[int, int]
    geometry: Array
    flags: tuple[int, ...]
    scratch_bytes: int
    threads: int
    seconds: float


class FFT:
    r"""Convolution as a product of Fourier transforms, tile by tile; for large kernels.

    The error of a result is bounded by norms over its tile and its neighbour's (L x L' points together with zeros
    around the kernel), not by the products that the result itself sums up:

    .. math:: |\hat y - y| \le c\, u \log_2(L L') \sum_c \|x_c\|_2 \, \|w_c\|_2

    with u the unit roundoff and c a constant of about 6 (N. J. Higham, *Accuracy and Stability of Numerical
    Algorithms*, 2nd ed., theorem 24.2). Where a picture has very large samples next to very small ones, the small
    results lose relative accuracy; ``algorithm="direct"`` does not. NaN and infinity are where the definition puts
    them: tiles with a sample or a result that is not finite are computed directly.
    """

    name = "fft"

    def __init__(self, spec: ConvSpec, weight: Array, bias: Array | None, once: bool = False) -> None:
        self.spec = spec
        self.kernel = _runtime.kernel("fft", spec.dtype)
        self._new = _memory.lent if once else _memory.empty
        self._weight = np.ascontiguousarray(weight, spec.dtype)
        self._given_bias = bias
        self._bias = np.zeros(spec.out_channels, spec.dtype)
        if bias is not None:
            self._bias[:] = bias
        self._packed: dict[Points, Array] = {}
        self._direct: dict[type[Dense] | type[Sliding], Dense | Sliding] = {}
        self._activation = spec.activation.numbers(spec.dtype)

    @staticmethod
    def supports(spec: ConvSpec) -> str | None:
        """None if this layer can be computed, else the reason why not."""
        if not _points(spec, (1, 1)):
            return (
                f"the transforms of {spec.group_inputs * spec.kernel[0]} x {spec.out_channels} kernels that span "
                f"{_extent(spec, 1)} x {_extent(spec, 2)} cells would take too much memory"
            )
        return None

    @staticmethod
    def workspace(spec: ConvSpec, call: Call, threads: int) -> int:
        """Bytes of scratch memory of such a call."""
        return blocks_for(spec, call, threads).scratch_bytes

    @staticmethod
    def estimate(spec: ConvSpec, call: Call, threads: int) -> float:
        """Seconds of such a call."""
        return blocks_for(spec, call, threads).seconds

    @staticmethod
    def packing(spec: ConvSpec, call: Call) -> float:
        """Seconds that transforming the weights takes."""
        points, kernels = blocks_for(spec, call, 1).points, spec.out_channels * spec.group_inputs * spec.kernel[0]
        written = 2 * kernels * prod(points) * spec.dtype.itemsize
        return max(_transform(spec, points) * kernels / CLOCK_HZ, 2 * written / BANDWIDTH)

    def prepare(self, call: Call, threads: int) -> Compute:
        """What computes such calls."""
        return partial(self._run, call, threads)

    def _run(self, call: Call, threads: int, x: Array, out: Array) -> None:
        blocks = blocks_for(self.spec, call, threads)
        turns = [twiddles(points, self.spec.dtype) for points in blocks.points]
        bad = np.zeros(blocks.flags, np.uint8)
        with _memory.scratch(blocks.scratch_bytes) as scratch:
            packed = self._packed.get(blocks.points)
            if packed is None:
                packed = self._pack(blocks, turns, scratch)
            self.kernel.run(
                x, packed, self._bias, out, blocks.geometry, *turns, self._activation, bad.reshape(-1), scratch,
                blocks.threads,
            )  # fmt: skip
        if bad.any():
            self._repair(call, x, out, threads, blocks, np.asarray(bad.any(axis=1)))

    def _pack(self, blocks: Blocks, turns: list[Array], scratch: Array) -> Array:
        """Spectra of the weights for tiles of this size. Two threads may pack the same thing at once."""
        spec = self.spec
        weight = self._weight.reshape(spec.out_channels, -1, *spec.kernel[1:])
        packed = self._new((prod(weight.shape[:2]), 2 * prod(blocks.points)), spec.dtype)
        self.kernel.pack_weights(weight, packed, *turns, blocks.geometry, scratch, blocks.threads)
        self._packed[blocks.points] = packed
        return packed

    def _repair(self, call: Call, x: Array, out: Array, threads: int, blocks: Blocks, bad: Array) -> None:
        """Compute the pairs of tiles that are marked in ``bad`` (image, depth, pair) by the definition."""
        if bad.mean() > table.REPAIR_ALL:
            self._run_directly(call, x, out, threads)
            return
        sides = [
            range(0, (o - 1) * s + 1, valid)
            for o, s, valid in zip(call.out[1:], self.spec.stride[1:], blocks.valid, strict=True)
        ]
        tiles = list(product(*sides))
        for n, d, pair in np.argwhere(bad).tolist():
            for tile in tiles[2 * pair : 2 * pair + 2]:
                # a tile covers results of stride 1; of its stride-th ones, the first and the last
                rows, columns = (
                    slice(ceil(first / s), ceil((first + valid) / s))
                    for first, valid, s in zip(tile, blocks.valid, self.spec.stride[1:], strict=True)
                )
                view = out[n : n + 1, :, d : d + 1, rows, columns]
                if view.size:
                    part = _box_of(self.spec, call, (d, rows.start, columns.start), view)
                    self._run_directly(part, x[n : n + 1], view, threads)

    def _run_directly(self, call: Call, x: Array, out: Array, threads: int) -> None:
        kinds: list[type[Dense] | type[Sliding]] = [Dense, Sliding]
        kind = min(
            [kind for kind in kinds if kind.supports(self.spec) is None],
            key=lambda kind: kind.estimate(self.spec, call, 1),  # no bit may depend on the number of threads
        )
        if kind not in self._direct:
            self._direct[kind] = kind(self.spec, self._weight, self._given_bias)
        self._direct[kind].prepare(call, threads)(x, out)


def _box_of(spec: ConvSpec, call: Call, origin: tuple[int, int, int], view: Array) -> Call:
    """The call that computes only ``view``, the results of one image from ``origin`` on."""
    d, h, w = (
        (before - first * stride, after)
        for (before, after), first, stride in zip(call.pads, origin, spec.stride, strict=True)
    )
    size = view.shape[2], view.shape[3], view.shape[4]
    return call._replace(batch=1, pads=(d, h, w), out=size, out_strides=exported_strides(view))


# --------------------------------------------------------------------------------------------------- transforms


@cache
def twiddles(points: int, dtype: np.dtype[Any]) -> Array:
    """Factors of the passes of radix 4, as ``fft_pass.pxd`` reads them; exact to the last bit but one."""
    table_of: list[Array] = [np.zeros(1)]
    block = points
    while block > 4:
        angle = np.arange(block // 4)[:, np.newaxis] * np.array([1, 2, 3]) * (-2 * np.pi / block)
        table_of.insert(-1, np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(-1))
        block //= 4
    return np.concatenate(table_of).astype(dtype)


# -------------------------------------------------------------------------------------------------- block sizes


def _extent(spec: ConvSpec, axis: int) -> int:
    """Cells that the kernel spans."""
    return (spec.kernel[axis] - 1) * spec.dilation[axis] + 1


def _lanes(spec: ConvSpec) -> int:
    return int(_runtime.kernel("fft", spec.dtype).LANES)


def _sides(spec: ConvSpec, axis: int, results: int) -> list[int]:
    """Points that a tile may have along an axis, for so many results of stride 1."""
    lanes, extent = _lanes(spec), _extent(spec, axis)
    if spec.kernel[axis] == 1:
        return [min(-(-results // lanes) * lanes, table.PLAIN_POINTS)]
    least = 1 << (extent - 1).bit_length()
    most = 1 << (results + extent - 2).bit_length()
    return [lanes * 2**i for i in range(24) if least <= lanes * 2**i <= max(most, lanes, least)]


def _scratch(spec: ConvSpec, points: Points) -> int:
    """Bytes per thread: the spectra of all channels, cells, sum and one strip."""
    planes = 2 * (spec.group_inputs * spec.kernel[0] + 2)
    return (planes * prod(points) + 2 * points[0] * _lanes(spec)) * spec.dtype.itemsize


@lru_cache(maxsize=512)
def _points(spec: ConvSpec, results: tuple[int, int]) -> tuple[Points, ...]:
    """Tiles whose scratch and whose spectra of the weights stay within the limits."""
    kernels = spec.out_channels * spec.group_inputs * spec.kernel[0]
    return tuple(
        (h, w)
        for h, w in product(_sides(spec, 1, results[0]), _sides(spec, 2, results[1]))
        if _scratch(spec, (h, w)) <= table.SCRATCH_BYTES
        and 2 * kernels * h * w * spec.dtype.itemsize <= table.WEIGHT_BYTES
    )


@lru_cache(maxsize=512)
def blocks_for(spec: ConvSpec, call: Call, threads: int) -> Blocks:
    """The cheapest tile for this call."""
    results = [(o - 1) * s + 1 for o, s in zip(call.out, spec.stride, strict=True)]
    # the choice must not depend on the number of threads, nor may a bit of the result
    points = min(
        _points(spec, (results[1], results[2])) or _points(spec, (1, 1)),
        key=lambda points: _seconds(spec, call, points, results, 1),
    )
    valid = _valid(spec, points)
    tiles = ceil(results[1] / valid[0]), ceil(results[2] / valid[1])
    flags = call.batch, spec.groups, call.out[0], ceil(prod(tiles) / 2)
    each = _scratch(spec, points)
    threads = max(1, min(threads, prod(flags), table.SCRATCH_BYTES // each))
    plane, itemsize = 2 * prod(points), spec.dtype.itemsize
    sum_at = plane * (1 + spec.group_inputs * spec.kernel[0])
    values = {
        "batch": call.batch, "groups": spec.groups, "group_inputs": spec.group_inputs,
        "group_outputs": spec.group_outputs, "padding_mode": PADDING_MODES[spec.padding_mode],
        "points_h": points[0], "points_w": points[1], "valid_h": valid[0], "valid_w": valid[1],
        "tiles_h": tiles[0], "tiles_w": tiles[1],
        "at_spectra": plane * itemsize, "at_sum": sum_at * itemsize, "at_strip": (sum_at + plane) * itemsize,
        "scratch_bytes": each, "is_silu": spec.activation.silu,
        "has_activation": not spec.activation.silu and spec.activation.kind != "none",
    }  # fmt: skip
    for i, axis in enumerate("dhw"):
        values |= {
            f"size_{axis}": call.size[i], f"out_{axis}": call.out[i], f"stride_{axis}": spec.stride[i],
            f"pad_{axis}": call.pads[i][0], f"taps_{axis}": spec.kernel[i], f"dilation_{axis}": spec.dilation[i],
        }  # fmt: skip
    geometry = np.array([values[name] for name in _runtime.kernel("fft", spec.dtype).FIELDS], np.int64)
    seconds = _seconds(spec, call, points, results, threads)
    return Blocks(points, valid, geometry, flags, each * threads, threads, seconds)


def _valid(spec: ConvSpec, points: Points) -> tuple[int, int]:
    """Results of stride 1 that a tile gives."""
    return points[0] - _extent(spec, 1) + 1, points[1] - _extent(spec, 2) + 1


def _transform(spec: ConvSpec, points: Points) -> float:
    """Cycles of one transform."""
    passes = sum(log2(side) / 2 for side, taps in zip(points, spec.kernel[1:], strict=True) if taps > 1)
    far = max(0.0, log2(6 * prod(points) * spec.dtype.itemsize / table.NEAR_BYTES)) * table.FAR_CYCLES
    return prod(points) / _lanes(spec) * (table.MOVE_CYCLES + table.PASS_CYCLES * passes + far)


def _seconds(spec: ConvSpec, call: Call, points: Points, results: list[int], threads: int) -> float:
    """Time of the items on the busiest thread."""
    valid = _valid(spec, points)
    pairs = ceil(ceil(results[1] / valid[0]) * ceil(results[2] / valid[1]) / 2)
    depth, outputs = spec.group_inputs * spec.kernel[0], spec.group_outputs
    items = call.batch * spec.groups * call.out[0] * pairs
    back = 0.5 + 0.5 * valid[1] / points[1]  # columns without results are not transformed back
    item = _transform(spec, points) * (depth + back * outputs)
    item += prod(points) / _lanes(spec) * table.PRODUCT_CYCLES * depth * outputs
    # held between two uses: spectra of the input, from output to output, and of the weights, from item to item
    read = 2 * depth * prod(points) * spec.dtype.itemsize
    weights = read * outputs
    lost = missed(weights * spec.groups + read, _runtime.CACHES[1], table.STREAM_ROOM)
    item += table.STREAM_CYCLES * weights * lost
    item += table.STREAM_CYCLES * read * outputs * missed(read, _runtime.CACHES[1], table.STREAM_ROOM)
    again = items / spec.groups if weights * spec.groups > table.SPECTRA_BYTES else 0
    moved = bytes_moved(spec, call) + weights * spec.groups * again
    return max(item * ceil(items / threads) / CLOCK_HZ, moved / BANDWIDTH) + CALL_SECONDS
