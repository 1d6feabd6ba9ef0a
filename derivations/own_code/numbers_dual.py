"""The second proof for code: exact numbers with derivatives, on which NumPy itself computes.

A number is a + b·τ with τ² = 0: of residues modulo a prime, or of rational numbers, enclosed between others where a
root or an exponential is irrational. NumPy's arrays of objects call the methods below.
"""

from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
from mpmath import iv

from derivations.own_code.numbers_exact import exact, radicand
from derivations.own_code.refusal import refusal
from derivations.prime_fields.dual_numbers import NoRoot, inverse_root_of_residue

iv.dps = 60
_MARGIN = Fraction(1, 10**10)  # relative; constants such as √3 enter as floats
_RULE = "control flow on values has no one derivative; use arithmetic only"


class Undefined(ArithmeticError):
    """Something has no real value at this point."""


class Residues:
    """The numbers modulo a prime p ≡ 3 (mod 4)."""

    def __init__(self, p: int) -> None:
        self.p = p

    def of(self, value: Fraction) -> int:
        return value.numerator * pow(value.denominator, -1, self.p) % self.p

    def normal(self, a: int) -> int:
        return a % self.p

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
        return 0 if a == 0 else a * inverse_root_of_residue(a, self.p) % self.p

    def function(self, name: str, a: int) -> NoReturn:
        """A field has no exponential."""
        raise Transcendental(name)

    def differ(self, a: int, b: int) -> bool:
        return (a - b) % self.p != 0


class Transcendental(ArithmeticError):
    """exp and its like have no counterpart in a prime field."""


class Reals:
    """Rational numbers, and enclosures of irrational ones."""

    def of(self, value: Fraction) -> Any:
        return value

    def normal(self, a: Any) -> Any:
        return a

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
            from math import isqrt

            top, bottom = isqrt(a.numerator), isqrt(a.denominator)
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
        if name == "tanh":
            doubled = iv.exp(2 * x)
            return 1 - 2 / (doubled + 1)
        return getattr(iv, name)(x)

    def differ(self, a: Any, b: Any) -> bool:
        """Whether the numbers are certainly different, by more than floats in the user's constants could explain."""
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return abs(a - b) > _MARGIN * (abs(a) + abs(b))
        a, b = enclosure(a), enclosure(b)
        margin = (abs(a) + abs(b)) * enclosure(_MARGIN)
        return bool((a + margin).b < b.a or (b + margin).b < a.a)


def enclosure(a: Any) -> Any:
    return iv.mpf(a.numerator) / a.denominator if isinstance(a, Fraction) else a


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, Fraction) is not isinstance(b, Fraction) and not isinstance(a, int):
        a, b = enclosure(a), enclosure(b)
    return a + b


def _product(a: Any, b: Any) -> Any:
    if isinstance(a, Fraction) is not isinstance(b, Fraction) and not isinstance(a, int):
        if a == 0 or b == 0:
            return Fraction(0)
        a, b = enclosure(a), enclosure(b)
    return a * b


_OF_ARRAYS = ("shape", "ndim", "size", "T", "reshape", "sum", "mean", "item", "copy", "astype", "squeeze", "dtype")


class Number:
    """a + b·τ; ``b`` is None where nothing is differentiated."""

    __slots__ = ("a", "b", "ring")

    def __init__(self, ring: Any, a: Any, b: Any = None) -> None:
        self.ring, self.a, self.b = ring, a, b

    def _lift(self, other: Any) -> "Number | None":
        if type(other) is Number:
            return other
        if isinstance(other, np.ndarray) and other.ndim:
            return None
        try:
            if (square := radicand(other)) is not None:
                return Number(self.ring, self.ring.root(self.ring.of(square)))
            return Number(self.ring, self.ring.of(exact(other)))
        except (TypeError, ValueError):
            return None

    def __add__(self, other: Any) -> Any:
        o = self._lift(other)
        if o is None:
            return NotImplemented
        normal = self.ring.normal
        b = self.b if o.b is None else o.b if self.b is None else normal(_sum(self.b, o.b))
        return Number(self.ring, normal(_sum(self.a, o.a)), b)

    __radd__ = __add__

    def __neg__(self) -> "Number":
        normal = self.ring.normal
        return Number(self.ring, normal(-self.a), None if self.b is None else normal(-self.b))

    def __pos__(self) -> "Number":
        return self

    def __sub__(self, other: Any) -> Any:
        o = self._lift(other)
        return NotImplemented if o is None else self + -o

    def __rsub__(self, other: Any) -> Any:
        o = self._lift(other)
        return NotImplemented if o is None else o + -self

    def __mul__(self, other: Any) -> Any:
        o = self._lift(other)
        if o is None:
            return NotImplemented
        normal = self.ring.normal
        b = None
        if self.b is not None:
            b = normal(_product(self.b, o.a))
        if o.b is not None:
            second = normal(_product(self.a, o.b))
            b = second if b is None else normal(_sum(b, second))
        return Number(self.ring, normal(_product(self.a, o.a)), b)

    __rmul__ = __mul__

    def _inverse(self) -> "Number":
        inverse = self.ring.inverse(self.a)
        normal = self.ring.normal
        b = None if self.b is None else normal(_product(-self.b, _product(inverse, inverse)))
        return Number(self.ring, inverse, b)

    def __truediv__(self, other: Any) -> Any:
        o = self._lift(other)
        return NotImplemented if o is None else self * o._inverse()

    def __rtruediv__(self, other: Any) -> Any:
        o = self._lift(other)
        return NotImplemented if o is None else o * self._inverse()

    def __pow__(self, exponent: Any) -> Any:
        if isinstance(exponent, Number):
            raise refusal("a power whose exponent depends on the data", "whole and half powers are understood")
        power = exact(exponent)
        if power.denominator == 2:
            return self.sqrt() ** power.numerator
        if power.denominator != 1:
            raise refusal(f"the power {power}", "whole and half powers are understood")
        base = self if power >= 0 else self._inverse()
        result = Number(self.ring, self.ring.of(Fraction(1)))
        for _ in range(abs(int(power))):
            result = result * base
        return result

    def sqrt(self) -> "Number":
        root = self.ring.root(self.a)
        if self.b is None:
            return Number(self.ring, root)
        return Number(self.ring, root, (Number(self.ring, self.b) / (Number(self.ring, root) * 2)).a)

    def __abs__(self) -> "Number":
        return (self * self).sqrt()

    def conjugate(self) -> "Number":
        return self

    @property
    def real(self) -> "Number":
        return self

    def _function(self, name: str) -> "Number":
        value = Number(self.ring, self.ring.function(name, self.a))
        if self.b is None:
            return value
        inner = Number(self.ring, self.a)
        match name:
            case "exp":
                slope = value
            case "log":
                slope = 1 / inner
            case "tanh":
                slope = 1 - value * value
            case "sin":
                slope = inner.cos()
            case _:
                slope = -inner.sin()
        return Number(self.ring, value.a, (slope * Number(self.ring, self.b)).a)

    def exp(self) -> "Number":
        return self._function("exp")

    def log(self) -> "Number":
        return self._function("log")

    def log1p(self) -> "Number":
        return (self + 1).log()

    def expm1(self) -> "Number":
        return self.exp() - 1

    def tanh(self) -> "Number":
        return self._function("tanh")

    def sin(self) -> "Number":
        return self._function("sin")

    def cos(self) -> "Number":
        return self._function("cos")

    def __getattr__(self, name: str) -> Any:
        """What a number of NumPy's has as well, such as ``shape`` and ``reshape``."""
        if name not in _OF_ARRAYS:
            raise AttributeError(name)
        return getattr(wrapped(np.array(self, dtype=object)), name)

    def held(self) -> "Number":
        """The value alone."""
        return Number(self.ring, self.a)

    def _refuse(self, *_: Any) -> NoReturn:
        raise refusal("a value of the data used as a number or as a condition", _RULE)

    __bool__ = __float__ = __int__ = __index__ = __lt__ = __le__ = __gt__ = __ge__ = __round__ = _refuse
    __eq__ = __ne__ = __hash__ = _refuse

    def __repr__(self) -> str:
        return str(self.a)


class Forgetting:
    """Which of the reductions of a run is changed; to name what was held fixed, or divided by N − 1 instead of N.

    Args:
        target: The place of the reduction among those of the run; -1 for all of them; None to count them only.
        slope: What its derivative is multiplied by: 0 forgets it.
        value: What its value is multiplied by.
    """

    def __init__(self, target: int | None = None, slope: Fraction = Fraction(0), value: Fraction = Fraction(1)) -> None:
        self.target, self.seen = target, 0
        self.slope, self.value = slope, value
        self.places: list[str] = []

    def changed(self, number: Number) -> Number:
        """The number as it stands in the changed run."""
        kept = number.held() * self.value
        if number.b is None or not self.slope:
            return kept
        return Number(number.ring, kept.a, (Number(number.ring, number.b) * self.slope).a)


class ExactArray(np.ndarray):
    """NumPy's array of such numbers; sums can be made to forget derivatives."""

    forgetting: Forgetting | None = None

    def __array_finalize__(self, other: Any) -> None:
        self.forgetting = getattr(other, "forgetting", None)

    def astype(self, *_: Any, **__: Any) -> "ExactArray":
        return self.copy()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        options.pop("dtype", None)
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(o.view(np.ndarray) if isinstance(o, ExactArray) else o for o in out)
        plain = [value.view(np.ndarray) if isinstance(value, ExactArray) else value for value in inputs]
        if ufunc is np.sign and method == "__call__":
            return self / abs(self)
        if ufunc is np.float_power:
            ufunc = np.power
        if ufunc is np.reciprocal:
            return 1 / self
        if ufunc in (np.maximum, np.minimum) and method == "reduce":
            # Any number: what depends on it was refused.
            return np.add.reduce(np.vectorize(Number.held, otypes=[object])(plain[0]), *plain[1:], **options) * 0 + 2
        result = getattr(ufunc, method)(*plain, **options)
        noticed = next((v.forgetting for v in inputs if isinstance(v, ExactArray) and v.forgetting), None)
        if noticed and ((ufunc is np.add and method == "reduce") or ufunc in (np.matmul, np.sqrt)):
            from derivations.own_code.refusal import line_of_user

            noticed.places.append(line_of_user(full=True))
            if noticed.target in (noticed.seen, -1):
                result = (
                    np.vectorize(noticed.changed, otypes=[object])(result)
                    if isinstance(result, np.ndarray)
                    else noticed.changed(result)
                )
            noticed.seen += 1
        if out is not None:
            return out[0]
        return wrapped(result, noticed) if isinstance(result, np.ndarray) else result


def wrapped(array: Any, forgetting: Forgetting | None = None) -> ExactArray:
    """The array, as an exact one."""
    result = np.asarray(array, dtype=object).view(ExactArray)
    result.forgetting = forgetting
    return result


__all__ = [
    "ExactArray",
    "Forgetting",
    "NoRoot",
    "Number",
    "Reals",
    "Residues",
    "Transcendental",
    "Undefined",
    "wrapped",
]
