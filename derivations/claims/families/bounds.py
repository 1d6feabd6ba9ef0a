"""The bound on normalized inputs (equation 12), and batches of equal elements."""

from collections.abc import Iterator

import sympy as sp
from sympy import KroneckerDelta

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.notation import Definitions, epsilon, i, k, m, over_batch, s, x_hat
from derivations.notation.expressions import index
from derivations.notation.settings import Setting

j = index("l")  # a second index over the batch


def claims() -> Iterator[Claim]:
    """The bound first."""
    yield from _bound()
    yield from _constant_batch()


def _bound() -> Iterator[Claim]:
    others = (1 - KroneckerDelta(i, k)) * (1 - KroneckerDelta(j, k)) * (x_hat[i] - x_hat[j]) ** 2
    spread = over_batch(over_batch(others, of=j), of=i) / 2
    yield Claim(
        "bounds.identity",
        "the distance of x̂² from its bound",
        (m * ((m - 1) * (1 - epsilon * s**2) - x_hat[k] ** 2), spread),
        Setting({**steps.setting().ranges, j: m}, steps.setting().root, steps.setting().positive),
        steps.definitions(),
        because="Lagrange's identity for all elements but k, whose x̂ sum to −x̂_k.",
        in_words=(
            "A sum of squares is ≥ 0 and 1 − ε·s² ≤ 1; hence x̂_k² ≤ (m − 1)·(1 − ε·s²), so |x̂_k| ≤ √(m − 1), "
            "with < for ε > 0 and m ≥ 2.",
        ),
    )
    one = KroneckerDelta(i, k)
    mean = over_batch(one) / m
    variance = over_batch((one - mean) ** 2) / m
    yield Claim(
        "bounds.supremum",
        "the bound is approached",
        ((1 - mean) ** 2 / (variance + epsilon), (m - 1) ** 2 / (m - 1 + epsilon * m**2)),
        Setting({i: m, k: m}, positive=(variance + epsilon, m - 1 + epsilon * m**2)),
        Definitions({}),
        because="x̂_k² for x_k = 1 and 0 elsewhere: its mean is 1/m, its variance (m − 1)/m².",
        in_words=("As ε → 0 the right side tends to m − 1: for m ≥ 2 the bound is a supremum that is not attained.",),
    )


def _constant_batch() -> Iterator[Claim]:
    words = ("A batch of one element is a constant batch.",)
    constant = sp.Symbol("b", real=True)
    mean = over_batch(constant) / m
    yield Claim(
        "bounds.constant.variance",
        "a constant batch has variance 0, and its elements are their mean",
        (over_batch((constant - mean) ** 2) / m + (constant - mean), sp.Integer(0)),
        Setting({i: m}),
        Definitions({}),
        because="The mean of m equal numbers is that number: y = β for ε > 0, and for ε = 0 since s := 0 there.",
        in_words=words,
    )
