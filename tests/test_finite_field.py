"""The second proof: it computes rightly, it cannot be fooled where the first was, and a contradiction is an error."""

import inspect
import types
from dataclasses import replace
from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derivations.claims import steps
from derivations.claims.claim import Claim, Disagreement, Verdict
from derivations.claims.families import training
from derivations.notation import Definitions, Partial, beta, delta, gamma, i, k, m, mu, over_batch, s, x, x_hat
from derivations.notation.expressions import Unprovable
from derivations.notation.settings import Setting
from derivations.notation.worlds import Computed
from derivations.prime_fields.batches import FieldBatch, FieldOperations
from derivations.prime_fields.dual_numbers import (
    LARGEST,
    PRIMES,
    PRIMES_WITH_ROOTS,
    Degree,
    Degrees,
    Dual,
    NoRoot,
    inverse_root_of_residue,
)
from derivations.prime_fields.examination import examine
from keras_bn.formulas import training as shipped

P = PRIMES[0]
SETTING = Setting({i: m, k: m})
NOTHING = Definitions({})
small = st.fractions(min_value=-5, max_value=5, max_denominator=7)


def dual(value: Fraction, tangent: Fraction = Fraction(0)) -> Dual:
    return Dual({0: residue(value), 1: residue(tangent)}, P)


def residue(value: Fraction) -> int:
    return value.numerator * pow(value.denominator, -1, P) % P


@pytest.mark.parametrize("p", PRIMES)
def test_the_primes_are_prime_and_have_one_square_among_two_roots(p):
    assert sp.isprime(p)
    assert p % 4 == 3
    for value in (2, 3, 5, 10**9 + 7):
        root = inverse_root_of_residue(value * value % p, p)
        assert root * value % p in (1, p - 1)
        assert pow(root, (p - 1) // 2, p) == 1
    with pytest.raises(NoRoot):
        inverse_root_of_residue(p - 1, p)


@given(small, small, small, small)
def test_arithmetic_is_that_of_fractions_and_of_derivatives(a, da, b, db):
    left, right = dual(a, da), dual(b, db)
    for result, value, tangent in (
        (left + right, a + b, da + db),
        (left - right, a - b, da - db),
        (left * right, a * b, a * db + b * da),
        (left**3, a**3, 3 * a**2 * da),
        (3 - left, 3 - a, -da),
    ):
        assert (result.value, result.tangent(1).value) == (residue(value), residue(tangent))
    if b:
        quotient = left / right
        assert (quotient * right - left).vanishes()
        assert quotient.tangent(1).value == residue(da / b - a * db / b**2)
    else:
        with pytest.raises(ZeroDivisionError):
            left / right


@given(small.filter(bool), small, small)
def test_roots_of_two_tangents(root, da, db):
    radicand = Dual({0: residue(root**-2), 1: residue(da), 2: residue(db)}, P)
    inverse = radicand.power_series(residue(root))
    assert (inverse * inverse * radicand - 1).vanishes()


def test_nested_derivatives():
    power = over_batch(x[i] ** 3)
    second = Partial(Partial(power, x[k]), x[k])
    assert examine((second, 6 * x[k]), SETTING, NOTHING).equal
    assert not examine((second, 3 * x[k]), SETTING, NOTHING).equal
    assert examine((Partial(power / x[k], x[k]), 3 * x[k] - power / x[k] ** 2), SETTING, NOTHING).equal


def test_degrees_are_bounds():
    a, b = (Degree(n, P, Degrees(1, 0, 1)) for n in (3, 5))
    size = Degree(7, P, Degrees(0, 1, 1))
    assert (a + b).top == (1, 0, 1)
    assert (a * b).top == (2, 0, 2)
    quotient = a * b.inverse() + a * size.inverse()  # (a·m + a·b)/(b·m)
    assert quotient.top == (2, 1, 2)
    assert (quotient + b.inverse()).top == (2, 1, 2)  # the same denominator once more
    assert (Degree(2, P) * a).inverse().top == (0, 0, 0)


def test_a_proof_uses_enough_sizes_and_states_its_error():
    claim = next(c for c in training.claims() if c.identifier == "training.weighted.backward.x").settle()
    examination = claim.settlement.examination
    assert examination.sizes[0] >= examination.degrees.elements + 1
    assert examination.sizes[1] - examination.sizes[0] == examination.degrees.sizes
    assert examination.points == 2 * (examination.degrees.sizes + 1)
    assert 0 < examination.bound < 1e-12
    assert f"passes with a probability below {examination.bound:.0e}" in claim.settlement.steps[-1]


def test_every_way_in_which_indices_may_coincide_is_tested():
    product = (1 - sp.KroneckerDelta(i, k)) * x[i]
    assert not examine((product, x[i]), SETTING, NOTHING).equal
    assert not examine((product, sp.Integer(0)), SETTING, NOTHING).equal


def test_a_formula_true_for_one_and_two_elements_only_is_refused():
    # (m − 1)(m − 2)·x_k vanishes at both sizes at which it would be natural to try it.
    assert not examine(((m - 1) * (m - 2) * x[k], sp.Integer(0)), SETTING, NOTHING).equal


@pytest.mark.parametrize("p", PRIMES)
def test_a_prime_that_divides_the_difference_does_not_hide_it(p):
    assert not examine((p * x[k], sp.Integer(0)), SETTING, NOTHING).equal


def test_what_is_defined_nowhere_is_refused():
    with pytest.raises(Unprovable, match="a denominator is 0"):
        examine((x[k] / over_batch(x[i] - mu), x[k]), steps.setting(), steps.definitions())


def test_the_function_itself_is_executed_and_not_its_expression():
    claim = next(c for c in training.claims() if c.identifier == "training.plain.backward.x")
    computed = claim.members[0]
    forged = Computed(computed.name, computed.value + 1, computed.source)
    assert not replace(claim, members=(computed.value + 1, *claim.members[1:])).settle().settlement.examination.equal
    with pytest.raises(Disagreement, match=r"backward\.x: refuted by the first proof, equal by the second"):
        replace(claim, members=(forged, *claim.members[1:])).settle()


def test_a_contradiction_between_the_proofs_is_an_error(monkeypatch: pytest.MonkeyPatch):
    claim = steps.claims()[0]
    assert claim.settle().verdict is Verdict.PROVED
    wrong = replace(claim, members=(claim.members[0], 2 / m))
    assert wrong.settle().verdict is Verdict.REFUTED
    monkeypatch.setattr("derivations.claims.claim.residual", lambda *_: sp.Integer(0))
    monkeypatch.setattr("derivations.claims.claim.search", lambda *_, **__: None)
    with pytest.raises(Disagreement, match="proved by the first proof, different by the second"):
        wrong.settle()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 * d_variance", "d_variance"),
        ("scale * d_beta - d_mean", "scale * d_beta + d_mean"),
        ("(share * slope) * residual", "slope * residual"),
        ("- shift * d_beta", ""),
        pytest.param("variance + epsilon", "variance + 1001 * epsilon / 1000", marks=pytest.mark.slow),
    ],
)
def test_planted_errors_are_seen_by_the_second_proof_alone(old, new):
    assert old in inspect.getsource(shipped)
    mutant = types.ModuleType("mutant")
    exec(inspect.getsource(shipped).replace(old, new), mutant.__dict__)
    claims: list[Claim] = list(training.claims(mutant))
    found = [claim for claim in claims if not examine(claim.members, claim.setting, claim.definitions).equal]
    assert found


def test_field_batches_refuse_comparison_and_sums_of_sums():
    batch = FieldBatch([dual(Fraction(1))], True)
    for compare in (lambda: batch == 0, lambda: batch < 1, lambda: bool(batch)):
        with pytest.raises(TypeError, match="must not compare"):
            compare()
    world = FieldOperations(dual(Fraction(1)), None, lambda value: value)
    with pytest.raises(TypeError, match="nothing to sum"):
        world.sum(world.sum(batch))


def test_the_whole_derivation_agrees():
    assert all(examine(c.members, c.setting, c.definitions).equal for c in steps.claims())
    loss = over_batch(delta[i] * (gamma * x_hat[i] + beta))
    wrong = gamma * s * (delta[k] - over_batch(delta[i]) / m)
    assert not examine((Partial(loss, x[k]), wrong), steps.setting(), steps.definitions()).equal


def test_modulo_the_primes_for_roots_every_size_is_a_square():
    for p in PRIMES_WITH_ROOTS:
        assert sp.isprime(p)
        assert p % 4 == 3
        for size in range(1, LARGEST + 1):
            root = inverse_root_of_residue(size, p)
            assert root * root * size % p == 1
