"""What the pooling functions share: windows from arguments, arrays that kernels can read, the calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cyconv import _checks, _runtime
from cyconv._arrays import Array, Dtype, Image
from cyconv._kernels import calls
from cyconv._plans import pool_table, pooling
from cyconv._plans.pooling import ARGMAX, SUM, PoolAxis, Side
from cyconv._storage import Order, computed, stored
from cyconv.geometry import Padding, pool_out_size, resolve_padding, steps_taken

Axes: TypeAlias = tuple[PoolAxis, ...]
Size: TypeAlias = int | Sequence[int]
OutputSize: TypeAlias = int | Sequence[int | None] | None

_FLOATS = frozenset(np.dtype(name) for name in ("f4", "f8"))
_SIMPLE = frozenset((int, bool, float, str, tuple, type(None)))
#: axes of copies in memory: in the order that they have, which not every kernel reads, and in their own, which all do
_ORDERS: tuple[Order, ...] = ("K", "C")
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


class Sliding(NamedTuple):
    """Arguments of sliding windows, as they came."""

    kernel_size: Size
    stride: Size | None
    padding: Padding
    dilation: Size
    ceil_mode: bool
    count_include_pad: bool = True
    divisor_override: int | None = None

    def read(self, size: Sequence[int]) -> tuple[Axes, float, bool]:
        """Check them; the windows of every axis, the divisor of averages or 0, whether padding counts."""
        how = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        axes = window_axes(size, *how)
        count_padding = _checks.as_flag("count_include_pad", self.count_include_pad)
        if self.divisor_override is None:
            return axes, 0.0, count_padding
        divisor = _checks.as_int("divisor_override", self.divisor_override, minimum=1)
        return axes, float(min(divisor, 2**1023)), count_padding


class Adaptive(NamedTuple):
    """Arguments of windows that follow from the size of the result."""

    output_size: OutputSize

    def read(self, size: Sequence[int]) -> tuple[Axes, float, bool]:
        """As for sliding windows."""
        return adaptive_axes(size, self.output_size), 0.0, True


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


Kind: TypeAlias = type[Sliding] | type[Adaptive]


# ------------------------------------------------------------------------------------------------------- arrays


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


def check_dtype(op: int, name: str, array: Array) -> Dtype:
    """The dtype of the result: averages are of floats, maxima of any real numbers."""
    if op == SUM:
        return _checks.float_dtypes((name, array))[1]
    check_real(name, array)
    return array.dtype


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
        for order in _ORDERS:
            with (
                computed(x[part], dtype, threads, order, copy=True) as source,
                stored(out[part], dtype, threads, order, copy=True) as target,
            ):
                places = None if indices is None else np.empty_like(target, np.int64)
                done = pooling.run(axes, source, target, places, *how)
                if done and places is not None and indices is not None:
                    indices[part] = places
                    if x.dtype != dtype and dtype == _INT32:
                        # padding alone counts as the smallest of its own dtype
                        target[places < 0] = np.iinfo(x.dtype).min
            if done:
                break


#: numbers of threads that are looked up as they came
_PLAIN_THREADS = 64

Windows: TypeAlias = tuple[Any, ...]
Key: TypeAlias = tuple[Any, ...]


def _remember(
    key: Key, op: int, x: Array, image: Image, axes: Axes, y: Array, divisor: float, count_padding: bool, threads: int
) -> None:
    """Let the next call like this one, which went well, skip the checks; unless its arrays must be converted."""
    windows = key[-1]
    if not _SIMPLE.issuperset(map(type, windows)) or not _holds_ints(windows):
        return
    viewed = image.array is x or image.array.base is x
    if not viewed or x.dtype not in _PLAIN or y.dtype != x.dtype or y.size == 0:
        return
    if compute_dtype(x.dtype, op == ARGMAX) != x.dtype:
        return
    view = image.result_view(np.empty(y.shape, y.dtype))
    found = pooling.lay_out(axes, Side.of(image.array), Side.of(view), x.dtype, op, count_padding, threads)
    if found is None:
        return
    entry = _runtime.kernel("pool", x.dtype).ENTRY
    into_given = min(x.strides) >= 0
    recipe = (windows, y.shape, x.dtype, found.geometry, divisor, found.threads, entry, into_given, op == ARGMAX)
    calls.remember(key, calls.Recipe(*recipe))


def _holds_ints(windows: Windows) -> bool:
    """Whether all that lies in tuples is of the type int: 2.0 and True compare equal to integers."""
    return all(type(item) is int for value in windows if type(value) is tuple for item in value)


def run_pool(
    op: int, naxes: int, x: object, kind: Kind, windows: Windows, layout: str, out: object, num_threads: object
) -> Array:
    """Check everything, allocate the result, fill it; what does not depend on the data is remembered."""
    if num_threads is None:
        threads = _runtime.threads_for(None)
    elif type(num_threads) is int and 0 < num_threads <= _PLAIN_THREADS:
        threads = num_threads
    else:
        threads = _threads_of(num_threads)
    found: Array | None = calls.again(op, naxes, x, windows, layout, out, threads)
    return _run_checked(op, naxes, x, kind, windows, layout, out, num_threads)[0] if found is None else found


def find_max(
    naxes: int, x: object, kind: Kind, windows: Windows, layout: str, out: object, num_threads: object
) -> tuple[Array, Array]:
    """Maxima and their flat indices; remembered as well."""
    threads = _threads_of(num_threads)
    found: tuple[Array, Array] | None = calls.again(ARGMAX, naxes, x, windows, layout, out, threads)
    return _run_checked(ARGMAX, naxes, x, kind, windows, layout, out, num_threads) if found is None else found


def _threads_of(num_threads: object) -> int:
    return _runtime.threads_for(None if num_threads is None else _checks.check_threads(num_threads))


def _run_checked(
    op: int, naxes: int, x: object, kind: Kind, windows: Windows, layout: str, out: object, num_threads: object
) -> tuple[Array, Array]:
    """The first call of its kind: the result, and the places of maxima if they are wanted (else the result again)."""
    threads = _threads_of(num_threads)
    image = _checks.as_image("x", x, naxes, layout)
    dtype = check_dtype(op, "x", image.array)
    axes, divisor, count_padding = kind(*windows).read(image.array.shape[2:])
    y, through = result(image, axes, dtype, out)
    if op == ARGMAX:
        _checks.check_index_range("the indices", y.shape, 8)
    indices = np.empty(y.shape, np.int64) if op == ARGMAX else None

    def fill(into: Array) -> None:
        view = image.result_view(into)
        places = None if indices is None else image.result_view(indices)
        pool_into(
            view, image.array, axes, op, threads, indices=places, divisor=divisor, count_padding=count_padding
        )

    found = _checks.run_into(y, through, fill)
    if type(x) is np.ndarray and type(layout) is str:
        key = calls.key_of(op, naxes, x, threads, layout, windows)
        with suppress(MemoryError):  # the result is there
            _remember(key, op, x, image, axes, y, divisor, count_padding, threads)
    return found, found if indices is None else indices
