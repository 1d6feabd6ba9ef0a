"""Rational intervals that enclose irrational values: two that do not meet prove the values different."""

import math
from dataclasses import dataclass
from fractions import Fraction

_BITS = 200  # a root is enclosed to 2^(−200)


@dataclass(frozen=True)
class Interval:
    """A value known to lie between two rational numbers."""

    low: Fraction
    high: Fraction

    def __add__(self, other: "Fraction | Interval") -> "Interval":
        low, high = _ends(other)
        return Interval(self.low + low, self.high + high)

    def __mul__(self, other: "Fraction | Interval") -> "Interval":
        products = [a * b for a in (self.low, self.high) for b in _ends(other)]
        return Interval(min(products), max(products))

    __radd__ = __add__
    __rmul__ = __mul__

    def __pow__(self, exponent: int) -> "Interval":
        """Repeated multiplication: an even power may be enclosed loosely, never wrongly."""
        if exponent < 0:
            return Interval(1 / self.high, 1 / self.low) ** -exponent  # the caller has excluded 0
        return math.prod([self] * exponent, start=Interval(Fraction(1), Fraction(1)))

    def __str__(self) -> str:
        return f"≈ {float(self.low):.12g}"


Number = Fraction | Interval


def differ(a: Number, b: Number) -> bool:
    """Whether the two values are certainly different."""
    (low_a, high_a), (low_b, high_b) = _ends(a), _ends(b)
    return high_a < low_b or high_b < low_a


def lower_end(value: Number) -> Fraction:
    """A rational number that is not above the value."""
    return _ends(value)[0]


def upper_end(value: Number) -> Fraction:
    """A rational number that is not below the value."""
    return _ends(value)[1]


def square_root(value: Number) -> Number:
    """The root of a value ≥ 0, exact if it is rational."""
    if isinstance(value, Interval):
        return Interval(_ends(square_root(value.low))[0], _ends(square_root(value.high))[1])
    numerator, denominator = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if numerator**2 == value.numerator and denominator**2 == value.denominator:
        return Fraction(numerator, denominator)
    below = math.isqrt((value.numerator << 2 * _BITS) // value.denominator)
    return Interval(Fraction(below, 1 << _BITS), Fraction(below + 1, 1 << _BITS))


def _ends(value: Number) -> tuple[Fraction, Fraction]:
    return (value.low, value.high) if isinstance(value, Interval) else (value, value)
