"""Checks of `cyconv.signal`: SciPy's words, exception types and conversions, in messages that name the argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from cyconv import _checks
from cyconv._arrays import Array, Dtype
from cyconv._scalars import check_index_range

_MODES = ("full", "same", "valid")
_BOUNDARIES = {
    "fill": "zeros", "pad": "zeros", "wrap": "circular", "circular": "circular", "symm": "symmetric",
    "symmetric": "symmetric",
}  # fmt: skip
_METHODS = ("auto", "direct", "fft")
#: what SciPy correlates: integers of every width, and floats from single precision on
_CHARS = frozenset("bBhHiIlLqQfdgFDG")


def as_plane(name: str, value: object, error: type[Exception]) -> Array:
    """Read an input as a native array of numbers; text and times are an ``error``, as in SciPy."""
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        array = np.asarray(value)
    elif isinstance(value, (list, tuple)):
        array = np.asarray(value)  # ragged: NumPy's ValueError says so, as in SciPy
    else:
        array = _checks.as_array(name, value)
    if array.dtype.kind in "USTMmV":
        raise error(f"{name} must hold numbers, got dtype {array.dtype}")
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}")
    return _checks.as_array(name, array)


def common_dtype(in1: Array, in2: Array) -> Dtype:
    """Return the dtype of the result, in which everything is computed."""
    dtype = np.result_type(in1, in2)
    if dtype.char not in _CHARS:
        raise ValueError(
            f"in1 and in2 must promote to an integer type or to a float or complex type of at least 32 bits per "
            f"component, got {in1.dtype} and {in2.dtype}; convert one of them, for example with astype(np.float32)"
        )
    return dtype


def check_word(name: str, value: object, allowed: Iterable[str]) -> Any:
    """Return the word if it is allowed; anything else is a ValueError, as in SciPy."""
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {words}, got {value!r}")
    return value


def check_mode(mode: object) -> str:
    """Return the mode."""
    return str(check_word("mode", mode, _MODES))


def check_boundary(boundary: object) -> str:
    """Return the padding mode of gathering that this boundary is."""
    return _BOUNDARIES[check_word("boundary", boundary, _BOUNDARIES)]


def check_method(method: object, dtype: Dtype) -> str:
    """Return the method; the Fourier transform would round integers and knows no extended precision."""
    word = str(check_word("method", method, _METHODS))
    if word == "fft" and dtype.char not in "fdFD":
        raise ValueError(
            f"method 'fft' computes float32, float64, complex64 and complex128, got {dtype}; "
            "take method='auto' or 'direct'"
        )
    return word


def cast_fill(fillvalue: object, dtype: Dtype) -> Any:
    """Return `fillvalue` as a scalar of `dtype`, with the conversions that SciPy allows.

    A number or a sequence is assigned, which truncates 1.5 to the integer 1; an array must cast safely.
    """
    value: Any
    if isinstance(fillvalue, np.ndarray):
        value = fillvalue
        allowed = np.can_cast(fillvalue.dtype, dtype, "safe")
    else:
        try:
            value = np.array(fillvalue, dtype)
            allowed = True
        except (TypeError, ValueError, OverflowError):
            value = np.array(fillvalue, np.complex128)  # what is no number at all fails here, with NumPy's error
            allowed = False
    if value.size != 1:
        raise ValueError(f"`fillvalue` must be scalar or an array with one element, got shape {value.shape}")
    if not allowed:
        raise ValueError(f"could not cast `fillvalue` directly to the output type {dtype}, got {fillvalue!r}")
    return np.asarray(value, dtype).reshape(())[()]


class Frame(NamedTuple):
    """Where the kernel lies on the image: cells before the first output's window, and the size of the result."""

    pads: tuple[int, int]
    out: tuple[int, int]


def is_swapped(mode: str, size: tuple[int, ...], taps: tuple[int, ...]) -> bool:
    """Whether "valid" takes in2 as the image, because it is the larger one on every axis."""
    if mode != "valid":
        return False
    first = all(h >= r for h, r in zip(size, taps, strict=True))
    second = all(h <= r for h, r in zip(size, taps, strict=True))
    if not first and not second:
        raise ValueError(
            "in1 or in2 must be at least as large as the other on every axis with mode 'valid', "
            f"got {size} and {taps}"
        )
    return not first


def place(mode: str, size: tuple[int, ...], taps: tuple[int, ...], flip: bool) -> Frame:
    """Place the kernel: exact integers."""
    pads, out = [], []
    for h, r in zip(size, taps, strict=True):
        cells = {"full": h + r - 1, "same": h, "valid": h - r + 1}[mode]
        if cells < 0:
            raise ValueError(f"in1 and in2 must not both be empty with mode 'full', got {size} and {taps}")
        # of an even kernel's two middle taps, correlation centres the first and convolution the second
        middle = r // 2 if flip else (r - 1) // 2
        pads.append({"full": r - 1, "same": middle, "valid": 0}[mode])
        out.append(cells)
    check_index_range("the result", out, 16)
    return Frame((pads[0], pads[1]), (out[0], out[1]))
