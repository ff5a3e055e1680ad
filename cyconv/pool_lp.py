"""Lp norms over sliding windows: the public functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyconv import _checks, _runtime
from cyconv._arrays import Array
from cyconv._lp import lp_into
from cyconv._pooling import Size, Sliding, result
from cyconv.geometry import Padding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d"]


def _lp_pool(
    naxes: int,
    x: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool,
    layout: str,
    out: Array | None,
    num_threads: int | None,
) -> Array:
    threads = _runtime.threads_for(_checks.check_threads(num_threads))
    image = _checks.as_image("x", x, naxes, layout)
    dtype = _checks.float_dtypes(("x", image.array))[1]
    power = _checks.as_real("norm_type", norm_type)
    if power <= 0:
        raise ValueError(f"norm_type must be greater than 0, got {norm_type}")
    axes, _, _ = Sliding(kernel_size, stride, padding, dilation, ceil_mode).read(image.array.shape[2:])
    y, through = result(image, axes, dtype, out)
    return _checks.run_into(
        y, through, lambda into: lp_into(image.result_view(into), image.array, axes, power, threads)
    )


def lp_pool2d(
    x: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Take the Lp norm of sliding windows of images.

    .. math:: y_{n,c,i,j} = \Bigl( \sum_{r=0}^{k_h - 1} \sum_{q=0}^{k_w - 1}
              \bigl| x_{n,\;c,\;i s_h + r d_h - p_h,\;j s_w + q d_w - p_w} \bigr|^p \Bigr)^{1/p}

    over the cells that are there: a partial window is not rescaled.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        float16, bfloat16, float32 or float64, any strides. It is never written to.
    norm_type : float
        p, greater than 0; ``inf`` takes the largest modulus.
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

    Notes
    -----
    With p = 1 and 2 powers and sums are of the dtype itself, pairwise as in :func:`avg_pool2d`; with other p they are
    float64. A norm that is representable comes out right even where the sum of the powers is not: such windows are
    scaled by their largest cell and computed again.

    References
    ----------
    ONNX operator LpPool, https://onnx.ai/onnx/operators/onnx__LpPool.html

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import lp_pool2d
    >>> lp_pool2d(np.array([[3.0, -4.0], [0.0, 0.0]]), 2, 2)
    array([[5.]])
    >>> lp_pool2d(np.array([[3.0, -4.0], [0.0, 0.0]]), np.inf, 2)
    array([[4.]])
    """
    return _lp_pool(2, x, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out, num_threads)


def lp_pool1d(
    x: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Take the Lp norm of sliding windows of signals.

    .. math:: y_{n,c,j} = \Bigl( \sum_{q=0}^{k - 1} | x_{n,\;c,\;j s + q d - p} |^p \Bigr)^{1/p}

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``, with ``layout="NHWC"`` ``(W, C)`` or ``(N, W, C)``.
    norm_type, kernel_size, stride, padding, dilation, ceil_mode, out, num_threads
        As in :func:`lp_pool2d`.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`lp_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`lp_pool2d`.

    References
    ----------
    As :func:`lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import lp_pool1d
    >>> lp_pool1d(np.array([3.0, -4.0, 0.0]), 2, 2, stride=1)
    array([5., 4.])
    """
    return _lp_pool(1, x, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out, num_threads)


def lp_pool3d(
    x: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Take the Lp norm of sliding windows of volumes.

    .. math:: y_{n,c,o} = \Bigl( \sum_{0 \le r < k} | x_{n,\;c,\;o s + r d - p} |^p \Bigr)^{1/p},
              \qquad o, r = (D, H, W)

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``, with ``layout="NHWC"``
        ``(D, H, W, C)`` or ``(N, D, H, W, C)``.
    norm_type, kernel_size, stride, padding, dilation, ceil_mode, out, num_threads
        As in :func:`lp_pool2d`.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        As :func:`lp_pool2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`lp_pool2d`.

    References
    ----------
    As :func:`lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import lp_pool3d
    >>> lp_pool3d(np.full((2, 2, 2), -1.0), 1, 2)
    array([[[8.]]])
    """
    return _lp_pool(3, x, norm_type, kernel_size, stride, padding, dilation, ceil_mode, layout, out, num_threads)
