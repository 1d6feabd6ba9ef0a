"""A TensorFlow graph, run exactly: each operation on arrays of field elements, at concrete sizes.

The operations share nothing with the interpretation on symbolic axes: here slices are slices, and stages of sums are
added up. Residues have no order; what a value per channel is clipped to is drawn at random, the same for the same, and
held constant.
"""

import random
from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from derivations.graphs import kernel_axioms as fused_kernels
from derivations.graphs.kernel_axioms import check_pointwise
from derivations.graphs.walk import GraphWalk, UnknownGraph
from derivations.prime_fields.dual_numbers import Dual, inverse_root_of_residue, number


class FieldGraph(GraphWalk):
    """Runs graphs over the field of p elements.

    Args:
        p: The prime.
        constants: Numbers of the graph that are replaced, such as ε.
        branch: As in ``GraphWalk``.
        seed: Of what is drawn for clipped values.
    """

    def __init__(self, p: int, constants: dict[float, Dual], branch: bool | None = None, seed: int = 0) -> None:
        super().__init__(branch)
        self.p, self.constants = p, constants
        self.held: list[np.ndarray] = []
        self._rng = random.Random(seed)
        self._clipped_to: dict[tuple[Any, ...], Any] = {}

    def finished(self, value: Any) -> Any:
        return value if isinstance(value, tuple) or value is None else np.asarray(value)

    def array(self, values: Any) -> np.ndarray:
        """Residues as field elements."""
        return np.vectorize(lambda value: Dual({0: int(value) % self.p}, self.p), otypes=[object])(values)

    def drawn(self, shape: tuple[int, ...]) -> np.ndarray:
        """Random field elements."""
        values = [self._rng.randrange(1, self.p) for _ in range(int(np.prod(shape)))]
        return self.array(np.array(values, dtype=object).reshape(shape))

    def exact(self, value: float) -> Dual:
        """A number of the graph."""
        if float(value) in self.constants:
            return self.constants[float(value)]
        fraction = Fraction(float(value))
        return Dual({0: fraction.numerator * pow(fraction.denominator, -1, self.p) % self.p}, self.p)

    def __getattr__(self, name: str) -> Any:
        if (function := _PLAIN.get(name.removeprefix("_"))) is None:
            raise AttributeError(name)
        return lambda operation, *arguments: function(*arguments)

    def _Const(self, operation: Any) -> np.ndarray:
        from tensorflow import make_ndarray

        array = make_ndarray(operation.get_attr("value"))
        if not operation.outputs[0].dtype.is_floating or not array.size:
            return array
        return np.vectorize(self.exact, otypes=[object])(array)

    def _Cast(self, operation: Any, value: np.ndarray) -> np.ndarray:
        target = operation.get_attr("DstT")
        if target.is_floating and value.dtype != object:
            return self.array(value)
        if not target.is_floating and value.dtype == object:
            raise UnknownGraph(f"data cast to {target.name}")
        return value

    def root(self, value: Any) -> Any:
        """The root of a number, that one which is a square itself."""
        inverse = value.power_series(inverse_root_of_residue(number(value.value), self.p))
        return inverse * value

    def _Sqrt(self, operation: Any, value: np.ndarray) -> np.ndarray:
        return np.vectorize(self.root, otypes=[object])(value)

    def _Rsqrt(self, operation: Any, value: np.ndarray) -> np.ndarray:
        return 1 / self._Sqrt(operation, value)

    def _Greater(self, operation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.vectorize(lambda value: number(value.value) != 0, otypes=[bool])(a)  # a sum of 0 and 1, or a size

    def _StopGradient(self, operation: Any, value: np.ndarray) -> np.ndarray:
        self.held.append(value)
        return value

    def _clipped(self, operation: Any, *values: np.ndarray) -> np.ndarray:
        function = np.vectorize(
            lambda *arguments: self._clipped_to.setdefault(
                (operation.type, *(number(argument.value) for argument in arguments)), self.drawn(()).item()
            ),
            otypes=[object],
        )
        return function(*values)

    _Minimum = _Relu = _Abs = _clipped

    def _Maximum(self, operation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype != object:
            return np.asarray(np.maximum(a, b))
        # A count, which is a small number, and 1.
        if a.size == b.size == 1 and number(b.item().value) == 1 and number(a.item().value) < 1 << 32:
            return a if number(a.item().value) >= 1 else b
        return self._clipped(operation, a, b)

    def _LogicalAnd(self, operation: Any, a: Any, b: Any) -> Any:
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return a & b
        return super()._LogicalAnd(operation, a, b)

    def _ZerosLike(self, operation: Any, value: Any) -> Any:
        return self.array(np.zeros(value.shape, int)) if isinstance(value, np.ndarray) else None

    def _Sum(self, operation: Any, value: np.ndarray, positions: np.ndarray) -> np.ndarray:
        axes = tuple(int(position) for position in positions.ravel())
        if not axes or not value.size:
            shape = np.empty(value.shape, bool).sum(axis=axes, keepdims=operation.get_attr("keep_dims")).shape
            return value if not axes else self.array(np.zeros(shape, int))
        return value.sum(axis=axes, keepdims=operation.get_attr("keep_dims"))

    def _Mean(self, operation: Any, value: np.ndarray, positions: np.ndarray) -> np.ndarray:
        count = int(np.prod([value.shape[int(position)] for position in positions.ravel()]))
        return self._Sum(operation, value, positions) / count

    def _MatMul(self, operation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a = a.swapaxes(-1, -2) if operation.get_attr("transpose_a") else a
        return self._product_of_matrices(a, b.swapaxes(-1, -2) if operation.get_attr("transpose_b") else b)

    def _BatchMatMulV2(self, operation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a = a.swapaxes(-1, -2) if operation.get_attr("adj_x") else a
        return self._product_of_matrices(a, b.swapaxes(-1, -2) if operation.get_attr("adj_y") else b)

    def _product_of_matrices(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product = a[..., :, :, None] * b[..., None, :, :]
        return product.sum(axis=-2) if product.size else self.array(np.zeros(product.sum(axis=-2).shape, int))

    def _DepthwiseConv2dNativeBackpropFilter(
        self, operation: Any, x: np.ndarray, sizes: np.ndarray, dy: np.ndarray
    ) -> np.ndarray:
        check_pointwise(operation, sizes, x.shape[-1])
        sums = (x * dy).sum(axis=(0, 1, 2)) if x.size else self.array(np.zeros(x.shape[-1], int))
        return sums.reshape([int(size) for size in sizes])

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

    def _kernel(self) -> fused_kernels.Kernel:
        def count(x: np.ndarray) -> int:
            return int(np.prod(x.shape[:-1]))

        def total(value: np.ndarray) -> np.ndarray:
            return value.sum(axis=tuple(range(value.ndim - 1)))

        return fused_kernels.Kernel(
            of=lambda function, *values: function(*values),
            mean=lambda value: total(value) / count(value),
            total=total,
            inverse_root=lambda value: self._Rsqrt(None, value),
            unbiased=lambda variance, x: variance * count(x) / max(count(x) - 1, 1),
        )

    def _FusedBatchNormV3(
        self, operation: Any, x: Any, scale: Any, offset: Any, mean: Any, variance: Any
    ) -> tuple[Any, ...]:
        epsilon = self.exact(operation.get_attr("epsilon"))
        return fused_kernels.forward(operation, self._kernel(), x, scale, offset, mean, variance, epsilon)

    def _FusedBatchNormGradV3(self, operation: Any, dy: Any, x: Any, scale: Any, *reserved: Any) -> tuple[Any, ...]:
        epsilon = self.exact(operation.get_attr("epsilon"))
        return fused_kernels.backward(operation, self._kernel(), dy, x, scale, reserved, epsilon)


def _stitched(*arguments: np.ndarray) -> np.ndarray:
    half = len(arguments) // 2
    result = np.zeros(1 + max(int(index.max()) for index in arguments[:half] if index.size), dtype=int)
    for indices, data in zip(arguments[:half], arguments[half:], strict=True):
        result[indices] = data
    return result


_PLAIN: dict[str, Callable[..., Any]] = {
    "Mul": lambda a, b: a * b,
    "MulNoNan": lambda a, b: a * b,
    "AddV2": lambda a, b: a + b,
    "AddN": lambda *terms: reduce(np.add, terms),
    "Sub": lambda a, b: a - b,
    "Neg": lambda a: -a,
    "RealDiv": lambda a, b: a / b,
    "DivNoNan": lambda a, b: a / b,
    "Reciprocal": lambda a: 1 / a,
    "ReciprocalGrad": lambda y, dy: -dy * y * y,
    "Square": lambda a: a * a,
    "SquaredDifference": lambda a, b: (a - b) * (a - b),
    "SqrtGrad": lambda y, dy: dy / (y * 2),
    "RsqrtGrad": lambda y, dy: dy * y * y * y / -2,
    "Shape": lambda a: np.array(a.shape, dtype=int),
    "Pack": lambda *values: np.stack(values),
    "Reshape": lambda a, shape: a.reshape([int(size) for size in shape]),
    "Transpose": np.transpose,
    "ExpandDims": lambda a, axis: np.expand_dims(a, int(axis)),
    "BroadcastTo": lambda a, shape: np.broadcast_to(a, [int(size) for size in shape]),
    "Fill": lambda shape, value: np.full([int(size) for size in shape], value.item(), dtype=value.dtype),
    "FloorDiv": lambda a, b: a // b,
    "FloorMod": lambda a, b: a % b,
    "Range": lambda start, limit, step: np.arange(int(start), int(limit), int(step)),
    "GatherV2": lambda values, indices, axis: values[indices],
    "Prod": lambda values, axis: np.prod(values, dtype=int),
    "InvertPermutation": np.argsort,
    "DynamicStitch": _stitched,
    "IsFinite": lambda a: np.ones(a.shape, bool),
    "LogicalOr": np.logical_or,
    "SelectV2": lambda condition, a, b: np.where(condition, a, b),
}
