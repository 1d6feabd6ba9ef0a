"""NumPy's arrays of exact numbers."""

from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from derivations.own_code.exact.choices import CHOICES, EXTREMES
from derivations.own_code.exact.dual_numbers import Number, constant
from derivations.own_code.refusal import asked_by_user, line_of_user
from derivations.own_code.special_functions import SPECIAL_UFUNCS
from derivations.own_code.written_numbers import in_double_precision


class Forgetting:
    """Which of the reductions of a run is changed; to name what was held fixed, or divided by N − 1 instead of N.

    Args:
        target: The place of the reduction among those of the run; -1 for all of them; None to count them only.
        slope: What its derivative is multiplied by: 0 forgets it.
        value: What its value is multiplied by.
    """

    def __init__(self, target: int | None = None, slope: Fraction = Fraction(0), value: Fraction = Fraction(1)) -> None:
        self.target, self.seen = target, 0
        self.slope, self.value = slope, value
        self.places: list[str] = []

    def changed(self, number: Number) -> Number:
        """The number as it stands in the changed run."""
        kept = number.held() * self.value
        if number.b is None or not self.slope:
            return kept
        return Number(number.ring, kept.a, (Number(number.ring, number.b) * self.slope).a)


class ExactArray(np.ndarray):
    """NumPy's array of such numbers; sums can be made to forget derivatives."""

    forgetting: Forgetting | None = None

    def __array_finalize__(self, other: Any) -> None:
        self.forgetting = getattr(other, "forgetting", None)

    @property
    def dtype(self) -> Any:
        """User code is shown the floats that it would work on."""
        return np.dtype(float if asked_by_user() else object)

    def astype(self, dtype: Any = float, *_: Any, **__: Any) -> Any:
        return self != 0 if np.dtype(dtype).kind == "b" else self.copy()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        options.pop("dtype", None)
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(o.view(np.ndarray) if isinstance(o, ExactArray) else o for o in out)
        plain = [value.view(np.ndarray) if isinstance(value, ExactArray) else _as_written(value) for value in inputs]
        if ufunc in (np.isfinite, np.isnan, np.isinf):  # of real numbers
            return np.full(np.shape(plain[0]), ufunc is np.isfinite)
        if ufunc in CHOICES and method == "__call__":
            result = CHOICES[ufunc](*plain)
            if out is not None:
                options["out"][0][...] = result
                return out[0]
            return self._of(result)
        if ufunc.__name__ in ("erf", "erfc"):  # SciPy's, which do not know objects
            found = self._of(np.vectorize(Number.erf, otypes=[object])(plain[0]))
            return found if ufunc.__name__ == "erf" else 1 - found
        if ufunc.__name__ in SPECIAL_UFUNCS:
            return SPECIAL_UFUNCS[ufunc.__name__](*(self._of(value) for value in plain))
        if ufunc is np.float_power:
            ufunc = np.power
        if ufunc is np.reciprocal:
            return 1 / self
        if ufunc is np.hypot:
            return np.sqrt(sum((self * 0 + value) ** 2 for value in plain))
        if ufunc is np.logaddexp:
            return np.log(sum(np.exp(self * 0 + value) for value in plain))
        if ufunc in (np.maximum, np.minimum) and method == "reduce":
            return self._of(_extreme(EXTREMES[ufunc], *plain, **options))
        result = getattr(ufunc, method)(*plain, **options)
        noticed = next((v.forgetting for v in inputs if isinstance(v, ExactArray) and v.forgetting), None)
        if noticed and ((ufunc is np.add and method == "reduce") or ufunc in (np.matmul, np.sqrt)):
            noticed.places.append(line_of_user(full=True))
            if noticed.target in (noticed.seen, -1):
                result = (
                    np.vectorize(noticed.changed, otypes=[object])(result)
                    if isinstance(result, np.ndarray)
                    else noticed.changed(result)
                )
            noticed.seen += 1
        if out is not None:
            return out[0]
        return wrapped(result, noticed) if isinstance(result, np.ndarray) else result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and len(args) == 3:
            return self._of(CHOICES[np.where](*args))
        if function is np.clip:
            return self.clip(*args[1:], **kwargs)
        result = super().__array_function__(function, types, args, kwargs)
        return self._of(result)

    def clip(  # type: ignore[override]
        self, a_min: Any = None, a_max: Any = None, out: Any = None, **options: Any
    ) -> Any:
        limits = options.get("min", a_min), options.get("max", a_max)
        result = self._of(CHOICES[np.clip](self.view(np.ndarray), *limits))
        if out is None:
            return result
        out[...] = result
        return out

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, np.ndarray) and key.dtype == bool and key.shape == self.shape and np.ndim(value) == 0:
            value = CHOICES[np.where](key, value, self.view(np.ndarray))
            key = Ellipsis
        elif np.asarray(value).dtype != object and (entry := self.flat[0] if self.size else None) is not None:
            value = np.frompyfunc(partial(constant, entry.ring), 1, 1)(value) if type(entry) is Number else value
        super().__setitem__(key, value)

    def _of(self, result: Any) -> Any:
        """A result of numbers as such an array, several as such arrays; one of truth values as it is."""
        if isinstance(result, list | tuple):
            return type(result)(map(self._of, result))
        if isinstance(result, np.ndarray) and result.dtype.hasobject:
            return wrapped(result, self.forgetting)
        return result


def _as_written(value: Any) -> Any:
    """Constants in single precision as the numbers that were written: NumPy would make doubles of their digits."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype not in (np.float32, np.float16):
        return value
    result = np.empty(value.shape, dtype=object)
    for place, entry in np.ndenumerate(value):
        result[place] = in_double_precision(entry)
    return result[()]


def _extreme(choice: Any, array: Any, axis: Any = None, keepdims: Any = False, **_: Any) -> Any:
    """A maximum or minimum along axes, one after the other."""
    axes = range(array.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    for n in axes:
        array = choice.reduce(array, axis=n, keepdims=True)
    return array if keepdims else np.squeeze(array, axis=tuple(axes))[()]


def wrapped(array: Any, forgetting: Forgetting | None = None) -> ExactArray:
    """The array, as an exact one."""
    result = np.asarray(array, dtype=object).view(ExactArray)
    result.forgetting = forgetting
    return result
