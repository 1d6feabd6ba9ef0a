"""Axes of unknown length cut after whole blocks, as sums in stages cut them, and slices of every n-th element.

The whole blocks and the rest keep the indices of the axis: a sum over the rows below ⌊N/64⌋·64 is the sum over all rows
of [i < ⌊N/64⌋·64]·row, and that over the rest the sum of what is left. What a slice with an unknown step holds is not
known: it is any number, and nothing may depend on it but what is held constant.
"""

from typing import Any

from derivations.own_code.algebra.polynomials import ONE, TooComplex, frozen
from derivations.own_code.refusal import line_of_user, refusal
from derivations.own_code.symbolic.arrays import SymbolicArray, length, names_of_axis
from derivations.own_code.symbolic.sizes import Size


def part(a: SymbolicArray, key: Any) -> tuple[SymbolicArray, Any] | None:
    """a[:k], a[k:] or a[::n] for an unknown k or n, and what else the key says; None for other keys."""
    keys = key if isinstance(key, tuple) else (key,)
    cut = [n for n, k in enumerate(keys) if isinstance(k, slice) and _has_unknown_bounds(k)]
    if not cut:
        return None
    axis = cut[0]
    if len(cut) > 1 or any(k is None or k is Ellipsis for k in keys[:axis]):
        raise refusal("this slice of an axis of unknown length", "cut one axis at a time, by whole axes before it")
    rest = (*keys[:axis], slice(None), *keys[axis + 1 :])
    start, stop, step = keys[axis].start, keys[axis].stop, keys[axis].step
    start = None if isinstance(start, int) and not isinstance(start, Size) and start == 0 else start
    if isinstance(step, Size) and start is None and stop is None:
        return _every_so_many(a, axis), rest
    bound = stop if start is None else start
    if not isinstance(bound, Size) or None not in (start, stop) or step is not None:
        raise refusal("this slice of an axis of unknown length", "give the length as a number")
    whole = length(a.algebra, a.axes[axis])
    if bound.polynomial == whole:
        return (a if start is None else _nothing_of(a, axis)), rest
    try:
        left = a.algebra.cut(bound.polynomial, whole)
    except TooComplex as error:
        raise refusal("this slice of an axis of unknown length", str(error)) from error
    a = _with_one_index(a, axis)
    new = frozen(left if stop is None else bound.polynomial)
    return a.like([*a.axes[:axis], (new,), *a.axes[axis + 1 :]], a.polynomial), rest


def replaced(a: SymbolicArray, key: Any, value: SymbolicArray) -> SymbolicArray | None:
    """The array after a[:k] = value or a[k:] = value for an unknown k; None for other keys."""
    from derivations.own_code.symbolic import parts

    if (found := part(a, key)) is None:
        return None
    before, rest = found
    after = parts.replaced(before, rest, value)
    algebra = a.algebra
    (axis,) = [n for n in range(a.ndim) if before.axes[n] != a.axes[n]]
    (index,) = names_of_axis(a.ndim - 1 - axis, a.axes[axis])
    if (here := algebra.within(index, dict(before.axes[axis][0]))) == ONE:
        raise refusal("assigning to a slice with an unknown step", "assign to the whole array")
    change = algebra.add(after.polynomial, before.polynomial, -1)
    return a.like(a.axes, algebra.add(a.polynomial, algebra.multiply(here, change)), None)


def _has_unknown_bounds(key: slice) -> bool:
    return any(isinstance(bound, Size) for bound in (key.start, key.stop, key.step))


def _nothing_of(a: SymbolicArray, axis: int) -> SymbolicArray:
    """What is left of an axis behind its end."""
    return a.like([*a.axes[:axis], (frozen({}),), *a.axes[axis + 1 :]], {})


def _with_one_index(a: SymbolicArray, axis: int) -> SymbolicArray:
    """Axes that were merged, such as those of images, with one index that counts through all their elements."""
    sizes = a.axes[axis]
    if len(sizes) == 1:
        return a
    names = names_of_axis(a.ndim - 1 - axis, sizes)
    fresh = 10**7  # the new places contain an old name
    places = dict(zip(names, a.algebra.as_one_index(fresh, sizes), strict=True))
    polynomial = a.algebra.rename(a.algebra.rename(a.polynomial, places), {fresh: names[0]})
    return a.like([*a.axes[:axis], (frozen(length(a.algebra, sizes)),), *a.axes[axis + 1 :]], polynomial)


def _every_so_many(a: SymbolicArray, axis: int) -> SymbolicArray:
    algebra = a.algebra
    known = algebra.journal.largest
    name, _ = known.setdefault(("step", frozen(a.polynomial), axis, a.axes), (f"step {len(known)}", line_of_user()))
    new = (frozen(algebra.size(f" length {name}")),)
    axes = [*a.axes[:axis], new, *a.axes[axis + 1 :]]
    places = tuple(p for n, part in enumerate(axes) for p in names_of_axis(a.ndim - 1 - n, part))
    return SymbolicArray(algebra, axes, algebra.element(name, places))
