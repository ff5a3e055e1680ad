"""What all tests share: which build they run on, how Hypothesis draws, how a fresh process is started."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent


def _forget_the_source_folder():
    """`python -m pytest` puts the checkout on the path; the tests want the installed package.

    A checkout that was built in place is the installed package and stays.
    """
    if not any((ROOT / "cyconv" / "_kernels").rglob("*.so")):
        sys.path[:] = [p for p in sys.path if Path(p or os.getcwd()).resolve() != ROOT]


_forget_the_source_folder()

import cyconv  # noqa: E402

# Draws are the same on every run, so that a failure is a failure for everybody; "wide" looks further.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.register_profile("wide", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("CYCONV_HYPOTHESIS", "default"))


def pytest_report_header():
    """The build under test."""
    lines = str(cyconv.show_config()).splitlines()
    return [f"cyconv from {Path(cyconv.__file__).parent}", *lines]


@pytest.fixture(autouse=True)
def same_threads_after():
    """No test leaves another number of threads behind."""
    before = cyconv.get_num_threads()
    yield
    cyconv.set_num_threads(before)


@pytest.fixture(scope="session")
def child_environment():
    """What a Python process needs to find the same package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)}


@pytest.fixture
def run_python(tmp_path, child_environment):
    """Run a script in a Python of its own, so that it may crash or hang; returns what it printed."""

    def run(script, *arguments, timeout=120, check=True, **environment):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
            cwd=tmp_path,
            env={**child_environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
            return done.stdout
        return done

    return run
