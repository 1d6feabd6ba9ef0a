"""How a user's pair of functions is called, and what it returns."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np

from derivations.own_code.refusal import NotUnderstood

Shape = tuple[str | int, ...]
_STORED = (
    ". What a method keeps in its object, such as self.dgamma, is not looked at; give it as in "
    "backward=lambda dy: (layer.backward(dy), layer.dgamma, layer.dbeta)"
)


def shapes_of(inputs: Any, *, one_batch: bool = False) -> dict[str, Shape]:
    """The inputs' shapes, each None a size of its own.

    one_batch: whether each None that stands first is the same size.

    Raises:
        NotUnderstood: this is no mapping of names to shapes.
    """
    if not isinstance(inputs, Mapping) or not inputs:
        raise NotUnderstood(
            f'inputs must map each name to a shape, as in {{"x": ("N", "D"), "gamma": ("D",)}}. Received: {inputs!r}'
        )
    result: dict[str, Shape] = {}
    unnamed = iter(f"N{n}" for n in range(1, 100))
    for name, shape in inputs.items():
        if isinstance(shape, str | int) or shape is None:
            words = tuple(shape.split()) if isinstance(shape, str) else (shape,)
            raise NotUnderstood(f"the shape of {name} must be a tuple, as in {words!r}. Received: {shape!r}")
        lengths: list[str | int] = []
        for axis, n in enumerate(shape):
            if n is None:
                lengths.append("N" if one_batch and axis == 0 else next(unnamed))
            elif (isinstance(n, str) and n.isidentifier()) or (
                isinstance(n, int) and not isinstance(n, bool) and n >= 1
            ):
                lengths.append(n)
            else:
                raise NotUnderstood(f"a length is a name, None or a number ≥ 1. Received: {n!r} in the shape of {name}")
        if not isinstance(name, str):
            raise NotUnderstood(f"the name of an input must be a text. Received: {name!r}")
        result[name] = tuple(lengths)
    return result


@dataclass(frozen=True)
class Pair:
    """A forward and a backward function of NumPy code.

    names: of the inputs; ``wrt`` of those whose gradients are needed.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    names: tuple[str, ...]
    wrt: tuple[str, ...]
    pass_inputs: bool | None

    def __post_init__(self) -> None:
        self._same_order("forward", _parameters(self.forward)[0], 0)

    def run_forward(self, inputs: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
        """The outputs as they are now, and what else was returned; several outputs come as ((y1, y2), cache).

        Backward may work in the very arrays that forward returned.
        """
        result = self.forward(*inputs)
        if isinstance(result, tuple):
            if not result:
                raise NotUnderstood("forward returned an empty tuple; it returns y, or (y, cache)")
            several = isinstance(result[0], tuple | list) and len(result[0]) > 1
            return [_as_it_is(y) for y in (result[0] if several else [result[0]])], tuple(result[1:])
        return [_as_it_is(result)], ()

    def run_backward(self, dys: Sequence[Any], cache: tuple[Any, ...], inputs: Sequence[Any]) -> dict[str, Any]:
        """The gradients by name; None of those that are not needed and were left out."""
        positional, keywords = self._arguments(dys[0] if len(dys) == 1 else tuple(dys), cache, inputs)
        return self._named(self.backward(*positional, **keywords))

    def _arguments(self, dy: Any, cache: tuple[Any, ...], inputs: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        names, required, variable = _parameters(self.backward)
        if self.pass_inputs:
            return self._by_inputs(dy, inputs), {}
        if len(cache) == 1 and isinstance(cache[0], Mapping) and (keywords := _keywords(self.backward, cache[0])):
            return (dy,), keywords
        alone = not variable and len(required) <= 1 <= len(names) and not set(names[1:]) & {*self.names, "cache"}
        if alone and (len(names) == 1 or not cache):
            return (dy,), {}  # what it needs it keeps in an object; other parameters are constants
        if not cache and self.pass_inputs is None:
            return self._by_inputs(dy, inputs), {}
        if not cache:
            raise NotUnderstood("forward returned y alone, so that there is no cache; leave out pass_inputs=False")
        whole = cache[0] if len(cache) == 1 else cache
        if variable:
            return (dy, whole), {}
        if self.pass_inputs is None and tuple(names[1:]) == self.names and (len(names) > 2 or len(self.names) > 1):
            return (dy, *inputs), {}
        if names and names[0] == "cache":
            return (whole, dy), {}
        if len(required) <= 2 <= len(names):
            return (dy, whole), {}
        spread = cache if len(cache) > 1 else cache[0] if isinstance(cache[0], tuple | list) else ()
        if spread and len(required) <= 1 + len(spread) <= len(names):
            return (dy, *spread), {}
        if self.pass_inputs is None and len(required) <= 1 + len(inputs) <= len(names):
            return self._by_inputs(dy, inputs), {}
        raise self._cannot_call(names)

    def _by_inputs(self, dy: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        names, required, variable = _parameters(self.backward)
        if not len(required) <= 1 + len(inputs) <= (len(names) if not variable else 1 + len(inputs)):
            raise self._cannot_call(names)
        self._same_order("backward", names, 1)
        return (dy, *inputs)

    def _cannot_call(self, names: Sequence[str]) -> NotUnderstood:
        return NotUnderstood(
            f"backward takes {len(names)} arguments ({', '.join(names)}); it is called as backward(dy, cache), as "
            f"backward(dy, {', '.join(self.names)}), or as backward(dy) of an object that keeps what it needs; several "
            "outputs are returned as ((y1, y2), cache), and backward((dy1, dy2), cache) gets as many"
        )

    def _same_order(self, function: str, parameters: Sequence[str], first: int) -> None:
        """Refuse inputs that are passed to parameters of other inputs' names."""
        for n, name in enumerate(self.names, first):
            if name in parameters and parameters.index(name) != n:
                order = ", ".join(["dy"] * first + list(self.names))
                raise NotUnderstood(
                    f"{function}({', '.join(parameters)}) would be called as {function}({order}), since inputs are "
                    f"passed in the order in which they are given: {name} would not be {name}. Give the inputs in the "
                    "order of the parameters, or wrap the function in a lambda"
                )

    def _named(self, result: Any) -> dict[str, Any]:
        if isinstance(result, Mapping):
            found: dict[str, Any] = dict.fromkeys(self.names)
            for name in self.wrt:
                keys = (name, f"d{name}", f"d_{name}", f"grad_{name}", f"{name}_grad", f"g{name}", f"∂{name}")
                key = next((key for key in keys if key in result), None)
                if key is None:
                    raise NotUnderstood(
                        f"backward returned a dictionary with {', '.join(map(repr, result))}; that of {name} is "
                        f"looked for under {name!r} or {'d' + name!r}"
                    )
                found[name] = result[key]
            return found
        gradients = list(result) if isinstance(result, tuple | list) else [result]
        names = self.wrt if len(gradients) == len(self.wrt) else self.names
        if len(gradients) != len(names):
            raise NotUnderstood(
                f"backward returned {len(gradients)} gradient{'s' * (len(gradients) != 1)}; there are {len(names)} "
                f"inputs ({', '.join(names)}): return one for each, in this order, or a dictionary"
                + (_STORED if isinstance(self.backward, MethodType) else "")
            )
        return dict.fromkeys(self.names) | dict(zip(names, gradients, strict=True))


def _keywords(function: Callable[..., Any], cache: Mapping[Any, Any]) -> dict[Any, Any]:
    """What a function such as ``backward(dy, xhat, std)`` or ``backward(dy, **cache)`` takes out of a dictionary."""
    names, required, variable = _parameters(function)
    taken = {name: cache[name] for name in names[1:] if name in cache}
    if variable or not set(required[1:]) <= set(taken):
        return {}
    if any(p.kind == p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()):
        return dict(cache)
    return taken if len(required) > 1 else {}


def _as_it_is(y: Any) -> Any:
    return y.copy() if hasattr(y, "__array_ufunc__") and np.ndim(y) else y


def _parameters(function: Callable[..., Any]) -> tuple[list[str], list[str], bool]:
    """The names of the positional parameters, of those without a default, and whether there may be more."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return [], [], True
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in positional if p.default is p.empty]
    return [p.name for p in positional], required, any(p.kind == p.VAR_POSITIONAL for p in parameters)


def letters(shapes: Mapping[str, Shape]) -> list[str]:
    """The unknown sizes, in the order in which they occur."""
    return list(dict.fromkeys(n for shape in shapes.values() for n in shape if isinstance(n, str)))


def concrete(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape at these sizes."""
    return tuple(sizes[n] if isinstance(n, str) else n for n in shape)
