"""Arguments that have crashed other libraries' pooling: an answer or a clear exception, and `out` stays as it was."""

import numpy as np
import pytest
from calls import DISGUISES, FLOATS, dtype, noise
from pool_cases import AVG_POOL, KINDS, LP_POOL, MAX_POOL, disguised, image, same

import cyconv

BAD = [
    ({"kernel_size": 0}, ValueError, r"kernel_size.*\b0\b"),
    ({"kernel_size": -1}, ValueError, r"kernel_size.*-1"),
    ({"kernel_size": (2, 0)}, ValueError, r"kernel_size.*\b0\b"),
    ({"kernel_size": ()}, ValueError, r"kernel_size"),
    ({"kernel_size": (2, 2, 2)}, ValueError, r"kernel_size"),
    ({"kernel_size": 2.0}, TypeError, r"kernel_size.*2\.0"),
    ({"kernel_size": True}, TypeError, r"kernel_size.*True"),
    ({"kernel_size": None}, TypeError, r"kernel_size"),
    ({"kernel_size": "2"}, TypeError, r"kernel_size"),
    ({"kernel_size": 6}, ValueError, r"kernel_size.*6"),
    ({"kernel_size": (2, 2**62)}, ValueError, r"kernel_size"),
    ({"stride": 0}, ValueError, r"stride.*\b0\b"),
    ({"stride": (1, 0)}, ValueError, r"stride.*\b0\b"),
    ({"stride": -2}, ValueError, r"stride.*-2"),
    ({"stride": -(2**63)}, ValueError, r"stride"),
    ({"stride": 1.0}, TypeError, r"stride"),
    ({"stride": False}, TypeError, r"stride"),
    ({"stride": ()}, ValueError, r"stride"),
    ({"stride": (1, 1, 1)}, ValueError, r"stride"),
    ({"padding": -1}, ValueError, r"padding.*-1"),
    ({"padding": 2}, ValueError, r"padding.*2"),
    ({"padding": ((0, 0), (0, 2))}, ValueError, r"padding"),
    ({"padding": 0.5}, TypeError, r"padding"),
    ({"padding": (0, 0, 0)}, ValueError, r"padding"),
    ({"padding": "full"}, ValueError, r"padding.*full"),
    ({"dilation": 0}, ValueError, r"dilation.*\b0\b"),
    ({"dilation": -1}, ValueError, r"dilation.*-1"),
    ({"dilation": 2**62}, ValueError, r"dilation"),
    ({"dilation": 1.5}, TypeError, r"dilation"),
    ({"ceil_mode": 1}, TypeError, r"ceil_mode"),
    ({"ceil_mode": "yes"}, TypeError, r"ceil_mode"),
    ({"layout": "HWC"}, ValueError, r"layout.*HWC"),
    ({"layout": None}, TypeError, r"layout"),
    ({"layout": "NCW"}, ValueError, r"layout"),
    ({"num_threads": 0}, ValueError, r"num_threads"),
    ({"num_threads": 1.0}, TypeError, r"num_threads"),
]
ONLY_AVG = [
    ({"divisor_override": 0}, ValueError, r"divisor_override.*\b0\b"),
    ({"divisor_override": -3}, ValueError, r"divisor_override.*-3"),
    ({"divisor_override": 2.0}, TypeError, r"divisor_override"),
    ({"divisor_override": True}, TypeError, r"divisor_override"),
    ({"count_include_pad": 1}, TypeError, r"count_include_pad"),
]


def lp_pool2d(x, kernel_size, **keywords):
    """With a norm type."""
    return cyconv.lp_pool2d(x, 2, kernel_size, **keywords)


@pytest.mark.parametrize(("function", "keywords", "error", "message"), [
    *((f, *bad) for f in (cyconv.max_pool2d, cyconv.avg_pool2d, lp_pool2d) for bad in BAD),
    *((cyconv.avg_pool2d, *bad) for bad in ONLY_AVG),
    (cyconv.max_pool2d, {"return_indices": 1}, TypeError, "return_indices"),
])  # fmt: skip
def test_arguments(function, keywords, error, message):
    x = noise((1, 2, 5, 5))
    out = np.full((1, 2, 2, 2), 7, np.float32)
    with pytest.raises(error, match=message):
        function(x, **{"kernel_size": 2, **keywords}, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("x", [
    np.ones((1, 1, 4, 4), np.complex64), np.ones((4, 4), object), np.full((4, 4), "1"), np.zeros((4, 4), "M8[s]"),
    np.zeros((4, 4), "f4,f4"), np.ma.masked_equal(np.ones((4, 4)), 1), None, "image", {}, [[1.0, 2.0], [3.0]], 3.0,
    np.ones((4, 4), np.longdouble), np.ones(4), np.ones((1, 1, 1, 4, 4)),
], ids=lambda a: f"{type(a).__name__}-{getattr(a, 'dtype', '')}-{getattr(a, 'ndim', '')}")  # fmt: skip
@pytest.mark.parametrize("function", [
    lambda x: cyconv.max_pool2d(x, 2), lambda x: cyconv.avg_pool2d(x, 2), lambda x: cyconv.lp_pool2d(x, 2, 2),
    lambda x: cyconv.adaptive_max_pool2d(x, 2), cyconv.global_avg_pool2d,
    lambda x: cyconv.max_unpool2d(x, np.zeros((4, 4), int), 2),
], ids=["max", "avg", "lp", "adaptive", "global", "unpool"])  # fmt: skip
def test_what_is_no_image(function, x):
    with pytest.raises((TypeError, ValueError), match=r"\bx\b"):
        function(x)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (0, 0, 4, 4)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_nothing_to_do(shape, layout):
    x = np.zeros(shape, np.float32)
    x = np.moveaxis(x, 1, -1) if layout == "NHWC" else x
    expected = np.moveaxis(np.zeros((*shape[:2], 2, 2)), 1, -1).shape if layout == "NHWC" else (*shape[:2], 2, 2)
    for y in (
        cyconv.max_pool2d(x, 2, layout=layout), cyconv.avg_pool2d(x, 2, layout=layout),
        cyconv.lp_pool2d(x, 2, 2, layout=layout), *cyconv.max_pool2d(x, 2, return_indices=True, layout=layout),
        cyconv.adaptive_avg_pool2d(x, 2, layout=layout),
    ):  # fmt: skip
        assert y.shape == expected
    assert cyconv.max_unpool2d(np.zeros(shape), np.zeros(shape, int), 2).shape == (*shape[:2], 8, 8)


@pytest.mark.parametrize("shape", [(1, 1, 0, 4), (1, 1, 4, 0), (0, 4)])
def test_images_without_cells(shape):
    for function in (cyconv.max_pool2d, cyconv.avg_pool2d):
        with pytest.raises(ValueError, match="size"):
            function(np.zeros(shape), 1)


# ------------------------------------------------------------------------------------------- numbers beyond the image


FAR = [2**31, 2**32 + 1, 2**40, 2**61, 2**62 + 1, 2**63, 2**64 + 3, 2**100]


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_window_far_larger_than_the_image(far, layout):
    """All of the image is in the one window; it takes no longer than the image is large."""
    x = noise((2, 5, 6, 5), "float64")
    keywords = {"padding": far // 2, "layout": layout}
    axes = (2, 3) if layout == "NCHW" else (1, 2)
    largest = x.max(axes, keepdims=True)
    assert cyconv.max_pool2d(x, far, **keywords).tolist() == largest.tolist()
    y, indices = cyconv.max_pool2d(x, far, return_indices=True, **keywords)
    assert y.tolist() == largest.tolist()
    planes = x.reshape(2, 5, -1) if layout == "NCHW" else np.moveaxis(x, -1, 1).reshape(2, x.shape[-1], -1)
    assert indices.ravel().tolist() == planes.argmax(-1).ravel().tolist()
    real = cyconv.avg_pool2d(x, far, count_include_pad=False, **keywords)
    np.testing.assert_allclose(real, x.mean(axes, keepdims=True), rtol=1e-12)
    padded = cyconv.avg_pool2d(x, far, **keywords)
    cells = float(min(far, 6 + far // 2 + far // 2)) ** 2
    np.testing.assert_allclose(padded, x.sum(axes, keepdims=True) / cells, rtol=1e-2 if far < 2**33 else 1e-9)
    np.testing.assert_allclose(
        cyconv.lp_pool2d(x, 2, far, **keywords), np.sqrt((x * x).sum(axes, keepdims=True)), rtol=1e-12
    )


@pytest.mark.parametrize("far", FAR)
def test_strides_and_dilations_beyond_the_image(far):
    x = noise((1, 2, 4, 5), "float64")
    same(cyconv.max_pool2d(x, 2, stride=far), x[:, :, :2, :2].max((2, 3), keepdims=True))
    same(cyconv.max_pool2d(x, 1, dilation=far), x)
    # The outer taps of these windows are padding, the middle ones the image.
    keywords = {"dilation": (1, far), "padding": ((0, 0), (far, far)), "stride": 1}
    y, indices = cyconv.max_pool2d(x, (1, 3), return_indices=True, **keywords)
    same(y, x)
    same(indices, np.broadcast_to(np.arange(20).reshape(4, 5), x.shape))
    same(cyconv.avg_pool2d(x, (1, 3), count_include_pad=False, **keywords), x)


def test_windows_far_apart():
    """The first sees the first cell, the last one all but it, those between all of them."""
    far = 2**61
    x = noise((1, 1, 1, 4), "float64")
    how = {"stride": (1, (far + 1) // 4), "padding": ((0, 0), (far - 1, far - 1))}
    y, indices = cyconv.max_pool2d(x, (1, far), return_indices=True, **how)
    cells = x.ravel()
    best = [cells[0], *[cells.max()] * 3, cells[1:].max()]
    assert y.ravel().tolist() == best
    assert indices.ravel().tolist() == [0, *[cells.argmax()] * 3, 1 + cells[1:].argmax()]
    assert cyconv.max_pool2d(x, (1, far), **how).tolist() == y.tolist()


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("stride", range(1, 12))
def test_ceil_mode_never_gives_a_window_behind_the_image(size, stride, ceil_mode):
    for kernel, padding in ((1, 0), (2, 1), (3, 1), (3, 2)):
        if size + 2 * padding < kernel:
            continue
        y, indices = cyconv.max_pool1d(
            np.arange(size), kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, return_indices=True
        )
        expected = cyconv.pool_output_shape(size, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
        assert len(y) == expected >= 1
        assert (indices >= 0).all()


# ------------------------------------------------------------------------------------------------------------ out=


WRITEABLE = ["contiguous", "fortran", "transposed", "reversed", "every_second", "inside", "misaligned"]


@pytest.mark.parametrize(("disguise", "kind"), [pair for pair in disguised(KINDS) if pair[0] in WRITEABLE])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_out_of_any_strides(disguise, kind, layout):
    x = image((2, 6, 9, 20), kind)
    for kernel, stride in ((2, 2), (3, 1), (9, 9) if layout == "NCHW" else (6, 6)):
        expected, places = cyconv.max_pool2d(x, kernel, stride=stride, layout=layout, return_indices=True)
        for indices in (False, True):
            out = DISGUISES[disguise](np.zeros_like(expected))
            y = cyconv.max_pool2d(x, kernel, stride=stride, layout=layout, out=out, return_indices=indices)
            assert (y[0] if indices else y) is out
            same(out, expected)
            if indices:
                same(y[1], places)
            if kind in FLOATS and disguise in ("every_second", "inside"):
                margin = out.base.astype(np.float64)
                assert np.isnan(margin).sum() == margin.size - out.size, "cells beside `out` were written"
        if kind in FLOATS:
            out = DISGUISES[disguise](np.zeros_like(expected))
            same(cyconv.avg_pool2d(x, kernel, stride=stride, layout=layout, out=out),
                 cyconv.avg_pool2d(x, kernel, stride=stride, layout=layout))  # fmt: skip
            out = DISGUISES[disguise](np.zeros_like(expected))
            same(cyconv.lp_pool2d(x, 2, kernel, stride=stride, layout=layout, out=out),
                 cyconv.lp_pool2d(x, 2, kernel, stride=stride, layout=layout))  # fmt: skip


def _read_only():
    out = np.zeros((1, 2, 2, 2), np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize("out", [
    np.zeros((1, 2, 2, 3), np.float32), np.zeros((2, 2, 2), np.float32), np.zeros((1, 2, 2, 2), np.float64),
    np.zeros((1, 2, 2, 2), ">f4"), _read_only(), [[1.0]], "out", np.broadcast_to(np.float32(0), (1, 2, 2, 2)),
], ids=lambda a: f"{type(a).__name__}-{getattr(a, 'dtype', '')}-{getattr(a, 'shape', '')}")  # fmt: skip
def test_what_cannot_be_written_to(out):
    before = np.array(out)
    for function in (cyconv.max_pool2d, cyconv.avg_pool2d, lp_pool2d):
        with pytest.raises((TypeError, ValueError), match=r"\bout\b"):
            function(noise((1, 2, 5, 5)), 2, out=out)
    assert np.array(out).tolist() == before.tolist()


@pytest.mark.parametrize("kind", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("shift", [0, 1, 37])
def test_out_that_overlaps_the_image(shift, kind):
    memory = image((4000,), kind)
    x = memory[100:900].reshape(1, 4, 10, 20)
    for function in (cyconv.max_pool2d, cyconv.avg_pool2d) if kind != "uint8" else (cyconv.max_pool2d,):
        expected = function(x.copy(), 3, stride=1, padding=1)
        out = memory[100 + shift : 900 + shift].reshape(1, 4, 10, 20)
        assert function(x, 3, stride=1, padding=1, out=out) is out
        same(out, expected)


@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_results_are_new_contiguous_arrays(naxes):
    for layout in ("NCHW", "NHWC"):
        x = noise((2, 3, *(6,) * naxes))
        for y in (
            MAX_POOL[naxes](x, 1, layout=layout), AVG_POOL[naxes](x, 1, layout=layout),
            LP_POOL[naxes](x, 1, 1, layout=layout), *MAX_POOL[naxes](x, 1, layout=layout, return_indices=True),
        ):  # fmt: skip
            assert y.flags.c_contiguous
            assert y.flags.owndata
            assert y.flags.writeable
            assert not np.shares_memory(x, y)


# ---------------------------------------------------------------------------------------------------------- unpooling


@pytest.mark.parametrize("bad", [-1, 16, 2**31, 2**40, -(2**63), 2**63 - 1])
def test_indices_out_of_range(bad):
    y, indices = cyconv.max_pool2d(noise((1, 2, 4, 4)), 2, return_indices=True)
    indices[0, 1, 1, 0] = bad
    out = np.full((1, 2, 4, 4), 7, np.float32)
    with pytest.raises(ValueError, match=rf"indices.*{bad}"):
        cyconv.max_unpool2d(y, indices, 2, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(("keywords", "error", "message"), [
    ({"indices": np.zeros((1, 2, 2, 3), int)}, ValueError, "indices"),
    ({"indices": np.zeros((2, 2, 2), int)}, ValueError, "indices"),
    ({"indices": np.zeros((1, 2, 2, 2))}, TypeError, "indices"),
    ({"indices": np.zeros((1, 2, 2, 2), bool)}, TypeError, "indices"),
    ({"indices": None}, TypeError, "indices"),
    ({"indices": np.full((1, 2, 2, 2), 2**64 - 1, np.uint64)}, ValueError, "indices"),
    ({"kernel_size": 0}, ValueError, "kernel_size"), ({"stride": 0}, ValueError, "stride"),
    ({"padding": -1}, ValueError, "padding"), ({"padding": 2}, ValueError, "padding"),
    ({"output_size": (4,)}, ValueError, "output_size"), ({"output_size": (4, 7)}, ValueError, "output_size"),
    ({"output_size": (4, 1.5)}, TypeError, "output_size"), ({"output_size": 4}, TypeError, "output_size"),
    ({"output_size": (2**62, 2**62)}, ValueError, "output_size"),
    ({"kernel_size": 2**62, "stride": 2**62}, (ValueError, MemoryError), "."),
    ({"out": np.zeros((1, 2, 4, 5), np.float32)}, ValueError, "out"),
])  # fmt: skip
def test_arguments_of_unpooling(keywords, error, message):
    good = {"x": noise((1, 2, 2, 2)), "indices": np.zeros((1, 2, 2, 2), int), "kernel_size": 2}
    with pytest.raises(error, match=message):
        cyconv.max_unpool2d(**{**good, **keywords})


def test_unpooling_in_place():
    x = noise((1, 1, 4, 4))
    indices = np.arange(15, -1, -1).reshape(1, 1, 4, 4)
    expected = x[..., ::-1, ::-1].copy()
    assert cyconv.max_unpool2d(x, indices, 1, out=x) is x
    same(x, expected)


@pytest.mark.parametrize("kind", FLOATS)
def test_unpooling_keeps_every_float(kind):
    x = np.array([np.nan, np.inf, -0.0], dtype(kind))
    y = cyconv.max_unpool1d(x, [5, 0, 3], 2)
    assert np.isnan(y[5].astype(float))
    assert y[0] == np.inf
    assert np.signbit(y[3].astype(float))
