"""Losses: each returns the loss and its gradient, with which the backward pass begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cyconv import _checks
from cyconv._arrays import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def cross_entropy(logits: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    r"""Cross-entropy of the softmax of ``logits`` with the right classes, averaged over the batch.

    .. math:: L = -\frac{1}{N} \sum_n \log \frac{e^{z_{n,t_n}}}{\sum_j e^{z_{n,j}}}

    Parameters
    ----------
    logits : array_like
        ``(N, classes)``, any numbers; no softmax before.
    target : array_like of int
        ``(N,)``: the right class of each row.

    Returns
    -------
    loss : float
    grad : ndarray
        dL/d(logits), ``(softmax(logits) - one_hot(target)) / N``.

    Raises
    ------
    TypeError, ValueError
        If a shape or dtype is wrong, the batch is empty, or a class does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> loss, grad = nn.cross_entropy(np.zeros((2, 4)), [0, 3])
    >>> round(loss, 4), grad[0]
    (1.3863, array([-0.375,  0.125,  0.125,  0.125]))
    """
    z = _checks.as_array("logits", logits)
    classes = np.asarray(target)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"logits must have shape (N, classes), neither of them 0, got shape {z.shape}")
    if z.dtype.kind != "f":
        raise TypeError(f"logits must be floating-point numbers, got {z.dtype}")
    if classes.dtype.kind not in "iu":
        raise TypeError(f"target must hold integers, got dtype {classes.dtype}")
    if classes.shape != z.shape[:1]:
        raise ValueError(f"target must have shape (N,) = ({len(z)},), got shape {classes.shape}")
    if classes.min() < 0 or classes.max() >= z.shape[1]:
        raise ValueError(f"target must be from 0 to {z.shape[1] - 1}, got {classes.min()} to {classes.max()}")
    rows = np.arange(len(z))
    shifted = z - z.max(axis=1, keepdims=True)
    grad = np.exp(shifted)
    total = grad.sum(axis=1)
    loss = float((np.log(total) - shifted[rows, classes]).mean(dtype=np.float64))
    grad /= total[:, np.newaxis]
    grad[rows, classes] -= 1
    grad /= len(z)
    return loss, grad


def mse_loss(prediction: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    r"""Mean of the squared differences, ``sum((prediction - target)**2) / count``.

    Parameters
    ----------
    prediction, target : array_like
        Of the same shape.

    Returns
    -------
    loss : float
    grad : ndarray
        dL/d(prediction), ``2 * (prediction - target) / count``.

    Raises
    ------
    TypeError, ValueError
        If the shapes differ, there is nothing in them, the prediction is not of floating-point numbers or the target
        is complex.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.mse_loss(np.array([1.0, 3.0]), np.array([0.0, 0.0]))
    (5.0, array([1., 3.]))
    """
    p, t = _checks.as_array("prediction", prediction), _checks.as_array("target", target)
    if p.dtype.kind != "f":
        raise TypeError(f"prediction must be floating-point numbers, got {p.dtype}")
    if t.dtype.kind == "c":
        raise TypeError(f"target must be real numbers, got {t.dtype}")
    if p.shape != t.shape or p.size == 0:
        raise ValueError(f"prediction and target must have the same shape, not empty, got {p.shape} and {t.shape}")
    difference = (p - t).astype(p.dtype, copy=False)
    loss = float(np.square(difference).mean(dtype=np.float64))
    return loss, difference * p.dtype.type(2 / p.size)
