"""Choices by values on exact numbers: the comparison of two real numbers is decided, and one of them taken.

A point at which two numbers agree by chance has no derivative, and is left; two constants, such as the 0 of a ReLU
that is compared with 0 once more, may agree.
"""

import operator
from typing import Any

import numpy as np

from derivations.own_code.exact.dual_numbers import Number, constant


def _chosen(condition: Any, a: Any, b: Any) -> Any:
    if isinstance(condition, Number):
        value = a if condition.is_true() else b
        return value if isinstance(value, Number) else constant(condition.ring, value)
    return a if condition else b


def _each(function: Any, count: int) -> Any:
    by_element = np.frompyfunc(function, count, 1)
    return lambda *given: by_element(*(np.asarray(value, dtype=object) for value in given))


_greater = _each(operator.gt, 2)
_greater_equal = _each(operator.ge, 2)
choose = _each(_chosen, 3)


def _clip(a: Any, low: Any, high: Any) -> Any:
    if low is not None:
        a = CHOICES[np.maximum](a, low)
    return a if high is None else CHOICES[np.minimum](a, high)


CHOICES: dict[Any, Any] = {
    np.greater: _greater,
    np.greater_equal: _greater_equal,
    np.less: _each(operator.lt, 2),
    np.less_equal: _each(operator.le, 2),
    np.equal: _each(Number.agrees, 2),
    np.not_equal: lambda a, b: 1 - CHOICES[np.equal](a, b),
    np.maximum: lambda a, b: choose(_greater(a, b), a, b),
    np.minimum: lambda a, b: choose(_greater(a, b), b, a),
    np.logical_not: lambda a: 1 - a,
    np.invert: lambda a: 1 - a,
    np.logical_and: lambda a, b: a * b,
    np.bitwise_and: lambda a, b: a * b,
    np.logical_or: lambda a, b: a + b - a * b,
    np.bitwise_or: lambda a, b: a + b - a * b,
    np.logical_xor: lambda a, b: a + b - 2 * a * b,
    np.bitwise_xor: lambda a, b: a + b - 2 * a * b,
    np.sign: lambda a: _greater(a, 0) - _greater(0, a),
    np.clip: _clip,
    np.where: choose,
}
CHOICES[np.fmax], CHOICES[np.fmin] = CHOICES[np.maximum], CHOICES[np.minimum]

# The same of two numbers, for maxima along axes.
EXTREMES: dict[Any, Any] = {
    np.maximum: np.frompyfunc(lambda a, b: _chosen(a > b, a, b), 2, 1),
    np.minimum: np.frompyfunc(lambda a, b: _chosen(a > b, b, a), 2, 1),
}
