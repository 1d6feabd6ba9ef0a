"""How many times a number is added to others in the sums of a traced graph: the depth d of the bounds on rounding.

A chain of sums and additions has a depth; what is multiplied, subtracted or squared starts anew. Within one reduction
no order is taken for granted: n numbers may be added one after the other, n − 1 additions. Where that would say too
little, what TensorFlow does inside is an axiom, which a test measures.
"""

from collections.abc import Iterable, Sequence
from math import ceil, log2, prod
from typing import Any

import numpy as np

from derivations.graphs.walk import UnknownGraph

AXIOMS = {
    "S1": "On a CPU TensorFlow adds n float32 numbers along the last axis in 32 chains, and from some thousands on "
    "pairwise: none is added more than min(n/32, 256) + 8 + log₂ n times. Measured; a measurement is not a proof.",
    "S2": "XLA keeps apart the stages of a sum between which there is a division. Measured; a measurement is not a "
    "proof.",
}
# What an addition in float64 counts, where the statistics are float32: 2⁻⁵³ in units of 2⁻²⁴.
IN_FLOAT64 = 2.0**-29
# What leaves the numbers as they are, or multiplies all by one.
_PASSED = {
    "BroadcastTo", "EnsureShape", "ExpandDims", "Identity", "IdentityN", "Pack", "Reshape", "Squeeze", "StridedSlice",
    "Transpose", "Unpack",
}  # fmt: skip


def _of_matrices(operation: Any) -> int:
    a = operation.inputs[0]
    transposed = operation.type == "MatMul" and operation.get_attr("transpose_a")
    return _known(operation, [a.shape[-2 if transposed else -1]])


# How many products an operation adds up to one number; in which order is its own affair.
_PRODUCTS = {
    "MatMul": _of_matrices,
    "BatchMatMulV2": _of_matrices,
    "DepthwiseConv2dNativeBackpropFilter": lambda operation: _known(operation, operation.inputs[2].shape[:3]),
}


def _known(operation: Any, sizes: Iterable[int | None]) -> int:
    found = list(sizes)
    if None in found:
        raise UnknownGraph(f"{operation.name}, a sum of a number of values that is not known")
    return prod(size for size in found if size is not None)


def along_last_axis(n: int) -> int:
    """The depth of TensorFlow's sum of n float32 numbers along the last axis (axiom S1)."""
    return min(n - 1, min(ceil(n / 32), 256) + 8 + ceil(log2(max(n, 1))))


def depth_of(function: Any, dtype: str = "float32", *, branches: bool = False) -> float:
    """The largest depth in the graph of a concrete function whose sizes are all known.

    ``dtype`` is that of the statistics: beside float32, an addition in float64 counts as a small part of one, so that d
    is no whole number. What is held constant may be any number: the sums that lead to it alone do not count, nor does
    its own addition, which the formulas write and the bounds count apart. With ``branches``, a branch has the depth of
    its inputs; for engines whose statistics are taken in one pass these are the statistics.

    Raises:
        UnknownGraph: a sum over an unknown number, or a graph within the graph.
    """
    depths: dict[str, float] = {}
    counting = _counting(function.graph.outputs)
    for operation in function.graph.get_operations():
        if operation.name in counting:
            depth = _of_operation(
                operation, [depths.get(tensor.name, 0) for tensor in operation.inputs], dtype, branches
            )
            depths |= {output.name: depth for output in operation.outputs}
    return max(depths.values(), default=0)


def _counting(outputs: Sequence[Any]) -> set[str]:
    """The operations from which the outputs are computed, not through what is held constant."""
    found: set[str] = set()
    waiting = [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found and operation.type != "StopGradient":
            found.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return found


def _of_operation(operation: Any, inputs: list[float], dtype: str, branches: bool) -> float:
    kind = operation.type
    if kind in _PRODUCTS:
        return max(inputs) + _PRODUCTS[kind](operation) - 1
    if kind in ("If", "StatelessIf") and branches:
        return max(inputs)
    finer = operation.outputs and operation.outputs[0].dtype.name == "float64" != dtype
    addition = IN_FLOAT64 if finer else 1
    if kind in ("Sum", "Mean"):
        return inputs[0] + addition * _of_reduction(operation)
    if kind in ("Add", "AddV2", "AddN"):
        summands = [t for t in operation.inputs if _source(t).type not in ("Const", "StopGradient")]
        return max(inputs) + addition * max(len(summands) - 1, 0)
    if kind == "Cast":
        return inputs[0] + (inputs[0] > 0 and operation.outputs[0].dtype.size < operation.inputs[0].dtype.size)
    if kind in ("Mul", "RealDiv") and any(tensor.shape.num_elements() == 1 for tensor in operation.inputs):
        return max(inputs)
    if kind in _PASSED:
        return max(inputs)
    if kind.endswith(("PartitionedCall", "If", "While", "Case")):
        raise UnknownGraph(f"{operation.name}, a graph within the graph")
    return 0


def _source(tensor: Any) -> Any:
    """The operation that a tensor comes from, whatever shape it was given."""
    while tensor.op.type in ("Identity", "IdentityN", "Reshape"):
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor.op


def _of_reduction(operation: Any) -> int:
    from tensorflow import get_static_value

    value, axes = operation.inputs
    positions = get_static_value(axes)
    sizes = value.shape.as_list()
    reduced = {int(position) % len(sizes) for position in np.ravel([] if positions is None else positions)}
    count = _known(operation, [None] if positions is None else [sizes[position] for position in reduced])
    return along_last_axis(count) if reduced == {len(sizes) - 1} else max(count - 1, 0)
