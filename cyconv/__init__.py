"""Convolution and pooling for NumPy arrays, as deep learning defines them, compiled."""

from cyconv._runtime import VERSION as __version__
from cyconv._runtime import get_num_threads, num_threads, set_num_threads, show_config
from cyconv.conv import conv1d, conv2d, conv3d, corr2d
from cyconv.conv_plan import ConvPlan, Explanation, plan_conv1d, plan_conv2d, plan_conv3d
from cyconv.conv_transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
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
    "ConvPlan",
    "Explanation",
    "ReceptiveField",
    "__version__",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_flops",
    "conv_output_shape",
    "conv_parameters",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_transpose_output_shape",
    "corr2d",
    "get_num_threads",
    "linear_parameters",
    "num_threads",
    "plan_conv1d",
    "plan_conv2d",
    "plan_conv3d",
    "pool_output_shape",
    "receptive_field",
    "set_num_threads",
    "show_config",
]
