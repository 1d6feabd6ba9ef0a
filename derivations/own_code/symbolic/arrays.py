"""Arrays of unknown sizes on which NumPy code runs unchanged, each one polynomial in the indices of its axes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from derivations.own_code.algebra.polynomials import ONE, Polynomial, frozen
from derivations.own_code.refusal import asked_by_user, refusal
from derivations.own_code.symbolic.sizes import Size, as_size

# An axis is a tuple of lengths: one, several where axes were merged, none where its length is 1.
Axis = tuple[Any, ...]
_NO_NUMBERS = (
    "keep the operation to NumPy's functions; an array made before the call, such as a running mean, cannot hold what "
    "depends on the inputs: assign to its name, as in self.mean = …"
)
PLACES = 8  # names of indices kept for one axis, counted from the last, so that arrays agree on them when broadcast


@dataclass
class _Memory:
    """What views share: changing one makes the others out of date."""

    version: int = 0


class SymbolicArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose element at the indices of its axes is a polynomial in them.

    positive: "pos" if every element is known to be > 0, "nonneg" if ≥ 0.
    """

    __array_priority__ = 1000

    def __init__(self, algebra: Any, axes: Sequence[Axis], polynomial: Polynomial, positive: str | None = None) -> None:
        self.algebra, self.axes = algebra, tuple(axes)
        self._polynomial, self._positive = polynomial, positive
        self.is_truth = False  # of truth values, each 1 or 0
        self._memory, self._version = _Memory(), 0
        self._of: tuple[SymbolicArray, Any] | None = None  # the array and the key by which this is a part of it

    @property
    def polynomial(self) -> Polynomial:
        """The element at the indices of the axes."""
        if self._version != self._memory.version and self._of is not None:
            from derivations.own_code.symbolic.parts import taken

            now = taken(*self._of)
            self.axes, self._polynomial, self._positive = now.axes, now.polynomial, now.positive
            self._version = self._memory.version
        if self._version != self._memory.version:
            raise refusal(
                "a view of an array that was changed in place after the view was taken",
                "take a copy, or assign the result to a new name",
            )
        return self._polynomial

    @property
    def positive(self) -> str | None:
        """What is known of the sign of every element."""
        self.polynomial  # noqa: B018, a part may have been changed through the whole
        return self._positive

    @positive.setter
    def positive(self, value: str | None) -> None:
        self._positive = value

    def like(self, axes: Sequence[Axis], polynomial: Polynomial, *positive: str | None) -> "SymbolicArray":
        """Another array of the same kind: of truth values if this is, with the same sign unless it is given."""
        result = SymbolicArray(self.algebra, axes, polynomial, *(positive or (self.positive,)))
        result.is_truth = self.is_truth
        return result

    def _view(self, axes: Sequence[Axis], polynomial: Polynomial) -> "SymbolicArray":
        view = self.like(axes, polynomial)
        view._memory, view._version = self._memory, self._version
        return view

    def set(self, value: Any) -> "SymbolicArray":
        """Every element replaced, as ``a[...] = value`` does."""
        from derivations.own_code.symbolic.shapes import broadcast_to, lift

        if self._of is not None:
            whole, key = self._of
            whole[key] = value
            return self
        value = lift(self.algebra, value)
        if self.is_truth and not value.is_truth:
            raise refusal("assigning numbers to truth values", "make them numbers by .astype(float)")
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

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """For ``isinstance`` in user code: what has no axes is a number of NumPy's."""
        if not asked_by_user():
            return SymbolicArray
        return np.ndarray if self.axes else np.float64

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
        return np.dtype(bool if self.is_truth else float)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        return self.size * self.itemsize

    @property
    def T(self) -> "SymbolicArray":
        from derivations.own_code.symbolic.shapes import transpose

        return transpose(self)

    @property
    def real(self) -> "SymbolicArray":
        return self

    @property
    def mT(self) -> "SymbolicArray":
        from derivations.own_code.symbolic.shapes import transpose

        return transpose(self, (*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def __len__(self) -> Any:
        if not self.axes or not isinstance(self.shape[0], int):
            raise refusal("len() of an array of unknown size", "write x.shape[0]")
        return self.shape[0]

    def __iter__(self) -> Iterator["SymbolicArray"]:
        if not self.axes or not isinstance(self.shape[0], int):
            raise refusal("a loop over an axis", "write the operation for the whole array; its sizes are not known")
        return (self[n] for n in range(self.shape[0]))

    def _refuse(self, *_: Any) -> NoReturn:
        raise refusal(
            "a value of the data used as a number or as a condition",
            "control flow on values has no one derivative; use arithmetic only",
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _refuse
    __round__ = __trunc__ = __floor__ = __ceil__ = __contains__ = _refuse
    __hash__ = __sizeof__ = __reduce_ex__ = __reduce__ = _refuse

    def __copy__(self) -> "SymbolicArray":
        return self.like(self.axes, self.polynomial)

    def __deepcopy__(self, _: Any) -> "SymbolicArray":
        return self.__copy__()

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise refusal("turning an array of unknown size into one of numbers", _NO_NUMBERS)

    def item(self, *_: Any) -> Any:
        return self if not self.axes else self._refuse()

    def __repr__(self) -> str:
        if asked_by_user():
            raise refusal("the text of an array", "leave out texts that contain the data")
        return f"<array of shape {self.shape}>"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        if asked_by_user():
            raise refusal("the text of an array", "leave out texts that contain the data")
        return repr(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        from derivations.own_code.symbolic.functions import ufunc_result

        return ufunc_result(self.algebra, ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from derivations.own_code.symbolic.functions import function_result

        return function_result(self.algebra, function, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        from derivations.own_code.symbolic.functions import METHODS

        if not hasattr(np.ndarray if self.axes else np.float64, name) or name.startswith("__array_"):
            kind = "numpy.ndarray" if self.axes else "numpy.float64"
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
        if name not in METHODS:
            raise refusal(f".{name} of an array", "it is not among the operations that can be proved")
        return lambda *args, **kwargs: METHODS[name](self, *args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        from derivations.own_code.symbolic.listed import as_lists
        from derivations.own_code.symbolic.parts import is_copy, taken

        if isinstance(key, SymbolicArray) and key.is_truth and key.axes == self.axes:
            from derivations.own_code.symbolic.selected import Selected

            return Selected(self, key)
        key = as_lists(key, self.ndim)
        part = taken(self, key)
        if part.axes and not is_copy(key):  # a single element is a number, which no assignment to it changes
            part._memory, part._version, part._of = self._memory, self._version, (self, key)
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        keys = key if isinstance(key, tuple) else (key,)
        if all(k is Ellipsis or (isinstance(k, slice) and k == slice(None)) for k in keys):
            self.set(value)
            return
        if isinstance(key, SymbolicArray) and key.is_truth:
            from derivations.own_code.symbolic.choices import choose
            from derivations.own_code.symbolic.selected import Selected
            from derivations.own_code.symbolic.shapes import lift

            if isinstance(value, Selected):
                value = value.of(key)
            elif np.ndim(value) or key.ndim != self.ndim:
                raise refusal("assigning an array where a condition is true", "assign one number, or use np.where")
            self.set(choose(key, lift(self.algebra, value), self))
            return
        from derivations.own_code.symbolic.listed import as_lists
        from derivations.own_code.symbolic.parts import replaced
        from derivations.own_code.symbolic.shapes import lift

        self.set(replaced(self, as_lists(key, self.ndim), lift(self.algebra, value)))


# Indices


def names_of_axis(position: int, axis: Axis) -> list[int]:
    """The names of the indices of an axis; ``position`` counts from the last."""
    return [position * PLACES + n for n in range(len(axis))]


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
