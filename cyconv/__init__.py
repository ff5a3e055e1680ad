"""Convolution and pooling for NumPy arrays, as deep learning defines them, compiled."""

from cyconv._runtime import VERSION as __version__
from cyconv._runtime import get_num_threads, num_threads, set_num_threads, show_config

__all__ = ["__version__", "get_num_threads", "num_threads", "set_num_threads", "show_config"]
