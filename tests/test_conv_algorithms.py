"""The named algorithms: each within the error that it states, each saying no where it cannot."""

import itertools

import oracle
import pytest
from calls import ALGORITHMS, WINOGRAD_L2, attempt, check_conv, dtype, noise, whole
from hypothesis import given
from hypothesis import strategies as st

import cyconv
from cyconv._plans import convolution, table

LAYERS = [
    (1, 3, 64, 56),
    (1, 64, 64, 28),
    (1, 128, 96, 14),
    (2, 65, 33, 13),
    (1, 256, 32, 7),
    (3, 16, 16, 30),
]


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a != "fft"])
def test_three_by_three(layer, kind, algorithm):
    n, c, k, size = layer
    x, w, b = noise((n, c, size, size), kind), noise((k, c, 3, 3), kind), noise((k,), kind)
    expected = oracle.convolution(x, w, b, padding=1)
    y = cyconv.conv2d(x, w, b, padding=1, algorithm=algorithm)
    assert y.dtype == dtype(kind)
    if algorithm == "direct":
        oracle.assert_close(y, expected)
    assert oracle.relative_l2(y, expected.value) < WINOGRAD_L2[kind]


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
@pytest.mark.parametrize("case", list(itertools.product([1, 3], [1, 2], [1, 2], [1, 4])), ids=str)
def test_auto_and_direct_never_fail(algorithm, case):
    kernel, stride, dilation, groups = case
    x, w = noise((1, 4, 9, 10)), noise((4, 4 // groups, kernel, kernel))
    check_conv(x, w, stride=stride, dilation=dilation, groups=groups, algorithm="direct")
    y = cyconv.conv2d(x, w, stride=stride, dilation=dilation, groups=groups, algorithm=algorithm)
    expected = oracle.convolution(x, w, stride=stride, dilation=dilation, groups=groups)
    assert oracle.relative_l2(y, expected.value) < 1e-5


IMPOSSIBLE = [
    ("winograd", (4, 4, 1, 1), {}),
    ("winograd", (4, 4, 3, 3), {"stride": 2}),
    ("winograd", (4, 4, 11, 11), {}),
]


@pytest.mark.parametrize(("algorithm", "weight", "keywords"), IMPOSSIBLE, ids=str)
def test_an_algorithm_that_cannot_says_why(algorithm, weight, keywords):
    """A ValueError that names the algorithm and what is in its way; or it can after all, and is right."""
    x, w = noise((1, 4, 20, 20)), noise(weight)
    y, message = attempt(lambda: cyconv.conv2d(x, w, algorithm=algorithm, **keywords), ValueError)
    if message:
        assert "algorithm" in message
        assert algorithm in message
        assert any(word in message for word in ("stride", "kernel", "weight", "not in this build"))
    else:
        assert oracle.relative_l2(y, oracle.convolution(x, w, **keywords).value) < 1e-5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("limit", [0, 1, 1000, 2**20, 2**30, None])
def test_the_workspace_limit_is_a_cap_or_an_error(algorithm, limit):
    x, w = noise((1, 16, 30, 30)), noise((16, 16, 3, 3))
    keywords = {"padding": 1, "algorithm": algorithm, "workspace_limit": limit}
    y, message = attempt(lambda: cyconv.conv2d(x, w, **keywords), ValueError)
    if message:
        assert limit in (0, 1, 1000, 2**20), "a wide limit and none are no reason to fail"
        assert "workspace_limit" in message
        assert str(limit) in message
    else:
        assert oracle.relative_l2(y, oracle.convolution(x, w, padding=1).value) < 1e-5


@given(st.data())
def test_auto_is_right_whatever_it_chooses(data):
    n, c, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    kernel = data.draw(st.sampled_from([(1, 1), (3, 3), (1, 3), (3, 1), (5, 5), (7, 7), (1, 7), (2, 2)]))
    padding = data.draw(st.integers(kernel[0] // 2 + kernel[1] // 2, 8))
    x, w = noise((n, c, *size)), noise((k, c, *kernel))
    y = cyconv.conv2d(x, w, padding=padding)
    assert oracle.relative_l2(y, oracle.convolution(x, w, padding=padding).value) < 1e-5


def test_direct_is_exact_where_winograd_is_not():
    """Whole numbers: direct leaves nothing to rounding."""
    x, w = whole((1, 64, 28, 28)), whole((64, 64, 3, 3))
    check_conv(x, w, padding=1, algorithm="direct", exact=True)


def test_auto_takes_winograd_where_it_is_much_quicker():
    """A plan's weights are packed once; a single call has to earn that by itself."""
    w = noise((64, 64, 3, 3))
    plan = cyconv.plan_conv2d(w, padding=1)
    explanation = plan.explain((1, 64, 56, 56))
    assert explanation.algorithm == "winograd"
    assert explanation.estimates["winograd"] < explanation.estimates["dense"]
    x = noise((1, 64, 56, 56))
    expected = oracle.convolution(x, w, padding=1)
    assert oracle.relative_l2(plan(x), expected.value) < WINOGRAD_L2["float32"]
    oracle.assert_close(cyconv.plan_conv2d(w, padding=1, algorithm="direct")(x), expected)


def test_packing_counts_where_the_weights_are_used_once(monkeypatch):
    """If transforming the weights took ages, a plan would take Winograd still, and a call with weights that are too
    large to be kept would not."""
    monkeypatch.setattr(table, "WINOGRAD_PACK_WEIGHT_CYCLES", 1e6)
    w = noise((512, 256, 3, 3))
    convolution.candidates.cache_clear()
    try:
        explained = [
            cyconv.conv_plan.ConvPlan(2, w, padding=1, keep=keep).explain((1, 256, 10, 10)).algorithm
            for keep in (True, False)
        ]
    finally:
        convolution.candidates.cache_clear()
    assert explained == ["winograd", "direct"]
