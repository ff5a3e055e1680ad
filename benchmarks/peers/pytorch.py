"""PyTorch: eager functions in both memory formats, and oneDNN's convolution with weights packed ahead."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.cases import Case, Conv, Pool
from benchmarks.gradients import flat, make_gradient
from benchmarks.peers.base import Builder, Prepared, chain, check_image_size
from benchmarks.reference import Array, Data


class Torch:
    """Entries: ``torch`` (contiguous), ``torch-cl`` (channels last), ``torch-packed`` (and packed weights).

    The last one calls the operators that `torch.compile` puts in place of convolutions in a frozen model.
    """

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        # For the rest of the process: no bookkeeping for gradients.
        self._mode = torch.inference_mode()
        self._mode.__enter__()

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        check_image_size(case)
        if case.kind == "gradient":
            return {
                "torch": functools.partial(_gradient, case, data, torch.contiguous_format),
                "torch-cl": functools.partial(_gradient, case, data, torch.channels_last),
            }
        found: dict[str, Builder] = {
            "torch": functools.partial(self._net, case, data, torch.contiguous_format),
            "torch-cl": functools.partial(self._net, case, data, torch.channels_last),
        }
        if case.dtype != "float64" and any(isinstance(op, Conv) for op in case.ops):
            found["torch-packed"] = functools.partial(self._net, case, data, torch.channels_last, packed=True)
        return found

    def _net(self, case: Case, data: Data, memory: torch.memory_format, packed: bool = False) -> Prepared:
        x = _tensor(data.x).contiguous(memory_format=memory)
        # Bytes are filtered into floats: here the conversion is a step of its own.
        steps: list[Callable[[Any], Any]] = (
            [torch.Tensor.float] if case.kind == "image" and case.dtype == "uint8" else []
        )
        for op, weight, bias, shape in zip(case.ops, data.weights, data.biases, case.shapes(), strict=False):
            if isinstance(op, Pool):
                steps.append(_pool(op))
                continue
            assert weight is not None
            w = _tensor(weight).contiguous(memory_format=memory)
            b = None if bias is None else _tensor(bias)
            if packed:
                steps.append(_packed_conv(op, w, b, shape))
                continue
            conv = functools.partial(
                F.conv2d, weight=w, bias=b, stride=op.stride, padding=op.padding, groups=op.groups
            )
            steps += [conv, F.relu_] if op.relu else [conv]
        return Prepared(functools.partial(chain(steps), x), _array)


def _gradient(case: Case, data: Data, memory: torch.memory_format) -> Prepared:
    """The operators that autograd calls: one for all gradients of a convolution."""
    (op,), (weight,) = case.ops, data.weights
    x = torch.from_numpy(data.x).contiguous(memory_format=memory)
    g = torch.from_numpy(make_gradient(case)).contiguous(memory_format=memory)
    aten = torch.ops.aten
    pads, strides, ones = [op.padding] * 2, [op.stride] * 2, [1, 1]
    if isinstance(op, Conv):
        assert weight is not None
        w = torch.from_numpy(weight).contiguous(memory_format=memory)
        call = functools.partial(
            aten.convolution_backward.default, g, x, w, [op.K], strides, pads, ones, False, [0, 0], op.groups,
            [True, True, op.bias],
        )  # fmt: skip
        return Prepared(call, lambda parts: flat([part.numpy() for part in parts if part is not None]))
    sizes = [op.size] * 2
    if op.kind == "global":
        call = functools.partial(torch.div, g.expand(x.shape), x.shape[2] * x.shape[3])
    elif op.kind == "avg":
        call = functools.partial(aten.avg_pool2d_backward.default, g, x, sizes, strides, pads, False, True, None)
    else:
        _, indices = aten.max_pool2d_with_indices.default(x, sizes, strides, pads)
        backward = aten.max_pool2d_with_indices_backward.default
        call = functools.partial(backward, g, x, sizes, strides, pads, ones, False, indices)
    return Prepared(call, lambda part: part.numpy().ravel())


def _pool(op: Pool) -> Callable[[Any], Any]:
    if op.kind == "global":
        return functools.partial(torch.mean, dim=(2, 3), keepdim=True)
    pool = F.max_pool2d if op.kind == "max" else F.avg_pool2d
    return functools.partial(pool, kernel_size=op.size, stride=op.stride, padding=op.padding)


def _packed_conv(op: Conv, w: torch.Tensor, b: torch.Tensor | None, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    pads, strides, ones = [op.padding] * 2, [op.stride] * 2, [1, 1]
    pack = torch.ops.mkldnn._reorder_convolution_weight
    w = pack(w, pads, strides, ones, op.groups, list(shape))
    run = torch.ops.mkldnn._convolution_pointwise.default
    return lambda x: run(x, w, b, pads, strides, ones, op.groups, "relu" if op.relu else "none", [], "")


def _tensor(array: Array) -> torch.Tensor:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype("float32")).to(torch.bfloat16)
    return torch.from_numpy(array)


def _array(y: torch.Tensor) -> Array:
    result: Array = (y.float() if y.dtype == torch.bfloat16 else y).numpy()
    return result


def make(threads: int, options: dict[str, str]) -> Torch:
    return Torch(threads)
