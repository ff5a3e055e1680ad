"""Plans: a convolution whose weights are checked and packed once, for inputs of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cyconv import _checks, geometry
from cyconv._arrays import Array
from cyconv._axes import explicit_padding
from cyconv._kernels import planned
from cyconv._known import counts_packing
from cyconv._plans.arrays import fill_with_bias, triple, triple_pads, with_three_axes
from cyconv._plans.bands import prepare_stored, run_stored
from cyconv._plans.convolution import Convolution, Explanation, check_supported
from cyconv._plans.spec import CONV_PADDING_MODES, Call, ConvSpec, contiguous_strides
from cyconv._runtime import threads_for
from cyconv._storage import stored, to_compute

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["ConvPlan", "Explanation", "plan_conv1d", "plan_conv2d", "plan_conv3d"]

Size: TypeAlias = int | Sequence[int]
Padding: TypeAlias = int | str | Sequence[int] | Sequence[tuple[int, int]]
Activation: TypeAlias = str | tuple[Any, ...] | None

_LETTERS = {1: "S", 2: "R, S", 3: "T, R, S"}
#: shapes that a plan remembers; networks with more sizes than this start again
_MOST_KNOWN = 64
_CHOICES = ("auto", "direct", "winograd", "fft")
#: coordinates must stay this far from the end of 64-bit integers
LARGEST_EXTENT = 2**61


class ConvPlan:
    """A convolution layer ready to run; made by :func:`plan_conv2d` and its 1-D and 3-D forms.

    Call it with an image (and, if wanted, ``out=``); it serves any N, H and W, and any number of threads at once.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import plan_conv2d
    >>> plan = plan_conv2d(np.ones((1, 1, 2, 2), np.float32))
    >>> plan(np.arange(9, dtype=np.float32).reshape(1, 3, 3))
    array([[[ 8., 12.],
            [20., 24.]]], dtype=float32)
    """

    def __init__(
        self,
        axes: int,
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
        algorithm: str = "auto",
        num_threads: int | None = None,
        workspace_limit: int | None = None,
        keep: bool = True,
        packing_counts: bool | None = None,
    ) -> None:
        self._axes = axes
        self._weight = as_weight(weight, axes)
        self._kernel = self._weight.shape[2:]
        self._stride = _checks.as_ints("stride", stride, axes, minimum=1)
        self._dilation = _checks.as_ints("dilation", dilation, axes, minimum=1)
        self._groups = _checks.as_int("groups", groups, minimum=1)
        out_channels = self._weight.shape[0]
        if out_channels % self._groups:
            raise ValueError(f"groups must divide K = {out_channels} (weight.shape[0]), got {self._groups}")
        self._padding = padding if isinstance(padding, str) else explicit_padding(padding, axes)
        self._padding_mode = _checks.check_choice("padding_mode", padding_mode, CONV_PADDING_MODES)
        self._activation = _checks.parse_activation(activation)
        self._layout = layout
        self._algorithm = _checks.check_choice("algorithm", algorithm, _CHOICES)
        self._threads = _checks.check_threads(num_threads)
        self._limit = _checks.check_workspace_limit(workspace_limit)
        self._bias = _checks.as_bias(bias, out_channels, self._weight.dtype)
        self._once = not keep
        if packing_counts is None:
            packing_counts = not keep and counts_packing(self._weight)
        self._packing_counts = packing_counts
        if keep:
            self._weight = self._weight.copy()
            self._bias = None if self._bias is None else self._bias.copy()
        # cell by cell: then vectors of x and of the result can both begin with a line of the cache, or neither
        self._reads_in_place = {*self._kernel, *self._stride} == {1} and (
            isinstance(self._padding, str) or not any(map(any, self._padding))
        )
        self._known: dict[bytes, planned.Shortcut] = {}
        self._ready: dict[tuple[np.dtype[Any], tuple[int, ...]], Convolution] = {}
        if keep:  # names are checked now, whatever images come later
            geometry.resolve_padding(padding, self._kernel, self._kernel, self._stride, self._dilation)
            _checks.as_image("x", np.empty((1,) * axes, np.float32), axes, layout)
        if algorithm != "auto" and 0 not in self._weight.shape:
            check_supported(self._spec(_checks.float_dtypes(("weight", self._weight))[0], self._stride), algorithm)

    @property
    def weight(self) -> Array:
        """The weights that were packed, not to be written to."""
        return self._weight

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle or a copy holds: not what earlier calls found out, which refers to compiled modules."""
        return self.__dict__ | {"_known": {}, "_ready": {}}

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Convolve x.

        Parameters
        ----------
        x : array_like
            An image in the plan's layout, with or without channel and batch axes.
        out : ndarray, optional
            Where the result goes.

        Returns
        -------
        ndarray
            The result, in the rank and layout of x.
        """
        threads = threads_for(self._threads)
        result = planned.again(self._known, x, out, threads)
        if result is not None:
            return result
        image = _checks.as_image("x", x, self._axes, self._layout)
        result = self.run_image(image, out)
        if type(x) is np.ndarray:
            with suppress(MemoryError):  # the result is there
                self._remember(x, image, result, threads)
        return result

    def _remember(self, x: Array, image: _checks.Image, result: Array, threads: int) -> None:
        """Let the next image like x skip the checks, unless x needed more than a view."""
        key = planned.key_of(x, threads)
        if key in self._known:  # it needed more care for something else
            return
        compute = x.dtype if x.dtype.itemsize > 2 else np.dtype(np.float32)
        convolution = self._ready.get((compute, self._stride))
        viewed = np.may_share_memory(image.array, x)
        if convolution is None or result.dtype is not x.dtype or result.size == 0 or not viewed:
            return
        pads, _ = self._place(image.array.shape[2:])
        plain = image.result_view(np.empty(result.shape, result.dtype))
        x_view, out_view = with_three_axes(image.array), with_three_axes(plain)
        run = prepare_stored(convolution, x_view, out_view, pads, threads)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = planned.Shortcut(run, x_view, out_view, result.shape, self._reads_in_place)

    def run_image(self, image: _checks.Image, out: Array | None = None) -> Array:
        """Convolve an image that was checked already."""
        x = image.array
        self._check_channels(x.shape[1])
        size = x.shape[2:]
        pads, out_size = self._place(size)
        named = [("x", x), ("weight", self._weight)] + ([] if self._bias is None else [("bias", self._bias)])
        compute, result = _checks.float_dtypes(*named)
        shape = image.result_shape(self._weight.shape[0], out_size)
        follows = x if self._reads_in_place else None
        target, through = _checks.check_out(out, shape, result, [array for _, array in named], follows)
        if target.size == 0:
            return target

        return _checks.run_into(
            target, through, lambda array: self._run(x, compute, image.result_view(array), pads)
        )

    def _check_channels(self, channels: int) -> None:
        wanted = self._weight.shape[1] * self._groups
        if channels != wanted:
            raise ValueError(
                f"x must have C = {wanted} channels (weight.shape[1] = {self._weight.shape[1]} times groups = "
                f"{self._groups}), got {channels}"
            )

    def _place(self, size: tuple[int, ...]) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
        """Padding pairs and output size for an input of this size."""
        return place_windows(size, self._kernel, self._stride, self._padding, self._dilation, self._padding_mode)

    def _spec(self, compute: np.dtype[Any], stride: Sequence[int]) -> ConvSpec:
        # a step that is never taken is 1, so that a huge one cannot overflow
        steps = [d if k > 1 else 1 for k, d in zip(self._kernel, self._dilation, strict=True)]
        return ConvSpec(
            in_channels=self._weight.shape[1] * self._groups,
            out_channels=self._weight.shape[0],
            kernel=triple(self._kernel),
            stride=triple(stride),
            dilation=triple(steps),
            groups=self._groups,
            padding_mode=self._padding_mode,
            activation=self._activation,
            dtype=compute,
            workspace_limit=self._limit,
        )

    def _run(self, x: Array, compute: np.dtype[Any], out: Array, pads: Sequence[tuple[int, int]]) -> None:
        if x.shape[1] == 0:
            with stored(out, compute, 1) as values:
                fill_with_bias(values, self._bias, self._activation)
            return
        stride = tuple(1 if o == 1 else s for s, o in zip(self._stride, out.shape[2:], strict=True))
        key = compute, stride if max(self._stride) > 2**31 else self._stride
        convolution = self._ready.get(key)
        if convolution is None:
            convolution = self._ready[key] = self._convolution(self._spec(*key))
        run_stored(convolution, x, out, pads, threads_for(self._threads))

    def _convolution(self, spec: ConvSpec) -> Convolution:
        threads = threads_for(self._threads)
        weight = to_compute(self._weight, spec.dtype, threads)
        weight = weight.reshape(*weight.shape[:2], *spec.kernel)
        bias = None if self._bias is None else to_compute(self._bias, spec.dtype, threads)
        return Convolution(spec, weight, bias, self._algorithm, self._once, self._packing_counts)

    def explain(self, shape: Sequence[int]) -> Explanation:
        """What a call with a C-contiguous image of this shape, in the dtype of the weights, would do.

        Parameters
        ----------
        shape : sequence of int
            Shape of x.

        Returns
        -------
        Explanation
            Algorithm, build, FLOPs, bytes, workspace, why, estimates of the candidates; prints as a table.
        """
        if not _checks.is_sequence(shape):
            raise TypeError(f"shape must be a sequence of ints, got {shape!r} of type {type(shape).__name__}")
        sizes = [_checks.as_int("shape", size, minimum=1) for size in shape]
        _checks.check_index_range("shape: an image", sizes, 8)
        compute, _ = _checks.float_dtypes(("weight", self._weight))
        image = _checks.as_image("x", np.broadcast_to(np.zeros((), compute), sizes), self._axes, self._layout)
        pads, out_size = self._place(image.array.shape[2:])
        n, channels = image.array.shape[:2]
        self._check_channels(channels)
        call = Call(
            batch=n,
            size=triple(image.array.shape[2:]),
            pads=triple_pads(pads),
            out=triple(out_size),
            x_strides=contiguous_strides(channels, triple(image.array.shape[2:]), image.channels_last),
            out_strides=contiguous_strides(self._weight.shape[0], triple(out_size), image.channels_last),
        )
        return self._convolution(self._spec(compute, self._stride)).explain(call, threads_for(self._threads))

    def receptive_field_layer(self) -> Mapping[str, Any]:
        """This layer as :func:`receptive_field` wants it."""
        return {
            "kernel_size": self._kernel,
            "stride": self._stride,
            "padding": self._padding,
            "dilation": self._dilation,
        }


def place_windows(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    padding_mode: str,
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Padding pairs and output size of a convolution of an input of this size."""
    given = padding if isinstance(padding, str) else explicit_padding(padding, len(size))
    return _place(tuple(size), tuple(kernel), tuple(stride), given, tuple(dilation), padding_mode)


@lru_cache(maxsize=512)
def _place(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: str | tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    padding_mode: str,
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    pads = geometry.resolve_padding(padding, size, kernel, stride, dilation)
    for axis, (cells, (before, after)) in enumerate(zip(size, pads, strict=True)):
        most = max(before, after)
        if cells + before + after > LARGEST_EXTENT:
            raise ValueError(f"padding of axis {axis} must leave at most 2**61 cells, got {(before, after)}")
        if (padding_mode == "reflect" and most >= cells) or (padding_mode == "circular" and most > cells):
            word = "smaller than" if padding_mode == "reflect" else "at most"
            raise ValueError(
                f"padding must be {word} the input size {cells} of axis {axis} with padding_mode="
                f"{padding_mode!r}, got {(before, after)}"
            )
    return pads, tuple(
        geometry.conv_out_size(*axis) for axis in zip(size, kernel, stride, pads, dilation, strict=True)
    )


def as_weight(weight: ArrayLike, axes: int, channels: str = "K, C // groups") -> Array:
    """The weight as (K, C // groups, *kernel), or what ``channels`` calls its first two axes."""
    array = _checks.as_array("weight", weight)
    if array.ndim == axes:
        array = array[np.newaxis, np.newaxis]
    letters = _LETTERS[axes]
    if array.ndim != axes + 2:
        raise ValueError(
            f"weight must have shape ({channels}, {letters}) or ({letters}), got shape {array.shape}"
        )
    if 0 in array.shape[2:]:
        raise ValueError(f"weight must have a kernel ({letters}) of at least 1 per axis, got shape {array.shape}")
    return array


def plan_conv1d(
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
    algorithm: str = "auto",
    num_threads: int | None = None,
    workspace_limit: int | None = None,
) -> ConvPlan:
    """Plan a :func:`conv1d`; the arguments, errors and bounds are those of :func:`plan_conv2d`.

    Parameters
    ----------
    weight : array_like
        ``(K, C // groups, S)`` or ``(S,)``.
    bias, stride, padding, dilation, groups, padding_mode, activation, layout, algorithm, num_threads, workspace_limit
        As in :func:`conv2d`.

    Returns
    -------
    ConvPlan

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import plan_conv1d
    >>> plan_conv1d(np.array([1.0, -1.0]))(np.array([1.0, 4.0, 9.0]))
    array([-3., -5.])
    """
    return ConvPlan(
        1, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout,
        padding_mode=padding_mode, activation=activation, algorithm=algorithm, num_threads=num_threads,
        workspace_limit=workspace_limit,
    )  # fmt: skip


def plan_conv2d(
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
    algorithm: str = "auto",
    num_threads: int | None = None,
    workspace_limit: int | None = None,
) -> ConvPlan:
    """Check and pack the weights of a :func:`conv2d` once, to run it on many images.

    The weights are copied: later changes of the arrays do not matter. One plan serves images of any N, H and W, and
    any number of Python threads at once.

    Parameters
    ----------
    weight : array_like
        ``(K, C // groups, R, S)`` or ``(R, S)``.
    bias, stride, padding, dilation, groups, padding_mode, activation, layout, algorithm, num_threads, workspace_limit
        As in :func:`conv2d`.

    Returns
    -------
    ConvPlan
        ``plan(x, out=None)`` convolves, ``plan.explain(x.shape)`` says how.

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d`, as far as the image is not needed to tell.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import plan_conv2d
    >>> plan = plan_conv2d(np.ones((8, 3, 3, 3), np.float32), padding="same", activation="relu")
    >>> plan(np.ones((3, 32, 32), np.float32)).shape
    (8, 32, 32)
    >>> plan.explain((3, 32, 32)).flops
    442368
    """
    return ConvPlan(
        2, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout,
        padding_mode=padding_mode, activation=activation, algorithm=algorithm, num_threads=num_threads,
        workspace_limit=workspace_limit,
    )  # fmt: skip


def plan_conv3d(
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
    algorithm: str = "auto",
    num_threads: int | None = None,
    workspace_limit: int | None = None,
) -> ConvPlan:
    """Plan a :func:`conv3d`; the arguments, errors and bounds are those of :func:`plan_conv2d`.

    Parameters
    ----------
    weight : array_like
        ``(K, C // groups, T, R, S)`` or ``(T, R, S)``.
    bias, stride, padding, dilation, groups, padding_mode, activation, layout, algorithm, num_threads, workspace_limit
        As in :func:`conv2d`.

    Returns
    -------
    ConvPlan

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import plan_conv3d
    >>> plan_conv3d(np.ones((2, 2, 2)))(np.ones((3, 3, 3))).shape
    (2, 2, 2)
    """
    return ConvPlan(
        3, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout,
        padding_mode=padding_mode, activation=activation, algorithm=algorithm, num_threads=num_threads,
        workspace_limit=workspace_limit,
    )  # fmt: skip
