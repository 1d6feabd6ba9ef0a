"""Floats as the exact numbers that were written."""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

_SIMPLE = 10_000  # 1/3 and its like are taken for what they were computed from
_SIMPLE_SINGLE, _SINGLE = 64, Fraction(1, 2**23)  # in single precision, and its distance from what was computed

# −∞ is a number below all others, such as those that masks of −10⁹ make: exp of it is 0.
MINUS_INFINITY = Fraction(-(10**30))


def is_infinite(value: Fraction) -> bool:
    """Whether −∞ stands in a sum, with either sign."""
    return abs(value) >= -MINUS_INFINITY / 2


def exact(value: Any) -> Fraction:
    """The number that was written: 1e-5 is 1/100000; what rounds to 1/3 is 1/3.

    A float that has more digits than anyone writes came from a division or a difference of short numbers, such as
    1 − 0.9. It is taken for the short number where that is within eight units of its last place.

    Raises:
        ValueError: the number is ∞ or not a number.
    """
    if isinstance(value, float | np.floating) and value == -np.inf:
        return MINUS_INFINITY
    if isinstance(value, bool | np.bool_):
        return Fraction(int(value))
    if isinstance(value, int | Fraction | np.integer):
        return Fraction(int(value)) if not isinstance(value, Fraction) else value
    if isinstance(value, np.floating) and not isinstance(value, float):
        written = Fraction(str(value))
        simple = written.limit_denominator(_SIMPLE_SINGLE)
        return simple if abs(simple - written) <= abs(written) * _SINGLE else written
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{number} is no real number")
    written = Fraction(repr(number))
    if number == 0 or len(repr(number).split("e")[0].replace(".", "").strip("0-")) < 15:
        return written
    tolerance = 8 * Fraction(float(np.spacing(abs(number))))
    for simple in (Fraction(f"{number:.11g}"), written.limit_denominator(_SIMPLE)):
        if abs(simple - written) <= tolerance:
            return simple
    return written


def limit(value: Any) -> Any:
    """A limit of ``np.clip``; None for an infinite one, which is none."""
    return None if isinstance(value, float | np.floating) and np.isinf(value) else value


def irrational(value: Any) -> tuple[int, Fraction, int] | None:
    """(±1, s, k) for a float that is ±√s·π^(k/2) with a simple s, such as 1.4142135623730951; None if it is no such.

    ``np.sqrt(2)``, ``D**-0.5`` and ``np.sqrt(2 / np.pi)`` are computed on floats before anything else sees them. So are
    ``tf.sqrt(2.0)`` and the constants of TensorFlow's GELU, in single precision.
    """
    single = isinstance(value, np.float32)
    if not (single or isinstance(value, float)) or not np.isfinite(value):
        return None
    written = exact(value)
    if written.denominator <= (10**4 if single else 10**9):
        return None
    return _irrational(written, single)


@lru_cache(maxsize=1000)
def _irrational(value: Fraction, single: bool) -> tuple[int, Fraction, int] | None:
    largest, margin = (_SIMPLE_SINGLE, 2 * _SINGLE) if single else (_SIMPLE, Fraction(1, 10**15))
    for halves in (0, 1, -1, 2, -2):
        rest = value**2 / _PI**halves
        simple = rest.limit_denominator(largest)
        if 0 < simple < largest and abs(simple - rest) <= rest * margin:
            return (1 if value > 0 else -1), simple, halves
    return None


def in_double_precision(value: Any) -> Fraction | float:
    """A number of single precision as what it was computed from: exactly, or to all digits of a double."""
    if known := irrational(value):
        sign, square, halves = known
        return float(sign * np.sqrt(float(square)) * np.pi ** (halves / 2))
    return exact(value)


_PI = Fraction("3.14159265358979323846264338327950288")
