"""Receptive fields against brute force: sets of cells pushed back through a chain one cell at a time."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cyconv
from cyconv import receptive_field


def sees(layer: dict, size: int) -> list[set[int]]:
    """For each output cell of a 1-D layer the input cells it reads, from the definition of the layer."""
    if "output_size" in layer:
        out = layer["output_size"]
        return [
            {i for i in range(size) if i * out < (o + 1) * size and (i + 1) * out > o * size}
            for o in range(out)
        ]
    k, s, d = layer["kernel_size"], layer.get("stride", 1), layer.get("dilation", 1)
    pads = layer.get("padding", 0)
    before, after = (pads, pads) if isinstance(pads, int) else pads
    if layer.get("transposed"):  # scatter: input cell i adds to i*s + d*t of the uncut result
        full = (size - 1) * s + d * (k - 1) + 1 + layer.get("output_padding", 0)
        found: list[set[int]] = [set() for _ in range(full)]
        for i in range(size):
            for t in range(k):
                found[i * s + d * t].add(i)
        return found[before : full - after]
    found = []
    start = -before
    while start + d * (k - 1) < size + after:
        found.append({start + d * t for t in range(k)} & set(range(size)))
        start += s
    if found and layer.get("ceil_mode") and start < size and (size + before + after - d * (k - 1) - 1) % s:
        found.append({start + d * t for t in range(k)} & set(range(size)))
    return found


def brute_force(layers: list[dict], size: int) -> list[set[int]]:
    """For each output cell of a chain the input cells it depends on."""
    depends = [{i} for i in range(size)]
    for layer in layers:
        if not depends:
            break
        depends = [set().union(*(depends[i] for i in cells)) for cells in sees(layer, len(depends))]
    return depends


@st.composite
def layers_1d(draw):
    if draw(st.integers(0, 9)) == 0:
        return {"output_size": draw(st.integers(1, 9))}
    k, s, d = (draw(st.integers(1, n)) for n in (4, 3, 3))
    layer = {"kernel_size": k, "stride": s, "dilation": d}
    span = d * (k - 1) + 1
    if draw(st.integers(0, 2)) == 0:
        layer |= {"transposed": True, "padding": draw(st.integers(0, span // 2))}
        layer["output_padding"] = draw(st.integers(0, max(s, d) - 1))
    else:
        layer["padding"] = (draw(st.integers(0, span - 1)), draw(st.integers(0, span - 1)))
        layer["ceil_mode"] = draw(st.booleans())
    return layer


def as_1d(layers: list[dict]) -> list[dict]:
    """Write parameters as sequences of one: a pair of padding then means one axis, results are tuples."""
    lone = ("kernel_size", "padding", "output_size")
    return [{key: (v,) if key in lone else v for key, v in layer.items()} for layer in layers]


@settings(max_examples=400)
@given(st.lists(layers_1d(), min_size=1, max_size=5), st.integers(1, 24))
def test_region_is_the_hull_of_all_cells_that_matter(layers, size):
    depends = brute_force(layers, size)
    if not depends:  # some layer leaves no cells
        with pytest.raises(
            ValueError, match=r"larger than the padded input|padding removes the whole output"
        ):
            receptive_field(as_1d(layers), (size,))
        return
    field = receptive_field(as_1d(layers), (size,))
    assert field.output_size == (len(depends),)
    for o, cells in enumerate(depends):
        expected = slice(min(cells), max(cells) + 1) if cells else slice(0, 0)
        assert field.region((o,)) == (expected,)


@settings(max_examples=200)
@given(st.lists(layers_1d().filter(lambda la: "output_size" not in la), min_size=1, max_size=4))
def test_size_stride_and_start_hold_far_from_the_edges(layers):
    """With the edges out of reach, regions follow by the stride, and the size is the largest of them."""
    if any(layer.get("transposed") for layer in layers):
        layers = [layer | {"output_padding": 0} for layer in layers]
    field = receptive_field(as_1d(layers))
    size = 2000
    try:
        known = receptive_field(as_1d(layers), (size,))
    except ValueError:
        return
    assert (field.size, field.stride, field.start) == (known.size, known.stride, known.start)
    assert field.input_size is None
    assert field.output_size is None
    stride = Fraction(field.stride[0])
    period = prod(
        layer["stride"] for layer in layers if layer.get("transposed")
    )  # after which all phases repeat
    middle = known.output_size[0] // 2
    regions = [known.region((o,))[0] for o in range(middle, middle + 2 * period)]
    if all(r.start > 300 and r.stop < size - 300 for r in regions if r.stop):
        assert max(r.stop - r.start for r in regions) == field.size[0]
        for one, following in zip(regions, regions[period:], strict=False):
            if one.stop:
                assert following.start - one.start == stride * period


@given(
    st.lists(layers_1d().filter(lambda la: "output_size" not in la), min_size=1, max_size=4),
    st.integers(0, 9),
)
def test_without_input_size_only_the_start_clips(layers, o):
    """Given no size, the region is that of an input which goes on long after it."""
    free = receptive_field(as_1d(layers)).region((o,))
    try:
        large = receptive_field(as_1d(layers), (3000,))
    except ValueError:
        return
    assert large.region((o,)) == free


@given(st.lists(st.tuples(*(st.integers(1, 4),) * 3), min_size=1, max_size=6))
def test_closed_form_of_convolution_chains(parameters):
    size, stride = 1, 1
    for k, s, d in parameters:
        size += d * (k - 1) * stride
        stride *= s
    layers = [{"kernel_size": k, "stride": s, "dilation": d} for k, s, d in parameters]
    field = receptive_field(layers)
    assert (field.size, field.stride, field.start) == (size, stride, 0)


def test_two_stacked_two_by_two_kernels_see_nine_cells():
    field = receptive_field([{"kernel_size": (2, 2)}, {"kernel_size": (2, 2)}], (3, 3))
    assert field.size == (3, 3)
    assert field.output_size == (1, 1)
    rows, columns = field.region((0, 0))
    assert (rows, columns) == (slice(0, 3), slice(0, 3))
    assert len(range(3)[rows]) * len(range(3)[columns]) == 9


VGG16 = [
    layer
    for convs in (2, 2, 3, 3, 3)
    for layer in [{"kernel_size": 3, "padding": 1}] * convs + [{"kernel_size": 2, "stride": 2}]
]
ALEXNET = [
    {"kernel_size": 11, "stride": 4, "padding": 2},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 5, "padding": 2},
    {"kernel_size": 3, "stride": 2},
    *[{"kernel_size": 3, "padding": 1}] * 3,
    {"kernel_size": 3, "stride": 2},
]


@pytest.mark.parametrize(
    ("layers", "size", "stride", "output"), [(VGG16, 212, 32, (7, 7)), (ALEXNET, 195, 32, (6, 6))]
)
def test_published_networks(layers, size, stride, output):
    """Sizes and strides as in Araujo et al., Distill 2019, table of well-known networks."""
    field = receptive_field(layers, (224, 224))
    assert field.size == (size, size)
    assert field.stride == (stride, stride)
    assert field.output_size == output
    assert field.region((0, output[1] - 1))[1].stop == 224


def test_ints_give_ints_and_tuples_tuples():
    field = receptive_field([{"kernel_size": 3, "stride": 2, "padding": 1}], 9)
    assert (field.size, field.stride, field.start) == (3, 2, -1)
    assert (field.input_size, field.output_size) == (9, 5)
    assert field.region(0) == slice(0, 2)
    assert field.region((0, 4)) == (slice(0, 2), slice(7, 9))
    both = receptive_field([{"kernel_size": (3, 1), "stride": 2, "padding": (1, 0)}])
    assert (both.size, both.stride, both.start) == ((3, 1), (2, 2), (-1, 0))
    assert receptive_field([{"kernel_size": 3}], (5, 6, 7)).output_size == (3, 4, 5)
    assert receptive_field([{"kernel_size": 3, "padding": ((1, 0), (0, 1))}]).start == (-1, 0)


def test_no_layers_see_the_cell_itself():
    field = receptive_field([], (4, 4))
    assert (field.size, field.stride, field.start, field.output_size) == ((1, 1), (1, 1), (0, 0), (4, 4))
    assert field.region((3, 0)) == (slice(3, 4), slice(0, 1))


def test_transposition_has_fractional_stride_and_may_see_nothing():
    field = receptive_field([{"kernel_size": 1, "stride": 2, "transposed": True}], 4)
    assert (field.size, field.stride, field.output_size) == (1, Fraction(1, 2), 7)
    assert [field.region(o) for o in range(3)] == [slice(0, 1), slice(0, 0), slice(1, 2)]
    doubled = receptive_field([{"kernel_size": 4, "stride": 2, "padding": 1, "transposed": True}] * 2)
    assert doubled.stride == Fraction(1, 4)
    back = receptive_field(
        [{"kernel_size": 2, "stride": 2}, {"kernel_size": 2, "stride": 2, "transposed": True}]
    )
    assert (back.size, back.stride) == (2, 1)
    assert isinstance(back.stride, int)


def test_same_padding_and_adaptive_pooling_need_the_input_size():
    assert receptive_field([{"kernel_size": 4, "padding": "same"}], 9).start == -1
    assert receptive_field([{"kernel_size": 4, "padding": "same_lower"}], 9).start == -2
    assert receptive_field([{"kernel_size": 4, "padding": "valid"}]).start == 0
    pooled = receptive_field([{"output_size": 1}], (7, 7))
    assert (pooled.size, pooled.output_size) == ((7, 7), (1, 1))
    uneven = receptive_field([{"output_size": 3}], 7)
    assert (uneven.size, uneven.stride) == (3, Fraction(7, 3))
    for layer in ({"kernel_size": 4, "padding": "same"}, {"output_size": 1}):
        with pytest.raises(ValueError, match=r"layers\[0\] .* needs input_size"):
            receptive_field([layer])


class Described:
    """An object that follows the protocol, as plans and layers do."""

    def __init__(self, described):
        self.described = described

    def receptive_field_layer(self):
        return self.described


def test_objects_describe_themselves():
    conv = {"kernel_size": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    nested = Described([Described(conv), Described(None), {"kernel_size": (2, 2), "stride": None}])
    assert receptive_field([nested, Described(None)], (8, 8)) == receptive_field(
        [conv, {"kernel_size": 2, "stride": 2}], (8, 8)
    )


@pytest.mark.parametrize("huge", [2**31, 2**62, 2**100])
def test_huge_parameters_take_no_time(huge):
    assert receptive_field([{"kernel_size": huge}]).size == huge
    assert receptive_field([{"kernel_size": 3, "stride": huge, "dilation": huge}]).size == 2 * huge + 1
    field = receptive_field(
        [{"kernel_size": 3, "padding": 1}, {"kernel_size": huge, "padding": huge // 2}], 9
    )
    assert field.region(0) == slice(0, 9)
    with pytest.raises(ValueError, match="in more than"):
        receptive_field([{"kernel_size": huge, "dilation": 2}, {"kernel_size": huge, "dilation": 3}])
    with pytest.raises(ValueError, match="transposed layers"):
        receptive_field([{"kernel_size": 2, "stride": huge, "transposed": True}])


@pytest.mark.parametrize(
    ("layers", "size", "error", "match"),
    [
        ([{"stride": 2}], None, ValueError, r"layers\[0\] must have the key 'kernel_size'"),
        ([{"kernel_size": 3, "strides": 2}], None, ValueError, r"unknown keys \['strides'\]"),
        (
            [{"kernel_size": 3}, {"kernel_size": 0}],
            None,
            ValueError,
            r"layers\[1\]\['kernel_size'\] .* got 0",
        ),
        ([{"kernel_size": 3, "stride": -1}], None, ValueError, r"\['stride'\] must be at least 1, got -1"),
        ([{"kernel_size": 3, "dilation": True}], None, TypeError, r"\['dilation'\] must be an integer"),
        ([{"kernel_size": 3, "padding": -1}], None, ValueError, "padding must be at least 0, got -1"),
        ([{"kernel_size": (3, 3)}, {"kernel_size": (3, 3, 3)}], None, ValueError, "1 or 3 values, got 2"),
        ([{"kernel_size": 9}], 4, ValueError, "larger than the padded input"),
        ([{"kernel_size": 3, "output_padding": 1}], None, ValueError, "must be transposed"),
        ([{"kernel_size": 3, "transposed": 1}], None, TypeError, "must be True or False, got 1"),
        ([{"kernel_size": 3, "transposed": True, "ceil_mode": True}], None, ValueError, "ceil_mode"),
        ([{"kernel_size": 3, "output_size": 2}], 8, ValueError, "must have no other key"),
        ([{"kernel_size": 3}], 0, ValueError, "input_size must be at least 1, got 0"),
        ([{"kernel_size": 3}], 2.0, TypeError, "input_size must be an integer"),
        ({"kernel_size": 3}, None, TypeError, "layers must be a sequence"),
        (3, None, TypeError, "layers must be a sequence"),
        ([3], None, TypeError, "layers must hold mappings, plans or layers .* got 3 of type int"),
    ],
)
def test_bad_layers(layers, size, error, match):
    with pytest.raises(error, match=match):
        receptive_field(layers, size)


@pytest.mark.parametrize(
    ("index", "error"),
    [((-1, 0), IndexError), ((0, 4), IndexError), ((0,), ValueError), (0, ValueError), ((0.0, 0), TypeError)],
)
def test_bad_index(index, error):
    field = receptive_field([{"kernel_size": 3}], (6, 6))
    with pytest.raises(error, match="index"):
        field.region(index)


def test_index_past_a_known_end_only():
    assert receptive_field([{"kernel_size": 3}]).region(10**6) == slice(10**6, 10**6 + 3)


def test_plans_are_layers():
    plan = cyconv.plan_conv2d([[[[1.0] * 3] * 3]], stride=2, padding=1)
    assert receptive_field([plan, plan], (9, 9)) == receptive_field(
        [{"kernel_size": (3, 3), "stride": 2, "padding": 1}] * 2, (9, 9)
    )
