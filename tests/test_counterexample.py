"""Exact evaluation and the search for small counterexamples."""

from fractions import Fraction

import pytest
import sympy as sp
from sympy import KroneckerDelta, Rational

from derivations.claims import steps
from derivations.normal_form.counterexamples import Undefined, evaluate, search
from derivations.normal_form.intervals import Interval, differ, square_root
from derivations.notation import L, Partial, delta, epsilon, gamma, i, k, m, mu, over_batch, s, v, w, x, x_hat
from derivations.notation.settings import Setting

TEXTBOOK, SETTING = steps.definitions(), steps.setting()
POINT = {
    m: Fraction(3),
    k: Fraction(2),
    gamma: Fraction(2),
    x: (Fraction(0), Fraction(1), Fraction(5)),
    delta: (Fraction(1), Fraction(-1), Fraction(2)),
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (over_batch(x[i]), 6),
        (over_batch(x[i] * delta[i]) / m, 3),
        (over_batch(x[i] * over_batch(delta[i])), 12),
        (over_batch(KroneckerDelta(i, k) * x[i]), 1),
        (TEXTBOOK.unfold(v), Fraction(14, 3)),
        ((gamma + 2) ** Rational(-3, 2), Fraction(1, 8)),
        (sp.Integer(7), 7),
    ],
)
def test_values(expression, value):
    assert evaluate(expression, POINT) == value


@pytest.mark.parametrize("expression", [1 / (x[k] - 1), sp.sqrt(gamma - 3), sp.sqrt(gamma), 1 / sp.sqrt(gamma - 2)])
def test_undefined(expression):
    with pytest.raises(Undefined):
        evaluate(expression, POINT)


def test_an_index_out_of_range_is_undefined():
    with pytest.raises(Undefined, match="at 4 of 3"):
        evaluate(x[k], {**POINT, k: Fraction(4)})


def test_other_functions_are_refused():
    with pytest.raises(NotImplementedError, match="floor"):
        evaluate(sp.floor(x[k] / 2), POINT)


def test_no_counterexample_to_a_true_identity():
    assert search(TEXTBOOK.unfold(Partial(v, x[k])), TEXTBOOK.unfold(2 * (x[k] - mu) / m), SETTING) is None


def test_the_gradient_without_the_variance_term_is_refuted_by_small_numbers():
    right, wrong = Partial(L, x[k]), gamma * s * (delta[k] - steps.D_BETA / m)
    found = search(TEXTBOOK.unfold(right), TEXTBOOK.unfold(wrong), SETTING)
    assert found is not None
    values = found.values
    assert values[m] == 2
    assert all(abs(entry) <= 1 for base in (x, delta) for entry in values[base])
    assert values[gamma] in (1, -1)
    assert found.left == evaluate(TEXTBOOK.unfold(right), values) != found.right
    assert found.right == evaluate(TEXTBOOK.unfold(wrong), values)


def test_the_counterexample_respects_the_assumptions():
    weight = over_batch(w[i])
    found = search(over_batch(w[i] * x[i]) / weight, over_batch(x[i]) / m, Setting({}, positive=(weight,)))
    assert found is not None
    assert min(found.values[w]) >= 0
    assert sum(found.values[w]) > 0


def test_epsilon_is_positive_and_the_deviation_rational():
    found = search(TEXTBOOK.unfold(x_hat[k]), 2 * TEXTBOOK.unfold(x_hat[k]), SETTING)
    assert found is not None
    assert found.values[epsilon] > 0
    assert isinstance(found.left, Fraction)


def test_an_irrational_value_is_enclosed():
    found = search(TEXTBOOK.unfold(s), (TEXTBOOK.unfold(v) + 2 * epsilon) ** Rational(-1, 2), SETTING)
    assert found is not None
    assert isinstance(found.right, Interval) or found.right != found.left
    assert search(sp.sqrt(gamma**2 + 1), sp.sqrt(gamma**2 + 1 + Rational(1, 10**9)), SETTING) is not None
    assert search((gamma**2 + 1) ** Rational(3, 2), (gamma**2 + 1) * sp.sqrt(gamma**2 + 1), SETTING) is None


@pytest.mark.parametrize(
    "value", [Fraction(2), Fraction(1, 3), Fraction(10**12 + 1), Interval(Fraction(2), Fraction(3))]
)
def test_enclosures_hold_the_root(value):
    root = square_root(value)
    assert isinstance(root, Interval)
    squared = root * root
    assert not differ(squared, value)
    assert differ(root, squared)
    assert not differ(root**-2 * squared, Fraction(1))


def test_a_rational_root_is_exact():
    assert square_root(Fraction(9, 4)) == Fraction(3, 2)
