"""The algebra of the first proof for code: derivatives and gradients of polynomials, and whether a polynomial is 0."""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import combinations, product
from typing import Any

from derivations.own_code.algebra.polynomials import (
    ONE,
    Polynomial,
    TooComplex,
    matched,
    place_of,
    plain,
    single,
)
from derivations.own_code.algebra.powers import Powers

SIGNS = 8  # in one expression, each of which doubles the cases
LABEL = "\0?"  # how the name of an element begins whose sign says whether a label is a number


class Algebra(Powers):
    """The atoms and rules of one proof."""

    # Derivatives

    def derivative(self, a: Polynomial, wrt: str, direction: str) -> Polynomial:
        """d/dt of a, where the input ``wrt`` becomes wrt + t·direction."""
        known: dict[int, Polynomial] = {}

        def of_atom(atom: int) -> Polynomial:
            if atom not in known:
                known[atom] = derive(atom)
            return known[atom]

        def of(polynomial: Polynomial) -> Polynomial:
            result: Polynomial = {}
            for monomial, coefficient in polynomial.items():
                for atom, power in monomial:
                    inner = of_atom(atom)
                    if inner:
                        rest, factor = self._product(monomial, ((atom, -1),))
                        result = self.add(result, self.multiply({rest: coefficient * power * factor}, inner))
            return result

        def derive(atom: int) -> Polynomial:
            parts = self.atoms[atom]
            match parts[0]:
                case "e":
                    return self.element(direction, parts[2]) if parts[1] == wrt else {}
                case "S":
                    inner, bound = self._summand(atom)
                    return self._resummed(of(inner), bound)
                case "q":
                    return of(dict(parts[1]))
                case "f":
                    slope = of(dict(parts[2]))
                    return self.multiply(slope, self._slope(atom)) if slope else {}
            return {}

        return of(a)

    def _slope(self, atom: int) -> Polynomial:
        name, argument = self.atoms[atom][1], dict(self.atoms[atom][2])
        itself = single(atom)
        match name:
            case "exp":
                return itself
            case "log":
                return self.power(argument, -1)
            case "tanh":
                return self.add(ONE, self._raised(itself, 2), -1)
            case "sin":
                return self.function("cos", argument)
            case "erf":  # 2/√π·exp(−x²)
                bell = self.function("exp", self.scale(self.power(argument, 2), -1))
                return self.multiply(self.scale(self.power_of_pi(Fraction(-1, 2)), 2), bell)
            case "sign":
                return {}
        return self.scale(self.function("sin", argument), -1)

    def gradient(
        self,
        derivative: Polynomial,
        weight: Polynomial,
        free: list[tuple[int, Polynomial]],
        direction: str,
        target: tuple[Any, ...],
    ) -> Polynomial:
        """∂/∂x at the indices ``target`` of Σ weight·y over the free indices, from the derivative of y in a direction.

        What stands at the place of the direction is set to the target; what is left is summed. So nothing is summed
        that would have to be taken apart again.
        """
        fresh = {name: next(self._fresh) for name, _ in free}
        outer = [(fresh[name], size) for name, size in free]
        weight = self.rename(weight, fresh)
        for index, size in outer:
            weight = self.multiply(weight, self.within(index, size))
        result: Polynomial = {}
        for monomial, coefficient in self.rename(derivative, fresh).items():
            (atom,) = [atom for atom, _ in monomial if self._holds(atom, direction)]
            product: Polynomial = {tuple(pair for pair in monomial if pair[0] != atom): coefficient}
            one, bound = atom, outer
            if self.atoms[atom][0] == "S":
                inner, inside_bound = self._summand(atom)
                ((inside, _),) = inner.items()
                ((one, _),) = [pair for pair in inside if self.atoms[pair[0]][:2] == ("e", direction)]
                product = self.multiply(product, {tuple(pair for pair in inside if pair[0] != one): Fraction(1)})
                bound = [*inside_bound, *outer]
            names: dict[int, Any] = {}
            for place, index in matched(self.atoms[one][2], target):
                if place_of(place):
                    product = self.multiply(product, self.equal_indices(place, index))
                elif place not in names:
                    names[place] = index
                elif isinstance(index, int) and isinstance(names[place], int):
                    product = self.multiply(product, self.equal_indices(names[place], index))
                else:
                    raise TooComplex("a diagonal of axes that are split")
            value = self.rename(self.multiply(product, weight), names)
            result = self.add(result, self._resummed(value, [pair for pair in bound if pair[0] not in names]))
        return result

    def places_of(self, a: Polynomial, name: str) -> list[tuple[Any, ...]]:
        """The places at which elements of this name stand."""
        return [indices for element, indices in self.elements_in(a, through="S") if element == name]

    def _holds(self, atom: int, name: str) -> bool:
        parts = self.atoms[atom]
        return parts[:2] == ("e", name) or (parts[0] == "S" and any(self._holds(inner, name) for inner, _ in parts[2]))

    def substituted(self, a: Polynomial, replace: Callable[[int], Polynomial | None]) -> Polynomial:
        """The polynomial, each atom replaced for which ``replace`` gives something, wherever it stands."""

        def power_of(atom: int, power: Any) -> Polynomial:
            value = replace(atom)
            value = self._substituted_within(atom, replace) if value is None else value
            return single(atom, power) if value == single(atom) else self.power(value, power)

        return self.mapped(a, power_of)

    def _substituted_within(self, atom: int, replace: Callable[[int], Polynomial | None]) -> Polynomial:
        parts = self.atoms[atom]
        if parts[0] == "S":
            inner, bound = self._summand(atom)
            value = self.substituted(inner, replace)
            return single(atom) if value == inner else self._resummed(value, bound)
        if parts[0] not in "qf":
            return single(atom)
        inside = dict(parts[-1])
        value = self.substituted(inside, replace)
        if value == inside:
            return single(atom)
        return value if parts[0] == "q" else self.function(parts[1], value)

    def released(self, a: Polynomial) -> Polynomial:
        """The polynomial, its held values replaced by what they are."""
        return self.substituted(
            a, lambda atom: self.released(dict(self.atoms[atom][1])) if self.atoms[atom][0] == "h" else None
        )

    def _with_exponentials(self, a: Polynomial) -> Polynomial:
        """The polynomial, each tanh x written as 1 − 2/(e^(2x) + 1)."""

        def replace(atom: int) -> Polynomial | None:
            if self.atoms[atom][:2] != ("f", "tanh"):
                return None
            doubled = self.scale(self._with_exponentials(dict(self.atoms[atom][2])), 2)
            return self.add(ONE, self.power(self.add(self.function("exp", doubled), ONE), -1), -2)

        return self.substituted(a, replace)

    # The decision

    def vanishes(self, a: Polynomial) -> bool:
        """Whether a is proved to be 0 wherever it is defined."""
        a = self.reduce(a)
        if found := self.placed(a):
            index, length = found
            return all(self.vanishes(self.rename(a, {index: self.place(n, length)})) for n in range(length))
        if not a or not (rest := self._over_common_denominator(a)) or self._vanishes_by_cases(rest):
            return True
        exponential = self._with_exponentials(a)
        return exponential != a and self.vanishes(exponential)

    def _vanishes_by_cases(self, a: Polynomial) -> bool:
        """Whether it is 0 for all signs that what is compared can have together."""
        signs = sorted(self.signs_in(a))
        if not 0 < len(signs) <= SIGNS:
            return False
        compared = [dict(self.atoms[sign][2]) for sign in signs]
        for values in product((1, -1), repeat=len(signs)):
            positive = [self.scale(p, value) for p, value in zip(compared, values, strict=True)]
            if any(self._exclude(one, other) for one, other in combinations(positive, 2)):
                continue
            labels = [self._of_label(sign) for sign, value in zip(signs, values, strict=True) if value > 0]
            if any(one and one == other for one, other in combinations(labels, 2)):
                continue  # it would be two numbers at once
            case = self.reduce(self.with_signs(a, dict(zip(signs, values, strict=True))))
            if self._over_common_denominator(case):
                return False
        return True

    def _of_label(self, sign: int) -> Any:
        """What a sign says to be a number, without the number; None if it says something else."""
        for monomial, _ in self.atoms[sign][2]:
            for atom, _ in monomial:
                parts = self.atoms[atom]
                if parts[0] == "e" and parts[1].startswith(LABEL):
                    return parts[1].rpartition(" = ")[0], parts[2]
        return None

    def _exclude(self, one: Polynomial, other: Polynomial) -> bool:
        """Whether two numbers cannot both be > 0: one plus a multiple of the other is a constant ≤ 0."""
        common = next((monomial for monomial in one if monomial and monomial in other), None)
        if common is None or one[common] * other[common] >= 0:
            return False
        total = self.add(one, other, -one[common] / other[common])
        return set(total) <= {()} and total.get((), 0) <= 0

    def signs_in(self, a: Polynomial) -> set[int]:
        """The signs that stand in it, also within quotients and functions; not those of summed indices."""
        found: set[int] = set()
        for atom in {atom for monomial in a for atom, _ in monomial}:
            if atom in self.signs:
                found.add(atom)
            elif self.atoms[atom][0] in "qf":
                found |= self.signs_in(dict(self.atoms[atom][-1]))
        return found

    def with_signs(self, a: Polynomial, values: Mapping[int, int]) -> Polynomial:
        """The polynomial where these signs are 1 or −1."""
        return self.substituted(a, lambda atom: {(): Fraction(values[atom])} if atom in values else None)

    def _over_common_denominator(self, a: Polynomial) -> Polynomial:
        """A numerator of a: each q outside of sums multiplied out."""
        for _ in range(12):
            lowest: dict[int, Any] = {}
            for monomial in a:
                for atom, power in monomial:
                    if self.atoms[atom][0] == "q":
                        lowest[atom] = min(lowest.get(atom, 0), power)
            whole = {atom: math.floor(power) for atom, power in lowest.items()}
            expanded: Polynomial = {}
            changed = False
            for monomial, coefficient in a.items():
                product: Polynomial = {tuple(p for p in monomial if p[0] not in whole): coefficient}
                powers = dict(monomial)
                for atom, low in whole.items():
                    power = powers.get(atom, 0) - low
                    times = math.floor(power)
                    rest = plain(power - times)
                    changed = changed or times > 0 or low < 0
                    product = self.multiply(product, self._raised(dict(self.atoms[atom][1]), times))
                    if rest:
                        product = self.multiply(product, single(atom, rest))
                expanded = self.add(expanded, product)
            if not changed or not expanded:
                return expanded
            a = expanded
        return a

    # Text

    def text(self, a: Polynomial, index_name: Callable[[int], str]) -> str:
        """The polynomial in Unicode."""
        terms = []
        for monomial, coefficient in sorted(a.items(), key=lambda term: (not term[0], term[1] < 0)):
            factors = [self._factor_text(atom, power, index_name) for atom, power in monomial]
            size = abs(coefficient)
            body = "·".join(([str(size)] if size != 1 or not factors else []) + factors)
            terms.append((" − " if coefficient < 0 else " + ") + body)
        joined = "".join(terms) or " + 0"
        return ("−" if joined.startswith(" − ") else "") + joined[3:]

    def _factor_text(self, atom: int, power: Any, name: Callable[[int], str]) -> str:
        parts = self.atoms[atom]
        match parts[0]:
            case "n" | "c":
                base = str(parts[1]).strip()
            case "e" if parts[1].startswith(LABEL):
                base = f"(2·[{parts[1].removeprefix(LABEL)}] − 1)"
            case "e":
                base = parts[1].rstrip("\0") + (f"[{', '.join(_named(parts[2], name))}]" if parts[2] else "")
            case "d":
                base = f"[{' = '.join(_named(parts[1], name))}]"
            case "S":
                letters = ", ".join(map(name, parts[3]))
                base = f"(Σ_{letters} {self.text({parts[2]: Fraction(1)}, name)})"
            case "f":
                base = f"{parts[1]}({self.text(dict(parts[2]), name)})"
            case _:
                base = f"({self.text(dict(parts[1]), name)})"
        return base if power == 1 else f"{base}^{power}" if power == int(power) and power > 0 else f"{base}^({power})"


def _named(indices: tuple[Any, ...], name: Callable[[int], str]) -> list[str]:
    """The names of indices and the numbers of places, of which an axis that was split has several."""
    found: list[str] = []
    for index in indices:
        if isinstance(index, tuple):
            found += _named(index[:2], name)
        elif isinstance(index, str):  # which of the axes that this index counts through
            found[-1] += f".{index}"
        else:
            found.append(str(known[0]) if (known := place_of(index)) else name(index))
    return found
