"""Mutants of traced graphs, made mechanically: an operation exchanged, an edge, an axis, a constant, ``keepdims``.

A graph is changed as a GraphDef and imported anew, so that TensorFlow itself says which shapes fit and runs it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from derivations.graphs.shipped import Graph, Traced

EXCHANGED = {
    "AddV2": ("Sub", "Mul"), "Sub": ("AddV2",), "Mul": ("AddV2", "RealDiv"), "RealDiv": ("Mul",), "Square": ("Neg",),
    "Neg": ("Square", "Reciprocal"), "Sqrt": ("Square", "Rsqrt"), "Rsqrt": ("Sqrt", "Reciprocal"),
    "Reciprocal": ("Neg", "Sqrt"), "SquaredDifference": ("Mul", "Sub"), "Sum": ("Mean",), "Mean": ("Sum",),
    "Maximum": ("Minimum",), "Minimum": ("Maximum",), "DivNoNan": ("MulNoNan",), "MulNoNan": ("DivNoNan",),
    "LogicalAnd": ("LogicalOr",), "LogicalOr": ("LogicalAnd",), "Relu": ("Neg",), "StopGradient": ("Neg",),
    "SqrtGrad": ("RsqrtGrad",), "RsqrtGrad": ("SqrtGrad",), "ReciprocalGrad": ("RsqrtGrad",),
}  # fmt: skip


class Mutant(NamedTuple):
    """name: what was changed where; build: the changed concrete function."""

    name: str
    build: Callable[[], Any]


def mutants(traced: Traced) -> Iterator[Mutant]:
    """All mutants of the outermost graph of a function without variables."""
    definition = traced.function.graph.as_graph_def()
    for position, node in enumerate(definition.node):
        for text, change in _changes(definition, node):
            yield Mutant(f"{node.name}: {text}", lambda p=position, c=change: _built(traced, definition, p, c))


def _changes(definition: Any, node: Any) -> Iterator[tuple[str, Callable[[Any], None]]]:
    for other in EXCHANGED.get(node.op, ()):
        yield f"{node.op} becomes {other}", lambda n, o=other: _exchange(n, o)
    if len(node.input) == 2 and node.op in ("Sub", "RealDiv", "DivNoNan", "SqrtGrad", "RsqrtGrad"):
        yield "arguments exchanged", lambda n: _reordered(n)
    if node.op in ("Mul", "AddV2", "Sub", "SquaredDifference"):
        yield "the first argument twice", lambda n: _repeated(n)
    if node.op in ("Sum", "Mean"):
        yield "keepdims", lambda n: _flipped(n, "keep_dims")
    if node.op == "Const" and node.attr["value"].tensor.dtype in (
        tf.float32.as_datatype_enum,
        tf.float64.as_datatype_enum,
    ):
        yield "a constant twice", lambda n: _scaled(n, 2.0)
        yield "a constant's sign", lambda n: _scaled(n, -1.0)
        yield "a constant plus one", lambda n: _scaled(n, 1.0, 1.0)
    if node.op == "Const" and node.attr["value"].tensor.dtype == tf.int32.as_datatype_enum:
        yield "a whole constant plus one", lambda n: _scaled(n, 1, 1)


def _exchange(node: Any, other: str) -> None:
    node.op = other
    unary = ("Neg", "Square", "Sqrt", "Rsqrt", "Reciprocal")
    if other in unary and len(node.input) > 1:
        del node.input[1:]
    for name in list(node.attr):
        known = {"T", "_class"} | ({"keep_dims", "Tidx"} if other in ("Sum", "Mean") else set())
        if name not in known:
            del node.attr[name]


def _reordered(node: Any) -> None:
    first, second = node.input
    del node.input[:]
    node.input.extend([second, first])


def _repeated(node: Any) -> None:
    node.input[1] = node.input[0]


def _flipped(node: Any, attribute: str) -> None:
    node.attr[attribute].b = not node.attr[attribute].b


def _scaled(node: Any, factor: float, more: float = 0.0) -> None:
    array = tf.make_ndarray(node.attr["value"].tensor)
    changed = (array * factor + more).astype(array.dtype)
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(changed, shape=array.shape))


def _built(traced: Traced, definition: Any, position: int, change: Callable[[Any], None]) -> Any:
    changed = type(definition)()
    changed.CopyFrom(definition)
    change(changed.node[position])
    inputs = [tensor.op.name for tensor in traced.function.graph.inputs]
    outputs = [tensor.name for tensor in traced.function.graph.outputs]
    signature = [tf.TensorSpec(t.shape, t.dtype) for t in traced.function.graph.inputs]

    @tf.function(input_signature=signature, autograph=False)
    def function(*values: tf.Tensor) -> Any:
        given = {f"{name}:0": value for name, value in zip(inputs, values, strict=True)}
        return tf.import_graph_def(changed, given, outputs, name="mutant")

    return function.get_concrete_function()


def values_of(graph: Graph, sizes: tuple[int, ...]) -> list[tf.Tensor]:
    """Random arguments."""
    rng = np.random.default_rng(sum(sizes))
    values = []
    for name in graph.names:
        unknown = iter(sizes)
        shape = [next(unknown) if size is None else size for size in graph.shape(name)]
        mask = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3 != 1
        values.append(tf.constant(mask if name == "w" else rng.normal(size=shape)))
    return values
