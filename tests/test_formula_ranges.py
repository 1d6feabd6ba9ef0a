"""Bounds of formulas: no value at any point lies outside of them."""

import random
from fractions import Fraction

import pytest

from derivations.check.names import WEIGHTED
from derivations.check.parser import parse
from derivations.check.points import points
from derivations.check.problems import textbook
from derivations.check.ranges import value_range
from derivations.check.tree import FormulaError
from derivations.normal_form.counterexamples import Undefined
from derivations.normal_form.intervals import lower_end, upper_end

PARTS = ["x", "x_hat", "var", "s", "epsilon", "m", "w", "W", "2", "0.5", "0", "(-3)"]


def random_formula(rng: random.Random, depth: int) -> str:
    if not depth:
        return rng.choice(PARTS)
    a, b = (random_formula(rng, depth - 1) for _ in range(2))
    forms = [f"({a} + {b})", f"({a} - {b})", f"({a}*{b})", f"({a}*{a})", f"{a}/{b}", f"sqrt({a})", f"sum({a})"]
    return f"({rng.choice([*forms, f'mean({a})', f'({a})**2', f'({a})**3', f'({a})**-1', f'({a})**-1.5'])})"


def test_no_value_lies_outside():
    rng = random.Random(0)
    bounded = compared = 0
    for seed in range(400):
        try:
            formula = parse(random_formula(rng, 3), WEIGHTED)
        except FormulaError:  # too large
            continue
        values = []
        for _, point in zip(range(12), points(formula, textbook(weighted=True), seed=seed), strict=False):
            try:
                values.append(point.value(formula))
            except Undefined:
                continue
        if values:
            found = value_range(formula)
            bounded += found.satisfies("≥ 0") is not None
            for value in values:
                compared += 1
                assert found.low.at <= upper_end(value)
                assert lower_end(value) <= found.high.at
                if isinstance(value, Fraction):
                    assert value != found.low.at or found.low.reached
                    assert value != found.high.at or found.high.reached
    assert bounded > 30
    assert compared > 500


@pytest.mark.parametrize(
    ("formula", "relation", "holds"),
    [
        ("m", "> 0", True),
        ("m - 1", "≥ 0", True),
        ("m - 1", "> 0", None),
        ("1 - m", "≥ 0", None),
        ("1 - m", "> 0", False),
        ("-1 - var", "≥ 0", False),
        ("x**2 + epsilon", "≠ 0", True),
        ("x*x_hat", "≥ 0", None),
        ("-(x*delta)*(x*delta)", "> 0", False),
        ("sum(sqrt(x)) + s", "> 0", True),
        ("mean(2 - m) - 1", "≥ 0", None),
        ("1/(-epsilon)", "≥ 0", False),
        ("0*x", "≠ 0", False),
        ("1e40**12*m - x**0", "> 0", True),
        ("sqrt(3) - 1.73", "> 0", True),
        ("sqrt(3) - 1.74", "≥ 0", False),
    ],
)
def test_conditions_are_decided(formula, relation, holds):
    assert value_range(parse(formula)).satisfies(relation) is holds
