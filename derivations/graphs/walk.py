"""How a TensorFlow graph is walked: operation by operation, into functions and branches, with variables and guards.

What the operations mean is left to the subclasses: ``traced_graph`` puts expressions for tensors, ``field_graph`` exact
numbers. An operation for which there is no method ``_<Type>`` is an error, never a skip.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# What TensorFlow passes through as it is.
_PASSED = ("Identity", "IdentityN", "PreventGradient", "EnsureShape", "OptionalFromValue", "OptionalGetValue")


class UnknownGraph(NotImplementedError):
    """The graph does what the interpretation does not cover: nothing is claimed about it."""


class Resource(NamedTuple):
    """A variable, by its name."""

    name: str


class Guard(NamedTuple):
    """A truth value that no hypothesis settles. Nothing but the choice of a branch may depend on it."""

    description: str


class Assumed(NamedTuple):
    """A value, and what it rests on: hypotheses and axioms, by name."""

    value: Any
    on: frozenset[str]


class GraphWalk:
    """One run through a graph.

    Args:
        branch: Which branch a ``tf.cond`` takes whose predicate is a ``Guard``; None if there must be none.
    """

    def __init__(self, branch: bool | None = None) -> None:
        self.branch = branch
        self.variables: dict[str, Any] = {}
        self.assigned: dict[str, Assumed] = {}
        self._new: set[str] = set()

    def run(self, function: Any, inputs: Sequence[Any], variables: Mapping[str, Any] | None = None) -> list[Assumed]:
        """The outputs of a concrete function; what it assigns to variables is in ``assigned``.

        Args:
            function: The concrete function.
            inputs: A value for each of its arguments.
            variables: A value for each variable that it captures, by name.

        Raises:
            UnknownGraph: an operation is not covered.
        """
        self.variables = dict(variables or {})
        names = {id(variable.handle): variable.name.split("/")[-1].split(":")[0] for variable in function.variables}
        captured = [Resource(names[id(external)]) for external, _ in function.graph.captures]
        given = [Assumed(value, frozenset()) for value in (*inputs, *captured)]
        return self._walk(function.graph, given)

    def assume(self, hypothesis: str) -> None:
        """What is being computed rests on this hypothesis."""
        self._new.add(hypothesis)

    def finished(self, value: Any) -> Any:
        """A result as it is kept."""
        return value

    def _walk(self, graph: Any, inputs: Sequence[Assumed]) -> list[Assumed]:
        placeholders = {placeholder.name: value for placeholder, value in zip(graph.inputs, inputs, strict=True)}
        values: dict[str, Assumed] = {}
        for operation in graph.get_operations():
            if operation.type == "Placeholder":
                name = operation.outputs[0].name
                values[name] = placeholders[name]
                continue
            results = self._results(operation, [values[tensor.name] for tensor in operation.inputs])
            for tensor, result in zip(operation.outputs, results, strict=True):
                values[tensor.name] = result
        return [values[tensor.name] for tensor in graph.outputs]

    def _results(self, operation: Any, arguments: list[Assumed]) -> list[Assumed]:
        kind = operation.type
        if kind in _PASSED:
            return arguments
        if kind in ("PartitionedCall", "StatefulPartitionedCall"):
            return self._walk(_body(operation, "f"), arguments)
        if kind in ("If", "StatelessIf"):
            return self._branch(operation, arguments)
        for argument in arguments:
            if isinstance(argument.value, Guard) and kind not in ("LogicalNot", "LogicalAnd", "All"):
                raise UnknownGraph(f"{kind} of {argument.value.description}, without a hypothesis on it")
        outer, self._new = self._new, set()
        method: Callable[..., Any] | None = getattr(self, f"_{kind}", None)
        if method is None:
            raise UnknownGraph(f"the operation {kind} of {operation.name}")
        try:
            result = method(operation, *(argument.value for argument in arguments))
        except UnknownGraph as error:
            raise UnknownGraph(f"{error} (at {operation.name}, {kind})") from error
        results = result if isinstance(result, tuple) and not hasattr(result, "_fields") else (result,)
        on = frozenset(self._new).union(*(argument.on for argument in arguments))
        self._new = outer
        if kind == "AssignVariableOp":
            self._assign(arguments[0].value, arguments[1])
            return []
        return [Assumed(self.finished(value), on) for value in results]

    def _branch(self, operation: Any, arguments: list[Assumed]) -> list[Assumed]:
        predicate, *inputs = arguments
        if not isinstance(predicate.value, Guard):
            raise UnknownGraph(f"the branches of {operation.name}, of which a known value decides")
        if self.branch is None:
            raise UnknownGraph(f"the branches of {operation.name}, on {predicate.value.description}")
        # What a branch computes does not rest on what the predicate rests on: it is proved for each branch.
        return self._walk(_body(operation, "then_branch" if self.branch else "else_branch"), inputs)

    def _assign(self, resource: Resource, value: Assumed) -> None:
        if resource.name in self.assigned:
            raise UnknownGraph(f"a second assignment to {resource.name}")
        self.assigned[resource.name] = value

    # Variables.

    def _ReadVariableOp(self, operation: Any, resource: Resource) -> Any:
        if resource.name in self.assigned:
            raise UnknownGraph(f"{resource.name} is read after it was assigned")
        return self.variables[resource.name]

    def _AssignVariableOp(self, operation: Any, resource: Resource, value: Any) -> tuple[()]:
        return ()

    def _NoOp(self, operation: Any) -> tuple[()]:
        return ()

    def _OptionalNone(self, operation: Any) -> Any:
        return None

    # Guards: which branch is taken is not asked, and therefore neither what they are made of.

    def _LogicalNot(self, operation: Any, a: Guard) -> Guard:
        return Guard(f"not {a.description}")

    def _LogicalAnd(self, operation: Any, a: Any, b: Any) -> Guard:
        return Guard(" and ".join(value.description for value in (a, b) if isinstance(value, Guard)))

    def _All(self, operation: Any, a: Guard, axes: Any) -> Guard:
        return a

    def _Any(self, operation: Any, a: Any, axes: Any) -> Guard:
        return Guard(f"whether anything holds, {operation.name}")

    def _LessEqual(self, operation: Any, a: Any, b: Any) -> Guard:
        return Guard(f"a comparison of data, {operation.name}")

    _GreaterEqual = _LessEqual


def _body(operation: Any, attribute: str) -> Any:
    """The graph of a function that an operation calls."""
    name = operation.get_attr(attribute).name
    return operation.graph._get_function(name).graph
