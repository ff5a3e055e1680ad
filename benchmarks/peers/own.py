"""cyconv: packed plans with a kept output, and as plain calls."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

import cyconv
from benchmarks.cases import Case, Conv, Pool
from benchmarks.gradients import flat, make_gradient
from benchmarks.peers.base import Builder, Prepared, Unsupported, chain
from benchmarks.reference import Array, Data
from cyconv import grad


class Cyconv:
    """Entries: ``cyconv`` (weights packed, the first result kept for ``out=``) and ``cyconv-new`` (every result new).

    And ``cyconv-ALGORITHM`` for every algorithm that was asked for beside the first.
    """

    def __init__(self, threads: int, layout: str, algorithms: list[str]) -> None:
        self.threads = threads
        self.layout = layout
        self.algorithms = algorithms

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        if case.kind == "image":
            return self._image_entries(case, data)
        if case.kind == "gradient":
            make = self._conv_gradient if isinstance(case.ops[0], Conv) else self._pool_gradient
            return {
                "cyconv": functools.partial(make, case, data, True),
                "cyconv-new": functools.partial(make, case, data, False),
            }
        convolves = any(isinstance(op, Conv) for op in case.ops)
        found: dict[str, Builder] = {}
        for place, algorithm in enumerate(self.algorithms if convolves else self.algorithms[:1]):
            name = "cyconv" if place == 0 else f"cyconv-{algorithm}"
            found[name] = functools.partial(self._net, case, data, algorithm, True)
        found["cyconv-new"] = functools.partial(self._net, case, data, self.algorithms[0], False)
        return found

    def _net(self, case: Case, data: Data, algorithm: str, keep: bool) -> Prepared:
        last = self.layout == "NHWC"
        x = np.ascontiguousarray(data.x.transpose(0, 2, 3, 1)) if last else data.x
        steps: list[Callable[[Any], Any]] = []
        y = x
        for op, weight, bias in zip(case.ops, data.weights, data.biases, strict=True):
            if isinstance(op, Pool):
                step = self._pool(op)
            else:
                assert weight is not None
                step = cyconv.plan_conv2d(
                    weight,
                    bias,
                    stride=op.stride,
                    padding=op.padding,
                    groups=op.groups,
                    activation="relu" if op.relu else None,
                    layout=self.layout,
                    algorithm=algorithm,
                    num_threads=self.threads,
                )
            if keep:
                y = step(y)
                step = functools.partial(step, out=y)
            steps.append(step)
        call = functools.partial(chain(steps), x)
        return Prepared(call, (lambda y: y.transpose(0, 3, 1, 2)) if last else (lambda y: y))

    def _pool(self, op: Pool) -> Callable[..., Any]:
        rest = {"layout": self.layout, "num_threads": self.threads}
        if op.kind == "global":
            return functools.partial(cyconv.global_avg_pool2d, **rest)
        pool = cyconv.max_pool2d if op.kind == "max" else cyconv.avg_pool2d
        return functools.partial(pool, kernel_size=op.size, stride=op.stride, padding=op.padding, **rest)

    def _conv_gradient(self, case: Case, data: Data, keep: bool) -> Prepared:
        (op,), (weight,) = case.ops, data.weights
        assert isinstance(op, Conv)
        assert weight is not None
        gradient = make_gradient(case)
        common: dict[str, Any] = {"num_threads": self.threads}
        how = common | {"stride": op.stride, "padding": op.padding, "groups": op.groups}
        steps = [
            functools.partial(grad.conv2d_input, data.x.shape, weight, gradient, **how),
            functools.partial(grad.conv2d_weight, data.x, weight.shape, gradient, **how),
        ]
        steps += [functools.partial(grad.conv2d_bias, gradient, **common)] * op.bias
        if keep:
            steps = [functools.partial(step, out=step()) for step in steps]
        return Prepared(lambda: [step() for step in steps], flat)

    def _pool_gradient(self, case: Case, data: Data, keep: bool) -> Prepared:
        (op,) = case.ops
        assert isinstance(op, Pool)
        gradient = make_gradient(case)
        how: dict[str, Any] = {"num_threads": self.threads}
        if op.kind == "global":
            call = functools.partial(grad.adaptive_avg_pool2d, gradient, data.x.shape, **how)
        elif op.kind == "avg":
            call = functools.partial(
                grad.avg_pool2d, gradient, data.x.shape, op.size, stride=op.stride, padding=op.padding, **how
            )
        else:
            windows = {"stride": op.stride, "padding": op.padding, "return_indices": True}
            _, indices = cyconv.max_pool2d(data.x, op.size, **windows)
            call = functools.partial(grad.max_pool2d, gradient, indices, data.x.shape, **how)
        return Prepared(functools.partial(call, out=call()) if keep else call, np.ravel)

    def _image_entries(self, case: Case, data: Data) -> dict[str, Builder]:
        if case.group == "small":
            return {
                "cyconv": functools.partial(self._corr2d, data),
                "cyconv-plan": functools.partial(self._plan, case, data),
            }
        found: dict[str, Builder] = {"cyconv": functools.partial(self._signal, case, data)}
        if case.dtype != "uint8":
            found["cyconv-plan"] = functools.partial(self._plan, case, data)
        return found

    def _corr2d(self, data: Data) -> Prepared:
        return Prepared(functools.partial(cyconv.corr2d, data.x[0, 0], _kernel(data)), _as_batch)

    def _plan(self, case: Case, data: Data) -> Prepared:
        op = case.ops[0]
        plan = cyconv.plan_conv2d(_kernel(data), padding=op.padding, num_threads=self.threads)
        x = data.x[0, 0]
        return Prepared(functools.partial(plan, x, out=plan(x)), _as_batch)

    def _signal(self, case: Case, data: Data) -> Prepared:
        try:
            signal = importlib.import_module("cyconv.signal")
        except ImportError as missing:
            raise Unsupported(str(missing)) from missing
        kernel = _kernel(data)
        call = functools.partial(signal.correlate2d, data.x[0, 0], kernel, mode="same", num_threads=self.threads)
        return Prepared(functools.partial(call, out=call()), _as_batch)


def _kernel(data: Data) -> Array:
    (weight,) = data.weights
    assert weight is not None
    kernel: Array = weight[0, 0]
    return kernel


def _as_batch(y: Array) -> Array:
    return y[None, None]


def make(threads: int, options: dict[str, str]) -> Cyconv:
    return Cyconv(threads, options["layout"], options["algorithms"].split(","))
