"""The atoms of which polynomials are made: sizes, elements, sums and functions, each known by a number."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from derivations.own_code.algebra.polynomials import (
    JOINT,
    LONGEST,
    Monomial,
    Polynomial,
    TooComplex,
    flat,
    frozen,
    place_name,
    place_of,
    single,
)

_TEMPORARY = 10**6  # names of indices that are bound next


class PlacesNeeded(BaseException):
    """A place stands by itself on an axis over which sums are not written term by term: begin again, with this length.

    No Exception, so that no code of a user's catches it.
    """

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


def begun_again(run: Callable[[frozenset[int]], Any]) -> Any:
    """The result of a run that is given the lengths of axes over which sums are written term by term."""
    apart: frozenset[int] = frozenset()
    while True:
        try:
            return run(apart)
        except PlacesNeeded as needed:
            apart |= {needed.length}


class Atoms:
    """The atoms of one proof."""

    def __init__(self, apart: frozenset[int] = frozenset()) -> None:
        self.apart = apart  # lengths of axes, over which sums are written term by term
        self.atoms: list[tuple[Any, ...]] = []
        self.free: list[frozenset[int]] = []  # the indices on which each atom depends
        self.depth: list[int] = []  # how many names of bound indices stand inside
        self._known: dict[tuple[Any, ...], int] = {}
        self._renamed: dict[tuple[int, tuple[tuple[int, int], ...]], Polynomial] = {}
        self._canonical_names: dict[int, tuple[int, dict[int, int]]] = {}
        self._rules: dict[int, tuple[Any, Polynomial]] = {}  # canonical atom -> power, what replaces it
        self._reduced: dict[int, Polynomial] = {}
        self._fresh = count(_TEMPORARY)
        self._products = 0
        self.positive: set[int] = set()  # atoms known to be > 0
        self.nonnegative: set[int] = set()
        self.signs: set[int] = set()  # atoms that are 1 or −1
        self.quotients: dict[int, tuple[Any, int]] = {}  # atoms ⌊size / divisor⌋: the size and the divisor
        # Lengths of parts of an axis: the name of [i < the end of the first part], the whole length, whether the first.
        self.cuts: dict[Any, tuple[str, Polynomial, bool]] = {}
        self.masks: set[int] = set()  # atoms that are 1 or 0
        self.joint: dict[str, tuple[Any, ...]] = {}  # the lengths of axes that have one index, by their text

    def atom(self, *parts: Any) -> int:
        if parts not in self._known:
            self._known[parts] = len(self.atoms)
            self.atoms.append(parts)
            free, depth = self._indices_of(parts)
            self.free.append(free)
            self.depth.append(depth)
            if parts[:2] == ("f", "sign"):
                self.signs.add(self._known[parts])
            if parts[0] == "e" and parts[1].startswith("\0below"):
                self.masks.add(self._known[parts])
        return self._known[parts]

    def _indices_of(self, parts: tuple[Any, ...]) -> tuple[frozenset[int], int]:
        match parts:
            case ("e", _, indices) | ("d", indices):
                return frozenset(flat(indices)), 0
            case ("S", _, monomial, names):
                inner = self._of_monomials([monomial])
                return inner[0] - set(names), max((inner[1], *(-name for name in names)))
            case ("q", terms) | ("h", terms) | ("f", _, terms):
                return self._of_monomials([monomial for monomial, _ in terms])
        return frozenset(), 0

    def _of_monomials(self, monomials: Iterable[Monomial]) -> tuple[frozenset[int], int]:
        free: set[int] = set()
        depth = 0
        for monomial in monomials:
            for atom, _ in monomial:
                free |= self.free[atom]
                depth = max(depth, self.depth[atom])
        return frozenset(free), depth

    def size(self, name: str) -> Polynomial:
        atom = self.atom("n", name)
        self.positive.add(atom)
        return single(atom)

    def blocks(self) -> set[tuple[str, int]]:
        """The names of sizes of which there are quotients, and at how much there is one block, if others are 2."""
        return {
            (self.atoms[atom][1], math.ceil(divisor / coefficient / 2 ** (len(monomial) - 1)))
            for size, divisor in self.quotients.values()
            for monomial, coefficient in size
            for atom, _ in monomial
        }

    def is_rounded(self, size: Polynomial) -> bool:
        """Whether a quotient of sizes stands in it, or a maximum of one."""
        return any(str(self.atoms[atom][1]).startswith((" ⌊", " max")) for monomial in size for atom, _ in monomial)

    def element(self, name: str, indices: tuple[Any, ...]) -> Polynomial:
        for index in indices:
            if isinstance(index, int) and (known := place_of(index)):
                self.needs_apart(known[1])
        return single(self.atom("e", name, indices))

    def place(self, place: int, length: int) -> int:
        """The name of a place on an axis of a known length."""
        if length > LONGEST:
            raise TooComplex(f"a place on an axis that is longer than {LONGEST}")
        self.needs_apart(length)
        return place_name(place, length)

    def needs_apart(self, length: int) -> None:
        """Begin again unless sums over axes of this length are written term by term."""
        if length not in self.apart:
            raise PlacesNeeded(length)

    def indices(self, polynomial: Polynomial) -> frozenset[int]:
        return self._of_monomials(polynomial)[0]

    def elements_in(self, a: Polynomial, through: str = "Sqfh") -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The name and the indices of each element, also of those within atoms of these kinds."""
        waiting = [atom for monomial in a for atom, _ in monomial]
        while waiting:
            parts = self.atoms[waiting.pop()]
            if parts[0] == "e":
                yield parts[1], parts[2]
            elif parts[0] in through:
                inside = [parts[2]] if parts[0] == "S" else [monomial for monomial, _ in parts[-1]]
                waiting += [atom for monomial in inside for atom, _ in monomial]

    def split_places(self, a: Polynomial) -> set[tuple[Any, ...]]:
        """The places of elements on axes that are split, or have one index together, wherever they stand."""
        found: set[tuple[Any, ...]] = set()
        waiting = [place for _, indices in self.elements_in(a) for place in indices if isinstance(place, tuple)]
        while waiting:
            place = waiting.pop()
            found.add(place)
            waiting += [part for part in place[:2] if isinstance(part, tuple)]
        return found

    def as_one_index(self, index: int, sizes: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The places on several axes, of these lengths, that one index counts through."""
        text = JOINT.join(map(str, sizes))
        self.joint[text] = sizes
        return [(index, str(n), text) for n in range(len(sizes))]

    def held(self, polynomial: Polynomial) -> Polynomial:
        """The polynomial with derivative 0."""
        return single(self.atom("h", frozen(polynomial))) if polynomial else {}
