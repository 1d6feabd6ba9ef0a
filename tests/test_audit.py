"""Nothing ships without a claim, and equation numbers mean something."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import keras_bn
from derivations import FAMILIES
from derivations.notation.equations import EQUATIONS

FORMULAS = ("inference", "merging", "moving_statistics", "output", "renormalization", "training")
SOURCES = [
    *Path(keras_bn.__file__).parent.rglob("*.py"),
    *Path(import_module("derivations").__file__).parent.rglob("*.py"),
]


def cited(text: str) -> set[int]:
    """The numbers in phrases such as "equation 7" and "equations 1, 2 and 4"."""
    phrases = re.findall(r"[Ee]quations?\s+(\d+(?:(?:,\s*|\s+and\s+)\d+)*)", text)
    return {int(number) for phrase in phrases for number in re.findall(r"\d+", phrase)}


def test_phrases_are_read():
    assert cited("(equations 1, 2 and 4)") == {1, 2, 4}
    assert cited("Equation 14 and 3 more") == {14, 3}


def test_every_citation_exists_and_every_equation_is_cited():
    found = {path: cited(path.read_text(encoding="utf-8")) for path in SOURCES if path.name != "equations.py"}
    for path, numbers in found.items():
        assert numbers <= EQUATIONS.keys(), path
    assert set().union(*found.values()) == set(EQUATIONS)


def test_every_formula_is_executed_by_a_claim():
    listed = {file.stem for file in Path(keras_bn.__file__).with_name("formulas").glob("*.py")}
    assert listed == {*FORMULAS, "operations", "__init__"}
    claimed = "".join(
        inspect.getsource(import_module(module)) for family, module in FAMILIES.items() if family != "graphs"
    )
    for name in FORMULAS:
        module = import_module(f"keras_bn.formulas.{name}")
        for function, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                assert re.search(rf"(functions|training)\.{function}\(", claimed), f"{name}.{function} has no claim"
