"""Every build that this CPU can run gives right results, and only those can be chosen."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import oracle
import pytest
from cases import CALLS, CASES

import cyconv

BUILDS = cyconv.show_config()["builds"]
OTHERS = [build for build in BUILDS if build != cyconv.show_config()["build"]]


@pytest.mark.parametrize(("name", "kind"), CALLS)
def test_case(name, kind):
    """Each case on the build at hand; `test_every_other_build` runs this very test on the others."""
    y = CASES[name].run(kind)
    assert y.dtype == (np.int64 if "indices" in name else kind)
    oracle.assert_close(y, CASES[name].expected(kind))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("build", OTHERS)
def test_every_other_build(build, tmp_path, pytestconfig, child_environment):
    """A process of its own for each runs the cases above and the exact tests of geometry."""
    tests, root = Path(__file__).parent, pytestconfig.rootpath
    report = tmp_path / "report.xml"
    chosen = [
        f"{tests / 'test_builds.py'}::test_case",
        f"{tests / 'test_conv_forward.py'}::test_any_geometry_exactly",
        f"{tests / 'test_conv_forward.py'}::test_widths_next_to_vectors_and_tiles",
    ]
    how = ["-x", "-p", "no:cacheprovider", "--rootdir", str(root), "-c", str(root / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *how, "--junitxml", str(report), *chosen],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=590,
        env={**child_environment, "CYCONV_ISA": build},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert int(suite.get("tests")) > len(CALLS)
    assert int(suite.get("skipped")) == 0
    assert re.search(rf"build\s+{build}", done.stdout)


@pytest.mark.parametrize("build", BUILDS)
def test_the_environment_picks_the_build(build, run_python):
    said = run_python("import cyconv; print(cyconv.show_config()['build'])", CYCONV_ISA=build)
    assert said.split() == [build]


def test_there_is_a_baseline_and_the_best_is_the_default(run_python):
    assert BUILDS[0] == "baseline"
    said = run_python("import cyconv; print(cyconv.show_config()['build'])", CYCONV_ISA="")
    assert said.split() == [BUILDS[-1]]


@pytest.mark.parametrize("name", ["sse9", "AVX512 ", "../avx2", "avx2;avx512"])
def test_an_impossible_build_is_an_import_error_that_lists_the_possible(name, run_python):
    done = run_python("import cyconv", CYCONV_ISA=name, check=False)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert name in done.stderr
    for build in BUILDS:
        assert build in done.stderr
