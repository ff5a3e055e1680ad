"""Channels last by way of planes: the same numbers whatever the gaps, the images at a time and the threads."""

import numpy as np
import pytest
from calls import channels_last, check_conv, noise, whole

import cyconv
from cyconv import _runtime
from cyconv._plans import on_planes, table


@pytest.fixture(params=[0, 1 << 30], ids=["one image at a time", "all images"])
def always(monkeypatch, request):
    """Turning costs nothing, and the images that fit into so many bytes are turned together."""
    monkeypatch.setattr(table, "TURN_CYCLES", -1000.0)
    monkeypatch.setattr(table, "TURN_BYTES", request.param)
    runs = []
    turn = on_planes.turn_channels

    def counted(source, *arguments):
        runs.append(source.shape)
        turn(source, *arguments)

    monkeypatch.setattr(on_planes, "turn_channels", counted)
    _forget()
    yield runs
    _forget()


def _forget():
    from cyconv._plans import convolution

    convolution.candidates.cache_clear()


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("size", [(1, 1), (5, 17), (16, 33), (1, 300)], ids=str)
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(1, 5, 1), (6, 16, 2), (17, 3, 1), (33, 66, 33)])
def test_the_definition(always, channels, outputs, groups, size, kind):
    x, w = whole((3, channels, *size), kind), whole((outputs, channels // groups, 3, 3), kind)
    check_conv(channels_last(x, 2), w, whole((outputs,), kind), layout="NHWC", exact=True, padding=1, groups=groups)
    assert size == (1, 1) or always


@pytest.mark.parametrize("gaps", [(2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1), (1, 1, 1, 2), (1, -1, 1, 1)], ids=str)
def test_gaps_change_nothing(always, gaps):
    x, w = noise((4, 6, 9, 18)), noise((5, 6, 3, 3))
    x = channels_last(x, 2)
    plan = cyconv.plan_conv2d(w, padding=1, layout="NHWC")
    expected = plan(x)
    held = np.zeros([size * abs(gap) for size, gap in zip(x.shape, gaps, strict=True)], x.dtype)
    spread = held[tuple(slice(None, None, gap) for gap in gaps)]
    spread[...] = x
    np.testing.assert_array_equal(plan(spread), expected)
    held = np.full([size * abs(gap) for size, gap in zip(expected.shape, gaps, strict=True)], 7, x.dtype)
    out = held[tuple(slice(None, None, gap) for gap in gaps)]
    assert plan(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    out[...] = 7
    assert (held == 7).all()
    assert always


def test_threads_change_nothing(always):
    x, w = channels_last(noise((5, 8, 40, 40)), 2), noise((24, 8, 3, 3))
    one, two = (cyconv.plan_conv2d(w, layout="NHWC", num_threads=threads)(x) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert always


def test_it_is_for_few_channels():
    """Layers of several vectors of channels are computed as they lie, groups of half a long vector are not."""
    keywords = {"padding": 1, "layout": "NHWC", "algorithm": "direct"}
    few = cyconv.plan_conv2d(noise((64, 8, 3, 3)), groups=8, **keywords)
    many = cyconv.plan_conv2d(noise((64, 64, 3, 3)), **keywords)
    shape, planes = (1, 56, 56, 64), 2 * 64 * 56 * 56 * 4
    assert many.explain(shape).workspace < planes
    if _runtime.VECTOR_BYTES == 64:
        assert few.explain(shape).workspace >= planes


def test_a_limit_on_scratch_memory_is_kept():
    x, w = channels_last(noise((1, 64, 56, 56)), 2), noise((64, 8, 3, 3))
    plan = cyconv.plan_conv2d(w, padding=1, groups=8, layout="NHWC", workspace_limit=1 << 20)
    assert plan.explain(x.shape).workspace <= 1 << 20
    np.testing.assert_allclose(plan(x), cyconv.conv2d(x, w, padding=1, groups=8, layout="NHWC"), rtol=1e-4, atol=1e-4)
