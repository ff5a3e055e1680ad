"""What the measurements say: ratios, geometric means, the worst rows; and the file that keeps them."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.cases import Case

FORMAT = 1
OURS = "cyconv"
Record = dict[str, Any]


def machine() -> dict[str, Any]:
    """The machine in the words of its system, and the versions of everything that was installed."""
    return {
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: peers.version(name) for name in peers.LIBRARIES if peers.installed(name)},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def is_ours(entry: str) -> bool:
    return family(entry) == OURS


def seconds(record: Record, entry: str) -> float | None:
    found = record["entries"].get(entry)
    return None if found is None else float(found["median"])


def best_peer(record: Record) -> tuple[str, float] | None:
    """The quickest entry that is not cyconv's."""
    found = [(entry["median"], name) for name, entry in record["entries"].items() if not is_ours(name)]
    if not found:
        return None
    median, name = min(found)
    return name, float(median)


def family(entry: str) -> str:
    """The library that an entry belongs to: what stands before the first hyphen."""
    return entry.split("-")[0]


def quickest(record: Record, library: str) -> float | None:
    """The time of the library's quickest entry."""
    entries = record["entries"].items()
    return min((entry["median"] for name, entry in entries if family(name) == library), default=None)


def ratio(record: Record, entry: str = OURS) -> float | None:
    """How many times as long as cyconv the best peer takes."""
    ours, peer = seconds(record, entry), best_peer(record)
    return None if ours is None or peer is None else peer[1] / ours


def ratio_to(record: Record, peer: str, entry: str = OURS) -> float | None:
    """How many times as long as cyconv that peer takes."""
    ours, other = seconds(record, entry), seconds(record, peer)
    return None if ours is None or other is None else other / ours


def geometric_mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def entry_names(records: list[Record]) -> list[str]:
    """Every entry that was timed, ours first, in the order in which they appear."""
    names = dict.fromkeys(name for record in records for name in record["entries"])
    return sorted(names, key=lambda name: not is_ours(name))


def groups(records: list[Record]) -> dict[tuple[str, str, int], list[Record]]:
    """Records by (group, dtype, threads), in the order in which they appear."""
    found: dict[tuple[str, str, int], list[Record]] = {}
    for record in records:
        case = record["case"]
        found.setdefault((case["group"], case["dtype"], record["threads"]), []).append(record)
    return found


def worst(records: list[Record], count: int = 5) -> list[tuple[float, Record]]:
    """The rows where cyconv stands worst against the best peer."""
    found = [(value, record) for record in records if (value := ratio(record)) is not None]
    return sorted(found, key=lambda pair: pair[0])[:count]


def scaling(records: list[Record]) -> list[tuple[str, int, float]]:
    """(case, threads, times quicker than with one) of cyconv, for cases timed with both."""
    single = {record["case"]["name"]: seconds(record, OURS) for record in records if record["threads"] == 1}
    found = []
    for record in records:
        one, many = single.get(record["case"]["name"]), seconds(record, OURS)
        if record["threads"] > 1 and one is not None and many is not None:
            found.append((record["case"]["name"], record["threads"], one / many))
    return found


def case_of(record: Record) -> Case:
    return Case.from_dict(record["case"])


def save(path: Path, run: dict[str, Any]) -> None:
    path.write_text(json.dumps({"format": FORMAT, **run}, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Read a saved run. Raises ValueError if the file is something else."""
    run = json.loads(path.read_text())
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise ValueError(f"{path} is not a benchmark result of format {FORMAT}")
    return run
