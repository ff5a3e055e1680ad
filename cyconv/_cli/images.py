"""Image files as arrays of pixels and back, in their own pixel type and range.

Pixels are ``(H, W)`` or ``(H, W, C)``: uint8, uint16, float32, or what a ``.npy`` file holds.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cyconv._cli import CommandError

Pixels = npt.NDArray[Any]
PIXEL_TYPES = ("uint8", "uint16", "float16", "float32", "float64")


class Picture(NamedTuple):
    """Pixels and whether the last channel is alpha."""

    pixels: Pixels
    has_alpha: bool

    @property
    def colours(self) -> Pixels:
        """The channels that are not alpha, ``(H, W, C)``, a view."""
        pixels = self.pixels if self.pixels.ndim == 3 else self.pixels[..., None]
        return pixels[..., :-1] if self.has_alpha else pixels


def reason(error: BaseException) -> str:
    """What went wrong, without the path that the caller names anyway."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def read_npy(path: Path) -> Pixels:
    """The array of a ``.npy`` file; never unpickles."""
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CommandError(f"cannot read {path}: {reason(error)}") from error


def _is_npy(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def read_image(path: Path) -> Picture:
    """The first frame of an image file, upright, in its own pixel type."""
    picture = Picture(read_npy(path), has_alpha=False) if _is_npy(path) else _read_with_pillow(path)
    pixels = picture.pixels
    if pixels.dtype.name not in PIXEL_TYPES:
        raise CommandError(f"{path} holds {pixels.dtype.name} pixels; possible: {', '.join(PIXEL_TYPES)}")
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise CommandError(f"{path} has shape {pixels.shape}; an image is (H, W) or (H, W, C) and not empty")
    return picture


def _read_with_pillow(path: Path) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # An image that is large but within Pillow's limit is what the progress bar is for.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                rawmode = _rawmode(image.tile)
                if ";16" in rawmode and image.mode in ("RGB", "RGBA", "LA"):
                    return _read_deep_colour(path, rawmode)
                return _picture(image)
    except CommandError:
        raise
    except FileNotFoundError as error:
        raise CommandError(f"cannot read {path}: no such file") from error
    except Exception as error:
        # For a broken file Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others.
        known = not isinstance(error, UnidentifiedImageError)
        why = reason(error) if known else "not an image of a known format"
        raise CommandError(f"cannot read {path}: {why}") from error


def _picture(image: Any) -> Picture:
    """Pixels of an opened Pillow image of at most 8 bits per channel, or of one deep channel."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        return Picture(np.asarray(upright).astype(np.uint16), has_alpha=False)
    transparent = mode in ("PA", "La", "RGBa") or "transparency" in upright.info
    if transparent or mode not in ("L", "LA", "RGB", "RGBA", "F", "I"):
        upright = upright.convert(("L" if mode in ("1", "L") else "RGB") + ("A" if transparent else ""))
    return Picture(np.asarray(upright), has_alpha=upright.mode in ("LA", "RGBA"))


def _rawmode(tiles: Any) -> str:
    """How the samples lie in the file, from the first tile's decoder arguments."""
    args = tiles[0].args if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _read_deep_colour(path: Path, rawmode: str) -> Picture:
    """16-bit colour. Pillow keeps one byte of two, so the file is decoded once for each byte."""
    from PIL import Image, ImageOps

    mode = rawmode.partition(";")[0]
    halves = []
    for order in ("16B", "16L"):  # taken as big-endian, the first byte is kept; as little-endian, the second
        with Image.open(path) as image:
            if image.format != "PNG" or mode not in ("RGB", "RGBA"):
                raise CommandError(f"{path}: 16-bit colour is read from .png (RGB, RGBA) and .npy files")
            image.tile = [tile._replace(args=(f"{mode};{order}",)) for tile in image.tile]
            halves.append(np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16))
    return Picture(halves[0] << 8 | halves[1], has_alpha=mode == "RGBA")


def check_writable(path: Path, pixels: Pixels) -> None:
    """Refuse, before any work, a file name that cannot hold such pixels in their own type and range."""
    suffix, suffixes = path.suffix.lower(), _suffixes(pixels)
    if suffix not in suffixes:
        shown = ", ".join(suffixes if len(suffixes) <= 4 else (".png", ".jpg", ".tif", ".webp", ".npy, ..."))
        raise CommandError(f"cannot write {path}: {pixels.dtype} {pixels.shape} fits into {shown}")


def _suffixes(pixels: Pixels) -> tuple[str, ...]:
    """File names that can hold such pixels without a loss of range."""
    match pixels.dtype.name, pixels.shape[2:]:
        case "uint8", () | (2,) | (3,) | (4,):
            from PIL import Image

            formats = Image.registered_extensions()
            return (*(suffix for suffix, name in formats.items() if name in Image.SAVE), ".npy")
        case "uint16", ():
            return (".png", ".tif", ".tiff", ".npy")
        case "uint16", (3,) | (4,):
            return (".png", ".npy")
        case "float32", ():
            return (".tif", ".tiff", ".npy")
        case _:
            return (".npy",)


def write_image(path: Path, pixels: Pixels) -> None:
    """Write pixels in the format that the file name asks for."""
    data = io.BytesIO()
    try:
        if _is_npy(path):
            np.lib.format.write_array(data, pixels, allow_pickle=False)
        elif pixels.dtype == np.uint16 and pixels.ndim == 3:
            data.write(_deep_png(pixels))
        else:
            from PIL import Image

            image = Image.fromarray(np.ascontiguousarray(pixels))
            image.save(data, format=Image.registered_extensions()[path.suffix.lower()], quality=95)
        path.write_bytes(data.getbuffer())  # encoded first: a format error leaves no half of a file
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot write {path}: {reason(error)}") from error


def _deep_png(pixels: Pixels) -> bytes:
    """A 16-bit RGB or RGBA PNG file, which Pillow cannot write (ISO/IEC 15948, every row unfiltered)."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + 2 * width * channels), np.uint8)
    rows[:, 1:] = np.ascontiguousarray(pixels.astype(">u2")).view(np.uint8).reshape(height, -1)
    colour_type = {3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
