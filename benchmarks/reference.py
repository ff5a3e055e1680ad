"""The data of a case, and its result in float64 by the plain definition (NumPy alone)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import gradients
from benchmarks.cases import Case, Conv, Pool

Array = np.ndarray[Any, np.dtype[Any]]

# One wrong cell among n of typical size shows up as 1 / sqrt(n) in the relative L2 error, so the bounds of
# float32 and float64 also catch a single wrong cell in an output of 1e9. float32: what the library promises
# for its fast algorithms at any size; float64: the same number of units in the last place, and more. The half
# formats round the output, by half a unit in the last place (2 ** -11 and 2 ** -8) at most.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 2e-3, "bfloat16": 1.6e-2, "uint8": 1e-5}

# Beyond this many taps one transform of the whole plane is quicker than one pass per tap.
FFT_TAPS = 64


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype of that name; bfloat16 is the one of ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return found
    return np.dtype(name)


@dataclass(frozen=True)
class Data:
    """``x`` is (N, C, H, W); ``weights`` and ``biases`` have an item per operation, or None there."""

    x: Array
    weights: tuple[Array | None, ...]
    biases: tuple[Array | None, ...]


def make_data(case: Case) -> Data:
    """The same numbers in every process: the seed is the case's name."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    dtype = numpy_dtype(case.dtype)
    if case.dtype == "uint8":
        x = rng.integers(0, 256, case.shape, dtype=np.uint8)
        dtype = np.dtype(np.float32)  # of the kernel: an image of bytes is filtered into floats
    else:
        x = rng.standard_normal(case.shape, dtype=np.float32).astype(dtype)
    weights: list[Array | None] = []
    biases: list[Array | None] = []
    for op, shape in zip(case.ops, case.shapes(), strict=False):
        if isinstance(op, Pool):
            weights.append(None)
            biases.append(None)
            continue
        per_group = shape[1] // op.groups
        scale = np.sqrt(2.0 / (per_group * op.R * op.S))
        weights.append((rng.standard_normal((op.K, per_group, op.R, op.S)) * scale).astype(dtype))
        biases.append((rng.standard_normal(op.K) * 0.1).astype(dtype) if op.bias else None)
    return Data(x, tuple(weights), tuple(biases))


def result_dtype(case: Case, data: Data) -> np.dtype[Any]:
    """The dtype of the result: that of the input, but an image of bytes is filtered into floats."""
    return np.dtype(np.float32) if case.kind == "image" and case.dtype == "uint8" else data.x.dtype


def reference(case: Case, data: Data) -> Array:
    """The result of the whole chain in float64 (of max-pooling: in the dtype of the input, it is exact)."""
    if case.kind == "gradient":
        (weight,) = (None if weight is None else weight.astype(np.float64) for weight in data.weights)
        gradient = gradients.make_gradient(case).astype(np.float64)
        return gradients.reference(case.ops[0], data.x.astype(np.float64), weight, gradient)
    exact = all(isinstance(op, Pool) and op.kind == "max" for op in case.ops)
    y: Array = data.x if exact else data.x.astype(np.float64)
    for op, weight, bias in zip(case.ops, data.weights, data.biases, strict=True):
        if isinstance(op, Pool):
            y = _pool(y, op)
            continue
        assert weight is not None
        y = _conv(y, weight.astype(np.float64), op)
        if bias is not None:
            y += bias.astype(np.float64)[:, None, None]
        if op.relu:
            np.maximum(y, 0, out=y)
    return y


def error(case: Case, result: Array, expected: Array) -> float:
    """Relative L2 error; max-pooling has 0 if every cell is equal, else infinity; a wrong shape infinity."""
    if result.shape != expected.shape:
        return float("inf")
    if case.kind == "gradient":
        return gradients.error(case, result, expected)
    if expected.dtype != np.float64 or all(isinstance(op, Pool) and op.kind == "max" for op in case.ops):
        return 0.0 if np.array_equal(result, expected) else float("inf")
    difference = np.linalg.norm((result.astype(np.float64) - expected).ravel())
    return float(difference / np.linalg.norm(expected.ravel()))


def tolerance(case: Case) -> float:
    """The largest error accepted; the errors of a chain's steps add up.

    The gradients of weights and biases are sums over all positions; those of n numbers of either sign, one after the
    other, are wrong by about sqrt(n) roundings, and n is up to 1.6e6 here.
    """
    if case.kind == "gradient":
        N, _, OH, OW = case.shapes()[-1]
        return max(TOLERANCE[case.dtype], float(np.finfo(case.dtype).eps) / 2 * np.sqrt(N * OH * OW))
    return TOLERANCE[case.dtype] * max(1, sum(isinstance(op, Conv) for op in case.ops))


def _padded(x: Array, padding: int, value: float) -> Array:
    if not padding:
        return x
    edges = (padding, padding)
    return np.pad(x, ((0, 0), (0, 0), edges, edges), constant_values=x.dtype.type(value))


def _tap(x: Array, r: int, s: int, stride: int, OH: int, OW: int) -> Array:
    """What cell (r, s) of the kernel sees, for every output."""
    return x[:, :, r : r + (OH - 1) * stride + 1 : stride, s : s + (OW - 1) * stride + 1 : stride]


def _conv(x: Array, w: Array, op: Conv) -> Array:
    """y[n, k, i, j] = sum over c, r, s of w[k, c, r, s] * x[n, c, i * stride + r, j * stride + s]."""
    N, K, OH, OW = op.output(x.shape)
    x = _padded(x, op.padding, 0)
    if x.shape[1] == K == 1 and op.stride == 1 and op.R * op.S > FFT_TAPS:
        return _correlate_fft(x, w, OH, OW)
    g = op.groups
    grouped = w.reshape(g, K // g, -1, op.R, op.S)
    y = np.zeros((N, g, K // g, OH * OW))
    for r in range(op.R):
        for s in range(op.S):
            patch = _tap(x, r, s, op.stride, OH, OW)
            patch = patch.reshape(N, g, -1, OH * OW)
            tap = grouped[None, ..., r, s]
            y += tap * patch if patch.shape[2] == 1 else tap @ patch
    return y.reshape(N, K, OH, OW)


def _correlate_fft(x: Array, w: Array, OH: int, OW: int) -> Array:
    size = x.shape[2:]
    product = np.fft.rfft2(x[0, 0]) * np.conj(np.fft.rfft2(w[0, 0], size))
    plane = np.fft.irfft2(product, size)
    return plane[None, None, :OH, :OW]


def _pool(x: Array, op: Pool) -> Array:
    if op.kind == "global":
        mean: Array = x.mean(axis=(2, 3), keepdims=True)
        return mean
    _, _, OH, OW = op.output(x.shape)
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    x = _padded(x, op.padding, lowest if op.kind == "max" else 0)
    combine = np.maximum if op.kind == "max" else np.add
    y: Array | None = None
    for r in range(op.size):
        for s in range(op.size):
            window = _tap(x, r, s, op.stride, OH, OW)
            y = window.copy() if y is None else combine(y, window, out=y)
    assert y is not None
    return y if op.kind == "max" else y / op.size**2
