"""Dual numbers over a prime field: exact values with exact derivatives, without SymPy.

A number is Σ_T c_T·τ_T over sets T of tangents, τ² = 0 for each. The coefficient of τ in f(x + τ) is f′(x), and nested
derivatives use a tangent each. The coefficients are residues modulo a prime p, or ``Degree``s, on which the very same
arithmetic yields a bound on the degrees of what was computed.

A number and its inverse root must be chosen consistently: as p ≡ 3 (mod 4), exactly one of the two roots of a square is
itself a square, and √(ab) = √a·√b for that choice, just as for the positive roots of positive numbers.
"""

import math
import operator
from functools import reduce
from typing import Any, NamedTuple

# Mersenne primes, ≡ 3 (mod 4).
PRIMES = (2**61 - 1, 2**89 - 1)
# For claims with roots besides s: every size is a square, so that √m, √(4·A) and the like are there and have the sign
# that they have for real numbers. For p ≡ −1 modulo 8 and modulo all primes q ≤ 127, each q is a square modulo p.
LARGEST = 128  # of the numbers whose root is there
_ALL = 8 * math.prod(q for q in range(3, LARGEST) if all(q % d for d in range(2, q)))
PRIMES_WITH_ROOTS = (3 * _ALL - 1, 14 * _ALL - 1)


class NoRoot(ArithmeticError):
    """A radicand is no square in this field: another point has to be drawn."""


class Degrees(NamedTuple):
    """Degrees of a polynomial: in the elements, in the sizes, and in all that is drawn at random."""

    elements: int
    sizes: int
    total: int

    def plus(self, other: "Degrees", times: int = 1) -> "Degrees":
        return Degrees(*(a + times * b for a, b in zip(self, other, strict=True)))

    def at_least(self, other: "Degrees") -> "Degrees":
        return Degrees(*map(max, self, other))


CONSTANT = Degrees(0, 0, 0)


class Degree:
    """Bounds on the degrees of a fraction; the denominator is a product of powers of known polynomials.

    The value at one point is computed along. It serves as the name of a factor of a denominator, so that fractions over
    the same factors are added over a common denominator instead of over the product of both.
    """

    __slots__ = ("bottom", "p", "roots", "top", "value")

    def __init__(
        self,
        value: int,
        p: int,
        top: Degrees = CONSTANT,
        bottom: dict[int, tuple[Degrees, int]] | None = None,
        roots: frozenset[int] = frozenset(),
    ) -> None:
        self.value, self.p, self.top, self.bottom = int(value) % p, p, top, bottom or {}
        self.roots = roots  # the radicands of those that stand in it, where that is noted

    def _lifted(self, other: Any) -> "Degree":
        return other if isinstance(other, Degree) else Degree(other, self.p)

    def __add__(self, other: Any) -> "Degree":
        other = self._lifted(other)
        common = dict(self.bottom)
        for name, (degrees, power) in other.bottom.items():
            common[name] = degrees, max(power, common.get(name, (degrees, 0))[1])
        tops = []
        for number in (self, other):
            top = number.top
            for name, (degrees, power) in common.items():
                top = top.plus(degrees, power - number.bottom.get(name, (degrees, 0))[1])
            tops.append(top)
        return Degree(self.value + other.value, self.p, tops[0].at_least(tops[1]), common, self.roots | other.roots)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int) and other == 0:
            return 0
        other = self._lifted(other)
        bottom = dict(self.bottom)
        for name, (degrees, power) in other.bottom.items():
            bottom[name] = degrees, power + bottom.get(name, (degrees, 0))[1]
        return Degree(self.value * other.value, self.p, self.top.plus(other.top), bottom, self.roots | other.roots)

    __rmul__ = __mul__

    def __mod__(self, p: int) -> "Degree":
        return self

    def __neg__(self) -> "Degree":
        return Degree(-self.value, self.p, self.top, self.bottom, self.roots)

    @property
    def whole(self) -> Degrees:
        """Of numerator and denominator together."""
        found = self.top
        for degrees, power in self.bottom.values():
            found = found.plus(degrees, power)
        return found

    def inverse(self) -> "Degree":
        """1/this."""
        if self.value == 0:
            raise ZeroDivisionError
        name, top = self.value, CONSTANT
        for key, (degrees, power) in self.bottom.items():
            name = name * pow(key, power, self.p) % self.p
            top = top.plus(degrees, power)
        bottom = {} if self.top == CONSTANT else {name: (self.top, 1)}
        return Degree(pow(self.value, -1, self.p), self.p, top, bottom, self.roots)


Coefficient = int | Degree


class Dual:
    """One number; ``parts`` maps a set of tangents, as the bits of an int, to its coefficient."""

    __slots__ = ("p", "parts")

    def __init__(self, parts: dict[int, Any], p: int) -> None:
        self.parts, self.p = parts, p

    def _lifted(self, other: Any) -> "Dual":
        if isinstance(other, Dual):
            return other
        if isinstance(other, int):
            return Dual({0: other % self.p}, self.p)
        if not (hasattr(other, "numerator") and hasattr(other, "denominator")):
            raise TypeError(f"only exact numbers have a place in a finite field. Received: {other!r}")
        top, bottom = int(other.numerator), int(other.denominator)
        return Dual({0: top * pow(bottom, -1, self.p) % self.p}, self.p)

    def __add__(self, other: Any) -> "Dual":
        other, p = self._lifted(other), self.p
        parts = dict(self.parts)
        for tangents, coefficient in other.parts.items():
            parts[tangents] = (parts[tangents] + coefficient) % p if tangents in parts else coefficient
        return Dual(parts, p)

    __radd__ = __add__

    def __neg__(self) -> "Dual":
        return Dual({tangents: -coefficient % self.p for tangents, coefficient in self.parts.items()}, self.p)

    def __sub__(self, other: Any) -> "Dual":
        return self + -self._lifted(other)

    def __rsub__(self, other: Any) -> "Dual":
        return self._lifted(other) + -self

    def __mul__(self, other: Any) -> "Dual":
        other, p = self._lifted(other), self.p
        parts: dict[int, Any] = {}
        for a, left in self.parts.items():
            for b, right in other.parts.items():
                if not a & b:
                    product = left * right
                    parts[a | b] = (parts[a | b] + product) % p if a | b in parts else product % p
        return Dual(parts, p)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Dual":
        return self * self._lifted(other).inverse()

    def __rtruediv__(self, other: Any) -> "Dual":
        return self._lifted(other) * self.inverse()

    def __pow__(self, exponent: int) -> "Dual":
        base = self if exponent >= 0 else self.inverse()
        result = self._lifted(1)
        for _ in range(abs(exponent)):
            result = result * base
        return result

    def inverse(self) -> "Dual":
        """1/this, by the geometric series in the tangents, which ends.

        Raises:
            ZeroDivisionError: the value is 0.
        """
        first = self.value
        if not number(first):
            raise ZeroDivisionError
        inverse = Dual({0: first.inverse() if isinstance(first, Degree) else pow(first, -1, self.p)}, self.p)
        return inverse * self._series(-inverse, [1] * self._orders())

    def power_series(self, root: Coefficient) -> "Dual":
        """This number to the power −1/2, given that of its value."""
        first = Dual({0: root}, self.p)
        coefficients = [1]
        for n in range(1, self._orders()):  # binomial coefficients of −1/2
            coefficients.append(coefficients[-1] * (1 - 2 * n) * pow(2 * n, -1, self.p) % self.p)
        return first * self._series(first * first, coefficients)

    def _orders(self) -> int:
        """How many powers of the tangents are not 0, the zeroth included."""
        return 1 + reduce(operator.or_, self.parts, 0).bit_count()

    def _series(self, factor: "Dual", coefficients: list[int]) -> "Dual":
        """Σ_n coefficient_n·(factor·(this − its value))^n."""
        step = factor * Dual({tangents: c for tangents, c in self.parts.items() if tangents}, self.p)
        result, power = self._lifted(coefficients[0]), self._lifted(1)
        for coefficient in coefficients[1:]:
            power = power * step
            result = result + power * coefficient
        return result

    @property
    def value(self) -> Coefficient:
        return self.parts.get(0, 0)

    def tangent(self, bit: int) -> "Dual":
        """The coefficient of one tangent, a number in the others."""
        parts = {tangents & ~bit: c for tangents, c in self.parts.items() if tangents & bit}
        return Dual(parts or {0: 0}, self.p)

    def vanishes(self) -> bool:
        """Whether value and tangents are all 0."""
        return not any(map(number, self.parts.values()))


def number(coefficient: Coefficient) -> int:
    """The residue."""
    return coefficient.value if isinstance(coefficient, Degree) else coefficient


def inverse_root_of_residue(value: int, p: int) -> int:
    """value^(−1/2), the root that is a square itself.

    Raises:
        NoRoot: there is none.
        ZeroDivisionError: the value is 0.
    """
    if value == 0:
        raise ZeroDivisionError
    root = pow(value, (p + 1) // 4, p)  # of two roots, the one that is a square
    if root * root % p != value:
        raise NoRoot
    return pow(root, -1, p)
