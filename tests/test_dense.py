"""The dense path: no bit of a result depends on how the product is cut and turned."""

import itertools
import math

import numpy as np
import pytest
from calls import noise

import cyconv
from cyconv import _runtime
from cyconv._plans import convolution, dense, dense_blocks

#: x, weight, keywords; blocks of multiply-adds are at most 512 deep in float32, so most need several
LAYERS = [
    ((2, 65, 13, 13), (24, 65, 3, 3), {"padding": 1}),
    ((2, 65, 13, 13), (33, 65, 3, 3), {"padding": 1, "stride": 2}),
    ((3, 70, 9, 7), (10, 70, 3, 3), {"padding": (2, 1), "dilation": 2}),
    ((5, 600, 3, 3), (7, 600, 1, 1), {}),
    ((2, 20, 9, 37), (10, 20, 3, 5), {"stride": (1, 2)}),
    ((1, 30, 12, 31), (17, 30, 1, 1), {"stride": 2}),
    ((2, 12, 11, 29), (9, 12, 2, 3), {"stride": 3, "dilation": (1, 2)}),
    ((3, 90, 8, 41), (20, 90, 3, 4), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 3)}),
    ((2, 80, 6, 53), (15, 80, 2, 7), {"stride": (1, 3), "padding": (0, 3), "activation": "silu"}),
    ((1, 600, 14, 14), (40, 600, 1, 1), {"activation": "relu"}),
    ((2, 40, 6, 33), (10, 20, 2, 5), {"groups": 2, "padding_mode": "reflect", "padding": (1, 2)}),
    ((2, 7, 21, 50), (20, 7, 5, 4), {"stride": 4, "padding": (3, 0)}),
    ((1, 3, 40, 70), (9, 3, 18, 16), {"stride": 16, "padding": (5, 0)}),
]


def convolve(x, w, b, out=None, **how):
    """By a plan of its own: `conv2d` keeps those that it has made, with the ways that they have chosen."""
    return cyconv.plan_conv2d(w, b, algorithm="direct", **how)(x, out=out)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_orientation_and_boxes_do_not_change_a_bit(monkeypatch, layer, layout, kind):
    shape, weight, keywords = layer
    x, w, b = noise(shape, kind), noise(weight, kind), noise(weight[:1], kind)
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    monkeypatch.setattr(dense, "blocks_for", dense_blocks.blocks_for.__wrapped__)
    ways, results = dense_blocks._KINDS, set()
    for way in ways:
        monkeypatch.setattr(dense_blocks, "_KINDS", (way,))
        for threads in (1, 2, 5):
            for most, cached in ((64, 0), (4096, 1 << 40)):  # what is not in a cache is asked for
                monkeypatch.setattr(dense_blocks.table, "DENSE_BOX", (16, most))
                monkeypatch.setattr(dense_blocks.table, "DENSE_FAR_BYTES", cached)
                results.add(convolve(x, w, b, layout=layout, num_threads=threads, **keywords).tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("activation", [("leaky_relu", 0.3), "silu", "relu6", None], ids=str)
@pytest.mark.parametrize("outputs", [1, 3, 15, 24, 40, 63])
@pytest.mark.parametrize("weight", [(40, 1, 1), (600, 1, 1), (40, 3, 3), (90, 3, 3)], ids=str)
def test_what_fills_no_vectors_leaves_its_neighbours_alone(monkeypatch, weight, outputs, activation, layout):
    """Positions side by side, each as long as its channels, or channels side by side: every cell is activated once,
    and nothing behind them is touched."""
    x, w = noise((2, weight[0], 6, 11)), noise((outputs, *weight))
    shape = (2, outputs, 6 - weight[1] + 1, 11 - weight[2] + 1)
    if layout == "NHWC":
        x, shape = np.ascontiguousarray(np.moveaxis(x, 1, -1)), (*shape[:1], *shape[2:], shape[1])
    monkeypatch.setattr(dense, "blocks_for", dense_blocks.blocks_for.__wrapped__)
    results = set()
    for way in dense_blocks._KINDS:
        monkeypatch.setattr(dense_blocks, "_KINDS", (way,))
        convolution.candidates.cache_clear()  # which knows the other ways' times
        memory = np.full(np.prod(shape) + 32, np.float32(7))
        out = memory[16:-16].reshape(shape)
        convolve(x, w, None, out, layout=layout, activation=activation)
        assert (memory[:16] == 7).all()
        assert (memory[-16:] == 7).all()
        results.add(out.tobytes())
    assert len(results) == 1


#: x, weight: planes that would fit into one box or into a few, few outputs, few positions
SHARED = [
    ((1, 128, 28, 28), (32, 128, 3, 3)), ((1, 16, 28, 28), (48, 16, 5, 5)), ((1, 320, 51, 31), (3, 320, 1, 7)),
    ((1, 144, 28, 28), (32, 144, 1, 1)), ((1, 96, 56, 56), (24, 96, 1, 1)), ((1, 512, 7, 7), (512, 512, 3, 3)),
    ((1, 256, 14, 14), (1024, 256, 1, 1)), ((3, 64, 30, 30), (24, 64, 3, 3)), ((1, 32, 149, 149), (32, 32, 3, 3)),
]  # fmt: skip


@pytest.mark.parametrize("threads", [2, 4, 16])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layer", SHARED, ids=str)
def test_no_thread_is_left_without_work(monkeypatch, layer, layout, threads):
    """Who takes the largest item that is left is never long alone at the end: items are many, or alike."""
    shape, weight = layer
    found = []

    def recorded(*arguments):
        found.append(dense_blocks.blocks_for(*arguments))
        return found[-1]

    monkeypatch.setattr(dense, "blocks_for", recorded)
    x = noise(shape)
    x = x if layout == "NCHW" else np.moveaxis(x, 1, -1)
    convolve(x, noise(weight), None, layout=layout, num_threads=threads)
    blocks = max(found, key=lambda blocks: blocks.threads)
    g = dict(zip(_runtime.kernel("dense", x.dtype).FIELDS, blocks.geometry.tolist(), strict=True))
    cuts = [
        [min(g[f"box_{axis}"], length - at) for at in range(0, length, g[f"box_{axis}"])]
        for axis, length in (("n", g["batch"]), ("d", g["out_d"]), ("h", g["out_h"]), ("w", g["out_w"]))
    ]
    items = [math.prod(box) / g["parts"] for box in itertools.product(*cuts) for _ in range(g["parts"])]
    loads = [0.0] * blocks.threads
    for item in sorted(items, reverse=True):
        loads[loads.index(min(loads))] += item
    assert blocks.threads >= min(threads, 6)  # small layers are not worth more
    assert max(loads) <= 1.3 * sum(loads) / blocks.threads


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (3, 0), (4, 3), (8, 5), (16, 0)])
@pytest.mark.parametrize("outputs", [3, 9, 16])
def test_every_length_of_a_row(monkeypatch, outputs, stride, padding):
    """Tiles that end with rows leave some of each over, whatever lies behind it; strided cells are picked from
    vectors that are whole, and from those that begin or end with the row."""
    x, w, b = noise((1, 5, 4, 216)), noise((outputs, 5, 2, 7)), noise((outputs,))
    x[..., ::3, :] = np.nan
    ways = dense_blocks._KINDS
    monkeypatch.setattr(dense, "blocks_for", dense_blocks.blocks_for.__wrapped__)
    for width in range(7, 216, 1 if outputs == 9 else 5):
        results = set()
        for way in ways:
            monkeypatch.setattr(dense_blocks, "_KINDS", (way,))
            part = np.ascontiguousarray(x[..., :width])
            y = convolve(part, w, b, stride=(1, stride), padding=(0, padding))
            upside_down = np.empty_like(y)[:, :, ::-1]
            convolve(part, w, b, stride=(1, stride), padding=(0, padding), out=upside_down)
            results |= {y.tobytes(), upside_down.tobytes()}
        assert len(results) == 1


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [3, 7, 9, 16, 48])
def test_every_number_of_positions(monkeypatch, outputs, kind):
    """Tiles of few outputs are wider, and whatever they leave over is read from a copy of the last positions."""
    x, w, b = noise((1, 19, 1, 210), kind), noise((outputs, 19, 1, 1), kind), noise((outputs,), kind)
    monkeypatch.setattr(dense, "blocks_for", dense_blocks.blocks_for.__wrapped__)
    whole = convolve(x, w, b)
    for positions in range(1, 210):
        results = set()
        for way in ((True, False, False, False), (False, False, False, False), (True, False, False, True)):
            monkeypatch.setattr(dense_blocks, "_KINDS", (dense_blocks.Kind(*way),))
            part = np.ascontiguousarray(x[..., :positions])
            results.add(convolve(part, w, b).tobytes())
        assert results == {whole[..., :positions].tobytes()}


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_channels_that_compete_for_the_cache_are_laid_out(monkeypatch, kernel, stride):
    x, w, b = noise((2, 33, 16, 32)), noise((40, 33, kernel, kernel)), noise((40,))
    monkeypatch.setattr(dense, "blocks_for", dense_blocks.blocks_for.__wrapped__)
    in_place = dense_blocks._is_direct_in
    seen, results = [], set()

    def look(spec, call, way):
        found = in_place(spec, call, way)
        seen.append(found and not way.copied)
        return found

    monkeypatch.setattr(dense_blocks, "_is_direct_in", look)
    ways = dense_blocks._KINDS
    for way in ways:
        monkeypatch.setattr(dense_blocks, "_KINDS", (way,))
        results.add(convolve(x, w, b, stride=stride).tobytes())
    assert any(seen)
    seen.clear()
    monkeypatch.setattr(dense_blocks.table, "DENSE_COLLISIONS", (x.strides[1], 32, x.nbytes))
    for way in ways:
        monkeypatch.setattr(dense_blocks, "_KINDS", (way,))
        results.add(convolve(x, w, b, stride=stride).tobytes())
    assert len(seen) > 0
    assert not any(seen)
    assert len(results) == 1


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layer", [
    ((1, 320, 40, 43), (64, 320, 1, 1)), ((2, 64, 60, 60), (40, 64, 3, 3)), ((1, 3, 100, 130), (24, 3, 7, 7)),
    ((1, 600, 30, 31), (96, 600, 1, 1)),
], ids=str)  # fmt: skip
def test_a_limit_on_scratch_memory_makes_smaller_boxes(layer, threads):
    """Rows that would be copied are read where they lie, boxes shrink; no bit changes."""
    shape, weight = layer
    x, w, b = noise(shape), noise(weight), noise(weight[:1])
    wide = cyconv.plan_conv2d(w, b, algorithm="direct", num_threads=threads)
    used = wide.explain(shape).workspace
    for limit in (used, max(used // 3, 40_000 * threads), 40_000 * threads):
        plan = cyconv.plan_conv2d(w, b, algorithm="direct", num_threads=threads, workspace_limit=limit)
        assert plan.explain(shape).workspace <= limit
        assert plan(x).tobytes() == wide(x).tobytes()
