"""Conditions that always hold, by known inequalities: Cauchy–Schwarz, and the bound on x̂ (equation 12).

An expression is never negative if it is Σ λ·C + terms that are products of what is not negative, where each C is known
not to be negative, and each λ is such a product.
"""

import random
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import Any

from sympy import Add, Expr, Indexed, Mul, Pow, Sum, Symbol

from derivations.normal_form.counterexamples import Undefined, enclosed
from derivations.normal_form.finite_sums import normal_form
from derivations.normal_form.intervals import upper_end
from derivations.notation import i, k, m, mu, over_batch, x
from derivations.notation.definitions import Definitions
from derivations.notation.settings import Setting

_STEPS = 2  # how many C are subtracted one after another
_MAX_TERMS = 60
_POINTS = 24


def never_negative(
    setting: Setting, definitions: Definitions, unfolded: Expr, normal: Expr, elements: tuple[Expr, ...]
) -> str:
    """The relation "> 0" or "≥ 0" that an expression is found to obey everywhere, or "".

    Args:
        unfolded: The expression in the variables alone.
        normal: Its normal form.
        elements: What has a value for each element, at the index i, such as x_i and δ_i; plain statistics only.
    """
    if _may_be_negative(unfolded):
        return ""
    return _settled(setting, normal, _known(setting, definitions, elements), _STEPS)


def _may_be_negative(unfolded: Expr) -> bool:
    """Whether it is negative at one of a few points, which spares the search."""
    rng = random.Random(0)
    bases = sorted({element.base for element in unfolded.atoms(Indexed)}, key=str)
    symbols = sorted((e for e in unfolded.free_symbols if isinstance(e, Symbol) and e not in (m, k)), key=str)
    symbols = [symbol for symbol in symbols if all(symbol != base.label for base in bases)]
    for n in range(_POINTS):
        size = 1 + n % 4
        values: dict[Any, Any] = {m: Fraction(size), k: Fraction(rng.randint(1, size))}
        values |= {base: tuple(Fraction(rng.randint(-3, 3)) for _ in range(size)) for base in bases}
        values |= {s: Fraction(rng.randint(1, 9) if s.is_positive else rng.randint(-3, 3), 4) for s in symbols}
        try:
            if upper_end(enclosed(unfolded, values)) < 0:
                return True
        except (Undefined, KeyError):
            continue
    return False


def _settled(setting: Setting, e: Expr, known: Sequence[Expr], steps: int) -> str:
    terms = Add.make_args(e)
    if len(terms) > _MAX_TERMS:
        return ""
    doubtful = [term for term in terms if not _plain(term)]
    if not doubtful:
        return "> 0" if any(term.is_positive for term in terms) else "≥ 0"
    if not steps:
        return ""
    for expression in known:
        other = _normal(setting, expression)
        for term in Add.make_args(other):
            if not _plain(term) and _plain(factor := doubtful[0] / term):
                rest = Add(e, *(-factor * other_term for other_term in Add.make_args(other)))
                if len(Add.make_args(rest)) <= len(terms) + 2 and (found := _settled(setting, rest, known, steps - 1)):
                    return found
    return ""


def _plain(e: Expr) -> bool:
    """Whether a product is seen not to be negative factor by factor."""
    return all(not_negative(factor) for factor in Mul.make_args(e))


def not_negative(factor: Expr) -> bool:
    """Whether this is seen not to be negative: an even power, a sum of such, or a symbol that is known to be so."""
    if factor.is_nonnegative:
        return True
    if isinstance(factor, Pow) and factor.exp.is_Integer:
        return factor.exp % 2 == 0 or not_negative(factor.base)
    return isinstance(factor, Sum) and _plain(factor.function)


@cache
def _known(setting: Setting, definitions: Definitions, elements: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Expressions that are not negative, the simple ones first."""
    centered = [element - over_batch(element) / m for element in elements]
    found: list[Expr] = []
    if setting.root is not None:
        spread = definitions.unfold(over_batch((x[i] - mu) ** 2) / m)
        if x[i] in elements and _normal(setting, setting.root.variance - spread) == 0:
            normalized = definitions.unfold(x[i] - mu) * setting.root.symbol
            found.append(m - 1 - normalized.xreplace({i: k}) ** 2)
            # Cauchy–Schwarz, and Σ x̂² ≤ m.
            found += [
                m * over_batch(e**2) - over_batch(e * normalized) ** 2
                for e in (*elements, *centered)
                if x not in {part.base for part in e.atoms(Indexed)}
            ]
        # ε, and what it contributes to v + ε, as a share.
        found += [setting.root.epsilon * setting.root.symbol**2, setting.root.epsilon]
    found.append(m - 1)
    for element, around in zip(elements, centered, strict=True):
        found += [
            over_batch(element**2) - element.xreplace({i: k}) ** 2,
            m * over_batch(element**2) - over_batch(element) ** 2,
            over_batch(around**2) * (m - 1) / m - around.xreplace({i: k}) ** 2,
            over_batch(element**2) - m * (over_batch(element) / m) ** 2,
        ]
    for a, b in (*combinations(elements, 2), *combinations(centered, 2)):
        found.append(over_batch(a**2) * over_batch(b**2) - over_batch(a * b) ** 2)
    return tuple(found)


@cache
def _normal(setting: Setting, e: Expr) -> Expr:
    return normal_form(setting, e)
