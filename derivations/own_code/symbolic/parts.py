"""Parts of arrays along axes of known length: elements, slices, and arrays put together from parts.

An array that is put together has, at the index j, the sum of its parts, each times [j = its place]. So a part is an
array like any other, of elements at places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, NoReturn

import numpy as np

from derivations.own_code.algebra.polynomials import LONGEST, ONE, Polynomial
from derivations.own_code.refusal import refusal
from derivations.own_code.symbolic import blocks, listed
from derivations.own_code.symbolic.arrays import Axis, SymbolicArray, axis_of, length, names_of_axis
from derivations.own_code.symbolic.shapes import broadcast_to, common, rearranged, reshape
from derivations.own_code.symbolic.sizes import Size, as_size

_RULE = f"a part may be taken along an axis whose length is a number, up to {LONGEST}"


def known_length(a: SymbolicArray, axis: int) -> int:
    """The length of an axis; refused where it is not known, or long."""
    n = as_size(a.algebra, length(a.algebra, a.axes[axis]))
    if not isinstance(n, int) or n > LONGEST:
        raise refusal(f"a part of an axis of length {_text(n)}", _RULE)
    return n


def _text(n: Any) -> str:
    return n.algebra.text(n.polynomial, str) if isinstance(n, Size) else str(n)


def at(a: SymbolicArray, axis: int, place: int) -> SymbolicArray:
    """The elements at one place of an axis, which is kept with the length 1."""
    names: dict[int, Any] = {}
    rest = place
    parts = list(zip(names_of_axis(a.ndim - 1 - axis, a.axes[axis]), a.axes[axis], strict=True))
    for name, part in reversed(parts):
        n = int(dict(part)[()])
        rest, digit = divmod(rest, n)
        names[name] = a.algebra.place(digit, n)
    axes = [*a.axes[:axis], (), *a.axes[axis + 1 :]]
    return a.like(axes, a.algebra.rename(a.polynomial, names))


def joined(parts: Sequence[SymbolicArray], axis: int) -> SymbolicArray:
    """Arrays of the length 1 along an axis, laid one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if len(parts) > LONGEST:
        raise refusal(f"an axis put together from {len(parts)} parts", _RULE)
    algebra, position = first.algebra, first.ndim - 1 - axis
    new = axis_of(algebra, len(parts))
    (name,) = names_of_axis(position, new)
    polynomial: Polynomial = {}
    axes = _axes_of_all(parts)
    for n, part in enumerate(parts):
        here = algebra.equal_indices(name, algebra.place(n, len(parts)))
        polynomial = algebra.add(polynomial, algebra.multiply(here, broadcast_to(part, axes).polynomial))
    signs = {part.positive for part in parts}
    positive = None if None in signs else "nonneg" if "nonneg" in signs else "pos"
    result = SymbolicArray(algebra, [*axes[:axis], new, *axes[axis + 1 :]], polynomial, positive)
    result.is_truth = all(part.is_truth for part in parts)
    return result


def _axes_of_all(parts: Sequence[SymbolicArray]) -> list[Axis]:
    """The axes, which must be as long in all parts."""
    first = parts[0]
    for part in parts:
        lengths = [[length(part.algebra, axis) for axis in one.axes] for one in (first, part)]
        if lengths[0] != lengths[1]:
            raise refusal(f"arrays of shapes {first.shape} and {part.shape} put together", "they must be as long")
    return list(max(parts, key=lambda part: sum(len(axis) for axis in part.axes)).axes)


@dataclass(frozen=True)
class Selection:
    """What a key in brackets selects: for each axis its places, or None for the whole of it."""

    places: list[list[int] | None]
    order: list[int | None]  # of the axes that are left, and None for new ones
    dropped: list[bool]


def selection(a: SymbolicArray, key: Any) -> Selection:
    """What a key in brackets selects."""
    keys = key if isinstance(key, tuple) else (key,)
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > a.ndim:
        raise refusal(f"{used} indices of an array of {a.ndim} axes", "give an index for each axis at most")
    if not any(k is Ellipsis for k in keys):
        keys = (*keys, Ellipsis)
    found = Selection([], [], [])
    for k in keys:
        axis = len(found.places)
        if k is None:
            found.order.append(None)
            continue
        if k is Ellipsis:
            rest = range(axis, axis + a.ndim - used)
            found.order.extend(rest)
            found.places.extend([None] * len(rest))
            found.dropped.extend([False] * len(rest))
            continue
        places, is_list = _places(a, axis, k)
        found.places.append(places)
        found.dropped.append(not is_list and not isinstance(k, slice))
        if not found.dropped[-1]:
            found.order.append(axis)
    return found


def _places(a: SymbolicArray, axis: int, key: Any) -> tuple[list[int] | None, bool]:
    """The places along an axis, None for the whole of it; and whether they came as a list."""
    if isinstance(key, slice):
        n = a.shape[axis]
        if isinstance(key.step, int | np.integer) and key.step < 0:
            places = list(range(known_length(a, axis)))[key]
            return (places, False) if places else _nothing()
        start, stop = (None if k is not None and _is_whole(k, end) else k for k, end in ((key.start, 0), (key.stop, n)))
        if start is None and stop is None and key.step in (None, 1):
            return None, False
        if any(k is not None and not isinstance(k, int | np.integer) for k in (start, stop, key.step)):
            raise refusal("a slice with bounds that are no numbers", _RULE)
        places = list(range(known_length(a, axis))[start : stop : key.step])
        return (places, False) if places else _nothing()
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return [_counted(a, axis, int(key))], False
    if isinstance(key, np.ndarray) and key.dtype == bool and key.ndim == 1:
        key = np.flatnonzero(key)
    numbers = key.tolist() if isinstance(key, np.ndarray) and key.ndim == 1 else key
    if (
        isinstance(numbers, list | range)
        and len(numbers)
        and all(type(k) is int or type(k) is np.int64 for k in numbers)
    ):
        return [_counted(a, axis, int(k)) for k in numbers], True
    raise refusal("indexing a part of an array", f"{_RULE}, by numbers, slices or a list of numbers")


def _nothing() -> NoReturn:
    raise refusal("a slice of no elements", "take at least one")


def _is_whole(bound: Any, end: Any) -> bool:
    """Whether a bound is that of the whole axis."""
    if isinstance(bound, Size) or isinstance(end, Size):
        return isinstance(bound, Size) and isinstance(end, Size) and bound.polynomial == end.polynomial
    return bool(bound == end)


def _counted(a: SymbolicArray, axis: int, place: int) -> int:
    n = 1 if not a.axes[axis] else known_length(a, axis)
    if not -n <= place < n:
        raise IndexError(f"index {place} is out of bounds for axis {axis} with size {n}")
    return place % n


def is_copy(key: Any) -> bool:
    """Whether a[key] is an array of its own, and not a view: where a list of places is given."""
    return any(isinstance(k, list | range | np.ndarray) for k in (key if isinstance(key, tuple) else (key,)))


def taken(a: SymbolicArray, key: Any) -> SymbolicArray:
    """a[key]."""
    if (found := listed.taken(a, key)) is not None:
        return found
    if (part := blocks.part(a, key)) is not None:
        a, key = part
    chosen = selection(a, key)
    for axis, places in enumerate(chosen.places):
        if places is not None and a.axes[axis]:
            a = joined([at(a, axis, place) for place in places], axis)
    return rearranged(a, chosen.order)


def replaced(a: SymbolicArray, key: Any, value: SymbolicArray) -> SymbolicArray:
    """The array after a[key] = value."""
    if (found := listed.replaced(a, key, value)) is not None:
        return found
    if (whole := blocks.replaced(a, key, value)) is not None:
        return whole
    chosen = selection(a, key)
    algebra = a.algebra
    value = broadcast_to(value, taken(a, key).axes)
    value = rearranged(value, [None if gone else chosen.order.index(axis) for axis, gone in enumerate(chosen.dropped)])
    for axis, places in enumerate(chosen.places):
        if places is None:  # split as the value is, or the value as the array
            a, value = common(a, value, axis, axis)
    partial = [axis for axis, places in enumerate(chosen.places) if places is not None and a.axes[axis]]
    result = a
    for numbers in product(*(range(len(chosen.places[axis] or ())) for axis in partial)):
        here, one = ONE, value
        for axis, number in zip(partial, numbers, strict=True):
            place = (chosen.places[axis] or [])[number]
            here = algebra.multiply(here, _is_at(result, axis, place))
            one = at(one, axis, number) if one.axes[axis] else one
        axes = [() if axis in partial else whole for axis, whole in enumerate(result.axes)]
        one = broadcast_to(one, axes)
        change = algebra.add(one.polynomial, result.polynomial, -1)
        polynomial = algebra.add(result.polynomial, algebra.multiply(here, change))
        result = result.like(result.axes, polynomial, None)
    return result


def _is_at(a: SymbolicArray, axis: int, place: int) -> Polynomial:
    """[j = place] for the index j of an axis."""
    result = ONE
    parts = list(zip(names_of_axis(a.ndim - 1 - axis, a.axes[axis]), a.axes[axis], strict=True))
    for name, part in reversed(parts):
        n = int(dict(part)[()])
        place, digit = divmod(place, n)
        result = a.algebra.multiply(result, a.algebra.equal_indices(name, a.algebra.place(digit, n)))
    return result


def numbers(a: SymbolicArray) -> SymbolicArray:
    """Truth values as the numbers 1 and 0, of which NumPy's sums are no truth values."""
    return SymbolicArray(a.algebra, a.axes, a.polynomial, a.positive)


# NumPy's functions


def stack(arrays: Sequence[SymbolicArray], axis: int = 0) -> SymbolicArray:
    """np.stack."""
    new = axis % (arrays[0].ndim + 1)
    wide = [rearranged(a, [*range(new), None, *range(new, a.ndim)]) for a in arrays]
    return joined(wide, new)


def concatenate(arrays: Sequence[SymbolicArray], axis: int | None = 0) -> SymbolicArray:
    """np.concatenate, along an axis of known lengths."""
    if axis is None:
        return concatenate([reshape(a, (-1,)) for a in arrays])
    if len(arrays) == 1:
        return arrays[0]
    n = axis % arrays[0].ndim
    return joined([one for a in arrays for one in pieces(a, n)], n)


def pieces(a: SymbolicArray, axis: int) -> list[SymbolicArray]:
    """The array taken apart along an axis, which each piece has with the length 1."""
    return [at(a, axis, place) for place in range(known_length(a, axis))] if a.axes[axis] else [a]


def split(a: SymbolicArray, sections: Any, axis: int = 0) -> list[SymbolicArray]:
    """np.split."""
    n = known_length(a, axis % a.ndim) if a.axes[axis % a.ndim] else 1
    if isinstance(sections, int | np.integer):
        if n % sections:
            raise ValueError("array split does not result in an equal division")
        bounds = list(range(0, n + 1, n // int(sections)))
    else:
        bounds = [0, *(int(k) for k in sections), n]
    whole = (slice(None),) * (axis % a.ndim)
    return [a[(*whole, slice(low, high))] for low, high in pairwise(bounds)]


def reordered(a: SymbolicArray, places: Sequence[int], axis: int) -> SymbolicArray:
    """The places of an axis in another order, or some of them."""
    return taken(a, (*(slice(None),) * (axis % a.ndim), list(places)))


def flip(a: SymbolicArray, axis: Any = None) -> SymbolicArray:
    """np.flip."""
    for n in range(a.ndim) if axis is None else [axis] if isinstance(axis, int) else axis:
        a = reordered(a, range(known_length(a, n) - 1, -1, -1), n) if a.axes[n] else a
    return a


def roll(a: SymbolicArray, shift: Any, axis: Any = None) -> SymbolicArray:
    """np.roll along axes."""
    if axis is None:
        raise refusal("numpy.roll without an axis", "name an axis")
    for by, n in zip(np.ravel(shift), np.ravel(axis), strict=True):
        count = known_length(a, int(n)) if a.axes[int(n)] else 1
        a = reordered(a, [(k - int(by)) % count for k in range(count)], int(n)) if count > 1 else a
    return a


def cumulated(a: SymbolicArray, axis: Any = None, *, exclusive: bool = False, reverse: bool = False) -> SymbolicArray:
    """np.cumsum along an axis."""
    if axis is None and a.ndim != 1:
        raise refusal("numpy.cumsum without an axis", "name an axis")
    n = (axis or 0) % a.ndim
    parts = pieces(numbers(a), n)
    parts = parts[::-1] if reverse else parts
    sums = [parts[0] * 0 if exclusive else parts[0]]
    for before, part in pairwise(parts):
        sums.append(sums[-1] + (before if exclusive else part))
    return joined(sums[::-1] if reverse else sums, n)


def padded(a: SymbolicArray, width: Any, mode: str = "constant", constant_values: Any = 0) -> SymbolicArray:
    """np.pad with a constant."""
    if mode != "constant" or np.ndim(constant_values):
        raise refusal(f"numpy.pad with mode={mode!r}", "padding with one number is understood")
    if a.is_truth and constant_values not in (0, 1):
        raise refusal("truth values padded with a number", "make them numbers by .astype(float)")
    widths = np.broadcast_to(np.asarray(width, dtype=int), (a.ndim, 2)).tolist()
    for axis, (before, after) in enumerate(widths):
        if before or after:
            parts = pieces(a, axis)
            edge = parts[0] * 0 + constant_values
            edge.is_truth = a.is_truth
            a = joined([*[edge] * before, *parts, *[edge] * after], axis)
    return a
