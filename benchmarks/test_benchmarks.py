"""Tests of the benchmark suite itself: its reference, its arithmetic, and that a wrong result is never timed.

Run with ``python -m pytest benchmarks``.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("rich")

from scipy.signal import correlate2d

from benchmarks import __main__ as command
from benchmarks import peers, results, suites
from benchmarks.cases import LAYERS_FILE, Case, Conv, Pool, from_layers
from benchmarks.gradients import make_gradient
from benchmarks.peers.base import Builder, Prepared, Unsupported
from benchmarks.reference import Data, error, make_data, reference, tolerance
from benchmarks.runner import Failed, Process, Runner, Settings
from benchmarks.worker import Worker

GROUPED = Case("grouped", "dense", (2, 6, 9, 8), (Conv(4, 3, 2, 2, 1, 2),))
DEPTHWISE = Case("depthwise", "depthwise", (2, 3, 9, 8), (Conv(3, 3, 3, 1, 1, 3),))
BYTES = Case("bytes", "image", (1, 1, 30, 31), (Conv(1, 3, 3, 1, 1, bias=False),), dtype="uint8", kind="image")
GRADIENTS = [
    Case("grouped", "gradients", (2, 6, 9, 8), (Conv(4, 3, 2, 2, 1, 2),), kind="gradient"),
    Case("overlapping", "pool-gradients", (2, 3, 9, 8), (Pool("max", 3, 2, 1),), kind="gradient"),
    Case("spread", "pool-gradients", (2, 3, 9, 8), (Pool("avg", 3, 2, 1),), kind="gradient"),
    Case("global", "pool-gradients", (2, 3, 9, 8), (Pool("global", 9, 9),), kind="gradient"),
]
PLANE = Case("plane", "image", (1, 1, 30, 31), (Conv(1, 9, 9, 1, 4, bias=False),), kind="image")
CHAIN = Case("chain", "stack", (1, 2, 12, 12), (Conv(4, 3, 3, 1, 1, relu=True), Pool("max", 3, 2, 1), Conv(3, 1, 1)))


@pytest.mark.parametrize("case", [GROUPED, DEPTHWISE, PLANE], ids=lambda case: case.name)
def test_reference_is_a_sum_of_correlations(case: Case) -> None:
    data = make_data(case)
    op, weight, bias = case.ops[0], data.weights[0], data.biases[0]
    assert isinstance(op, Conv)
    assert weight is not None
    x = np.pad(data.x.astype(float), ((0, 0), (0, 0), (op.padding,) * 2, (op.padding,) * 2))
    expected = np.zeros(case.shapes()[-1])
    per_group, outputs = weight.shape[1], op.K // op.groups
    for n, k, c in np.ndindex(x.shape[0], op.K, per_group):
        plane = correlate2d(x[n, k // outputs * per_group + c], weight[k, c].astype(float), "valid")
        expected[n, k] += plane[:: op.stride, :: op.stride]
    if bias is not None:
        expected += bias.astype(float)[:, None, None]
    np.testing.assert_allclose(reference(case, data), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["max", "avg", "global"])
def test_reference_pools_every_window(kind: str) -> None:
    op = Pool(kind, 3, 2, 1) if kind != "global" else Pool(kind, 7, 7)
    case = Case(kind, "pool", (2, 3, 7, 6), (op,))
    data = make_data(case)
    outside = -np.inf if kind == "max" else 0
    x = np.pad(data.x, ((0, 0), (0, 0), (op.padding,) * 2, (op.padding,) * 2), constant_values=outside)
    expected = np.empty(case.shapes()[-1])
    for n, c, i, j in np.ndindex(expected.shape):
        window = x[n, c] if kind == "global" else x[n, c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        expected[n, c, i, j] = window.max() if kind == "max" else window.astype(float).mean()
    np.testing.assert_allclose(reference(case, data), expected, rtol=1e-12)


@pytest.mark.parametrize("case", GRADIENTS, ids=lambda case: case.name)
def test_reference_gradient_is_a_difference_quotient(case: Case) -> None:
    """Of the sum of the result times the given gradient; the forward reference is tested above."""
    forward = dataclasses.replace(case, kind="net")
    data = make_data(case)
    x, bias = data.x.astype(float), data.biases[0]
    weight = None if data.weights[0] is None else data.weights[0].astype(float)
    parts = [x] if weight is None or bias is None else [x, weight, bias.astype(float)]
    expected = []
    for place, part in enumerate(parts):
        for cell in np.ndindex(part.shape):
            sums = []
            for step in (1e-5, -1e-5):
                moved = [values.copy() for values in parts]
                moved[place][cell] += step
                rest = ((moved[1],), (moved[2],)) if len(moved) > 1 else ((None,), (None,))
                sums.append((reference(forward, Data(moved[0], *rest)) * make_gradient(case)).sum())
            expected.append((sums[0] - sums[1]) / 2e-5)
    assert error(case, np.array(expected), reference(case, data)) < 1e-6


def test_one_wrong_cell_is_noticed() -> None:
    case = Case("large", "dense", (1, 1, 1000, 1000), (Conv(1, 3, 3, 1, 1),))
    expected = reference(case, make_data(case))
    right = expected.astype(np.float32)
    assert error(case, right, expected) <= tolerance(case)
    right[0, 0, 17, 4] += 1
    assert error(case, right, expected) > tolerance(case)
    assert error(case, right[:, :, 1:], expected) == float("inf")


class _Liar:
    """A library that is right, wrong, not able to, and broken."""

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        right = reference(case, data).astype(np.float32)
        broken = np.full_like(right, np.nan)

        def unable() -> Prepared:
            raise Unsupported("not here")

        return {
            "right": lambda: Prepared(lambda: right, lambda y: y),
            "wrong": lambda: Prepared(lambda: right * 1.001, lambda y: y),
            "nan": lambda: Prepared(lambda: broken, lambda y: y),
            "unable": unable,
        }


def test_only_right_results_are_timed(tmp_path: Path) -> None:
    path = tmp_path / "reference.npy"
    np.save(path, reference(GROUPED, make_data(GROUPED)))
    worker = Worker("liar", 1, _Liar())
    found = worker.prepare(GROUPED.to_dict(), str(path))
    assert set(worker.calls) == {"right"} == {name for name, entry in found.items() if "error" in entry}
    assert found["unable"]["skipped"] == "not here"
    assert "wrong" in found["wrong"]["skipped"]
    assert "wrong" in found["nan"]["skipped"]
    answer = worker.time("right", 0.01)
    assert len(answer["samples"]) > 1
    assert min(answer["samples"]) > 0


@pytest.mark.parametrize("library", [name for name in peers.LIBRARIES if peers.installed(name)])
@pytest.mark.parametrize("case", [GROUPED, DEPTHWISE, CHAIN, PLANE, BYTES, *GRADIENTS], ids=lambda case: case.name)
def test_peer_gives_the_reference(library: str, case: Case) -> None:
    """In this process, one library after the other: only the results matter here."""
    try:
        peer = peers.load(library, 1, Settings([], []).options())
    except ImportError as broken:
        pytest.skip(str(broken))
    data = make_data(case)
    expected = reference(case, data)
    try:
        builders = peer.entries(case, data)
    except Unsupported:
        builders = {}
    for name, build in builders.items():
        try:
            prepared = build()
        except Unsupported:
            continue
        assert error(case, np.asarray(prepared.result(prepared.call())), expected) <= tolerance(case), name


def test_run_with_workers() -> None:
    with Runner(Settings(["scipy"], [1], rounds=2, seconds=0.02)) as runner:
        assert runner.limits(["float32"])["1"]["bandwidth"] > 0
        (record,) = runner.run([PLANE], lambda text: None)
    assert {"scipy", "scipy-fft", "scipy-nd"} == set(record["entries"])
    json.dumps(record)
    low, high = record["entries"]["scipy"]["quartiles"]
    assert low <= record["entries"]["scipy"]["median"] <= high


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_dead_worker_is_reported_and_replaced(tmp_path: Path) -> None:
    process = Process("scipy", 1, {}, tmp_path / "log")
    assert process.process.pid is not None
    os.kill(process.process.pid, signal.SIGKILL)
    with pytest.raises(Failed, match="scipy: died with status -9"):
        process.ask("rest")
    process.start()
    process.ask("rest")
    process.stop()


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_worker_that_died_while_others_had_their_turn_is_started_again() -> None:
    with Runner(Settings(["scipy"], [1], rounds=1, seconds=0.02)) as runner:
        for process in (found.process for found in runner.processes[1]):
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        (record,) = runner.run([PLANE], lambda text: None)
    assert record["entries"]
    assert not record["skipped"]


def test_table_of_layers() -> None:
    cases = {case.name: case for case in from_layers()}
    assert len(cases) == len(json.loads(LAYERS_FILE.read_text()))
    assert cases["vgg2_2"].flops == 2 * 128 * 128 * 9 * 112 * 112
    assert cases["mbv2_dw3x3_56"].group == "depthwise"
    assert cases["resnext_g32"].group == "dense"
    assert cases["img_1ch_5x5_1080p"].group == "single-channel"


@pytest.mark.parametrize("case", suites.build(["all"]), ids=lambda case: case.name)
def test_case_survives_the_way_to_a_worker(case: Case) -> None:
    assert Case.from_dict(json.loads(json.dumps(case.to_dict()))) == case
    assert all(extent > 0 for shape in case.shapes() for extent in shape)


def test_drawn_cases_follow_the_seed() -> None:
    assert suites.drawn(3, 5) == suites.drawn(3, 5) != suites.drawn(4, 5)


def _record(name: str, threads: int = 1, **medians: float) -> dict[str, Any]:
    case = dataclasses.replace(GROUPED, name=name).to_dict()
    return {
        "case": case,
        "threads": threads,
        "entries": {k: {"median": v} for k, v in medians.items()},
        "skipped": {},
    }


def test_ratios_and_means() -> None:
    records = [
        _record("a", cyconv=2.0, torch=4.0, scipy=9.0),
        _record("b", cyconv=1.0, torch=8.0),
        _record("c", torch=1.0),
    ]
    assert results.best_peer(records[0]) == ("torch", 4.0)
    assert [results.ratio(record) for record in records] == [2.0, 8.0, None]
    assert results.geometric_mean(results.ratio(record) for record in records) == pytest.approx(4.0)
    assert [record["case"]["name"] for _, record in results.worst(records)] == ["a", "b"]
    assert results.scaling([records[0], _record("a", 2, cyconv=1.0)]) == [("a", 2, 2.0)]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("--suite=nothing", "--peers=nobody", "--cases=no such", f"--compare={tmp_path}/x"):
        with pytest.raises(SystemExit) as stop:
            command.main([wrong])
        assert stop.value.code == 2
    capsys.readouterr()
    base = [
        "--suite",
        "images",
        "--cases",
        "img_32x32_k3",
        "--dtype",
        "float32",
        "--peers",
        "scipy",
        "--time-per-case",
        "0.02",
    ]
    assert command.main([*base, "-o", str(tmp_path / "one")]) == 0
    saved = tmp_path / "one" / "results.json"
    assert results.read(saved)["records"][0]["case"]["name"] == "img_32x32_k3"
    pytest.importorskip("matplotlib")
    assert (tmp_path / "one" / "image-float32-1.png").stat().st_size > 5000
    assert command.main([*base, "--compare", str(saved)]) == 0
    (tmp_path / "old.json").write_text("[]")
    with pytest.raises(ValueError, match="not a benchmark result"):
        results.read(tmp_path / "old.json")


def test_training_compares_the_same_work():
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from benchmarks import training

    assert all(seconds > 0 for seconds in training.epochs(threads=1, rounds=1))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux")
def test_the_memory_of_three_steps_is_counted():
    pytest.importorskip("sklearn")
    from benchmarks import training

    kept: list[mmap.mmap] = []

    def step() -> None:  # 8 MiB of new pages: what NumPy gets may be pages that were given back and are still counted
        kept.append(mmap.mmap(-1, 8 << 20))
        np.frombuffer(kept[-1], np.uint8)[:] = 1

    assert 24 <= training.peak(step) < 100
