"""The reader of graphs: the nodes of a TensorFlow graph, each read and checked against ``OPERATIONS`` once.

This is all that the two walks share.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from derivations.graphs.operations import LOOKED_AT, OPERATIONS

# Through which a constant that is added under a root may be given on.
_ON_THE_WAY = ("Identity", "Reshape", "Cast", "EnsureShape", "ExpandDims", "Squeeze", "BroadcastTo", "Maximum")
_ROOTS = ("Sqrt", "Rsqrt", "Pow")


class UnknownGraph(NotImplementedError):
    """The graph does what a walk does not cover: nothing is claimed about it.

    Args:
        message: What is not understood, and what is understood instead.
        operation: The type of the operation.
        name: Its name in the graph.
    """

    def __init__(self, message: str, operation: str = "", name: str = "") -> None:
        super().__init__(message)
        self.message, self.operation, self.name = message, operation, name

    def __str__(self) -> str:
        return f"{self.message} (at {self.name}, {self.operation})" if self.name else self.message


class Node:
    """One operation: its type, its name, the names of the tensors that go in and come out, and its attributes."""

    def __init__(self, operation: Any) -> None:
        self.operation = operation
        self.type, self.name = operation.type, operation.name
        self.inputs = [tensor.name for tensor in operation.inputs]
        self.outputs = [tensor.name for tensor in operation.outputs]
        self._attributes: dict[str, Any] = {}

    def get_attr(self, name: str) -> Any:
        """The value of an attribute."""
        if name not in self._attributes:
            self._attributes[name] = self.operation.get_attr(name)
        return self._attributes[name]

    def body(self, attribute: str) -> Any:
        """The graph of a function that the operation calls."""
        return self.operation.graph._get_function(self.get_attr(attribute).name).graph

    @cached_property
    def constant(self) -> np.ndarray:
        """The value of a constant."""
        from tensorflow import make_ndarray

        return make_ndarray(self.get_attr("value"))

    @cached_property
    def refusal(self) -> str:
        """Why the operation, or a value of an attribute, is not understood; "" if it is."""
        if self.type not in OPERATIONS:
            return f"the operation {self.type}, which is not understood; those in the table of operations are"
        listed = OPERATIONS[self.type].attributes
        for name, attribute in self.operation.node_def.attr.items():
            # Types are looked at where they are changed; what begins with _ says nothing about values.
            if name.startswith("_") or attribute.WhichOneof("value") == "type" or _only_types(attribute):
                continue
            if name not in listed:
                return f"the attribute {name} of {self.type}, which is not understood"
            if listed[name] is not LOOKED_AT and self.get_attr(name) not in listed[name]:
                allowed = ", ".join(map(str, listed[name]))
                return f"{self.type} with {name} = {self.get_attr(name)}; {allowed} is understood"
        return ""

    def added_under_root(self) -> bool:
        """Whether a constant stands where ε does: added to something of which the root is taken."""
        additions = (o for o in _consumers(self.operation, _ON_THE_WAY) if o.type in ("AddV2", "Add"))
        return any(consumer.type in _ROOTS for o in additions for consumer in _consumers(o, _ON_THE_WAY))

    def is_added(self) -> bool:
        """Whether a constant is added to something, or subtracted, and nothing else."""
        consumers = [consumer.type for output in self.operation.outputs for consumer in output.consumers()]
        return bool(consumers) and set(consumers) <= {"AddV2", "Add", "Sub"}


def nodes_of(graph: Any) -> list[Node]:
    """The nodes of a graph, in an order in which they can be run."""
    # The graph keeps them. They refer to it, so that a table of graphs, even a weak one, would keep every graph.
    if not hasattr(graph, "_nodes_read"):
        graph._nodes_read = [Node(operation) for operation in graph.get_operations()]
    return graph._nodes_read


def bodies_of(graph: Any) -> list[Any]:
    """A graph, and those of the functions that it calls, and that these call."""
    found, waiting = [graph], [graph]
    while waiting:
        for node in nodes_of(waiting.pop()):
            for name in ("f", "then_branch", "else_branch"):
                attributes = node.operation.node_def.attr
                if name in attributes and attributes[name].WhichOneof("value") == "func":
                    body = node.body(name)
                    if not any(body is other for other in found):
                        found.append(body)
                        waiting.append(body)
    return found


def as_written(value: Any) -> Fraction:
    """A number of a constant, as it was written: 0.1 is 1/10, whatever it is rounded to.

    Args:
        value: A scalar of NumPy's, of a floating-point type.
    """
    return Fraction(str(value))


def bits(dtype: Any) -> int:
    """How many bits of a whole number the type holds."""
    return {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53, "bool": 1}.get(dtype.name, 8 * dtype.size - 1)


def _only_types(attribute: Any) -> bool:
    return attribute.WhichOneof("value") == "list" and bool(attribute.list.type)


def _consumers(operation: Any, through: Sequence[str]) -> Iterator[Any]:
    waiting, seen = [operation], set()
    while waiting:
        for output in waiting.pop().outputs:
            for consumer in output.consumers():
                if consumer.name not in seen:
                    seen.add(consumer.name)
                    yield consumer
                    if consumer.type in through:
                        waiting.append(consumer)
