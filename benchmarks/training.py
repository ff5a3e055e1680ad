"""``python -m benchmarks.training``: an epoch of LeNet and the memory of a step of VGG-11, beside PyTorch.

The epoch is that of ``cyconv train``: the same images in the same order, the same first weights and optimiser; both
libraries take turns in one process. The memory is the highest resident size during three steps (batch 8, 64x64)
beyond that after imports and the making of the model, in a process for each library.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cyconv
from cyconv import nn
from cyconv._cli import train

BATCH = 32
#: channels of the convolutions of VGG-11, 0 for a pooling
VGG11 = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
HIDDEN, CLASSES = 4096, 1000


def main() -> None:
    made = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.partition("\n")[0])
    made.add_argument("--threads", type=int, default=1, help="of both libraries (default: 1)")
    made.add_argument("--rounds", type=int, default=7, help="epochs of each library (default: 7)")
    made.add_argument("--memory-of", choices=["cyconv", "torch"], help=argparse.SUPPRESS)
    given = made.parse_args()
    cyconv.set_num_threads(given.threads)
    if given.memory_of:
        print(peak(vgg_cyconv() if given.memory_of == "cyconv" else vgg_torch(given.threads)))
        return
    ours, theirs = epochs(given.threads, given.rounds)
    print(f"epoch of LeNet, best of {given.rounds}: cyconv {ours * 1e3:.0f} ms, torch {theirs * 1e3:.0f} ms")
    command = [sys.executable, "-m", "benchmarks.training", "--threads", str(given.threads), "--memory-of"]
    ours, theirs = (
        float(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout)
        for name in ("cyconv", "torch")
    )
    print(f"memory of a step of VGG-11: cyconv {ours:.0f} MiB, torch {theirs:.0f} MiB")


def epochs(threads: int, rounds: int) -> tuple[float, float]:
    """Seconds of the fastest epoch of each."""
    import torch

    torch.set_num_threads(threads)
    digits = train.load_digits(0)
    model = train.make_lenet(np.random.default_rng(0))
    optimiser = nn.Adam(model.parameters(), train.RATE)
    layers = torch.nn
    other = layers.Sequential(
        layers.Conv2d(1, 6, 5, padding=2), layers.ReLU(), layers.MaxPool2d(2), layers.Conv2d(6, 16, 5), layers.ReLU(),
        layers.MaxPool2d(2), layers.Flatten(), layers.Linear(400, 120), layers.ReLU(), layers.Linear(120, 84),
        layers.ReLU(), layers.Linear(84, 10),
    )  # fmt: skip
    other.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
    other_optimiser = torch.optim.Adam(other.parameters(), train.RATE)

    def step(images: Any, labels: Any) -> None:
        _, grad = nn.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        model.backward(grad)
        optimiser.step()

    def other_step(images: Any, labels: Any) -> None:
        loss = layers.functional.cross_entropy(other(torch.from_numpy(images)), torch.from_numpy(labels))
        other_optimiser.zero_grad()
        loss.backward()
        other_optimiser.step()

    times: tuple[list[float], list[float]] = ([], [])
    for seed in range(rounds):
        for run, found in zip((step, other_step), times, strict=True):
            start = time.perf_counter()
            for images, labels in train.batches(digits, BATCH, np.random.default_rng(seed)):
                run(images, labels)
            found.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def pictures() -> tuple[Any, Any]:
    """A batch."""
    return np.random.default_rng(0).random((8, 3, 64, 64), np.float32), np.arange(8)


def vgg_cyconv() -> Callable[[], None]:
    """A step of VGG-11."""
    layers: list[nn.Module] = []
    channels = 3
    for width in VGG11:
        layers += [nn.Conv2D(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2D(2)]
        channels = width or channels
    layers += [nn.AdaptiveAvgPool2D(7), nn.Flatten()]
    for inputs, outputs in ((channels * 49, HIDDEN), (HIDDEN, HIDDEN)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout()]
    model = nn.Sequential(*layers, nn.Linear(HIDDEN, CLASSES))
    model[0].needs_input_grad = False
    optimiser = nn.SGD(model.parameters(), 0.01, momentum=0.9)
    images, labels = pictures()

    def step() -> None:
        _, grad = nn.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        model.backward(grad)
        optimiser.step()

    return step


def vgg_torch(threads: int) -> Callable[[], None]:
    """The same, with activations in place as PyTorch's own model has them."""
    import torch

    torch.set_num_threads(threads)
    layers: list[Any] = []
    channels = 3
    for width in VGG11:
        block = [torch.nn.Conv2d(channels, width or 1, 3, padding=1), torch.nn.ReLU(inplace=True)]
        layers += block if width else [torch.nn.MaxPool2d(2)]
        channels = width or channels
    layers += [torch.nn.AdaptiveAvgPool2d(7), torch.nn.Flatten()]
    for inputs, outputs in ((channels * 49, HIDDEN), (HIDDEN, HIDDEN)):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU(inplace=True), torch.nn.Dropout()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(HIDDEN, CLASSES))
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    images, labels = map(torch.from_numpy, pictures())

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def peak(step: Callable[[], None]) -> float:
    """MiB that three steps need beyond what is there (Linux)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest size so far is that of now
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return _status("VmHWM") - before


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


if __name__ == "__main__":
    main()
