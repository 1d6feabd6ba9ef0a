"""The normal form: what it decides, what it refuses, and that it agrees with exact evaluation."""

import inspect
import types
from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import HealthCheck, Phase, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sympy import Dummy, IndexedBase, KroneckerDelta, Rational, Sum, Symbol

from derivations.normal_form import finite_sums
from derivations.normal_form.counterexamples import Undefined, evaluate
from derivations.normal_form.finite_sums import normal_form, open_conditions, residual
from derivations.notation import delta, epsilon, gamma, i, k, m, over_batch, s, w, x
from derivations.notation.expressions import Shorthand, Unprovable, differentiate, index, total
from derivations.notation.settings import Condition, InverseRoot, Setting, conditions_of

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
    assert residual(PLAIN, left, right) == 0


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
    assert residual(PLAIN, left, right) != 0


def test_the_root_is_brought_in_exactly():
    assert residual(WITH_ROOT, INV_STD, s) == 0
    assert residual(WITH_ROOT, over_batch((x[i] - MU) ** 2) * INV_STD**2, m * (1 - epsilon * s**2)) == 0
    assert residual(WITH_ROOT, INV_STD**3, s**2) != 0
    assert residual(WITH_ROOT, (V + 2 * epsilon) ** Rational(-1, 2), s) != 0


def test_normal_form_is_idempotent():
    e = over_batch((x[i] - MU) ** 2 * total(delta[k] * x[k], k, m) ** 2)
    once = normal_form(PLAIN, e)
    assert normal_form(PLAIN, once) == once


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
    assert residual(PLAIN, differentiate(V, x[k]), 2 * (x[k] - MU) / m) == 0


REFUSED = {
    "a named index": (Sum(x[k], (k, 1, m)), "fresh dummy"),
    "a float": (0.5 * x[k], r"0\.5"),
    "an infinity": (sp.oo * x[k], "oo"),
    "1/0": (sp.zoo + x[k], "zoo"),
    "not a number": (sp.nan, "nan"),
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
        normal_form(PLAIN, expression)


def test_refuses_sums_not_from_one():
    j = dummy()
    with pytest.raises(Unprovable, match="from 1"):
        normal_form(PLAIN, Sum(x[j], (j, 0, m)))


def test_refuses_limits_that_depend_on_an_index():
    j, inner = dummy("j"), dummy("l")
    with pytest.raises(Unprovable, match="must not depend"):
        normal_form(PLAIN, Sum(x[j] * Sum(x[inner], (inner, 1, j)), (j, 1, m)))


def test_refuses_an_index_bound_twice_or_free_as_well():
    j = dummy()
    with pytest.raises(Unprovable, match="bound twice"):
        normal_form(PLAIN, Sum(x[j] * Sum(delta[j], (j, 1, m)), (j, 1, m)))
    with pytest.raises(Unprovable, match="both free and"):
        normal_form(PLAIN, Sum(x[j], (j, 1, m)) + x[j])


def test_a_symbol_named_like_a_canonical_index_is_not_captured():
    bound = normal_form(PLAIN, over_batch(x[i])).variables[0]
    namesake = Symbol(bound.name, integer=True, positive=True)
    assert normal_form(PLAIN, over_batch(x[i] * x[namesake])) == x[namesake] * normal_form(PLAIN, over_batch(x[i]))


def test_delta_collapses_only_within_the_declared_range():
    other = index("other")
    for ranges in ({}, {other: n}):
        with pytest.raises(Unprovable, match="the index other over 1…"):
            normal_form(Setting(ranges), over_batch(KroneckerDelta(i, other) * x[i]))


def test_elimination_refuses_a_variance_that_holds_epsilon():
    with pytest.raises(Unprovable, match="neither s nor epsilon"):
        normal_form(Setting({}, InverseRoot(s, epsilon, V + epsilon)), x[i])


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
    assert open_conditions(setting, assumed) == []
    assert open_conditions(Setting({i: m}), {Condition(weight, "≠ 0")}) == [Condition(weight, "≠ 0")]
    assert open_conditions(setting, {Condition(V, "≠ 0")}) == [Condition(V, "≠ 0")]


def test_a_denominator_that_is_identically_zero_is_refused():
    hidden_zero = over_batch(x[i] ** 2) / m - MU**2 - V
    with pytest.raises(Unprovable, match="identically 0"):
        normal_form(PLAIN, 1 / hidden_zero)
    with pytest.raises(Unprovable, match="identically 0"):
        open_conditions(PLAIN, {Condition(hidden_zero, "≠ 0")})


# Fuzzing: an expression and its normal form have the same exact values.

p = index("p")  # runs over 1…n, as the elements of t do
t = IndexedBase("t", real=True)
# Names that collide with those of indices and of bound symbols, and are none of them.
NAMESAKES = tuple(Symbol(name, **assumptions) for name, assumptions in (("j1", {}), ("i", {"real": True})))
FUZZED = {i: m, k: m, p: n}
FUZZED_PLAIN, FUZZED_ROOT = Setting(FUZZED), Setting(FUZZED, InverseRoot(s, epsilon, V))


@st.composite
def leaves(draw, indices):
    """Elements, deltas (shifted ones are refused), numbers, roots, and symbols named like indices."""
    over_m, over_n = ([j for j, last in indices.items() if last == size] for size in (m, n))
    kind = draw(st.integers(0, 14))
    if kind <= 3:
        return (x, delta, w, x)[kind][draw(st.sampled_from(over_m))]
    if kind == 4:
        return t[draw(st.sampled_from(over_n))]
    if kind <= 6:
        of = draw(st.sampled_from((over_m, over_n)))
        return KroneckerDelta(draw(st.sampled_from(of)), draw(st.sampled_from(of)))
    if kind == 7:
        return KroneckerDelta(draw(st.sampled_from(over_m)), draw(st.sampled_from(over_m)) + draw(st.integers(0, 1)))
    if kind == 8:
        return (V + epsilon) ** draw(st.sampled_from([Rational(-3, 2), Rational(-1, 2), Rational(1, 2), -1]))
    if kind == 9:
        return draw(st.sampled_from(NAMESAKES))
    if kind == 10:  # a denominator in which two indices meet, and which is never 0
        inner = dummy()
        met = 1 / (x[draw(st.sampled_from(over_m))] + delta[draw(st.sampled_from([*over_m, inner, inner]))] + 7)
        return Sum(met, (inner, 1, m)) if met.has(inner) else met
    return draw(st.sampled_from([gamma, 1 / m, 1 / n, epsilon, *map(sp.Integer, (-2, -1, 2, 3))]))


@st.composite
def expressions(draw, depth=4, indices=None):
    """Nested sums over two ranges, deltas, powers and denominators."""
    indices = FUZZED if indices is None else indices
    kind = draw(st.integers(0, 9)) if depth else 0
    if kind <= 1:
        return draw(leaves(indices))
    if kind <= 6:
        parts = draw(st.lists(expressions(depth - 1, indices), min_size=2, max_size=3))
        return sp.Add(*parts) if kind <= 4 else sp.Mul(*parts[:2])
    if kind == 7:
        return draw(expressions(depth - 1, indices)) ** draw(st.sampled_from([2, 3, -1]))
    j, last = dummy(draw(st.sampled_from(["j", "i", "j1"]))), draw(st.sampled_from([m, n]))
    return Sum(draw(expressions(depth - 1, {**indices, j: last})), (j, 1, last))


def _points(sizes):
    size, other = sizes
    entries = st.integers(-3, 3).map(Fraction)
    return st.fixed_dictionaries(
        {
            m: st.just(Fraction(size)),
            n: st.just(Fraction(other)),
            gamma: st.integers(-2, 3).map(Fraction),
            **{place: st.integers(1, size).map(Fraction) for place in (i, k)},
            p: st.integers(1, other).map(Fraction),
            **{base: st.tuples(*[entries] * size) for base in (x, delta)},
            t: st.tuples(*[entries] * other),
            w: st.tuples(*[st.integers(0, 3).map(Fraction)] * size),
            **dict.fromkeys(NAMESAKES, entries),
        }
    )


points = st.tuples(st.integers(1, 4), st.integers(1, 3)).flatmap(_points)


def keeps_the_value(setting, e, point, deviation, normal_form=normal_form):
    """Whether the normal form of e has its value; None where there is no value, or no normal form."""
    variance = evaluate(V, point)
    if deviation**2 <= variance or e.count_ops() > 200:
        return None
    values = {**point, epsilon: deviation**2 - variance, s: Fraction(1, deviation)}
    try:
        return evaluate(normal_form(setting, e), values) == evaluate(e, values)
    except (Undefined, Unprovable):
        return None


SETTINGS = {"plain": FUZZED_PLAIN, "root eliminated": FUZZED_ROOT}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
@hypothesis_settings(max_examples=1500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(e=expressions(), point=points, deviation=st.integers(1, 4))
def test_normal_form_keeps_the_value(name, e, point, deviation):
    kept = keeps_the_value(SETTINGS[name], e, point, deviation)
    assume(kept is not None)
    assert kept


# A fuzz that finds nothing proves nothing: each of these breakages of the normal form is found by it.
BREAKAGES = {
    "Σ 1 is 1": ("return constant * last", "return constant"),
    "a delta collapses to nothing": ("rewritten(monomial / delta, {j: k})", "(monomial / delta)"),
    "a delta is 1": ("term = delta * rewritten(term / delta, {b: a})", "term = term / delta"),
    "a square is distributed as a power of 1": (
        "_distribute([base] * int(exponent))",
        "_distribute([base] * (int(exponent) - 1))",
    ),
    "a product loses what it adds": ("others = Add.make_args(factor)", "others = Add.make_args(factor)[:1]"),
    "every sum has the same index": ('BoundIndex(f"j{1 + _depth(monomial)}"', 'BoundIndex("j1"'),
    "factors leave the sum in which they vary": ("(inside if j in free_symbols(factor)", "(inside if factor.has(t)"),
    "the first of several limits is forgotten": (
        "for j, _, last in e.limits:\n        last",
        "for j, _, last in e.limits[-1:]:\n        last",
    ),
    "ε is 1/s² + v": ("symbol**-2 - _normal_form", "symbol**-2 + _normal_form"),
    "ε is 1/s − v": ("symbol**-2 - _normal_form", "symbol**-1 - _normal_form"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_every_breakage_is_one_of_the_source(name):
    old, new = BREAKAGES[name]
    assert old != new
    assert inspect.getsource(finite_sums).count(old) == 1, f"not in the source any more, or not once: {old}"


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKAGES)
def test_the_fuzz_finds_every_breakage_of_the_normal_form(name):
    old, new = BREAKAGES[name]
    source = inspect.getsource(finite_sums)
    assert old in source
    broken = types.ModuleType("broken")
    broken.__dict__["t"] = t
    exec(source.replace(old, new), broken.__dict__)
    setting = Setting(FUZZED, InverseRoot(s, epsilon, V))

    @hypothesis_settings(
        max_examples=3000,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(e=expressions(), point=points, deviation=st.integers(1, 4))
    def fuzz(e, point, deviation):
        assert keeps_the_value(setting, e, point, deviation, broken.normal_form) is not False

    with pytest.raises((AssertionError, KeyError)):  # another value, or an index that is left over
        fuzz()
