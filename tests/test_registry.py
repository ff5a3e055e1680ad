"""No kernel without a test: the cases of `cases.py`, which all builds must pass, load every kernel there is."""

import subprocess
import sys
from pathlib import Path

import pytest

import cyconv
from cyconv import _kernels, _runtime

NAMES = sorted(_kernels.registry())

# The loop that measures the machine gives no result; it has its own test below.
MEASURES = {"peak"}

SCRIPT = """
import sys
sys.path.append(sys.argv[1])
from cases import CALLS, CASES
for name, kind in CALLS:
    CASES[name].run(kind)
print(*(m.rpartition(".")[2] for m in sys.modules if m.startswith("cyconv._kernels.")))
"""


def split(name):
    """("max_pool", "f32", "avx512") of "max_pool_f32_avx512"."""
    return tuple(name.rsplit("_", 2))


@pytest.fixture(scope="module")
def reached(tmp_path_factory, child_environment):
    """(family, type) of the kernels that the cases load; kernels are loaded when they are first needed."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)],
        cwd=tmp_path_factory.mktemp("reached"),
        env=child_environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return {split(name)[:2] for name in done.stdout.split() if name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_case_reaches_every_kernel(name, reached):
    family, scalar, _ = split(name)
    if family not in MEASURES:
        assert (family, scalar) in reached, f"add cases that use {family!r} for {scalar} to tests/cases.py"


def test_the_registry_has_the_builds_of_this_machine():
    assert {split(name)[2] for name in NAMES} >= set(cyconv.show_config()["builds"])


def test_all_builds_have_the_same_kernels():
    per_build = {}
    for name in NAMES:
        per_build.setdefault(split(name)[2], set()).add(split(name)[:2])
    first, *others = per_build.values()
    assert all(other == first for other in others)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_peak_is_a_plausible_number(kind, threads):
    """In GFLOP/s: more than nothing on the busiest machine, less than anything that has been built."""
    assert 0 < _runtime.measure_peak(kind, threads, seconds=0.02) < 10_000 * threads
