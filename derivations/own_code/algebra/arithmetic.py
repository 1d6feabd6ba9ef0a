"""Sums and products of polynomials."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from derivations.own_code.algebra.atoms import Atoms
from derivations.own_code.algebra.polynomials import (
    ONE,
    Monomial,
    Polynomial,
    Renaming,
    TooComplex,
    frozen,
    matched,
    place_of,
    plain,
    single,
)

TERMS = 30_000  # of a polynomial; what is written by hand has some hundred
PRODUCTS = 300_000  # of monomials in one proof, about a minute; an LSTM cell needs 11 000


class Arithmetic(Atoms, ABC):
    """The ring of the polynomials of one proof."""

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

    # Sizes

    def power_of_pi(self, power: Fraction | int) -> Polynomial:
        """π to a power; as a size it is a number ≥ 1, whose name no size of the user's can have."""
        return self.power(self.size(" π"), power)

    def quotient(self, size: Polynomial, divisor: int) -> Polynomial:
        """⌊size / divisor⌋."""
        atom = self.atom("n", f" ⌊{self.text(size, str)}/{divisor}⌋")
        self.nonnegative.add(atom)
        self.quotients[atom] = frozen(size), divisor
        return single(atom)

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

    def within(self, index: Any, size: Polynomial) -> Polynomial:
        """1 where an index of a whole axis is in the part of this length; 1 for all of a length that is of no part."""
        if frozen(size) not in self.cuts:
            return ONE
        name, _, is_first = self.cuts[frozen(size)]
        here = self.element(name, (index,))
        return here if is_first else self.add(ONE, here, -1)
