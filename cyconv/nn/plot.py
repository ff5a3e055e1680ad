"""Pictures of models (extra ``plot``): what a cell sees, what the layers make of an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cyconv import _checks
from cyconv._arrays import Array
from cyconv.nn.module import Module, Sequential
from cyconv.receptive import receptive_field

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

INK, SOFT, MARK = "#1f2933", "#6b7785", "#ff4d6d"
#: maps of a layer that are shown
MOST_MAPS = 16


def _figure(**options: Any) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install 'cyconv[plot]'") from error
    return Figure(facecolor="white", layout="constrained", **options)


def plot_receptive_field(model: Any, photo: ArrayLike, index: tuple[int, int]) -> Figure:
    """Draw over a photograph what one cell of a model's result can see of it.

    Parameters
    ----------
    model : Module or sequence of layers
        Whatever :func:`cyconv.receptive_field` takes.
    photo : array_like
        ``(H, W)``, ``(H, W, 3)`` or ``(3, H, W)``; the model's input has its H and W.
    index : pair of int
        Row and column of the cell.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError, IndexError
        As :func:`cyconv.receptive_field` and :meth:`cyconv.ReceptiveField.region`.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> model = nn.Sequential(nn.Conv2D(3, 8, 5, stride=2), nn.Conv2D(8, 8, 3))
    >>> figure = nn.plot_receptive_field(model, np.zeros((48, 64, 3)), (4, 9))
    >>> figure.axes[0].get_title("left")
    'cell (4, 9) sees 9 x 9 cells'
    """
    from matplotlib.patches import Rectangle

    picture = _checks.as_array("photo", photo)
    if picture.ndim == 3 and picture.shape[0] == 3 and picture.shape[2] != 3:
        picture = np.moveaxis(picture, 0, -1)
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise ValueError(f"photo must have shape (H, W), (H, W, 3) or (3, H, W), got {picture.shape}")
    layers = [model] if isinstance(model, Module) else model
    field = receptive_field(layers, picture.shape[:2])
    rows, columns = field.region(index)  # type: ignore[misc]  # two indices in, so two slices out
    height, width = rows.stop - rows.start, columns.stop - columns.start
    figure = _figure(figsize=(7, 7 * picture.shape[0] / picture.shape[1] + 0.5))
    axes = figure.subplots()
    axes.imshow(_scaled(picture), cmap="gray")
    shade = np.zeros((*picture.shape[:2], 4))
    shade[..., 3] = 0.45
    shade[rows, columns, 3] = 0
    axes.imshow(shade)
    corner = (columns.start - 0.5, rows.start - 0.5)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=MARK, linewidth=2))
    axes.set_title(f"cell {tuple(index)} sees {height} x {width} cells", color=INK, loc="left", weight="bold")
    axes.set(xticks=[], yticks=[])
    return figure


def plot_feature_maps(model: Module, x: ArrayLike) -> Figure:
    """Draw what every layer with two spatial axes makes of an image: a row for each, a picture per channel.

    Parameters
    ----------
    model : Module
        A layer or a :class:`Sequential`, layout "NCHW".
    x : array_like
        ``(C, H, W)`` or ``(1, C, H, W)``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If x is not one image, or does not fit the model.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> figure = nn.plot_feature_maps(nn.Sequential(nn.Conv2D(1, 4, 3), nn.ReLU()), np.zeros((1, 8, 8), np.float32))
    >>> len(figure.axes)
    9
    """
    image = _checks.as_array("x", x)
    if image.ndim == 3:
        image = image[np.newaxis]
    if image.ndim != 4 or len(image) != 1:
        raise ValueError(f"x must be one image of shape (C, H, W) or (1, C, H, W), got shape {image.shape}")
    stages = [("input", image)]
    for name, layer in _layers(model, ""):
        image = layer(image)
        if image.ndim != 4:
            break
        stages.append((f"{name} {type(layer).__name__}".strip(), image))
    shown = [(name, maps[0, :MOST_MAPS], maps.shape[1]) for name, maps in stages]
    columns = max(len(maps) for _, maps, _ in shown)
    figure = _figure(figsize=(max(4.0, 0.9 * columns + 1.5), 1.1 * len(shown)))
    grid = figure.subplots(len(shown), columns, squeeze=False)
    for row, (name, maps, count) in zip(grid, shown, strict=True):
        for axes in row[len(maps) :]:
            axes.remove()
        limit = float(np.abs(maps).max()) or 1.0
        signed = bool(maps.min() < 0)
        colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {"cmap": "magma", "vmin": 0}
        for axes, one in zip(row, maps, strict=False):
            axes.imshow(one, **colours)
            axes.set(xticks=[], yticks=[])
        more = f", {len(maps)} of {count}" if len(maps) < count else ""
        height, width = maps.shape[1:]
        row[0].set_ylabel(
            f"{name}\n{height} x {width}{more}", rotation=0, ha="right", va="center", size=8, color=SOFT
        )
    return figure


def _layers(model: Module, prefix: str) -> Iterator[tuple[str, Module]]:
    if not isinstance(model, Sequential):
        yield prefix, model
        return
    for name, layer in model.named_children():
        yield from _layers(layer, f"{prefix}.{name}" if prefix else name)


def _scaled(picture: Array) -> Array:
    """Pixels between 0 and 1."""
    pixels = picture.astype(np.float64)
    if picture.dtype.kind in "iu":
        return pixels / np.iinfo(picture.dtype).max
    return np.clip(pixels / max(1.0, float(np.abs(pixels).max(initial=0))), 0, 1)
