"""What named quantities stand for, and derivatives that have still to be taken.

Statements are written in named quantities (μ, v, s, x̂) and printed as written; what is proved is the same expression
with every name replaced by its definition. Statement and proof therefore cannot drift apart.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp
from sympy import Expr, Indexed, Symbol

from derivations.notation.expressions import Shorthand, differentiate, rebuilt, rewritten
from derivations.notation.symbols import i


class Partial(Expr):
    """∂of/∂wrt, not yet taken.

    With respect to a named quantity such as v: ``of`` as a function of x and v, everything else unfolded.
    """

    is_commutative = True

    def __new__(cls, of: Any, wrt: Any) -> "Partial":
        return Expr.__new__(cls, sp.sympify(of), sp.sympify(wrt))

    @property
    def of(self) -> Expr:
        return self.args[0]

    @property
    def wrt(self) -> Expr:
        return self.args[1]


class Definitions:
    """What each named quantity stands for; that of an element is given at the index i."""

    def __init__(self, definitions: Mapping[Shorthand | Indexed, Expr]) -> None:
        self._definitions = dict(definitions)
        self._unfolded: dict[tuple[Expr, frozenset[Expr]], Expr] = {}
        self._of_symbol = {name: value for name, value in definitions.items() if isinstance(name, Symbol)}
        self._of_base = {name.base: value for name, value in definitions.items() if isinstance(name, Indexed)}

    def items(self) -> Iterator[tuple[Expr, Expr]]:
        """Each named quantity, at the index i if it is one an element, with its definition."""
        yield from self._definitions.items()

    def of(self, name: Any) -> Expr | None:
        """What a symbol, or the element of a base at the index i, stands for; None if it has no definition."""
        found = self._of_symbol.get(name)
        return self._of_base.get(name) if found is None else found

    def with_loss(self, name: Shorthand, value: Expr) -> "Definitions":
        """These, and one more."""
        return Definitions({**self._definitions, name: value})

    def unfold(self, expression: Any, keep: frozenset[Expr] = frozenset()) -> Expr:
        """The expression in x, δ, γ, β, ε alone: names replaced by definitions, derivatives taken by SymPy.

        Raises:
            Unprovable: a derivative that SymPy would get wrong.
        """
        e = sp.sympify(expression)
        if (e, keep) not in self._unfolded:
            self._unfolded[e, keep] = self._unfold(e, keep)
        return self._unfolded[e, keep]

    def _unfold(self, e: Expr, keep: frozenset[Expr]) -> Expr:
        if isinstance(e, Partial):
            return self.unfold(differentiate(self.unfold(e.of, keep | {e.wrt}), e.wrt), keep)
        if e in keep:
            return e
        if e in self._of_symbol:
            return self.unfold(self._of_symbol[e], keep)
        if isinstance(e, Indexed) and e.base in self._of_base:
            (position,) = e.indices
            return self.unfold(rewritten(self._of_base[e.base], {i: position}), keep)
        if not e.args or isinstance(e, Indexed):
            return e
        return rebuilt(e, [self.unfold(arg, keep) for arg in e.args])
