"""A batch of unknown size: how it is summed, and what it refuses."""

import inspect
import math
import operator

import numpy as np
import pytest
import sympy as sp

from derivations.normal_form.finite_sums import residual
from derivations.normal_form.symbolic_batch import SymbolicBatch, SymbolicOperations
from derivations.notation import beta, gamma, i, k, m, over_batch, w, x
from derivations.notation.settings import Condition, Setting
from keras_bn.formulas.operations import Operations

PLAIN, WEIGHTED = SymbolicOperations(), SymbolicOperations(weighted=True)
SETTING = Setting({i: m, k: m})


def batch() -> SymbolicBatch:
    return SymbolicBatch(x[i])


def same(value: SymbolicBatch, expected: sp.Expr) -> bool:
    return residual(SETTING, value.expression, expected) == 0


def test_it_offers_the_operations_that_formulas_use():
    def signatures(owner: type) -> dict[str, list[str]]:
        public = {name: member for name, member in vars(owner).items() if not name.startswith("_")}
        return {name: list(inspect.signature(member).parameters) for name, member in public.items()}

    assert signatures(SymbolicOperations) == signatures(Operations)


def test_sum_and_mean():
    assert same(PLAIN.sum(batch()), over_batch(x[i]))
    assert same(PLAIN.mean(batch()), over_batch(x[i]) / m)
    assert same(WEIGHTED.sum(batch()), over_batch(x[i]))  # sums are never weighted
    assert same(WEIGHTED.mean(batch()), over_batch(w[i] * x[i]) / over_batch(w[i]))


def test_shares():
    assert same(PLAIN.share(), 1 / m)
    assert same(WEIGHTED.share(), w[i] / over_batch(w[i]))
    assert same(WEIGHTED.sum(WEIGHTED.share()), sp.Integer(1))


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda b: b + 2, x[i] + 2),
        (lambda b: 2 + b, x[i] + 2),
        (lambda b: 2 - b, 2 - x[i]),
        (lambda b: b - SymbolicBatch(gamma), x[i] - gamma),
        (lambda b: beta - b, beta - x[i]),
        (lambda b: gamma * b, gamma * x[i]),
        (lambda b: -b * 3, -3 * x[i]),
        (lambda b: PLAIN.squared_difference(b, gamma), (x[i] - gamma) ** 2),
    ],
)
def test_arithmetic(compute, expected):
    value = compute(batch())
    assert isinstance(value, SymbolicBatch)
    assert value.per_element
    assert same(value, expected)


def test_an_element_that_cancels_is_still_one_value_an_element():
    assert same(PLAIN.sum(batch() - batch() + 1), m)


@pytest.mark.parametrize("ops", [PLAIN, WEIGHTED], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_refuses_to_reduce_a_reduced_value(ops, reduce):
    reduced = ops.mean(batch())
    with pytest.raises(TypeError, match="a value per channel: there is nothing to sum"):
        getattr(ops, reduce)(reduced)


@pytest.mark.parametrize("compare", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])
def test_refuses_comparison(compare):
    for other in (batch(), 1, gamma):
        with pytest.raises(TypeError, match="must not compare"):
            compare(batch(), other)


@pytest.mark.parametrize("convert", [bool, hash])
def test_refuses_truth_and_hash(convert):
    with pytest.raises(TypeError, match="must not compare"):
        convert(batch())


@pytest.mark.parametrize("convert", [float, int, len, list, abs, math.floor])
def test_refuses_conversion(convert):
    with pytest.raises(TypeError):
        convert(batch())


@pytest.mark.parametrize("operation", [operator.floordiv, operator.pow])
def test_has_only_the_operators_that_formulas_may_use(operation):
    with pytest.raises(TypeError):
        operation(batch(), batch())


@pytest.mark.parametrize("value", [0.5, True, np.float32(0.5), "x"])
def test_refuses_inexact_values(value):
    with pytest.raises((TypeError, sp.SympifyError)):
        batch() + value


def test_numpy_does_not_swallow_it():
    with pytest.raises((TypeError, sp.SympifyError)):
        np.ones(3) * batch()


def test_a_constant_stands_for_any_value():
    ops = SymbolicOperations()
    first, second = ops.constant(ops.mean(batch())), ops.constant(ops.mean(batch()))
    assert residual(SETTING, first.expression, second.expression) != 0
    assert list(ops.constants) == [first.expression, second.expression]
    assert residual(SETTING, ops.constants[first.expression], over_batch(x[i]) / m) == 0
    assert not first.per_element


def test_a_constant_is_one_a_channel():
    with pytest.raises(TypeError, match="only a value per channel"):
        PLAIN.constant(batch())


def test_conditions_are_kept_although_sympy_cancels():
    ops = SymbolicOperations(weighted=True)
    root = ops.inverse_root(SymbolicBatch(gamma))
    assert (root * 0).expression == 0
    ops.share()
    kinds = {condition.relation for condition in ops.conditions}
    assert Condition(gamma, "> 0") in ops.conditions
    assert kinds == {"> 0", "≠ 0"}
