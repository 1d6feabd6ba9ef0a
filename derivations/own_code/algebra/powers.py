"""Quotients, roots and functions such as exp of polynomials."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from derivations.own_code.algebra.polynomials import (
    ONE,
    DividesByZero,
    Monomial,
    Polynomial,
    frozen,
    plain,
    prime_factors,
    single,
)
from derivations.own_code.algebra.rules import Rules
from derivations.own_code.algebra.sums import CANONICAL

# exp of this and of less is 0 in every type of floating-point numbers, which is what masks of −10⁹ are for. Data may be
# as large as some millions; what stands beside a mask must have coefficients of no more than this part of it.
VANISHING, _BESIDE = -(10**8), Fraction(1, 10**6)


class Powers(Rules):
    """Polynomials with quotients, roots and functions."""

    def note_vanishing(self, exponent: Polynomial) -> None:
        """exp of this was taken as 0."""

    @abstractmethod
    def signs_in(self, a: Polynomial) -> set[int]:
        """The signs that stand in it."""

    @abstractmethod
    def with_signs(self, a: Polynomial, values: Mapping[int, int]) -> Polynomial:
        """The polynomial where these signs are 1 or −1."""

    def power(self, a: Polynomial, power: Fraction | int) -> Polynomial:
        """a^power for whole and half powers.

        Raises:
            DividesByZero: a is 0, and the power negative.
        """
        power = plain(power)
        if not a:
            if power < 0:
                raise DividesByZero
            return {} if power else ONE
        if isinstance(power, int) and (power >= 0):
            return self._raised(a, power)
        return self.by_places(a, lambda case: self._power_of_one(case, power))

    def _power_of_one(self, a: Polynomial, power: Any) -> Polynomial:
        # A rule would make a difference of e^x, of which there is no root in one term.
        if len(a) != 1 or not all(self._is_exponential(atom) for atom, _ in next(iter(a))):
            a = self.reduce(a)
        if not a:
            raise DividesByZero
        outside, inside = self._content(a, whole=isinstance(power, int))
        if isinstance(power, int) and len(written_out := self.written_out(inside)) == 1:
            inside = written_out  # 1 − 1/(e + 1) is e/(e + 1)
        result = self._power_of_positive(outside, power)
        if inside == ONE:
            return result
        if len(inside) == 1 and not isinstance(power, int):
            drawn, inside = self._even_factors(inside, power)
            result = self.multiply(result, drawn)
            if inside == ONE:
                return result
        if len(inside) == 1 and (isinstance(power, int) or self._is_single(inside)):
            ((monomial, coefficient),) = inside.items()
            rest = self._raised({monomial: Fraction(1)}, power)
            if coefficient != 1:
                rest = self.scale(rest, coefficient ** int(power))
            return self.multiply(result, rest)
        return self.multiply(result, single(self._quotient(inside), power))

    def _even_factors(self, a: Polynomial, power: Any) -> tuple[Polynomial, Polynomial]:
        """√(x²·y) = |x|·√y: the even powers in one term, and the rest."""
        ((monomial, coefficient),) = a.items()
        even = [(atom, e) for atom, e in monomial if e % 2 == 0]
        result = ONE
        for atom, e in even:
            size = self.multiply(single(atom), self._sign(single(atom)))
            result = self.multiply(result, self._raised(size, plain(e * power)))
        return result, {tuple(pair for pair in monomial if pair not in even): coefficient}

    def _is_single(self, a: Polynomial) -> bool:
        """One atom to an odd power with coefficient 1: it is ≥ 0 wherever its root is real."""
        ((monomial, coefficient),) = a.items()
        return (
            coefficient == 1
            and len(monomial) == 1
            and (2 * monomial[0][1]) % 4 in (1, 2, 3)
            and (monomial[0][1] == int(monomial[0][1]) and monomial[0][1] % 2 == 1)
        )

    def _content(self, a: Polynomial, whole: bool) -> tuple[Polynomial, Polynomial]:
        """A factor > 0 (any, for a whole power) of one term, and the rest."""
        common: dict[int, Any] | None = None
        for monomial in a:
            powers = dict(monomial)
            common = (
                powers
                if common is None
                else {atom: min(power, powers[atom]) for atom, power in common.items() if atom in powers}
            )
        # Sizes, exponentials and sums of exponentials may stand in denominators of some terms only.
        sizes = {
            atom
            for monomial in a
            for atom, _ in monomial
            if self.atoms[atom][0] == "n" or self._is_exponential(atom) or (whole and self._is_of_exponentials(atom))
        }
        for atom in sizes:
            assert common is not None
            common[atom] = min(dict(monomial).get(atom, 0) for monomial in a)
        assert common is not None
        chosen = {atom: power for atom, power in common.items() if power and (whole or self._atom_is_positive(atom))}
        denominators = math.lcm(*(c.denominator for c in a.values()))
        scale = Fraction(math.gcd(*(int(c * denominators) for c in a.values())), denominators)
        if whole and self._leads_negative(a):
            scale = -scale
        inverse = {atom: -power for atom, power in chosen.items()}
        inside: Polynomial = {}
        for monomial, coefficient in a.items():
            rest, factor = self._product(monomial, tuple(sorted(inverse.items())))
            inside[rest] = coefficient * factor / scale
        return {tuple(sorted((atom, plain(power)) for atom, power in chosen.items())): scale}, inside

    def _is_of_exponentials(self, atom: int) -> bool:
        """Whether it is the divisor of a sigmoid, such as e^z + 1."""
        parts = self.atoms[atom]
        return parts[0] == "q" and all(self._is_exponential(a) for monomial, _ in parts[1] for a, _ in monomial)

    def written_out(self, a: Polynomial) -> Polynomial:
        """The same with what divisors of sigmoids are, where they do not divide."""

        def of_atom(atom: int, power: Any) -> Polynomial:
            if power > 0 and self._is_of_exponentials(atom):
                return self._raised(dict(self.atoms[atom][1]), power)
            return single(atom, power)

        return self.mapped(a, of_atom)

    def _atom_is_positive(self, atom: int) -> bool:
        return atom in self.positive or atom in self.nonnegative

    def _leads_negative(self, a: Polynomial) -> bool:
        names = sorted(self.indices(a))
        canonical = self.rename(a, {name: CANONICAL + n for n, name in enumerate(names)})
        return canonical[min(canonical)] < 0

    def _power_of_positive(self, a: Polynomial, power: Any) -> Polynomial:
        ((monomial, coefficient),) = a.items()
        result = {tuple((atom, plain(e * power)) for atom, e in monomial): Fraction(1)}
        if isinstance(power, int):
            return self.scale(result, coefficient**power)
        for prime, exponent in prime_factors(coefficient).items():
            total = exponent * power
            whole = math.floor(total)
            result = self.scale(result, Fraction(prime) ** whole)
            if total != whole:
                root = single(self.atom("c", prime), total - whole)
                result = self.multiply(result, root)
        return result

    def _quotient(self, inside: Polynomial) -> int:
        atom = self.atom("q", frozen(inside))
        if all(c > 0 and all(factor in self.positive for factor, _ in monomial) for monomial, c in inside.items()):
            self.positive.add(atom)
        self._add_rule(atom, inside)
        return atom

    def _logarithm(self, a: Polynomial) -> Polynomial:
        """log a; exponentials that stand in all terms, and the positive factors of one term, are drawn out."""
        outside, inside = self._content(a, whole=True)
        if len(inside) > 1 and len(written_out := self.written_out(inside)) == 1:
            a = self.multiply(outside, written_out)  # 1 − 1/(e + 1) is e/(e + 1)
        drawn: dict[int, Any] = {}
        for atom in {atom for monomial in a for atom, _ in monomial}:
            powers = [dict(monomial).get(atom, 0) for monomial in a]
            if self._is_exponential(atom) or (len(a) == 1 and atom in self.positive):
                drawn[atom] = min(powers)
        result: Polynomial = {}
        for atom, power in sorted(drawn.items()):
            if power:
                a = self.multiply(a, single(atom, plain(-power)))
                if self._is_exponential(atom):
                    inner = dict(self.atoms[atom][2])
                elif self._is_of_exponentials(atom):
                    inner = self._logarithm(dict(self.atoms[atom][1]))
                else:
                    inner = single(self.atom("f", "log", frozen(single(atom))))
                result = self.add(result, self.scale(inner, power))
        return result if a == ONE else self.add(result, single(self.atom("f", "log", frozen(a))))

    def _sign(self, a: Polynomial) -> Polynomial:
        """1 or −1, where a is not 0; of a product the product of the signs."""
        _, a = self._content(a, whole=False)
        if self._leads_negative(a):
            return self.scale(self._sign(self.scale(a, -1)), -1)
        if all(c > 0 and all(self._is_nonnegative(*pair) for pair in monomial) for monomial, c in a.items()):
            return ONE
        if len(a) > 1:
            exponent = self._over_one(a)
            return self._sign(exponent) if exponent else single(self.atom("f", "sign", frozen(a)))
        result = ONE
        for atom, power in next(iter(a)):
            parts = self.atoms[atom]
            if self._is_nonnegative(atom, power):
                continue
            if parts[0] == "q":
                factor = self._sign(dict(parts[1]))
            else:
                factor = single(atom if atom in self.signs else self.atom("f", "sign", frozen(single(atom))))
            result = self.multiply(result, factor)
        return result

    def _of_logarithm(self, monomial: Monomial) -> Polynomial:
        """x of log x."""
        if len(monomial) != 1 or monomial[0][1] != 1 or self.atoms[monomial[0][0]][:2] != ("f", "log"):
            return {}
        return dict(self.atoms[monomial[0][0]][2])

    def _is_nonnegative(self, atom: int, power: Any) -> bool:
        return power % 2 != 1 or self._atom_is_positive(atom)

    def is_never_zero(self, a: Polynomial) -> bool:
        """Whether one term of a, all of whose terms have the same sign, is known not to be 0."""
        return any(all(atom in self.positive for atom, _ in monomial) for monomial in a)

    def _over_one(self, a: Polynomial) -> Polynomial:
        """x of e^x − 1, which has its sign."""
        exponent: Polynomial = {}
        if len(a) == 2 and () in a and sum(a.values()) == 0:
            (monomial,) = set(a) - {()}
            for atom, power in monomial:
                if not self._is_exponential(atom):
                    return {}
                exponent = self.add(exponent, dict(self.atoms[atom][2]), power * a[monomial])
        return exponent

    def function(self, name: str, a: Polynomial) -> Polynomial:
        """exp, log, tanh, sin, cos, erf or sign."""
        return self.by_places(a, lambda case: self._function_of_one(name, case))

    def _by_sign(self, sign: int, exponent: Polynomial) -> Polynomial:
        """exp of an exponent for both values of a sign in it."""
        result: Polynomial = {}
        for value in (1, -1):
            here = self.function("exp", self.with_signs(exponent, {sign: value}))
            weight = {(): Fraction(1, 2), ((sign, 1),): Fraction(value, 2)}
            result = self.add(result, self.multiply(weight, here))
        return result

    def _function_of_one(self, name: str, a: Polynomial) -> Polynomial:
        a = self.reduce(a)
        if name == "sign":
            return self._sign(a)
        if name == "exp":
            result = ONE
            if (constant := a.get((), 0)) <= VANISHING:
                if signs := self.signs_in(a):  # there may be another number in the place of the constant
                    return self._by_sign(min(signs), a)
                if all(abs(c) <= -constant * _BESIDE for monomial, c in a.items() if monomial):
                    self.note_vanishing(a)
                    return {}
            for monomial, coefficient in a.items():
                if (inside := self._of_logarithm(monomial)) and (2 * coefficient).denominator == 1:
                    result = self.multiply(result, self.power(inside, coefficient))
                    continue
                atom = self.atom("f", "exp", ((monomial, Fraction(1)),))
                self.positive.add(atom)
                result = self.multiply(result, {((atom, plain(coefficient)),): Fraction(1)})
            return result
        if name == "log":
            return self._logarithm(a)
        if name in ("tanh", "sin", "erf") and a and self._leads_negative(a):
            return self.scale(self.function(name, self.scale(a, -1)), -1)
        if name == "cos" and a and self._leads_negative(a):
            return self.function(name, self.scale(a, -1))
        if name in ("sin", "cos") and a and all((c / 2).denominator == 1 for c in a.values()):
            sine, cosine = (self.function(one, self.scale(a, Fraction(1, 2))) for one in ("sin", "cos"))
            if name == "sin":
                return self.scale(self.multiply(sine, cosine), 2)
            return self.add(self.scale(self._raised(cosine, 2), 2), ONE, -1)
        atom = self.atom("f", name, frozen(a))
        if name == "sin":
            rest = self.add(ONE, self._raised(self.function("cos", a), 2), -1)
            self._rule_for(atom, 2, rest)
        return single(atom)
