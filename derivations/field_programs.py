"""Expressions as functions of a point: what the second proof evaluates, compiled once an expression."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from sympy import Expr, Indexed, KroneckerDelta, Sum, Symbol

from derivations.dual_numbers import Degrees, Dual
from derivations.finite_sums import Unprovable
from derivations.notation import Partial

if TYPE_CHECKING:
    from derivations.field_point import Point

Program = Callable[["Point", Mapping[Symbol, int]], Dual]


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
        return _power(e)
    parts = [program(arg) for arg in e.args]
    if e.is_Add:
        return lambda point, positions: _fold(parts, point, positions, Dual.__add__)
    if e.is_Mul:
        return lambda point, positions: _fold(parts, point, positions, Dual.__mul__)
    raise Unprovable(f"{e}: {type(e).__name__} has no value in a finite field")


def _fold(
    parts: Sequence[Program], point: "Point", positions: Mapping[Symbol, int], operation: Callable[[Dual, Dual], Dual]
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

    def total(point: "Point", positions: Mapping[Symbol, int]) -> Dual:
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

    def derivative(point: "Point", positions: Mapping[Symbol, int]) -> Dual:
        changed, bit = point.with_tangent(e.wrt, positions)
        return of(changed, positions).tangent(bit)

    return derivative


def _remembered(e: Expr, program: Program) -> Program:
    """Each value computed once a point, for each position of the indices that it depends on."""
    own = {limit[0] for sum_ in e.atoms(Sum) for limit in sum_.limits}
    indices = {index for element in e.atoms(Indexed) for index in element.indices}
    indices |= {index for delta in e.atoms(KroneckerDelta) for index in delta.args}
    free = sorted(indices - own, key=str)

    def remembered(point: "Point", positions: Mapping[Symbol, int]) -> Dual:
        key = e, tuple(positions[index] for index in free)
        if key not in point.memo:
            point.memo[key] = program(point, positions)
        return point.memo[key]

    return remembered
