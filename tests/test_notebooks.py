"""The notebooks run from top to bottom in a fresh kernel, and are committed as they ran."""

import itertools
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks are an optional extra")
nbclient = pytest.importorskip("nbclient", reason="the notebooks are an optional extra")

from tests import stamps  # noqa: E402 - it needs nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = stamps.NOTEBOOKS
# After so long without an answer a cell hangs. It is no bound on the speed: other work may share the machine.
HANGS = 1800

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def complaints(notebook: Any) -> list[str]:
    """What was written to standard error, and warnings that were printed."""
    streams = [output for output in outputs(notebook) if output.output_type == "stream"]
    return [o.text for o in streams if o.name == "stderr" or re.search(r"Warning|WARNING|Traceback", o.text)]


def texts(notebook: Any) -> Iterator[str]:
    """What the cells print or show as text, formulas and Markdown included.

    What a cell prints without a break is one text: into how many pieces the kernel cuts it depends on its speed.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for stream, pieces in itertools.groupby(cell.outputs, lambda output: output.get("name")):
            if stream:
                yield "".join(piece.text for piece in pieces)
                continue
            for piece in pieces:
                shown = piece.get("data", {})
                yield str(shown.get("text/markdown", shown.get("text/latex", shown.get("text/plain", ""))))


GRID = {f"{10 ** (n / 2):.3g}" for n in range(13)}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def alike(before: str, now: str) -> bool:
    """Whether two texts have the same words, and numbers that differ no more than in another run or on another machine.

    Times are not compared, and errors of rounding only with each other's smallness. Of a search for the largest mean on
    a grid of half decades, the result may be the next point: it depends on the order in which a processor's kernels add
    (10 on one machine, 31.6 on another).
    """
    lines = zip(before.splitlines(), now.splitlines(), strict=False)
    if len(before.splitlines()) != len(now.splitlines()):
        return False
    for old, new in lines:
        if [word.strip() for word in NUMBER.split(old)] != [word.strip() for word in NUMBER.split(new)]:
            return False
        if re.search(r"\d ?(?:m?s|seconds)\b", old):
            continue
        for a, b in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
            if a != b and {a, b} <= GRID and abs(math.log10(float(a) / float(b))) < 0.6:
                continue
            a, b = float(a), float(b)
            if abs(a - b) > 0.2 * max(abs(a), abs(b)) and max(abs(a), abs(b)) > 1e-4:
                return False
    return True


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("error 3.0e-07 of 1.00 at mean/std 10", True),
        ("error 2.1e-07 of 1.05 at mean/std 10", True),
        ("error 2.1e-03 of 1.00 at mean/std 10", False),
        ("error 2.1e-07 of 1.50 at mean/std 10", False),
        ("error 3.0e-07 of 1.00 at mean/std 31.6", True),
        ("error 3.0e-07 of 1.00 at mean/std 100", False),
        ("errors 2.1e-07 of 1.00 at mean/std 10", False),
        ("error 2.1e-07 of 1.00 at mean/std 10\nmore", False),
    ],
)
def test_texts_that_are_alike(now, expected):
    assert alike("error 2.1e-07 of 1.00 at mean/std 10", now) is expected


def test_pieces_of_what_is_printed_are_one_text():
    def printing(*pieces: str) -> Any:
        outputs = [nbformat.v4.new_output("stream", name="stdout", text=piece) for piece in pieces]
        outputs.append(nbformat.v4.new_output("display_data", data={"text/plain": "shown"}))
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs) for _ in range(2)])

    assert list(texts(printing("a\n", "b\n"))) == list(texts(printing("a\nb\n"))) == ["a\nb\n", "shown"] * 2


def test_there_are_notebooks():
    assert {path.stem[0] for path in NOTEBOOKS} >= set("12345")


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Of the kernels: this checkout, and Matplotlib's list of fonts as it is now, not as an earlier run left it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path_factory.mktemp("matplotlib"))}
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], env=environment, check=True)
    return environment


@pytest.mark.slow
@each_notebook
def test_runs_from_top_to_bottom(path, environment):
    notebook = nbformat.read(path, as_version=4)
    committed = list(texts(notebook))
    client = nbclient.NotebookClient(notebook, timeout=HANGS, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env=environment)
    assert complaints(notebook) == []
    for before, now in zip(committed, texts(notebook), strict=True):
        assert alike(before, now), f"{path.name} is stale: run python -m tests.renew notebooks\n{before}\n{now}"


@each_notebook
def test_is_committed_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for output in outputs(notebook) if output.output_type == "error"] == []
    assert complaints(notebook) == []
    pictures = [o for o in outputs(notebook) if "image/png" in o.get("data", {})]
    assert pictures, "a notebook without a picture"


@each_notebook
def test_pictures_are_of_this_code(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.get(stamps.KEY) == stamps.of(path), "run python -m tests.renew notebooks, and look at them"


@each_notebook
def test_tells_nothing_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(
        [cell.source for cell in notebook.cells]
        + [
            o.text if o.output_type == "stream" else str(o.get("data", {}).get("text/plain", ""))
            for o in outputs(notebook)
        ]
    )
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|usr|work|Users|mnt|opt)/", text)


@each_notebook
def test_links_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
