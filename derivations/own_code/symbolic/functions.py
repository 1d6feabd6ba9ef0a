"""NumPy's functions on arrays of unknown sizes: which are understood."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from derivations.own_code.refusal import refusal
from derivations.own_code.special_functions import SPECIAL_UFUNCS
from derivations.own_code.symbolic import listed
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.axes import (
    broadcast,
    copied,
    diagonal,
    diagonal_sum,
    expand_dims,
    fill_diagonal,
    filled,
    flattened,
    made_like,
    moveaxis,
    repeat,
    reshaped,
    squeeze,
    swapaxes,
    tile,
    transposed,
    unset,
)
from derivations.own_code.symbolic.choices import choose, clip, decided
from derivations.own_code.symbolic.elementwise import function_of
from derivations.own_code.symbolic.parts import concatenate, cumulated, flip, padded, roll, split, stack, taken
from derivations.own_code.symbolic.products import dot, einsum, matmul, outer, tensordot
from derivations.own_code.symbolic.reductions import (
    average,
    maximum_of,
    mean,
    minimum_of,
    norm,
    only_out,
    prod,
    std,
    sum_,
    var,
)
from derivations.own_code.symbolic.shapes import lift, rearranged, reshape
from derivations.own_code.symbolic.ufuncs import UFUNCS, multiply
from derivations.own_code.written_numbers import limit

_UNDERSTOOD = (
    "+ − · ÷, whole and half powers, sqrt, exp, log, tanh, sin, cos, comparisons, where, maximum, clip, sums, means, "
    "var, dot, einsum, reshapes, slices, concatenate, cumsum and their like are"
)


_ROUNDING = (np.floor, np.ceil, np.rint, np.mod, np.floor_divide)


def ufunc_result(algebra: Any, ufunc: Any, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """What a ufunc gives."""
    out = options.pop("out", None)
    for name in ("dtype", "casting", "subok", "order"):
        options.pop(name, None)
    if options.pop("where", True) is not True:
        raise refusal(f"numpy.{ufunc.__name__} with where=", "a choice by values has no one derivative")
    if ufunc in _ROUNDING:
        raise refusal(f"numpy.{ufunc.__name__}", "it rounds")
    if ufunc is np.matmul and method == "__call__":
        result = matmul(*(lift(algebra, value) for value in inputs))
    elif ufunc is np.add and method == "reduce":
        result = sum_(inputs[0], *inputs[1:], **options)
    elif ufunc is np.multiply and method == "outer":
        result = outer(lift(algebra, inputs[0]), lift(algebra, inputs[1]), flat=False)
    elif ufunc is np.add and method == "at" and isinstance(inputs[0], SymbolicArray):
        inputs[0].set(listed.added(inputs[0], inputs[1], lift(algebra, inputs[2])))
        return None
    elif ufunc.__name__ in ("erf", "erfc") and method == "__call__":  # SciPy's
        erf = function_of("erf", lift(algebra, inputs[0]))
        result = erf if ufunc.__name__ == "erf" else 1 - erf
    elif ufunc.__name__ in SPECIAL_UFUNCS and method == "__call__":
        result = SPECIAL_UFUNCS[ufunc.__name__](*(lift(algebra, value) for value in inputs))
    elif method == "__call__" and ufunc in UFUNCS and not options:
        result = UFUNCS[ufunc](*(lift(algebra, value) for value in inputs))
    else:
        raise refusal(
            f"numpy.{ufunc.__name__}{'' if method == '__call__' else '.' + method}", f"{_UNDERSTOOD} understood"
        )
    if out is not None:
        (target,) = out if isinstance(out, tuple) else (out,)
        if isinstance(target, SymbolicArray) and not target.axes:
            return result  # += of a number makes another
        if not isinstance(target, SymbolicArray):
            raise refusal(
                "writing a result into an array of numbers",
                "it cannot hold what depends on the inputs: assign the result to its name, as in self.mean = …, or "
                "make it by np.zeros_like(x)",
            )
        return target.set(result)
    return _own(result, inputs)


def _own(result: Any, inputs: Any) -> Any:
    """What a function returned, as an array of its own where that is one of its inputs, or a view of one."""
    arrays = [a for value in inputs for a in (value if isinstance(value, list | tuple) else [value])]
    memories = [a._memory for a in arrays if isinstance(a, SymbolicArray)]
    if isinstance(result, SymbolicArray) and any(result._memory is memory for memory in memories):
        return result.__copy__()
    return result


def _where(condition: Any, *given: Any) -> SymbolicArray:
    """np.where."""
    if len(given) != 2:
        raise refusal("this use of numpy.where", "give a condition and two values")
    algebra = _algebra(condition, *given)
    return choose(*(lift(algebra, value) for value in (condition, *given)))


def _clip(a: SymbolicArray, a_min: Any = None, a_max: Any = None, out: Any = None, **options: Any) -> SymbolicArray:
    """np.clip."""
    low, high = limit(options.pop("min", a_min)), limit(options.pop("max", a_max))
    only_out("clip", options)
    result = clip(a, *(None if value is None else lift(a.algebra, value) for value in (low, high)))
    return out.set(result) if isinstance(out, SymbolicArray) else result


def _all(arrays: Any) -> list[SymbolicArray]:
    """Several arrays, of which some may be of numbers."""
    return [lift(_algebra(*arrays), a) for a in arrays]


def _algebra(*arrays: Any) -> Any:
    return next(a.algebra for a in arrays if isinstance(a, SymbolicArray))


def _broadcast_all(arrays: Sequence[SymbolicArray]) -> list[Any]:
    shape = sum(arrays[1:], arrays[0]).shape
    return [broadcast(a, shape) for a in arrays]


def _at_least(rank: int, a: SymbolicArray) -> SymbolicArray:
    return rearranged(a, [*[None] * (rank - a.ndim), *range(a.ndim)])


def _cumsum(a: SymbolicArray, axis: Any = None, **options: Any) -> SymbolicArray:
    """np.cumsum."""
    out = only_out("cumsum", options)
    result = cumulated(a, axis)
    return out.set(result) if isinstance(out, SymbolicArray) else result


def _differences(a: SymbolicArray, n: int, axis: int) -> SymbolicArray:
    """np.diff."""
    whole = (slice(None),) * (axis % a.ndim)
    for _ in range(n):
        a = taken(a, (*whole, slice(1, None))) - taken(a, (*whole, slice(None, -1)))
    return a


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: sum_,
    np.mean: mean,
    np.prod: prod,
    np.var: var,
    np.std: std,
    np.average: average,
    np.max: maximum_of,
    np.min: minimum_of,
    np.linalg.norm: norm,
    np.dot: dot,
    np.inner: lambda a, b: dot(a, b.T) if getattr(b, "ndim", 0) > 1 else dot(a, b),
    np.vdot: lambda a, b: dot(reshape(a, (-1,)), reshape(b, (-1,))),
    np.outer: lambda a, b: outer(lift(_algebra(a, b), a), lift(_algebra(a, b), b)),
    np.einsum: einsum,
    np.tensordot: tensordot,
    np.transpose: transposed,
    np.swapaxes: swapaxes,
    np.moveaxis: moveaxis,
    np.reshape: reshaped,
    np.ravel: flattened,
    np.squeeze: squeeze,
    np.expand_dims: expand_dims,
    np.broadcast_to: broadcast,
    np.broadcast_arrays: lambda *arrays, **_: _broadcast_all(_all(arrays)),
    np.tile: tile,
    np.where: _where,
    np.clip: _clip,
    np.repeat: repeat,
    np.copy: copied,
    np.zeros_like: made_like(0),
    np.ones_like: made_like(1),
    np.full_like: lambda a, value, *_, **__: filled(a.algebra, a.shape, value),
    np.empty_like: lambda a, *_, **__: unset(a.algebra, a.shape),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.concatenate: lambda arrays, axis=0: concatenate(_all(arrays), axis),
    np.stack: lambda arrays, axis=0: stack(_all(arrays), axis),
    np.vstack: lambda arrays: concatenate([_at_least(2, a) for a in _all(arrays)], 0),
    np.hstack: lambda arrays: concatenate([_at_least(1, a) for a in _all(arrays)], min(np.ndim(arrays[0]), 2) // 2),
    np.column_stack: lambda arrays: concatenate(
        [rearranged(a, [0, None]) if a.ndim == 1 else a for a in _all(arrays)], 1
    ),
    np.append: lambda a, values, axis=None: concatenate(_all([a, values]), axis),
    np.split: split,
    np.array_split: split,
    np.hsplit: lambda a, sections: split(a, sections, 0 if a.ndim == 1 else 1),
    np.vsplit: lambda a, sections: split(a, sections, 0),
    np.flip: flip,
    np.roll: roll,
    np.pad: padded,
    np.take: lambda a, indices, axis=None, **_: (
        taken(reshape(a, (-1,)), indices) if axis is None else taken(a, (*(slice(None),) * (axis % a.ndim), indices))
    ),
    np.fliplr: lambda a: flip(a, 1),
    np.flipud: lambda a: flip(a, 0),
    np.tril: lambda a, k=0: multiply(a, lift(a.algebra, np.tril(np.ones(a.shape[-2:]), k))),
    np.triu: lambda a, k=0: multiply(a, lift(a.algebra, np.triu(np.ones(a.shape[-2:]), k))),
    np.cumsum: _cumsum,
    np.diff: lambda a, n=1, axis=-1: _differences(a, n, axis),
    np.trace: diagonal_sum,
    np.diag: diagonal,
    np.fill_diagonal: fill_diagonal,
    np.diagflat: lambda a, k=0: diagonal(flattened(a), k),
    np.any: lambda a: decided(a, "any"),
    np.all: lambda a: decided(a, "all"),
    np.diagonal: diagonal,
    np.real: lambda a: a,
    np.atleast_1d: lambda a: _at_least(1, a),
    np.atleast_2d: lambda a: _at_least(2, a),
    np.array_equal: lambda *_, **__: _compares(),
    np.allclose: lambda *_, **__: _compares(),
}


_CHOICES = (np.argmax, np.argmin, np.sort, np.argsort, np.median, np.select, np.nan_to_num)


_VIEWS = (
    np.transpose, np.swapaxes, np.moveaxis, np.reshape, np.ravel, np.squeeze, np.expand_dims, np.broadcast_to, np.real,
    np.atleast_1d, np.atleast_2d, np.split, np.array_split, np.hsplit, np.vsplit,
)  # fmt: skip
_OF_SEVERAL = (np.concatenate, np.stack, np.vstack, np.hstack, np.column_stack)  # arrays in a list


def _compares() -> Any:
    raise refusal("comparing arrays", "leave tests of values out of the function")


def function_result(algebra: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """What a function of NumPy gives."""
    if function not in FUNCTIONS:
        name = f"{function.__module__}.{function.__name__}"
        if function in _CHOICES:
            raise refusal(name, "of choices by values, np.where, np.maximum, np.minimum and np.clip are understood")
        raise refusal(name, f"{_UNDERSTOOD} understood")
    if args and isinstance(args[0], list | tuple) and function not in _OF_SEVERAL:
        args = (lift(algebra, args[0]), *args[1:])
    try:
        result = FUNCTIONS[function](*args, **kwargs)
        return result if function in _VIEWS else _own(result, args)
    except (TypeError, AttributeError, KeyError) as error:
        raise refusal(f"numpy.{function.__name__} with these arguments", str(error)) from error


METHODS: dict[str, Callable[..., Any]] = {
    "max": maximum_of,
    "min": minimum_of,
    "clip": _clip,
    "sum": sum_,
    "mean": mean,
    "prod": prod,
    "var": var,
    "std": std,
    "dot": dot,
    "reshape": reshaped,
    "transpose": transposed,
    "swapaxes": swapaxes,
    "ravel": flattened,
    "flatten": lambda a, *args, **options: copied(flattened(a, *args, **options)),
    "squeeze": squeeze,
    "repeat": repeat,
    "take": lambda a, *args, **options: FUNCTIONS[np.take](a, *args, **options),
    "cumsum": lambda a, *args, **options: FUNCTIONS[np.cumsum](a, *args, **options),
    "trace": diagonal_sum,
    "diagonal": diagonal,
    "copy": copied,
    "astype": copied,
    "conj": copied,
    "any": lambda a: decided(a, "any"),
    "all": lambda a: decided(a, "all"),
    "fill": lambda a, value: a.set(value) and None,
}
