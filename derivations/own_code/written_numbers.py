"""Floats as the exact numbers that were written."""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

_SIMPLE = 10_000  # 1/3 and its like are taken for what they were computed from


def exact(value: Any) -> Fraction:
    """The number that was written: 1e-5 is 1/100000; what rounds to 1/3 is 1/3.

    A float that has more digits than anyone writes came from a division or a difference of short numbers, such as
    1 − 0.9. It is taken for the short number where that is within eight units of its last place.

    Raises:
        ValueError: the number is infinite or not a number.
    """
    if isinstance(value, bool | np.bool_):
        return Fraction(int(value))
    if isinstance(value, int | Fraction | np.integer):
        return Fraction(int(value)) if not isinstance(value, Fraction) else value
    if isinstance(value, np.floating) and not isinstance(value, float):
        return Fraction(str(value))
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


def irrational(value: Any) -> tuple[int, Fraction, int] | None:
    """(±1, s, k) for a float that is ±√s·π^(k/2) with a simple s, such as 1.4142135623730951; None if it is no such.

    ``np.sqrt(2)``, ``D**-0.5`` and ``np.sqrt(2 / np.pi)`` are computed on floats before anything else sees them.
    """
    if not isinstance(value, float) or not np.isfinite(value) or exact(value).denominator <= 10**9:
        return None
    return _irrational(float(value))


@lru_cache(maxsize=1000)
def _irrational(value: float) -> tuple[int, Fraction, int] | None:
    square = Fraction(repr(value)) ** 2
    for halves in (0, 1, -1, 2, -2):
        rest = square / _PI**halves
        simple = rest.limit_denominator(_SIMPLE)
        if simple and abs(simple - rest) <= rest * Fraction(1, 10**15):
            return (1 if value > 0 else -1), simple, halves
    return None


_PI = Fraction("3.14159265358979323846264338327950288")
