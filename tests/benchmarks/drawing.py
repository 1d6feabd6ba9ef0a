"""The pictures of the benchmark, one a part: in the colours of Okabe and Ito, with marks that tell apart in grey."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.contenders import (
    BUILT_IN,
    CLOSED_FORM,
    FLOOR,
    FUSED,
    IN_PLACE,
    LEAKY,
    NONE,
    OURS,
    OURS_LEAKY,
    TORCH,
    TORCH_FIRST,
)

MARKS: dict[str, dict[str, Any]] = {
    OURS: {"color": "#000000", "marker": "o"},
    CLOSED_FORM: {"color": "#009E73", "marker": "D"},
    BUILT_IN: {"color": "#56B4E9", "marker": "s"},
    FUSED: {"color": "#E69F00", "marker": "^"},
    TORCH: {"color": "#CC79A7", "marker": "v"},
    TORCH_FIRST: {"color": "#CC79A7", "marker": "1"},
    NONE: {"color": "#D55E00", "marker": "X"},
    FLOOR: {"color": "#777777", "marker": "|"},
    LEAKY: {"color": "#0072B2", "marker": "s"},
    OURS_LEAKY: {"color": "#999999", "marker": "o"},
    IN_PLACE: {"color": "#F0E442", "marker": "P"},
}
FASTER = "times as fast as the built-in layer"
Records = list[dict[str, Any]]


def draw(results: dict[str, Any], folder: Path) -> Iterator[Path]:
    """Write a PNG for each part of the results that was measured, and yield its path."""
    folder.mkdir(exist_ok=True)
    machine = results["machine"]
    versions = machine["versions"]
    where = ", ".join(
        [f"{machine['processor']}, {machine['cores']} cores"]
        + [f"{name} {versions[name]}" for name in ("tensorflow", "keras", "torch") if name in versions]
        + [results["date"]]
    )
    for part, make in (
        ("steps", _steps),
        ("step-memory", _step_memory),
        ("speed", _speed),
        ("memory", _memory),
        ("accuracy", _accuracy),
    ):
        if part in results:
            figure = make(results[part])
            figure.text(0.01, 0.003, where, fontsize=7, color="#555555")
            path = folder / f"{part}.png"
            figure.savefig(path, dpi=130)
            yield path


def _panels(count: int, size: tuple[float, float], **options: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))  # type: ignore[union-attr]
    grid = figure.subplots(1, count, squeeze=False, **options)[0]
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#E2E2E2", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, list(grid)


def _legend(figure: Figure, *panels: Axes) -> None:
    entries = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside upper center",
        ncols=min(5 if figure.get_figwidth() > 9 else 3, len(entries)),
        frameon=False,
    )


def _ratios(axes: Axes, rows: list[str], records: Records, row_of: str) -> None:
    """Medians as marks and quartiles as lines, a row a case."""
    axes.axvline(1, color=MARKS[BUILT_IN]["color"], linewidth=2, label=f"{BUILT_IN} (= 1)")
    for name, mark in MARKS.items():
        own = [record for record in records if record["contender"] == name]
        if not own or name == BUILT_IN:
            continue
        places = [rows.index(record[row_of]) for record in own]
        low, high = zip(*(record["ratio_quartiles"] for record in own), strict=True)
        axes.hlines(places, low, high, color=mark["color"], linewidth=1.5)
        options = {"label": name, "linestyle": "", "markersize": 7 if name != FLOOR else 12, "markeredgewidth": 1.6}
        axes.plot([record["ratio"] for record in own], places, **options, **mark)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    ticks = [tick for tick in (0.2, 0.5, 1, 2, 3, 5, 10) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(FASTER)


def _speed(records: Records) -> Figure:
    modes = list(dict.fromkeys(record["mode"] for record in records))
    rows = list(dict.fromkeys(record["case"] for record in records))
    figure, panels = _panels(len(modes), (4.2 * len(modes) + 1, 0.36 * len(rows) + 1.9), sharey=True)
    for axes, mode in zip(panels, modes, strict=True):
        axes.set_title({"graph": "graph", "xla": "XLA", "eager": "eager"}[mode])
        _ratios(axes, rows, [record for record in records if record["mode"] == mode], "case")
    _legend(figure, *panels)
    return figure


def _steps(records: Records) -> Figure:
    """A row a network, of the training step by all threads: ratios, and what normalization costs in the built-in's."""
    threads = max(record["threads"] for record in records)
    own = [record for record in records if record["step"] == "train" and record["threads"] == threads]
    rows = list(dict.fromkeys(record["model"] for record in own))
    figure, (ratios, costs) = _panels(2, (10.4, 0.5 * len(rows) + 1.9), sharey=True)
    ratios.set_title("one training step")
    _ratios(ratios, rows, own, "model")
    costs.set_title("what normalization costs of it")
    for name, mark in MARKS.items():
        found = {record["model"]: record["cost"] for record in own if record["contender"] == name and record["cost"]}
        if found and name not in (NONE, TORCH):
            places = [rows.index(model) for model in found]
            low, median, high = np.array(list(found.values())).T
            costs.hlines(places, low, high, color=mark["color"], linewidth=1.5)
            costs.plot(median, places, linestyle="", markersize=7, **mark)
    costs.set_xlabel("milliseconds beyond the step without normalization")
    costs.set_xlim(left=min(0.0, costs.get_xlim()[0]))
    _legend(figure, ratios)
    return figure


def _step_memory(records: Records) -> Figure:
    groups = list(dict.fromkeys((record["model"], record["dtype"]) for record in records))
    names = list(dict.fromkeys(record["contender"] for record in records))
    figure, (axes,) = _panels(1, (max(8.4, 1.5 * len(groups) + 1.4), 4.4))
    width = 0.84 / len(names)
    for n, name in enumerate(names):
        own = {(r["model"], r["dtype"]): r["peak"] / 1e3 for r in records if r["contender"] == name}
        places = [groups.index(group) + (n - (len(names) - 1) / 2) * width for group in own]
        bars = axes.bar(places, list(own.values()), 0.92 * width, color=MARKS[name]["color"], label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=7)
    axes.set_xticks(range(len(groups)), ["\n".join(group).replace(" ", "\n", 1) for group in groups])
    axes.set_ylabel("peak of a training step beyond\nwhat was resident before [GB]")
    axes.grid(visible=False, axis="x")
    _legend(figure, axes)
    return figure


def _memory(records: Records) -> Figure:
    dtypes = list(dict.fromkeys(record["dtype"] for record in records))
    names = list(dict.fromkeys(record["contender"] for record in records))
    figure, (axes,) = _panels(1, (6.4, 3.8))
    width = 0.8 / len(names)
    for n, name in enumerate(names):
        own = {record["dtype"]: record["peak_over_input"] for record in records if record["contender"] == name}
        places = [dtypes.index(dtype) + (n - (len(names) - 1) / 2) * width for dtype in own]
        bars = axes.bar(places, list(own.values()), 0.92 * width, color=MARKS[name]["color"], label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.axhline(2, color="#555555", linewidth=1, linestyle="--", label="y and dx, which a step returns")
    axes.set_xticks(range(len(dtypes)), dtypes)
    axes.set_ylabel("peak memory of a step\n[bytes of its input]")
    axes.grid(visible=False, axis="x")
    _legend(figure, axes)
    return figure


def _accuracy(records: Records) -> Figure:
    figure, panels = _panels(4, (13, 4.2), sharey=True)
    found = [record[key] for record in records for key in ("output_error", "dx_error") if record[key]]
    top = 10 * max(found)
    titles = {"graph": "graph; PyTorch eagerly", "xla": "XLA"}
    for axes, (key, mode) in zip(
        panels, [(key, mode) for key in ("output_error", "dx_error") for mode in titles], strict=True
    ):
        axes.set_title(f"{'y' if key == 'output_error' else 'dx'}, {titles[mode]}")
        for name, mark in MARKS.items():
            own = [r for r in records if r["contender"] == name and (r["mode"] == mode or r["mode"] == "eager")]
            if not own or (name == TORCH and mode == "xla"):
                continue
            # NaN and infinity are drawn at the top.
            errors = [top if record[key] is None else record[key] for record in own]
            thin = {"linewidth": 1.3, "markersize": 5, "markerfacecolor": "none", "label": name}
            axes.plot([record["mean_over_std"] for record in own], errors, **thin, **mark)
        axes.axhline(top, color="#555555", linewidth=0.8, linestyle=":")
        axes.annotate("not finite", (0.02, top), (0, 3), ("axes fraction", "data"), "offset points", fontsize=8)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.3, 2 * max(record["mean_over_std"] for record in records))
        axes.set_xticks([0, 1, 1e2, 1e4, 1e6], ["0", "1", "10²", "10⁴", "10⁶"])
        axes.set_yscale("log")
        axes.set_xlabel("mean / standard deviation")
    panels[0].set_ylabel("largest error, relative")
    _legend(figure, *panels)
    return figure
