"""A TensorFlow graph, interpreted operation by operation on tensors with symbolic axes.

What is interpreted is the graph that ``tf.function`` traces, with unknown sizes. These are refused: operations that
``OPERATIONS`` does not list, casts of data to integers, and comparisons, except where a branch is chosen by one. Named
hypotheses settle the comparisons that the shipped code makes:

- "every value is finite": ``IsFinite`` is true;
- "Σ w > 0": a comparison of the sum of the mask with 0 is true;
- "v + ε > 0": ``DivNoNan`` is a division and ``MulNoNan`` a multiplication.

Values that are not computed on:

- What reaches ``StopGradient`` has its value, and derivative 0. A value per channel becomes a new symbol first. A proof
  with this symbol holds for every constant, so that nothing need be known of a center that is the mean of a few
  elements. Where that is not enough, ``held`` says what the symbol stands for.
- ``Maximum``, ``Minimum``, ``Relu`` and ``Abs`` of values per channel are functions of which one thing is known: equal
  arguments give equal values.
- Such symbols carry the index of the channel if what they stand for does.
- A boolean mask is a factor of 0 or 1, and a selection by it is b·x + (1 − b)·y.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from sympy import Expr, Indexed, IndexedBase, Rational, S, Sum, Symbol

from derivations.graphs.nodes import as_written, bits, bodies_of, nodes_of
from derivations.graphs.symbolic import axes
from derivations.graphs.symbolic.axes import Tensor
from derivations.graphs.symbolic.kernels import Kernels
from derivations.graphs.symbolic.names import alike
from derivations.graphs.symbolic.predicates import Predicates
from derivations.graphs.symbolic.shapes import Shapes
from derivations.graphs.symbolic.sizes import Few, Value, as_data, check_fits, integers
from derivations.graphs.walk import GraphWalk, UnknownGraph
from derivations.notation.expressions import rewritten

LONG = 12  # operations
_CHANNEL = sp.Dummy("c", integer=True, positive=True)
FINITE = "every value is finite"
HELD = "only a value per channel of which all axes have known sizes"


class Applied(NamedTuple):
    """A function of which nothing is known, and its arguments."""

    function: str
    arguments: tuple[Expr, ...]


class Interpretation(Predicates, Shapes, Kernels, GraphWalk):
    """One graph, interpreted.

    Args:
        constants: Symbols for numbers in the graph, such as a momentum; a statement that holds for the symbol holds for
            the number.
        epsilon: Symbols for numbers that are added under a root, and where such a number stands in the same graph once
            more: added to something, or subtracted.
        positive: Expressions assumed to be > 0, which the graph may compare with 0.
        branch: Whether the predicate on which the graph branches is taken to hold; None if it is to have no branches.
    """

    def __init__(
        self,
        constants: Mapping[float, Expr],
        positive: Sequence[Expr] = (),
        branch: bool | None = None,
        epsilon: Mapping[float, Expr] | None = None,
    ) -> None:
        GraphWalk.__init__(self)
        Kernels.__init__(self)
        self.constants, self.epsilon = constants, epsilon or {}
        self.positive, self.branch = [alike(expression) for expression in positive], branch
        self.held: dict[IndexedBase | Symbol, Expr | None] = {}  # None: it is not known
        self.applied: dict[IndexedBase | Symbol, Applied] = {}
        self._symbols: dict[Applied, IndexedBase | Symbol] = {}
        self._names: dict[Expr, IndexedBase] = {}
        self._unfolded: dict[IndexedBase, Expr] = {}
        self._under_roots: set[float] = set()
        self._times = 1  # how many elements an input has for each one of the batch

    def run(self, function: Any, inputs: Sequence[Any], variables: Mapping[str, Any] | None = None) -> list[Any]:
        """As ``GraphWalk.run``."""
        for value in (value for value in inputs if isinstance(value, Tensor)):
            self._times = max(self._times, int(sp.Mul(*value.sizes()).as_coeff_Mul()[0]))
        constants = (node for body in bodies_of(function.graph) for node in nodes_of(body) if node.type == "Const")
        for constant in constants:
            number = _one_number(constant.constant)
            if number is not None and number in self.epsilon and constant.added_under_root():
                self._under_roots.add(number)
        return super().run(function, inputs, variables)

    def finished(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._named(value)
        if isinstance(value, int | Expr):
            value = np.asarray(value, dtype=object)
        if isinstance(value, np.ndarray):
            check_fits(value, self._times, self.sizes.lengths())
        return value

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
        full = rewritten(expression, {index: _CHANNEL})
        if full not in self._names:
            self._names[full] = name = IndexedBase(f"q{1 + len(self._names)}", real=True)
            self._unfolded[name] = self.unfold(full)
        return replace(tensor, expression=number * self._names[full][index])

    def unfold(self, expression: Expr) -> Expr:
        """The expression without the names that this interpretation gave."""
        entries = [entry for entry in expression.atoms(Indexed) if entry.base in self._unfolded]
        values = {e: rewritten(self._unfolded[e.base], {_CHANNEL: e.indices[0]}) for e in entries}
        return rewritten(expression, values)

    def constant(self, value: np.ndarray, operation: Any) -> Value:
        if value.dtype.kind in "iu":
            return np.vectorize(sp.Integer, otypes=[object])(value) if value.size else value.astype(object)
        if value.dtype.kind == "b":
            if value.size and (value != value.ravel()[0]).any():
                raise UnknownGraph("a constant of several truth values; one is understood")
            shape = tuple(self.sizes.axis(sp.Integer(size)) for size in value.shape)
            return Tensor(shape, sp.Integer(int(value.ravel()[0])) if value.size else S.Zero)
        if value.dtype.kind not in "fV":
            raise UnknownGraph(f"a constant of the type {value.dtype}; numbers and truth values are understood")
        if not value.size:
            return value.astype(object)
        if (value != value.ravel()[0]).any():
            raise UnknownGraph("a constant of several values; one, repeated, is understood")
        number = float(value.ravel()[0])
        if not np.isfinite(number):
            raise UnknownGraph(f"the constant {number}; finite numbers are understood")
        exact = self.constants.get(number, Rational(as_written(value.ravel()[0])))
        if number in self._under_roots and operation is not None and operation.is_added():
            exact = self.epsilon[number]
        return Tensor(tuple(self.sizes.axis(sp.Integer(size)) for size in value.shape), exact)

    # Data.

    def _ZerosLike(self, operation: Any, value: Any) -> Tensor | None:
        if value is None:  # of a cotangent that nothing depends on
            return None
        return Tensor(value.axes if isinstance(value, Few) else as_data(value).axes, S.Zero)

    def _OnesLike(self, operation: Any, value: Value) -> Tensor:
        return Tensor(as_data(value).axes, S.One)

    def _Cast(self, operation: Any, value: Any) -> Any:
        source, target = operation.get_attr("SrcT"), operation.get_attr("DstT")
        if target.is_floating:
            self.loses_bits(source, target)
            return value if isinstance(value, Few) else as_data(value)
        if source.is_bool and not isinstance(value, Tensor):
            raise UnknownGraph("a comparison cast to a number; a branch on it is understood")
        if isinstance(value, np.ndarray) and target.is_integer:
            if bits(target) < 31 or target.is_unsigned:
                raise UnknownGraph(f"a size cast to {target.name}, where it may wrap round; int32 is understood")
            return value
        raise UnknownGraph(f"data cast to {target.name}; casts to floating-point types are understood")

    # Values per channel that are not computed on.

    def _channel_of(self, data: Tensor) -> list[axes.Axis]:
        """The axes on which the data depend: at most one, of known size.

        Raises:
            UnknownGraph: they depend on others.
        """
        varying = [data.axes[position] for position in data.varies()]
        if data.pending or any(not axis.size.is_Integer for axis in varying) or len(varying) > 1:
            raise UnknownGraph(f"{HELD} may be compared, or replaced by a function of it")
        return varying

    def _symbol(self, name: str, channel: list[axes.Axis], positive: bool = False) -> tuple[Any, Expr]:
        """A new symbol for a value per channel, and that symbol at the channel."""
        if not channel:
            symbol = Symbol(name, real=True, positive=positive or None)
            return symbol, symbol
        base = IndexedBase(Symbol(name, real=True, positive=positive or None))
        return base, base[channel[0].index]

    def _StopGradient(self, operation: Any, value: Any) -> Any:
        if isinstance(value, Few):
            data = Tensor(value.axes, S.Zero)
            channel = [axis for axis in value.axes if axis.index is not None]
            if len(channel) > 1 or any(not axis.size.is_Integer for axis in channel):
                raise UnknownGraph(f"{HELD} may be held constant, of a few elements")
        elif not isinstance(value, Tensor):
            return value
        else:
            data = value
            channel = [data.axes[position] for position in data.varies()]
            if data.pending or data.where or len(channel) > 1 or any(not axis.size.is_Integer for axis in channel):
                return data  # its value
        symbol, at_channel = self._symbol(f"c{1 + len(self.held)}", channel)
        index = channel[0].index if channel else _CHANNEL
        self.held[symbol] = (
            None if isinstance(value, Few) else rewritten(self.unfold(data.expression), {index: _CHANNEL})
        )
        return replace(data, expression=at_channel)

    def _opaque(self, function: str, *values: Value, positive: bool = False) -> Tensor:
        """The value of a function of which nothing is known."""
        data = self.of_known(lambda *parts: sp.Tuple(*parts), *values)
        channel = self._channel_of(data)
        index = channel[0].index if channel else _CHANNEL
        arguments = tuple(alike(rewritten(self.unfold(e), {index: _CHANNEL})) for e in data.expression)
        key = Applied(f"{function}{'' if channel else ' of numbers'}", arguments)
        if key not in self._symbols:
            symbol, _ = self._symbol(f"{function}{1 + len(self._symbols)}", channel, positive)
            self._symbols[key] = symbol
            self.applied[symbol] = Applied(function, arguments)
        symbol = self._symbols[key]
        return replace(data, expression=symbol[index] if channel else symbol)

    def _Maximum(self, operation: Any, a: Value, b: Value) -> Value:
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            return np.asarray(np.vectorize(sp.Max, otypes=[object])(integers(a), integers(b)), dtype=object)
        count, one = as_data(a), as_data(b)
        if one.expression == 1 and count.expression.is_integer and count.expression.is_positive:
            return self.elementwise(lambda p, q: p, count, one)
        return self._opaque("max", count, one, positive=bool(one.expression.is_positive))

    def _Minimum(self, operation: Any, a: Value, b: Value) -> Tensor:
        return self._opaque("min", a, b)

    def _Relu(self, operation: Any, a: Value) -> Tensor:
        return self._opaque("relu", a)

    def _Abs(self, operation: Any, a: Value) -> Tensor:
        return self._opaque("abs", a)

    def _ReluGrad(self, operation: Any, dy: Value, a: Value) -> Tensor:
        self._assume_positive(a)
        return self.elementwise(lambda p, _: p, dy, replace(as_data(a), expression=S.Zero))

    def _Sign(self, operation: Any, a: Value) -> Tensor:
        self._assume_positive(a)
        return Tensor(as_data(a).axes, S.One)

    def _assume_positive(self, a: Value) -> None:
        data = as_data(a)
        self._channel_of(data)
        if not data.expression.is_positive:
            if not self.unfold(data.expression).atoms(Indexed):
                raise UnknownGraph(f"{data.expression}, whose sign may change with the size of the batch")
            self.assume(f"{alike(self.unfold(data.expression), data.axes)} > 0")

    # What is selected.

    def _IsInf(self, operation: Any, value: Value) -> Tensor:
        self.assume(FINITE)
        return Tensor(as_data(value).axes, S.Zero)

    def _IsFinite(self, operation: Any, value: Value | Few) -> Tensor | Few:
        if isinstance(value, Few):
            return value
        self.assume(FINITE)
        return Tensor(as_data(value).axes, S.One)

    def _SelectV2(self, operation: Any, condition: Any, a: Value | Few, b: Value) -> Tensor | Few:
        if isinstance(a, Few) and condition == a and as_data(b).expression == 0:
            return a
        if not isinstance(condition, Tensor):
            raise UnknownGraph("a selection by a comparison of data; one by a mask, or a branch, is understood")
        return self.of_known(lambda c, p, q: q + c * (p - q), *map(as_data, (condition, a, b)))

    def _Select(self, operation: Any, condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, Tensor) and isinstance(a, Tensor) and len(condition.axes) == 1 < len(a.axes):
            condition = replace(condition, axes=(*condition.axes, *[axes.ONE] * (len(a.axes) - 1)))
        return self._SelectV2(operation, condition, a, b)


def _one_number(array: np.ndarray) -> float | None:
    one = array.dtype.kind == "f" and array.size and (array == array.ravel()[0]).all()
    return float(array.ravel()[0]) if one else None
