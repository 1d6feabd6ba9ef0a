"""A TensorFlow graph, interpreted operation by operation on tensors with symbolic axes.

What is interpreted is the graph that ``tf.function`` traces from the shipped code, with an unknown batch size. An
operation that is not listed here is an error, as are comparisons of data and casts of data to integers; the named
hypotheses settle the comparisons that the shipped code makes:

- "every value is finite": ``IsFinite`` is true;
- "Σ w > 0": a comparison of the sum of the mask with 0 is true;
- "v + ε > 0": ``DivNoNan`` is a division and ``MulNoNan`` a multiplication.

What reaches ``StopGradient`` becomes a new symbol: what is proved with it holds for every constant. Therefore it need
not be known of which few elements the center is the mean; anything else than holding constant what is computed from
them is an error. ``Maximum``, ``Minimum`` and ``Relu`` of values per channel are functions of which nothing is known
but that equal arguments give equal values. A boolean mask is a factor of 0 or 1, and a selection by it is
b·x + (1 − b)·y.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from sympy import Expr, Indexed, IndexedBase, Rational, S, Sum, Symbol

from derivations.graphs.symbolic import axes as axes
from derivations.graphs.symbolic.axes import Tensor
from derivations.graphs.symbolic.kernels import Kernels, side_by_side
from derivations.graphs.symbolic.sizes import Few, SideBySide, SizeOperations, Value, as_data, integers
from derivations.graphs.walk import GraphWalk, UnknownGraph

LONG = 12  # operations
_CHANNEL = sp.Dummy("c", integer=True, positive=True)
UNKNOWN = sp.Dummy("few", integer=True, positive=True)  # how many they are
FINITE, POPULATED = "every value is finite", "Σ w > 0"


class Applied(NamedTuple):
    """A function of which nothing is known, and its arguments."""

    function: str
    arguments: tuple[Expr, ...]


class Interpretation(Kernels, SizeOperations, GraphWalk):
    """One graph, interpreted.

    Args:
        constants: Symbols for numbers in the graph, such as ε for 10⁻³; a statement that holds for the symbol holds for
            the number.
        positive: Expressions assumed to be > 0, which the graph may compare with 0.
        branch: As in ``GraphWalk``.
    """

    def __init__(
        self, constants: Mapping[float, Expr], positive: Sequence[Expr] = (), branch: bool | None = None
    ) -> None:
        GraphWalk.__init__(self, branch)
        Kernels.__init__(self)
        self.constants, self.positive = constants, [_shape_of(expression) for expression in positive]
        self.held: dict[Symbol, Expr] = {}
        self.applied: dict[Symbol, Applied] = {}
        self._symbols: dict[Applied, Symbol] = {}
        self._names: dict[Expr, IndexedBase] = {}
        self._unfolded: dict[IndexedBase, Expr] = {}

    def finished(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._named(value)
        return np.asarray(value, dtype=object) if isinstance(value, int | Expr) else value

    def _named(self, tensor: Tensor) -> Tensor:
        """A long value per channel under a name, so that expressions stay short; ``unfold`` puts it back."""
        # The number apart, so that what is summed block by block, and then divided, is treated as what is not.
        number, expression = tensor.expression.primitive()
        if tensor.pending or not (expression.has(Sum) or expression.count_ops() > LONG):
            return tensor
        channels = {tensor.axes[position] for position in tensor.varies()}
        if any(not axis.size.is_Integer for axis in channels) or len(channels) > 1:
            return tensor
        if any(entry.base in self.sizes.heads.values() for entry in expression.atoms(Indexed)):
            return tensor  # it has still to be joined with what lies in the rest
        index = next((axis.index for axis in channels), _CHANNEL)
        full = expression.xreplace({index: _CHANNEL})
        if full not in self._names:
            self._names[full] = name = IndexedBase(f"q{1 + len(self._names)}", real=True)
            self._unfolded[name] = self.unfold(full)
        return replace(tensor, expression=number * self._names[full][index])

    def unfold(self, expression: Expr) -> Expr:
        """The expression without the names that this interpretation gave."""
        entries = [entry for entry in expression.atoms(Indexed) if entry.base in self._unfolded]
        return expression.xreplace({e: self._unfolded[e.base].xreplace({_CHANNEL: e.indices[0]}) for e in entries})

    def _Const(self, operation: Any) -> Value:
        from tensorflow import make_ndarray

        array = make_ndarray(operation.get_attr("value"))
        if not operation.outputs[0].dtype.is_floating:
            return np.vectorize(sp.Integer, otypes=[object])(array) if array.size else array.astype(object)
        if not array.size:
            return array.astype(object)
        if (array != array.ravel()[0]).any():
            raise UnknownGraph(f"the constant {operation.name} has several values")
        number = float(array.ravel()[0])
        exact = self.constants.get(number, Rational(Fraction(number)))
        return Tensor(tuple(self.sizes.axis(sp.Integer(size)) for size in array.shape), exact)

    # Data.

    def _ZerosLike(self, operation: Any, value: Any) -> Tensor | None:
        if value is None:  # of a cotangent that nothing depends on
            return None
        return Tensor(value.axes if isinstance(value, Few) else as_data(value).axes, S.Zero)

    def _OnesLike(self, operation: Any, value: Value) -> Tensor:
        return Tensor(as_data(value).axes, S.One)

    def _Cast(self, operation: Any, value: Value) -> Value:
        target = operation.get_attr("DstT")
        if target.is_floating:
            return as_data(value)
        if isinstance(value, Tensor):
            raise UnknownGraph(f"data cast to {target.name}")
        return value

    # Values per channel that are not computed on.

    def _per_channel(self, *values: Value) -> Tensor:
        data = self.of_known(lambda *parts: sp.Tuple(*parts), *values)
        if any(position != len(data.axes) - 1 and data.axes[position].size != 1 for position in data.varies()):
            channels = [data.axes[position] for position in data.varies()]
            if len(channels) != 1 or not channels[0].size.is_Integer:
                raise UnknownGraph("only a value per channel may be clipped or held constant")
        return data

    def _StopGradient(self, operation: Any, value: Value | Few) -> Tensor:
        symbol = Symbol(f"c{1 + len(self.held)}", real=True)
        if isinstance(value, Few):
            if not all(axis.size.is_Integer for axis in value.axes):
                raise UnknownGraph("only a value per channel may be clipped or held constant")
            self.held[symbol] = symbol  # any
            return Tensor(value.axes, symbol)
        data = self._per_channel(value)
        self.held[symbol] = self.unfold(data.expression[0])
        return replace(data, expression=symbol)

    def _opaque(self, function: str, *values: Value, positive: bool = False) -> Tensor:
        """The value of a function of which nothing is known."""
        data = self._per_channel(*values)
        applied = Applied(function, tuple(map(self.unfold, data.expression)))
        named = Applied(function, tuple(_shape_of(e, data) for e in data.expression))
        name = f"{function}{1 + len(self._symbols)}"
        symbol = self._symbols.setdefault(named, Symbol(name, real=True, positive=positive or None))
        self.applied.setdefault(symbol, applied)
        return replace(data, expression=symbol)

    def _Maximum(self, operation: Any, a: Value, b: Value) -> Value:
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            return np.asarray(sp.Max(integers(a).item(), integers(b).item()), dtype=object)
        count, one = as_data(a), as_data(b)
        if one.expression == 1 and count.expression.is_integer and count.expression.is_positive:
            return a
        return self._opaque("max", count, one, positive=bool(one.expression.is_positive))

    def _Minimum(self, operation: Any, a: Value, b: Value) -> Tensor:
        return self._opaque("min", a, b)

    def _Relu(self, operation: Any, a: Value) -> Tensor:
        return self._opaque("relu", a)

    def _Abs(self, operation: Any, a: Value) -> Tensor:
        return self._opaque("abs", a)

    # Axes.

    def _Reshape(self, operation: Any, value: Any, shape: Value) -> Value | Few | SideBySide:
        target = [sp.sympify(size) for size in integers(shape).ravel()]
        if isinstance(value, Few):
            return Few(axes.reshaped(Tensor(value.axes, S.One), target).axes)
        if isinstance(value, SideBySide):
            return axes.reshaped(value.tensor, target)
        if not isinstance(value, Tensor):
            return value.reshape([int(size) for size in target])
        if (rows := side_by_side(value, target)) is not None:
            return rows
        if -1 in target:
            known = sp.Mul(*(size for size in target if size != -1))
            target[target.index(-1)] = sp.cancel(sp.Mul(*value.sizes()) / known)
        return axes.reshaped(value, target)

    def _Transpose(self, operation: Any, value: Value, order: Value) -> Tensor:
        data, positions = as_data(value), [int(position) for position in integers(order)]
        moved = [data.axes[position] for position in positions]
        for index in {axis.index for axis in moved if axis.index is not None}:
            if [axis for axis in moved if axis.index == index] != [axis for axis in data.axes if axis.index == index]:
                raise UnknownGraph(f"{operation.name} exchanges axes of the batch")
        return replace(data, axes=tuple(moved))

    def _ExpandDims(self, operation: Any, value: Value, axis: Value) -> Value:
        if not isinstance(value, Tensor):
            return super()._ExpandDims(operation, value, axis)
        position = int(integers(axis).item()) % (len(value.axes) + 1)
        return replace(value, axes=(*value.axes[:position], axes.ONE, *value.axes[position:]))

    def _BroadcastTo(self, operation: Any, value: Value, shape: Value) -> Tensor:
        target = Tensor(tuple(self.sizes.axis(sp.sympify(size)) for size in integers(shape)), S.Zero)
        return self.elementwise(lambda a, _: a, value, target)

    def _Fill(self, operation: Any, shape: Value, value: Value) -> Value:
        if not isinstance(value, Tensor):
            return np.full([int(size) for size in integers(shape)], value.item(), dtype=object)
        return Tensor(tuple(self.sizes.axis(sp.sympify(size)) for size in integers(shape)), value.expression)

    def _Sum(self, operation: Any, value: Value, positions: Value) -> Tensor:
        chosen = [int(position) for position in integers(positions).ravel()]
        return axes.summed(as_data(value), chosen, keep=operation.get_attr("keep_dims"))

    def _Mean(self, operation: Any, value: Value | Few, positions: Value) -> Tensor | Few:
        if isinstance(value, Few):
            chosen = [int(position) for position in integers(positions).ravel()]
            return Few(axes.summed(Tensor(value.axes, S.One), chosen, keep=operation.get_attr("keep_dims")).axes)
        data = as_data(value)
        count = sp.Mul(*(data.axes[int(position)].size for position in integers(positions).ravel()))
        total = self._Sum(operation, data, positions)
        return replace(total, expression=total.expression / count)

    def _StridedSlice(self, operation: Any, value: Value, begin: Value, end: Value, step: Value) -> Value | Few:
        if not isinstance(value, Tensor):
            return self.slice_of_sizes(operation, value, begin, end, step)
        if (own := self.single_entry(operation, value.sizes(), begin)) is not None:
            return replace(value, axes=value.axes[own:])
        if (few := self.few_of(operation, value.sizes(), step)) is not None:
            return Few((*value.axes[:few], self.sizes.axis(UNKNOWN), *value.axes[few + 1 :]))
        position, whole, head = self.cut_of(operation, value.sizes(), begin, end, step)
        return axes.cut(value, position, whole, head=head, sizes=self.sizes)

    def _StridedSliceGrad(
        self, operation: Any, shape: Value, begin: Value, end: Value, step: Value, dy: Value
    ) -> Tensor:
        sizes = [sp.sympify(size) for size in integers(shape)]
        position, whole, head = self.cut_of(operation, sizes, begin, end, step)
        return axes.padded(as_data(dy), position, sizes[position], whole, head=head, sizes=self.sizes)

    # Comparisons, and what is selected by them.

    def _IsFinite(self, operation: Any, value: Value | Few) -> Tensor | Few:
        if isinstance(value, Few):
            return value
        self.assume(FINITE)
        return Tensor(as_data(value).axes, S.One)

    def _Greater(self, operation: Any, a: Value, b: Value) -> Tensor:
        left, right = as_data(a), as_data(b)
        if right.expression != 0 or not (
            left.expression.is_positive or _shape_of(self.unfold(left.expression)) in self.positive
        ):
            raise UnknownGraph(f"the comparison {left.expression} > {right.expression}, without a hypothesis on it")
        if not left.expression.is_positive:
            self.assume(POPULATED)
        return Tensor(left.axes, S.One)

    def _LogicalOr(self, operation: Any, a: Value, b: Value) -> Tensor:
        return self.of_known(lambda p, q: p + q - p * q, a, b)

    def _LogicalAnd(self, operation: Any, a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return self.of_known(lambda p, q: p * q, a, b)
        return super()._LogicalAnd(operation, a, b)

    def _SelectV2(self, operation: Any, condition: Value | Few, a: Value | Few, b: Value) -> Tensor | Few:
        if isinstance(a, Few) and condition == a and as_data(b).expression == 0:
            return a
        return self.of_known(lambda c, p, q: q + c * (p - q), *map(as_data, (condition, a, b)))


def _shape_of(expression: Expr, tensor: Tensor | None = None) -> Expr:
    """The expression with the indices of its sums, and of the axes of the tensor, named alike."""
    names: dict[Symbol, Symbol] = {}
    for n, axis in enumerate(reversed(tensor.axes) if tensor else ()):
        if axis.index is not None:
            names.setdefault(axis.index, Symbol(f"_axis{n}", integer=True))
    for sum_ in sorted(expression.atoms(sp.Sum), key=lambda e: str(e.limits[0][0])):
        for limit in sum_.limits:
            names.setdefault(limit[0], Symbol(f"_{len(names)}", integer=True))
    return expression.xreplace(names)
