"""The second proof: an identity is tested at random points over two prime fields.

Nothing of the normal form is used, and no derivative of SymPy's: names are evaluated by their definitions, ∂ by dual
numbers, and the shipped functions run on field elements themselves. Why equality at a few points proves the identity:

- A difference of two sides, cleared of denominators, is a polynomial in what is drawn. If it is not 0, it vanishes at a
  random point with a probability of at most degree/p (Schwartz, Zippel).
- It holds for every size if it holds for a few. Let it be of degree d in the elements and e in the size m, with f free
  indices. Products of moments of total degree ≤ d are linearly independent on ≥ d + f elements; so if the difference
  vanishes for e + 1 such sizes, each of its coefficients, a polynomial in m of degree ≤ e, vanishes.

d, e and the degree come from evaluating the same members on degrees. ε is not drawn: the inverse root s is,
as a square, and ε = s⁻² − v.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias

from sympy import Expr, Indexed, KroneckerDelta, Sum, Symbol

from derivations.dual_numbers import PRIMES, RESERVE, Degree, Degrees, Dual, NoRoot, inverse_root_of_residue, number
from derivations.execution import Computed, Execution, Source
from derivations.field_batch import FieldBatch, FieldOperations
from derivations.finite_sums import Setting, Unprovable
from derivations.notation import Definitions, Partial, i, w

ATTEMPTS = 40  # points drawn until all radicands are squares
Member: TypeAlias = Expr | Computed  # SymPy has no types: its names are Any


@dataclass(frozen=True)
class Examination:
    """What the second proof found."""

    equal: bool
    degrees: Degrees
    sizes: tuple[int, int]  # the smallest and the largest
    points: int
    bound: float  # of the probability that a false claim is found equal
    primes: tuple[int, ...]

    def __str__(self) -> str:
        fields = " and ".join(f"GF(2^{(p + 1).bit_length() - 1}−1)" for p in self.primes)
        return (
            f"second proof: equal at {self.points} random points over {fields}, sizes {self.sizes[0]}…{self.sizes[1]}; "
            f"degrees {self.degrees.elements} in the elements, {self.degrees.sizes} in the sizes, {self.degrees.total} "
            f"in all; a false claim passes with a probability below {self.bound:.0e}"
        )


def examine(members: Sequence[Member], setting: Setting, definitions: Definitions, *, seed: int = 0) -> Examination:
    """Whether all members are equal at random points, enough of them to prove that they are the same for every size.

    Raises:
        Unprovable: no point was found at which all members are defined.
    """
    expressions = [member.value if isinstance(member, Computed) else member for member in members]
    free = [index for index in setting.ranges if any(index in e.free_symbols for e in expressions)]
    symbols = sorted(_sizes(expressions, setting, definitions), key=str)
    draw = _Drawing(members, setting, definitions, random.Random(seed))

    # Degrees are of the sides as written; the sizes at which they are counted do not matter.
    place = Place({symbol: 3 + len(free) + n for n, symbol in enumerate(symbols)}, dict.fromkeys(free, 1))
    degrees, roots, primes = draw.degrees(place)
    first = max(1, degrees.elements + len(free))
    sizes = range(first, first + degrees.sizes + 1) if symbols else range(1, 2)
    bound = degrees.total * 4.0**roots / min(primes)

    points = 0
    equal = True
    for p in primes:
        for chosen in itertools.product(sizes, repeat=len(symbols)):
            for positions in _coincidences(len(free)):
                points += 1
                place = Place(dict(zip(symbols, chosen, strict=True)), dict(zip(free, positions, strict=True)))
                if not draw.equal(place, p):
                    equal = False
                    return Examination(equal, degrees, (sizes[0], sizes[-1]), points, bound, primes)
    return Examination(equal, degrees, (sizes[0], sizes[-1]), points, bound, primes)


def _coincidences(free: int) -> Iterator[tuple[int, ...]]:
    """One choice of positions for each way in which free indices may coincide."""
    choices: list[tuple[int, ...]] = [()]
    for _ in range(free):
        choices = [(*known, new) for known in choices for new in range(1, 2 + max(known, default=0))]
    yield from choices


def _sizes(expressions: Sequence[Expr], setting: Setting, definitions: Definitions) -> set[Symbol]:
    """The symbols that are sizes: limits of sums and ends of ranges."""
    everything = [*expressions, *(value for _, value in definitions.items())]
    if setting.root:
        everything.append(setting.root.variance)
    limits = {limit[2] for e in everything for sum_ in e.atoms(Sum) for limit in sum_.limits}
    return {size for size in {*limits, *setting.ranges.values()} if isinstance(size, Symbol)}


@dataclass(frozen=True)
class Place:
    """How large the batches are, and where the free indices stand."""

    sizes: Mapping[Symbol, int]
    positions: Mapping[Symbol, int]


class _Drawing:
    """Points at which the members of one claim are evaluated."""

    def __init__(
        self, members: Sequence[Member], setting: Setting, definitions: Definitions, rng: random.Random
    ) -> None:
        self.members, self.setting, self.definitions, self.rng = members, setting, definitions, rng

    def _values(self, place: Place, p: int, counting: bool) -> "tuple[list[Dual], Point]":
        error: ArithmeticError = ArithmeticError()
        for _ in range(ATTEMPTS):
            point = Point(self.setting, self.definitions, place, _Draw(p, self.rng, counting))
            try:
                return [point.member(member) for member in self.members], point
            except (NoRoot, ZeroDivisionError) as found:
                error = found
        reason = "a denominator is 0" if isinstance(error, ZeroDivisionError) else "a radicand is no square"
        raise Unprovable(f"the second proof found no point at which everything is defined: {reason}")

    def equal(self, place: Place, p: int) -> bool:
        values, _ = self._values(place, p, False)
        return all((a - b).vanishes() for a, b in pairwise(values))

    def degrees(self, place: Place) -> tuple[Degrees, int, tuple[int, ...]]:
        """Of all differences, cleared of denominators; how many roots besides s they hold; where they have values."""
        found = []
        for p in (*PRIMES, *RESERVE):
            try:
                found.append((p, *self._values(place, p, True)))
            except Unprovable as error:
                reason = error
            if len(found) == len(PRIMES):
                break
        else:
            raise reason
        _, values, point = found[0]
        bound = Degrees(0, 0, 1)
        for a, b in pairwise(values):
            difference = (a - b).value
            if isinstance(difference, Degree):
                bound = bound.at_least(difference.top)
        roots = len(point.draw.roots)
        return Degrees(*(degree * 2**roots for degree in bound)), roots, tuple(p for p, *_ in found)


class _Draw:
    """The random numbers of one point, drawn when they are asked for."""

    def __init__(self, p: int, rng: random.Random, counting: bool) -> None:
        self.p, self._rng, self._counting = p, rng, counting
        self._drawn: dict[Any, Dual] = {}
        self.roots: dict[int, Degree] = {}  # besides s, by their radicands

    def __call__(self, key: Any, *, square: bool, element: bool = False) -> Dual:
        if key not in self._drawn:
            value = self._rng.randrange(1, self.p)
            degrees = Degrees(1 + square if element else 0, 0, 1 + square)
            self._drawn[key] = self.known(value * value if square else value, degrees)
        return self._drawn[key]

    def known(self, value: int, degrees: Degrees) -> Dual:
        """A given value, of these degrees."""
        return Dual({0: Degree(value, self.p, degrees) if self._counting else value % self.p}, self.p)

    def inverse_root(self, value: Any) -> Any:
        """Of a radicand that is not that of s."""
        root = inverse_root_of_residue(number(value), self.p)
        if not isinstance(value, Degree):
            return root
        top = value.top
        for degrees, power in value.bottom.values():
            top = top.plus(degrees, power)
        return self.roots.setdefault(value.value, Degree(root, self.p, top))


class Point:
    """A value for every symbol; a symbol that has a definition gets the value of that.

    ``changed`` holds numbers to which a tangent was added.
    """

    def __init__(
        self,
        setting: Setting,
        definitions: Definitions,
        place: Place,
        draw: _Draw,
        changed: Mapping[Any, Dual] | None = None,
        tangents: int = 0,
    ) -> None:
        self.setting, self.definitions, self.place, self.draw = setting, definitions, place, draw
        self._changed, self._tangents = changed or {}, tangents
        self.memo: dict[Any, Any] = {}

    def member(self, member: Member) -> Dual:
        """The value of a member of a claim."""
        if isinstance(member, Computed):
            return self._returned(member.source) if member.source else self.value(member.value, self.place.positions)
        return self.value(member, self.place.positions)

    def value(self, e: Expr, positions: Mapping[Symbol, int]) -> Dual:
        return _program(e)(self, positions)

    def symbol(self, e: Symbol) -> Dual:
        if e in self._changed:
            return self._changed[e]
        if e not in self.memo:
            self.memo[e] = self._symbol(e)
        return self.memo[e]

    def _symbol(self, e: Symbol) -> Dual:
        root = self.setting.root
        if e in self.place.sizes:
            return self.draw.known(self.place.sizes[e], Degrees(0, 1, 1))
        if root and e == root.epsilon:
            # The variance as it is without tangents: ε does not depend on x.
            return self._without_tangents().value(root.variance, {}) * -1 + self.draw(root.symbol, square=True) ** -2
        if (definition := self.definitions.of(e)) is not None:
            return self.value(definition, {})
        if root and e == root.symbol:
            return self.draw(e, square=True)
        return self.draw(e, square=bool(e.is_positive))

    def _without_tangents(self) -> "Point":
        return self._with({}, 0) if self._changed else self

    def element(self, base: Any, position: int) -> Dual:
        key = base, position
        if key in self._changed:
            return self._changed[key]
        if key not in self.memo:
            definition = self.definitions.of(base)
            self.memo[key] = (
                self.draw(key, square=bool(base.label.is_positive), element=True)
                if definition is None
                else self.value(definition, {i: position})
            )
        return self.memo[key]

    def with_tangent(self, wrt: Expr, positions: Mapping[Symbol, int]) -> "tuple[Point, int]":
        """This point with a new tangent on one symbol or element, and the tangent's bit."""
        bit = 1 << self._tangents
        if isinstance(wrt, Indexed):
            if self.definitions.of(wrt.base) is not None:
                raise Unprovable(f"{wrt} has a definition: no derivative with respect to it")
            key: Any = (wrt.base, positions[wrt.indices[0]])
            value = self.element(*key)
        else:
            key, value = wrt, self.symbol(wrt)
        tangent = Dual({bit: self.draw.known(1, Degrees(0, 0, 0)).value}, self.draw.p)
        return self._with({**self._changed, key: value + tangent}, self._tangents + 1), bit

    def _with(self, changed: Mapping[Any, Dual], tangents: int) -> "Point":
        return Point(self.setting, self.definitions, self.place, self.draw, changed, tangents)

    def inverse_root(self, value: Dual) -> Dual:
        """value^(−1/2): s where the value is that of 1/s²."""
        root = self.setting.root
        if root:
            s = self.draw(root.symbol, square=True).value
            if number(value.value) * number(s) ** 2 % self.draw.p == 1:
                return value.power_series(s)
        return value.power_series(self.draw.inverse_root(value.value))

    def _returned(self, source: Source) -> Dual:
        if source.wrt is not None:
            changed, bit = self.with_tangent(source.wrt, {})
            return changed._returned(source._replace(wrt=None)).tangent(bit)
        result = self._executed(source.execution)[source.key]
        position = self.place.positions.get(source.at, 1) - 1 if result.per_element else 0
        return result.entries[position]

    def _executed(self, execution: Execution) -> Mapping[str, FieldBatch]:
        if execution not in self.memo:
            results = execution.function(_FieldWorld(self, execution))
            self.memo[execution] = {name: _as_batch(value, self.draw) for name, value in results.items()}
        return self.memo[execution]


class _FieldWorld:
    """Field elements: the world of one point."""

    def __init__(self, point: Point, execution: Execution) -> None:
        self._point = point
        size = point.setting.ranges.get(i)
        self._count = point.place.sizes.get(size, 1)
        weights = [point.element(w, 1 + n) for n in range(self._count)] if execution.weighted else None
        constants = [point.symbol(symbol) for symbol in execution.constants]
        one = point.draw.known(1, Degrees(0, 0, 0))
        self.ops = FieldOperations(one if size is None else point.symbol(size), weights, point.inverse_root, constants)

    def value(self, expression: Any) -> FieldBatch:
        if i not in expression.free_symbols:
            return FieldBatch([self._point.value(expression, {})], False, self._point.inverse_root)
        return FieldBatch([self._point.value(expression, {i: 1 + n}) for n in range(self._count)], True)

    def held(self, number: int) -> Any:
        return self.ops.held[number]


def _as_batch(value: Any, draw: _Draw) -> FieldBatch:
    return value if isinstance(value, FieldBatch) else FieldBatch([draw.known(int(value), Degrees(0, 0, 0))], False)


Program = Callable[[Point, Mapping[Symbol, int]], Dual]


@cache
def _program(e: Expr) -> Program:
    """The expression as a function of a point and of the positions of its indices."""
    if isinstance(e, Symbol):
        return lambda point, positions: point.symbol(e)
    if e.is_Rational:
        return lambda point, positions: point.draw.known(int(e.p) * pow(int(e.q), -1, point.draw.p), Degrees(0, 0, 0))
    if isinstance(e, Indexed):
        base, (index,) = e.base, e.indices
        return lambda point, positions: point.element(base, positions[index])
    if isinstance(e, KroneckerDelta):
        a, b = e.args
        return lambda point, positions: point.draw.known(int(positions[a] == positions[b]), Degrees(0, 0, 0))
    if isinstance(e, Sum | Partial):
        return _remembered(e, _sum(e) if isinstance(e, Sum) else _partial(e))
    if e.is_Pow:
        return _power(e)
    parts = [_program(arg) for arg in e.args]
    if e.is_Add:
        return lambda point, positions: _fold(parts, point, positions, Dual.__add__)
    if e.is_Mul:
        return lambda point, positions: _fold(parts, point, positions, Dual.__mul__)
    raise Unprovable(f"{e}: {type(e).__name__} has no value in a finite field")


def _fold(
    parts: Sequence[Program], point: Point, positions: Mapping[Symbol, int], operation: Callable[[Dual, Dual], Dual]
) -> Dual:
    result = parts[0](point, positions)
    for part in parts[1:]:
        result = operation(result, part(point, positions))
    return result


def _power(e: Expr) -> Program:
    base, exponent = _program(e.base), e.exp
    if exponent.is_Integer:
        return lambda point, positions: base(point, positions) ** int(exponent)
    if not (exponent.is_Rational and exponent.q == 2):
        raise Unprovable(f"{e}: exponents must be integers or halves of integers")
    return lambda point, positions: point.inverse_root(base(point, positions)) ** -int(exponent.p)


def _sum(e: Sum) -> Program:
    body = _program(e.function)
    limits = [(limit[0], limit[2]) for limit in e.limits]

    def total(point: Point, positions: Mapping[Symbol, int]) -> Dual:
        spans = [
            range(1, 1 + (point.place.sizes[last] if last in point.place.sizes else int(last))) for _, last in limits
        ]
        result = Dual({0: 0}, point.draw.p)
        for chosen in itertools.product(*spans):
            inner = {**positions, **{j: n for (j, _), n in zip(limits, chosen, strict=True)}}
            result = result + body(point, inner)
        return result

    return total


def _partial(e: Partial) -> Program:
    of = _program(e.of)

    def derivative(point: Point, positions: Mapping[Symbol, int]) -> Dual:
        changed, bit = point.with_tangent(e.wrt, positions)
        return of(changed, positions).tangent(bit)

    return derivative


def _remembered(e: Expr, program: Program) -> Program:
    """Each value computed once a point, for each position of the indices that it depends on."""
    own = {limit[0] for sum_ in e.atoms(Sum) for limit in sum_.limits}
    indices = {index for element in e.atoms(Indexed) for index in element.indices}
    indices |= {index for delta in e.atoms(KroneckerDelta) for index in delta.args}
    free = sorted(indices - own, key=str)

    def remembered(point: Point, positions: Mapping[Symbol, int]) -> Dual:
        key = e, tuple(positions[index] for index in free)
        if key not in point.memo:
            point.memo[key] = program(point, positions)
        return point.memo[key]

    return remembered
