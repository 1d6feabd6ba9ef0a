"""NumPy's functions that move, repeat or make axes, on arrays of unknown sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.own_code.algebra.polynomials import ONE
from derivations.own_code.refusal import refusal
from derivations.own_code.symbolic.arrays import SymbolicArray, axis_of, names_of_axis
from derivations.own_code.symbolic.elementwise import total
from derivations.own_code.symbolic.parts import joined, pieces
from derivations.own_code.symbolic.reductions import axes_of, floats_only, only_out
from derivations.own_code.symbolic.shapes import broadcast_to, lift, rearranged, reshape, transpose
from derivations.own_code.symbolic.sizes import Size
from derivations.own_code.symbolic.ufuncs import multiply


def squeeze(a: SymbolicArray, axis: Any = None) -> SymbolicArray:
    """np.squeeze; without an axis it is proved for sizes other than 1."""
    if axis is None:
        for n in a.shape:
            if isinstance(n, Size):
                a.algebra.journal.notes.append(f"{n} ≠ 1")
        gone = [n for n, part in enumerate(a.axes) if not part]
    else:
        gone = axes_of(a, axis)
        if any(a.axes[n] for n in gone):
            raise refusal(f"squeeze of the axis {axis} of {a.shape}", "only an axis of length 1 can be left out")
    return rearranged(a, [n for n in range(a.ndim) if n not in gone])


def expand_dims(a: SymbolicArray, axis: Any) -> SymbolicArray:
    """np.expand_dims."""
    chosen = [axis] if isinstance(axis, int) else list(axis)
    rank = a.ndim + len(chosen)
    places = {n % rank for n in chosen}
    rest = iter(range(a.ndim))
    return rearranged(a, [None if n in places else next(rest) for n in range(rank)])


def reshaped(a: SymbolicArray, *shape: Any, order: str = "C", **options: Any) -> SymbolicArray:
    shape = shape or (options.pop("newshape", None) or options.pop("shape", None),)
    if order not in ("C", "A") or set(options) - {"copy"}:
        raise refusal(f"reshape with order={order!r}", "leave the argument out")
    target = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    return reshape(a, target)


def flattened(a: SymbolicArray, order: str = "C") -> SymbolicArray:
    """np.ravel."""
    return reshaped(a, -1, order="C" if order == "K" else order)


def transposed(a: SymbolicArray, *axes: Any, **options: Any) -> SymbolicArray:
    axes = options.pop("axes", axes)
    if axes is None or (len(axes) == 1 and axes[0] is None):
        axes = ()
    order = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
    return transpose(a, order or None)


def swapaxes(a: SymbolicArray, first: int, second: int) -> SymbolicArray:
    """np.swapaxes."""
    order = list(range(a.ndim))
    order[first], order[second] = order[second], order[first]
    return transpose(a, order)


def moveaxis(a: SymbolicArray, source: Any, destination: Any) -> SymbolicArray:
    """np.moveaxis."""
    from_, to = ([n] if isinstance(n, int) else list(n) for n in (source, destination))
    from_, to = [n % a.ndim for n in from_], [n % a.ndim for n in to]
    order = [n for n in range(a.ndim) if n not in from_]
    for place, n in sorted(zip(to, from_, strict=True)):
        order.insert(place, n)
    return transpose(a, order)


def tile(a: SymbolicArray, reps: Any) -> SymbolicArray:
    """np.tile; of an axis that is longer than 1 where its length is known."""
    counts = list(reps) if isinstance(reps, tuple | list) else [reps]
    rank = max(len(counts), a.ndim)
    counts = [1] * (rank - len(counts)) + counts
    wide = rearranged(a, [*[None] * (rank - a.ndim), *range(a.ndim)])
    for axis, n in enumerate(counts):
        wide = _repeated(wide, n, axis, lambda parts, n: parts * n)
    return wide


def repeat(a: SymbolicArray, repeats: Any, axis: Any = None) -> SymbolicArray:
    """np.repeat; of an axis that is longer than 1 where its length is known."""
    if axis is None:
        raise refusal("numpy.repeat without an axis", "name an axis")
    return _repeated(a, repeats, axis % a.ndim, lambda parts, n: [part for part in parts for _ in range(n)])


def _repeated(a: SymbolicArray, n: Any, axis: int, order: Callable[[list[Any], int], list[Any]]) -> SymbolicArray:
    new = axis_of(a.algebra, n)
    if not new:
        return a
    if a.axes[axis]:
        if not isinstance(n, int | np.integer):
            raise refusal("repeating an axis as often as an unknown size", "only axes of length 1 can be so repeated")
        return joined(order(pieces(a, axis), int(n)), axis)
    return broadcast_to(a, [*a.axes[:axis], new, *a.axes[axis + 1 :]])


def filled(algebra: Any, shape: Any, value: Any) -> SymbolicArray:
    """An array of one value."""
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    return SymbolicArray(
        algebra, [axis_of(algebra, n) for n in lengths], lift(algebra, value).polynomial, lift(algebra, value).positive
    )


def unset(algebra: Any, shape: Any) -> SymbolicArray:
    """np.empty: what was not written may be anything."""
    empty = filled(algebra, shape, 0)
    name = f"unset {next(algebra.unset)}"
    places: tuple[Any, ...] = tuple(
        name for n, axis in enumerate(empty.axes) for name in names_of_axis(empty.ndim - 1 - n, axis)
    )
    return SymbolicArray(algebra, empty.axes, algebra.element(name, places))


def identity(algebra: Any, n: Any, columns: Any = None, k: int = 0, dtype: Any = None, **options: Any) -> SymbolicArray:
    """np.eye."""
    only_out("eye", options)
    if k or columns is not None:
        if not isinstance(n, int) or not isinstance(columns, int | None):
            raise refusal("numpy.eye that is not square, or of another diagonal", "give sizes that are numbers")
        return lift(algebra, np.eye(n, columns, k, float if dtype is None else dtype))
    result = _identity(algebra, n)
    result.is_truth = dtype is not None and np.dtype(dtype).kind == "b"
    return result


def _identity(algebra: Any, n: Any) -> SymbolicArray:
    axis = axis_of(algebra, n)
    if not axis:
        return SymbolicArray(algebra, [(), ()], ONE)
    (row,), (column,) = names_of_axis(1, axis), names_of_axis(0, axis)
    return SymbolicArray(algebra, [axis, axis], algebra.equal_indices(row, column), "nonneg")


def copied(a: Any, dtype: Any = None, *_: Any, **__: Any) -> Any:
    dtype = None if isinstance(dtype, str) and dtype in ("C", "K", "A", "F") else dtype
    # Truth values are held by every type of numbers, but unsigned and narrow ones do not hold what is made of them.
    if not a.is_truth and dtype is not None and np.dtype(dtype).kind == "b":
        return a != 0
    if not a.is_truth or (dtype is not None and np.dtype(dtype).kind != "b" and not _is_wide(np.dtype(dtype))):
        floats_only(dtype)
    result = SymbolicArray(a.algebra, a.axes, a.polynomial, a.positive)
    result.is_truth = a.is_truth and (dtype is None or np.dtype(dtype).kind == "b")
    return result


def _is_wide(dtype: Any) -> bool:
    return bool(dtype.kind in "if" and dtype.itemsize >= 4)


def made_like(value: Any) -> Callable[..., SymbolicArray]:
    def like(a: SymbolicArray, dtype: Any = None, *_: Any, shape: Any = None, **__: Any) -> SymbolicArray:
        floats_only(dtype)
        return filled(a.algebra, a.shape if shape is None else shape, value)

    return like


def diagonal_sum(a: SymbolicArray) -> SymbolicArray:
    """np.trace."""
    if a.ndim != 2:
        raise refusal("numpy.trace of more than two axes", "use einsum")
    if a.axes[0] == a.axes[1]:
        return total(multiply(a, identity(a.algebra, a.shape[0])), [0, 1])
    if not all(isinstance(n, int) for n in a.shape):
        raise refusal("numpy.trace of a matrix that is not square", "give sizes that are numbers")
    return total(multiply(a, identity(a.algebra, a.shape[0], a.shape[1])), [0, 1])


def fill_diagonal(a: SymbolicArray, value: Any, wrap: bool = False) -> None:
    """np.fill_diagonal of a square matrix."""
    if a.ndim != 2 or a.axes[0] != a.axes[1]:
        raise refusal("numpy.fill_diagonal of this array", "that of a square matrix is understood")
    unit = identity(a.algebra, a.shape[0])
    a.set(a - multiply(a, unit) + multiply(lift(a.algebra, value), unit))


def diagonal(a: SymbolicArray, k: int = 0) -> SymbolicArray:
    """np.diag: the diagonal of a square matrix, or the matrix with this diagonal."""
    if a.ndim == 1 and k == 0:
        return multiply(rearranged(a, [0, None]), identity(a.algebra, a.shape[0]))
    if a.ndim != 2 or k or a.axes[0] != a.axes[1] or len(a.axes[0]) > 1:
        raise refusal("numpy.diag of this array", "the diagonal of a square matrix is understood")
    names = dict(zip(names_of_axis(1, a.axes[0]), names_of_axis(0, a.axes[1]), strict=True))
    return SymbolicArray(a.algebra, a.axes[1:], a.algebra.rename(a.polynomial, names), a.positive)


def broadcast(a: SymbolicArray, shape: Any, **_: Any) -> SymbolicArray:
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    return broadcast_to(a, [axis_of(a.algebra, n) for n in lengths])
