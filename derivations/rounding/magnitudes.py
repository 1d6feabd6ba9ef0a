"""Polynomials for what a value means, and for how large an error is at most.

The unit of x is σ = √(v + ε): the model of rounding knows relative errors alone, and so no bound depends on the unit.
An exact value is a polynomial in signed numbers such as z_i, κ = (μ − c)/σ and γ. A *magnitude* is one with
coefficients ≥ 0, in which each symbol stands for an upper bound of the absolute value of that number: k for |κ|, D for
Σ|δ| ≥ |Σδ|. Magnitudes may be added and multiplied, and grow in each symbol.

Higher orders are kept: where d·u·(1 + k)² ≤ ``SMALL``, what is of order u³ and beyond is a small part of what is of
order u², and is added to that.
"""

from collections.abc import Iterable
from fractions import Fraction
from math import sqrt
from typing import Any

from sympy import QQ, ring

# Generators, and how they are printed as magnitudes.
SYMBOLS = {
    "u": "u",  # the unit roundoff: 2⁻²⁴ in float32
    "d": "d",  # the depth of a sum: so many additions at most between a summand and the result
    "k": "k",  # |c − μ|/σ, the distance of the center from the mean; signed: κ = (μ − c)/σ
    "h": "√(1 + k²)",
    "K": "(1 + k)",  # in what is of second order, for k, h and 1
    "z": "|zᵢ|",
    "delta": "|δᵢ|",
    "D": "Σ|δ|",
    "E": "Σ|δz|",
    "share": "ωᵢ",  # the element's share in the statistics, 1/m without weights
    "gamma": "|γ|",
    "beta": "|β|",
    "mu": "|μ|/σ",
    "q": "v/σ²",  # at most 1
    "g_mu": "|g_μ|",
    "g_v": "|g_v|",
    "part": "vᵢ",  # the variance of a part of a batch that is merged
    "a": "aᵢ",  # the distance of a part's center from its mean, at most k
    "A": "⟨a⟩",
}
RING, *GENERATORS = ring(list(SYMBOLS), QQ)
Poly = Any  # an element of RING, for which SymPy has no static type
G = dict(zip(SYMBOLS, GENERATORS, strict=True))
PLACE = {name: position for position, name in enumerate(SYMBOLS)}
ZERO, ONE = RING.zero, RING.one
SMALL = QQ(1, 500)  # what d·u·(1 + k)² is assumed not to exceed


def number(value: Any) -> Poly:
    """A rational number as a polynomial; 0.54 is 54/100."""
    exact = Fraction(str(value))
    return RING.ground_new(QQ(exact.numerator, exact.denominator))


def magnitude(exact: Poly) -> Poly:
    """An upper bound of |exact|: the triangle inequality, monomial by monomial; |aᵢ| ≤ k."""
    bound = RING.from_dict({monomial: abs(coefficient) for monomial, coefficient in exact.items()})
    return replaced(replaced(bound, "a", G["k"]), "A", G["k"])


def truncated(bound: Poly) -> Poly:
    """No smaller than ``bound``, and of order u² at most, where d·u·(1 + k)² ≤ ``SMALL`` and 1 ≤ d.

    There k and √(1 + k²) become 1 + k, each u beyond the second takes a d and two factors 1 + k with it, if they are
    there, and coefficients are rounded up to eighths.
    """
    u, d, K = (PLACE[name] for name in ("u", "d", "K"))
    result: dict[tuple[int, ...], Any] = {}
    for monomial, coefficient in bound.items():
        exponents = list(monomial)
        if exponents[u] > 1:
            surplus = exponents[u] - 2
            for name in ("k", "h"):
                exponents[K] += exponents[PLACE[name]]
                exponents[PLACE[name]] = 0
            coefficient = coefficient * SMALL**surplus
            exponents[u] = 2
            exponents[d] = max(exponents[d] - surplus, 0)
            exponents[K] = max(exponents[K] - 2 * surplus, 0)
        key = tuple(exponents)
        result[key] = result.get(key, QQ(0)) + coefficient
    return RING.from_dict({m: c if m[u] < 2 else _rounded_up(c) for m, c in result.items()})


def _rounded_up(coefficient: Any) -> Any:
    return QQ(-(-8 * int(coefficient.numerator) // int(coefficient.denominator)), 8)


def replaced(poly: Poly, name: str, by: Poly) -> Poly:
    """The polynomial with ``by`` in place of one symbol."""
    return poly.compose(G[name], by) if any(monomial[PLACE[name]] for monomial in poly) else poly


def first_order(bound: Poly) -> Poly:
    """No smaller than ``bound``, and of order u alone, where d·u·(1 + k)² ≤ ``SMALL``.

    Of what is of order u², one u goes, with a d and two factors 1 + k; another 1 + k is at most 3/2·√(1 + k²). What
    holds |μ|², of any size, keeps its order.
    """
    u, d, h, K, mu = (PLACE[name] for name in ("u", "d", "h", "K", "mu"))
    result: dict[tuple[int, ...], Any] = {}
    for monomial, coefficient in truncated(bound).items():
        exponents = list(monomial)
        if exponents[u] > 1 and exponents[mu] < 2:
            exponents[u] = 1
            exponents[d] = max(exponents[d] - 1, 0)
            exponents[h] = max(exponents[K] - 2, 0)
            exponents[K] = 0
            coefficient = coefficient * SMALL * QQ(3, 2) ** exponents[h]
        key = tuple(exponents)
        result[key] = result.get(key, QQ(0)) + coefficient
    return RING.from_dict(result)


def excess(bound: Poly, promise: Poly) -> Poly:
    """What ``bound`` has beyond ``promise``, monomial by monomial; nothing left proves bound ≤ promise.

    A monomial may be paid for by larger ones: 1 and k are at most h, and 1 is at most d.
    """
    left = dict(bound.items())
    paid = dict(promise.items())
    for widening in (
        (),
        (("k", -1), ("h", 1)),
        (("h", 1),),
        (("d", 1),),
        (("k", -1), ("h", 1), ("d", 1)),
        (("d", 1), ("h", 1)),
    ):
        for monomial in list(left):
            exponents = list(monomial)
            for name, step in widening:
                exponents[PLACE[name]] += step
            part = min(left[monomial], paid.get(tuple(exponents), QQ(0)))
            if part:
                left[monomial] -= part
                paid[tuple(exponents)] -= part
    return RING.from_dict({monomial: coefficient for monomial, coefficient in left.items() if coefficient})


def is_small(bound: Poly) -> bool:
    """Whether ``bound`` is at most 1/8 wherever d·u·(1 + k)² ≤ ``SMALL``, whatever the data."""
    u, d, k, h, q = (PLACE[name] for name in ("u", "d", "k", "h", "q"))
    for monomial in (flat := first_order(bound)):
        exponents = list(monomial)
        exponents[q] = 0  # it is at most 1
        if exponents[u] != 1 or exponents[d] > 1 or exponents[k] + exponents[h] > 2:
            return False
        exponents[u] = exponents[d] = exponents[k] = exponents[h] = 0
        if any(exponents):
            return False
    return sum(flat.values(), QQ(0)) * SMALL <= QQ(1, 8)


def value(bound: Poly, **known: Any) -> Any:
    """The magnitude at numbers, or at arrays of them that broadcast; ``h`` follows from k, and what is not given is 1.

    The coefficients are rational and few: what float64 rounds here is below 1e-13 of the result.
    """
    distance = known.get("k", 1)
    known |= {"h": sqrt(1 + distance**2), "K": 1 + distance}
    total: Any = 0.0
    for monomial, coefficient in bound.items():
        term: Any = float(coefficient)
        for name, exponent in zip(SYMBOLS, monomial, strict=True):
            if exponent:
                term = term * known.get(name, 1.0) ** exponent
        total = total + term
    return total


def text(bound: Poly) -> str:
    """The magnitude as a sum over the powers of u, each a sum over the data that the error is relative to."""
    if not bound:
        return "0"
    parts = []
    for power in sorted({monomial[PLACE["u"]] for monomial in bound}):
        groups: dict[str, list[str]] = {}
        for monomial, coefficient in sorted(bound.items(), reverse=True):
            if monomial[PLACE["u"]] == power:
                relative_to = _product(monomial, [name for name in SYMBOLS if name not in ("u", "d", "k")])
                summand = _times(_shown(coefficient), _product(monomial, ["d", "k"]))
                groups.setdefault(relative_to, []).append(summand)
        outer = "" if power == 0 else _power("u", power)
        terms = [_times(_sum(factors, alone=not data), data) for data, factors in groups.items()]
        parts.append(_times(outer, _sum(terms, alone=not outer)))
    return " + ".join(parts)


def _sum(terms: list[str], *, alone: bool) -> str:
    inner = " + ".join(terms)
    return inner if alone or " + " not in inner or (len(terms) == 1 and inner.startswith("(")) else f"({inner})"


def _times(a: str, b: str) -> str:
    return "·".join(factor for factor in (a, b) if factor not in ("", "1")) or "1"


def _shown(coefficient: Any) -> str:
    exact = f"{float(coefficient):.12g}"
    return exact if len(exact) < 8 else str(coefficient)


def _product(monomial: tuple[int, ...], names: Iterable[str]) -> str:
    powers = [(SYMBOLS[name], monomial[PLACE[name]]) for name in names]
    return "·".join(_power(name, n) for name, n in powers if n)


def _power(name: str, exponent: int) -> str:
    if exponent == 1:
        return name
    return f"({name})" * ("/" in name) + name * ("/" not in name) + "⁰¹²³⁴⁵⁶⁷⁸⁹"[exponent]
