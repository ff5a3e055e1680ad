"""The one room where arguments are checked: every message names the argument, what came and what is allowed.

TypeError for a wrong type, ValueError for a wrong value. What leaves this room is an exact Python int, a
small record or a native, aligned, base-class `ndarray`; nothing below checks again. This file is the door:
arrays are checked in `cyconv._arrays`, numbers and words in `cyconv._scalars`.
"""

from __future__ import annotations

from cyconv._arrays import Image, as_array, as_bias, as_image, check_out, float_dtypes, run_into, takes_result
from cyconv._plans.spec import Activation
from cyconv._scalars import (
    as_flag,
    as_int,
    as_ints,
    as_real,
    check_choice,
    check_index_range,
    is_sequence,
    naxes_of,
)

__all__ = [
    "Activation",
    "Image",
    "as_array",
    "as_bias",
    "as_flag",
    "as_image",
    "as_int",
    "as_ints",
    "as_real",
    "check_choice",
    "check_index_range",
    "check_out",
    "check_threads",
    "check_workspace_limit",
    "float_dtypes",
    "is_sequence",
    "naxes_of",
    "parse_activation",
    "run_into",
    "takes_result",
]


def check_threads(num_threads: object) -> int | None:
    """Return the number of threads to use; None means the global setting."""
    if type(num_threads) is int and num_threads > 0:
        return num_threads
    return None if num_threads is None else as_int("num_threads", num_threads, minimum=1)


def check_workspace_limit(workspace_limit: object) -> int | None:
    """Return the cap on scratch memory in bytes; None means the default one."""
    return None if workspace_limit is None else as_int("workspace_limit", workspace_limit, minimum=0)


_ACTIVATIONS = {
    None: Activation(),
    "relu": Activation("relu", lo=0.0),
    "relu6": Activation("relu6", lo=0.0, hi=6.0),
    "silu": Activation("silu", silu=True),
}
_ACTIVATION_FORMS = 'None, "relu", "relu6", "silu", ("clip", lo, hi) or ("leaky_relu", slope)'


def parse_activation(activation: object) -> Activation:
    """Return the record that kernels read from the public form of `activation`."""
    if activation is None or isinstance(activation, str):
        if activation in _ACTIVATIONS:
            return _ACTIVATIONS[activation]
        raise ValueError(f"activation must be {_ACTIVATION_FORMS}, got {activation!r}")
    if not isinstance(activation, (tuple, list)):
        raise TypeError(
            f"activation must be {_ACTIVATION_FORMS}, got {activation!r} of type {type(activation).__name__}"
        )
    match tuple(activation):
        case ("clip", lo, hi):
            low, high = as_real("lo of activation 'clip'", lo), as_real("hi of activation 'clip'", hi)
            if low > high:
                raise ValueError(f"activation 'clip' needs lo <= hi, got lo {low} and hi {high}")
            return Activation("clip", lo=low, hi=high)
        case ("leaky_relu", slope):
            return Activation(
                "leaky_relu", slope=as_real("slope of activation 'leaky_relu'", slope, finite=True)
            )
    raise ValueError(f"activation must be {_ACTIVATION_FORMS}, got {activation!r}")
