from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

class Recipe:
    def __init__(
        self,
        windows: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        geometry: Array,
        divisor: float,
        threads: int,
        entry: object,
        into_given: bool,
        placed: bool,
    ) -> None: ...

def run(
    entry: object, x: Array, out: Array, indices: Array | None, geometry: Array, divisor: float, num_threads: int
) -> bool: ...
def key_of(op: int, naxes: int, x: Array, threads: int, layout: str, windows: tuple[Any, ...]) -> tuple[Any, ...]: ...
def remember(key: tuple[Any, ...], recipe: Recipe) -> None: ...
def forget() -> None: ...
def again(
    op: int, naxes: int, x: object, windows: tuple[Any, ...], layout: object, out: object, threads: int
) -> Any: ...

def address_of(array: Array) -> int: ...
def same_bytes(a: Array, b: Array) -> bool: ...

class Prepared(Protocol):
    def run(self, arrays: tuple[Array, ...], out: Array) -> bool: ...

def remember_gradient(
    kind: object,
    size: object,
    settings: tuple[Any, ...],
    arrays: tuple[Any, ...],
    result: Array,
    is_new: bool,
    threads: int,
    make: Callable[[], Prepared],
) -> None: ...
def gradient_again(
    kind: object, size: object, settings: tuple[Any, ...], arrays: tuple[Any, ...], out: object, threads: int
) -> Array | None: ...
