"""The picture of ``BatchNormMonitor``: a map a quantity, layers downwards, epochs to the right."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bn.model_tools.watched_layers import LAGGING_MEAN, LAGGING_VARIANCE


class _Panel(NamedTuple):
    title: str
    quantities: tuple[str, ...]
    threshold: float | None = None
    """From where on it is too much; marked on the scale of colours, which ends at four times as much."""


_PANELS = (
    _Panel("largest |gamma|", ("gamma_min", "gamma_max")),
    _Panel("largest |beta|", ("beta_min", "beta_max")),
    _Panel("gap of the means\n[standard deviations]", ("mean_gap",), LAGGING_MEAN),
    _Panel("gap of the variances\n[|log ratio|]", ("variance_gap",), LAGGING_VARIANCE),
    _Panel("dead channels\n[number]", ("dead",)),
)


def draw(records: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw a map a quantity: layers downwards, in their order, epochs to the right."""
    names = list(records)
    figure = _figure_class()(figsize=(16, max(3.5, 2.0 + 0.18 * len(names))), dpi=120, layout="constrained")
    figure.suptitle("Batch normalization by layer and epoch", fontsize=11)
    grid = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
    for axes, panel in zip(grid, _PANELS, strict=True):
        values = np.max([np.abs([records[name][q] for name in names]) for q in panel.quantities], axis=0)
        epochs = values.shape[1]
        image = axes.imshow(
            values,
            aspect="auto",
            interpolation="none",
            cmap="viridis",
            vmin=0,
            # Of whole numbers, at least one; where all is zero, there is no scale to choose.
            vmax=4 * panel.threshold
            if panel.threshold
            else max(1.0, float(np.max(values, where=np.isfinite(values), initial=0))),
            extent=(0.5, epochs + 0.5, len(names) - 0.5, -0.5),
        )
        axes.set_facecolor("0.8")
        axes.set_title(panel.title, fontsize=9)
        axes.set_xlabel("epoch")
        axes.set_xticks(np.unique(np.linspace(1, max(epochs, 1), min(epochs, 5)).round()))
        axes.set_yticks(range(len(names)), names, fontsize=6)
        bar = figure.colorbar(image, ax=axes, extend="max" if panel.threshold else "neither")
        if panel.threshold:
            bar.ax.axhline(panel.threshold, color="white", linewidth=2)
            bar.ax.set_ylabel("above the white line inference lags behind", fontsize=8)
        elif panel.quantities == ("dead",):
            bar.ax.yaxis.get_major_locator().set_params(integer=True)
    grid[0].set_ylabel("layer, from first to last")
    if any(np.isnan(values).any() for quantities in records.values() for values in quantities.values()):
        figure.supxlabel("grey: not updated in this epoch, as a frozen layer", fontsize=8)
    figure.savefig(path)


def check(path: Path) -> None:
    """Before training, not after."""
    formats = _figure_class()().canvas.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in formats:
        raise ValueError(f"picture must end in one of {', '.join(sorted(formats))}. Received: {str(path)!r}.")
    if path.is_dir():
        raise ValueError(f"picture must be a file. Received: the directory {str(path)!r}. Name a file in it.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"picture must be in a directory that can be written to. Received: {str(path)!r}. Create {path.parent}, or "
            "name another."
        )


def _figure_class() -> Any:
    try:
        # Not pyplot: it would look for a display.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'picture= needs Matplotlib, which is not installed. Install it with: pip install "keras-bn[demo]"'
        ) from error
    return Figure
