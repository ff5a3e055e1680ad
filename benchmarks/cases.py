"""What is timed: a case is one input and a short chain of operations on it.

Shape letters as in the library: ``N`` batch, ``C`` input channels, ``H W`` input size, ``K`` output channels,
``R S`` kernel size, ``OH OW`` output size. A layer is a chain of one; VGG-16 is a chain of eighteen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

LAYERS_FILE = Path(__file__).with_name("layers.json")


@dataclass(frozen=True)
class Conv:
    """A convolution with bias: ``(N, C, H, W) -> (N, K, OH, OW)``."""

    K: int
    R: int
    S: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    relu: bool = False
    bias: bool = True

    def output(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        N, _, H, W = shape
        return (
            N,
            self.K,
            _cells(H, self.R, self.stride, self.padding),
            _cells(W, self.S, self.stride, self.padding),
        )

    def flops(self, shape: tuple[int, ...]) -> int:
        N, K, OH, OW = self.output(shape)
        return 2 * N * K * OH * OW * (shape[1] // self.groups) * self.R * self.S


@dataclass(frozen=True)
class Pool:
    """A pooling; ``kind`` is ``"max"``, ``"avg"`` (padding counted) or ``"global"`` (mean of the plane)."""

    kind: str
    size: int
    stride: int
    padding: int = 0

    def output(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        N, C, H, W = shape
        if self.kind == "global":
            return N, C, 1, 1
        return (
            N,
            C,
            _cells(H, self.size, self.stride, self.padding),
            _cells(W, self.size, self.stride, self.padding),
        )

    def flops(self, shape: tuple[int, ...]) -> int:
        """Operations if every window is evaluated on its own."""
        N, C, OH, OW = self.output(shape)
        window = shape[2] * shape[3] if self.kind == "global" else self.size**2
        return N * C * OH * OW * window


Op = Conv | Pool


def _cells(extent: int, kernel: int, stride: int, padding: int) -> int:
    return (extent + 2 * padding - kernel) // stride + 1


@dataclass(frozen=True)
class Case:
    """One thing to time.

    ``kind`` is ``"net"`` (a chain of layers on an NCHW batch), ``"image"`` (one 2-D image, one 2-D kernel,
    zeros outside, any filtering function will do) or ``"gradient"`` (all gradients of one operation, `gradients`).
    ``group`` is what geometric means are taken over.
    """

    name: str
    group: str
    shape: tuple[int, int, int, int]
    ops: tuple[Op, ...]
    dtype: str = "float32"
    kind: str = "net"

    def shapes(self) -> list[tuple[int, ...]]:
        """The input shape, then the shape after each operation."""
        found: list[tuple[int, ...]] = [self.shape]
        for op in self.ops:
            found.append(op.output(found[-1]))
        return found

    @property
    def flops(self) -> int:
        once = sum(op.flops(shape) for op, shape in zip(self.ops, self.shapes(), strict=False))
        # input and weight have a gradient each, of as many multiply-adds as the convolution
        return once * (2 if self.kind == "gradient" and isinstance(self.ops[0], Conv) else 1)

    @property
    def bytes_moved(self) -> int:
        """Input, output and weights, each once, and their gradients: what memory has to carry at the least."""
        item = ITEMSIZE[self.dtype]
        out_item = 4 if self.dtype == "uint8" and self.kind == "image" else item
        shapes = self.shapes()
        weights = 0
        for op, shape in zip(self.ops, shapes, strict=False):
            if isinstance(op, Conv):
                weights += op.K * (shape[1] // op.groups) * op.R * op.S
        if self.kind == "gradient":
            read = _size(shapes[0]) + weights if weights else 0
            return item * (read + _size(shapes[0]) + weights + _size(shapes[-1]))
        return item * (_size(shapes[0]) + weights) + out_item * _size(shapes[-1])

    def to_dict(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["ops"] = [{"op": type(op).__name__, **asdict(op)} for op in self.ops]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Case:
        kinds: dict[str, type[Op]] = {"Conv": Conv, "Pool": Pool}
        ops = tuple(kinds[op["op"]](**{k: v for k, v in op.items() if k != "op"}) for op in fields["ops"])
        N, C, H, W = fields["shape"]
        return cls(**{**fields, "ops": ops, "shape": (N, C, H, W)})


ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}


def _size(shape: Iterable[int]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def from_layers(path: Path = LAYERS_FILE) -> list[Case]:
    """Read a table of convolutions: a JSON list of objects with a name, the shape letters and so on."""
    cases = []
    for row in json.loads(path.read_text()):
        op = Conv(row["K"], row["R"], row["S"], row["stride"], row["padding"], row["groups"])
        shape = (row["N"], row["C"], row["H"], row["W"])
        group = conv_group(op, shape)
        if group == "single-channel" and op.stride == shape[0] == 1:
            # An image: functions that filter images can compete, which know no bias.
            cases.append(Case(row["name"], group, shape, (replace(op, bias=False),), kind="image"))
        else:
            cases.append(Case(row["name"], group, shape, (op,)))
    return cases


def conv_group(op: Conv, shape: tuple[int, int, int, int]) -> str:
    """Which geometric mean a convolution counts in."""
    if op.groups > 1 and op.groups == shape[1]:
        return "depthwise"
    if shape[1] == op.K == 1:
        return "single-channel"
    return "dense"


def with_dtype(case: Case, dtype: str, default: str = "float32") -> Case:
    """The same case in another dtype, with a name of its own unless it is the default."""
    return case if dtype == case.dtype == default else replace(case, name=f"{case.name}_{dtype}", dtype=dtype)
