"""Layers without convolution: fully connected, flattening, activations, normalisation, dropout."""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from cyconv import _checks
from cyconv import grad as gradients
from cyconv._arrays import Array
from cyconv._plans import product
from cyconv._runtime import threads_for
from cyconv.conv import conv1d
from cyconv.nn import init
from cyconv.nn.module import Module, Parameter, Shape

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Linear(Module):
    """Fully connected layer: ``y = x W^T + b`` along the last axis.

    A convolution with a kernel of one cell is this layer at every position, and that is how many rows are computed;
    few are multiplied with the weights as they lie. The number of threads is cyconv's, and changes no bit.

    Parameters
    ----------
    in_features, out_features : int
        Length of the last axis of x and of the result.
    bias : bool
        Whether there is one number per output that is added.
    rng, dtype
        As in :class:`Conv2D`.

    Attributes
    ----------
    weight, bias : Parameter
        ``(out_features, in_features)`` and ``(out_features,)``, or None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.Linear(4, 2)(np.ones((3, 4), np.float32)).shape
    (3, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_features = _checks.as_int("in_features", in_features, minimum=1)
        self.out_features = _checks.as_int("out_features", out_features, minimum=1)
        rng = np.random.default_rng() if rng is None else rng
        bound = 1 / sqrt(self.in_features)  # the start that PyTorch gives its layers
        self.weight = Parameter(init.uniform((self.out_features, self.in_features), bound, rng, dtype))
        self.bias = None
        if _checks.as_flag("bias", bias):
            self.bias = Parameter(init.uniform((self.out_features,), bound, rng, dtype))
        self._x: Array | None = None

    def forward(self, x: Array) -> Array:
        """Multiply, add the bias."""
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"x must have {self.in_features} features along its last axis, got shape {x.shape}")
        self._x = x
        y = _product(x.reshape(-1, self.in_features), self.weight.data)
        if self.bias is not None:
            y += self.bias.data
        return y.reshape(*x.shape[:-1], self.out_features)

    def backward(self, grad: Array) -> Array | None:
        """Add to the gradients of weight and bias; return that of x."""
        x: Array = self.saved("_x")
        rows, given = x.reshape(-1, self.in_features), grad.reshape(-1, self.out_features)
        self.weight.add_grad(_outer(given, rows))
        if self.bias is not None:
            self.bias.add_grad(gradients.conv1d_bias(given[np.newaxis], layout="NWC"))
        if not self.needs_input_grad:
            return None
        return _product(given, self.weight.data.T).reshape(x.shape)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result."""
        if not shape or shape[-1] != self.in_features:
            raise ValueError(f"{self!r} needs {self.in_features} features along the last axis, got shape {shape}")
        return (*shape[:-1], self.out_features)

    def flops(self, shape: Shape) -> int:
        """A multiply-add for every row and weight."""
        return 2 * prod(shape[:-1]) * self.weight.size

    def describe(self) -> str:
        """Sizes."""
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")


def _product(a: Array, b: Array) -> Array:
    """``a @ b.T``, a having the rows of the batch. As a convolution one of them is a signal, its rows the positions,
    the other the kernels of one cell.

    Weights are copied before they are used, so the one of fewer rows is taken for them: that of a layer is often much
    larger than a batch.
    """
    if product.suits_dots(a, b):
        return product.dots(a, b, threads_for(None))
    if product.suits_times(len(a), a, b.T):
        return product.times(a, b.T, threads_for(None))
    result: Array = np.empty((len(a), len(b)), np.result_type(a, b))
    signal, kernels, out = (b, a, result.T) if len(a) < len(b) else (a, b, result)
    conv1d(signal[np.newaxis], kernels[..., np.newaxis], layout="NWC", out=out[np.newaxis])
    return result


def _outer(a: Array, b: Array) -> Array:
    """``a.T @ b``: the sum over the batch, which is the gradient of weights."""
    if len(a) == 0:  # an image without positions is none to convolve
        return np.zeros((a.shape[1], b.shape[1]), np.result_type(a, b))
    if product.suits_times(len(a), a.T, b):
        return product.times(a.T, b, threads_for(None))
    shape = (a.shape[1], b.shape[1], 1)
    result: Array = gradients.conv1d_weight(b[np.newaxis], shape, a[np.newaxis], layout="NWC")[..., 0]
    return result


class Flatten(Module):
    """Make one axis of all but the first.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.Flatten()(np.ones((2, 3, 4, 5))).shape
    (2, 60)
    """

    _shape: Shape | None = None

    def forward(self, x: Array) -> Array:
        """Reshape."""
        self._shape = x.shape
        return x.reshape(len(x), prod(x.shape[1:]))

    def backward(self, grad: Array) -> Array:
        """Reshape back."""
        return grad.reshape(self.saved("_shape"))

    def output_shape(self, shape: Shape) -> Shape:
        """(N, the rest)."""
        return (shape[0], prod(shape[1:]))


class ReLU(Module):
    """``max(x, 0)``; the gradient at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self) -> None:
        self._passes: Array | None = None

    def forward(self, x: Array) -> Array:
        """Cut off below 0. A byte for each number is kept, not the result, which takes more and may be let go of."""
        self._passes = x > 0
        y: Array = np.maximum(x, 0)
        return y

    def backward(self, grad: Array) -> Array:
        """Pass the gradient where the result is greater than 0."""
        result: Array = grad * self.saved("_passes")
        return result


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.Sigmoid()(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """

    def __init__(self) -> None:
        self._y: Array | None = None

    def forward(self, x: Array) -> Array:
        """Compute it from exp of a negative number, which cannot overflow."""
        small = np.exp(-np.abs(x))
        y: Array = np.where(x >= 0, 1, small) / (1 + small)
        self._y = y
        return y

    def backward(self, grad: Array) -> Array:
        """``grad * y * (1 - y)``."""
        y: Array = self.saved("_y")
        result: Array = grad * y * (1 - y)
        return result


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` along an axis. In front of :func:`cross_entropy` it is not needed.

    Parameters
    ----------
    axis : int
        Along which the results add up to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.Softmax()(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis
        self._y: Array | None = None

    def forward(self, x: Array) -> Array:
        """Compute it from differences to the maximum, which cannot overflow."""
        y: Array = np.exp(x - x.max(axis=self.axis, keepdims=True))
        y /= y.sum(axis=self.axis, keepdims=True)
        self._y = y
        return y

    def backward(self, grad: Array) -> Array:
        """``y * (grad - sum(grad * y))``."""
        y: Array = self.saved("_y")
        result: Array = y * (grad - (grad * y).sum(axis=self.axis, keepdims=True))
        return result


class BatchNorm2D(Module):
    """Make mean 0 and variance 1 of every channel, over batch and positions, then scale and shift.

    In evaluation mode with the running mean and variance, which training keeps as ``(1 - momentum) * old + momentum *
    new``; the running variance is the unbiased one. Names and defaults are PyTorch's.

    Parameters
    ----------
    channels : int
        C.
    eps : float
        Added to the variance.
    momentum : float
        Share of the new in the running figures.
    layout : {"NCHW", "NHWC"}
        Where the channels are.
    dtype : dtype_like
        Of the parameters.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization", arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> x = np.random.default_rng(0).normal(3.0, 2.0, (4, 2, 5, 5))
    >>> y = nn.BatchNorm2D(2)(x)
    >>> bool(abs(y.mean()) < 1e-6), bool(abs(y.std() - 1) < 1e-4)
    (True, True)
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        layout: str = "NCHW",
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.channels = _checks.as_int("channels", channels, minimum=1)
        self.eps = _checks.as_real("eps", eps, finite=True)
        self.momentum = _checks.as_real("momentum", momentum, finite=True)
        self.layout = _checks.check_choice("layout", layout, ("NCHW", "NHWC"))
        self.weight = Parameter(np.ones(channels, dtype))
        self.bias = Parameter(np.zeros(channels, dtype))
        self.running_mean = np.zeros(channels, dtype)
        self.running_var = np.ones(channels, dtype)
        self.num_batches_tracked = np.zeros((), np.int64)
        self._kept: tuple[Array, Array, bool] | None = None

    def _column(self, values: Array) -> Array:
        return values if self.layout == "NHWC" else values[:, np.newaxis, np.newaxis]

    def _axes(self, x: Array) -> tuple[int, ...]:
        at = x.ndim - (1 if self.layout == "NHWC" else 3)
        if x.ndim < 3 or x.shape[at] != self.channels:
            raise ValueError(f"{self!r} needs {self.channels} channels in layout {self.layout}, got shape {x.shape}")
        return tuple(axis for axis in range(x.ndim) if axis != at)

    def forward(self, x: Array) -> Array:
        """Normalise x."""
        axes = self._axes(x)
        if self.training:
            count = x.size // self.channels
            if count < 2:
                raise ValueError(f"x must have more than one value per channel to train on, got shape {x.shape}")
            mean, variance = x.mean(axis=axes), x.var(axis=axes)
            unbiased = variance * (count / (count - 1))
            for name, new in (("running_mean", mean), ("running_var", unbiased)):
                old = getattr(self, name)
                setattr(self, name, ((1 - self.momentum) * old + self.momentum * new).astype(old.dtype))
            self.num_batches_tracked = np.asarray(self.num_batches_tracked + 1)  # NumPy makes a scalar of it
        else:
            mean, variance = self.running_mean, self.running_var
        scale = (1 / np.sqrt(variance + self.eps)).astype(x.dtype)
        normal = (x - self._column(mean)) * self._column(scale)
        self._kept = normal, scale, self.training
        return normal * self._column(self.weight.data) + self._column(self.bias.data)

    def backward(self, grad: Array) -> Array:
        """The gradient of x goes through mean and variance as well, if the forward pass took them from x."""
        normal, scale, training = self.saved("_kept")
        axes = self._axes(grad)
        along, total = (grad * normal).sum(axis=axes), grad.sum(axis=axes)
        self.weight.add_grad(along)
        self.bias.add_grad(total)
        factor = self._column(self.weight.data * scale)
        if not training:
            return grad * factor
        count = grad.size // self.channels
        result: Array = factor * (grad - self._column(total / count) - normal * self._column(along / count))
        return result

    def describe(self) -> str:
        """Channels."""
        return f"{self.channels}"


class Dropout(Module):
    """In training mode, set each value to 0 with probability ``p`` and multiply the others by ``1 / (1 - p)``.

    Parameters
    ----------
    p : float
        0 to 1.
    rng : numpy.random.Generator, optional
        Where the choice comes from.

    References
    ----------
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.Dropout(0.5).eval()(np.ones(3))
    array([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        self.p = _checks.as_real("p", p)
        if not 0 <= self.p <= 1:
            raise ValueError(f"p must be from 0 to 1, got {p}")
        self.rng = np.random.default_rng() if rng is None else rng
        self._factor: Array | None = None

    def forward(self, x: Array) -> Array:
        """Drop values, or in evaluation mode none."""
        if not self.training:
            self._factor = np.ones((), x.dtype)
            return x
        kept: Array = np.asarray(self.rng.random(x.shape, np.float32) >= self.p)
        self._factor = kept.astype(x.dtype) * x.dtype.type(1 / max(1 - self.p, 2.0**-60))
        return x * self._factor

    def backward(self, grad: Array) -> Array:
        """Drop the same values."""
        result: Array = grad * self.saved("_factor")
        return result

    def describe(self) -> str:
        """The probability."""
        return f"p={self.p}"
