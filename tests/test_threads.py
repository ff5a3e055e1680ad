"""The number of threads: how it is set, and that no result depends on it."""

import concurrent.futures
import os
import threading

import numpy as np
import pytest
from calls import ALGORITHMS, CONV, noise
from cases import CALLS, CASES
from hypothesis import given
from hypothesis import strategies as st
from strategies import conv_cases

import cyconv


@pytest.mark.parametrize(("name", "kind"), CALLS)
def test_results_do_not_depend_on_the_number_of_threads(name, kind):
    one = CASES[name].run(kind, num_threads=1)
    for threads in (2, 3, 8):
        again = CASES[name].run(kind, num_threads=threads)
        assert again.tobytes() == one.tobytes(), f"{threads} threads"


LAYERS = [(1, 64, 56, 56), (4, 32, 14, 14), (1, 512, 7, 7), (2, 3, 100, 100)]
HOW = [*({"algorithm": name} for name in ALGORITHMS), {"stride": 2}, {"groups": "C"}, {"groups": "C", "stride": 2}]


@pytest.mark.parametrize("shape", LAYERS, ids=str)
@pytest.mark.parametrize("keywords", HOW, ids=str)
def test_layers_do_not_depend_on_the_number_of_threads(shape, keywords):
    x, w = noise(shape), noise((48, shape[1], 3, 3))
    if "groups" in keywords:
        keywords = {**keywords, "groups": shape[1]}
        w = noise((shape[1], 1, 3, 3))
    results = [cyconv.conv2d(x, w, padding=1, num_threads=n, **keywords).tobytes() for n in (1, 2, 3, 7)]
    assert len(set(results)) == 1


@pytest.mark.parametrize(("shape", "outputs", "groups", "mode"), [
    ((3, 8, 6, 34), 8, 1, "circular"), ((1, 8, 24, 7), 16, 1, "circular"), ((1, 4, 25, 34), 16, 2, "circular"),
    ((3, 4, 14, 28), 16, 2, "zeros"),
])  # fmt: skip
@pytest.mark.parametrize("algorithm", ["auto", "fft"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cells_computed_again_do_not_depend_on_the_number_of_threads(shape, outputs, groups, mode, algorithm, dtype):
    """An infinity spoils whole tiles of a transform; what computes them instead is as fixed as the rest."""
    x, w = noise(shape, dtype), noise((outputs, shape[1] // groups, 3, 3), dtype)
    x[-1, -1, 3, 2] = np.inf
    keywords = {"padding": 1, "groups": groups, "padding_mode": mode, "algorithm": algorithm}
    results = [cyconv.conv2d(x, w, num_threads=n, **keywords).tobytes() for n in (1, 2, 3, 7)]
    assert len(set(results)) == 1


@given(conv_cases(), st.integers(2, 9))
def test_any_geometry(case, threads):
    one = CONV[2](case.x, case.weight, case.bias, num_threads=1, **case.keywords)
    many = CONV[2](case.x, case.weight, case.bias, num_threads=threads, **case.keywords)
    assert one.tobytes() == many.tobytes()


def test_setting_and_getting():
    cyconv.set_num_threads(3)
    assert cyconv.get_num_threads() == 3
    with cyconv.num_threads(1):
        assert cyconv.get_num_threads() == 1
        with cyconv.num_threads(2):
            assert cyconv.get_num_threads() == 2
        assert cyconv.get_num_threads() == 1
    assert cyconv.get_num_threads() == 3


def test_an_exception_leaves_the_context_as_it_was():
    before = cyconv.get_num_threads()
    with pytest.raises(KeyError), cyconv.num_threads(before + 1):
        raise KeyError
    assert cyconv.get_num_threads() == before


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (1.0, TypeError),
        (True, TypeError),
        ("2", TypeError),
        (None, TypeError),
    ],
    ids=str,
)
def test_what_is_no_number_of_threads(bad, error):
    before = cyconv.get_num_threads()
    with pytest.raises(error, match=r"thread|n\b"):
        cyconv.set_num_threads(bad)
    with pytest.raises(error, match=r"thread|n\b"), cyconv.num_threads(bad):
        pass
    assert cyconv.get_num_threads() == before


@pytest.mark.parametrize("huge", [10_000, 2**31, 2**33, 2**70])
def test_a_huge_number_of_threads_is_no_trouble(huge):
    """Not even where the system allows few: OpenMP would end the process when it cannot have one more."""
    x, w = noise((16, 8, 40, 40)), noise((16, 8, 3, 3))
    expected = cyconv.conv2d(x, w, num_threads=1)
    np.testing.assert_array_equal(cyconv.conv2d(x, w, num_threads=huge), expected)
    with cyconv.num_threads(huge):
        np.testing.assert_array_equal(cyconv.conv2d(x, w), expected)


@pytest.mark.parametrize(("environment", "expected"), [
    ({"CYCONV_NUM_THREADS": "1"}, 1), ({"OMP_NUM_THREADS": "1"}, 1),
    ({"CYCONV_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, 1), ({"OMP_NUM_THREADS": "1,4"}, 1),
    ({"CYCONV_NUM_THREADS": "100000"}, None), ({"OMP_NUM_THREADS": "100000"}, None),
], ids=str)  # fmt: skip
def test_the_environment_sets_the_start_value(environment, expected, run_python):
    said = run_python("import cyconv; print(cyconv.get_num_threads())", **environment)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(said) == expected if expected else 1 <= int(said) <= usable


@pytest.mark.parametrize("value", ["zero", "0", "-3", "1.5", ""])
@pytest.mark.parametrize("name", ["CYCONV_NUM_THREADS", "OMP_NUM_THREADS"])
def test_nonsense_in_the_environment(name, value, run_python):
    """Nonsense in OpenMP's own variable counts as unset; in ours it may be an error that names it."""
    done = run_python("import cyconv; print(cyconv.get_num_threads())", check=False, **{name: value})
    if done.returncode:
        assert name == "CYCONV_NUM_THREADS"
        assert name in done.stderr
        assert value in done.stderr
    else:
        assert int(done.stdout) >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_affinity_limits_the_start_value(run_python):
    script = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    script += "import cyconv\nprint(cyconv.get_num_threads())"
    assert run_python(script).split() == ["1"]


def test_python_threads_call_at_the_same_time():
    """Each with its own number of threads and its own sizes; nobody sees another's scratch memory."""
    jobs = [(noise((1, 8, 10 + i, 50 - i), seed=i), noise((9 + i, 8, 3, 3), seed=i)) for i in range(16)]
    expected = [cyconv.conv2d(x, w, padding=1, num_threads=1) for x, w in jobs]
    barrier = threading.Barrier(8)

    def work(first):
        barrier.wait()
        for i in range(first, len(jobs) * 3):
            (x, w), known = jobs[i % len(jobs)], expected[i % len(jobs)]
            if cyconv.conv2d(x, w, padding=1, num_threads=1 + i % 3).tobytes() != known.tobytes():
                return i
        return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [None] * 8


def test_the_lock_of_the_interpreter_is_released():
    """Another Python thread moves on while a convolution runs."""
    x, w = noise((8, 64, 56, 56)), noise((64, 64, 3, 3))
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(1)

    other = threading.Thread(target=tick)
    other.start()
    try:
        for _ in range(50):
            before = len(ticks)
            cyconv.conv2d(x, w, padding=1, num_threads=1)
            if len(ticks) - before > 3:
                break
        else:
            pytest.fail("no other thread ran during fifty convolutions")
    finally:
        done.set()
        other.join()
