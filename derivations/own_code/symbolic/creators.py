"""NumPy's creators of arrays, such as ``np.zeros``, for arrays of unknown sizes."""

from functools import partial, reduce
from operator import mul
from typing import Any

import numpy as np

from derivations.own_code.refusal import NoRandomNumbers
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.axes import copied, filled, identity, unset
from derivations.own_code.symbolic.reductions import floats_only
from derivations.own_code.symbolic.shapes import lift
from derivations.own_code.symbolic.sizes import Size


def symbolic_names(algebra: Any) -> dict[str, Any]:
    """NumPy's creators, for arrays of unknown size."""

    def array(value: Any, *_: Any, **options: Any) -> Any:
        if isinstance(value, SymbolicArray):
            return copied(value, options.get("dtype", _[0] if _ else None))
        return lift(algebra, value) if _holds_symbols(value) else np.array(value, *_, **options)

    def as_array(value: Any, *_: Any, **options: Any) -> Any:
        same = isinstance(value, SymbolicArray) and not (value.is_truth and (_ or options))
        return value if same else array(value, *_, **options)

    def full(shape: Any, value: Any, dtype: Any = None, **_: Any) -> Any:
        if of_constants(shape, dtype):
            return np.full(shape, value, dtype)
        floats_only(dtype)
        return filled(algebra, shape, value)

    def empty(shape: Any, dtype: Any = None, **_: Any) -> Any:
        floats_only(dtype)
        return unset(algebra, shape)

    def of_lists(function: Any) -> Any:
        """NumPy's function, whose first argument may be a list of arrays."""
        return lambda a, *args, **options: function(lift(algebra, a) if _holds_symbols(a) else a, *args, **options)

    def product(a: Any, *args: Any, **options: Any) -> Any:
        """np.prod; of a shape it is a size."""
        if isinstance(a, tuple | list) and not args and not options and all(isinstance(n, Size | int) for n in a):
            return reduce(mul, a, 1)
        return of_lists(np.prod)(a, *args, **options)

    return {
        **{name: of_lists(getattr(np, name)) for name in ("sum", "mean", "var", "std", "max", "min")},
        "prod": product,
        "zeros": lambda shape, dtype=None, **__: full(shape, 0, dtype),
        "ones": lambda shape, dtype=None, **__: full(shape, 1, dtype),
        "full": full,
        "empty": empty,
        "eye": partial(identity, algebra),
        "tile": lambda a, reps: np.tile(lift(algebra, a), reps),
        "broadcast_to": lambda a, shape, **options: np.broadcast_to(lift(algebra, a), shape, **options),
        "identity": lambda n, *_, **__: identity(algebra, n),
        "array": array,
        "asarray": as_array,
        "asanyarray": as_array,
        "ascontiguousarray": as_array,
        "c_": _Columns(),
        "random": NoRandomNumbers(),
    }


class _Columns:
    """np.c_[…], of arrays of at most two axes."""

    def __getitem__(self, arrays: Any) -> Any:
        return np.column_stack(list(arrays) if isinstance(arrays, tuple) else [arrays])


def of_constants(shape: Any, dtype: Any) -> bool:
    """Whether an array of truth values or whole numbers is made, of a known shape, into which no input fits."""
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    return dtype is not None and np.dtype(dtype).kind in "biu" and all(isinstance(n, int | np.integer) for n in lengths)


def _holds_symbols(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_symbols, value))
    return isinstance(value, Size | SymbolicArray)
