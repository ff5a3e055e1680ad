"""The dense path: no bit of a result depends on how the product is cut and turned."""

import numpy as np
import pytest
from calls import noise

import cyconv
from cyconv._plans import dense, dense_blocks

#: x, weight, keywords; blocks of multiply-adds are at most 512 deep in float32, so most need several
LAYERS = [
    ((2, 65, 13, 13), (24, 65, 3, 3), {"padding": 1}),
    ((2, 65, 13, 13), (33, 65, 3, 3), {"padding": 1, "stride": 2}),
    ((3, 70, 9, 7), (10, 70, 3, 3), {"padding": (2, 1), "dilation": 2}),
    ((5, 600, 3, 3), (7, 600, 1, 1), {}),
    ((2, 20, 9, 37), (10, 20, 3, 5), {"stride": (1, 2)}),
    ((1, 30, 12, 31), (17, 30, 1, 1), {"stride": 2}),
    ((2, 12, 11, 29), (9, 12, 2, 3), {"stride": 3, "dilation": (1, 2)}),
    ((1, 600, 14, 14), (40, 600, 1, 1), {"activation": "relu"}),
    ((2, 40, 6, 33), (10, 20, 2, 5), {"groups": 2, "padding_mode": "reflect", "padding": (1, 2)}),
]


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_orientation_and_boxes_do_not_change_a_bit(monkeypatch, layer, layout, kind):
    shape, weight, keywords = layer
    x, w, b = noise(shape, kind), noise(weight, kind), noise(weight[:1], kind)
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    monkeypatch.setattr(dense, "blocks_for", dense_blocks.blocks_for.__wrapped__)
    ways, results = dense_blocks._WAYS, set()
    for way in ways:
        monkeypatch.setattr(dense_blocks, "_WAYS", (way,))
        for threads in (1, 2, 5):
            for most in (64, 4096):
                monkeypatch.setattr(dense_blocks.table, "DENSE_BOX", (16, most))
                y = cyconv.conv2d(
                    x, w, b, layout=layout, algorithm="direct", num_threads=threads, **keywords
                )
                results.add(y.tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [3, 7, 9, 16, 48])
def test_every_number_of_positions(monkeypatch, outputs, kind):
    """Tiles of few outputs are wider, and whatever they leave over is read from a copy of the last positions."""
    x, w, b = noise((1, 19, 1, 210), kind), noise((outputs, 19, 1, 1), kind), noise((outputs,), kind)
    monkeypatch.setattr(dense, "blocks_for", dense_blocks.blocks_for.__wrapped__)
    whole = cyconv.conv2d(x, w, b, algorithm="direct")
    for positions in range(1, 210):
        results = set()
        for way in ((True, False, False), (False, False, False)):
            monkeypatch.setattr(dense_blocks, "_WAYS", (way,))
            part = np.ascontiguousarray(x[..., :positions])
            results.add(cyconv.conv2d(part, w, b, algorithm="direct").tobytes())
        assert results == {whole[..., :positions].tobytes()}
