"""The dense path: direct convolution on the register tile, with its weights packed on first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import table
from cyconv._plans.dense_blocks import Blocks, blocks_for
from cyconv._plans.prepared import Prepares
from cyconv._plans.spec import Call, Compute, ConvSpec, round_up, tap_offsets

Array = np.ndarray[Any, np.dtype[Any]]


class Dense(Prepares):
    """Direct convolution on the register tile: any kernel, stride, dilation, groups, padding, layout and dtype."""

    name = "direct"

    def __init__(self, spec: ConvSpec, weight: Array, bias: Array | None, once: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.kernel = _runtime.kernel("dense", spec.dtype)
        self._new = _memory.lent if once else _memory.empty
        self._weight = weight
        self._bias = bias
        self._packed: dict[tuple[bool, int], tuple[Array, Array]] = {}  # by orientation and block
        self._activation = spec.activation.numbers(spec.dtype)

    def _make(self, call: Call, threads: int) -> Compute:
        blocks = blocks_for(self.spec, call, threads)
        kernel = with_weights(self.kernel, blocks, *self._pack(blocks), self._activation)
        return _memory.WithScratch(kernel, blocks.scratch_bytes)

    @staticmethod
    def supports(spec: ConvSpec) -> str | None:
        """Everything."""
        return None

    @staticmethod
    def workspace(spec: ConvSpec, call: Call, threads: int) -> int:
        """Bytes of scratch memory of such a call."""
        return blocks_for(spec, call, threads).scratch_bytes

    @staticmethod
    def estimate(spec: ConvSpec, call: Call, threads: int) -> float:
        """Seconds of such a call, from the cycles of tiles, packing and scattering."""
        return blocks_for(spec, call, threads).seconds

    @staticmethod
    def packing(spec: ConvSpec, call: Call) -> float:
        """Seconds that packing the weights takes."""
        return spec.out_channels * spec.depth * table.DENSE_PACK_WEIGHT_CYCLES / table.CLOCK_HZ

    def _pack(self, blocks: Blocks) -> tuple[Array, Array]:
        """Weights and bias as these blocks want them, packed on first use. Two threads may pack them at once."""
        form = blocks.by_rows, blocks.block
        if form not in self._packed:
            spec, width = self.spec, packed_width(self.spec, blocks)
            packed = self._new(spec.groups * spec.depth * width, spec.dtype)
            if packed.size:
                self.kernel.pack_weights(
                    self._weight, tap_offsets(self._weight), packed, blocks.geometry, blocks.threads
                )
            bias = _memory.empty((spec.groups, width, self.kernel.LANES if blocks.by_rows else 1), spec.dtype)
            bias.fill(0)
            if self._bias is not None:
                bias[:, : spec.group_outputs] = self._bias.reshape(spec.groups, spec.group_outputs, 1)
            self._packed[form] = packed, bias.reshape(-1)
        return self._packed[form]


def with_weights(
    kernel: Any, blocks: Blocks, weight: Array, bias: Array, activation: Array
) -> Callable[[Array, Array, Array], None]:
    """The convolution by packed weights of x, into out, with scratch memory."""
    return partial(kernel.run, weight, bias, blocks.geometry, blocks.tables, activation, blocks.threads)


def packed_width(spec: ConvSpec, blocks: Blocks) -> int:
    """Output channels of a group as they are packed."""
    if blocks.by_rows:
        return spec.group_outputs
    return round_up(spec.group_outputs, _runtime.kernel("dense", spec.dtype).LANES)
