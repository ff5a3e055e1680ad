"""Weights in files: NumPy's ``.npz``, and safetensors through the package of that name."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cyconv._arrays import Array
from cyconv.nn.module import Module

_SUFFIXES = (".npz", ".safetensors")


def _suffix(path: str | os.PathLike[str]) -> tuple[Path, str]:
    file = Path(path)
    if file.suffix not in _SUFFIXES:
        raise ValueError(f"path must end with one of {_SUFFIXES}, got {str(path)!r}")
    return file, file.suffix


def _safetensors(name: str) -> Callable[..., Any]:
    try:
        from safetensors import numpy as module
    except ImportError as error:
        raise ImportError("files in the safetensors format need: pip install safetensors") from error
    function: Callable[..., Any] = getattr(module, name)
    return function


def save_weights(model: Module, path: str | os.PathLike[str]) -> None:
    """Write the ``state_dict`` of a model to a file; the format follows from the name.

    Parameters
    ----------
    model : Module
        The model.
    path : str or path
        Ends with ``.npz`` or ``.safetensors``. A file of that name is replaced when the new one is complete.

    Raises
    ------
    ValueError
        If the name ends otherwise.
    ImportError
        If the name ends with ``.safetensors`` and that package is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> from cyconv import nn
    >>> model = nn.Sequential(nn.Linear(3, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save_weights(model, os.path.join(folder, "model.npz"))
    ...     nn.load_weights(model, os.path.join(folder, "model.npz"))
    """
    file, suffix = _suffix(path)
    state = model.state_dict()
    write = None if suffix == ".npz" else _safetensors("save_file")
    partial = file.with_name(f".{file.name}.partial")
    try:
        if write is None:
            _write_npz(partial, state)
        else:
            write(state, partial)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def load_weights(model: Module, path: str | os.PathLike[str], strict: bool = True) -> None:
    """Read a file that :func:`save_weights`, or another program, wrote into a model.

    Parameters
    ----------
    model : Module
        Takes the weights; it is as it was if anything is wrong.
    path : str or path
        Ends with ``.npz`` or ``.safetensors``.
    strict : bool
        Refuse missing and unknown names.

    Raises
    ------
    OSError
        If the file cannot be opened.
    KeyError, TypeError, ValueError
        If the file is damaged, or its names or shapes are not those of the model.

    Examples
    --------
    See :func:`save_weights`.
    """
    file, suffix = _suffix(path)
    with open(file, "rb"):
        pass  # whatever opening raises is clear as it is
    read = _read_npz if suffix == ".npz" else _read_safetensors
    try:
        state = read(file)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{str(file)!r} cannot be read as a {suffix} file: {error}") from error
    model.load_state_dict(state, strict)


def _write_npz(file: Path, state: dict[str, Array]) -> None:
    """`numpy.savez` takes names for keywords, of which it has some itself."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in state.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def _read_safetensors(file: Path) -> dict[str, Array]:
    read = _safetensors("load_file")
    with suppress(ImportError):
        import ml_dtypes  # noqa: F401  # tells NumPy of bfloat16, in which many models are stored
    state: dict[str, Array] = read(file)
    return state


def _read_npz(file: Path) -> dict[str, Array]:
    try:
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, AttributeError) as error:
        raise ValueError(str(error)) from error
