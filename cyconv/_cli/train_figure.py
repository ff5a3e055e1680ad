"""The figure of ``cyconv train``: how the loss fell, what the kernels became, what they see in a digit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cyconv._cli import CommandError
from cyconv._cli.images import reason
from cyconv._cli.train import Array, Digits, Trained

INK, SOFT = "#1f2933", "#6b7785"
LINE, MARK = "#2f6fb3", "#d1495b"


def check_writable(output: str) -> None:
    """Refuse, before the training and not after it, a file that the figure cannot be written to."""
    path, formats = Path(output), Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise CommandError(f"{output} cannot be written: its name must end with one of {', '.join(sorted(formats))}")
    if not path.parent.is_dir():
        raise CommandError(f"{output} cannot be written: there is no folder {path.parent}")


def write(trained: Trained, digits: Digits, output: str) -> None:
    """Draw and save."""
    figure = draw(trained, digits)
    try:
        figure.savefig(Path(output), dpi=110)
    except (OSError, ValueError) as error:
        raise CommandError(f"{output} cannot be written: {reason(error)}") from error


def draw(trained: Trained, digits: Digits) -> Figure:
    """The whole figure: two bands of pictures."""
    figure = Figure(figsize=(13, 8.4), facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    bands: Any = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    left, right = bands[0].subplots(1, 2, width_ratios=[1.5, 1])
    _curves(left, trained)
    _confusion(right, trained)
    example = int(np.flatnonzero(digits.test_labels == 3)[0]) if 3 in digits.test_labels else 0
    _kernels(bands[1], trained, digits.test_images[example], int(digits.test_labels[example]))
    return figure


def _curves(axes: Axes, trained: Trained) -> None:
    steps = np.arange(1, len(trained.losses) + 1)
    per_epoch = len(trained.losses) // len(trained.accuracies)
    axes.semilogy(steps, trained.losses, color=LINE, alpha=0.25, linewidth=0.8)
    smooth = np.array(trained.losses)[: per_epoch * len(trained.accuracies)].reshape(-1, per_epoch).mean(axis=1)
    ends = per_epoch * np.arange(1, len(smooth) + 1)
    axes.semilogy(ends, smooth, color=LINE, linewidth=2)
    axes.set_xlabel("step", color=SOFT)
    axes.set_ylabel("loss (each step; mean of each epoch)", color=LINE)
    other = axes.twinx()
    other.plot(ends, [100 * accuracy for accuracy in trained.accuracies], color=MARK, linewidth=2)
    other.set_ylabel("held-out digits recognised, %", color=MARK)
    other.set_ylim(80, 100.4)
    axes.set_title(
        f"LeNet learns handwritten digits: {trained.accuracy:.1%} after {trained.seconds:.0f} s",
        color=INK, loc="left", weight="bold",
    )  # fmt: skip


def _confusion(axes: Axes, trained: Trained) -> None:
    counts = trained.confusion
    axes.imshow(np.sqrt(counts), cmap="Blues")
    for row, column in np.argwhere(counts):
        right = row == column
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", size=9, color="white" if right else MARK,
            weight="normal" if right else "bold",
        )  # fmt: skip
    axes.set(xticks=range(len(counts)), yticks=range(len(counts)))
    axes.set_xlabel("taken for", color=SOFT)
    axes.set_ylabel("is", color=SOFT)
    axes.set_title("held-out digits", color=INK, loc="left", weight="bold")


def _kernels(band: Any, trained: Trained, image: Array, label: int) -> None:
    """The first layer: its kernels, and what each finds in a digit."""
    first, second = trained.model[0], trained.model[1]
    weight = trained.model.state_dict()["0.weight"][:, 0]
    maps = second(first(image[np.newaxis]))[0]
    grid = band.subplots(2, len(weight) + 1, width_ratios=[1.3] + [1] * len(weight))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
    grid[0, 0].imshow(image[0], cmap="gray_r")
    grid[0, 0].set_title(f"a {label}", color=INK, size=10)
    grid[1, 0].text(
        0.5, 0.5,
        "above: the learned kernels\n(red adds, blue takes away)\n\nhere: where each of\nthem finds its pattern",
        ha="center", va="center", color=SOFT, size=9,
    )  # fmt: skip
    limit = float(np.abs(weight).max())
    for column, (kernel, found) in enumerate(zip(weight, maps, strict=True), 1):
        grid[0, column].imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
        grid[0, column].set_title(f"kernel {column}", color=INK, size=10)
        grid[1, column].imshow(found, cmap="magma", vmin=0)
