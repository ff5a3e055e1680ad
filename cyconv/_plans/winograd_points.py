"""Interpolation points of Winograd's algorithm, and the matrices that follow from them (Cook and Toom).

F(m, r) computes m neighbouring results of a kernel of r taps from ``a = m + r - 1`` products. A polynomial is known
by its values at ``a - 1`` points and its leading coefficient ("infinity"); interpolating a product of polynomials and
transposing gives ``y = A^T ((G w) * (B^T x))`` with, for the point p and M(x) = prod over the points of (x - q),

    B^T row:  coefficients of M(x) / (x - p)         G row:  p^j / prod over q != p of (p - q)       A row:  p^i
    at infinity:  coefficients of M(x)                       0 ... 0 1                                       0 ... 0 1

The identity holds for any distinct points, the rounding does not: it was measured for pairs +-p of dyadic numbers,
and the best are in `PAIRS`. Dyadic numbers of few bits keep every entry of A and B exact in both float types, and
pairs make the transforms fall into even and odd halves (``_kernels/winograd_transforms.pxd``).

References: B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, "Error analysis and improving the accuracy of
Winograd convolution for deep neural networks", ACM Transactions on Mathematical Software 46 (4), 2020;
S. A. Alam, A. Anderson, B. Barabasz, D. Gregg, "Winograd convolution for deep neural networks: efficient point
selection", ACM Transactions on Embedded Computing Systems 21 (6), 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: a -> the positive points; their negatives, infinity and, for even a, 0 complete the set. These gave the smallest
#: relative L2 error in float32 among all choices of multiples of 1/8 up to 2 and a few beyond (the errors are in
#: ``table.WINOGRAD_PLANAR`` and ``WINOGRAD_LINEAR``).
PAIRS: dict[int, tuple[float, ...]] = {
    4: (1.0,),
    5: (0.375, 1.25),
    6: (0.625, 1.5),
    7: (0.375, 0.875, 1.75),
    8: (0.5, 1.0, 2.0),
    10: (0.375, 0.75, 1.25, 2.0),
}


class Numbers(NamedTuple):
    """What one F(m, r) needs; all in float64."""

    inputs: Array
    """Numbers of the input transform, in the order of ``winograd_transforms.pxd``."""
    outputs: Array
    """Numbers of the output transform."""
    weights: Array
    """The matrix G, a x r."""
    fresh: Array
    """Numbers of the transform in ``winograd_fresh.pxd``; its scales are what the rows of G have for p^0."""


@cache
def numbers(m: int, r: int, stride: int = 1) -> Numbers:
    """Everything about F(m, r) with the points of `PAIRS`. Exact but for the division in G, which rounds once.

    At a stride of 2, the even taps have an F(m, r - 1) to themselves, and the odd one of 3 a product for each result.
    """
    if stride == 2:
        even = numbers(m, r - 1)
        odd = np.tile(np.arange(r) % 2, (m, 1))
        weights = np.zeros((m + r - 2, r))
        weights[:, ::2] = even.weights
        return even._replace(weights=np.vstack([weights, odd]))
    pairs = PAIRS[m + r - 1]
    squares = [p * p for p in pairs]
    leading = _product(squares)[:-1]
    rests = [_product(squares[:i] + squares[i + 1 :])[:-1] for i in range(len(pairs))]
    points = [0.0] * (1 - (m + r - 1) % 2) + [sign * p for p in pairs for sign in (1.0, -1.0)]
    rows = []
    for p in points:
        scale = 1.0
        for q in points:
            scale *= p - q if q != p else 1.0
        rows.append([p**j / scale for j in range(r)])
    scales = [*(row[0] for row in rows), 1.0]
    rows.append([0.0] * (r - 1) + [1.0])
    return Numbers(
        inputs=np.array([*leading, *pairs, *(c for rest in rests for c in rest)]),
        outputs=np.array([p**i for i in range(m) for p in pairs]),
        weights=np.array(rows),
        fresh=np.array([*pairs, *squares, *np.outer(scales, scales).ravel()]),
    )


def _product(squares: list[float]) -> list[float]:
    """Coefficients of prod (x - s), constant first: of P and Q as polynomials in x^2."""
    found = [1.0]
    for s in squares:
        found = [low - s * high for low, high in zip([0.0, *found], [*found, 0.0], strict=True)]
    return found


def offsets_of_cells(tall: Sequence[range], wide: Sequence[range], stride: int, row: int, lanes: int) -> list[int]:
    """Where the transforms of a tile find their cells, those of each section of rows and columns, in rows of so many,
    a vector of channels each. At a stride of 2 the even ones come first."""

    def in_order(cells: range) -> list[int]:
        return [cell for phase in range(stride) for cell in cells[phase::stride]]

    return [
        (h * row + w) * lanes
        for rows, columns in product(tall, wide)
        for h, w in product(in_order(rows), in_order(columns))
    ]
