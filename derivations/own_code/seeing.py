"""Names seen through while a user's function runs: NumPy's creators of arrays have no argument to dispatch on."""

import builtins
import functools
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from derivations.own_code.arrays import SymbolicArray
from derivations.own_code.exact_arrays import ExactArray, wrapped
from derivations.own_code.numbers_dual import Number
from derivations.own_code.numpy_reductions import floats_only
from derivations.own_code.numpy_shapes import filled, identity, unset
from derivations.own_code.refusal import refusal, remembered
from derivations.own_code.shapes import lift
from derivations.own_code.sizes import Size

_FOREIGN = ("numpy", "tensorflow", "keras", "derivations", "builtins", "sympy", "functools")


class _Random:
    def __getattr__(self, name: str) -> Any:
        raise refusal(f"numpy.random.{name}", "random numbers have no derivative; make them an input")


def symbolic_names(algebra: Any) -> dict[str, Any]:
    """NumPy's creators, for arrays of unknown size."""

    def array(value: Any, *_: Any, **options: Any) -> Any:
        if isinstance(value, SymbolicArray):
            return SymbolicArray(algebra, value.axes, value.polynomial, value.positive)
        return lift(algebra, value) if _holds_symbols(value) else np.array(value, *_, **options)

    def as_array(value: Any, *_: Any, **options: Any) -> Any:
        return value if isinstance(value, SymbolicArray) else array(value, *_, **options)

    def full(shape: Any, value: Any, dtype: Any = None, **_: Any) -> Any:
        floats_only(dtype)
        return filled(algebra, shape, value)

    def empty(shape: Any, dtype: Any = None, **_: Any) -> Any:
        floats_only(dtype)
        return unset(algebra, shape)

    return {
        "zeros": lambda shape, dtype=None, **__: full(shape, 0, dtype),
        "ones": lambda shape, dtype=None, **__: full(shape, 1, dtype),
        "full": full,
        "empty": empty,
        "eye": lambda n, columns=None, *_, dtype=None, **options: identity(algebra, n, columns, **options),
        "identity": lambda n, *_, **__: identity(algebra, n),
        "array": array,
        "asarray": as_array,
        "asanyarray": as_array,
        "ascontiguousarray": as_array,
        "random": _Random(),
    }


def _holds_symbols(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_symbols, value))
    return isinstance(value, Size | SymbolicArray)


def exact_names(ring: Any) -> dict[str, Any]:
    """NumPy's creators, for arrays of exact numbers."""

    def constant(value: Any) -> Any:
        return Number(ring, ring.of(0)) + value

    def full(shape: Any, value: Any, *_: Any, **__: Any) -> Any:
        result = np.empty(shape, dtype=object)
        result[...] = value if isinstance(value, Number | np.ndarray) else constant(value)
        return wrapped(result)

    def eye(n: int, columns: Any = None, *_: Any, k: int = 0, **__: Any) -> Any:
        return wrapped(np.vectorize(constant, otypes=[object])(np.eye(n, columns, k).astype(int)))

    def array(value: Any, *_: Any, **options: Any) -> Any:
        made = np.array(value, dtype=object) if _holds_numbers(value) else np.array(value, *_, **options)
        return wrapped(made) if made.dtype == object else made

    def as_array(value: Any, *_: Any, **options: Any) -> Any:
        return value if isinstance(value, ExactArray) else array(value, *_, **options)

    return {
        "zeros": lambda shape, *_, **__: full(shape, 0),
        "ones": lambda shape, *_, **__: full(shape, 1),
        "full": full,
        "empty": lambda shape, *_, **__: full(shape, 7919),
        "empty_like": lambda a, *_, **__: full(a.shape, 7919),
        "eye": eye,
        "identity": lambda n, *_, **__: eye(n),
        "array": array,
        "asarray": as_array,
        "asanyarray": as_array,
        "ascontiguousarray": as_array,
        "linalg": _Linalg(),
        "random": _Random(),
    }


def _holds_numbers(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_numbers, value))
    return isinstance(value, Number) or (isinstance(value, np.ndarray) and value.dtype == object)


class _Linalg:
    """numpy.linalg, whose norm does not know arrays of objects."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np.linalg, name)

    @staticmethod
    def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
        if ord == 1:
            return np.sum(abs(a), axis=axis, keepdims=keepdims)
        return (np.sum(a * a, axis=axis, keepdims=keepdims) + 0) ** 0.5


class _Module:
    """NumPy, some names replaced."""

    def __init__(self, module: Any, names: Mapping[str, Any]) -> None:
        self._module, self._names = module, names

    def __getattr__(self, name: str) -> Any:
        return self._names[name] if name in self._names else getattr(self._module, name)


def _len(value: Any) -> Any:
    return value.shape[0] if isinstance(value, SymbolicArray) else builtins.len(value)


def _number(kind: Any) -> Any:
    class Meta(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, kind) or type(value) is {int: Size}.get(kind)

    def new(_: Any, value: Any = 0, *rest: Any) -> Any:
        kept = Size if kind is int else Size | SymbolicArray
        return value if isinstance(value, kept) else kind(value, *rest)

    return Meta(kind.__name__, (kind,), {"__new__": new})


def _quiet(*_: Any, **__: Any) -> None:
    """In the place of ``print``: the code runs some hundred times."""


@contextmanager
def seen_through(functions: list[Any], names: Mapping[str, Any], builtin: bool = False) -> Iterator[None]:
    """While the functions run, these names of NumPy's are replaced in the modules in which they stand."""
    module = _Module(np, names)
    mathematics = _Module(math, {"sqrt": lambda value: value.sqrt() if isinstance(value, Size) else math.sqrt(value)})
    replaced = {id(getattr(np, name)): value for name, value in names.items() if hasattr(np, name)}
    replaced |= {id(np): module, id(math): mathematics, id(math.sqrt): mathematics.sqrt} if names else {}
    before: list[tuple[dict[str, Any], str, Any]] = []
    state = _state(functions)
    spaces = _namespaces(functions)
    try:
        if names:
            before.append((vars(builtins), "__import__", builtins.__import__))
            builtins.__import__ = _importing(builtins.__import__, replaced, {id(space) for space in spaces})
        for space in spaces:
            before.append((space, "print", space.get("print", _ABSENT)))
            space["print"] = _quiet
            for name, value in list(space.items()):
                if id(value) in replaced and name != "__builtins__":
                    before.append((space, name, value))
                    space[name] = replaced[id(value)]
            if builtin:
                for name, value in {"len": _len, "float": _number(float), "int": _number(int)}.items():
                    before.append((space, name, space.get(name, _ABSENT)))
                    space[name] = value
        with remembered():
            yield
    finally:
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


def _refill(value: dict[str, Any], contents: dict[str, Any]) -> None:
    value.clear()
    value.update(contents)


def _state(functions: list[Any]) -> list[Callable[[], None]]:
    """How to put back what the functions may keep: dictionaries such as ``bn_param``, lists, arrays, objects."""
    restores: list[Callable[[], None]] = []
    seen: set[int] = set()

    def keep(value: Any, depth: int = 0) -> None:
        if id(value) in seen or depth > 4:
            return
        seen.add(id(value))
        if isinstance(value, dict):
            contents = dict(value)
            restores.append(partial(_refill, value, contents))
            inner: Any = contents.values()
        elif isinstance(value, list):
            entries = list(value)
            restores.append(partial(value.__setitem__, slice(None), entries))
            inner = entries
        elif isinstance(value, np.ndarray):
            copied = value.copy()
            if value.flags.writeable:
                restores.append(partial(value.__setitem__, Ellipsis, copied))
            return
        elif isinstance(value, tuple):
            inner = value
        elif (
            isinstance(value, ModuleType | type | FunctionType | MethodType)
            or not hasattr(value, "__dict__")
            or type(value).__module__.split(".")[0] in _FOREIGN
        ):
            return
        else:
            attributes = dict(vars(value))
            restores.append(partial(_refill, vars(value), attributes))
            inner = attributes.values()
        for part in inner:
            keep(part, depth + 1)

    for function in functions:
        while isinstance(function, functools.partial):
            keep([*function.args, *function.keywords.values()])
            function = function.func
        if isinstance(function, MethodType):
            keep(function.__self__)
            function = function.__func__
        if isinstance(function, FunctionType):
            keep([cell.cell_contents for cell in function.__closure__ or () if _filled(cell)])
            keep([*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()])
            for name in _names(function.__code__):
                value = function.__globals__.get(name)
                if isinstance(value, dict | list | np.ndarray) or not _foreign(type(value)):
                    keep(value)
        elif function is not None and not isinstance(function, type):
            keep(function)
    return restores


def _namespaces(functions: list[Any]) -> list[dict[str, Any]]:
    """The globals of the functions, and of those that they call: by name, as ``module.f``, or as methods."""
    found: dict[int, dict[str, Any]] = {}
    visited: dict[int, Any] = {}  # and kept, so that no address is used again
    waiting = list(functions)
    while waiting:
        value = waiting.pop()
        if id(value) in visited:
            continue
        visited[id(value)] = value
        if isinstance(value, functools.partial):
            waiting.append(value.func)
        elif isinstance(value, MethodType):
            waiting += [value.__func__, value.__self__]
        elif isinstance(value, type):
            if not _foreign(value):
                waiting += [v for v in vars(value).values() if isinstance(v, FunctionType | staticmethod | classmethod)]
                waiting += [v.fget for v in vars(value).values() if isinstance(v, property)]
                waiting += value.__bases__
        elif isinstance(value, staticmethod | classmethod):
            waiting.append(value.__func__)
        elif isinstance(value, FunctionType):
            if (value.__module__ or "").split(".")[0] in _FOREIGN:
                continue
            space = value.__globals__
            found[id(space)] = space
            names = _names(value.__code__)
            for name in names:
                used = space[name] if name in space else sys.modules.get(name)
                waiting += _used_of(used, names) if isinstance(used, ModuleType) else [used]
            waiting += [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
            waiting += [value.__wrapped__] if hasattr(value, "__wrapped__") else []
        elif isinstance(value, dict):
            waiting += list(value.values())[:_MANY]
        elif isinstance(value, list | tuple):
            waiting += value[:_MANY]
        elif hasattr(value, "__dict__") and not isinstance(value, ModuleType) and not _foreign(type(value)):
            waiting += [type(value), vars(value)]
    return list(found.values())


_MANY = 100  # of what a container holds, to look for functions


def _foreign(kind: type) -> bool:
    """Whether this is a class of a library, or of Python's own."""
    root = (kind.__module__ or "").split(".")[0]
    return root in _FOREIGN or (root in sys.stdlib_module_names and root != "__main__")


def _used_of(module: ModuleType, names: set[str]) -> list[Any]:
    """What these names are in a module of the user's, and in its modules."""
    found: list[Any] = []
    waiting, seen = [module], {id(module)}
    while waiting:
        one = waiting.pop()
        root = one.__name__.split(".")[0]
        if root in _FOREIGN or (root in sys.stdlib_module_names and root != "__main__"):
            continue
        for name in names & vars(one).keys():
            value = vars(one)[name]
            if not isinstance(value, ModuleType):
                found.append(value)
            elif id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
    return found


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names
