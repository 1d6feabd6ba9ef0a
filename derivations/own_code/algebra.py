"""The first proof for code: polynomials in elements and in sums over axes of unknown size, with a normal form.

A polynomial maps monomials to rational coefficients; a monomial is a product of *atoms*, each to a rational power:

- ``n``: a size, such as N; ``e``: an element of an input, such as x at two indices; ``d``: [i = j];
- ``S``: a sum over bound indices of a monomial that they connect; factors without them are drawn out;
- ``q``: a polynomial of several terms that is divided by, or has a root taken; ``f``: a function of one, such as exp;
- ``c``: a prime number, for its root; ``h``: a polynomial whose derivative is held at 0.

What is divided by must be recognized again where it stands multiplied out: each ``q`` = P comes with the rule that
replaces one term of P, of degree 1 if there is one, by q and the others. So Σx² is written by the root that it stands
under, and everything is a polynomial in powers of that. Sums are flattened, and bound indices named by the smallest of
all orders, so that equal sums are one atom.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from itertools import chain, count, permutations, product
from typing import Any

Monomial = tuple[tuple[int, Any], ...]
Polynomial = dict[Monomial, Fraction]
Renaming = Mapping[int, Any]  # to a name, or to the place of an axis that is split

TERMS = 30_000  # of a polynomial; what is written by hand has some hundred
BOUND = 12  # indices of one sum
ORDERS = 720  # of indices that nothing tells apart, tried for the smallest
_MARK = 10**8  # stands for the index that is looked at
_TEMPORARY = 10**6  # names of indices that are bound next
_CANONICAL = 10**5  # names of the free indices in a rule

ONE: Polynomial = {(): Fraction(1)}


class TooComplex(ValueError):
    """The normal form would grow beyond its limits, or does not cover the expression; nothing is claimed."""


class DividesByZero(ArithmeticError):
    """What is divided by is identically 0."""


class Algebra:
    """The atoms and rules of one proof."""

    def __init__(self) -> None:
        self.atoms: list[tuple[Any, ...]] = []
        self.free: list[frozenset[int]] = []  # the indices on which each atom depends
        self.depth: list[int] = []  # how many names of bound indices stand inside
        self._known: dict[tuple[Any, ...], int] = {}
        self._renamed: dict[tuple[int, tuple[tuple[int, int], ...]], Polynomial] = {}
        self._rules: dict[int, tuple[Any, Polynomial]] = {}  # canonical atom -> power, what replaces it
        self._reduced: dict[int, Polynomial] = {}
        self._fresh = count(_TEMPORARY)
        self.positive: set[int] = set()  # atoms known to be > 0
        self.nonnegative: set[int] = set()
        self.functions = False  # whether exp, log, … occur

    # Atoms

    def atom(self, *parts: Any) -> int:
        if parts not in self._known:
            self._known[parts] = len(self.atoms)
            self.atoms.append(parts)
            free, depth = self._indices_of(parts)
            self.free.append(free)
            self.depth.append(depth)
        return self._known[parts]

    def _indices_of(self, parts: tuple[Any, ...]) -> tuple[frozenset[int], int]:
        match parts:
            case ("e", _, indices) | ("d", indices):
                return frozenset(_flat(indices)), 0
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
        return _single(atom)

    def element(self, name: str, indices: tuple[Any, ...]) -> Polynomial:
        return _single(self.atom("e", name, indices))

    def equal_indices(self, a: int, b: int) -> Polynomial:
        """[a = b]."""
        return ONE if a == b else _single(self.atom("d", (min(a, b), max(a, b))))

    def indices(self, polynomial: Polynomial) -> frozenset[int]:
        return self._of_monomials(polynomial)[0]

    def held(self, polynomial: Polynomial) -> Polynomial:
        """The polynomial with derivative 0."""
        return _single(self.atom("h", _frozen(polynomial))) if polynomial else {}

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
        powers = dict(a)
        for atom, power in b:
            powers[atom] = powers.get(atom, 0) + power
        return self._monomial(powers)

    def _monomial(self, powers: dict[int, Any]) -> tuple[Monomial, Fraction]:
        factor = Fraction(1)
        for atom in [atom for atom, power in powers.items() if self.atoms[atom][0] in "cd"]:
            kind, value = self.atoms[atom][0], self.atoms[atom][1]
            if kind == "c":  # √2·√2 = 2
                whole = math.floor(powers[atom])
                factor *= Fraction(value) ** whole
                powers[atom] -= whole
            else:
                powers[atom] = 1
                a, b = value
                others = {other: power for other, power in powers.items() if other != atom}
                if any(b in self.free[other] for other in others):
                    renamed: Polynomial = {((atom, 1),): factor}
                    for other, power in others.items():
                        renamed = self.multiply(renamed, self._raised(self.renamed_atom(other, {b: a}), power))
                    ((monomial, coefficient),) = renamed.items()
                    return monomial, coefficient
        return tuple(sorted((atom, _plain(power)) for atom, power in powers.items() if power)), factor

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
                return {tuple((atom, _plain(e * power)) for atom, e in monomial): factor}
            return self.power(a, power)
        if power == int(power) and power >= 0:
            result = ONE
            for _ in range(int(power)):
                result = self.multiply(result, a)
            return result
        return self.power(a, power)

    def power(self, a: Polynomial, power: Fraction | int) -> Polynomial:
        """a^power for whole and half powers.

        Raises:
            DividesByZero: a is 0, and the power negative.
        """
        power = _plain(power)
        if not a:
            if power < 0:
                raise DividesByZero
            return {} if power else ONE
        if isinstance(power, int) and (power >= 0):
            return self._raised(a, power)
        a = self.reduce(a)
        if not a:
            raise DividesByZero
        outside, inside = self._content(a, whole=isinstance(power, int))
        result = self._power_of_positive(outside, power)
        if inside == ONE:
            return result
        if len(inside) == 1 and (isinstance(power, int) or self._is_single(inside)):
            ((monomial, coefficient),) = inside.items()
            rest = {tuple((atom, _plain(e * power)) for atom, e in monomial): Fraction(1)}
            if coefficient != 1:
                rest = self.scale(rest, coefficient ** int(power))
            return self.multiply(result, rest)
        return self.multiply(result, _single(self._quotient(inside), power))

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
            # Sizes may stand in denominators of some terms only.
        sizes = {atom for monomial in a for atom, _ in monomial if self.atoms[atom][0] == "n"}
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
        return {tuple(sorted((atom, _plain(power)) for atom, power in chosen.items())): scale}, inside

    def _atom_is_positive(self, atom: int) -> bool:
        return atom in self.positive or atom in self.nonnegative

    def _leads_negative(self, a: Polynomial) -> bool:
        names = sorted(self.indices(a))
        canonical = self.rename(a, {name: _CANONICAL + n for n, name in enumerate(names)})
        return canonical[min(canonical)] < 0

    def _power_of_positive(self, a: Polynomial, power: Any) -> Polynomial:
        ((monomial, coefficient),) = a.items()
        result = {tuple((atom, _plain(e * power)) for atom, e in monomial): Fraction(1)}
        if isinstance(power, int):
            return self.scale(result, coefficient**power)
        for prime, exponent in _factors(coefficient).items():
            total = exponent * power
            whole = math.floor(total)
            result = self.scale(result, Fraction(prime) ** whole)
            if total != whole:
                root = _single(self.atom("c", prime), total - whole)
                result = self.multiply(result, root)
        return result

    def _quotient(self, inside: Polynomial) -> int:
        atom = self.atom("q", _frozen(inside))
        self._add_rule(atom, inside)
        return atom

    def function(self, name: str, a: Polynomial) -> Polynomial:
        """exp, log, tanh, sin or cos."""
        self.functions = True
        a = self.reduce(a)
        if name == "exp":
            result = ONE
            for monomial, coefficient in a.items():
                atom = self.atom("f", "exp", ((monomial, Fraction(1)),))
                self.positive.add(atom)
                result = self.multiply(result, {((atom, _plain(coefficient)),): Fraction(1)})
            return result
        if name in ("tanh", "sin") and a and self._leads_negative(a):
            return self.scale(self.function(name, self.scale(a, -1)), -1)
        if name == "cos" and a and self._leads_negative(a):
            return self.function(name, self.scale(a, -1))
        atom = self.atom("f", name, _frozen(a))
        if name == "sin":
            rest = self.add(ONE, self._raised(self.function("cos", a), 2), -1)
            self._rule_for(atom, 2, rest)
        return _single(atom)

    # Sums

    def total(self, a: Polynomial, index: int, size: Polynomial) -> Polynomial:
        """Σ over one index."""
        result: Polynomial = {}
        for monomial, coefficient in a.items():
            inside = [(atom, power) for atom, power in monomial if index in self.free[atom]]
            outside = {tuple(pair for pair in monomial if index not in self.free[pair[0]]): coefficient}
            result = self.add(result, self.multiply(outside, self._sum(inside, index, size)))
        return result

    def _sum(self, inside: list[tuple[int, Any]], index: int, size: Polynomial) -> Polynomial:
        if not inside:
            return size
        for atom, _ in inside:
            if self.atoms[atom][0] == "d":
                a, b = self.atoms[atom][1]
                rest: Polynomial = {tuple(pair for pair in inside if pair[0] != atom): Fraction(1)}
                return self.rename(rest, {index: b if a == index else a})
        bound = [(next(self._fresh), _frozen(size))]
        powers: dict[int, Any] = {}

        def take(polynomial: Polynomial, power: Any) -> None:
            ((monomial, coefficient),) = polynomial.items()
            if coefficient != 1:
                raise TooComplex("a sum that is no monomial")
            for atom, e in monomial:
                powers[atom] = powers.get(atom, 0) + e * power

        for atom, power in inside:
            parts = self.atoms[atom]
            if parts[0] == "S" and isinstance(power, int) and power > 0:
                _, sizes, monomial, names = parts
                for _ in range(power):
                    fresh = {name: next(self._fresh) for name in names}
                    bound += [(fresh[name], n) for name, n in zip(names, sizes, strict=True)]
                    for inner, e in monomial:
                        take(self.renamed_atom(inner, {**fresh, index: bound[0][0]}), e)
            else:
                take(self.renamed_atom(atom, {index: bound[0][0]}), power)
        return _single(self._moment(powers, bound))

    def _moment(self, powers: dict[int, Any], bound: list[tuple[int, Any]]) -> int:
        """The atom of a sum, its bound indices named by the smallest of all orders."""
        if len(bound) > BOUND:
            raise TooComplex(f"a sum over more than {BOUND} indices at once")
        base = max(self.depth[atom] for atom in powers)
        best: tuple[Any, ...] | None = None
        for order in self._orders(powers, bound):
            sizes = tuple(size for _, size in order)
            names = {name: -(base + 1 + n) for n, (name, _) in enumerate(order)}
            renamed: dict[int, Any] = {}
            for atom, power in powers.items():
                (((inner, e),),) = self.renamed_atom(atom, names).keys()
                renamed[inner] = renamed.get(inner, 0) + e * power
            candidate = sizes, tuple(sorted((atom, _plain(power)) for atom, power in renamed.items()))
            if best is None or candidate < best:
                best = candidate
        assert best is not None
        atom = self.atom("S", best[0], best[1], tuple(-(base + 1 + n) for n in range(len(bound))))
        if all((power == int(power) and power % 2 == 0) or inner in self.positive for inner, power in best[1]):
            self.nonnegative.add(atom)
        return atom

    def _orders(self, powers: dict[int, Any], bound: list[tuple[int, Any]]) -> Iterable[list[tuple[int, Any]]]:
        """The orders of bound indices that agree with what tells them apart: their sizes, and where they stand."""
        if len(bound) == 1:
            return [bound]
        names = [name for name, _ in bound]
        color = {name: sorted({size for _, size in bound}).index(size) for name, size in bound}
        for _ in range(len(bound)):
            signs = {}
            for name in names:
                marked = {other: _MARK + 1 + color[other] for other in names if other != name} | {name: _MARK}
                seen = [
                    (tuple(self.renamed_atom(atom, marked)), power)
                    for atom, power in powers.items()
                    if name in self.free[atom]
                ]
                signs[name] = (color[name], sorted(seen))
            ranks = sorted(signs.values())
            new = {name: ranks.index(sign) for name, sign in signs.items()}
            if len(set(new.values())) == len(set(color.values())):
                break
            color = new
        groups = [[pair for pair in bound if color[pair[0]] == c] for c in sorted(set(color.values()))]
        if math.prod(math.factorial(len(group)) for group in groups) > ORDERS:
            raise TooComplex("a sum over many indices that nothing tells apart")
        return ([*chain.from_iterable(choice)] for choice in product(*map(permutations, groups)))

    def _summand(self, atom: int) -> tuple[Polynomial, list[tuple[int, Polynomial]]]:
        """What an atom S sums, and its indices, with names of their own."""
        _, sizes, monomial, names = self.atoms[atom]
        fresh = {name: next(self._fresh) for name in names}
        inner = self.rename({monomial: Fraction(1)}, fresh)
        return inner, [(fresh[name], dict(size)) for name, size in zip(names, sizes, strict=True)]

    def _resummed(self, inner: Polynomial, bound: list[tuple[int, Polynomial]]) -> Polynomial:
        for index, size in bound:
            inner = self.total(inner, index, size)
        return inner

    # Names of indices

    def rename(self, a: Polynomial, names: Renaming) -> Polynomial:
        if not names or self.indices(a).isdisjoint(names):
            return a
        result: Polynomial = {}
        for monomial, coefficient in a.items():
            product: Polynomial = {(): coefficient}
            for atom, power in monomial:
                product = self.multiply(product, self._raised(self.renamed_atom(atom, names), power))
            result = self.add(result, product)
        return result

    def renamed_atom(self, atom: int, names: Renaming) -> Polynomial:
        key = atom, tuple(sorted((old, new) for old, new in names.items() if old in self.free[atom] and old != new))
        if not key[1]:
            return _single(atom)
        if key not in self._renamed:
            new = self._rename_atom(atom, dict(key[1]))
            self._renamed[key] = new
            if len(new) == 1 and len(next(iter(new))) == 1:
                (((inner, _),),) = new.keys()
                for known in (self.positive, self.nonnegative):
                    if atom in known:
                        known.add(inner)
        return self._renamed[key]

    def _rename_atom(self, atom: int, names: Renaming) -> Polynomial:
        parts = self.atoms[atom]
        match parts[0]:
            case "e":
                return self.element(parts[1], _renamed_indices(parts[2], names))
            case "d":
                a, b = (names.get(index, index) for index in parts[1])
                return self.equal_indices(a, b)
            case "S":
                _, sizes, monomial, bound = parts
                fresh = {name: next(self._fresh) for name in bound}
                powers: dict[int, Any] = {}
                for inner, power in monomial:
                    (((new, e),),) = self.renamed_atom(inner, {**names, **fresh}).keys()
                    powers[new] = powers.get(new, 0) + power * e
                pairs = [(fresh[name], size) for name, size in zip(bound, sizes, strict=True)]
                return _single(self._moment(powers, pairs))
            case "q":
                return {((self.atom("q", _frozen(self.rename(dict(parts[1]), names))), 1),): Fraction(1)}
            case "h":
                return self.held(self.rename(dict(parts[1]), names))
        inner_polynomial = self.rename(dict(parts[2]), names)
        return _single(self.atom("f", parts[1], _frozen(inner_polynomial)))

    def _canonical(self, atom: int) -> tuple[int, dict[int, int]]:
        """The atom with its free indices in the smallest order, and the way back."""
        best: tuple[int, dict[int, int]] | None = None
        for order in permutations(sorted(self.free[atom])):
            names = {name: _CANONICAL + n for n, name in enumerate(order)}
            ((renamed, _),) = next(iter(self.renamed_atom(atom, names)))
            if best is None or renamed < best[0]:
                best = renamed, {new: old for old, new in names.items()}
        assert best is not None
        return best

    # Rules

    def _add_rule(self, quotient: int, inside: Polynomial) -> None:
        """q = P, solved for one term of P."""
        free = self.free[quotient]
        candidates = []
        for monomial in inside:
            if len(monomial) != 1 and sum(self.atoms[a][0] != "n" for a, _ in monomial) != 1:
                continue
            ((atom, power),) = [(a, p) for a, p in monomial if self.atoms[a][0] != "n"] or [(-1, 0)]
            if atom < 0 or power <= 0 or self.free[atom] != free or self.atoms[atom][0] not in "Sef":
                continue
            if self.atoms[atom][0] == "e" and not free:
                continue
            elsewhere = [m for m in inside if m != monomial and self._occurs(atom, m)]
            if elsewhere or (self.atoms[atom][0] == "f" and power != int(power)):
                continue
            rank = (self.atoms[atom][0] != "S", power != 1, -len(str(self.atoms[atom])))
            candidates.append((rank, atom, power, monomial))
        if not candidates:
            return
        _, atom, power, monomial = min(candidates)
        rest = self.add(_single(quotient), inside, -1)
        rest = self.add(rest, {monomial: inside[monomial]})
        factor = {tuple((a, -p) for a, p in monomial if a != atom): 1 / inside[monomial]}
        self._rule_for(atom, power, self.multiply(rest, factor))

    def _occurs(self, atom: int, monomial: Monomial) -> bool:
        return any(a == atom for a, _ in monomial)

    def _rule_for(self, atom: int, power: Any, value: Polynomial) -> None:
        canonical, back = self._canonical(atom)
        if canonical not in self._rules:
            self._rules[canonical] = power, self.rename(value, {old: new for new, old in back.items()})
            self._reduced.clear()

    def _rule(self, atom: int) -> tuple[Any, Polynomial] | None:
        canonical, back = self._canonical(atom)
        if canonical not in self._rules:
            return None
        power, value = self._rules[canonical]
        return power, self.rename(value, back)

    def reduce(self, a: Polynomial) -> Polynomial:
        """The normal form: the rules applied wherever they can be."""
        for _ in range(12):
            result: Polynomial = {}
            for monomial, coefficient in a.items():
                product: Polynomial = {(): coefficient}
                for atom, power in monomial:
                    product = self.multiply(product, self._reduced_power(atom, power))
                result = self.add(result, product)
            if result == a:
                return a
            a = result
        raise TooComplex("what is divided by is defined in a circle")

    def _reduced_power(self, atom: int, power: Any) -> Polynomial:
        if self.atoms[atom][0] in "ncdh":
            return _single(atom, power)
        if power > 0 and (rule := self._rule(atom)):
            step, value = rule
            times = math.floor(power / step)
            rest = _plain(power - times * step)
            result = self._raised(value, times)
            return self.multiply(result, _single(atom, rest)) if rest else result
        if self.atoms[atom][0] == "e":
            return _single(atom, power)
        inner = self._reduced_atom(atom)
        if inner == _single(atom):
            return _single(atom, power)
        return self._raised(inner, power)

    def _reduced_atom(self, atom: int) -> Polynomial:
        if atom not in self._reduced:
            self._reduced[atom] = _single(atom)  # for what refers to itself
            self._reduced[atom] = self._reduce_atom(atom)
        return self._reduced[atom]

    def _reduce_atom(self, atom: int) -> Polynomial:
        parts = self.atoms[atom]
        itself = _single(atom)
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
            return itself if reduced in (inside, itself) else self._as_quotient(reduced)
        if parts[0] == "f":
            reduced = self.reduce(dict(parts[2]))
            return itself if reduced == dict(parts[2]) else self.function(parts[1], reduced)
        return itself

    def _as_quotient(self, reduced: Polynomial) -> Polynomial:
        if len(reduced) == 1 and reduced[next(iter(reduced))] == 1:
            return reduced
        return _single(self.atom("q", _frozen(reduced)))

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
        itself = _single(atom)
        match name:
            case "exp":
                return itself
            case "log":
                return self.power(argument, -1)
            case "tanh":
                return self.add(ONE, self._raised(itself, 2), -1)
            case "sin":
                return self.function("cos", argument)
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
            for place, index in _matched(self.atoms[one][2], target):
                if place not in names:
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
        found = []
        waiting = [atom for monomial in a for atom, _ in monomial]
        while waiting:
            parts = self.atoms[waiting.pop()]
            if parts[:2] == ("e", name):
                found.append(parts[2])
            elif parts[0] == "S":
                waiting += [atom for atom, _ in parts[2]]
        return found

    def _holds(self, atom: int, name: str) -> bool:
        parts = self.atoms[atom]
        return parts[:2] == ("e", name) or (parts[0] == "S" and any(self._holds(inner, name) for inner, _ in parts[2]))

    def released(self, a: Polynomial) -> Polynomial:
        """The polynomial, its held values replaced by what they are."""
        result: Polynomial = {}
        for monomial, coefficient in a.items():
            product: Polynomial = {(): coefficient}
            for atom, power in monomial:
                product = self.multiply(product, self._released_power(atom, power))
            result = self.add(result, product)
        return result

    def _released_power(self, atom: int, power: Any) -> Polynomial:
        parts = self.atoms[atom]
        match parts[0]:
            case "h":
                return self.power(self.released(dict(parts[1])), power)
            case "S":
                inner, bound = self._summand(atom)
                value = self.released(inner)
                return _single(atom, power) if value == inner else self.power(self._resummed(value, bound), power)
            case "q" | "f":
                inside = dict(parts[-1])
                value = self.released(inside)
                if value == inside:
                    return _single(atom, power)
                return self.power(value if parts[0] == "q" else self.function(parts[1], value), power)
        return _single(atom, power)

    # The decision

    def vanishes(self, a: Polynomial) -> bool:
        """Whether a is proved to be 0 wherever it is defined."""
        a = self.reduce(a)
        return not a or not self._over_common_denominator(a)

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
                    rest = _plain(power - times)
                    changed = changed or times > 0 or low < 0
                    product = self.multiply(product, self._raised(dict(self.atoms[atom][1]), times))
                    if rest:
                        product = self.multiply(product, _single(atom, rest))
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
                base = str(parts[1])
            case "e":
                base = parts[1] + (f"[{', '.join(map(name, _flat(parts[2])))}]" if parts[2] else "")
            case "d":
                base = f"[{name(parts[1][0])} = {name(parts[1][1])}]"
            case "S":
                letters = ", ".join(map(name, parts[3]))
                base = f"(Σ_{letters} {self.text({parts[2]: Fraction(1)}, name)})"
            case "f":
                base = f"{parts[1]}({self.text(dict(parts[2]), name)})"
            case _:
                base = f"({self.text(dict(parts[1]), name)})"
        return base if power == 1 else f"{base}^{power}" if power == int(power) and power > 0 else f"{base}^({power})"


def _matched(places: tuple[Any, ...], indices: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Which name becomes which, for the places of an element."""
    names: list[tuple[int, Any]] = []
    for place, index in zip(places, indices, strict=True):
        if not isinstance(place, tuple):
            names.append((place, index))
        elif isinstance(index, tuple) and index[2] == place[2]:
            names += _matched(place[:2], index[:2])
        else:
            raise TooComplex("an axis that is split in two ways")
    return names


def _single(atom: int, power: Any = 1) -> Polynomial:
    """One atom to a power."""
    return {((atom, power),): Fraction(1)}


def _frozen(a: Polynomial) -> tuple[tuple[Monomial, Fraction], ...]:
    return tuple(sorted(a.items()))


def _plain(power: Any) -> Any:
    return int(power) if power == int(power) else Fraction(power)


def _flat(indices: tuple[Any, ...]) -> tuple[int, ...]:
    """The names in places, where an axis that was split has several, and a text with the length of the last."""
    parts = (part for index in indices for part in (_flat(index) if isinstance(index, tuple) else (index,)))
    return tuple(part for part in parts if isinstance(part, int))


def _renamed_indices(indices: tuple[Any, ...], names: Renaming) -> tuple[Any, ...]:
    return tuple(
        _renamed_indices(index, names) if isinstance(index, tuple) else names.get(index, index) for index in indices
    )


def _factors(value: Fraction) -> dict[int, int]:
    """The primes of a number > 0, with their powers; what is left of a large number counts as one."""
    found: dict[int, int] = {}
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        prime = 2
        while prime * prime <= number and prime < 10_000:
            while number % prime == 0:
                number //= prime
                found[prime] = found.get(prime, 0) + sign
            prime += 1
        if number > 1:
            root = math.isqrt(number)
            base, times = (root, 2) if root * root == number else (number, 1)
            found[base] = found.get(base, 0) + sign * times
    return found
