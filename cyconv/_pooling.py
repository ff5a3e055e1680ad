"""What the pooling functions share: windows from arguments, arrays that kernels can read, the calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from cyconv import _checks, _runtime
from cyconv._arrays import Array, Dtype, Image
from cyconv._plans import pool_table, pooling
from cyconv._plans.pooling import ARGMAX, PoolAxis
from cyconv.geometry import Padding, pool_out_size, resolve_padding, steps_taken

Axes: TypeAlias = tuple[PoolAxis, ...]
Size: TypeAlias = int | Sequence[int]

_INT32 = np.dtype(np.int32)
_FLOAT32 = np.dtype(np.float32)
_PLAIN = frozenset(np.dtype(name) for name in ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"))


# ------------------------------------------------------------------------------------------------------ windows


def window_axes(
    size: Sequence[int], kernel_size: Size, stride: Size | None, padding: Padding, dilation: Size, ceil_mode: object
) -> Axes:
    """Check the arguments of sliding windows; the windows of every axis."""
    naxes = len(size)
    k = _checks.as_ints("kernel_size", kernel_size, naxes, minimum=1)
    s = k if stride is None else _checks.as_ints("stride", stride, naxes, minimum=1)
    d = _checks.as_ints("dilation", dilation, naxes, minimum=1)
    pads = resolve_padding(padding, size, k, s, d)
    return _window_axes(tuple(size), k, s, pads, d, _checks.as_flag("ceil_mode", ceil_mode))


@lru_cache(maxsize=512)
def _window_axes(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
) -> Axes:
    outs = [pool_out_size(*axis, ceil_mode) for axis in zip(size, kernel, stride, pads, dilation, strict=True)]
    steps = map(steps_taken, kernel, stride, dilation, outs)
    return tuple(
        PoolAxis(h, out, k, s, before, after, d)
        for h, out, k, (s, d), (before, after) in zip(size, outs, kernel, steps, pads, strict=True)
    )


def adaptive_axes(size: Sequence[int], output_size: object) -> Axes:
    """Check ``output_size`` of adaptive pooling; the windows of every axis."""
    naxes = len(size)
    if output_size is None or not _checks.is_sequence(output_size):
        output_size = (output_size,) * naxes
    wanted: tuple[object, ...] = tuple(output_size)  # type: ignore[arg-type]  # is_sequence saw an Iterable
    if len(wanted) != naxes:
        raise ValueError(f"output_size must be an int, None or have {naxes} of them, got {len(wanted)}: {wanted}")
    for h in size:
        if h < 1:
            raise ValueError(f"x must have at least 1 cell along every spatial axis, got sizes {tuple(size)}")
    outs = [
        h if o is None else _checks.as_int("output_size", o, minimum=1) for h, o in zip(size, wanted, strict=True)
    ]
    return tuple(
        PoolAxis(h, o, h // o, h // o, 0, 0, 1) if h % o == 0 else PoolAxis(h, o, 0, 0, 0, 0, 1)
        for h, o in zip(size, outs, strict=True)
    )


# ------------------------------------------------------------------------------------------------------- arrays


def prepare(name: str, x: object, naxes: int, layout: str, num_threads: object) -> tuple[Image, int]:
    """The image as (N, C, *spatial), and the number of threads."""
    image = _checks.as_image(name, x, naxes, layout)
    return image, _runtime.threads_for(_checks.check_threads(num_threads))


def result(image: Image, axes: Axes, dtype: Dtype, out: object) -> tuple[Array, bool]:
    """The array to fill, and whether it must go through a temporary."""
    shape = image.result_shape(image.array.shape[1], [axis.out for axis in axes])
    return _checks.check_out(out, shape, dtype, (image.array,))


def check_real(name: str, array: Array) -> None:
    """Refuse what has no order or no kernel: complex numbers and extended precision."""
    dtype = array.dtype
    if dtype in _PLAIN or dtype.kind == "b" or dtype == np.float16 or dtype.name == "bfloat16":
        return
    fix = f"pass {name}.real or abs({name})" if dtype.kind == "c" else f"convert it, for example {name}.astype('f8')"
    raise TypeError(f"{name} must hold real numbers of at most 64 bits, got {dtype}; {fix}")


def compute_dtype(dtype: Dtype, with_indices: bool = False) -> Dtype:
    """The dtype of the kernel that pools this one, exactly; places need lanes of 32 bits."""
    if with_indices and dtype.kind in "iu" and dtype.itemsize < 4:
        return _INT32
    return dtype if dtype in _PLAIN else _FLOAT32


def slabs(x: Array) -> Iterator[tuple[slice, slice]]:
    """Parts of the first two axes, of a bounded number of cells where planes are not larger than that."""
    n, c = x.shape[:2]
    plane = max(1, prod(x.shape[2:]))
    channels = max(1, min(c, pool_table.SLAB_CELLS // plane))
    images = max(1, pool_table.SLAB_CELLS // (plane * c)) if channels == c else 1
    for first in range(0, n, images):
        for channel in range(0, c, channels):
            yield slice(first, first + images), slice(channel, channel + channels)


def pool_into(
    out: Array,
    x: Array,
    axes: Axes,
    op: int,
    threads: int,
    *,
    indices: Array | None = None,
    divisor: float = 0.0,
    count_padding: bool = True,
) -> None:
    """Pool x into out, both seen as (N, C, *spatial), whatever their strides and dtypes."""
    if out.size == 0:
        return
    if x.dtype.kind == "b":
        x, out = x.view(np.uint8), out.view(np.uint8)
    dtype = compute_dtype(x.dtype, indices is not None)
    how = (op, divisor, count_padding, threads)
    if x.dtype == out.dtype == dtype and pooling.run(axes, x, out, indices, *how):
        return
    for part in slabs(x):
        for order in ("K", "C"):
            source = x[part].astype(dtype, order=order)
            target = np.empty_like(out[part], dtype=dtype, order=order)
            places = None if indices is None else np.empty_like(target, np.int64)
            if pooling.run(axes, source, target, places, *how):
                break
        if places is not None and indices is not None:
            indices[part] = places
            if x.dtype != dtype and dtype == _INT32:
                target[places < 0] = np.iinfo(x.dtype).min  # padding alone counts as the smallest of its own dtype
        with np.errstate(over="ignore", invalid="ignore"):
            out[part] = target


def run_pool(image: Image, axes: Axes, op: int, dtype: Dtype, out: object, threads: int, **how: Any) -> Array:
    """Check ``out``, allocate the result, fill it."""
    y, through = result(image, axes, dtype, out)

    def fill(into: Array) -> None:
        pool_into(image.result_view(into), image.array, axes, op, threads, **how)

    return _checks.run_into(y, through, fill)


def find_max(image: Image, axes: Axes, out: object, threads: int) -> tuple[Array, Array]:
    """Maxima and their flat indices."""
    y, through = result(image, axes, image.array.dtype, out)
    _checks.check_index_range("the indices", y.shape, 8)
    indices = np.empty(y.shape, np.int64)

    def fill(into: Array) -> None:
        places = image.result_view(indices)
        pool_into(image.result_view(into), image.array, axes, ARGMAX, threads, indices=places)

    return _checks.run_into(y, through, fill), indices
