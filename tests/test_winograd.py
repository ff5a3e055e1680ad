"""Winograd convolution: within its error bound in every form, exact about NaN and infinity, the same for any blocks.

The bound.  One axis computes y = A^T [(G w) * (B^T x)]; nested over two axes and summed over n channels and direct
taps, every rounding of that chain hits a sum whose moduli are at most

    |A|^T [sum (|G| |w| |G|^T) * (|B|^T |x| |B|)] |A|.

A value passes through at most ``a`` operations per axis in each transform (the even and odd halves need fewer), one
rounding of the transformed weight, n products and sums, the bias and an operation per axis and transform for the
products with p: so gamma(n + 4 a + 8) times that sum (Higham, section 3.1, as in ``oracle.py``; Barabasz et al., ACM
TOMS 46 (4), 2020, section 3, derive it with the constants of each step). Fresh weights pass through r operations per
axis, and the values are multiplied by a rounded scale: 2 r + 1 in the place of one rounding.
"""

import importlib
from fractions import Fraction
from itertools import product
from math import ceil, prod

import numpy as np
import oracle
import pytest
from calls import noise
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from cyconv import _runtime
from cyconv._plans import table, winograd_blocks, winograd_forms
from cyconv._plans.arrays import run_convolution, triple
from cyconv._plans.dense import Dense
from cyconv._plans.spec import Activation, Call, ConvSpec
from cyconv._plans.winograd import Winograd
from cyconv._plans.winograd_forms import Form
from cyconv._plans.winograd_points import PAIRS, numbers

PLANAR = [Form(m, r, True, True) for m, r in table.WINOGRAD_PLANAR]
LINEAR = [Form(m, r, high, not high) for m, r in table.WINOGRAD_LINEAR for high in (False, True)]
STRIDED = [Form(m, r, True, True, 2) for m, r in table.WINOGRAD_STRIDED]
FRESH = [Form(m, r, True, True, fresh=True) for m, r in table.WINOGRAD_FRESH]
FORMS = [*PLANAR, *LINEAR, *STRIDED, *FRESH]
#: with every dilation that they know
DILATED = [(form, dilation) for form in FORMS for dilation in (1, 2) if dilation == 1 or form in PLANAR + LINEAR]

#: kernels and strides that fall into sections, which a form transforms
SECTIONED = [
    (Form(4, 4, True, True), (7, 7), (2, 2)),
    (Form(5, 4, True, True), (7, 8), (1, 2)),
    (Form(6, 3, True, True), (9, 5), (1, 1)),
    (Form(5, 3, True, True), (11, 9), (4, 3)),
    (Form(5, 2, True, True), (3, 4), (2, 2)),
    (Form(4, 5, False, True), (2, 9), (3, 2)),
    (Form(4, 7, True, False), (13, 3), (2, 1)),
]


def name_of(form):
    if not isinstance(form, Form):
        return str(form)
    more = "high" * form.high + "wide" * form.wide + "/2" * (form.stride == 2) + "fresh" * form.fresh
    return f"F({form.m},{form.r}){more}"


def channels_of(form, few):
    """A few, or as many as fill half a vector of any build, which a stride and fresh weights ask for."""
    return few if form.stride == 1 and not form.fresh else 17


@pytest.fixture
def only(monkeypatch):
    """Leave one form to choose from, or one box."""

    def restrict(form=None, box=None, build=None):
        monkeypatch.setattr(winograd_blocks, "blocks_for", winograd_blocks.blocks_for.__wrapped__)
        if form is not None:
            monkeypatch.setattr(winograd_blocks, "allowed_forms", lambda spec: (form,))
        if box is not None:
            monkeypatch.setattr(winograd_blocks, "_boxes", lambda grid, most: [box(grid)])
        if build is not None:
            monkeypatch.setattr(_runtime, "kernel", lambda family, dtype: kernel_of(build, family, dtype))

    return restrict


def kernel_of(build, family, dtype):
    scalar = {"float32": "f32", "float64": "f64"}[np.dtype(dtype).name]
    return importlib.import_module(f"cyconv._kernels.{family}_{scalar}_{build}")


def spec_of(x, w, *, dilation=1, groups=1, stride=1, padding_mode="zeros", activation=None):
    return ConvSpec(
        in_channels=x.shape[1],
        out_channels=w.shape[0],
        kernel=triple(w.shape[2:]),
        stride=triple(oracle.per_axis(stride, x.ndim - 2)),
        dilation=triple(oracle.per_axis(dilation, x.ndim - 2)),
        groups=groups,
        padding_mode=padding_mode,
        activation=activation or Activation(),
        dtype=x.dtype,
    )


def convolve(x, w, b=None, *, padding=0, threads=1, kind=Winograd, channels_last=False, **keywords):
    """The plan's class on arrays (N, C, *spatial), without the public function in between."""
    spec = spec_of(x, w, **keywords)
    naxes = x.ndim - 2
    dilation, stride = oracle.per_axis(keywords.get("dilation", 1), naxes), spec.stride[3 - naxes :]
    pads = oracle.pads(padding, x.shape[2:], w.shape[2:], stride, dilation)
    size = [
        (h + p0 + p1 - d * (k - 1) - 1) // s + 1
        for h, (p0, p1), d, k, s in zip(x.shape[2:], pads, dilation, w.shape[2:], stride, strict=True)
    ]
    shape = (x.shape[0], *size, w.shape[0]) if channels_last else (x.shape[0], w.shape[0], *size)
    out = np.full(shape, 77, x.dtype)
    if channels_last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    view = np.moveaxis(out, -1, 1) if channels_last else out
    run_convolution(kind(spec, w.reshape(*w.shape[:2], *spec.kernel), b), x, view, pads, threads)
    return np.ascontiguousarray(view)


def weight_shape(form, k, c):
    return (k, c, form.r if form.high else 1, form.r if form.wide else 1)


# ---------------------------------------------------------------- points and matrices


def exact_matrices(form):
    """A, B and G in rational numbers, straight from the definition; frequencies are the first index of each.

    At a stride of 2, even cells meet even taps, odd cells the one odd tap: two convolutions with a stride of 1.
    """
    if form.stride == 1:
        return cook_toom(form.m, form.r)
    parts = cook_toom(form.m, (form.r + 1) // 2), cook_toom(form.m, form.r // 2)
    a = [row for part in parts for row in part[0]]
    b, g = (
        [
            [row[j // 2] if j % 2 == odd else Fraction(0) for j in range(width)]
            for odd, part in enumerate(parts)
            for row in part[which]
        ]
        for which, width in ((1, form.points), (2, form.r))
    )
    return a, b, g


def cook_toom(m, r):
    """F(m, r) by Cook and Toom; one tap is a product for each result."""
    if r == 1:
        one = [[Fraction(int(i == j)) for j in range(m)] for i in range(m)]
        return one, one, [[Fraction(1)]] * m
    pairs = [Fraction(p) for p in PAIRS[m + r - 1]]
    points = ([] if (m + r) % 2 == 0 else [Fraction(0)]) + [s * p for p in pairs for s in (1, -1)]
    b = [[*poly([q for q in points if q != p]), Fraction(0)] for p in points] + [poly(points)]
    g = [[p**j / prod(p - q for q in points if q != p) for j in range(r)] for p in points]
    a = [[p**i for i in range(m)] for p in points]
    return (
        [*a, [Fraction(0)] * (m - 1) + [Fraction(1)]],
        b,
        [*g, [Fraction(0)] * (r - 1) + [Fraction(1)]],
    )


def poly(roots):
    """Coefficients of the product of (x - root), constant first."""
    found = [Fraction(1)]
    for root in roots:
        found = [low - root * high for low, high in zip([0, *found], [*found, 0], strict=True)]
    return found


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_the_identity_holds_in_rational_numbers(form):
    """y = A^T [(G w) * (B^T d)] for every unit vector w and d: so for all."""
    m, r, a = form.m, form.r, form.points
    am, bm, gm = exact_matrices(form)
    for tap in range(r):
        for cell in range(a):
            y = [sum(am[f][i] * gm[f][tap] * bm[f][cell] for f in range(a)) for i in range(m)]
            assert y == [int(cell == i * form.stride + tap) for i in range(m)]


@pytest.mark.parametrize("form", FORMS, ids=name_of)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_numbers_are_those_of_the_exact_matrices(form, kind):
    """What the kernel gets: entries of A and B exactly, in either type; G rounded once. Odd cells have no numbers."""
    known = numbers(form.m, form.r, form.stride)
    np.testing.assert_array_equal(known.weights, np.array(exact_matrices(form)[2], float))
    taps = ceil(form.r / form.stride)
    am, bm, _ = cook_toom(form.m, taps)
    points = form.m + taps - 1
    pairs = PAIRS[points]
    n, z = len(pairs), 1 - points % 2
    inputs = [Fraction(float(v)) for v in known.inputs.astype(kind)]
    assert inputs[:n] == bm[-1][z : z + 2 * n : 2]
    assert inputs[n : 2 * n] == [Fraction(p) for p in pairs]
    for i in range(n):
        row = bm[z + 2 * i]  # x^z (x + p) Q(x): every second coefficient is one of Q
        assert inputs[2 * n + i * (n - 1) : 2 * n + (i + 1) * (n - 1)] == row[z + 1 : z + 2 * n - 1 : 2]
    outputs = [Fraction(float(v)) for v in known.outputs.astype(kind)]
    assert outputs == [am[z + 2 * j][i] for i in range(form.m) for j in range(n)]


# ---------------------------------------------------------------- error


def derived_bound(x, w, form, padding=0, dilation=1):
    """The bound of the head of this file, for x (N, C, H, W) and one tap on an axis that is not transformed."""
    am, bm, gm = (np.abs(np.array(v, float)) for v in exact_matrices(form))
    identity = np.ones((1, 1))
    a = [am if t else identity for t in (form.high, form.wide)]
    b = [bm if t else identity for t in (form.high, form.wide)]
    g = [gm if t else identity for t in (form.high, form.wide)]
    x = np.pad(np.abs(x.astype(float)), ((0, 0), (0, 0), *oracle.pads(padding, x.shape[2:], (), (), ())))
    weights = np.einsum("fr,gs,kcrs->fgkc", g[0], g[1], np.abs(w.astype(float)))
    sides = [len(v) for v in b]
    spans = [dilation * (s - 1) + 1 for s in sides]
    steps = [v.shape[1] for v in a]
    out = [(h - dilation * (k - 1) - 1) // form.stride + 1 for h, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    bound = np.zeros((len(x), len(w), *(o + dilation * t for o, t in zip(out, steps, strict=True))))
    x = np.pad(x, ((0, 0), (0, 0), (0, spans[0]), (0, spans[1])))
    windows = sliding_window_view(x, spans, axis=(2, 3))[..., ::dilation, ::dilation]
    for h0, w0 in np.ndindex(*out):
        if h0 // dilation % steps[0] or w0 // dilation % steps[1]:
            continue
        values = np.einsum("fr,gs,ncrs->fgnc", b[0], b[1], windows[:, :, h0 * form.stride, w0 * form.stride])
        products = np.einsum("fgkc,fgnc->nkfg", weights, values)
        tile = np.einsum("fi,gj,nkfg->nkij", a[0], a[1], products)
        bound[:, :, h0 : h0 + dilation * steps[0] : dilation, w0 : w0 + dilation * steps[1] : dilation] = tile
    roundings = w.shape[1] + 4 * form.points + 8 + (2 * form.r if form.fresh else 0)
    return oracle.gamma(roundings, oracle.unit_roundoff(w.dtype)) * bound[:, :, : out[0], : out[1]]


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("form", "dilation"), DILATED, ids=name_of)
def test_every_form_is_within_its_derived_bound(only, form, dilation, kind):
    only(form)
    c = channels_of(form, 5)
    x, w = noise((2, c, 19, 22), kind), noise(weight_shape(form, 18, c), kind)
    y = convolve(x, w, padding=1, dilation=dilation, stride=form.stride)
    value = oracle.convolution(x, w, padding=1, dilation=dilation, stride=form.stride).value
    oracle.assert_close(y, oracle.Expected(value, derived_bound(x, w, form, 1, dilation)))


def in_sections(x, w, form, stride):
    """Arrays whose convolution is that of ``x`` and ``w``, and its stride: sections of the kernel are channels, each
    of every ``stride``-th cell. By slices, and not by the tables of the plan."""
    axes = []
    rest = [1 if t else s for t, s in zip((form.high, form.wide), stride, strict=True)]
    for i, transformed in enumerate((form.high, form.wide)):
        taps = w.shape[2 + i]
        results = (x.shape[2 + i] - taps) // stride[i] + 1
        r, step = (form.r, stride[i]) if transformed else (1, 1)
        firsts = [first for at in range(0, taps, r * step) for first in range(at, min(at + step, taps))]
        axes.append([(slice(first, None, step), (results - 1) * rest[i] + r, r) for first in firsts])
    room = [(0, 0), (0, 0), (0, 30), (0, 30)]
    x, w = np.pad(x, room), np.pad(w, room)
    cells = [x[:, :, h, v][:, :, :tall, :wide] for (h, tall, _), (v, wide, _) in product(*axes)]
    taps = [w[:, :, h, v][:, :, :tall, :wide] for (h, _, tall), (v, _, wide) in product(*axes)]
    return np.concatenate(cells, 1), np.concatenate(taps, 1), rest


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("c", [3, 17])
@pytest.mark.parametrize(("form", "kernel", "stride"), SECTIONED, ids=name_of)
def test_sections_are_within_their_derived_bound(only, form, kernel, stride, c, kind):
    only(form)
    x, w = noise((2, c, 41, 38), kind), noise((18, c, *kernel), kind)
    y = convolve(x, w, stride=stride)
    value = oracle.convolution(x, w, stride=stride).value
    cells, taps, rest = in_sections(x, w, form, stride)
    np.testing.assert_allclose(oracle.convolution(cells, taps, stride=rest).value, value, 1e-9, 1e-9)
    bound = derived_bound(cells, taps, form)[:, :, :: rest[0], :: rest[1]]
    oracle.assert_close(y, oracle.Expected(value, bound))


@given(st.data())
def test_sections_hold_every_tap_once(data):
    kernel, stride = ([data.draw(st.integers(1, n)) for _ in range(2)] for n in (13, 4))
    x = np.broadcast_to(np.float32(0), (1, 16, 20, 20))
    spec = spec_of(x, np.broadcast_to(x[0, 0, 0, 0], (16, 16, *kernel)), stride=stride)
    for form in winograd_forms.forms(spec):
        for axis in (0, 1, 2):
            sections = winograd_forms.sections(spec, form, axis)
            r = form.r if winograd_forms.is_transformed(form, axis) else 1
            assert sorted(t for cells in sections for t in cells[:r] if t < spec.kernel[axis]) == list(
                range(spec.kernel[axis])
            )
            step = spec.stride[axis] // form.stride
            assert all(cells.step == step for cells in sections if len(cells) > 1)
            assert max(cells.stop for cells in sections) == winograd_forms.cells_of(spec, form, axis)


@pytest.mark.parametrize(("kind", "limit"), [("float32", 1e-5), ("float64", 2e-14)])
@pytest.mark.parametrize("channels", [16, 64, 256, 512])
@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_the_error_that_is_stated(only, form, channels, kind, limit):
    """Normal data: below the limit in every form that the plan may choose, and near what the table says."""
    x, w = noise((1, channels, 14, 14), kind), noise(weight_shape(form, 8, channels), kind)
    allowed = winograd_blocks.allowed_forms(spec_of(x, w, stride=form.stride))
    only(form)
    keywords = {"padding": 1, "stride": form.stride}
    error = oracle.relative_l2(convolve(x, w, **keywords), oracle.correlate(x, w, **keywords))
    if form in allowed:
        assert error < limit
    planar = table.WINOGRAD_STRIDED if form.stride == 2 else table.WINOGRAD_PLANAR
    planar = table.WINOGRAD_FRESH if form.fresh else planar
    table_says = (planar if form.planar else table.WINOGRAD_LINEAR)[form.m, form.r]
    if kind == "float32":
        assert 0.3 < error / (table_says * (channels / 64) ** 0.5) < 2


def test_inaccurate_forms_are_left_out():
    """F(6x6, 3x3) is for short sums alone; thousands of channels leave nothing but F(2x2) and F(4x4)."""
    known = {}
    for channels in (64, 512, 4096):
        x, w = noise((1, channels, 3, 3)), noise((1, channels, 3, 3))
        known[channels] = {form.m for form in winograd_blocks.allowed_forms(spec_of(x, w))}
    assert known[64] == {2, 4, 5, 6}
    assert 6 not in known[512]
    assert known[4096] <= {2, 4}


# ---------------------------------------------------------------- shapes, layouts, geometry


@settings(max_examples=120)
@given(st.data())
def test_any_shape(data):
    square = [(r, r) for r in (2, 3, 4, 5, 7, 11)]
    kernel = data.draw(st.sampled_from([*square, (1, 3), (3, 1), (4, 1), (1, 7), (7, 1), (3, 5), (5, 2), (9, 6)]))
    dilation = data.draw(st.sampled_from([1, 1, 2, 3]))
    groups = data.draw(st.sampled_from([1, 1, 2]))
    c, k = (data.draw(st.sampled_from([1, 3, 16, 17])) for _ in range(2))
    c, k = (16 + c, 16 + k) if groups > 1 else (c, k)
    size = [data.draw(st.integers(1, 40)) for _ in range(2)]
    padding = [
        (data.draw(st.integers(0, 3)), max(0, dilation * (r - 1) + 1 - h) + data.draw(st.integers(0, 5)))
        for h, r in zip(size, kernel, strict=True)
    ]
    n = data.draw(st.integers(1, 3))
    stride = [data.draw(st.sampled_from([1, 1, 2, 3])) if dilation == 1 else 1 for _ in range(2)]
    x, w = noise((n, groups * c, *size)), noise((groups * k, c, *kernel))
    b = noise((groups * k,)) if data.draw(st.booleans()) else None
    keywords = {"padding": padding, "dilation": dilation, "groups": groups, "stride": stride}
    assume(Winograd.supports(spec_of(x, w, dilation=dilation, groups=groups, stride=stride)) is None)
    y = convolve(
        x, w, b, threads=data.draw(st.integers(1, 3)), channels_last=data.draw(st.booleans()), **keywords
    )
    assert oracle.relative_l2(y, oracle.correlate(x, w, b, **keywords)) < 1e-5


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("c", "dilation", "stride"), [(6, 1, 1), (6, 2, 1), (17, 1, 1), (17, 1, 2)])
def test_padding_modes(mode, c, dilation, stride):
    x, w = noise((2, c, 15, 18)), noise((20, c, 3, 3))
    keywords = {"padding": [(2, 3), (1, 4)], "padding_mode": mode, "dilation": dilation, "stride": stride}
    assert oracle.relative_l2(convolve(x, w, **keywords), oracle.correlate(x, w, **keywords)) < 1e-5


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("c", [3, 17])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("form", "kernel", "stride"), SECTIONED, ids=name_of)
def test_padding_modes_of_sections(only, form, kernel, stride, channels_last, c, mode):
    only(form)
    x, w = noise((2, c, 25, 28)), noise((20, c, *kernel))
    keywords = {"padding": [(2, 3), (1, 4)], "padding_mode": mode, "stride": stride, "channels_last": channels_last}
    y = convolve(x, w, **keywords)
    del keywords["channels_last"]
    assert oracle.relative_l2(y, oracle.correlate(x, w, **keywords)) < 1e-5


@pytest.mark.parametrize("kernel", [(2, 3, 3), (3, 1, 5), (1, 3, 3), (3, 3, 1), (2, 7, 9)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 1)])
def test_three_axes(kernel, stride):
    """Depth is never transformed, so it may have any stride."""
    x, w = noise((2, 4, 7, 11, 13)), noise((17, 4, *kernel))
    y = convolve(x, w, padding=1, stride=stride)
    assert oracle.relative_l2(y, oracle.correlate(x, w, padding=1, stride=stride)) < 2e-6


def test_one_axis():
    x, w = noise((3, 8, 1001)), noise((12, 8, 7))
    assert oracle.relative_l2(convolve(x, w, padding=3), oracle.correlate(x, w, padding=3)) < 2e-6


@pytest.mark.parametrize("stride", [(2, 1), (1, 2), (3, 1)])
def test_a_stride_leaves_the_other_axis(stride):
    x, w = noise((1, 8, 20, 21)), noise((16, 8, 3, 3))
    y = convolve(x, w, padding=1, stride=stride)
    assert oracle.relative_l2(y, oracle.correlate(x, w, padding=1, stride=stride)) < 2e-6


def test_dilation_beyond_the_image():
    """More phases than results, one of them each."""
    x, w = noise((1, 4, 9, 9)), noise((4, 4, 3, 3))
    keywords = {"padding": 2**20, "dilation": 2**20}
    assert oracle.relative_l2(convolve(x, w, **keywords), oracle.correlate(x, w[..., 1:2, 1:2])) < 2e-6


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (Activation("relu", slope=0.0), "relu"),
        (Activation("relu6", lo=0.0, hi=6.0), "relu6"),
        (Activation("leaky_relu", slope=0.25), ("leaky_relu", 0.25)),
        (Activation("silu", silu=True), "silu"),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_activations(activation, name, channels_last):
    x, w, b = noise((1, 16, 12, 13)), noise((19, 16, 3, 3)), noise((19,))
    y = convolve(x, w, b, padding=1, activation=activation, channels_last=channels_last)
    value, stretch = oracle.activate(oracle.correlate(x, w, b, padding=1), name)
    assert np.linalg.norm(y - value) < 2e-6 * stretch * np.linalg.norm(oracle.correlate(x, w, b, padding=1))


# ---------------------------------------------------------------- threads, boxes, builds


BOXES = {
    "one tile": lambda grid: (1, 1, 1, 1),
    "five in a row": lambda grid: (1, 1, 1, min(5, grid[3])),
    "two rows": lambda grid: (1, 1, min(2, grid[2]), grid[3]),
    "two pictures": lambda grid: (min(2, grid[0]), *grid[1:]),
    "everything": lambda grid: grid,
}


@pytest.mark.parametrize(
    ("form", "kernel", "stride", "dilation"),
    [
        *((Form(m, 3, True, True), (3, 3), 1, dilation) for m, dilation in ((6, 1), (4, 2))),
        *((form, (3, 3), form.stride, 1) for form in (*STRIDED, *FRESH)),
        (Form(4, 5, True, True), (5, 5), 1, 1),
        (Form(4, 7, False, True), (1, 7), 1, 1),
        (Form(6, 3, True, False), (3, 1), 1, 2),
        *((*sectioned, 1) for sectioned in SECTIONED),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("c", [4, 21])
def test_boxes_and_threads_do_not_change_a_bit(monkeypatch, form, kernel, stride, dilation, c):
    c = channels_of(form, c)
    x, w, b = noise((3, c, 25, 23)), noise((70, c, *kernel)), noise((70,))
    x[1, 3, 7, 9] = np.nan
    keywords = {"padding": 1, "dilation": dilation, "stride": stride}
    monkeypatch.setattr(winograd_blocks, "blocks_for", winograd_blocks.blocks_for.__wrapped__)
    monkeypatch.setattr(winograd_blocks, "allowed_forms", lambda spec: (form,))
    results = [convolve(x, w, b, **keywords)]
    seconds = winograd_blocks._seconds

    def only_in(parts):
        return lambda *a: seconds(*a) if a[2] == parts else float("inf")

    for box in BOXES.values():
        for parts in (lambda threads: 0, lambda threads: 1, lambda threads: min(threads, 3)):
            for threads in (1, 2, 3, 7):
                wanted = parts(threads)
                monkeypatch.setattr(winograd_blocks, "_boxes", lambda grid, most, box=box: [box(grid)])
                monkeypatch.setattr(winograd_blocks, "_seconds", only_in(wanted))
                results.append(convolve(x, w, b, threads=threads, **keywords))
    for y in results[1:]:
        assert y.tobytes() == results[0].tobytes()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("form", [*PLANAR, *LINEAR], ids=name_of)
def test_vectors_of_channels_and_of_tiles_are_the_same_bits(only, monkeypatch, form, channels_last):
    only(form)
    x, w, b = noise((2, 21, 25, 23)), noise(weight_shape(form, 70, 21)), noise((70,))
    x[1, 3, 7, 9] = np.nan
    results = []
    for by_channels in (False, True):
        monkeypatch.setattr(winograd_blocks, "has_channel_vectors", lambda spec, form, by=by_channels: by)
        results.append(convolve(x, w, b, padding=1, threads=2, channels_last=channels_last))
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize(
    "shape", [(1, 64, 56, 56), (1, 512, 14, 14), (16, 32, 7, 7), (1, 128, 112, 112), (3, 48, 9, 31)]
)
def test_the_form_does_not_depend_on_the_threads(shape):
    """Forms do not round alike, and results are the same bits for any number of threads."""
    spec, call = call_of(shape, 96, 3, 1)
    assert len({winograd_blocks.blocks_for(spec, call, threads).form for threads in (1, 2, 3, 8, 64)}) == 1


@pytest.mark.parametrize("build", _runtime.AVAILABLE_BUILDS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("form", FRESH, ids=name_of)
def test_every_group_of_tiles_with_fresh_weights(only, build, kind, form):
    """Groups of every size, and several; parts of a vector of channels and of outputs; several chunks of channels."""
    only(form, box=lambda grid: grid, build=build)
    for tiles, channels, outputs in product(range(1, 10), (9, 33, 200), (5, 49)):
        x, w = noise((1, channels, 4, 4 * tiles), kind), noise((outputs, channels, 3, 3), kind)
        y = convolve(x, w, padding=1)
        assert oracle.relative_l2(y, oracle.correlate(x, w, padding=1)) < (4e-6 if kind == "float32" else 8e-15)


@pytest.mark.parametrize("build", _runtime.AVAILABLE_BUILDS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_every_build(only, build, kind, form):
    only(form, build=build)
    x, w, b = noise((2, 9, 21, 26), kind), noise(weight_shape(form, 37, 9), kind), noise((37,), kind)
    y = convolve(x, w, b, padding=1, stride=form.stride, threads=2)
    limit = 4e-6 if kind == "float32" else 8e-15
    assert oracle.relative_l2(y, oracle.correlate(x, w, b, padding=1, stride=form.stride)) < limit


@pytest.mark.parametrize("build", _runtime.AVAILABLE_BUILDS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("c", [1, 17])
@pytest.mark.parametrize(("form", "kernel", "stride"), SECTIONED, ids=name_of)
def test_sections_in_every_build(only, build, kind, form, kernel, stride, c):
    only(form, build=build)
    x, w, b = noise((2, c, 30, 41), kind), noise((37, c, *kernel), kind), noise((37,), kind)
    y = convolve(x, w, b, padding=1, stride=stride, threads=2)
    limit = 4e-6 if kind == "float32" else 8e-15
    assert oracle.relative_l2(y, oracle.correlate(x, w, b, padding=1, stride=stride)) < limit


def call_of(x_shape, k, r, pad, stride=1):
    n, c, h, w = x_shape
    weight = np.broadcast_to(np.float32(0), (k, c, r, r))
    spec = spec_of(np.broadcast_to(np.float32(0), x_shape), weight, stride=stride)
    out = (1, (h + 2 * pad - r) // stride + 1, (w + 2 * pad - r) // stride + 1)
    strides = (c * h * w, h * w, h * w, w, 1), (k * out[1] * out[2], out[1] * out[2], out[1] * out[2], out[2], 1)
    return spec, Call(n, (1, h, w), ((0, 0), (pad, pad), (pad, pad)), out, *strides)


@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize(("r", "stride"), [(2, 1), (3, 1), (4, 1), (5, 1), (7, 2), (11, 4), (9, 1)])
@pytest.mark.parametrize(
    "shape",
    [(1, 64, 56, 56), (1, 512, 14, 14), (1, 512, 7, 7), (64, 2048, 14, 14), (1, 3, 4000, 6000), (256, 16, 4, 4)],
)
def test_scratch_is_bounded(shape, r, stride, threads):
    spec, call = call_of(shape, 512, r, r // 2, stride)
    assert 0 < Winograd.workspace(spec, call, threads) <= 32 << 20
    assert 0 < Winograd.estimate(spec, call, threads) < 1e4


# ---------------------------------------------------------------- NaN, infinity, overflow


@pytest.mark.parametrize("few", [4, 17])
@pytest.mark.parametrize(("form", "dilation"), DILATED, ids=name_of)
def test_bad_cells_go_where_the_definition_sends_them(only, form, dilation, few):
    only(form)
    c = channels_of(form, few)
    x, w = noise((3, c, 30, 33)), noise(weight_shape(form, 18, c))
    x[0, 0, 5, 5], x[0, 1, 6, 7], x[1, 2, 29, 32], x[1, 0, 0, 0] = np.inf, -np.inf, np.inf, np.nan
    w[1] = 0
    keywords = {"padding": 2, "dilation": dilation, "stride": form.stride}
    y = convolve(x, w, threads=2, **keywords)
    direct = convolve(x, w, kind=Dense, **keywords)
    special = ~np.isfinite(direct)
    assert special.any()
    np.testing.assert_array_equal(y[special], direct[special])
    np.testing.assert_array_equal(np.isfinite(y), ~special)
    assert oracle.relative_l2(y[~special], direct[~special].astype(float)) < 1e-5


@pytest.mark.parametrize("c", [4, 17])
@pytest.mark.parametrize(("form", "kernel", "stride"), SECTIONED, ids=name_of)
def test_bad_cells_in_sections(only, form, kernel, stride, c):
    """Also those that only a zero behind the kernel meets."""
    only(form)
    x, w = noise((3, c, 40, 43)), noise((18, c, *kernel))
    x[0, 0, 5, 5], x[0, 1, 6, 7], x[1, 2, 29, 32], x[1, 0, 0, 0] = np.inf, -np.inf, np.inf, np.nan
    x[2, :, -1], x[2, :, :, -1] = np.nan, np.inf
    w[1] = 0
    y, direct = (convolve(x, w, threads=2, kind=kind, stride=stride) for kind in (Winograd, Dense))
    special = ~np.isfinite(direct)
    assert special.any()
    np.testing.assert_array_equal(y[special], direct[special])
    np.testing.assert_array_equal(np.isfinite(y), ~special)
    assert oracle.relative_l2(y[~special], direct[~special].astype(float)) < 1e-5


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_numbers_near_the_end_of_the_range(only, form):
    """Transforms overflow long before the sums do; those tiles are computed directly."""
    only(form)
    c = channels_of(form, 3)
    x, w = noise((2, c, 19, 22)), noise(weight_shape(form, 5, c)) / 40
    w[:, 3:] = 0
    x[0] *= np.float32(5e37)
    y = convolve(x, w, padding=1, stride=form.stride)
    value = oracle.correlate(x, w, padding=1, stride=form.stride)
    assert np.abs(value).max() < np.finfo(np.float32).max
    assert np.isfinite(y).all()
    for image in (0, 1):
        assert oracle.relative_l2(y[image] / 1e30, value[image] / 1e30) < 1e-5


def test_infinity_is_seen_behind_a_clip():
    """relu6 turns infinity into 6: what the neighbours get must not come from it."""
    x, w = noise((1, 4, 20, 20)), noise((17, 4, 3, 3))
    x[0, 0, 9, 9] = np.inf
    relu6 = Activation("relu6", lo=0.0, hi=6.0)
    y = convolve(x, w, padding=1, activation=relu6)
    direct = convolve(x, w, padding=1, activation=relu6, kind=Dense)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(direct))
    np.testing.assert_allclose(y, direct, rtol=0, atol=2e-4)


def test_images_do_not_touch_each_other():
    """A bad image in a batch changes no bit of the others."""
    x, w = noise((4, 8, 20, 20)), noise((16, 8, 3, 3))
    clean = convolve(x, w, padding=1)
    x[2] = np.nan
    y = convolve(x, w, padding=1)
    assert np.isnan(y[2]).all()
    for image in (0, 1, 3):
        assert y[image].tobytes() == clean[image].tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_weight_or_bias(value):
    x, w, b = noise((1, 8, 13, 14)), noise((17, 8, 3, 3)), noise((17,))
    b[3] = value
    finite = np.ones((1, 17, 11, 12), bool)
    finite[:, 3] = False
    np.testing.assert_array_equal(np.isfinite(convolve(x, w, b)), finite)
    b[3] = 0
    w[4, 0, 1, 1] = value
    direct = convolve(x, w, b, kind=Dense)
    np.testing.assert_array_equal(np.isfinite(convolve(x, w, b)), np.isfinite(direct))


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("x", "w", "keywords", "word"),
    [
        ((1, 4, 9, 9), (4, 4, 1, 1), {}, "kernel"),
        ((1, 4, 9, 9), (4, 4, 1, 2), {}, "kernel"),
        ((1, 1, 9, 9), (4, 1, 2, 2), {"stride": 2}, "stride"),
        ((1, 17, 9, 9), (4, 17, 3, 3), {"stride": 3}, "stride"),
        ((1, 17, 9, 9), (4, 17, 3, 3), {"stride": 2, "dilation": 2}, "stride"),
        ((1, 8, 9, 9), (8, 1, 3, 3), {"groups": 8}, "group"),
        ((1, 1, 99, 99), (1, 1, 99, 99), {}, "sections"),
    ],
    ids=str,
)
def test_what_it_cannot_do(x, w, keywords, word):
    reason = Winograd.supports(spec_of(noise(x), noise(w), **keywords))
    assert reason is not None
    assert word in reason


def test_too_many_channels_for_the_bound():
    x = np.broadcast_to(np.float32(0), (1, 10**6, 3, 3))
    reason = Winograd.supports(spec_of(x, np.broadcast_to(np.float32(0), (1, 10**6, 3, 3))))
    assert reason is not None
    assert "accuracy" in reason
