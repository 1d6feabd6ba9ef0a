"""The shipped ``formulas.inference``: the affine map with given statistics (equation 5)."""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import Expr, Rational

from derivations.claims.claim import Claim
from derivations.claims.execution import Execution
from derivations.notation import (
    Definitions,
    L,
    M,
    Partial,
    beta,
    delta,
    epsilon,
    gamma,
    i,
    k,
    m,
    over_batch,
    s,
    x,
    x_hat,
    y,
)
from derivations.notation.settings import InverseRoot, Setting
from derivations.notation.worlds import World
from keras_bn.formulas import inference as shipped

V = sp.Symbol("V", nonnegative=True)  # the given variance

TEXTBOOK = Definitions(
    {
        s: (V + epsilon) ** Rational(-1, 2),
        x_hat[i]: (x[i] - M) * s,
        y[i]: gamma * x_hat[i] + beta,
        L: over_batch(delta[i] * y[i]),
    },
)
SETTING = Setting({i: m, k: m}, InverseRoot(s, epsilon, V), positive=(V + epsilon,))


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``."""

    def run(world: World) -> dict[str, Any]:
        return {"y": functions.normalize(world.ops, *map(world.value, (x[i], M, V, gamma, beta, epsilon)))}

    execution = Execution(run)
    yield Claim(
        "inference.normalize.y",
        "the output",
        (execution.returned("y"), y[i], gamma * s * x[i] + (beta - gamma * s * M)),
        SETTING,
        TEXTBOOK,
        because="What the function returns is the definition; the folded form is the same affine map.",
        about=f"{functions.__name__}.normalize",
        assumptions=("V ≥ 0", "ε > 0"),
        conditions=execution.conditions,
    )
    weight, bias, a = sp.symbols("weight bias a", real=True)  # of a linear map in front, applied to a
    folded = (weight * gamma * s) * a + ((bias - M) * gamma * s + beta)
    normalized = gamma * (weight * a + bias - M) * s + beta
    residual = x[i] - M
    rows: list[tuple[str, str, tuple[Expr, ...], str]] = [
        ("d_x", "the gradient of x", (Partial(L, x[k]), gamma * s * delta[k]), "Each element for itself."),
        ("d_gamma", "the gradient of γ", (Partial(L, gamma), over_batch(delta[i] * x_hat[i])), "γ multiplies x̂."),
        ("d_beta", "the gradient of β", (Partial(L, beta), over_batch(delta[i])), "β is added."),
        ("d_mean", "the gradient of the given mean", (Partial(L, M), -gamma * s * over_batch(delta[i])), "x − M."),
        (
            "d_variance",
            "the gradient of the given variance",
            (Partial(L, V), -gamma * s**3 * over_batch(delta[i] * residual) / 2),
            "∂s/∂V is −½ s³.",
        ),
        ("folded", "folded into a linear map", (normalized, folded), "One channel of W·a + b (equation 13)."),
    ]
    for name, title, members, because in rows:
        yield Claim(
            f"inference.{name}",
            title,
            members,
            SETTING,
            TEXTBOOK,
            because,
            assumptions=("V ≥ 0", "ε > 0"),
        )
