"""The table of a model: layers, shapes, parameters, FLOPs, receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cyconv import _checks
from cyconv.nn.module import Module, Sequential, Shape
from cyconv.receptive import receptive_field


class Row(NamedTuple):
    """One layer of a :class:`Summary`."""

    name: str
    layer: str
    output_shape: Shape
    parameters: int
    flops: int
    receptive_field: str


class Summary(list[Row]):
    """The result of :func:`summary`: a list of rows that prints as a table."""

    @property
    def parameters(self) -> int:
        """Learned numbers of the model."""
        return sum(row.parameters for row in self)

    @property
    def flops(self) -> int:
        """FLOPs of one forward pass."""
        return sum(row.flops for row in self)

    def __str__(self) -> str:
        head = ("layer", "type", "output shape", "parameters", "MFLOP", "sees")
        cells = [head]
        for row in self:
            flops = f"{row.flops / 1e6:.3f}" if row.flops else "-"
            shape = " x ".join(map(str, row.output_shape))
            cells.append((row.name, row.layer, shape, f"{row.parameters:,}", flops, row.receptive_field))
        cells.append(("total", "", "", f"{self.parameters:,}", f"{self.flops / 1e6:.3f}", ""))
        widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
        lines = []
        for line in cells:
            left = [text.ljust(width) for text, width in zip(line[:3], widths[:3], strict=True)]
            right = [text.rjust(width) for text, width in zip(line[3:], widths[3:], strict=True)]
            lines.append("  ".join(left + right).rstrip())
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    __repr__ = __str__


def summary(model: Module, input_size: Sequence[int]) -> Summary:
    """Describe every layer of a model for an input of this shape, without computing anything.

    Parameters
    ----------
    model : Module
        A layer or a :class:`Sequential`; chains in it are opened.
    input_size : sequence of int
        Shape of the input, batch included.

    Returns
    -------
    Summary
        A list of rows (name, layer, output_shape, parameters, flops, receptive_field) with the totals ``parameters``
        and ``flops``; printed, it is a table. A row's receptive field is what one cell of the layer's result sees of
        the input: "all" after the layers that look at everything, "-" where it is not known.

    Raises
    ------
    TypeError, ValueError
        If the layers do not fit each other or the input.

    Examples
    --------
    >>> from cyconv import nn
    >>> nn.summary(nn.Sequential(nn.Conv2D(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2)), (1, 1, 28, 28))
    layer  type       output shape     parameters  MFLOP   sees
    -----------------------------------------------------------
    0      Conv2D     1 x 6 x 28 x 28         156  0.235  5 x 5
    1      ReLU       1 x 6 x 28 x 28           0      -  5 x 5
    2      MaxPool2D  1 x 6 x 14 x 14           0      -  6 x 6
    -----------------------------------------------------------
    total                                     156  0.235
    """
    shape = tuple(_checks.as_int("input_size", n, minimum=1) for n in input_size)
    rows = Summary()
    sight = _Sight(model, shape)
    _walk(model, "", shape, rows, sight)
    return rows


class _Sight:
    """The layers so far, for the receptive field."""

    def __init__(self, model: Module, shape: Shape) -> None:
        # the layers that work cell by cell do not know where the channels are: those that do speak for all
        one = next((module for _, module in model.named_modules() if hasattr(module, "layout")), model)
        axes = getattr(one, "axes", 2)
        self.size = shape[-axes - 1 : -1] if getattr(one, "layout", "").endswith("C") else shape[-axes:]
        self.layers: list[Any] = []
        self.word = ""

    def after(self, layer: Module) -> str:
        """The field of the result of this layer."""
        if type(layer).__name__ in ("Flatten", "Linear"):
            self.word = "all"
        self.layers.append(layer)
        if self.word:
            return self.word
        try:
            found = receptive_field(self.layers, self.size).size
        except (TypeError, ValueError):
            self.word = "-"
            return self.word
        return " x ".join(map(str, found)) if isinstance(found, tuple) else str(found)


def _walk(layer: Module, name: str, shape: Shape, rows: Summary, sight: _Sight) -> Shape:
    if isinstance(layer, Sequential):
        for child_name, child in layer.named_children():
            shape = _walk(child, f"{name}.{child_name}" if name else child_name, shape, rows, sight)
        return shape
    try:
        out = layer.output_shape(shape)
    except ValueError as error:
        raise ValueError(f"layer {name or '0'} does not fit its input of shape {shape}: {error}") from error
    count = sum(parameter.size for parameter in layer.parameters())
    rows.append(Row(name or "0", type(layer).__name__, out, count, layer.flops(shape), sight.after(layer)))
    return out
