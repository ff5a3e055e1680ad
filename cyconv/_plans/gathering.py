"""Strips and slots of one axis: how ``_kernels/gather.pxd`` lays out what a box of outputs reads."""

from __future__ import annotations

from typing import NamedTuple


class AxisLayout(NamedTuple):
    """Where each tap of an axis finds its cells in the gathered block."""

    slots: int
    strips: tuple[tuple[int, int, int], ...]
    """(start coordinate, cells beyond the box, first slot) of each strip."""
    tap_slots: tuple[int, ...]
    """Slot of each tap for output 0 of the box; output o is o slots further on."""


def lay_out_axis(taps: int, stride: int, dilation: int, box: int) -> AxisLayout:
    """Sort the taps of an axis into strips for boxes of up to ``box`` outputs.

    Taps whose coordinates are equal modulo the stride can share a strip, and do as long as the gap between two of
    them is not longer than the box: cells between distant taps would be gathered for nothing.
    """
    strips: list[tuple[int, int, int]] = []
    tap_slots = [0] * taps
    slots = 0
    by_phase: dict[int, list[int]] = {}
    for tap in range(taps):
        by_phase.setdefault(tap * dilation % stride, []).append(tap)
    for members in by_phase.values():
        start, extra, first = members[0] * dilation, 0, slots
        for tap in members:
            offset = (tap * dilation - start) // stride
            if offset - extra > box:
                strips.append((start, extra, first))
                slots = first + extra + box
                start, extra, first, offset = tap * dilation, 0, slots, 0
            extra = offset
            tap_slots[tap] = first + offset
        strips.append((start, extra, first))
        slots = first + extra + box
    return AxisLayout(slots, tuple(strips), tuple(tap_slots))
