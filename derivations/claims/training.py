"""The shipped ``formulas.training``, plain and weighted, for every batch size.

The forward pass is proved equal to the textbook definition, not merely to itself; the backward pass to SymPy's
derivative of the textbook loss J = Σ_i δ_i·y_i + g_μ·μ + g_v·v, in which δ, g_μ and g_v are the cotangents of the three
outputs (equations 1, 2 and 4).
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import sympy as sp
from sympy import Expr

from derivations import steps
from derivations.claim import Claim, Computed
from derivations.finite_sums import Shorthand, differentiate
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
from derivations.symbolic_batch import SymbolicBatch, SymbolicOperations
from keras_bn.formulas import training as shipped

g_mu, g_v = sp.symbols("g_mu g_v", real=True)  # cotangents of mean and variance
J = Shorthand("J", real=True)

ANY_CENTER = "any constant as center"


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``, the plain ones before the weighted ones."""
    for weighted in (False, True):
        yield from _claims(functions, weighted)


@cache
def _textbook(weighted: bool) -> Definitions:
    return steps.definitions(weighted).with_loss(J, L + g_mu * mu + g_v * v)


def _claims(functions: Any, weighted: bool) -> Iterator[Claim]:
    textbook = _textbook(weighted)
    where = steps.setting(weighted)
    prefix = "training.weighted" if weighted else "training.plain"
    assumptions = ("m ≥ 1", "ε > 0", *(("w ≥ 0", "Σ w > 0") if weighted else ()), ANY_CENTER)

    ops = SymbolicOperations(weighted=weighted)
    elements, *parameters = map(SymbolicBatch, (x[i], gamma, beta, epsilon))
    statistics = functions.moments(ops, elements)
    output, saved = functions.normalize(ops, elements, statistics, *parameters)

    def gradients(d_mean: Expr, d_variance: Expr) -> Any:
        inputs = map(SymbolicBatch, (delta[i], d_mean, d_variance, x[i], gamma))
        return functions.backward(ops, *inputs, saved)

    general, of_y_alone = gradients(g_mu, g_v), gradients(sp.Integer(0), sp.Integer(0))

    def claim(name: str, title: str, *members: Expr | Computed, because: str = "") -> Claim:
        return Claim(
            f"{prefix}.{name}",
            f"{title}, weighted" if weighted else title,
            members,
            where,
            textbook,
            because,
            about=f"{functions.__name__}.{name.split('.')[0]}",
            assumptions=assumptions,
            conditions=frozenset(ops.conditions),
        )

    def returned(name: str, value: SymbolicBatch) -> Computed:
        return Computed(name, value.expression)

    definition = "What the function returns is the definition, up to the order of operations."
    yield claim("moments.mean", "the mean", returned("moments.mean", statistics.mean), mu, because=definition)
    yield claim("moments.variance", "the variance", returned("moments.variance", statistics.variance), v)
    yield claim("normalize.inv_std", "the saved inverse deviation", returned("saved.inv_std", saved.inv_std), s)
    yield claim(
        "normalize.center", "the saved mean", returned("saved.center + saved.shift", saved.center + saved.shift), mu
    )
    yield claim("normalize.y", "the output", returned("y", output), y[i], because=definition)

    share = w[k] / over_batch(w[i]) if weighted else 1 / m
    closed_x = (
        gamma * s * (delta[k] - share * steps.D_BETA - share * x_hat[k] * steps.D_GAMMA)
        + share * g_mu
        + 2 * share * g_v * (x[k] - mu)
    )
    chain_rule = "SymPy differentiates the textbook loss; the function's expression has the same normal form."
    yield claim(
        "backward.beta",
        "the gradient of beta",
        returned("gradients.beta", general.beta),
        Partial(J, beta),
        steps.D_BETA,
    )
    yield claim(
        "backward.gamma",
        "the gradient of gamma",
        returned("gradients.gamma", general.gamma),
        Partial(J, gamma),
        steps.D_GAMMA,
    )
    dx = Computed("gradients.x", general.x.expression.xreplace({i: k}))
    yield claim("backward.x", "the gradient of x", dx, Partial(J, x[k]), closed_x, because=chain_rule)
    yield claim(
        "backward.sum",
        "the gradient of x through y sums to 0",
        Computed("Σ gradients.x", over_batch(of_y_alone.x.expression)),
        sp.Integer(0),
        because="Adding one number to every element changes no output.",
    )

    invariant = "The results are the same for every center; a gradient may treat it as constant (equation 9)."
    values = {
        ("moments", "mean"): statistics.mean,
        ("moments", "variance"): statistics.variance,
        ("normalize", "y"): output,
        ("backward", "x"): general.x,
    }
    for center in ops.constants:
        for (function, name), value in values.items():
            derivative = Computed(f"∂{name}/∂center", differentiate(value.expression, center))
            yield claim(
                f"{function}.center_of_{name}",
                f"{name} does not depend on the center",
                derivative,
                sp.Integer(0),
                because=invariant,
            )
