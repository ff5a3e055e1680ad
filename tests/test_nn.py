"""Layers, losses, optimisers: gradients by differences, state that goes either way, training that repeats itself."""

import tracemalloc

import numpy as np
import pytest

import cyconv
from cyconv import nn


def rng(seed=0):
    """A generator of its own for every test."""
    return np.random.default_rng(seed)


def double(module):
    """The same module in float64, for differences."""
    for parameter in module.parameters():
        parameter.data = parameter.data.astype(np.float64)
    return module


def check_gradients(module, x, atol=1e-7):
    """Input and parameter gradients of sum(g * module(x)) against central differences."""
    double(module)
    g = rng(99).normal(size=module(x).shape)
    module.zero_grad()
    module(x)
    dx = module.backward(g)
    arrays = [(x, dx)] + [(p.data, p.grad) for p in module.parameters()]
    for array, gradient in arrays:
        assert gradient.shape == array.shape
        for at in rng(5).integers(0, array.size, 12):
            kept, loss = array.flat[at], []
            for step in (1e-5, -1e-5):
                array.flat[at] = kept + step
                loss.append((g * module(x)).sum())
            array.flat[at] = kept
            np.testing.assert_allclose(gradient.flat[at], (loss[0] - loss[1]) / 2e-5, atol=atol, rtol=1e-6)


LAYERS = {
    "conv": lambda: (nn.Conv2D(3, 4, 3, stride=2, padding=1, rng=rng()), (2, 3, 7, 6)),
    "conv same": lambda: (nn.Conv2D(4, 6, (3, 2), padding="same", groups=2, bias=False, rng=rng()), (2, 4, 5, 6)),
    "conv nhwc": lambda: (nn.Conv2D(3, 4, 3, dilation=2, layout="NHWC", rng=rng()), (2, 7, 8, 3)),
    "conv reflect": lambda: (nn.Conv2D(3, 4, 3, padding=2, padding_mode="reflect", rng=rng()), (2, 3, 5, 6)),
    "conv 1-D": lambda: (nn.Conv1D(3, 4, 3, padding=1, rng=rng()), (2, 3, 9)),
    "transposed": lambda: (
        nn.ConvTranspose2D(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, rng=rng()),
        (2, 4, 4, 5),
    ),
    "max": lambda: (nn.MaxPool2D(3, stride=2, padding=1), (2, 3, 7, 8)),
    "average": lambda: (nn.AvgPool2D(3, stride=2, padding=1, count_include_pad=False), (2, 3, 7, 8)),
    "average nhwc": lambda: (nn.AvgPool2D(2, ceil_mode=True, layout="NHWC"), (2, 7, 8, 3)),
    "adaptive": lambda: (nn.AdaptiveAvgPool2D((2, None)), (2, 3, 7, 8)),
    "linear": lambda: (nn.Linear(7, 5, rng=rng()), (3, 7)),
    "linear deep": lambda: (nn.Linear(7, 5, bias=False, rng=rng()), (2, 3, 7)),
    "flatten": lambda: (nn.Flatten(), (2, 3, 4)),
    "relu": lambda: (nn.ReLU(), (3, 9)),
    "sigmoid": lambda: (nn.Sigmoid(), (3, 9)),
    "softmax": lambda: (nn.Softmax(axis=1), (3, 9, 2)),
    "batch norm": lambda: (nn.BatchNorm2D(3, momentum=0.3), (4, 3, 5, 6)),
    "batch norm nhwc": lambda: (nn.BatchNorm2D(3, layout="NHWC"), (4, 5, 6, 3)),
    "batch norm eval": lambda: (nn.BatchNorm2D(3).eval(), (4, 3, 5, 6)),
    "residual": lambda: (
        nn.Residual(nn.Conv2D(3, 4, 3, padding=1, rng=rng()), nn.Conv2D(3, 4, 1, rng=rng())),
        (2, 3, 5, 6),
    ),
    "chain": lambda: (
        nn.Sequential(
            nn.Conv2D(2, 4, 3, rng=rng()), nn.Sigmoid(), nn.AvgPool2D(2), nn.Flatten(), nn.Linear(16, 3, rng=rng())
        ),
        (2, 2, 6, 6),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_layers(name):
    layer, shape = LAYERS[name]()
    check_gradients(layer, rng(1).normal(size=shape))


@pytest.mark.parametrize("name", LAYERS)
def test_shapes_are_known_in_advance(name):
    layer, shape = LAYERS[name]()
    assert layer.output_shape(shape) == layer(np.ones(shape, np.float32)).shape
    assert layer.flops(shape) >= 0
    assert repr(layer).startswith(type(layer).__name__)


@pytest.mark.parametrize("name", LAYERS)
def test_a_batch_of_nothing_has_gradients_of_zero(name):
    layer, (_, *sizes) = LAYERS[name]()
    x = np.zeros((0, *sizes), np.float32)
    if layer.training and isinstance(layer, nn.BatchNorm2D):
        with pytest.raises(ValueError, match="more than one value per channel"):
            layer(x)
        return
    y = layer(x)
    assert y.shape == layer.output_shape(x.shape)
    assert layer.backward(y).shape == x.shape
    for parameter in layer.parameters():
        np.testing.assert_array_equal(parameter.grad, np.zeros(parameter.shape))


@pytest.mark.parametrize("name", LAYERS)
def test_inputs_are_not_changed(name):
    layer, shape = LAYERS[name]()
    x = rng(2).normal(size=shape).astype(np.float32)
    before = x.copy()
    y = layer(x)
    g = np.ones_like(y)
    layer.backward(g)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, np.ones_like(y))


def test_gradients_add_up_until_they_are_forgotten():
    layer = nn.Linear(3, 2, rng=rng())
    x = rng().normal(size=(4, 3)).astype(np.float32)
    layer.backward(layer(x))
    once = layer.weight.grad.copy()
    layer.backward(layer(x))
    np.testing.assert_allclose(layer.weight.grad, 2 * once, rtol=1e-6)
    layer.zero_grad()
    assert layer.weight.grad is None
    with pytest.raises(RuntimeError, match="forward"):
        nn.ReLU().backward(x)
    layer.needs_input_grad = False
    layer(x)
    assert layer.backward(np.ones((4, 2), np.float32)) is None
    model = nn.Sequential(nn.ReLU(), layer)
    y = model(x)
    with pytest.raises(RuntimeError, match="layer 1"):
        model.backward(y)


def test_a_backward_pass_gives_up_what_the_forward_pass_kept():
    model = nn.Sequential(nn.Conv2D(1, 16, 3, padding=1, rng=rng()), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten())
    x = rng().normal(size=(4, 1, 64, 64)).astype(np.float32)
    for _ in range(2):  # a second call is what the first one prepares for
        g = np.ones_like(model(x))
        model.backward(g)
        model.zero_grad()
    held, left = [], []
    tracemalloc.start()
    try:
        for _ in range(3):  # what is kept between calls may grow in one of them
            before = tracemalloc.get_traced_memory()[0]
            model(x)
            held.append(tracemalloc.get_traced_memory()[0] - before)
            model.backward(g)
            model.zero_grad()
            left.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert min(held) > 8 * x.nbytes > 100 * min(left)
    with pytest.raises(RuntimeError, match="forward"):
        model.backward(g)


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [(1, 7, 5), (3, 7, 5), (9, 7, 5), (1, 1, 1), (1, 300, 7), (4, 17, 33), (5, 31, 64), (8, 96, 65), (32, 48, 10),
     (33, 100, 29), (70, 40, 50), (300, 9, 5)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_is_a_product_of_matrices(rows, inputs, outputs, dtype):
    """Few rows, which are multiplied with the weights as they lie, and many; fewer and more than outputs."""
    layer = double(nn.Linear(inputs, outputs, rng=rng()))
    for parameter in layer.parameters():
        parameter.data = rng(3).integers(-4, 5, parameter.shape).astype(dtype)
    x = rng().integers(-4, 5, (rows, inputs)).astype(dtype)
    y = layer(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, x @ layer.weight.data.T + layer.bias.data)
    g = rng(1).integers(-4, 5, y.shape).astype(dtype)
    np.testing.assert_array_equal(layer.backward(g), g @ layer.weight.data)
    np.testing.assert_array_equal(layer.weight.grad, g.T @ x)
    np.testing.assert_array_equal(layer.bias.grad, g.sum(axis=0))


@pytest.mark.parametrize("step", [(2, 1), (1, 3), (-1, 1), (1, -2)])
def test_linear_takes_any_strides(step):
    """Rows and columns some cells apart, or backwards, of the input and of the gradient."""
    layer = nn.Linear(35, 21, rng=rng())
    x = rng().standard_normal((12, 105)).astype(np.float32)[:: step[0], :: step[1]][:6, :35]
    g = rng(1).standard_normal((12, 63)).astype(np.float32)[:: step[0], :: step[1]][:6, :21]
    y, dx = layer(x), layer.backward(g)
    dw = layer.weight.grad
    layer.zero_grad()
    np.testing.assert_array_equal(y, layer(x.copy()))
    np.testing.assert_array_equal(dx, layer.backward(g.copy()))
    np.testing.assert_array_equal(dw, layer.weight.grad)


def test_dropout_drops_in_training_alone():
    layer = nn.Dropout(0.25, rng=rng())
    x = np.ones((100, 100), np.float32)
    y = layer(x)
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_allclose(y[y != 0], 4 / 3, rtol=1e-6)
    np.testing.assert_array_equal(layer.backward(x), y)
    np.testing.assert_array_equal(layer.eval()(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)
    with pytest.raises(ValueError, match="p must"):
        nn.Dropout(1.5)


def test_batch_norm_keeps_running_figures():
    layer = nn.BatchNorm2D(2, momentum=0.5)
    x = rng().normal(3, 2, (4, 2, 5, 5)).astype(np.float32)
    layer(x)
    np.testing.assert_allclose(layer.running_mean, 0.5 * x.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, 0.5 + 0.5 * x.var(axis=(0, 2, 3), ddof=1), rtol=1e-5)
    assert layer.num_batches_tracked == 1
    layer.eval()
    before = layer.running_mean.copy()
    layer(x)
    np.testing.assert_array_equal(layer.running_mean, before)
    with pytest.raises(ValueError, match="more than one"):
        layer.train()(x[:1, :, :1, :1])
    with pytest.raises(ValueError, match="channels"):
        layer(x[:, :1])


def test_losses():
    z, t = rng().normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    loss, grad = nn.cross_entropy(z, t)
    exact = -np.mean([np.log(np.exp(row)[k] / np.exp(row).sum()) for row, k in zip(z, t, strict=True)])
    assert loss == pytest.approx(exact)
    for at in range(z.size):
        z.flat[at] += 1e-6
        up = nn.cross_entropy(z, t)[0]
        z.flat[at] -= 2e-6
        down = nn.cross_entropy(z, t)[0]
        z.flat[at] += 1e-6
        assert grad.flat[at] == pytest.approx((up - down) / 2e-6, abs=1e-8)
    assert nn.cross_entropy(np.array([[1e4, 0.0]]), [1])[0] == 1e4
    assert nn.mse_loss(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))[0] == 2.5
    for args in [(z, t[:4]), (z, t + 2), (z, -t), (z[:0], t[:0]), (z[0], t)]:
        with pytest.raises(ValueError):
            nn.cross_entropy(*args)
    for args in [(z, t + 0.0), (z.astype(int), t)]:
        with pytest.raises(TypeError):
            nn.cross_entropy(*args)
    with pytest.raises(ValueError, match="shape"):
        nn.mse_loss(z, z[:1])
    with pytest.raises(TypeError, match="target must be real"):
        nn.mse_loss(z, z + 1j)


def test_optimisers_follow_their_formulas():
    w = nn.Parameter(np.array([1.0, -2.0]))
    optimiser = nn.SGD([w], 0.1, momentum=0.9, weight_decay=0.01)
    velocity, value = np.zeros(2), w.data.copy()
    for step in range(4):
        w.grad = np.array([0.5, step])
        velocity = 0.9 * velocity + w.grad + 0.01 * value
        value = value - 0.1 * velocity
        optimiser.step()
        np.testing.assert_allclose(w.data, value)
    w = nn.Parameter(np.array([1.0, -2.0]))
    optimiser = nn.Adam([w], 0.1, betas=(0.8, 0.9))
    m, v, value = np.zeros(2), np.zeros(2), w.data.copy()
    for step in range(1, 5):
        w.grad = np.array([0.5, step - 2.0])
        m, v = 0.8 * m + 0.2 * w.grad, 0.9 * v + 0.1 * w.grad**2
        value = value - 0.1 * (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.9**step)) + 1e-8)
        optimiser.step()
        np.testing.assert_allclose(w.data, value)
    for wrong in ({"lr": 0}, {"lr": -1.0}, {"lr": 0.1, "momentum": -0.5}, {"lr": 0.1, "weight_decay": np.inf}):
        with pytest.raises(ValueError):
            nn.SGD([w], **wrong)
    with pytest.raises(ValueError, match="betas"):
        nn.Adam([w], betas=(0.9, 1.0))
    with pytest.raises(TypeError, match="Parameter"):
        nn.SGD([w.data], 0.1)


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, 0.1, momentum=0.9, weight_decay=0.1), nn.Adam])
def test_a_step_goes_through_large_parameters_in_parts(make):
    """Numbers are independent of each other, whatever the shape and the strides; what is needed beside is little."""
    r = rng()
    data, grad = r.normal(size=(2, 300, 700))
    whole = nn.Parameter(np.asfortranarray(data))
    single = nn.Parameter(data[123, 456])
    whole.grad, single.grad = grad, grad[123, 456]
    optimiser = make([whole, single])
    optimiser.step()
    tracemalloc.start()
    try:
        optimiser.step()
        assert tracemalloc.get_traced_memory()[1] < 0.7 * data.nbytes
    finally:
        tracemalloc.stop()
    assert whole.data[123, 456] == single.data
    assert (whole.data != data).all()


def small_model(seed=0):
    """Every kind of layer that has a state."""
    r = rng(seed)
    return nn.Sequential(
        nn.Conv2D(1, 4, 3, padding=1, rng=r), nn.BatchNorm2D(4), nn.ReLU(), nn.MaxPool2D(2),
        nn.ConvTranspose2D(4, 4, 2, rng=r), nn.Flatten(), nn.Dropout(0.1, rng=r), nn.Linear(100, 3, rng=r),
    )  # fmt: skip


def train_a_little(model, threads):
    """A few steps on fixed data."""
    with cyconv.num_threads(threads):
        r = rng(7)
        x, t = r.normal(size=(16, 1, 8, 8)).astype(np.float32), r.integers(0, 3, 16)
        optimiser = nn.Adam(model.parameters(), 1e-2)
        losses = []
        for _ in range(6):
            loss, grad = nn.cross_entropy(model(x), t)
            optimiser.zero_grad()
            model.backward(grad)
            optimiser.step()
            losses.append(loss)
    return losses


def test_training_repeats_itself_for_any_number_of_threads():
    first, states = None, []
    for threads in (1, 2, 3):
        model = small_model()
        losses = train_a_little(model, threads)
        assert losses[-1] < losses[0]
        first = first or losses
        assert losses == first
        states.append(model.state_dict())
    for state in states[1:]:
        for name, array in state.items():
            np.testing.assert_array_equal(array, states[0][name])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_round_trip(tmp_path, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    model, other = small_model(0), small_model(1)
    train_a_little(model, 1)
    nn.save_weights(model, tmp_path / f"model{suffix}")
    nn.load_weights(other, tmp_path / f"model{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [f"model{suffix}"]
    x = rng().normal(size=(2, 1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(other.eval()(x), model.eval()(x))
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name])


def test_files_hold_parameters_of_any_name(tmp_path):
    model, other = nn.Module(), nn.Module()
    for module, value in ((model, 1.0), (other, 2.0)):
        module.file, module.allow_pickle = nn.Parameter(np.full(2, value)), nn.Parameter(np.full((), value))
    nn.save_weights(model, tmp_path / "model.npz")
    nn.load_weights(other, tmp_path / "model.npz")
    assert other.file.data.tolist() == [1, 1]
    assert other.allow_pickle.data == 1


def test_files_in_bfloat16(tmp_path, run_python):
    """In a process of its own: NumPy knows the type once anybody has imported ml_dtypes."""
    for package in ("safetensors", "ml_dtypes"):
        pytest.importorskip(package)
    header = b'{"weight":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f\x20\xc0")
    script = """
import sys
from cyconv import nn
model = nn.Linear(2, 1, bias=False)
nn.load_weights(model, sys.argv[1])
print(model.weight.data.tolist())
"""
    assert run_python(script, path) == "[[1.0, -2.5]]\n"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "bits"])
def test_damaged_files_leave_the_model_as_it_was(tmp_path, suffix, damage):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    model, path = small_model(0), tmp_path / f"model{suffix}"
    nn.save_weights(small_model(1), path)
    whole = path.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "noise": rng().bytes(500),
        "empty": b"",
        "bits": whole[:40] + bytes(b ^ 0x5A for b in whole[40:120]) + whole[120:],
    }[damage]
    path.write_bytes(broken)
    before = model.state_dict()
    with pytest.raises((ValueError, KeyError)):
        nn.load_weights(model, path)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(OSError):
        nn.load_weights(model, tmp_path / f"nothing{suffix}")
    with pytest.raises(ValueError, match="path"):
        nn.load_weights(model, tmp_path / "model.pickle")


def test_a_state_that_does_not_fit_leaves_the_model_as_it_was():
    model = small_model()
    before = model.state_dict()
    good = small_model(1).state_dict()
    wrong = {
        KeyError: [{k: v for k, v in good.items() if k != "0.bias"}, {**good, "9.weight": np.ones(3)}],
        ValueError: [{**good, "7.bias": np.ones(4)}, {**good, "0.weight": good["0.weight"][0]}],
        TypeError: [{**good, "7.bias": np.array(["a", "b", "c"])}, {**good, "7.bias": np.ones(3, complex)}],
    }
    for error, states in wrong.items():
        for state in states:
            with pytest.raises(error):
                model.load_state_dict(state)
            for name, array in model.state_dict().items():
                np.testing.assert_array_equal(array, before[name])
    model.load_state_dict({"7.bias": np.ones(3, np.float64), "other": 1}, strict=False)
    np.testing.assert_array_equal(model[7].bias.data, np.ones(3, np.float32))
    good["0.weight"][:] = 7
    model.load_state_dict(good)
    good["0.weight"][:] = 8
    assert (model[0].weight.data == 7).all()


def test_weights_go_to_torch_and_back():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.ConvTranspose2d(4, 4, 2), torch.nn.Flatten(), torch.nn.Dropout(0.1), torch.nn.Linear(100, 3),
    )  # fmt: skip
    ours = small_model()
    ours.load_state_dict(theirs.state_dict())
    x = rng().normal(size=(4, 1, 8, 8)).astype(np.float32)
    for mode in (False, True):
        theirs.train(mode)
        ours.train(mode)
        theirs[6].p, ours._layers[6].p = 0.0, 0.0
        y = theirs(torch.tensor(x))
        np.testing.assert_allclose(ours(x), y.detach().numpy(), atol=1e-5)
    target = [0, 1, 2, 0]
    theirs.zero_grad()
    torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(target)).backward()
    ours.zero_grad()
    ours.backward(nn.cross_entropy(ours(x), target)[1])
    for (name, parameter), tensor in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), atol=1e-5, err_msg=name)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in small_model(3).state_dict().items()})


def test_the_textbook_learns_an_edge_kernel():
    """The kernel [1, -1] from an image of stripes and the map of its edges, by gradient descent."""
    image = np.ones((1, 1, 6, 8), np.float32)
    image[..., 2:6] = 0
    edges = cyconv.corr2d(image[0, 0], np.array([[1, -1]], np.float32))[None, None]
    layer = nn.Conv2D(1, 1, (1, 2), bias=False, rng=rng())
    optimiser = nn.SGD(layer.parameters(), 0.9)
    for _ in range(60):
        loss, grad = nn.mse_loss(layer(image), edges)
        optimiser.zero_grad()
        layer.backward(grad)
        optimiser.step()
    assert loss < 1e-6
    np.testing.assert_allclose(layer.weight.data.ravel(), [1, -1], atol=5e-3)


def test_a_kernel_of_one_cell_is_a_linear_layer():
    convolution, linear = nn.Conv2D(6, 4, 1, rng=rng()), nn.Linear(6, 4, rng=rng(1))
    linear.load_state_dict({"weight": convolution.weight.data[:, :, 0, 0], "bias": convolution.bias.data})
    x = rng().normal(size=(2, 6, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(
        convolution(x), np.moveaxis(linear(np.moveaxis(x, 1, -1)), -1, 1), rtol=1e-5, atol=1e-6
    )


def test_a_convolution_is_a_linear_layer_that_looks_at_few_cells():
    """Its matrix is what it makes of images with one bright cell; all but 9 of its numbers are 0 or said before."""
    size = 12 * 10
    convolution = double(nn.Conv2D(1, 1, 3, padding=1, bias=False, rng=rng()))
    connected = double(nn.Linear(size, size, bias=False))
    assert convolution.weight.size == cyconv.conv_parameters(1, 1, 3, bias=False) == 9
    assert connected.weight.size == cyconv.linear_parameters(size, size, bias=False) == size**2
    single = np.eye(size).reshape(size, 1, 12, 10)
    connected.weight.data[:] = convolution(single).reshape(size, size).T
    assert len(np.unique(connected.weight.data)) == 9 + 1
    x = rng(1).normal(size=(4, 1, 12, 10))
    g = rng(2).normal(size=(4, 1, 12, 10))
    np.testing.assert_allclose(connected(x.reshape(4, -1)), convolution(x).reshape(4, -1), atol=1e-12)
    dx = connected.backward(g.reshape(4, -1))
    np.testing.assert_allclose(dx, convolution.backward(g).reshape(4, -1), atol=1e-12)


def test_initial_weights():
    shape = (64, 32, 3, 3)
    for function, variance in [
        (nn.init.kaiming_normal, 2 / (32 * 9)),
        (nn.init.kaiming_uniform, 2 / (32 * 9)),
        (nn.init.xavier_normal, 2 / (96 * 9)),
        (nn.init.xavier_uniform, 2 / (96 * 9)),
    ]:
        drawn = function(shape, rng())
        assert drawn.var() == pytest.approx(variance, rel=0.05)
        np.testing.assert_array_equal(drawn, function(shape, rng()))
    with pytest.raises(TypeError, match="rng"):
        nn.init.kaiming_normal(shape, 0)


def test_summary():
    model = nn.Sequential(
        nn.Conv2D(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Linear(6 * 14 * 14, 10)
    )
    table = nn.summary(model, (1, 1, 28, 28))
    assert [row.output_shape for row in table][-2:] == [(1, 1176), (1, 10)]
    assert table.parameters == sum(p.size for p in model.parameters())
    assert table.flops == cyconv.conv_flops((28, 28), 1, 6, 5, padding=2) + 2 * 1176 * 10
    assert [row.receptive_field for row in table] == ["5 x 5", "5 x 5", "6 x 6", "all", "all"]
    assert "total" in str(table)
    with pytest.raises(ValueError, match="layer 4"):
        nn.summary(model, (1, 1, 27, 29))
    assert cyconv.receptive_field(list(model)[:3]).size == (6, 6)


@pytest.mark.parametrize(("model", "shape", "seen"), [
    (nn.Sequential(nn.ReLU(), nn.Conv1D(1, 2, 3), nn.Sigmoid(), nn.Conv1D(2, 2, 3)), (1, 1, 9), "1 3 3 5"),
    (nn.Sequential(nn.Conv1D(1, 2, 3, layout="NWC"), nn.ReLU()), (1, 9, 1), "3 3"),
    (nn.Sequential(nn.Conv2D(1, 2, (3, 1), layout="NHWC"), nn.ReLU()), (1, 9, 7, 1), "3x1 3x1"),
    (nn.Sequential(nn.Conv2D(1, 2, 3), nn.AdaptiveAvgPool2D((None, 1))), (1, 1, 9, 8), "3x3 3x8"),
    (nn.Sequential(nn.Dropout(), nn.ConvTranspose2D(1, 2, 3, stride=2)), (1, 1, 5, 5), "1x1 2x2"),
])  # fmt: skip
def test_summary_of_what_layers_see(model, shape, seen):
    """Layers that work cell by cell see what those around them do, in any layout and number of axes."""
    found = [row.receptive_field.replace(" ", "") for row in nn.summary(model, shape)]
    assert found == seen.split()


def test_wrong_layers_are_named():
    for call in (
        lambda: nn.Conv2D(0, 1, 3),
        lambda: nn.Conv2D(3, 4, 3, groups=2),
        lambda: nn.Conv2D(3, 4, 0),
        lambda: nn.Linear(3, 0),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError, match="modules"):
        nn.Sequential(nn.ReLU(), np.ones(3))
    with pytest.raises(ValueError, match="features"):
        nn.Linear(3, 2)(np.ones((2, 4), np.float32))


def test_nn_is_not_loaded_with_the_package(run_python):
    assert run_python("import sys, cyconv; print('cyconv.nn' in sys.modules, 'cyconv.grad' in sys.modules)") == (
        "False False\n"
    )
