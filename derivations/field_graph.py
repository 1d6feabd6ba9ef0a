"""A TensorFlow graph, run exactly: each operation on arrays of field elements, at concrete sizes.

Nothing is shared with the interpretation on symbolic axes: here slices are slices, and stages of sums are added up.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.dual_numbers import Dual, inverse_root_of_residue, number
from derivations.symbolic_axes import UnknownGraph


class FieldGraph:
    """Runs graphs over the field of p elements; the numbers in ``constants`` are replaced, such as ε."""

    def __init__(self, p: int, constants: dict[float, Dual]) -> None:
        self.p, self.constants = p, constants

    def run(self, graph: Any, inputs: Sequence[np.ndarray], outputs: Sequence[Any]) -> list[np.ndarray]:
        """The outputs: object arrays of ``Dual``.

        Raises:
            NoRoot: a radicand is no square.
            NotImplementedError: an operation is not known.
        """
        values: dict[str, np.ndarray] = {}
        waiting = iter(inputs)
        for operation in graph.get_operations():
            arguments = [values[tensor.name] for tensor in operation.inputs]
            if operation.type == "Placeholder":
                result: Any = next(waiting)
            elif operation.type in _PLAIN:
                result = _PLAIN[operation.type](*arguments)
            elif hasattr(self, f"_{operation.type}"):
                result = getattr(self, f"_{operation.type}")(operation, *arguments)
            else:
                raise NotImplementedError(operation.type)
            results = result if isinstance(result, tuple) else (result,)
            for tensor, value in zip(operation.outputs, results, strict=True):
                values[tensor.name] = np.asarray(value)
        return [values[tensor.name] for tensor in outputs]

    def array(self, values: np.ndarray) -> np.ndarray:
        """Residues as field elements."""
        return np.vectorize(lambda value: Dual({0: int(value) % self.p}, self.p), otypes=[object])(values)

    def _Const(self, operation: Any) -> np.ndarray:
        from tensorflow import make_ndarray

        array = make_ndarray(operation.get_attr("value"))
        if not operation.outputs[0].dtype.is_floating:
            return array

        def exact(value: float) -> Dual:
            if float(value) in self.constants:
                return self.constants[float(value)]
            fraction = Fraction(float(value))
            return Dual({0: fraction.numerator * pow(fraction.denominator, -1, self.p) % self.p}, self.p)

        return np.vectorize(exact, otypes=[object])(array)

    def _Cast(self, operation: Any, value: np.ndarray) -> np.ndarray:
        if operation.get_attr("DstT").is_floating and value.dtype != object:
            return self.array(value)
        return value

    def _root(self, value: Dual) -> Dual:
        inverse = value.power_series(inverse_root_of_residue(number(value.value), self.p))
        return inverse * value

    def _Sqrt(self, operation: Any, value: np.ndarray) -> np.ndarray:
        return np.vectorize(self._root, otypes=[object])(value)

    def _Rsqrt(self, operation: Any, value: np.ndarray) -> np.ndarray:
        return 1 / self._Sqrt(operation, value)

    def _Greater(self, operation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.vectorize(lambda value: number(value.value) != 0, otypes=[bool])(a)  # a sum of 0 and 1, or a size

    def _Maximum(self, operation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype != object:
            return np.asarray(np.maximum(a, b))
        # Residues have no order; a count, which is a small number, is at least 1.
        if number(b.item().value) != 1 or not 1 <= number(a.item().value) < 1 << 32:
            raise UnknownGraph(f"the maximum {operation.name}")
        return a

    def _ZerosLike(self, operation: Any, value: np.ndarray) -> np.ndarray:
        return self.array(np.zeros(value.shape, int))

    def _Sum(self, operation: Any, value: np.ndarray, positions: np.ndarray) -> np.ndarray:
        axes = tuple(int(position) for position in positions.ravel())
        if not axes or not value.size:
            shape = np.empty(value.shape, bool).sum(axis=axes, keepdims=operation.get_attr("keep_dims")).shape
            return value if not axes else self.array(np.zeros(shape, int))
        return value.sum(axis=axes, keepdims=operation.get_attr("keep_dims"))

    def _Mean(self, operation: Any, value: np.ndarray, positions: np.ndarray) -> np.ndarray:
        count = int(np.prod([value.shape[int(position)] for position in positions.ravel()]))
        return self._Sum(operation, value, positions) / count

    def _slices(self, operation: Any, begin: np.ndarray, end: np.ndarray, step: np.ndarray) -> tuple[Any, ...]:
        slices: list[Any] = []
        for n, (first, last, stride) in enumerate(zip(begin, end, step, strict=True)):
            if operation.get_attr("shrink_axis_mask") >> n & 1:
                slices.append(int(first))
            else:
                start = None if operation.get_attr("begin_mask") >> n & 1 else int(first)
                slices.append(slice(start, None if operation.get_attr("end_mask") >> n & 1 else int(last), int(stride)))
        return tuple(slices)

    def _StridedSlice(self, operation: Any, value: np.ndarray, *bounds: np.ndarray) -> np.ndarray:
        return value[self._slices(operation, *bounds)]

    def _StridedSliceGrad(self, operation: Any, shape: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        result = self.array(np.zeros([int(size) for size in shape], int))
        result[self._slices(operation, *rest[:-1])] = rest[-1]
        return result

    def _BroadcastGradientArgs(self, operation: Any, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shapes = [[1] * (max(len(a), len(b)) - len(shape)) + list(shape) for shape in (a, b)]
        return tuple(  # type: ignore[return-value]
            np.array([n for n, (p, q) in enumerate(zip(one, other, strict=True)) if p == 1 and q != 1], dtype=int)
            for one, other in (shapes, shapes[::-1])
        )


def _stitched(*arguments: np.ndarray) -> np.ndarray:
    half = len(arguments) // 2
    result = np.zeros(1 + max(int(index.max()) for index in arguments[:half] if index.size), dtype=int)
    for indices, data in zip(arguments[:half], arguments[half:], strict=True):
        result[indices] = data
    return result


_PLAIN: dict[str, Callable[..., Any]] = {
    "Identity": lambda a: a,
    "StopGradient": lambda a: a,
    "IdentityN": lambda *values: values,
    "Mul": lambda a, b: a * b,
    "MulNoNan": lambda a, b: a * b,
    "AddV2": lambda a, b: a + b,
    "AddN": lambda *terms: sum(terms[1:], terms[0]),
    "Sub": lambda a, b: a - b,
    "Neg": lambda a: -a,
    "RealDiv": lambda a, b: a / b,
    "DivNoNan": lambda a, b: a / b,
    "Square": lambda a: a * a,
    "SquaredDifference": lambda a, b: (a - b) * (a - b),
    "SqrtGrad": lambda y, dy: dy / (y * 2),
    "RsqrtGrad": lambda y, dy: dy * y * y * y / -2,
    "Shape": lambda a: np.array(a.shape, dtype=int),
    "Pack": lambda *values: np.stack(values),
    "Reshape": lambda a, shape: a.reshape([int(size) for size in shape]),
    "BroadcastTo": lambda a, shape: np.broadcast_to(a, [int(size) for size in shape]),
    "Fill": lambda shape, value: np.full([int(size) for size in shape], value.item(), dtype=value.dtype),
    "FloorDiv": lambda a, b: a // b,
    "FloorMod": lambda a, b: a % b,
    "Range": lambda start, limit, step: np.arange(int(start), int(limit), int(step)),
    "GatherV2": lambda values, indices, axis: values[indices],
    "Prod": lambda values, axis: np.prod(values, dtype=int),
    "DynamicStitch": _stitched,
    "IsFinite": lambda a: np.ones(a.shape, bool),
    "LogicalOr": np.logical_or,
    "SelectV2": lambda condition, a, b: np.where(condition, a, b),
}
