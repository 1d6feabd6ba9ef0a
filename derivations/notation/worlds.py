"""Where a shipped function may be executed, and what it returned there.

A *world* offers ``ops``, the operations of one batch; ``value``, which turns an expression such as x_i into what the
operations work on; and ``held``, the values for which ``ops.constant`` put a constant. A claim about a function is made
from one Python function of such a world, and therefore says the same in both.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import sympy as sp
from sympy import Expr, Symbol


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


class Clip(NamedTuple):
    """What was clipped, and to which bounds; None is no bound."""

    value: Any
    low: Any
    high: Any


class Executed(Protocol):
    """A function that was executed on symbols, and can be executed again elsewhere."""

    function: Function
    weighted: bool
    constants: tuple[Symbol, ...]


class Source(NamedTuple):
    """Where a computed value comes from."""

    execution: Executed
    key: str
    at: Symbol
    wrt: Symbol | None


class Computed(NamedTuple):
    """What a function returned, by name; ``source`` says how to compute it again."""

    name: str
    value: Expr
    source: Source | None = None
