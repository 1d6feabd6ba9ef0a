"""The operations by which TensorFlow computes shapes, on arrays of symbolic sizes."""

from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from sympy import Expr, S

from derivations.graphs.symbolic.axes import BLOCKS, ONE, Axis, Sizes, Tensor
from derivations.graphs.walk import UnknownGraph

# Either data, or an array of sizes; TensorFlow computes shapes with the same operations as data.
Value = Tensor | np.ndarray


class Few(NamedTuple):
    """What is computed from a few of the elements: a value of which no more is known than its axes.

    Only ``StopGradient`` takes it for data, as which any constant will do.
    """

    axes: tuple[Axis, ...]


class SideBySide(NamedTuple):
    """Data whose last two axes are one: rows laid side by side, as so many more channels.

    Only a sum over the other axes is taken of it, and then it is taken apart again.
    """

    tensor: Tensor


class SizeOperations:
    """Methods ``_<Type>`` for operations on sizes; ``sizes`` knows how many whole blocks there are."""

    sizes: Sizes

    def _Shape(self, operation: Any, value: Value) -> np.ndarray:
        return np.array(value.sizes() if isinstance(value, Tensor) else [sp.Integer(n) for n in value.shape], object)

    def _ShapeN(self, operation: Any, *values: Value) -> tuple[np.ndarray, ...]:
        return tuple(self._Shape(operation, value) for value in values)

    def _Size(self, operation: Any, value: Value) -> np.ndarray:
        return np.asarray(sp.Mul(*self._Shape(operation, value)), dtype=object)

    def _Pack(self, operation: Any, *values: Value) -> np.ndarray:
        return np.array([sp.sympify(integers(value).item()) for value in values], dtype=object)

    def _ConcatV2(self, operation: Any, *values: Value) -> np.ndarray:
        return np.concatenate([np.atleast_1d(integers(value)) for value in values[:-1]])

    def _ExpandDims(self, operation: Any, value: Value, axis: Value) -> Value:
        return np.expand_dims(integers(value), int(integers(axis).item()))

    def _FloorDiv(self, operation: Any, a: Value, b: Value) -> np.ndarray:
        size, divisor = integers(a), integers(b)
        if divisor.size != 1 or int(divisor.item()) not in BLOCKS:
            return np.asarray(np.vectorize(_exact_quotient, otypes=[object])(size, divisor), dtype=object)
        return np.asarray(self.sizes.blocks(sp.sympify(size.item()), int(divisor.item())), dtype=object)

    def _FloorMod(self, operation: Any, a: Value, b: Value) -> np.ndarray:
        return np.asarray(
            np.vectorize(lambda p, q: sp.Integer(int(p) % int(q)), otypes=[object])(*map(integers, (a, b)))
        )

    def _Range(self, operation: Any, start: Value, limit: Value, step: Value) -> np.ndarray:
        numbers = [int(integers(value).item()) for value in (start, limit, step)]
        return np.array([sp.Integer(n) for n in range(*numbers)], dtype=object)

    def _GatherV2(self, operation: Any, values: Value, indices: Value, axis: Value) -> np.ndarray:
        return integers(values)[integers(indices).astype(int)]

    def _Prod(self, operation: Any, values: Value, axis: Value) -> np.ndarray:
        return np.asarray(sp.Mul(*integers(values).ravel()), dtype=object)

    def _InvertPermutation(self, operation: Any, order: Value) -> np.ndarray:
        return np.array([sp.Integer(n) for n in np.argsort(integers(order).astype(int))], dtype=object)

    def _DynamicStitch(self, operation: Any, *arguments: Value) -> np.ndarray:
        half = len(arguments) // 2
        places: dict[int, Any] = {}
        for indices, data in zip(arguments[:half], arguments[half:], strict=True):
            for place, value in zip(integers(indices).ravel(), integers(data).ravel(), strict=True):
                places[int(place)] = value
        return np.array([places[n] for n in range(len(places))], dtype=object)

    def _BroadcastGradientArgs(self, operation: Any, a: Value, b: Value) -> tuple[np.ndarray, np.ndarray]:
        shapes = [list(integers(value)) for value in (a, b)]
        rank = max(map(len, shapes))
        left, right = ([S.One] * (rank - len(shape)) + shape for shape in shapes)
        if any(p not in (q, 1) and q != 1 for p, q in zip(left, right, strict=True)):
            raise UnknownGraph(f"shapes {left} and {right}")
        summed = [
            [n for n in range(rank) if one[n] == 1 and other[n] != 1] for one, other in ((left, right), (right, left))
        ]
        return np.array(summed[0], dtype=object), np.array(summed[1], dtype=object)

    def slice_of_sizes(self, operation: Any, value: np.ndarray, begin: Value, end: Value, step: Value) -> np.ndarray:
        """A slice of an array of sizes."""
        first, last, strides = (integers(array) for array in (begin, end, step))
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

    def single_entry(self, operation: Any, sizes: list[Expr], begin: Value) -> int | None:
        """How many leading axes, each of the size 1, are left out by taking their entry; None if something else is."""
        first = list(integers(begin))
        if any(operation.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis")):
            return None
        own = operation.get_attr("shrink_axis_mask") == (1 << len(first)) - 1 and first == [0] * len(first)
        return len(first) if own and sizes[: len(first)] == [1] * len(first) else None

    def few_of(self, operation: Any, sizes: list[Expr], step: Value) -> int | None:
        """Which axis of unknown size a slice leaves every n-th entry of; None if it does something else."""
        strides = list(integers(step))
        if any(operation.get_attr(f"{name}_mask") for name in ("shrink_axis", "ellipsis", "new_axis")):
            return None
        few = len(strides) - 1
        whole = operation.get_attr("begin_mask") & operation.get_attr("end_mask") == (2 << few) - 1
        spread = strides[:few] == [1] * few and strides[few] != 1
        return None if not (whole and spread) or sizes[few].is_Integer else few

    def cut_of(
        self, operation: Any, sizes: list[Expr], begin: Value, end: Value, step: Value
    ) -> tuple[int, Expr, bool]:
        """Which axis is cut where its whole blocks end, where that is, and whether they are what is kept."""
        first, last, strides = (list(integers(array)) for array in (begin, end, step))
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
            if from_start and self.sizes.is_whole(last[position], size):
                cuts.append((position, last[position], True))
            elif to_end and self.sizes.is_whole(first[position], size):
                cuts.append((position, first[position], False))
            else:
                raise UnknownGraph(f"a slice from {first[position]} to {last[position]} of {size}")
        if len(cuts) != 1:
            raise UnknownGraph(f"the slice {operation.name} of {len(cuts)} axes")
        return cuts[0]


def integers(value: Any) -> np.ndarray:
    """An array of sizes."""
    if not isinstance(value, np.ndarray):
        raise UnknownGraph("data where a size is expected")
    return value


def as_data(value: Any) -> Tensor:
    """Data; one size may be used as such."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Few):
        raise UnknownGraph("which the few elements are is not known: they may only be held constant")
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise UnknownGraph("an array of sizes, or no value at all, used as data")
    return Tensor((ONE,) * value.ndim, sp.sympify(value.item()))


def _exact_quotient(a: Any, b: Any) -> Expr:
    quotient = sp.cancel(sp.sympify(a) / sp.sympify(b))
    # m/256 is a polynomial too, but m // 256 is not its value.
    if not quotient.is_polynomial() or not all(c.is_integer for c in quotient.as_coefficients_dict().values()):
        raise UnknownGraph(f"{a} // {b}")
    return quotient
