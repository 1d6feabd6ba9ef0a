"""The second proof: the user's code itself, run on exact numbers that carry their derivatives."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from derivations.own_code.exact.arrays import wrapped
from derivations.own_code.exact.creators import exact_names
from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.exact.rings import Reals, Residues, Transcendental, Undefined
from derivations.own_code.running.calling import Shape, concrete, letters
from derivations.own_code.running.seeing import seen_through
from derivations.prime_fields.dual_numbers import PRIMES, PRIMES_WITH_ROOTS, NoRoot

RESERVE = tuple(2**exponent - 1 for exponent in (107, 127, 521))  # primes ≡ 3 (mod 4), for what is no square so far
_LARGE_BLOCK = 100
_LABELS = 0.5  # how often an input that is not judged is a number with which the code compares it
_PAIRS = 15  # of sizes, which are all of six
ATTEMPTS = 24  # points drawn until all radicands are squares
NO_VALUE = (ZeroDivisionError, NoRoot, Undefined)


class ExactRuns:
    """One pair of functions and the shapes of its inputs, run at points."""

    def __init__(self, pair: Any, shapes: Mapping[str, Shape], wrt: Sequence[str] = ()) -> None:
        self.pair, self.shapes, self.letters = pair, shapes, letters(shapes)
        self.names = tuple(wrt or shapes)  # of the inputs whose gradients are judged
        self.labels: tuple[Fraction, ...] = ()  # numbers with which inputs that are not judged are compared
        self._chance = random.Random(2)
        self.outputs: list[Any] = []  # of the last run
        self.builtin = False  # whether float(x) and len(x) have to be seen through
        self.blocks: set[tuple[str, int]] = set()  # the size of an axis and the length of blocks into which it is cut

    def sizes(self) -> Iterator[dict[str, int]]:
        """Sizes to run at: all 1, all different, some equal; and on both sides of whole blocks."""
        count = len(self.letters)
        tables: dict[int, list[tuple[int, ...]]] = {
            0: [()],
            1: [(3,), (1,), (2,), (5,), (4,)],
            2: [(3, 2), (1, 2), (2, 1), (2, 2), (2, 3), (1, 1), (4, 1), (3, 3), (5, 2)],
            3: [(2, 3, 1), (1, 2, 2), (2, 1, 2), (2, 2, 2), (1, 1, 1), (3, 1, 1), (1, 3, 2), (2, 1, 3)],
        }
        # Of many, all 2 first: an error may need several of them to be more than 1.
        many = [(2,) * count, *(tuple(row[n % len(row)] for n in range(count)) for row in ((1, 2), (1, 2, 3), (2, 3)))]
        single = [tuple(2 if n == k else 1 for n in range(count)) for k in range(count)]
        # Two that are different, beside as few roots as can be: one size may stand for another.
        pairs = [tuple({a: 2, b: 3}.get(n, 1) for n in range(count)) for a, b in combinations(range(count), 2)]
        rows = tables.get(count) or [*many, *single][:9] + pairs[:_PAIRS]
        for row in rows:
            yield dict(zip(self.letters, row, strict=True))
        for letter, block in sorted(self.blocks):
            for n in (block, block + 1, 2 * block + 3) if block < _LARGE_BLOCK else (block + 1,):
                yield dict.fromkeys(self.letters, 2) | {letter: n}

    def _arrays(self, ring: Any, sizes: Mapping[str, int], entry: Callable[[], Any]) -> dict[str, Any]:
        def label() -> Any:
            return ring.of(self._chance.choice(self.labels)) if self._chance.random() < _LABELS else entry()

        drawn = {name: label if self.labels and name not in self.names else entry for name in self.shapes}
        return {name: self._array(ring, concrete(shape, sizes), drawn[name]) for name, shape in self.shapes.items()}

    @staticmethod
    def _array(ring: Any, shape: tuple[int, ...], entry: Callable[[], Any]) -> Any:
        result = np.empty(shape, dtype=object)
        for place in np.ndindex(shape):
            result[place] = Number(ring, entry())
        return wrapped(result)

    def run(
        self, ring: Any, inputs: Mapping[str, Any], dy: Callable[[tuple[int, ...]], Any]
    ) -> tuple[dict[str, Any], list[Any]]:
        """The gradients that the code returns, and the cotangents."""
        with seen_through([self.pair.forward, self.pair.backward], exact_names(ring), self.builtin):
            given = [value.copy() for value in inputs.values()]
            ys, cache = self.pair.run_forward(given)
            self.outputs = ys
            dys = [dy(wrapped(y).shape) for y in ys]
            return self.pair.run_backward([dy.copy() for dy in dys], cache, given), dys

    def slope(
        self, ring: Any, inputs: Mapping[str, Any], name: str, direction: Any, dys: Any, forgetting: Any = None
    ) -> Any:
        """The derivative of Σ dy·y in a direction of one input, by dual numbers."""
        changed = {key: value.copy() for key, value in inputs.items()}
        for place in np.ndindex(changed[name].shape):
            changed[name][place] = Number(ring, changed[name][place].a, direction(place))
        given = list(changed.values())
        for value in given:
            value.forgetting = forgetting
        with seen_through([self.pair.forward, self.pair.backward], exact_names(ring), self.builtin):
            ys, _ = self.pair.run_forward(given)
        total = Number(ring, ring.of(Fraction(0)))
        for y, dy in zip(ys, dys, strict=True):
            for value, weight in zip(wrapped(y).ravel(), dy.ravel(), strict=True):
                total = total + value * weight
        return ring.of(Fraction(0)) if total.b is None else total.b

    def examine(self, name: str) -> tuple[bool | None, dict[str, int] | None]:
        """Whether the code agrees with dual numbers wherever it was run; None if it could not be run; where not."""
        if name not in self._examined:
            self._examine_all()
        return self._examined[name]

    _examined_cache: dict[str, tuple[bool | None, dict[str, int] | None]] | None = None

    @property
    def _examined(self) -> dict[str, tuple[bool | None, dict[str, int] | None]]:
        if self._examined_cache is None:
            self._examined_cache = {}
        return self._examined_cache

    def _examine_all(self) -> None:
        rng = random.Random(1)
        results: dict[str, tuple[bool | None, dict[str, int] | None]] = dict.fromkeys(self.names, (None, None))
        for n, sizes in enumerate(self.sizes()):
            if all(equal is False for equal, _ in results.values()):
                break
            primes = (PRIMES_WITH_ROOTS[n % 2],) if n > 1 else PRIMES_WITH_ROOTS
            for p in primes:
                outcome = self._at(sizes, p, rng)
                if outcome is None:
                    continue
                for name, equal in outcome.items():
                    if results[name][0] is not False:
                        results[name] = (equal, None if equal else sizes)
        self._examined.update(results)

    def _at(self, sizes: Mapping[str, int], p: int, rng: random.Random) -> dict[str, bool] | None:
        for attempt in range(ATTEMPTS):
            prime = p if attempt < ATTEMPTS // 2 else (*PRIMES, *RESERVE)[attempt % 5]
            ring = Residues(prime)
            draw = partial(rng.randrange, 1, prime)
            inputs = self._arrays(ring, sizes, draw)
            try:
                returned, dys = self.run(ring, inputs, partial(self._array, ring, entry=draw))
                step = partial(rng.randrange, 1, prime)
                outcome = {name: self._agrees(ring, inputs, name, returned[name], dys, step) for name in self.names}
                if ring.has_roots and not all(outcome.values()):
                    # Modulo a prime √(a²) may be −a where it is a for all real numbers: these decide.
                    real = self._at_reals(sizes, rng) or {}
                    outcome = {name: equal or real.get(name, False) for name, equal in outcome.items()}
                return outcome
            except (*NO_VALUE,):
                continue
            except Transcendental:
                return self._at_reals(sizes, rng)
        return None

    def _agrees(self, ring: Any, inputs: Any, name: str, returned: Any, dys: Any, step: Callable[[], Any]) -> bool:
        """Whether what was returned is the derivative in one direction, of random steps."""
        if returned is None or np.shape(returned) != inputs[name].shape:
            return False
        steps = {place: step() for place in np.ndindex(inputs[name].shape)}
        true = self.slope(ring, inputs, name, steps.__getitem__, dys)
        return not ring.differ(along(ring, returned, steps), true)

    def _at_reals(self, sizes: Mapping[str, int], rng: random.Random) -> dict[str, bool] | None:
        """At numbers around 1, and at large ones, beyond the limits of what is clipped."""
        outcome: dict[str, bool] | None = None
        for scale in (Fraction(1, 8), Fraction(5, 2)):
            for lowest in (-19, -19, 1, 1):  # of positive numbers there are roots and logarithms
                found = self.point(sizes, partial(_ratio, rng, lowest, scale), rng)
                if found is None:
                    continue
                ring, inputs, returned, dys = found
                step = partial(_ratio, rng, 1, Fraction(1))
                try:
                    equal = {name: self._agrees(ring, inputs, name, returned[name], dys, step) for name in self.names}
                except NO_VALUE:
                    continue
                outcome = {name: known and (outcome or equal)[name] for name, known in equal.items()}
                break
        return outcome

    # On rational numbers

    def point(
        self,
        sizes: Mapping[str, int],
        entry: Callable[[], Fraction],
        rng: random.Random,
        denominator: int = 1,
        cotangent: Callable[[], Fraction] | None = None,
    ) -> Any:
        """The code run on rational numbers; None where it has no value."""
        cotangent = cotangent or (lambda: Fraction(rng.randint(-2, 3), denominator))
        ring = Reals()
        inputs = self._arrays(ring, sizes, entry)
        try:
            returned, dys = self.run(ring, inputs, partial(self._array, ring, entry=cotangent))
        except (*NO_VALUE, OverflowError):
            return None
        return ring, inputs, returned, dys

    def _true(self, ring: Any, inputs: Any, name: str, dys: Any) -> list[Any]:
        one, zero = Fraction(1), Fraction(0)
        return [
            self.slope(ring, inputs, name, lambda p, at=place: one if p == at else zero, dys)
            for place in np.ndindex(inputs[name].shape)
        ]

    @staticmethod
    def _differs(ring: Any, returned: Any, true: Sequence[Any], shape: tuple[int, ...]) -> bool:
        places = np.ndindex(shape)
        return any(
            ring.differ(as_number(ring, returned, place).a, value) for place, value in zip(places, true, strict=True)
        )


def _ratio(rng: random.Random, lowest: int, scale: Fraction) -> Fraction:
    return scale * rng.choice([n for n in range(lowest, 20) if n]) + Fraction(1, rng.choice((41, 43, 47)))


def along(ring: Any, gradient: Any, steps: Mapping[tuple[int, ...], Any]) -> Any:
    """Σ gradient·step over the places."""
    total = Number(ring, ring.of(Fraction(0)))
    for place, step in steps.items():
        total = total + as_number(ring, gradient, place) * Number(ring, step)
    return total.a


def as_number(ring: Any, value: Any, place: tuple[int, ...]) -> Number:
    """The entry of an array of exact numbers, or of what is constant."""
    entry = value[place] if isinstance(value, np.ndarray) else value
    return Number(ring, ring.of(Fraction(0))) + entry
