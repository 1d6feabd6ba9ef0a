"""TensorFlow's operations on integers and truth values that depend on sizes alone, such as shapes and axes.

A tensor of integers is an int, a ``Size`` or a list of them. A comparison of sizes is decided where the answer is the
same for every size.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.refusal import refused_operation
from derivations.own_code.symbolic.sizes import Size


def known(value: Any) -> bool:
    """Whether it does not depend on data."""
    if isinstance(value, list):
        return all(map(known, value))
    return isinstance(value, int | Fraction | Size)


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation on integers, element by element."""

    def on(*given: Any) -> Any:
        rank = max(map(_rank, given))
        if not rank:
            return function(*given)
        lists = [value if _rank(value) == rank else [value] for value in given]
        length = next((len(value) for value in lists if len(value) != 1), 1)
        wide = [value * length if len(value) == 1 else value for value in lists]
        return [on(*row) for row in zip(*wide, strict=True)]

    return lambda run, operation, *given: on(*given)


def _rank(value: Any) -> int:
    return 1 + (_rank(value[0]) if value else 0) if isinstance(value, list) else 0


def maximum_of_sizes(a: Any, b: Any) -> Any:
    if isinstance(a, Size) and a.is_rounded and isinstance(b, int) and b == 1:
        return a.at_least_one()
    return a if a >= b else b


def minimum_of_sizes(a: Any, b: Any) -> Any:
    """The smaller of two sizes, where it is the same for every size."""
    return a if a <= b else b


def _quotient(a: Any, b: Any) -> Any:
    """a // b; of an unknown size a quotient that may only bound a part of an axis."""
    if isinstance(a, Size) and isinstance(b, int) and b > 0 and a.exact_quotient(b) is None:
        return a.quotient(b)
    return a // b


def key_of_slice(operation: Any, begin: Any, end: Any, strides: Any) -> tuple[Any, ...]:
    """What stood in the brackets of a slice."""
    names = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    mask = {name: operation.get_attr(f"{name}_mask") for name in names}
    keys: list[Any] = []
    for n in range(len(begin)):
        bit = 1 << n
        if mask["new_axis"] & bit:
            keys.append(None)
        elif mask["ellipsis"] & bit:
            keys.append(Ellipsis)
        elif mask["shrink_axis"] & bit:
            keys.append(begin[n])
        else:
            low, high = (None if mask[name] & bit else bound[n] for name, bound in (("begin", begin), ("end", end)))
            keys.append(slice(low, high, None if isinstance(strides[n], int) and strides[n] == 1 else strides[n]))
    return tuple(keys)


def _strided(run: Any, operation: Any, value: Any, begin: Any, end: Any, strides: Any) -> Any:
    key = key_of_slice(operation, begin, end, strides)
    if _are_numbers(value):
        return np.asarray(value)[key].tolist()
    if not isinstance(value, list) or len(key) != 1 or key[0] is None:
        raise refused_operation(operation, "a part of a table of sizes")
    return value[key[0]]


def _are_numbers(value: Any) -> bool:
    return all(map(_are_numbers, value)) if isinstance(value, list) else isinstance(value, int)


def _expanded(run: Any, operation: Any, value: Any, axis: int) -> Any:
    if _are_numbers(value):
        return np.expand_dims(value, axis).tolist()
    if axis not in (0, -1 - _rank(value)):
        raise refused_operation(operation, "sizes along another axis than the first")
    return [value]


def _stitched(run: Any, operation: Any, *given: Any) -> Any:
    half = len(given) // 2
    result: dict[int, Any] = {}
    for places, values in zip(given[:half], given[half:], strict=True):
        if isinstance(places, list):
            result.update(zip(places, values, strict=True))
        else:
            result[places] = values
    return [result[n] for n in range(len(result))]


def _packed(run: Any, operation: Any, *given: Any) -> Any:
    axis = operation.get_attr("axis")
    if axis in (0, -1 - _rank(given[0])):
        return list(given)
    if not _are_numbers(list(given)):
        raise refused_operation(operation, "sizes along another axis than the first")
    return np.stack(given, axis).tolist()


def _concatenated(run: Any, operation: Any, *given: Any) -> Any:
    if given[-1] in (1, -1) and all(isinstance(row, list) for part in given[:-1] for row in part):
        return [[entry for row in rows for entry in row] for rows in zip(*given[:-1], strict=True)]
    return [entry for part in given[:-1] for entry in part]


def _gathered(run: Any, operation: Any, values: Any, places: Any, *_: Any) -> Any:
    return [values[n] for n in places] if isinstance(places, list) else values[places]


def _product(run: Any, operation: Any, values: Any, axes: Any) -> Any:
    return math.prod(values) if isinstance(values, list) else values


def _cast_to_integer(run: Any, operation: Any, value: Any) -> Any:
    if not isinstance(value, int | Size | list):
        raise refused_operation(operation, "rounding to integers")
    return value


def _turned(values: Any, order: Any) -> Any:
    return [list(row) for row in zip(*values, strict=True)] if list(order) == [1, 0] else values


def _reshaped(run: Any, operation: Any, value: Any, shape: Any) -> Any:
    entries = _entries(value)
    if len(shape) < 2:
        return entries if shape else entries[0]
    if len(shape) > 2 or not all(isinstance(n, int) for n in shape):
        raise refused_operation(operation, "a table of integers of this shape")
    columns = shape[1] if shape[1] >= 0 else len(entries) // shape[0]
    return [entries[n : n + columns] for n in range(0, len(entries), columns)]


def _entries(value: Any) -> list[Any]:
    return [entry for part in value for entry in _entries(part)] if isinstance(value, list) else [value]


def _sliced(run: Any, operation: Any, value: Any, begin: Any, size: Any) -> Any:
    if len(begin) > 1:
        value = [_sliced(run, operation, row, begin[1:], size[1:]) for row in value]
    return value[begin[0] :] if size[0] == -1 else value[begin[0] : begin[0] + size[0]]


def _range(run: Any, operation: Any, start: Any, stop: Any, step: Any) -> Any:
    """The numbers; as a slice where how many they are is not known."""
    if _are_numbers([start, stop, step]):
        return list(range(start, stop, step))
    if not isinstance(start, int) or start != 0:
        raise refused_operation(operation, "numbers from another one than 0 to an unknown size")
    return slice(None, stop, step)


INTEGERS: dict[str, Callable[..., Any]] = {
    "Shape": lambda run, operation, a: list(np.shape(a)),
    "Size": lambda run, operation, a: math.prod(np.shape(a)),
    "Rank": lambda run, operation, a: len(np.shape(a)),
    "StridedSlice": _strided,
    "Pack": _packed,
    "ConcatV2": _concatenated,
    "GatherV2": _gathered,
    "Prod": _product,
    "Range": _range,
    "Fill": lambda run, operation, shape, value: [value] * shape[0] if shape else value,
    "DynamicStitch": _stitched,
    "Transpose": lambda run, operation, values, order: _turned(values, order),
    "InvertPermutation": lambda run, operation, order: [order.index(n) for n in range(len(order))],
    "Reshape": _reshaped,
    "Slice": _sliced,
    "ExpandDims": _expanded,
    "Tile": lambda run, operation, value, times: np.tile(value, times).tolist(),
    "Squeeze": lambda run, operation, value: value[0] if isinstance(value, list) else value,
    "Cast": _cast_to_integer,
    "AddV2": each(lambda a, b: a + b),
    "Add": each(lambda a, b: a + b),
    "Neg": each(lambda a: -a),
    "Sub": each(lambda a, b: a - b),
    "Mul": each(lambda a, b: a * b),
    "FloorDiv": each(_quotient),
    "FloorMod": each(lambda a, b: a % b),
    "Maximum": each(maximum_of_sizes),
    "Minimum": each(minimum_of_sizes),
    "Select": lambda run, operation, condition, a, b: a if condition is True else b,
    "SelectV2": lambda run, operation, condition, a, b: a if condition is True else b,
    "BroadcastArgs": lambda run, operation, a, b: [
        y if isinstance(x, int) and x == 1 else x
        for x, y in zip([1] * (len(b) - len(a)) + a, [1] * (len(a) - len(b)) + b, strict=True)
    ],
}

# Comparisons of sizes, where the answer is the same for every size.
TRUTHS: dict[str, Callable[..., Any]] = {
    "Greater": each(lambda a, b: a > b),
    "GreaterEqual": each(lambda a, b: a >= b),
    "Less": each(lambda a, b: a < b),
    "LessEqual": each(lambda a, b: a <= b),
    "Equal": each(lambda a, b: a == b),
    "NotEqual": each(lambda a, b: a != b),
    "LogicalAnd": each(lambda a, b: a and b),
    "LogicalOr": each(lambda a, b: a or b),
    "LogicalNot": each(lambda a: not a),
}


def offsets(axis: int, *shapes: list[Any]) -> list[list[Any]]:
    """Where each of several arrays begins that are laid one after the other: ConcatOffset."""
    found: list[list[Any]] = []
    start: Any = 0
    for shape in shapes:
        found.append([start if n == axis else 0 for n in range(len(shape))])
        start = start + shape[axis]
    return found


def reduced_axes(a: Sequence[Any], b: Sequence[Any]) -> list[list[int]]:
    """Along which axes each was broadcast: BroadcastGradientArgs."""
    rank = max(len(a), len(b))
    wide = [[1] * (rank - len(shape)) + list(shape) for shape in (a, b)]
    return [[n for n, size in enumerate(shape) if isinstance(size, int) and size == 1] for shape in wide]
