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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import sympy as sp
from sympy import Add, Expr, Indexed, KroneckerDelta, Mul, Pow, Rational, S, Sum, Symbol

from derivations.notation.expressions import BoundIndex, Unprovable, check_form, free_symbols, rewritten
from derivations.notation.settings import Condition, Setting

MAX_TERMS = 8000  # of a product, multiplied out


def normal_form(setting: Setting, expression: Any) -> Expr:
    """The normal form of an expression.

    Raises:
        Unprovable: the expression lies outside of what the method covers.
    """
    expression = sp.sympify(expression)
    check_form(expression)
    if elimination := _elimination(setting):
        expression = rewritten(expression, elimination)
        check_form(expression)
    return _normal_form(expression, setting.ranges)


def residual(setting: Setting, left: Any, right: Any = 0) -> Expr:
    """0 if ``left`` and ``right`` are proved equal wherever both are defined; else what the difference comes to."""
    rest = normal_form(setting, sp.sympify(left) - sp.sympify(right))
    if rest != 0 and any(power.exp.is_negative and power.base.is_Add for power in rest.atoms(Pow)):
        # Sums in denominators cancel only over a common denominator.
        numerator, denominator = sp.fraction(sp.together(rest))
        numerator = _normal_form(numerator, setting.ranges)
        rest = S.Zero if numerator == 0 else numerator / denominator
    return rest


def open_conditions(setting: Setting, conditions: Iterable[Condition]) -> list[Condition]:
    """Those conditions that do not follow from the assumptions.

    Raises:
        Unprovable: a denominator, or a radicand in one, is identically 0.
    """
    remaining = []
    for condition in sorted(set(conditions), key=lambda c: (c.relation, sp.default_sort_key(c.expression))):
        normal = normal_form(setting, condition.expression)
        if normal == 0 and condition.relation != "≥ 0":
            raise Unprovable("the denominator {} is identically 0", condition.expression)
        factors = Mul.make_args(normal)
        nonzero = condition.relation == "≠ 0" and all(factor.is_nonzero for factor in factors)
        if normal != 0 and not nonzero and not all(_is_positive(setting, factor) for factor in factors):
            remaining.append(condition)
    return remaining


def _is_positive(setting: Setting, factor: Expr) -> bool:
    base = factor.base if factor.is_Pow else factor
    return bool(factor.is_positive) or base in _positive(setting)


@cache
def _positive(setting: Setting) -> frozenset[Expr]:
    return frozenset(normal_form(setting, expression) for expression in setting.positive)


@cache
def _elimination(setting: Setting) -> dict[Symbol, Expr]:
    if setting.root is None:
        return {}
    symbol, epsilon, variance = setting.root
    check_form(variance)
    if {symbol, epsilon} & variance.free_symbols:
        raise Unprovable(f"the variance must hold neither {symbol} nor {epsilon}")
    return {epsilon: symbol**-2 - _normal_form(variance, setting.ranges)}


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
    if isinstance(base, Add) and exponent > 1:  # A^(3/2) as A·√A
        return _distribute([base] * int(exponent) + [Pow(base, Rational(1, 2))])
    if exponent.is_negative and base == 0:
        raise Unprovable("the denominator {} is identically 0", e.base)
    return Pow(base, exponent)


def _distribute(factors: Iterable[Expr]) -> Expr:
    """The product, expanded term by term: SymPy's Mul would fold (a + b)·(a + b) back into a power."""
    terms: Sequence[Expr] = [S.One]
    for factor in factors:
        others = Add.make_args(factor)
        if len(terms) * len(others) > MAX_TERMS:
            raise Unprovable(f"multiplied out, a product has more than {MAX_TERMS} terms")
        terms = Add.make_args(Add(*[a * b for a in terms for b in others]))
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
        term = delta * rewritten(term / delta, {b: a})
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
        return _apply_deltas(constant * rewritten(monomial / delta, {j: k}))
    if monomial is S.One:
        return constant * last
    bound = BoundIndex(f"j{1 + _depth(monomial)}", integer=True, positive=True)
    return constant * Sum(rewritten(monomial, {j: bound}), (bound, 1, last))


@lru_cache(maxsize=1 << 14)
def _depth(e: Expr) -> int:
    """How deep sums are nested in e."""
    inner = max((_depth(arg) for arg in e.args), default=0)
    return inner + len(e.limits) if isinstance(e, Sum) else inner
