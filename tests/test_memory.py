"""Memory of kernels: owned by one at a time, kept between calls up to a bound."""

import gc
import mmap

import numpy as np
import pytest

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
