"""Arrays of truth values: NumPy's own, but for numbers that are made of them, which are exact."""

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.own_code.exact.dual_numbers import constant

# Of truth values these give truth values.
_LOGIC = (
    np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.bitwise_and, np.bitwise_or, np.bitwise_xor,
    np.invert, np.add, np.multiply, np.maximum, np.minimum, np.equal, np.not_equal,
)  # fmt: skip


class Truths(np.ndarray):
    """Truth values that were decided at a point, with the ring of its numbers."""

    ring: Any = None

    def __array_finalize__(self, other: Any) -> None:
        self.ring = getattr(other, "ring", None)

    def astype(self, dtype: Any, *_: Any, **__: Any) -> Any:
        """As numbers, unless truth values are asked for."""
        return self.copy() if np.dtype(dtype).kind == "b" else self.numbers()

    def numbers(self) -> Any:
        """1 and 0."""
        return _exact(np.asarray(self), self.ring)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(value) if isinstance(value, Truths) else value for value in inputs]
        of_truths = all(np.asarray(value).dtype.kind == "b" for value in plain)
        reduces_to_truth = method != "reduce" or ufunc not in (np.add, np.multiply)
        if ufunc in _LOGIC and of_truths and reduces_to_truth:
            options = {name: _plain(value) for name, value in options.items()}
            return truths(getattr(ufunc, method)(*plain, **options), self.ring)
        numbers = [_exact(np.asarray(value), self.ring) if isinstance(value, Truths) else value for value in inputs]
        return getattr(ufunc, method)(*numbers, **options)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and len(args) == 3:
            from derivations.own_code.exact.choices import choose

            condition, a, b = (np.asarray(value) if isinstance(value, Truths) else value for value in args)
            return _wrapped(choose(condition, a, b, self.ring))
        result = super().__array_function__(function, types, args, kwargs)
        return (
            _exact(np.asarray(result), self.ring) if isinstance(result, Truths) and result.dtype.kind != "b" else result
        )


def truths(found: Any, ring: Any) -> Any:
    """What was decided, with the ring of the numbers."""
    if not isinstance(found, np.ndarray):
        return np.bool_(found)
    result = found.astype(bool).view(Truths)
    result.ring = ring
    return result


def _plain(value: Any) -> Any:
    return tuple(np.asarray(v) if isinstance(v, Truths) else v for v in value) if isinstance(value, tuple) else value


def _exact(values: np.ndarray, ring: Any) -> Any:
    if ring is None:  # of plain numbers that were compared
        return values.astype(int)
    return _wrapped(np.frompyfunc(lambda value: constant(ring, value), 1, 1)(values))


def _wrapped(values: Any) -> Any:
    from derivations.own_code.exact.arrays import wrapped

    return wrapped(values) if isinstance(values, np.ndarray) else values
