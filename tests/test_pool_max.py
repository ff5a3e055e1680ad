"""Max-pooling: values and indices, exactly."""

import itertools

import numpy as np
import oracle_pool
import pytest
from calls import DISGUISES, channels_last, dtype
from hypothesis import given
from hypothesis import strategies as st
from pool_cases import KINDS, MAX_POOL, MAX_UNPOOL, check_max_pool, disguised, image, pool_cases, same

import cyconv

GEOMETRIES = [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 13, "stride": 1, "padding": 6}, {"kernel_size": (5, 4), "stride": (3, 2), "padding": (2, 0)},
    {"kernel_size": 3, "stride": 1, "dilation": 2}, {"kernel_size": (2, 3), "stride": 2, "ceil_mode": True},
    {"kernel_size": (1, 7), "stride": (2, 3)}, {"kernel_size": (7, 1), "stride": 1, "padding": "same"},
    {"kernel_size": 8, "stride": 2, "padding": ((0, 3), (7, 1))}, {"kernel_size": (14, 21)},
    {"kernel_size": 3, "stride": 2, "dilation": (3, 2), "padding": (6, 4)},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_geometries(geometry, layout, kind):
    x = image((2, 3, 14, 37) if layout == "NCHW" else (2, 14, 21, 19), kind)
    check_max_pool(x, layout=layout, **geometry)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_nan_and_infinity(geometry, layout, kind):
    """NaN spreads with and without indices, the first one is pointed at; minus infinities stay what they are."""
    x = image((1, 3, 14, 37) if layout == "NCHW" else (1, 14, 21, 19), kind, special=True)
    check_max_pool(x, layout=layout, **geometry)


@given(pool_cases(kinds=KINDS), st.integers(1, 5))
def test_any_geometry(case, threads):
    check_max_pool(case.x, case.kernel, naxes=case.naxes, threads=threads, **case.keywords)


@pytest.mark.parametrize(("disguise", "kind"), disguised(KINDS))
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_memory_layouts(disguise, kind, layout):
    x = DISGUISES[disguise](image((2, 5, 9, 18), kind))
    check_max_pool(x, 3, stride=2, padding=1, layout=layout)


@pytest.mark.parametrize("width", range(1, 40))
@pytest.mark.parametrize("kernel_size", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_widths_next_to_vectors(width, kernel_size, stride):
    for kind in ("float32", "float64", "uint8", "int16"):
        x = image((2, 2, 4, width), kind)
        check_max_pool(x, (2, kernel_size), stride=stride, padding=(0, kernel_size // 2))
        check_max_pool(channels_last(image((1, width, 4, 9), kind), 2), 2, stride=stride, layout="NHWC")


@pytest.mark.parametrize("width", [1, 4, 5, 7, 8, 10, 13, 15, 16, 17, 28, 31, 33, 49, 63, 65])
@pytest.mark.parametrize("kernel_size", [2, 3, 5, 7, 9, 13])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_squares_of_narrow_planes(width, kernel_size, stride):
    """Planes that fit in a few vectors, many of them and of one row more than blocks have; NaN in some."""
    for kind in ("float32", "float64", "uint8", "int16"):
        for rows in (1, 2, 15):
            x = image((1, 3, rows, width), kind, special=width % 2 == 1)
            how = {"stride": stride, "padding": (kernel_size - 1) // 2, "ceil_mode": rows == 2}
            if min(rows, width) + 2 * how["padding"] >= kernel_size:
                check_max_pool(x, kernel_size, **how)
            check_max_pool(x[:, ::2, :, : width // 2 + 1], 2, stride=stride, padding=((1, 1), (0, 1)))


@pytest.mark.parametrize(
    ("kernel_size", "stride", "dilation"),
    [(5, 3, 1), (4, 3, 1), (7, 4, 1), (4, 2, 1), (3, 3, 1), (8, 8, 1), ((2, 4), (3, 2), 2), ((9, 2), (2, 5), 3)],
)
def test_windows_some_columns_apart(kernel_size, stride, dilation):
    """Rows shared with the next window, with two of them or with none; the last plane ends where memory may."""
    for kind, width in itertools.product(("float32", "float64", "int16", "uint32"), (8, 16, 17, 20, 33, 36, 64)):
        for planes, padding in ((5, 0), (3, 1)):
            x = image((1, planes, 17, width), kind, special=width % 2 == 1)
            check_max_pool(x, kernel_size, stride=stride, dilation=(1, dilation), padding=padding)


def test_calls_that_were_made_before():
    """What is remembered of a call: with and without indices, and not for settings that only compare equal."""
    x = image((2, 3, 8, 8))
    for _ in range(3):
        check_max_pool(x, 1, stride=(1, 1), padding=0)
        for wrong in (True, 1.0, (1, True), (1.0, 1), np.float64(1)):
            with pytest.raises(TypeError, match="stride"):
                cyconv.max_pool2d(x, 1, stride=wrong, padding=0)
            with pytest.raises(TypeError, match="stride"):
                cyconv.max_pool2d(x, 1, stride=wrong, padding=0, return_indices=True)
        into = np.empty((2, 3, 4, 4), np.float32)
        values, places = cyconv.max_pool2d(x, 2, return_indices=True, out=into)
        assert values is into
        same(np.take_along_axis(x.reshape(2, 3, 64), places.reshape(2, 3, 16), 2).reshape(into.shape), into)


def test_short_rows_without_gaps():
    """Several rows of a result in one vector, and arrays that end anywhere in it."""
    for kind in ("float32", "float64", "int16", "int32"):
        for width, rows, planes in itertools.product((1, 2, 3, 4, 5, 7, 8), (1, 2, 5), (1, 2, 9)):
            check_max_pool(image((planes, 3, 2 * rows, 2 * width), kind, special=True), 2)


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("lead", [0, 1, 2])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_every_rank(naxes, lead, layout):
    x = image((2, 3, 6, 7, 9)[2 - lead : 2] + (6, 7, 9)[-naxes:])
    check_max_pool(channels_last(x, naxes) if layout == "NHWC" else x, 2, naxes=naxes, layout=layout)


def test_the_names_of_layouts_in_one_and_three_axes():
    x = image((2, 3, 6, 7, 9))
    same(cyconv.max_pool3d(x, 2, layout="NCDHW"), cyconv.max_pool3d(x, 2))
    same(cyconv.max_pool3d(x, 2, layout="NDHWC"), cyconv.max_pool3d(x, 2, layout="NHWC"))
    same(cyconv.max_pool1d(x[0, 0], 2, layout="NWC"), cyconv.max_pool1d(x[0, 0], 2, layout="NHWC"))
    same(cyconv.max_pool1d(x[0, 0], 2, layout="NCW"), cyconv.max_pool1d(x[0, 0], 2))


def test_windows_of_minus_infinity_keep_it_and_point_into_the_image():
    x = np.full((1, 1, 3, 20), -np.inf, np.float32)
    y, indices = cyconv.max_pool2d(x, 3, stride=1, padding=1, return_indices=True)
    assert (y == -np.inf).all()
    same(indices, oracle_pool.max_pool(x, 3, stride=1, padding=1)[1])
    assert (indices >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_dilated_window_in_the_padding(kind):
    """No cell is in it: the value of padding, and no place."""
    x = image((1, 2, 1, 1), kind)
    y, indices = cyconv.max_pool2d(x, 2, dilation=2, padding=1, return_indices=True)
    value = oracle_pool.lowest(x.dtype) if kind != "bfloat16" else -np.inf
    assert (y == np.array(value, dtype(kind))).all()
    assert (indices == -1).all()
    same(cyconv.max_pool2d(x, 2, dilation=2, padding=1), y)


def test_float16_extremes_are_exact():
    x = np.array([65504, -65504, 6e-8, -0.0, np.inf, -np.inf], np.float16)
    same(cyconv.max_pool1d(x, 1), x)
    same(cyconv.max_pool1d(x, 2, stride=1), np.maximum(x[:-1], x[1:]))


@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_integers_beyond_floats(kind):
    x = np.array([2**63 - 1, 2**63 - 2, 2**62 + 1, 2**62], kind)
    y, indices = cyconv.max_pool1d(x, 2, return_indices=True)
    assert y.tolist() == [2**63 - 1, 2**62 + 1]
    assert indices.tolist() == [0, 2]


@pytest.mark.parametrize(("size", "kernel"), [((40, 3000), (9, 70)), ((700, 40), (300, 3)), ((1, 9000), (1, 5000))])
@pytest.mark.parametrize("stride", [1, 2])
def test_large_windows(size, kernel, stride):
    """Blocks of rows and columns meet without a seam."""
    x = np.random.default_rng(1).standard_normal((1, 1, *size)).astype(np.float32)
    expected = x
    for axis in (2, 3):
        windows = np.lib.stride_tricks.sliding_window_view(expected, kernel[axis - 2], axis=axis)
        expected = windows.max(-1)[(slice(None),) * axis + (slice(None, None, stride),)]
    for threads in (1, 3):
        y, indices = cyconv.max_pool2d(x, kernel, stride=stride, return_indices=True, num_threads=threads)
        same(cyconv.max_pool2d(x, kernel, stride=stride, num_threads=threads), expected)
        same(y, expected)
        same(x.ravel()[indices], expected)


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", KINDS)
def test_unpooling_puts_maxima_back(naxes, layout, kind):
    x = image((2, 3, *(6, 7, 9)[-naxes:]), kind)
    x = channels_last(x, naxes) if layout == "NHWC" else x
    y, indices = MAX_POOL[naxes](x, 2, return_indices=True, layout=layout)
    size = x.shape[1 : naxes + 1] if layout == "NHWC" else x.shape[2:]
    back = MAX_UNPOOL[naxes](y, indices, 2, output_size=size, layout=layout)
    assert back.shape == x.shape
    assert back.dtype == x.dtype
    first = (lambda a: np.moveaxis(a, -1, 1)) if layout == "NHWC" else (lambda a: a)
    same(first(back), oracle_pool.max_unpool(first(y), first(indices), size))


def test_unpooling_gives_the_smallest_size_by_default():
    y, indices = cyconv.max_pool2d(image((1, 2, 9, 12)), 3, stride=2, padding=1, return_indices=True)
    assert cyconv.max_unpool2d(y, indices % 9, 3, stride=2, padding=1).shape == (1, 2, 9, 11)
    assert cyconv.max_unpool1d([1.0], [0], 2).tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["float32", "uint8", "float16"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_results_do_not_depend_on_threads(kind, layout):
    x = image((2, 16, 60, 66), kind)
    for kernel, stride in ((3, 2), (13, 1), (2, 2), (60, 1)):
        results = {
            b"".join(
                a.tobytes()
                for a in cyconv.max_pool2d(
                    x, min(kernel, 16), stride=stride, layout=layout, num_threads=threads, return_indices=True
                )
            )
            + cyconv.max_pool2d(x, min(kernel, 16), stride=stride, layout=layout, num_threads=threads).tobytes()
            for threads in (1, 2, 3, 7, 1000)
        }
        assert len(results) == 1


def test_signs_of_zeros_do_not_depend_on_threads():
    x = np.random.default_rng(0).choice([0.0, -0.0, -1.0], (1, 2, 60, 14), p=[0.1, 0.1, 0.8]).astype(np.float32)
    for kernel, stride in ((2, 1), (2, 2), (3, 1), (3, 2), (5, 1), (5, 2), (9, 1), (12, 1), (13, 1)):
        how = {"stride": stride, "padding": (kernel - 1) // 2}
        results = {cyconv.max_pool2d(x, kernel, num_threads=threads, **how).tobytes() for threads in (1, 2, 3, 7, 30)}
        assert len(results) == 1, (kernel, stride)
