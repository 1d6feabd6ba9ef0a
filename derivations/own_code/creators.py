"""NumPy's creators of arrays, such as ``np.zeros``, for arrays of unknown sizes and for arrays of exact numbers."""

from typing import Any

import numpy as np

from derivations.own_code.arrays import SymbolicArray
from derivations.own_code.exact_arrays import ExactArray, wrapped
from derivations.own_code.numbers_dual import Number
from derivations.own_code.numpy_reductions import floats_only
from derivations.own_code.numpy_shapes import filled, identity, unset
from derivations.own_code.refusal import refusal
from derivations.own_code.shapes import lift
from derivations.own_code.sizes import Size


class _Random:
    def __getattr__(self, name: str) -> Any:
        raise refusal(f"numpy.random.{name}", "random numbers have no derivative; make them an input")


def symbolic_names(algebra: Any) -> dict[str, Any]:
    """NumPy's creators, for arrays of unknown size."""

    def array(value: Any, *_: Any, **options: Any) -> Any:
        if isinstance(value, SymbolicArray):
            return SymbolicArray(algebra, value.axes, value.polynomial, value.positive)
        return lift(algebra, value) if _holds_symbols(value) else np.array(value, *_, **options)

    def as_array(value: Any, *_: Any, **options: Any) -> Any:
        return value if isinstance(value, SymbolicArray) else array(value, *_, **options)

    def full(shape: Any, value: Any, dtype: Any = None, **_: Any) -> Any:
        floats_only(dtype)
        return filled(algebra, shape, value)

    def empty(shape: Any, dtype: Any = None, **_: Any) -> Any:
        floats_only(dtype)
        return unset(algebra, shape)

    return {
        "zeros": lambda shape, dtype=None, **__: full(shape, 0, dtype),
        "ones": lambda shape, dtype=None, **__: full(shape, 1, dtype),
        "full": full,
        "empty": empty,
        "eye": lambda n, columns=None, *_, dtype=None, **options: identity(algebra, n, columns, **options),
        "identity": lambda n, *_, **__: identity(algebra, n),
        "array": array,
        "asarray": as_array,
        "asanyarray": as_array,
        "ascontiguousarray": as_array,
        "random": _Random(),
    }


def _holds_symbols(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_symbols, value))
    return isinstance(value, Size | SymbolicArray)


def exact_names(ring: Any) -> dict[str, Any]:
    """NumPy's creators, for arrays of exact numbers."""

    def constant(value: Any) -> Any:
        return Number(ring, ring.of(0)) + value

    def full(shape: Any, value: Any, *_: Any, **__: Any) -> Any:
        result = np.empty(shape, dtype=object)
        result[...] = value if isinstance(value, Number | np.ndarray) else constant(value)
        return wrapped(result)

    def eye(n: int, columns: Any = None, *_: Any, k: int = 0, **__: Any) -> Any:
        return wrapped(np.vectorize(constant, otypes=[object])(np.eye(n, columns, k).astype(int)))

    def array(value: Any, *_: Any, **options: Any) -> Any:
        made = np.array(value, dtype=object) if _holds_numbers(value) else np.array(value, *_, **options)
        return wrapped(made) if made.dtype == object else made

    def as_array(value: Any, *_: Any, **options: Any) -> Any:
        return value if isinstance(value, ExactArray) else array(value, *_, **options)

    return {
        "zeros": lambda shape, *_, **__: full(shape, 0),
        "ones": lambda shape, *_, **__: full(shape, 1),
        "full": full,
        "empty": lambda shape, *_, **__: full(shape, 7919),
        "empty_like": lambda a, *_, **__: full(a.shape, 7919),
        "eye": eye,
        "identity": lambda n, *_, **__: eye(n),
        "array": array,
        "asarray": as_array,
        "asanyarray": as_array,
        "ascontiguousarray": as_array,
        "linalg": _Linalg(),
        "random": _Random(),
    }


def _holds_numbers(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_numbers, value))
    return isinstance(value, Number) or (isinstance(value, np.ndarray) and value.dtype == object)


class _Linalg:
    """numpy.linalg, whose norm does not know arrays of objects."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np.linalg, name)

    @staticmethod
    def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
        if ord == 1:
            return np.sum(abs(a), axis=axis, keepdims=keepdims)
        return (np.sum(a * a, axis=axis, keepdims=keepdims) + 0) ** 0.5
