"""Memory of kernels: owned by one at a time, kept between calls up to a bound."""

import gc
import mmap
import tracemalloc

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import cyconv
from cyconv import _memory


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(_memory, "_kept", [])


def kept_bytes():
    return sum(buffer.size for buffer in _memory._kept)


@pytest.mark.parametrize("make", [_memory.empty, _memory.lent])
@pytest.mark.parametrize("shape", [0, 1, 1000, (3, 40000)])
def test_an_array_is_aligned_and_of_its_shape(make, shape):
    array = make(shape, np.float64)
    assert array.shape == np.empty(shape).shape
    assert array.dtype == np.float64
    assert array.size == 0 or array.ctypes.data % 64 == 0
    array[...] = 1


def test_what_is_lent_comes_back_when_the_array_is_gone():
    array = _memory.lent(100_000, np.float32)
    place = array.ctypes.data
    with _memory.scratch(1000) as other:
        assert not np.shares_memory(array, other)
    del array
    gc.collect()
    assert _memory.lent(90_000, np.float32).ctypes.data == place


def test_the_smallest_buffer_that_is_large_enough_is_taken():
    sizes = (1_000, 200_000, 5_000_000)
    arrays = [_memory.lent(size, np.uint8) for size in sizes]
    places = [array.ctypes.data for array in arrays]
    del arrays
    gc.collect()
    again = [_memory.lent(size - 100, np.uint8) for size in sizes]
    assert [array.ctypes.data for array in again] == places


def test_no_more_than_the_bound_is_kept():
    for nbytes in (1_000, _memory.KEEP_BYTES, _memory.KEEP_BYTES + (1 << 22)):
        with _memory.scratch(nbytes) as first, _memory.scratch(nbytes) as second:
            assert min(first.size, second.size) >= nbytes
        assert kept_bytes() <= _memory.KEEP_BYTES


def test_work_belongs_to_one_at_a_time(monkeypatch):
    """What was given back is taken again; who comes meanwhile gets other memory."""
    monkeypatch.setattr(_memory, "_held", [])
    work = _memory.Work(((3, 5), np.float32), ((100,), np.uint8))
    first, second = work.take(), work.take()
    assert [(array.shape, array.dtype) for array in first] == [((3, 5), np.float32), ((100,), np.uint8)]
    assert not any(np.shares_memory(a, b) for a, b in zip(first, second, strict=True))
    work.give_back(first)
    work.give_back(second)
    assert work.take() is first
    assert work.take() is not second
    assert _memory._held == [160]
    del work
    assert _memory._held == []


def test_no_more_work_than_the_bound_is_kept(monkeypatch):
    monkeypatch.setattr(_memory, "_held", [])
    works = [_memory.Work(((_memory._KEEP_WORK_BYTES * 2 // 3,), np.uint8)) for _ in range(2)]
    for work in works:
        work.give_back(work.take())
    assert [bool(work._free) for work in works] == [True, False]
    small = _memory.Work(((_memory._SMALL_WORK_BYTES,), np.uint8))  # has room of its own
    small.give_back(small.take())
    assert small._free


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no large pages to ask for")
def test_small_arrays_share_a_large_page(monkeypatch):
    """A page of 2 MiB for each of them would be many times what they hold."""
    monkeypatch.setattr(_memory, "_begun", [])
    arrays = [_memory.empty(_memory._LEAST_BYTES + 4, np.uint8) for _ in range(12)]
    for i, array in enumerate(arrays):
        assert array.ctypes.data % 64 == 0
        array[...] = i
    assert [set(array) for array in arrays] == [{i} for i in range(12)]
    spread = max(array.ctypes.data for array in arrays) - min(array.ctypes.data for array in arrays)
    assert spread < _memory._LARGE_PAGE


# Where results lie.

RESULTS = {
    "conv": lambda x, **to: cyconv.conv2d(x, np.ones((4, 3, 3, 3), x.dtype), **to),
    "transposed": lambda x, **to: cyconv.conv_transpose2d(x, np.ones((3, 4, 2, 2), x.dtype), **to),
    "max": lambda x, **to: cyconv.max_pool2d(x, 2, **to),
    "mean": lambda x, **to: cyconv.adaptive_avg_pool2d(x, 99, **to),
    "correlation": lambda x, **to: cyconv.signal.correlate2d(x[0, 0], np.ones((3, 3), x.dtype), **to),
    "gradient": lambda x, **to: cyconv.grad.conv2d_input(
        (1, 4, x.shape[2] + 2, x.shape[3] + 2), np.ones((3, 4, 3, 3), x.dtype), x, **to
    ),
}


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", RESULTS)
def test_a_result_begins_with_a_line_of_the_cache(name, kind):
    for start in range(4):
        x = np.ones(start + 3 * 170 * 171, kind)[start:].reshape(1, 3, 170, 171)
        for _ in range(3):  # a call that comes again takes another way
            y = RESULTS[name](x)
            assert y.ctypes.data % 64 == 0
            assert y.base is None
            assert y.flags.owndata


def test_a_result_of_single_cells_lies_in_the_lines_as_its_image_does():
    for start in range(16):
        x = np.ones(start + 3 * 70 * 71, np.float32)[start:].reshape(1, 3, 70, 71)
        plan = cyconv.plan_conv2d(np.ones((4, 3, 1, 1), np.float32))
        for _ in range(3):
            assert (plan(x).ctypes.data - x.ctypes.data) % 64 == 0


@pytest.mark.parametrize("start", [0, 1, 5])
def test_a_result_can_be_resized_and_outlives_others(start):
    x = np.arange(start + 3 * 70 * 71, dtype=np.float32)[start:].reshape(1, 3, 70, 71)
    plan = cyconv.plan_conv2d(np.ones((4, 3, 1, 1), np.float32))
    kept = plan(x)
    before = kept.copy()
    others = [plan(x) for _ in range(20)]
    for cells in (1_000_000, 20_000, 19_999, 1, 100_000):
        others[-1].resize(cells, refcheck=False)
        assert np.array_equal(others[-1][: before.size], before.reshape(-1)[:cells])
        others[-1].resize(before.size, refcheck=False)
        others[-1][...] = before.reshape(-1)
    del others
    assert np.array_equal(kept, before)


def test_a_result_is_traced():
    x = np.ones((1, 3, 200, 200), np.float32)
    plan = cyconv.plan_conv2d(np.ones((4, 3, 1, 1), np.float32))
    plan(x)
    tracemalloc.start()
    try:
        y = plan(x)
        assert y.nbytes <= tracemalloc.get_traced_memory()[0] < y.nbytes + 10_000
        del y
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


def test_arrays_of_numpy_are_left_alone():
    before = get_handler_name()
    cyconv.conv2d(np.ones((1, 3, 70, 70), np.float32), np.ones((4, 3, 1, 1), np.float32))
    assert get_handler_name() == before
    assert get_handler_name(np.empty(10_000)) == before
