"""Forked children, interrupts, no memory, arrays beyond 2**31 cells: each in a process of its own."""

import os
import sys

import pytest
from calls import ALGORITHMS

PRELUDE = """
import os, signal, sys, time
import numpy as np
import cyconv
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 16, 40, 40)).astype(np.float32)
w = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
def conv(threads=2, **keywords):
    return cyconv.conv2d(x, w, padding=1, num_threads=threads, **keywords)
"""

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@posix
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("pooling", [False, True], ids=["conv", "pool"])
def test_a_forked_child_after_the_parent_used_threads(algorithm, pooling, run_python):
    run_python(PRELUDE + f"""
def work():
    y = conv(algorithm={algorithm!r})
    return cyconv.max_pool2d(y, 2, num_threads=2) if {pooling} else y
expected = work()
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(work(), expected) else 3)
end = time.monotonic() + 60
while True:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        break
    if time.monotonic() > end:
        os.kill(child, signal.SIGKILL)
        sys.exit("the child hangs")
    time.sleep(0.01)
assert os.waitstatus_to_exitcode(status) == 0, status
assert np.array_equal(work(), expected)
""")  # fmt: skip


@posix
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes(method, tmp_path, run_python):
    (tmp_path / "work.py").write_text(PRELUDE + "def work(i):\n    return conv(threads=1 + i % 3).sum().item()\n")
    run_python(f"""
import multiprocessing, sys, warnings
sys.path.insert(0, {str(tmp_path)!r})
warnings.simplefilter("ignore", DeprecationWarning)
if __name__ == "__main__":
    from work import work
    expected = work(1)
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map_async(work, range(8)).get(timeout=60) == [expected] * 8
""")


@posix
def test_an_interrupt_leaves_the_library_usable(run_python):
    """Ctrl-C at twenty moments of a long loop of calls; the next call is right each time."""
    run_python(PRELUDE + """
expected = conv()
for i in range(20):
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0007 * i)
    try:
        while True:
            conv()
    except KeyboardInterrupt:
        pass
    assert np.array_equal(conv(), expected)
""".replace("expected = conv()", """
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
expected = conv()"""))  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_scratch_memory_that_cannot_be_had(algorithm, run_python):
    """MemoryError and `out` as it was, or the right answer; afterwards everything works again."""
    run_python(PRELUDE + f"""
import resource
big = rng.standard_normal((1, 64, 120, 120)).astype(np.float32)
kernel = rng.standard_normal((64, 64, 3, 3)).astype(np.float32)
call = lambda out, x=big: cyconv.conv2d(x, kernel, padding=1, algorithm={algorithm!r}, num_threads=2, out=out)
# threads and lazy imports are there before memory gets short
call(np.empty((1, 64, 8, 8), np.float32), big[:, :, :8, :8])
cyconv.max_pool2d(big, 3, num_threads=2)  # of work that is worth a second thread
out = np.full(big.shape, 7, np.float32)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
failed = 0
for room in (0, 1 << 16, 1 << 20, 4 << 20):
    resource.setrlimit(resource.RLIMIT_AS, (now + room, resource.RLIM_INFINITY))
    try:
        call(out)
    except MemoryError:
        failed += 1
    else:
        break
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (out == 7).all(), "out was written to"
call(out)
exact = cyconv.conv2d(big.astype(np.float64), kernel, padding=1, algorithm="direct")
error = np.linalg.norm(out - exact) / np.linalg.norm(exact)
assert error < 1e-5, error  # what every algorithm keeps in float32
print(failed)
""")  # fmt: skip


def test_nothing_leaks(run_python):
    """Two thousand calls, errors among them, need no more memory than the first few hundred."""
    pytest.importorskip("resource")
    run_python(PRELUDE + """
import resource
plan = cyconv.plan_conv2d(w, padding=1)
out = conv()
def some(times):
    for i in range(times):
        plan(x, out=out)
        conv(algorithm="direct", threads=1 + i % 2)
        cyconv.plan_conv2d(w)
        cyconv.max_pool2d(x, 2, return_indices=True)
        for wrong in ({"stride": 0}, {"padding_mode": "x"}, {"out": 3}):
            try:
                cyconv.conv2d(x, w, **wrong)
            except (TypeError, ValueError):
                pass
some(100)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
some(700)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 3000, f"{grown} KiB more"
""")  # fmt: skip


@pytest.mark.skipif(sys.maxsize < 2**32 or not sys.platform.startswith("linux"), reason="needs sparse files, 64 bits")
@pytest.mark.parametrize("shape", [(1, 1, 46400, 46400), (3, 1, 28000, 28000), (1, 4, 28000, 28000)], ids=str)
def test_offsets_beyond_two_to_the_31(shape, run_python):
    """A sparse file stands for the image, so that only the cells that are read take memory."""
    run_python(f"""
import resource
import numpy as np
import cyconv
shape = n, c, h, w = {shape}
with open("image", "wb") as file:
    file.truncate(4 * n * c * h * w)
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, resource.RLIM_INFINITY))  # a copy of the image is an error
x = np.memmap("image", np.float32, "r+", shape=shape)
step = h // 2
corners = x[:, :: max(c - 1, 1), ::step, ::step]
corners[...] = np.arange(1, 1 + corners.size).reshape(corners.shape)
weight = np.zeros((2, c, 1, 1), np.float32)
weight[0, 0] = weight[1, -1] = 1
y = cyconv.conv2d(x, weight, stride=step)
np.testing.assert_array_equal(y, corners[:, [0, -1]])
if c == 1:
    values, indices = cyconv.max_pool2d(x, 1, stride=step, return_indices=True)
    np.testing.assert_array_equal(values, corners)
    plane = (np.arange(0, h, step)[:, None] * w + np.arange(0, w, step)).ravel()
    np.testing.assert_array_equal(indices.reshape(n, -1), np.tile(plane, (n, 1)))
""")


def test_importing_is_light(run_python):
    """Neither SciPy nor plotting nor metadata machinery comes in through `import cyconv`."""
    loaded = run_python("""
import sys
import numpy
before = set(sys.modules)
import cyconv
print(*{name.split(".")[0] for name in set(sys.modules) - before})
""").split()
    assert not {
        "scipy",
        "matplotlib",
        "PIL",
        "skimage",
        "importlib_metadata",
        "ml_dtypes",
        "asyncio",
        "email",
    } & set(loaded)
