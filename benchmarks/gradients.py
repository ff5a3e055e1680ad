"""Gradients: their cases, their reference in float64, and how several of them count as one result.

A case of the kind ``"gradient"`` has one operation. Its result is one flat array: of a convolution the gradients of
input, weight and bias, one after another; of a pooling that of the input.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import LAYERS_FILE, Case, Conv, Op, Pool, from_layers

Array = np.ndarray[Any, np.dtype[Any]]

# Batches of training; the larger one only where a call takes less than about a third of a second on one core.
BATCHES = (8, 32)
MOST_FLOPS = 16e9


def convolutions(layers: Path = LAYERS_FILE) -> list[Case]:
    """The dense rows of a table of layers in every batch, each shape once."""
    found: dict[object, Case] = {}
    for row in from_layers(layers):
        for batch in BATCHES:
            shape = (batch, *row.shape[1:])
            name = f"{row.name.partition('_b')[0]}_b{batch}_grad"
            case = replace(row, name=name, group="gradients", shape=shape, kind="gradient")
            if row.group == "dense" and (batch == BATCHES[0] or case.flops <= MOST_FLOPS):
                found.setdefault((shape, row.ops), case)
    return list(found.values())


def poolings(rows: list[Case]) -> list[Case]:
    """The same poolings in a batch of training."""
    return [
        replace(row, name=f"{row.name}_grad", group="pool-gradients", kind="gradient", shape=(N, *row.shape[1:]))
        for row in rows
        for N in (max(row.shape[0], BATCHES[0]),)
    ]


def make_gradient(case: Case) -> Array:
    """The gradient of the result, the same numbers in every process."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()) + 1)
    gradient: Array = rng.standard_normal(case.shapes()[-1], dtype=np.float32).astype(case.dtype)
    return gradient


def part_sizes(case: Case) -> list[int]:
    """Sizes of the parts of the result."""
    op = case.ops[0]
    sizes = [prod(case.shape)]
    if isinstance(op, Conv):
        sizes.append(op.K * (case.shape[1] // op.groups) * op.R * op.S)
        sizes += [op.K] * op.bias
    return sizes


def flat(parts: list[Array]) -> Array:
    """The result of a case from its parts."""
    joined: Array = np.concatenate([np.ravel(part) for part in parts])
    return joined


def error(case: Case, result: Array, expected: Array) -> float:
    """Relative L2 error of the worst part."""
    cuts = np.cumsum(part_sizes(case))[:-1]
    pairs = zip(np.split(result, cuts), np.split(expected, cuts), strict=True)
    return max(float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b)) for a, b in pairs)


def reference(op: Op, x: Array, weight: Array | None, gradient: Array) -> Array:
    """By the definition, tap by tap; every array in float64."""
    N, C, H, W = x.shape
    _, K, OH, OW = gradient.shape
    if isinstance(op, Pool) and op.kind == "global":
        return np.broadcast_to(gradient / (H * W), x.shape).ravel()
    p, s = op.padding, op.stride
    taps = np.ndindex(op.R, op.S) if isinstance(op, Conv) else np.ndindex(op.size, op.size)
    seen = {
        tap: (..., *(slice(first, first + (n - 1) * s + 1, s) for first, n in zip(tap, (OH, OW), strict=True)))
        for tap in taps
    }
    outside = -np.inf if isinstance(op, Pool) and op.kind == "max" else 0.0
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=outside)
    spread = np.zeros_like(padded)
    inner = (..., slice(p, p + H), slice(p, p + W))
    if isinstance(op, Pool):
        _spread_pooling(op, padded, spread, gradient, seen)
        return spread[inner].ravel()
    assert weight is not None
    g = op.groups
    grouped = gradient.reshape(N, g, K // g, OH * OW)
    kernel = weight.reshape(g, K // g, C // g, op.R, op.S)
    collected = np.empty_like(kernel)
    for (r, t), window in seen.items():
        patch = padded[window].reshape(N, g, C // g, OH * OW)
        collected[..., r, t] = (grouped @ patch.swapaxes(2, 3)).sum(axis=0)
        spread[window] += (kernel[..., r, t].swapaxes(1, 2) @ grouped).reshape(N, C, OH, OW)
    return flat([spread[inner], collected] + [gradient.sum(axis=(0, 2, 3))] * op.bias)


def _spread_pooling(op: Pool, padded: Array, spread: Array, gradient: Array, seen: dict[Any, Any]) -> None:
    if op.kind == "avg":
        for window in seen.values():
            spread[window] += gradient / op.size**2
        return
    largest = np.max([padded[window] for window in seen.values()], axis=0)
    free = np.ones(gradient.shape, bool)
    for window in seen.values():
        first = free & (padded[window] == largest)
        spread[window] += np.where(first, gradient, 0)
        free &= ~first
