"""The shipped ``formulas.moving_statistics``: the closed form of the moving average (equation 11), by induction.

After T batches with values b_1 … b_T the moving value is r_T = a^T·r_0 + (1 − a)·Σ_{t≤T} a^(T−t)·b_t. Both parts are
given by recursion, P_0 = 1, P_{T+1} = a·P_T and S_0 = 0, S_{T+1} = a·S_T + b_{T+1}: r_T = P_T·r_0 + (1 − a)·S_T then
needs a base and a step, each a polynomial identity. The weights are the case b = 1.
"""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import Expr, KroneckerDelta

from derivations.claims.claim import Claim
from derivations.claims.execution import Execution
from derivations.notation import Definitions, i, k, m, over_batch, w
from derivations.notation.settings import Setting
from derivations.notation.worlds import Computed, World
from keras_bn.formulas import moving_statistics as shipped

a, r0, b, P, S, G = sp.symbols("a r0 b P S G", real=True)


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``."""

    def claim(name: str, title: str, *members: Expr | Computed, words: str, positive: tuple[Expr, ...] = ()) -> Claim:
        return Claim(
            f"moving_statistics.{name}",
            title,
            members,
            Setting(positive=positive),
            Definitions({}),
            because=words,
            about=f"{functions.__name__}.update",
            assumptions=("any numbers a, r₀, b",),
            in_words=(words,),
        )

    def moving(power: Any, series: Any, start: Any = r0) -> Expr:
        return power * start + (1 - a) * series

    rho = sp.Symbol("rho", real=True)  # PyTorch's momentum
    T, mean = sp.Symbol("T", integer=True, positive=True), sp.Symbol("R", real=True)

    def run(world: World) -> dict[str, Any]:
        momentum, batch, count, older = map(world.value, (a, b, T, G))
        effective = functions.effective_count(older, momentum)
        return {
            "step": functions.update(world.value(moving(P, S)), batch, momentum),
            "torch": functions.update(world.value(mean), batch, 1 - world.value(rho)),
            "cumulative": functions.update(world.value(mean), batch, functions.debiased_momentum(count)),
            "count": effective,
            "debiased": functions.update(world.value(S / G), batch, functions.debiased_momentum(effective)),
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
        execution.returned("cumulative", "update(R, b, (T − 1)/T)"),
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
    yield claim(
        "torch",
        "PyTorch's momentum is 1 − a",
        execution.returned("torch", "update(R, b, 1 − ρ)"),
        (1 - rho) * mean + rho * b,
        words="PyTorch's momentum weighs the new batch, Keras' the old value.",
    )
    yield claim(
        "effective_count",
        "the effective number of batches after one more",
        execution.returned("count", "effective_count(G, a)"),
        a * G + 1,
        words="G is the sum of the batches' weights, 1 for the newest: G₀ = 0, and G becomes a·G + 1 after each batch.",
    )
    yield claim(
        "zero_debias",
        "with momentum (G − 1)/G the moving value is a weighted mean of the batches alone",
        execution.returned("debiased", "update(S/G, b, a·G/(a·G + 1))"),
        (a * S + b) / (a * G + 1),
        words="Step of an induction: S/G becomes (a·S + b)/(a·G + 1), which is S/G for the batches up to the new one; "
        "of the first, G = 1 and the value is b, whatever it was before. Adam's correction (r − a^T·r₀)/(1 − a^T) is "
        "the same, for (1 − a)·G = 1 − a^T.",
        positive=(G, a * G + 1),
    )
    yield claim(
        "debiased",
        "what the weights of the batches sum to",
        (1 - a) * (a * (1 - P) / (1 - a) + 1),
        1 - a * P,
        words="With P = a^T: if (1 − a)·G = 1 − a^T, then after one more batch 1 − a^(T+1); at T = 0 it is 0. Hence "
        "the sum part divided by 1 − a^T is a weighted mean of the batches, for a ≠ 1.",
    )
    yield from _unbiased()


def _unbiased() -> Iterator[Claim]:
    """The expectation of the variance of independent elements with mean ν and variance σ²."""
    nu, sigma = sp.symbols("nu sigma", real=True)
    words = "Expectation is linear, and E x_i·x_k = ν² + [i = k]·σ² for independent elements."
    for kind, weights in (("plain", sp.Integer(1)), ("weighted", w[i])):
        weight = over_batch(weights)
        shares = (weights / weight, weights.xreplace({i: k}) / weight)
        products = over_batch(over_batch(shares[0] * shares[1] * (nu**2 + KroneckerDelta(i, k) * sigma**2), of=k), of=i)
        expected = over_batch(shares[0] * (nu**2 + sigma**2)) - products
        yield Claim(
            f"moving_statistics.unbiased.{kind}",
            f"the expectation of the biased variance, {kind}",
            (expected, sigma**2 * (weight - over_batch(weights**2) / weight) / weight),
            Setting({i: m, k: m}, positive=(weight,)),
            Definitions({}),
            because=words,
            assumptions=("independent elements with mean ν and variance σ²", "m ≥ 1", "w ≥ 0", "Σ w > 0"),
            in_words=(words, "So v·W/(W − Σw²/W) is unbiased where it is defined; without weights v·m/(m − 1), m ≥ 2."),
        )
