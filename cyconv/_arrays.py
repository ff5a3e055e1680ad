"""Checks of arrays, in and out: part of the room of `cyconv._checks`, under the same rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from cyconv._kernels import planned
from cyconv._scalars import check_choice, check_index_range

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Dtype: TypeAlias = np.dtype[Any]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
_PLAIN = frozenset((FLOAT32, FLOAT64))

_LAYOUTS = {
    1: {"NCHW": False, "NCW": False, "NHWC": True, "NWC": True},
    2: {"NCHW": False, "NHWC": True},
    3: {"NCHW": False, "NCDHW": False, "NHWC": True, "NDHWC": True},
}
_SPATIAL = {1: "W", 2: "H, W", 3: "D, H, W"}

# Arrays in.


def as_array(name: str, value: object) -> Array:
    """Return `value` as a native, aligned, base-class ndarray of numbers; a view where NumPy can make one."""
    if type(value) is np.ndarray:
        array = value
        if (array.dtype is FLOAT32 or array.dtype is FLOAT64) and array.flags.carray:
            return array  # the usual case, in as little time as a call on a 3x3 image allows
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost: pass {name}.filled(value) instead"
        )
    else:
        array = _import_array(name, value)
    dtype = array.dtype
    if dtype not in _PLAIN and dtype.kind not in "biufc" and dtype.name != "bfloat16":
        raise TypeError(f"{name} must hold numbers, got dtype {dtype}")
    if not dtype.isnative:
        return array.astype(dtype.newbyteorder("="))
    if not array.flags.aligned or (not array.flags.c_contiguous and _has_odd_strides(array)):
        return array.copy()
    return array


def _import_array(name: str, value: object) -> Array:
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # whatever a foreign exporter raises
        raise TypeError(
            f"{name} cannot be read as an array of numbers ({type(value).__name__}): {error}"
        ) from error


def _has_odd_strides(array: Array) -> bool:
    """Whether a step is no whole number of elements: a field of a record; kernels count in elements."""
    itemsize = array.itemsize
    return any(step % itemsize and length > 1 for step, length in zip(array.strides, array.shape, strict=True))


class Image(NamedTuple):
    """An input seen as (N, C, *spatial), and how its caller had it, to hand the result back the same way."""

    array: Array
    rank: str  # "spatial", "channels" or "batch": which of N and C the caller's array has
    channels_last: bool

    def result_shape(self, channels: int, out: Sequence[int]) -> tuple[int, ...]:
        """Shape, in the caller's layout and rank, of a result with these channels and spatial sizes."""
        if self.rank == "spatial":
            if channels != 1:
                raise ValueError(
                    "an image without a channel axis gives a result without one, so it needs a weight with "
                    f"K = 1, got K = {channels}; pass the image as x[np.newaxis]"
                )
            return tuple(out)
        shape = (*out, channels) if self.channels_last else (channels, *out)
        return (self.array.shape[0], *shape) if self.rank == "batch" else shape

    def result_view(self, result: Array) -> Array:
        """View a result in the caller's layout and rank as (N, K, *spatial)."""
        return _as_batch(result, self.rank, self.channels_last)


def _as_batch(array: Array, rank: str, channels_last: bool) -> Array:
    if rank == "spatial":
        return array[np.newaxis, np.newaxis]
    if rank == "channels":
        array = array[np.newaxis]
    if channels_last:
        last = array.ndim - 1
        return array.transpose(0, last, *range(1, last))
    return array


def as_image(name: str, value: object, naxes: int, layout: str) -> Image:
    """Read an image of `naxes` spatial axes, with or without channels and batch, as a view."""
    array = as_array(name, value)
    layouts = _LAYOUTS[naxes]
    if not isinstance(layout, str) or layout not in layouts:
        check_choice("layout", layout, layouts)
    extra = array.ndim - naxes
    if not 0 <= extra <= 2:
        spatial = _SPATIAL[naxes]
        last = layouts[layout]
        ranks = (
            spatial,
            f"{spatial}, C" if last else f"C, {spatial}",
            f"N, {spatial}, C" if last else f"N, C, {spatial}",
        )
        raise ValueError(
            f"{name} must have shape ({ranks[0]}), ({ranks[1]}) or ({ranks[2]}) with layout {layout!r}, "
            f"got shape {array.shape}"
        )
    rank = ("spatial", "channels", "batch")[extra]
    return Image(_as_batch(array, rank, layouts[layout]), rank, layouts[layout])


def as_bias(bias: object, channels: int, weak: Dtype) -> Array | None:
    """Return the bias as an array of shape (K,); a Python number takes the dtype `weak`, as in NumPy."""
    if bias is None:
        return None
    if type(bias) in (int, float):
        try:
            with np.errstate(over="ignore"):
                array = np.asarray(bias, dtype=weak)
        except OverflowError:
            raise ValueError(f"bias must fit {weak}, got {bias}") from None
    else:
        array = as_array("bias", bias)
    if array.ndim == 0:
        return np.broadcast_to(array, (channels,))
    if array.shape != (channels,):
        raise ValueError(f"bias must be a scalar or have shape (K,) = ({channels},), got shape {array.shape}")
    return array


def float_dtypes(*named: tuple[str, Array]) -> tuple[Dtype, Dtype]:
    """Return (compute dtype, result dtype) for (name, array) pairs, promoted as NumPy promotes.

    float32 and float64 compute in themselves; float16 and bfloat16 in float32, and come back as they were.
    """
    kinds = {array.dtype for _, array in named}
    if len(kinds) == 1 and not kinds.isdisjoint(_PLAIN):
        return named[0][1].dtype, named[0][1].dtype
    for name, array in named:
        _check_float(name, array.dtype)
    if len(kinds) > 1:  # NumPy has no common type of float16 and bfloat16
        kinds = {FLOAT32 if kind.name == "bfloat16" else kind for kind in kinds}
    result = np.result_type(*kinds)
    return (result if result in _PLAIN else FLOAT32), result


def _check_float(name: str, dtype: Dtype) -> None:
    if dtype in _PLAIN or dtype == np.float16 or dtype.name == "bfloat16":
        return
    allowed = "float16, bfloat16, float32 or float64"
    if dtype.kind in "biu":
        fix = f"convert it, for example with {name}.astype(np.float32)"
    elif dtype.kind == "c":
        fix = f"pass {name}.real and {name}.imag in two calls"
    else:
        fix = f"convert it, for example with {name}.astype(np.float64)"
    raise TypeError(f"{name} must be {allowed}, got {dtype}; {fix}")


# Arrays out.


def takes_result(out: object, shape: tuple[int, ...], dtype: Dtype) -> TypeGuard[Array]:
    """Whether a result of this shape and dtype can go straight into ``out``: the quick part of :func:`check_out`."""
    if type(out) is not np.ndarray:
        return False
    fits: bool = out.dtype is dtype and out.shape == shape and out.flags.carray
    return fits


def check_out(
    out: object, shape: Sequence[int], dtype: Dtype, inputs: Iterable[Array], follows: Array | None = None
) -> tuple[Array, bool]:
    """Return the array to fill, and whether that must go through a temporary (see `run_into`).

    None gives a new C-contiguous array, which lies in the lines of the cache as `follows` does. A temporary is needed
    if `out` may overlap an input or is misaligned.
    """
    shape = tuple(shape)
    if out is None:
        check_index_range("the result", shape, dtype.itemsize)
        return planned.new_result(shape, dtype, follows), False
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    array = np.asarray(out)
    if array.dtype != dtype:
        raise TypeError(f"out must have dtype {dtype} (in native byte order), got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    if not array.flags.c_contiguous and _may_overlap_itself(array):
        raise ValueError(
            f"out must not overlap itself, got shape {array.shape} with strides {array.strides}: "
            "several elements may lie in the same memory"
        )
    through = (
        not array.flags.aligned
        or (not array.flags.c_contiguous and _has_odd_strides(array))
        or any(np.may_share_memory(array, source) for source in inputs)
    )
    return array, through


def _may_overlap_itself(array: Array) -> bool:
    """Whether two elements may share memory: some stride is smaller than all that lies inside of it."""
    if array.size == 0:
        return False
    end = array.itemsize
    for step, length in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if step < end:
            return True
        end += step * (length - 1)
    return False


def run_into(out: Array, through_temporary: bool, compute: Callable[[Array], None]) -> Array:
    """Let `compute` fill `out`, by way of a temporary if `out` may share memory with what it reads."""
    if not through_temporary:
        compute(out)
        return out
    temporary = np.empty(out.shape, out.dtype)
    compute(temporary)
    np.copyto(out, temporary)
    return out
