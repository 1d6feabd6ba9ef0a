"""Axes moved, merged, split, aligned and broadcast."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import count
from typing import Any

import numpy as np

from derivations.own_code.algebra.polynomials import ONE, Polynomial, frozen
from derivations.own_code.refusal import NotUnderstood, refusal
from derivations.own_code.symbolic.arrays import PLACES, Axis, SymbolicArray, axis_of, length, names_of_axis
from derivations.own_code.symbolic.sizes import Size
from derivations.own_code.written_numbers import exact, irrational

_NUMBERS = 256  # of an array of different ones


def _moved(a: SymbolicArray, order: Sequence[int | None], axes: Sequence[Axis]) -> Polynomial:
    """The polynomial with the axes in another place; ``order`` gives for each new axis the old one."""
    names: dict[int, Any] = {}
    for new, old in enumerate(order):
        if old is not None:
            before = names_of_axis(a.ndim - 1 - old, a.axes[old])
            after = names_of_axis(len(axes) - 1 - new, a.axes[old])
            names.update(zip(before, after, strict=True))
    return a.algebra.rename(a.polynomial, names)


def transpose(a: SymbolicArray, axes: Any = None) -> SymbolicArray:
    """NumPy's transpose."""
    order = [n % a.ndim for n in axes] if axes is not None else list(reversed(range(a.ndim)))
    if sorted(order) != list(range(a.ndim)):
        raise refusal(f"transposing {a.ndim} axes by {tuple(order)}", "name each axis once")
    new = [a.axes[n] for n in order]
    return a._view(new, _moved(a, order, new))


def rearranged(a: SymbolicArray, order: Sequence[int | None]) -> SymbolicArray:
    """Axes kept in another order; None is a new one of length 1."""
    new = [a.axes[n] if n is not None else () for n in order]
    return a._view(new, _moved(a, order, new))


def lift(algebra: Any, value: Any) -> SymbolicArray:
    """A number, a size, or an array whose elements are all equal, as an array of this algebra."""
    if isinstance(value, SymbolicArray):
        return value
    if isinstance(value, Size):
        return value._array()
    if isinstance(value, list | tuple) and any(isinstance(v, SymbolicArray | Size | list | tuple) for v in value):
        return _stacked(algebra, value)
    try:
        array = np.asarray(value)
    except NotUnderstood:
        raise
    except Exception as error:
        raise refusal(
            f"a value of type {type(value).__name__}", "only numbers and arrays can be computed with"
        ) from error
    if isinstance(value, Fraction):
        array = np.asarray(float(value))
    if array.dtype.kind not in "biuf":
        raise refusal(f"a value of type {type(value).__name__}", "only real numbers and arrays can be computed with")
    if array.size == 0:
        raise refusal("an array without elements", "give it elements")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise refusal("NaN", "only finite numbers can be computed with")
    if (array != array.flat[0]).any():
        if array.size > _NUMBERS:
            raise refusal(
                f"an array of different numbers, of shape {array.shape}",
                "name it as an input of its own, so that the gradient is proved for all its values",
            )
        return _stacked(algebra, array)
    entry = array.flat[0]
    try:
        number = exact(value if not isinstance(value, np.ndarray | list) and array.ndim == 0 else entry)
    except ValueError as error:
        raise refusal(f"the number {entry}", "only finite numbers can be computed with") from error
    positive = "pos" if number > 0 else "nonneg" if number == 0 else None
    constant = algebra.constant(number)
    if known := irrational(entry if isinstance(entry, np.float32) else float(entry)):
        sign, square, halves = known
        constant = algebra.scale(algebra.power(algebra.constant(square), Fraction(1, 2)), sign)
        constant = algebra.multiply(constant, algebra.power_of_pi(Fraction(halves, 2)))
    result = SymbolicArray(algebra, [axis_of(algebra, n) for n in array.shape], constant, positive)
    result.is_truth = array.dtype.kind == "b"
    return result


def _stacked(algebra: Any, values: Any) -> SymbolicArray:
    """An array from what stands at the places of its first axis."""
    from derivations.own_code.symbolic.parts import stack

    return stack([lift(algebra, value) for value in values])


def split(a: SymbolicArray, axis: int, parts: Axis) -> SymbolicArray:
    """The axis, of one known length, as several."""
    position = a.ndim - 1 - axis
    (name,) = names_of_axis(position, a.axes[axis])
    _places_of_parts(a.algebra, dict(a.axes[axis][0]), [dict(part) for part in parts])
    place = place_on(zip(names_of_axis(position, parts), map(dict, parts), strict=True))
    axes = [*a.axes[:axis], parts, *a.axes[axis + 1 :]]
    fresh = 10**7  # the new names contain the old one
    polynomial = a.algebra.rename(a.polynomial, {name: fresh})
    return a._view(axes, a.algebra.rename(polynomial, {fresh: place}))


def place_on(parts: Iterable[tuple[int, Polynomial]]) -> Any:
    """The place on an axis that is split, from the indices and the lengths of its parts."""
    (first, _), *others = parts
    place: Any = first
    for inner, size in others:
        place = (place, inner, str(frozen(size)))
    return place


def _places_of_parts(algebra: Any, whole: Polynomial, parts: Sequence[Polynomial]) -> None:
    """Where single places are used of an axis that is split, they are of its parts as well."""
    if set(whole) == {()} and whole[()] in algebra.apart:
        for part in parts:
            algebra.needs_apart(int(part[()]))


def common(a: SymbolicArray, b: SymbolicArray, axis_a: int, axis_b: int) -> tuple[SymbolicArray, SymbolicArray]:
    """The two with equal axes there, one split as the other is; refused if they do not fit for every size."""
    left, right = a.axes[axis_a], b.axes[axis_b]
    if left == right or not left or not right:
        return a, b
    if length(a.algebra, left) == length(b.algebra, right):
        if len(left) == 1 and len(right) > 1 and all(_known(part) for part in right):
            return split(a, axis_a, right), b
        if len(right) == 1 and len(left) > 1 and all(_known(part) for part in left):
            return a, split(b, axis_b, left)
        for one, n, other in ((a, axis_a, right), (b, axis_b, left)):
            if len(one.axes[n]) == 1 and one.algebra.indices(one.polynomial).isdisjoint(
                names_of_axis(one.ndim - 1 - n, one.axes[n])
            ):  # constant along this axis
                same = one._view([*one.axes[:n], other, *one.axes[n + 1 :]], one.polynomial)
                return (same, b) if one is a else (a, same)
        rule = "reshape both in the same way"
        raise refusal("an axis that was merged beside one that was not", rule, may_be_refuted=True)
    raise refusal(
        f"shapes {a.shape} and {b.shape} in one operation",
        "they do not fit for every size: an axis must have the same length in both, or length 1",
    )


def _known(part: Any) -> bool:
    return all(monomial == () for monomial, _ in part)


def aligned(arrays: Sequence[SymbolicArray]) -> tuple[list[SymbolicArray], tuple[Axis, ...]]:
    """The arrays, and the axes of what they give together."""
    arrays = list(arrays)
    rank = max(a.ndim for a in arrays)
    for position in range(rank):
        for n in range(len(arrays)):
            for k in range(n):
                a, b = arrays[n], arrays[k]
                if position < a.ndim and position < b.ndim:
                    arrays[n], arrays[k] = common(a, b, a.ndim - 1 - position, b.ndim - 1 - position)
    axes: list[Axis] = []
    for position in reversed(range(rank)):
        found = [a.axes[a.ndim - 1 - position] for a in arrays if position < a.ndim]
        axes.append(next((axis for axis in found if axis), ()))
    return arrays, tuple(axes)


def broadcast_to(a: SymbolicArray, axes: Sequence[Axis]) -> SymbolicArray:
    """NumPy's broadcast_to."""
    target = SymbolicArray(a.algebra, axes, {})
    (wide, _), common = aligned([a, target])
    lengths = [length(a.algebra, axis) for axis in common]
    if len(common) != len(axes) or lengths != [length(a.algebra, axis) for axis in axes]:
        raise refusal(f"shape {a.shape} broadcast to {target.shape}", "the shapes do not fit for every size")
    return a.like(common, wide.polynomial)


def reshape(a: SymbolicArray, shape: Sequence[Any]) -> SymbolicArray:
    """Whole axes merged or split; one length may be −1."""
    algebra: Any = a.algebra
    parts = [(n, part) for n, axis in enumerate(a.axes) for part in axis]
    wanted: list[Polynomial | None] = [
        None if isinstance(n, int) and n == -1 else length(algebra, axis_of(algebra, n)) for n in shape
    ]
    if wanted.count(None) > 1:  # -1 twice
        raise refusal("reshape with two lengths of −1", "give all lengths but one")
    if None in wanted:
        rest = length(algebra, [part for _, part in parts])  # type: ignore[arg-type]
        for known in wanted:
            if known is not None:
                if len(known) != 1:
                    raise _no_reshape(a, shape)
                rest = algebra.multiply(rest, algebra.power(known, -1))
        wanted[wanted.index(None)] = rest
    names = [name for n, axis in enumerate(a.axes) for name in names_of_axis(a.ndim - 1 - n, axis)]
    lengths: list[Polynomial] = [dict(part) for _, part in parts]
    result: list[Axis] = []
    renamed: dict[int, Any] = {}
    queue = list(zip(names, lengths, strict=True))
    splits: dict[
        int, list[tuple[int, Polynomial]]
    ] = {}  # a name, and those of the parts of its axis with their lengths
    fresh = count(10**7)
    for n, target in enumerate(wanted):
        assert target is not None
        position = len(wanted) - 1 - n
        axis: list[Any] = []
        left = target
        while left != ONE:
            if not queue:
                raise _no_reshape(a, shape)
            name, size = queue.pop(0)
            ratio = algebra.multiply(left, algebra.power(size, -1)) if len(size) == 1 else None
            if size == left:
                left = ONE
            elif ratio is not None and _whole(ratio):
                left = ratio
            elif len(left) == 1 and _whole(inner := algebra.multiply(size, algebra.power(left, -1))):
                _places_of_parts(algebra, size, [left, inner])
                first, second = next(fresh), next(fresh)
                pieces = next((found for found in splits.values() if found[-1][0] == name), None)
                pieces = splits.setdefault(name, [(name, size)]) if pieces is None else pieces
                pieces[-1:] = [(first, left), (second, inner)]
                queue.insert(0, (second, inner))
                name, size, left = first, left, ONE
            else:
                raise _no_reshape(a, shape)
            if len(axis) == PLACES:
                raise _no_reshape(a, shape)
            renamed[name] = position * PLACES + len(axis)
            axis.append(frozen(size))
        result.append(tuple(axis))
    if queue:
        raise _no_reshape(a, shape)
    polynomial = a.polynomial
    for name, pieces in splits.items():
        polynomial = algebra.rename(polynomial, {name: place_on(pieces)})
    # In two steps: the new names may be old ones of other indices.
    away = {name: 2 * 10**7 + n for n, name in enumerate(renamed)}
    polynomial = algebra.rename(algebra.rename(polynomial, away), {away[name]: new for name, new in renamed.items()})
    for n in range(len(result)):
        result[n], polynomial = _whole_again(algebra, len(result) - 1 - n, result[n], polynomial)
    return a._view(result, polynomial)


def _whole_again(algebra: Any, position: int, axis: Axis, polynomial: Polynomial) -> tuple[Axis, Polynomial]:
    """An axis of an unknown number of blocks that was split, and is merged, is one axis as before."""
    if len(axis) != 2 or not algebra.is_rounded(dict(axis[0])):
        return axis, polynomial
    first, second = names_of_axis(position, axis)
    fresh = 10**7
    places = {place: fresh for place in algebra.split_places(polynomial) if place[:2] == (first, second)}
    one = algebra.rename(polynomial, places)
    if not algebra.indices(one).isdisjoint((first, second)):
        return axis, polynomial
    one = algebra.rename(one, {fresh: first})
    return (frozen(length(algebra, axis)),), one


def _whole(ratio: Polynomial) -> bool:
    """Whether a ratio of lengths is a length itself."""
    return all(c.denominator == 1 and all(power > 0 for _, power in m) for m, c in ratio.items())


def _no_reshape(a: SymbolicArray, shape: Sequence[Any]) -> NotUnderstood:
    rule = "only whole axes can be merged or split, in order"
    return refusal(f"reshaping {a.shape} to {tuple(shape)}", rule, may_be_refuted=True)
