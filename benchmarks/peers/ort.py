"""ONNX Runtime: a graph in a session, input and output bound to kept buffers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from benchmarks.cases import Case, Pool
from benchmarks.peers.base import Builder, Prepared, Unsupported, check_image_size
from benchmarks.reference import Data, result_dtype

OPSET = 17  # the first whose poolings and convolutions take every dtype used here
IR_VERSION = 9


class OnnxRuntime:
    """Entry ``onnxruntime``: the CPU provider with every graph optimisation."""

    def __init__(self, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # Its threads may spin inside a call, as by default, but not after it, while another library is timed.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.options = options

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        if case.kind == "gradient":
            return {}
        check_image_size(case)
        if case.dtype == "bfloat16":
            raise Unsupported("no bfloat16 on the CPU")
        return {"onnxruntime": functools.partial(self._build, case, data)}

    def _build(self, case: Case, data: Data) -> Prepared:
        model = make_model(case, data)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )
        if case.group == "small":
            return Prepared(functools.partial(session.run, ["y"], {"x": data.x}), lambda y: y[0])
        out = np.empty(case.shapes()[-1], result_dtype(case, data))
        held = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(data.x))]
        held.append(onnxruntime.OrtValue.ortvalue_from_numpy(out))
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", held[0])
        binding.bind_ortvalue_output("y", held[1])
        return Prepared(functools.partial(session.run_with_iobinding, binding), lambda _: held[1].numpy())


def make_model(case: Case, data: Data) -> onnx.ModelProto:
    """The chain as an ONNX graph from ``x`` to ``y``."""
    nodes: list[Any] = []
    initializers: list[Any] = []
    name = "x"
    output = result_dtype(case, data)
    if output != data.x.dtype:
        nodes.append(helper.make_node("Cast", ["x"], ["cast"], to=helper.np_dtype_to_tensor_dtype(output)))
        name = "cast"
    for index, (op, weight, bias) in enumerate(zip(case.ops, data.weights, data.biases, strict=True)):
        target = f"t{index}"
        if isinstance(op, Pool):
            nodes.append(_pool(op, name, target))
            name = target
            continue
        assert weight is not None
        inputs = [name, f"w{index}"]
        initializers.append(numpy_helper.from_array(weight, f"w{index}"))
        if bias is not None:
            inputs.append(f"b{index}")
            initializers.append(numpy_helper.from_array(bias, f"b{index}"))
        nodes.append(
            helper.make_node(
                "Conv", inputs, [target], pads=[op.padding] * 4, strides=[op.stride] * 2, group=op.groups
            )
        )
        name = target
        if op.relu:
            nodes.append(helper.make_node("Relu", [target], [target + "r"]))
            name = target + "r"
    nodes[-1].output[0] = "y"
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("x", kind(data.x.dtype), case.shape)],
        [helper.make_tensor_value_info("y", kind(output), case.shapes()[-1])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _pool(op: Pool, source: str, target: str) -> Any:
    if op.kind == "global":
        return helper.make_node("GlobalAveragePool", [source], [target])
    window = {"kernel_shape": [op.size] * 2, "strides": [op.stride] * 2, "pads": [op.padding] * 4}
    if op.kind == "max":
        return helper.make_node("MaxPool", [source], [target], **window)
    return helper.make_node("AveragePool", [source], [target], count_include_pad=1, **window)


def make(threads: int, options: dict[str, str]) -> OnnxRuntime:
    return OnnxRuntime(threads)
