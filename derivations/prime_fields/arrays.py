"""Arrays of numbers that are computed twice at once, exactly and as real numbers, with all their derivatives.

Each number is a residue modulo a prime of 31 bits, so that NumPy multiplies whole arrays of them, and a float64. The
residue decides identities: it is exact. The real number decides what residues know nothing of: signs, comparisons,
which branch is taken, and whether anything is defined at all. In a neighbourhood of the real point a graph is one
formula, the same for the residues; what is equal there as a formula is equal.

Derivatives are those of dual numbers: coefficients of sets of tangents, τ² = 0 for each (``dual_numbers``).
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from derivations.prime_fields.dual_numbers import Degree, Degrees, number

# The largest primes of 31 bits that are ≡ 3 (mod 4), so that of the two roots of a square one is a square itself, and
# modulo which 10 is a square: the root of a power of ten, such as ε, is there.
FIELDS = (2**31 - 61, 2**31 - 85, 2**31 - 249)
FEW = 32  # numbers for which Python's own powers are quicker than sixty operations of NumPy


class NoPoint(ArithmeticError):
    """At these elements something has no value by chance, such as the root of a residue that is no square.

    Args:
        where: True at the elements.
    """

    def __init__(self, where: np.ndarray) -> None:
        super().__init__("no value by chance: another point has to be drawn")
        self.where = where


class Part(NamedTuple):
    """The coefficient of one set of tangents: real numbers, and residues."""

    real: np.ndarray
    residue: np.ndarray


class Numbers:
    """An array of such numbers.

    Args:
        parts: The coefficients, by the sets of tangents as the bits of an int; of 0, the value, there always is one.
        p: The prime.
    """

    __slots__ = ("p", "parts")
    __array_ufunc__ = None

    def __init__(self, parts: Mapping[int, Part], p: int) -> None:
        self.parts, self.p = {bits: _arrays(part) for bits, part in parts.items()}, p

    @classmethod
    def of(cls, values: Any, p: int) -> "Numbers":
        """Given numbers: integers or fractions exactly, floats as the fractions that they are."""
        array = np.asarray(values)
        if array.dtype == object or array.dtype.kind == "f":
            residues = [_residue(value, p) for value in array.ravel().tolist()]
            residue = np.array(residues, dtype=np.int64).reshape(array.shape)
        else:
            residue = array.astype(np.int64) % p
        return cls({0: Part(array.astype(np.float64), residue)}, p)

    @classmethod
    def zeros(cls, shape: Sequence[int], p: int) -> "Numbers":
        return cls({0: Part(np.zeros(shape), np.zeros(shape, np.int64))}, p)

    @property
    def real(self) -> np.ndarray:
        """The values as real numbers."""
        return self.parts[0].real

    @property
    def residue(self) -> np.ndarray:
        """The values as residues."""
        return self.parts[0].residue

    @property
    def shape(self) -> tuple[int, ...]:
        return self.residue.shape

    @property
    def ndim(self) -> int:
        return self.residue.ndim

    @property
    def size(self) -> int:
        return self.residue.size

    def held(self) -> "Numbers":
        """The same values, with derivative 0."""
        return Numbers({0: self.parts[0]}, self.p)

    def along(self, direction: "Numbers", tangent: int) -> "Numbers":
        """This plus a new tangent, a bit, times a direction."""
        moved = {bits | tangent: part for bits, part in direction.parts.items()}
        return self + Numbers({**Numbers.zeros(direction.shape, self.p).parts, **moved}, self.p)

    def derivative(self, tangent: int) -> "Numbers":
        """The coefficient of one tangent, numbers in the others."""
        found = {bits & ~tangent: part for bits, part in self.parts.items() if bits & tangent}
        zero = Numbers.zeros(self.shape, self.p)
        return Numbers({**zero.parts, **found}, self.p)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> "Numbers":
        """A linear function that only moves numbers, such as a reshape."""
        return Numbers({bits: Part(*map(function, part)) for bits, part in self.parts.items()}, self.p)

    def sum(self, axes: int | tuple[int, ...] | None = None, *, keep: bool = False) -> "Numbers":
        with np.errstate(all="ignore"):  # a sum of what has no value has none: NaN says so
            return self.mapped(lambda array: array.sum(axis=axes, keepdims=keep))._reduced()

    def _reduced(self) -> "Numbers":
        return Numbers({bits: Part(real, residue % self.p) for bits, (real, residue) in self.parts.items()}, self.p)

    def _lifted(self, other: Any) -> "Numbers":
        return other if isinstance(other, Numbers) else Numbers.of(other, self.p)

    def __add__(self, other: Any) -> "Numbers":
        other = self._lifted(other)
        parts: dict[int, Part] = {}
        with np.errstate(all="ignore"):
            for bits in dict.fromkeys((*self.parts, *other.parts)):
                left, right = self.parts.get(bits), other.parts.get(bits)
                if left is not None and right is not None:
                    parts[bits] = Part(left.real + right.real, (left.residue + right.residue) % self.p)
                elif one := left or right:
                    shape = np.broadcast_shapes(self.shape, other.shape)
                    parts[bits] = Part(*(np.broadcast_to(array, shape) for array in one))
        return Numbers(parts, self.p)

    def __neg__(self) -> "Numbers":
        return Numbers({bits: Part(-part.real, -part.residue % self.p) for bits, part in self.parts.items()}, self.p)

    def __sub__(self, other: Any) -> "Numbers":
        return self + -self._lifted(other)

    def __rsub__(self, other: Any) -> "Numbers":
        return self._lifted(other) + -self

    def __mul__(self, other: Any) -> "Numbers":
        other = self._lifted(other)
        parts: dict[int, Part] = {}
        with np.errstate(all="ignore"):
            for a, left in self.parts.items():
                for b, right in other.parts.items():
                    if a & b:
                        continue
                    real, residue = left.real * right.real, left.residue * right.residue % self.p
                    if a | b in parts:
                        old = parts[a | b]
                        real, residue = old.real + real, (old.residue + residue) % self.p
                    parts[a | b] = Part(real, residue)
        return Numbers(parts, self.p)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> "Numbers":
        return self * self._lifted(other).inverse()

    def __rtruediv__(self, other: Any) -> "Numbers":
        return self._lifted(other) * self.inverse()

    def power(self, exponent: int) -> "Numbers":
        """A whole power."""
        base = self if exponent >= 0 else self.inverse()
        result, exponent = self._lifted(np.ones((), np.int64)), abs(exponent)
        result = result.mapped(lambda array: np.broadcast_to(array, self.shape))
        while exponent:
            if exponent & 1:
                result = result * base
            base, exponent = base * base, exponent >> 1
        return result

    def inverse(self) -> "Numbers":
        """1/this; where this is 0, the real number is not finite and the residue means nothing.

        Raises:
            NoPoint: a residue is 0 by chance.
        """
        value = self.parts[0]
        if (chance := (_plain(value.residue) == 0) & (value.real != 0) & np.isfinite(value.real)).any():
            raise NoPoint(chance)
        with np.errstate(all="ignore"):
            first = Numbers({0: Part(1 / value.real, _inverses(value.residue, self.p))}, self.p)
        return first * self._series(-first, [Fraction(1)] * self._orders())

    def inverse_root(self) -> "Numbers":
        """This to the power −1/2, positive; where this is not, the real number is not finite.

        Raises:
            NoPoint: a residue is no square, or 0 by chance.
        """
        value = self.parts[0]
        residue = _plain(value.residue)
        root = _power(residue, (self.p + 1) // 4, self.p)  # of two roots, the one that is a square
        chance = (root * root % self.p != residue) | (residue == 0)
        if (chance := chance & (value.real > 0) & np.isfinite(value.real)).any():
            raise NoPoint(chance)
        with np.errstate(all="ignore"):
            inverse = _like(value.residue, _power(root, self.p - 2, self.p), self.p)
            first = Numbers({0: Part(1 / np.sqrt(value.real), inverse)}, self.p)
        coefficients = [Fraction(1)]
        for n in range(1, self._orders()):  # binomial coefficients of −1/2
            coefficients.append(coefficients[-1] * Fraction(1 - 2 * n, 2 * n))
        return first * self._series(first * first, coefficients)

    def root(self) -> "Numbers":
        """√this; 0 of 0, but not differentiable there."""
        value = self.parts[0]
        if not ((value.real == 0) & (value.residue == 0)).any():
            return self.inverse_root() * self
        zero = (value.real == 0) & (value.residue == 0)
        elsewhere = where(zero, Numbers.of(np.ones(self.shape, np.int64), self.p), self)
        result = elsewhere.inverse_root() * elsewhere
        parts = {}
        for bits, (real, residue) in result.parts.items():
            parts[bits] = Part(np.where(zero, 0.0 if bits == 0 else np.nan, real), np.where(zero, 0, residue))
        return Numbers(parts, self.p)

    def _orders(self) -> int:
        """How many powers of the tangents are not 0, the zeroth included."""
        return 1 + reduce(operator.or_, self.parts, 0).bit_count()

    def _series(self, factor: "Numbers", coefficients: Sequence[Fraction]) -> "Numbers":
        """Σ_n coefficient_n·(factor·(this − its value))^n."""
        result = self._lifted(np.ones((), np.int64))
        moved = {bits: part for bits, part in self.parts.items() if bits}
        if not moved:
            return result
        step = factor * Numbers({**Numbers.zeros(self.shape, self.p).parts, **moved}, self.p)
        power = result
        for coefficient in coefficients[1:]:
            power = power * step
            result = result + power * Numbers.of(np.array(coefficient, dtype=object), self.p)
        return result


def where(condition: np.ndarray, a: Numbers, b: Numbers) -> Numbers:
    """a where the condition holds, else b."""
    shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    zero = Part(np.zeros(()), np.zeros((), np.int64))
    parts = {}
    for bits in {**a.parts, **b.parts}:
        left, right = a.parts.get(bits, zero), b.parts.get(bits, zero)
        parts[bits] = Part(
            *(np.broadcast_to(np.where(condition, p, q), shape) for p, q in zip(left, right, strict=True))
        )
    return Numbers(parts, a.p)


def joined(arrays: Sequence[Numbers], function: Callable[[Sequence[np.ndarray]], np.ndarray]) -> Numbers:
    """Several arrays put together, such as by ``np.concatenate``."""
    p = arrays[0].p
    parts = {}
    for bits in dict.fromkeys(bits for array in arrays for bits in array.parts):
        own = [array.parts.get(bits) or Numbers.zeros(array.shape, p).parts[0] for array in arrays]
        parts[bits] = Part(function([part.real for part in own]), function([part.residue for part in own]))
    return Numbers(parts, p)


def drawn(shape: Sequence[int], p: int, rng: np.random.Generator, real: np.ndarray | None = None) -> Numbers:
    """Random residues; the real numbers are those given, or normally distributed.

    The residue of a real number is a square just if the number is positive, so that √(x²) = |x| in both.
    """
    real = rng.normal(size=shape) if real is None else np.broadcast_to(real, shape)
    root = rng.integers(1, p, size=shape)
    square = root * root % p
    return Numbers({0: Part(real, np.where(real > 0, square, -square % p))}, p)


def _residue(value: Any, p: int) -> int:
    if isinstance(value, float) and not np.isfinite(value):
        return 0
    fraction = Fraction(value)
    return fraction.numerator * pow(fraction.denominator, -1, p) % p


def _arrays(part: Part) -> Part:
    """NumPy makes a plain object of an array of one, without axes."""
    return part if hasattr(part.residue, "shape") else Part(part.real, np.asarray(part.residue, dtype=object))


# Residues may be counted on: arrays of ``Degree``s in their place.


def with_degrees(values: Numbers, degrees: Degrees) -> Numbers:
    """The numbers, as numbers that know their degrees."""
    of = np.frompyfunc(lambda residue: Degree(residue, values.p, degrees), 1, 1)
    return Numbers(
        {bits: Part(part.real, of(np.asarray(part.residue, dtype=object))) for bits, part in values.parts.items()},
        values.p,
    )


def _plain(residues: np.ndarray) -> np.ndarray:
    """The residues alone."""
    return np.asarray(np.frompyfunc(number, 1, 1)(residues), dtype=np.int64) if residues.dtype == object else residues


def _inverses(residues: np.ndarray, p: int) -> np.ndarray:
    if residues.dtype != object:
        return _power(residues, p - 2, p)

    def inverse(residue: Any) -> Any:
        if not number(residue) % p:  # where the real number is not finite either
            return residue
        return residue.inverse() if isinstance(residue, Degree) else pow(residue, -1, p)

    return np.asarray(np.frompyfunc(inverse, 1, 1)(residues), dtype=object)


def _like(radicands: np.ndarray, roots: np.ndarray, p: int) -> np.ndarray:
    """Inverse roots, which are of the degrees of their radicands."""
    if radicands.dtype != object:
        return roots

    def inverse_root(radicand: Any, root: Any) -> Any:
        if not isinstance(radicand, Degree):
            return root
        return Degree(root, p, radicand.whole, roots=radicand.roots | {radicand.value})

    of = np.frompyfunc(inverse_root, 2, 1)
    return np.asarray(of(radicands, np.asarray(roots, dtype=object)), dtype=object)


def _power(base: np.ndarray, exponent: int, p: int) -> np.ndarray:
    if base.size <= FEW:
        return np.array([pow(b, exponent, p) for b in base.ravel().tolist()], np.int64).reshape(base.shape)
    result = np.ones_like(base)
    while exponent:
        if exponent & 1:
            result = result * base % p
        base, exponent = base * base % p, exponent >> 1
    return result
