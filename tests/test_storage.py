"""float16 and bfloat16: conversion to float32 and back, bit for bit as NumPy and ml_dtypes have it; bands."""

import ctypes
import importlib
import platform
from contextlib import contextmanager

import numpy as np
import pytest
from calls import CHANNELS_LAST, channels_last, check_conv, dtype, whole

import cyconv
from cyconv import _storage
from cyconv._plans import bands, table

BUILDS = cyconv.show_config()["builds"]
HALVES = ["float16", "bfloat16"]


def kernel(build):
    return importlib.import_module(f"cyconv._kernels.convert_f32_{build}")


def all_halves(kind):
    return np.arange(1 << 16, dtype=np.uint16).view(dtype(kind))


def singles_to_round(kind):
    """float32 at, and a few steps beside, every number of the type and every midpoint of two; others by chance."""
    with np.errstate(invalid="ignore"):
        exact = all_halves(kind).astype(np.float32)
    exact = np.sort(exact[np.isfinite(exact) & (exact >= 0)]).astype(np.float64)
    beyond = exact[-1] + (exact[-1] - exact[-2])
    grid = np.append(exact, beyond)
    with np.errstate(over="ignore"):
        points = np.concatenate([grid, (grid[1:] + grid[:-1]) / 2]).astype(np.float32)
    near = points.view(np.uint32)[:, np.newaxis].astype(np.int64) + np.arange(-3, 4)
    near = near[near >= 0].astype(np.uint32)
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 18, dtype=np.uint32)
    subnormal = np.arange(0, 1 << 23, 4099, dtype=np.uint32)
    specials = np.array([0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FBFFFFF, 0x7FC00000, 0x7FFFFFFF], np.uint32)
    positive = np.concatenate([near, subnormal, specials])
    return np.concatenate([positive, positive | np.uint32(1 << 31), bits]).view(np.float32)


def assert_same_bits(result, expected):
    """Equal bits; of NaN, that it is one, quiet and of the same sign."""
    word, quiet = (np.uint32, 1 << 22) if result.itemsize == 4 else (np.uint16, 1 << 9)
    if result.dtype.name == "bfloat16":
        quiet = 1 << 6
    nan = np.isnan(expected.astype(np.float32))
    got, wanted = result.view(word), expected.view(word)
    np.testing.assert_array_equal(got[~nan], wanted[~nan])
    sign = word(1 << (8 * result.itemsize - 1))
    np.testing.assert_array_equal(np.isnan(result.astype(np.float32)), nan)
    np.testing.assert_array_equal(got[nan] & sign, wanted[nan] & sign)
    assert (got[nan] & word(quiet)).all()


@contextmanager
def subnormal_numbers_flushed():
    """FTZ and DAZ set in this thread, by way of the C library's floating-point environment."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the place of the control word is known on x86-64 Linux only")
    libm = ctypes.CDLL("libm.so.6")
    before, changed = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    assert libm.fegetenv(before) == 0
    changed[:] = before[:]
    changed[7] |= 0x8040
    assert libm.fesetenv(changed) == 0
    try:
        yield
    finally:
        assert libm.fesetenv(before) == 0


def widened(build, values):
    result = np.empty((1, 1, 1, values.size), np.float32)
    kernel(build).widen(values.view(np.uint16).reshape(result.shape), result, values.dtype != np.float16, 1)
    return result.reshape(-1)


def narrowed(build, values, kind):
    result = np.empty((1, 1, 1, values.size), np.uint16)
    kernel(build).narrow(result, values.reshape(result.shape), kind == "bfloat16", 2)
    return result.reshape(-1).view(dtype(kind))


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", HALVES)
def test_every_number_is_widened_exactly(kind, build):
    with np.errstate(invalid="ignore"):
        expected = all_halves(kind).astype(np.float32)
    assert_same_bits(widened(build, all_halves(kind)), expected)
    with subnormal_numbers_flushed():
        flushed = widened(build, all_halves(kind))
    assert_same_bits(flushed, expected)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", HALVES)
def test_numbers_are_rounded_to_nearest_and_to_even(kind, build):
    x = singles_to_round(kind)
    with np.errstate(all="ignore"):
        expected = x.astype(dtype(kind))
    assert_same_bits(narrowed(build, x, kind), expected)
    with subnormal_numbers_flushed():
        flushed = narrowed(build, x, kind)
    assert_same_bits(flushed, expected)


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("length", [*range(1, 36), 8191, 8192, 8193, 70_000])
def test_no_cell_is_left_out_and_none_beside_is_touched(kind, length):
    x = whole((length,), kind)
    wide = np.full(length + 2, 99, np.float32)
    _storage.convert(x, wide[1:-1], 2)
    np.testing.assert_array_equal(wide[1:-1], x.astype(np.float32))
    back = np.full(length + 2, 99, dtype(kind))
    _storage.convert(wide[1:-1], back[1:-1], 2)
    np.testing.assert_array_equal(back[1:-1].astype(np.float32), x.astype(np.float32))
    assert wide[0] == wide[-1] == back[0] == back[-1] == 99


VIEWS = {
    "cropped": lambda a: a[:, 1:, 1:-1, 2:-3],
    "transposed": lambda a: a.transpose(0, 2, 3, 1),
    "reversed": lambda a: a[:, :, ::-1],
    "reversed rows": lambda a: a[..., ::-1],
    "every second row": lambda a: a[:, :, ::2],
    "every second column": lambda a: a[..., ::2],
    "one column": lambda a: a[..., 1:2],
    "cropped in many axes": lambda a: a.reshape(2, 3, 2, 4, 3, 3)[:1, 1:, :1, 1:, 1:, 1:],
    "repeated": lambda a: np.broadcast_to(a[:1, :1, :1], a.shape),
    "empty": lambda a: a[:, :0],
}


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("view", VIEWS)
def test_views_are_converted_as_numpy_does(view, kind):
    x = VIEWS[view](whole((2, 3, 8, 9), kind))
    expected = x.astype(np.float32)
    with _storage.computed(x, np.dtype(np.float32), 2) as values:
        np.testing.assert_array_equal(values, expected)
        assert values.flags.c_contiguous == expected.flags.c_contiguous
    if view != "repeated":
        out = VIEWS[view](np.zeros((2, 3, 8, 9), dtype(kind)))
        with _storage.stored(out, np.dtype(np.float32), 2) as values:
            values[...] = expected
        np.testing.assert_array_equal(out.astype(np.float32), expected)


def test_what_has_the_dtype_is_not_copied():
    x = np.zeros(3, np.float32)
    with _storage.computed(x, x.dtype, 1) as source, _storage.stored(x, x.dtype, 1) as target:
        assert source is x
        assert target is x


def test_nothing_is_stored_after_an_error():
    out = np.zeros(3, np.float16)

    def fill_in_part():
        with _storage.stored(out, np.dtype(np.float32), 1) as values:
            values[...] = 1
            raise KeyError

    with pytest.raises(KeyError):
        fill_in_part()
    assert not out.any()


@pytest.fixture
def small_bands(monkeypatch):
    monkeypatch.setattr(table, "BAND_BYTES", 3000)
    monkeypatch.setattr(table, "BAND_IMAGES_BYTES", 2000)
    monkeypatch.setattr(table, "BAND_ROWS", 2)
    bands.bands.cache_clear()
    yield
    bands.bands.cache_clear()


GEOMETRIES = [
    ((3, 2, 19, 11), (4, 2, 3, 3), {"padding": 1}),
    ((7, 2, 5, 5), (1, 2, 3, 3), {}),
    ((1, 2, 23, 17), (3, 2, 5, 2), {"padding": ((4, 3), (0, 1)), "stride": (2, 3)}),
    ((2, 4, 40, 9), (4, 1, 3, 3), {"padding": (6, 2), "dilation": (3, 1), "groups": 4}),
    ((1, 2, 20, 9), (2, 2, 3, 3), {"padding": 5}),
    ((1, 2, 20, 20), (2, 2, 3, 3), {"padding": 2, "padding_mode": "reflect"}),
    ((1, 2, 20, 20), (2, 2, 1, 3), {"padding": (0, 2), "padding_mode": "circular"}),
    ((1, 2, 20, 20), (8, 2, 20, 3), {"padding": (0, 2)}),
    ((1, 3, 700), (2, 3, 5), {"padding": 2}),
    ((1, 2, 9, 8, 7), (2, 2, 3, 3, 3), {"padding": 1}),
]


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("x_shape", "w_shape", "keywords"), GEOMETRIES)
def test_bands_together_are_the_convolution(x_shape, w_shape, keywords, last, kind, small_bands):
    x, naxes = whole(x_shape, kind), len(x_shape) - 2
    if last:
        x, keywords = channels_last(x, naxes), {**keywords, "layout": CHANNELS_LAST[naxes]}
    check_conv(x, whole(w_shape, kind), whole(w_shape[:1], kind), naxes=naxes, exact=True, **keywords)


@pytest.mark.parametrize("kind", HALVES)
def test_a_plan_that_knows_the_image_gives_the_same_again(kind, small_bands):
    x = whole((2, 2, 19, 11), kind)
    plan = cyconv.plan_conv2d(whole((4, 2, 3, 3), kind), padding=1)
    first = plan(x)
    np.testing.assert_array_equal(plan(x), first)
    out = np.zeros_like(first)
    assert plan(x, out=out) is out
    np.testing.assert_array_equal(out, first)
    np.testing.assert_array_equal(plan(whole((2, 2, 19, 11), kind, seed=1)).shape, first.shape)


@pytest.mark.parametrize("kind", HALVES)
def test_kernels_that_change_in_place_are_read_again(kind):
    x, w = whole((1, 2, 9, 9), kind), whole((3, 2, 3, 3), kind)
    first = cyconv.conv2d(x, w)
    w *= dtype(kind).type(2)
    np.testing.assert_array_equal(cyconv.conv2d(x, w), first * dtype(kind).type(2))


def test_bands_are_as_large_as_the_table_says():
    spec = cyconv.plan_conv2d(np.ones((64, 3, 3, 3), np.float32), padding=1)._spec(np.dtype(np.float32), (1, 1))
    for size in (56, 224, 1000, 4000):
        found = bands.bands(spec, 5, (1, size, size), ((0, 0), (1, 1), (1, 1)), (1, size, size))
        for band in found:
            images, rows = band.target[0], band.target[-1] if len(band.target) > 1 else slice(0, size)
            count = (images.stop - images.start) * (rows.stop - rows.start)
            assert 4 * count * size * (3 + 64) <= table.BAND_BYTES + 4 * table.BAND_ROWS * size * (3 + 64)
