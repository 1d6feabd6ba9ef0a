"""Gradients of the gradients (equation 6): with weights, and through the cotangents of mean and variance.

Φ = Σ u·∂x + u_γ·∂γ + u_β·∂β is differentiated, where ∂x, ∂γ, ∂β are the first-order gradients for the cotangents δ, g_μ
and g_v of the three outputs, in the closed form that is proved to be the derivative of the loss.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import sympy as sp
from sympy import Expr

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.claims.families import inference
from derivations.notation import (
    Definitions,
    J,
    L,
    Partial,
    Phi,
    delta,
    g_mu,
    g_v,
    gamma,
    i,
    k,
    m,
    mu,
    over_batch,
    s,
    u,
    u_beta,
    u_gamma,
    v,
    w,
    x,
    x_hat,
)


def claims() -> Iterator[Claim]:
    """Training without and with weights, then inference."""
    for weighted in (False, True):
        yield from _training(weighted)
    yield from _inference()


def first_order(weighted: bool) -> Expr:
    """∂x_i for the cotangents δ, g_μ, g_v (equations 1, 2, 4)."""
    share = _share(weighted)
    through_y = gamma * s * (delta[i] - share * (steps.D_BETA + x_hat[i] * steps.D_GAMMA))
    return through_y + share * (g_mu + 2 * g_v * (x[i] - mu))


def _share(weighted: bool) -> Expr:
    return w[i] / over_batch(w[i]) if weighted else 1 / m


@cache
def _definitions(weighted: bool) -> Definitions:
    textbook = steps.definitions(weighted).with_loss(J, L + g_mu * mu + g_v * v)
    phi = over_batch(u[i] * first_order(weighted)) + u_gamma * steps.D_GAMMA + u_beta * steps.D_BETA
    return textbook.with_loss(Phi, phi)


def _training(weighted: bool) -> Iterator[Claim]:
    textbook, where = _definitions(weighted), steps.setting(weighted)
    kind = "weighted" if weighted else "plain"
    assumptions = ("m ≥ 1", "ε > 0", *(("w ≥ 0", "Σ w > 0") if weighted else ()))

    def claim(name: str, title: str, *members: Any, because: str) -> Claim:
        title = f"{title}, weighted" if weighted else title
        return Claim(f"second_order.{kind}.{name}", title, members, where, textbook, because, assumptions=assumptions)

    share = _share(weighted)
    weight = over_batch(w[i]) if weighted else m

    def mean(term: Expr) -> Expr:
        return over_batch(share * term)

    a, b = mean(u[i] * x_hat[i]), steps.D_GAMMA / weight
    c = over_batch(u[i] * delta[i]) / weight - mean(u[i]) * steps.D_BETA / weight - a * b
    projected = u[k] - mean(u[i]) - x_hat[k] * a  # P u
    transposed = delta[k] - share.xreplace({i: k}) * (steps.D_BETA + x_hat[k] * steps.D_GAMMA)  # Pᵀ δ
    w_k = w[k] if weighted else sp.Integer(1)

    yield claim(
        "first",
        "the gradient that is differentiated once more",
        first_order(weighted).xreplace({i: k}),
        Partial(J, x[k]),
        because="Φ is made of the derivatives of the loss, not of something that merely resembles them.",
    )
    yield claim(
        "delta",
        "the gradient with respect to δ",
        Partial(Phi, delta[k]),
        gamma * s * projected + u_gamma * x_hat[k] + u_beta,
        because="Φ is linear in δ: P is applied to u instead.",
    )
    yield claim(
        "gamma",
        "the gradient with respect to γ",
        Partial(Phi, gamma),
        s * weight * c,
        because="Only ∂x carries γ, as a factor; c is the covariance of u and δ less their parts along x̂.",
    )
    through_y = u_gamma * s * transposed - gamma * s**2 * (w_k * x_hat[k] * c + w_k * b * projected + a * transposed)
    yield claim(
        "x",
        "the gradient with respect to x",
        Partial(Phi, x[k]),
        through_y + 2 * g_v * share.xreplace({i: k}) * (u[k] - mean(u[i])),
        because="SymPy differentiates Φ; the last term comes from the cotangent of the variance.",
    )
    yield claim(
        "g_mu", "the gradient with respect to g_μ", Partial(Phi, g_mu), mean(u[i]), because="Φ is linear in g_μ."
    )
    yield claim(
        "g_v",
        "the gradient with respect to g_v",
        Partial(Phi, g_v),
        2 * mean(u[i] * (x[i] - mu)),
        because="Φ is linear in g_v.",
    )


@cache
def of_inference() -> Definitions:
    """The definitions of inference, with the losses of first and second order."""
    phi = over_batch(u[i] * gamma * s * delta[i]) + u_gamma * steps.D_GAMMA + u_beta * steps.D_BETA
    return inference.TEXTBOOK.with_loss(J, L).with_loss(Phi, phi)


def _inference() -> Iterator[Claim]:
    for name, title, *members in (
        ("first", "the gradient that is differentiated", gamma * s * delta[k], Partial(L, x[k])),
        (
            "delta",
            "the gradient with respect to δ",
            Partial(Phi, delta[k]),
            gamma * s * u[k] + u_gamma * x_hat[k] + u_beta,
        ),
        ("x", "the gradient with respect to x", Partial(Phi, x[k]), u_gamma * s * delta[k]),
        ("gamma", "the gradient with respect to γ", Partial(Phi, gamma), s * over_batch(u[i] * delta[i])),
    ):
        yield Claim(
            f"second_order.inference.{name}",
            f"{title}, inference",
            tuple(members),
            inference.SETTING,
            of_inference(),
            "Mean and variance are given: everything is affine in x.",
            assumptions=("m ≥ 1", "V ≥ 0", "ε > 0"),
        )
