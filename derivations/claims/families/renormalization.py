"""The shipped ``formulas.renormalization`` (equation 8), with r and d held constant, and what it were without that."""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import Expr, Symbol

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.claims.execution import Execution
from derivations.notation import J, Partial, beta, delta, epsilon, gamma, i, k, m, mu, over_batch, s, v, x, x_hat
from derivations.notation.worlds import Computed, NothingCounts, World
from keras_bn.formulas import renormalization as shipped
from keras_bn.formulas import training

r, d = sp.symbols("r d", real=True)
reference_mean = Symbol("mean_ref", real=True)
reference_std = Symbol("std_ref", positive=True)
r_min, r_max, d_max = sp.symbols("r_min r_max d_max", real=True)


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``."""
    z, corrected = x_hat[i], gamma * (r * x_hat[i] + d) + beta
    textbook = steps.definitions().with_loss(J, over_batch(delta[i] * corrected))

    def claim(
        name: str, title: str, *members: Expr | Computed, about: str, because: str, execution: Execution
    ) -> Claim:
        return Claim(
            f"renormalization.{name}",
            title,
            members,
            steps.setting(),
            textbook,
            because,
            about=about if about.startswith("the") else f"{functions.__name__}.{about}",
            assumptions=("m ≥ 1", "ε > 0", "any r and d, held constant"),
            conditions=execution.conditions,
        )

    def run(world: World) -> dict[str, Any]:
        ops = world.ops
        elements, scale, offset, eps, dy = map(world.value, (x[i], gamma, beta, epsilon, delta[i]))
        correction = functions.Correction(world.value(r), world.value(d))
        statistics = training.moments(ops, elements)
        composed = functions.compose(scale, offset, correction)
        y, saved = training.normalize(ops, elements, statistics, composed[0], composed[1], eps)
        nothing = world.value(sp.Integer(0))
        gradients = training.backward(ops, dy, nothing, nothing, elements, composed[0], saved)
        return {
            "std": functions.standard_deviation(ops, statistics.variance, eps),
            "y": y,
            "d_x": gradients.x,
            "d_gamma": functions.gradient_of_gamma(gradients.gamma, gradients.beta, correction),
            "d_beta": gradients.beta,
        }

    normalized = Execution(run)
    yield claim(
        "std",
        "the standard deviation",
        normalized.returned("std", "standard_deviation"),
        1 / s,
        about="standard_deviation",
        because="(v + ε)·(v + ε)^(−1/2); the result is 0 where v + ε is.",
        execution=normalized,
    )
    yield claim(
        "y",
        "the output",
        normalized.returned("y"),
        corrected,
        about="compose",
        because="The formula of training with γr for γ and γd + β for β.",
        execution=normalized,
    )
    yield claim(
        "d_x",
        "the gradient of x",
        normalized.returned("d_x", "gradients.x", at=k),
        Partial(J, x[k]),
        gamma * r * s * (delta[k] - steps.D_BETA / m - x_hat[k] * steps.D_GAMMA / m),
        about="compose",
        because="γr in place of γ; d is constant.",
        execution=normalized,
    )
    yield claim(
        "d_gamma",
        "the gradient of γ",
        normalized.returned("d_gamma", "gradient_of_gamma"),
        Partial(J, gamma),
        over_batch(delta[i] * (r * z + d)),
        about="gradient_of_gamma",
        because="The chain rule through both composed parameters.",
        execution=normalized,
    )
    yield claim(
        "d_beta",
        "the gradient of β",
        normalized.returned("d_beta", "gradients.beta"),
        Partial(J, beta),
        steps.D_BETA,
        about="compose",
        because="β is added to every output.",
        execution=normalized,
    )
    yield from _correction(functions, claim)
    yield claim(
        "without_stop_gradient",
        "unclipped r and d, were they not constant, would undo the normalization",
        (corrected - beta).xreplace({r: 1 / (s * reference_std), d: (mu - reference_mean) / reference_std}),
        gamma * (x[i] - reference_mean) / reference_std,
        about="the textbook definition",
        because="The batch's statistics cancel: the gradient of x would be γδ/σ_ref, that of given statistics.",
        execution=normalized,
    )


def _correction(functions: Any, claim: Any) -> Iterator[Claim]:
    """What is clipped, and to which bounds.

    Clipping is a function of which nothing is known but its arguments; the constants that stand for its values, and for
    what is held constant, are numbered in the order of the calls.
    """

    def run(world: World) -> dict[str, Any]:
        mean, std, low, high, most, eps = map(
            world.value, (reference_mean, reference_std, r_min, r_max, d_max, epsilon)
        )
        statistics = training.moments(world.ops, world.value(x[i]))
        arguments = statistics.mean, statistics.variance, functions.Reference(mean, std, low, high, most), eps
        correction = functions.correction(world.ops, *arguments)
        clips = world.ops.clips[:]
        nothing = functions.correction(NothingCounts(world), *arguments)
        return {
            "std": clips[0].value,
            "std_least": clips[0].low,
            "r": clips[1].value,
            "r_low": clips[1].low,
            "r_high": clips[1].high,
            "d": clips[2].value,
            "d_low": clips[2].low,
            "d_high": clips[2].high,
            "kept_r": world.held(4),
            "kept_d": world.held(5),
            "returned_r": correction.r,
            "returned_d": correction.d,
            "empty_r": nothing.r,
            "empty_d": nothing.d,
        }

    execution = Execution(run)
    _, std, clipped_r, clipped_d, r_held, d_held = execution.constants[:6]
    root = sp.Rational(1, 2)
    rows: list[tuple[str, str, str, Any, str]] = [
        ("std", "std_ref", "what is clipped to at least √ε", reference_std, "A constant c stands for what is clipped."),
        ("std_least", "lower bound of std", "what σ_ref is at least", epsilon**root, "σ is at least √ε, too."),
        ("r", "r before it is clipped", "the factor r", (v + epsilon) ** root / std, "σ over σ_ref."),
        ("r_low", "lower bound of r", "what r is at least", r_min, "As given."),
        ("r_high", "upper bound of r", "what r is at most", r_max, "As given."),
        ("d", "d before it is clipped", "the offset d", (mu - reference_mean) / std, "In units of σ_ref."),
        ("d_low", "lower bound of d", "what d is at least", -d_max, "d is clipped on both sides alike."),
        ("d_high", "upper bound of d", "what d is at most", d_max, "As given."),
        ("kept_r", "r after it", "r is clipped, then held constant", clipped_r, "Nothing comes between."),
        ("kept_d", "d after it", "d is clipped, then held constant", clipped_d, "Nothing comes between."),
        ("returned_r", "correction.r", "r is returned as it was held", r_held, "Where elements count."),
        ("returned_d", "correction.d", "d is returned as it was held", d_held, "Where elements count."),
        ("empty_r", "correction.r", "r where nothing counts", sp.Integer(1), "Nothing is corrected."),
        ("empty_d", "correction.d", "d where nothing counts", sp.Integer(0), "Nothing is corrected."),
    ]
    for key, name, title, value, because in rows:
        member = execution.returned(key, name)
        yield claim(f"correction.{key}", title, member, value, about="correction", because=because, execution=execution)
