"""Names seen through while a user's function runs: NumPy's creators of arrays have no argument to dispatch on."""

import builtins
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from derivations.own_code.exact.arrays import ExactArray
from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.exact.truths import Truths
from derivations.own_code.refusal import remembered
from derivations.own_code.running.reached import names_of, states_of
from derivations.own_code.special_functions import special_functions
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.sizes import Size


class _Module:
    """NumPy, some names replaced."""

    def __init__(self, module: Any, names: Mapping[str, Any]) -> None:
        self._module, self._names = module, names

    def __getattr__(self, name: str) -> Any:
        return self._names[name] if name in self._names else getattr(self._module, name)


def _len(value: Any) -> Any:
    return value.shape[0] if isinstance(value, SymbolicArray) else builtins.len(value)


def _number(kind: Any) -> Any:
    """A type of numbers that leaves what is no number yet as it is, and makes numbers of truth values."""

    class Meta(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, kind) or type(value) is {int: Size}.get(kind)

        def __subclasscheck__(cls, other: Any) -> bool:
            return issubclass(other, kind)

        def __eq__(cls, other: Any) -> Any:
            return True if other is cls or other is kind else NotImplemented

        def __hash__(cls) -> int:
            return hash(kind)

    def new(_: Any, value: Any = 0, *rest: Any) -> Any:
        if isinstance(value, Size) and kind in (int, float):
            return value
        if isinstance(value, Truths) or (isinstance(value, SymbolicArray) and value.is_truth):
            return value.astype(float)
        if isinstance(value, SymbolicArray | ExactArray | Number) and np.dtype(kind).kind == "f":
            return value
        return kind(value, *rest)

    # NumPy looks at dtype, as in x.astype(float).
    return Meta(kind.__name__, (kind,), {"__new__": new, "dtype": np.dtype(kind)})


_NUMBERS = {kind.__name__: _number(kind) for kind in (np.int32, np.int64, np.float32, np.float64)}
_BUILTINS = {"len": _len, "float": _number(float), "int": _number(int)}


def _quiet(*_: Any, **__: Any) -> None:
    """In the place of ``print``: the code runs some hundred times."""


@contextmanager
def seen_through(functions: list[Any], names: Mapping[str, Any], builtin: bool = False) -> Iterator[None]:
    """While the functions run, these names of NumPy's are replaced in the modules in which they stand."""
    if names:
        names = _NUMBERS | dict(names)
    module = _Module(np, names)
    mathematics = _Module(math, {"sqrt": lambda value: value.sqrt() if isinstance(value, Size) else math.sqrt(value)})
    replaced = {id(getattr(np, name)): value for name, value in names.items() if hasattr(np, name)}
    replaced |= {id(np): module, id(math): mathematics, id(math.sqrt): mathematics.sqrt} if names else {}
    special, of_scipy = special_functions()
    if names and special:
        seen = _Module(special, of_scipy)
        replaced |= {id(special): seen, id(sys.modules["scipy"]): _Module(sys.modules["scipy"], {"special": seen})}
        replaced |= {id(getattr(special, name)): value for name, value in of_scipy.items()}
    before: list[tuple[dict[str, Any], str, Any]] = []
    state = states_of(functions)
    spaces, cells = names_of(functions)
    kept = [(cell, cell.cell_contents) for cell in cells if id(cell.cell_contents) in replaced]
    try:
        if names:
            before.append((vars(builtins), "__import__", builtins.__import__))
            builtins.__import__ = _importing(builtins.__import__, replaced, {id(space) for space in spaces})
        for cell, value in kept:
            cell.cell_contents = replaced[id(value)]
        for space in spaces:
            before.append((space, "print", space.get("print", _ABSENT)))
            space["print"] = _quiet
            for name, value in list(space.items()):
                if id(value) in replaced and name != "__builtins__":
                    before.append((space, name, value))
                    space[name] = replaced[id(value)]
            if builtin:
                for name, value in _BUILTINS.items():
                    before.append((space, name, space.get(name, _ABSENT)))
                    space[name] = value
        with remembered():
            yield
    finally:
        for cell, value in kept:
            cell.cell_contents = value
        for space, name, value in reversed(before):
            if value is _ABSENT:
                space.pop(name, None)
            else:
                space[name] = value
        for restore in state:
            restore()


_ABSENT = object()


def _importing(original: Any, replaced: Mapping[int, Any], spaces: set[int]) -> Any:
    """``__import__`` for functions that import NumPy themselves."""

    def imported(name: str, globals: Any = None, *rest: Any, **options: Any) -> Any:
        value = original(name, globals, *rest, **options)
        return replaced.get(id(value), value) if id(globals) in spaces else value

    return imported
