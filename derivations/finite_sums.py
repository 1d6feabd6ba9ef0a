"""Identities between finite symbolic sums, decided by a normal form.

The normal form of an expression is a polynomial in elements (x_k, δ_k, …) and in *moments*, sums Σ_j of a monomial in
the elements of index j. Two expressions with the same normal form are equal for every size m. SymPy differentiates;
nothing here calls its ``simplify``, ``doit`` or ``summation``.

- Products are distributed by hand, factors without the index leave the sum, Σ_j 1 becomes its upper limit, and bound
  indices are renamed by nesting depth, so that Σ_j x_j and Σ_l x_l are one object.
- Σ_j [j = k] f(j) collapses to f(k), but only where the declared range of k is that of the sum.
- The inverse root s = (v + ε)^(−1/2) is brought in by ε = s^(−2) − v: exact, and everything becomes rational in s.

The method decides within these bounds and refuses, by ``Unprovable``, whatever lies outside of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import sympy as sp
from sympy import Add, Expr, Indexed, KroneckerDelta, Mul, Pow, Rational, S, Sum, Symbol


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


class _Bound(Symbol):
    """The index of a sum in normal form; a class of its own, so that it equals no symbol of any claim."""


class Condition(NamedTuple):
    """What must hold for an expression to be defined."""

    expression: Expr
    relation: str  # "≠ 0", "> 0" or "≥ 0"


class InverseRoot(NamedTuple):
    """symbol = (variance + epsilon)^(−1/2)."""

    symbol: Shorthand
    epsilon: Symbol
    variance: Expr


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
        raise Unprovable(f"{_names(hidden)} stands for an expression that may depend on {wrt}: unfold it first")
    captured = _bound_symbols(expression) & wrt.free_symbols
    if captured:
        raise Unprovable(f"the index {_names(captured)} of a sum occurs in {wrt}: rename it first")
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


def check_form(expression: Expr) -> None:
    """Raise ``Unprovable`` unless the normal form may be applied to ``expression``."""
    _check_form(expression, frozenset())
    clash = _bound_symbols(expression) & free_symbols(expression)
    if clash:
        raise Unprovable(f"{_names(clash)} is both free and the index of a sum")


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


@dataclass(frozen=True)
class Setting:
    """What the symbols of a claim stand for.

    ranges: the last value of each free index; the first is 1.
    root: the inverse root by which its ε is eliminated.
    positive: expressions assumed to be > 0, besides those whose sign follows from the symbols' own assumptions.
    """

    ranges: Mapping[Symbol, Expr] = field(default_factory=dict)
    root: InverseRoot | None = None
    positive: tuple[Expr, ...] = ()

    def normal_form(self, expression: Any) -> Expr:
        """The normal form.

        Raises:
            Unprovable: the expression lies outside of what the method covers.
        """
        expression = sp.sympify(expression)
        check_form(expression)
        if self._elimination:
            expression = expression.xreplace(self._elimination)
            check_form(expression)
        return _normal_form(expression, self.ranges)

    def residual(self, left: Any, right: Any = 0) -> Expr:
        """0 if ``left`` and ``right`` are proved equal wherever both are defined; else what the difference comes to."""
        rest = self.normal_form(sp.sympify(left) - sp.sympify(right))
        if rest != 0 and any(power.exp.is_negative and power.base.is_Add for power in rest.atoms(Pow)):
            # Sums in denominators cancel only over a common denominator.
            numerator, denominator = sp.fraction(sp.together(rest))
            numerator = _normal_form(numerator, self.ranges)
            rest = S.Zero if numerator == 0 else numerator / denominator
        return rest

    def open_conditions(self, conditions: Iterable[Condition]) -> list[Condition]:
        """Those conditions that do not follow from the assumptions.

        Raises:
            Unprovable: a denominator, or a radicand in one, is identically 0.
        """
        remaining = []
        for condition in sorted(set(conditions), key=lambda c: (c.relation, sp.default_sort_key(c.expression))):
            normal = self.normal_form(condition.expression)
            if normal == 0 and condition.relation != "≥ 0":
                raise Unprovable("the denominator {} is identically 0", condition.expression)
            factors = Mul.make_args(normal)
            nonzero = condition.relation == "≠ 0" and all(factor.is_nonzero for factor in factors)
            if normal != 0 and not nonzero and not all(map(self._is_positive, factors)):
                remaining.append(condition)
        return remaining

    def _is_positive(self, factor: Expr) -> bool:
        base = factor.base if factor.is_Pow else factor
        return bool(factor.is_positive) or base in self._positive

    @cached_property
    def _positive(self) -> frozenset[Expr]:
        return frozenset(self.normal_form(expression) for expression in self.positive)

    @cached_property
    def _elimination(self) -> dict[Symbol, Expr]:
        if self.root is None:
            return {}
        symbol, epsilon, variance = self.root
        check_form(variance)
        if {symbol, epsilon} & variance.free_symbols:
            raise Unprovable(f"the variance must hold neither {symbol} nor {epsilon}")
        return {epsilon: symbol**-2 - _normal_form(variance, self.ranges)}


# A scope maps each index, free or bound, to its last value.
Scope = Mapping[Symbol, Expr]


def _normal_form(e: Expr, scope: Scope) -> Expr:
    if isinstance(e, Symbol | Rational | Indexed | KroneckerDelta):
        return e
    if isinstance(e, Sum):
        return _normal_sum(e, scope)
    args = [_normal_form(arg, scope) for arg in e.args]
    if isinstance(e, Add):
        return Add(*args)
    if isinstance(e, Mul):
        return _distribute(args)
    base, exponent = args
    if isinstance(base, Add) and exponent.is_Integer and exponent > 1:
        return _distribute([base] * int(exponent))
    if exponent.is_negative and base == 0:
        raise Unprovable("the denominator {} is identically 0", e.base)
    return Pow(base, exponent)


def _distribute(factors: Iterable[Expr]) -> Expr:
    """The product, expanded term by term: SymPy's Mul would fold (a + b)·(a + b) back into a power."""
    terms: Iterable[Expr] = [S.One]
    for factor in factors:
        terms = Add.make_args(Add(*[a * b for a in terms for b in Add.make_args(factor)]))
    return Add(*[_apply_deltas(term) for term in terms])


def _deltas(term: Expr) -> Iterator[KroneckerDelta]:
    for factor in Mul.make_args(term):
        if isinstance(factor, KroneckerDelta):
            yield factor
        elif factor.has(KroneckerDelta):
            raise Unprovable(f"[i = j] inside {factor}: only as a factor")


def _apply_deltas(term: Expr) -> Expr:
    """[a = b]·f(b) → [a = b]·f(a), for each delta of a monomial."""
    applied: set[KroneckerDelta] = set()
    while waiting := [delta for delta in _deltas(term) if delta not in applied]:
        delta = waiting[0]
        a, b = delta.args
        term = delta * (term / delta).xreplace({b: a})
        applied.add(delta)
    return term


def _normal_sum(e: Sum, scope: Scope) -> Expr:
    # SymPy flattens a sum of a sum into one with several limits, innermost first.
    scope = {**scope, **{j: last for j, _, last in e.limits}}
    result = _normal_form(e.function, scope)
    for j, _, last in e.limits:
        last = _normal_form(last, scope)
        result = Add(*[_sum_of_monomial(term, j, last, scope) for term in Add.make_args(result)])
    return result


def _sum_of_monomial(term: Expr, j: Symbol, last: Expr, scope: Scope) -> Expr:
    outside: list[Expr] = []
    inside: list[Expr] = []
    for factor in Mul.make_args(term):
        (inside if j in free_symbols(factor) else outside).append(factor)
    constant, monomial = Mul(*outside), Mul(*inside)
    for delta in _deltas(monomial):
        a, b = delta.args
        k = b if a == j else a
        if scope.get(k) != last:
            # Σ_j [j = k] f(j) = f(k) only for 1 ≤ k ≤ last.
            raise Unprovable(f"the sum runs over 1…{last}, the index {k} over 1…{scope.get(k, 'an undeclared range')}")
        return _apply_deltas(constant * (monomial / delta).xreplace({j: k}))
    if monomial is S.One:
        return constant * last
    bound = _Bound(f"j{1 + _depth(monomial)}", integer=True, positive=True)
    return constant * Sum(monomial.xreplace({j: bound}), (bound, 1, last))


def _depth(e: Expr) -> int:
    """How deep sums are nested in e."""
    inner = max((_depth(arg) for arg in e.args), default=0)
    return inner + len(e.limits) if isinstance(e, Sum) else inner


def _bound_symbols(e: Expr) -> set[Symbol]:
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
        if not all(isinstance(symbol, sp.Dummy | _Bound) for symbol in bound):
            raise Unprovable(f"the index {_names(bound)} of a sum must be a fresh dummy")
        if len(bound) < len(e.limits) or bound & enclosing:
            raise Unprovable(f"the index {_names(bound)} is bound twice")
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


def _names(symbols: Iterable[Symbol]) -> str:
    return ", ".join(sorted(str(symbol) for symbol in symbols))
