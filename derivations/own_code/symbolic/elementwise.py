"""Operations on the elements of arrays of unknown sizes, what they require, and sums over axes."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from derivations.own_code.algebra.polynomials import DividesByZero, Polynomial, frozen
from derivations.own_code.refusal import line_of_user, refusal
from derivations.own_code.symbolic.arrays import SymbolicArray, names_of_axis
from derivations.own_code.symbolic.journal import Requirement
from derivations.own_code.symbolic.shapes import aligned, rearranged
from derivations.own_code.symbolic.sizes import sign
from derivations.own_code.written_numbers import is_infinite


def elementwise(
    operation: Callable[..., Polynomial], arrays: Sequence[SymbolicArray], positive: str | None
) -> SymbolicArray:
    """A function of the elements at the same indices."""
    wide, axes = aligned(arrays)
    return SymbolicArray(wide[0].algebra, axes, operation(*(a.polynomial for a in wide)), positive)


def both(a: SymbolicArray, b: SymbolicArray, *, sum_: bool) -> str | None:
    """What is known of the sign of a sum, or a product."""
    signs = {a.positive, b.positive}
    if None in signs:
        return None
    if sum_:
        return "pos" if "pos" in signs else "nonneg"
    return "pos" if signs == {"pos"} else "nonneg"


def powered(a: SymbolicArray, power: Fraction) -> SymbolicArray:
    """Whole and half powers; what they require is noted."""
    if power.denominator == 2:
        _refuse_truth(a)
    if power.denominator > 2:
        raise refusal(f"the power {power}", "whole and half powers are understood")
    whole = power.denominator == 1
    if power < 0 and is_infinite(a.polynomial.get((), Fraction(0))):
        raise refusal("a division by an infinite number", "only finite numbers can be computed with")
    if power < 0 or not whole:
        _require(a, "≠ 0" if whole else "> 0" if power < 0 else "≥ 0")
    try:
        result = a.algebra.power(a.polynomial, power if not whole else int(power))
    except DividesByZero:
        raise refusal("a division by what is 0 for every input", "0 has no inverse") from None
    positive = a.positive or ("nonneg" if (not whole or power % 2 == 0) else None)
    if positive == "nonneg" and power < 0:
        positive = "pos"
    return SymbolicArray(a.algebra, a.axes, result, positive)


def _require(a: SymbolicArray, relation: str, of: str = "") -> None:
    if a.positive == "pos" or (a.positive == "nonneg" and relation == "≥ 0"):
        return

    def demanded(case: Polynomial) -> Polynomial:
        _require_one(a.algebra, case, relation, of)
        return case

    a.algebra.by_places(a.polynomial, demanded)


def _require_one(algebra: Any, a: Polynomial, relation: str, of: str) -> None:
    polynomial = algebra.reduce(a)
    is_known = algebra.of_sizes_alone(polynomial) and not algebra.is_rounded(polynomial)  # a quotient may be 0
    known = sign(polynomial) if is_known else None
    if known == 1 or (known == -1 and relation == "≠ 0"):
        return
    if relation != "≠ 0" and polynomial and known in (-1, -2):
        raise refusal("the root of what is never positive", "a root is taken of what is ≥ 0")
    algebra.journal.requirements.append(Requirement(polynomial, relation, line_of_user(), of))


def _refuse_truth(a: SymbolicArray) -> None:
    if a.is_truth:
        raise refusal("a root or function of truth values", "NumPy takes it in half precision; use .astype(float)")


def function_of(name: str, a: SymbolicArray) -> SymbolicArray:
    """exp, log, tanh, sin, cos, erf of every element."""
    _refuse_truth(a)
    if name == "log":
        _require(a, "> 0", "the argument of a logarithm")
    result = a.algebra.function(name, a.polynomial)
    return SymbolicArray(a.algebra, a.axes, result, "pos" if name == "exp" else None)


def largest(a: SymbolicArray, axes: Sequence[int], keepdims: bool = False, kind: str = "max") -> SymbolicArray:
    """A maximum, or minimum: any number, held constant. What is proved must not depend on it (``stable softmax``)."""
    algebra = a.algebra
    what = kind, frozen(a.polynomial), tuple(axes), a.axes
    known = algebra.journal.largest
    name, _ = known.setdefault(what, (f"{kind} {len(known)}", line_of_user()))
    left = [() if n in axes else axis for n, axis in enumerate(a.axes)]
    places = tuple(p for n, axis in enumerate(left) for p in names_of_axis(a.ndim - 1 - n, axis))
    result = SymbolicArray(algebra, left, algebra.element(name, places))
    return result if keepdims else rearranged(result, [n for n in range(a.ndim) if n not in axes])


def total(a: SymbolicArray, axes: Sequence[int], keepdims: bool = False) -> SymbolicArray:
    """The sum over these axes."""
    polynomial = a.polynomial
    for axis in axes:
        for name, size in zip(names_of_axis(a.ndim - 1 - axis, a.axes[axis]), a.axes[axis], strict=True):
            polynomial = a.algebra.total(polynomial, name, dict(size))
    left: list[int | None] = [n for n in range(a.ndim) if n not in axes]
    reduced = SymbolicArray(
        a.algebra, [() if n in axes else axis for n, axis in enumerate(a.axes)], polynomial, a.positive
    )
    if keepdims:
        return reduced
    result = rearranged(reduced, left)
    return SymbolicArray(a.algebra, result.axes, result.polynomial, a.positive)
