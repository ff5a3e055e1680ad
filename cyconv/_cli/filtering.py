"""``cyconv filter``: a kernel over an image file, in bands of rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cyconv._cli import CommandError
from cyconv._cli.images import Pixels, check_writable, read_image, read_npy, write_image
from cyconv.signal import correlate2d

Weights = npt.NDArray[np.float64]

#: pixels of a band; a band and its result in float64 stay within some tens of megabytes
BAND_PIXELS = 1 << 19
#: an image of fewer pixels is done before a progress bar could be read
PROGRESS_PIXELS = 1 << 23

FIXED_KERNELS: dict[str, list[list[list[float]]]] = {
    # Two kernels: the result is the length of the gradient. A quarter, so that a step keeps its height.
    "sobel": [
        [[-0.25, 0, 0.25], [-0.5, 0, 0.5], [-0.25, 0, 0.25]],
        [[-0.25, -0.5, -0.25], [0, 0, 0], [0.25, 0.5, 0.25]],
    ],
    "sharpen": [[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]],
    "emboss": [[[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]],
}
SIZED_KERNELS = ("gaussian", "box")


def named_kernel(name: str, size: int | None) -> Weights:
    """Weights ``(K, R, S)`` of a named kernel; K = 2 stands for the two directions of a gradient."""
    if name in FIXED_KERNELS:
        return np.array(FIXED_KERNELS[name])
    size = 5 if size is None else size
    if size < 1 or size % 2 == 0:
        raise CommandError(f"--size must be odd and at least 1, got {size}")
    cells = np.arange(size) - size // 2
    sigma = max(size - 1, 1) / 4  # the kernel ends at two standard deviations
    line: Weights = np.exp(-0.5 * (cells / sigma) ** 2) if name == "gaussian" else np.ones(size)
    line /= line.sum()
    weights: Weights = line[:, None] * line
    return weights[None]


def load_kernel(name: str, size: int | None) -> Weights:
    """Weights ``(K, R, S)`` of a named kernel or of a ``.npy`` file."""
    if size is not None and name not in SIZED_KERNELS:
        raise CommandError(f"--size goes with {' and '.join(SIZED_KERNELS)} alone, not with {name!r}")
    if name in FIXED_KERNELS or name in SIZED_KERNELS:
        return named_kernel(name, size)
    path = Path(name)
    if path.suffix.lower() != ".npy":
        known = ", ".join((*FIXED_KERNELS, *SIZED_KERNELS))
        raise CommandError(f"unknown kernel {name!r}: possible are {known}, or a .npy file")
    kernel = read_npy(path)
    if kernel.ndim != 2 or kernel.size == 0 or kernel.dtype.kind not in "biuf":
        raise CommandError(f"{path} holds {kernel.dtype} {kernel.shape}; a kernel is a real array (R, S)")
    weights = kernel.astype(np.float64)
    if not np.isfinite(weights).all():
        raise CommandError(f"{path} holds NaN or infinity; a kernel is finite")
    return weights[None]


def apply_kernel(planes: Pixels, weights: Weights, advance: Callable[[int], object]) -> Pixels:
    """Each plane of ``(C, H, W)`` cross-correlated with the kernel, rounded into the pixels' own type.

    ``advance`` is told after every band how many rows it had. Bands read as many rows beyond their own as the
    kernel reaches, so the result does not depend on them.
    """
    height, width = planes.shape[1:]
    rows, columns = weights.shape[1:]
    above, left = (rows - 1) // 2, (columns - 1) // 2
    below, right = rows - 1 - above, columns - 1 - left
    # float32 holds every result of 8-bit pixels to a small part of a step; deeper pixels get float64.
    compute = np.float32 if planes.dtype.name in ("uint8", "float16", "float32") else np.float64
    weights = weights.astype(compute)
    out = np.empty_like(planes, order="C")
    step = max(1, BAND_PIXELS // width)
    for first in range(0, height, step):
        last = min(first + step, height)
        start, stop = max(first - above, 0), min(last + below, height)
        outside = (above - (first - start), below - (stop - last))
        band = np.pad(planes[:, start:stop], ((0, 0), outside, (left, right)), "edge").astype(compute)
        results = [correlate2d(band, weight, "valid", axes=(1, 2)) for weight in weights]
        out[:, first:last] = _to_pixels(_magnitude(*results), planes.dtype)
        advance(last - first)
    return out


def _magnitude(result: Pixels, *other: Pixels) -> Pixels:
    """The one result, or the length of the vector that two results are."""
    return np.hypot(result, *other) if other else result


def _to_pixels(values: Pixels, dtype: np.dtype[np.generic]) -> Pixels:
    if dtype.kind == "f":
        return values
    return np.rint(values).clip(0, np.iinfo(dtype.name).max)


@contextmanager
def progress(rows: int, pixels: int) -> Iterator[Callable[[int], object]]:
    """What to call with the number of rows just done; a bar for a big image and a person who watches."""
    if pixels < PROGRESS_PIXELS or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rows", total=rows)
        yield lambda done: bar.advance(task, done)


def run(image: str, kernel: str, output: str, size: int | None) -> None:
    """Read, filter, write, and say what was written."""
    weights = load_kernel(kernel, size)
    picture = read_image(Path(image))
    check_writable(Path(output), picture.pixels)
    pixels = np.array(picture.pixels)  # a copy: the alpha channel stays
    height, width = pixels.shape[:2]
    with progress(height, pixels.size) as advance:
        start = time.perf_counter()
        filtered = apply_kernel(np.moveaxis(picture.colours, -1, 0), weights, advance)
        seconds = time.perf_counter() - start
    picture._replace(pixels=pixels).colours[...] = np.moveaxis(filtered, 0, -1)
    write_image(Path(output), pixels)
    shape = "x".join(map(str, weights.shape[1:]))
    print(f"{output}: {width}x{height} {pixels.dtype}, {kernel} {shape}, {seconds * 1e3:.1f} ms")
