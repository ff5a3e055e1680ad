"""XNNPACK, through LiteRT's interpreter, which hands it float32 graphs; the models are written here."""

from __future__ import annotations

import functools
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from benchmarks.cases import Case, Conv, Pool
from benchmarks.peers.base import Builder, Prepared, Unsupported, check_image_size
from benchmarks.reference import Array, Data

RELU = schema.ActivationFunctionType.RELU
NONE = schema.ActivationFunctionType.NONE
KINDS = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}


class LiteRT:
    """Entry ``xnnpack``: float32, channels last."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        if case.kind == "gradient":
            return {}
        check_image_size(case)
        if case.dtype != "float32":
            raise Unsupported("float32 only")
        return {"xnnpack": functools.partial(self._build, case, data)}

    def _build(self, case: Case, data: Data) -> Prepared:
        graph = Graph(case.shape)
        for op, weight, bias in zip(case.ops, data.weights, data.biases, strict=True):
            if isinstance(op, Pool):
                graph.pool(op)
                continue
            assert weight is not None
            graph.conv(op, weight, np.zeros(op.K, np.float32) if bias is None else bias)
        interpreter = Interpreter(model_content=graph.serialize(), num_threads=self.threads)
        interpreter.allocate_tensors()
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        x = np.ascontiguousarray(data.x.transpose(0, 2, 3, 1))
        if case.group == "small":
            return Prepared(functools.partial(_whole_call, interpreter, source, target, x), _from_nhwc)
        interpreter.set_tensor(source, x)
        return Prepared(interpreter.invoke, lambda _: _from_nhwc(interpreter.get_tensor(target)))


def _whole_call(interpreter: Interpreter, source: int, target: int, x: Array) -> Array:
    interpreter.set_tensor(source, x)
    interpreter.invoke()
    result: Array = interpreter.get_tensor(target)
    return result


def _from_nhwc(y: Array) -> Array:
    return y.transpose(0, 3, 1, 2)


class Graph:
    """A chain of operators in the TensorFlow Lite schema; ``shape`` is the last tensor's, (N, H, W, C)."""

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        N, C, H, W = shape
        self.shape = (N, H, W, C)
        self.buffers: list[Any] = [schema.BufferT()]  # the first one is empty by convention
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[int] = []
        self.last = self._tensor(self.shape, "float32")
        self.rectified = False

    def conv(self, op: Conv, weight: Array, bias: Array) -> None:
        N, H, W, C = self.shape
        padding = self._pad(op.R, op.S, op.stride, op.padding)
        if op.groups == 1:
            code, options = schema.BuiltinOperator.CONV_2D, schema.Conv2DOptionsT()
            kind = schema.BuiltinOptions.Conv2DOptions
            kernel = weight.transpose(0, 2, 3, 1)
        elif op.groups == C:
            code, options = schema.BuiltinOperator.DEPTHWISE_CONV_2D, schema.DepthwiseConv2DOptionsT()
            kind = schema.BuiltinOptions.DepthwiseConv2DOptions
            options.depthMultiplier = op.K // C
            kernel = weight.transpose(1, 2, 3, 0)
        else:
            raise Unsupported("no grouped convolution")
        options.padding, options.strideH, options.strideW = padding, op.stride, op.stride
        options.fusedActivationFunction = RELU if op.relu else NONE
        self.rectified = op.relu
        inputs = [self.last, self._constant(np.ascontiguousarray(kernel)), self._constant(bias)]
        self._append(code, inputs, op.output((N, C, H, W)), kind, options)

    def pool(self, op: Pool) -> None:
        N, H, W, C = self.shape
        size = (H, W) if op.kind == "global" else (op.size, op.size)
        maximum = op.kind == "max"
        same = _is_same(*size, op.stride, op.padding)
        if maximum and op.padding and not same and not self.rectified:
            # Zeros do as well behind a rectifier, where nothing is below them.
            raise Unsupported("no padding with minus infinity")
        # The average of SAME leaves the padding out of the divisor, so there the zeros are put in first.
        padding = self._pad(*size, op.stride, op.padding, same=maximum)
        code = schema.BuiltinOperator.MAX_POOL_2D if maximum else schema.BuiltinOperator.AVERAGE_POOL_2D
        options = schema.Pool2DOptionsT()
        options.padding, options.strideH, options.strideW = padding, op.stride, op.stride
        options.filterHeight, options.filterWidth = size
        options.fusedActivationFunction = NONE
        self._append(code, [self.last], op.output((N, C, H, W)), schema.BuiltinOptions.Pool2DOptions, options)

    def serialize(self) -> bytes:
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs, subgraph.outputs = [0], [self.last]
        model = schema.ModelT()
        model.version = 3
        model.subgraphs, model.buffers = [subgraph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = code
            entry.deprecatedBuiltinCode = min(code, 127)
            entry.version = 1
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _pad(self, R: int, S: int, stride: int, padding: int, same: bool = True) -> int:
        """Return the operator's kind of padding, after an operator that pads where no kind says it."""
        if padding and same and _is_same(R, S, stride, padding):
            return int(schema.Padding.SAME)
        if padding:
            N, H, W, C = self.shape
            edges = np.array([[0, 0], [padding, padding], [padding, padding], [0, 0]], np.int32)
            shape = (N, C, H + 2 * padding, W + 2 * padding)
            code, kind = schema.BuiltinOperator.PAD, schema.BuiltinOptions.PadOptions
            self._append(code, [self.last, self._constant(edges)], shape, kind, schema.PadOptionsT())
        return int(schema.Padding.VALID)

    def _append(self, code: int, inputs: list[int], shape: tuple[int, ...], kind: int, options: Any) -> None:
        """Add an operator whose result is (N, C, H, W) = ``shape`` in our order."""
        N, C, H, W = shape
        self.shape = (N, H, W, C)
        self.last = self._tensor(self.shape, "float32")
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, [self.last]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.operators.append(operator)

    def _constant(self, array: Array) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self._tensor(array.shape, array.dtype.name, len(self.buffers) - 1)

    def _tensor(self, shape: tuple[int, ...], dtype: str, buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(shape), KINDS[dtype], buffer
        tensor.name = f"t{len(self.tensors)}"
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _is_same(R: int, S: int, stride: int, padding: int) -> bool:
    """Whether the schema's SAME means this padding: with stride 1, where it is the same on both sides."""
    return stride == 1 and R == S == 2 * padding + 1


def make(threads: int, options: dict[str, str]) -> LiteRT:
    return LiteRT(threads)
