"""What the documentation shows is run: examples in docstrings, code in the README, equations by number."""

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import derivations.equations
import keras_bn

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = sorted(module.name for module in pkgutil.walk_packages(keras_bn.__path__, "keras_bn."))
EQUATIONS = {int(number) for number in re.findall(r"^(\d+)\. \*\*", README, re.MULTILINE)}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    names = {"np": np, **{public: getattr(keras_bn, public) for public in keras_bn.__all__}}
    result = doctest.testmod(module, extraglobs=names)
    assert result.failed == 0


def test_there_are_examples():
    assert ">>>" in keras_bn.BatchNormalization.__doc__
    assert ">>>" in keras_bn.batch_norm.__doc__


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_code_in_the_readme(code):
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_in_the_readme_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_equations_are_numbered_once_and_cited():
    assert set(derivations.equations.EQUATIONS) == EQUATIONS
    cited = set()
    for package in ("keras_bn", "derivations"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    for group in re.findall(r"equations? ((?:\d+(?:, | and )?)+)", node.value):
                        cited |= {int(number) for number in re.findall(r"\d+", group)}
    assert cited <= EQUATIONS, f"not in the README: {sorted(cited - EQUATIONS)}"
    assert cited >= EQUATIONS, f"cited nowhere: {sorted(EQUATIONS - cited)}"


def test_rows_of_the_table_have_tests():
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    tests = {int(n) for n in re.findall(r"def test_(\d\d)_", (ROOT / "tests" / "test_defects.py").read_text())}
    assert rows == tests
