"""One name for what is equal: expressions with their bound indices, and those of the axes, named alike."""

from collections.abc import Sequence
from functools import lru_cache

from sympy import Dummy, Expr, Indexed, Sum, Symbol

from derivations.graphs.symbolic.axes import Axis
from derivations.notation.expressions import rebuilt, rewritten

_BOUND = [Dummy(f"j{n}", integer=True, positive=True) for n in range(64)]


def alike(expression: Expr, axes: Sequence[Axis] = ()) -> Expr:
    """The expression with bound indices named by depth, and those of the axes by position, counted from the last."""
    names: dict[Symbol, Symbol] = {}
    for n, axis in enumerate(reversed(axes)):
        if axis.index is not None:
            names.setdefault(axis.index, Symbol(f"_axis{n}", integer=True))
    return _alike(rewritten(expression, names))[0]


@lru_cache(maxsize=1 << 14)
def _alike(e: Expr) -> tuple[Expr, int]:
    if not e.args or isinstance(e, Indexed):
        return e, 0
    parts = [_alike(arg) for arg in (e.args[:1] if isinstance(e, Sum) else e.args)]
    depth = max(d for _, d in parts)
    if not isinstance(e, Sum):
        return rebuilt(e, [part for part, _ in parts]), depth
    names = {limit[0]: _BOUND[depth + n] for n, limit in enumerate(e.limits)}
    limits = [(names[j], first, last) for j, first, last in e.limits]
    return Sum(rewritten(parts[0][0], names), *limits), depth + len(limits)
