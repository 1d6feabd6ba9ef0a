"""Other forms of the same gradients, and what follows from the definition (equations 3, 4 and 9)."""

from collections.abc import Iterator
from typing import Any

import sympy as sp

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.notation import L, Partial, delta, epsilon, gamma, i, k, m, mu, over_batch, s, v, w, x, x_hat

c = sp.Symbol("c", real=True)  # any constant
WEIGHTED = ("m ≥ 1", "ε > 0", "w ≥ 0", "Σ w > 0")


def claims() -> Iterator[Claim]:
    """The claims, the plain ones before the weighted ones."""

    def claim(name: str, title: str, *members: Any, because: str, weighted: bool = False) -> Claim:
        where, textbook = steps.setting(weighted), steps.definitions(weighted)
        assumptions = WEIGHTED if weighted else WEIGHTED[:2]
        return Claim(f"forms.{name}", title, members, where, textbook, because, assumptions=assumptions)

    A = gamma * s
    B = -A * s * steps.D_GAMMA / m
    C = -(A * steps.D_BETA / m + B * mu)
    yield claim(
        "affine",
        "the gradient of x as an affine map of δ and x",
        Partial(L, x[k]),
        A * delta[k] + B * x[k] + C,
        A * delta[k] + B * (x[k] - mu) - A * steps.D_BETA / m,
        because="Three vectors of one value a channel and one pass; B·(x − μ) keeps the digits that B·x + C cancels.",
    )
    g = gamma * delta[i]
    of_x_hat = m * gamma * delta[k] - over_batch(g) - x_hat[k] * over_batch(g * x_hat[i])
    yield claim(
        "vectorised",
        "the vectorised form",
        Partial(L, x[k]),
        s * of_x_hat / m,
        because="The closed form times m/m, with ∂L/∂x̂ = γδ.",
    )
    q = x[i] - c
    yield claim(
        "shifted_mean",
        "the mean about any constant",
        mu,
        c + over_batch(q) / m,
        because="The sum of m constants is m·c.",
    )
    yield claim(
        "shifted_variance",
        "the variance about any constant",
        v,
        over_batch(q**2) / m - (over_batch(q) / m) ** 2,
        because="Both terms grow by the same 2c⟨q⟩ + c²; with c near μ the difference does not cancel (equation 9).",
    )
    yield claim(
        "norm",
        "the normalized inputs have mean 0, and a mean square below 1",
        over_batch(x_hat[i] ** 2) / m + over_batch(x_hat[i]),
        1 - epsilon * s**2,
        because="⟨x̂²⟩ = v·s² and v = 1/s² − ε.",
    )
    weight = over_batch(w[i])
    yield claim(
        "weighted_x",
        "the gradient of x with weights",
        Partial(L, x[k]),
        gamma * s * (delta[k] - w[k] / weight * (steps.D_BETA + x_hat[k] * steps.D_GAMMA)),
        because="The inner sums are not weighted, since every output counts in the loss; the corrections carry w_k.",
        weighted=True,
    )
    yield claim(
        "weights",
        "the gradient of the weights",
        Partial(L, w[k]),
        -gamma / weight * (x_hat[k] * steps.D_BETA + (x_hat[k] ** 2 - v * s**2) * steps.D_GAMMA / 2),
        because="A weight acts through mean and variance only: ∂μ/∂w_k = (x_k − μ)/W, ∂v/∂w_k = ((x_k − μ)² − v)/W.",
        weighted=True,
    )
    yield claim(
        "equal_weights",
        "weights of 0 and more may be scaled",
        over_batch(w[k] * Partial(L, w[k]), of=k),
        sp.Integer(0),
        because="Doubling every weight changes no statistic (Euler's identity for a function of degree 0).",
        weighted=True,
    )
