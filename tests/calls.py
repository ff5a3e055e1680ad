"""Calls of the public convolutions, each judged by the oracle; and arrays in every form that NumPy has."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle

import cyconv
from cyconv._plans import convolution

CONV = {1: cyconv.conv1d, 2: cyconv.conv2d, 3: cyconv.conv3d}
CONV_TRANSPOSE = {1: cyconv.conv_transpose1d, 2: cyconv.conv_transpose2d, 3: cyconv.conv_transpose3d}

CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}

# The names that `algorithm=` takes in this version; tests of all algorithms grow with it.
ALGORITHMS = ["auto", *sorted({kind.name for kind in convolution.ALGORITHMS})]
# The relative L2 error that Winograd states; for the half types it is that of their rounding.
WINOGRAD_L2 = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}

FLOATS = ["float16", "bfloat16", "float32", "float64"]


def dtype(name):
    """The dtype of that name; bfloat16 is that of ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def noise(shape, kind="float32", seed=0):
    """Normally distributed numbers."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype(kind))


def whole(shape, kind="float32", seed=0):
    """Small whole numbers: their products and sums are exact in every float type, in any order."""
    return np.random.default_rng((seed, *shape)).integers(-3, 4, shape).astype(dtype(kind))


def channels_last(x, naxes):
    """A C-contiguous copy of `x` with the channels behind the spatial axes."""
    return np.ascontiguousarray(np.moveaxis(x, x.ndim - naxes - 1, -1)) if x.ndim > naxes else x


def check_conv(x, weight, bias=None, *, naxes=2, transposed=False, exact=False, result=None, **keywords):
    """Call the public function, hold its result against the oracle, see that the inputs stayed.

    `result` is the dtype that must come back (default: what x and weight promote to); `exact`
    leaves no room for rounding, which only the direct algorithm promises. What `auto` takes depends on the
    machine: where it is beyond the bound of the direct algorithm in some cell, direct must not be, and the
    whole within what is promised of the quick ones.
    """
    function = (CONV_TRANSPOSE if transposed else CONV)[naxes]
    if exact and not transposed:
        keywords = {"algorithm": "direct", **keywords}
    operands = [a for a in (x, weight, bias) if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in operands]
    y = function(x, weight, bias, **keywords)
    assert [a.tobytes() for a in operands] == before, "an input was written to"
    how = {k: v for k, v in keywords.items() if k not in ("out", "num_threads", "algorithm", "workspace_limit")}
    expected = oracle.convolution(x, weight, bias, naxes=naxes, transposed=transposed, dtype=result, **how)
    if exact:
        expected = oracle.Expected(expected.value, np.zeros_like(expected.bound))
    promoted = np.result_type(np.asarray(x), np.asarray(weight)).newbyteorder("=") if result is None else result
    try:
        oracle.assert_close(y, expected, dtype=promoted)
    except AssertionError:
        if exact or keywords.get("algorithm", "auto") != "auto":
            raise
        if not transposed:  # which takes no algorithm
            direct = function(x, weight, bias, **{**keywords, "algorithm": "direct", "out": None})
            oracle.assert_close(direct, expected, dtype=promoted)
        norm = WINOGRAD_L2[np.dtype(promoted).name] * np.linalg.norm(expected.value)
        oracle.assert_close(y, oracle.Expected(expected.value, np.maximum(expected.bound, norm)), dtype=promoted)
    return y


def attempt(function, *errors):
    """(result, "") of the call, or (None, the message) of such an error: both are legal outcomes."""
    try:
        return function(), ""
    except errors as error:
        return None, str(error) or type(error).__name__


# ---------------------------------------------------------------- the same numbers, differently kept


def _misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)
    y = np.ndarray(x.shape, x.dtype, raw.data, offset=1)
    y[...] = x
    return y


def _read_only(x):
    y = x.copy()
    y.flags.writeable = False
    return y


def _every_second(x):
    wide = np.full([2 * n + 1 for n in x.shape], np.nan if x.dtype.kind in "fV" else 99, x.dtype)
    cells = (slice(1, 2 * n + 1, 2) for n in x.shape)
    y = wide[tuple(cells)]
    y[...] = x
    return y


def _reversed(x):
    flip = (slice(None, None, -1),) * x.ndim
    return np.ascontiguousarray(x[flip])[flip]


def _inside(x):
    """A window of a larger array, whose margin would show."""
    wide = np.full([n + 5 for n in x.shape], np.nan if x.dtype.kind in "fV" else 99, x.dtype)
    y = wide[tuple(slice(2, n + 2) for n in x.shape)]
    y[...] = x
    return y


DISGUISES = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(np.moveaxis(x, -1, 0)).transpose(*range(1, x.ndim), 0),
    "reversed": _reversed,
    "every_second": _every_second,
    "inside": _inside,
    "read_only": _read_only,
    "big_endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "little_endian": lambda x: x.astype(x.dtype.newbyteorder("<")),
    "misaligned": _misaligned,
    "broadcast_first": lambda x: np.broadcast_to(x[:1], x.shape),
    "broadcast_last": lambda x: np.broadcast_to(x[..., :1], x.shape),
    "broadcast_all": lambda x: np.broadcast_to(x.ravel()[0], x.shape),
}


def assert_alone_or_at_once(function, arguments):
    """Calls in four threads give what each gives alone, bit for bit."""
    expected = [function(one) for one in arguments]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(function, arguments * 50))
    for i, one in enumerate(found):
        for value, wanted in zip(one, expected[i % len(arguments)], strict=True):
            np.testing.assert_array_equal(value, wanted)
