"""Choices by values on exact numbers: the comparison of two real numbers is decided, and one of them taken.

What is compared gives NumPy's own truth values, with NumPy's arithmetic: + of two is "or". A point at which two numbers
agree by chance has no derivative, and is left. Two constants may agree, such as the 0 of a ReLU that is compared with 0
once more.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.own_code.exact.dual_numbers import Number, constant
from derivations.own_code.exact.truths import truths
from derivations.own_code.written_numbers import limit


def _compared(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    by_element = np.frompyfunc(function, 2, 1)

    def compare(a: Any, b: Any) -> Any:
        left, right = np.asarray(a, dtype=object), np.asarray(b, dtype=object)
        return truths(by_element(left, right), _ring_of(left, right))

    return compare


def _ring_of(*arrays: Any) -> Any:
    """The ring of the numbers in some arrays; None if there are none."""
    return next((value.ring for array in arrays for value in array.flat if type(value) is Number), None)


def choose(condition: Any, a: Any, b: Any, ring: Any = None) -> Any:
    """np.where, of constants as well."""
    left, right = (np.asarray(value, dtype=object) for value in (a, b))
    condition = np.asarray(condition)
    ring = _ring_of(left, right) or ring
    if ring is None:
        return np.where(condition, a, b)

    def chosen(is_true: bool, a: Any, b: Any) -> Any:
        value = a if is_true else b
        return value if type(value) is Number else constant(ring, value)

    return np.frompyfunc(chosen, 3, 1)(condition, left, right)


_greater = _compared(operator.gt)


def _maximum(a: Any, b: Any) -> Any:
    return choose(_greater(a, b), a, b)


def _minimum(a: Any, b: Any) -> Any:
    return choose(_greater(a, b), b, a)


def _clip(a: Any, low: Any, high: Any) -> Any:
    low, high = limit(low), limit(high)
    if low is not None:
        a = _maximum(a, low)
    return a if high is None else _minimum(a, high)


CHOICES: dict[Any, Any] = {
    np.greater: _greater,
    np.greater_equal: _compared(operator.ge),
    np.less: _compared(operator.lt),
    np.less_equal: _compared(operator.le),
    np.equal: _compared(lambda a, b: a.agrees(b) if type(a) is Number else b.agrees(a)),
    np.not_equal: lambda a, b: ~CHOICES[np.equal](a, b),
    np.maximum: _maximum,
    np.minimum: _minimum,
    np.fmax: _maximum,
    np.fmin: _minimum,
    np.heaviside: lambda a, _: _greater(a, 0).astype(float),
    np.sign: lambda a: _greater(a, 0).astype(int) - _greater(0, a),
    np.clip: _clip,
    np.where: choose,
}

# The same of two numbers, for maxima along axes.
EXTREMES: dict[Any, Any] = {
    np.maximum: np.frompyfunc(lambda a, b: a if a > b else b, 2, 1),
    np.minimum: np.frompyfunc(lambda a, b: b if a > b else a, 2, 1),
}
