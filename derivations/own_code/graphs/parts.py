"""TensorFlow's operations on parts of arrays by NumPy's functions, on symbolic arrays and exact numbers alike."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from derivations.own_code.exact.arrays import wrapped
from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.graphs.sizes import key_of_slice
from derivations.own_code.refusal import refused_operation
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.axes import identity
from derivations.own_code.symbolic.parts import cumulated


def _strided(run: Any, operation: Any, value: Any, begin: Any, end: Any, strides: Any) -> Any:
    return value[key_of_slice(operation, begin, end, strides)]


def _strided_slope(run: Any, operation: Any, shape: Any, begin: Any, end: Any, strides: Any, dy: Any) -> Any:
    result = dy.sum() * 0 + _zeros(run, shape)
    result[key_of_slice(operation, begin, end, strides)] = dy
    return result


def _zeros(run: Any, shape: Any) -> Any:
    zero = run.like(Fraction(0))
    if isinstance(zero, SymbolicArray):
        return np.broadcast_to(zero, tuple(shape))
    return wrapped(np.full(tuple(shape), zero, dtype=object))


def _sliced(run: Any, operation: Any, value: Any, begin: Any, size: Any) -> Any:
    return value[tuple(slice(start, None if n == -1 else start + n) for start, n in zip(begin, size, strict=True))]


def _along(axis: int, key: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, key)


def _apart(run: Any, operation: Any, value: Any, sizes: list[int], axis: int) -> list[Any]:
    bounds = np.cumsum([0, *sizes]).tolist()
    return [value[_along(axis % value.ndim, slice(*pair))] for pair in pairwise(bounds)]


def _unpacked(run: Any, operation: Any, value: Any) -> list[Any]:
    axis = operation.get_attr("axis") % value.ndim
    return [value[_along(axis, n)] for n in range(operation.get_attr("num"))]


def _split(run: Any, operation: Any, axis: Any, value: Any) -> list[Any]:
    count, length = operation.get_attr("num_split"), value.shape[axis]
    if not isinstance(length, int):
        raise refused_operation(operation, "an axis is split whose length is not a number")
    return _apart(run, operation, value, [length // count] * count, axis)


def _split_unevenly(run: Any, operation: Any, value: Any, sizes: Any, axis: Any) -> list[Any]:
    if -1 in sizes:
        sizes = [value.shape[axis] - sum(n for n in sizes if n != -1) if n == -1 else n for n in sizes]
    return _apart(run, operation, value, sizes, axis)


def _concatenated(run: Any, operation: Any, *given: Any) -> Any:
    return np.concatenate(given[:-1], axis=given[-1])


def _packed(run: Any, operation: Any, *given: Any) -> Any:
    arrays = [wrapped(np.array(value, dtype=object)) if isinstance(value, Number) else value for value in given]
    return np.stack(arrays, axis=operation.get_attr("axis"))


def _padded(run: Any, operation: Any, value: Any, widths: Any, constant: Any = 0) -> Any:
    return np.pad(value, widths, constant_values=constant)


def _gathered(run: Any, operation: Any, value: Any, places: Any, axis: Any = 0) -> Any:
    table = np.asarray(places) if isinstance(places, list) else places
    axis = axis % value.ndim
    if operation.type == "GatherV2" and (batch := operation.get_attr("batch_dims")):
        if (batch, axis, np.ndim(table)) != (1, 1, 1):
            raise refused_operation(operation, "tf.gather of this shape with batch_dims; one index a row is understood")
        return value[np.arange(len(table)), table]
    if isinstance(places, slice):  # every n-th number below a size
        if value.shape[axis] != places.stop:
            raise refused_operation(operation, "tf.gather of numbers up to another size than that of the axis")
        return value[_along(axis, slice(None, None, places.step))]
    if np.ndim(table) > 1:
        return np.moveaxis(np.moveaxis(value, axis, 0)[table], range(table.ndim), range(axis, axis + table.ndim))
    return value[_along(axis, places)]


def _columns(operation: Any, places: Any) -> tuple[np.ndarray, ...]:
    """Places given as rows of indices, by columns."""
    table = np.asarray(places)
    if table.ndim != 2 or table.dtype.kind != "i":
        raise refused_operation(operation, "places that are no list of rows of numbers")
    return tuple(table.T)


def _gathered_rows(run: Any, operation: Any, value: Any, places: Any) -> Any:
    return value[_columns(operation, places)]


def _scattered_rows(run: Any, operation: Any, places: Any, values: Any, shape: Any) -> Any:
    return _added_rows(run, operation, values.sum() * 0 + _zeros(run, shape), places, values)


def _added_rows(run: Any, operation: Any, whole: Any, places: Any, values: Any) -> Any:
    result = whole.copy()
    np.add.at(result, _columns(operation, places), values)
    return result


def _updated_rows(run: Any, operation: Any, whole: Any, places: Any, values: Any) -> Any:
    result = whole.copy()
    result[_columns(operation, places)] = values
    return result


def _scattered(run: Any, operation: Any, values: Any, places: Any, count: Any) -> Any:
    """Each row added at its place, as the gradient of tf.gather does."""
    if not isinstance(places, list) or not isinstance(count, int):
        raise refused_operation(operation, "places that are not numbers")
    zero = values[0] * 0
    return np.stack([sum((values[n] for n, p in enumerate(places) if p == place), zero) for place in range(count)])


def _cumulated(run: Any, operation: Any, value: Any, axis: Any) -> Any:
    options = {"exclusive": operation.get_attr("exclusive"), "reverse": operation.get_attr("reverse")}
    if isinstance(value, SymbolicArray):
        return cumulated(value, axis, **options)
    found = np.flip(value, axis) if options["reverse"] else value
    found = np.cumsum(found, axis=axis) - found if options["exclusive"] else np.cumsum(found, axis=axis)
    return np.flip(found, axis) if options["reverse"] else found


def _reversed(run: Any, operation: Any, value: Any, axes: Any) -> Any:
    return np.flip(value, tuple(axes) if isinstance(axes, list) else axes)


def _crossed(run: Any, operation: Any, a: Any, b: Any) -> Any:
    pairs = [(a[..., n - 2] * b[..., n - 1], a[..., n - 1] * b[..., n - 2]) for n in range(3)]
    return np.stack([one - other for one, other in pairs], axis=-1)


def _identity(run: Any, n: Any) -> Any:
    one = run.like(Fraction(1))
    if isinstance(one, SymbolicArray):
        return identity(one.algebra, n)
    return run.like(np.eye(n))


def _diagonal(run: Any, operation: Any, value: Any, which: Any, *_: Any) -> Any:
    if which not in (0, [0], [0, 0]) or value.shape[-1] != value.shape[-2]:
        raise refused_operation(operation, "the main diagonal of a square matrix is understood")
    return np.sum(value * _identity(run, value.shape[-1]), axis=-1)


def _diagonal_matrix(
    run: Any, operation: Any, value: Any, which: Any, rows: Any = -1, columns: Any = -1, *_: Any
) -> Any:
    if which not in (0, [0], [0, 0]) or not {str(rows), str(columns)} <= {"-1", str(value.shape[-1])}:
        raise refused_operation(operation, "the main diagonal of a square matrix is understood")
    return value[..., None] * _identity(run, value.shape[-1])


def _diagonal_set(run: Any, operation: Any, value: Any, diagonal: Any, which: Any) -> Any:
    return value - value * _identity(run, value.shape[-1]) + _diagonal_matrix(run, operation, diagonal, which)


def _band(run: Any, operation: Any, value: Any, below: Any, above: Any) -> Any:
    rows, columns = value.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise refused_operation(operation, "a band of a matrix whose sizes are not numbers")
    distance = np.arange(columns) - np.arange(rows)[:, None]
    inside = ((below < 0) | (-distance <= below)) & ((above < 0) | (distance <= above))
    return value * run.like(inside.astype(float))


def _one_hot(run: Any, operation: Any, places: Any, depth: Any, on: Any, off: Any) -> Any:
    if operation.get_attr("axis") != -1:
        raise refused_operation(operation, "tf.one_hot along another axis than the last")
    table = run.like((np.asarray(places)[..., None] == np.arange(depth)).astype(float))
    return table * (on - off) + off


PARTS: dict[str, Callable[..., Any]] = {
    "StridedSlice": _strided,
    "StridedSliceGrad": _strided_slope,
    "Slice": _sliced,
    "ConcatV2": _concatenated,
    "Pack": _packed,
    "Cross": _crossed,
    "MatrixDiagPartV3": _diagonal,
    "MatrixDiagV3": _diagonal_matrix,
    "MatrixSetDiagV3": _diagonal_set,
    "MatrixBandPart": _band,
    "OneHot": _one_hot,
    "Pad": _padded,
    "PadV2": _padded,
    "GatherV2": _gathered,
    "GatherNd": _gathered_rows,
    "ScatterNd": _scattered_rows,
    "TensorScatterAdd": _added_rows,
    "TensorScatterUpdate": _updated_rows,
    "UnsortedSegmentSum": _scattered,
    "Cumsum": _cumulated,
    "ReverseV2": _reversed,
    "Roll": lambda run, operation, value, shift, axis: np.roll(value, shift, axis),
}

# Operations with several outputs.
SEVERAL: dict[str, Callable[..., Any]] = {"Unpack": _unpacked, "Split": _split, "SplitV": _split_unevenly}
