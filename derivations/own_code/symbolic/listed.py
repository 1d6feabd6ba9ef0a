"""Places along several axes by lists beside each other, as in p[[0, 1], [2, 0]]; tables of places; and np.add.at."""

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.own_code.refusal import refusal
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.shapes import broadcast_to, reshape


def one_by_one(key: Any) -> tuple[list[Any], int] | None:
    """The keys that lists of places beside each other select, such as p[[0, 1], [2, 0]]; where their axis is; or None.

    NumPy puts that axis where the lists stand, or first if there is a slice between them.
    """
    keys = tuple(map(_as_places, key)) if isinstance(key, tuple) else (key,)
    lists = [n for n, k in enumerate(keys) if isinstance(k, list | range | np.ndarray)]
    numbers = [n for n, k in enumerate(keys) if isinstance(k, int | np.integer) and not isinstance(k, bool)]
    if not isinstance(key, tuple) or not lists or len(lists) + len(numbers) == 1:
        return None
    together = sorted([*lists, *numbers])
    if any(np.asarray(keys[n]).ndim != 1 or np.asarray(keys[n]).dtype.kind != "i" for n in lists):
        raise refusal("tables of indices beside other indices", "lists of numbers, one for each axis, are understood")
    count = {len(keys[n]) for n in lists if len(keys[n]) > 1} or {1}
    if len(count) > 1:
        raise IndexError("shape mismatch: indexing arrays could not be broadcast together")
    if Ellipsis in keys[: together[0]]:
        raise refusal("lists of indices behind an ellipsis", "write a colon for each axis before them")
    places = {n: np.broadcast_to(np.asarray(keys[n]), (max(count),)).tolist() for n in together}
    chosen = [tuple(places[n][m] if n in places else k for n, k in enumerate(keys)) for m in range(max(count))]
    adjacent = together == list(range(together[0], together[-1] + 1))
    return chosen, together[0] if adjacent else 0


def as_lists(key: Any, ndim: int) -> Any:
    """The key with lists of places for each constant array of truth values with several axes, such as ``~mask``.

    ndim: how many axes the array has that it is a key of.
    """
    keys = key if isinstance(key, tuple) else (key,)
    if (
        keys
        and _is_table(keys[0])
        and all(k is Ellipsis or (isinstance(k, slice) and k == slice(None)) for k in keys[1:])
    ):
        return keys[0]
    if not any(_is_table_of_truths(k) for k in keys):
        return key
    found = tuple(part for k in keys for part in (map(list, np.nonzero(k)) if _is_table_of_truths(k) else (k,)))
    if not any(k is Ellipsis for k in found):
        return found
    at = next(n for n, k in enumerate(found) if k is Ellipsis)
    rest = ndim - sum(k is not None and k is not Ellipsis for k in found)
    return (*found[:at], *[slice(None)] * rest, *found[at + 1 :])


def _is_table_of_truths(key: Any) -> bool:
    return isinstance(key, np.ndarray) and key.dtype == bool and key.ndim > 1


def _as_places(key: Any) -> Any:
    """A row of truth values as the places where they are true."""
    is_row = isinstance(key, list | np.ndarray) and np.asarray(key).dtype == bool and np.asarray(key).ndim == 1
    return np.flatnonzero(key) if is_row else key


def _is_table(key: Any) -> bool:
    return isinstance(key, np.ndarray) and key.dtype.kind == "i" and key.ndim > 1


def _flat(a: SymbolicArray, table: np.ndarray, value: SymbolicArray) -> tuple[np.ndarray, SymbolicArray]:
    """A table as a list, and a value for each of its places."""
    return table.ravel(), reshape(broadcast_to(value, a[table].axes), [table.size, *a.shape[1:]])


def taken(a: SymbolicArray, key: Any) -> SymbolicArray | None:
    """a[key], for lists beside each other or a table; None for other keys."""
    from derivations.own_code.symbolic.parts import stack

    if _is_table(key):
        return reshape(a[key.ravel()], [*key.shape, *a.shape[1:]])
    if (several := one_by_one(key)) is None:
        return None
    keys, axis = several
    return stack([a[one] for one in keys], axis)


def replaced(a: SymbolicArray, key: Any, value: SymbolicArray) -> SymbolicArray | None:
    """The array after a[key] = value, for lists beside each other or a table; None for other keys."""
    from derivations.own_code.symbolic.parts import replaced as replaced_part

    if _is_table(key):
        return replaced_part(a, *_flat(a, key, value))
    if one_by_one(key) is None:
        return None
    return _each(a, key, value, replaced_part)


def added(a: SymbolicArray, key: Any, value: SymbolicArray) -> SymbolicArray:
    """The array after np.add.at(a, key, value), which adds as often as a place is listed."""
    from derivations.own_code.symbolic.parts import replaced as replaced_part

    if _is_table(key):
        key, value = _flat(a, key, value)
    return _each(a, key, value, lambda whole, one, term: replaced_part(whole, one, whole[one] + term))


def _one_list(key: Any) -> tuple[list[Any], int]:
    """The keys of a list, alone or behind slices, one after the other; and the axis that it makes of the result."""
    if not isinstance(key, tuple):
        return [int(place) for place in _as_places(key)], 0
    key = tuple(map(_as_places, key))
    lists = [n for n, part in enumerate(key) if np.ndim(part) == 1]
    if len(lists) != 1 or not all(isinstance(part, slice) for part in key[: lists[0]]):
        raise refusal("numpy.add.at at these places", "lists of places are understood, alone or behind slices")
    (at,) = lists
    return [(*key[:at], int(place), *key[at + 1 :]) for place in key[at]], at


def _each(a: SymbolicArray, key: Any, value: SymbolicArray, change: Callable[..., SymbolicArray]) -> SymbolicArray:
    """The array changed place by place."""
    key = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    key = key if isinstance(key, tuple) or np.ndim(key) else [key]
    keys, axis = one_by_one(key) or _one_list(key)
    value = broadcast_to(value, a[key].axes)
    for n, one in enumerate(keys):
        a = change(a, one, value[(*(slice(None),) * axis, n)])
    return a
