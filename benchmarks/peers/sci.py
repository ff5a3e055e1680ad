"""SciPy: its three functions that filter an image. It has none for batches of layers."""

from __future__ import annotations

import functools

from scipy import fft, ndimage, signal

from benchmarks.cases import Case
from benchmarks.peers.base import Builder, Prepared, Unsupported
from benchmarks.reference import Array, Data

# The direct functions make 0.3 to 1.5 GFLOP/s: beyond this a single call takes seconds and tells nothing new.
LARGEST_DIRECT = 1.5e9


class SciPy:
    """Entries: ``scipy`` (`correlate2d`), ``scipy-fft`` (`correlate`), ``scipy-nd`` (`ndimage.correlate`)."""

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        if case.kind != "image":
            return {}
        if data.x.dtype.name in ("float16", "bfloat16"):
            raise Unsupported(f"no {data.x.dtype} images")
        names = ("scipy", "scipy-fft", "scipy-nd")
        return {name: functools.partial(self._build, name, case, data) for name in names}

    def _build(self, name: str, case: Case, data: Data) -> Prepared:
        image = data.x[0, 0]
        (weight,) = data.weights
        assert weight is not None
        kernel = weight[0, 0]
        if name != "scipy-fft" and case.flops > LARGEST_DIRECT:
            raise Unsupported("would take many seconds a call")
        same = case.ops[0].padding > 0
        mode = "same" if same else "valid"
        if name == "scipy":
            call = functools.partial(signal.correlate2d, image, kernel, mode=mode)
        elif name == "scipy-fft":
            call = functools.partial(signal.correlate, image, kernel, mode=mode, method="fft")
        else:
            origin = 0 if same else -(kernel.shape[0] // 2)
            call = functools.partial(
                ndimage.correlate, image, kernel, output=kernel.dtype, mode="constant", origin=origin
            )
        OH, OW = case.shapes()[-1][2:]

        def result(y: Array) -> Array:
            return y[None, None, :OH, :OW]

        return Prepared(call, result)


def make(threads: int, options: dict[str, str]) -> SciPy:
    fft.set_workers(threads).__enter__()  # for the rest of the process
    return SciPy()
