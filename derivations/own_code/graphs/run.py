"""The run through a graph of TensorFlow, on arrays of unknown size and on exact numbers alike.

A tensor of integers, such as a shape, is an int, a ``Size`` or a list of them; one number that does not depend on data
is a ``Fraction`` or a ``Size``, and can be compared where the answer is the same for every size. Every other tensor is
an array.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.exact.arrays import wrapped
from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.graphs.elements import ON_SIZES, REALS, cross_entropy, sparse_cross_entropy
from derivations.own_code.graphs.parts import SEVERAL
from derivations.own_code.graphs.sizes import INTEGERS, TRUTHS, known, offsets, reduced_axes
from derivations.own_code.refusal import NotUnderstood, line_of_user, refused_operation, running
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.sizes import Size
from derivations.own_code.written_numbers import exact, irrational


class Run:
    """One run through a graph.

    Args:
        like: Makes a constant an array of the kind that is run on.
        holds: Whether what passes ``StopGradient`` has derivative 0.
    """

    def __init__(self, like: Callable[[Any], Any], *, holds: bool = True) -> None:
        self.like, self.holds = like, holds
        self.held: dict[str, None] = {}

    def graph(self, function: Any, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a concrete function."""
        graph = function.graph
        given = [*inputs, *map(self.captured, getattr(function, "captured_inputs", ()))]
        values = dict(zip((tensor.name for tensor in graph.inputs), given, strict=True))
        for operation in graph.get_operations():
            if operation.type.startswith("Assign"):
                raise refused_operation(operation, "an assignment to a variable; return the value instead")
        needed = _needed(graph)
        for operation in graph.get_operations():
            if operation.name not in needed:
                continue
            if operation.type in ("Placeholder", "NoOp"):
                if operation.outputs and operation.outputs[0].name not in values:
                    raise NotUnderstood(f"{operation.name}: a captured tensor or variable; make it an input")
                continue
            given = [values[tensor.name] for tensor in operation.inputs]
            with running(operation):
                results = self.operation(operation, given)
            for tensor, value in zip(operation.outputs, results, strict=True):
                values[tensor.name] = value
        return [values[tensor.name] for tensor in graph.outputs]

    def operation(self, operation: Any, given: list[Any]) -> list[Any]:
        kind = operation.type
        if kind in ("PartitionedCall", "StatefulPartitionedCall"):
            name = operation.get_attr("f").name
            definition = operation.graph._get_function(name)
            from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

            inner = function_def_to_graph(
                definition.cached_definition if definition else operation.graph.as_graph_def()
            )
            return self.graph(_Inner(inner), given)
        if kind in ("Identity", "IdentityN", "PreventGradient", "EnsureShape", "Snapshot", "CheckNumerics"):
            return given if kind == "IdentityN" else given[:1]
        if kind == "Pow" and operation.inputs[1].op.type == "Const":
            from tensorflow.python.framework.tensor_util import MakeNdarray

            return [given[0] ** float(MakeNdarray(operation.inputs[1].op.get_attr("value")))]
        if kind == "Const":
            return [self.constant(operation)]
        if kind == "ShapeN":
            return [list(np.shape(value)) for value in given]
        if kind == "ConcatOffset":
            return offsets(*given)
        if kind == "BroadcastGradientArgs":
            return reduced_axes(*given)
        if kind == "SoftmaxCrossEntropyWithLogits":
            return cross_entropy(*map(self.array, given))
        if kind == "SparseSoftmaxCrossEntropyWithLogits":
            return sparse_cross_entropy(self, *given)
        if kind == "StopGradient":
            self.held[f"what tf.stop_gradient is given in {line_of_user() or operation.name}"] = None
            return [_held(given[0]) if self.holds else given[0]]
        if kind in SEVERAL and not operation.outputs[0].dtype.is_integer:
            return self.by(SEVERAL, operation, given)
        dtype = operation.outputs[0].dtype
        of_sizes = all(map(known, given))
        method = INTEGERS if dtype.is_integer else TRUTHS if dtype.is_bool and of_sizes else REALS
        if kind not in method:
            raise refused_operation(operation, "the operation is not among those that can be proved")
        if method is REALS and not (of_sizes and kind in ON_SIZES):
            given = [self.array(value) for value in given]
        return [self.by(method, operation, given)]

    def by(self, method: Mapping[str, Callable[..., Any]], operation: Any, given: Sequence[Any]) -> Any:
        try:
            return method[operation.type](self, operation, *given)
        except (NotUnderstood, ArithmeticError):
            raise
        except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise refused_operation(operation, str(error)) from error

    def constant(self, operation: Any) -> Any:
        from tensorflow.python.framework.tensor_util import MakeNdarray

        value = MakeNdarray(operation.get_attr("value"))
        if value.dtype.kind not in "iufb":
            raise refused_operation(operation, "a constant that is not a real number")
        return self.number(value)

    def captured(self, tensor: Any) -> Any:
        """The value of a tensor that the function has from outside."""
        dtype = tensor.dtype
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool) or not hasattr(tensor, "numpy"):
            raise NotUnderstood("the function reads a variable, or a tensor that is no number; make it an input")
        return self.number(tensor.numpy())

    def number(self, value: Any) -> Any:
        """A constant, as the run takes it."""
        value = np.asarray(value)
        if value.dtype.kind == "b" and value.ndim:
            return self.like(value.astype(float)) > self.like(Fraction(1, 2))
        if value.dtype.kind in "iub" or not value.size:
            return value.tolist()
        if value.ndim == 0 and irrational(value[()]) is None:
            return exact(value[()])
        return self.like(value)

    def array(self, value: Any) -> Any:
        """A number that does not depend on data as an array."""
        return self.like(value) if isinstance(value, Fraction) else value._array() if isinstance(value, Size) else value


def _needed(graph: Any) -> set[str]:
    """The operations on which the outputs depend."""
    found: set[str] = set()
    waiting = [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return found


class _Inner:
    def __init__(self, graph: Any) -> None:
        self.graph = graph


def _held(value: Any) -> Any:
    if isinstance(value, SymbolicArray):
        return SymbolicArray(value.algebra, value.axes, value.algebra.held(value.polynomial), value.positive)
    if isinstance(value, Number):
        return value.held()
    return wrapped(np.vectorize(Number.held, otypes=[object])(value)) if isinstance(value, np.ndarray) else value
