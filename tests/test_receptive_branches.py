"""Receptive fields of graphs with skip connections, against what really changes a cell."""

import numpy as np
import pytest

import cyconv
from cyconv import nn
from cyconv.geometry import conv_output_shape

SIZE = 40

BRANCHES = {
    "skip": [{"kernel_size": 5}, {"parallel": [[{"kernel_size": 3, "padding": 1}] * 2, []]}],
    "inception": [
        {"parallel": [[{"kernel_size": 1}], [{"kernel_size": 5, "padding": 2}], [{"kernel_size": 3, "padding": 1}]]},
        {"kernel_size": 3, "stride": 2},
    ],
    "down": [{"parallel": [[{"kernel_size": 3, "stride": 2, "padding": 1}], [{"kernel_size": 1, "stride": 2}]]}],
    "aside": [{"parallel": [[{"kernel_size": 2, "padding": ((3, 0),)}, {"kernel_size": 3}], []]}],
    "nested": [
        {"parallel": [[{"parallel": [[{"kernel_size": 3, "padding": 1}], []]}, {"kernel_size": 3, "padding": 1}], []]}
    ],
    "u-net": [
        {
            "parallel": [
                [
                    {"kernel_size": 2, "stride": 2},
                    {"kernel_size": 3, "padding": 1},
                    {"kernel_size": 2, "stride": 2, "transposed": True},
                ],
                [],
            ]
        }
    ],
}


def reach(chain, flags):
    """Which cells of the result the flagged cells of a line can influence: convolution with ones."""
    for layer in chain:
        if "parallel" in layer:
            flags = np.logical_or.reduce([reach(branch, flags) for branch in layer["parallel"]])
            continue
        how = {"stride": layer.get("stride", 1), "padding": layer.get("padding", 0)}
        run = cyconv.conv_transpose1d if layer.get("transposed") else cyconv.conv1d
        flags = run(flags.astype(float), np.ones(layer["kernel_size"]), **how) > 0
    return flags


@pytest.mark.parametrize("name", BRANCHES)
def test_regions_are_what_influences_a_cell(name):
    chain = BRANCHES[name]
    field = cyconv.receptive_field(chain, SIZE)
    influence = np.array([reach(chain, np.arange(SIZE) == i) for i in range(SIZE)])
    assert field.output_size == influence.shape[1]
    for cell in range(influence.shape[1]):
        seen = np.flatnonzero(influence[:, cell])
        assert field.region(cell) == slice(seen[0], seen[-1] + 1)
    inner = influence[:, 6:-6].sum(axis=0) if influence.shape[1] > 14 else influence.sum(axis=0)
    assert field.size >= inner.max()


def test_two_axes_and_layers():
    body = nn.Sequential(nn.Conv2D(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2D(4, 4, (3, 5), padding=(1, 2)))
    model = nn.Sequential(nn.Conv2D(1, 4, 3, stride=2, padding=1), nn.Residual(body), nn.ReLU())
    assert cyconv.receptive_field([model]).size == (11, 15)
    table = nn.summary(model, (1, 1, 32, 32))
    assert [row.receptive_field for row in table] == ["3 x 3", "11 x 15", "11 x 15"]
    assert table[1].output_shape[2:] == conv_output_shape((32, 32), 3, stride=2, padding=1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"parallel": []}, "at least one branch"),
        ({"parallel": [[]], "kernel_size": 3}, "no other key"),
        ({"parallel": [[{"kernel_size": 3}], []]}, "same size"),
        ({"parallel": [[{"kernel_size": 2, "stride": 2}], [{"kernel_size": 21}]]}, "same stride"),
        ({"parallel": [[{"kernel_size": 0}], []]}, r"parallel'\]\[0\]"),
    ],
    ids=str,
)
def test_branches_that_do_not_fit(layer, message):
    with pytest.raises(ValueError, match=message):
        cyconv.receptive_field([layer], SIZE)
    with pytest.raises(TypeError, match="parallel"):
        cyconv.receptive_field([{"parallel": 3}], SIZE)


def test_figures():
    pytest.importorskip("matplotlib")
    model = nn.Sequential(nn.Conv2D(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten())
    photo = np.zeros((3, 24, 32), np.uint8)
    figure = nn.plot_receptive_field(list(model)[:3], photo, (2, 3))
    assert figure.axes[0].get_title("left") == "cell (2, 3) sees 7 x 7 cells"
    rectangle = figure.axes[0].patches[0]
    assert (rectangle.get_x(), rectangle.get_y()) == (9.5, 5.5)
    assert (rectangle.get_width(), rectangle.get_height()) == (7, 7)
    maps = nn.plot_feature_maps(model, photo.astype(np.float32))
    assert len(maps.axes) == 3 + 8 + 8 + 8
    with pytest.raises(ValueError, match="photo"):
        nn.plot_receptive_field(list(model)[:3], np.zeros((2, 3, 4, 5)), (0, 0))
    with pytest.raises(IndexError):
        nn.plot_receptive_field(list(model)[:3], photo, (99, 0))
    with pytest.raises(ValueError, match="one image"):
        nn.plot_feature_maps(model, np.zeros((2, 3, 24, 32), np.float32))
