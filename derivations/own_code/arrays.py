"""Arrays of unknown sizes on which NumPy code runs unchanged, each one polynomial in the indices of its axes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import Any, NoReturn

import numpy as np

from derivations.own_code.algebra import Algebra
from derivations.own_code.numbers_exact import exact, radicand
from derivations.own_code.polynomials import ONE, DividesByZero, Polynomial, frozen
from derivations.own_code.refusal import NotUnderstood, line_of_user, refusal
from derivations.own_code.sizes import Size, as_size, sign

# An axis is a tuple of lengths: one, several where axes were merged, none where its length is 1.
Axis = tuple[Any, ...]
_PLACES = 8  # names of indices kept for one axis, counted from the last, so that arrays agree on them when broadcast


@dataclass(frozen=True)
class Requirement:
    """What must hold for the code to be defined."""

    polynomial: Polynomial
    relation: str  # "≠ 0", "> 0" or "≥ 0"
    place: str


@dataclass
class _Memory:
    """What views share: changing one makes the others out of date."""

    version: int = 0


@dataclass
class Journal:
    """What was noted while code ran."""

    requirements: list[Requirement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    largest: dict[str, str] = field(default_factory=dict)  # names put for maxima, with their places


class SymbolicAlgebra(Algebra):
    """The algebra of one run, with its journal."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.unset = count()


class SymbolicArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose element at the indices of its axes is a polynomial in them.

    positive: "pos" if every element is known to be > 0, "nonneg" if ≥ 0.
    """

    __array_priority__ = 1000

    def __init__(self, algebra: Any, axes: Sequence[Axis], polynomial: Polynomial, positive: str | None = None) -> None:
        self.algebra, self.axes, self.positive = algebra, tuple(axes), positive
        self._polynomial = polynomial
        self._memory, self._version = _Memory(), 0

    @property
    def polynomial(self) -> Polynomial:
        """The element at the indices of the axes."""
        if self._version != self._memory.version:
            raise refusal(
                "a view of an array that was changed in place after the view was taken",
                "take a copy, or assign the result to a new name",
            )
        return self._polynomial

    def _view(self, axes: Sequence[Axis], polynomial: Polynomial) -> "SymbolicArray":
        view = SymbolicArray(self.algebra, axes, polynomial, self.positive)
        view._memory, view._version = self._memory, self._version
        return view

    def set(self, value: Any) -> "SymbolicArray":
        """Every element replaced, as ``a[...] = value`` does."""
        value = lift(self.algebra, value)
        if value.ndim > self.ndim:
            raise refusal(
                f"assigning {value.shape} to {self.shape}", "the shape of the value must be that of the array"
            )
        wide = broadcast_to(value, self.axes)
        self._polynomial, self.positive, self.axes = wide.polynomial, value.positive, wide.axes
        self._memory.version += 1
        self._version = self._memory.version
        return self

    # What NumPy's arrays have

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(as_size(self.algebra, length(self.algebra, axis)) for axis in self.axes)

    @property
    def ndim(self) -> int:
        return len(self.axes)

    @property
    def size(self) -> Any:
        total: Any = 1
        for n in self.shape:
            total = total * n
        return total

    @property
    def dtype(self) -> Any:
        return np.dtype(float)

    @property
    def T(self) -> "SymbolicArray":
        return transpose(self)

    @property
    def real(self) -> "SymbolicArray":
        return self

    @property
    def mT(self) -> "SymbolicArray":
        return transpose(self, (*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def __len__(self) -> Any:
        raise refusal("len() of an array of unknown size", "write x.shape[0]")

    def __iter__(self) -> NoReturn:
        raise refusal("a loop over an axis", "write the operation for the whole array; its sizes are not known")

    def _refuse(self, *_: Any) -> NoReturn:
        raise refusal(
            "a value of the data used as a number or as a condition",
            "control flow on values has no one derivative; use arithmetic only",
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _refuse
    __hash__ = _refuse

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise refusal("turning an array of unknown size into one of numbers", "keep the operation to NumPy's functions")

    def item(self, *_: Any) -> Any:
        return self if not self.axes else self._refuse()

    def __repr__(self) -> str:
        return f"<array of shape {self.shape}>"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        from derivations.own_code.numpy_functions import ufunc_result

        return ufunc_result(self.algebra, ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from derivations.own_code.numpy_functions import function_result

        return function_result(self.algebra, function, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        from derivations.own_code.numpy_functions import METHODS

        if name.startswith("__"):
            raise AttributeError(name)
        if name not in METHODS:
            raise refusal(f".{name} of an array", "it is not among the operations that can be proved")
        return lambda *args, **kwargs: METHODS[name](self, *args, **kwargs)

    def __getitem__(self, key: Any) -> "SymbolicArray":
        return indexed(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        keys = key if isinstance(key, tuple) else (key,)
        if all(k is Ellipsis or (isinstance(k, slice) and k == slice(None)) for k in keys):
            self.set(value)
            return
        raise refusal("assigning to a part of an array", "assign to the whole of it, or add up arrays")


# Indices


def names_of_axis(position: int, axis: Axis) -> list[int]:
    """The names of the indices of an axis; ``position`` counts from the last."""
    return [position * _PLACES + n for n in range(len(axis))]


def length(algebra: Any, axis: Axis) -> Polynomial:
    result = ONE
    for part in axis:
        result = algebra.multiply(result, dict(part))
    return result


def axis_of(algebra: Any, n: Any) -> Axis:
    """The axis of a length."""
    if isinstance(n, Size):
        return (frozen(n.polynomial),)
    n = int(n)
    return () if n == 1 else (frozen(algebra.constant(n)),)


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


def indexed(a: SymbolicArray, key: Any) -> SymbolicArray:
    """a[key] for whole axes, new axes, and the only element of an axis of length 1."""
    keys = key if isinstance(key, tuple) else (key,)
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if Ellipsis not in [k for k in keys if k is None or k is Ellipsis]:
        keys = (*keys, Ellipsis)
    order: list[int | None] = []
    old = 0
    for k in keys:
        if k is None:
            order.append(None)
        elif k is Ellipsis:
            order += range(old, old + a.ndim - used)
            old += a.ndim - used
        elif isinstance(k, slice) and k == slice(None):
            order.append(old)
            old += 1
        elif isinstance(k, int) and old < a.ndim and not a.axes[old] and k in (0, -1):
            old += 1
        else:
            raise refusal(
                "indexing a part of an array", "use whole axes, None for a new one, or operations on all elements"
            )
    return rearranged(a, order)


# Shapes


def lift(algebra: Any, value: Any) -> SymbolicArray:
    """A number, a size, or an array whose elements are all equal, as an array of this algebra."""
    if isinstance(value, SymbolicArray):
        return value
    if isinstance(value, Size):
        return value._array()
    if isinstance(value, list | tuple) and any(isinstance(v, SymbolicArray | Size) for v in value):
        raise refusal("a list of arrays or sizes in the place of an array", "use np.stack's counterpart: one array")
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
    if array.size == 0 or (array != array.flat[0]).any():
        raise refusal(
            f"an array of different numbers, of shape {array.shape}",
            "name it as an input of its own, so that the gradient is proved for all its values",
        )
    entry = array.flat[0]
    try:
        number = exact(value if not isinstance(value, np.ndarray | list) and array.ndim == 0 else entry)
    except ValueError as error:
        raise refusal(f"the number {entry}", "only finite numbers can be computed with") from error
    positive = "pos" if number > 0 else "nonneg" if number == 0 else None
    square = radicand(float(entry))
    constant = algebra.constant(number) if square is None else algebra.power(algebra.constant(square), Fraction(1, 2))
    return SymbolicArray(algebra, [axis_of(algebra, n) for n in array.shape], constant, positive)


def _split(a: SymbolicArray, axis: int, parts: Axis) -> SymbolicArray:
    """The axis, of one known length, as several."""
    position = a.ndim - 1 - axis
    (name,) = names_of_axis(position, a.axes[axis])
    names = names_of_axis(position, parts)
    place: Any = names[0]
    for inner, part in zip(names[1:], parts[1:], strict=True):
        place = (place, inner, str(part))
    axes = [*a.axes[:axis], parts, *a.axes[axis + 1 :]]
    fresh = 10**7  # the new names contain the old one
    polynomial = a.algebra.rename(a.polynomial, {name: fresh})
    return a._view(axes, a.algebra.rename(polynomial, {fresh: place}))


def _common(a: SymbolicArray, b: SymbolicArray, axis_a: int, axis_b: int) -> tuple[SymbolicArray, SymbolicArray]:
    """The two with equal axes there, one split as the other is; refused if they do not fit for every size."""
    left, right = a.axes[axis_a], b.axes[axis_b]
    if left == right or not left or not right:
        return a, b
    if length(a.algebra, left) == length(b.algebra, right):
        if len(left) == 1 and len(right) > 1 and all(_known(part) for part in right):
            return _split(a, axis_a, right), b
        if len(right) == 1 and len(left) > 1 and all(_known(part) for part in left):
            return a, _split(b, axis_b, left)
        for one, n, other in ((a, axis_a, right), (b, axis_b, left)):
            if len(one.axes[n]) == 1 and one.algebra.indices(one.polynomial).isdisjoint(
                names_of_axis(one.ndim - 1 - n, one.axes[n])
            ):  # constant along this axis
                same = one._view([*one.axes[:n], other, *one.axes[n + 1 :]], one.polynomial)
                return (same, b) if one is a else (a, same)
        raise refusal("an axis that was merged beside one that was not", "reshape both in the same way")
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
                    arrays[n], arrays[k] = _common(a, b, a.ndim - 1 - position, b.ndim - 1 - position)
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
    return SymbolicArray(a.algebra, common, wide.polynomial, a.positive)


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
    substitutions: dict[int, Any] = {}
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
            elif set(left) == set(size) == {()} and size[()] % left[()] == 0:
                inner = algebra.constant(size[()] / left[()])
                first, second = next(fresh), next(fresh)
                substitutions[name] = (first, second, str(frozen(inner)))
                queue.insert(0, (second, inner))
                name, size, left = first, left, ONE
            else:
                raise _no_reshape(a, shape)
            if len(axis) == _PLACES:
                raise _no_reshape(a, shape)
            renamed[name] = position * _PLACES + len(axis)
            axis.append(frozen(size))
        result.append(tuple(axis))
    if queue:
        raise _no_reshape(a, shape)
    polynomial = a.polynomial
    for name, place in substitutions.items():
        polynomial = algebra.rename(polynomial, {name: place})
    # In two steps: the new names may be old ones of other indices.
    away = {name: 2 * 10**7 + n for n, name in enumerate(renamed)}
    polynomial = algebra.rename(algebra.rename(polynomial, away), {away[name]: new for name, new in renamed.items()})
    return a._view(result, polynomial)


def _whole(ratio: Polynomial) -> bool:
    """Whether a ratio of lengths is a length itself."""
    return all(c.denominator == 1 and all(power > 0 for _, power in m) for m, c in ratio.items())


def _no_reshape(a: SymbolicArray, shape: Sequence[Any]) -> NotUnderstood:
    return refusal(f"reshaping {a.shape} to {tuple(shape)}", "only whole axes can be merged or split, in order")


# Operations


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
    if power.denominator > 2:
        raise refusal(f"the power {power}", "whole and half powers are understood")
    whole = power.denominator == 1
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


def _require(a: SymbolicArray, relation: str) -> None:
    holds = a.positive == "pos" or (a.positive == "nonneg" and relation == "≥ 0")
    polynomial = a.algebra.reduce(a.polynomial)
    known = sign(polynomial) if all(a.algebra.atoms[n][0] == "n" for m in polynomial for n, _ in m) else None
    if holds or known == 1 or (known == -1 and relation == "≠ 0"):
        return
    if relation != "≠ 0" and polynomial and known in (-1, -2):
        raise refusal("the root of what is never positive", "a root is taken of what is ≥ 0")
    a.algebra.journal.requirements.append(Requirement(polynomial, relation, line_of_user()))


def function_of(name: str, a: SymbolicArray) -> SymbolicArray:
    """exp, log, tanh, sin, cos of every element."""
    if name == "log":
        _require(a, "> 0")
    result = a.algebra.function(name, a.polynomial)
    return SymbolicArray(a.algebra, a.axes, result, "pos" if name == "exp" else None)


def largest(a: SymbolicArray, axes: Sequence[int], keepdims: bool = False) -> SymbolicArray:
    """A maximum, or minimum: any number, held constant. What is proved must not depend on it (``stable softmax``)."""
    algebra = a.algebra
    name = f"max {len(algebra.journal.largest)}"
    algebra.journal.largest[name] = line_of_user()
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
