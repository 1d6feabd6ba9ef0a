"""What a graph compares: a predicate that no hypothesis settles, of which a branch may be taken, and no more."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from sympy import Expr, S

from derivations.graphs.symbolic.axes import Tensor
from derivations.graphs.symbolic.names import alike
from derivations.graphs.symbolic.sizes import Few, Value, as_data, integers
from derivations.graphs.walk import UnknownGraph

POPULATED = "Σ w > 0"


class Predicate(NamedTuple):
    """A truth value, or one an element: a comparison, or what is made of comparisons.

    key: ("≤", a, b), ("=", a, b), ("all", axes, part) or ("and", part, part), where a part is a predicate; equal
        predicates have equal keys.
    negated: whether it is the opposite that is meant.
    """

    key: tuple[Any, ...]
    negated: bool = False

    def opposite(self) -> "Predicate":
        return self._replace(negated=not self.negated)


class Predicates:
    """Methods ``_<Type>`` for comparisons; ``positive`` are expressions that may be compared with 0.

    ``guard`` is the predicate on which the graph branches, if it does; ``branch`` says whether it is taken to
    hold; a later branch on its opposite goes the other way.
    """

    assume: Callable[[str], None]
    unfold: Callable[[Expr], Expr]
    elementwise: Callable[..., Tensor]
    of_known: Callable[..., Tensor]
    positive: Sequence[Expr]
    branch: bool | None
    guard: Predicate | None = None

    def taken(self, operation: Any, predicate: Any) -> bool:
        if isinstance(predicate, Tensor) and predicate.expression in (0, 1):
            return bool(predicate.expression == 1)
        if not isinstance(predicate, Predicate):
            raise UnknownGraph("a branch on what is no comparison; a predicate of which each branch is proved is one")
        if self.branch is None:
            raise UnknownGraph("a branch, where the graph is to have none")
        if self.guard is None:
            self.guard = predicate
        if self.guard.key != predicate.key:
            raise UnknownGraph("a branch on another predicate than the first; one a graph is understood")
        return self.branch == (predicate.negated == self.guard.negated)

    def _compared(self, sign: str, a: Any, b: Any) -> Any:
        """a ≤ b or a = b, element by element."""
        if isinstance(a, Few) or isinstance(b, Few):
            return Predicate((sign, "what is computed from a few elements", id(a), id(b)))
        left, right = as_data(a), as_data(b)
        if left.expression.is_number and right.expression.is_number:
            holds = left.expression <= right.expression if sign == "≤" else sp.Eq(left.expression, right.expression)
            return self.elementwise(lambda p, q: S.One if holds else S.Zero, left, right)
        both = self.of_known(lambda p, q: sp.Tuple(p, q), left, right)
        sizes = tuple(both.sizes())
        return Predicate((sign, *(alike(self.unfold(part), both.axes) for part in both.expression), sizes))

    def _settled_positive(self, value: Any) -> bool:
        """Whether a value is known to be > 0, by a hypothesis or without."""
        if not isinstance(value, Tensor) and not isinstance(value, np.ndarray):
            return False
        e = as_data(value).expression
        if e.is_positive:
            return True
        if alike(self.unfold(e), as_data(value).axes) in self.positive:
            self.assume(POPULATED)
            return True
        return False

    def _Greater(self, operation: Any, a: Any, b: Any) -> Any:
        if _is_zero(b) and self._settled_positive(a):
            return self.elementwise(lambda p, q: S.One, as_data(a), as_data(b))
        return _opposite(self._compared("≤", a, b))

    def _Less(self, operation: Any, a: Any, b: Any) -> Any:
        return self._Greater(operation, b, a)

    def _LessEqual(self, operation: Any, a: Any, b: Any) -> Any:
        return self._compared("≤", a, b)

    def _GreaterEqual(self, operation: Any, a: Any, b: Any) -> Any:
        return self._compared("≤", b, a)

    def _Equal(self, operation: Any, a: Any, b: Any) -> Any:
        return self._compared("=", a, b)

    def _NotEqual(self, operation: Any, a: Any, b: Any) -> Any:
        return _opposite(self._compared("=", a, b))

    def _LogicalNot(self, operation: Any, a: Any) -> Any:
        return a.opposite() if isinstance(a, Predicate) else self.of_known(lambda p: 1 - p, a)

    def _LogicalOr(self, operation: Any, a: Any, b: Any) -> Any:
        if isinstance(a, Predicate) or isinstance(b, Predicate):
            return _opposite(self._LogicalAnd(operation, _opposite(a), _opposite(b)))
        return self.of_known(lambda p, q: p + q - p * q, a, b)

    def _LogicalAnd(self, operation: Any, a: Any, b: Any) -> Any:
        parts = [value for value in (a, b) if not (isinstance(value, Tensor) and value.expression == 1)]
        if not any(isinstance(part, Predicate) for part in parts):
            return self.of_known(lambda p, q: p * q, a, b)
        if not all(isinstance(part, Predicate) for part in parts):
            raise UnknownGraph("a predicate and a mask together; predicates alone, or masks alone, are understood")
        return parts[0] if len(parts) == 1 else Predicate(("and", *parts))

    def _All(self, operation: Any, a: Any, positions: Value) -> Any:
        return self._every(operation, a, positions)

    def _Any(self, operation: Any, a: Any, positions: Value) -> Any:
        return _opposite(self._every(operation, _opposite(a), positions))

    def _every(self, operation: Any, a: Any, positions: Value) -> Any:
        chosen = tuple(int(position) for position in integers(positions).ravel())
        if isinstance(a, Predicate):
            return Predicate(("all", chosen, a)) if chosen else a
        if isinstance(a, Tensor) and a.expression in (0, 1):
            kept = [axis for n, axis in enumerate(a.axes) if n not in {c % len(a.axes) for c in chosen}]
            if operation.get_attr("keep_dims"):
                raise UnknownGraph("All with kept axes; without it is understood")
            return Tensor(tuple(kept), a.expression)
        raise UnknownGraph("whether all, or any, of a mask are true; of a predicate it is understood, to branch on")


def described(predicate: Predicate, taken: bool, show: Callable[[Expr], str]) -> str:
    """The predicate, as it is taken to hold or not, in words and formulas."""
    kind, *parts = predicate.key
    holds = taken != predicate.negated
    if kind == "all":
        text = described(parts[1], True, show)
        return f"everywhere {text}" if holds else f"not everywhere {text}"
    if kind == "and":
        text = " and ".join(described(part, True, show) for part in parts)
        return text if holds else f"not ({text})"
    left, right = map(show, parts[:2])
    return f"{left} {kind if holds else {'≤': '>', '=': '≠'}[kind]} {right}"


def _is_zero(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.expression == 0)
    return isinstance(value, np.ndarray) and value.size == 1 and value.item() == 0


def _opposite(value: Any) -> Any:
    if isinstance(value, Predicate):
        return value.opposite()
    if isinstance(value, Tensor):
        return Tensor(value.axes, 1 - value.expression, value.pending, value.where)
    raise UnknownGraph("the opposite of what is no truth value")
