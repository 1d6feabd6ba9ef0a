"""What is noted while code runs on arrays of unknown sizes."""

from collections.abc import Set
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import Any

from derivations.own_code.algebra.algebra import Algebra
from derivations.own_code.algebra.polynomials import Polynomial

COMPARED = "the difference compared"


@dataclass(frozen=True)
class Requirement:
    """What must hold for the code to be defined."""

    polynomial: Polynomial
    relation: str  # "≠ 0", "> 0" or "≥ 0"
    place: str
    of: str = ""  # what must be so; by default the divisor or the radicand


@dataclass
class Journal:
    """What was noted while code ran."""

    requirements: list[Requirement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    vanishing: list[Polynomial] = field(default_factory=list)  # of which exp was taken as 0
    labels: dict[Fraction, None] = field(default_factory=dict)  # numbers with which labels are compared
    # Names put for maxima and minima, with their places, by what they are the maximum or minimum of.
    largest: dict[Any, tuple[str, str]] = field(default_factory=dict)


class SymbolicAlgebra(Algebra):
    """The algebra of one run, with its journal."""

    def __init__(
        self, apart: frozenset[int] = frozenset(), *, follows_maxima: bool = False, labels: Set[str] = frozenset()
    ) -> None:
        super().__init__(apart)
        self.labels = labels  # the inputs whose gradients are not judged
        self.follows_maxima = follows_maxima  # of few numbers by comparisons; else each is held, as in softmax
        self.journal = Journal()
        self.unset = count()

    def note_vanishing(self, exponent: Polynomial) -> None:
        if exponent not in self.journal.vanishing:
            self.journal.vanishing.append(exponent)
