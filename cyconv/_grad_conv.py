"""Gradients of convolution, checked and sent to the kernels: what :mod:`cyconv.grad` makes public."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cyconv import _checks, _grad_known, geometry
from cyconv._arrays import Array
from cyconv._plans import input_gradients
from cyconv._plans.arrays import run_convolution, triple, triple_pads, with_three_axes
from cyconv._plans.convolution import Convolution
from cyconv._plans.gradients import bias_gradient, prepare, weight_gradient
from cyconv._plans.spec import CONV_PADDING_MODES, Activation, Call, ConvSpec, contiguous_strides
from cyconv._plans.transposed import Transposed
from cyconv._runtime import threads_for
from cyconv._storage import computed, stored
from cyconv.conv_plan import Padding, Size, as_weight, place_windows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Pads = tuple[tuple[int, int], ...]
_ZERO = bytes(4)


class Windows(NamedTuple):
    """How a convolution's windows lie: everything of it but the numbers and the channels."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads
    out: tuple[int, ...]
    padding_mode: str


def image_of_size(name: str, size: Sequence[int], axes: int, layout: str) -> _checks.Image:
    """An image without numbers: ``size`` is a shape in the caller's rank and layout."""
    if type(size) is tuple and all(type(n) is int for n in size) and type(layout) is str:
        return _known_image(name, size, axes, layout)
    if not _checks.is_sequence(size):
        raise TypeError(f"{name} must be a sequence of ints, got {size!r} of type {type(size).__name__}")
    return _known_image.__wrapped__(name, tuple(size), axes, layout)


@lru_cache(maxsize=256)
def _known_image(name: str, size: tuple[int, ...], axes: int, layout: str) -> _checks.Image:
    sizes = tuple([_checks.as_int(name, n, minimum=0) for n in size])
    _checks.check_index_range(name, sizes, 8)
    if len(sizes) > axes + 2:  # before NumPy's own limit on the number of axes
        sizes = sizes[: axes + 3]
    nothing = np.ndarray(sizes, np.float32, _ZERO, strides=(0,) * len(sizes))
    return _checks.as_image(name, nothing, axes, layout)


def _windows(
    axes: int, size: Sequence[int], kernel: tuple[int, ...], stride: Size, padding: Padding, dilation: Size,
    padding_mode: str,
) -> Windows:  # fmt: skip
    stride = _checks.as_ints("stride", stride, axes, minimum=1)
    dilation = _checks.as_ints("dilation", dilation, axes, minimum=1)
    mode = _checks.check_choice("padding_mode", padding_mode, CONV_PADDING_MODES)
    pads, out = place_windows(size, kernel, stride, padding, dilation, mode)
    return Windows(kernel, stride, dilation, pads, out, mode)


def _transposed_windows(
    axes: int, size: Sequence[int], kernel: tuple[int, ...], stride: Size, padding: Padding, output_padding: Size,
    dilation: Size,
) -> tuple[Windows, tuple[int, ...]]:  # fmt: skip
    """Windows of the convolution that a transposed one of this input is the transpose of, and its result's size."""
    stride = _checks.as_ints("stride", stride, axes, minimum=1)
    dilation = _checks.as_ints("dilation", dilation, axes, minimum=1)
    extra = _checks.as_ints("output_padding", output_padding, axes, minimum=0)
    pads = geometry.resolve_transposed_padding(padding, kernel, stride, extra, dilation)
    result = tuple(
        geometry.conv_transpose_out_size(*axis)
        for axis in zip(size, kernel, stride, pads, extra, dilation, strict=True)
    )
    return Windows(kernel, stride, dilation, pads, tuple(size), "zeros"), result


def _check_groups(groups: object, name: str, outputs: int) -> int:
    count = _checks.as_int("groups", groups, minimum=1)
    if outputs % count:
        raise ValueError(f"groups must divide {name} = {outputs}, got {count}")
    return count


def _check_channels(name: str, channels: int, group_channels: int, groups: int) -> None:
    if channels != group_channels * groups:
        raise ValueError(
            f"{name} must have {group_channels * groups} channels (the second size of the weight, {group_channels}, "
            f"times groups = {groups}), got {channels}"
        )


def read_gradient(grad_output: ArrayLike, axes: int, layout: str, shape: tuple[int, ...]) -> Array:
    """The gradient as (N, K, *spatial); it must have the shape of the result that it belongs to."""
    image = _checks.as_image("grad_output", grad_output, axes, layout)
    given = image.result_shape(image.array.shape[1], image.array.shape[2:])
    if given != shape:
        raise ValueError(f"grad_output must have the shape of the result, {shape}, got {given}")
    return image.array


def filled(
    out: Any, shape: tuple[int, ...], named: list[tuple[str, Array]], threads: int, compute: Callable[..., None]
) -> Array:
    """A checked result: ``compute`` fills an array of this shape with sums, from the named ones, all of them of the
    dtype to compute in."""
    dtype, result = _checks.float_dtypes(*named)
    target, through = _checks.check_out(out, shape, result, [array for _, array in named])
    if target.size == 0:
        return target

    def fill(array: Array) -> None:
        if any(source.size == 0 for _, source in named):
            array[...] = 0
            return
        with ExitStack() as stack:
            values = stack.enter_context(stored(array, dtype, threads))
            compute(values, *(stack.enter_context(computed(source, dtype, threads)) for _, source in named))

    return _checks.run_into(target, through, fill)


def _spec(windows: Windows, inputs: int, outputs: int, groups: int, dtype: np.dtype[Any]) -> ConvSpec:
    # a step that is never taken is 1, so that a huge one cannot overflow
    steps = [
        geometry.steps_taken(*axis)
        for axis in zip(windows.kernel, windows.stride, windows.dilation, windows.out, strict=True)
    ]
    return ConvSpec(
        in_channels=inputs,
        out_channels=outputs,
        kernel=triple(windows.kernel),
        stride=triple([stride for stride, _ in steps]),
        dilation=triple([dilation for _, dilation in steps]),
        groups=groups,
        padding_mode=windows.padding_mode,
        activation=Activation(),
        dtype=dtype,
    )


def _spread(grad: Array, weight: Array, out: Array, windows: Windows, groups: int, threads: int) -> None:
    """The input gradient, which is a transposed convolution; gradients of padded cells go where their values came
    from."""
    through_padding = windows.padding_mode != "zeros" and any(map(any, windows.pads))
    target = out
    if through_padding:
        padded = [n + sum(pads) for n, pads in zip(out.shape[2:], windows.pads, strict=True)]
        target = np.empty((*out.shape[:2], *padded), out.dtype)
    before = [0 if through_padding else before for before, _ in windows.pads]
    Transposed(
        weight, None, stride=windows.stride, padding=before, dilation=windows.dilation, groups=groups
    ).run(grad, target, threads)
    if through_padding:
        for axis, pads in enumerate(windows.pads, start=2):
            target = _fold(target, axis, pads, windows.padding_mode)
        out[...] = target


class _Spread:
    """The same for contiguous arrays of one shape."""

    def __init__(
        self, windows: Windows, grad: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...], groups: int,
        dtype: np.dtype[Any], threads: int,
    ) -> None:  # fmt: skip
        self._how = windows, groups, threads
        through_padding = windows.padding_mode != "zeros" and any(map(any, windows.pads))
        before = tuple([before for before, _ in windows.pads])
        self._prepared = None if through_padding else input_gradients.prepare(
            grad, weight, out, windows.stride, before, windows.dilation, groups, dtype, threads
        )

    def run(self, arrays: tuple[Array, ...], out: Array) -> bool:
        """See `_grad_known`."""
        grad, weight = arrays
        if self._prepared is None:
            _spread(grad, weight, out, *self._how)
        else:
            self._prepared.run(grad, weight, out)
        return True


def _fold(padded: Array, axis: int, pads: tuple[int, int], mode: str) -> Array:
    """Take the padded cells of an axis away, adding each to the cell that it shows."""
    before, after = pads
    cells = np.moveaxis(padded, axis, 0)
    size = len(cells) - before - after
    inner = cells[before : before + size]
    head, tail = cells[:before], cells[before + size :]
    if mode == "replicate":
        inner[0] += head.sum(axis=0)
        inner[-1] += tail.sum(axis=0)
    elif mode == "circular":
        inner[size - before :] += head
        inner[:after] += tail
    else:
        inner[1 : before + 1] += head[::-1]
        inner[size - 1 - after : size - 1] += tail[::-1]
    return np.moveaxis(inner, 0, axis)


def _collect(x: Array, grad: Array, out: Array, windows: Windows, groups: int, threads: int) -> None:
    """The weight gradient of the convolution of x whose result has the gradient ``grad``."""
    x, grad = with_three_axes(x), with_three_axes(grad)
    spec, call = _collecting(windows, x.shape, x.strides, grad.shape, grad.strides, groups, x.dtype)
    rows = (spec.out_channels, spec.depth)
    values = out.reshape(rows) if out.flags.c_contiguous else np.empty(rows, out.dtype)
    weight_gradient(spec, call, x, grad, values, threads)
    if not out.flags.c_contiguous:
        out[...] = values.reshape(out.shape)


class _Collect:
    """The same for contiguous arrays of one shape."""

    def __init__(
        self, windows: Windows, x: tuple[int, ...], grad: tuple[int, ...], groups: int, dtype: np.dtype[Any],
        threads: int,
    ) -> None:  # fmt: skip
        steps = [
            tuple(step * dtype.itemsize for step in contiguous_strides(shape[1], triple(shape[2:]), False))
            for shape in (x, grad)
        ]
        spec, call = _collecting(windows, x, steps[0], grad, steps[1], groups, dtype)
        self._prepared = prepare(spec, call, threads)
        self._rows = spec.out_channels, spec.depth

    def run(self, arrays: tuple[Array, ...], out: Array) -> bool:
        """See `_grad_known`."""
        grad, x = arrays
        self._prepared.run(x, grad, out.reshape(self._rows))
        return True


class _Bias:
    """The bias gradient of contiguous arrays of one shape."""

    def __init__(self, grad: tuple[int, ...], threads: int) -> None:
        self._shape = *grad[:2], *triple(grad[2:])
        self._threads = threads

    def run(self, arrays: tuple[Array, ...], out: Array) -> bool:
        """See `_grad_known`."""
        bias_gradient(arrays[0].reshape(self._shape), out, self._threads)
        return True


@lru_cache(maxsize=256)
def _collecting(
    windows: Windows, x_shape: tuple[int, ...], x_strides: tuple[int, ...], grad_shape: tuple[int, ...],
    grad_strides: tuple[int, ...], groups: int, dtype: np.dtype[Any],
) -> tuple[ConvSpec, Call]:  # fmt: skip
    """The convolution of such arrays, their strides being of three axes, and its call."""
    call = Call(
        batch=x_shape[0],
        size=triple(x_shape[2:]),
        pads=triple_pads(windows.pads),
        out=triple(grad_shape[2:]),
        x_strides=tuple(step // dtype.itemsize for step in x_strides),
        out_strides=tuple(step // dtype.itemsize for step in grad_strides),
    )
    return _spec(windows, x_shape[1], grad_shape[1], groups, dtype), call


# ------------------------------------------------------------------------------------- one function per gradient


def conv_input(
    axes: int, input_size: Sequence[int], weight: ArrayLike, grad_output: ArrayLike, stride: Size, padding: Padding,
    dilation: Size, groups: int, padding_mode: str, layout: str, out: Array | None, num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of a convolution with respect to its input."""
    settings = stride, padding, dilation, groups, padding_mode, layout
    call = ("input", axes), input_size, settings, (grad_output, weight)
    known = _grad_known.again(call, out, num_threads)
    if known is not None:
        return known
    image = image_of_size("input_size", input_size, axes, layout)
    w = as_weight(weight, axes)
    groups = _check_groups(groups, "K (weight.shape[0])", w.shape[0])
    count = threads_for(_checks.check_threads(num_threads))
    _check_channels("input_size", image.array.shape[1], w.shape[1], groups)
    windows = _windows(axes, image.array.shape[2:], w.shape[2:], stride, padding, dilation, padding_mode)
    grad = read_gradient(grad_output, axes, layout, image.result_shape(w.shape[0], windows.out))

    def compute(values: Array, grad: Array, w: Array) -> None:
        _spread(grad, w, image.result_view(values), windows, groups, count)

    shape = tuple(int(n) for n in input_size)
    result = filled(out, shape, [("grad_output", grad), ("weight", w)], count, compute)
    if image.rank == "batch" and not image.channels_last and getattr(weight, "shape", None) == w.shape:
        sizes = grad.shape, w.shape, image.array.shape, groups, result.dtype
        _grad_known.remember(call, result, out, num_threads, partial(_Spread, windows, *sizes))
    return result


def conv_weight(
    axes: int, x: ArrayLike, weight_size: Sequence[int], grad_output: ArrayLike, stride: Size, padding: Padding,
    dilation: Size, groups: int, padding_mode: str, layout: str, out: Array | None, num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of a convolution with respect to its weight."""
    settings = stride, padding, dilation, groups, padding_mode, layout
    call = ("weight", axes), weight_size, settings, (grad_output, x)
    known = _grad_known.again(call, out, num_threads)
    if known is not None:
        return known
    image = _checks.as_image("x", x, axes, layout)
    shape, outputs, group_inputs, kernel = _weight_shape(weight_size, axes)
    groups = _check_groups(groups, "K (weight_size[0])", outputs)
    count = threads_for(_checks.check_threads(num_threads))
    _check_channels("x", image.array.shape[1], group_inputs, groups)
    windows = _windows(axes, image.array.shape[2:], kernel, stride, padding, dilation, padding_mode)
    grad = read_gradient(grad_output, axes, layout, image.result_shape(outputs, windows.out))

    def compute(values: Array, x: Array, grad: Array) -> None:
        _collect(x, grad, values, windows, groups, count)

    result = filled(out, shape, [("x", image.array), ("grad_output", grad)], count, compute)
    if len(shape) == axes + 2 and image.rank == "batch" and not image.channels_last:
        sizes = image.array.shape, grad.shape, groups, result.dtype
        _grad_known.remember(call, result, out, num_threads, partial(_Collect, windows, *sizes))
    return result


def _weight_shape(weight_size: Sequence[int], axes: int) -> tuple[tuple[int, ...], int, int, tuple[int, ...]]:
    """``weight_size`` as it came, its two channel counts and its kernel."""
    if not _checks.is_sequence(weight_size):
        raise TypeError(
            f"weight_size must be a sequence of ints, got {weight_size!r} of type {type(weight_size).__name__}"
        )
    shape = tuple(_checks.as_int("weight_size", n, minimum=0) for n in weight_size)
    full = (1, 1, *shape) if len(shape) == axes else shape
    if len(full) != axes + 2 or 0 in full[2:]:
        raise ValueError(
            f"weight_size must have {axes + 2} sizes (two channel counts, then the kernel) or {axes} (the kernel), "
            f"and a kernel of at least 1 per axis, got {shape}"
        )
    return shape, full[0], full[1], full[2:]


def conv_bias(
    axes: int, grad_output: ArrayLike, layout: str, out: Array | None, num_threads: int | None
) -> Array:
    """The gradient with respect to the bias."""
    call = ("bias", axes), None, (layout,), (grad_output,)
    known = _grad_known.again(call, out, num_threads)
    if known is not None:
        return known
    count = threads_for(_checks.check_threads(num_threads))
    image = _checks.as_image("grad_output", grad_output, axes, layout)
    grad = image.array

    def compute(values: Array, grad: Array) -> None:
        bias_gradient(with_three_axes(grad), values, count)

    result = filled(out, (grad.shape[1],), [("grad_output", grad)], count, compute)
    if image.rank == "batch" and not image.channels_last:
        _grad_known.remember(call, result, out, num_threads, partial(_Bias, grad.shape))
    return result


def transposed_input(
    axes: int, input_size: Sequence[int], weight: ArrayLike, grad_output: ArrayLike, stride: Size, padding: Padding,
    output_padding: Size, dilation: Size, groups: int, layout: str, out: Array | None, num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of a transposed convolution with respect to its input: a convolution."""
    image = image_of_size("input_size", input_size, axes, layout)
    w = as_weight(weight, axes)
    groups = _check_groups(groups, "C (weight.shape[0])", w.shape[0])
    count = threads_for(_checks.check_threads(num_threads))
    if image.array.shape[1] != w.shape[0]:
        raise ValueError(
            f"input_size must have C = {w.shape[0]} channels (weight.shape[0]), got {image.array.shape[1]}"
        )
    windows, result = _transposed_windows(
        axes, image.array.shape[2:], w.shape[2:], stride, padding, output_padding, dilation
    )
    grad = read_gradient(grad_output, axes, layout, image.result_shape(w.shape[1] * groups, result))

    def compute(values: Array, grad: Array, w: Array) -> None:
        spec = _spec(windows, grad.shape[1], w.shape[0], groups, w.dtype)
        convolution = Convolution(spec, w.reshape(*w.shape[:2], *spec.kernel), None, once=True)
        run_convolution(convolution, grad, image.result_view(values), windows.pads, count)

    shape = tuple(int(n) for n in input_size)
    return filled(out, shape, [("grad_output", grad), ("weight", w)], count, compute)


def transposed_weight(
    axes: int, x: ArrayLike, weight_size: Sequence[int], grad_output: ArrayLike, stride: Size, padding: Padding,
    output_padding: Size, dilation: Size, groups: int, layout: str, out: Array | None, num_threads: int | None,
) -> Array:  # fmt: skip
    """The gradient of a transposed convolution with respect to its weight: x and the gradient change places."""
    image = _checks.as_image("x", x, axes, layout)
    shape, inputs, group_outputs, kernel = _weight_shape(weight_size, axes)
    groups = _check_groups(groups, "C (weight_size[0])", inputs)
    count = threads_for(_checks.check_threads(num_threads))
    if image.array.shape[1] != inputs:
        raise ValueError(f"x must have C = {inputs} channels (weight_size[0]), got {image.array.shape[1]}")
    windows, result = _transposed_windows(
        axes, image.array.shape[2:], kernel, stride, padding, output_padding, dilation
    )
    grad = read_gradient(grad_output, axes, layout, image.result_shape(group_outputs * groups, result))

    def compute(values: Array, x: Array, grad: Array) -> None:
        _collect(grad, x, values, windows, groups, count)

    return filled(out, shape, [("x", image.array), ("grad_output", grad)], count, compute)


__all__ = [
    "conv_bias",
    "conv_input",
    "conv_weight",
    "filled",
    "image_of_size",
    "read_gradient",
    "transposed_input",
    "transposed_weight",
]
