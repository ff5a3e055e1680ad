"""Transposed convolution in one, two and three axes: the public functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cyconv import _checks, geometry
from cyconv._arrays import Array
from cyconv._known import Known, counts_packing
from cyconv._plans.transposed import Transposed
from cyconv._runtime import threads_for
from cyconv._storage import computed, stored, to_compute
from cyconv.conv_plan import LARGEST_EXTENT, Padding, Size, as_weight

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

_known: Known[Transposed] = Known()


def _transposed(weight: Array, bias: Array | None, *steps: Any) -> Transposed:
    """This transposed convolution; ``steps``: its stride, padding, dilation and groups."""
    named = dict(zip(("stride", "padding", "dilation", "groups"), steps, strict=True))
    start = None if bias is None else bias.tobytes()
    found = _known.get(weight, (start, *steps), lambda: Transposed(weight, bias, keep=True, **named))
    return Transposed(weight, bias, packing_counts=counts_packing(weight), **named) if found is None else found


def _conv_transpose(
    axes: int, x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None, stride: Size, padding: Padding,
    output_padding: Size, groups: int, dilation: Size, layout: str, out: Array | None, num_threads: int | None,
) -> Array:  # fmt: skip
    image = _checks.as_image("x", x, axes, layout)
    w = as_weight(weight, axes, "C, K // groups")
    stride = _checks.as_ints("stride", stride, axes, minimum=1)
    dilation = _checks.as_ints("dilation", dilation, axes, minimum=1)
    extra = _checks.as_ints("output_padding", output_padding, axes, minimum=0)
    groups = _checks.as_int("groups", groups, minimum=1)
    threads = _checks.check_threads(num_threads)
    channels, group_outputs, *kernel = w.shape
    if channels % groups:
        raise ValueError(f"groups must divide C = {channels} (weight.shape[0]), got {groups}")
    if image.array.shape[1] != channels:
        raise ValueError(f"x must have C = {channels} channels (weight.shape[0]), got {image.array.shape[1]}")
    b = _checks.as_bias(bias, groups * group_outputs, w.dtype)
    pads = geometry.resolve_transposed_padding(padding, kernel, stride, extra, dilation)
    size = image.array.shape[2:]
    out_size = [
        geometry.conv_transpose_out_size(*axis)
        for axis in zip(size, kernel, stride, pads, extra, dilation, strict=True)
    ]
    for axis, (cells, (before, after)) in enumerate(zip(out_size, pads, strict=True)):
        if cells + before + after > LARGEST_EXTENT:
            raise ValueError(
                f"stride, padding and dilation of axis {axis} must give at most 2**61 cells, "
                f"got {cells + before + after}"
            )
    named = [("x", image.array), ("weight", w)] + ([] if b is None else [("bias", b)])
    compute, result = _checks.float_dtypes(*named)
    target, through = _checks.check_out(
        out, image.result_shape(groups * group_outputs, out_size), result, [array for _, array in named]
    )
    if target.size == 0:
        return target

    def fill(array: Array) -> None:
        count = threads_for(threads)
        with (
            computed(image.array, compute, count) as cells,
            computed(w, compute, count) as weights,
            stored(array, compute, count) as values,
        ):
            start = None if b is None else to_compute(b, compute, count)
            steps = tuple(stride), tuple(before for before, _ in pads), tuple(dilation), groups
            _transposed(weights, start, *steps).run(cells, image.result_view(values), count)

    return _checks.run_into(target, through, fill)


def conv_transpose2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Transposed convolution ("deconvolution") of images: each input cell adds a scaled kernel to the result.

    .. math:: y_{n,k,o} = b_k + \sum_{c} \sum_{i s + r d = o + p} w_{c,k,r} \; x_{n,c,i}

    with stride s, dilation d and padding p, in each of the two axes: the gradient of :func:`conv2d` with respect to
    its input.

    Parameters
    ----------
    x : array_like
        ``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``; channels last with ``layout="NHWC"``.
    weight : array_like
        ``(C, K // groups, R, S)``, or ``(R, S)`` for one kernel without channels.
    bias : array_like, optional
        ``(K,)`` or a scalar.
    stride, dilation : int or sequence of int
        At least 1; one for all axes or one each.
    padding : int, sequence or str
        Cells cut off the result: an int, one int per axis, a ``(before, after)`` pair per axis, ``"valid"``, or
        ``"same"`` / ``"same_lower"``, which give ``H * stride`` cells.
    output_padding : int or sequence of int
        Cells added behind, smaller than the stride or the dilation.
    groups : int
        C and K are split into so many groups that do not see each other.
    layout : {"NCHW", "NHWC"}
        Where the channels are.
    out : ndarray, optional
        Where the result goes: its shape and dtype, any strides, writeable. It may overlap an input.
    num_threads : int, optional
        Threads of this call; no bit of the result depends on it.

    Returns
    -------
    ndarray
        In the rank and layout of x, with K channels and, per axis,
        ``(H - 1) s - p0 - p1 + d (R - 1) + output_padding + 1`` cells. Dtypes and error bound are those of
        :func:`conv2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv2d`; a size below 1 is a ValueError.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import conv_transpose2d
    >>> conv_transpose2d(np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2)), stride=2)
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]])
    """
    return _conv_transpose(
        2, x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out, num_threads
    )


def conv_transpose1d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Transposed convolution of signals: each input cell adds a scaled kernel to the result.

    .. math:: y_{n,k,o} = b_k + \sum_{c} \sum_{i s + q d = o + p} w_{c,k,q} \; x_{n,c,i}

    Parameters
    ----------
    x : array_like
        ``(W,)``, ``(C, W)`` or ``(N, C, W)``; channels last with ``layout="NHWC"``.
    weight : array_like
        ``(C, K // groups, S)`` or ``(S,)``.
    bias, stride, padding, output_padding, groups, dilation, layout, out, num_threads
        As in :func:`conv_transpose2d`.

    Returns
    -------
    ndarray
        As :func:`conv_transpose2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv_transpose2d`.

    References
    ----------
    As :func:`conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import conv_transpose1d
    >>> conv_transpose1d(np.array([1.0, 2.0]), np.array([1.0, 10.0, 100.0]), stride=2)
    array([  1.,  10., 102.,  20., 200.])
    """
    return _conv_transpose(
        1, x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out, num_threads
    )


def conv_transpose3d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    layout: str = "NCHW",
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""Transposed convolution of volumes: each input cell adds a scaled kernel to the result.

    .. math:: y_{n,k,o} = b_k + \sum_{c} \sum_{i s + r d = o + p} w_{c,k,r} \; x_{n,c,i}

    where o, i and r have three components (D, H, W).

    Parameters
    ----------
    x : array_like
        ``(D, H, W)``, ``(C, D, H, W)`` or ``(N, C, D, H, W)``; channels last with ``layout="NHWC"``.
    weight : array_like
        ``(C, K // groups, T, R, S)`` or ``(T, R, S)``.
    bias, stride, padding, output_padding, groups, dilation, layout, out, num_threads
        As in :func:`conv_transpose2d`.

    Returns
    -------
    ndarray
        As :func:`conv_transpose2d`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As :func:`conv_transpose2d`.

    References
    ----------
    As :func:`conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import conv_transpose3d
    >>> conv_transpose3d(np.ones((1, 2, 2, 2)), np.ones((1, 3, 2, 2, 2)), stride=2).shape
    (3, 4, 4, 4)
    """
    return _conv_transpose(
        3, x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out, num_threads
    )
