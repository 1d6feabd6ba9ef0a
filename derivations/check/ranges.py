"""Between which numbers the value of a formula lies, whatever its variables are: sound, but not as tight as can be.

By these bounds a condition such as 1 + v > 0 always holds, and −1 − v ≥ 0 never does.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from derivations.check.tree import Node
from derivations.normal_form.intervals import lower_end, square_root, upper_end

Number: TypeAlias = Fraction | float  # a float is an infinity


class End(NamedTuple):
    """An end of a range; ``reached``: it belongs to it."""

    at: Number
    reached: bool


_BELOW, _ABOVE = End(-math.inf, False), End(math.inf, False)


@dataclass(frozen=True)
class Range:
    """All numbers from ``low`` to ``high``."""

    low: End = _BELOW
    high: End = _ABOVE

    def __add__(self, other: "Range") -> "Range":
        return Range(_total(self.low, other.low), _total(self.high, other.high))

    def __mul__(self, other: "Range") -> "Range":
        ends = [_product(a, b) for a in (self.low, self.high) for b in (other.low, other.high)]
        low, high = min(end.at for end in ends), max(end.at for end in ends)
        return Range(*(End(at, any(end.reached for end in ends if end.at == at)) for at in (low, high)))

    def power(self, exponent: int) -> "Range":
        """Of a value that is not 0 where the exponent is negative."""
        if exponent < 0:
            return self.power(-exponent)._inverse()
        result = _point(1)
        for _ in range(exponent):
            result *= self
        if exponent % 2 or not exponent or self.low.at >= 0 or self.high.at <= 0:
            return result
        return Range(End(Fraction(0), True), result.high)  # an even power of what may have either sign

    def _inverse(self) -> "Range":
        if self.low.at < 0 < self.high.at:
            return Range()
        positive = self.low.at >= 0
        return Range(*(_inverse(end, positive) for end in (self.high, self.low)))

    def root(self) -> "Range":
        """Of a value that is not negative."""
        low = End(Fraction(0), self.low.reached or self.low.at < 0) if self.low.at <= 0 else self.low
        return Range(_root(low, below=True), _root(self.high, below=False))

    def satisfies(self, relation: str) -> bool | None:
        """Whether all of these numbers are "≠ 0", "> 0" or "≥ 0"; None if only some are."""
        (low, reached_low), (high, reached_high) = self.low, self.high
        positive, negative = low > 0 or (low == 0 and not reached_low), high < 0 or (high == 0 and not reached_high)
        if relation == "≠ 0":
            return True if positive or negative else False if low == high == 0 else None
        if relation == "> 0":
            return True if positive else False if high <= 0 else None
        return True if low >= 0 else False if negative else None


def _point(value: int | Fraction) -> Range:
    return Range(*[End(Fraction(value), True)] * 2)


_POSITIVE, _NOT_NEGATIVE = Range(End(Fraction(0), False)), Range(End(Fraction(0), True))
_NAMES = {
    "epsilon": _POSITIVE, "s": _POSITIVE, "W": _POSITIVE, "var": _NOT_NEGATIVE, "w": _NOT_NEGATIVE,
    "m": Range(End(Fraction(1), True)),
}  # fmt: skip


def value_range(node: Node) -> Range:
    """The bounds of a formula wherever it is defined, for m ≥ 1, ε > 0, w ≥ 0 with Σw > 0.

    >>> from derivations.check.parser import parse
    >>> value_range(parse("-1 - var - mean(x**2)")).satisfies("≥ 0")
    False
    """
    match node.kind:
        case "number":
            return _point(node.value)
        case "name":
            return _NAMES.get(node.name, Range())
        case "+":
            return sum(map(value_range, node.parts), _point(0))
        case "-" | "*" | "/" | "**" if node.value.denominator == 1:
            return _of_product(node)
        case "**":
            return value_range(node.parts[0]).root().power(int(2 * node.value))
        case "sqrt":
            return value_range(node.parts[0]).root()
        case "sum":  # of one term or more
            inner = value_range(node.parts[0])
            return Range(inner.low if inner.low.at >= 0 else _BELOW, inner.high if inner.high.at <= 0 else _ABOVE)
    return value_range(node.parts[0])  # a mean lies between its terms


def _of_product(node: Node) -> Range:
    """Equal factors are counted first: a·a is a square."""
    result = _point(1)
    factors: Counter[Node] = Counter()
    for factor, exponent in _factors(node, 1):
        if factor.kind == "-":
            result *= _point(-1)
        else:
            factors[factor] += exponent
    for factor, exponent in factors.items():
        result *= value_range(factor).power(exponent)
    return result


def _factors(node: Node, exponent: int) -> Iterable[tuple[Node, int]]:
    """The factors with their exponents, one "-" for each change of sign."""
    if node.kind == "-":
        if exponent % 2:
            yield node, 1
        yield from _factors(node.parts[0], exponent)
    elif node.kind in ("*", "/"):
        for part in node.parts:
            yield from _factors(part, -exponent if node.kind == "/" else exponent)
    elif node.kind == "**" and node.value.denominator == 1:
        yield from _factors(node.parts[0], exponent * int(node.value))
    else:
        yield node, exponent


def _total(a: End, b: End) -> End:
    infinite = next((end for end in (a, b) if isinstance(end.at, float)), None)
    return infinite or End(a.at + b.at, a.reached and b.reached)


def _product(a: End, b: End) -> End:
    if zeros := [end for end in (a, b) if end.at == 0]:
        return End(Fraction(0), (a.reached and b.reached) or any(end.reached for end in zeros))
    if isinstance(a.at, float) or isinstance(b.at, float):  # large fractions are none that a float can hold
        return _ABOVE if (a.at > 0) == (b.at > 0) else _BELOW
    return End(a.at * b.at, a.reached and b.reached)


def _inverse(end: End, positive: bool) -> End:
    if end.at == 0:
        return _ABOVE if positive else _BELOW
    return End(Fraction(0), False) if math.isinf(end.at) else End(1 / end.at, end.reached)


def _root(end: End, *, below: bool) -> End:
    if isinstance(end.at, float):
        return end
    root = square_root(max(end.at, Fraction(0)))
    if isinstance(root, Fraction):
        return End(root, end.reached)
    return End((lower_end if below else upper_end)(root), False)
