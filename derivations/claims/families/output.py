"""Backward from the output (equation 10): x is not kept, the normalised input is recovered from what comes out.

φ is a leaky ReLU with slope α > 0: y_out = a·y, where a is 1 or α by the sign of y_out.
"""

from collections.abc import Iterator

from sympy import Expr, IndexedBase

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.notation import J, Partial, beta, gamma, i, k, m, over_batch, s, x, x_hat, y
from derivations.notation.expressions import Shorthand

slope = IndexedBase("a", positive=True)  # φ′ at each element
delta_out = IndexedBase("deltaout", real=True)  # ∂L/∂y_out
y_out = IndexedBase(Shorthand("yout", real=True))


def claims() -> Iterator[Claim]:
    """The claims, about the textbook definition."""
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
        ("x_hat", "the normalised input, recovered", (recovered, x_hat[i]), "y = y_out/a and x̂ = (y − β)/γ."),
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
            assumptions=("m ≥ 1", "ε > 0", "γ ≠ 0", "α > 0", "no output is 0"),
            in_words=("φ is a·y near each element, with a constant slope a, unless y is 0.",),
        )
