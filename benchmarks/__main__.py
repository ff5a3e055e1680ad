"""``python -m benchmarks``: the command line of the benchmark suite."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import peers, suites
from benchmarks.cases import ITEMSIZE, LAYERS_FILE


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time cyconv against every installed peer, each in a process of its own, called in turn. "
        "Results are checked against float64 before they are timed.",
        epilog="Install the peers with: pip install '.[bench]'",
    )
    names = (*suites.NAMES, "all")
    made.add_argument("--suite", default="conv", help=f"comma-separated: {', '.join(names)} (default: conv)")
    made.add_argument(
        "--layers", type=Path, default=LAYERS_FILE, metavar="FILE", help="layers of --suite conv (JSON)"
    )
    made.add_argument("--cases", metavar="TEXT", help="only cases with TEXT in their name (comma-separated: any)")
    made.add_argument("--threads", default="1", help="comma-separated numbers (default: 1)")
    made.add_argument("--dtype", help=f"comma-separated: {', '.join(ITEMSIZE)} (default: as the suite has it)")
    made.add_argument("--layout", default="NCHW", choices=["NCHW", "NHWC"], help="of cyconv (peers: their own)")
    made.add_argument("--algorithm", default="auto,direct", help="of cyconv; the first is compared")
    made.add_argument("--peers", help=f"none, or: {', '.join(list(peers.LIBRARIES)[1:])} (default: all)")
    made.add_argument("--rounds", type=int, default=5, help="turns of each entry per case (default: 5)")
    made.add_argument("--time-per-case", type=float, default=0.5, metavar="S", help="of each entry (default: 0.5)")
    made.add_argument("--seed", type=int, default=0, help="of --suite random")
    made.add_argument("--count", type=int, default=24, help="of --suite random")
    made.add_argument("--compare", type=Path, metavar="OLD.json", help="a saved run to compare with")
    made.add_argument("-o", "--output", type=Path, metavar="DIR", help="for results.json and the figures")
    return made


def main(arguments: list[str] | None = None) -> int:
    made = parser()
    given = made.parse_args(arguments)
    try:
        from rich.console import Console
    except ImportError:
        made.error("the package rich is missing: pip install '.[bench]'")
    from benchmarks import report, results
    from benchmarks.runner import Settings

    try:
        dtypes = _listed("dtype", given.dtype, ITEMSIZE) if given.dtype else None
        names = _listed("suite", given.suite, (*suites.NAMES, "all"))
        cases = suites.build(names, layers=given.layers, dtypes=dtypes, seed=given.seed, count=given.count)
        old = results.read(given.compare) if given.compare else None
        settings = Settings(
            libraries=_libraries(given.peers),
            threads=[int(text) for text in given.threads.split(",")],
            layout=given.layout,
            algorithms=given.algorithm,
            rounds=given.rounds,
            seconds=given.time_per_case,
        )
    except (OSError, ValueError, KeyError) as wrong:
        made.error(str(wrong))
    if given.cases:
        cases = [case for case in cases if any(text in case.name for text in given.cases.split(","))]
    if not cases:
        made.error("no case is left with these options")
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 200)
    run = _measure(console, settings, cases)
    if given.output:
        results.save(given.output / "results.json", run)
    report.show(console, run)
    if old is not None:
        report.show_comparison(console, run, old)
    if given.output:
        from benchmarks.figure import draw

        written = draw(run, given.output)
        console.print(f"wrote results.json and {len(written)} figure(s) to {given.output}")
    return 0


def _measure(console: Any, settings: Any, cases: list[Any]) -> dict[str, Any]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from benchmarks import results
    from benchmarks.runner import Runner

    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    dtypes = sorted({case.dtype for case in cases} | {"float32"})
    records = []
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("starting the libraries", total=len(cases) * len(settings.threads))
        with Runner(settings) as runner:
            for library, reason in runner.missing.items():
                console.print(f"{library} does not start: {reason}", style="yellow", markup=False)
            progress.update(task, description="peak and bandwidth")
            limits = runner.limits(dtypes)
            try:
                for record in runner.run(cases, lambda text: progress.update(task, description=text)):
                    records.append(record)
                    progress.advance(task)
            except KeyboardInterrupt:
                if not records:
                    raise
                console.print(f"interrupted after {len(records)} records: here are these", style="yellow")
            progress.update(task, description="peak and bandwidth")
            limits = _better(limits, runner.limits(dtypes))
            restless = runner.restless()
    return {
        "machine": results.machine(),
        "settings": vars(settings),
        "limits": limits,
        "restless": restless,
        "records": records,
    }


def _better(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The higher of two measurements of each limit, made before and after the run."""
    return {
        threads: {
            "bandwidth": max(first[threads]["bandwidth"], second[threads]["bandwidth"]),
            "peak": {
                dtype: value if value is None else max(value, second[threads]["peak"][dtype])
                for dtype, value in first[threads]["peak"].items()
            },
        }
        for threads in first
    }


def _libraries(text: str | None) -> list[str]:
    """cyconv and the chosen peers, those of them that are installed."""
    known = list(peers.LIBRARIES)
    chosen = known if text is None else [] if text == "none" else _listed("peer", text, known)
    return [name for name in known if (name in chosen or name == "cyconv") and peers.installed(name)]


def _listed(what: str, text: str, allowed: Any) -> list[str]:
    found = [word.strip() for word in text.split(",") if word.strip()]
    for word in found:
        if word not in allowed:
            raise ValueError(f"no {what} is called {word!r}; there are {', '.join(allowed)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
