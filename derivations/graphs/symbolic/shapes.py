"""The operations that move, repeat and sum data along symbolic axes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, S

from derivations.graphs.symbolic import axes
from derivations.graphs.symbolic.axes import Tensor
from derivations.graphs.symbolic.kernels import side_by_side
from derivations.graphs.symbolic.sizes import (
    EveryNth,
    Few,
    SideBySide,
    SizeOperations,
    Value,
    as_data,
    integers,
    slice_parts,
)
from derivations.graphs.walk import UnknownGraph

UNKNOWN = sp.Dummy("few", integer=True, positive=True)  # how many they are


class Shapes(SizeOperations):
    """Methods ``_<Type>`` for data along axes."""

    assume: Callable[[str], None]
    elementwise: Callable[..., Tensor]

    def _Reshape(self, operation: Any, value: Any, shape: Value) -> Value | Few | SideBySide:
        target = [sp.sympify(size) for size in integers(shape).ravel()]
        if isinstance(value, Few):
            return Few(axes.reshaped(Tensor(value.axes, S.One), target).axes)
        if isinstance(value, SideBySide):
            return axes.reshaped(value.tensor, target)
        if not isinstance(value, Tensor):
            return value.reshape([int(size) for size in target])
        if -1 in target:
            known, all_of_it = sp.Mul(*(size for size in target if size != -1)), sp.Mul(*value.sizes())
            rest = sp.cancel(all_of_it / known)
            if not (rest.is_integer or rest.is_Integer):
                self.assume(f"{known} divides {all_of_it}")
            target[target.index(-1)] = rest
        if (rows := side_by_side(value, target)) is not None:
            return rows
        return axes.reshaped(value, target)

    def _Transpose(self, operation: Any, value: Value, order: Value) -> Value:
        positions = [int(position) for position in integers(order)]
        if isinstance(value, np.ndarray) and value.ndim != 0:
            return np.transpose(value, positions)
        data = as_data(value)
        moved = [data.axes[position] for position in positions]
        for index in {axis.index for axis in moved if axis.index is not None}:
            if [axis for axis in moved if axis.index == index] != [axis for axis in data.axes if axis.index == index]:
                raise UnknownGraph(f"{operation.name} exchanges axes of the batch; those of different indices may be")
        return replace(data, axes=tuple(moved))

    def _ExpandDims(self, operation: Any, value: Value, axis: Value) -> Value:
        if not isinstance(value, Tensor):
            return np.expand_dims(integers(value), int(integers(axis).item()))
        position = int(integers(axis).item()) % (len(value.axes) + 1)
        return replace(value, axes=(*value.axes[:position], axes.ONE, *value.axes[position:]))

    def _Squeeze(self, operation: Any, value: Value) -> Value:
        dims = list(operation.get_attr("squeeze_dims"))
        if not isinstance(value, Tensor):
            return np.squeeze(integers(value), tuple(dims) or None)
        if not dims and any(not axis.size.is_Integer for axis in value.axes):
            raise UnknownGraph("a Squeeze of axes of unknown sizes; with the axes named it is understood")
        chosen = {d % len(value.axes) for d in dims} or {n for n, axis in enumerate(value.axes) if axis.size == 1}
        if any(value.axes[n].size != 1 for n in chosen):
            raise UnknownGraph("a Squeeze of an axis that may have more than one entry")
        return replace(value, axes=tuple(axis for n, axis in enumerate(value.axes) if n not in chosen))

    def _BroadcastTo(self, operation: Any, value: Value, shape: Value) -> Tensor:
        target = Tensor(tuple(self.sizes.axis(sp.sympify(size)) for size in integers(shape)), S.Zero)
        result = self.elementwise(lambda a, _: a, value, target)
        if result.sizes() != target.sizes():
            raise UnknownGraph(f"{result.sizes()} broadcast to {target.sizes()}")
        return result

    def _EnsureShape(self, operation: Any, value: Any) -> Any:
        sizes = value.sizes() if isinstance(value, Tensor) else list(np.shape(value))
        shape = operation.get_attr("shape")
        known = [dim.size for dim in shape.dim]
        if not shape.unknown_rank and (
            len(known) != len(sizes) or any(n not in (-1, size) for n, size in zip(known, sizes, strict=True))
        ):
            raise UnknownGraph(f"the shape {known}, of data of the shape {sizes}, which need not have it")
        return value

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

    def _StridedSlice(self, operation: Any, value: Any, begin: Value, end: Value, step: Value) -> Any:
        if isinstance(value, np.ndarray):
            return self.slice_of_sizes(operation, value, begin, end, step)
        if not isinstance(value, Tensor):
            raise UnknownGraph("a slice of what is no data")
        parts = slice_parts(operation, len(value.axes), begin, end, step)
        if any(part.step != 1 for part in parts if not part.new and not part.single):
            return self._stepped(value, parts)
        position = 0
        for part in parts:
            if part.new:
                new = (*value.axes[:position], axes.ONE, *value.axes[position:])
                value, position = replace(value, axes=new), position + 1
            elif part.single:
                axis = value.axes[position]
                if axis.size != 1 or part.first not in (0, -1):
                    raise UnknownGraph(f"the entry {part.first} of an axis of size {axis.size}; that of size 1 is it")
                value = replace(value, axes=(*value.axes[:position], *value.axes[position + 1 :]))
            else:
                if (cut := self.cut_of(part, value.axes[position].size)) is not None:
                    value = axes.cut(value, position, cut[0], head=cut[1], sizes=self.sizes)
                position += 1
        return value

    def _stepped(self, value: Tensor, parts: list[Any]) -> Few:
        spread = [n for n, part in enumerate(parts) if part.step != 1]
        whole = all((part.first, part.last, part.single, part.new) == (None, None, False, False) for part in parts)
        if not whole or len(spread) != 1:
            raise UnknownGraph("a slice with steps; of every n-th entry of one axis a constant may be made")
        return self._few(value, spread[0])

    def _GatherV2(self, operation: Any, value: Any, places: Any, axis: Value) -> Any:
        if not isinstance(value, Tensor):
            return self.gathered_sizes(value, places, axis)
        along = int(integers(axis).item()) % len(value.axes)
        if not isinstance(places, EveryNth) or value.axes[along].size != places.size:
            raise UnknownGraph("a GatherV2 of data; of every n-th entry of one axis a constant may be made")
        return self._few(value, along)

    def _few(self, value: Tensor, along: int) -> Few:
        """Every n-th entry of one axis of unknown size, and every entry of the other axes."""
        if value.axes[along].size.is_Integer or value.pending or value.where:
            raise UnknownGraph(
                "every n-th entry of an axis of known size, or of a part; of a whole one a constant may be made"
            )
        return Few((*value.axes[:along], self.sizes.axis(UNKNOWN), *value.axes[along + 1 :]))

    def _StridedSliceGrad(
        self, operation: Any, shape: Value, begin: Value, end: Value, step: Value, dy: Value
    ) -> Tensor:
        sizes: list[Expr] = [sp.sympify(size) for size in integers(shape)]
        parts = slice_parts(operation, len(sizes), begin, end, step)
        data = as_data(dy)
        if any(part.step != 1 and not part.new and not part.single for part in parts):
            raise UnknownGraph("zeros around every n-th entry; around whole blocks and the rest it is understood")
        position = 0
        for part in parts:
            if part.new:
                if data.axes[position].size != 1:
                    raise UnknownGraph("the gradient of a new axis that has more than one entry")
                data = replace(data, axes=(*data.axes[:position], *data.axes[position + 1 :]))
            elif part.single:
                if sizes[position] != 1 or part.first not in (0, -1):
                    raise UnknownGraph(f"zeros around the entry {part.first} of an axis of size {sizes[position]}")
                data = replace(data, axes=(*data.axes[:position], axes.ONE, *data.axes[position:]))
                position += 1
            else:
                if (cut := self.cut_of(part, sizes[position])) is not None:
                    data = axes.padded(data, position, sizes[position], cut[0], head=cut[1], sizes=self.sizes)
                position += 1
        return data
