"""`cyconv.signal` against `scipy.signal`: results, dtypes, shapes, exception types, and SciPy's own tests."""

import itertools

import hypothesis.strategies as st
import numpy as np
import oracle
import pytest
import scipy.signal
from hypothesis import example, given

import cyconv
from cyconv import signal

FUNCTIONS = ("correlate2d", "convolve2d")
MODES = ("full", "same", "valid")
BOUNDARIES = ("fill", "wrap", "symm")
INTEGERS = "bBhHiIlLqQ"
FLOATS = "fdgFDG"


def draw_array(rng, shape, char):
    """Values that overflow small integers and cancel in floats."""
    kind = np.dtype(char).kind
    values = rng.integers(0 if kind == "u" else -100, 120, shape).astype(char)
    if kind in "fc":
        values = (values + rng.standard_normal(shape)).astype(char)
    if kind == "c":
        values = (values + 1j * rng.standard_normal(shape)).astype(char)
    return values


def outcome(call):
    """A result, or the type of the exception."""
    try:
        return call()
    except Exception as error:
        return type(error)


def reach(in1, in2, fillvalue, dtype):
    """The bound of `oracle` for any output: taps * roundoff * largest |x| * sum |w|, both ways round.

    A complex product is two real ones and their sum: four times the real bound covers it, SciPy's rounding included.
    """
    u = float(np.finfo(dtype).eps) / 2
    small, large = sorted((in1, in2), key=lambda a: a.size)
    total = 0.0
    for w, x in ((small, large), (large, small)):
        top = max(float(np.abs(oracle.wide(x)).max(initial=0)), abs(fillvalue))
        total = max(total, oracle.gamma(2 * w.size + 2, u) * float(np.abs(oracle.wide(w)).sum()) * top)
    return 8 * total


def assert_like_scipy(name, in1, in2, mode, boundary, fillvalue=0, **how):
    expected = outcome(lambda: getattr(scipy.signal, name)(in1, in2, mode, boundary, fillvalue))
    actual = outcome(lambda: getattr(signal, name)(in1, in2, mode, boundary, fillvalue, **how))
    if isinstance(expected, type) or isinstance(actual, type):
        assert actual is expected
        return
    assert type(actual) is np.ndarray
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind in "iu":
        np.testing.assert_array_equal(actual, expected)
    else:
        error = np.abs(actual - expected).max(initial=0)
        assert error <= reach(np.asarray(in1), np.asarray(in2), fillvalue, actual.dtype)


# ------------------------------------------------------------------------------------------- against SciPy


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("char", INTEGERS + FLOATS)
def test_every_dtype_mode_and_boundary(name, mode, boundary, char):
    rng = np.random.default_rng(7)
    for size, taps in (((9, 37), (4, 3)), ((3, 2), (8, 17)), ((1, 1), (1, 1)), ((33, 70), (5, 5))):
        in1, in2 = draw_array(rng, size, char), draw_array(rng, taps, char)
        assert_like_scipy(name, in1, in2, mode, boundary)
        assert_like_scipy(name, in1, in2, mode, boundary, 3)


@pytest.mark.parametrize("pair", list(itertools.combinations("?bBhHiIlLqQefdgFDG", 2)), ids="".join)
def test_mixed_dtypes_promote_as_in_scipy(pair):
    rng = np.random.default_rng(8)
    first, second = draw_array(rng, (5, 6), pair[0]), draw_array(rng, (2, 3), pair[1])
    assert_like_scipy("correlate2d", first, second, "same", "symm")
    assert_like_scipy("convolve2d", second, first, "full", "fill", 1)


sizes = st.one_of(st.integers(1, 6), st.integers(14, 18), st.integers(30, 34), st.integers(62, 67))


@given(
    name=st.sampled_from(FUNCTIONS),
    size=st.tuples(sizes, sizes),
    taps=st.tuples(sizes, sizes),
    mode=st.sampled_from(MODES),
    boundary=st.sampled_from(BOUNDARIES),
    fillvalue=st.sampled_from((0, 0, 2)),
    chars=st.tuples(*[st.sampled_from("bHiQfdFD")] * 2),
    view=st.sampled_from(("plain", "reversed", "strided", "transposed", "broadcast", "big-endian", "read-only")),
)
@example("convolve2d", (3, 1), (3, 3), "same", "fill", 2, ("b", "F"), "plain")  # a result of one complex column
def test_random_cases(name, size, taps, mode, boundary, fillvalue, chars, view):
    rng = np.random.default_rng(9)
    in1, in2 = draw_array(rng, size, chars[0]), draw_array(rng, taps, chars[1])
    in1 = {
        "plain": lambda: in1,
        "reversed": lambda: in1[::-1, ::-1],
        "strided": lambda: np.repeat(np.repeat(in1, 2, 0), 3, 1)[::2, ::3],
        "transposed": lambda: np.asfortranarray(in1),
        "broadcast": lambda: np.broadcast_to(in1[:1], size),
        "big-endian": lambda: in1.astype(in1.dtype.newbyteorder(">")),
        "read-only": lambda: np.frombuffer(in1.tobytes(), in1.dtype).reshape(size),
    }[view]()
    before = in1.copy(), in2.copy()
    assert_like_scipy(name, in1, in2, mode, boundary, fillvalue)
    np.testing.assert_array_equal(in1, before[0])
    np.testing.assert_array_equal(in2, before[1])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("char", "hfD")
def test_kernels_many_times_larger_than_the_image(name, boundary, char):
    rng = np.random.default_rng(10)
    in1, in2 = draw_array(rng, (2, 3), char), draw_array(rng, (90, 140), char)
    assert_like_scipy(name, in1, in2, "full", boundary, 1)
    assert_like_scipy(name, in1, in2, "same", boundary, 1)


@pytest.mark.parametrize("char", "BhIlfd")
def test_images_of_many_boxes(char):
    """More than a box and more than a block of taps, in both directions."""
    rng = np.random.default_rng(11)
    in1, in2 = draw_array(rng, (70, 530), char), draw_array(rng, (67, 3), char)
    assert_like_scipy("correlate2d", in1, in2, "same", "symm")
    assert_like_scipy("convolve2d", in1, draw_array(rng, (2, 300), char), "full", "wrap")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("char", "ifdFD")
@pytest.mark.parametrize("taps", [(1, 2), (2, 1), (2, 2), (4, 2)])
def test_kernels_of_two_reach_past_one_end_only(name, boundary, char, taps):
    rng = np.random.default_rng(12)
    for size in ((4, 6), (5, 40), (40, 5)):
        in1, in2 = draw_array(rng, size, char), draw_array(rng, taps, char)
        assert_like_scipy(name, in1, in2, "same", boundary)
        assert_like_scipy(name, in1, in2, "same", boundary)  # again: small kernels are remembered


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("chars", ["ID", "dD", "fF", "Dd", "FF", "iG"])
@pytest.mark.parametrize("fillvalue", [2j, np.array(1 - 1j, "F"), 1 + 0j])
def test_complex_cells_around_the_image(name, chars, fillvalue):
    rng = np.random.default_rng(13)
    in1, in2 = draw_array(rng, (4, 7), chars[0]), draw_array(rng, (3, 2), chars[1])
    assert_like_scipy(name, in1, in2, "full", "fill", fillvalue)
    assert_like_scipy(name, in1[:0], in2, "full", "fill", fillvalue)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shapes", [
    ((0, 2), (2, 2)), ((2, 2), (0, 2)), ((2, 2), (0, 0)), ((0, 0), (0, 0)), ((0, 3), (0, 2)), ((3, 0), (2, 2)),
])  # fmt: skip
def test_empty_arrays_with_fill(name, mode, shapes):
    in1, in2 = np.zeros(shapes[0]), np.ones(shapes[1])
    assert_like_scipy(name, in1, in2, mode, "fill")
    assert_like_scipy(name, in1, in2, mode, "fill", 2)


@pytest.mark.parametrize("boundary", ["wrap", "symm"])
def test_empty_images_that_crash_scipy(boundary):
    with pytest.raises(ValueError, match="in1 must not be empty"):
        signal.correlate2d(np.zeros((0, 3)), np.ones((2, 2)), "full", boundary)
    assert signal.correlate2d(np.zeros((0, 3)), np.ones((2, 2)), "same", boundary).shape == (0, 3)


@pytest.mark.parametrize("fillvalue", [
    1.5, -1, 300, True, np.float64(1.5), np.int64(2), np.array(3), np.array([1.5], np.float32), [2], [[2]], 2**70, 1j,
    "a", [], [1, 2], object(),
], ids=lambda value: str(value) if type(value) is not object else "object")  # fmt: skip
@pytest.mark.parametrize("char", "Blfd")
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning", "ignore::RuntimeWarning")
def test_fill_values_are_cast_as_in_scipy(fillvalue, char):
    ones = np.ones((2, 2), char)
    expected = outcome(lambda: scipy.signal.correlate2d(ones, ones, fillvalue=fillvalue))
    actual = outcome(lambda: signal.correlate2d(ones, ones, fillvalue=fillvalue))
    if isinstance(expected, type):
        assert actual is expected
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("arguments", [
    ((3, 4), {}), (([3], [4]), {}), (([[[3]]], [[[4]]]), {}),
    (([[1, 2]], [[1], [2]], "valid"), {}),
    (([[1]], [[1]], "FULL"), {}), (([[1]], [[1]], 0), {}), (([[1]], [[1]], None), {}),
    (([[1]], [[1]], "full", "reflect"), {}), (([[1]], [[1]], "full", "x"), {}), (([[1]], [[1]], "full", 0), {}),
    (([["a"]], [["b"]]), {}), (([[None]], [[1]]), {}), (([[1, 2], [3]], [[1]]), {}),
    ((np.zeros((2, 2), "M8[s]"), [[1]]), {}), ((np.ones((2, 2), "e"), np.ones((2, 2), "e")), {}),
    ((np.ones((2, 2), bool), np.ones((2, 2), bool)), {}),
], ids=lambda value: str(value) if type(value) is not object else "object")  # fmt: skip
def test_what_scipy_refuses_is_refused_with_the_same_exception(name, arguments):
    args, how = arguments
    expected = outcome(lambda: getattr(scipy.signal, name)(*args, **how))
    assert isinstance(expected, type)
    assert outcome(lambda: getattr(signal, name)(*args, **how)) is expected


@pytest.mark.parametrize("alias", [("pad", "fill"), ("circular", "wrap"), ("symmetric", "symm")])
def test_second_names_of_boundaries(alias):
    x, w = np.arange(12.0).reshape(3, 4), np.ones((2, 3))
    np.testing.assert_array_equal(*(signal.correlate2d(x, w, "same", word) for word in alias))


def test_nan_and_infinity_stay_where_they_are():
    """Large enough for every algorithm; a cell is bad if and only if its window holds the bad sample."""
    rng = np.random.default_rng(12)
    for method in ("auto", "direct"):
        for bad in (np.nan, np.inf):
            x = rng.standard_normal((200, 190)).astype(np.float32)
            w = rng.standard_normal((15, 15)).astype(np.float32)
            clean = signal.correlate2d(x, w, "same", "symm", method=method)
            x[100, 50] = bad
            y = signal.correlate2d(x, w, "same", "symm", method=method)
            touched = np.zeros(x.shape, bool)
            touched[93:108, 43:58] = True
            assert not np.isfinite(y[touched]).any()
            np.testing.assert_allclose(y[~touched], clean[~touched], atol=1e-4)


# --------------------------------------------------------------------------------- what SciPy does not have


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("char", "hfD")
@pytest.mark.parametrize("axes", [(-2, -1), (1, 2), (0, 1), (2, 0)])
def test_axes(name, char, axes):
    rng = np.random.default_rng(13)
    in1, w = draw_array(rng, (7, 8, 9), char), draw_array(rng, (3, 2), char)
    other = ({0, 1, 2} - {axis % 3 for axis in axes}).pop()
    for mode in MODES:
        y = getattr(signal, name)(in1, w, mode, axes=axes)
        for n in range(in1.shape[other]):
            plane = np.take(in1, n, other)
            plane = plane if axes[0] % 3 < axes[1] % 3 else plane.T
            got = np.take(y, n, other)
            got = got if axes[0] % 3 < axes[1] % 3 else got.T
            np.testing.assert_allclose(got, getattr(signal, name)(plane, w, mode), rtol=1e-4, atol=1e-2)


def test_one_kernel_per_image():
    rng = np.random.default_rng(14)
    x, w = rng.standard_normal((2, 3, 8, 9)), rng.standard_normal((1, 3, 2, 3))
    y = signal.correlate2d(x, w, "same", "wrap", axes=(-2, -1))
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(y[i, j], signal.correlate2d(x[i, j], w[0, j], "same", "wrap"))


@pytest.mark.parametrize(("axes", "shapes", "words"), [
    ((0, 0), ((2, 2, 2), (1, 1)), "two different axes"),
    ((0, 5), ((2, 2, 2), (1, 1)), "must be axes of in1"),
    ((0, 1), ((2, 2, 2), (1,)), "in2 must have 2 axes"),
    ((1, 2), ((2, 2, 2), (3, 1, 1)), "broadcast"),
    ((0, 1, 2), ((2, 2, 2), (1, 1)), "axes must"),
])  # fmt: skip
def test_bad_axes(axes, shapes, words):
    with pytest.raises(ValueError, match=words):
        signal.correlate2d(np.ones(shapes[0]), np.ones(shapes[1]), axes=axes)


@pytest.mark.parametrize("char", "BlfdFD")
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("swapped", [False, True])
def test_out(char, boundary, swapped):
    rng = np.random.default_rng(15)
    in1, in2 = draw_array(rng, (40, 50), char), draw_array(rng, (5, 4), char)
    if swapped:
        in1, in2 = in2, in1
    expected = signal.correlate2d(in1, in2, "valid", boundary, num_threads=1)
    for room in (np.zeros((36, 47), char), np.zeros((72, 94), char)[::2, ::-2], np.zeros((47, 36), char).T):
        assert signal.correlate2d(in1, in2, "valid", boundary, out=room) is not None
        np.testing.assert_array_equal(room, expected)


def test_out_may_overlap_an_input():
    x = np.arange(60.0).reshape(6, 10)
    expected = signal.correlate2d(x, np.ones((3, 3)), "same")
    signal.correlate2d(x, np.ones((3, 3)), "same", out=x)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize(("out", "error"), [
    (np.zeros((3, 3)), ValueError), (np.zeros((2, 2), np.float32), TypeError), ([[0.0, 0.0]] * 2, TypeError),
    (np.broadcast_to(0.0, (2, 2)), ValueError),
])  # fmt: skip
def test_bad_out(out, error):
    with pytest.raises(error, match="out must"):
        signal.correlate2d(np.ones((2, 2)), np.ones((1, 1)), out=out)


def test_bad_extras():
    ones = np.ones((2, 2))
    with pytest.raises(ValueError, match="method must be one of"):
        signal.correlate2d(ones, ones, method="fast")
    with pytest.raises(ValueError, match="method 'fft'"):
        signal.correlate2d(ones.astype(int), ones.astype(int), method="fft")
    with pytest.raises(ValueError, match="num_threads"):
        signal.correlate2d(ones, ones, num_threads=0)
    with pytest.raises(TypeError, match="masked"):
        signal.correlate2d(np.ma.masked_equal(ones, 2), ones)


@pytest.mark.parametrize("char", "BhIlfdFD")
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_threads_do_not_change_a_bit(char, boundary):
    rng = np.random.default_rng(16)
    in1, in2 = draw_array(rng, (150, 301), char), draw_array(rng, (7, 9), char)
    results = [signal.correlate2d(in1, in2, "same", boundary, 2, num_threads=n) for n in (1, 2, 3, 8)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("taps", [(3, 3), (5, 5), (7, 1), (1, 7), (2, 9), (11, 11), (1, 1)])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("char", ["Bf", "hd"])
def test_a_kernel_that_came_before_gives_the_same_bits(char, mode, taps):
    """Large images of another type are converted some rows at a time then."""
    rng = np.random.default_rng(18)
    in1, in2 = draw_array(rng, (1000, 811), char[0]), draw_array(rng, taps, char[1])
    first, *others = (signal.correlate2d(in1, in2, mode, num_threads=n) for n in (1, 1, 1, 2, 2, 2))
    for other in others:
        assert other.tobytes() == first.tobytes()
    rows = signal.correlate2d(in1[300:400], in2, "valid")
    np.testing.assert_allclose(signal.correlate2d(in1, in2, "valid")[300:][: len(rows)], rows, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("build", cyconv.show_config()["builds"])
def test_every_build(build, run_python):
    """Integers and floats, small and large, in a process that was told which build to take."""
    script = """
import numpy as np
from scipy import signal as theirs
from cyconv import signal as ours
rng = np.random.default_rng(0)
for char in "bBhHiIlLfd":
    for size in ((5, 6), (120, 700)):
        x, w = rng.integers(0, 100, size).astype(char), rng.integers(0, 9, (4, 5)).astype(char)
        for boundary in ("fill", "wrap", "symm"):
            expected = theirs.correlate2d(x, w, "same", boundary)
            np.testing.assert_array_equal(ours.correlate2d(x, w, "same", boundary), expected)
"""
    run_python(script, CYCONV_ISA=build)


# ------------------------------------------------------------------------------------------ SciPy's own tests


SCIPY_CASES = """
import inspect, itertools, types
import numpy as np
import scipy.signal as theirs
import scipy.signal.tests.test_signaltools as tests
from cyconv import signal as ours

replaced = {getattr(theirs, name): getattr(ours, name) for name in ("correlate2d", "convolve2d")}
for function in replaced:
    setattr(tests, function.__name__, replaced[function])
names = {name: getattr(theirs, name) for name in dir(theirs)}
tests.signal = types.SimpleNamespace(**names | {function.__name__: replaced[function] for function in replaced})

for cls in (tests.TestConvolve2d, tests.TestCorrelate2d):
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        marks = getattr(method, "pytestmark", [])
        if not name.startswith("test_") or any(mark.name == "slow" for mark in marks):
            continue
        choices = []
        for arguments, values in (mark.args for mark in marks if mark.name == "parametrize"):
            words = [word.strip() for word in arguments.split(",")]
            rows = [value if len(words) > 1 else (value,) for value in values]
            choices.append([dict(zip(words, row, strict=True)) for row in rows])
        for parts in itertools.product(*choices):
            how = {key: value for part in parts for key, value in part.items()}
            how = {key: replaced.get(value, value) if callable(value) else value for key, value in how.items()}
            getattr(cls(), name)(xp=np, **how)
            print(cls.__name__, name)
"""


def test_scipy_s_own_tests_pass_with_the_names_replaced(run_python):
    """In a process of their own: they want markers of SciPy's test suite."""
    passed = run_python(SCIPY_CASES).splitlines()
    assert len(passed) >= 20
    assert {line.split()[0] for line in passed} == {"TestConvolve2d", "TestCorrelate2d"}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chars", ["ff", "dd", "Bf", "Hf", "id", "Bd", "fd"])
@pytest.mark.parametrize("size", [(9, 8), (150, 140)])
def test_the_same_call_again(name, mode, chars, size):
    """What is remembered of a call is neither the images nor, when its numbers change, the kernel."""
    rng = np.random.default_rng(3)
    x, w = draw_array(rng, size, chars[0]), draw_array(rng, (5, 4), chars[1])
    for _ in range(3):
        assert_like_scipy(name, x, w, mode, "fill")
    out = getattr(signal, name)(x, w, mode)
    w[1, 2] += 1
    x[3] = 0
    assert_like_scipy(name, x, w, mode, "fill")
    assert getattr(signal, name)(x, w, mode, out=out) is out
    np.testing.assert_array_equal(out, getattr(signal, name)(x, w, mode))
    assert_like_scipy(name, x[::2, ::-1], w[::-1], mode, "fill")
    if mode == "same" and chars[0] == chars[1]:
        expected = getattr(signal, name)(x, w, mode)
        np.testing.assert_array_equal(getattr(signal, name)(x, w, mode, out=x), expected)
