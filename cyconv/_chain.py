"""One layer of a receptive field along one axis, and how it is read from its public description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from cyconv._axes import (
    Pads,
    conv_out_size,
    conv_transpose_out_size,
    pool_out_size,
    resolve_padding,
    resolve_transposed_padding,
)
from cyconv._progressions import Bounds, Cells, adaptive_cells, transposed_cells, window_cells
from cyconv._scalars import as_flag, as_ints

KEYS = (
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "ceil_mode",
    "transposed",
    "output_padding",
    "output_size",
)


class Layer(NamedTuple):
    """One layer along one axis; sizes are None where the input size is unknown."""

    kind: str  # "window", "transposed" or "adaptive"
    kernel: int
    stride: int
    before: int
    dilation: int
    in_size: int | None
    out_size: int | None

    @property
    def ratio(self) -> tuple[int, int]:
        """Step in the input, and the number of output cells that take it."""
        if self.kind == "adaptive":
            return cast(int, self.in_size), cast(int, self.out_size)
        return (1, self.stride) if self.kind == "transposed" else (self.stride, 1)

    def back(self, cells: Cells, bounds: Bounds) -> Cells:
        """Input cells, within bounds, that influence these output cells."""
        if self.kind == "adaptive":
            return adaptive_cells(cells, cast(int, self.in_size), cast(int, self.out_size))
        step_back = transposed_cells if self.kind == "transposed" else window_cells
        return step_back(cells, self.kernel, self.stride, self.before, self.dilation, bounds)


def read_layer(
    name: str, mapping: Mapping[str, Any], naxes: int, sizes: tuple[int, ...] | None
) -> list[Layer]:
    """Read one mapping to a layer per axis; `sizes` is its input size, if known; `name` is for errors."""
    unknown = [key for key in mapping if key not in KEYS]
    if unknown:
        raise ValueError(f"{name} has unknown keys {unknown}, allowed are {KEYS}")
    if mapping.get("output_size") is not None:
        return _read_adaptive(name, mapping, naxes, sizes)
    if "kernel_size" not in mapping:
        raise ValueError(f"{name} must have the key 'kernel_size', got the keys {tuple(mapping)}")
    kernel = as_ints(f"{name}['kernel_size']", mapping["kernel_size"], naxes, minimum=1)
    given = mapping.get("stride", 1)
    stride = kernel if given is None else as_ints(f"{name}['stride']", given, naxes, minimum=1)
    dilation = as_ints(f"{name}['dilation']", mapping.get("dilation", 1), naxes, minimum=1)
    extra = as_ints(f"{name}['output_padding']", mapping.get("output_padding", 0), naxes, minimum=0)
    transposed = as_flag(f"{name}['transposed']", mapping.get("transposed", False))
    ceil_mode = as_flag(f"{name}['ceil_mode']", mapping.get("ceil_mode", False))
    padding = mapping.get("padding", 0)
    if ceil_mode and transposed:
        raise ValueError(f"{name} cannot be transposed and have ceil_mode")
    if any(extra) and not transposed:
        raise ValueError(f"{name} must be transposed to have output_padding, got {extra}")
    pads: tuple[Pads, ...]
    if transposed:
        pads = resolve_transposed_padding(padding, kernel, stride, extra, dilation)
    elif sizes is None and isinstance(padding, str) and padding.startswith("same"):
        raise ValueError(f"{name} with padding {padding!r} needs input_size, got None")
    else:
        pads = resolve_padding(padding, sizes or (1,) * naxes, kernel, stride, dilation)
    layers = []
    for axis, (k, s, p, d) in enumerate(zip(kernel, stride, pads, dilation, strict=True)):
        size = out = None
        if sizes is not None:
            size = sizes[axis]
            if transposed:
                out = conv_transpose_out_size(size, k, s, p, extra[axis], d)
            else:
                out = pool_out_size(size, k, s, p, d, True) if ceil_mode else conv_out_size(size, k, s, p, d)
        layers.append(Layer("transposed" if transposed else "window", k, s, p[0], d, size, out))
    return layers


def _read_adaptive(
    name: str, mapping: Mapping[str, Any], naxes: int, sizes: tuple[int, ...] | None
) -> list[Layer]:
    if len(mapping) > 1:
        raise ValueError(f"{name} with 'output_size' must have no other key, got the keys {tuple(mapping)}")
    if sizes is None:
        raise ValueError(f"{name} with 'output_size' needs input_size, got None")
    outs = as_ints(f"{name}['output_size']", mapping["output_size"], naxes, minimum=1)
    return [Layer("adaptive", 1, 1, 0, 1, size, out) for size, out in zip(sizes, outs, strict=True)]
