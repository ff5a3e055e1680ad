"""OpenCV: `filter2D` on plain images."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from benchmarks.cases import Case
from benchmarks.peers.base import Builder, Prepared, Unsupported
from benchmarks.reference import Array, Data


class OpenCV:
    """Entry ``opencv``: `filter2D` into a kept image."""

    def __init__(self, threads: int) -> None:
        cv2.setNumThreads(threads)

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        if case.kind != "image":
            return {}
        if data.x.dtype.name not in ("uint8", "float32", "float64"):
            raise Unsupported(f"no {data.x.dtype} images")
        return {"opencv": functools.partial(self._build, case, data)}

    def _build(self, case: Case, data: Data) -> Prepared:
        image = data.x[0, 0]
        (weight,) = data.weights
        assert weight is not None
        kernel = weight[0, 0]
        op = case.ops[0]
        out = np.empty(image.shape, kernel.dtype)
        call = functools.partial(
            cv2.filter2D,
            image,
            cv2.CV_64F if kernel.dtype == np.float64 else cv2.CV_32F,
            kernel,
            dst=out,
            anchor=(op.padding, op.padding),
            borderType=cv2.BORDER_CONSTANT,
        )
        OH, OW = case.shapes()[-1][2:]

        def result(y: Array) -> Array:
            return y[None, None, :OH, :OW]  # filter2D always answers in the size of the image

        return Prepared(call, result)


def make(threads: int, options: dict[str, str]) -> OpenCV:
    return OpenCV(threads)
