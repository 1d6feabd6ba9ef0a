"""The shipped ``formulas.training`` where nothing counts: Σ w = 0, and other statistics take the batch's place."""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import Expr, Rational, Symbol

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.claims.execution import Execution
from derivations.notation import Definitions, delta, epsilon, gamma, i, k, m, s, x, x_hat
from derivations.notation.settings import InverseRoot, Setting
from derivations.notation.worlds import NothingCounts, World
from keras_bn.formulas import training as shipped

M, V = Symbol("M", real=True), Symbol("V", nonnegative=True)  # the statistics in the batch's place
c, d = sp.symbols("c d", real=True)  # cotangents of mean and variance


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``."""

    def run(world: World) -> dict[str, Any]:
        mean, variance, zero = map(world.value, (M, V, sp.Integer(0)))
        statistics = functions.Moments(mean, zero, variance)
        elements, scale, eps, dy = map(world.value, (x[i], gamma, epsilon, delta[i]))
        _, saved = functions.normalize(world.ops, elements, statistics, scale, zero, eps)
        ops = NothingCounts(world)
        gradients = functions.backward(ops, dy, world.value(c), world.value(d), elements, scale, saved)
        return {"d_x": gradients.x, "d_gamma": gradients.gamma, "d_beta": gradients.beta}

    execution = Execution(run)
    fixed = Definitions({s: (V + epsilon) ** Rational(-1, 2), x_hat[i]: (x[i] - M) * s})
    rows: list[tuple[str, str, Any, Expr]] = [
        ("d_x", "the gradient of x", execution.returned("d_x", "gradients.x", at=k), gamma * s * delta[k]),
        ("d_gamma", "the gradient of γ", execution.returned("d_gamma", "gradients.gamma"), steps.D_GAMMA),
        ("d_beta", "the gradient of β", execution.returned("d_beta", "gradients.beta"), steps.D_BETA),
    ]
    for name, title, member, value in rows:
        yield Claim(
            f"degenerate.nothing_counts.{name}",
            f"{title} where no element counts",
            (member, value),
            Setting({i: m, k: m}, InverseRoot(s, epsilon, V), positive=(V + epsilon,)),
            fixed,
            because="Given statistics take the place of the batch's: the gradients are those of inference.",
            about=f"{functions.__name__}.backward",
            assumptions=("W = 0", "V ≥ 0", "ε > 0"),
            conditions=execution.conditions,
        )
