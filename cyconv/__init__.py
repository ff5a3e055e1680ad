"""Convolution and pooling for NumPy arrays, as deep learning defines them, compiled."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cyconv._runtime import VERSION as __version__
from cyconv._runtime import get_num_threads, num_threads, set_num_threads, show_config

if TYPE_CHECKING:
    from cyconv import grad
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
    from cyconv.pool import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
    from cyconv.pool_adaptive import (
        adaptive_avg_pool1d,
        adaptive_avg_pool2d,
        adaptive_avg_pool3d,
        adaptive_max_pool1d,
        adaptive_max_pool2d,
        adaptive_max_pool3d,
        global_avg_pool1d,
        global_avg_pool2d,
        global_avg_pool3d,
        global_max_pool1d,
        global_max_pool2d,
        global_max_pool3d,
    )
    from cyconv.pool_lp import lp_pool1d, lp_pool2d, lp_pool3d
    from cyconv.pool_unpool import max_unpool1d, max_unpool2d, max_unpool3d
    from cyconv.receptive import ReceptiveField, receptive_field

__all__ = [
    "ConvPlan",
    "Explanation",
    "ReceptiveField",
    "__version__",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
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
    "global_avg_pool1d",
    "global_avg_pool2d",
    "global_avg_pool3d",
    "global_max_pool1d",
    "global_max_pool2d",
    "global_max_pool3d",
    "grad",
    "linear_parameters",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "num_threads",
    "plan_conv1d",
    "plan_conv2d",
    "plan_conv3d",
    "pool_output_shape",
    "receptive_field",
    "set_num_threads",
    "show_config",
]

#: module -> what it gives to this namespace. A module is loaded when one of its names is first asked for: a program
#: that pools does not wait for the convolutions.
_HOMES: dict[str, tuple[str, ...]] = {
    "conv": ("conv1d", "conv2d", "conv3d", "corr2d",),
    "conv_plan": ("ConvPlan", "Explanation", "plan_conv1d", "plan_conv2d", "plan_conv3d",),
    "conv_transpose": ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d",),
    "geometry": (
        "conv_flops",
        "conv_output_shape",
        "conv_parameters",
        "conv_transpose_output_shape",
        "linear_parameters",
        "pool_output_shape",
    ),
    "pool": ("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",),
    "pool_adaptive": (
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "global_avg_pool1d",
        "global_avg_pool2d",
        "global_avg_pool3d",
        "global_max_pool1d",
        "global_max_pool2d",
        "global_max_pool3d",
    ),
    "pool_lp": ("lp_pool1d", "lp_pool2d", "lp_pool3d",),
    "pool_unpool": ("max_unpool1d", "max_unpool2d", "max_unpool3d",),
    "receptive": ("ReceptiveField", "receptive_field",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("grad", "nn", "signal")


def __getattr__(name: str) -> Any:
    """Load what ``import cyconv`` left out."""
    if name in _MODULES:
        return import_module(f"cyconv.{name}")
    if name in _HOME:
        value = getattr(import_module(f"cyconv.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cyconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
