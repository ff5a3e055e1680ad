"""OpenVINO: a compiled model on the CPU device, input and output in kept buffers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from benchmarks.cases import Case, Conv, Pool
from benchmarks.peers.base import Builder, Prepared, Unsupported, check_image_size
from benchmarks.reference import Array, Data, result_dtype


class OpenVino:
    """Entry ``openvino``: latency mode, arithmetic in the dtype of the case."""

    def __init__(self, threads: int) -> None:
        self.core = openvino.Core()
        self.settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Otherwise float32 models are run in bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        if case.kind == "gradient":
            return {}
        check_image_size(case)
        if case.dtype in ("float64", "float16", "bfloat16"):
            raise Unsupported(f"{case.dtype} is not computed as such on the CPU")
        return {"openvino": functools.partial(self._build, case, data)}

    def _build(self, case: Case, data: Data) -> Prepared:
        parameter = ops.parameter(list(case.shape), data.x.dtype, name="x")
        node: Any = parameter
        output = result_dtype(case, data)
        if output != data.x.dtype:
            node = ops.convert(node, "f32")
        for op, weight, bias in zip(case.ops, data.weights, data.biases, strict=True):
            if isinstance(op, Pool):
                node = _pool(op, node)
                continue
            assert weight is not None
            node = _conv(op, node, weight, bias)
        compiled = self.core.compile_model(openvino.Model([node], [parameter], "case"), "CPU", self.settings)
        if case.group == "small":
            return Prepared(functools.partial(compiled, data.x), lambda y: y[0])
        request = compiled.create_infer_request()
        out = np.empty(case.shapes()[-1], output)
        x = np.ascontiguousarray(data.x)
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(out, shared_memory=True))
        # The request does not keep the arrays alive that its tensors share.
        self.held = (compiled, x, out)
        return Prepared(functools.partial(_infer, request), lambda _: out)


def _infer(request: Any) -> None:
    request.start_async()
    request.wait()


def _conv(op: Conv, node: Any, weight: Array, bias: Array | None) -> Any:
    strides, pads, ones = [op.stride] * 2, [op.padding] * 2, [1, 1]
    if op.groups == 1:
        node = ops.convolution(node, ops.constant(weight), strides, pads, pads, ones)
    else:
        grouped = weight.reshape(op.groups, -1, *weight.shape[1:])
        node = ops.group_convolution(node, ops.constant(grouped), strides, pads, pads, ones)
    if bias is not None:
        node = ops.add(node, ops.constant(bias.reshape(1, -1, 1, 1)))
    return ops.relu(node) if op.relu else node


def _pool(op: Pool, node: Any) -> Any:
    if op.kind == "global":
        return ops.reduce_mean(node, ops.constant(np.array([2, 3])), keep_dims=True)
    window = [op.stride] * 2, [op.padding] * 2, [op.padding] * 2, [op.size] * 2
    if op.kind == "avg":
        return ops.avg_pool(node, *window, exclude_pad=False)
    strides, before, after, size = window
    return ops.max_pool(node, strides, [1, 1], before, after, size).output(0)


def make(threads: int, options: dict[str, str]) -> OpenVino:
    return OpenVino(threads)
