"""The operations that the exact run does number by number, or that only move numbers: one function each."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from derivations.graphs.walk import UnknownGraph
from derivations.prime_fields.arrays import Numbers, where


def is_number(value: Any) -> bool:
    return isinstance(value, Numbers)


def compared(function: Callable[[Any, Any], np.ndarray]) -> Callable[[Any, Any], np.ndarray]:
    """A comparison, decided by the real numbers; counts and sizes are integers."""

    def decided(a: Any, b: Any) -> np.ndarray:
        return np.asarray(function(*(value.real if is_number(value) else value for value in (a, b))))

    return decided


def _moved(value: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    return value.mapped(function) if is_number(value) else np.asarray(function(value))


def _shape(sizes: Any) -> list[int]:
    return [int(size) for size in np.ravel(sizes)]


def _chosen(a: Any, b: Any, larger: bool) -> Any:
    if not is_number(a):
        return np.maximum(a, b) if larger else np.minimum(a, b)
    return where(a.real >= b.real if larger else a.real <= b.real, a, b)


def _select(condition: np.ndarray, a: Any, b: Any) -> Any:
    if not is_number(a):
        return np.where(condition, a, b)
    return where(np.asarray(condition), a, b)


def _select_rows(condition: np.ndarray, a: Any, b: Any) -> Any:
    """A condition of one axis chooses among the entries of the first axis of the values."""
    if condition.ndim == 1 and len(a.shape) > 1:
        condition = condition.reshape([-1] + [1] * (len(a.shape) - 1))
    return _select(condition, a, b)


def _zero_where(condition: np.ndarray, value: Numbers) -> Numbers:
    return where(condition, Numbers.zeros((), value.p), value)


def _quotient(a: Numbers, b: Numbers) -> Numbers:
    if not is_number(a):
        raise UnknownGraph("a quotient of integers that is not rounded; FloorDiv is understood")
    return a / b


def _quotient_or_zero(a: Numbers, b: Numbers) -> Numbers:
    zero = b.real == 0
    one = Numbers.of(np.ones((), np.int64), b.p)
    return _zero_where(zero, a / where(zero, one, b))


def _sign(a: Numbers) -> Numbers:
    return Numbers.of(np.sign(a.real).astype(np.int64), a.p)


def _rounded_down(a: Any, b: Any, function: Callable[..., np.ndarray]) -> np.ndarray:
    if is_number(a):
        raise UnknownGraph("data divided and rounded; sizes are understood")
    if not np.all(b):
        raise UnknownGraph("a size divided by 0, in integers")
    return np.asarray(function(a, b))


def _power(a: Any, b: Any) -> Any:
    if not is_number(a):
        return np.power(a, b)
    exponents = set(np.ravel(b.real * 2).tolist())
    if len(exponents) != 1 or (twice := exponents.pop()) != int(twice) or abs(twice) > 64:
        raise UnknownGraph("Pow by something else than a constant multiple of ½")
    twice = int(twice)
    if twice % 2 == 0:
        power = a.power(twice // 2)
    else:
        power = a.inverse_root().power(-twice) if twice < 0 else a.root().power(twice)
    return power.mapped(lambda array: np.broadcast_to(array, np.broadcast_shapes(a.shape, b.shape)))


def _stitched(*arguments: np.ndarray) -> np.ndarray:
    half = len(arguments) // 2
    result = np.zeros(1 + max(int(index.max()) for index in arguments[:half] if index.size), dtype=int)
    for indices, data in zip(arguments[:half], arguments[half:], strict=True):
        result[indices] = data
    return result


def _reshaped(value: Any, shape: Any) -> Any:
    return _moved(value, lambda array: array.reshape(_shape(shape)))


def _gathered(values: Any, indices: Any, axis: Any) -> Any:
    places = np.asarray(indices).astype(int)
    if (places < 0).any():
        raise UnknownGraph("a GatherV2 of negative indices")
    return _moved(values, lambda array: np.take(array, places, int(axis)))


def _inverted(order: np.ndarray) -> np.ndarray:
    if sorted(order) != list(range(len(order))):
        raise UnknownGraph(f"the order {order}, which is none of all axes")
    return np.argsort(order)


def _slope(of: Callable[[Numbers, Numbers], Numbers]) -> Callable[[Numbers, Numbers], Numbers]:
    """A kernel's product of dy and what has no value at some y: it is 0 where dy is."""

    def product(y: Numbers, dy: Numbers) -> Numbers:
        zero = reduce(np.logical_and, [(part.real == 0) & (part.residue == 0) for part in dy.parts.values()])
        return _zero_where(np.broadcast_to(zero, np.broadcast_shapes(y.shape, dy.shape)), of(y, dy))

    return product


def _slice(value: Any, begin: Any, size: Any) -> Any:
    spans = zip(_shape(begin), _shape(size), strict=True)
    slices = tuple(slice(first, None if count < 0 else first + count) for first, count in spans)
    return _moved(value, lambda array: array[slices])


def _filled(shape: Any, value: Any) -> Any:
    return _moved(value, lambda array: np.broadcast_to(array, _shape(shape)))


PLAIN: dict[str, Callable[..., Any]] = {
    "Mul": lambda a, b: a * b,
    "MulNoNan": lambda a, b: _zero_where(b.real == 0, a * b),
    "AddV2": lambda a, b: a + b,
    "Add": lambda a, b: a + b,
    "AddN": lambda *terms: reduce(lambda a, b: a + b, terms),
    "Sub": lambda a, b: a - b,
    "Neg": lambda a: -a,
    "RealDiv": _quotient,
    "Div": _quotient,
    "DivNoNan": _quotient_or_zero,
    "Reciprocal": lambda a: 1 / a,
    "Inv": lambda a: 1 / a,
    "ReciprocalGrad": _slope(lambda y, dy: -dy * y * y),
    "InvGrad": _slope(lambda y, dy: -dy * y * y),
    "Square": lambda a: a * a,
    "SquaredDifference": lambda a, b: (a - b) * (a - b),
    "Pow": _power,
    "Sqrt": lambda a: a.root(),
    "Rsqrt": lambda a: a.inverse_root(),
    "SqrtGrad": _slope(lambda y, dy: dy / (y * 2)),
    "RsqrtGrad": _slope(lambda y, dy: dy * y * y * y / -2),
    "Size": lambda a: np.asarray(a.size, dtype=np.int64),
    "Rank": lambda a: np.asarray(a.ndim, dtype=np.int64),
    "Reshape": _reshaped,
    "Transpose": lambda a, order: _moved(a, lambda array: np.transpose(array, _shape(order))),
    "ExpandDims": lambda a, axis: _moved(a, lambda array: np.expand_dims(array, int(axis))),
    "BroadcastTo": lambda a, shape: _filled(shape, a),
    "Fill": _filled,
    "Tile": lambda a, times: _moved(a, lambda array: np.tile(array, _shape(times))),
    "Pad": lambda a, around: _moved(a, lambda array: np.pad(array, np.asarray(around, dtype=int))),
    "ReverseV2": lambda a, axes: _moved(a, lambda array: np.flip(array, tuple(_shape(axes)))),
    "Slice": _slice,
    "FloorDiv": lambda a, b: _rounded_down(a, b, np.floor_divide),
    "FloorMod": lambda a, b: _rounded_down(a, b, np.mod),
    "Range": lambda start, limit, step: np.arange(int(start), int(limit), int(step)),
    "GatherV2": _gathered,
    "InvertPermutation": _inverted,
    "DynamicStitch": _stitched,
    "IsFinite": lambda a: np.isfinite(a.real),
    "IsInf": lambda a: np.isinf(a.real),
    "Greater": compared(np.greater),
    "GreaterEqual": compared(np.greater_equal),
    "Less": compared(np.less),
    "LessEqual": compared(np.less_equal),
    "Equal": compared(np.equal),
    "NotEqual": compared(np.not_equal),
    "LogicalNot": np.logical_not,
    "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or,
    "SelectV2": _select,
    "Select": _select_rows,
    "Maximum": lambda a, b: _chosen(a, b, True),
    "Minimum": lambda a, b: _chosen(a, b, False),
    "Relu": lambda a: _zero_where(a.real <= 0, a),
    "ReluGrad": lambda dy, a: _zero_where(a.real <= 0, dy),
    "Abs": lambda a: np.abs(a) if not is_number(a) else where(a.real < 0, -a, a),
    "Sign": lambda a: np.sign(a) if not is_number(a) else _sign(a),
}
