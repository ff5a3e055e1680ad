"""From checked arrays (N, C, *spatial) to calls of three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cyconv._plans.convolution import Convolution
from cyconv._plans.spec import Activation, Call, Pairs, Triple, exported_strides

Array = np.ndarray[Any, np.dtype[Any]]


def triple(values: Sequence[int], missing: int = 1) -> Triple:
    """One number per spatial axis (D, H, W), ``missing`` for the axes that are not there."""
    d, h, w = (*(missing,) * (3 - len(values)), *values)
    return d, h, w


def triple_pads(pads: Sequence[tuple[int, int]]) -> Pairs:
    """One pair per spatial axis, no padding for the axes that are not there."""
    missing = [(0, 0)] * (3 - len(pads))
    d, h, w = [*missing, *pads]
    return d, h, w


def with_three_axes(array: Array) -> Array:
    """View (N, C, *spatial) as (N, C, D, H, W)."""
    return array[(slice(None), slice(None), *(np.newaxis,) * (5 - array.ndim))]


def run_convolution(
    convolution: Convolution, x: Array, out: Array, pads: Sequence[tuple[int, int]], threads: int
) -> None:
    """Run on arrays (N, C, *spatial) of the right dtype, none of them empty."""
    x, out = with_three_axes(x), with_three_axes(out)
    convolution.prepare(call_of(x, out, pads), threads)(x, out)


def call_of(x: Array, out: Array, pads: Sequence[tuple[int, int]]) -> Call:
    """The call with these arrays (N, C, D, H, W)."""
    return Call(
        batch=x.shape[0],
        size=x.shape[2:],
        pads=triple_pads(pads),
        out=out.shape[2:],
        x_strides=exported_strides(x),
        out_strides=exported_strides(out),
    )


def fill_with_bias(out: Array, bias: Array | None, activation: Activation) -> None:
    """The convolution of nothing: act(bias) in every cell of ``out`` (N, K, *spatial)."""
    values = np.zeros(out.shape[1], out.dtype) if bias is None else bias.astype(out.dtype)
    if activation.silu:
        values = values / (1 + np.exp(-values))
    else:
        values = np.where(values < 0, values * out.dtype.type(activation.slope), values)
        values = np.clip(values, activation.lo, activation.hi)
    out[...] = values.reshape(-1, *(1,) * (out.ndim - 2))
