"""Plan of ``_kernels/exact.pyx``: boxes and scratch of exact integer correlation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from math import ceil
from types import ModuleType
from typing import Any

import numpy as np

from cyconv import _memory, _runtime
from cyconv._kernels import planned
from cyconv._plans import signal_table as table
from cyconv._plans.spec import PADDING_MODES

Array = np.ndarray[Any, np.dtype[Any]]


@cache
def kernel(dtype: np.dtype[Any]) -> ModuleType:
    """The module for this type; signed integers use the unsigned ones, which agree modulo 2**bits."""
    return _runtime.kernel("exact", np.dtype(f"u{dtype.itemsize}") if dtype.kind == "i" else dtype)


_QUICK_TYPES = frozenset(map(np.dtype, "bBhHilqILQfd"))
#: type -> the loop for small images, once it was used, and the products that are worth it
_QUICK_LOOPS: dict[np.dtype[Any], tuple[Callable[..., bool], int]] = {}


def becomes(image: np.dtype[Any], kernel: np.dtype[Any]) -> bool:
    """Whether an image of integers or floats is computed in the type of the kernel, a float."""
    return (
        kernel.kind == "f" and image.kind in "iuf" and image.isnative and np.promote_types(image, kernel) == kernel
    )


def quick(in1: Any, in2: Any, mode: str, flip: bool = False, out: Any = None) -> Array | None:
    """A small image of a plain type with zeros around it, without a plan; None if this is anything else."""
    if type(in1) is not np.ndarray or type(in2) is not np.ndarray:
        return None
    dtype = in2.dtype
    if in1.dtype is not dtype:
        if in1.size > table.QUICK_CELLS or not becomes(in1.dtype, dtype):
            return None
        in1 = in1.astype(dtype)
    known = _QUICK_LOOPS.get(dtype)
    if known is None:
        if dtype not in _QUICK_TYPES:
            return None
        known = _QUICK_LOOPS[dtype] = kernel(dtype).quick, table.QUICK_PRODUCTS[dtype.kind]
    run, most = known
    size, taps = in1.shape, in2.shape
    if len(size) != 2 or len(taps) != 2:
        return None
    h, w = size
    r, s = taps
    if mode == "valid":
        p, q, oh, ow = 0, 0, h - r + 1, w - s + 1
    elif mode == "same":
        p, q, oh, ow = (r // 2, s // 2, h, w) if flip else ((r - 1) // 2, (s - 1) // 2, h, w)
    elif mode == "full":
        p, q, oh, ow = r - 1, s - 1, h + r - 1, w + s - 1
    else:
        return None
    if not 0 < oh * ow * r * s <= most or (oh + r) * (ow + s) > table.QUICK_CELLS or oh < 0 or h * w == 0:
        return None
    plain = out is None
    if not plain and (type(out) is not np.ndarray or out.dtype is not dtype or out.shape != (oh, ow)):
        return None
    if plain or not out.flags.carray:
        result = planned.new_result((oh, ow), dtype)
        if not plain and not out.flags.writeable:
            return None
    else:
        result = out  # which may overlap the others: they are copied first
    if not run(in1, in2, result, p, q, flip):
        return None
    if plain or result is out:
        return result
    out[...] = result
    filled: Array = out
    return filled


def correlate(x: Array, w: Array, out: Array, pads: tuple[int, int], padding_mode: str, threads: int) -> None:
    """Images (N, H, W) with one kernel (R, S) into (N, OH, OW), all of one integer type, none empty."""
    geometry, scratch_bytes, threads = _blocks(
        x.dtype, x.shape, w.shape, out.shape[1:], pads, padding_mode, threads
    )
    with _memory.scratch(scratch_bytes * threads) as scratch:
        kernel(x.dtype).run(x, np.ascontiguousarray(w), out, geometry, scratch, threads)


@lru_cache(maxsize=256)
def _blocks(
    dtype: np.dtype[Any], size: tuple[int, ...], taps: tuple[int, ...], out: tuple[int, ...], pads: tuple[int, int],
    padding_mode: str, threads: int,
) -> tuple[Array, int, int]:
    """The numbers that the kernel takes, the bytes of scratch per thread, and the threads worth starting."""
    module = kernel(dtype)
    box = [
        min(ceil(cells / tile) * tile, most // tile * tile)
        for cells, tile, most in zip(out, module.TILE, table.EXACT_BOX, strict=True)
    ]
    block = [min(t, most) for t, most in zip(taps, table.EXACT_BLOCK, strict=True)]
    cells = (box[0] + block[0] - 1) * (box[1] + block[1] - 1) * dtype.itemsize
    at_sums = ceil(cells / 64) * 64
    scratch_bytes = at_sums + ceil(box[0] * box[1] * dtype.itemsize / 64) * 64
    values = {
        "batch": size[0], "size_h": size[1], "size_w": size[2], "taps_h": taps[0], "taps_w": taps[1],
        "out_h": out[0], "out_w": out[1], "pad_h": pads[0], "pad_w": pads[1], "mode": PADDING_MODES[padding_mode],
        "box_h": box[0], "box_w": box[1], "block_h": block[0], "block_w": block[1],
        "at_sums": at_sums, "scratch_bytes": scratch_bytes,
    }  # fmt: skip
    items = size[0] * ceil(out[0] / box[0]) * ceil(out[1] / box[1])
    geometry = np.array([values[name] for name in module.FIELDS], np.int64)
    return geometry, scratch_bytes, max(1, min(threads, items))
