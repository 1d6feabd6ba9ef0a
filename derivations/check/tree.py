"""A formula as a tree of our own: nothing is evaluated, cancelled or reordered."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property


class FormulaError(ValueError):
    """A formula that cannot be judged: where, and why."""

    def __init__(self, message: str, text: str, position: int) -> None:
        self.message, self.text, self.position = message, text, position
        super().__init__(message)

    def pointed(self) -> str:
        """The message, and the formula with a mark under the character."""
        start = max(0, self.position - 60)
        shown = re.sub(r"\s", " ", self.text[start : self.position + 40])
        return f"{self.message}\n  {shown}\n  {' ' * (self.position - start)}^ character {self.position + 1}"


@dataclass(frozen=True)
class Node:
    """One part of a formula.

    kind: "number", "name", "+", "*", "**", "sum", "mean", "sqrt", or "-" and "/", which have one operand: a − b is
    a + (−b) and a/b is a·(/b), so that a long chain is no deep tree. Two that are equal stand for the same.
    """

    kind: str
    position: int = field(compare=False)
    parts: tuple["Node", ...] = ()
    name: str = ""  # of a number, how it was typed
    value: Fraction = Fraction(0)  # of a number; of a power, its exponent
    element: bool = False  # of a name: it has a value for each element
    index: str = field(default="", compare=False)  # of a name: the index that was typed, such as ₖ

    def walk(self) -> Iterator["Node"]:
        """This node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @cached_property
    def count(self) -> int:
        """How many nodes there are, one that occurs twice counted twice."""
        return 1 + sum(part.count for part in self.parts)

    @cached_property
    def depth(self) -> int:
        return 1 + max((part.depth for part in self.parts), default=0)

    @cached_property
    def degree(self) -> Fraction:
        """How many factors its longest product has, multiplied out."""
        degrees = [part.degree for part in self.parts]
        if self.kind == "name":
            return Fraction(1)
        if self.kind == "*":
            return sum(degrees, Fraction(0))
        return max(degrees, default=Fraction(0)) * (max(abs(self.value), Fraction(1)) if self.kind == "**" else 1)

    @cached_property
    def per_element(self) -> bool:
        """Whether there is a value for each element, outside of any sum."""
        if self.kind in ("sum", "mean"):
            return False
        return self.element if self.kind == "name" else any(part.per_element for part in self.parts)

    @cached_property
    def letters(self) -> frozenset[str]:
        """The indices that were typed, outside of any sum."""
        if self.kind in ("sum", "mean"):
            return frozenset()
        own = frozenset({self.index} - {""})
        return own.union(*(part.letters for part in self.parts))


def number(value: int | Fraction, position: int) -> Node:
    """A number as if it had been typed."""
    return Node("number", position, name=str(value), value=Fraction(value))


def difference(a: Node, b: Node) -> Node:
    """a − b."""
    return Node("+", a.position, (a, Node("-", b.position, (b,))))


def quotient(a: Node, b: Node) -> Node:
    """a/b."""
    return Node("*", a.position, (a, Node("/", b.position, (b,))))


def power(base: Node, exponent: int | Fraction) -> Node:
    """base to an exponent."""
    return Node("**", base.position, (base,), value=Fraction(exponent))
