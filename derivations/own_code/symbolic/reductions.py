"""NumPy's sums, means, variances and norms of arrays of unknown sizes."""

from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from derivations.own_code.algebra.polynomials import ONE
from derivations.own_code.refusal import refusal
from derivations.own_code.symbolic.arrays import SymbolicArray, length
from derivations.own_code.symbolic.choices import absolute, maximum, minimum
from derivations.own_code.symbolic.elementwise import largest, powered, total
from derivations.own_code.symbolic.parts import numbers, pieces
from derivations.own_code.symbolic.shapes import lift, rearranged
from derivations.own_code.symbolic.sizes import as_size
from derivations.own_code.symbolic.ufuncs import divide, multiply, subtract


def floats_only(dtype: Any) -> None:
    """Refuse arrays of integers, truth values or half precision: storing a number in them rounds it."""
    if dtype is not None and dtype is not np._NoValue and (np.dtype(dtype).kind != "f" or np.dtype(dtype).itemsize < 4):
        raise refusal(f"an array of {np.dtype(dtype)}", "numbers stored in it are rounded; use floats")


def axes_of(a: SymbolicArray, axis: Any) -> list[int]:
    if axis is None:
        return list(range(a.ndim))
    chosen = [axis] if not isinstance(axis, tuple | list) else list(axis)
    for n in chosen:
        if not isinstance(n, int | np.integer) or not -a.ndim <= n < a.ndim:
            raise refusal(f"axis={axis} of an array of {a.ndim} axes", "name axes that there are")
    found = [int(n) % a.ndim for n in chosen]
    if len(set(found)) != len(found):
        raise refusal(f"axis={axis}", "name each axis once")
    return found


def only_out(name: str, options: dict[str, Any]) -> Any:
    """The argument ``out``; others that change the value are refused."""
    floats_only(options.pop("dtype", None))
    for key, value in list(options.items()):
        if value is None or value is np._NoValue:
            options.pop(key)
    out = options.pop("out", None)
    if options:
        raise refusal(f"numpy.{name} with {', '.join(options)}=", "leave the argument out")
    return out


def sum_(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **options: Any) -> Any:
    """np.sum."""
    if axis is np._NoValue:
        axis = None
    floats_only(dtype)
    only_out("sum", options)
    result = total(a, axes_of(a, axis), bool(keepdims) if keepdims is not np._NoValue else False)
    return out.set(result) if isinstance(out, SymbolicArray) else result


def _count(a: SymbolicArray, axis: Any) -> SymbolicArray:
    n = ONE
    for k in axes_of(a, axis):
        n = a.algebra.multiply(n, length(a.algebra, a.axes[k]))
    return lift(a.algebra, as_size(a.algebra, n))


def mean(
    a: SymbolicArray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **options: Any
) -> Any:
    """np.mean."""
    result = divide(sum_(a, axis, keepdims=keepdims), _count(a, axis))
    only_out("mean", options)
    return out.set(result) if isinstance(out, SymbolicArray) else result


def var(
    a: SymbolicArray, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False,
    **options: Any,
) -> Any:  # fmt: skip
    """np.var."""
    ddof = options.pop("correction", ddof)
    if ddof is np._NoValue:
        ddof = 0
    centered = subtract(a, mean(a, axis, keepdims=True))
    squares = sum_(powered(centered, Fraction(2)), axis, keepdims=keepdims)
    only_out("var", options)
    divisor = subtract(_count(a, axis), lift(a.algebra, ddof)) if ddof else _count(a, axis)
    result = divide(squares, divisor)
    result.positive = "nonneg"
    return result


def std(a: SymbolicArray, *args: Any, **options: Any) -> Any:
    """np.std."""
    return powered(var(a, *args, **options), Fraction(1, 2))


def norm(a: SymbolicArray, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    """np.linalg.norm, the Euclidean one."""
    axes = axes_of(a, axis)
    if ord == 1 and len(axes) == 1:
        return sum_(absolute(a), axis, keepdims=keepdims)
    if not (ord is None or (ord == 2 and len(axes) == 1) or (ord == "fro" and len(axes) == 2)):
        raise refusal(f"numpy.linalg.norm with ord={ord!r}", "the Euclidean norm is understood")
    return powered(sum_(powered(a, Fraction(2)), axis, keepdims=keepdims), Fraction(1, 2))


def maximum_of(a: SymbolicArray, axis: Any = None, out: Any = None, keepdims: Any = False, **options: Any) -> Any:
    """np.max, where the result does not depend on it."""
    return _extreme("max", a, axis, keepdims, options)


def minimum_of(a: SymbolicArray, axis: Any = None, out: Any = None, keepdims: Any = False, **options: Any) -> Any:
    """np.min, where the result does not depend on it."""
    return _extreme("min", a, axis, keepdims, options)


def _extreme(kind: str, a: SymbolicArray, axis: Any, keepdims: Any, options: dict[str, Any]) -> Any:
    only_out(kind, options)
    if a.algebra.follows_maxima and (found := _by_comparisons(kind, a, axes_of(a, axis))) is not None:
        kept = [n for n in range(a.ndim) if n not in axes_of(a, axis)]
        return found if keepdims is True else rearranged(found, kept)
    return largest(a, axes_of(a, axis), bool(keepdims) if keepdims is not np._NoValue else False, kind)


_FEW = 4  # numbers whose maximum is followed by comparisons


def _by_comparisons(kind: str, a: SymbolicArray, axes: list[int]) -> SymbolicArray | None:
    """A maximum or minimum of few numbers, or None if they are many."""
    parts = [a]
    for axis in axes:
        if not all(isinstance(n, int) for n in (len(parts), a.shape[axis])) or len(parts) * a.shape[axis] > _FEW:
            return None
        parts = [one for part in parts for one in pieces(part, axis)]
    return reduce(maximum if kind == "max" else minimum, parts)


def prod(a: SymbolicArray, axis: Any = None, keepdims: Any = False, **options: Any) -> Any:
    """np.prod along axes of known length."""
    only_out("prod", options)
    axes = axes_of(a, None if axis is np._NoValue else axis)
    parts = [numbers(a)]
    for n in axes:
        parts = [one for part in parts for one in pieces(part, n)]
    found = reduce(multiply, parts)
    return found if keepdims is True else rearranged(found, [n for n in range(a.ndim) if n not in axes])


def average(a: SymbolicArray, axis: Any = None, weights: Any = None, **options: Any) -> Any:
    """np.average."""
    if weights is None:
        return mean(a, axis, **options)
    only_out("average", options)
    weights = lift(a.algebra, weights)
    if weights.ndim == 1 and isinstance(axis, int):
        weights = rearranged(weights, [0 if n == axis % a.ndim else None for n in range(a.ndim)])
    elif weights.ndim != a.ndim:
        raise refusal("numpy.average with weights= of another shape", "write the sums")
    return divide(sum_(multiply(weights, a), axis), sum_(weights, axis))
