"""The operations by which TensorFlow computes shapes, on arrays of symbolic sizes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from sympy import Expr, S

from derivations.graphs.symbolic.axes import BLOCKS, ONE, Axis, Sizes, Tensor
from derivations.graphs.walk import UnknownGraph

# Either data, or an array of sizes; TensorFlow computes shapes with the same operations as data.
Value = Tensor | np.ndarray


# TensorFlow's integers wrap round beyond these, and are then other numbers than those that are proved about. What
# counts elements of an input, such as a product of its sizes, stays below if that has fewer than 2³¹ elements.
LARGEST = 2**31 - 1
LARGEST_BESIDE_A_SIZE = 2**20


class Few(NamedTuple):
    """What is computed from a few of the elements: a value of which no more is known than its axes.

    Only ``StopGradient`` takes it for data, as which any constant will do.
    """

    axes: tuple[Axis, ...]


class EveryNth(NamedTuple):
    """The numbers 0, n, 2n, … below a size, of which only that is known."""

    size: Expr


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
        if operation.get_attr("axis") != 0:
            raise UnknownGraph("a Pack along another axis than the first; of sizes, along the first, it is understood")
        return np.stack([np.asarray(integers(value), dtype=object) for value in values])

    def _ConcatV2(self, operation: Any, *values: Value) -> np.ndarray:
        return np.concatenate([integers(value) for value in values[:-1]], int(integers(values[-1]).item()))

    def _FloorDiv(self, operation: Any, a: Value, b: Value) -> np.ndarray:
        size, divisor = integers(a), integers(b)
        if divisor.size != 1 or divisor.item() not in BLOCKS:
            return np.asarray(np.vectorize(_exact_quotient, otypes=[object])(size, divisor), dtype=object)
        return np.asarray(self.sizes.blocks(sp.sympify(size.item()), int(divisor.item())), dtype=object)

    def _FloorMod(self, operation: Any, a: Value, b: Value) -> np.ndarray:
        def remainder(p: Any, q: Any) -> Expr:
            if not (sp.sympify(p).is_Integer and sp.sympify(q).is_Integer and q != 0):
                raise UnknownGraph(f"{p} mod {q}; of known sizes it is understood")
            return sp.Integer(int(p) % int(q))

        return np.asarray(np.vectorize(remainder, otypes=[object])(*map(integers, (a, b))))

    def _Range(self, operation: Any, start: Value, limit: Value, step: Value) -> np.ndarray | EveryNth:
        numbers = [sp.sympify(integers(value).item()) for value in (start, limit, step)]
        if all(number.is_Integer for number in numbers):
            return np.array([sp.Integer(n) for n in range(*map(int, numbers))], dtype=object)
        if numbers[0] != 0:
            raise UnknownGraph(f"a Range from {numbers[0]} to {numbers[1]}; from 0 on it is understood")
        return EveryNth(numbers[1])

    def gathered_sizes(self, values: Value, indices: Value, axis: Value) -> np.ndarray:
        """Sizes by their numbers."""
        places, along = integers(indices).astype(int), int(integers(axis).item())
        if (places < 0).any():
            raise UnknownGraph("a GatherV2 of negative indices, which TensorFlow does not take on every device")
        return np.asarray(np.take(integers(values), places, along), dtype=object)

    def _Prod(self, operation: Any, values: Value, axis: Value) -> np.ndarray:
        axes = tuple(int(position) for position in integers(axis).ravel())
        return np.asarray(integers(values).prod(axis=axes, keepdims=operation.get_attr("keep_dims")), dtype=object)

    def _InvertPermutation(self, operation: Any, order: Value) -> np.ndarray:
        places = integers(order).astype(int)
        if sorted(places) != list(range(len(places))):
            raise UnknownGraph(f"the order {list(places)}, which is none of all axes")
        return np.array([sp.Integer(n) for n in np.argsort(places)], dtype=object)

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
        slices: list[Any] = []
        for part in slice_parts(operation, value.ndim, begin, end, step):
            if part.new:
                slices.append(None)
            elif part.single:
                slices.append(int(part.first))
            else:
                first, last = (None if bound is None else int(bound) for bound in (part.first, part.last))
                slices.append(slice(first, last, int(part.step)))
        return np.asarray(value[tuple(slices)], dtype=object)

    def cut_of(self, part: "Part", size: Expr) -> tuple[Expr, bool] | None:
        """Where a slice cuts an axis of this size, after whole blocks, and whether it keeps these; None if it does not.

        Raises:
            UnknownGraph: it keeps something else.
        """
        from_start, to_end = part.first in (None, 0), part.last is None or part.last == size
        if part.step != 1:
            raise UnknownGraph(f"a slice with steps of {part.step}; of steps of 1 is understood what is kept")
        if from_start and to_end:
            return None
        if from_start and self.sizes.is_whole(part.last, size):
            return part.last, True
        if to_end and self.sizes.is_whole(part.first, size):
            return part.first, False
        first = 0 if part.first is None else part.first
        raise UnknownGraph(
            f"a slice from {first} to {'the end' if part.last is None else part.last} of {size}; whole axes, whole "
            "blocks and what is left over are understood"
        )


class Part(NamedTuple):
    """What a slice does with one axis; ``first`` and ``last`` are None at the ends."""

    first: Any
    last: Any
    step: Any
    single: bool
    new: bool


def slice_parts(operation: Any, rank: int, begin: Value, end: Value, step: Value) -> list[Part]:
    """A slice, axis by axis; new axes are among them."""
    first, last, strides = (list(integers(array).ravel()) for array in (begin, end, step))
    mask = {
        name: operation.get_attr(f"{name}_mask") for name in ("begin", "end", "shrink_axis", "ellipsis", "new_axis")
    }
    news = sum(mask["new_axis"] >> n & 1 for n in range(len(first)))
    whole = Part(None, None, 1, False, False)
    parts: list[Part] = []
    for n, bounds in enumerate(zip(first, last, strides, strict=True)):
        if mask["ellipsis"] >> n & 1:
            parts += [whole] * (rank - (len(first) - 1 - news))
        elif mask["new_axis"] >> n & 1:
            parts.append(whole._replace(new=True))
        else:
            low = None if mask["begin"] >> n & 1 else bounds[0]
            high = None if mask["end"] >> n & 1 else bounds[1]
            parts.append(Part(low, high, bounds[2], bool(mask["shrink_axis"] >> n & 1), False))
    missing = rank - sum(not part.new for part in parts)
    if missing < 0:
        raise UnknownGraph(f"a slice of {rank - missing} axes, of {rank}")
    return parts + [whole] * missing


def integers(value: Any) -> np.ndarray:
    """An array of sizes."""
    if not isinstance(value, np.ndarray):
        raise UnknownGraph("data where a size is expected; operations on shapes are understood of sizes alone")
    return value


def check_fits(values: np.ndarray, times: int, lengths: Mapping[Expr, int]) -> None:
    """Raise UnknownGraph where integers that are computed from sizes may wrap round.

    Args:
        values: The integers.
        times: How many elements an input has for each one of the batch.
        lengths: Of the blocks that are counted by a symbol.
    """
    for value in values.ravel():
        counted = {1: sp.Integer(0), -1: sp.Integer(0)}
        largest = LARGEST
        for monomial, coefficient in sp.expand(value).as_coefficients_dict().items():
            powers = monomial.as_powers_dict()
            if monomial.free_symbols:
                whole = sp.Mul(*(lengths.get(symbol, 1) for symbol in powers))
                counted[1 if coefficient > 0 else -1] += abs(coefficient) / whole
                largest = LARGEST_BESIDE_A_SIZE
            if any(power > 1 for power in powers.values()):
                largest = -1
        constant = abs(sp.expand(value).as_coefficients_dict().get(S.One, 0))
        if constant > largest or max(counted.values()) > times:
            raise UnknownGraph(
                f"{value}, computed in integers, which may wrap round; products of different sizes are understood, at "
                f"most {times} times, which is how many numbers there are. Cast to a floating-point type first"
            )


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
    if not sp.sympify(b).is_positive:
        raise UnknownGraph(f"{a} // {b}, where the divisor may be 0; by what is known to be above 0 it is understood")
    quotient = sp.cancel(sp.sympify(a) / sp.sympify(b))
    # m/256 is a polynomial too, but m // 256 is not its value.
    if not quotient.is_polynomial() or not all(c.is_integer for c in quotient.as_coefficients_dict().values()):
        raise UnknownGraph(f"{a} // {b}; where it divides, and by {BLOCKS}, it is understood")
    return quotient
