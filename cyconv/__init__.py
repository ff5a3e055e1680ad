"""Convolution and pooling for NumPy arrays, as deep learning defines them, compiled."""

from cyconv._runtime import VERSION as __version__
from cyconv._runtime import get_num_threads, num_threads, set_num_threads, show_config
from cyconv.geometry import (
    conv_flops,
    conv_output_shape,
    conv_parameters,
    conv_transpose_output_shape,
    linear_parameters,
    pool_output_shape,
)
from cyconv.receptive import ReceptiveField, receptive_field

__all__ = [
    "ReceptiveField",
    "__version__",
    "conv_flops",
    "conv_output_shape",
    "conv_parameters",
    "conv_transpose_output_shape",
    "get_num_threads",
    "linear_parameters",
    "num_threads",
    "pool_output_shape",
    "receptive_field",
    "set_num_threads",
    "show_config",
]
