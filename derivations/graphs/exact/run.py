"""A TensorFlow graph, run exactly at one point: each operation on arrays of residues and real numbers (``Numbers``).

Slices are slices here, blocks are added up, and a branch is taken by its own predicate: what depends on an order is
decided by the real numbers, what is equal by the residues. Nothing of the interpretation on symbolic axes is used.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from derivations.graphs import kernel_axioms
from derivations.graphs.exact.elementwise import PLAIN
from derivations.graphs.nodes import as_written
from derivations.graphs.walk import GraphWalk, UnknownGraph
from derivations.prime_fields.arrays import NoPoint, Numbers, Part, joined


class ExactRun(GraphWalk):
    """Runs graphs over the field of p elements.

    Args:
        p: The prime.
        nominal: Numbers as they are meant, such as 1/1000 or a root, which floats only come near.
        near: How near, relatively.
    """

    passed_on = (NoPoint,)

    def __init__(self, p: int, nominal: Sequence[tuple[float, Numbers]] = (), near: float = 1e-15) -> None:
        super().__init__()
        self.p, self.nominal, self.near = p, tuple(nominal), near
        self.branches: list[bool] = []  # which were taken

    def run(self, function: Any, inputs: Sequence[Any], variables: Mapping[str, Any] | None = None) -> list[Any]:
        """As ``GraphWalk.run``."""
        self.branches = []
        return super().run(function, inputs, variables)

    def finished(self, value: Any) -> Any:
        return value if isinstance(value, tuple | Numbers) or value is None else np.asarray(value)

    def constant(self, value: np.ndarray, operation: Any) -> Any:
        if value.dtype.kind in "biu":
            return value
        if value.dtype.kind not in "fV":
            raise UnknownGraph(f"a constant of the type {value.dtype}; numbers and truth values are understood")
        if value.size and (value == value.ravel()[0]).all():
            return self.number(value.ravel()[0]).mapped(lambda array: np.broadcast_to(array, value.shape))
        return Numbers.of(np.vectorize(_written, otypes=[object])(value) if value.size else value, self.p)

    def number(self, value: Any) -> Numbers:
        """One number of the graph, as it is meant."""
        for near, meant in self.nominal:
            if math.isclose(float(value), near, rel_tol=self.near):
                return meant
        return Numbers.of(np.array(_written(value), dtype=object), self.p)

    def count(self, number: Any) -> Numbers:
        """Numbers of elements, to be computed with."""
        return Numbers.of(np.asarray(number).astype(np.int64), self.p)

    def taken(self, operation: Any, predicate: Any) -> bool:
        if isinstance(predicate, Numbers):
            predicate = predicate.real != 0
        self.branches.append(bool(np.asarray(predicate).item()))
        return self.branches[-1]

    def __getattr__(self, name: str) -> Any:
        if (function := PLAIN.get(name.removeprefix("_"))) is None:
            raise AttributeError(name)
        return lambda operation, *arguments: function(*arguments)

    def _Cast(self, operation: Any, value: Any) -> Any:
        source, target = operation.get_attr("SrcT"), operation.get_attr("DstT")
        if target.is_floating:
            self.loses_bits(source, target)
            return value if isinstance(value, Numbers) else self.count(value)
        if target.is_unsigned:
            raise UnknownGraph(f"a cast to {target.name}, in which what is negative is another number")
        if isinstance(value, Numbers):
            value = np.trunc(value.real) if target.is_integer else value.real
        return value.astype(target.as_numpy_dtype)

    def _StopGradient(self, operation: Any, value: Any) -> Any:
        return value.held() if isinstance(value, Numbers) else value

    # Axes.

    def _Shape(self, operation: Any, value: Any) -> np.ndarray:
        return np.array(value.shape, dtype=operation.get_attr("out_type").as_numpy_dtype)

    def _ShapeN(self, operation: Any, *values: Any) -> tuple[np.ndarray, ...]:
        return tuple(self._Shape(operation, value) for value in values)

    def _EnsureShape(self, operation: Any, value: Any) -> Any:
        shape = operation.get_attr("shape")
        if not shape.unknown_rank:
            known = [dim.size for dim in shape.dim]
            if len(known) != value.ndim or any(n not in (-1, size) for n, size in zip(known, value.shape, strict=True)):
                raise UnknownGraph(f"data of the shape {value.shape}, which should be {known}")
        return value

    def _Pack(self, operation: Any, *values: Any) -> Any:
        return _moved_together(values, lambda arrays: np.stack(arrays, operation.get_attr("axis")))

    def _Unpack(self, operation: Any, value: Any) -> tuple[Any, ...]:
        axis, number = operation.get_attr("axis"), operation.get_attr("num")
        return tuple(_moved(value, partial(np.take, indices=n, axis=axis)) for n in range(number))

    def _ConcatV2(self, operation: Any, *values: Any) -> Any:
        return _moved_together(values[:-1], lambda arrays: np.concatenate(arrays, int(values[-1])))

    def _Squeeze(self, operation: Any, value: Any) -> Any:
        dims = tuple(operation.get_attr("squeeze_dims")) or None
        return _moved(value, lambda array: np.squeeze(array, dims))

    def _ZerosLike(self, operation: Any, value: Any) -> Any:
        if value is None:  # of a cotangent that nothing depends on
            return None
        return Numbers.zeros(value.shape, self.p) if isinstance(value, Numbers) else np.zeros_like(value)

    def _OnesLike(self, operation: Any, value: Any) -> Any:
        ones = np.ones(value.shape, np.int64)
        return Numbers.of(ones, self.p) if isinstance(value, Numbers) else ones.astype(value.dtype)

    def _slices(self, operation: Any, begin: np.ndarray, end: np.ndarray, step: np.ndarray) -> tuple[Any, ...]:
        masks = {
            name: operation.get_attr(f"{name}_mask") for name in ("begin", "end", "shrink_axis", "ellipsis", "new_axis")
        }
        slices: list[Any] = []
        for n, (first, last, stride) in enumerate(zip(begin, end, step, strict=True)):
            if masks["ellipsis"] >> n & 1:
                slices.append(Ellipsis)
            elif masks["new_axis"] >> n & 1:
                slices.append(None)
            elif masks["shrink_axis"] >> n & 1:
                slices.append(int(first))
            else:
                start = None if masks["begin"] >> n & 1 else int(first)
                slices.append(slice(start, None if masks["end"] >> n & 1 else int(last), int(stride)))
        return tuple(slices)

    def _StridedSlice(self, operation: Any, value: Any, *bounds: np.ndarray) -> Any:
        chosen = self._slices(operation, *bounds)
        return _moved(value, lambda array: array[chosen])

    def _StridedSliceGrad(self, operation: Any, shape: np.ndarray, *rest: Any) -> Any:
        chosen = self._slices(operation, *rest[:-1])

        def around(array: np.ndarray) -> np.ndarray:
            result = np.zeros([int(size) for size in shape], array.dtype)
            result[chosen] = array
            return result

        return _moved(rest[-1], around)

    def _BroadcastGradientArgs(self, operation: Any, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        shapes = [[1] * (max(len(a), len(b)) - len(shape)) + list(shape) for shape in (a, b)]
        return tuple(
            np.array([n for n, (p, q) in enumerate(zip(one, other, strict=True)) if p == 1 and q != 1], dtype=int)
            for one, other in (shapes, shapes[::-1])
        )

    def _Cumsum(self, operation: Any, value: Any, axis: Any) -> Any:
        if operation.get_attr("exclusive") or operation.get_attr("reverse"):
            raise UnknownGraph("a Cumsum that is exclusive or reversed; the plain one is understood")
        total = _moved(value, lambda array: np.cumsum(array, int(axis)))
        return total + 0 if isinstance(total, Numbers) else total

    # Sums.

    def _Sum(self, operation: Any, value: Any, positions: np.ndarray) -> Any:
        axes, keep = _axes(positions), operation.get_attr("keep_dims")
        if isinstance(value, Numbers):
            return value.sum(axes, keep=keep)
        return value.sum(axis=axes, keepdims=keep, dtype=value.dtype)

    def _Mean(self, operation: Any, value: Any, positions: np.ndarray) -> Any:
        count = math.prod(value.shape[axis] for axis in _axes(positions))
        return self._Sum(operation, value, positions) / self.count(count)

    def _MatMul(self, operation: Any, a: Numbers, b: Numbers) -> Numbers:
        return _product(a, b, operation.get_attr("transpose_a"), operation.get_attr("transpose_b"))

    def _BatchMatMulV2(self, operation: Any, a: Numbers, b: Numbers) -> Numbers:
        return _product(a, b, operation.get_attr("adj_x"), operation.get_attr("adj_y"))

    def _Einsum(self, operation: Any, *values: Numbers) -> Numbers:
        inputs, _, output = operation.get_attr("equation").decode().partition("->")
        letters = sorted(set(inputs) - {","})
        if "." in inputs or any(len(set(term)) < len(term) for term in inputs.split(",")):
            raise UnknownGraph("an Einsum with an ellipsis or a diagonal; letters that differ are understood")
        terms = zip(inputs.split(","), values, strict=True)
        sizes = {pair for term, value in terms for pair in zip(term, value.shape, strict=True)}
        if len(sizes) > len(letters):
            raise UnknownGraph(f"an Einsum of axes of the sizes {sorted(sizes)}")
        product = self.number(1.0)
        for term, value in zip(inputs.split(","), values, strict=True):
            product = product * _spread(value, term, letters)
        kept = [letter for letter in letters if letter in output]
        total = product.sum(tuple(n for n, letter in enumerate(letters) if letter not in output))
        return total.mapped(lambda array: np.transpose(array, [kept.index(letter) for letter in output]))

    def _DepthwiseConv2dNativeBackpropFilter(self, operation: Any, x: Any, sizes: np.ndarray, dy: Any) -> Numbers:
        kernel_axioms.check_pointwise(operation, sizes, x.shape[-1])
        return (x * dy).sum((0, 1, 2)).mapped(lambda array: array.reshape([int(size) for size in sizes]))

    # Order.

    def _All(self, operation: Any, value: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return np.asarray(value.all(axis=_axes(positions), keepdims=operation.get_attr("keep_dims")))

    def _Any(self, operation: Any, value: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return np.asarray(value.any(axis=_axes(positions), keepdims=operation.get_attr("keep_dims")))

    def _Prod(self, operation: Any, value: Any, positions: np.ndarray) -> Any:
        axes, keep = _axes(positions), operation.get_attr("keep_dims")
        if not isinstance(value, Numbers):
            return np.prod(value, axis=axes, keepdims=keep, dtype=value.dtype)
        raise UnknownGraph("a product of data over an axis; of sizes it is understood")

    def _Max(self, operation: Any, value: Any, positions: np.ndarray) -> Any:
        return _extreme(value, _axes(positions), operation.get_attr("keep_dims"), np.argmax)

    def _Min(self, operation: Any, value: Any, positions: np.ndarray) -> Any:
        return _extreme(value, _axes(positions), operation.get_attr("keep_dims"), np.argmin)

    # Kernels.

    def _kernel(self) -> kernel_axioms.Kernel:
        def total(value: Numbers) -> Numbers:
            return value.sum(tuple(range(value.ndim - 1)))

        def count(value: Numbers, less: int = 0) -> Numbers:
            return self.count(max(math.prod(value.shape[:-1]) - less, 1) if less else math.prod(value.shape[:-1]))

        return kernel_axioms.Kernel(
            of=lambda function, *values: function(*values),
            mean=lambda value: total(value) / count(value),
            total=total,
            inverse_root=lambda value: value.inverse_root(),
            unbiased=lambda variance, x: variance * count(x) / count(x, 1),
        )

    def _FusedBatchNormV3(self, operation: Any, x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> Any:
        epsilon = self.number(operation.get_attr("epsilon"))
        self.assume(kernel_axioms.axiom(operation))
        return kernel_axioms.forward(operation, self._kernel(), x, scale, offset, mean, variance, epsilon)

    def _FusedBatchNormGradV3(self, operation: Any, dy: Any, x: Any, scale: Any, *reserved: Any) -> Any:
        epsilon = self.number(operation.get_attr("epsilon"))
        self.assume(kernel_axioms.axiom(operation))
        return kernel_axioms.backward(operation, self._kernel(), dy, x, scale, reserved, epsilon)


def at_point(evaluate: Callable[..., Any], draw: Callable[[str], Any], names: Sequence[str], tries: int = 400) -> Any:
    """What ``evaluate`` makes of drawn values, at a point where all roots of residues exist.

    Args:
        evaluate: Of the values by name.
        draw: A new value of this name, a ``Numbers`` or an array of truth values.
        names: Of the values.
        tries: How many points are tried.

    Raises:
        UnknownGraph: no such point was found.
    """
    values = {name: draw(name) for name in names}
    for _ in range(tries):
        try:
            return evaluate(values)
        except NoPoint as error:
            for name in names:
                if isinstance(value := values[name], Numbers):
                    values[name] = _redrawn(value, draw(name), error.where)
    raise UnknownGraph(f"no point in {tries} at which every root is that of a square")


def _redrawn(old: Numbers, new: Numbers, wrong: np.ndarray) -> Numbers:
    """New residues, where the axes along which something had no value let tell where; else everywhere."""
    matched: np.ndarray = np.ones((1,) * old.ndim, bool)
    for axis, size in enumerate(wrong.shape):
        own = [n for n, other in enumerate(old.shape) if other == size]
        if size > 1 and len(own) == 1:
            along = wrong.any(axis=tuple(n for n in range(wrong.ndim) if n != axis))
            matched = matched & along.reshape([size if n == own[0] else 1 for n in range(old.ndim)])
    parts = (np.where(matched, a, b) for a, b in zip(new.parts[0], old.parts[0], strict=True))
    return Numbers({0: Part(*parts)}, old.p)


def _written(value: Any) -> Any:
    """A number as it is written; what is not finite as it is."""
    return as_written(value) if np.isfinite(np.float64(value)) else float(value)


def _moved(value: Any, function: Callable[..., np.ndarray]) -> Any:
    return value.mapped(function) if isinstance(value, Numbers) else np.asarray(function(value))


def _moved_together(values: Sequence[Any], function: Callable[[Sequence[np.ndarray]], np.ndarray]) -> Any:
    if not any(isinstance(value, Numbers) for value in values):
        return function([np.asarray(value) for value in values])
    return joined(values, function)


def _axes(positions: np.ndarray) -> tuple[int, ...]:
    return tuple(int(position) for position in np.ravel(positions))


def _product(a: Numbers, b: Numbers, a_flipped: bool, b_flipped: bool) -> Numbers:
    a = a.mapped(lambda array: array.swapaxes(-1, -2)) if a_flipped else a
    b = b.mapped(lambda array: array.swapaxes(-1, -2)) if b_flipped else b
    if a.shape[-1] != b.shape[-2]:
        raise UnknownGraph(f"a product of matrices of the sizes {a.shape} and {b.shape}")
    left, right = a.mapped(lambda array: array[..., :, :, None]), b.mapped(lambda array: array[..., None, :, :])
    return (left * right).sum(-2)


def _spread(value: Numbers, term: str, letters: Sequence[str]) -> Numbers:
    """The axes, named by letters, in the order of all letters; of size 1 those that it lacks."""
    order = sorted(range(len(term)), key=lambda n: term[n])
    shape = [value.shape[term.index(letter)] if letter in term else 1 for letter in letters]
    return value.mapped(lambda array: np.transpose(array, order).reshape(shape))


def _extreme(value: Any, axes: tuple[int, ...], keep: bool, of: Callable[..., np.ndarray]) -> Any:
    kept = [n for n in range(value.ndim) if n not in {axis % value.ndim for axis in axes}]
    gone = [n for n in range(value.ndim) if n not in kept]

    def laid(array: np.ndarray) -> np.ndarray:
        return np.transpose(array, [*kept, *gone]).reshape([*(array.shape[n] for n in kept), -1])

    chosen = of(laid(value.real if isinstance(value, Numbers) else value), -1)[..., None]
    shape = [1 if n in gone else value.shape[n] for n in range(value.ndim) if keep or n in kept]
    return _moved(value, lambda array: np.take_along_axis(laid(array), chosen, -1).reshape(shape))
