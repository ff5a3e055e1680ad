"""What the pooling functions share: windows from arguments, arrays that kernels can read, the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import prod
from operator import is_
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from cyconv import _checks, _runtime
from cyconv._arrays import Array, Dtype, Image
from cyconv._plans import pool_table, pooling
from cyconv._plans.pooling import ARGMAX, SUM, PoolAxis, Side
from cyconv.geometry import Padding, pool_out_size, resolve_padding, steps_taken

Axes: TypeAlias = tuple[PoolAxis, ...]
Size: TypeAlias = int | Sequence[int]
OutputSize: TypeAlias = int | Sequence[int | None] | None

_FLOATS = frozenset(np.dtype(name) for name in ("f4", "f8"))
_SIMPLE = frozenset((int, bool, float, str, tuple, type(None)))
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


Windows: TypeAlias = tuple[Any, ...]
Key: TypeAlias = tuple[Any, ...]


class Recipe(NamedTuple):
    """All that a call on plain arrays, with a contiguous result, needs to know beyond them."""

    windows: Windows
    shape: tuple[int, ...]
    dtype: Dtype
    geometry: Array
    divisor: float
    threads: int
    run: Callable[..., bool]
    into_given: bool

    def means(self, windows: Windows) -> bool:
        """Whether settings that compare equal are the same ones: 1, 1.0 and True are not."""
        types = tuple(map(type, windows))
        return types == tuple(map(type, self.windows)) and (tuple not in types or _holds_ints(windows))

    def takes(self, out: object) -> TypeGuard[Array]:
        """Whether the result can go there without further checks."""
        return self.into_given and _checks.takes_result(out, self.shape, self.dtype)


#: calls that were checked once -> what they found out; calls that differ more than that start again
_RECIPES: dict[Key, Recipe] = {}
_MOST_RECIPES = 1024


def _remember(
    key: Key, op: int, x: Array, image: Image, axes: Axes, y: Array, divisor: float, count_padding: bool, threads: int
) -> None:
    """Let the next call like this one, which went well, skip the checks; unless its arrays must be converted."""
    layout, windows = key[-2:]
    if type(layout) is not str or not _SIMPLE.issuperset(map(type, windows)) or not _holds_ints(windows):
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
    if len(_RECIPES) >= _MOST_RECIPES:
        _RECIPES.clear()
    run = _runtime.kernel("pool", x.dtype).run
    into_given = min(x.strides) >= 0
    _RECIPES[key] = Recipe(windows, y.shape, x.dtype, found.geometry, divisor, found.threads, run, into_given)


def _holds_ints(windows: Windows) -> bool:
    """Whether all that lies in tuples is of the type int: 2.0 and True compare equal to integers."""
    return all(type(item) is int for value in windows if type(value) is tuple for item in value)


def _recall(
    op: int, naxes: int, x: object, windows: Windows, layout: str, threads: int
) -> tuple[Key | None, Recipe | None]:
    """What is known of a call; if that is nothing, the key to remember it by, if there can be one."""
    if type(x) is not np.ndarray:
        return None, None
    key = op, naxes, x.shape, x.strides, x.dtype, threads, layout, windows
    try:
        recipe = _RECIPES.get(key)
    except TypeError:  # a list, which has no hash
        return None, None
    if recipe is None:
        return key, None
    known = all(map(is_, windows, recipe.windows)) or recipe.means(windows)
    return None, recipe if known and x.flags.aligned else None


def run_pool(
    op: int, naxes: int, x: object, kind: Kind, windows: Windows, layout: str, out: object, num_threads: object
) -> Array:
    """Check everything, allocate the result, fill it; what does not depend on the data is remembered."""
    threads = _runtime.threads_for(None if num_threads is None else _checks.check_threads(num_threads))
    key, recipe = _recall(op, naxes, x, windows, layout, threads)
    if recipe is not None:
        if out is None:
            y = np.empty(recipe.shape, recipe.dtype)
            if recipe.run(x, y, None, recipe.geometry, recipe.divisor, recipe.threads):
                return y
        elif recipe.takes(out) and recipe.run(x, out, None, recipe.geometry, recipe.divisor, recipe.threads):
            return out
    return _run_checked(op, naxes, x, kind(*windows), layout, out, threads, key)


def _run_checked(
    op: int, naxes: int, x: object, windows: Sliding | Adaptive, layout: str, out: object, threads: int,
    key: Key | None,
) -> Array:  # fmt: skip
    """The first call of its kind; with ``key``, remembered."""
    image = _checks.as_image("x", x, naxes, layout)
    dtype = check_dtype(op, "x", image.array)
    axes, divisor, count_padding = windows.read(image.array.shape[2:])
    y, through = result(image, axes, dtype, out)

    def fill(into: Array) -> None:
        view = image.result_view(into)
        pool_into(view, image.array, axes, op, threads, divisor=divisor, count_padding=count_padding)

    result_array = _checks.run_into(y, through, fill)
    if key is not None and type(x) is np.ndarray:
        _remember(key, op, x, image, axes, y, divisor, count_padding, threads)
    return result_array


def find_max(
    naxes: int, x: object, kind: Kind, windows: Windows, layout: str, out: object, num_threads: object
) -> tuple[Array, Array]:
    """Maxima and their flat indices; remembered as well."""
    threads = _runtime.threads_for(None if num_threads is None else _checks.check_threads(num_threads))
    key, recipe = _recall(ARGMAX, naxes, x, windows, layout, threads)
    if recipe is not None and (out is None or recipe.takes(out)):
        y = np.empty(recipe.shape, recipe.dtype) if out is None else out
        places = np.empty(recipe.shape, np.int64)
        if recipe.run(x, y, places, recipe.geometry, recipe.divisor, recipe.threads):
            return y, places
    return _find_checked(naxes, x, kind(*windows), layout, out, threads, key)


def _find_checked(
    naxes: int, x: object, windows: Sliding | Adaptive, layout: str, out: object, threads: int, key: Key | None
) -> tuple[Array, Array]:
    """The first call of its kind; with ``key``, remembered."""
    image = _checks.as_image("x", x, naxes, layout)
    dtype = check_dtype(ARGMAX, "x", image.array)
    axes, divisor, count_padding = windows.read(image.array.shape[2:])
    y, through = result(image, axes, dtype, out)
    _checks.check_index_range("the indices", y.shape, 8)
    indices = np.empty(y.shape, np.int64)

    def fill(into: Array) -> None:
        places = image.result_view(indices)
        pool_into(image.result_view(into), image.array, axes, ARGMAX, threads, indices=places)

    found = _checks.run_into(y, through, fill)
    if key is not None and type(x) is np.ndarray:
        _remember(key, ARGMAX, x, image, axes, y, divisor, count_padding, threads)
    return found, indices
