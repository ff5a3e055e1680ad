"""The run as text: one table per group, geometric means, the worst five, the comparison with an older run."""

from __future__ import annotations

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import results, roofline
from benchmarks.results import OURS, Record

# Below this the library is slower than a peer beyond what two measurements of the same thing differ by.
BEHIND = 0.97

# Smaller calls are over before a second thread is of much use.
SCALES_FROM = 100e6


def show(console: Console, run: dict[str, Any]) -> None:
    records = run["records"]
    for (group, dtype, threads), rows in results.groups(records).items():
        console.print(_table(f"{group}, {dtype}, {threads} thread{'s' * (threads > 1)}", rows, run["limits"]))
        console.print(_means(rows))
        console.print()
    show_skipped(console, records)
    show_worst(console, records)
    show_scaling(console, records)
    show_restless(console, run["restless"])
    show_contention(console, records)


def _table(title: str, rows: list[Record], limits: dict[str, Any]) -> Table:
    ours = [name for name in results.entry_names(rows) if results.is_ours(name)]
    others = dict.fromkeys(results.family(name) for name in results.entry_names(rows) if name not in ours)
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("case", no_wrap=True)
    table.add_column("MFLOP", justify="right")
    for name in [*ours, "limit", *others]:
        table.add_column(name, justify="right", no_wrap=True)
    judged = [name for name in ours if not name.endswith("-new")]
    for title in ("ratio", "of limit"):
        for name in judged:
            table.add_column(" ".join([title, *name.split("-")[1:]]), justify="right")
    for record in rows:
        limit = roofline.limit_seconds(results.case_of(record), limits.get(str(record["threads"]), {}))
        cells = [record["case"]["name"], f"{record['flops'] / 1e6:.4g}"]
        cells += [duration(results.seconds(record, name)) for name in ours]
        cells.append(f"[dim]{duration(limit)}[/dim]")
        times = [results.quickest(record, library) for library in others]
        best = min((time for time in times if time is not None), default=None)
        cells += [f"[bold]{duration(time)}[/bold]" if time == best else duration(time) for time in times]
        cells += [_coloured(results.ratio(record, name)) for name in judged]
        cells += [_share(limit, results.seconds(record, name)) for name in judged]
        table.add_row(*cells)
    return table


def _means(rows: list[Record]) -> str:
    lines = []
    for name in [name for name in results.entry_names(rows) if results.is_ours(name)]:
        ratios = [results.ratio(record, name) for record in rows]
        found = [value for value in ratios if value is not None]
        if found:
            mean = results.geometric_mean(found)
            lines.append(
                f"geometric mean of best peer / {name}: [bold]{mean:.2f}[/bold] over {len(found)} rows, "
                f"lowest {min(found):.2f}, {sum(value < BEHIND for value in found)} under {BEHIND}"
            )
    against = []
    for peer in results.entry_names(rows):
        mean = None if results.is_ours(peer) else results.geometric_mean(results.ratio_to(r, peer) for r in rows)
        if mean is not None:
            against.append(f"{peer} {mean:.2f}")
    if against:
        lines.append(f"against each peer: {', '.join(against)}")
    return "\n".join(lines)


def show_worst(console: Console, records: list[Record]) -> None:
    found = results.worst(records)
    if found:
        console.print("[bold]The worst five[/bold] (best peer / cyconv)")
    for value, record in found:
        peer = results.best_peer(record)
        case = record["case"]
        console.print(
            f"  {_coloured(value)}  {case['name']} ({record['threads']} threads), against {peer and peer[0]}"
        )


def show_scaling(console: Console, records: list[Record]) -> None:
    large = {record["case"]["name"] for record in records if record["flops"] > SCALES_FROM}
    found = [row for row in results.scaling(records) if row[0] in large]
    if found:
        name, threads, lowest = min(found, key=lambda row: row[2])
        middle = statistics.median(row[2] for row in found)
        console.print(
            f"cyconv with {threads} threads against one, rows above {SCALES_FROM / 1e6:.0f} MFLOP: "
            f"median {middle:.2f}, lowest {lowest:.2f} ({name})"
        )


def show_skipped(console: Console, records: list[Record]) -> None:
    """What was not timed, and why: wrong results first of all."""
    found: dict[str, list[str]] = {}
    for record in records:
        for entry, reason in record["skipped"].items():
            found.setdefault(f"{entry}: {reason}", []).append(record["case"]["name"])
    for text, cases in found.items():
        names = list(dict.fromkeys(cases))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        console.print(f"not timed, {text} ({', '.join(names[:3])}{more})", style="dim", markup=False)


def show_restless(console: Console, restless: dict[str, float]) -> None:
    """Libraries whose threads kept working after their calls and so disturbed the others."""
    for name, share in restless.items():
        if share > 0.02:
            console.print(f"[yellow]{name}: used {share:.0%} of a core while it was not its turn[/yellow]")


def show_contention(console: Console, records: list[Record]) -> None:
    """Whether calls with one thread had to share their core with other programs."""
    entries = [entry for record in records if record["threads"] == 1 for entry in record["entries"].values()]
    shares = [entry["busy"] for entry in entries if entry["busy"] is not None]
    if shares and statistics.mean(shares) < 0.97:
        share = 1 - statistics.mean(shares)
        console.print(f"[yellow]other programs took {share:.0%} of the processor: measure again[/yellow]")


def show_comparison(console: Console, run: dict[str, Any], old: dict[str, Any]) -> None:
    """cyconv's times then and now; the peers' times in both runs tell how much the machine has changed."""
    before = {(record["case"]["name"], record["threads"]): record for record in old["records"]}
    changes: list[tuple[str, int, float]] = []
    drift: list[float] = []
    for record in run["records"]:
        past = before.get((record["case"]["name"], record["threads"]))
        if past is None:
            continue
        for name in record["entries"]:
            then, now = results.seconds(past, name), results.seconds(record, name)
            if then is None or now is None:
                continue
            if name == OURS:
                changes.append((record["case"]["name"], record["threads"], then / now))
            elif not results.is_ours(name):
                drift.append(then / now)
    if not changes:
        console.print("The older run has no case in common with this one.")
        return
    machine = statistics.median(drift) if drift else 1.0
    table = Table(title="Against the older run (above 1: quicker now)", title_justify="left", header_style="bold")
    for column in ("case", "threads", "times quicker", "less the machine's drift"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for name, threads, change in sorted(changes, key=lambda row: row[2]):
        table.add_row(name, str(threads), f"{change:.3f}", _coloured(change / machine))
    console.print(table)
    mean = results.geometric_mean(change for _, _, change in changes)
    console.print(f"geometric mean {mean:.3f}; the peers' times changed by {machine:.3f}")


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}" if seconds < 999.5 * scale else f"{seconds / scale:.0f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _share(limit: float | None, seconds: float | None) -> str:
    return "-" if limit is None or seconds is None else f"{limit / seconds:.0%}"


def _coloured(value: float | None) -> str:
    if value is None:
        return "-"
    colour = "green" if value >= 1 else "yellow" if value >= BEHIND else "red"
    return f"[{colour}]{value:.2f}[/{colour}]"
