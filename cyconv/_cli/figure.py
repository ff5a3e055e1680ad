"""The figure of ``cyconv demo``: three rows of pictures, each with the call that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from cyconv import __version__, show_config
from cyconv._cli import CommandError
from cyconv._cli.demo import POOL, STRIDES, Array, Story
from cyconv._cli.images import reason

INK, SOFT = "#1f2933", "#6b7785"
#: one colour per receptive field, light enough to stand out from a photograph
SIGHT_COLOURS = ("#ffe14d", "#ff9f1c", "#ff4d6d", "#c77dff", "#4cc9f0")
CODE: dict[str, Any] = {"family": "monospace", "size": 8.5}
CHIP = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "boxstyle": "round,pad=0.25"}
#: space between pictures that share axes, in widths of the photograph
GAP = 0.03
#: channels whose sign means a colour
OPPONENTS = ("red - green", "blue - yellow")


def draw(story: Story) -> Figure:
    """The whole figure."""
    aspect = story.photo.shape[1] / story.photo.shape[2]
    figure = Figure(
        figsize=(15, 3 * (3.6 * aspect + 0.95) + 0.5),
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.06),
    )
    bands: Any = figure.subfigures(4, 1, height_ratios=[1, 1, 1, 0.06])
    _slide(bands[0], story)
    _shapes(bands[1], story)
    _summarise(bands[2], story)
    config = show_config()
    milliseconds = sum(row.milliseconds for row in story.rows)
    bands[3].text(
        0.99, 0.5,
        f"cyconv {__version__}, build {config['build']}, threads {config['threads']}: "
        f"{len(story.rows)} calls, {milliseconds:.1f} ms together",
        ha="right", va="center", color=SOFT, size=9,
    )  # fmt: skip
    return figure


def _band(band: Any, heading: str, **layout: Any) -> list[Axes]:
    band.suptitle(heading, x=0.008, ha="left", weight="bold", size=13, color=INK)
    return list(np.ravel(band.subplots(1, **layout)))


def _slide(band: Any, story: Story) -> None:
    axes = _band(band, "1   A kernel slides over the image", ncols=4)
    _photo(axes[0], story.photo, "the photograph", f"x: {_shape(story.photo)}")
    _relief(axes[1], story.across, "differences to the right", "corr2d(x, [[1, -1]])")
    _relief(axes[2], story.down, "differences downwards", "corr2d(x, [[1], [-1]])")
    axes[3].imshow(story.outline, cmap="gray", vmin=0, vmax=_limit(story.outline))
    _title(axes[3], "outlines", "corr2d(x, [[-1,-1,-1], [-1,8,-1], [-1,-1,-1]])")


def _shapes(band: Any, story: Story) -> None:
    width = story.photo.shape[2]
    total = sum(result.shape[1] for result in story.strided) + (len(story.strided) - 1) * GAP * width
    axes = _band(
        band,
        "2   Padding, stride and channels decide the shape of the result",
        ncols=3,
        width_ratios=[total / width, 1, 1],
    )
    _side_by_side(axes[0], story.strided, GAP * width)
    _title(axes[0], "a 5x5 blur, to scale", "")
    _mosaic(axes[1], story)
    _title(axes[1], "three channels in, four out", "conv2d(x, weight (4, 3, 3, 3), padding=1)")
    _photo(
        axes[2],
        story.sepia,
        "1x1 convolution = matrix product at every pixel",
        "conv2d(x, weight (3, 3, 1, 1))",
    )


def _summarise(band: Any, story: Story) -> None:
    axes = _band(band, "3   Pooling summarises; the deeper a cell, the more it sees", ncols=4)
    cells = f"{POOL}x{POOL}"
    _photo(axes[0], story.crop, "a part of the photograph", f"x: {_shape(story.crop)}")
    called = f"pool2d(x, {POOL}): {_shape(story.max_pooled)}"
    _photo(axes[1], story.max_pooled, f"largest of {cells} values", f"max_{called}")
    _photo(axes[2], story.avg_pooled, f"mean of {cells} values", f"avg_{called}")
    _sights(axes[3], story)


def _title(axes: Axes, title: str, code: str) -> None:
    axes.set_title(title, size=10, color=INK, pad=4)
    axes.set_xlabel(code, color=SOFT, labelpad=4, **CODE)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _photo(axes: Axes, photo: Array, title: str, code: str) -> None:
    axes.imshow(np.moveaxis(photo, 0, -1).clip(0, 1), interpolation="nearest")
    _title(axes, title, code)


def _relief(axes: Axes, values: Array, title: str, code: str) -> None:
    limit = _limit(values)
    axes.imshow(values, cmap="gray", vmin=-limit, vmax=limit)
    _title(axes, title, code)


def _limit(values: Array) -> float:
    """Where the colour scale ends; the rare largest values may saturate, else all others would be pale."""
    return float(np.quantile(np.abs(values), 0.98)) or 1.0


def _side_by_side(axes: Axes, results: list[Array], gap: float) -> None:
    left, bottom = 0.0, results[0].shape[0]
    for result, (stride, padding) in zip(results, STRIDES, strict=True):
        height, width = result.shape
        axes.imshow(result, cmap="gray", vmin=0, vmax=1, extent=(left, left + width, bottom, bottom - height))
        text = f"stride {stride}\npadding {padding}\n{_shape(result)}"
        if left:
            axes.text(left, bottom - height - gap / 2, text, va="bottom", color=INK, **CODE)
        else:
            axes.text(0.03 * width, 0.05 * height, text, va="top", color=INK, bbox=CHIP, **CODE)
        left += width + gap
    axes.set_xlim(0, left - gap)
    axes.set_ylim(bottom, 0)


def _mosaic(axes: Axes, story: Story) -> None:
    height, width = story.channels.shape[1:]
    gap = width * 0.015
    for index, (channel, name) in enumerate(zip(story.channels, story.channel_names, strict=True)):
        top, left = index // 2 * (height + gap), index % 2 * (width + gap)
        extent = (left, left + width, top + height, top)
        low, high = (-_limit(channel), _limit(channel)) if channel.min() < 0 else (0.0, 1.0)
        cmap = "RdBu_r" if name in OPPONENTS else "gray"
        axes.imshow(channel, cmap=cmap, extent=extent, vmin=low, vmax=high)
        axes.text(left + 0.03 * width, top + 0.05 * height, name, va="top", size=8, color=INK, bbox=CHIP)
    axes.set_xlim(0, 2 * width + gap)
    axes.set_ylim(2 * height + gap, 0)


def _sights(axes: Axes, story: Story) -> None:
    title = "what one cell sees after each block of VGG-16"
    _photo(axes, story.photo * 0.8, title, "receptive_field(layers).region(cell)")
    for sight, colour in zip(story.sights, SIGHT_COLOURS, strict=False):
        top, left = sight.rows.start, sight.columns.start
        height, width = sight.rows.stop - top, sight.columns.stop - left
        axes.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5), width, height,
                fill=False, edgecolor=colour, linewidth=1.8, label=f"{sight.name}: {sight.size}x{sight.size}",
            )
        )  # fmt: skip
    if story.sights:
        axes.legend(loc="upper right", prop=CODE, labelcolor=INK, framealpha=0.85, edgecolor="none", handlelength=1.2)


def _shape(array: Array) -> str:
    return "x".join(map(str, array.shape))


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format that the file name asks for."""
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot write {path}: {reason(error)}") from error
