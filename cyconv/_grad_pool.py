"""Gradients of pooling, checked and sent to the kernels: what :mod:`cyconv.grad` makes public."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isinf, prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cyconv import _checks, _grad_known
from cyconv._arrays import Array, Image
from cyconv._grad_conv import filled, image_of_size, read_gradient
from cyconv._plans.arrays import triple
from cyconv._plans.max_gradients import Gradient, Maxima, NewGradient, Planes, follow, read, scatter, scratch_for
from cyconv._plans.pool_gradients import Planes as Averages
from cyconv._plans.pool_gradients import prepare
from cyconv._plans.pooling import PoolAxis
from cyconv._pooling import Axes, Size, adaptive_axes, window_axes
from cyconv._runtime import threads_for
from cyconv.geometry import Padding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: the image, the windows of each axis, whether padding counts, the divisor if there is one
How: TypeAlias = tuple[Image, Axes, bool, int | None]
_NO_AXIS = PoolAxis(1, 1, 1, 1, 0, 0, 1)


def _like_result(image: Image, out: Sequence[int]) -> tuple[int, ...]:
    return image.result_shape(image.array.shape[1], out)


def maximum(
    axes: int, grad_output: ArrayLike, indices: ArrayLike, input_size: Sequence[int], layout: str, out: Array | None,
    num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of max-pooling, sliding or adaptive."""
    threads = threads_for(_checks.check_threads(num_threads))
    call = ("max", axes), input_size, (layout,), (grad_output, indices)
    known = _grad_known.again(call, out, num_threads)
    if known is not None:
        return known
    image = image_of_size("input_size", input_size, axes, layout)
    places = _checks.as_image("indices", indices, axes, layout)
    shape = _like_result(places, places.array.shape[2:])
    grad = read_gradient(grad_output, axes, layout, shape)
    if places.array.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got dtype {places.array.dtype}")
    if (places.rank, places.array.shape[:2]) != (image.rank, image.array.shape[:2]):
        raise ValueError(f"indices and input_size must agree in N and C, got shapes {shape} and {tuple(input_size)}")
    cells = prod(image.array.shape[2:])
    if cells == 0:
        raise ValueError(f"input_size must have at least 1 cell along every spatial axis, got {tuple(input_size)}")
    # an unsigned index beyond 2**63 must not come out negative
    at = np.minimum(places.array, 2**63 - 1) if places.array.dtype == np.uint64 else places.array
    at = at.astype(np.int64, copy=False)
    flat = _in_memory(at, image.channels_last)
    lead, inner = (at.shape[0], at.shape[1]) if image.channels_last else (at.shape[0] * at.shape[1], 1)
    planes = Planes(lead, inner, image.array.shape[2:], at.shape[2:])

    def fill(values: Array, grad: Array, maxima: Maxima | None) -> None:
        target = values if values.flags.c_contiguous else np.empty(values.shape, values.dtype)
        source = _in_memory(grad, image.channels_last)
        if maxima is not None:
            scatter(maxima, source, target, threads)
        elif follow(Maxima(planes, None, flat), source, target, threads):
            _refuse_indices(flat, cells)
        if target is not values:
            values[...] = target

    named = [("grad_output", grad)]
    if out is None or flat.size == 0:
        result = filled(out, _shape(input_size), named, threads, lambda values, grad: fill(values, grad, None))
        _grad_known.remember(call, result, out, num_threads, partial(NewGradient, planes, result.dtype))
        return result
    with scratch_for(flat) as scratch:
        maxima = read(flat, planes, scratch, threads)
        if maxima is None:
            _refuse_indices(flat, cells)  # before `out` is touched
        filled(out, _shape(input_size), named, threads, lambda values, grad: fill(values, grad, maxima))
    _grad_known.remember(call, out, out, num_threads, partial(Gradient, planes, out.dtype))
    return out


def _in_memory(array: Array, channels_last: bool) -> Array:
    """The elements of an array (N, C, *spatial), one after another in the caller's layout."""
    if channels_last:
        array = array.transpose(0, *range(2, array.ndim), 1)
    return np.ascontiguousarray(array).reshape(-1)


def _refuse_indices(flat: Array, cells: int) -> None:
    least, most = int(flat.min()), int(flat.max())
    raise ValueError(
        f"indices must be 0 to {cells - 1} (the cells of a plane of input_size) or -1, "
        f"got {least if least < -1 else most}"
    )


def _shape(input_size: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(n) for n in input_size)


def average(
    axes: int, grad_output: ArrayLike, input_size: Sequence[int], kernel_size: Size, stride: Size | None,
    padding: Padding, dilation: Size, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None,
    layout: str, out: Array | None, num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of average pooling."""
    settings = (
        kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout,
    )  # fmt: skip
    call = ("average", axes), input_size, settings, (grad_output,)
    known = _grad_known.again(call, out, num_threads)
    if known is not None:
        return known
    image = image_of_size("input_size", input_size, axes, layout)
    windows = window_axes(image.array.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    count_padding = _checks.as_flag("count_include_pad", count_include_pad)
    divisor = divisor_override
    if divisor is not None:
        divisor = _checks.as_int("divisor_override", divisor, minimum=1)
    how = image, windows, count_padding, divisor
    return _average(call, how, grad_output, out, num_threads)


def adaptive_average(
    axes: int, grad_output: ArrayLike, input_size: Sequence[int], layout: str, out: Array | None,
    num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of adaptive and of global average pooling."""
    call = ("adaptive", axes), input_size, (layout,), (grad_output,)
    known = _grad_known.again(call, out, num_threads)
    if known is not None:
        return known
    image = image_of_size("input_size", input_size, axes, layout)
    given = _checks.as_image("grad_output", grad_output, axes, layout)
    windows = adaptive_axes(image.array.shape[2:], given.array.shape[2:])
    return _average(call, (image, windows, False, None), grad_output, out, num_threads)


def _average(
    call: _grad_known.Call, how: How, grad_output: ArrayLike, out: Array | None, num_threads: int | None
) -> Array:
    (_, axes), input_size, (*_, layout), _ = call
    image, windows, count_padding, divisor = how
    threads = threads_for(_checks.check_threads(num_threads))
    shape = _like_result(image, [axis.out for axis in windows])
    grad = read_gradient(grad_output, axes, layout, shape)

    def compute(values: Array, grad: Array) -> None:
        _spread(image, grad, values, windows, count_padding, divisor, out is None, threads)

    result = filled(out, _shape(input_size), [("grad_output", grad)], threads, compute)
    if image.rank == "batch" and not image.channels_last:
        make = partial(_Average, how, grad.shape, result.dtype, out is None)
        _grad_known.remember(call, result, out, num_threads, make)
    return result


class _Average:
    """The gradient of average pooling from contiguous arrays of one shape."""

    def __init__(self, how: How, grad: tuple[int, ...], dtype: np.dtype[Any], fresh: bool, threads: int) -> None:
        image, windows, count_padding, divisor = how
        axes = (_NO_AXIS, _NO_AXIS, *windows)[-3:]
        self._prepared = prepare(_planes(image, grad), axes, count_padding, divisor, dtype, fresh, threads)

    def run(self, arrays: tuple[Array, ...], out: Array) -> bool:
        """See `_grad_known`."""
        self._prepared.run(arrays[0], out)
        return True


def _spread(
    image: Image, grad: Array, values: Array, windows: Axes, count_padding: bool, divisor: int | None,
    fresh: bool, threads: int,
) -> None:  # fmt: skip
    """Spread ``grad`` (N, C, *spatial) over ``values``, which is in the caller's layout."""
    target = values if values.flags.c_contiguous else np.empty(values.shape, values.dtype)
    source = grad.transpose(0, *range(2, grad.ndim), 1) if image.channels_last else grad
    planes = _planes(image, grad.shape)
    axes = (_NO_AXIS, _NO_AXIS, *windows)[-3:]
    how = prepare(planes, axes, count_padding, divisor, values.dtype, fresh, threads)
    how.run(np.ascontiguousarray(source), target)
    if target is not values:
        values[...] = target


def _planes(image: Image, grad: tuple[int, ...]) -> Averages:
    """How the image and a gradient (N, C, *spatial) lie in the caller's layout."""
    batch, channels = grad[:2]
    lead, inner = (batch, channels) if image.channels_last else (batch * channels, 1)
    return Averages(lead, triple(grad[2:]), triple(image.array.shape[2:]), inner)


def lp(
    axes: int, grad_output: ArrayLike, x: ArrayLike, output: ArrayLike, norm_type: float, kernel_size: Size,
    stride: Size | None, padding: Padding, dilation: Size, ceil_mode: bool, layout: str, out: Array | None,
    num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of Lp-pooling."""
    image = _checks.as_image("x", x, axes, layout)
    norm = _checks.as_real("norm_type", norm_type)
    if norm <= 0 or isinf(norm):
        raise ValueError(
            f"norm_type must be greater than 0 and finite (use max_pool{axes}d of abs(x) for infinity), got {norm}"
        )
    windows = window_axes(image.array.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    shape = _like_result(image, [axis.out for axis in windows])
    grad = read_gradient(grad_output, axes, layout, shape)
    result = _checks.as_image("output", output, axes, layout)
    if _like_result(result, result.array.shape[2:]) != shape:
        raise ValueError(
            f"output must have the shape of the result, {shape}, got {_like_result(result, result.array.shape[2:])}"
        )
    threads = threads_for(_checks.check_threads(num_threads))

    def compute(values: Array, grad: Array, cells: Array, y: Array) -> None:
        real = values.dtype.type
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            shared = grad * np.where(y == 0, 0, y ** real(1 - norm))
            _spread(image, shared, values, windows, True, 1, True, threads)
            slope = np.sign(cells) * np.abs(cells) ** real(norm - 1)
            image.result_view(values)[...] *= np.where(cells == 0, 0, slope)

    named = [("grad_output", grad), ("x", image.array), ("output", result.array)]
    return filled(out, _like_result(image, image.array.shape[2:]), named, threads, compute)
