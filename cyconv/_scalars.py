"""Checked numbers, flags and words, on the floor of geometry, which needs no arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from operator import index
from typing import TypeAlias

Ints: TypeAlias = int | Iterable[int]

# No address space is larger, and indices up to 128 times past the end of an array still fit in 64 bits.
MAX_BYTES = 2**56


def as_int(name: str, value: object, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return `value` as a Python int; a bool, a float or text is a TypeError, out of range a ValueError."""
    if type(value) is not int:
        if isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, got the bool {value}")
        try:
            value = index(value)  # type: ignore[arg-type]  # the TypeError below is the check
        except TypeError:
            raise TypeError(
                f"{name} must be an integer, got {value!r} of type {type(value).__name__}"
            ) from None
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {value}")
    return value


def is_sequence(value: object) -> bool:
    """Whether this is a tuple, a list, an array with axes or the like; text and scalars are not."""
    if isinstance(value, (tuple, list)):
        return True
    if isinstance(value, (str, bytes)) or getattr(value, "ndim", 1) == 0:
        return False
    return isinstance(value, Iterable)


def as_ints(
    name: str, value: object, naxes: int, *, minimum: int | None = None, maximum: int | None = None
) -> tuple[int, ...]:
    """Return one int per axis; an int, or a sequence of one int, counts for every axis."""
    if type(value) is int or not is_sequence(value):
        return (as_int(name, value, minimum=minimum, maximum=maximum),) * naxes
    items: tuple[object, ...] = tuple(value)  # type: ignore[arg-type]  # is_sequence saw an Iterable
    if len(items) not in (1, naxes):
        allowed = "1 value" if naxes == 1 else f"1 or {naxes} values"
        raise ValueError(f"{name} must be an int or have {allowed}, got {len(items)}: {items}")
    ints = tuple([as_int(name, item, minimum=minimum, maximum=maximum) for item in items])
    return ints if len(ints) == naxes else ints * naxes


def naxes_of(name: str, value: object) -> int:
    """Return the number of axes that an int (1) or a sequence (its length, at least 1) speaks of."""
    if not is_sequence(value):
        return 1
    naxes = len(tuple(value))  # type: ignore[arg-type]  # is_sequence saw an Iterable
    if naxes == 0:
        raise ValueError(f"{name} must be an int or a sequence of at least one int, got {value!r}")
    return naxes


def as_flag(name: str, value: object) -> bool:
    """Return `value` as a bool; only True, False and NumPy's two pass, since a 0 or a "no" is a mistake."""
    kind = type(value)
    if kind is not bool and not (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {kind.__name__}")
    return bool(value)


def as_real(name: str, value: object, *, finite: bool = False) -> float:
    """Return a real number as a Python float; NaN is a ValueError, so is infinity where it must be finite."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r} of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit a float64, got {value}") from None
    if math.isnan(number) or (finite and math.isinf(number)):
        raise ValueError(f"{name} must be {'finite' if finite else 'a number'}, got {number}")
    return number


def check_choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the allowed words."""
    words = tuple(allowed)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {words}, got {value!r} of type {type(value).__name__}")
    if value not in words:
        raise ValueError(f"{name} must be one of {words}, got {value!r}")
    return value


def check_index_range(what: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse an array, virtual padding included, whose byte offsets could leave 64 bits in a kernel."""
    size = math.prod(shape) or math.prod(n or 1 for n in shape)
    if size * itemsize > MAX_BYTES:
        raise ValueError(
            f"{what} of shape {tuple(shape)} with {itemsize} bytes per element is larger than 2**56 bytes"
        )
