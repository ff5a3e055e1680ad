"""Which F(m, r) a layer can be computed by, and how its kernel is cut into sections of r taps.

A tile of m results of an axis reads ``m + r - 1`` cells, where the kernel has r taps and a stride of 1. Any other
kernel is a sum of such: its taps fall into *sections* of r taps that are a stride apart, with zeros where the last
ones end early, and what belongs to one section is a convolution with a stride of 1 of every ``stride``-th cell:

    7 taps, stride 2, r = 4:    section 0   0 . 2 . 4 . 6           of even cells
                                section 1   . 1 . 3 . 5 . (0)       of odd cells
    9 taps, stride 1, r = 3:    0 1 2 | 3 4 5 | 6 7 8

Sections meet in the sum of products, as channels do, so that results are transformed once for all of them. The taps
of an axis that is not transformed are sections of one tap.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from cyconv import _runtime
from cyconv._plans import table
from cyconv._plans.spec import ConvSpec

Array = np.ndarray[Any, np.dtype[Any]]


class Form(NamedTuple):
    """One F(m, r) and the axes that it transforms, height and width or one of them.

    With a `stride` of 2, even and odd cells have frequencies of their own (``_kernels/winograd_transforms.pxd``),
    where sections share them. `fresh`: the weights are transformed in each call, as they are multiplied
    (``_kernels/winograd_fresh.pxd``).
    """

    m: int
    r: int
    high: bool
    wide: bool
    stride: int = 1
    fresh: bool = False

    @property
    def planar(self) -> bool:
        return self.high and self.wide

    @property
    def points(self) -> int:
        """Cells of an axis that a tile reads for a section, and as many frequencies."""
        return (self.m - 1) * self.stride + self.r

    @property
    def frequencies(self) -> int:
        return self.points**2 if self.planar else self.points


# ---------------------------------------------------------------------------------------------------- sections


def sections(spec: ConvSpec, form: Form, axis: int) -> tuple[range, ...]:
    """The cells that a tile reads for each section of the kernel along an axis, in units of its dilation. The first r
    are those of its taps."""
    if not is_transformed(form, axis):
        return tuple(range(tap, tap + 1) for tap in range(spec.kernel[axis]))
    step = spec.stride[axis] // form.stride
    firsts = [at + phase for at in range(0, spec.kernel[axis], form.r * step) for phase in range(step)]
    reach = (form.points - 1) * step + 1
    return tuple(range(first, first + reach, step) for first in firsts if first < spec.kernel[axis])


def is_transformed(form: Form, axis: int) -> bool:
    """Whether a tile has more than one result along depth, height or width."""
    return (False, form.high, form.wide)[axis]


@lru_cache(maxsize=512)
def cells_of(spec: ConvSpec, form: Form, axis: int) -> int:
    """Cells of an axis from the first to the last that a tile reads."""
    return max(cells.stop for cells in sections(spec, form, axis))


@lru_cache(maxsize=64)
def section_offsets(spec: ConvSpec, form: Form, steps: tuple[int, ...]) -> Array:
    """Where the taps of an output channel lie, in weights with these strides: those of a section together, then its
    sections, then channels, which come before sections where vectors hold them. Those that a section lacks lie behind
    the kernel."""
    channels, depth = np.arange(spec.group_inputs) * steps[0], np.arange(spec.kernel[0]) * steps[1]
    tall, wide = (
        np.array([cells[: form.r] for cells in sections(spec, form, axis)]) * steps[axis + 1] for axis in (1, 2)
    )
    inner = tall[:, None, :, None] + wide[:, None, :]
    offsets: Array = np.add.outer(np.add.outer(channels, depth), inner)
    if has_channel_vectors(spec, form):
        offsets = np.moveaxis(offsets, 0, 3)
    offsets = offsets.reshape(-1)
    offsets.flags.writeable = False  # many calls share it
    return offsets


def tall_and_wide(spec: ConvSpec, form: Form) -> tuple[int, int]:
    """Rows and columns of taps in all sections, zeros included."""
    tall, wide = (max(cells[: form.r][-1] for cells in sections(spec, form, axis)) + 1 for axis in (1, 2))
    return tall, wide


@lru_cache(maxsize=512)
def direct_taps(spec: ConvSpec, form: Form) -> int:
    """Sections of all axes."""
    return prod(len(sections(spec, form, axis)) for axis in range(3))


@lru_cache(maxsize=512)
def has_channel_vectors(spec: ConvSpec, form: Form) -> bool:
    """Whether a vector holds channels of one tile until it is multiplied, and not one channel of many tiles: where it
    is at least half full, and neither phases nor a kernel's depth lie between the cells."""
    alone = spec.kernel[0] == 1 and spec.dilation[1:] == (1, 1)
    return alone and 2 * spec.group_inputs >= int(_runtime.kernel("winograd", spec.dtype).LANES)


# ------------------------------------------------------------------------------------------- forms and accuracy


@lru_cache(maxsize=512)
def forms(spec: ConvSpec) -> tuple[Form, ...]:
    """Every F(m, r) that fits the kernel and the stride."""
    found = [Form(m, r, True, True) for m, r in table.WINOGRAD_PLANAR]
    found += [Form(m, r, high, not high) for m, r in table.WINOGRAD_LINEAR for high in (True, False)]
    found = [form for form in found if all(_fits(spec, form, axis) for axis in (1, 2))]
    found = [form for form in found if direct_taps(spec, form) <= table.WINOGRAD_SECTIONS]
    if spec.kernel[1] == spec.kernel[2]:
        apart = [Form(m, r, True, True, 2) for m, r in table.WINOGRAD_STRIDED]
        fresh = [Form(m, r, True, True, fresh=True) for m, r in table.WINOGRAD_FRESH]
        found += [
            form
            for form in (*apart, *fresh)
            if form.r == spec.kernel[1]
            and spec.stride[1:] == (form.stride, form.stride)
            and has_channel_vectors(spec, form)
        ]
    return tuple(found)


def _fits(spec: ConvSpec, form: Form, axis: int) -> bool:
    """Whether sections of r taps are filled well, of what a dilation does not put apart."""
    if not is_transformed(form, axis):
        return True
    taps = ceil(spec.kernel[axis] / spec.stride[axis])
    filled = taps >= table.WINOGRAD_FILLED * form.r * ceil(taps / form.r)
    return filled and (spec.stride[axis] == 1 or spec.dilation[axis] == 1)


def allowed_forms(spec: ConvSpec) -> tuple[Form, ...]:
    """The forms whose error stays within the bound, and that need not many more products than another.

    The error grows like the square root of the sum's length. Forms of one kind are for planes of many sizes.
    """
    allowed = [form for form in forms(spec) if spec.depth and _error(spec, form) < table.WINOGRAD_ERROR]
    if not allowed:
        return ()
    least = min(allowed, key=lambda form: _products(spec, form))
    most = table.WINOGRAD_PRODUCTS * _products(spec, least)
    kind = least.r, least.high, least.wide
    return tuple(form for form in allowed if (form.r, form.high, form.wide) == kind or _products(spec, form) <= most)


def _error(spec: ConvSpec, form: Form) -> float:
    if form.fresh:
        errors = table.WINOGRAD_FRESH
    elif form.planar:
        errors = table.WINOGRAD_PLANAR if form.stride == 1 else table.WINOGRAD_STRIDED
    else:
        errors = table.WINOGRAD_LINEAR
    return errors[form.m, form.r] * sqrt(direct_taps(spec, form) * spec.group_inputs / 64)


def _products(spec: ConvSpec, form: Form) -> float:
    """Products for each result and input channel."""
    return form.frequencies * direct_taps(spec, form) / form.m ** (2 if form.planar else 1)
