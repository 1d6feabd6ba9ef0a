"""TensorFlow's operations by NumPy's functions, which run on arrays of unknown size and on exact numbers alike.

A tensor of integers, such as a shape, is an int, a ``Size`` or a list of them; one number that does not depend on data
is a ``Fraction`` or a ``Size``, and can be compared where the answer is the same for every size. Every other tensor is
an array.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.arrays import SymbolicArray
from derivations.own_code.exact_arrays import ExactArray, wrapped
from derivations.own_code.numbers_dual import Number
from derivations.own_code.numbers_exact import exact, radicand
from derivations.own_code.refusal import NotUnderstood, short
from derivations.own_code.sizes import Size


class Run:
    """One run through a graph.

    Args:
        like: Makes a constant an array of the kind that is run on.
    """

    def __init__(self, like: Callable[[Any], Any]) -> None:
        self.like = like
        self.held: dict[str, None] = {}

    def graph(self, function: Any, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a concrete function."""
        graph = function.graph
        given = [*inputs, *map(self.captured, getattr(function, "captured_inputs", ()))]
        values = dict(zip((tensor.name for tensor in graph.inputs), given, strict=True))
        for operation in graph.get_operations():
            if operation.type.startswith("Assign"):
                raise _refused(operation, "an assignment to a variable; return the value instead")
        needed = _needed(graph)
        for operation in graph.get_operations():
            if operation.name not in needed:
                continue
            if operation.type in ("Placeholder", "NoOp"):
                if operation.outputs and operation.outputs[0].name not in values:
                    raise NotUnderstood(f"{operation.name}: a captured tensor or variable; make it an input")
                continue
            given = [values[tensor.name] for tensor in operation.inputs]
            results = self.operation(operation, given)
            for tensor, value in zip(operation.outputs, results, strict=True):
                values[tensor.name] = value
        return [values[tensor.name] for tensor in graph.outputs]

    def operation(self, operation: Any, given: list[Any]) -> list[Any]:
        kind = operation.type
        if kind in ("PartitionedCall", "StatefulPartitionedCall"):
            name = operation.get_attr("f").name
            definition = operation.graph._get_function(name)
            from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

            inner = function_def_to_graph(
                definition.cached_definition if definition else operation.graph.as_graph_def()
            )
            return self.graph(_Inner(inner), given)
        if kind in ("Identity", "IdentityN", "PreventGradient", "EnsureShape", "Snapshot", "CheckNumerics"):
            return given if kind == "IdentityN" else given[:1]
        if kind == "Pow" and operation.inputs[1].op.type == "Const":
            from tensorflow.python.framework.tensor_util import MakeNdarray

            return [given[0] ** float(MakeNdarray(operation.inputs[1].op.get_attr("value")))]
        if kind == "Const":
            return [self.constant(operation)]
        if kind == "ShapeN":
            return [list(np.shape(value)) for value in given]
        if kind == "BroadcastGradientArgs":
            return _reduced_axes(*given)
        if kind == "StopGradient":
            self.held[operation.name] = None
            return [_held(given[0])]
        dtype = operation.outputs[0].dtype
        method = INTEGERS if dtype.is_integer else TRUTHS if dtype.is_bool else REALS
        if kind not in method:
            raise _refused(operation, "the operation is not among those that can be proved")
        if kind not in _ON_SIZES or (method is REALS and kind != "Maximum" and not all(map(_known, given))):
            given = [self.array(value) if method is REALS else value for value in given]
        if (method is TRUTHS or kind == "Maximum") and not all(map(_known, given)):
            raise _refused(operation, "a comparison or a choice by values")
        try:
            return [method[kind](self, operation, *given)]
        except (NotUnderstood, ArithmeticError):
            raise
        except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise _refused(operation, str(error)) from error

    def constant(self, operation: Any) -> Any:
        from tensorflow.python.framework.tensor_util import MakeNdarray

        value = MakeNdarray(operation.get_attr("value"))
        if value.dtype.kind not in "iuf":
            raise _refused(operation, "a constant that is not a real number")
        return self.number(value)

    def captured(self, tensor: Any) -> Any:
        """The value of a tensor that the function has from outside."""
        dtype = tensor.dtype
        if not (dtype.is_floating or dtype.is_integer) or not hasattr(tensor, "numpy"):
            raise NotUnderstood("the function reads a variable, or a tensor that is no number; make it an input")
        return self.number(tensor.numpy())

    def number(self, value: Any) -> Any:
        """A constant, as the run takes it."""
        value = np.asarray(value)
        if value.dtype.kind in "iu":
            return value.tolist()
        if value.ndim == 0 and radicand(float(value)) is None:
            return exact(value[()])
        return self.like(value)

    def array(self, value: Any) -> Any:
        """A number that does not depend on data as an array."""
        return self.like(value) if isinstance(value, Fraction) else value._array() if isinstance(value, Size) else value


def _known(value: Any) -> bool:
    """Whether it does not depend on data."""
    if isinstance(value, list):
        return all(map(_known, value))
    return isinstance(value, int | Fraction | Size)


def _needed(graph: Any) -> set[str]:
    """The operations on which the outputs depend."""
    found: set[str] = set()
    waiting = [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return found


class _Inner:
    def __init__(self, graph: Any) -> None:
        self.graph = graph


def _refused(operation: Any, rule: str) -> NotUnderstood:
    return NotUnderstood(
        f"{_line(operation)}: TensorFlow's {operation.type} ({operation.name}) is not understood: {rule}"
    )


def _line(operation: Any) -> str:
    """The line of the user's code that made the operation."""

    frames = [f for f in operation.traceback if "site-packages" not in f.filename and "own_code" not in f.filename]
    return f"{short(frames[-1].filename)}:{frames[-1].lineno}" if frames else "the function"


def _held(value: Any) -> Any:
    if isinstance(value, SymbolicArray):
        return SymbolicArray(value.algebra, value.axes, value.algebra.held(value.polynomial), value.positive)
    if isinstance(value, Number):
        return value.held()
    return wrapped(np.vectorize(Number.held, otypes=[object])(value)) if isinstance(value, np.ndarray) else value


def _reduced_axes(a: Sequence[Any], b: Sequence[Any]) -> list[list[int]]:
    """Along which axes each was broadcast."""
    rank = max(len(a), len(b))
    wide = [[1] * (rank - len(shape)) + list(shape) for shape in (a, b)]
    return [[n for n, size in enumerate(shape) if isinstance(size, int) and size == 1] for shape in wide]


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation on integers, element by element."""

    def on(*given: Any) -> Any:
        if not any(isinstance(value, list) for value in given):
            return function(*given)
        length = max(len(value) for value in given if isinstance(value, list))
        spread = [
            value
            if isinstance(value, list) and len(value) == length
            else [value[0] if isinstance(value, list) else value] * length
            for value in given
        ]
        return [function(*row) for row in zip(*spread, strict=True)]

    return lambda run, operation, *given: on(*given)


def _maximum(a: Any, b: Any) -> Any:
    return a if a >= b else b


def _strided(run: Run, operation: Any, value: Any, begin: Any, end: Any, strides: Any) -> Any:
    mask = {
        name: operation.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    if not isinstance(value, list):
        keys: list[Any] = []
        for n in range(len(begin)):
            bit = 1 << n
            if mask["new_axis"] & bit:
                keys.append(None)
            elif mask["ellipsis"] & bit:
                keys.append(Ellipsis)
            elif mask["shrink_axis"] & bit:
                keys.append(begin[n])
            elif mask["begin"] & bit and mask["end"] & bit and strides[n] == 1:
                keys.append(slice(None))
            else:
                raise _refused(operation, "a part of an array; use whole axes")
        return value[tuple(keys)]
    if mask["shrink_axis"]:
        return value[begin[0]]
    return value[None if mask["begin"] else begin[0] : None if mask["end"] else end[0] : strides[0]]


def _stitched(run: Run, operation: Any, *given: Any) -> Any:
    half = len(given) // 2
    result: dict[int, Any] = {}
    for places, values in zip(given[:half], given[half:], strict=True):
        if isinstance(places, list):
            result.update(zip(places, values, strict=True))
        else:
            result[places] = values
    return [result[n] for n in range(len(result))]


def _packed(run: Run, operation: Any, *given: Any) -> Any:
    return list(given)


def _concatenated(run: Run, operation: Any, *given: Any) -> Any:
    return [entry for part in given[:-1] for entry in part]


def _gathered(run: Run, operation: Any, values: Any, places: Any, *_: Any) -> Any:
    return [values[n] for n in places] if isinstance(places, list) else values[places]


def _product(run: Run, operation: Any, values: Any, axes: Any) -> Any:
    return math.prod(values) if isinstance(values, list) else values


def _cast_to_integer(run: Run, operation: Any, value: Any) -> Any:
    if not isinstance(value, int | Size | list):
        raise _refused(operation, "rounding to integers")
    return value


def _turned(values: Any, order: Any) -> Any:
    return [list(row) for row in zip(*values, strict=True)] if list(order) == [1, 0] else values


def _flattened(values: Any) -> Any:
    return [n for row in values for n in row] if values and isinstance(values, list) and _nested(values) else values


def _nested(values: list[Any]) -> bool:
    return all(isinstance(row, list) for row in values)


INTEGERS: dict[str, Callable[..., Any]] = {
    "Shape": lambda run, operation, a: list(np.shape(a)),
    "Size": lambda run, operation, a: math.prod(np.shape(a)),
    "Rank": lambda run, operation, a: len(np.shape(a)),
    "StridedSlice": _strided,
    "Pack": _packed,
    "ConcatV2": _concatenated,
    "GatherV2": _gathered,
    "Prod": _product,
    "Range": lambda run, operation, start, stop, step: list(range(start, stop, step)),
    "Fill": lambda run, operation, shape, value: [value] * shape[0] if shape else value,
    "DynamicStitch": _stitched,
    "Transpose": lambda run, operation, values, order: _turned(values, order),
    "InvertPermutation": lambda run, operation, order: [order.index(n) for n in range(len(order))],
    "Reshape": lambda run, operation, value, shape: (
        _flattened(value) if isinstance(value, list) or shape == [] else [value]
    ),
    "ExpandDims": lambda run, operation, value, axis: [value],
    "Squeeze": lambda run, operation, value: value[0] if isinstance(value, list) else value,
    "Cast": _cast_to_integer,
    "AddV2": _each(lambda a, b: a + b),
    "Add": _each(lambda a, b: a + b),
    "Sub": _each(lambda a, b: a - b),
    "Mul": _each(lambda a, b: a * b),
    "FloorDiv": _each(lambda a, b: a // b),
    "FloorMod": _each(lambda a, b: a % b),
    "Maximum": _each(_maximum),
    "Select": lambda run, operation, condition, a, b: a if condition is True else b,
    "SelectV2": lambda run, operation, condition, a, b: a if condition is True else b,
    "BroadcastArgs": lambda run, operation, a, b: [
        y if isinstance(x, int) and x == 1 else x
        for x, y in zip([1] * (len(b) - len(a)) + a, [1] * (len(a) - len(b)) + b, strict=True)
    ],
}


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(run: Run, operation: Any, a: Any, axes: Any) -> Any:
        chosen = tuple(axes) if isinstance(axes, list) else (axes,)
        chosen = tuple(dict.fromkeys(n % a.ndim for n in chosen)) if np.ndim(a) else ()
        keep = operation.get_attr("keep_dims")
        return function(a, axis=chosen, keepdims=keep) if chosen else a

    return reduce


def _matmul(run: Run, operation: Any, a: Any, b: Any) -> Any:
    names = ("transpose_a", "transpose_b") if operation.type == "MatMul" else ("adj_x", "adj_y")
    a, b = (
        np.swapaxes(value, -1, -2) if operation.get_attr(name) else value
        for value, name in zip((a, b), names, strict=True)
    )
    return np.matmul(a, b)


def _cast(run: Run, operation: Any, value: Any) -> Any:
    source, target = operation.inputs[0].dtype, operation.outputs[0].dtype
    if target.size < _NARROWEST:
        raise _refused(operation, f"a cast to {target.name} loses digits; compute in float32 or float64")
    if source.is_floating and target.size < source.size and isinstance(value, SymbolicArray):
        note = f"the casts from {source.name} to {target.name} are taken as exact"
        value.algebra.journal.notes.append(note)
    return Fraction(value) if isinstance(value, int) else value


_NARROWEST = 4  # bytes of a floating-point type whose casts are taken as exact


def _filled(run: Run, operation: Any, shape: Any, value: Any) -> Any:
    return _broadcast(run, operation, value, shape)


def _broadcast(run: Run, operation: Any, value: Any, shape: Any) -> Any:
    value = run.array(value)
    if isinstance(value, np.ndarray | Number):
        return wrapped(np.broadcast_to(np.asarray(value, dtype=object), tuple(shape)).copy())
    return np.broadcast_to(value, tuple(shape))


def _tiled(run: Run, operation: Any, value: Any, reps: Any) -> Any:
    return np.tile(value, tuple(reps))


def _squeezed(run: Run, operation: Any, value: Any) -> Any:
    axes = tuple(operation.get_attr("squeeze_dims"))
    return np.squeeze(value, axis=axes) if axes else np.squeeze(value)


def _reshaped(run: Run, operation: Any, value: Any, shape: Any) -> Any:
    if isinstance(value, Number):
        value = wrapped(np.array(value, dtype=object))
    value = run.array(value)
    return value if shape == [] and not np.ndim(value) else np.reshape(value, tuple(shape))


def _sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def _bias(run: Run, operation: Any, a: Any, bias: Any) -> Any:
    if operation.get_attr("data_format") not in (b"NHWC", "NHWC"):
        raise _refused(operation, "the data format NCHW")
    return a + bias


def _softmax(run: Run, operation: Any, a: Any) -> Any:
    powers = np.exp(a)
    return powers / np.sum(powers, axis=-1, keepdims=True)


def _log_softmax(run: Run, operation: Any, a: Any) -> Any:
    return a - np.log(np.sum(np.exp(a), axis=-1, keepdims=True))


def _einsum(run: Run, operation: Any, *given: Any) -> Any:
    return np.einsum(operation.get_attr("equation").decode(), *given)


def _exponent(run: Run, operation: Any, a: Any, exponent: Any) -> Any:
    if isinstance(exponent, SymbolicArray):
        return np.power(a, exponent)
    value = exponent.flat[0] if isinstance(exponent, np.ndarray) else exponent
    return a ** (value.ring.rational(value.a) if isinstance(value, Number) else value)


def _selected(run: Run, operation: Any, condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, bool):
        raise _refused(operation, "a choice by values")
    return a if condition else b


def _by(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda run, operation, *given: function(*given)


# Comparisons of sizes, where the answer is the same for every size.
TRUTHS: dict[str, Callable[..., Any]] = {
    "Greater": _each(lambda a, b: a > b),
    "GreaterEqual": _each(lambda a, b: a >= b),
    "Less": _each(lambda a, b: a < b),
    "LessEqual": _each(lambda a, b: a <= b),
    "Equal": _each(lambda a, b: a == b),
    "NotEqual": _each(lambda a, b: a != b),
    "LogicalAnd": _each(lambda a, b: a and b),
    "LogicalOr": _each(lambda a, b: a or b),
    "LogicalNot": _each(lambda a: not a),
}
_ON_SIZES = ("AddV2", "Sub", "Mul", "RealDiv", "Neg", "Maximum", "Cast", "Select", "SelectV2", "Reshape", "Fill")

REALS: dict[str, Callable[..., Any]] = {
    "Maximum": _each(_maximum),
    "Select": _selected,
    "SelectV2": _selected,
    "AddV2": _by(lambda a, b: a + b),
    "Add": _by(lambda a, b: a + b),
    "Sub": _by(lambda a, b: a - b),
    "Mul": _by(lambda a, b: a * b),
    "RealDiv": _by(lambda a, b: a / b),
    "Div": _by(lambda a, b: a / b),
    "AddN": _by(lambda *given: sum(given[1:], given[0])),
    "Neg": _by(lambda a: -a),
    "Square": _by(lambda a: a * a),
    "SquaredDifference": _by(lambda a, b: (a - b) * (a - b)),
    "Sqrt": _by(lambda a: a**0.5),
    "Rsqrt": _by(lambda a: a**-0.5),
    "Reciprocal": _by(lambda a: 1 / a),
    "Inv": _by(lambda a: 1 / a),
    "Pow": _exponent,
    "Exp": _by(np.exp),
    "Expm1": _by(lambda a: np.exp(a) - 1),
    "Log": _by(np.log),
    "Log1p": _by(lambda a: np.log(1 + a)),
    "Tanh": _by(np.tanh),
    "Sin": _by(np.sin),
    "Cos": _by(np.cos),
    "Sigmoid": _by(_sigmoid),
    "Softplus": _by(lambda a: np.log(1 + np.exp(a))),
    "Abs": _by(np.abs),
    "Sign": _by(lambda a: a / np.abs(a)),
    "RsqrtGrad": _by(lambda y, dy: dy * y * y * y * -0.5),
    "SqrtGrad": _by(lambda y, dy: dy * 0.5 / y),
    "ReciprocalGrad": _by(lambda y, dy: -dy * y * y),
    "InvGrad": _by(lambda y, dy: -dy * y * y),
    "TanhGrad": _by(lambda y, dy: dy * (1 - y * y)),
    "SigmoidGrad": _by(lambda y, dy: dy * y * (1 - y)),
    "SoftplusGrad": _by(lambda dy, x: dy * _sigmoid(x)),
    "Sum": _reduction(np.sum),
    "Mean": _reduction(np.mean),
    "Max": _reduction(np.max),
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMul": _matmul,
    "Einsum": _einsum,
    "Transpose": _by(lambda a, order: np.transpose(a, order)),
    "Reshape": _reshaped,
    "ExpandDims": _by(lambda a, axis: np.expand_dims(a, axis)),
    "Squeeze": _squeezed,
    "StridedSlice": _strided,
    "BroadcastTo": _broadcast,
    "Fill": _filled,
    "Tile": _tiled,
    "ZerosLike": _by(lambda a: a * 0),
    "OnesLike": _by(lambda a: a * 0 + 1),
    "Cast": _cast,
    "BiasAdd": _bias,
    "BiasAddGrad": _by(lambda dy: np.sum(dy, axis=tuple(range(dy.ndim - 1)))),
    "L2Loss": _by(lambda a: np.sum(a * a) / 2),
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
}

__all__ = ["ExactArray", "Run"]
