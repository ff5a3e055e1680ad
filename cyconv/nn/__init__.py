"""Layers that learn, in NumPy arrays: explicit forward and backward passes, losses, optimisers.

Names, shapes and defaults of the weights are PyTorch's, so that a ``state_dict`` goes either way. A training step::

    loss, grad = nn.cross_entropy(model(x), target)
    optimiser.zero_grad()
    model.backward(grad)
    optimiser.step()
"""

from cyconv.nn import init
from cyconv.nn.conv import Conv1D, Conv2D, ConvTranspose2D
from cyconv.nn.files import load_weights, save_weights
from cyconv.nn.losses import cross_entropy, mse_loss
from cyconv.nn.module import Module, Parameter, Residual, Sequential
from cyconv.nn.optim import SGD, Adam
from cyconv.nn.plain import BatchNorm2D, Dropout, Flatten, Linear, ReLU, Sigmoid, Softmax
from cyconv.nn.plot import plot_feature_maps, plot_receptive_field
from cyconv.nn.pooling import AdaptiveAvgPool2D, AvgPool2D, MaxPool2D
from cyconv.nn.summary import Summary, summary

__all__ = [
    "SGD",
    "Adam",
    "AdaptiveAvgPool2D",
    "AvgPool2D",
    "BatchNorm2D",
    "Conv1D",
    "Conv2D",
    "ConvTranspose2D",
    "Dropout",
    "Flatten",
    "Linear",
    "MaxPool2D",
    "Module",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Summary",
    "cross_entropy",
    "init",
    "load_weights",
    "mse_loss",
    "plot_feature_maps",
    "plot_receptive_field",
    "save_weights",
    "summary",
]
