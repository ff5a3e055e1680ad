"""Receptive fields: which input cells can influence an output cell, exactly, for chains of layers.

Along one axis output cell o of a layer sees the cells that exist among

    convolution, pooling     {o*s - p0 + d*t : 0 <= t < k}
    transposed convolution   {i : o + p0 - i*s = d*t for some 0 <= t < k}
    adaptive pooling         floor(o*in/out) <= i < ceil((o + 1)*in/out)

Cells of padding influence nothing. Going back through a chain, the cells that matter are kept as arithmetic
progressions, so that gaps (stride, dilation, transposition) and edges come out exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cyconv._chain import Chain, pattern, read_chain, trace
from cyconv._progressions import Run, hull
from cyconv._scalars import Ints, as_ints, is_sequence, naxes_of

__all__ = ["ReceptiveField", "SupportsReceptiveField", "receptive_field"]

if TYPE_CHECKING:
    from fractions import Fraction

Step: TypeAlias = "int | Fraction"

_MOST_PHASES = 2**16


class SupportsReceptiveField(Protocol):
    """What `receptive_field` asks of a plan or a layer object."""

    def receptive_field_layer(self) -> Mapping[str, Any] | Iterable[Any] | None:
        """Return a mapping for this layer; None if it works cell by cell; for a container its layers."""


LayerLike: TypeAlias = Mapping[str, Any] | SupportsReceptiveField


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a chain of layers, per axis: ints if everything given was an int, else tuples.

    Attributes
    ----------
    size : int or tuple of int
        The largest number of cells, from first to last, that one output cell sees (padding counted).
    stride : int, Fraction or tuple of these
        Input cells between the fields of neighbouring output cells; a Fraction if layers enlarge the image.
    start : int or tuple of int
        First cell that output cell 0 sees; negative where it lies in the padding; 0 if it sees none.
    input_size, output_size : int, tuple of int or None
        The sizes, if the input size was given.

    """

    size: int | tuple[int, ...]
    stride: Step | tuple[Step, ...]
    start: int | tuple[int, ...]
    input_size: int | tuple[int, ...] | None = None
    output_size: int | tuple[int, ...] | None = None
    _chains: tuple[Chain, ...] = field(default=(), repr=False)

    def region(self, index: Ints) -> slice | tuple[slice, ...]:
        """Return the smallest box that holds all input cells which can influence output cell `index`.

        Cells before the first one do not exist, those after the last neither if the input size is known; so
        ``x[..., *field.region(index)]`` is what the output cell is computed from.

        Parameters
        ----------
        index : int or sequence of int
            Position of the output cell: an int gives one slice, a sequence a tuple of slices. A field of ints
            takes any number of axes.

        Returns
        -------
        slice or tuple of slice
            Empty (``slice(0, 0)``) along an axis where the cell sees none.

        Raises
        ------
        TypeError, ValueError
            If the index is not made of ints or has the wrong length.
        IndexError
            If the output cell does not exist.

        Examples
        --------
        >>> field = receptive_field([{"kernel_size": 3, "padding": 1}] * 2, input_size=(8, 8))
        >>> field.region((0, 4))
        (slice(0, 3, None), slice(2, 7, None))
        """
        given = naxes_of("index", index)
        naxes = len(self._chains) if isinstance(self.size, tuple) else given
        if given != naxes:
            raise ValueError(f"index must have one int per axis ({naxes}), got {index!r}")
        cells = as_ints("index", index, naxes)
        chains = self._chains if isinstance(self.size, tuple) else self._chains * naxes
        slices = tuple(slice(*_region(chain, cell)) for chain, cell in zip(chains, cells, strict=True))
        return slices if is_sequence(index) else slices[0]


def _region(chain: Chain, cell: int) -> tuple[int, int]:
    out_size = chain[-1].out_size if chain else None
    if cell < 0 or (out_size is not None and cell >= out_size):
        allowed = "at least 0" if out_size is None else f"0 to {out_size - 1}"
        raise IndexError(f"index of an output cell must be {allowed}, got {cell}")
    return hull(trace(chain, [Run(cell, 1, 1)], bounded=True))


def _extent(chain: Chain) -> tuple[int, Step, int]:
    """Size, stride and start of the field with no edges: the pattern repeats after `period` output cells."""
    period, step, cells_per_step = pattern(chain)
    if period > _MOST_PHASES:
        raise ValueError(
            f"the fields of output cells must repeat after at most {_MOST_PHASES} cells, got {period}: "
            "the strides of transposed layers or the sizes of adaptive ones are too large"
        )
    hulls = [hull(trace(chain, [Run(cell, 1, 1)], bounded=False)) for cell in range(period)]
    return max(stop - start for start, stop in hulls), _as_step(step, cells_per_step), hulls[0][0]


def _as_step(step: int, cells_per_step: int) -> Step:
    if cells_per_step == 1:
        return step
    from fractions import Fraction  # here, since it costs more time to import than all else in this module

    return Fraction(step, cells_per_step)


def receptive_field(layers: Iterable[LayerLike], input_size: Ints | None = None) -> ReceptiveField:
    """Find what one output cell of a chain of layers can see: all input cells that can influence it.

    For convolutions and pooling, with layer 1 next to the input, the size is ``1 + sum_l d_l*(k_l - 1) *
    s_1 ... s_(l-1)``, the stride ``s_1 ... s_L``. Transposed and adaptive layers are followed cell by cell.

    Parameters
    ----------
    layers : iterable of mappings or objects
        From input to output. A mapping has ``kernel_size`` and, where they are not the defaults, ``stride``
        (1; None means the kernel size), ``padding`` (0; every form that `conv_output_shape` takes),
        ``dilation`` (1), ``ceil_mode`` (False; as in pooling), ``transposed`` (False) and with it
        ``output_padding`` (0).
        Adaptive pooling has ``output_size`` alone, in which None keeps the size of its axis.
        ``{"parallel": [branch, branch, ...]}``, each branch a sequence of layers and an empty one a skip
        connection, joins results of one size; branches may hold branches. An object (a plan, a layer of
        `cyconv.nn`) has a method ``receptive_field_layer()`` that returns such a mapping, None if it works cell by
        cell, or, for a container, the layers in it.
    input_size : int or sequence of int, optional
        Needed by ``"same"`` padding and adaptive pooling; with it regions end where the input ends.

    Returns
    -------
    ReceptiveField
        With `size`, `stride`, `start`, `output_size` and the method `region`.

    Raises
    ------
    TypeError
        If a layer is neither a mapping nor such an object, or a value has the wrong type.
    ValueError
        If a key is unknown or missing, a value is out of range, or a kernel is larger than its padded input.

    References
    ----------
    Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019,
    https://doi.org/10.23915/distill.00021

    Examples
    --------
    >>> receptive_field([{"kernel_size": 2}, {"kernel_size": 2}]).size
    3
    >>> receptive_field([{"kernel_size": 7}, {"parallel": [[{"kernel_size": 3, "padding": 1}] * 2, []]}]).size
    11
    >>> receptive_field([{"kernel_size": (3, 3), "stride": 2, "padding": 1}, {"kernel_size": 3}]).size
    (7, 7)
    """
    mappings = list(_mappings(layers))
    naxes, plain = _axes_of(mappings, input_size)
    sizes = None if input_size is None else as_ints("input_size", input_size, naxes, minimum=1)
    chains, now = read_chain("layers", mappings, naxes, sizes)
    extents = [_extent(chain) for chain in chains]
    field_sizes, starts = tuple(e[0] for e in extents), tuple(e[2] for e in extents)
    strides = tuple(e[1] for e in extents)
    if plain:
        one = None if sizes is None else sizes[0], None if now is None else now[0]
        return ReceptiveField(field_sizes[0], strides[0], starts[0], *one, tuple(chains))
    return ReceptiveField(field_sizes, strides, starts, sizes, now, tuple(chains))


def _mappings(layers: object) -> Iterable[Mapping[str, Any]]:
    """Flatten to mappings, leaving out what works cell by cell."""
    if isinstance(layers, Mapping) or not isinstance(layers, Iterable):
        raise TypeError(
            f"layers must be a sequence of layers, got {layers!r} of type {type(layers).__name__}"
        )
    for layer in layers:
        if isinstance(layer, Mapping):
            yield _flat(layer)
            continue
        describe = getattr(layer, "receptive_field_layer", None)
        if describe is None:
            raise TypeError(
                "layers must hold mappings, plans or layers with a method receptive_field_layer(), "
                f"got {layer!r} of type {type(layer).__name__}"
            )
        described = describe()
        if isinstance(described, Mapping):
            yield _flat(described)
        elif described is not None:
            yield from _mappings(described)


def _flat(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same mapping, with nothing but mappings in its branches."""
    branches = mapping.get("parallel")
    if branches is None:
        return mapping
    if isinstance(branches, Mapping) or not isinstance(branches, Iterable):
        kind = type(branches).__name__
        raise TypeError(f"'parallel' must be a sequence of branches, got {branches!r} of type {kind}")
    return {**mapping, "parallel": [list(_mappings(branch)) for branch in branches]}


def _all(mappings: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for mapping in mappings:
        yield mapping
        for branch in mapping.get("parallel", ()):
            yield from _all(branch)


def _axes_of(mappings: Sequence[Mapping[str, Any]], input_size: Ints | None) -> tuple[int, bool]:
    """Find the number of axes, and whether all is given in plain ints: then the results are ints."""
    if input_size is not None:
        return naxes_of("input_size", input_size), not is_sequence(input_size)
    for keys in (("kernel_size", "stride", "dilation", "output_padding"), ("padding",)):
        values = [mapping.get(key) for mapping in _all(mappings) for key in keys]
        counts = [naxes_of("a layer's parameter", value) for value in values if is_sequence(value)]
        if counts:
            return max(counts), False
    return 1, True
