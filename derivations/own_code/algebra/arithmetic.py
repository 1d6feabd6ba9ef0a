"""Sums and products of polynomials, and the atoms of which they are made."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import combinations, count
from typing import Any

from derivations.own_code.algebra.polynomials import (
    LONGEST,
    ONE,
    Monomial,
    Polynomial,
    Renaming,
    TooComplex,
    flat,
    frozen,
    matched,
    place_name,
    place_of,
    plain,
    single,
)

TERMS = 30_000  # of a polynomial; what is written by hand has some hundred
PRODUCTS = 300_000  # of monomials in one proof, about a minute; an LSTM cell needs 11 000
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


class Arithmetic(ABC):
    """The atoms of one proof, and the ring of their polynomials."""

    def __init__(self, apart: frozenset[int] = frozenset()) -> None:
        self.apart = apart  # lengths of axes, over which sums are written term by term
        self.atoms: list[tuple[Any, ...]] = []
        self.free: list[frozenset[int]] = []  # the indices on which each atom depends
        self.depth: list[int] = []  # how many names of bound indices stand inside
        self._known: dict[tuple[Any, ...], int] = {}
        self._renamed: dict[tuple[int, tuple[tuple[int, int], ...]], Polynomial] = {}
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

    @abstractmethod
    def power(self, a: Polynomial, power: Fraction | int) -> Polynomial:
        """a^power for whole and half powers."""

    @abstractmethod
    def renamed_atom(self, atom: int, names: Renaming) -> Polynomial:
        """The atom at other indices."""

    @abstractmethod
    def text(self, a: Polynomial, index_name: Callable[[int], str]) -> str:
        """The polynomial in Unicode."""

    @abstractmethod
    def rename(self, a: Polynomial, names: Renaming) -> Polynomial:
        """The polynomial at other indices."""

    # Atoms

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

    def quotient(self, size: Polynomial, divisor: int) -> Polynomial:
        """⌊size / divisor⌋."""
        atom = self.atom("n", f" ⌊{self.text(size, str)}/{divisor}⌋")
        self.nonnegative.add(atom)
        self.quotients[atom] = frozen(size), divisor
        return single(atom)

    def within(self, index: Any, size: Polynomial) -> Polynomial:
        """1 where an index of a whole axis is in the part of this length; 1 for all of a length that is of no part."""
        if frozen(size) not in self.cuts:
            return ONE
        name, _, is_first = self.cuts[frozen(size)]
        here = self.element(name, (index,))
        return here if is_first else self.add(ONE, here, -1)

    def blocks(self) -> set[tuple[str, int]]:
        """The names of sizes of which there are quotients, with the divisors."""
        return {
            (self.atoms[atom][1], divisor)
            for size, divisor in self.quotients.values()
            for monomial, _ in size
            for atom, _ in monomial
        }

    def is_rounded(self, size: Polynomial) -> bool:
        """Whether a quotient of sizes stands in it, or a maximum of one."""
        return any(str(self.atoms[atom][1]).startswith((" ⌊", " max")) for monomial in size for atom, _ in monomial)

    def cut(self, first: Polynomial, whole: Polynomial) -> Polynomial:
        """Note that an axis is cut after a part of this length; the length of the rest.

        The first part must be a multiple of a quotient of the whole, so that it is no longer than that.
        """
        rest = self.add(whole, first, -1)
        ((monomial, times),) = first.items() if len(first) == 1 else [((), 0)]
        known = self.quotients.get(monomial[0][0]) if len(monomial) == 1 and monomial[0][1] == 1 else None
        if known != (frozen(whole), times):
            raise TooComplex("an axis of unknown length is cut where it may not end")
        name = f"\0below {self.text(first, str)}"
        self.cuts[frozen(first)], self.cuts[frozen(rest)] = (name, whole, True), (name, whole, False)
        return rest

    def power_of_pi(self, power: Fraction | int) -> Polynomial:
        """π to a power; as a size it is a number ≥ 1, whose name no size of the user's can have."""
        return self.power(self.size(" π"), power)

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

    def equal_indices(self, a: Any, b: Any) -> Polynomial:
        """[a = b]; of two indices or places, each of which may be that of an axis that is split."""
        if a == b:
            return ONE
        if isinstance(a, tuple) or isinstance(b, tuple):
            result = ONE
            for one, other in matched((a,), (b,)) if isinstance(a, tuple) else matched((b,), (a,)):
                result = self.multiply(result, self.equal_indices(one, other))
            return result
        return {} if place_of(a) and place_of(b) else single(self.atom("d", (min(a, b), max(a, b))))

    def placed(self, a: Polynomial) -> tuple[int, int] | None:
        """An index that is compared with a place, as in [j = 2], and the length of its axis."""
        for monomial in a:
            for atom, _ in monomial:
                if self.atoms[atom][0] == "d" and (known := place_of(self.atoms[atom][1][1])):
                    return self.atoms[atom][1][0], known[1]
        return None

    def coinciding(self, a: Polynomial, apart: frozenset[Any]) -> tuple[int, int] | None:
        """Two names, of an index and another or a place, such that x[j] stands beside x[k]: for j = k they are one.

        apart: pairs for which that has been looked at.
        """
        seen: dict[tuple[Any, ...], dict[int, None]] = {}

        def note(where: tuple[Any, ...], index: Any) -> None:
            if isinstance(index, tuple):
                for n, part in enumerate(index[:2]):
                    note((*where, n, index[2]), part)
            else:
                seen.setdefault(where, {})[index] = None

        waiting = [atom for monomial in a for atom, _ in monomial]
        while waiting:
            parts = self.atoms[waiting.pop()]
            if parts[0] in "qfh":
                waiting += [atom for monomial, _ in parts[-1] for atom, _ in monomial]
            elif parts[0] == "e":
                for position, index in enumerate(parts[2]):
                    note((parts[1], position), index)
        for names in seen.values():
            for one, other in combinations(sorted(names), 2):
                if not place_of(one) and (one, other) not in apart:
                    return one, other
        return None

    def by_places(self, a: Polynomial, function: Callable[[Polynomial], Polynomial]) -> Polynomial:
        """The function of a, place by place if a holds terms such as [j = 2]: the function of a sum of several."""
        if not (found := self.placed(a)):
            return function(a)
        index, length = found
        result: Polynomial = {}
        for place in range(length):
            name = self.place(place, length)
            case = self.by_places(self.rename(a, {index: name}), function)
            result = self.add(result, self.multiply(self.equal_indices(index, name), case))
        return result

    def by_coincidence(
        self, a: Polynomial, function: Callable[[Polynomial], Polynomial], apart: frozenset[Any] = frozenset()
    ) -> Polynomial:
        """``by_places`` for a function that asks whether a is 0: x[j] − x[k] is, where j = k."""

        def of(case: Polynomial) -> Polynomial:
            if not (found := self.coinciding(case, apart)):
                return function(case)
            one, other = found
            same = self.by_coincidence(self.rename(case, {one: other}), function, apart)
            different = self.by_coincidence(case, function, apart | {found})
            here = self.equal_indices(one, other)
            return self.add(different, self.multiply(here, self.add(same, different, -1)))

        return self.by_places(a, of)

    def indices(self, polynomial: Polynomial) -> frozenset[int]:
        return self._of_monomials(polynomial)[0]

    def held(self, polynomial: Polynomial) -> Polynomial:
        """The polynomial with derivative 0."""
        return single(self.atom("h", frozen(polynomial))) if polynomial else {}

    # Arithmetic

    def add(self, a: Polynomial, b: Polynomial, factor: Fraction | int = 1) -> Polynomial:
        result = dict(a)
        for monomial, coefficient in b.items():
            new = result.get(monomial, 0) + coefficient * factor
            if new:
                result[monomial] = new
            else:
                result.pop(monomial, None)
        return result

    def multiply(self, a: Polynomial, b: Polynomial) -> Polynomial:
        if len(a) * len(b) > TERMS * 4:
            raise TooComplex("the expressions become too large to be multiplied out")
        result: Polynomial = {}
        for left, c in a.items():
            for right, d in b.items():
                monomial, factor = self._product(left, right)
                new = result.get(monomial, 0) + c * d * factor
                if new:
                    result[monomial] = Fraction(new)
                else:
                    result.pop(monomial, None)
        if len(result) > TERMS:
            raise TooComplex("the expressions become too large to be multiplied out")
        return result

    def _product(self, a: Monomial, b: Monomial) -> tuple[Monomial, Fraction]:
        if not a or not b:
            return a or b, Fraction(1)
        self._products += 1
        if self._products > PRODUCTS:
            raise TooComplex("the expressions need too many products")
        powers = dict(a)
        for atom, power in b:
            powers[atom] = powers.get(atom, 0) + power
        return self._monomial(powers)

    def _monomial(self, powers: dict[int, Any]) -> tuple[Monomial, Fraction]:
        factor = Fraction(1)
        for atom in self.signs.intersection(powers):
            powers[atom] %= 2
        for atom in self.masks.intersection(powers):
            powers[atom] = min(powers[atom], 1)
        for atom in [atom for atom, power in powers.items() if self.atoms[atom][0] in "cd"]:
            kind, value = self.atoms[atom][0], self.atoms[atom][1]
            if kind == "c":  # √2·√2 = 2
                whole = math.floor(powers[atom])
                factor *= Fraction(value) ** whole
                powers[atom] -= whole
            else:
                powers[atom] = 1
                a, b = value if not place_of(value[1]) else reversed(value)
                others = {other: power for other, power in powers.items() if other != atom}
                if any(b in self.free[other] for other in others):
                    renamed: Polynomial = {((atom, 1),): factor}
                    for other, power in others.items():
                        renamed = self.multiply(renamed, self._raised(self.renamed_atom(other, {b: a}), power))
                    return next(iter(renamed.items()), ((), Fraction(0)))
        return tuple(sorted((atom, plain(power)) for atom, power in powers.items() if power)), factor

    def mapped(self, a: Polynomial, factor: Callable[[int, Any], Polynomial]) -> Polynomial:
        """The polynomial, each atom with its power replaced by what ``factor`` makes of them."""
        result: Polynomial = {}
        for monomial, coefficient in a.items():
            product: Polynomial = {(): coefficient}
            for atom, power in monomial:
                product = self.multiply(product, factor(atom, power))
            result = self.add(result, product)
        return result

    def of_sizes_alone(self, a: Polynomial) -> bool:
        """Whether it holds nothing but sizes."""
        return all(self.atoms[atom][0] == "n" for monomial in a for atom, _ in monomial)

    def scale(self, a: Polynomial, factor: Fraction | int) -> Polynomial:
        return {monomial: coefficient * factor for monomial, coefficient in a.items()} if factor else {}

    def constant(self, value: Fraction | int) -> Polynomial:
        return {(): Fraction(value)} if value else {}

    def _raised(self, a: Polynomial, power: Any) -> Polynomial:
        """a^power; of several terms only whole powers > 0."""
        if len(a) == 1:
            ((monomial, coefficient),) = a.items()
            if coefficient == 1 or power == int(power):
                factor = Fraction(1) if coefficient == 1 else Fraction(coefficient) ** int(power)
                if self.signs or self.masks:
                    monomial, one = self._monomial({atom: e * power for atom, e in monomial})
                    return {monomial: factor * one} if one else {}
                return {tuple((atom, plain(e * power)) for atom, e in monomial): factor}
            return self.power(a, power)
        if power == int(power) and power >= 0:
            result = ONE
            for _ in range(int(power)):
                result = self.multiply(result, a)
            return result
        return self.power(a, power)
