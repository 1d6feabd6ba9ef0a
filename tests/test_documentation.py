"""What the documentation shows is run: examples in docstrings, code in the README, equations by number."""

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import derivations
import keras_bn
from derivations.notation import equations

ROOT = Path(__file__).resolve().parent.parent
DOORS = ("keras_bn", "derivations", "tests", "notebooks")
# The page to start with, and one on every door.
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(p for d in DOORS for p in (ROOT / d).rglob("README.md"))])
}
README = PAGES["README.md"]
MODULES = sorted(
    module.name
    for package in (keras_bn, derivations)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)
EQUATIONS = {int(number) for number in re.findall(r"^(\d+)\. \*\*", PAGES["derivations/README.md"], re.MULTILINE)}


def blocks(language: str) -> list:
    """The blocks of code of all pages, in a language."""
    return [
        pytest.param(code, id=f"{page}-{n}")
        for page, text in PAGES.items()
        for n, code in enumerate(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))
    ]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings(name):
    keras.config.disable_interactive_logging()  # on a slow machine bars of progress would be among what is printed
    module = importlib.import_module(name)
    names = {"np": np, **{public: getattr(keras_bn, public) for public in keras_bn.__all__}}
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(module, extraglobs=names):
        # PyTorch is an optional extra.
        if "import torch" not in test.docstring or importlib.util.find_spec("torch"):
            runner.run(test)
    keras.config.enable_interactive_logging()
    assert runner.failures == 0


@pytest.mark.parametrize("name", keras_bn.__all__)
def test_what_is_public_has_an_example(name):
    value = getattr(keras_bn, name)
    # The records that functions return are shown in the examples of these functions.
    if callable(value) and not hasattr(value, "_fields"):
        assert ">>>" in value.__doc__


@pytest.mark.parametrize("code", blocks("python"))
def test_code_in_pages(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "a page", "exec"), {"__name__": "page"})


# What installs, runs all tests or opens a browser is run by `.ci/run`, or by nobody.
ELSEWHERE = ("pip install", "-m pytest", "jupyter", "pre-commit", "tests.benchmarks", "tests.renew")


@pytest.mark.slow
@pytest.mark.parametrize(
    "commands", [block for block in blocks("sh") if not any(e in block.values[0] for e in ELSEWHERE)]
)
def test_commands_in_pages(commands, tmp_path):
    found = subprocess.run(
        ["bash", "-euc", commands],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_commits_and_ci_run_the_same_checks():
    hooks = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text())
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert hooks
    assert [hook for hook in hooks if not any(line == hook or line.startswith(f"{hook} ") for line in lines)] == []


def links() -> set[tuple[str, str]]:
    """Each page with a target of its links; paths are relative to the page."""
    return {(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\((?!http)([^)#]+)", text)}


@pytest.mark.parametrize(("page", "link"), sorted(links()))
def test_links_lead_somewhere(page, link):
    assert ((ROOT / page).parent / link).exists()


def test_the_page_to_start_with_is_short():
    assert len(README.splitlines()) <= 150


def test_equations_are_numbered_once():
    assert set(equations.EQUATIONS) == EQUATIONS


ROW = re.compile(r"^\| \[(\d+)\]\(([^)]*)\) \|", re.MULTILINE)


def line_of_each_defect() -> dict[int, str]:
    """Where the test of each row of the table of defects begins, below the folder of the tests."""
    found: dict[int, str] = {}
    for file in sorted((ROOT / "tests").glob("test_*.py")):
        for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if start := re.match(r"def test_(\d\d)_", text):
                found.setdefault(int(start[1]), f"{file.name}#L{line}")
    return found


@pytest.mark.parametrize(("page", "folder"), [("tests/README.md", ""), ("README.md", "tests/")])
def test_rows_of_the_tables_of_defects_lead_to_their_tests(page, folder, request):
    """``pytest --update`` sets the lines anew. The page of the tests has all rows, the first page some of them."""
    true = {number: folder + place for number, place in line_of_each_defect().items()}
    if request.config.getoption("--update"):
        text = ROW.sub(lambda match: f"| [{match[1]}]({true[int(match[1])]}) |", PAGES[page])
        (ROOT / page).write_text(text, encoding="utf-8")
    shown = {int(number): place for number, place in ROW.findall((ROOT / page).read_text(encoding="utf-8"))}
    assert shown.items() <= true.items(), "run pytest --update"
    if not folder:
        assert list(shown) == list(range(1, 1 + len(shown)))
        assert shown == true
