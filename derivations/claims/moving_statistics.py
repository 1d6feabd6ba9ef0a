"""The shipped ``formulas.moving_statistics``: the closed form of the moving average (equation 11), by induction.

After T batches with values b_1 … b_T the moving value is r_T = a^T·r_0 + (1 − a)·Σ_{t≤T} a^(T−t)·b_t. Both parts are
given by recursion, P_0 = 1, P_{T+1} = a·P_T and S_0 = 0, S_{T+1} = a·S_T + b_{T+1}: r_T = P_T·r_0 + (1 − a)·S_T then
needs a base and a step, each a polynomial identity. The weights are the case b = 1.
"""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import Expr

from derivations.claim import Claim
from derivations.execution import Computed, Execution, World
from derivations.finite_sums import Setting
from derivations.notation import Definitions
from keras_bn.formulas import moving_statistics as shipped

a, r0, b, P, S, G = sp.symbols("a r0 b P S G", real=True)


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``."""

    def claim(name: str, title: str, *members: Expr | Computed, words: str) -> Claim:
        return Claim(
            f"moving_statistics.{name}",
            title,
            members,
            Setting(),
            Definitions({}),
            because=words,
            about=f"{functions.__name__}.update",
            assumptions=("any numbers a, r₀, b",),
            in_words=(words,),
        )

    def moving(power: Any, series: Any, start: Any = r0) -> Expr:
        return power * start + (1 - a) * series

    T, mean = sp.Symbol("T", integer=True, positive=True), sp.Symbol("mean", real=True)

    def run(world: World) -> dict[str, Any]:
        momentum, batch, count = map(world.value, (a, b, T))
        return {
            "step": functions.update(world.value(moving(P, S)), batch, momentum),
            "cumulative": functions.update(world.value(mean), batch, functions.cumulative_momentum(count)),
        }

    execution = Execution(run)
    yield claim(
        "base",
        "the moving value before any batch",
        Computed("1·r₀ + (1 − a)·0", moving(sp.Integer(1), sp.Integer(0))),
        r0,
        words="Base of the induction: P₀ = 1 and S₀ = 0.",
    )
    yield claim(
        "step",
        "the moving value after one more batch",
        execution.returned("step", "update(r, b, a)"),
        moving(a * P, a * S + b),
        words="Step of the induction: P becomes a·P and S becomes a·S + b; hence the closed form for every T.",
    )
    yield claim(
        "cumulative",
        "with momentum (t − 1)/t the moving value is the mean of all batches",
        execution.returned("cumulative", "update(mean, b, (T − 1)/T)"),
        ((T - 1) * mean + b) / T,
        words="Before the T-th batch the value is the mean of T − 1 batches; hence, by induction, of T after it.",
    )
    yield claim(
        "weights",
        "the weights still sum to 1",
        moving(a * P, a * G + 1, start=sp.Integer(1)),
        a * moving(P, G, start=sp.Integer(1)) + (1 - a),
        words="With r₀ = b = 1 the sum of weights is 1 at T = 0, and a·1 + (1 − a) = 1 after each step.",
    )
