"""What functions reach: the modules whose names they use, and what they may keep between calls."""

import functools
import sys
from collections.abc import Callable
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_FOREIGN = ("numpy", "tensorflow", "keras", "derivations", "builtins", "sympy", "functools")


def _refill(value: dict[str, Any], contents: dict[str, Any]) -> None:
    value.clear()
    value.update(contents)


def states_of(functions: list[Any]) -> list[Callable[[], None]]:
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


def names_of(functions: list[Any]) -> tuple[list[dict[str, Any]], list[CellType]]:
    """Where the functions have their names from, and those that they call: by name, as ``module.f``, or as methods.

    Returns:
        The globals, and the cells of what stands in the functions around them.
    """
    found: dict[int, dict[str, Any]] = {}
    cells: list[CellType] = []
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
            filled = [cell for cell in value.__closure__ or () if _filled(cell)]
            cells += filled
            waiting += [cell.cell_contents for cell in filled]
            waiting += [value.__wrapped__] if hasattr(value, "__wrapped__") else []
        elif isinstance(value, dict):
            waiting += list(value.values())[:_MANY]
        elif isinstance(value, list | tuple):
            waiting += value[:_MANY]
        elif hasattr(value, "__dict__") and not isinstance(value, ModuleType) and not _foreign(type(value)):
            waiting += [type(value), vars(value)]
    return list(found.values()), cells


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
