"""The lemmas that bounds rest on, by name, each as the magnitude that it gives.

Source: N. J. Higham, *Accuracy and Stability of Numerical Algorithms* (2nd edition, 2002), sections 2.2, 3.1 and 4.2.
What a propagation of bounds from operation to operation cannot find is here: that a sum of numbers ≥ 0 has a small
relative error whatever they are, and that the mean of |x − c| is no more than σ·√(1 + k²).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sympy import QQ

from derivations.rounding.magnitudes import ONE, PLACE, RING, ZERO, G, Poly, magnitude, replaced

u, d, k, h, z = (G[name] for name in ("u", "d", "k", "h", "z"))


class Lemma(NamedTuple):
    """A statement, and why it holds."""

    statement: str
    because: str


LEMMAS = {
    "model": Lemma(
        "fl(a ∘ b) = (a ∘ b)(1 + ε) with |ε| ≤ u for ∘ = +, −, ·, /; a product with a power of 2 is exact.",
        "IEEE arithmetic, without overflow and underflow (Higham, section 2.2). A fused multiply-add rounds once less.",
    ),
    "sum": Lemma(
        "A sum by additions in any order, d of them at most on a summand's way, is Σ aᵢ(1 + θᵢ), "
        "|θᵢ| ≤ e^(d·u) − 1 ≤ d·u + 8/7·(d·u)² for d·u ≤ 1/8. An addition with a smaller u counts as that part of one.",
        "Each addition multiplies what it adds by 1 + ε (Higham, lemma 3.1 and section 4.2), and 1 + ε ≤ e^ε; "
        "d·u/(1 − d·u) is no smaller, and bounded by two terms of its series.",
    ),
    "quotient": Lemma(
        "1/(1 + θ) = 1 + θ′ with |θ′| ≤ d·u + 8/3·(d·u)², where |θ| ≤ d·u/(1 − d·u) and d·u ≤ 1/8.",
        "|θ′| ≤ |θ|/(1 − |θ|) ≤ d·u/(1 − 2·d·u).",
    ),
    "root": Lemma(
        "(1 + η)^(−1/2) = 1 − η/2 + ρ with |ρ| ≤ η²/2 for |η| ≤ 1/8.",
        "The binomial series: 3/8·η² and less for each further power, 3/8·η²/(1 − |η|) ≤ 3/7·η² in all.",
    ),
    "reciprocal root": Lemma(
        "fl(1/fl(√v)) = v^(−1/2)·(1 + ε) with |ε| ≤ 3/2·u + 2·u².",
        "A factor of 4 changes nothing: let s = √v be in [1, 2). There the root is rounded by at most u, its "
        "reciprocal by at most u/2, and |ε| ≤ u/(s − u) + s·u/2, which is convex in s.",
    ),
    "Cauchy–Schwarz": Lemma(
        "⟨|z|⟩ ≤ √⟨z²⟩ ≤ 1, and ⟨|z + κ|⟩ and ⟨|z|·|z + κ|⟩ ≤ √(1 + k²), for shares ≥ 0 that sum to 1.",
        "⟨|a·b|⟩² ≤ ⟨a²⟩·⟨b²⟩; ⟨z⟩ = 0 and ⟨z²⟩ = v/(v + ε) ≤ 1, so that ⟨(z + κ)²⟩ = ⟨z²⟩ + κ².",
    ),
    "no cancellation": Lemma(
        "The sum of |a| is the sum of a where every a ≥ 0: a sum of squares has a relative error, whatever is squared.",
        "|a| = a.",
    ),
}


def of_sum() -> Poly:
    """|θ| of a summand (lemma "sum")."""
    return d * u + QQ(8, 7) * (d * u) ** 2


def of_divisor() -> Poly:
    """|θ′| of what is divided by a sum (lemma "quotient")."""
    return d * u + QQ(8, 3) * (d * u) ** 2


def mean_magnitude(bound: Poly) -> Poly:
    """A bound of ⟨bound⟩ from ⟨z²⟩ = q ≤ 1, ⟨|z|⟩ ≤ 1 and ⟨vᵢ⟩ ≤ 1, monomial by monomial.

    Raises:
        TypeError: a mean of which nothing is known.
    """
    return _summed(bound, ("z", "part", "a"), {(0, 0, 0): ONE, (1, 0, 0): ONE, (2, 0, 0): G["q"], (0, 1, 0): ONE})


def mean_of_absolute(exact: Poly) -> Poly:
    """A bound of ⟨|exact|⟩: the lemmas "no cancellation" and "Cauchy–Schwarz" where they apply."""
    square = exact.quo((z + k) ** 2)
    if _is_nonnegative(exact) or (square * (z + k) ** 2 == exact and _is_nonnegative(square)):
        return magnitude(mean(exact))
    if len(exact) == 2:
        common = exact.quo(z + k)
        if common * (z + k) == exact and common.degree(PLACE["z"]) < 2:
            return replaced(magnitude(common), "z", ONE) * h
    return mean_magnitude(magnitude(exact))


def _is_nonnegative(exact: Poly) -> bool:
    """Whether every monomial is ≥ 0 for all data: positive coefficients, even powers of what may be negative."""
    positive = {PLACE[name] for name in ("q", "part", "share")}
    return all(
        coefficient > 0 and all(exponent % 2 == 0 or position in positive for position, exponent in enumerate(monomial))
        for monomial, coefficient in exact.items()
    )


def mean(exact: Poly) -> Poly:
    """⟨exact⟩: ⟨z⟩ = 0, ⟨z²⟩ = q, and ⟨vᵢ⟩ = 1 − q in units of the merged variance.

    Raises:
        TypeError: it holds another mean, of which nothing is known.
    """
    known = {(0, 0, 0): ONE, (1, 0, 0): ZERO, (2, 0, 0): G["q"], (0, 1, 0): 1 - G["q"], (0, 0, 1): G["A"]}
    return _summed(exact, ("z", "part", "a"), known)


def total(exact: Poly) -> Poly:
    """Σ exact: Σδ = D and Σδz = E, signed for an exact value, of absolute values for a magnitude.

    Raises:
        TypeError: it holds another sum.
    """
    return _summed(exact, ("z", "delta"), {(0, 1): G["D"], (1, 1): G["E"]})


PER_ELEMENT = ("z", "part", "a", "delta", "share")


def _summed(exact: Poly, names: tuple[str, ...], known: Mapping[Any, Poly]) -> Poly:
    others = [PLACE[name] for name in PER_ELEMENT if name not in names]
    result = ZERO
    for monomial, coefficient in exact.items():
        exponents = list(monomial)
        powers = tuple(exponents[PLACE[name]] for name in names)
        if powers not in known or any(exponents[position] for position in others):
            raise TypeError(f"nothing is known of the sum of {RING.from_dict({monomial: coefficient})}")
        for name in names:
            exponents[PLACE[name]] = 0
        result += RING.from_dict({tuple(exponents): coefficient}) * known[powers]
    return result
