"""What holds terms such as [j = 2], looked at place by place; and x[j] beside x[k], which are one where j = k."""

from abc import ABC
from collections.abc import Callable
from itertools import combinations
from typing import Any

from derivations.own_code.algebra.polynomials import ONE, Polynomial, place_of, single
from derivations.own_code.algebra.sums import Sums


class Places(Sums, ABC):
    """Polynomials with places."""

    def placed(self, a: Polynomial) -> tuple[int, int] | None:
        """An index that is compared with a place, as in [j = 2], and the length of its axis."""
        for monomial in a:
            for atom, _ in monomial:
                if self.atoms[atom][0] == "d" and (known := place_of(self.atoms[atom][1][1])):
                    return self.atoms[atom][1][0], known[1]
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

    def coinciding(self, a: Polynomial, apart: frozenset[Any]) -> tuple[int, int] | None:
        """Two names, of an index and another or a place, such that x[j] stands beside x[k]: for j = k they are one.

        apart: pairs for which that has been looked at.
        """
        seen: dict[tuple[Any, ...], dict[int, None]] = {}

        def note(where: tuple[Any, ...], index: Any) -> None:
            if isinstance(index, tuple):
                for n, part in enumerate(index[:2]):
                    note((*where, n, *index[1:]) if isinstance(index[1], str) else (*where, n, index[2]), part)
            elif isinstance(index, int):
                seen.setdefault(where, {})[index] = None

        for element, indices in self.elements_in(a, through="qfh"):
            for position, index in enumerate(indices):
                note((element, position), index)
        for names in seen.values():
            for one, other in combinations(sorted(names), 2):
                if not place_of(one) and (one, other) not in apart:
                    return one, other
        return None

    def _equality_in(self, a: Polynomial) -> int | None:
        return next((atom for monomial in a for atom, _ in monomial if self.atoms[atom][0] == "d"), None)

    def _with(self, a: Polynomial, atom: int, value: Polynomial) -> Polynomial:
        """The polynomial with a value for one atom."""
        return self.mapped(a, lambda other, power: value if other == atom else single(other, power))

    def by_coincidence(
        self, a: Polynomial, function: Callable[[Polynomial], Polynomial], apart: frozenset[Any] = frozenset()
    ) -> Polynomial:
        """``by_places`` for a function that asks whether a is 0: x[j] − x[k] is, where j = k."""

        def of(case: Polynomial) -> Polynomial:
            if (atom := self._equality_in(case)) is not None:  # [j = k], which is 1 or 0
                here, elsewhere = (self._with(case, atom, value) for value in (ONE, {}))
                one, other = self.atoms[atom][1]
                same = self.by_coincidence(self.rename(here, {one: other}), function, apart)
                different = self.by_coincidence(elsewhere, function, apart | {(one, other)})
                return self.add(different, self.multiply(self.equal_indices(one, other), self.add(same, different, -1)))
            if not (found := self.coinciding(case, apart)):
                return function(case)
            one, other = found
            same = self.by_coincidence(self.rename(case, {one: other}), function, apart)
            different = self.by_coincidence(case, function, apart | {found})
            here = self.equal_indices(one, other)
            return self.add(different, self.multiply(here, self.add(same, different, -1)))

        return self.by_places(a, of)
