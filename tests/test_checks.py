"""The checking room: what passes, in which form it leaves, and what each message says."""

from __future__ import annotations

import array as stdlib_array
import itertools
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cyconv import _checks as checks

F16, F32, F64 = (np.dtype(t) for t in (np.float16, np.float32, np.float64))
BF16 = np.dtype(ml_dtypes.bfloat16)


# Numbers, flags and words.


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3), np.array(3, ">i4")])
def test_ints_pass_as_python_ints(value):
    assert checks.as_int("stride", value, minimum=1) == 3
    assert type(checks.as_int("stride", value, minimum=1)) is int
    assert checks.as_ints("stride", value, 3, minimum=1) == (3, 3, 3)
    assert checks.as_ints("stride", [value], 2, minimum=1) == (3, 3)


@pytest.mark.parametrize(
    "value", [True, np.True_, 3.0, np.float32(3), "3", b"3", None, 3j, np.array(3.0), np.array(True), [3], {}]
)
def test_what_is_no_int_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^stride must be an integer, got "):
        checks.as_int("stride", value, minimum=1)


@pytest.mark.parametrize(
    "value", [True, 2.0, "22", np.array([1.0, 2.0]), np.array([True, False]), [1, None], [[1, 2], [3]]]
)
def test_what_are_no_ints_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^stride must be an integer, got "):
        checks.as_ints("stride", value, 2, minimum=1)


def test_ranges_of_ints():
    with pytest.raises(ValueError, match=r"^stride must be at least 1, got 0$"):
        checks.as_int("stride", 0, minimum=1)
    with pytest.raises(ValueError, match=r"^groups must be at most 4, got 5$"):
        checks.as_int("groups", 5, minimum=1, maximum=4)
    with pytest.raises(ValueError, match=r"^stride must be at least 1, got -1$"):
        checks.as_ints("stride", (2, -1), 2, minimum=1)
    assert checks.as_int("padding", 2**100, minimum=0) == 2**100


@pytest.mark.parametrize("value", [(2, 3), [2, 3], np.array([2, 3]), iter([2, 3]), range(2, 4)])
def test_any_sequence_of_ints_passes(value):
    assert checks.as_ints("stride", value, 2, minimum=1) == (2, 3)


@pytest.mark.parametrize(("value", "naxes"), [((), 2), ((1, 2, 3), 2), ((1, 2), 3), ((1, 2), 1), ((), 1)])
def test_wrong_lengths_name_the_allowed_ones(value, naxes):
    allowed = "1 value" if naxes == 1 else f"1 or {naxes} values"
    with pytest.raises(ValueError, match=f"^stride must be an int or have {allowed}, got {len(value)}"):
        checks.as_ints("stride", value, naxes, minimum=1)


def test_flags():
    for value in (True, np.True_):
        assert checks.as_flag("ceil_mode", value) is True
    assert checks.as_flag("ceil_mode", np.False_) is False
    for bad in (0, 1, "False", None, [], np.array(True)):
        with pytest.raises(TypeError, match=r"^ceil_mode must be True or False, got "):
            checks.as_flag("ceil_mode", bad)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int16(2)])
def test_reals_pass_as_floats(value):
    assert checks.as_real("norm_type", value) == 2.0
    assert type(checks.as_real("norm_type", value)) is float
    assert checks.as_real("norm_type", math.inf) == math.inf


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (True, TypeError),
        ("2", TypeError),
        (None, TypeError),
        (2j, TypeError),
        (np.array([2.0]), TypeError),
        (np.True_, TypeError),
        (math.nan, ValueError),
        (np.float32("nan"), ValueError),
        (10**400, ValueError),
    ],
)
def test_what_is_no_real_number(value, error):
    with pytest.raises(error, match=r"^norm_type must "):
        checks.as_real("norm_type", value)


def test_reals_that_must_be_finite():
    with pytest.raises(ValueError, match="slope must be finite, got inf"):
        checks.as_real("slope", math.inf, finite=True)


def test_choices():
    assert checks.check_choice("mode", "full", ("full", "same")) == "full"
    with pytest.raises(ValueError, match=r"mode must be one of \('full', 'same'\), got 'some'"):
        checks.check_choice("mode", "some", ("full", "same"))
    for bad in (None, 1, b"full", ["full"]):
        with pytest.raises(TypeError, match=r"mode must be one of \('full', 'same'\), got .* of type"):
            checks.check_choice("mode", bad, iter(("full", "same")))


def test_threads_and_workspace():
    assert checks.check_threads(None) is None
    assert checks.check_threads(np.int64(3)) == 3
    assert checks.check_workspace_limit(None) is None
    assert checks.check_workspace_limit(0) == 0
    with pytest.raises(ValueError, match="num_threads must be at least 1, got 0"):
        checks.check_threads(0)
    with pytest.raises(ValueError, match="workspace_limit must be at least 0, got -1"):
        checks.check_workspace_limit(-1)
    for bad in (True, 1.5, "2"):
        with pytest.raises(TypeError, match="num_threads must be an integer"):
            checks.check_threads(bad)
        with pytest.raises(TypeError, match="workspace_limit must be an integer"):
            checks.check_workspace_limit(bad)


@pytest.mark.parametrize("shape", [(2**54, 1), (2**27, 2**27), (0, 1), (3, 0)])
def test_index_range_admits_what_memory_could_hold(shape):
    checks.check_index_range("padded input", shape, 4)


@pytest.mark.parametrize("shape", [(2**62,), (2**31, 2**31), (2**54, 2), (0, 2**62), (2**200, 1)])
def test_index_range_refuses_what_could_overflow(shape):
    with pytest.raises(ValueError, match=r"^padded input of shape .* is larger than 2\*\*56 bytes"):
        checks.check_index_range("padded input", shape, 4)


# Activations.


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (None, lambda v: v),
        ("relu", lambda v: np.maximum(v, 0)),
        ("relu6", lambda v: np.clip(v, 0, 6)),
        (("clip", -1, 2.5), lambda v: np.clip(v, -1, 2.5)),
        (["clip", np.float32(-1), math.inf], lambda v: np.maximum(v, -1)),
        (("leaky_relu", 0.25), lambda v: np.where(v < 0, v / 4, v)),
        (("leaky_relu", -2), lambda v: np.where(v < 0, -2 * v, v)),
        ("silu", lambda v: v / (1 + np.exp(-v))),
    ],
)
def test_activation_records_compute_the_function(activation, function):
    record = checks.parse_activation(activation)
    v = np.linspace(-9, 9, 73)
    bent = np.clip(np.where(v < 0, v * record.slope, v), record.lo, record.hi)
    result = bent / (1 + np.exp(-bent)) if record.silu else bent
    np.testing.assert_array_equal(result, function(v))
    named = activation if isinstance(activation, (str, type(None))) else activation[0]
    assert record.kind == (named or "none")


@pytest.mark.parametrize(
    ("activation", "error", "match"),
    [
        ("tanh", ValueError, "activation must be None, .*got 'tanh'"),
        ("clip", ValueError, "activation must be"),
        (("clip", 1), ValueError, r"activation must be .*got \('clip', 1\)"),
        (("clip", 1, 0), ValueError, "needs lo <= hi, got lo 1.0 and hi 0.0"),
        (("clip", math.nan, 0), ValueError, "lo of activation 'clip' must be a number, got nan"),
        (("clip", 0, math.nan), ValueError, "hi of activation 'clip' must be a number"),
        (("clip", 0, None), TypeError, "hi of activation 'clip' must be a real number, got None"),
        (("leaky_relu", math.nan), ValueError, "slope of activation 'leaky_relu' must be finite"),
        (("leaky_relu", math.inf), ValueError, "slope of activation 'leaky_relu' must be finite, got inf"),
        (("leaky_relu", "a"), TypeError, "slope of activation 'leaky_relu' must be a real number"),
        (("relu",), ValueError, "activation must be"),
        ((), ValueError, "activation must be"),
        (1, TypeError, "activation must be .* got 1 of type int"),
        (np.tanh, TypeError, "activation must be .* of type ufunc"),
    ],
)
def test_bad_activations(activation, error, match):
    with pytest.raises(error, match=match):
        checks.parse_activation(activation)


# Arrays in.


class Subclass(np.ndarray):
    """A subclass whose own behaviour must not leak into kernels."""


class OnlyDLPack:
    """What a library without NumPy support exports."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


def in_record(array, offset=1):
    """Copy `array` to a field of packed records: misaligned, with a step that is no multiple of its size."""
    kind = np.dtype(
        {"names": ["v"], "formats": [array.dtype], "offsets": [offset], "itemsize": array.itemsize + offset}
    )
    records = np.zeros(array.shape, kind)
    records["v"] = array
    return records["v"]


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a,
        lambda a: a.view(Subclass),
        read_only,
        lambda a: a[::-1, ::2],
        lambda a: a.T,
        lambda a: np.broadcast_to(a[:1], (5, a.shape[1])),
        memoryview,
        OnlyDLPack,
        lambda a: OnlyDLPack(a[:, 1:3]),
    ],
)
def test_what_numpy_can_view_is_not_copied(make):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    given_array = make(base)
    result = checks.as_array("x", given_array)
    assert type(result) is np.ndarray
    assert result.flags.aligned
    assert np.shares_memory(result, base)
    if isinstance(given_array, np.ndarray):
        assert result.strides == given_array.strides
        np.testing.assert_array_equal(result, np.array(given_array))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", ">f2", ">c16", ">i4", "u1", "?", "c8", "g", BF16])
def test_dtypes_arrive_in_native_order(dtype):
    base = np.arange(6).reshape(2, 3).astype(dtype)
    result = checks.as_array("x", base)
    assert result.dtype.isnative
    assert result.dtype == base.dtype.newbyteorder("=")
    np.testing.assert_array_equal(result, base)
    assert np.shares_memory(result, base) == base.dtype.isnative


@pytest.mark.parametrize("dtype", [F16, F32, F64, np.dtype(np.int32), np.dtype(np.complex128)])
@pytest.mark.parametrize("offset", [1, 4, 8])
def test_records_arrive_with_whole_steps(dtype, offset):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    result = checks.as_array("x", in_record(values, offset))
    assert result.flags.aligned
    assert all(step % dtype.itemsize == 0 for step in result.strides)
    np.testing.assert_array_equal(result, values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], np.array([[1.0, 2.0], [3.0, 4.0]])),
        (((1, 2), (3, 4)), np.array([[1, 2], [3, 4]])),
        (stdlib_array.array("f", [1, 2]), np.array([1, 2], np.float32)),
        (2.5, np.array(2.5)),
        (np.float32(2), np.array(2, np.float32)),
        ([], np.array([])),
    ],
)
def test_array_likes(value, expected):
    result = checks.as_array("x", value)
    np.testing.assert_array_equal(result, expected, strict=True)


class Broken:
    """Refuses to be exported, as tensors on a device do."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("not on this device")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "x must hold numbers, got dtype object"),
        ("text", "x must hold numbers, got dtype <U4"),
        (np.array([b"a"]), "x must hold numbers, got dtype"),
        (np.array([object()]), "x must hold numbers, got dtype object"),
        (np.zeros(3, "i4,f4"), "x must hold numbers, got dtype"),
        (np.zeros(3, "M8[s]"), "x must hold numbers, got dtype datetime64"),
        (np.zeros(3, "m8[s]"), "x must hold numbers, got dtype timedelta64"),
        (np.zeros(3, ml_dtypes.float8_e4m3fn), "x must hold numbers, got dtype float8_e4m3fn"),
        ([[1.0, 2.0], [3.0]], r"x cannot be read as an array of numbers \(list\)"),
        ({1: 2}, "x must hold numbers, got dtype object"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), r"x is a masked array.*x\.filled\(value\)"),
        (np.ma.array([1.0, 2.0]), "x is a masked array"),
        (Broken(), r"x cannot be read as an array of numbers \(Broken\): not on this device"),
    ],
)
def test_what_is_no_array_of_numbers(value, match):
    with pytest.raises(TypeError, match=match):
        checks.as_array("x", value)


# Images.

LAYOUTS = [(1, "NCHW"), (1, "NCW"), (1, "NHWC"), (1, "NWC"), (2, "NCHW"), (2, "NHWC")] + [
    (3, layout) for layout in ("NCHW", "NCDHW", "NHWC", "NDHWC")
]


@pytest.mark.parametrize(("naxes", "layout"), LAYOUTS)
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_images_are_views_with_batch_and_channels_first(naxes, layout, extra):
    n, c, spatial = 2, 3, (5, 6, 7)[:naxes]
    first = np.arange(n * c * math.prod(spatial), dtype=np.float32).reshape(n, c, *spatial)
    first = first[:, :1] if extra == 0 else first
    first = first if extra == 2 else first[:1]
    mine = np.moveaxis(first, 1, -1) if layout.endswith("C") else first
    mine = {0: lambda: first[0, 0], 1: lambda: mine[0], 2: lambda: mine}[extra]()
    image = checks.as_image("x", mine, naxes, layout)
    np.testing.assert_array_equal(image.array, first, strict=True)
    assert np.shares_memory(image.array, mine)
    assert image.channels_last == layout.endswith("C")
    assert image.rank == ("spatial", "channels", "batch")[extra]

    k, out = (1 if extra == 0 else 4), (4, 3, 2)[:naxes]
    shape = image.result_shape(k, out)
    assert len(shape) == mine.ndim
    result = np.zeros(shape)
    view = image.result_view(result)
    assert view.shape == (first.shape[0], k, *out)
    assert np.shares_memory(view, result)
    view[...] = np.arange(view.size).reshape(view.shape)
    if extra:
        at = (*(0,) * naxes, k - 1) if image.channels_last else (k - 1, *(0,) * naxes)
        assert result[(0, *at) if extra == 2 else at] == view[(0, k - 1) + (0,) * naxes]


@given(hnp.array_shapes(min_dims=1, max_dims=7, min_side=0, max_side=3), st.sampled_from(LAYOUTS))
def test_any_rank_is_read_or_refused(shape, case):
    naxes, layout = case
    x = np.zeros(shape, np.float32)
    if naxes <= len(shape) <= naxes + 2:
        assert checks.as_image("x", x, naxes, layout).array.size == x.size
    else:
        with pytest.raises(ValueError, match=r"^x must have shape \(.*W\), \(.*\) or \(N, .* got shape \("):
            checks.as_image("x", x, naxes, layout)


def test_an_image_without_channels_needs_one_output_channel():
    image = checks.as_image("x", np.zeros((4, 5)), 2, "NCHW")
    with pytest.raises(ValueError, match="needs a weight with K = 1, got K = 2"):
        image.result_shape(2, (3, 4))


@pytest.mark.parametrize(
    ("naxes", "layout", "error"),
    [
        (1, "NCDHW", ValueError),
        (2, "NWC", ValueError),
        (2, "NDHWC", ValueError),
        (3, "NCW", ValueError),
        (2, "nchw", ValueError),
        (2, "", ValueError),
        (2, None, TypeError),
        (2, ["NCHW"], TypeError),
    ],
)
def test_bad_layouts_list_the_allowed_ones(naxes, layout, error):
    with pytest.raises(error, match=r"layout must be one of \('NCHW', .*'NHWC'.*\), got "):
        checks.as_image("x", np.zeros((2,) * (naxes + 2)), naxes, layout)


# Bias and dtypes.


def test_bias_forms():
    assert checks.as_bias(None, 3, F32) is None
    for value, dtype in (
        (1, F32),
        (0.1, F32),
        (0.1, F64),
        (np.float64(0.1), F64),
        (math.nan, F32),
        (1e300, F32),
    ):
        weak = F32 if isinstance(value, np.float64) else dtype
        bias = checks.as_bias(value, 3, weak)
        assert bias.shape == (3,)
        assert bias.dtype == dtype
    vector = np.arange(3, dtype=np.float32)
    assert checks.as_bias(vector, 3, F64) is vector
    assert checks.as_bias(np.float32(1), 0, F32).shape == (0,)
    assert checks.as_bias([1.0, 2.0], 2, F32).dtype == F64


@pytest.mark.parametrize(
    ("bias", "error", "match"),
    [
        (np.zeros(2), ValueError, r"bias must be a scalar or have shape \(K,\) = \(3,\), got shape \(2,\)"),
        (np.zeros((3, 1)), ValueError, "bias must be a scalar or have shape"),
        (np.zeros(1), ValueError, "bias must be a scalar or have shape"),
        ("a", TypeError, "bias must hold numbers"),
        (10**400, ValueError, "bias must fit float32"),
    ],
)
def test_bad_bias(bias, error, match):
    with pytest.raises(error, match=match):
        checks.as_bias(bias, 3, F32)


@pytest.mark.parametrize(("a", "b"), list(itertools.product((F16, BF16, F32, F64), repeat=2)))
def test_mixed_floats_promote_as_numpy_does(a, b):
    compute, result = checks.float_dtypes(("x", np.zeros(2, a)), ("weight", np.zeros(2, b)))
    assert result == (F32 if {a, b} == {F16, BF16} else np.result_type(a, b))
    assert compute == (F64 if F64 in (a, b) else F32)
    assert checks.float_dtypes(("x", np.zeros(2, a)), ("w", np.zeros(2, b)), ("b", np.zeros(2)))[1] == F64


def test_one_dtype_is_kept():
    for dtype in (F16, BF16, F32, F64):
        arrays = [("x", np.zeros(2, dtype)), ("weight", np.zeros(0, dtype)), ("bias", np.zeros((), dtype))]
        assert checks.float_dtypes(*arrays) == (F64 if dtype == F64 else F32, dtype)


@pytest.mark.parametrize("name", ["x", "weight", "bias"])
@pytest.mark.parametrize(
    ("dtype", "fix"),
    [
        ("i4", r"\.astype\(np\.float32\)"),
        ("u1", r"\.astype\(np\.float32\)"),
        ("?", r"\.astype\(np\.float32\)"),
        ("c8", r"\.real and .*\.imag"),
        ("c16", r"\.real and"),
        ("g", r"\.astype\(np\.float64\)"),
    ],
)
def test_other_dtypes_name_the_fix(name, dtype, fix):
    arrays = {key: np.zeros(2, np.float32) for key in ("x", "weight", "bias")}
    arrays[name] = np.zeros(2, dtype)
    with pytest.raises(TypeError, match=f"^{name} must be .*got {np.dtype(dtype)}; .*{name}{fix}"):
        checks.float_dtypes(*arrays.items())


# Arrays out.


def test_no_out_gives_a_new_array():
    out, through = checks.check_out(None, [2, 3], F32, ())
    assert (out.shape, out.dtype, out.flags.c_contiguous, through) == ((2, 3), F32, True, False)
    with pytest.raises(ValueError, match=r"the result of shape .* larger than"):
        checks.check_out(None, (2**40, 2**40), F32, ())


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros((2, 3), np.float32),
        lambda: np.zeros((3, 2), np.float32).T,
        lambda: np.zeros((4, 9), np.float32)[::-2, ::3],
        lambda: np.zeros((2, 1, 3), np.float32)[:, 0, ::-1],
    ],
)
def test_any_strides_of_out_pass(make):
    out = make()
    array, through = checks.check_out(out, (2, 3), F32, (np.zeros(5, np.float32),))
    assert array is out
    assert not through


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        ([[0.0] * 3] * 2, TypeError, "out must be a numpy.ndarray, got list"),
        (np.ma.zeros((2, 3), np.float32), TypeError, "out must be a numpy.ndarray, got MaskedArray"),
        (np.zeros((2, 3)), TypeError, "out must have dtype float32 .*, got float64"),
        (
            np.zeros((2, 3), ">f4"),
            TypeError,
            r"out must have dtype float32 \(in native byte order\), got >f4",
        ),
        (np.zeros((3, 2), np.float32), ValueError, r"out must have shape \(2, 3\), got \(3, 2\)"),
        (np.zeros((1, 2, 3), np.float32), ValueError, r"out must have shape \(2, 3\), got \(1, 2, 3\)"),
        (read_only(np.zeros((2, 3), np.float32)), ValueError, "out must be writeable, got a read-only array"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), (2, 3), (0, 4)),
            ValueError,
            "overlap itself",
        ),
        (
            np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), (2, 3), (4, 4)),
            ValueError,
            "overlap itself",
        ),
        (
            np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), (2, 3), (8, 4)),
            ValueError,
            "overlap itself",
        ),
    ],
)
def test_bad_out(out, error, match):
    with pytest.raises(error, match=match):
        checks.check_out(out, (2, 3), F32, ())


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-6, 6)), min_size=1, max_size=3))
def test_an_out_that_passes_has_a_place_for_every_element(axes):
    shape, steps = tuple(n for n, _ in axes), tuple(s for _, s in axes)
    places = 100 + sum(np.ix_(*(s * np.arange(n) for n, s in axes)))  # 3 axes reach at most 3*3*6 from 100
    out = np.lib.stride_tricks.as_strided(np.arange(200.0)[100:], shape, tuple(8 * s for s in steps))
    np.testing.assert_array_equal(out, places)
    try:
        checks.check_out(out, shape, F64, ())
    except ValueError:
        return
    assert np.unique(places).size == places.size


@pytest.mark.parametrize("part", [np.s_[:], np.s_[1:], np.s_[::2], np.s_[::-1]])
def test_overlap_goes_through_a_temporary(part):
    buffer = np.arange(12, dtype=np.float32)
    x = buffer[:8]
    inputs = (np.zeros(3, np.float32), x[part])
    out, through = checks.check_out(buffer[2:10], (8,), F32, inputs)
    assert through

    def compute(target):
        assert not np.shares_memory(target, buffer)
        for i in range(8):
            target[i] = x[7 - i] * 10

    expected = x[::-1] * 10
    assert checks.run_into(out, through, compute) is out
    np.testing.assert_array_equal(out, expected)


def test_without_overlap_the_result_is_written_in_place():
    out = np.zeros(4, np.float32)
    assert not checks.check_out(out, (4,), F32, (np.ones(4, np.float32),))[1]
    assert checks.run_into(out, False, lambda target: target.fill(7)) is out
    assert out.tolist() == [7] * 4


@pytest.mark.parametrize(("dtype", "offset"), [(F32, 1), (np.dtype(np.complex128), 8)])
def test_an_out_in_records_is_written_through_a_plain_temporary(dtype, offset):
    out = in_record(np.zeros((2, 3), dtype), offset)
    array, through = checks.check_out(out, (2, 3), dtype, ())
    assert through

    def compute(target):
        assert target.flags.aligned
        assert target.flags.c_contiguous
        target[...] = np.arange(6).reshape(2, 3)

    checks.run_into(array, through, compute)
    assert out.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_failure_in_the_middle_leaves_an_overlapping_out_alone():
    x = np.arange(4, dtype=np.float32)
    out, through = checks.check_out(x, (4,), F32, (x,))

    def compute(target):
        target.fill(-1)
        raise MemoryError

    with pytest.raises(MemoryError):
        checks.run_into(out, through, compute)
    assert x.tolist() == [0, 1, 2, 3]
