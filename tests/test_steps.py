"""The derivation: each step is proved, no altered step is, and the numbers made from it are right."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from sympy import Add

from derivations.claims import steps
from derivations.claims.claim import Verdict
from derivations.normal_form.counterexamples import evaluate
from derivations.normal_form.finite_sums import residual
from derivations.notation import L, Partial, beta, delta, epsilon, gamma, i, k, m, over_batch, s, v, x, y
from derivations.notation.expressions import Unprovable

CLAIMS = {claim.identifier.split(".")[1]: claim for claim in steps.claims()}
TEXTBOOK = steps.definitions()


@pytest.mark.parametrize("name", CLAIMS)
def test_each_step_is_proved_without_further_conditions(name):
    claim = CLAIMS[name].settle()
    assert claim.verdict is Verdict.PROVED, claim.line()
    assert claim.settlement.side_conditions == ()
    assert claim.settlement.counterexample is None
    assert claim.because


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("position", [1, -1])
def test_no_altered_step_is_proved(name, position):
    """The member scaled, with its sign flipped, and with each of its terms dropped."""
    claim = CLAIMS[name]
    members = list(claim.members)
    right = members[position]
    terms = Add.make_args(sp.expand(right)) if not right.atoms(Partial) else ()
    altered = [right * sp.Rational(1001, 1000), -right, *(right - term for term in terms if len(terms) > 1)]
    for wrong in altered if right != 0 else [gamma]:
        members[position] = wrong
        settled = replace(claim, members=tuple(members)).settle()
        assert settled.verdict is Verdict.REFUTED, settled.line()


def test_the_gradient_is_reached_by_two_routes():
    routes = [claim for claim in CLAIMS.values() if claim.members[0] == Partial(L, x[k]) and len(claim.members) == 3]
    assert {claim.members[-1] for claim in routes} == {steps.D_X}
    assert len({claim.members[1] for claim in routes}) == 2


@pytest.mark.parametrize(
    ("name", "text", "latex"),
    [
        ("mean", "∂μ/∂xₖ = 1/m", r"\frac{\partial \mu}{\partial x_{k}} = \frac{1}{m}"),
        ("variance", "∂v/∂xₖ = 2·(xₖ − μ)/m", r"\frac{2 \left(x_{k} - \mu\right)}{m}"),
        ("jacobian", "∂x̂ᵢ/∂xₖ = s·([i = k] − 1/m − x̂ᵢ·x̂ₖ/m)", r"[i = k] - \frac{1}{m}"),
        ("x_by_jacobian", "γ·s·(δₖ − Σⱼ δⱼ/m − x̂ₖ·Σⱼ δⱼ·x̂ⱼ/m)", r"\hat{x}_{k} \sum_{j=1}^{m} \delta_{j} \hat{x}_{j}"),
    ],
)
def test_equations_are_printed_as_a_textbook_would(name, text, latex):
    assert text in CLAIMS[name].statement
    assert latex in CLAIMS[name].latex


def test_a_loss_with_fixed_coefficients_would_prove_wrong_formulas():
    """Why δ is free: the gradient of Σ y with respect to x is 0, so that any multiple of a right one would pass."""
    gradient = TEXTBOOK.unfold(Partial(over_batch(y[i]), x[k]))
    assert residual(steps.setting(), gradient) == 0


def test_differentiating_what_was_not_unfolded_is_an_error():
    with pytest.raises(Unprovable, match="s, v stands for"):
        TEXTBOOK.unfold(Partial(s * v, x[k]), keep=frozenset({s, v}))


def test_numeric_gradients_equal_the_exact_derivative():
    values = {
        m: Fraction(4),
        gamma: Fraction(3, 2),
        beta: Fraction(1),
        x: tuple(map(Fraction, (0, 1, -2, 5))),
        delta: tuple(map(Fraction, (1, 0, 2, -1))),
    }
    values[epsilon] = Fraction(9) - evaluate(TEXTBOOK.unfold(v), values)
    exact = [evaluate(TEXTBOOK.unfold(Partial(L, x[k])), {**values, k: Fraction(n)}) for n in range(1, 5)]
    numbers = [np.array([float(entry) for entry in values[base]]) for base in (x, delta)]
    dx, dgamma, dbeta = steps.numeric_gradients()(*numbers, float(values[gamma]), float(values[epsilon]))
    # A few roundings of numbers near 1 in float64.
    np.testing.assert_allclose(dx, [float(entry) for entry in exact], rtol=0, atol=1e-14)
    np.testing.assert_allclose(dgamma, float(evaluate(TEXTBOOK.unfold(Partial(L, gamma)), values)), rtol=1e-14)
    np.testing.assert_allclose(dbeta, float(evaluate(TEXTBOOK.unfold(Partial(L, beta)), values)), rtol=1e-14)


def test_numeric_gradients_equal_differences():
    rng = np.random.default_rng(0)
    x, dy, gamma = rng.normal(3, 2, (6, 2)), rng.normal(size=(6, 2)), rng.normal(size=2)
    gradients = steps.numeric_gradients()(x, dy, gamma, 1e-3)

    def loss(x: np.ndarray, gamma: np.ndarray, beta: float) -> float:
        mean, variance = x.mean(0), x.var(0)
        return float(np.sum(dy * (gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta)))

    directions = rng.normal(size=x.shape), rng.normal(size=2), 1.0
    h = 1e-5  # error h² of the central difference ≈ 1e-10, rounding 1e-16/h ≈ 1e-11
    difference = (
        loss(*(p + h * d for p, d in zip((x, gamma, 0.0), directions, strict=True)))
        - loss(*(p - h * d for p, d in zip((x, gamma, 0.0), directions, strict=True)))
    ) / (2 * h)
    along = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    assert abs(along - difference) < 1e-8


def test_numeric_gradients_broadcast_over_channels():
    rng = np.random.default_rng(1)
    x, dy, gamma = rng.normal(size=(5000, 3)), rng.normal(size=(5000, 3)), rng.normal(size=3)
    together = steps.numeric_gradients()(x, dy, gamma, 1e-3)
    assert [value.shape for value in together] == [(5000, 3), (3,), (3,)]
    for c in range(3):
        alone = steps.numeric_gradients()(x[:, c], dy[:, c], gamma[c], 1e-3)
        for whole, channel in zip(together, alone, strict=True):
            np.testing.assert_allclose(whole[..., c], channel, rtol=0, atol=1e-10)  # summed in another order


def test_numeric_gradients_refuse_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"Received: shapes \(3,\) and \(4,\)"):
        steps.numeric_gradients()(np.ones(3), np.ones(4), 1, 1)
