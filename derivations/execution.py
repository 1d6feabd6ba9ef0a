"""A shipped function, executed in two worlds: on symbols for the normal form, on field elements for the second proof.

A *world* offers ``ops``, the operations of one batch; ``value``, which turns an expression such as x_i into what the
operations work on; and ``held``, the values for which ``ops.constant`` put a constant. A claim about a function is made
from one Python function of such a world, and therefore says the same in both.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import sympy as sp
from sympy import Expr, Symbol

from derivations.finite_sums import Condition, differentiate
from derivations.notation import i
from derivations.symbolic_batch import SymbolicBatch, SymbolicOperations, lifted


class World(Protocol):
    """Where a function of ``keras_bn.formulas`` may be executed."""

    ops: Any

    def value(self, expression: Any) -> Any:
        """The expression, a value per element where it holds i."""

    def held(self, number: int) -> Any:
        """The value for which the constant of that number stands."""


class NothingCounts:
    """The operations of a batch in which every weight is 0: no element has a share, the fallback is used."""

    def __init__(self, world: World) -> None:
        self._ops, self._value = world.ops, world.value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)

    def share(self) -> Any:
        """0."""
        return self._value(sp.Integer(0))

    def or_else(self, value: Any, fallback: Any) -> Any:
        """The fallback."""
        return self._value(sp.sympify(fallback)) if isinstance(fallback, int | sp.Rational) else fallback


Function = Callable[[World], Mapping[str, Any]]


class SymbolicWorld:
    """Symbols: every value is an expression."""

    def __init__(self, weighted: bool) -> None:
        self.ops = SymbolicOperations(weighted=weighted)

    def value(self, expression: Any) -> SymbolicBatch:
        return SymbolicBatch(expression)

    def held(self, number: int) -> SymbolicBatch:
        return SymbolicBatch(list(self.ops.constants.values())[number])


class Execution:
    """One function, executed on symbols at once, and on field elements whenever a point is drawn.

    Args:
        function: Maps a world to named results.
        weighted: Whether the batch has weights w_i.
    """

    def __init__(self, function: Function, *, weighted: bool = False) -> None:
        self.function, self.weighted = function, weighted
        world = SymbolicWorld(weighted)
        self.results = {name: lifted(value) for name, value in function(world).items()}
        self.constants: tuple[Symbol, ...] = tuple(world.ops.constants)
        self.conditions: frozenset[Condition] = frozenset(world.ops.conditions)

    def returned(self, key: str, name: str = "", *, at: Symbol = i, wrt: Symbol | None = None) -> "Computed":
        """The result ``key`` at the index ``at``, or its derivative with respect to a constant: a member of a claim."""
        value = self.results[key].expression
        value = value if wrt is None else differentiate(value, wrt)
        return Computed(name or key, value.xreplace({i: at}), Source(self, key, at, wrt))


class Source(NamedTuple):
    """Where a computed value comes from."""

    execution: Execution
    key: str
    at: Symbol
    wrt: Symbol | None


class Computed(NamedTuple):
    """What a function returned, by name; ``source`` says how to compute it again."""

    name: str
    value: Expr
    source: Source | None = None
