"""Two-dimensional correlation and convolution of plain images, as `scipy.signal` has them: a drop-in."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cyconv import _checks, _signal_known, _signal_run
from cyconv._arrays import Array
from cyconv._plans import exact
from cyconv._runtime import threads_for
from cyconv._signal_check import (
    as_plane,
    cast_fill,
    check_boundary,
    check_method,
    check_mode,
    common_dtype,
    is_swapped,
    place,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["convolve2d", "correlate2d"]


def correlate2d(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    *,
    method: str = "auto",
    axes: tuple[int, int] | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Cross-correlate two 2-D arrays; a drop-in for :func:`scipy.signal.correlate2d`.

    .. math:: y_{i,j} = \sum_{r,s} x_{i + r - p,\; j + s - q} \; \overline{w_{r,s}}

    with x = in1 (H, W) and w = in2 (R, S).

    Parameters
    ----------
    in1, in2 : array_like
        ``(H, W)`` and ``(R, S)``: integers of any width, float32, float64, longdouble or their complex types.
    mode : {"full", "same", "valid"}
        "full": every window that touches in1, ``(H + R - 1, W + S - 1)``, p = R - 1. "same": ``(H, W)``,
        p = (R - 1) // 2. "valid": every window inside of in1, ``(H - R + 1, W - S + 1)``; there in2 may also be the
        larger one on every axis, then the two change places and the result is reversed on both axes.
    boundary : {"fill", "wrap", "symm"}
        What lies around in1: ``fillvalue``, in1 again, or its mirror image with the edge cell repeated; also
        written "pad", "circular" and "symmetric". The kernel may be many times larger than the image.
    fillvalue : scalar
        Must fit the dtype of the result.
    method : {"auto", "direct", "fft"}
        "direct" adds up products, "fft" multiplies transforms (float32, float64 and their complex types), "auto"
        takes the quicker one.
    axes : tuple of two ints, optional
        Which axes of in1 are H and W, if it has others too: one image per index of those. in2 then has two axes,
        or as many as in1, and its other axes broadcast with those of in1. Not in SciPy.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input. Not in SciPy.
    num_threads : int, optional
        Threads of this call, instead of :func:`cyconv.get_num_threads`. No bit of the result depends on it.

    Returns
    -------
    ndarray
        In the dtype that in1 and in2 promote to.

    Raises
    ------
    ValueError
        Arrays that are not 2-D, an unknown word, sizes that "valid" cannot place, a ``fillvalue`` that does not fit,
        a dtype that is not in the list (bool with bool, float16, object), an empty in1 with "wrap" or "symm".
    TypeError
        in1 or in2 holds no numbers or is a masked array; ``out`` is not an array of the right dtype.

    See Also
    --------
    cyconv.conv2d : many kernels, many channels, strides, dilation.

    Notes
    -----
    Integers are exact modulo 2**bits, as in SciPy. For floats the error of "direct" is bounded by
    :math:`\gamma_{RS} \sum |x| |w|` (see :func:`cyconv.conv2d`), that of "fft" by the norms of whole tiles. NaN and
    infinity go exactly where the formula sends them; a complex number is its two parts, so that an infinite real part
    does not make the imaginary part NaN when the other factor is real.

    References
    ----------
    SciPy reference guide, ``scipy.signal.correlate2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.signal import correlate2d
    >>> x = np.arange(9.0).reshape(3, 3)
    >>> correlate2d(x, [[-1.0, 1.0]], mode="same", boundary="symm")
    array([[1., 1., 0.],
           [1., 1., 0.],
           [1., 1., 0.]])
    >>> correlate2d(np.ones((5, 3, 3)), np.ones((2, 2)), "valid", axes=(1, 2)).shape
    (5, 2, 2)
    """
    if boundary == "fill" and method == "auto" and axes is None and _is_nothing(fillvalue) and _is_count(num_threads):
        return _plain(in1, in2, mode, out, num_threads, False)
    return _filter(in1, in2, mode, boundary, fillvalue, method, axes, out, num_threads, False)


def convolve2d(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    *,
    method: str = "auto",
    axes: tuple[int, int] | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Convolve two 2-D arrays; a drop-in for :func:`scipy.signal.convolve2d`.

    .. math:: y_{i,j} = \sum_{r,s} x_{i - r + p,\; j - s + q} \; w_{r,s}

    Parameters
    ----------
    in1, in2 : array_like
        ``(H, W)`` and ``(R, S)``, as in :func:`correlate2d`.
    mode : {"full", "same", "valid"}
        As in :func:`correlate2d`, but p is 0 for "full", (R - 1) // 2 for "same" and R - 1 for "valid", and nothing
        is reversed when in1 and in2 change places.
    boundary, fillvalue, method, axes, out, num_threads
        As in :func:`correlate2d`.

    Returns
    -------
    ndarray
        In the dtype that in1 and in2 promote to.

    Raises
    ------
    TypeError, ValueError
        As :func:`correlate2d`; text is a ValueError here.

    References
    ----------
    SciPy reference guide, ``scipy.signal.convolve2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.signal import convolve2d
    >>> convolve2d(np.array([[1, 2, 3]]), np.array([[1, 1]]))
    array([[1, 3, 5, 3]])
    """
    if boundary == "fill" and method == "auto" and axes is None and _is_nothing(fillvalue) and _is_count(num_threads):
        return _plain(in1, in2, mode, out, num_threads, True)
    return _filter(in1, in2, mode, boundary, fillvalue, method, axes, out, num_threads, True)


def _is_nothing(fillvalue: object) -> bool:
    return type(fillvalue) is int and fillvalue == 0


def _is_count(num_threads: object) -> bool:
    return num_threads is None or (type(num_threads) is int and num_threads > 0)


def _plain(in1: Any, in2: Any, mode: str, out: Any, num_threads: int | None, flip: bool) -> Array:
    """Zeros around one image, any method: the calls that are small enough for their fixed cost to show."""
    result = exact.quick(in1, in2, mode, flip, out)
    if result is not None:
        return result
    key = _signal_known.key_of(in1, in2, mode, flip, num_threads)
    if key is not None:
        result = _signal_known.run(key, in1, out)
        if result is not None:
            return result
    result = _filter(in1, in2, mode, "fill", 0, "auto", None, out, num_threads, flip)
    if key is not None:
        _signal_known.remember(key, in2)
    return result


def _filter(
    in1: Any, in2: Any, mode: str, boundary: str, fillvalue: Any, method: str, axes: Any, out: Any, num_threads: Any,
    flip: bool,
) -> Array:
    """Check everything, then correlate; ``flip`` makes it a convolution."""
    # SciPy's correlation takes the conjugate of in2 first, and that is where text fails
    w, x = as_plane("in2", in2, ValueError if flip else TypeError), as_plane("in1", in1, ValueError)
    check_mode(mode)
    around = check_boundary(boundary)
    plain = axes is None
    pair = _checked_axes(axes, x, w)
    if not plain:
        x = np.moveaxis(x, pair, (-2, -1))
        w = np.moveaxis(w, pair, (-2, -1)) if w.ndim > 2 else w
    swapped = is_swapped(mode, x.shape[-2:], w.shape[-2:])
    if swapped:
        x, w = w, x
    dtype = common_dtype(x, w)
    check_method(method, dtype)
    fill = cast_fill(fillvalue, dtype) if around == "zeros" else dtype.type(0)
    threads = threads_for(_checks.check_threads(num_threads))
    frame = place(mode, x.shape[-2:], w.shape[-2:], flip)
    if 0 in x.shape[-2:] and around != "zeros" and 0 not in frame.out and 0 not in w.shape[-2:]:
        raise ValueError(f"in1 must not be empty with boundary={boundary!r}, got shape {x.shape}")
    order, shape = pair, frame.out
    if not plain:
        lead = _broadcast_lead(x, w)
        order = _axes_order(pair, len(lead) + 2)
        shape = np.moveaxis(np.broadcast_to(0, (*lead, *frame.out)), (-2, -1), order).shape
    target, through = _checks.check_out(out, shape, dtype, (x, w))
    kernel = w[..., ::-1, ::-1] if flip else w.conj() if w.dtype.kind == "c" else w

    def run(images: Array, one: Array, result: Array) -> None:
        if swapped and not flip:
            result = result[..., ::-1, ::-1]
        _signal_run.correlate(images, one, result, frame.pads, around, fill, method, threads)

    def fill_in(array: Array) -> None:
        if array.size == 0:
            return
        if plain:
            run(x[np.newaxis], kernel, array[np.newaxis])
            return
        view = np.moveaxis(array, order, (-2, -1))
        values = view if view.flags.c_contiguous else np.empty(view.shape, dtype)
        for images, one, result in _by_kernel(x, kernel, values):
            run(images, one, result)
        if values is not view:
            view[...] = values

    return _checks.run_into(target, through, fill_in)


def _by_kernel(x: Array, w: Array, out: Array) -> Iterator[tuple[Array, Array, Array]]:
    """(N, H, W), (R, S), (N, OH, OW): all images at once if they share a kernel, else image by image."""
    lead = out.shape[:-2]
    shared = prod(w.shape[:-2]) == 1
    count, each = (1, prod(lead)) if shared else (prod(lead), 1)
    x = np.broadcast_to(x, (*lead, *x.shape[-2:])).reshape(count, each, *x.shape[-2:])
    w = np.broadcast_to(w, ((1,) * len(lead) if shared else lead) + w.shape[-2:]).reshape(count, *w.shape[-2:])
    return zip(x, w, out.reshape(count, each, *out.shape[-2:]), strict=True)


def _checked_axes(axes: Any, x: Array, w: Array) -> tuple[int, int]:
    """H and W among the axes of the images, as indices from the end."""
    if axes is None:
        if x.ndim != 2 or w.ndim != 2:
            raise ValueError(
                f"in1 and in2 must both be 2-D arrays, got {x.ndim} and {w.ndim} axes; "
                "for one image per index of other axes pass axes=, for example axes=(-2, -1)"
            )
        return -2, -1
    first, second = _checks.as_ints("axes", axes, 2)
    if x.ndim < 2 or w.ndim not in (2, x.ndim):
        raise ValueError(f"in2 must have 2 axes or as many as in1 ({x.ndim}), got {w.ndim}")
    for axis in (first, second):
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"axes must be axes of in1, which has {x.ndim}, got {(first, second)}")
    h, v = first % x.ndim - x.ndim, second % x.ndim - x.ndim
    if h == v:
        raise ValueError(f"axes must be two different axes, got {(first, second)}")
    return h, v


def _axes_order(pair: tuple[int, int], ndim: int) -> tuple[int, int]:
    return pair if min(pair) >= -ndim else (-2, -1)


def _broadcast_lead(x: Array, w: Array) -> tuple[int, ...]:
    """The shape of the axes that are neither H nor W."""
    try:
        return np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    except ValueError:
        raise ValueError(
            f"in1 and in2 must broadcast on their other axes, got {x.shape[:-2]} and {w.shape[:-2]}"
        ) from None
