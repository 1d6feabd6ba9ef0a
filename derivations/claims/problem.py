"""A problem: which function is differentiated, with respect to what, and what is assumed. Batch normalization is one.

A user's formula and a user's function are judged against a problem; what is special about one of them stands in the
problem alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sympy import Expr, IndexedBase, Symbol

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.notation import Definitions, L, Partial, beta, delta, epsilon, gamma, m, w, x
from derivations.notation.expressions import Shorthand
from derivations.notation.settings import Setting


@dataclass(frozen=True)
class Variable:
    """What may be chosen freely.

    symbol: a base whose elements are numbers, or, without axes, one number.
    axes: the sizes of its axes, each an integer or a symbol; equal sizes may be added up together.
    """

    symbol: Symbol | IndexedBase
    axes: tuple[Any, ...] = ()

    def at(self, *indices: Symbol) -> Expr:
        """The element at these indices, one an axis."""
        if len(indices) != len(self.axes):
            raise ValueError(f"{self.symbol} has {len(self.axes)} axes. Received: {len(indices)} indices")
        return self.symbol[indices] if indices else self.symbol


@dataclass(frozen=True, eq=False)
class Problem:
    """A loss as a function of variables.

    variables: by the names that a user knows, the cotangents of the outputs among them.
    definitions: what each named quantity stands for, the loss included.
    loss: Σ cotangent·output; a fixed combination would hide errors.
    setting: the ranges of the free indices, the root by which an ε is eliminated, what is positive.
    assumptions: the same in words.
    """

    variables: Mapping[str, Variable]
    definitions: Definitions
    setting: Setting
    loss: Shorthand = L
    assumptions: tuple[str, ...] = ()

    def gradient(self, name: str, *indices: Symbol) -> Partial:
        """∂loss/∂variable, by definition."""
        return Partial(self.loss, self.variables[name].at(*indices))

    def claim(self, identifier: str, title: str, *members: Any, **about: Any) -> Claim:
        """The claim that the members are equal in this problem."""
        return Claim(identifier, title, members, self.setting, self.definitions, assumptions=self.assumptions, **about)


@cache
def batch_normalization(weighted: bool = False) -> Problem:
    """The textbook's: y = γ·x̂ + β over a batch of m elements, with or without weights w.

    >>> batch_normalization().claim("a", "the gradient of β", batch_normalization().gradient("beta"),
    ...     steps.D_BETA).settle().verdict
    <Verdict.PROVED: 'proved'>
    """
    elements = {"x": x, "delta": delta, **({"w": w} if weighted else {})}
    numbers = {"gamma": gamma, "beta": beta, "epsilon": epsilon}
    return Problem(
        {name: Variable(base, (m,)) for name, base in elements.items()}
        | {name: Variable(symbol) for name, symbol in numbers.items()},
        steps.definitions(weighted),
        steps.setting(weighted),
        assumptions=("m ≥ 1", "ε > 0", *(("w ≥ 0", "Σ w > 0") if weighted else ())),
    )


__all__ = ["Problem", "Variable", "batch_normalization"]
