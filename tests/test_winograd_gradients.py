"""The weight gradient by Winograd's algorithm: within its error bound in every form, the same for any threads, exact
about NaN and infinity, and never more scratch memory than allowed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyconv import _runtime, grad
from cyconv._plans import gradients, table, winograd_gradients
from cyconv._plans.spec import Activation, Call, ConvSpec, contiguous_strides

FORMS = list(table.WINOGRAD_GRADIENT)
BOUND = {np.float32: 1e-5, np.float64: 2e-14}


def spec_of(inputs, outputs, r, dtype=np.float32, groups=1, mode="zeros", stride=1):
    return ConvSpec(
        inputs, outputs, (1, r, r), (1, stride, stride), (1, 1, 1), groups, mode, Activation(), np.dtype(dtype)
    )


def call_of(batch, spec, size, padding):
    height, width = ((n + 2 * padding - spec.kernel[1]) // spec.stride[1] + 1 for n in size)
    whole = (1, *size)
    return Call(
        batch, whole, ((0, 0), (padding, padding), (padding, padding)), (1, height, width),
        contiguous_strides(spec.in_channels, whole, False),
        contiguous_strides(spec.out_channels, (1, height, width), False),
    )  # fmt: skip


def draw(spec, call, last=False):
    """x and the gradient of a call, channels last in memory if asked for."""
    rng = np.random.default_rng(0)
    shapes = (spec.in_channels, *call.size), (spec.out_channels, *call.out)
    arrays = [rng.standard_normal((call.batch, *shape)).astype(spec.dtype) for shape in shapes]
    if last:
        arrays = [np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1) for array in arrays]
    return arrays


def computed(spec, call, x, g, threads=1):
    out = np.full((spec.out_channels, spec.depth), np.nan, spec.dtype)
    assert winograd_gradients.weight_gradient(spec, call, x, g, out, threads)
    return out


def expected(spec, call, x, g):
    """The definition in float64, tap by tap."""
    r, s, groups = spec.kernel[1], spec.stride[1], spec.groups
    modes = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    padded = np.pad(x[:, :, 0].astype(np.float64), ((0, 0), (0, 0), *call.pads[1:]), mode=modes[spec.padding_mode])
    grouped = g.astype(np.float64).reshape(call.batch, groups, spec.group_outputs, -1)
    value = np.empty((groups, spec.group_outputs, spec.group_inputs, r, r))
    for i, j in np.ndindex(r, r):
        seen = padded[:, :, i::s, j::s][:, :, : call.out[1], : call.out[2]]
        seen = seen.reshape(call.batch, groups, spec.group_inputs, -1)
        value[..., i, j] = np.einsum("ngkp,ngcp->gkc", grouped, seen)
    return value.reshape(spec.out_channels, -1)


def error(result, value):
    return np.linalg.norm(result - value) / np.linalg.norm(value)


@pytest.fixture
def only(monkeypatch):
    """Leave one form to choose from."""

    def restrict(form):
        monkeypatch.setattr(winograd_gradients, "blocks_for", winograd_gradients.blocks_for.__wrapped__)
        monkeypatch.setattr(winograd_gradients, "_forms", lambda spec: [form])

    return restrict


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "groups", "size", "padding", "mode"),
    [
        (1, 16, 16, 1, (9, 9), 1, "zeros"),
        (3, 21, 53, 1, (8, 37), 0, "zeros"),
        (2, 80, 36, 2, (13, 11), 3, "zeros"),
        (2, 33, 17, 1, (11, 12), 2, "reflect"),
        (2, 17, 100, 1, (9, 10), 3, "circular"),
        (5, 18, 20, 1, (16, 8), 2, "replicate"),
    ],
)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_stays_within_the_bound(
    only, form, batch, inputs, outputs, groups, size, padding, mode, last, dtype
):
    only(form)
    spec = spec_of(inputs, outputs, form[1], dtype, groups, mode, form[2])
    call = call_of(batch, spec, size, padding)
    x, g = draw(spec, call, last)
    result = computed(spec, call, x, g)
    assert error(result, expected(spec, call, x, g)) < BOUND[dtype]
    for threads in (2, 5):
        np.testing.assert_array_equal(computed(spec, call, x, g, threads), result)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_many_tiles_in_many_boxes_do_not_lose_the_bound(only, form):
    only(form)
    spec = spec_of(32, 48, form[1], stride=form[2])
    call = call_of(8, spec, (56, 56), 1)
    x, g = draw(spec, call)
    assert error(computed(spec, call, x, g), expected(spec, call, x, g)) < BOUND[np.float32]


def test_it_serves_where_it_is_quicker_and_nowhere_else():
    chosen = []
    for spec, batch, size, padding in (
        (spec_of(64, 64, 3), 8, (28, 28), 1),
        (spec_of(64, 192, 5), 8, (27, 27), 2),
        (spec_of(256, 256, 3, stride=2), 8, (14, 14), 1),
        (spec_of(3, 64, 3), 8, (28, 28), 1),
        (spec_of(64, 64, 1), 8, (28, 28), 0),
        (spec_of(64, 64, 3, stride=3), 8, (28, 28), 1),
    ):
        call = call_of(batch, spec, size, padding)
        x, g = draw(spec, call)
        rows = [np.empty((spec.out_channels, spec.depth), np.float32) for _ in range(2)]
        gradients.direct_weight_gradient(spec, call, x, g, rows[0], 1)
        gradients.weight_gradient(spec, call, x, g, rows[1], 1)
        chosen.append(not np.array_equal(*rows))
    assert chosen == [True, True, True, False, False, False]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("where", ["x", "grad_output"])
@pytest.mark.parametrize(
    # places where a transform multiplies 3e38 by more than 1
    ("channels", "stride", "cell"), [(64, 1, (5, 6)), (256, 2, (3, 3))],
)  # fmt: skip
def test_what_is_not_finite_is_where_the_definition_puts_it(channels, stride, cell, value, where):
    """bad-input.md: the result is that of the direct path, which 3e38 leaves finite."""
    spec = spec_of(channels, channels, 3, stride=stride)
    call = call_of(8, spec, (14, 14), 1)
    x, g = draw(spec, call)
    if np.isfinite(value):
        x, g = (x * 1e-9, g) if where == "grad_output" else (x, g * 1e-9)
    changed = x if where == "x" else g
    changed[3, 7, 0, *cell] = value
    direct = np.empty((spec.out_channels, spec.depth), np.float32)
    gradients.direct_weight_gradient(spec, call, x, g, direct, 1)
    for threads in (1, 2):
        result = grad.conv2d_weight(
            x[:, :, 0], (channels, channels, 3, 3), g[:, :, 0], stride=stride, padding=1, num_threads=threads
        )
        np.testing.assert_array_equal(result.reshape(direct.shape), direct)
    assert np.isfinite(direct).all() == np.isfinite(value)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 64), st.sampled_from([16, 33, 64, 512, 2048]), st.sampled_from([16, 100, 512, 2048]),
    st.integers(3, 260), st.sampled_from([(3, 1), (5, 1), (7, 1), (3, 2)]), st.integers(1, 64),
    st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_scratch_is_bounded(batch, inputs, outputs, size, window, threads, dtype):
    r, stride = window
    spec = spec_of(inputs, outputs, r, dtype, stride=stride)
    call = call_of(batch, spec, (size, size), r // 2)
    blocks = winograd_gradients.blocks_for(spec, call, threads)
    assert blocks.scratch_bytes <= table.SCRATCH_BYTES
    assert 1 <= blocks.threads <= threads


def test_short_rows_of_images_are_read_within_their_memory():
    """Whole vectors never reach beyond the arrays: the same numbers at the end of a buffer of their own."""
    spec = spec_of(16, 16, 3)
    call = call_of(2, spec, (5, 7), 1)
    x, g = draw(spec, call)
    lanes = _runtime.kernel("winwgrad", spec.dtype).LANES
    surrounded = []
    for array in (x, g):
        wide = np.full(array.size + 2 * lanes, np.nan, np.float32)
        wide[lanes:-lanes] = array.ravel()
        surrounded.append(wide[lanes:-lanes].reshape(array.shape))
    np.testing.assert_array_equal(computed(spec, call, *surrounded), computed(spec, call, x, g))
