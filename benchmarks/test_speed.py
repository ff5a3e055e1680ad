"""cyconv alone, for tracking regressions: ``python -m pytest benchmarks/test_speed.py`` (pytest-benchmark).

Save a run with ``--benchmark-autosave`` and compare with ``--benchmark-compare``. Every benchmark asserts its
result once.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import suites
from benchmarks.cases import Case
from benchmarks.peers import own
from benchmarks.reference import error, make_data, reference, tolerance
from benchmarks.runner import Settings

TRACKED = (
    "r50_stem7x7s2",
    "r50_c2_3x3",
    "r50_c3_3x3",
    "r50_c5_3x3",
    "r50_c4_1x1_256_1024",
    "resnext_g32",
    "mbv2_dw3x3_56",
    "convnext_dw7x7",
    "resnet_max3x3s2",
    "vgg_max2x2_56",
    "vgg_max2x2_56_uint8",
    "incep_avg3x3s1",
    "img_512x512_k5",
    "img_512x512_k31",
    "tiny_3x3_k2",
)
CASES = [case for case in suites.build(["all"]) if case.name in TRACKED]


def _entries() -> list[tuple[Case, str]]:
    peer = own.make(1, Settings([], []).options())
    return [(case, name) for case in CASES for name in peer.entries(case, make_data(case))]


@pytest.mark.parametrize(("case", "entry"), _entries(), ids=lambda value: getattr(value, "name", value))
def test_speed(benchmark: BenchmarkFixture, case: Case, entry: str) -> None:
    data = make_data(case)
    prepared = own.make(1, Settings([], []).options()).entries(case, data)[entry]()
    assert error(case, np.asarray(prepared.result(prepared.call())), reference(case, data)) <= tolerance(case)
    benchmark.extra_info["MFLOP"] = case.flops / 1e6
    benchmark(prepared.call)
