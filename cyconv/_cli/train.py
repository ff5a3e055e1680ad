"""``cyconv train``: LeNet learns the handwritten digits that scikit-learn ships."""

from __future__ import annotations

import gzip
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import cyconv
from cyconv import nn
from cyconv._cli import CommandError

Array = npt.NDArray[Any]

CLASSES = 10
#: width of the images, and of the empty frame in them
SIDE, FRAME = 28, 2
RATE = 2e-3
HELD_OUT = 360  # a fifth of the 1797 images


class Digits(NamedTuple):
    """Images ``(N, 1, 28, 28)`` between 0 and 1, and the digit on each; a fifth is held out."""

    images: Array
    labels: Array
    test_images: Array
    test_labels: Array


class Trained(NamedTuple):
    """What the training gave."""

    model: nn.Sequential
    losses: list[float]
    accuracies: list[float]
    confusion: Array
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of the held-out digits that are recognised."""
        return float(np.trace(self.confusion) / self.confusion.sum())


def load_digits(seed: int) -> Digits:
    """The digits of an installed scikit-learn (UCI optical recognition of handwritten digits), shuffled."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("no module named 'sklearn'", name="sklearn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    except OSError as error:
        raise CommandError(f"the digits of scikit-learn cannot be read: {error}") from error
    table = np.random.default_rng(seed).permutation(table)
    images, labels = enlarged(table[:, :64].reshape(-1, 1, 8, 8) / 16), table[:, 64].astype(np.int64)
    return Digits(images[HELD_OUT:], labels[HELD_OUT:], images[:HELD_OUT], labels[:HELD_OUT])


def enlarged(images: Array) -> Array:
    """8x8 to 24x24 by linear interpolation, which is a transposed convolution, and a frame: the 28x28 of LeNet."""
    tent = np.array([1, 2, 3, 2, 1], np.float32) / 3
    larger = cyconv.conv_transpose2d(images, np.outer(tent, tent)[None, None], stride=3, padding=1)
    return np.pad(larger, ((0, 0), (0, 0), (FRAME, FRAME), (FRAME, FRAME)))


def make_lenet(rng: np.random.Generator) -> nn.Sequential:
    """LeNet-5, with ReLU and max-pooling in the place of sigmoid and mean.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    model = nn.Sequential(
        nn.Conv2D(1, 6, 5, padding=2, rng=rng),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(6, 16, 5, rng=rng),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Linear(400, 120, rng=rng),
        nn.ReLU(),
        nn.Linear(120, 84, rng=rng),
        nn.ReLU(),
        nn.Linear(84, CLASSES, rng=rng),
    )
    model[0].needs_input_grad = False
    return model


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """Every image moved by up to the width of its frame, so that the network learns shapes and not places."""
    padded = np.pad(images, ((0, 0), (0, 0), (FRAME, FRAME), (FRAME, FRAME)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
    down, right = rng.integers(0, 2 * FRAME + 1, (2, len(images)))
    moved: Array = windows[np.arange(len(images)), :, down, right]
    return moved


def batches(digits: Digits, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """One epoch in a new order."""
    order = rng.permutation(len(digits.labels))
    for first in range(0, len(order), size):
        chosen = order[first : first + size]
        yield shifted(digits.images[chosen], rng), digits.labels[chosen]


def confusion_matrix(model: nn.Module, images: Array, labels: Array) -> Array:
    """Count of images by true digit (rows) and recognised digit (columns)."""
    model.eval()
    found = model(images).argmax(axis=1)
    model.train()
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (labels, found), 1)
    return counts


def train(
    digits: Digits, epochs: int, batch: int, seed: int, after_step: Callable[[int, float, float], None]
) -> Trained:
    """Train; ``after_step`` gets the epoch, the loss of the step and the accuracy after the last epoch."""
    rng = np.random.default_rng(seed)
    model = make_lenet(rng)
    optimiser = nn.Adam(model.parameters(), RATE)
    losses: list[float] = []
    accuracies: list[float] = []
    counts = np.eye(CLASSES, dtype=np.int64)
    start = time.perf_counter()
    for epoch in range(epochs):
        optimiser.lr = RATE * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        for images, labels in batches(digits, batch, rng):
            loss, grad = nn.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            model.backward(grad)
            optimiser.step()
            losses.append(loss)
            after_step(epoch, loss, accuracies[-1] if accuracies else 0.0)
        counts = confusion_matrix(model, digits.test_images, digits.test_labels)
        accuracies.append(float(np.trace(counts) / counts.sum()))
    return Trained(model, losses, accuracies, counts, time.perf_counter() - start)


def run(epochs: int, batch: int, seed: int, output: str) -> None:
    """The command: train with a progress bar, then the confusion matrix and the figure."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from cyconv._cli.train_figure import check_writable, write

    for name, value in (("--epochs", epochs), ("--batch", batch)):
        if value < 1:
            raise CommandError(f"{name} must be at least 1, got {value}")
    if seed < 0:
        raise CommandError(f"--seed must be at least 0, got {seed}")
    check_writable(output)
    digits = load_digits(seed)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print(nn.summary(make_lenet(np.random.default_rng(seed)), (1, 1, SIDE, SIDE)), markup=False)
    steps = -(-len(digits.labels) // batch)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("loss -", total=epochs * steps)
        mean = [0.0]

        def show(epoch: int, loss: float, accuracy: float) -> None:
            mean[0] = loss if mean[0] == 0 else 0.95 * mean[0] + 0.05 * loss
            text = f"epoch {epoch + 1}/{epochs}  loss {mean[0]:.4f}  held-out {accuracy:.1%}"
            progress.update(task, advance=1, description=text)

        trained = train(digits, epochs, batch, seed, show)
    _print_confusion(console, trained.confusion)
    console.print(
        f"{trained.accuracy:.2%} of {len(digits.test_labels)} held-out digits recognised, {trained.seconds:.1f} s"
        f" ({trained.seconds / epochs * 1e3:.0f} ms per epoch of {len(digits.labels)})",
        markup=False,
    )
    write(trained, digits, output)
    console.print(f"figure: {output}", markup=False)


def _print_confusion(console: Any, counts: Array) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title="rows: the digit, columns: what it was taken for", title_justify="left")
    table.add_column("")
    for digit in range(CLASSES):
        table.add_column(str(digit), justify="right")
    for digit, row in enumerate(counts):
        table.add_row(str(digit), *(str(n) if n else "." for n in row))
    console.print(table)
