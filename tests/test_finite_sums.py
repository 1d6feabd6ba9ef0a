"""The normal form: what it decides, what it refuses, and that it agrees with exact evaluation."""

from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sympy import Dummy, KroneckerDelta, Rational, Sum, Symbol

from derivations.counterexample import Undefined, evaluate
from derivations.finite_sums import (
    Condition,
    InverseRoot,
    Setting,
    Shorthand,
    Unprovable,
    conditions_of,
    differentiate,
    index,
    total,
)
from derivations.notation import delta, epsilon, gamma, i, k, m, over_batch, s, w, x

MU = over_batch(x[i]) / m
V = over_batch((x[i] - MU) ** 2) / m
PLAIN = Setting({i: m, k: m})
WITH_ROOT = Setting({i: m, k: m}, InverseRoot(s, epsilon, V))
INV_STD = (V + epsilon) ** Rational(-1, 2)
n = Symbol("n", integer=True, positive=True)


def dummy(name: str = "j") -> Dummy:
    return Dummy(name, integer=True, positive=True)


EQUAL = {
    "one index renamed": (over_batch(x[i]), total(x[k], k, m)),
    "sum of 1": (over_batch(1), m),
    "linearity": (over_batch(3 * x[i] + gamma * delta[i]), 3 * over_batch(x[i]) + gamma * over_batch(delta[i])),
    "deviations sum to 0": (over_batch(x[i] - MU), 0),
    "variance from moments": (V, over_batch(x[i] ** 2) / m - MU**2),
    "product of sums": (over_batch(x[i]) * over_batch(delta[i]), over_batch(x[i] * over_batch(delta[i]))),
    "nested sums commute": (over_batch(x[i] * total(delta[k] * x[k], k, m)), total(x[k] * delta[k], k, m) * m * MU),
    "a square that SymPy folds": ((x[i] + MU) * (x[i] + MU), x[i] ** 2 + 2 * x[i] * MU + MU**2),
    "delta collapses": (over_batch(KroneckerDelta(i, k) * x[i] ** 2), x[k] ** 2),
    "delta is idempotent": (KroneckerDelta(i, k) * KroneckerDelta(i, k) * x[i], KroneckerDelta(i, k) * x[k]),
    "delta under a flattened sum": (total(over_batch(KroneckerDelta(i, k)), k, m), m),
    "a common denominator": (1 / (m + 1) - 1 / (m + 2), 1 / ((m + 1) * (m + 2))),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_expressions_have_no_residual(name):
    left, right = EQUAL[name]
    assert PLAIN.residual(left, right) == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (V, over_batch(x[i] ** 2) / m),
        (over_batch(x[i] * delta[i]), over_batch(x[i]) * over_batch(delta[i])),
        (over_batch(x[i]), over_batch(delta[i])),
        (over_batch(x[i]), total(x[i], i, n)),
        (KroneckerDelta(i, k) * x[i], x[i]),
        (gamma * x[k] * Rational(1001, 1000), gamma * x[k]),
    ],
)
def test_different_expressions_leave_a_residual(left, right):
    assert PLAIN.residual(left, right) != 0


def test_the_root_is_brought_in_exactly():
    assert WITH_ROOT.residual(INV_STD, s) == 0
    assert WITH_ROOT.residual(over_batch((x[i] - MU) ** 2) * INV_STD**2, m * (1 - epsilon * s**2)) == 0
    assert WITH_ROOT.residual(INV_STD**3, s**2) != 0
    assert WITH_ROOT.residual((V + 2 * epsilon) ** Rational(-1, 2), s) != 0


def test_normal_form_is_idempotent():
    e = over_batch((x[i] - MU) ** 2 * total(delta[k] * x[k], k, m) ** 2)
    once = PLAIN.normal_form(e)
    assert PLAIN.normal_form(once) == once


# Traps: what SymPy gets wrong in silence, or what would make a zero residual mean nothing.


def test_sympy_still_captures_a_bound_index():
    """The trap itself; should SymPy mend it, this fails and the guard may go."""
    assert Sum(x[k], (k, 1, m)).diff(x[k]).doit() == m


def test_differentiation_refuses_a_captured_index():
    with pytest.raises(Unprovable, match="fresh dummy"):
        differentiate(Sum(x[k], (k, 1, m)), x[k])
    j = dummy()
    with pytest.raises(Unprovable, match=r"occurs in x\[_j\]: rename"):
        differentiate(Sum(x[j], (j, 1, m)), x[j])


@pytest.mark.parametrize("wrt", [x[k], w[k], gamma])
def test_differentiation_refuses_a_shorthand(wrt):
    with pytest.raises(Unprovable, match="s stands for an expression that may depend on"):
        differentiate(s * x[i] * w[i] * gamma, wrt)


def test_differentiation_refuses_an_element_that_stands_for_something():
    x_hat = sp.IndexedBase(Shorthand("xhat", real=True))
    with pytest.raises(Unprovable, match="xhat stands for"):
        differentiate(over_batch(x_hat[i]), x[k])


def test_differentiation_with_respect_to_a_shorthand_is_allowed():
    assert differentiate(s**2 * x[i], s) == 2 * s * x[i]


def test_differentiation_refuses_a_limit():
    with pytest.raises(Unprovable, match="m is a limit of a sum"):
        differentiate(over_batch(x[i]) / m, m)


def test_sympy_derivative_of_the_variance():
    assert PLAIN.residual(differentiate(V, x[k]), 2 * (x[k] - MU) / m) == 0


REFUSED = {
    "a named index": (Sum(x[k], (k, 1, m)), "fresh dummy"),
    "a float": (0.5 * x[k], "Float"),
    "an infinity": (sp.oo * x[k], "Infinity"),
    "1/0": (sp.zoo + x[k], "ComplexInfinity"),
    "not a number": (sp.nan, "NaN"),
    "an absolute value": (sp.Abs(x[k]), "Abs"),
    "a maximum": (sp.Max(x[k], 0), "Max"),
    "a symbolic exponent": (gamma**n, "exponents"),
    "a cube root": (epsilon ** Rational(1, 3), "exponents"),
    "a shifted element": (x[k + 1], "plain symbols"),
    "a shifted delta": (KroneckerDelta(k, i + 1), "plain symbols"),
    "a delta with a number": (KroneckerDelta(k, 1), "plain symbols"),
    "a delta in a denominator": (over_batch(x[i] / (1 + KroneckerDelta(i, k))), "only as a factor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    expression, message = REFUSED[name]
    with pytest.raises(Unprovable, match=message):
        PLAIN.normal_form(expression)


def test_refuses_sums_not_from_one():
    j = dummy()
    with pytest.raises(Unprovable, match="from 1"):
        PLAIN.normal_form(Sum(x[j], (j, 0, m)))


def test_refuses_limits_that_depend_on_an_index():
    j, inner = dummy("j"), dummy("l")
    with pytest.raises(Unprovable, match="must not depend"):
        PLAIN.normal_form(Sum(x[j] * Sum(x[inner], (inner, 1, j)), (j, 1, m)))


def test_refuses_an_index_bound_twice_or_free_as_well():
    j = dummy()
    with pytest.raises(Unprovable, match="bound twice"):
        PLAIN.normal_form(Sum(x[j] * Sum(delta[j], (j, 1, m)), (j, 1, m)))
    with pytest.raises(Unprovable, match="both free and"):
        PLAIN.normal_form(Sum(x[j], (j, 1, m)) + x[j])


def test_a_symbol_named_like_a_canonical_index_is_not_captured():
    bound = PLAIN.normal_form(over_batch(x[i])).variables[0]
    namesake = Symbol(bound.name, integer=True, positive=True)
    assert PLAIN.normal_form(over_batch(x[i] * x[namesake])) == x[namesake] * PLAIN.normal_form(over_batch(x[i]))


def test_delta_collapses_only_within_the_declared_range():
    other = index("other")
    for ranges in ({}, {other: n}):
        with pytest.raises(Unprovable, match="the index other over 1…"):
            Setting(ranges).normal_form(over_batch(KroneckerDelta(i, other) * x[i]))


def test_elimination_refuses_a_variance_that_holds_epsilon():
    with pytest.raises(Unprovable, match="neither s nor epsilon"):
        Setting({}, InverseRoot(s, epsilon, V + epsilon)).normal_form(x[i])


# Side conditions.


def test_conditions_are_the_denominators_and_radicands():
    assert conditions_of(x[i] / m + (V + epsilon) ** Rational(-1, 2) + sp.sqrt(epsilon + 1)) >= {
        Condition(V + epsilon, "> 0"),
        Condition(epsilon + 1, "≥ 0"),
        Condition(m, "≠ 0"),
    }


def test_conditions_that_follow_from_the_assumptions_are_not_reported():
    weight = over_batch(w[i])
    setting = Setting({i: m}, positive=(V + epsilon, weight))
    assumed = {Condition(m * total(w[k], k, m), "≠ 0"), Condition(epsilon + V, "> 0")}
    assert setting.open_conditions(assumed) == []
    assert Setting({i: m}).open_conditions({Condition(weight, "≠ 0")}) == [Condition(weight, "≠ 0")]
    assert setting.open_conditions({Condition(V, "≠ 0")}) == [Condition(V, "≠ 0")]


def test_a_denominator_that_is_identically_zero_is_refused():
    hidden_zero = over_batch(x[i] ** 2) / m - MU**2 - V
    with pytest.raises(Unprovable, match="identically 0"):
        PLAIN.normal_form(1 / hidden_zero)
    with pytest.raises(Unprovable, match="identically 0"):
        PLAIN.open_conditions({Condition(hidden_zero, "≠ 0")})


# Fuzzing: an expression and its normal form have the same exact values.

FREE = (i, k)


@st.composite
def expressions(draw, depth=4, indices=FREE):
    """Nested sums, deltas, powers and denominators."""
    kind = draw(st.integers(0, 9)) if depth else 0
    if kind <= 2:
        at = st.sampled_from(indices)
        leaf = draw(st.integers(0, 7))
        if leaf == 7:
            return KroneckerDelta(draw(at), draw(at))
        return (x[draw(at)], delta[draw(at)], w[draw(at)], gamma, sp.Integer(draw(st.integers(-2, 3))), 1 / m, epsilon)[
            leaf
        ]
    if kind <= 7:
        parts = draw(st.lists(expressions(depth - 1, indices), min_size=2, max_size=3))
        return sp.Add(*parts) if kind <= 5 else sp.Mul(*parts[:2])
    if kind == 8:
        return draw(expressions(depth - 1, indices)) ** draw(st.sampled_from([2, 3, -1]))
    j = dummy()
    return Sum(draw(expressions(depth - 1, (*indices, j))), (j, 1, m))


points = st.integers(1, 4).flatmap(
    lambda size: st.fixed_dictionaries(
        {
            m: st.just(Fraction(size)),
            gamma: st.integers(-2, 3).map(Fraction),
            **{place: st.integers(1, size).map(Fraction) for place in FREE},
            **{base: st.tuples(*[st.integers(-3, 3).map(Fraction)] * size) for base in (x, delta)},
            w: st.tuples(*[st.integers(0, 3).map(Fraction)] * size),
        }
    )
)


@pytest.mark.parametrize("setting", [PLAIN, WITH_ROOT], ids=["plain", "root eliminated"])
@hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
@given(e=expressions(), point=points, deviation=st.integers(1, 4))
def test_normal_form_keeps_the_value(setting, e, point, deviation):
    assume(e.count_ops() < 200)
    variance = evaluate(V, point)
    assume(deviation**2 > variance)
    values = {**point, epsilon: deviation**2 - variance, s: Fraction(1, deviation)}
    try:
        expected = evaluate(e, values)
        normal = setting.normal_form(e)
    except (Undefined, Unprovable):
        assume(False)
    assert evaluate(normal, values) == expected
