"""Convolution layers."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from cyconv import _checks, conv, conv_transpose
from cyconv import grad as gradients
from cyconv._arrays import Array
from cyconv.conv_plan import Padding, Size
from cyconv.geometry import conv_flops, conv_output_shape, conv_transpose_output_shape
from cyconv.nn import init
from cyconv.nn.module import Module, Parameter, Shape

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_FORWARD = {1: conv.conv1d, 2: conv.conv2d}
_INPUT = {1: gradients.conv1d_input, 2: gradients.conv2d_input}
_WEIGHT = {1: gradients.conv1d_weight, 2: gradients.conv2d_weight}
_BIAS = {1: gradients.conv1d_bias, 2: gradients.conv2d_bias}


class _Conv(Module):
    """What the convolution layers share."""

    axes = 2
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size,
        padding: Padding,
        dilation: Size,
        groups: int,
        bias: bool,
        layout: str,
        rng: np.random.Generator | None,
        dtype: DTypeLike,
    ) -> None:
        self.in_channels = _checks.as_int("in_channels", in_channels, minimum=1)
        self.out_channels = _checks.as_int("out_channels", out_channels, minimum=1)
        self.kernel_size = _checks.as_ints("kernel_size", kernel_size, self.axes, minimum=1)
        self.stride = _checks.as_ints("stride", stride, self.axes, minimum=1)
        self.padding = padding
        self.dilation = _checks.as_ints("dilation", dilation, self.axes, minimum=1)
        self.groups = _checks.as_int("groups", groups, minimum=1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"groups must divide in_channels and out_channels, got groups {groups}, in_channels {in_channels}, "
                f"out_channels {out_channels}"
            )
        self.layout = layout
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        rng = np.random.default_rng() if rng is None else rng
        bound = 1 / sqrt(init.fans(shape)[0])  # the start that PyTorch gives its layers
        self.weight = Parameter(init.uniform(shape, bound, rng, dtype))
        self.bias = None
        if _checks.as_flag("bias", bias):
            self.bias = Parameter(init.uniform((self.out_channels,), bound, rng, dtype))
        self._x: Array | None = None

    @property
    def _channels_last(self) -> bool:
        return self.layout in ("NHWC", "NWC")

    def _how(self) -> dict[str, Any]:
        keys = ("stride", "padding", "dilation", "groups", "layout")
        return {key: getattr(self, key) for key in keys}

    def _spatial(self, shape: Shape) -> Shape:
        return shape[-self.axes - 1 : -1] if self._channels_last else shape[-self.axes :]

    def _shaped(self, shape: Shape, spatial: Shape) -> Shape:
        """The result's shape, if its spatial sizes are these."""
        at = -1 if self._channels_last else -1 - self.axes
        if len(shape) < self.axes + 1 or shape[at] != self.in_channels:
            raise ValueError(f"{self!r} needs {self.in_channels} channels in layout {self.layout}, got shape {shape}")
        lead = shape[: -self.axes - 1]
        return (*lead, *spatial, self.out_channels) if self._channels_last else (*lead, self.out_channels, *spatial)

    def describe(self) -> str:
        """Channels, kernel, and what is not the default."""
        words = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        ones = (1,) * self.axes
        words += [f"{key}={getattr(self, key)}" for key in ("stride", "dilation") if getattr(self, key) != ones]
        if self.padding != 0:
            words.append(f"padding={self.padding!r}")
        if self.groups != 1:
            words.append(f"groups={self.groups}")
        if self.bias is None:
            words.append("bias=False")
        return ", ".join(words)


class Conv2D(_Conv):
    """Convolution of images, :func:`cyconv.conv2d`, with weights that are learned.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K.
    kernel_size, stride, dilation : int or sequence of int
        One for both axes or one each.
    padding, groups, padding_mode, layout
        As in :func:`cyconv.conv2d`.
    bias : bool
        Whether there is one number per output channel that is added.
    rng : numpy.random.Generator, optional
        Where the first weights come from; without it they differ from run to run.
    dtype : dtype_like
        Of the weights; float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter
        ``(K, C // groups, R, S)`` and ``(K,)``, or None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> layer = nn.Conv2D(3, 8, 3, padding=1, rng=np.random.default_rng(0))
    >>> y = layer(np.ones((1, 3, 6, 6), np.float32))
    >>> layer.backward(np.ones_like(y)).shape, layer.weight.grad.shape
    ((1, 3, 6, 6), (8, 3, 3, 3))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        layout: str = "NCHW",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups,
            bias=bias, layout=layout, rng=rng, dtype=dtype,
        )  # fmt: skip
        self.padding_mode = padding_mode

    def _how(self) -> dict[str, Any]:
        return {**super()._how(), "padding_mode": self.padding_mode}

    def forward(self, x: Array) -> Array:
        """Convolve x."""
        self._x = x
        bias = None if self.bias is None else self.bias.data
        if self.training:  # weights change from step to step
            return conv.convolve_once(self.axes, x, self.weight.data, bias, **self._how())
        return _FORWARD[self.axes](x, self.weight.data, bias, **self._how())

    def backward(self, grad: Array) -> Array | None:
        """Add to the gradients of weight and bias; return that of x."""
        x: Array = self.saved("_x")
        self.weight.add_grad(_WEIGHT[self.axes](x, self.weight.shape, grad, **self._how()))
        if self.bias is not None:
            self.bias.add_grad(_BIAS[self.axes](grad, layout=self.layout))
        if not self.needs_input_grad:
            return None
        return _INPUT[self.axes](x.shape, self.weight.data, grad, **self._how())

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result."""
        how = {key: getattr(self, key) for key in ("stride", "padding", "dilation")}
        return self._shaped(shape, conv_output_shape(self._spatial(shape), self.kernel_size, **how))

    def flops(self, shape: Shape) -> int:
        """FLOPs by the definition."""
        how = {key: getattr(self, key) for key in ("stride", "padding", "dilation", "groups")}
        channels = self.in_channels, self.out_channels
        one = conv_flops(self._spatial(shape), *channels, self.kernel_size, **how)
        return prod(shape[: -self.axes - 1]) * one

    def receptive_field_layer(self) -> Mapping[str, Any]:
        """This layer as :func:`cyconv.receptive_field` wants it."""
        return {key: getattr(self, key) for key in ("kernel_size", "stride", "padding", "dilation")}


class Conv1D(Conv2D):
    """Convolution of signals, :func:`cyconv.conv1d`, with weights that are learned.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, layout, rng, dtype
        As in :class:`Conv2D`, with one spatial axis.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.Conv1D(2, 4, 3, stride=2)(np.ones((1, 2, 9), np.float32)).shape
    (1, 4, 4)
    """

    axes = 1


class ConvTranspose2D(_Conv):
    """Transposed convolution of images, :func:`cyconv.conv_transpose2d`, with weights that are learned.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K.
    kernel_size, stride, dilation, output_padding : int or sequence of int
        One for both axes or one each.
    padding, groups, layout
        As in :func:`cyconv.conv_transpose2d`.
    bias, rng, dtype
        As in :class:`Conv2D`.

    Attributes
    ----------
    weight, bias : Parameter
        ``(C, K // groups, R, S)`` and ``(K,)``, or None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.ConvTranspose2D(4, 2, 4, stride=2, padding=1)(np.ones((1, 4, 7, 7), np.float32)).shape
    (1, 2, 14, 14)
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        padding: Padding = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        layout: str = "NCHW",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups,
            bias=bias, layout=layout, rng=rng, dtype=dtype,
        )  # fmt: skip
        self.output_padding = _checks.as_ints("output_padding", output_padding, self.axes, minimum=0)

    def _how(self) -> dict[str, Any]:
        return {**super()._how(), "output_padding": self.output_padding}

    def forward(self, x: Array) -> Array:
        """Convolve x, transposed."""
        self._x = x
        bias = None if self.bias is None else self.bias.data
        return conv_transpose.conv_transpose2d(x, self.weight.data, bias, **self._how())

    def backward(self, grad: Array) -> Array | None:
        """Add to the gradients of weight and bias; return that of x."""
        x: Array = self.saved("_x")
        self.weight.add_grad(gradients.conv_transpose2d_weight(x, self.weight.shape, grad, **self._how()))
        if self.bias is not None:
            self.bias.add_grad(gradients.conv2d_bias(grad, layout=self.layout))
        if not self.needs_input_grad:
            return None
        return gradients.conv_transpose2d_input(x.shape, self.weight.data, grad, **self._how())

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result."""
        how = {key: getattr(self, key) for key in ("stride", "padding", "dilation", "output_padding")}
        return self._shaped(shape, conv_transpose_output_shape(self._spatial(shape), self.kernel_size, **how))

    def flops(self, shape: Shape) -> int:
        """FLOPs by the definition: a multiply-add for every input position and weight."""
        return 2 * prod(shape[: -self.axes - 1]) * prod(self._spatial(shape)) * self.weight.size

    def receptive_field_layer(self) -> Mapping[str, Any]:
        """This layer as :func:`cyconv.receptive_field` wants it."""
        keys = ("kernel_size", "stride", "padding", "dilation", "output_padding")
        return {"transposed": True, **{key: getattr(self, key) for key in keys}}
