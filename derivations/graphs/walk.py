"""How a TensorFlow graph is walked: operation by operation, into functions and branches, with variables and constants.

What the operations mean is left to the subclasses: ``symbolic`` puts expressions for tensors, ``exact`` numbers. An
operation, or a value of an attribute, that ``OPERATIONS`` does not list is refused, never skipped, and whatever goes
wrong in one is one kind of error that says where.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from derivations.graphs.operations import LOOKED_AT, OPERATIONS

# What TensorFlow passes through as it is.
_PASSED = ("Identity", "IdentityN", "PreventGradient", "OptionalFromValue", "OptionalGetValue", "Snapshot")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Through which a constant that is added under a root may be given on.
_ON_THE_WAY = ("Identity", "Reshape", "Cast", "EnsureShape", "ExpandDims", "Squeeze", "BroadcastTo", "Maximum")
CASTS = "casts are exact"


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


class Resource(NamedTuple):
    """A variable, by its name."""

    name: str


class Assumed(NamedTuple):
    """A value, and what it rests on: hypotheses and axioms, by name."""

    value: Any
    on: frozenset[str]


class GraphWalk:
    """One run through a graph.

    ``passed_on`` are errors that are not about the graph.
    """

    passed_on: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
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
            UnknownGraph: something in it is not covered.
        """
        self.variables = dict(variables or {})
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
        for operation in graph.get_operations():
            if operation.type == "Placeholder":
                name = operation.outputs[0].name
                if name not in placeholders:
                    raise UnknownGraph("an argument that is not given", operation.type, operation.name)
                values[name] = placeholders[name]
                continue
            results = self._results(operation, [values[tensor.name] for tensor in operation.inputs])
            for tensor, result in zip(operation.outputs, results, strict=True):
                values[tensor.name] = result
        return [values[tensor.name] for tensor in graph.outputs]

    def _results(self, operation: Any, arguments: list[Assumed]) -> list[Assumed]:
        kind = operation.type
        outer, self._new = self._new, set()
        try:
            check(operation)
            if kind in _PASSED:
                return arguments
            if kind in _CALLS:
                return self._walk(_body(operation, "f"), arguments)
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

    def _branch(self, operation: Any, arguments: list[Assumed]) -> list[Assumed]:
        predicate, *inputs = arguments
        taken = self.taken(operation, predicate.value)
        # What a branch computes does not rest on what the predicate rests on: it is proved for each branch.
        return self._walk(_body(operation, "then_branch" if taken else "else_branch"), inputs)

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
        from tensorflow import make_ndarray

        return self.constant(make_ndarray(operation.get_attr("value")), operation)

    def loses_bits(self, source: Any, target: Any) -> bool:
        """Whether a cast between these types may round; then what is computed rests on ``CASTS``."""
        lossy = target.is_floating and source.is_numpy_compatible and _bits(target) < _bits(source)
        if lossy:
            self.assume(CASTS)
        return lossy


def check(operation: Any) -> None:
    """Raise UnknownGraph for an operation, or a value of an attribute, that the table does not list."""
    kind = operation.type
    if kind not in OPERATIONS:
        raise UnknownGraph(f"the operation {kind}, which is not understood; {_known()} are")
    listed = OPERATIONS[kind].attributes
    for name, attribute in operation.node_def.attr.items():
        # Types are looked at where they are changed; what begins with _ says nothing about values.
        if name.startswith("_") or attribute.WhichOneof("value") == "type" or _only_types(attribute):
            continue
        if name not in listed:
            raise UnknownGraph(f"the attribute {name} of {kind}, which is not understood")
        value = operation.get_attr(name)
        if listed[name] is not LOOKED_AT and value not in listed[name]:
            allowed = ", ".join(map(str, listed[name]))
            raise UnknownGraph(f"{kind} with {name} = {value}; {allowed} is understood")


def _only_types(attribute: Any) -> bool:
    return attribute.WhichOneof("value") == "list" and bool(attribute.list.type)


def _known() -> str:
    return "sums, products, quotients, roots, means, reshapes and those that the table of operations lists"


def added_under_root(operation: Any) -> bool:
    """Whether a constant stands where ε does: added to something of which the root is taken."""
    for addition in _consumers(operation, _ON_THE_WAY):
        if addition.type in ("AddV2", "Add"):
            roots = {consumer.type for consumer in _consumers(addition, _ON_THE_WAY)}
            if roots & {"Sqrt", "Rsqrt"} or any(_is_half_power(o) for o in _consumers(addition, _ON_THE_WAY)):
                return True
    return False


def _is_half_power(operation: Any) -> bool:
    return operation.type == "Pow"


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


def _bits(dtype: Any) -> int:
    """How many bits of a whole number the type holds."""
    return {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53, "bool": 1}.get(dtype.name, 8 * dtype.size - 1)


def _body(operation: Any, attribute: str) -> Any:
    """The graph of a function that an operation calls."""
    name = operation.get_attr(attribute).name
    return operation.graph._get_function(name).graph
