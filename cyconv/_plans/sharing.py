"""Boxes of work: of which sizes they are, and when the last of the threads that share them is done."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

Box = tuple[int, int, int, int]


def box_kinds(grid: Box, box: Box) -> list[tuple[int, Box]]:
    """How many whole boxes a grid is cut into and, as one axis at most is cut, how many smaller ones at its end.

    Axes before that one have boxes of 1, those behind it are whole.
    """
    axis = next((i for i in range(4) if box[i] > 1), 3)
    copies, (whole, rest) = prod(grid[:axis]), divmod(grid[axis], box[axis])
    kinds = []
    for count, length in ((copies * whole, box[axis]), (copies, rest)):
        if count and length:
            n, d, h, w = (length if i == axis else side for i, side in enumerate(box))
            kinds.append((count, (n, d, h, w)))
    return kinds


def last_done(turns: Sequence[tuple[int, float]], threads: int) -> float:
    """When the last of the threads is done with so many items that take so long each, and so many smaller ones.

    They take the whole ones in turn, and then who is done first a smaller one.
    """
    (count, each), *smaller = turns
    late, early = -(-count // threads) * each, count // threads * each
    if not smaller:
        return late
    (more, less), several = smaller[0], count % threads
    if threads == 1:
        return late + more * less
    # of the times at which a thread ends, the first one by which all are taken
    level = max(late, (count * each + more * less) / threads)
    ends = {late, *(at + (ceil((level - at) / less) + i) * less for at in (late, early) for i in (-1, 0, 1))}
    taken = (several, late), (threads - several, early)

    def is_enough(end: float) -> bool:
        return end >= late and sum(n * int((end - at) / less + 1e-9) for n, at in taken) >= more

    return min(filter(is_enough, ends), default=level + less)  # no end: more items than such numbers tell apart
