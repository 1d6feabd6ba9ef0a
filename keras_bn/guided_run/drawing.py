"""The picture of the guided run: loss and accuracies by epoch, for both networks and the three variants."""

from pathlib import Path
from typing import Any, NamedTuple

from keras_bn.guided_run.training import BUILT_IN, OURS, WITHOUT, Epoch

Curves = dict[str, dict[str, list[Epoch]]]
"""By network, then by variant."""


class Style(NamedTuple):
    """How a variant is drawn: in the colours of Okabe and Ito, and apart in grey as well."""

    label: str
    line: dict[str, Any]


# In the order of drawing: ours is thin and dashed and lies on the wide, light line of the built-in layer, so that both
# are seen where they coincide.
STYLES = {
    WITHOUT: Style("without normalization", {"color": "#D55E00", "linewidth": 1.8, "linestyle": (0, (1, 1))}),
    BUILT_IN: Style(
        "keras.layers.BatchNormalization", {"color": "#56B4E9", "linewidth": 5.0, "alpha": 0.7, "markersize": 12}
    ),
    OURS: Style("keras_bn.BatchNormalization", {"color": "#000000", "linewidth": 1.4, "linestyle": (0, (4, 2))}),
}
PANELS = ("training loss [nats]", "training accuracy [%]", "test accuracy [%]")
# Accuracies below this belong to the first epochs and would flatten all the others.
LOWEST_ACCURACY = 80


def draw(curves: Curves, path: Path) -> None:
    """Draw ``curves`` as a PNG at ``path``: one row a network, one column a quantity."""
    # Not pyplot: it would look for a display.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    figure = Figure(figsize=(10, 6), dpi=150, layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.06))
    grid = figure.subplots(len(curves), len(PANELS), sharex=True, squeeze=False)
    for row, (network, variants) in zip(grid, curves.items(), strict=True):
        for panel, (axes, label) in enumerate(zip(row, PANELS, strict=True)):
            for variant, style in STYLES.items():
                # A single epoch is a point, since no line can be drawn through it; the wide line has a larger one.
                marker = "o" if len(variants[variant]) == 1 else ""
                values = [epoch[panel] * (1 if panel == 0 else 100) for epoch in variants[variant]]
                axes.plot(range(1, len(values) + 1), values, label=style.label, marker=marker, **style.line)
            axes.set_title(f"{network} network", fontsize=10)
            axes.set_ylabel(label)
            axes.grid(color="#DDDDDD", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
            axes.set_xlim(left=0.5)
            if panel > 0:
                # Unless a curve would be left out altogether.
                lowest = LOWEST_ACCURACY if min(line.get_ydata()[-1] for line in axes.lines) > LOWEST_ACCURACY else 0
                axes.set_ylim(lowest, 100.5)
            elif len(values) > 1:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(FuncFormatter("{:g}".format))
                axes.yaxis.set_minor_formatter(NullFormatter())
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(handles), frameon=False)
    figure.savefig(path)
