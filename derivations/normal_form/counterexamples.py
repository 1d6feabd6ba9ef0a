"""Exact counterexamples: small numbers at which two expressions differ.

Sums are added up term by term in ``Fraction``; nothing is shared with the normal form, so that each checks the other.
Elements are small integers, and ε is chosen such that v + ε is a perfect square, so that its root is rational. A root
that is not, in a wrong formula, is enclosed between rational numbers.
"""

import itertools
import math
import operator
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import sympy as sp
from sympy import Expr, Indexed, IndexedBase, KroneckerDelta, Sum, Symbol

from derivations.normal_form.intervals import Interval, Number, differ, lower_end, square_root
from derivations.notation.expressions import free_symbols
from derivations.notation.settings import Setting

SMALL_POINTS = 400  # of zeros and ones, tried in search of the smallest counterexample
Value = Fraction | tuple[Fraction, ...]
Values = Mapping[Any, Value]  # a Symbol has one value, an IndexedBase a tuple of them


class Undefined(ArithmeticError):
    """The expression has no value at this point, or none that is rational."""


@dataclass(frozen=True)
class Counterexample:
    """A point, and the two different values there."""

    values: Values
    left: Number
    right: Number


def evaluate(expression: Any, values: Values) -> Fraction:
    """The exact value of an expression.

    Raises:
        Undefined: a denominator is 0, a root is not rational, an index is outside of its range.

    >>> from derivations.notation import m, over_batch, x, i
    >>> evaluate(over_batch(x[i]) / m, {m: Fraction(2), x: (Fraction(0), Fraction(3))})
    Fraction(3, 2)
    """
    value = enclosed(expression, values)
    if isinstance(value, Interval):
        raise Undefined(f"a root in {expression} is not rational")
    return value


def enclosed(expression: Any, values: Values) -> Number:
    """The value of an expression, exact or, where a root is not rational, between rational numbers.

    Raises:
        Undefined: a denominator is 0, a radicand negative, an index outside of its range.
    """
    return _Evaluation(values).value(sp.sympify(expression), {})


def search(
    left: Any, right: Any, setting: Setting, *, sizes: Sequence[int] = (2, 3, 1, 4), tries: int = 30, seed: int = 0
) -> Counterexample | None:
    """A counterexample to ``left`` = ``right``; None if none was found.

    The smallest with entries 0 and 1 alone, if there is one, or else one that was shrunk entry by entry.

    Args:
        sizes: The sizes to try, in this order.
        tries: Points of each size.
    """
    rng = random.Random(seed)
    equation = _Equation(sp.sympify(left), sp.sympify(right), setting)
    for size in sizes:
        for _ in range(tries):
            point = equation.draw(size, rng)
            if equation.counterexample(point):
                return equation.smallest() or equation.shrunk(point)
    return None


# A point before ε is chosen: a list of entries for each symbol and base.
_Point = dict[Any, list[int]]


class _Equation:
    """Two sides, and the points at which they may be compared."""

    def __init__(self, left: Expr, right: Expr, setting: Setting) -> None:
        self.left, self.right, self.setting = left, right, setting
        root = setting.root
        related = [left, right, *setting.positive, *([root.variance] if root else [])]
        atoms = set().union(*(expression.atoms(Symbol, Indexed, Sum) for expression in related))
        bounds = {limit[2] for sum_ in atoms if isinstance(sum_, Sum) for limit in sum_.limits}
        self.bases = _ordered({atom.base for atom in atoms if isinstance(atom, Indexed)})
        self.indices = _ordered(
            {symbol for symbol in setting.ranges if any(symbol in side.free_symbols for side in (left, right))}
        )
        self.sizes = _ordered(bounds | {setting.ranges[symbol] for symbol in self.indices})
        ranges = {symbol: {size} for symbol, size in setting.ranges.items()}
        for sum_ in (atom for atom in atoms if isinstance(atom, Sum)):
            for j, _, last in sum_.limits:
                ranges.setdefault(j, set()).add(last)
        self.lengths: dict[Any, set[Any]] = {}
        for element in (atom for atom in atoms if isinstance(atom, Indexed)):
            for position in element.indices:
                self.lengths.setdefault(element.base, set()).update(ranges.get(position, set()) & set(self.sizes))
        free = set().union(*(expression.free_symbols for expression in related))
        taken = {*self.sizes, *self.indices, *setting.ranges, *(base.label for base in self.bases)}
        chosen = {root.symbol, root.epsilon} if root else set()
        self.scalars = _ordered({symbol for symbol in free if not isinstance(symbol, Indexed)} - taken - chosen)

    def draw(self, size: int, rng: random.Random) -> _Point:
        point: _Point = {symbol: [rng.randint(1, size) if n else size] for n, symbol in enumerate(self.sizes)}
        point.update(
            {base: [rng.choice(_domain(base)) for _ in range(self._length(base, point))] for base in self.bases}
        )
        point.update({symbol: [rng.choice(_domain(symbol))] for symbol in self.scalars})
        point.update({symbol: [rng.randint(1, point[self.setting.ranges[symbol]][0])] for symbol in self.indices})
        return point

    def _length(self, base: IndexedBase, point: _Point) -> int:
        """How many elements there are: as many as the longest sum over them has terms."""
        return max(point[size][0] for size in self.lengths.get(base) or self.sizes)

    def counterexample(self, point: _Point) -> Counterexample | None:
        try:
            values = self._values(point)
            if any(evaluate(expression, values) <= 0 for expression in self.setting.positive):
                return None
            evaluation = _Evaluation(values)
            left, right = (evaluation.value(side, {}) for side in (self.left, self.right))
        except Undefined:
            return None
        return Counterexample(values, left, right) if differ(left, right) else None

    def smallest(self) -> Counterexample | None:
        """The first counterexample of zeros and ones, by size and then by how many ones there are; None after a few."""
        left = SMALL_POINTS
        for size in (1, 2, 3):
            shape: _Point = {symbol: [size] for symbol in self.sizes}
            lengths = [self._length(base, shape) for base in self.bases] + [1] * len(self.scalars)
            if 2 ** sum(lengths) > left:
                return None
            places = itertools.product(
                *(range(1, shape[self.setting.ranges[symbol]][0] + 1) for symbol in self.indices)
            )
            for entries, place in itertools.product(
                sorted(itertools.product((0, 1), repeat=sum(lengths)), key=sum), list(places)
            ):
                rest, point = iter(entries), dict(shape)
                for symbol, length in zip([*self.bases, *self.scalars], lengths, strict=True):
                    point[symbol] = [next(rest) for _ in range(length)]
                if any(entry not in _domain(symbol) for symbol in self.bases + self.scalars for entry in point[symbol]):
                    continue
                point.update({symbol: [position] for symbol, position in zip(self.indices, place, strict=True)})
                if found := self.counterexample(point):
                    return found
                left -= 1
                if not left:
                    return None
        return None

    def shrunk(self, point: _Point) -> Counterexample:
        for symbol in [*self.bases, *self.scalars, *self.indices]:
            for position, entry in enumerate(point[symbol]):
                for smaller in (goal for goal in (0, 1, -1) if goal in _domain(symbol) and goal != entry):
                    point[symbol][position] = smaller
                    if self.counterexample(point):
                        break
                    point[symbol][position] = entry
        found = self.counterexample(point)
        assert found is not None
        return found

    def _values(self, point: _Point) -> Values:
        values: dict[Any, Value] = {
            symbol: tuple(map(Fraction, entries)) if isinstance(symbol, IndexedBase) else Fraction(entries[0])
            for symbol, entries in point.items()
        }
        if root := self.setting.root:
            variance = evaluate(root.variance, values)
            if variance < 0:
                raise Undefined(f"{root.variance} is negative")
            deviation = math.isqrt(math.floor(variance)) + 1
            values[root.epsilon] = deviation**2 - variance
            values[root.symbol] = Fraction(1, deviation)
        return values


def _domain(symbol: Any) -> Sequence[int]:
    if symbol.is_positive or getattr(symbol, "assumptions0", {}).get("positive"):
        return (1, 2, 3)
    if symbol.is_nonnegative or getattr(symbol, "assumptions0", {}).get("nonnegative"):
        return (0, 1, 2, 3)
    return (-2, -1, 0, 1, 2, 3)


def _ordered(symbols: set[Any]) -> list[Any]:
    return sorted(symbols, key=str)


Bound = Mapping[Symbol, Fraction]  # the indices of the enclosing sums


class _Evaluation:
    """The values of expressions at one point; each sum that holds no enclosing index is added up once."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self._closed_sums: dict[Sum, Number] = {}

    def value(self, e: Expr, bound: Bound) -> Number:
        if isinstance(e, Symbol):
            found = bound[e] if e in bound else self.values[e]
            assert isinstance(found, Fraction)
            return found
        if e.is_Rational:
            return Fraction(int(e.p), int(e.q))
        if isinstance(e, Indexed):
            return self._element(e, bound)
        if isinstance(e, Sum):
            if bound and not bound.keys().isdisjoint(free_symbols(e)):
                return self._sum(e, bound)
            if e not in self._closed_sums:
                self._closed_sums[e] = self._sum(e, {})
            return self._closed_sums[e]
        if e.is_Add:
            return _total(self.value(arg, bound) for arg in e.args)
        if e.is_Mul:
            return reduce(operator.mul, (self.value(arg, bound) for arg in e.args))
        if e.is_Pow and e.exp.is_Rational and e.exp.q in (1, 2):
            return self._power(e, bound)
        if isinstance(e, KroneckerDelta):
            a, b = (self._position(arg, bound) for arg in e.args)
            return Fraction(a == b)
        raise NotImplementedError(f"{type(e).__name__} has no exact value here: {e}")

    def _element(self, e: Indexed, bound: Bound) -> Fraction:
        (position,) = (self._position(place, bound) for place in e.indices)
        elements = self.values[e.base]
        assert isinstance(elements, tuple)
        if not 1 <= position <= len(elements):
            raise Undefined(f"{e} at {position} of {len(elements)}")
        return elements[position - 1]

    def _power(self, e: Expr, bound: Bound) -> Number:
        base = self.value(e.base, bound)
        if e.exp < 0 and not differ(base, Fraction(0)):
            raise Undefined(f"1/0 in {e}")
        if e.exp.q > 1 and lower_end(base) < 0:
            raise Undefined(f"the root of {base}")
        return (square_root(base) if e.exp.q > 1 else base) ** int(e.exp.p)

    def _sum(self, e: Sum, bound: Bound) -> Number:
        positions: list[dict[Symbol, Fraction]] = [{}]
        for j, first, last in e.limits:  # which do not depend on one another
            span = range(self._position(first, {}), self._position(last, {}) + 1)
            positions = [{**known, j: Fraction(n)} for known in positions for n in span]
        return _total(self.value(e.function, {**bound, **indices}) for indices in positions)

    def _position(self, e: Expr, bound: Bound) -> int:
        value = self.value(e, bound)
        assert isinstance(value, Fraction)
        assert value.denominator == 1
        return int(value)


def _total(terms: Iterable[Number]) -> Number:
    return reduce(operator.add, terms, Fraction(0))
