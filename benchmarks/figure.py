"""The run as a picture: times against the peers and the machine's limit, and the ratio to the best peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from benchmarks import results, roofline
from benchmarks.report import duration
from benchmarks.results import OURS, Record

# One look per library, whatever entry of it was quickest, so that a reader has few things to tell apart.
STYLES = {
    "torch": ("PyTorch", "#d6562b", "o"),
    "onnxruntime": ("ONNX Runtime", "#3b75af", "s"),
    "openvino": ("OpenVINO", "#7d5ba6", "^"),
    "xnnpack": ("XNNPACK (LiteRT)", "#b8860b", "v"),
    "opencv": ("OpenCV", "#2a8a8a", "D"),
    "scipy": ("SciPy", "#8a8a8a", "X"),
}
OUR_COLOUR = "#1a7f37"


def draw(run: dict[str, Any], folder: Path) -> list[Path]:
    """Write one PNG per group, dtype and number of threads; return their paths."""
    paths = []
    for (group, dtype, threads), rows in results.groups(run["records"]).items():
        path = folder / f"{group}-{dtype}-{threads}.png"
        _draw_group(f"{group}, {dtype}, {threads} thread{'s' * (threads > 1)}", rows, run, path)
        paths.append(path)
    return paths


def _draw_group(title: str, rows: list[Record], run: dict[str, Any], path: Path) -> None:
    height = 1.6 + 0.3 * len(rows)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, height), width_ratios=(3, 1.3), sharey=True, layout="constrained"
    )
    _times(left, rows, run["limits"])
    _ratios(right, rows)
    left.set_yticks(range(len(rows)), [record["case"]["name"] for record in rows], fontsize=8)
    left.set_ylim(len(rows) - 0.4, -0.6)
    versions = run["machine"]
    figure.suptitle(f"{title}  ({versions['processor']}, {versions['cpus']} CPUs)", fontsize=10)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _times(axes: Axes, rows: list[Record], limits: dict[str, Any]) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis="x", which="major", color="#e4e4e4")
    for y in range(len(rows)):
        axes.axhline(y, color="#f2f2f2", linewidth=6, zorder=0)
    bounds = [roofline.limit_seconds(results.case_of(r), limits.get(str(r["threads"]), {})) for r in rows]
    _points(axes, bounds, marker="|", s=160, linewidths=2, color="black", label="roofline")
    for prefix, (label, colour, marker) in STYLES.items():
        times = [results.quickest(record, prefix) for record in rows]
        _points(axes, times, marker=marker, s=26, color=colour, label=label, alpha=0.85)
    # The ring is the wider one, so that both are seen where they coincide.
    for entry, face, size in ((f"{OURS}-direct", "none", 110), (OURS, OUR_COLOUR, 55)):
        times = [results.seconds(record, entry) for record in rows]
        look = {"edgecolors": OUR_COLOUR, "linewidths": 1.5, "zorder": 4}
        _points(axes, times, marker="o", s=size, facecolors=face, label=entry, **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.set_xlabel("time per call, median (left is quicker)", fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=9, fontsize=8, frameon=False
    )


def _points(axes: Axes, times: list[float | None], **look: Any) -> None:
    found = [(time, y) for y, time in enumerate(times) if time is not None]
    if found:
        axes.scatter([time for time, _ in found], [y for _, y in found], **look)


def _ratios(axes: Axes, rows: list[Record]) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#e4e4e4")
    top = max([1.0, *(value for record in rows if (value := results.ratio(record)) is not None)])
    for y, record in enumerate(rows):
        value, peer = results.ratio(record), results.best_peer(record)
        if value is None or peer is None:
            continue
        axes.barh(y, value, height=0.6, color=OUR_COLOUR if value >= 1 else "#c0392b")
        backing = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
        axes.text(value + 0.03 * top, y, f"{value:.2f} {peer[0]}", va="center", fontsize=7, bbox=backing)
    mean = results.geometric_mean(results.ratio(record) for record in rows)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, 1.6 * top)
    axes.set_xlabel("best peer / cyconv" + (f", geometric mean {mean:.2f}" if mean else ""), fontsize=9)
    axes.tick_params(axis="y", length=0)
