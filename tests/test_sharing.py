"""How boxes are counted, and when the last of the threads that share them is done."""

import heapq
import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cyconv._plans.sharing import box_kinds, last_done

SIDES = st.integers(1, 9)


@given(st.tuples(SIDES, SIDES, SIDES, SIDES), st.integers(0, 3), st.data())
def test_boxes_cover_the_grid(grid, axis, data):
    """One axis is cut, into boxes of 1 in front of it and whole axes behind it."""
    box = (*(1,) * axis, data.draw(st.integers(1, grid[axis])), *grid[axis + 1 :])
    cuts = [[min(side, length - at) for at in range(0, length, side)] for length, side in zip(grid, box, strict=True)]
    assert Counter(itertools.product(*cuts)) == {kind: count for count, kind in box_kinds(grid, box)}


@given(st.integers(1, 17), st.integers(1, 60), st.integers(0, 60), st.floats(1, 1e6), st.floats(0.01, 1))
def test_the_last_thread(threads, count, more, each, share):
    """The same as letting whoever is done first take the largest item that is left."""
    turns = [(count, each)] + [(more, share * each)] * (more > 0)
    loads = [0.0] * threads
    for many, cost in turns:
        for _ in range(many):
            heapq.heapreplace(loads, loads[0] + cost)
    assert abs(last_done(turns, threads) - max(loads)) <= 1e-6 * max(loads)


def test_more_items_than_floating_point_can_count():
    assert last_done([(2**62, 3.0), (2**60, 1.0)], 7) >= 2**62 * 3.0 / 7
