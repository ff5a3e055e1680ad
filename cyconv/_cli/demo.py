"""``cyconv demo``: the basics of convolution on a photograph, as a table and a figure."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import cyconv
from cyconv._cli import CommandError
from cyconv._cli.images import Picture, read_image

Array = npt.NDArray[np.float32]

SHORTEST_SIDE = 96
#: a longer photograph is averaged down first: the figure has no more pixels to show
LONGEST_SIDE = 1280

#: how a pixel differs from its right and its lower neighbour
STEP_ACROSS = np.array([[1, -1]], np.float32)
STEP_DOWN = np.array([[1], [-1]], np.float32)
OUTLINE = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
BLUR = np.full((1, 1, 5, 5), 1 / 25, np.float32)
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # brightness of red, green and blue (ITU-R BT.601)
STRIDES = ((1, 2), (2, 2), (4, 0))  # stride, padding

#: weights of red, green and blue in a sepia print's red, green and blue
SEPIA = np.array([[0.291, 0.569, 0.140], [0.258, 0.508, 0.124], [0.201, 0.395, 0.097]], np.float32)

#: side of the pooling window, and how many windows lie side by side in the part that is pooled
POOL, POOL_COLUMNS = 4, 36

#: name, layers that follow the ones before, as `receptive_field` takes them: the blocks of VGG-16
BLOCKS = tuple(
    (f"block {number}", [{"kernel_size": 3, "padding": 1}] * convolutions + [{"kernel_size": 2, "stride": 2}])
    for number, convolutions in enumerate((2, 2, 3, 3, 3), 1)
)


class Row(NamedTuple):
    """A line of the table."""

    call: str
    came: tuple[int, ...]
    weight: tuple[int, ...]  # none for pooling
    gave: tuple[int, ...]
    milliseconds: float


class Sight(NamedTuple):
    """What one cell after a block sees of the photograph."""

    name: str
    size: int
    rows: slice
    columns: slice


class Story(NamedTuple):
    """Everything that the figure shows; pixels and weights between 0 and 1, ``(C, H, W)`` or ``(H, W)``."""

    photo: Array
    across: Array
    down: Array
    outline: Array
    strided: list[Array]
    channels: Array
    channel_names: tuple[str, ...]
    sepia: Array
    sepia_error: float
    crop: Array
    max_pooled: Array
    avg_pooled: Array
    sights: list[Sight]
    rows: list[Row]


def default_photo() -> Path:
    """The photograph that is part of an installed scikit-learn, found without importing it."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("no module named 'sklearn'", name="sklearn")
    return Path(spec.origin).parent / "datasets" / "images" / "china.jpg"


def as_photo(picture: Picture, name: str) -> Array:
    """Three channels ``(3, H, W)`` of float32 between 0 and 1, not larger than the figure can show."""
    colours = picture.colours
    if colours.shape[2] not in (1, 3):
        raise CommandError(f"{name} has {colours.shape[2]} channels; the demo needs 1 or 3")
    if min(colours.shape[:2]) < SHORTEST_SIDE:
        height, width = colours.shape[:2]
        raise CommandError(f"{name} is {width}x{height}; the demo needs at least {SHORTEST_SIDE}x{SHORTEST_SIDE}")
    photo = np.moveaxis(colours, -1, 0).astype(np.float32)
    if colours.dtype.kind == "u":
        photo /= np.iinfo(colours.dtype).max
    else:
        low, high = np.nanmin(photo), np.nanmax(photo)
        photo = np.nan_to_num((photo - low) / (high - low or 1))
    factor = -(-max(photo.shape[1:]) // LONGEST_SIDE)
    if factor > 1:
        photo = cyconv.avg_pool2d(photo, factor)
    return np.repeat(photo, 3, axis=0) if len(photo) == 1 else photo


def channel_weight() -> tuple[Array, tuple[str, ...]]:
    """Weights ``(4, 3, 3, 3)``: four questions to three colours."""
    box = np.full((3, 3), 1 / 9)
    slant = np.array([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]) / 4
    colours = {
        "red - green": np.multiply.outer([1, -1, 0], box),
        "blue - yellow": np.multiply.outer([-0.5, -0.5, 1], box),
        "brightness, blurred": np.multiply.outer(GREY, box),
        "slanted edges": np.multiply.outer(GREY, slant),
    }
    return np.array(list(colours.values()), np.float32), tuple(colours)


def sights(height: int, width: int) -> list[Sight]:
    """The input regions of a cell left of the middle after each block, while they fit into the photograph."""
    found: list[Sight] = []
    layers: list[dict[str, int]] = []
    for name, block in BLOCKS:
        layers += block
        field: Any = cyconv.receptive_field(layers, (height, width))  # two sizes in, so tuples out
        if max(field.size) > min(height, width):
            break
        rows, columns = field.region((field.output_size[0] // 2, field.output_size[1] // 3))
        found.append(Sight(name, max(field.size), rows, columns))
    return found


def tell(photo: Array) -> Story:
    """Do everything that the figure shows, and time it."""
    rows: list[Row] = []

    def call(text: str, function: Callable[..., Any], x: Array, *args: Any, **options: int) -> Any:
        best = np.inf
        for _ in range(5):
            start = time.perf_counter()
            result = function(x, *args, **options)
            best = min(best, time.perf_counter() - start)
        weight = np.shape(args[0])
        rows.append(Row(text, x.shape, weight, result.shape, best * 1e3))
        return result

    grey = np.tensordot(GREY, photo, 1)
    across = call("corr2d(x, w)", cyconv.corr2d, grey, STEP_ACROSS)
    down = call("corr2d(x, w)", cyconv.corr2d, grey, STEP_DOWN)
    outline = call("corr2d(x, w)", cyconv.corr2d, grey, OUTLINE)
    strided = []
    for stride, padding in STRIDES:
        text = f"conv2d(x, w, stride={stride}, padding={padding})"
        strided.append(call(text, cyconv.conv2d, grey, BLUR, stride=stride, padding=padding))
    weight, names = channel_weight()
    channels = call("conv2d(x, w, padding=1)", cyconv.conv2d, photo, weight, padding=1)
    sepia = call("conv2d(x, w)", cyconv.conv2d, photo, SEPIA[:, :, None, None])
    product = (SEPIA @ photo.reshape(3, -1)).reshape(photo.shape)
    crop = part(photo)
    max_pooled = call(f"max_pool2d(x, {POOL})", cyconv.max_pool2d, crop, POOL)
    avg_pooled = call(f"avg_pool2d(x, {POOL})", cyconv.avg_pool2d, crop, POOL)
    return Story(
        photo, across, down, outline, strided, channels, names, sepia, float(np.abs(sepia - product).max()),
        crop, max_pooled, avg_pooled, sights(*grey.shape), rows,
    )  # fmt: skip


def part(photo: Array) -> Array:
    """What is pooled: so small that its pixels show, left of the middle, where the subject stands."""
    height, width = photo.shape[1:]
    columns = min(POOL_COLUMNS, width // POOL)
    rows = min(max(round(columns * height / width), 1), height // POOL)
    rows, columns = POOL * rows, POOL * columns
    top, left = (height - rows) // 2, max(width // 3 - columns // 2, 0)
    return photo[:, top : top + rows, left : left + columns]


def print_table(story: Story) -> None:
    """The calls, the shapes that came and went, the time of each."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    table = Table(box=box.SIMPLE, title="cyconv on a photograph", title_justify="left")
    for heading in ("call", "input", "weight", "result"):
        table.add_column(heading, no_wrap=True)
    table.add_column("ms", justify="right")
    for row in story.rows:
        table.add_row(row.call, *map(_shape, (row.came, row.weight, row.gave)), f"{row.milliseconds:.2f}")
    console.print(table)
    console.print(f"1x1 convolution and matrix product differ by at most {story.sepia_error:.1e}", markup=False)
    seen = ", ".join(f"{sight.size}x{sight.size} after {sight.name}" for sight in story.sights)
    console.print(f"a cell of a VGG-16 network sees {seen}", markup=False)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def run(image: str | None, output: str) -> None:
    """The table on standard output, the figure in the file ``output``."""
    from cyconv._cli import figure

    path = default_photo() if image is None else Path(image)
    story = tell(as_photo(read_image(path), path.name))
    print_table(story)
    figure.save(figure.draw(story), Path(output))
    print(f"figure: {output}")
