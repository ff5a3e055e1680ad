"""Pooling layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cyconv import grad as gradients
from cyconv import pool, pool_adaptive
from cyconv._arrays import Array
from cyconv.conv_plan import Padding, Size
from cyconv.geometry import pool_output_shape
from cyconv.nn.module import Module, Shape


class _Pool(Module):
    """What the pooling layers share: shapes in both layouts."""

    layout = "NCHW"

    def _spatial(self, shape: Shape) -> Shape:
        return shape[-3:-1] if self.layout == "NHWC" else shape[-2:]

    def _shaped(self, shape: Shape, spatial: Shape) -> Shape:
        return (*shape[:-3], *spatial, shape[-1]) if self.layout == "NHWC" else (*shape[:-2], *spatial)


class _Windows(_Pool):
    """What the layers with sliding windows share."""

    def __init__(
        self, kernel_size: Size, stride: Size | None, padding: Padding, dilation: Size, ceil_mode: bool, layout: str
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode
        self.layout = layout

    def _geometry(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("stride", "padding", "dilation", "ceil_mode")}

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result."""
        return self._shaped(shape, pool_output_shape(self._spatial(shape), self.kernel_size, **self._geometry()))

    def receptive_field_layer(self) -> Mapping[str, Any]:
        """This layer as :func:`cyconv.receptive_field` wants it."""
        return {"kernel_size": self.kernel_size, **self._geometry()}

    def describe(self) -> str:
        """Kernel, and what is not the default."""
        words = [f"kernel_size={self.kernel_size}"]
        if self.stride is not None:
            words.append(f"stride={self.stride}")
        if self.padding != 0:
            words.append(f"padding={self.padding!r}")
        return ", ".join(words)


class MaxPool2D(_Windows):
    """Maximum over sliding windows, :func:`cyconv.max_pool2d`; its gradient goes to the first of equal cells.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in :func:`cyconv.max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> layer = nn.MaxPool2D(2)
    >>> layer(np.array([[[1.0, 2.0], [4.0, 3.0]]]))
    array([[[4.]]])
    >>> layer.backward(np.array([[[5.0]]]))
    array([[[0., 0.],
            [5., 0.]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        *,
        stride: Size | None = None,
        padding: Padding = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        layout: str = "NCHW",
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode, layout)
        self._kept: tuple[Array, Shape] | None = None

    def forward(self, x: Array) -> Array:
        """Pool x; in training mode, keep where the maxima were."""
        how = {**self._geometry(), "layout": self.layout}
        if not self.training:
            self._kept = None
            alone: Array = pool.max_pool2d(x, self.kernel_size, **how)
            return alone
        y: Array
        y, indices = pool.max_pool2d(x, self.kernel_size, return_indices=True, **how)
        self._kept = indices, x.shape
        return y

    def backward(self, grad: Array) -> Array:
        """Send the gradient to where the maxima were, after a forward pass in training mode."""
        indices, shape = self.saved("_kept")
        return gradients.max_pool2d(grad, indices, shape, layout=self.layout)


class AvgPool2D(_Windows):
    """Average over sliding windows, :func:`cyconv.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
        As in :func:`cyconv.avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.AvgPool2D(2)(np.array([[[1.0, 2.0], [4.0, 3.0]]]))
    array([[[2.5]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        *,
        stride: Size | None = None,
        padding: Padding = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        layout: str = "NCHW",
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode, layout)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override
        self._shape: Shape | None = None

    def _how(self) -> dict[str, Any]:
        keys = ("count_include_pad", "divisor_override", "layout")
        return {**self._geometry(), **{key: getattr(self, key) for key in keys}}

    def forward(self, x: Array) -> Array:
        """Pool x."""
        self._shape = x.shape
        return pool.avg_pool2d(x, self.kernel_size, **self._how())

    def backward(self, grad: Array) -> Array:
        """Share the gradient out."""
        return gradients.avg_pool2d(grad, self.saved("_shape"), self.kernel_size, **self._how())


class AdaptiveAvgPool2D(_Pool):
    """Average over windows that give an output of the wanted size, :func:`cyconv.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int, None or sequence of these
        Cells of the result, for both axes or one each; None keeps the size of its axis.
    layout : {"NCHW", "NHWC"}
        Where the channels are.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> nn.AdaptiveAvgPool2D(1)(np.ones((2, 3, 5, 7))).shape
    (2, 3, 1, 1)
    """

    def __init__(self, output_size: int | Sequence[int | None] | None, *, layout: str = "NCHW") -> None:
        self.output_size = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * 2
        self.layout = layout
        self._shape: Shape | None = None

    def forward(self, x: Array) -> Array:
        """Pool x."""
        self._shape = x.shape
        return pool_adaptive.adaptive_avg_pool2d(x, self.output_size, layout=self.layout)

    def backward(self, grad: Array) -> Array:
        """Share the gradient out."""
        return gradients.adaptive_avg_pool2d(grad, self.saved("_shape"), layout=self.layout)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result."""
        wanted = zip(self._spatial(shape), self.output_size, strict=True)
        return self._shaped(shape, tuple(n if o is None else o for n, o in wanted))

    def receptive_field_layer(self) -> Mapping[str, Any]:
        """This layer as :func:`cyconv.receptive_field` wants it."""
        return {"output_size": self.output_size}

    def describe(self) -> str:
        """The size."""
        return f"output_size={self.output_size}"
