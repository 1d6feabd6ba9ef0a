"""Sizes that are not known: they can be added, multiplied and compared where the answer is the same for every size."""

from fractions import Fraction
from math import comb
from typing import Any, NoReturn

import numpy as np

from derivations.own_code.algebra.algebra import Algebra
from derivations.own_code.algebra.polynomials import Polynomial
from derivations.own_code.refusal import asked_by_user, refusal
from derivations.own_code.written_numbers import exact

_RULE = "a size may be used as a number and as a length; what the code does must be the same for every size"


class Size:
    """An unknown size ≥ 1, such as N, or what is computed from sizes by + − ·."""

    def __init__(self, algebra: Algebra, polynomial: Polynomial) -> None:
        self.algebra, self.polynomial = algebra, polynomial

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """For ``isinstance`` in user code: sizes are ints."""
        return int if asked_by_user() else Size

    def __getattr__(self, name: str) -> Any:
        if hasattr(int, name):
            raise refusal(f".{name} of an unknown size", _RULE)
        raise AttributeError(f"'int' object has no attribute {name!r}")

    def __copy__(self) -> "Size":
        return self

    def __deepcopy__(self, _: Any) -> "Size":
        return self

    def _lift(self, other: Any) -> Polynomial | None:
        if isinstance(other, Size):
            return other.polynomial
        is_number = isinstance(other, int | float | Fraction | np.generic)
        if is_number or (isinstance(other, np.ndarray) and other.shape == ()):
            try:
                return self.algebra.constant(exact(other))
            except (TypeError, ValueError):
                return None
        return None

    def _new(self, polynomial: Polynomial) -> Any:
        return as_size(self.algebra, polynomial)

    def quotient(self, divisor: int) -> Any:
        """⌊size / divisor⌋, no whole polynomial: a multiple of it may be the end of a part of an axis, and no more."""
        return Size(self.algebra, self.algebra.quotient(self.polynomial, divisor))

    def at_least_one(self) -> Any:
        """max(size, 1) of a quotient, which may only be the step of a slice."""
        return Size(self.algebra, self.algebra.size(f" max({self.algebra.text(self.polynomial, str)}, 1)"))

    @property
    def is_rounded(self) -> bool:
        """Whether a quotient stands in it."""
        return self.algebra.is_rounded(self.polynomial)

    def _array(self) -> Any:
        if self.is_rounded:
            raise refusal("// of an unknown size", "it rounds; give the size as a number, or use /")
        from derivations.own_code.symbolic.arrays import SymbolicArray

        return SymbolicArray(self.algebra, (), self.polynomial, "pos" if sign(self.polynomial) == 1 else None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [value._array() if isinstance(value, Size) else value for value in inputs]
        return self._array().__array_ufunc__(ufunc, method, *arrays, **options)

    def __add__(self, other: Any) -> Any:
        lifted = self._lift(other)
        if lifted is None:
            return self._array() + other
        return self._new(self.algebra.add(self.polynomial, lifted))

    def __sub__(self, other: Any) -> Any:
        lifted = self._lift(other)
        if lifted is None:
            return self._array() - other
        return self._new(self.algebra.add(self.polynomial, lifted, -1))

    def __rsub__(self, other: Any) -> Any:
        return -1 * (self - other)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, tuple | list):
            raise refusal("a list as long as an unknown size", _RULE)
        lifted = self._lift(other)
        if lifted is None:
            return self._array() * other
        return self._new(self.algebra.multiply(self.polynomial, lifted))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Any:
        return self * -1

    def __pos__(self) -> Any:
        return self

    def __truediv__(self, other: Any) -> Any:
        return self._array() / (other._array() if isinstance(other, Size) else other)

    def __rtruediv__(self, other: Any) -> Any:
        return other / self._array()

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int) and other >= 0:
            return self._new(self.algebra.power(self.polynomial, other))
        return self._array() ** other

    def exact_quotient(self, other: Any) -> Any:
        """size // other where that is a whole polynomial; otherwise None."""
        lifted = self._lift(other)
        if lifted is not None and len(lifted) == 1:
            quotient = self.algebra.multiply(self.polynomial, self.algebra.power(lifted, -1))
            if all(c.denominator == 1 and all(power > 0 for _, power in m) for m, c in quotient.items()):
                return self._new(quotient)
        return None

    def __floordiv__(self, other: Any) -> Any:
        if (quotient := self.exact_quotient(other)) is not None:
            return quotient
        raise refusal("// of an unknown size", "it rounds; give the size as a number, or use /")

    def sqrt(self) -> Any:
        """The root, for ``np.sqrt(N)``."""
        return self._array() ** Fraction(1, 2)

    def _refuse(self, *_: Any) -> NoReturn:
        raise refusal("an unknown size used as a Python number", _RULE)

    __rpow__ = __mod__ = __rmod__ = __rfloordiv__ = __divmod__ = __rdivmod__ = __int__ = __float__ = __index__ = _refuse
    __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = __abs__ = __invert__ = __and__ = __rand__ = _refuse
    __or__ = __ror__ = __xor__ = __rxor__ = __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _refuse
    __hash__ = __sizeof__ = __reduce_ex__ = __reduce__ = _refuse

    def __bool__(self) -> bool:
        return self._compared(0, "a size as a condition", (1, -1))

    def _compared(self, other: Any, what: str, true: tuple[int, ...], false: tuple[int, ...] = (0,)) -> bool:
        lifted = self._lift(other)
        if lifted is None:
            if other is None or isinstance(other, str):
                return 0 not in true
            raise refusal(what, _RULE)
        difference = self.algebra.add(self.polynomial, lifted, -1)
        if difference and self.algebra.is_rounded(difference):
            raise refusal(what, f"{_RULE}; // of an unknown size rounds")
        found = sign(difference)
        if found in true:
            return True
        if found in false:
            return False
        raise refusal(what, f"{_RULE}; here it depends on the value of {self!r}")

    def __eq__(self, other: object) -> bool:
        return self._compared(other, "== of an unknown size", (0,), (1, -1))

    def __ne__(self, other: object) -> bool:
        return self._compared(other, "!= of an unknown size", (1, -1), (0,))

    def __lt__(self, other: Any) -> bool:
        return self._compared(other, "< of an unknown size", (-1,), (0, 1, 2))

    def __le__(self, other: Any) -> bool:
        return self._compared(other, "<= of an unknown size", (-1, 0, -2), (1,))

    def __gt__(self, other: Any) -> bool:
        return self._compared(other, "> of an unknown size", (1,), (0, -1, -2))

    def __ge__(self, other: Any) -> bool:
        return self._compared(other, ">= of an unknown size", (1, 0, 2), (-1,))

    def __repr__(self) -> str:
        if asked_by_user():
            raise refusal("the text of an unknown size", f"{_RULE}; leave out texts that contain sizes")
        return self.algebra.text(self.polynomial, str)

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        if asked_by_user():
            raise refusal("the text of an unknown size", f"{_RULE}; leave out texts that contain sizes")
        return self.algebra.text(self.polynomial, str)


def as_size(algebra: Algebra, polynomial: Polynomial) -> Any:
    """An int where the number is known, a ``Size`` where it is not."""
    if not polynomial:
        return 0
    if set(polynomial) == {()}:
        value = polynomial[()]
        return int(value) if value.denominator == 1 else value
    return Size(algebra, polynomial)


def sign(a: Polynomial) -> int | None:
    """1, 0 or −1; 2 for ≥ 0, −2 for ≤ 0, None where it differs from size to size, each size being at least 1."""
    shifted: dict[tuple[tuple[int, int], ...], Fraction] = {}
    for monomial, coefficient in a.items():
        terms: dict[tuple[tuple[int, int], ...], Fraction] = {(): coefficient}
        for atom, power in monomial:
            if not isinstance(power, int) or power < 0:
                return None
            terms = {
                (*known, (atom, k)) if k else known: c * comb(power, k)
                for known, c in terms.items()
                for k in range(power + 1)
            }
        for term, c in terms.items():
            shifted[term] = shifted.get(term, Fraction(0)) + c
    constant = shifted.pop((), Fraction(0))
    zero = Fraction(0)
    low, high = min([zero, *shifted.values()]), max([zero, *shifted.values()])
    if low == high == 0:
        return (constant > 0) - (constant < 0)
    if low >= 0 and constant >= 0:
        return 1 if constant > 0 else 2
    if high <= 0 and constant <= 0:
        return -1 if constant < 0 else -2
    return None
