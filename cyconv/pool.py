"""Maximum and average over sliding windows: the public functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from cyconv import _checks
from cyconv._arrays import Array
from cyconv._plans.pooling import MAX, SUM
from cyconv._pooling import Size, Sliding, find_max, run_pool
from cyconv.geometry import Padding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"]


# ------------------------------------------------------------------------------------------------------ maximum


def _max_pool(
    naxes: int,
    x: ArrayLike,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
    layout: str,
    out: Array | None,
    num_threads: int | None,
) -> Array | tuple[Array, Array]:
    windows = kernel_size, stride, padding, dilation, ceil_mode
    if return_indices is not False and _checks.as_flag("return_indices", return_indices):
        return find_max(naxes, x, Sliding, windows, layout, out, num_threads)
    return run_pool(MAX, naxes, x, Sliding, windows, layout, out, num_threads)


@overload
def max_pool2d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = False, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array: ...  # fmt: skip


@overload
def max_pool2d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[True], layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> tuple[Array, Array]: ...  # fmt: skip


@overload
def max_pool2d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: bool, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array | tuple[Array, Array]: ...  # fmt: skip


def max_pool2d(
    x: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array | tuple[Array, Array]:
    r"""Take the maximum over sliding windows of images.

    .. math:: y_{n,c,i,j} = \max_{0 \le r < k_h,\; 0 \le q < k_w}
              x_{n,\;c,\;i s_h + r d_h - p_h,\;j s_w + q d_w - p_w}

    where a padded cell counts as minus infinity, or as the smallest integer of the dtype. NaN spreads.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        any real dtype (float16 and bfloat16 too), any strides. It is never written to.
    kernel_size : int or sequence of int
        Cells of a window, for all axes or one each. A window costs no more than the cells that it has in the input.
    stride : int or sequence of int, optional
        Steps between windows; the kernel size by default.
    padding : int, sequence or str
        As in :func:`conv2d`; smaller than the dilated kernel.
    dilation : int or sequence of int
        Steps between the cells of a window.
    ceil_mode : bool
        Take the ceiling in the formula of the output size, which :func:`pool_output_shape` gives: a last window may
        reach beyond the padded input, but not start beyond the input.
    return_indices : bool
        Also return where each maximum is.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in x and in the result.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap x.
    num_threads : int, optional
        Threads of this call, instead of :func:`get_num_threads`. No bit of the result depends on it.

    Returns
    -------
    ndarray
        In the rank and layout of x, ``floor((H + p0 + p1 - d (k - 1) - 1) / s) + 1`` cells per axis. The
        dtype is that of x.
    indices : ndarray of int64
        With ``return_indices=True``, as the second of a pair: flat indices over the H*W plane of the unpadded
        input, of the first of equal cells and of the first NaN of a window that has one; -1 if a window lies in the
        padding altogether, as a dilated one can.

    Raises
    ------
    TypeError
        An argument of a wrong type, or a complex image.
    ValueError
        A value out of range; a kernel larger than the padded input, or not larger than the padding.
    MemoryError
        The result or the scratch memory cannot be had; ``out`` is untouched then.

    See Also
    --------
    max_unpool2d : put the maxima back in their places.
    adaptive_max_pool2d, global_max_pool2d : windows that follow from the size of the result.

    Notes
    -----
    The window is evaluated one axis after the other, by doubling where it is large: the cost of an output cell is of
    the order of log2(k), whatever the window. Results are exact.

    References
    ----------
    ONNX operator MaxPool, https://onnx.ai/onnx/operators/onnx__MaxPool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import max_pool2d
    >>> x = np.arange(16).reshape(4, 4)
    >>> max_pool2d(x, 2)
    array([[ 5,  7],
           [13, 15]])
    >>> max_pool2d(x, 3, stride=1, padding=1, return_indices=True)[1]
    array([[ 5,  6,  7,  7],
           [ 9, 10, 11, 11],
           [13, 14, 15, 15],
           [13, 14, 15, 15]])
    """
    return _max_pool(
        2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out, num_threads
    )


@overload
def max_pool1d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = False, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array: ...  # fmt: skip


@overload
def max_pool1d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[True], layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> tuple[Array, Array]: ...  # fmt: skip


@overload
def max_pool1d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: bool, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array | tuple[Array, Array]: ...  # fmt: skip


def max_pool1d(
    x: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array | tuple[Array, Array]:
    r"""Take the maximum over sliding windows of signals.

    .. math:: y_{n,c,j} = \max_{0 \le q < k} x_{n,\;c,\;j s + q d - p}

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``.
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, out, num_threads
        As in :func:`max_pool2d`.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`max_pool2d`; with ``return_indices=True`` also the flat indices over the W cells of a channel.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`max_pool2d`.

    References
    ----------
    As :func:`max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import max_pool1d
    >>> max_pool1d(np.array([1.0, 3.0, 2.0, 0.0, 5.0]), 2, ceil_mode=True)
    array([3., 2., 5.])
    """
    return _max_pool(
        1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out, num_threads
    )


@overload
def max_pool3d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = False, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array: ...  # fmt: skip


@overload
def max_pool3d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[True], layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> tuple[Array, Array]: ...  # fmt: skip


@overload
def max_pool3d(
    x: ArrayLike, kernel_size: Size, *, stride: Size | None = ..., padding: Padding = ..., dilation: Size = ...,
    ceil_mode: bool = ...,
    return_indices: bool, layout: str = ..., out: Array | None = ..., num_threads: int | None = ...,
) -> Array | tuple[Array, Array]: ...  # fmt: skip


def max_pool3d(
    x: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array | tuple[Array, Array]:
    r"""Take the maximum over sliding windows of volumes.

    .. math:: y_{n,c,o} = \max_{0 \le r < k} x_{n,\;c,\;o s + r d - p}, \qquad o, r = (D, H, W)

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``.
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, out, num_threads
        As in :func:`max_pool2d`.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`max_pool2d`; with ``return_indices=True`` also the flat indices over the D*H*W cells of a channel.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`max_pool2d`.

    References
    ----------
    As :func:`max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import max_pool3d
    >>> max_pool3d(np.arange(27).reshape(3, 3, 3), 2, stride=1).ravel()
    array([13, 14, 16, 17, 22, 23, 25, 26])
    """
    return _max_pool(
        3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out, num_threads
    )


# ------------------------------------------------------------------------------------------------------ average


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average sliding windows of images.

    .. math:: y_{n,c,i,j} = \frac{1}{D_{ij}} \sum_{r=0}^{k_h - 1} \sum_{q=0}^{k_w - 1}
              x_{n,\;c,\;i s_h + r d_h - p_h,\;j s_w + q d_w - p_w}

    where a padded cell counts as 0.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        float16, bfloat16, float32 or float64, any strides. It is never written to.
    kernel_size : int or sequence of int
        Cells of a window, for all axes or one each. A window costs no more than the cells that it has in the input.
    stride : int or sequence of int, optional
        Steps between windows; the kernel size by default.
    padding : int, sequence or str
        As in :func:`conv2d`; smaller than the dilated kernel.
    dilation : int or sequence of int
        Steps between the cells of a window.
    ceil_mode : bool
        Take the ceiling in the formula of the output size, which :func:`pool_output_shape` gives: a last window may
        reach beyond the padded input, but not start beyond the input.
    count_include_pad : bool
        Whether D counts the padded cells of a window, per axis ``min(start + k, H + p1) - start``, or only the real
        ones. The average of a window without any real cell, which dilation can cause, is NaN then.
    divisor_override : int, optional
        At least 1: D, whatever the window.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in x and in the result.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap x.
    num_threads : int, optional
        Threads of this call, instead of :func:`get_num_threads`. No bit of the result depends on it.

    Returns
    -------
    ndarray
        In the rank and layout of x, ``floor((H + p0 + p1 - d (k - 1) - 1) / s) + 1`` cells per axis. The
        dtype is that of x; float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        An argument of a wrong type, or an integer image.
    ValueError
        A value out of range; a kernel larger than the padded input, or not larger than the padding.
    MemoryError
        The result or the scratch memory cannot be had; ``out`` is untouched then.

    See Also
    --------
    adaptive_avg_pool2d, global_avg_pool2d : windows that follow from the size of the result.

    Notes
    -----
    Sums are pairwise over blocks of at most 64 roundings in a chain, so that with
    :math:`u = 2^{-24}` (float32) or :math:`2^{-53}` (float64) and n cells in the window

    .. math:: |\hat y - y| \le \gamma_{66 + 2 \log_2 n} \; \frac{1}{D} \sum |x|,
              \qquad \gamma_m = \frac{m u}{1 - m u}.

    An average of finite cells is finite where its value is, even if the sum is not. NaN and infinity reach exactly
    the windows that have them.

    References
    ----------
    ONNX operator AveragePool, https://onnx.ai/onnx/operators/onnx__AveragePool.html
    N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section 4.2 (pairwise summation).

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import avg_pool2d
    >>> x = np.arange(16.0).reshape(4, 4)
    >>> avg_pool2d(x, 2)
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    >>> avg_pool2d(np.ones((2, 2)), 3, stride=1, padding=1, count_include_pad=False)
    array([[1., 1.],
           [1., 1.]])
    """
    windows = kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override
    return run_pool(SUM, 2, x, Sliding, windows, layout, out, num_threads)


def avg_pool1d(
    x: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average sliding windows of signals.

    .. math:: y_{n,c,j} = \frac{1}{D_j} \sum_{q=0}^{k - 1} x_{n,\;c,\;j s + q d - p}

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, out, num_threads
        As in :func:`avg_pool2d`.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`avg_pool2d`, with the same bound of the error.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`avg_pool2d`.

    References
    ----------
    As :func:`avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import avg_pool1d
    >>> avg_pool1d(np.array([1.0, 3.0, 2.0, 0.0, 5.0]), 3, stride=1)
    array([2.        , 1.66666667, 2.33333333])
    """
    windows = kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override
    return run_pool(SUM, 1, x, Sliding, windows, layout, out, num_threads)


def avg_pool3d(
    x: ArrayLike,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Average sliding windows of volumes.

    .. math:: y_{n,c,o} = \frac{1}{D_o} \sum_{0 \le r < k} x_{n,\;c,\;o s + r d - p}, \qquad o, r = (D, H, W)

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, out, num_threads
        As in :func:`avg_pool2d`.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`avg_pool2d`, with the same bound of the error.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`avg_pool2d`.

    References
    ----------
    As :func:`avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import avg_pool3d
    >>> avg_pool3d(np.arange(27.0).reshape(3, 3, 3), 3)
    array([[[13.]]])
    """
    windows = kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override
    return run_pool(SUM, 3, x, Sliding, windows, layout, out, num_threads)
