"""How a user's pair of functions is called, and what it returns."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from derivations.own_code.refusal import NotUnderstood

Shape = tuple[str | int, ...]


def shapes_of(inputs: Any) -> dict[str, Shape]:
    """The inputs' shapes, each None a size of its own.

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
        for n in shape:
            if n is None:
                lengths.append(next(unnamed))
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
    """A forward and a backward function of NumPy code."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    names: tuple[str, ...]
    pass_inputs: bool | None

    def run_forward(self, inputs: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
        """The outputs, of which this kind of code has one, and what else was returned."""
        result = self.forward(*inputs)
        if isinstance(result, tuple):
            if not result:
                raise NotUnderstood("forward returned an empty tuple; it returns y, or (y, cache)")
            return [result[0]], tuple(result[1:])
        return [result], ()

    def run_backward(self, dys: Sequence[Any], cache: tuple[Any, ...], inputs: Sequence[Any]) -> dict[str, Any]:
        """The gradients by name."""
        (dy,) = dys
        return self._named(self.backward(*self._arguments(dy, cache, inputs)))

    def _arguments(self, dy: Any, cache: tuple[Any, ...], inputs: Sequence[Any]) -> tuple[Any, ...]:
        names, required, variable = _parameters(self.backward)
        by_inputs = (dy, *inputs)
        if self.pass_inputs or (not cache and self.pass_inputs is None):
            return by_inputs
        if not cache:
            raise NotUnderstood("forward returned y alone, so that there is no cache; leave out pass_inputs=False")
        whole = cache[0] if len(cache) == 1 else cache
        if variable:
            return (dy, whole)
        if self.pass_inputs is None and tuple(names[1:]) == self.names and (len(names) > 2 or len(self.names) > 1):
            return by_inputs
        if names and names[0] == "cache":
            return (whole, dy)
        if len(required) <= 2 <= len(names):
            return (dy, whole)
        spread = cache if len(cache) > 1 else cache[0] if isinstance(cache[0], tuple | list) else ()
        if spread and len(required) <= 1 + len(spread) <= len(names):
            return (dy, *spread)
        if self.pass_inputs is None and len(required) <= 1 + len(inputs) <= len(names):
            return by_inputs
        raise NotUnderstood(
            f"backward takes {len(names)} arguments ({', '.join(names)}); it is called as backward(dy, cache), or with "
            "pass_inputs=True as backward(dy, *inputs)"
        )

    def _named(self, result: Any) -> dict[str, Any]:
        names = self.names
        if isinstance(result, Mapping):
            found = {}
            for name in names:
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
        if len(gradients) != len(names):
            raise NotUnderstood(
                f"backward returned {len(gradients)} gradients; there are {len(names)} inputs ({', '.join(names)}): "
                "return one for each, in this order, or a dictionary"
            )
        return dict(zip(names, gradients, strict=True))


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
