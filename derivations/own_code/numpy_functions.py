"""NumPy's functions on arrays of unknown size, each by sums, products and powers."""

import string
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.arrays import (
    SymbolicArray,
    axis_of,
    both,
    broadcast_to,
    elementwise,
    function_of,
    indexed,
    largest,
    length,
    lift,
    names_of_axis,
    powered,
    rearranged,
    reshape,
    total,
    transpose,
)
from derivations.own_code.numbers_exact import exact
from derivations.own_code.polynomials import ONE
from derivations.own_code.refusal import NotUnderstood, refusal
from derivations.own_code.sizes import Size, as_size

_UNDERSTOOD = "+ − · ÷, whole and half powers, sqrt, exp, log, tanh, sums, means, var, dot, einsum and reshapes are"


def add(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a + b."""
    return elementwise(a.algebra.add, [a, b], both(a, b, sum_=True))


def subtract(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a − b."""
    return elementwise(lambda x, y: a.algebra.add(x, y, -1), [a, b], None)


def multiply(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a·b."""
    same = a.axes == b.axes and a.polynomial == b.polynomial
    return elementwise(a.algebra.multiply, [a, b], "nonneg" if same and not a.positive else both(a, b, sum_=False))


def divide(a: SymbolicArray, b: SymbolicArray) -> SymbolicArray:
    """a/b."""
    return multiply(a, powered(b, Fraction(-1)))


def power(a: SymbolicArray, exponent: SymbolicArray) -> SymbolicArray:
    """a^exponent, for a number."""
    if exponent.axes or not set(exponent.polynomial) <= {()}:
        raise refusal("a power whose exponent is not a number", "whole and half powers are understood")
    return powered(a, exponent.polynomial.get((), Fraction(0)))


def _negative(a: SymbolicArray) -> SymbolicArray:
    return SymbolicArray(a.algebra, a.axes, a.algebra.scale(a.polynomial, -1))


def _absolute(a: SymbolicArray) -> SymbolicArray:
    return a if a.positive else powered(multiply(a, a), Fraction(1, 2))


def _sign(a: SymbolicArray) -> SymbolicArray:
    return divide(a, powered(multiply(a, a), Fraction(1, 2)))


def _tanh(a: SymbolicArray) -> SymbolicArray:
    return function_of("tanh", a)


UFUNCS: dict[Any, Callable[..., SymbolicArray]] = {
    np.add: add,
    np.subtract: subtract,
    np.multiply: multiply,
    np.true_divide: divide,
    np.power: power,
    np.float_power: power,
    np.negative: _negative,
    np.positive: lambda a: SymbolicArray(a.algebra, a.axes, a.polynomial, a.positive),
    np.square: lambda a: powered(a, Fraction(2)),
    np.sqrt: lambda a: powered(a, Fraction(1, 2)),
    np.reciprocal: lambda a: powered(a, Fraction(-1)),
    np.absolute: _absolute,
    np.fabs: _absolute,
    np.sign: _sign,
    np.conjugate: lambda a: a,
    np.exp: lambda a: function_of("exp", a),
    np.log: lambda a: function_of("log", a),
    np.log1p: lambda a: function_of("log", add(a, lift(a.algebra, 1))),
    np.expm1: lambda a: subtract(function_of("exp", a), lift(a.algebra, 1)),
    np.tanh: _tanh,
    np.sin: lambda a: function_of("sin", a),
    np.cos: lambda a: function_of("cos", a),
}
_VALUES = (
    np.maximum, np.minimum, np.fmax, np.fmin, np.greater, np.greater_equal, np.less, np.less_equal, np.equal,
    np.not_equal, np.isnan, np.isfinite, np.isinf, np.logical_and, np.logical_or, np.logical_not, np.floor, np.ceil,
    np.rint, np.mod, np.floor_divide,
)  # fmt: skip


def ufunc_result(algebra: Any, ufunc: Any, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """What a ufunc gives."""
    out = options.pop("out", None)
    for name in ("dtype", "casting", "subok", "order"):
        options.pop(name, None)
    if options.pop("where", True) is not True:
        raise refusal(f"numpy.{ufunc.__name__} with where=", "a choice by values has no one derivative")
    if ufunc in _VALUES:
        raise refusal(f"numpy.{ufunc.__name__}", "a comparison or a choice by values; write the function by arithmetic")
    if ufunc is np.matmul and method == "__call__":
        result = matmul(*(lift(algebra, value) for value in inputs))
    elif ufunc is np.add and method == "reduce":
        result = sum_(inputs[0], *inputs[1:], **options)
    elif ufunc is np.multiply and method == "outer":
        result = outer(lift(algebra, inputs[0]), lift(algebra, inputs[1]), flat=False)
    elif method == "__call__" and ufunc in UFUNCS and not options:
        result = UFUNCS[ufunc](*(lift(algebra, value) for value in inputs))
    else:
        raise refusal(
            f"numpy.{ufunc.__name__}{'' if method == '__call__' else '.' + method}", f"{_UNDERSTOOD} understood"
        )
    if out is not None:
        (target,) = out if isinstance(out, tuple) else (out,)
        if not isinstance(target, SymbolicArray):
            raise refusal(
                "writing a result into an array of numbers",
                "make the array by np.zeros_like(x), or import NumPy at the head of the module",
            )
        return target.set(result)
    return result


def _axes(a: SymbolicArray, axis: Any) -> list[int]:
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


def _no_more(name: str, options: dict[str, Any]) -> Any:
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
    _no_more("sum", options)
    result = total(a, _axes(a, axis), bool(keepdims) if keepdims is not np._NoValue else False)
    return out.set(result) if isinstance(out, SymbolicArray) else result


def _count(a: SymbolicArray, axis: Any) -> SymbolicArray:
    n = ONE
    for k in _axes(a, axis):
        n = a.algebra.multiply(n, length(a.algebra, a.axes[k]))
    return lift(a.algebra, as_size(a.algebra, n))


def mean(
    a: SymbolicArray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **options: Any
) -> Any:
    """np.mean."""
    result = divide(sum_(a, axis, keepdims=keepdims), _count(a, axis))
    _no_more("mean", options)
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
    _no_more("var", options)
    divisor = subtract(_count(a, axis), lift(a.algebra, ddof)) if ddof else _count(a, axis)
    result = divide(squares, divisor)
    result.positive = "nonneg"
    return result


def std(a: SymbolicArray, *args: Any, **options: Any) -> Any:
    """np.std."""
    return powered(var(a, *args, **options), Fraction(1, 2))


def norm(a: SymbolicArray, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    """np.linalg.norm, the Euclidean one."""
    axes = _axes(a, axis)
    if ord == 1 and len(axes) == 1:
        return sum_(_absolute(a), axis, keepdims=keepdims)
    if not (ord is None or (ord == 2 and len(axes) == 1) or (ord == "fro" and len(axes) == 2)):
        raise refusal(f"numpy.linalg.norm with ord={ord!r}", "the Euclidean norm is understood")
    return powered(sum_(powered(a, Fraction(2)), axis, keepdims=keepdims), Fraction(1, 2))


def maximum_of(a: SymbolicArray, axis: Any = None, out: Any = None, keepdims: Any = False, **options: Any) -> Any:
    """np.max and np.min, where the result does not depend on them."""
    _no_more("max", options)
    return largest(a, _axes(a, axis), bool(keepdims) if keepdims is not np._NoValue else False)


def average(a: SymbolicArray, axis: Any = None, weights: Any = None, **options: Any) -> Any:
    """np.average without weights."""
    if weights is not None:
        raise refusal("numpy.average with weights=", "write the sums")
    return mean(a, axis, **options)


def einsum(*operands: Any, optimize: Any = None, **options: Any) -> Any:
    """np.einsum with its subscripts as text."""
    subscripts, *given = operands
    _no_more("einsum", options)
    if not isinstance(subscripts, str) or "..." in subscripts:
        raise refusal("numpy.einsum of this form", "give the subscripts as letters, without an ellipsis")
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if not arrow:
        right = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    algebra = next(a.algebra for a in given if isinstance(a, SymbolicArray))
    arrays = [lift(algebra, a) for a in given]
    if len(terms) != len(arrays):
        raise refusal(f"numpy.einsum({subscripts!r}) of {len(arrays)} arrays", "one group of letters an array")
    summed = [letter for letter in dict.fromkeys(left.replace(",", "")) if letter not in right]
    order = [*right, *summed]
    wide = []
    for term, a in zip(terms, arrays, strict=True):
        if len(term) != a.ndim or len(set(term)) != len(term):
            raise refusal(
                f"numpy.einsum({subscripts!r})", "each axis has a letter, and each letter occurs once an array"
            )
        wide.append(rearranged(a, [term.index(letter) if letter in term else None for letter in order]))
    product = wide[0]
    for a in wide[1:]:
        product = multiply(product, a)
    return total(product, list(range(len(right), len(order))))


def matmul(a: SymbolicArray, b: SymbolicArray) -> Any:
    """a @ b."""
    if not a.ndim or not b.ndim:
        raise refusal("@ of a number", "use *")
    rank = max(a.ndim, b.ndim, 2)
    letters = string.ascii_letters
    batch = letters[3 : 3 + rank - 2]
    left = (batch[len(batch) - (a.ndim - 2) :] if a.ndim > 2 else "") + ("ik" if a.ndim > 1 else "k")
    right = (batch[len(batch) - (b.ndim - 2) :] if b.ndim > 2 else "") + ("kj" if b.ndim > 1 else "k")
    return einsum(f"{left},{right}->{batch}{'i' * (a.ndim > 1)}{'j' * (b.ndim > 1)}", a, b)


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """np.dot."""
    algebra = (a if isinstance(a, SymbolicArray) else b).algebra
    a, b = lift(algebra, a), lift(algebra, b)
    if not a.ndim or not b.ndim:
        return multiply(a, b)
    if b.ndim > 2:
        raise refusal("numpy.dot of more than two axes", "use einsum or @")
    return matmul(a, b)


def outer(a: SymbolicArray, b: SymbolicArray, flat: bool = True) -> Any:
    """np.outer of two vectors."""
    if flat and (a.ndim != 1 or b.ndim != 1):
        raise refusal("numpy.outer of more than one axis", "use einsum")
    wide = rearranged(a, [*range(a.ndim), *[None] * b.ndim])
    return multiply(wide, b)


def tensordot(a: SymbolicArray, b: SymbolicArray, axes: Any = 2) -> Any:
    """np.tensordot."""
    if isinstance(axes, int):
        pairs = list(zip(range(a.ndim - axes, a.ndim), range(axes), strict=True))
    else:
        first, second = ([n] if isinstance(n, int) else list(n) for n in axes)
        pairs = [(n % a.ndim, k % b.ndim) for n, k in zip(first, second, strict=True)]
    left = list(string.ascii_lowercase[: a.ndim])
    right = list(string.ascii_uppercase[: b.ndim])
    for n, k in pairs:
        right[k] = left[n]
    kept = [c for n, c in enumerate(left) if n not in {n for n, _ in pairs}]
    kept += [c for k, c in enumerate(right) if k not in {k for _, k in pairs}]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)


def squeeze(a: SymbolicArray, axis: Any = None) -> SymbolicArray:
    """np.squeeze; without an axis it is proved for sizes other than 1."""
    if axis is None:
        for n in a.shape:
            if isinstance(n, Size):
                a.algebra.journal.notes.append(f"{n} ≠ 1")
        gone = [n for n, part in enumerate(a.axes) if not part]
    else:
        gone = _axes(a, axis)
        if any(a.axes[n] for n in gone):
            raise refusal(f"squeeze of the axis {axis} of {a.shape}", "only an axis of length 1 can be left out")
    return rearranged(a, [n for n in range(a.ndim) if n not in gone])


def expand_dims(a: SymbolicArray, axis: Any) -> SymbolicArray:
    """np.expand_dims."""
    chosen = [axis] if isinstance(axis, int) else list(axis)
    rank = a.ndim + len(chosen)
    places = {n % rank for n in chosen}
    rest = iter(range(a.ndim))
    return rearranged(a, [None if n in places else next(rest) for n in range(rank)])


def _reshaped(a: SymbolicArray, *shape: Any, order: str = "C", **options: Any) -> SymbolicArray:
    shape = shape or (options.pop("newshape", None) or options.pop("shape", None),)
    if order not in ("C", "A") or set(options) - {"copy"}:
        raise refusal(f"reshape with order={order!r}", "leave the argument out")
    target = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    return reshape(a, target)


def _transposed(a: SymbolicArray, *axes: Any, **options: Any) -> SymbolicArray:
    axes = options.pop("axes", axes)
    if axes is None or (len(axes) == 1 and axes[0] is None):
        axes = ()
    order = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
    return transpose(a, order or None)


def swapaxes(a: SymbolicArray, first: int, second: int) -> SymbolicArray:
    """np.swapaxes."""
    order = list(range(a.ndim))
    order[first], order[second] = order[second], order[first]
    return transpose(a, order)


def moveaxis(a: SymbolicArray, source: Any, destination: Any) -> SymbolicArray:
    """np.moveaxis."""
    from_, to = ([n] if isinstance(n, int) else list(n) for n in (source, destination))
    from_, to = [n % a.ndim for n in from_], [n % a.ndim for n in to]
    order = [n for n in range(a.ndim) if n not in from_]
    for place, n in sorted(zip(to, from_, strict=True)):
        order.insert(place, n)
    return transpose(a, order)


def tile(a: SymbolicArray, reps: Any) -> SymbolicArray:
    """np.tile of axes of length 1."""
    counts = list(reps) if isinstance(reps, tuple | list) else [reps]
    rank = max(len(counts), a.ndim)
    counts = [1] * (rank - len(counts)) + counts
    wide = rearranged(a, [*[None] * (rank - a.ndim), *range(a.ndim)])
    axes = []
    for axis, n in zip(wide.axes, counts, strict=True):
        new = axis_of(a.algebra, n)
        if axis and new:
            raise refusal("repeating an axis that is longer than 1", "only axes of length 1 can be repeated")
        axes.append(axis or new)
    return broadcast_to(wide, axes)


def repeat(a: SymbolicArray, repeats: Any, axis: Any = None) -> SymbolicArray:
    """np.repeat of an axis of length 1."""
    if axis is None or a.axes[axis]:
        raise refusal("numpy.repeat of an axis that is longer than 1", "only axes of length 1 can be repeated")
    axes = list(a.axes)
    axes[axis] = axis_of(a.algebra, repeats)
    return broadcast_to(a, axes)


def filled(algebra: Any, shape: Any, value: Any) -> SymbolicArray:
    """An array of one value."""
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    return SymbolicArray(
        algebra, [axis_of(algebra, n) for n in lengths], lift(algebra, value).polynomial, lift(algebra, value).positive
    )


def unset(algebra: Any, shape: Any) -> SymbolicArray:
    """np.empty: what was not written may be anything."""
    empty = filled(algebra, shape, 0)
    name = f"unset {next(algebra.unset)}"
    places: tuple[Any, ...] = tuple(
        name for n, axis in enumerate(empty.axes) for name in names_of_axis(empty.ndim - 1 - n, axis)
    )
    return SymbolicArray(algebra, empty.axes, algebra.element(name, places))


def identity(algebra: Any, n: Any, columns: Any = None, **options: Any) -> SymbolicArray:
    """np.eye."""
    _no_more("eye", options)
    axis = axis_of(algebra, n)
    if columns is not None and axis_of(algebra, columns) != axis:
        raise refusal("numpy.eye that is not square", "give one size")
    if not axis:
        return SymbolicArray(algebra, [(), ()], ONE)
    (row,), (column,) = names_of_axis(1, axis), names_of_axis(0, axis)
    return SymbolicArray(algebra, [axis, axis], algebra.equal_indices(row, column), "nonneg")


def floats_only(dtype: Any) -> None:
    """Refuse arrays of integers or truth values: storing a number in them rounds it."""
    if dtype is not None and dtype is not np._NoValue and np.dtype(dtype).kind != "f":
        raise refusal(f"an array of {np.dtype(dtype)}", "numbers stored in it are rounded; use floats")


def _copy(a: Any, dtype: Any = None, *_: Any, **__: Any) -> Any:
    floats_only(dtype if dtype not in ("C", "K", "A", "F") else None)
    return SymbolicArray(a.algebra, a.axes, a.polynomial, a.positive)


def _like(value: Any) -> Callable[..., SymbolicArray]:
    def like(a: SymbolicArray, dtype: Any = None, *_: Any, shape: Any = None, **__: Any) -> SymbolicArray:
        floats_only(dtype)
        return filled(a.algebra, a.shape if shape is None else shape, value)

    return like


def diagonal_sum(a: SymbolicArray) -> SymbolicArray:
    """np.trace."""
    if a.ndim != 2:
        raise refusal("numpy.trace of more than two axes", "use einsum")
    return total(multiply(a, identity(a.algebra, a.shape[0], a.shape[1])), [0, 1])


def diagonal(a: SymbolicArray, k: int = 0) -> SymbolicArray:
    """np.diag: the diagonal of a square matrix, or the matrix with this diagonal."""
    if a.ndim == 1 and k == 0:
        return multiply(rearranged(a, [0, None]), identity(a.algebra, a.shape[0]))
    if a.ndim != 2 or k or a.axes[0] != a.axes[1] or len(a.axes[0]) > 1:
        raise refusal("numpy.diag of this array", "the diagonal of a square matrix is understood")
    names = dict(zip(names_of_axis(1, a.axes[0]), names_of_axis(0, a.axes[1]), strict=True))
    return SymbolicArray(a.algebra, a.axes[1:], a.algebra.rename(a.polynomial, names), a.positive)


def _broadcast(a: SymbolicArray, shape: Any, **_: Any) -> SymbolicArray:
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    return broadcast_to(a, [axis_of(a.algebra, n) for n in lengths])


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: sum_,
    np.mean: mean,
    np.var: var,
    np.std: std,
    np.average: average,
    np.max: maximum_of,
    np.min: maximum_of,
    np.linalg.norm: norm,
    np.dot: dot,
    np.inner: lambda a, b: dot(a, b.T) if getattr(b, "ndim", 0) > 1 else dot(a, b),
    np.vdot: lambda a, b: sum_(multiply(reshape(a, (-1,)), reshape(b, (-1,)))),
    np.outer: outer,
    np.einsum: einsum,
    np.tensordot: tensordot,
    np.transpose: _transposed,
    np.swapaxes: swapaxes,
    np.moveaxis: moveaxis,
    np.reshape: _reshaped,
    np.ravel: lambda a, **_: reshape(a, (-1,)),
    np.squeeze: squeeze,
    np.expand_dims: expand_dims,
    np.broadcast_to: _broadcast,
    np.tile: tile,
    np.repeat: repeat,
    np.copy: _copy,
    np.zeros_like: _like(0),
    np.ones_like: _like(1),
    np.full_like: lambda a, value, *_, **__: filled(a.algebra, a.shape, value),
    np.empty_like: lambda a, *_, **__: unset(a.algebra, a.shape),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.trace: diagonal_sum,
    np.diag: diagonal,
    np.diagonal: diagonal,
    np.real: lambda a: a,
    np.atleast_1d: lambda a: a if a.ndim else rearranged(a, [None]),
    np.atleast_2d: lambda a: rearranged(a, [*[None] * (2 - a.ndim), *range(a.ndim)]),
    np.array_equal: lambda *_, **__: _compares(),
    np.allclose: lambda *_, **__: _compares(),
}


def _compares() -> Any:
    raise refusal("comparing arrays", "leave tests of values out of the function")


def function_result(algebra: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """What a function of NumPy gives."""
    if function not in FUNCTIONS:
        name = f"{function.__module__}.{function.__name__}"
        raise refusal(name, f"{_UNDERSTOOD} understood")
    try:
        return FUNCTIONS[function](*args, **kwargs)
    except (TypeError, AttributeError, KeyError) as error:
        raise refusal(f"numpy.{function.__name__} with these arguments", str(error)) from error


METHODS: dict[str, Callable[..., Any]] = {
    "max": maximum_of,
    "min": maximum_of,
    "sum": sum_,
    "mean": mean,
    "var": var,
    "std": std,
    "dot": dot,
    "reshape": _reshaped,
    "transpose": _transposed,
    "swapaxes": swapaxes,
    "ravel": lambda a, *_: reshape(a, (-1,)),
    "flatten": lambda a, *_: _copy(reshape(a, (-1,))),
    "squeeze": squeeze,
    "repeat": repeat,
    "trace": diagonal_sum,
    "diagonal": diagonal,
    "copy": _copy,
    "astype": _copy,
    "conj": _copy,
    "fill": lambda a, value: a.set(value) and None,
}

__all__ = [
    "FUNCTIONS",
    "METHODS",
    "NotUnderstood",
    "exact",
    "filled",
    "function_result",
    "identity",
    "indexed",
    "unset",
]
