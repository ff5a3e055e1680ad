"""The libraries under test, one module each; a module is imported only in its own worker process."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import cast

from benchmarks.peers.base import Peer


@dataclass(frozen=True)
class Library:
    """Where a library's code is here, what it imports, and its name among installed packages."""

    title: str
    module: str
    imports: str
    distributions: tuple[str, ...]


LIBRARIES = {
    "cyconv": Library("cyconv", "own", "cyconv", ("cyconv",)),
    "torch": Library("PyTorch", "pytorch", "torch", ("torch",)),
    "onnxruntime": Library("ONNX Runtime", "ort", "onnxruntime", ("onnxruntime",)),
    "openvino": Library("OpenVINO", "ov", "openvino", ("openvino",)),
    "litert": Library("XNNPACK (LiteRT)", "litert", "ai_edge_litert", ("ai-edge-litert",)),
    "opencv": Library("OpenCV", "cv", "cv2", ("opencv-python-headless", "opencv-python")),
    "scipy": Library("SciPy", "sci", "scipy", ("scipy",)),
}


def installed(name: str) -> bool:
    """Whether the library can be imported, without importing it."""
    return importlib.util.find_spec(LIBRARIES[name].imports) is not None


def version(name: str) -> str:
    for distribution in LIBRARIES[name].distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "in place"


def load(name: str, threads: int, options: dict[str, str]) -> Peer:
    """Import the library and set its threads; to be called once, in the worker process."""
    module = importlib.import_module(f"benchmarks.peers.{LIBRARIES[name].module}")
    return cast(Peer, module.make(threads, options))
