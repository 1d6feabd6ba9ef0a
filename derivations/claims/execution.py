"""A shipped function, executed on symbols at once; the second proof executes it again, on field elements."""

from typing import Any

from sympy import Symbol

from derivations.normal_form.symbolic_batch import SymbolicBatch, SymbolicOperations, lifted
from derivations.notation import i
from derivations.notation.expressions import differentiate
from derivations.notation.settings import Condition
from derivations.notation.worlds import Computed, Function, Source


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

    def returned(self, key: str, name: str = "", *, at: Symbol = i, wrt: Symbol | None = None) -> Computed:
        """The result ``key`` at the index ``at``, or its derivative with respect to a constant: a member of a claim."""
        value = self.results[key].expression
        value = value if wrt is None else differentiate(value, wrt)
        return Computed(name or key, value.xreplace({i: at}), Source(self, key, at, wrt))
