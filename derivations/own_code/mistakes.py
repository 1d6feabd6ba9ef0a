"""Mistakes that are known by name, told by what the code returned at a random point of a prime field."""

import linecache
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from derivations.own_code.numbers_dual import (
    Forgetting,
    NoRoot,
    Number,
    Reals,
    Residues,
    Transcendental,
    Undefined,
    wrapped,
)
from derivations.own_code.refusal import short
from derivations.prime_fields.dual_numbers import PRIMES_WITH_ROOTS

VALUES_ARE_RIGHT = "the values are right"
TRIES = 60  # points, until all radicands are squares
_FACTORS = [Fraction(2), Fraction(1, 2), Fraction(4), Fraction(1, 4)]  # none of them a size


def named(judge: Any, name: str, example: Any) -> str:
    """The name of the mistake by which the gradient of this input is wrong; empty if it is none of these.

    Args:
        judge: The pair of functions and its inputs.
        example: The counterexample that was found.
    """
    sizes = dict(zip(judge.letters, (5, 3, 2, *[1] * len(judge.letters)), strict=False))
    rng = random.Random(3)
    for attempt in range(TRIES):
        ring: Any = Residues(PRIMES_WITH_ROOTS[attempt % 2])
        draw: Any = partial(rng.randrange, 1, ring.p)
        try:
            return _named(judge, name, ring, judge._arrays(ring, sizes, draw), draw, sizes)
        except Transcendental:
            ring = Reals()
            draw = partial(Fraction, rng.randint(1, 9), 5)
            return _named(
                judge, name, ring, judge._arrays(ring, sizes, lambda: Fraction(rng.randint(1, 9), 5)), draw, sizes
            )
        except (ZeroDivisionError, NoRoot, Undefined):
            continue
    return ""


def _fifths(rng: random.Random) -> Fraction:
    return Fraction(rng.randint(1, 9), 5)


def _named(judge: Any, name: str, ring: Any, inputs: Any, draw: Any, sizes: dict[str, int]) -> str:
    array = partial(judge._array, ring, entry=draw)
    found, dys = judge.run(ring, inputs, array)
    returned = found[name]
    if returned is None:
        return "None was returned"
    true = _derivative(judge, name, ring, inputs, dys)
    if np.shape(returned) != true.shape:
        return _of_shape(ring, returned, true)
    if _same(ring, returned, true):
        return ""  # right here, and wrong at other sizes
    for mistake, value in _multiples(true, sizes):
        if _same(ring, returned, value):
            return mistake
    if mistake := _held(judge, name, ring, inputs, dys, returned):
        return mistake
    ones = judge.run(ring, inputs, partial(judge._array, ring, entry=lambda: ring.of(Fraction(1))))
    if _same(ring, ones[0][name], _derivative(judge, name, ring, inputs, ones[1])):
        return "this is right for a loss of Σy only"
    return ""


def _derivative(judge: Any, name: str, ring: Any, inputs: Any, dys: Any, forgetting: Any = None) -> Any:
    shape = inputs[name].shape
    one, zero = ring.of(Fraction(1)), ring.of(Fraction(0))
    result = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        if forgetting is not None:
            forgetting.seen = 0
        slope = judge.slope(ring, inputs, name, lambda p, at=place: one if p == at else zero, dys, forgetting)
        result[place] = Number(ring, slope)
    return result


def _same(ring: Any, returned: Any, value: Any) -> bool:
    if np.shape(returned) != value.shape:
        return False
    zero = Number(ring, ring.of(Fraction(0)))
    return not any(
        ring.differ((zero + (returned[place] if value.ndim else returned)).a, (zero + value[place]).a)
        for place in np.ndindex(value.shape)
    )


def _of_shape(ring: Any, returned: Any, true: Any) -> str:
    shape = np.shape(returned)
    array = wrapped(returned)
    long = [[n for n in lengths if n > 1] for lengths in (shape, true.shape)]
    if long[0] == long[1] and _same(ring, array.reshape(true.shape), true):
        return f"{VALUES_ARE_RIGHT}, but the number of axes is {len(shape)} instead of {true.ndim}"
    extra = len(shape) - true.ndim
    if extra >= 0:
        axes = tuple(n for n in range(len(shape)) if n < extra or true.shape[n - extra] == 1 != shape[n])
        if axes:
            total = np.asarray(np.sum(array, axis=axes, keepdims=True), dtype=object)
            if total.size == true.size and _same(ring, total.reshape(true.shape), true):
                return f"the sum over {'the batch' if axes == (0,) else f'the axes {axes}'} is missing"
    return "it has not the shape of the input"


def _multiples(true: Any, sizes: dict[str, int]) -> Iterator[tuple[str, Any]]:
    yield "the sign is wrong", -true
    products = {letter: n for letter, n in sizes.items() if n > 1}
    products |= {f"{a}·{b}": sizes[a] * sizes[b] for a, b in combinations(products, 2)}
    for text, n in products.items():
        yield f"it is {text} times too large: a sum in the place of a mean", true * n
        yield f"it is {text} times too small: a mean in the place of a sum", true * Fraction(1, n)
    for factor in _FACTORS:
        yield f"it is {factor} of what it should be: a factor is wrong", true * factor
    yield "it is always 0", true * 0


def _held(judge: Any, name: str, ring: Any, inputs: Any, dys: Any, returned: Any) -> str:
    """Whether the code is right if some sum or root of the forward pass were a constant."""
    watched = Forgetting()
    judge.slope(ring, inputs, name, lambda _: ring.of(Fraction(1)), dys, watched)
    places = list(watched.places)
    for k, place in enumerate(places):
        if _same(ring, returned, _derivative(judge, name, ring, inputs, dys, Forgetting(k))):
            return f"{_what(place)} was held fixed: the path through it is missing"
    if len(places) > 1 and _same(ring, returned, _derivative(judge, name, ring, inputs, dys, Forgetting(-1))):
        return "all sums and roots of the forward pass were held fixed"
    return ""


def _what(place: str) -> str:
    file, _, line = place.rpartition(":")
    text = linecache.getline(file, int(line)).strip() if line.isdigit() else ""
    kind = "the variance" if "var" in text else "the mean" if "mean" in text or "mu" in text else "what is computed"
    return f"{kind} in {short(file)}:{line}"
