"""NumPy's creators of arrays, such as ``np.zeros``, for arrays of exact numbers."""

from functools import partial
from typing import Any

import numpy as np

from derivations.own_code.exact.arrays import ExactArray, wrapped
from derivations.own_code.exact.dual_numbers import Number, constant
from derivations.own_code.exact.truths import Truths
from derivations.own_code.refusal import NoRandomNumbers


def exact_names(ring: Any) -> dict[str, Any]:
    """NumPy's creators, for arrays of exact numbers."""

    number = partial(constant, ring)

    def full(shape: Any, value: Any, dtype: Any = float, **_: Any) -> Any:
        if dtype is not None and np.dtype(dtype).kind in "biu":
            return np.full(shape, value, dtype)
        result = np.empty(shape, dtype=object)
        result[...] = value if isinstance(value, Number | np.ndarray) else number(value)
        return wrapped(result)

    def eye(n: int, columns: Any = None, k: int = 0, dtype: Any = float, **_: Any) -> Any:
        if dtype is bool:
            return np.eye(n, columns, k, dtype)
        return wrapped(np.vectorize(number, otypes=[object])(np.eye(n, columns, k).astype(int)))

    def array(value: Any, *_: Any, **options: Any) -> Any:
        if isinstance(value, Truths):
            value = value.astype(options.pop("dtype", _[0] if _ else bool))
        made = np.array(value, dtype=object) if _holds_numbers(value) else np.array(value, *_, **options)
        return wrapped(made) if made.dtype == object else made

    def as_array(value: Any, *_: Any, **options: Any) -> Any:
        return value if isinstance(value, ExactArray) else array(value, *_, **options)

    return {
        "zeros": lambda shape, dtype=float, **__: full(shape, 0, dtype),
        "ones": lambda shape, dtype=float, **__: full(shape, 1, dtype),
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
        "random": NoRandomNumbers(),
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
