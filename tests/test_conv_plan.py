"""Packed weights: one plan for any image, any batch and any number of threads at once."""

import concurrent.futures
import copy
import pickle

import numpy as np
import oracle
import pytest
from calls import ALGORITHMS, DISGUISES, FLOATS, WINOGRAD_L2, channels_last, dtype, noise, whole

import cyconv

KEYWORDS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "stride": 3},
    {"dilation": 2, "padding": ((1, 2), (0, 3))},
    {"padding": 2, "padding_mode": "reflect"},
    {"activation": "relu"},
    {"activation": ("clip", -1.0, 1.0)},
    {"layout": "NHWC", "padding": 1},
    {"groups": 4},
    {"groups": 4, "layout": "NHWC"},
    {"algorithm": "direct"},
    {"padding": "same_lower"},
    {"groups": 2, "activation": "silu"},
]


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
@pytest.mark.parametrize("algorithm", ["auto", "direct"])
def test_a_plan_gives_what_the_function_gives(keywords, kind, algorithm):
    """Bit for bit with one algorithm; a single call pays for packing, so its own choice may be another."""
    keywords = {"algorithm": algorithm, **keywords}
    w, b = noise((8, 4 // keywords.get("groups", 1), 3, 3), kind), noise((8,), kind)
    plan = cyconv.plan_conv2d(w, b, **keywords)
    for shape in [(1, 4, 9, 9), (3, 4, 7, 20), (1, 4, 30, 33), (0, 4, 9, 9)]:
        x = noise(shape, kind)
        x = channels_last(x, 2) if keywords.get("layout") == "NHWC" else x
        y = plan(x)
        once = cyconv.conv2d(x, w, b, **keywords)
        off = np.linalg.norm(oracle.wide(y) - oracle.wide(once))
        if keywords["algorithm"] == "direct":
            np.testing.assert_array_equal(y, once)
        assert off <= WINOGRAD_L2[kind] * np.linalg.norm(oracle.wide(once))
        assert y.dtype == dtype(kind)
        assert y.flags.c_contiguous
        out = np.full_like(y, 3)
        assert plan(x, out=out) is out
        np.testing.assert_array_equal(out, y)


def test_every_rank():
    w = noise((5, 4, 3, 3))
    plan = cyconv.plan_conv2d(w)
    x = noise((1, 4, 8, 9))
    np.testing.assert_array_equal(plan(x[0]), plan(x)[0])
    plane = cyconv.plan_conv2d(noise((1, 1, 3, 3)))
    assert plane(noise((8, 9))).shape == (6, 7)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_weights_of_any_memory_layout(disguise):
    w = DISGUISES[disguise](whole((6, 4, 3, 3)))
    x = whole((2, 4, 8, 9))
    np.testing.assert_array_equal(cyconv.plan_conv2d(w)(x), cyconv.conv2d(x, w))


def test_a_plan_keeps_its_own_weights():
    """What the caller does to the arrays afterwards changes nothing."""
    w, b, x = noise((6, 4, 3, 3)), noise((6,)), noise((1, 4, 8, 9))
    plan = cyconv.plan_conv2d(w, b)
    before = plan(x)
    w[...], b[...] = 0, 0
    np.testing.assert_array_equal(plan(x), before)
    del w, b
    np.testing.assert_array_equal(plan(x), before)


@pytest.mark.parametrize(
    "keywords", [{"padding": 1}, {"padding": 1, "groups": 16}, {"padding": 1, "algorithm": "direct"}], ids=str
)
def test_many_python_threads_share_one_plan(keywords):
    w = noise((16, 16 // keywords.get("groups", 1), 3, 3))
    plan = cyconv.plan_conv2d(w, **keywords)
    images = [noise((1 + i % 3, 16, 10 + i, 40 - i), seed=i) for i in range(24)]
    expected = [plan(x) for x in images]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for y, known in zip(pool.map(plan, images * 4), expected * 4, strict=True):
            np.testing.assert_array_equal(y, known)


@pytest.mark.parametrize("num_threads", [None, 1, 2, 5])
def test_num_threads_of_a_plan(num_threads):
    w, x = noise((24, 16, 3, 3)), noise((2, 16, 20, 20))
    y = cyconv.plan_conv2d(w, padding=1, num_threads=num_threads)(x)
    np.testing.assert_array_equal(y, cyconv.plan_conv2d(w, padding=1, num_threads=1)(x))


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (noise((1, 3, 9, 9)), ValueError),
        (noise((4, 2, 9)), ValueError),
        (noise((1, 4, 2, 9)), ValueError),
        (noise((9,)), ValueError),
        (noise((1, 1, 4, 9, 9)), ValueError),
        (np.ones((1, 4, 9, 9), int), TypeError),
        (np.ones((1, 4, 9, 9), complex), TypeError),
        (None, TypeError),
        ("image", TypeError),
    ],
    ids=lambda a: getattr(a, "__name__", None) or str(getattr(a, "shape", a)),
)
def test_images_that_do_not_fit_the_plan(x, error):
    plan = cyconv.plan_conv2d(noise((6, 4, 3, 3)))
    with pytest.raises(error, match=r"\bx\b|kernel"):
        plan(x)


def test_an_image_of_another_type_is_promoted_as_the_function_does():
    w, x = whole((6, 4, 3, 3)), whole((1, 4, 9, 9), "float64")
    y = cyconv.plan_conv2d(w)(x)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, cyconv.conv2d(x, w))


def test_out_of_the_wrong_shape_or_type():
    plan = cyconv.plan_conv2d(noise((6, 4, 3, 3)))
    for out in (np.zeros((1, 6, 7, 8), np.float32), np.zeros((1, 6, 7, 7)), "out"):
        with pytest.raises((TypeError, ValueError), match=r"\bout\b"):
            plan(noise((1, 4, 9, 9)), out=out)


def test_explain_says_what_will_be_done():
    plan = cyconv.plan_conv2d(noise((16, 16, 3, 3)), padding=1, algorithm="direct")
    explanation = plan.explain((1, 16, 20, 20))
    assert explanation.algorithm == "direct"
    assert explanation.flops == 2 * 16 * 16 * 9 * 400
    text = str(explanation)
    for word in ("direct", "FLOP", "workspace"):
        assert word in text, text
    with pytest.raises(ValueError):
        plan.explain((1, 15, 20, 20))
    with pytest.raises(TypeError, match="shape must be a sequence of ints, got 20 of type int"):
        plan.explain(20)
    with pytest.raises(ValueError, match=r"shape.*larger than 2\*\*56"):
        plan.explain((1, 16, 2**62, 2**62))


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_a_plan_obeys_the_algorithm(algorithm):
    x, w = noise((1, 8, 30, 30)), noise((8, 8, 3, 3))
    plan = cyconv.plan_conv2d(w, padding=1, algorithm=algorithm)
    assert plan.explain(x.shape).algorithm == algorithm
    assert oracle.relative_l2(plan(x), oracle.convolution(x, w, padding=1).value) < 1e-5


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda plan: pickle.loads(pickle.dumps(plan))])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_plan_can_be_copied_and_pickled(again, algorithm):
    """Before and after calls, which it remembers; that of a copy are its own."""
    w, b, x = noise((6, 4, 3, 3)), noise((6,)), noise((1, 4, 9, 9))
    plan = cyconv.plan_conv2d(w, b, padding=1, algorithm=algorithm)
    before = again(plan)
    y = plan(x)
    for other in (before, again(plan)):
        for _ in range(2):
            np.testing.assert_array_equal(other(x), y)


def test_a_function_remembers_numbers_and_not_arrays():
    x, w, b = noise((1, 2, 9, 9)), noise((3, 2, 3, 3)), noise((3,))
    first = cyconv.conv2d(x, w, b, padding=1)
    np.testing.assert_array_equal(cyconv.conv2d(x, w.copy(), b.copy(), padding=1), first)
    w[0], b[1] = 0, 5
    again = cyconv.conv2d(x, w, b, padding=1)
    np.testing.assert_array_equal(again, cyconv.plan_conv2d(w, b, padding=1)(x))
    assert not np.array_equal(cyconv.conv2d(x, w, b, padding=0), again)


@pytest.mark.parametrize("wrong", [{"stride": True}, {"stride": 1.0}, {"padding": (1.0, 1)}, {"dilation": (True, 1)}])
def test_what_equals_a_remembered_argument_is_still_checked(wrong):
    x, w = noise((1, 2, 9, 9)), noise((3, 2, 3, 3))
    right = {"stride": 1, "padding": (1, 1), "dilation": (1, 1)}
    cyconv.conv2d(x, w, **right)
    with pytest.raises(TypeError):
        cyconv.conv2d(x, w, **right | wrong)


# A call like an earlier one takes a short way past the checks.


def placed(disguise, x):
    """x in memory of its own, as ``disguise`` has it; the same numbers."""
    if disguise == "backwards":
        return x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]
    if disguise == "spread":
        return np.repeat(x, 3, axis=3)[..., ::3]
    if disguise == "repeated":
        return np.broadcast_to(x[:1], x.shape)
    return x.copy()


@pytest.mark.parametrize("disguise", ["plain", "backwards", "spread", "repeated"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("algorithm", ["direct", "winograd", "fft"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_call_that_comes_again_gives_the_same_bits(layout, algorithm, kind, disguise):
    w = whole((8, 8, 3, 3), kind)
    plan = cyconv.plan_conv2d(w, padding=1, algorithm=algorithm, layout=layout)
    for seed in range(3):
        x = placed(disguise, np.random.default_rng(seed).integers(-3, 4, (2, 8, 8, 8)).astype(kind))
        expected = cyconv.plan_conv2d(w, padding=1, algorithm=algorithm, layout=layout)(x)
        out = np.empty_like(expected)
        assert np.array_equal(plan(x), expected)
        assert plan(x, out=out) is out
        assert np.array_equal(out, expected)


def test_a_result_that_overlaps_the_image_again():
    memory = np.arange(3 * 64, dtype=np.float32)
    plan = cyconv.plan_conv2d(np.ones((1, 1, 3, 3), np.float32), padding=1)
    apart, x = np.empty((8, 8), np.float32), memory[64:128].reshape(8, 8)
    before = x.copy()
    expected = plan(x, out=apart).copy()
    for start in (0, 1, 63, 64, 65, 127, 128):
        memory[64:128] = before.reshape(-1)
        out = memory[start : start + 64].reshape(8, 8)
        assert plan(x, out=out) is out
        assert np.array_equal(out, expected), start
    backwards = memory[64:128].reshape(8, 8)[::-1, ::-1]
    plan(backwards, out=apart)
    for start in (1, 64, 127):
        memory[64:128] = before.reshape(-1)[::-1]
        assert np.array_equal(plan(backwards, out=memory[start : start + 64].reshape(8, 8)), expected), start


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda out: out.astype(np.float64), TypeError),
        (lambda out: out[:, :, 1:], ValueError),
        (lambda out: out[0], ValueError),
        (lambda out: out.tolist(), TypeError),
        (lambda out: np.ma.masked_array(out), TypeError),
        (lambda out: np.broadcast_to(out[:1], out.shape), ValueError),
    ],
)
def test_a_bad_result_is_refused_again(spoil, error):
    x = noise((2, 3, 8, 8))
    plan = cyconv.plan_conv2d(noise((4, 3, 3, 3)), padding=1)
    out = plan(x).copy()
    plan(x, out=out)
    kept = out.copy()
    with pytest.raises(error, match="out must"):
        plan(x, out=spoil(out))
    assert np.array_equal(out, kept)


def test_an_image_of_the_same_layout_that_needs_more_than_a_view():
    plan = cyconv.plan_conv2d(whole((4, 3, 3, 3), "float32"), padding=1)
    x = whole((2, 3, 8, 8), "float32")
    expected = plan(x)
    swapped = x.astype(">f4")
    shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    for other in (swapped, shifted, read_only, x.view(type("Sub", (np.ndarray,), {}))):
        assert np.array_equal(plan(other), expected)
        assert type(plan(other)) is np.ndarray
