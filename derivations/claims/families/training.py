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

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.claims.execution import Execution
from derivations.notation import (
    Definitions,
    J,
    L,
    Partial,
    beta,
    delta,
    epsilon,
    g_mu,
    g_v,
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
from derivations.notation.worlds import Computed, World
from keras_bn.formulas import training as shipped

d_gamma, d_beta = sp.symbols("d_gamma d_beta", real=True)  # any numbers, where gradients of γ and β are given

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

    def run(world: World) -> dict[str, Any]:
        ops = world.ops
        elements, *parameters = map(world.value, (x[i], gamma, beta, epsilon))
        statistics = functions.moments(ops, elements)
        y, saved = functions.normalize(ops, elements, statistics, *parameters)

        def gradients(*cotangents: Expr) -> Any:
            inputs = [world.value(value) for value in (delta[i], *cotangents, x[i], gamma)]
            return functions.backward(ops, *inputs, saved)

        given = map(world.value, (d_gamma, d_beta, g_mu, g_v, gamma))
        slope, offset = functions.through_statistics(ops, *given, saved)
        general, of_y_alone = gradients(g_mu, g_v), gradients(sp.Integer(0), sp.Integer(0))
        return {
            "mean": statistics.mean,
            "variance": statistics.variance,
            "inv_std": saved.inv_std,
            "saved_mean": saved.center + saved.shift,
            "y": y,
            "route": slope * (elements - saved.center) + offset,
            "d_x": general.x,
            "d_gamma": general.gamma,
            "d_beta": general.beta,
            "sum_d_x": ops.sum(of_y_alone.x),
        }

    execution = Execution(run, weighted=weighted)
    returned = execution.returned

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
            conditions=execution.conditions,
        )

    definition = "What the function returns is the definition, up to the order of operations."
    yield claim("moments.mean", "the mean", returned("mean", "moments.mean"), mu, because=definition)
    yield claim("moments.variance", "the variance", returned("variance", "moments.variance"), v)
    yield claim("normalize.inv_std", "the saved inverse deviation", returned("inv_std", "saved.inv_std"), s)
    yield claim("normalize.center", "the saved mean", returned("saved_mean", "saved.center + saved.shift"), mu)
    yield claim("normalize.y", "the output", returned("y"), y[i], because=definition)

    yield claim(
        "through_statistics.route",
        "what every element's gradient is less, but for its share",
        returned("route", "slope·(x − center) + offset"),
        gamma * s * (d_beta + x_hat[i] * d_gamma) - g_mu - 2 * g_v * (x[i] - mu),
        because="An affine function of x, for any gradients of γ and β.",
    )

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
        returned("d_beta", "gradients.beta"),
        Partial(J, beta),
        steps.D_BETA,
    )
    yield claim(
        "backward.gamma",
        "the gradient of gamma",
        returned("d_gamma", "gradients.gamma"),
        Partial(J, gamma),
        steps.D_GAMMA,
    )
    dx = returned("d_x", "gradients.x", at=k)
    yield claim("backward.x", "the gradient of x", dx, Partial(J, x[k]), closed_x, because=chain_rule)
    yield claim(
        "backward.sum",
        "the gradient of x through y sums to 0",
        returned("sum_d_x", "Σ gradients.x"),
        sp.Integer(0),
        because="Adding one number to every element changes no output.",
    )

    invariant = "The results are the same for every center; a gradient may treat it as constant (equation 9)."
    values = {"mean": "moments", "variance": "moments", "y": "normalize", "d_x": "backward"}
    for center in execution.constants:
        for key, function in values.items():
            name = key.removeprefix("d_")
            derivative = returned(key, f"∂{name}/∂center", wrt=center)
            yield claim(
                f"{function}.center_of_{name}",
                f"{name} does not depend on the center",
                derivative,
                sp.Integer(0),
                because=invariant,
            )
