"""What a claim assumes of its symbols, and the conditions that its expressions leave behind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sympy as sp
from sympy import Expr, Pow, Symbol

from derivations.notation.expressions import Shorthand


class Condition(NamedTuple):
    """What must hold for an expression to be defined."""

    expression: Expr
    relation: str  # "≠ 0", "> 0" or "≥ 0"


class InverseRoot(NamedTuple):
    """symbol = (variance + epsilon)^(−1/2)."""

    symbol: Shorthand
    epsilon: Symbol
    variance: Expr


@dataclass(frozen=True, eq=False)
class Setting:
    """What the symbols of a claim stand for.

    ranges: the last value of each free index; the first is 1.
    root: the inverse root by which its ε is eliminated.
    positive: expressions assumed to be > 0, besides those whose sign follows from the symbols' own assumptions.
    """

    ranges: Mapping[Symbol, Expr] = field(default_factory=dict)
    root: InverseRoot | None = None
    positive: tuple[Expr, ...] = ()


def conditions_of(expression: Any) -> set[Condition]:
    """The denominators and radicands of an expression, as they stand."""
    found = set()
    for power in sp.sympify(expression).atoms(Pow):
        base, exponent = power.args
        if exponent.is_integer is not True:
            found.add(Condition(base, "> 0" if exponent.is_negative else "≥ 0"))
        elif exponent.is_negative:
            found.add(Condition(base, "≠ 0"))
    return found
