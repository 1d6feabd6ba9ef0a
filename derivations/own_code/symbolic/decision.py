"""The first proof decided: whether what was returned is the derivative, and under which conditions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from derivations.own_code.algebra.polynomials import DividesByZero, Polynomial, TooComplex, place_of
from derivations.own_code.refusal import NotUnderstood
from derivations.own_code.running.calling import Shape
from derivations.own_code.symbolic.arrays import SymbolicArray, axis_of, length, names_of_axis
from derivations.own_code.symbolic.journal import COMPARED, Requirement, SymbolicAlgebra
from derivations.own_code.symbolic.shapes import lift, place_on, split
from derivations.own_code.symbolic.sizes import Size, as_size
from derivations.own_code.written_numbers import is_infinite

_DY = "dy"
_DIRECTION = "\0direction"  # no input has this name
_INDICES = "ijklmnpqrs"
_THRESHOLDS = 4
_LONGEST = 72  # characters of a divisor or radicand that is shown


@dataclass(frozen=True)
class Symbolic:
    """What the symbolic run gave, for each input: whether the gradient is proved, or why not."""

    proved: Mapping[str, bool]
    reasons: Mapping[str, str]
    conditions: tuple[str, ...]
    held: tuple[str, ...] = ()


def variable(algebra: SymbolicAlgebra, name: str, shape: Shape) -> SymbolicArray:
    """An input as an array of free elements."""
    axes = [axis_of(algebra, Size(algebra, algebra.size(n)) if isinstance(n, str) else n) for n in shape]
    return _free(algebra, name, axes)


def names_of_cotangents(count: int) -> list[str]:
    """dy, or dy1, dy2, …"""
    return [_DY] if count == 1 else [f"{_DY}{n + 1}" for n in range(count)]


def _element_of(name: str) -> str:
    """The name of a cotangent among elements; an input may be called dy as well."""
    return f"{name}\0"


def cotangents(algebra: SymbolicAlgebra, ys: Sequence[SymbolicArray]) -> list[SymbolicArray]:
    """Free arrays of the shapes of the outputs."""
    return [_free(algebra, _element_of(name), y.axes) for name, y in zip(names_of_cotangents(len(ys)), ys, strict=True)]


def _free(algebra: SymbolicAlgebra, name: str, axes: Sequence[Any]) -> SymbolicArray:
    places: tuple[Any, ...] = ()
    for n, axis in enumerate(axes):
        places += tuple(names_of_axis(len(axes) - 1 - n, axis))
    return SymbolicArray(algebra, axes, algebra.element(name, places))


def decide(
    ys: Sequence[SymbolicArray],
    dys: Sequence[SymbolicArray],
    shapes: Mapping[str, Shape],
    returned: Mapping[str, Any],
) -> Symbolic:
    """Whether each array returned is the derivative of Σ dy·y."""
    algebra = ys[0].algebra
    proved, reasons = {}, {}
    for name, shape in shapes.items():
        try:
            proved[name], reasons[name] = _decide_one(ys, dys, variable(algebra, name, shape), name, returned[name])
        except TooComplex as error:
            proved[name], reasons[name] = False, str(error)
        except DividesByZero:
            proved[name], reasons[name] = False, "a denominator is identically 0"
    return Symbolic(proved, reasons, conditions(algebra))


def _decide_one(
    ys: Sequence[SymbolicArray], dys: Sequence[SymbolicArray], given: SymbolicArray, name: str, returned: Any
) -> tuple[bool, str]:
    algebra = given.algebra
    if returned is None:
        return False, "None was returned in the place of this gradient"
    array = lift(algebra, returned)
    if _lengths(array) != _lengths(given):
        return False, f"its shape is {array.shape}; that of {name} is {given.shape}"
    array, true = _gradient(ys, dys, array, name, [n for n, axis in enumerate(given.axes) if axis])
    difference = algebra.add(algebra.released(array.polynomial), algebra.released(true), -1)
    return algebra.vanishes(difference), ""


def true_gradients(
    ys: Sequence[SymbolicArray], dys: Sequence[SymbolicArray], inputs: Mapping[str, SymbolicArray]
) -> list[SymbolicArray]:
    """The derivatives of Σ dy·y, as arrays that can be differentiated once more."""
    found = []
    for name, given in inputs.items():
        array, true = _gradient(ys, dys, given, name, [n for n, axis in enumerate(given.axes) if axis])
        found.append(SymbolicArray(given.algebra, array.axes, true))
    return found


def _gradient(
    ys: Sequence[SymbolicArray], dys: Sequence[SymbolicArray], array: SymbolicArray, name: str, real: Sequence[int]
) -> tuple[SymbolicArray, Polynomial]:
    """The array, its axes split where the code splits those of the input, and the derivative of Σ dy·y on these axes.

    real: the axes of the input whose length is not 1.
    """
    algebra = array.algebra
    derivatives = [algebra.derivative(y.polynomial, name, _DIRECTION) for y in ys]
    used = [places for derivative in derivatives for places in algebra.places_of(derivative, _DIRECTION)]
    for places in used:
        for n, place in zip(real, places, strict=True):
            if isinstance(place, tuple) and len(array.axes[n]) == 1:
                inner = next(size for size in _parts_of(place, array.axes[n]))
                array = split(array, n, inner)
    target: list[Any] = []
    for n in real:
        names = names_of_axis(array.ndim - 1 - n, array.axes[n])
        target.append(place_on(zip(names, map(dict, array.axes[n]), strict=True)))
    true: Polynomial = {}
    for y, dy, derivative in zip(ys, dys, derivatives, strict=True):
        free = [
            (index, dict(size))
            for n, axis in enumerate(y.axes)
            for index, size in zip(names_of_axis(y.ndim - 1 - n, axis), axis, strict=True)
        ]
        true = algebra.add(true, algebra.gradient(derivative, dy.polynomial, free, _DIRECTION, tuple(target)))
    return array, true


def _parts_of(place: tuple[Any, ...], axis: Any) -> Iterator[Any]:
    """The lengths into which an axis was split, from a place that names the last one."""
    text = place[2]
    digits = [int(part) for part in "".join(c if c.isdigit() else " " for c in text).split()]
    inner = digits[0]
    whole = int(axis[0][0][1])
    first = (((), Fraction(whole // inner)),)
    yield (first, (((), Fraction(inner)),))


def _lengths(a: SymbolicArray) -> list[Any]:
    return [length(a.algebra, axis) for axis in a.axes]


def free_of_maxima(algebra: SymbolicAlgebra, arrays: Sequence[SymbolicArray]) -> None:
    """Refuse what depends on a maximum of values, or on which elements a step takes.

    Softmax, from whose input a maximum is subtracted, does not.
    """
    for name, place in algebra.journal.largest.values():
        for array in arrays:
            if not algebra.vanishes(algebra.derivative(array.polynomial, name, _DIRECTION)):
                what = "a slice with an unknown step" if name.startswith("step") else "a maximum or minimum of values"
                raise NotUnderstood(
                    f"{place}: {what} is understood only where the result does not depend on it, as on the maximum in "
                    "softmax(x − max x); here it does"
                )


def thresholds(algebra: SymbolicAlgebra) -> tuple[Fraction, ...]:
    """The numbers with which the code compares values, without their signs; the first few.

    Of a mean and a number, what is compared is a sum and a multiple of a size.
    """
    found: dict[Fraction, None] = {}
    for requirement in algebra.journal.requirements:
        if requirement.of == COMPARED:
            terms = requirement.polynomial.items()
            numbers = [c for monomial, c in terms if algebra.of_sizes_alone({monomial: c})]
            values = [c for monomial, c in terms if not algebra.of_sizes_alone({monomial: c})]
            found |= {abs(number / value): None for number in numbers for value in values}
    return tuple(found)[:_THRESHOLDS]


def conditions(algebra: SymbolicAlgebra) -> tuple[str, ...]:
    """What must hold, in words, for everything to be defined."""
    found: dict[Any, tuple[Requirement, str]] = {}
    roots_first = sorted(algebra.journal.requirements, key=lambda requirement: requirement.relation == "≠ 0")
    for requirement in roots_first:
        above, below = (_what_matters(algebra, requirement, sign) for sign in (1, -1))
        if above == ():
            continue
        if requirement.relation != "≠ 0":
            relation = "> 0" if found.get(above, (0, "≥ 0"))[1] == "> 0" else requirement.relation
            found[above] = requirement, relation
        elif above in found or below in found:  # what is ≥ 0 and ≠ 0 is > 0
            key = above if above in found else below
            relation = "≠ 0" if found[key][1] == "≠ 0" else "> 0"
            found[key] = found[key][0], relation
        else:
            found[max(above, below)] = requirement, "≠ 0"
    return (
        *dict.fromkeys(algebra.journal.notes),
        *dict.fromkeys(_masked(algebra, exponent) for exponent in algebra.journal.vanishing),
        *dict.fromkeys(_condition(algebra, requirement, relation) for requirement, relation in found.values()),
    )


def _masked(algebra: SymbolicAlgebra, exponent: Polynomial) -> str:
    """That exp of an exponent is 0; of several alike, and of a long one, with dots for all but the mask."""
    constant = exponent[()]
    rest = {monomial: c for monomial, c in exponent.items() if monomial}
    text = algebra.text(rest, _letters(algebra, rest)) if rest else ""
    if len(algebra.journal.vanishing) > 1 or len(text) > _LONGEST:
        text = "…" if any(len(one) > 1 for one in algebra.journal.vanishing) else ""
    mask = "∞" if is_infinite(constant) else str(abs(constant))
    return f"exp({text}{' − ' if text else '−'}{mask}) is 0, as it is on floats"


def _what_matters(algebra: SymbolicAlgebra, requirement: Requirement, sign: int) -> Any:
    """± what must be positive, or not 0, without the factors known to be positive; () where it always holds."""
    polynomial = algebra.scale(algebra.written_out(algebra.reduce(requirement.polynomial)), sign)
    if len(polynomial) != 1:
        return tuple(sorted(polynomial.items()))
    ((monomial, coefficient),) = polynomial.items()
    known = algebra.positive | (algebra.signs if requirement.relation == "≠ 0" else set())
    rest = tuple(sorted(atom for atom, _ in monomial if atom not in known))
    return () if not rest and (coefficient > 0 or requirement.relation == "≠ 0") else (coefficient > 0, *rest)


def _condition(algebra: SymbolicAlgebra, requirement: Requirement, relation: str) -> str:
    polynomial = requirement.polynomial
    if algebra.of_sizes_alone(polynomial):
        return f"{as_size(algebra, polynomial)!r} {relation}"
    what = requirement.of or ("the divisor" if requirement.relation == "≠ 0" else "the radicand")
    if relation == "≠ 0" and sum(c if monomial else 0 for monomial, c in polynomial.items()) < 0:
        polynomial = algebra.scale(polynomial, -1)
    letters = _letters(algebra, polynomial)
    text = algebra.text(polynomial, letters)
    if len(text) <= _LONGEST:
        return f"{text} {relation}{_apart(algebra, polynomial, letters)} ({what} in {requirement.place})"
    return f"{what} in {requirement.place} is {relation}"


def _apart(algebra: SymbolicAlgebra, polynomial: Polynomial, letters: Callable[[int], str]) -> str:
    """Where two elements are meant, and one is 0 beside itself: that they are two."""
    pair = algebra.coinciding(polynomial, frozenset())
    if not pair or algebra.reduce(algebra.rename(polynomial, {pair[0]: pair[1]})):
        return ""
    one, other = (str(place[0]) if (place := place_of(name)) else letters(name) for name in pair)
    return f" for {one} ≠ {other}"


def _letters(algebra: SymbolicAlgebra, polynomial: Polynomial) -> Callable[[int], str]:
    """i, j, k, … for indices: those of the axes in their order, then those that are summed over."""
    known = {name: _INDICES[n] for n, name in enumerate(sorted(algebra.indices(polynomial), reverse=True))}

    def name(index: int) -> str:
        if index not in known:
            known[index] = _INDICES[len(known)] if len(known) < len(_INDICES) else f"i{len(known)}"
        return known[index]

    return name
