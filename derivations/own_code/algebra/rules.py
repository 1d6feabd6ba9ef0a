"""What is divided by is recognized again: the rules q = P, and the polynomials reduced by them."""

import math
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any

from derivations.own_code.algebra.places import Places
from derivations.own_code.algebra.polynomials import Monomial, Polynomial, TooComplex, frozen, place_of, plain, single


class Rules(Places, ABC):
    """Polynomials with a normal form."""

    @abstractmethod
    def function(self, name: str, a: Polynomial) -> Polynomial:
        """exp, log, tanh, sin, cos, erf or sign."""

    @abstractmethod
    def power(self, a: Polynomial, power: Any) -> Polynomial:
        """a to a power."""

    def _add_rule(self, quotient: int, inside: Polynomial) -> None:
        """q = P, solved for one term of P."""
        free = self.free[quotient]
        candidates = []
        for monomial in inside:
            factors = [(a, p) for a, p in monomial if self.atoms[a][0] != "n"]
            # What else stands in the term is divided by, too: sizes and exponentials are never 0.
            if len(factors) > 1 and not all(self._is_exponential(a) for a, _ in factors):
                continue
            for atom, power in factors:
                if power <= 0 or self.free[atom] != free or self.atoms[atom][0] not in "Sef":
                    continue
                if self.atoms[atom][0] == "e" and not free:
                    continue
                elsewhere = [m for m in inside if m != monomial and self._occurs(atom, m)]
                # Choices by values leave e^(x/2)·e^(s·x/2), where s is the sign that decides.
                if elsewhere or (power != int(power) and not self._is_exponential(atom)):
                    continue
                rank = (len(factors), self.atoms[atom][0] != "S", power != 1, -len(str(self.atoms[atom])))
                candidates.append((rank, atom, power, monomial))
        if not candidates:
            return
        _, atom, power, monomial = min(candidates)
        rest = self.add(single(quotient), inside, -1)
        rest = self.add(rest, {monomial: inside[monomial]})
        factor = {tuple((a, -p) for a, p in monomial if a != atom): 1 / inside[monomial]}
        self._rule_for(atom, power, self.multiply(rest, factor))

    def _is_exponential(self, atom: int) -> bool:
        return self.atoms[atom][:2] == ("f", "exp")

    def _occurs(self, atom: int, monomial: Monomial) -> bool:
        return any(a == atom for a, _ in monomial)

    def _rule_for(self, atom: int, power: Any, value: Polynomial) -> None:
        canonical, back = self._canonical(atom)
        if canonical not in self._rules:
            self._rules[canonical] = power, self.rename(value, {old: new for new, old in back.items()})
            self._reduced.clear()

    def _rule(self, atom: int) -> tuple[Any, Polynomial] | None:
        if not self._rules:
            return None
        canonical, back = self._canonical(atom)
        if canonical not in self._rules:
            return None
        power, value = self._rules[canonical]
        return power, self.rename(value, back)

    def reduce(self, a: Polynomial) -> Polynomial:
        """The normal form: the rules applied wherever they can be."""
        for _ in range(12):
            result = self._in_partial_fractions(self.mapped(a, self._reduced_power))
            if result == a:
                return a
            a = result
        raise TooComplex("what is divided by is defined in a circle")

    def _in_partial_fractions(self, a: Polynomial) -> Polynomial:
        """The same without products of 1/e and powers of q, where q = e + 1 or the like: 1/(e·q) is 1/e − 1/q."""
        result: Polynomial = {}
        for monomial, coefficient in a.items():
            result = self.add(result, self._split_in_fractions(monomial), coefficient)
        return result

    def _split_in_fractions(self, monomial: Monomial) -> Polynomial:
        for atom, power in monomial:
            if not self._is_exponential(atom) or not (rule := self._rule(atom)) or power > -rule[0]:
                continue
            for other, exponent in monomial:
                if self.atoms[other][0] != "q" or -1 < exponent < 1:
                    continue
                # e, or its root, is s·q + r, so that 1 is (e − s·q)/r, and (e − r)/(s·q).
                product = {m: c for m, c in rule[1].items() if (other, 1) in m}
                rest = {m: c for m, c in rule[1].items() if m not in product}
                if not len(product) == len(rest) == 1:
                    continue
                less, divisor = (product, rest) if exponent < 0 else (rest, product)
                one = self.multiply(self.add(single(atom, rule[0]), less, -1), self._raised(divisor, -1))
                return self._in_partial_fractions(self.multiply({monomial: Fraction(1)}, one))
        return {monomial: Fraction(1)}

    def _reduced_power(self, atom: int, power: Any) -> Polynomial:
        if self.atoms[atom][0] in "ncdh":
            return single(atom, power)
        if power > 0 and (rule := self._rule(atom)):
            step, value = rule
            times = math.floor(power / step)
            rest = plain(power - times * step)
            result = self._raised(value, times)
            return self.multiply(result, single(atom, rest)) if rest else result
        if self.atoms[atom][0] == "e":
            return single(atom, power)
        inner = self._reduced_atom(atom)
        if inner == single(atom):
            return single(atom, power)
        return self._raised(inner, power)

    def _reduced_atom(self, atom: int) -> Polynomial:
        if atom not in self._reduced:
            self._reduced[atom] = single(atom)  # for what refers to itself
            self._reduced[atom] = self._solved(atom, self._reduce_atom(atom))
        return self._reduced[atom]

    def _solved(self, atom: int, value: Polynomial) -> Polynomial:
        """S = A + B·S solved for S, where 1 − B is positive for all sizes; so it is for Σx where x + Σx divides."""
        factor: Polynomial = {}
        rest: Polynomial = {}
        for monomial, coefficient in value.items():
            if (atom, 1) in monomial:
                factor[tuple(pair for pair in monomial if pair[0] != atom)] = coefficient
            else:
                rest[monomial] = coefficient
        if not factor or any(self._occurs(atom, monomial) for monomial in rest):
            return value
        divisor = self.add({(): Fraction(1)}, factor, -1)
        if (
            not rest
            or not self.of_sizes_alone(divisor)
            or not divisor
            or any(coefficient < 0 for coefficient in divisor.values())
        ):
            return value
        return self.multiply(rest, self.power(divisor, -1))

    def _reduce_atom(self, atom: int) -> Polynomial:
        parts = self.atoms[atom]
        itself = single(atom)
        if parts[0] == "S":
            inner, bound = self._summand(atom)
            ((monomial, _),) = inner.items()
            if len(bound) > 1:
                for index, size in bound:
                    own = [pair for pair in monomial if index in self.free[pair[0]]]
                    if any(self.atoms[a][0] == "d" for a, _ in own):
                        continue
                    (((moment, _),),) = self._sum(own, index, size).keys()
                    if rule := self._rule(moment):
                        if rule[0] != 1:
                            continue
                        rest = {tuple(pair for pair in monomial if index not in self.free[pair[0]]): Fraction(1)}
                        others = [(other, n) for other, n in bound if other != index]
                        return self._resummed(self.multiply(rest, rule[1]), others)
            reduced = self.reduce(inner)
            return itself if reduced == inner else self._resummed(reduced, bound)
        if parts[0] == "q":
            inside = dict(parts[1])
            reduced = self.reduce(inside)
            if self._holds_places(inside) and reduced != itself:
                return reduced  # at a place it may be less than at an index
            return itself if reduced in (inside, itself) else self._as_quotient(reduced)
        if parts[0] == "f":
            reduced = self.reduce(dict(parts[2]))
            same = reduced == dict(parts[2]) and not self._holds_places(reduced)
            return itself if same else self.function(parts[1], reduced)
        return itself

    def _holds_places(self, a: Polynomial) -> bool:
        """Whether there is an element at a place, such as x[i, 2], outside of sums."""
        return any(
            isinstance(index, tuple) or place_of(index)
            for _, indices in self.elements_in(a, through="qfh")
            for index in indices
        )

    def _as_quotient(self, reduced: Polynomial) -> Polynomial:
        if len(reduced) == 1 and reduced[next(iter(reduced))] == 1:
            return reduced
        return single(self.atom("q", frozen(reduced)))
