"""Where the exact runs compute: modulo primes, or on rational numbers and enclosures of irrational ones."""

import math
from fractions import Fraction
from typing import Any, NoReturn

from mpmath import iv, mp

from derivations.prime_fields.dual_numbers import inverse_root_of_residue

iv.dps = 60
_MARGIN = Fraction(1, 10**10)  # relative; constants such as √3 enter as floats


class Undefined(ArithmeticError):
    """Something has no real value at this point."""


class Residues:
    """The numbers modulo a prime p ≡ 3 (mod 4)."""

    def __init__(self, p: int) -> None:
        self.p = p
        self.has_roots = False  # whether a root was taken

    def of(self, value: Fraction) -> int:
        return value.numerator * pow(value.denominator, -1, self.p) % self.p

    def sum(self, a: Any, b: Any) -> Any:
        return (a + b) % self.p

    def product(self, a: Any, b: Any) -> Any:
        return a * b % self.p

    def negative(self, a: int) -> int:
        return -a % self.p

    def rational(self, a: int) -> Fraction:
        """The small half-integer that this is, for an exponent that was computed."""
        for doubled in range(-41, 42):
            if (2 * a - doubled) % self.p == 0:
                return Fraction(doubled, 2)
        raise TypeError("an exponent that is no small number")

    def inverse(self, a: int) -> int:
        if a % self.p == 0:
            raise ZeroDivisionError
        return pow(a, -1, self.p)

    def root(self, a: int) -> int:
        self.has_roots = True
        return 0 if a == 0 else a * inverse_root_of_residue(a, self.p) % self.p

    def function(self, name: str, a: int) -> NoReturn:
        """A field has no exponential."""
        raise Transcendental(name)

    def power_of_pi(self, halves: int) -> NoReturn:
        """Nor has it a π."""
        raise Transcendental("π")

    def sign(self, a: int) -> NoReturn:
        """Nor has it an order."""
        raise Transcendental("sign")

    def differ(self, a: int, b: int) -> bool:
        return (a - b) % self.p != 0


class Transcendental(ArithmeticError):
    """exp and its like, and comparisons, have no counterpart in a prime field."""


class Reals:
    """Rational numbers, and enclosures of irrational ones."""

    def of(self, value: Fraction) -> Any:
        return value

    def sum(self, a: Any, b: Any) -> Any:
        if type(a) is not type(b):
            a, b = enclosure(a), enclosure(b)
        return a + b

    def product(self, a: Any, b: Any) -> Any:
        if type(a) is not type(b):
            if a == 0 or b == 0:
                return Fraction(0)
            a, b = enclosure(a), enclosure(b)
        return a * b

    def negative(self, a: Any) -> Any:
        return -a

    def rational(self, a: Any) -> Fraction:
        """The number itself, if it is rational."""
        if not isinstance(a, Fraction):
            raise TypeError("an exponent that is no rational number")
        return a

    def inverse(self, a: Any) -> Any:
        if isinstance(a, Fraction):
            return 1 / a
        if a.a <= 0 <= a.b:
            raise ZeroDivisionError
        return 1 / a

    def root(self, a: Any) -> Any:
        if isinstance(a, Fraction):
            if a < 0:
                raise Undefined
            top, bottom = math.isqrt(a.numerator), math.isqrt(a.denominator)
            if top * top == a.numerator and bottom * bottom == a.denominator:
                return Fraction(top, bottom)
            return iv.sqrt(enclosure(a))
        if a.a < 0:
            raise Undefined
        return iv.sqrt(a)

    def function(self, name: str, a: Any) -> Any:
        if isinstance(a, Fraction) and a == (1 if name == "log" else 0):
            return Fraction(name in ("exp", "cos"))
        x = enclosure(a)
        if name == "log" and x.a <= 0:
            raise Undefined
        if name == "erf":
            return _error_function(x)
        if name == "tanh":
            doubled = iv.exp(2 * x)
            return 1 - 2 / (doubled + 1)
        return getattr(iv, name)(x)

    def power_of_pi(self, halves: int) -> Any:
        return iv.sqrt(iv.pi) ** halves

    def sign(self, a: Any) -> int:
        if isinstance(a, Fraction):
            return (a > 0) - (a < 0)
        if a.a <= 0 <= a.b:
            raise Undefined
        return 1 if a.a > 0 else -1

    def differ(self, a: Any, b: Any) -> bool:
        """Whether the numbers are certainly different, by more than floats in the user's constants could explain."""
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return abs(a - b) > _MARGIN * (abs(a) + abs(b))
        a, b = enclosure(a), enclosure(b)
        margin = (abs(a) + abs(b)) * enclosure(_MARGIN)
        return bool((a + margin).b < b.a or (b + margin).b < a.a)


class WithOperators:
    """A ring whose elements bring their own operators."""

    def sum(self, a: Any, b: Any) -> Any:
        return a + b

    def product(self, a: Any, b: Any) -> Any:
        return a * b

    def negative(self, a: Any) -> Any:
        return -a


class Floats(WithOperators):
    """Floats, with which nothing is settled: to tell which of many mistakes explains a refutation."""

    def of(self, value: Fraction) -> float:
        return float(value)

    def rational(self, a: float) -> Fraction:
        """The half-integer that it is."""
        if 2 * a != int(2 * a):
            raise TypeError("an exponent that is no whole or half number")
        return Fraction(int(2 * a), 2)

    def inverse(self, a: float) -> float:
        return 1 / a

    def root(self, a: float) -> float:
        if a < 0:
            raise Undefined
        return math.sqrt(a)

    def function(self, name: str, a: float) -> float:
        if name == "log" and a <= 0:
            raise Undefined
        return float(getattr(math, name)(a))

    def power_of_pi(self, halves: int) -> float:
        return math.pi ** (halves / 2)

    def sign(self, a: float) -> int:
        return (a > 0) - (a < 0)

    def differ(self, a: float, b: float) -> bool:
        """Whether they are apart by more than rounding."""
        return abs(a - b) > 1e-9 * (abs(a) + abs(b))


def enclosure(a: Any) -> Any:
    return iv.mpf(a.numerator) / a.denominator if isinstance(a, Fraction) else a


def _error_function(x: Any) -> Any:
    """erf of an enclosure: it increases, and mpmath's is good to nearly all of the digits that it is asked for."""
    with mp.workdps(iv.dps + 20):
        low, high = (mp.erf(mp.make_mpf(end._mpi_[0])) for end in (x.a, x.b))
        margin = mp.mpf(10) ** (10 - iv.dps)
        return iv.mpf([low - margin, high + margin])
