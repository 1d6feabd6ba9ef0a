"""How a TensorFlow graph is walked: operation by operation, into functions and branches, with variables and constants.

What the operations mean is left to the subclasses: ``symbolic`` puts expressions for tensors, ``exact`` numbers. An
operation, or a value of an attribute, that ``OPERATIONS`` does not list is refused, never skipped, and whatever goes
wrong in one is one kind of error that says where.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from derivations.graphs.nodes import Node, UnknownGraph, bits, nodes_of

# What TensorFlow passes through as it is.
PASSED = (
    "Identity", "IdentityN", "PreventGradient", "OptionalFromValue", "OptionalGetValue", "Snapshot",
)  # fmt: skip
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CASTS = "casts are exact"


class Resource(NamedTuple):
    """A variable, by its name."""

    name: str


class Assumed(NamedTuple):
    """A value, and what it rests on: hypotheses and axioms, by name."""

    value: Any
    on: frozenset[str]


class GraphWalk:
    """Runs through graphs, in one of which each constant is looked at once.

    ``passed_on`` are errors that are not about the graph.
    """

    passed_on: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.assigned: dict[str, Assumed] = {}
        self._new: set[str] = set()
        self._constants: dict[Node, Assumed] = {}

    def run(self, function: Any, inputs: Sequence[Any], variables: Mapping[str, Any] | None = None) -> list[Assumed]:
        """The outputs of a concrete function; what it assigns to variables is in ``assigned``.

        Args:
            function: The concrete function.
            inputs: A value for each of its arguments.
            variables: A value for each variable that it captures, by name.

        Raises:
            UnknownGraph: something in it is not covered.
        """
        self.variables, self.assigned = dict(variables or {}), {}
        names = {id(variable.handle): variable.name.split("/")[-1].split(":")[0] for variable in function.variables}
        captured = [self._captured(external, names) for external, _ in function.graph.captures]
        given = [Assumed(value, frozenset()) for value in (*inputs, *captured)]
        if len(given) != len(function.graph.inputs):
            raise UnknownGraph(f"a graph of {len(function.graph.inputs)} arguments, given {len(given)}")
        return self._walk(function.graph, given)

    def _captured(self, external: Any, names: Mapping[int, str]) -> Any:
        if id(external) in names:
            if (name := names[id(external)]) not in self.variables:
                raise UnknownGraph(f"the variable {name}, of which no value is given; pass it as an argument")
            return Resource(name)
        if not hasattr(external, "numpy"):
            raise UnknownGraph(f"what the graph captures, {external!r}, is no constant; pass it as an argument")
        return self.constant(external.numpy(), None)

    def constant(self, value: np.ndarray, operation: Any) -> Any:
        """A constant of the graph, or, without an operation, one that it captures."""
        raise NotImplementedError

    def assume(self, hypothesis: str) -> None:
        """What is being computed rests on this hypothesis."""
        self._new.add(hypothesis)

    def finished(self, value: Any) -> Any:
        """A result as it is kept."""
        return value

    def _walk(self, graph: Any, inputs: Sequence[Assumed]) -> list[Assumed]:
        placeholders = {placeholder.name: value for placeholder, value in zip(graph.inputs, inputs, strict=True)}
        values: dict[str, Assumed] = {}
        for operation in nodes_of(graph):
            if operation.type == "Placeholder":
                values |= {name: placeholders[name] for name in operation.outputs if name in placeholders}
                continue
            if operation in self._constants:  # one that was met in a run before
                values[operation.outputs[0]] = self._constants[operation]
                continue
            if any(name not in values for name in operation.inputs):
                raise UnknownGraph("an argument that is not given", operation.type, operation.name)
            results = self._results(operation, [values[name] for name in operation.inputs])
            for name, result in zip(operation.outputs, results, strict=True):
                values[name] = result
            if operation.type == "Const":
                self._constants[operation] = results[0]
        return [values[tensor.name] for tensor in graph.outputs]

    def _results(self, operation: Node, arguments: list[Assumed]) -> list[Assumed]:
        kind = operation.type
        outer, self._new = self._new, set()
        try:
            if operation.refusal:
                raise UnknownGraph(operation.refusal)
            if kind in PASSED:
                return arguments
            if kind in _CALLS:
                return self._walk(operation.body("f"), arguments)
            if kind in ("If", "StatelessIf"):
                return self._branch(operation, arguments)
            method: Callable[..., Any] | None = getattr(self, f"_{kind}", None)
            if method is None:
                raise UnknownGraph(f"the operation {kind}, for which there is no rule here")
            if kind == "AssignVariableOp":
                self._assign(arguments[0].value, arguments[1])
                return []
            result = method(operation, *(argument.value for argument in arguments))
            results = result if isinstance(result, tuple) and not hasattr(result, "_fields") else (result,)
            if len(results) != len(operation.outputs):
                raise UnknownGraph(f"the operation {kind} with {len(operation.outputs)} outputs")
            on = frozenset(self._new).union(*(argument.on for argument in arguments))
            return [Assumed(self.finished(value), on) for value in results]
        except UnknownGraph as error:
            raise error if error.name else UnknownGraph(error.message, kind, operation.name) from error
        except self.passed_on:
            raise
        except RecursionError:
            raise UnknownGraph("an expression that is too deep", kind, operation.name) from None
        except Exception as error:  # whatever graph comes, it is refused with a place, not with a traceback
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise UnknownGraph(f"the operation {kind} of such arguments ({reason})", kind, operation.name) from error
        finally:
            self._new = outer

    def _branch(self, operation: Node, arguments: list[Assumed]) -> list[Assumed]:
        predicate, *inputs = arguments
        taken = self.taken(operation, predicate.value)
        # What a branch computes does not rest on what the predicate rests on: it is proved for each branch.
        return self._walk(operation.body("then_branch" if taken else "else_branch"), inputs)

    def taken(self, operation: Any, predicate: Any) -> bool:
        """Whether the first of two branches is taken."""
        raise NotImplementedError

    def _assign(self, resource: Resource, value: Assumed) -> None:
        if resource.name in self.assigned:
            raise UnknownGraph(f"a second assignment to {resource.name}; one is understood")
        self.assigned[resource.name] = value

    def _ReadVariableOp(self, operation: Any, resource: Resource) -> Any:
        if resource.name in self.assigned:
            raise UnknownGraph(f"{resource.name} is read after it was assigned; before it is understood")
        return self.variables[resource.name]

    def _AssignVariableOp(self, operation: Any, resource: Resource, value: Any) -> tuple[()]:
        raise AssertionError("assignments are kept by the walk itself")

    def _NoOp(self, operation: Any) -> tuple[()]:
        return ()

    def _OptionalNone(self, operation: Any) -> Any:
        return None

    def _Const(self, operation: Any) -> Any:
        return self.constant(operation.constant, operation)

    def loses_bits(self, source: Any, target: Any) -> bool:
        """Whether a cast between these types may round; then what is computed rests on ``CASTS``."""
        lossy = target.is_floating and bits(target) < bits(source)
        if lossy:
            self.assume(CASTS)
        return lossy


__all__ = ["CASTS", "Assumed", "GraphWalk", "Resource", "UnknownGraph"]
