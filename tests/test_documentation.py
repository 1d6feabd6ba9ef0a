"""What the documentation shows is run: examples in docstrings, code in the README, equations by number."""

import ast
import doctest
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import derivations
import keras_bn
from derivations.notation import equations

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = sorted(
    module.name
    for package in (keras_bn, derivations)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)
COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
EQUATIONS = {int(number) for number in re.findall(r"^(\d+)\. \*\*", README, re.MULTILINE)}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    names = {"np": np, **{public: getattr(keras_bn, public) for public in keras_bn.__all__}}
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(module, extraglobs=names):
        # PyTorch is an optional extra.
        if "import torch" not in test.docstring or importlib.util.find_spec("torch"):
            runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("name", keras_bn.__all__)
def test_what_is_public_has_an_example(name):
    value = getattr(keras_bn, name)
    # The records that functions return are shown in the examples of these functions.
    if callable(value) and not hasattr(value, "_fields"):
        assert ">>>" in value.__doc__


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_code_in_the_readme(code):
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("commands", COMMANDS[1:])
def test_commands_in_the_readme(commands, tmp_path):
    """All but the first block, which `.ci/run` executes in an environment of its own."""
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


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_in_the_readme_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_equations_are_numbered_once_and_cited():
    assert set(equations.EQUATIONS) == EQUATIONS
    cited = set()
    for package in ("keras_bn", "derivations"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    for group in re.findall(r"equations? ((?:\d+(?:, | and )?)+)", node.value):
                        cited |= {int(number) for number in re.findall(r"\d+", group)}
    assert cited <= EQUATIONS, f"not in the README: {sorted(cited - EQUATIONS)}"
    assert cited >= EQUATIONS, f"cited nowhere: {sorted(EQUATIONS - cited)}"


def test_rows_of_the_table_lead_to_their_tests(request):
    """``pytest --update`` sets the lines anew."""
    line_of = {}
    for file in sorted((ROOT / "tests").glob("test_*.py")):
        for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if found := re.match(r"def test_(\d\d)_", text):
                line_of.setdefault(int(found[1]), f"tests/{file.name}#L{line}")
    row = re.compile(r"^\| \[(\d+)\]\(([^)]*)\) \|", re.MULTILINE)
    if request.config.getoption("--update"):
        text = row.sub(lambda match: f"| [{match[1]}]({line_of[int(match[1])]}) |", README)
        (ROOT / "README.md").write_text(text, encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {int(n): link for n, link in row.findall(readme)} == line_of, "run pytest --update"


def benchmark_table(measured: dict) -> str:
    """The speed of a forward and a backward pass, in milliseconds, as the README shows it."""
    machine = measured["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    columns = {
        ("keras", "graph"): "built-in layer",
        ("keras_bn", "graph"): "this layer",
        ("keras", "xla"): "built-in layer, XLA",
        ("keras_bn", "xla"): "this layer, XLA",
        ("torch", None): "PyTorch",
        ("memory floor", None): "floor",
    }
    lines = [
        "Milliseconds for forward and backward, float32, medians; inference and predict are forward alone, second "
        "order is a gradient penalty. The floor is the time that eight passes over the memory of x take. Measured on "
        f"{machine['processor']}, {machine['cores']} cores, with {versions}, {measured['date']}.",
        "",
        f"| case | {' | '.join(columns.values())} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for case in dict.fromkeys(row["case"] for row in measured["speed"]):
        cells = []
        for contender, mode in columns:
            found = [
                row["milliseconds"]
                for row in measured["speed"]
                if row["case"] == case and row["contender"] == contender and mode in (None, row["mode"])
            ]
            cells.append(f"{found[0]:.3g}" if found else "")
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_benchmark_table_is_what_was_measured(request):
    """``pytest --update`` writes it anew."""
    table = benchmark_table(json.loads((ROOT / "notebooks" / "benchmarks.json").read_text(encoding="utf-8")))
    start, end = "<!-- benchmarks -->\n", "\n<!-- /benchmarks -->"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(start)
    shown, _, after = rest.partition(end)
    if request.config.getoption("--update"):
        shown = table
        (ROOT / "README.md").write_text(before + start + shown + end + after, encoding="utf-8")
    assert shown == table, "the table is stale: run pytest --update"
