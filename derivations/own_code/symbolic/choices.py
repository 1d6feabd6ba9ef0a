"""Choices by values on arrays of unknown sizes: comparisons, maxima of two, absolute values.

A comparison is 1 or 0, written by the sign of a difference: [a > b] = (1 + sign(a − b))/2, where a ≠ b, which is noted.
A sign is one more element, whose derivative is 0 and whose square is 1. So a choice is arithmetic: where(c, a, b) is
b + c·(a − b), and max(a, b) is b + [a > b]·(a − b). Where a and b agree, nothing is claimed.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from derivations.own_code.algebra.algebra import LABEL, SIGNS
from derivations.own_code.algebra.polynomials import ONE, Polynomial, TooComplex
from derivations.own_code.refusal import line_of_user, refusal
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.elementwise import elementwise
from derivations.own_code.symbolic.journal import COMPARED, Requirement
from derivations.own_code.symbolic.sizes import sign as size_sign
from derivations.own_code.written_numbers import is_infinite

_HALF = Fraction(1, 2)
_PROBE = "\0probe"  # a direction; no input has this name


def greater(a: SymbolicArray, b: SymbolicArray, ties: bool = False) -> SymbolicArray:
    """a > b as an array of truth values; ``ties`` where both are the same expression."""
    if not b.polynomial and a.positive == "pos":
        return _truth(elementwise(lambda x, y: ONE, [a, b], "pos"))
    return _truth(elementwise(lambda x, y: _is_positive(a.algebra, a.algebra.add(x, y, -1), ties), [a, b], "nonneg"))


def _is_positive(algebra: Any, a: Polynomial, ties: bool) -> Polynomial:
    """1 where a > 0, and 0 where a < 0."""

    def of(case: Polynomial) -> Polynomial:
        if not case:
            return ONE if ties else {}
        sign = _sign_of_difference(algebra, case)
        return algebra.add({(): _HALF}, algebra.scale(sign, _HALF))

    return _by_cases(algebra, a, of)


def equal(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a == b: true of the same expression, and false of others, which is noted; of labels it may be either."""

    def of(case: Polynomial) -> Polynomial:
        if case and _of_labels(a.algebra, case):
            return _either(a.algebra, case)
        if case:
            _sign_of_difference(a.algebra, case)
        return {} if case else ONE

    return _truth(
        elementwise(lambda x, y: _by_cases(a.algebra, a.algebra.add(x, y, -1), of), [a, b], "nonneg"),
    )


def _of_labels(algebra: Any, a: Polynomial) -> bool:
    """Whether nothing stands in it but inputs whose gradients are not judged."""
    names = {name for name, _ in algebra.elements_in(a)}
    return bool(names) and names <= algebra.labels


def _either(algebra: Any, a: Polynomial) -> Polynomial:
    """1 or 0: [a = 0], of which both are judged, as one more element that is positive or negative."""
    rest = {monomial: c for monomial, c in a.items() if monomial}
    first = rest[min(rest)]
    number = -a.get((), Fraction(0)) / first
    algebra.journal.labels[number] = None
    places = tuple(sorted(algebra.indices(a)))
    letters = {index: "ijklmnpqrs"[n] if n < 10 else f"i{n}" for n, index in enumerate(places)}
    text = algebra.text(algebra.scale(rest, 1 / first), lambda index: letters.get(index, str(index)))
    element = algebra.element(f"{LABEL}{text} = {number}", places)
    return algebra.add({(): _HALF}, algebra.scale(algebra.function("sign", element), _HALF))


def _sign_of_difference(algebra: Any, a: Polynomial) -> Polynomial:
    """The sign of what is compared, and is noted not to be 0."""
    for name, _ in algebra.journal.largest.values():
        if algebra.derivative(a, name, _PROBE):  # it depends on it; the largest element is equal to it
            raise refusal("a comparison with a maximum or minimum of values", "the largest element has no derivative")
    if algebra.of_sizes_alone(a):
        if algebra.is_rounded(a) or abs(known := size_sign(a) or 0) != 1:
            raise refusal("a comparison of sizes", "it must have the same answer for every size")
        return algebra.constant(known)
    if is_infinite(constant := a.get((), Fraction(0))):  # a comparison with −∞
        return algebra.constant(1 if constant > 0 else -1)
    sign = algebra.function("sign", a)
    compared = [dict(algebra.atoms[atom][2]) for atom, _ in next(iter(sign))]
    if not compared and not algebra.is_never_zero(a):
        compared = [a]
    for difference in compared:
        algebra.journal.requirements.append(Requirement(difference, "≠ 0", line_of_user(), COMPARED))
    return sign


def _by_cases(algebra: Any, a: Polynomial, of: Callable[[Polynomial], Polynomial]) -> Polynomial:
    """A function of a, for each sign that stands in a in both cases, and place by place."""
    return algebra.by_coincidence(a, lambda case: _by_signs(algebra, case, of))


def _by_signs(algebra: Any, a: Polynomial, of: Callable[[Polynomial], Polynomial]) -> Polynomial:
    a = algebra.reduce(a)
    inside = sorted(algebra.signs_in(a))
    if not inside:
        return of(a)
    if len(inside) > SIGNS:
        raise TooComplex(f"a comparison of what holds more than {SIGNS} choices")
    sign, result = inside[0], dict[Any, Fraction]()
    for value in (1, -1):
        weight = {(): _HALF, ((sign, 1),): _HALF * value}
        case = _by_cases(algebra, algebra.with_signs(a, {sign: value}), of)
        result = algebra.add(result, algebra.multiply(weight, case))
    return result


def choose(condition: SymbolicArray, a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """np.where: a where the condition is true, otherwise b."""
    if not condition.is_truth:
        raise refusal("a choice by numbers", "choose by a comparison, such as x > 0")
    algebra = condition.algebra

    def chosen(c: Polynomial, x: Polynomial, y: Polynomial) -> Polynomial:
        return algebra.add(y, algebra.multiply(c, algebra.add(x, y, -1)))

    signs = {a.positive, b.positive}
    known = None if None in signs else "nonneg" if "nonneg" in signs else "pos"
    result = elementwise(chosen, [condition, a, b], known)
    result.is_truth = a.is_truth and b.is_truth
    return result


def maximum(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """np.maximum; of truth values a or b."""
    if a.is_truth and b.is_truth:
        return disjunction(a, b)
    result = choose(greater(a, b), a, b)
    signs = {a.positive, b.positive}
    result.positive = "pos" if "pos" in signs else "nonneg" if "nonneg" in signs else None
    return result


def minimum(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """np.minimum; of truth values a and b."""
    if a.is_truth and b.is_truth:
        return conjunction(a, b)
    return choose(greater(a, b), b, a)


def clip(a: SymbolicArray, low: SymbolicArray | None, high: SymbolicArray | None) -> SymbolicArray:
    """np.clip; None is no limit."""
    result = a if low is None else maximum(a, low)
    return result if high is None else minimum(result, high)


def always(a: SymbolicArray, value: bool) -> SymbolicArray:
    """The same truth value for all elements, such as that of ``np.isnan`` of real numbers."""
    return _truth(elementwise(lambda x: ONE if value else {}, [a], "nonneg"))


def decided(a: SymbolicArray, name: str) -> bool:
    """a.any() or a.all(), where all truth values are the same for all inputs."""
    if not a.is_truth or a.polynomial not in ({}, ONE):
        raise refusal(f".{name}() of the data", "control flow on values has no one derivative; use arithmetic only")
    return bool(a.polynomial)


def sign_of(a: SymbolicArray) -> SymbolicArray:
    """np.sign, where the element is not 0."""
    if a.positive == "pos":
        return elementwise(lambda x: ONE, [a], "pos")

    def of(case: Polynomial) -> Polynomial:
        return _sign_of_difference(a.algebra, case) if case else {}

    return elementwise(lambda x: _by_cases(a.algebra, x, of), [a], None)


def absolute(a: SymbolicArray) -> SymbolicArray:
    """np.abs."""
    if a.positive:
        return a

    def of(case: Polynomial) -> Polynomial:
        return a.algebra.multiply(case, a.algebra.function("sign", case)) if case else {}

    return elementwise(lambda x: _by_cases(a.algebra, x, of), [a], "nonneg")


# Truth values


def negation(a: SymbolicArray) -> SymbolicArray:
    """~a."""
    return _truth(elementwise(lambda x: a.algebra.add(ONE, x, -1), [_checked(a)], "nonneg"))


def conjunction(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a & b."""
    return _truth(elementwise(a.algebra.multiply, [_checked(a), _checked(b)], "nonneg"))


def disjunction(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a | b."""
    return negation(conjunction(negation(a), negation(b)))


def difference(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a ^ b."""
    return conjunction(disjunction(a, b), negation(conjunction(a, b)))


def _truth(result: SymbolicArray) -> SymbolicArray:
    result.is_truth = True
    return result


def _checked(a: SymbolicArray) -> SymbolicArray:
    if not a.is_truth:
        raise refusal("logic on numbers", "compare them first, as in x > 0")
    return a
