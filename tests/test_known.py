"""Convolutions that are kept from call to call: what was kept never shows in a result."""

import threading

import numpy as np
import pytest
from calls import noise

import cyconv
from cyconv._known import Known, counts_packing
from cyconv._plans import signal_table as table

X = noise((2, 48, 14, 15))
WEIGHT = noise((40, 48, 3, 3))


def convolve(weight):
    return cyconv.conv2d(X, weight, padding=1)


def transpose(weight):
    return cyconv.conv_transpose2d(X, weight.swapaxes(0, 1).copy(), stride=2)


class Made:
    """What a function might prepare."""

    def __init__(self, weight):
        self.weight = weight.copy()


def made_of(known, weight, key=()):
    """What serves this call, and whether it was made for it."""
    made = []

    def make():
        made.append(Made(weight))
        return made[-1]

    return known.get(weight, key, make), bool(made)


def large(value=0.0):
    return np.full(table.KNOWN_BYTES // 4 + 1, value, np.float32)


def test_the_weights_are_larger_than_those_known_by_their_bytes():
    assert table.KNOWN_BYTES < WEIGHT.nbytes < table.KNOWN_LARGEST


@pytest.mark.parametrize("function", [convolve, transpose])
def test_weights_that_change_in_place(function):
    weight = WEIGHT.copy()
    first = function(weight)
    assert np.array_equal(function(weight), first)
    for _ in range(5):
        weight[3, 4, 1, 1] += 1
        assert np.array_equal(function(weight), function(weight.copy()))
    weight[...] = WEIGHT
    for _ in range(8):
        assert np.array_equal(function(weight), first)


@pytest.mark.parametrize("change", [np.nan, np.inf, -0.0])
def test_one_number_that_changes(change):
    weight = WEIGHT.copy()
    weight[-1, -1, -1, -1] = 0
    plain = convolve(weight)
    weight[-1, -1, -1, -1] = change
    assert np.array_equal(convolve(weight), convolve(weight.copy()), equal_nan=True)
    assert np.array_equal(convolve(weight), plain, equal_nan=True) == (change == 0)


def test_algorithms_do_not_depend_on_what_is_kept():
    kept = convolve(WEIGHT)
    apart = np.lib.stride_tricks.as_strided(np.repeat(WEIGHT, 2, axis=3), WEIGHT.shape, (48 * 72, 72, 24, 8))
    assert np.array_equal(apart, WEIGHT)
    assert not apart.flags.c_contiguous
    assert np.array_equal(convolve(apart), kept)


def test_bias_and_settings_tell_plans_apart():
    bias = noise((40,))
    assert not np.array_equal(cyconv.conv2d(X, WEIGHT, bias), cyconv.conv2d(X, WEIGHT))
    assert cyconv.conv2d(X, WEIGHT, stride=2).shape != cyconv.conv2d(X, WEIGHT).shape
    with pytest.raises(TypeError):
        cyconv.conv2d(X, WEIGHT, stride=2.0)


def test_kept_weights_are_made_once():
    known, weight = Known(), large()
    found, made = made_of(known, weight)
    assert made
    assert made_of(known, weight) == (found, False)
    assert made_of(known, weight, (1,))[1]
    assert made_of(known, weight.copy())[1]


def test_weights_that_always_change_are_soon_left_alone():
    known, weight = Known(), large()
    made = 0
    for i in range(1000):
        weight[0] = i
        found, new = made_of(known, weight)
        assert found is None or found.weight[0] == i
        made += new
    assert made <= 11  # after 1, 2, 4, ... calls
    assert [made_of(known, weight)[0] for _ in range(1030)][-1] is not None  # not for ever


def test_memory_is_bounded():
    known = Known()
    weights = [np.zeros(table.KNOWN_LARGEST // 4, np.float32) for _ in range(6)]
    most = table.KNOWN_TOTAL_BYTES // table.KNOWN_LARGEST
    for _ in range(3):  # the first ones stay, so that calls in turn find most of them
        assert sum(made_of(known, weight)[0] is not None for weight in weights) == most
    for _ in range(40):
        made_of(known, weights[-1])
    assert made_of(known, weights[-1])[0] is not None  # what is not used any more made room


def test_what_is_never_kept():
    too_large = np.zeros(table.KNOWN_LARGEST // 4 + 1, np.float32)
    assert counts_packing(too_large)
    assert made_of(Known(), too_large) == (None, False)
    assert made_of(Known(), np.zeros((4, table.KNOWN_BYTES // 4), np.float32)[:, ::2].T) == (None, False)


def test_threads_that_change_weights_of_their_own():
    wrong = []

    def work(seed):
        weight = noise(WEIGHT.shape, seed=seed)
        for i in range(12):
            if i % 3 == 0:
                weight[i % 40] += 1
            if not np.array_equal(convolve(weight), cyconv.plan_conv2d(weight, padding=1)(X)):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
