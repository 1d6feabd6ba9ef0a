"""Backward from the output (equation 10): x is not kept, the normalized input is recovered from what comes out.

φ is a leaky ReLU with slope α > 0: y_out = a·y, where a is 1 or α by the sign of y_out. The textbook's formulas are
proved first, then what ``formulas.output`` and ``formulas.training.backward`` return together.
"""

from collections.abc import Iterator
from typing import Any

from sympy import Expr, IndexedBase, Integer

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.claims.execution import Execution
from derivations.notation import J, Partial, beta, gamma, i, k, m, mu, over_batch, s, x, x_hat, y
from derivations.notation.expressions import Shorthand
from derivations.notation.worlds import World
from keras_bn.formulas import output as shipped
from keras_bn.formulas import training

slope = IndexedBase("a", positive=True)  # φ′ at each element
delta_out = IndexedBase("deltaout", real=True)  # ∂L/∂y_out
y_out = IndexedBase(Shorthand("yout", real=True))


ASSUMPTIONS = ("m ≥ 1", "ε > 0", "γ ≠ 0", "α > 0", "no output is 0")
IN_WORDS = ("φ is a·y near each element, with a constant slope a, unless y is 0.",)


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about the textbook definition, and about ``functions``."""
    textbook = (
        steps.definitions().with_loss(y_out[i], slope[i] * y[i]).with_loss(J, over_batch(delta_out[i] * y_out[i]))
    )
    delta = slope[i] * delta_out[i]
    recovered = (y_out[i] / slope[i] - beta) / gamma
    d_beta = over_batch(delta)
    d_gamma = (over_batch(delta * y_out[i] / slope[i]) - beta * d_beta) / gamma
    at_k = {i: k}
    d_x = gamma * s * (delta.xreplace(at_k) - d_beta / m - recovered.xreplace(at_k) * d_gamma / m)
    rows: list[tuple[str, str, tuple[Expr, ...], str]] = [
        ("x_hat", "the normalized input, recovered", (recovered, x_hat[i]), "y = y_out/a and x̂ = (y − β)/γ."),
        ("d_beta", "the gradient of β", (Partial(J, beta), d_beta), "δ = a·δ_out."),
        ("d_gamma", "the gradient of γ", (Partial(J, gamma), d_gamma), "Σδx̂ = (Σδy − βΣδ)/γ."),
        ("d_x", "the gradient of x", (Partial(J, x[k]), d_x), "Equation 1 with what was recovered."),
    ]
    for name, title, members, because in rows:
        yield Claim(
            f"output.{name}",
            title,
            members,
            steps.setting(),
            textbook,
            because,
            assumptions=ASSUMPTIONS,
            in_words=IN_WORDS,
        )

    def run(world: World) -> dict[str, Any]:
        given = (delta_out[i], slope[i] * y[i], slope[i], gamma, beta, s)
        d_out, out, slopes, scale, offset, inv_std = (world.value(textbook.unfold(value)) for value in given)
        dy, before = functions.before_activation(d_out, out, slopes)
        residual = functions.residual(before, scale, offset, inv_std)
        none = world.value(Integer(0))
        saved = training.Saved(none, none, inv_std)
        gradients = training.backward(world.ops, dy, none, none, residual, scale, saved)
        found = {"y": before, "residual": residual}
        return {**found, "d_x": gradients.x, "d_gamma": gradients.gamma, "d_beta": gradients.beta}

    returned = Execution(run).returned
    shipped_rows: list[tuple[str, str, tuple[Any, ...]]] = [
        ("before_activation.y", "what the activation was given", (returned("y"), y[i])),
        ("residual", "the residual, recovered", (returned("residual"), x[i] - mu)),
        ("before_activation.d_beta", "the shipped gradient of β", (returned("d_beta"), Partial(J, beta))),
        ("before_activation.d_gamma", "the shipped gradient of γ", (returned("d_gamma"), Partial(J, gamma))),
        ("before_activation.d_x", "the shipped gradient of x", (returned("d_x", at=k), Partial(J, x[k]))),
    ]
    for name, title, members in shipped_rows:
        yield Claim(
            f"output.shipped.{name}",
            title,
            members,
            steps.setting(),
            textbook,
            "Equation 1 by the function that serves x itself, too, of what was recovered.",
            about=f"{functions.__name__}.{name.split('.')[0]}",
            assumptions=ASSUMPTIONS,
            in_words=IN_WORDS,
        )
