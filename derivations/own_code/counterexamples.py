"""Small numbers at which a gradient is wrong."""

import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise, product
from typing import Any

import numpy as np

from derivations.own_code.exact.runs import NO_VALUE, ExactRuns, as_number
from derivations.own_code.proof import Counterexample
from derivations.own_code.running.calling import concrete
from derivations.own_code.symbolic.decision import names_of_cotangents

_FEW_SIZES, _POINTS = 3, 16  # tried beside each number with which the code compares
_VISIBLE = 1e-3  # a difference that is seen, and so is what it is relative to
ROUNDED = 1e-6  # a difference, relative to the gradient, that may be the rounding of a constant
_SCALES = (Fraction(1, 10**3), Fraction(1, 10**6), Fraction(40))  # of inputs, so that small terms such as ε are felt


class Counterexamples(ExactRuns):
    """Runs that look for a small counterexample."""

    def counterexample(self, name: str, where: Mapping[str, int] | None = None) -> Counterexample | None:
        """Small numbers at which the gradient of this input is seen to be wrong; exact ones where they are found."""
        rng = random.Random(0)
        tried = sorted(self.sizes(), key=lambda sizes: (np.prod([1, *sizes.values()]), *sizes.values()))
        table = [*tried, *([dict(where)] if where else [])]
        best: Counterexample | None = None
        for sizes in table:
            if found := self._small(name, sizes, rng):
                best = _clearer(best, found)
                if _is_visible(best):
                    return best
        if best is None:
            return self._elsewhere(name, table, rng) if where else None
        return self._scaled(name, best, tried, rng) if difference(best) else best

    def _small(self, name: str, sizes: Mapping[str, int], rng: random.Random) -> Counterexample | None:
        """One of small whole numbers, at these sizes."""
        found: Counterexample | None = None
        somewhere = False
        for attempt in range(20):
            if attempt < 12:
                low, high = ((0, 3), (-2, 3), (1, 4))[attempt % 3]
                entry: Callable[[], Fraction] = partial(_whole, rng, low, high)
            elif somewhere:
                break
            else:  # a maximum has a derivative where one number is the largest; probabilities are between 0 and 1
                rng = random.Random(attempt)
                count = sum(int(np.prod(concrete(shape, sizes))) for shape in self.shapes.values())
                entry = _all_different(rng, count) if attempt < 16 else partial(_eighth, rng)
            defined, example = self._tried(name, sizes, entry, rng, rational=found is not None)
            somewhere = somewhere or defined
            if example is None:
                if defined and attempt > 4 and found is None:
                    break
                continue
            found = _clearer(found, example)
            if not difference(found) or (_is_visible(found) and _is_exact(found)):
                break
        return found

    def _scaled(
        self, name: str, best: Counterexample, table: Sequence[Mapping[str, int]], rng: random.Random
    ) -> Counterexample:
        """A clearer one of very small or large inputs, if there is any."""
        for scale, sizes in product(_SCALES, table):
            _, example = self._tried(name, sizes, partial(_multiple, rng, scale), rng)
            best = _clearer(best, example or best)
            if _is_visible(best):
                break
        return best

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
        # Squares may be compared with them, and something else with numbers close to them.
        roots = [Fraction(f"{float(abs(t)) ** 0.5:.1g}") for t in thresholds]
        beside = [sign * factor * t for t in [*thresholds, *roots] for factor in factors for sign in (1, -1)]
        beside += [sign * (a + b) / 2 for a, b in pairwise(sorted(thresholds)) for sign in (1, -1)]
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


def difference(example: Counterexample) -> float:
    """How far returned and correct values differ, relative to the largest of them; 0 where only the shapes do."""
    returned, correct = (_as_floats(values) for values in (example.returned, example.correct))
    if returned.shape != correct.shape:
        if returned.size != correct.size:
            return 1.0
        returned = returned.reshape(correct.shape)
    return float(np.abs(returned - correct).max(initial=0) / _largest(example))


def _largest(example: Counterexample) -> float:
    values = (example.returned, example.correct)
    return max(1e-300, *(float(np.abs(_as_floats(value)).max(initial=0)) for value in values))


def _is_visible(example: Counterexample) -> bool:
    return difference(example) >= _VISIBLE and _largest(example) >= _VISIBLE


def _clearer(one: Counterexample | None, other: Counterexample) -> Counterexample:
    """The one at which something is seen to be wrong, best in exact numbers; or at which more is wrong."""

    def clarity(example: Counterexample) -> tuple[bool, bool, float]:
        return _is_visible(example), _is_exact(example), difference(example)

    return max(one or other, other, key=clarity)


def _is_exact(example: Counterexample) -> bool:
    return _rational([example.returned, example.correct])


def _as_floats(values: Any) -> Any:
    def as_float(value: Any) -> float:
        return float(value.mid if hasattr(value, "mid") else value)

    return np.vectorize(as_float, otypes=[float])(np.array(values, dtype=object))


def _shown(ring: Any, returned: Any) -> Any:
    """The entries of what was returned, as nested lists."""
    shown = np.empty(np.shape(returned), dtype=object)
    for place in np.ndindex(shown.shape):
        shown[place] = as_number(ring, returned, place).a
    return shown.tolist()


def _odd(rng: random.Random, count: int, divisor: int) -> Fraction:
    return Fraction(2 * rng.randrange(-count, count) + 1, divisor)


def _whole(rng: random.Random, low: int, high: int) -> Fraction:
    return Fraction(rng.randint(low, high))


def _eighth(rng: random.Random) -> Fraction:
    return Fraction(rng.randint(1, 7), 8)


def _multiple(rng: random.Random, scale: Fraction) -> Fraction:
    return scale * rng.choice((-2, -1, 1, 2, 3))


def _all_different(rng: random.Random, count: int) -> Callable[[], Fraction]:
    """Numbers around 0 in some order, of which no two are equal; many of them are closer to each other."""
    numbers = rng.sample(range(-(count // 2), count - count // 2), count)
    return iter([Fraction(n, 1 + count // 8) for n in numbers]).__next__


def plain(array: Any) -> Any:
    return np.vectorize(lambda number: number.a, otypes=[object])(array.view(np.ndarray)).tolist()


def _rational(value: Any) -> bool:
    return all(map(_rational, value)) if isinstance(value, list) else isinstance(value, Fraction)
