"""Convolution and pooling for NumPy arrays, as deep learning defines them, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from cyconv import grad

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
    "grad",
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


def __getattr__(name: str) -> Any:
    """Load a submodule that many programs never need when it is first asked for."""
    if name == "grad":
        from importlib import import_module

        return import_module(f"cyconv.{name}")
    raise AttributeError(f"module 'cyconv' has no attribute {name!r}")
