"""One layer of a receptive field along one axis, and how it is read from its public description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd, lcm
from typing import Any, NamedTuple, TypeAlias, cast

from cyconv._axes import (
    Pads,
    conv_out_size,
    conv_transpose_out_size,
    pool_out_size,
    resolve_padding,
    resolve_transposed_padding,
)
from cyconv._progressions import Bounds, Cells, adaptive_cells, transposed_cells, union, window_cells
from cyconv._scalars import as_flag, as_ints, is_sequence

KEYS = (
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "ceil_mode",
    "transposed",
    "output_padding",
    "output_size",
    "parallel",
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


class Parallel(NamedTuple):
    """Branches along one axis whose results are added or put side by side: skip connections, inception blocks."""

    branches: tuple[tuple[Layer | Parallel, ...], ...]
    in_size: int | None
    out_size: int | None

    def back(self, cells: Cells, bounds: Bounds) -> Cells:
        """Input cells, within bounds, that influence these output cells through any branch."""
        found = [trace(branch, cells, bounded=bounds != (None, None)) for branch in self.branches]
        return union(found)


Chain: TypeAlias = tuple[Layer | Parallel, ...]


def trace(chain: Chain, cells: Cells, *, bounded: bool) -> Cells:
    """Go back through a chain; bounded: cells outside the inputs of its layers do not exist."""
    for layer in reversed(chain):
        cells = layer.back(cells, (0, layer.in_size) if bounded else (None, None))
    return cells


def pattern(chain: Chain, step: int = 1, cells_per_step: int = 1) -> tuple[int, int, int]:
    """Period after which the fields of output cells repeat, and the step in the input per so many output cells.

    ``step`` and ``cells_per_step`` are those of what follows the chain.
    """
    period = 1
    for layer in reversed(chain):
        if isinstance(layer, Parallel):
            found = [pattern(branch, step, cells_per_step) for branch in layer.branches]
            period = lcm(period, *(branch[0] for branch in found))
            if len({branch[1:] for branch in found}) > 1:
                steps = ", ".join(f"{s}/{n}" if n > 1 else str(s) for _, s, n in found)
                raise ValueError(f"parallel branches must have the same stride, got {steps}")
            step, cells_per_step = found[0][1:]
            continue
        step, cells_per_step = step * layer.ratio[0], cells_per_step * layer.ratio[1]
        common = gcd(step, cells_per_step)
        step, cells_per_step = step // common, cells_per_step // common
        period = lcm(period, cells_per_step)
    return period, step, cells_per_step


def read_chain(
    name: str, mappings: Sequence[Mapping[str, Any]], naxes: int, sizes: tuple[int, ...] | None
) -> tuple[list[Chain], tuple[int, ...] | None]:
    """Read mappings to a chain per axis and the size of its result; `name` is for errors."""
    chains: list[Chain] = [()] * naxes
    for position, mapping in enumerate(mappings):
        added = read_layer(f"{name}[{position}]", mapping, naxes, sizes)
        chains = [(*chain, layer) for chain, layer in zip(chains, added, strict=True)]
        sizes = None if sizes is None else tuple(cast(int, layer.out_size) for layer in added)
    return chains, sizes


def _read_parallel(
    name: str, mapping: Mapping[str, Any], naxes: int, sizes: tuple[int, ...] | None
) -> list[Parallel]:
    if len(mapping) > 1:
        raise ValueError(f"{name} with 'parallel' must have no other key, got the keys {tuple(mapping)}")
    branches = list(mapping["parallel"])
    if not branches:
        raise ValueError(f"{name}['parallel'] must have at least one branch, got none")
    read = [read_chain(f"{name}['parallel'][{i}]", branch, naxes, sizes) for i, branch in enumerate(branches)]
    outs = {out for _, out in read}
    if len(outs) > 1:
        raise ValueError(f"{name}: parallel branches must give the same size, got {', '.join(map(str, outs))}")
    out = read[0][1]
    return [
        Parallel(
            tuple(chains[axis] for chains, _ in read),
            None if sizes is None else sizes[axis],
            None if out is None else out[axis],
        )
        for axis in range(naxes)
    ]


def read_layer(
    name: str, mapping: Mapping[str, Any], naxes: int, sizes: tuple[int, ...] | None
) -> Sequence[Layer | Parallel]:
    """Read one mapping to a layer per axis; `sizes` is its input size, if known; `name` is for errors."""
    unknown = [key for key in mapping if key not in KEYS]
    if unknown:
        raise ValueError(f"{name} has unknown keys {unknown}, allowed are {KEYS}")
    if "parallel" in mapping:
        return _read_parallel(name, mapping, naxes, sizes)
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
    wanted = mapping["output_size"]
    if is_sequence(wanted):
        wanted = tuple(wanted)
        if len(wanted) == naxes:  # None keeps the size of its axis
            wanted = tuple(size if out is None else out for size, out in zip(sizes, wanted, strict=True))
    outs = as_ints(f"{name}['output_size']", wanted, naxes, minimum=1)
    return [Layer("adaptive", 1, 1, 0, 1, size, out) for size, out in zip(sizes, outs, strict=True)]
