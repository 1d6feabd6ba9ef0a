"""A TensorFlow graph, interpreted operation by operation on tensors with symbolic axes.

What is interpreted is the graph that ``tf.function`` traces from the shipped code, with an unknown batch size. An
operation that is not listed here is an error, as are comparisons of data and casts of data to integers; the named
hypotheses settle the comparisons that the shipped code makes:

- "every value is finite": ``IsFinite`` is true;
- "Σ w > 0": a comparison of a size, or of the sum of the mask, with 0 is true;
- "v + ε > 0": ``DivNoNan`` is a division and ``MulNoNan`` a multiplication.

What reaches ``StopGradient`` becomes a new symbol: what is proved with it holds for every constant. A boolean mask is a
factor of 0 or 1, and a selection by it is b·x + (1 − b)·y.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Rational, S, Symbol

from derivations import symbolic_axes as axes
from derivations.finite_sums import Condition
from derivations.symbolic_axes import Sizes, Tensor, UnknownGraph

FINITE, POPULATED, POSITIVE = "every value is finite", "Σ w > 0", "v + ε > 0"
# Either data, or an array of sizes; TensorFlow computes shapes with the same operations as data.
Value = Tensor | np.ndarray


class Interpretation:
    """One graph, interpreted.

    Args:
        constants: Symbols for numbers in the graph, such as ε for 10⁻³; a statement that holds for the symbol holds for
            the number.
        positive: Expressions assumed to be > 0, which the graph may compare with 0.
    """

    def __init__(self, constants: Mapping[float, Symbol], positive: Sequence[Expr] = ()) -> None:
        self.constants, self.positive = constants, [_shape_of(expression) for expression in positive]
        self.sizes = Sizes()
        self.hypotheses: set[str] = set()
        self.conditions: set[Condition] = set()
        self.held: dict[Symbol, Expr] = {}
        self.counts: dict[str, int] = {}

    def run(self, graph: Any, inputs: Sequence[Tensor], outputs: Sequence[Any]) -> list[Tensor]:
        """The outputs of the graph.

        Raises:
            UnknownGraph: an operation is not covered.
        """
        values: dict[str, Value] = {}
        waiting = iter(inputs)
        for operation in graph.get_operations():
            arguments = [values[tensor.name] for tensor in operation.inputs]
            self.counts[operation.type] = self.counts.get(operation.type, 0) + 1
            if operation.type == "Placeholder":
                result: Any = next(waiting)
            else:
                result = self._apply(operation, arguments)
            results = result if isinstance(result, tuple) else (result,)
            for tensor, value in zip(operation.outputs, results, strict=True):
                values[tensor.name] = value if isinstance(value, Tensor) else np.asarray(value, dtype=object)
        return [_as_data(values[tensor.name]) for tensor in outputs]

    def _apply(self, operation: Any, arguments: list[Value]) -> Any:
        kind = operation.type
        if kind in ("Identity", "IdentityN", "PreventGradient"):
            return tuple(arguments)
        if kind == "Const":
            return self._constant(operation)
        if kind in _ARITHMETIC:
            return self._arithmetic(kind, arguments)
        method: Callable[..., Any] | None = getattr(self, f"_{kind}", None)
        if method is None:
            raise UnknownGraph(f"the operation {kind} of {operation.name}")
        return method(operation, *arguments)

    def _constant(self, operation: Any) -> Value:
        from tensorflow import make_ndarray

        array = make_ndarray(operation.get_attr("value"))
        if not operation.outputs[0].dtype.is_floating:
            return np.vectorize(sp.Integer, otypes=[object])(array) if array.size else array.astype(object)
        if not array.size or (array != array.ravel()[0]).any():
            raise UnknownGraph(f"the constant {operation.name} has several values")
        number = float(array.ravel()[0])
        exact = self.constants.get(number, Rational(Fraction(number)))
        return Tensor(tuple(self.sizes.axis(sp.Integer(size)) for size in array.shape), exact)

    def _arithmetic(self, kind: str, arguments: list[Value]) -> Value:
        function, linear = _ARITHMETIC[kind]
        if not any(isinstance(argument, Tensor) for argument in arguments):
            if kind in ("Mul", "AddV2", "Sub", "Neg", "AddN"):
                return np.asarray(function(*arguments), dtype=object)
            raise UnknownGraph(f"{kind} of sizes")
        data = [_as_data(argument) for argument in arguments]
        if kind in ("RealDiv", "DivNoNan", "Reciprocal"):
            self._require(data[-1].expression, "≠ 0")
        if kind in ("DivNoNan", "MulNoNan"):
            self.hypotheses.add(POSITIVE)
        pending = [any(axis.kind == "pending" for axis in tensor.axes) for tensor in data]
        if any(pending):
            allowed = (linear == "sum" and all(pending)) or (linear == "factor" and sum(pending) == 1)
            if not allowed or (kind in ("RealDiv", "DivNoNan") and pending[1]):
                raise UnknownGraph(f"{kind} of what has still to be summed over a block")
            if linear == "factor":
                other = data[pending.index(False)]
                if any(other.depends_on(axis) for axis in other.axes[: len(other.axes) - 1] if axis.size != 1):
                    raise UnknownGraph(f"{kind} by a value per element of what has still to be summed over a block")
        result = axes.elementwise(function, *data, linear=any(pending))
        if kind in ("AddV2", "AddN"):
            return Tensor(result.axes, axes.joined(result.expression, set(self.sizes.heads.values())))
        return result

    def _require(self, expression: Expr, relation: str) -> None:
        if not expression.is_number:
            self.conditions.add(Condition(expression, relation))

    # Shapes, which are computed on sizes.

    def _Shape(self, operation: Any, value: Value) -> np.ndarray:
        return np.array(value.sizes() if isinstance(value, Tensor) else [sp.Integer(n) for n in value.shape], object)

    def _Pack(self, operation: Any, *values: Value) -> np.ndarray:
        return np.array([sp.sympify(_integers(value).item()) for value in values], dtype=object)

    def _FloorDiv(self, operation: Any, a: Value, b: Value) -> np.ndarray:
        size, divisor = _integers(a), _integers(b)
        if divisor.size != 1 or int(divisor.item()) != axes.BLOCK:
            return np.asarray(np.vectorize(_exact_quotient, otypes=[object])(size, divisor), dtype=object)
        return np.asarray(self.sizes.blocks(sp.sympify(size.item())), dtype=object)

    def _FloorMod(self, operation: Any, a: Value, b: Value) -> np.ndarray:
        return np.asarray(
            np.vectorize(lambda p, q: sp.Integer(int(p) % int(q)), otypes=[object])(*map(_integers, (a, b)))
        )

    def _Maximum(self, operation: Any, a: Value, b: Value) -> Value:
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            count, one = _as_data(a), _as_data(b)
            if one.expression == 1 and count.expression.is_integer and count.expression.is_positive:
                self.hypotheses.add(POPULATED)
                return count
            return self._clipped(a, b)
        left, right = map(_integers, (a, b))
        if right.size == 1 and right.item() == 1:  # sizes are ≥ 1 where anything is divided by them
            self.hypotheses.add(POPULATED)
            return left
        raise UnknownGraph("a maximum of sizes")

    def _clipped(self, *values: Value) -> Tensor:
        """Any constant, per channel: what is clipped has no other name."""
        data = axes.elementwise(lambda *parts: parts[0], *map(_as_data, values))
        if any(tensor.depends_on(axis) for tensor in map(_as_data, values) for axis in tensor.axes[:-1]):
            raise UnknownGraph("only a value per channel may be clipped")
        return Tensor(data.axes, sp.Dummy("c", real=True))

    def _Minimum(self, operation: Any, a: Value, b: Value) -> Tensor:
        return self._clipped(a, b)

    def _Range(self, operation: Any, start: Value, limit: Value, step: Value) -> np.ndarray:
        numbers = [int(_integers(value).item()) for value in (start, limit, step)]
        return np.array([sp.Integer(n) for n in range(*numbers)], dtype=object)

    def _GatherV2(self, operation: Any, values: Value, indices: Value, axis: Value) -> np.ndarray:
        return _integers(values)[_integers(indices).astype(int)]

    def _Prod(self, operation: Any, values: Value, axis: Value) -> np.ndarray:
        return np.asarray(sp.Mul(*_integers(values).ravel()), dtype=object)

    def _DynamicStitch(self, operation: Any, *arguments: Value) -> np.ndarray:
        half = len(arguments) // 2
        places: dict[int, Any] = {}
        for indices, data in zip(arguments[:half], arguments[half:], strict=True):
            for place, value in zip(_integers(indices).ravel(), _integers(data).ravel(), strict=True):
                places[int(place)] = value
        return np.array([places[n] for n in range(len(places))], dtype=object)

    def _BroadcastGradientArgs(self, operation: Any, a: Value, b: Value) -> tuple[np.ndarray, np.ndarray]:
        shapes = [list(_integers(value)) for value in (a, b)]
        rank = max(map(len, shapes))
        left, right = ([S.One] * (rank - len(shape)) + shape for shape in shapes)
        if any(p not in (q, 1) and q != 1 for p, q in zip(left, right, strict=True)):
            raise UnknownGraph(f"shapes {left} and {right}")
        summed = [
            [n for n in range(rank) if one[n] == 1 and other[n] != 1] for one, other in ((left, right), (right, left))
        ]
        return np.array(summed[0], dtype=object), np.array(summed[1], dtype=object)

    # Data.

    def _Reshape(self, operation: Any, value: Value, shape: Value) -> Value:
        target = [sp.sympify(size) for size in _integers(shape).ravel()]
        if not isinstance(value, Tensor):
            return value.reshape([int(size) for size in target])
        if -1 in target:
            known = sp.Mul(*(size for size in target if size != -1))
            target[target.index(-1)] = sp.cancel(sp.Mul(*value.sizes()) / known)
        return axes.reshaped(value, target, self.sizes)

    def _BroadcastTo(self, operation: Any, value: Value, shape: Value) -> Tensor:
        target = Tensor(tuple(self.sizes.axis(sp.sympify(size)) for size in _integers(shape)), S.Zero)
        return axes.elementwise(lambda a, _: a, _as_data(value), target, linear=True)

    def _Fill(self, operation: Any, shape: Value, value: Value) -> Value:
        if not isinstance(value, Tensor):
            return np.full([int(size) for size in _integers(shape)], value.item(), dtype=object)
        return Tensor(tuple(self.sizes.axis(sp.sympify(size)) for size in _integers(shape)), value.expression)

    def _Sum(self, operation: Any, value: Value, positions: Value) -> Tensor:
        chosen = [int(position) for position in _integers(positions).ravel()]
        return axes.summed(_as_data(value), chosen, keep=operation.get_attr("keep_dims"))

    def _Mean(self, operation: Any, value: Value, positions: Value) -> Tensor:
        data = _as_data(value)
        chosen = [int(position) % len(data.axes) for position in _integers(positions).ravel()]
        total = self._Sum(operation, data, positions)
        return Tensor(total.axes, total.expression / sp.Mul(*(data.axes[position].size for position in chosen)))

    def _StridedSlice(self, operation: Any, value: Value, begin: Value, end: Value, step: Value) -> Value:
        if isinstance(value, Tensor):
            position, head = self._cut_of(operation, value.sizes(), begin, end, step)
            return axes.cut(value, position, head=head, sizes=self.sizes)
        first, last, strides = (_integers(array) for array in (begin, end, step))
        masks = {
            name: operation.get_attr(f"{name}_mask") for name in ("begin", "end", "shrink_axis", "ellipsis", "new_axis")
        }
        if masks["ellipsis"] or masks["new_axis"] or len(first) != 1:
            raise UnknownGraph(f"the slice {operation.name}")
        if masks["shrink_axis"]:
            return np.asarray(value[int(first[0])], dtype=object)
        return value[
            None if masks["begin"] else int(first[0]) : None if masks["end"] else int(last[0]) : int(strides[0])
        ]

    def _StridedSliceGrad(
        self, operation: Any, shape: Value, begin: Value, end: Value, step: Value, dy: Value
    ) -> Tensor:
        sizes = [sp.sympify(size) for size in _integers(shape)]
        position, head = self._cut_of(operation, sizes, begin, end, step)
        return axes.padded(_as_data(dy), position, sizes[position], head=head, sizes=self.sizes)

    def _cut_of(self, operation: Any, sizes: list[Expr], begin: Value, end: Value, step: Value) -> tuple[int, bool]:
        """Which axis is cut where its whole blocks end, and whether they are what is kept."""
        first, last, strides = (list(_integers(array)) for array in (begin, end, step))
        if any(operation.get_attr(f"{name}_mask") for name in ("shrink_axis", "ellipsis", "new_axis")):
            raise UnknownGraph(f"the slice {operation.name}")
        cuts = []
        for position, size in enumerate(sizes[: len(first)]):
            from_start = operation.get_attr("begin_mask") >> position & 1 or first[position] == 0
            to_end = operation.get_attr("end_mask") >> position & 1
            if strides[position] != 1:
                raise UnknownGraph(f"a slice with steps of {strides[position]}")
            if from_start and to_end:
                continue
            whole = axes.BLOCK * self.sizes.blocks(size)
            if from_start and last[position] == whole:
                cuts.append((position, True))
            elif to_end and first[position] == whole:
                cuts.append((position, False))
            else:
                raise UnknownGraph(f"a slice from {first[position]} to {last[position]} of {size}")
        if len(cuts) != 1:
            raise UnknownGraph(f"the slice {operation.name} of {len(cuts)} axes")
        return cuts[0]

    def _Cast(self, operation: Any, value: Value) -> Value:
        target = operation.get_attr("DstT")
        if target.is_floating:
            return _as_data(value)
        if isinstance(value, Tensor):
            raise UnknownGraph(f"data cast to {target.name}")
        return value

    def _ZerosLike(self, operation: Any, value: Value) -> Tensor:
        return Tensor(_as_data(value).axes, S.Zero)

    def _StopGradient(self, operation: Any, value: Value) -> Tensor:
        data = _as_data(value)
        if any(data.depends_on(axis) for axis in data.axes[:-1]):
            raise UnknownGraph("only a value per channel may be held constant")
        symbol = sp.Dummy("c", real=True)
        self.held[symbol] = data.expression
        return Tensor(data.axes, symbol)

    # Comparisons.

    def _IsFinite(self, operation: Any, value: Value) -> Tensor:
        self.hypotheses.add(FINITE)
        return Tensor(_as_data(value).axes, S.One)

    def _Greater(self, operation: Any, a: Value, b: Value) -> Tensor:
        left, right = _as_data(a), _as_data(b)
        if right.expression != 0 or not (left.expression.is_positive or _shape_of(left.expression) in self.positive):
            raise UnknownGraph(f"the comparison {left.expression} > {right.expression}, without a hypothesis on it")
        self.hypotheses.add(POPULATED)
        return Tensor(left.axes, S.One)

    def _LogicalOr(self, operation: Any, a: Value, b: Value) -> Tensor:
        return axes.elementwise(lambda p, q: p + q - p * q, _as_data(a), _as_data(b))

    def _SelectV2(self, operation: Any, condition: Value, a: Value, b: Value) -> Tensor:
        return axes.elementwise(lambda c, p, q: q + c * (p - q), *map(_as_data, (condition, a, b)))


# The function, and how it treats values that have still to be summed over a block.
_ARITHMETIC: dict[str, tuple[Callable[..., Any], str]] = {
    "Mul": (lambda a, b: a * b, "factor"),
    "MulNoNan": (lambda a, b: a * b, "factor"),
    "RealDiv": (lambda a, b: a / b, "factor"),
    "DivNoNan": (lambda a, b: a / b, "factor"),
    "AddV2": (lambda a, b: a + b, "sum"),
    "AddN": (lambda *terms: sum(terms[1:], terms[0]), "sum"),
    "Sub": (lambda a, b: a - b, "sum"),
    "Neg": (lambda a: -a, "sum"),
    "Square": (lambda a: a * a, ""),
    "SquaredDifference": (lambda a, b: (a - b) * (a - b), ""),
    "Sqrt": (lambda a: a ** Rational(1, 2), ""),
    "Rsqrt": (lambda a: a ** Rational(-1, 2), ""),
    "SqrtGrad": (lambda y, dy: dy / (2 * y), ""),
    "RsqrtGrad": (lambda y, dy: -dy * y**3 / 2, ""),
    "Reciprocal": (lambda a: 1 / a, ""),
}


def _integers(value: Value) -> np.ndarray:
    if isinstance(value, Tensor):
        raise UnknownGraph("data where a size is expected")
    return value


def _as_data(value: Value) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if value.size != 1:
        raise UnknownGraph("an array of sizes used as data")
    return Tensor((axes.ONE,) * value.ndim, sp.sympify(value.item()))


def _exact_quotient(a: Any, b: Any) -> Expr:
    quotient = sp.cancel(sp.sympify(a) / sp.sympify(b))
    # m/256 is a polynomial too, but m // 256 is not its value.
    if not quotient.is_polynomial() or not all(c.is_integer for c in quotient.as_coefficients_dict().values()):
        raise UnknownGraph(f"{a} // {b}")
    return quotient


def _shape_of(expression: Expr) -> Expr:
    """The expression with the indices of its sums named alike."""
    names: dict[Symbol, Symbol] = {}
    for sum_ in expression.atoms(sp.Sum):
        for limit in sum_.limits:
            names.setdefault(limit[0], Symbol(f"_{len(names)}", integer=True))
    return expression.xreplace(names)
