"""Maxima put back where they came from: the public functions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from cyconv import _checks
from cyconv._arrays import Array
from cyconv._axes import explicit_padding
from cyconv._pooling import Size, check_real

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cyconv.geometry import Pads

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]


def _output_size(
    size: tuple[int, ...],
    lead: int,
    kernel_size: Size,
    stride: Size | None,
    padding: int | Sequence[int | Pads],
    output_size: Sequence[int] | None,
) -> tuple[int, ...]:
    """Spatial sizes of the result: those asked for, or the smallest whose windows are these."""
    naxes = len(size)
    k = _checks.as_ints("kernel_size", kernel_size, naxes, minimum=1)
    s = k if stride is None else _checks.as_ints("stride", stride, naxes, minimum=1)
    pads = explicit_padding(padding, naxes)
    for pair, kernel in zip(pads, k, strict=True):
        if max(pair) >= kernel:
            raise ValueError(f"padding must be smaller than the kernel, got padding {pair} with kernel_size {kernel}")
    sizes = tuple((h - 1) * step - sum(pair) + kernel for h, step, pair, kernel in zip(size, s, pads, k, strict=True))
    if output_size is None:
        for h in sizes:
            if h < 1:
                raise ValueError(f"padding removes the whole output: (size - 1)*stride - padding + kernel_size = {h}")
        return sizes
    if not _checks.is_sequence(output_size):
        raise TypeError(f"output_size must be a sequence of {naxes} ints, got {output_size!r}")
    wanted = tuple(_checks.as_int("output_size", h, minimum=1) for h in output_size)
    if len(wanted) != naxes:
        raise ValueError(f"output_size must have {naxes} ints, the spatial sizes, got {len(wanted)}: {wanted}")
    for h, least, step in zip(wanted, sizes, s, strict=True):
        if not least - step < h < least + step:
            raise ValueError(
                f"output_size must lie between {least - step + 1} and {least + step - 1}, where pooling gives the "
                f"size of x back, got {h}"
            )
    return wanted


def _flat_indices(indices: ArrayLike, shape: tuple[int, ...], cells: int) -> Array:
    found = _checks.as_array("indices", indices)
    if found.dtype.kind not in "iu":
        raise TypeError(f"indices must hold integers, got {found.dtype}")
    if found.shape != shape:
        raise ValueError(f"indices must have the shape of x, {shape}, got {found.shape}")
    if found.size:
        low, high = int(found.min()), int(found.max())
        if low < 0 or high >= cells:
            bad = low if low < 0 else high
            raise ValueError(f"indices must lie in [0, {cells}), the cells of a plane of the output, got {bad}")
    return found.astype(np.int64, copy=False)


def _max_unpool(
    naxes: int,
    x: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size | None,
    padding: int | Sequence[int | Pads],
    output_size: Sequence[int] | None,
    layout: str,
    out: Array | None,
) -> Array:
    image = _checks.as_image("x", x, naxes, layout)
    check_real("x", image.array)
    n, c, *size = image.array.shape
    if 0 in size:
        raise ValueError(f"x must have at least 1 cell along every spatial axis, got sizes {tuple(size)}")
    sizes = _output_size(tuple(size), image.array.ndim, kernel_size, stride, padding, output_size)
    cells = prod(sizes)
    shape = image.result_shape(c, sizes)
    _checks.check_index_range("the result", shape, image.array.dtype.itemsize)
    as_given = image.result_shape(c, size)
    places = _flat_indices(indices, as_given, cells)
    y, through = _checks.check_out(out, shape, image.array.dtype, (image.array, places))

    def fill(into: Array) -> None:
        planes = np.zeros((n * c, cells), image.array.dtype)
        where = np.ascontiguousarray(image.result_view(places)).reshape(n * c, prod(size))
        values = np.ascontiguousarray(image.array).reshape(n * c, prod(size))
        np.put_along_axis(planes, where, values, axis=1)
        np.copyto(image.result_view(into), planes.reshape(n, c, *sizes))

    return _checks.run_into(y, through, fill)


def max_unpool2d(
    x: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: int | Sequence[int | Pads] = 0,
    output_size: Sequence[int] | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    r"""Put maxima back in their places, between zeros: a partial inverse of :func:`max_pool2d`.

    .. math:: y_{n,c}[I_{n,c,i,j}] = x_{n,c,i,j}

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        any real dtype.
    indices : array_like of int
        Flat indices over the H*W plane of the result, in the shape of x: those of
        ``max_pool2d(..., return_indices=True)``. Where two are equal, the later cell stays.
    kernel_size, stride, padding : int or sequence of int
        Those of the pooling; padding smaller than the kernel.
    output_size : sequence of int, optional
        Spatial sizes of the result; by default ``(H - 1) s - p0 - p1 + k``. The size that was pooled differs from
        this by less than the stride, since several sizes give the same number of windows.
    layout : {"NCHW", "NHWC"}
        Where the channels are.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable.

    Returns
    -------
    ndarray
        In the rank, layout and dtype of x.

    Raises
    ------
    TypeError
        An argument of a wrong type, or indices that are not integers.
    ValueError
        An index outside the plane, shapes that do not fit together, an ``output_size`` that pooling does not lead to.

    References
    ----------
    ONNX operator MaxUnpool, https://onnx.ai/onnx/operators/onnx__MaxUnpool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import max_pool2d, max_unpool2d
    >>> x = np.array([[1, 2, 0, 4], [3, 0, 5, 1]])
    >>> y, indices = max_pool2d(x, 2, return_indices=True)
    >>> max_unpool2d(y, indices, 2)
    array([[0, 0, 0, 0],
           [3, 0, 5, 0]])
    """
    return _max_unpool(2, x, indices, kernel_size, stride, padding, output_size, layout, out)


def max_unpool1d(
    x: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: int | Sequence[int | Pads] = 0,
    output_size: Sequence[int] | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    r"""Put maxima back in their places, between zeros: a partial inverse of :func:`max_pool1d`.

    .. math:: y_{n,c}[I_{n,c,o}] = x_{n,c,o}

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``.
    indices, kernel_size, stride, padding, output_size, out
        As in :func:`max_unpool2d`.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        In the rank, layout and dtype of x.

    Raises
    ------
    TypeError, ValueError
        As :func:`max_unpool2d`.

    References
    ----------
    As :func:`max_unpool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import max_unpool1d
    >>> max_unpool1d(np.array([7, 9]), np.array([1, 2]), 2)
    array([0, 7, 9, 0])
    """
    return _max_unpool(1, x, indices, kernel_size, stride, padding, output_size, layout, out)


def max_unpool3d(
    x: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: int | Sequence[int | Pads] = 0,
    output_size: Sequence[int] | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    r"""Put maxima back in their places, between zeros: a partial inverse of :func:`max_pool3d`.

    .. math:: y_{n,c}[I_{n,c,o}] = x_{n,c,o}

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``.
    indices, kernel_size, stride, padding, output_size, out
        As in :func:`max_unpool2d`.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        In the rank, layout and dtype of x.

    Raises
    ------
    TypeError, ValueError
        As :func:`max_unpool2d`.

    References
    ----------
    As :func:`max_unpool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import max_pool3d, max_unpool3d
    >>> y, indices = max_pool3d(np.arange(8).reshape(2, 2, 2), 2, return_indices=True)
    >>> max_unpool3d(y, indices, 2).ravel()
    array([0, 0, 0, 0, 0, 0, 0, 7])
    """
    return _max_unpool(3, x, indices, kernel_size, stride, padding, output_size, layout, out)
