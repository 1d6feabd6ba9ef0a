"""A point of the second proof: a random number for every symbol, and by them a value for every expression.

Names are evaluated by their definitions and shipped functions by executing them; a derivative is the coefficient of a
tangent. ε is not drawn: the inverse root s is, as a square, and ε = s⁻² − v.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from sympy import Expr, Indexed, KroneckerDelta, Sum, Symbol

from derivations.notation import Definitions, Partial, i, w
from derivations.notation.expressions import Unprovable
from derivations.notation.settings import Setting
from derivations.notation.worlds import Computed, Executed, Source
from derivations.prime_fields.batches import FieldBatch, FieldOperations
from derivations.prime_fields.dual_numbers import Degree, Degrees, Dual, inverse_root_of_residue, number

Member: TypeAlias = Expr | Computed  # SymPy has no types: its names are Any


@dataclass(frozen=True)
class Place:
    """How large the batches are, and where the free indices stand."""

    sizes: Mapping[Symbol, int]
    positions: Mapping[Symbol, int]


class Draw:
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
        return self.roots.setdefault(value.value, Degree(root, self.p, value.whole))


class Point:
    """A value for every symbol; a symbol that has a definition gets the value of that.

    ``changed`` holds numbers to which a tangent was added.
    """

    def __init__(
        self,
        setting: Setting,
        definitions: Definitions,
        place: Place,
        draw: Draw,
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
        return program(e)(self, positions)

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

    def _executed(self, execution: Executed) -> Mapping[str, FieldBatch]:
        if execution not in self.memo:
            results = execution.function(_FieldWorld(self, execution))
            self.memo[execution] = {name: _as_batch(value, self.draw) for name, value in results.items()}
        return self.memo[execution]


class _FieldWorld:
    """Field elements: the world of one point."""

    def __init__(self, point: Point, execution: Executed) -> None:
        self._point = point
        size = point.setting.ranges.get(i)
        self._count = point.place.sizes.get(size, 2)  # any number above 1, where it does not occur
        weights = [point.element(w, 1 + n) for n in range(self._count)] if execution.weighted else None
        constants = [point.symbol(symbol) for symbol in execution.constants]
        one = point.draw.known(1, Degrees(0, 0, 0))
        self.ops = FieldOperations(one if size is None else point.symbol(size), weights, point.inverse_root, constants)

    def value(self, expression: Any) -> FieldBatch:
        if i not in expression.free_symbols:
            return FieldBatch([self._point.value(expression, {})], False, self._point.inverse_root)
        return FieldBatch(
            [self._point.value(expression, {i: 1 + n}) for n in range(self._count)], True, self._point.inverse_root
        )

    def held(self, number: int) -> Any:
        return self.ops.held[number]


def _as_batch(value: Any, draw: Draw) -> FieldBatch:
    return value if isinstance(value, FieldBatch) else FieldBatch([draw.known(int(value), Degrees(0, 0, 0))], False)


# An expression as a function of a point and of the positions of its indices.
Program = Callable[[Point, Mapping[Symbol, int]], Dual]


@cache
def program(e: Expr) -> Program:
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
        return _power(e) if e.exp.is_Integer else _remembered(e, _power(e))
    parts = [program(arg) for arg in e.args]
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
    base, exponent = program(e.base), e.exp
    if exponent.is_Integer:
        return lambda point, positions: base(point, positions) ** int(exponent)
    if not (exponent.is_Rational and exponent.q == 2):
        raise Unprovable(f"{e}: exponents must be integers or halves of integers")
    return lambda point, positions: point.inverse_root(base(point, positions)) ** -int(exponent.p)


def _sum(e: Sum) -> Program:
    body = program(e.function)
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
    of = program(e.of)

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
