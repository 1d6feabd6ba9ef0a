"""The figures as tables of Markdown, and the pages that show them.

A page has a place for a table between ``<!-- table: NAME -->`` and ``<!-- /table -->``.
"""

import re
from pathlib import Path
from typing import Any

from tests.benchmarks.contenders import BUILT_IN, FLOOR, FUSED, IN_PLACE, LEAKY, NONE, OURS, TORCH
from tests.benchmarks.results import ROOT

PAGES = ("README.md", "tests/benchmarks/README.md")
SHOWN = {
    BUILT_IN: "built-in",
    OURS: "ours",
    FUSED: "bare kernel",
    NONE: "none",
    TORCH: "PyTorch",
    LEAKY: "built-in + LeakyReLU",
    IN_PLACE: 'ours, `activation="leaky_relu"`',
}
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(\n<!-- /table -->)", re.DOTALL)
Records = list[dict[str, Any]]


def filled(page: str, measured: dict[str, Any]) -> str:
    """The page with every table as it was measured."""
    return PLACE.sub(lambda found: found[1] + TABLES[found[2]](measured) + found[3], page)


def pages() -> list[Path]:
    """The pages that have a place for a table."""
    return [path for path in (ROOT / name for name in PAGES) if PLACE.search(path.read_text(encoding="utf-8"))]


def machine(measured: dict[str, Any]) -> str:
    """What the figures were measured on, in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in measured["machine"]["versions"].items())
    where = f"{measured['machine']['processor']}, {measured['machine']['cores']} cores"
    return f"Measured on {where}, with {versions}, {measured['date']}."


def steps(measured: dict[str, Any], kind: str = "train", *, one_thread: bool = False) -> str:
    """Milliseconds of a step, in brackets what normalization costs of it, and the ratio to the built-in layer."""
    names = (BUILT_IN, OURS, FUSED, NONE, TORCH)
    threads = 1 if one_thread else measured["machine"]["cores"]
    own = [r for r in measured["steps"] if r["step"] == kind and r["threads"] == threads and r["contender"] in names]

    def cell(record: dict[str, Any]) -> str:
        time = _number(record["milliseconds"])
        cost = record["cost"] is not None and record["contender"] not in (NONE, TORCH)
        time += f" ({_number(record['cost'][1])})" if cost else ""
        return time if record["contender"] == BUILT_IN else f"{time}, {record['ratio']:.2f}×"

    return _table("model", own, names, lambda record: record["model"], cell)


def step_memory(measured: dict[str, Any]) -> str:
    """Megabytes that a step needs at most, beyond what was resident before it."""
    names = (BUILT_IN, OURS, NONE, LEAKY, IN_PLACE)
    rows = measured["step-memory"]
    return _table("model", rows, names, lambda r: f"{r['model']}, {r['dtype']}", lambda r: f"{r['peak']:.0f}")


def speed(measured: dict[str, Any]) -> str:
    """Milliseconds of one operation, forward and backward."""
    columns = {
        (BUILT_IN, "graph"): "built-in",
        (OURS, "graph"): "ours",
        (FUSED, "graph"): "bare kernel",
        (BUILT_IN, "xla"): "built-in, XLA",
        (OURS, "xla"): "ours, XLA",
        (TORCH, "graph"): "PyTorch",
        (FLOOR, "graph"): "floor",
    }
    lines = _head("case", list(columns.values()))
    for case in dict.fromkeys(record["case"] for record in measured["speed"]):
        found = {(r["contender"], r["mode"]): r["milliseconds"] for r in measured["speed"] if r["case"] == case}
        cells = [_number(found[column]) if column in found else "" for column in columns]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def comparison(measured: dict[str, Any]) -> str:
    """How the steps of the present code compare with those of the measured code, and on what."""
    found = measured.get("comparison")
    if found is None:
        return "The figures are those of the present code."
    where = f"{found['machine']['processor']}, {found['machine']['cores']} cores, {found['date']}"
    first = f"The code has changed since. Steps of both codes, compared in one process on {where}:"

    def cell(ratio: list[float]) -> str:
        middle, low, high = ratio
        return f"{middle:.2f}× ({low:.2f} to {high:.2f})"

    lines = _head("model", ["measured code ÷ present code", "built-in ÷ present code"])
    lines += [f"| {r['model']} | {cell(r['other'])} | {cell(r['built_in'])} |" for r in found["steps"]]
    return "\n".join([first, "", *lines])


TABLES: dict[str, Any] = {
    "machine": machine,
    "comparison": comparison,
    "steps": steps,
    "predictions": lambda measured: steps(measured, "predict"),
    "steps-one-thread": lambda measured: steps(measured, one_thread=True),
    "step-memory": step_memory,
    "speed": speed,
}


def _table(what: str, records: Records, names: tuple[str, ...], row_of: Any, cell: Any) -> str:
    names = tuple(name for name in names if any(record["contender"] == name for record in records))
    lines = _head(what, [SHOWN[name] for name in names])
    for row in dict.fromkeys(map(row_of, records)):
        found = {record["contender"]: cell(record) for record in records if row_of(record) == row}
        lines.append(f"| {row} | {' | '.join(found.get(name, '') for name in names)} |")
    return "\n".join(lines)


def _head(what: str, columns: list[str]) -> list[str]:
    return [f"| {what} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
