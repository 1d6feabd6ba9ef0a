"""Symbolic expressions as the proofs use them: shorthands, indices, sums, derivatives, and the form they must have."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy import Add, Expr, Indexed, KroneckerDelta, Mul, Pow, Rational, Sum, Symbol


class Unprovable(ValueError):
    """The expression breaks a precondition of the normal form, which therefore says nothing about it.

    Raised with a message, and the expressions that belong in its places {}.
    """

    def worded(self, show: Callable[[Any], str]) -> str:
        """The message, its expressions in some notation."""
        message, *expressions = self.args
        return message.format(*map(show, expressions)) if expressions else message

    def __str__(self) -> str:
        return self.worded(str)


class Shorthand(Symbol):
    """A symbol that stands for an expression in the others, such as s for (v + ε)^(−1/2).

    Differentiation would take it for a constant; ``differentiate`` therefore refuses expressions that hold one.
    """

    @classmethod
    def class_key(cls) -> Any:
        """Sorted among other symbols, by name."""
        return Symbol.class_key()


class BoundIndex(Symbol):
    """The index of a sum in normal form; a class of its own, so that it equals no symbol of any claim."""


def index(name: str) -> Symbol:
    """A free index; where it ranges is said by a ``Setting``."""
    return Symbol(name, integer=True, positive=True)


def total(term: Any, of: Symbol, bound: Expr) -> Expr:
    """Σ term over ``of`` = 1 … bound, with an index of its own: nothing can be captured by it."""
    j = sp.Dummy("j", integer=True, positive=True)
    return Sum(sp.sympify(term).xreplace({of: j}), (j, 1, bound))


def differentiate(expression: Any, wrt: Expr) -> Expr:
    """∂expression/∂wrt by SymPy, after refusing what SymPy would silently get wrong.

    ``Sum(x[k], (k, 1, m)).diff(x[k])`` is m in SymPy, since the bound k captures the free one.

    Raises:
        Unprovable: ``expression`` holds a shorthand other than ``wrt``, or ``wrt`` a bound index or a limit of a sum.
    """
    expression = sp.sympify(expression)
    check_form(expression)
    hidden = {symbol for symbol in expression.free_symbols if isinstance(symbol, Shorthand)} - {wrt}
    if hidden:
        raise Unprovable(f"{names_of(hidden)} stands for an expression that may depend on {wrt}: unfold it first")
    captured = bound_symbols(expression) & wrt.free_symbols
    if captured:
        raise Unprovable(f"the index {names_of(captured)} of a sum occurs in {wrt}: rename it first")
    if any(wrt in limit.free_symbols for sum_ in expression.atoms(Sum) for _, _, limit in sum_.limits):
        raise Unprovable(f"{wrt} is a limit of a sum, not a variable")
    return expression.diff(wrt)


@lru_cache(maxsize=1 << 16)
def free_symbols(e: Expr) -> frozenset[Symbol]:
    """``e.free_symbols``, found once: SymPy walks through every sum anew."""
    if isinstance(e, Symbol):
        return frozenset((e,))
    if not e.args:
        return frozenset()
    if isinstance(e, Sum):
        bound = frozenset(limit[0] for limit in e.limits)
        return (free_symbols(e.function) - bound).union(*(free_symbols(limit[2]) for limit in e.limits))
    found = frozenset[Symbol]().union(*map(free_symbols, e.args))
    return found | {e} if isinstance(e, Indexed) else found


def rebuilt(e: Any, args: Sequence[Any]) -> Any:
    """``e.func(*args)``.

    A power of a sum that stays one is not evaluated: SymPy would ask for each summand whether it is infinite, and leave
    the power as it is.
    """
    if all(new is old for new, old in zip(args, e.args, strict=True)):
        return e
    sum_before_and_after = isinstance(e, Pow) and isinstance(e.base, Add) and isinstance(args[0], Add)
    if sum_before_and_after and isinstance(args[1], Rational) and not args[0].is_number:
        return Pow(*args, evaluate=False)
    return e.func(*args)


def rewritten(expression: Expr, rule: Mapping[Any, Any]) -> Expr:
    """``expression.xreplace(rule)``, and quicker: what occurs several times is rewritten once."""
    done = dict(rule)

    def of(e: Any) -> Any:
        if e in done:
            return done[e]
        if not e.args:
            return e
        done[e] = rebuilt(e, [of(arg) for arg in e.args])
        return done[e]

    return of(expression) if rule else expression


def check_form(expression: Expr) -> None:
    """Raise ``Unprovable`` unless the normal form may be applied to ``expression``."""
    _check_form(expression, frozenset())
    clash = bound_symbols(expression) & free_symbols(expression)
    if clash:
        raise Unprovable(f"{names_of(clash)} is both free and the index of a sum")


def bound_symbols(e: Expr) -> set[Symbol]:
    return {limit[0] for sum_ in e.atoms(Sum) for limit in sum_.limits}


def _check_form(e: Expr, enclosing: frozenset[Symbol]) -> None:
    if isinstance(e, Symbol | Rational):
        return
    if isinstance(e, Indexed | KroneckerDelta):
        positions = e.indices if isinstance(e, Indexed) else e.args
        if not all(isinstance(position, Symbol) for position in positions):
            raise Unprovable(f"{e}: indices must be plain symbols")
    elif isinstance(e, Sum):
        bound = {limit[0] for limit in e.limits}
        if any(len(limit) != 3 or limit[1] != 1 for limit in e.limits):
            raise Unprovable(f"{e}: sums must run from 1")
        if not all(isinstance(symbol, sp.Dummy | BoundIndex) for symbol in bound):
            raise Unprovable(f"the index {names_of(bound)} of a sum must be a fresh dummy")
        if len(bound) < len(e.limits) or bound & enclosing:
            raise Unprovable(f"the index {names_of(bound)} is bound twice")
        if any(last.free_symbols & (bound | enclosing) for _, _, last in e.limits):
            raise Unprovable(f"{e}: the limit of a sum must not depend on the index of another")
        for _, _, last in e.limits:
            _check_form(last, enclosing)
        _check_form(e.function, enclosing | bound)
    elif isinstance(e, Pow):
        if not (isinstance(e.exp, Rational) and e.exp.q in (1, 2)):
            raise Unprovable("{}: exponents must be integers or halves of integers", e)
        _check_form(e.base, enclosing)
    elif isinstance(e, Add | Mul):
        for arg in e.args:
            _check_form(arg, enclosing)
    else:  # floats, infinities, Abs, Piecewise, Min, …
        raise Unprovable("{} is outside of what the normal form covers", e)


def names_of(symbols: Iterable[Symbol]) -> str:
    return ", ".join(sorted(str(symbol) for symbol in symbols))
