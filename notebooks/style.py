"""What the notebooks share: quiet start-up, one colour, line and marker for each thing, pictures with labelled axes.

Import it first: it brings TensorFlow. The colours are those of Okabe and Ito, which colour-blind people can tell apart;
line styles and markers tell the same things apart in grey.
"""

import os
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

# TensorFlow's start-up messages are no results, and some of them no setting silences.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_stderr, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
try:
    import tensorflow
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
tensorflow.get_logger().setLevel("ERROR")

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#777777"

# By name: colour, line and marker of everything that is compared, the same in all notebooks.
STYLES: dict[str, dict[str, Any]] = {
    "keras_bn": {"color": BLACK, "linestyle": "-", "marker": "o"},
    "keras_bn, XLA": {"color": BLACK, "linestyle": (0, (1, 2)), "marker": "P"},
    # Wide and light, since it mostly lies under the closed form.
    "keras_bn, auto": {"color": GREEN, "linestyle": "-", "marker": "D", "linewidth": 5, "markersize": 9, "alpha": 0.6},
    "keras": {"color": SKY, "linestyle": "-", "marker": "s"},
    "keras, XLA": {"color": BLUE, "linestyle": (0, (4, 2)), "marker": "s"},
    "tf.nn.fused_batch_norm": {"color": ORANGE, "linestyle": (0, (3, 1, 1, 1)), "marker": "^"},
    "tf.nn.fused_batch_norm, XLA": {"color": ORANGE, "linestyle": ":", "marker": "<", "markerfacecolor": "white"},
    "keras_bn, proved bound": {"color": GREY, "linestyle": "-", "marker": "", "linewidth": 2.5},
    "torch": {"color": PURPLE, "linestyle": (0, (1, 1)), "marker": "v"},
    "none": {"color": VERMILION, "linestyle": (0, (1, 1)), "marker": "X"},
    "renorm": {"color": GREEN, "linestyle": (0, (6, 2)), "marker": "D"},
    "ghost batches": {"color": ORANGE, "linestyle": (0, (3, 1, 1, 1)), "marker": "^"},
    "LayerNormalization": {"color": BLUE, "linestyle": (0, (4, 2)), "marker": "s"},
    "GroupNormalization": {"color": PURPLE, "linestyle": (0, (1, 1)), "marker": "v"},
    "torch channels-first": {"color": PURPLE, "linestyle": "-.", "marker": "1"},
    "memory floor": {"color": GREY, "linestyle": "-", "marker": "|"},
}

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E2E2E2",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "lines.linewidth": 1.7,
        "lines.markersize": 5.5,
        "legend.frameon": False,
        "mathtext.fontset": "cm",
    }
)


def panels(*titles: str, x: str, y: str, height: float = 3.4, **options: Any) -> tuple[plt.Figure, list[plt.Axes]]:
    """A row of pictures with titles and labelled axes; ``options`` go to ``plt.subplots``.

    Where the panels share the vertical axis, it is labelled once.
    """
    width = min(11.0, 4.6 * max(len(titles), 1.35))
    figure, grid = plt.subplots(1, len(titles), figsize=(width, height), squeeze=False, **options)
    for n, (axes, title) in enumerate(zip(grid[0], titles, strict=True)):
        axes.set_title(title)
        axes.set_xlabel(x)
        if n == 0 or not options.get("sharey"):
            axes.set_ylabel(y)
    return figure, list(grid[0])


def plain_numbers(*axes: Any) -> None:
    """Write 0.1, 1, 10 at logarithmic axes, such as ``panel.xaxis``, for powers of ten."""
    for axis in axes:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")


def legend_below(figure: plt.Figure, axes: plt.Axes, columns: int = 4) -> None:
    """One legend for all panels, below them, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))


def spread(axes: plt.Axes, x: Any, values: Any, *, label: str, style: dict[str, Any]) -> None:
    """The median over the last axis of ``values`` as a line, and from the least to the largest as a band."""
    values = np.asarray(values, float)
    axes.plot(x, np.median(values, axis=-1), label=label, **style)
    axes.fill_between(x, values.min(-1), values.max(-1), color=style["color"], alpha=0.15, linewidth=0)


def errors(axes: plt.Axes, x: Any, values: Any, *, label: str, nan_at: float, style: dict[str, Any]) -> None:
    """Errors on a logarithmic axis, where NaN and infinity are drawn as such: at the height ``nan_at``, with a tick."""
    values = np.asarray(values, float)
    lost = ~np.isfinite(values)
    axes.plot(x, np.where(lost, np.nan, values), label=label, **style)
    axes.set_yscale("log")
    if lost.any():
        axes.plot(np.asarray(x)[lost], np.full(lost.sum(), nan_at), **{**style, "linestyle": ""})
        axes.axhline(nan_at, color=GREY, linewidth=0.6, zorder=0)
        axes.annotate("NaN", (0.01, nan_at), (0, 3), ("axes fraction", "data"), "offset points", color=GREY)
