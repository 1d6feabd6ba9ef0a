"""The gradients of batch normalization, derived step by step for every batch size m.

The definition is the textbook's (Ioffe and Szegedy, "Batch Normalization", 2015, Algorithm 1), stated here apart from
the functions that ship. The loss is L = Σ_i δ_i·y_i with free δ_i, so that δ is the upstream gradient ∂L/∂y; a fixed
combination such as Σ_i y_i would not do, since its gradient with respect to x is 0.

``claims()`` lists the steps (equation 1). ∂L/∂x is assembled twice, from the Jacobian of x̂ and along the route of the
paper through ∂L/∂v and ∂L/∂μ, and either is proved equal to what SymPy's differentiation of L gives.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Indexed, IndexedBase, KroneckerDelta, Rational, Sum, Symbol

from derivations.claims.claim import Claim
from derivations.notation import (
    Definitions,
    L,
    Partial,
    beta,
    delta,
    epsilon,
    gamma,
    i,
    k,
    m,
    mu,
    over_batch,
    s,
    v,
    w,
    x,
    x_hat,
    y,
)
from derivations.notation.settings import InverseRoot, Setting

# The closed forms (equation 1), in named quantities.
D_BETA = over_batch(delta[i])
D_GAMMA = over_batch(delta[i] * x_hat[i])
D_X = gamma * s * (delta[k] - D_BETA / m - x_hat[k] * D_GAMMA / m)
JACOBIAN = s * (KroneckerDelta(i, k) - 1 / m - x_hat[i] * x_hat[k] / m)


@cache
def definitions(weighted: bool = False) -> Definitions:
    """The textbook definition: mean, variance, inverse standard deviation, x̂, y and the loss (equation 1).

    With weights w ≥ 0 every statistic is a weighted mean (equation 4); the loss is not weighted.
    """
    share = w[i] / over_batch(w[i]) if weighted else 1 / m
    return Definitions(
        {
            mu: over_batch(share * x[i]),
            v: over_batch(share * (x[i] - mu) ** 2),
            s: (v + epsilon) ** Rational(-1, 2),
            x_hat[i]: (x[i] - mu) * s,
            y[i]: gamma * x_hat[i] + beta,
            L: over_batch(delta[i] * y[i]),
        }
    )


@cache
def setting(weighted: bool = False) -> Setting:
    """The setting of every claim on the textbook definition: i and k run over the batch, s is the inverse root."""
    variance = definitions(weighted).unfold(v)
    positive = (variance + epsilon, epsilon, *([over_batch(w[i])] if weighted else []))
    return Setting({i: m, k: m}, InverseRoot(s, epsilon, variance), positive)


def claims() -> list[Claim]:
    """The steps of the derivation, in order."""
    textbook, where = definitions(), setting()

    def step(name: str, title: str, *members: Expr, because: str) -> Claim:
        return Claim(f"steps.{name}", title, members, where, textbook, because)

    direct = gamma * s * delta[k]
    through_v = Partial(L, v) * Partial(v, x[k])
    through_mu = Partial(L, mu) * Partial(mu, x[k])
    return [
        step(
            "mean",
            "the mean",
            Partial(mu, x[k]),
            1 / m,
            because="Of the m terms of the mean only x_k depends on x_k.",
        ),
        step(
            "variance",
            "the variance",
            Partial(v, x[k]),
            (2 / m) * (x[k] - mu),
            because="The mean depends on x_k too, but its contribution carries Σ (x − μ), which is 0.",
        ),
        step(
            "inv_std",
            "the inverse standard deviation",
            Partial(s, x[k]),
            -(s**2) * x_hat[k] / m,
            because="The power rule, −½ s³ ∂v/∂x_k, and (x_k − μ)·s is x̂_k.",
        ),
        step(
            "jacobian",
            "the normalized input",
            Partial(x_hat[i], x[k]),
            JACOBIAN,
            because="The product rule on (x_i − μ)·s: x_i itself, the mean and s each contribute one term.",
        ),
        step(
            "beta",
            "the gradient of beta",
            Partial(L, beta),
            D_BETA,
            because="β is added to every y_i.",
        ),
        step(
            "gamma",
            "the gradient of gamma",
            Partial(L, gamma),
            D_GAMMA,
            because="γ multiplies every x̂_i.",
        ),
        step(
            "x_by_jacobian",
            "the gradient of x, from the Jacobian",
            Partial(L, x[k]),
            over_batch(delta[i] * gamma * JACOBIAN),
            D_X,
            because="The chain rule over all x̂_i: each of them depends on x_k, through the statistics.",
        ),
        step(
            "through_variance",
            "the paper's route: through the variance",
            Partial(L, v),
            -gamma * s**2 * D_GAMMA / 2,
            because="x and μ are held fixed; ∂s/∂v is −½ s³.",
        ),
        step(
            "through_mean",
            "the paper's route: through the mean",
            Partial(L, mu),
            -gamma * s * D_BETA,
            because="x is held fixed; the term through the variance carries Σ (x − μ), which is 0.",
        ),
        step(
            "x_by_paper",
            "the gradient of x, along the paper's route",
            Partial(L, x[k]),
            direct + through_v + through_mu,
            D_X,
            because="x_k acts on L directly, through the variance, and through the mean.",
        ),
        step(
            "sum_of_dx",
            "corollary: the gradient of x sums to 0",
            over_batch(Partial(L, x[k]), of=k),
            sp.Integer(0),
            because="Adding one number to every element changes no output.",
        ),
        step(
            "dx_along_x_hat",
            "corollary: its component along the normalized input",
            over_batch(x_hat[k] * Partial(L, x[k]), of=k),
            gamma * s * (epsilon * s**2) * D_GAMMA,
            because="Scaling x − μ changes the outputs only as far as ε > 0 does; with ε = 0 it changes none.",
        ),
    ]


NumericGradients = Callable[[Any, Any, Any, Any], tuple[np.ndarray, np.ndarray, np.ndarray]]


@cache
def numeric_gradients() -> NumericGradients:
    """The derived closed forms as a NumPy function, made from the very expressions that ``claims()`` proves.

    Returns:
        A function of x and dy, [M] or [M, C], of gamma, a number or [C], and of epsilon. It returns dx, shaped like x,
        dgamma and dbeta, a number or [C] each, in float64.
    """
    textbook = definitions()
    arguments = [Symbol(f"{name}_array") for name in ("x", "delta")]
    arrays = dict(zip((x, delta), arguments, strict=True))
    expressions = [_on_arrays(textbook.unfold(closed_form), arrays) for closed_form in (D_X, D_GAMMA, D_BETA)]
    function = sp.lambdify(
        [*arguments, gamma, epsilon, m],
        expressions,
        modules=[{_sum_of_array.__name__: lambda array: array.sum(axis=0)}, "numpy"],
        cse=True,
    )

    def gradients(x: Any, dy: Any, gamma: Any, epsilon: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, dy, gamma, epsilon = (np.asarray(value, np.float64) for value in (x, dy, gamma, epsilon))
        if x.shape != dy.shape or x.ndim not in (1, 2):
            raise ValueError(f"x and dy must both be [M] or [M, C]. Received: shapes {x.shape} and {dy.shape}.")
        dx, dgamma, dbeta = function(x, dy, gamma, epsilon, float(len(x)))
        return dx, dgamma, dbeta

    return gradients


_sum_of_array = sp.Function("_sum_of_array")


def _on_arrays(e: Expr, arrays: dict[IndexedBase, Symbol]) -> Expr:
    """The expression with arrays for elements and a sum over an array for Σ.

    It is the same only if no sum holds another index than its own, which is checked.
    """
    if isinstance(e, Sum):
        (j,) = e.variables
        indices = {index for element in e.function.atoms(Indexed) for index in element.indices} & e.free_symbols
        if indices or not e.function.has(j):
            raise ValueError(f"{e} is no sum over one array")
        return _sum_of_array(_on_arrays(e.function, arrays))
    if isinstance(e, Indexed):
        return arrays[e.base]
    return e.func(*(_on_arrays(arg, arrays) for arg in e.args)) if e.args else e
