"""The second proof for code: exact numbers with derivatives, on which NumPy itself computes.

A number is a + b·τ with τ² = 0: of residues modulo a prime, or of rational numbers, or of intervals where a root or
an exponential is irrational. NumPy's arrays of objects call the methods below.
"""

from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from derivations.own_code.exact.rings import Undefined
from derivations.own_code.refusal import asked_by_user, refusal
from derivations.own_code.written_numbers import exact, irrational

_RULE = "control flow on values has no one derivative; use arithmetic only"
_OF_ARRAYS = ("shape", "ndim", "size", "T", "reshape", "sum", "mean", "item", "copy", "astype", "squeeze", "dtype")


class Number:
    """a + b·τ; ``b`` is None where nothing is differentiated."""

    __slots__ = ("a", "b", "constant", "ring")

    def __init__(self, ring: Any, a: Any, b: Any = None, constant: bool = False) -> None:
        self.ring, self.a, self.b = ring, a, b
        # Whether it is the same for all inputs nearby: what stands in the code, truth values, and what is made of them.
        self.constant = constant

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """For ``isinstance`` in user code: a number of NumPy's."""
        return np.float64 if asked_by_user() else Number

    def _lift(self, other: Any) -> "Number | None":
        if type(other) is Number:
            return other
        if isinstance(other, np.ndarray):
            return self._lift(other.item()) if other.ndim == 0 else None
        try:
            if known := irrational(other):
                sign, square, halves = known
                root = Number(self.ring, self.ring.root(self.ring.of(square)), constant=True) * sign
                return root * Number(self.ring, self.ring.power_of_pi(halves), constant=True) if halves else root
            return Number(self.ring, self.ring.of(exact(other)), constant=True)
        except (TypeError, ValueError):
            if isinstance(other, float):  # infinite, or none, such as the mean of no elements
                raise Undefined from None
            return None

    def __add__(self, other: Any) -> Any:
        o = self._lift(other)
        if o is None:
            return NotImplemented
        ring = self.ring
        b = self.b if o.b is None else o.b if self.b is None else ring.sum(self.b, o.b)
        return Number(ring, ring.sum(self.a, o.a), b, self.constant and o.constant)

    __radd__ = __add__

    def __neg__(self) -> "Number":
        negative = self.ring.negative
        return Number(self.ring, negative(self.a), None if self.b is None else negative(self.b), self.constant)

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
        ring = self.ring
        b = None if self.b is None else ring.product(self.b, o.a)
        if o.b is not None:
            second = ring.product(self.a, o.b)
            b = second if b is None else ring.sum(b, second)
        constant = (self.constant and (o.constant or _is_zero(self.a))) or (o.constant and _is_zero(o.a))
        return Number(ring, ring.product(self.a, o.a), b, constant)

    __rmul__ = __mul__

    def _inverse(self) -> "Number":
        ring, inverse = self.ring, self.ring.inverse(self.a)
        b = None if self.b is None else ring.product(ring.negative(self.b), ring.product(inverse, inverse))
        return Number(ring, inverse, b, self.constant)

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
        result = Number(self.ring, self.ring.of(Fraction(1)), constant=True)
        for _ in range(abs(int(power))):
            result = result * base
        return result

    def sign(self) -> int:
        """1, 0 or −1."""
        return self.ring.sign(self.a)

    def exceeds(self, other: Any, ties: bool = False) -> Any:
        """Whether self > other. If both are equal: ``ties`` if they are constants or one number.

        Raises:
            Undefined: two others are equal, which is a coincidence of this point.
        """
        o = self._lift(other)
        if o is None:
            return NotImplemented
        if o is self:  # an element and the maximum that it is
            return ties
        sign = (self - o).sign()
        if sign == 0 and not (self.constant and o.constant):
            raise Undefined
        return ties if sign == 0 else sign > 0

    def agrees(self, other: Any) -> bool:
        """self == other, of constants, and of numbers of which no derivative is taken, such as labels."""
        o = self._lift(other)
        if o is not None and o.b is None and self.b is None and (self - o).sign() == 0:
            return True
        return bool(self.exceeds(other, ties=True)) and not self.exceeds(other)

    def __gt__(self, other: Any) -> Any:
        return self.exceeds(other)

    def __ge__(self, other: Any) -> Any:
        return self.exceeds(other, ties=True)

    def __lt__(self, other: Any) -> Any:
        opposite = self.exceeds(other, ties=True)
        return opposite if opposite is NotImplemented else not opposite

    def __le__(self, other: Any) -> Any:
        opposite = self.exceeds(other)
        return opposite if opposite is NotImplemented else not opposite

    def sqrt(self) -> "Number":
        root = self.ring.root(self.a)
        if self.b is None:
            return Number(self.ring, root, constant=self.constant)
        return Number(self.ring, root, (Number(self.ring, self.b) / (Number(self.ring, root) * 2)).a)

    def __abs__(self) -> "Number":
        sign = self.sign()
        if sign == 0 and self.b is not None and not self.constant:  # there it has no derivative
            raise Undefined
        return self if sign >= 0 else -self

    def conjugate(self) -> "Number":
        return self

    @property
    def real(self) -> "Number":
        return self

    def _function(self, name: str) -> "Number":
        value = Number(self.ring, self.ring.function(name, self.a), constant=self.constant)
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
            case "erf":
                slope = (-inner * inner).exp() * 2 / Number(self.ring, self.ring.power_of_pi(1))
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

    def cosh(self) -> "Number":
        return (self.exp() + (-self).exp()) / 2

    def sinh(self) -> "Number":
        return (self.exp() - (-self).exp()) / 2

    def tanh(self) -> "Number":
        return self._function("tanh")

    def sin(self) -> "Number":
        return self._function("sin")

    def cos(self) -> "Number":
        return self._function("cos")

    def erf(self) -> "Number":
        return self._function("erf")

    # NumPy's functions take it for an array without axes.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*map(_as_array, inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(*map(_as_array, args), **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Attributes that NumPy's numbers also have, such as ``shape`` and ``reshape``."""
        if name not in _OF_ARRAYS:
            raise AttributeError(name)
        if name == "dtype" and asked_by_user():
            return np.dtype(float)
        from derivations.own_code.exact.arrays import wrapped

        return getattr(wrapped(np.array(self, dtype=object)), name)

    def held(self) -> "Number":
        """The value alone; of a number whose parts carry derivatives, theirs are dropped too."""
        return Number(self.ring, self.a.held() if isinstance(self.a, Number) else self.a)

    def _refuse(self, *_: Any) -> NoReturn:
        raise refusal("a value of the data used as a number or as a condition", _RULE)

    __bool__ = __float__ = __int__ = __index__ = __round__ = _refuse
    __eq__ = __ne__ = __hash__ = _refuse

    def __repr__(self) -> str:
        return str(self.a)


def constant(ring: Any, value: Any) -> Number:
    """What stands in the code, as a number of a ring."""
    return Number(ring, ring.of(Fraction(0)), constant=True) + value


def _is_zero(a: Any) -> bool:
    return isinstance(a, int | Fraction) and not a


def _as_array(value: Any) -> Any:
    from derivations.own_code.exact.arrays import wrapped

    if type(value) in (list, tuple):
        return type(value)(map(_as_array, value))
    return wrapped(np.array(value, dtype=object)) if isinstance(value, Number) else value
