"""Random weights: each function takes the generator to draw from and returns a new array."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from cyconv._arrays import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = ["fans", "kaiming_normal", "kaiming_uniform", "uniform", "xavier_normal", "xavier_uniform"]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Inputs and outputs of one neuron of a weight of shape ``(out, in, *kernel)``.

    Examples
    --------
    >>> from cyconv.nn import init
    >>> init.fans((6, 1, 5, 5))
    (25, 150)
    """
    if len(shape) < 2:
        raise ValueError(f"shape must have at least 2 sizes (out, in), got {tuple(shape)}")
    cells = prod(shape[2:])
    return shape[1] * cells, shape[0] * cells


def uniform(
    shape: Sequence[int], bound: float, rng: np.random.Generator, dtype: DTypeLike = np.float32
) -> Array:
    """Numbers from -bound to bound.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.nn import init
    >>> bool(abs(init.uniform((100,), 0.1, np.random.default_rng(0))).max() <= 0.1)
    True
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r} of type {type(rng).__name__}")
    return rng.uniform(-bound, bound, tuple(shape)).astype(dtype)


def _normal(shape: Sequence[int], deviation: float, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r} of type {type(rng).__name__}")
    return rng.normal(0.0, deviation, tuple(shape)).astype(dtype)


def kaiming_uniform(
    shape: Sequence[int], rng: np.random.Generator, *, gain: float = sqrt(2.0), dtype: DTypeLike = np.float32
) -> Array:
    """Uniform numbers of variance ``gain**2 / fan_in``: ReLU then keeps the size of what goes forward.

    Parameters
    ----------
    shape : sequence of int
        ``(out, in, *kernel)``.
    rng : numpy.random.Generator
        Where the numbers come from.
    gain : float
        sqrt(2) for ReLU.
    dtype : dtype_like
        Of the result.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", arXiv:1502.01852.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.nn import init
    >>> init.kaiming_uniform((6, 1, 5, 5), np.random.default_rng(0)).shape
    (6, 1, 5, 5)
    """
    return uniform(shape, gain * sqrt(3.0 / max(1, fans(shape)[0])), rng, dtype)


def kaiming_normal(
    shape: Sequence[int], rng: np.random.Generator, *, gain: float = sqrt(2.0), dtype: DTypeLike = np.float32
) -> Array:
    """Normal numbers of variance ``gain**2 / fan_in``; see :func:`kaiming_uniform`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.nn import init
    >>> init.kaiming_normal((6, 1, 5, 5), np.random.default_rng(0)).dtype
    dtype('float32')
    """
    return _normal(shape, gain / sqrt(max(1, fans(shape)[0])), rng, dtype)


def xavier_uniform(
    shape: Sequence[int], rng: np.random.Generator, *, gain: float = 1.0, dtype: DTypeLike = np.float32
) -> Array:
    """Uniform numbers of variance ``2 * gain**2 / (fan_in + fan_out)``, for both directions through tanh or sigmoid.

    Parameters
    ----------
    shape, rng, gain, dtype
        As in :func:`kaiming_uniform`.

    References
    ----------
    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.nn import init
    >>> init.xavier_uniform((10, 84), np.random.default_rng(0)).shape
    (10, 84)
    """
    return uniform(shape, gain * sqrt(6.0 / max(1, sum(fans(shape)))), rng, dtype)


def xavier_normal(
    shape: Sequence[int], rng: np.random.Generator, *, gain: float = 1.0, dtype: DTypeLike = np.float32
) -> Array:
    """Normal numbers of variance ``2 * gain**2 / (fan_in + fan_out)``; see :func:`xavier_uniform`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.nn import init
    >>> init.xavier_normal((10, 84), np.random.default_rng(0)).shape
    (10, 84)
    """
    return _normal(shape, gain * sqrt(2.0 / max(1, sum(fans(shape)))), rng, dtype)
