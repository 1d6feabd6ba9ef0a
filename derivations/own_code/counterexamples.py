"""Small numbers at which a gradient is wrong."""

import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from derivations.own_code.exact.runs import NO_VALUE, ExactRuns, as_number
from derivations.own_code.proof import Counterexample
from derivations.own_code.symbolic.decision import names_of_cotangents

_FEW_SIZES, _POINTS = 3, 16  # tried beside each number with which the code compares


class Counterexamples(ExactRuns):
    """Runs that look for a small counterexample."""

    def counterexample(self, name: str, where: Mapping[str, int] | None = None) -> Counterexample | None:
        """Small numbers at which the gradient of this input is wrong; exact ones where they are found."""
        rng = random.Random(0)
        tried = sorted(self.sizes(), key=lambda sizes: (np.prod([1, *sizes.values()]), *sizes.values()))
        irrational: Counterexample | None = None
        for sizes in [*tried, *([dict(where)] if where else [])]:
            for attempt in range(12):
                low, high = ((0, 3), (-2, 3), (1, 4))[attempt % 3]
                entry = partial(_small, rng, low, high)
                defined, example = self._tried(name, sizes, entry, rng, rational=irrational is not None)
                if not defined:
                    continue
                if example is None:
                    if attempt > 4 and irrational is None:
                        break
                    continue
                if _rational(example.returned) and _rational(example.correct):
                    return example
                irrational = irrational or example
            if irrational is not None:
                return irrational
        return self._elsewhere(name, [*tried, dict(where)], rng) if where else None

    def _elsewhere(self, name: str, table: Sequence[Mapping[str, int]], rng: random.Random) -> Counterexample | None:
        """Odd quarters and large numbers, for what is wrong between −1 and 1, or beyond a limit, only."""
        for sizes in table:
            for attempt in range(9):
                count, divisor = ((4, 4), (6, 1), (100, 1))[attempt % 3]
                _, example = self._tried(name, sizes, partial(_odd, rng, count, divisor), rng)
                if example is not None:
                    return example
        return None

    def around(self, name: str, thresholds: Sequence[Fraction]) -> Counterexample | None:
        """A counterexample beside the numbers with which the code compares, where points by chance seldom are."""
        rng = random.Random(0)
        factors = (Fraction(1, 16), Fraction(15, 16), Fraction(17, 16), Fraction(3, 2), Fraction(4))
        beside = [sign * factor * threshold for threshold in thresholds for factor in factors for sign in (1, -1)]
        small = [Fraction(n) for n in (-2, -1, 1, 2, 3)]
        table = sorted(self.sizes(), key=lambda sizes: np.prod([1, *sizes.values()]))[:_FEW_SIZES] if beside else []
        for sizes in table:
            for attempt in range(_POINTS):
                entry = partial(rng.choice, beside if attempt % 2 else [*beside, *small * len(thresholds)])
                _, example = self._tried(name, sizes, entry, rng, cotangent=entry if attempt % 3 else None)
                if example is not None:
                    return example
        return None

    def _tried(
        self,
        name: str,
        sizes: Mapping[str, int],
        entry: Callable[[], Fraction],
        rng: random.Random,
        *,
        rational: bool = False,
        cotangent: Callable[[], Fraction] | None = None,
    ) -> tuple[bool, Counterexample | None]:
        """Whether the code and its derivative have a value at a point, and the counterexample that it is.

        rational: only one of rational numbers is of use.
        """
        found = self.point(sizes, entry, rng, cotangent=cotangent)
        if found is None:
            return False, None
        ring, inputs, returned, dys = found
        if rational and not _rational(_shown(ring, returned[name])):
            return True, None
        try:
            return True, self._example(ring, inputs, name, returned[name], dys, sizes)
        except (*NO_VALUE, OverflowError):
            return False, None

    def _example(
        self, ring: Any, inputs: Any, name: str, returned: Any, dys: Any, sizes: Mapping[str, int]
    ) -> Counterexample | None:
        true = self._true(ring, inputs, name, dys)
        shape = inputs[name].shape
        correct = np.empty(shape, dtype=object)
        for place, value in zip(np.ndindex(shape), true, strict=True):
            correct[place] = value
        if returned is None or (np.shape(returned) == shape and not self._differs(ring, returned, true, shape)):
            return None
        given = {key: plain(value) for key, value in inputs.items()}
        return Counterexample(
            {**given, **{name: plain(dy) for name, dy in zip(names_of_cotangents(len(dys)), dys, strict=True)}},
            _shown(ring, returned),
            correct.tolist(),
            dict(sizes),
        )


def _shown(ring: Any, returned: Any) -> Any:
    """The entries of what was returned, as nested lists."""
    shown = np.empty(np.shape(returned), dtype=object)
    for place in np.ndindex(shown.shape):
        shown[place] = as_number(ring, returned, place).a
    return shown.tolist()


def _odd(rng: random.Random, count: int, divisor: int) -> Fraction:
    return Fraction(2 * rng.randrange(-count, count) + 1, divisor)


def _small(rng: random.Random, low: int, high: int) -> Fraction:
    return Fraction(rng.randint(low, high))


def plain(array: Any) -> Any:
    return np.vectorize(lambda number: number.a, otypes=[object])(array.view(np.ndarray)).tolist()


def _rational(value: Any) -> bool:
    return all(map(_rational, value)) if isinstance(value, list) else isinstance(value, Fraction)
