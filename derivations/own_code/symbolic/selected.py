"""The elements of an array where a condition is true, such as dx[x < 0], until they are put where the same one is."""

from typing import Any

import numpy as np

from derivations.own_code.refusal import refusal
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.parts import numbers
from derivations.own_code.symbolic.ufuncs import UFUNCS

_RULE = "such elements may be computed with, and assigned where the same condition is true"


class Selected(np.lib.mixins.NDArrayOperatorsMixin):
    """The elements of an array where a condition holds: how many there are depends on the data."""

    def __init__(self, array: SymbolicArray, condition: SymbolicArray) -> None:
        self._array, self._condition = array.__copy__(), condition

    def of(self, condition: SymbolicArray) -> SymbolicArray:
        """The array that has these elements where this condition is true, which must be the same."""
        mine = self._condition
        if condition.axes != mine.axes or condition.polynomial != mine.polynomial:
            raise refusal("elements chosen by one condition in the place of those of another", _RULE)
        return self._array

    def sum(self) -> SymbolicArray:
        """Σ of the elements."""
        chosen: SymbolicArray = UFUNCS[np.multiply](self._array, numbers(self._condition))
        return chosen.sum()

    def mean(self) -> SymbolicArray:
        """Their mean, where there are some."""
        return self.sum() / numbers(self._condition).sum()

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in (np.sum, np.mean) and len(args) == 1 and not kwargs:
            return self.sum() if function is np.sum else self.mean()
        raise refusal(f"numpy.{function.__name__} of elements chosen by a condition", _RULE)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        options.pop("out", None)  # dx[x < 0] *= 2 assigns what it gives
        if method != "__call__" or ufunc not in UFUNCS or options:
            raise refusal(f"numpy.{ufunc.__name__} of elements chosen by a condition", _RULE)
        given = [value.of(self._condition) if isinstance(value, Selected) else value for value in inputs]
        if any(np.ndim(value) for value, whole in zip(given, inputs, strict=True) if not isinstance(whole, Selected)):
            raise refusal("an array beside elements chosen by a condition", _RULE)
        return Selected(ufunc(*given), self._condition)

    def __getattr__(self, name: str) -> Any:
        raise refusal(f".{name} of elements chosen by a condition", _RULE)
