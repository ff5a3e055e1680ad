"""Convolution (cross-correlation, as in deep learning) in one, two and three axes: the public functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cyconv import _checks
from cyconv._arrays import Array
from cyconv._known import Known
from cyconv._plans import exact
from cyconv._storage import is_converted
from cyconv.conv_plan import Activation, ConvPlan, Padding, Size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["conv1d", "conv2d", "conv3d", "corr2d"]

#: types that ``corr2d`` takes and that have a loop without a plan; plans are kept of weights of these and of 16 bits
_QUICK_TYPES = frozenset(map(np.dtype, "fd"))


#: arguments that mean the same whenever they are equal: neither 1.0 nor True passes for 1
_SIMPLE = frozenset((int, str, type(None)))
#: plans: making one takes longer than a small image
_known: Known[ConvPlan] = Known()


def convolve_once(
    axes: int, x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None, out: Any = None,
    packing_counts: bool | None = True, **how: Any,
) -> Array:  # fmt: skip
    """A convolution of which nothing is kept: for weights that will be others in the next call, packing counts."""
    image = _checks.as_image("x", x, axes, how["layout"])
    return ConvPlan(axes, weight, bias, keep=False, packing_counts=packing_counts, **how).run_image(image, out)


def _convolve(axes: int, x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None, out: Any, **how: Any) -> Array:
    key = _key(axes, weight, bias, tuple(how.values()))

    def make() -> ConvPlan:
        _checks.as_image("x", x, axes, how["layout"])
        return ConvPlan(axes, weight, bias, **how)

    plan = _known.get(weight, key, make) if key and isinstance(weight, np.ndarray) else None
    if plan is not None:
        return plan(x, out)
    return convolve_once(axes, x, weight, bias, out, None, **how)


def _key(axes: int, weight: Any, bias: Any, how: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What tells such a plan from others, the weights aside; None if it is not told apart for sure."""
    if type(weight) is not np.ndarray:
        return None
    if weight.dtype not in _QUICK_TYPES and not is_converted(weight.dtype):
        return None
    if bias is not None and (type(bias) is not np.ndarray or bias.dtype is not weight.dtype or bias.ndim != 1):
        return None
    for value in how:
        if type(value) not in _SIMPLE and not (type(value) is tuple and set(map(type, value)) <= _SIMPLE):
            return None
    start = None if bias is None else bias.tobytes()
    return axes, start, how


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: Activation = None,
    layout: str = "NCHW",
    out: Array | None = None,
    algorithm: str = "auto",
    num_threads: int | None = None,
    workspace_limit: int | None = None,
) -> Array:
    r"""Cross-correlate images with a bank of kernels: a convolution layer.

    .. math:: y_{n,k,i,j} = f\Bigl(b_k + \sum_{c,r,q} w_{k,c,r,q} \;
              x_{n,\;c,\;i s_h + r d_h - p_h,\;j s_w + q d_w - p_w}\Bigr)

    with stride s, dilation d and padding p; c runs over the input channels of the group of k.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``, with ``layout="NHWC"`` ``(H, W, C)`` or ``(N, H, W, C)``;
        float16, bfloat16, float32 or float64, any strides. It is never written to.
    weight : array_like
        ``(K, C // groups, R, S)`` whatever the layout, or ``(R, S)`` for one kernel without channels.
    bias : array_like, optional
        ``(K,)`` or a scalar.
    stride, dilation : int or sequence of int
        At least 1; one for all axes or one each.
    padding : int, sequence or str
        An int, one int per axis, a ``(before, after)`` pair per axis, ``"valid"``, ``"same"`` (the odd cell goes
        after) or ``"same_lower"`` (before). "same" gives ``ceil(H / stride)`` with any stride.
    groups : int
        C and K are split into so many groups that do not see each other.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padded cells show. "reflect" needs padding smaller than the image, "circular" at most its size.
    activation : None, str or tuple
        ``"relu"``, ``"relu6"``, ``"silu"``, ``("clip", lo, hi)`` or ``("leaky_relu", slope)``: f above.
    layout : {"NCHW", "NHWC"}
        Where the channels are, in x and in the result.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    algorithm : {"auto", "direct", "winograd", "fft"}
        How it is computed. "auto" takes what should be quickest and never fails.
    num_threads : int, optional
        Threads of this call, instead of :func:`get_num_threads`. No bit of the result depends on it.
    workspace_limit : int, optional
        Cap on scratch memory in bytes.

    Returns
    -------
    ndarray
        In the rank and layout of x, with K channels and, per axis,
        ``floor((H + p0 + p1 - d (R - 1) - 1) / s) + 1`` cells. The dtype is that of x, weight and bias promoted as
        NumPy promotes; float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        An argument of a wrong type, for instance an integer image or a float stride.
    ValueError
        Shapes that do not fit together, a kernel larger than the padded input, a stride of 0, an unknown name, an
        algorithm that cannot compute this case, a ``workspace_limit`` that nothing can keep.
    MemoryError
        The result or the scratch memory cannot be had; ``out`` is untouched then.

    See Also
    --------
    plan_conv2d : pack the weights once for many calls.
    conv_output_shape : the size of the result without computing it.

    Notes
    -----
    With :math:`u = 2^{-24}` (float32) or :math:`2^{-53}` (float64), ``"direct"`` adds up the n products of a result
    in a fixed order, so that

    .. math:: |\hat y - y| \le \gamma_{n+1} \Bigl(|b| + \sum |w| |x|\Bigr), \qquad \gamma_n = \frac{n u}{1 - n u}.

    NaN and infinity go exactly where the formula sends them, whatever the algorithm.

    Weights of up to 4 MiB stay packed for later calls, 16 MiB of them at most; each call compares them with a copy,
    so they may change at any time. A plan needs neither the comparison nor the bound.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning*, chapter 7.
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.
    N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section 3.1 (the bound).

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import conv2d
    >>> x = np.arange(9.0).reshape(3, 3)
    >>> conv2d(x, np.array([[0.0, 1.0], [2.0, 3.0]]))
    array([[19., 25.],
           [37., 43.]])
    >>> conv2d(np.ones((8, 3, 32, 32), np.float32), np.ones((16, 3, 3, 3), np.float32), stride=2, padding=1).shape
    (8, 16, 16, 16)
    """
    return _convolve(
        2, x, weight, bias, out, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout,
        padding_mode=padding_mode, activation=activation, algorithm=algorithm, num_threads=num_threads,
        workspace_limit=workspace_limit,
    )  # fmt: skip


def conv1d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: Activation = None,
    layout: str = "NCHW",
    out: Array | None = None,
    algorithm: str = "auto",
    num_threads: int | None = None,
    workspace_limit: int | None = None,
) -> Array:
    r"""Cross-correlate signals with a bank of kernels along one axis.

    .. math:: y_{n,k,j} = f\Bigl(b_k + \sum_{c,q} w_{k,c,q} \; x_{n,\;c,\;j s + q d - p}\Bigr)

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``; channels last with ``layout="NHWC"`` (also called ``"NWC"``).
    weight : array_like
        ``(K, C // groups, S)`` or ``(S,)``.
    bias, stride, padding, dilation, groups, padding_mode, activation, out, algorithm, num_threads, workspace_limit
        As in :func:`conv2d`.
    layout : {"NCHW", "NHWC", "NCW", "NWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        In the rank and layout of x, with K channels; dtypes, errors and error bounds are those of :func:`conv2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d`.

    References
    ----------
    As :func:`conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import conv1d
    >>> conv1d(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0]))
    array([2., 5., 8.])
    """
    return _convolve(
        1, x, weight, bias, out, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout,
        padding_mode=padding_mode, activation=activation, algorithm=algorithm, num_threads=num_threads,
        workspace_limit=workspace_limit,
    )  # fmt: skip


def conv3d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: Activation = None,
    layout: str = "NCHW",
    out: Array | None = None,
    algorithm: str = "auto",
    num_threads: int | None = None,
    workspace_limit: int | None = None,
) -> Array:
    r"""Cross-correlate volumes with a bank of kernels.

    .. math:: y_{n,k,o} = f\Bigl(b_k + \sum_{c,r} w_{k,c,r} \; x_{n,\;c,\;o s + r d - p}\Bigr)

    where o and r have three components (D, H, W).

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``; channels last with ``layout="NHWC"`` (``"NDHWC"``).
    weight : array_like
        ``(K, C // groups, T, R, S)`` or ``(T, R, S)``.
    bias, stride, padding, dilation, groups, padding_mode, activation, out, algorithm, num_threads, workspace_limit
        As in :func:`conv2d`.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        Where the channels are.

    Returns
    -------
    ndarray
        In the rank and layout of x, with K channels; dtypes, errors and error bounds are those of :func:`conv2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d`.

    References
    ----------
    As :func:`conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import conv3d
    >>> conv3d(np.ones((1, 4, 8, 8)), np.ones((2, 1, 3, 3, 3)), padding=1).shape
    (2, 4, 8, 8)
    """
    return _convolve(
        3, x, weight, bias, out, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout,
        padding_mode=padding_mode, activation=activation, algorithm=algorithm, num_threads=num_threads,
        workspace_limit=workspace_limit,
    )  # fmt: skip


def corr2d(x: ArrayLike, kernel: ArrayLike) -> Array:
    """Cross-correlate one image with one kernel, where the kernel lies inside the image.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, floating point.
    kernel : array_like
        ``(R, S)``, no larger than the image.

    Returns
    -------
    ndarray
        ``(H - R + 1, W - S + 1)``: cell (i, j) is the sum of ``x[i:i + R, j:j + S] * kernel``.

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d`; arrays that are not 2-D.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning*, section 7.2.

    Examples
    --------
    An image with a dark bar, and its vertical edges:

    >>> import numpy as np
    >>> from cyconv import corr2d
    >>> x = np.ones((2, 6))
    >>> x[:, 2:4] = 0
    >>> corr2d(x, np.array([[1.0, -1.0]]))
    array([[ 0.,  1.,  0., -1.,  0.],
           [ 0.,  1.,  0., -1.,  0.]])
    """
    if type(x) is np.ndarray and x.dtype in _QUICK_TYPES:
        small = exact.quick(x, kernel, "valid")
        if small is not None:
            return small
    for name, value in (("x", x), ("kernel", kernel)):
        if np.ndim(_checks.as_array(name, value)) != 2:
            raise ValueError(f"{name} must be 2-D, got {np.ndim(value)} axes")
    return conv2d(x, kernel)
