"""NumPy's functions of elements on arrays of unknown sizes."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.refusal import refusal
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.choices import (
    absolute,
    always,
    conjunction,
    difference,
    disjunction,
    equal,
    greater,
    maximum,
    minimum,
    negation,
    sign_of,
)
from derivations.own_code.symbolic.elementwise import both, elementwise, function_of, powered
from derivations.own_code.symbolic.shapes import lift


def add(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a + b; of truth values, as NumPy has it, a or b."""
    if a.is_truth and b.is_truth:
        return disjunction(a, b)
    return elementwise(a.algebra.add, [a, b], both(a, b, sum_=True))


def subtract(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a − b."""
    if a.is_truth and b.is_truth:
        raise refusal("a difference of truth values", "make them numbers by .astype(float)")
    return elementwise(lambda x, y: a.algebra.add(x, y, -1), [a, b], None)


def multiply(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a·b; of truth values a and b."""
    if a.is_truth and b.is_truth:
        return conjunction(a, b)
    same = a.axes == b.axes and a.polynomial == b.polynomial
    return elementwise(a.algebra.multiply, [a, b], "nonneg" if same and not a.positive else both(a, b, sum_=False))


def divide(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a/b."""
    return multiply(a, powered(b, Fraction(-1)))


def power(a: SymbolicArray, exponent: SymbolicArray) -> SymbolicArray:
    """a^exponent, for a number."""
    if exponent.axes or not set(exponent.polynomial) <= {()}:
        raise refusal("a power whose exponent is not a number", "whole and half powers are understood")
    return powered(a, exponent.polynomial.get((), Fraction(0)))


def _negative(a: SymbolicArray) -> SymbolicArray:
    return SymbolicArray(a.algebra, a.axes, a.algebra.scale(a.polynomial, -1))


def _tanh(a: SymbolicArray) -> SymbolicArray:
    return function_of("tanh", a)


def _exponentials(a: SymbolicArray, sign: int) -> SymbolicArray:
    """(exp a ± exp −a)/2."""
    two = function_of("exp", a), function_of("exp", _negative(a))
    return divide(add(*two) if sign > 0 else subtract(*two), lift(a.algebra, 2))


UFUNCS: dict[Any, Callable[..., SymbolicArray]] = {
    np.add: add,
    np.subtract: subtract,
    np.multiply: multiply,
    np.true_divide: divide,
    np.power: power,
    np.float_power: power,
    np.negative: _negative,
    np.positive: lambda a: SymbolicArray(a.algebra, a.axes, a.polynomial, a.positive),
    np.square: lambda a: powered(a, Fraction(2)),
    np.hypot: lambda a, b: powered(add(powered(a, Fraction(2)), powered(b, Fraction(2))), Fraction(1, 2)),
    np.sqrt: lambda a: powered(a, Fraction(1, 2)),
    np.reciprocal: lambda a: powered(a, Fraction(-1)),
    np.absolute: absolute,
    np.fabs: absolute,
    np.sign: sign_of,
    np.greater: greater,
    np.greater_equal: lambda a, b: greater(a, b, ties=True),
    np.less: lambda a, b: greater(b, a),
    np.less_equal: lambda a, b: greater(b, a, ties=True),
    np.equal: equal,
    np.not_equal: lambda a, b: negation(equal(a, b)),
    np.heaviside: lambda a, at_zero: multiply(greater(a, lift(a.algebra, 0)), lift(a.algebra, 1)),
    # Of real numbers.
    np.isfinite: lambda a: always(a, True),
    np.isnan: lambda a: always(a, False),
    np.isinf: lambda a: always(a, False),
    np.maximum: maximum,
    np.fmax: maximum,
    np.minimum: minimum,
    np.fmin: minimum,
    np.logical_not: negation,
    np.invert: negation,
    np.logical_and: conjunction,
    np.bitwise_and: conjunction,
    np.logical_or: disjunction,
    np.bitwise_or: disjunction,
    np.logical_xor: difference,
    np.bitwise_xor: difference,
    np.conjugate: lambda a: a,
    np.exp: lambda a: function_of("exp", a),
    np.log: lambda a: function_of("log", a),
    np.log1p: lambda a: function_of("log", add(a, lift(a.algebra, 1))),
    np.expm1: lambda a: subtract(function_of("exp", a), lift(a.algebra, 1)),
    np.logaddexp: lambda a, b: function_of("log", add(function_of("exp", a), function_of("exp", b))),
    np.tanh: _tanh,
    np.cosh: lambda a: _exponentials(a, 1),
    np.sinh: lambda a: _exponentials(a, -1),
    np.sin: lambda a: function_of("sin", a),
    np.cos: lambda a: function_of("cos", a),
}
