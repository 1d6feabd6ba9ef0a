"""Mistakes that are known by name, told by what the code returns at random points."""

import linecache
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import combinations, permutations, product
from typing import Any, NamedTuple

import numpy as np

from derivations.own_code.exact.arrays import Forgetting, wrapped
from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.exact.rings import Floats
from derivations.own_code.exact.runs import NO_VALUE, along
from derivations.own_code.proof import VALUES_ARE_RIGHT
from derivations.own_code.refusal import short

TRIES = 6  # points, until everything has a value
_SIZES = ((5, 3, 4, 7), (3, 7, 5, 4))  # a name must fit at both, so that a size is told from a number
_LARGEST_FACTOR = 100  # that is told from a quotient by chance, as is its inverse


def named(judge: Any, name: str, example: Any) -> str:
    """The name of the mistake by which the gradient of this input is wrong; empty if it is none of these.

    Args:
        judge: The pair of functions and its inputs.
        example: The counterexample that was found.
    """
    if judge.blocks:  # what it is at few rows, of which no block is whole, it need not be at many
        return ""
    found: list[str] | None = None
    points = 0
    # It must fit where all numbers are positive, as roots and logarithms need them, and where they are not.
    for draw, row in product((_positive, _signed), _SIZES):
        if draw is _signed and row is not _SIZES[0] and points > 1:
            continue
        sizes = dict(zip(judge.letters, (*row, *[2] * len(judge.letters)), strict=False))
        there = _at(judge, name, sizes, draw)
        if there is _RIGHT or (there is None and draw is _signed):
            continue
        found = [mistake for mistake in there or () if found is None or mistake in found]
        if not found:
            return ""
        points += 1
    return found[0] if found and points > 1 else ""


_RIGHT: list[str] = []  # what is returned is right there, and wrong for other numbers


def _at(judge: Any, name: str, sizes: dict[str, int], number: Callable[[random.Random], float]) -> list[str] | None:
    """The mistakes that explain what is returned at a point, the likeliest first; None where nothing has a value."""
    rng = random.Random(3)
    for _ in range(TRIES):
        ring = Floats()
        draw = partial(number, rng)
        try:
            return _named(judge, name, ring, judge._arrays(ring, sizes, draw), draw, sizes)
        except (*NO_VALUE, OverflowError):
            continue
    return None


def _positive(rng: random.Random) -> float:
    return rng.uniform(0.1, 1.2)  # where sigmoids and their like are not saturated


def _signed(rng: random.Random) -> float:
    return _positive(rng) * rng.choice((-1, 1))


def _named(judge: Any, name: str, ring: Any, inputs: Any, draw: Any, sizes: dict[str, int]) -> list[str]:
    found, dys = judge.run(ring, inputs, partial(judge._array, ring, entry=draw))
    returned = found[name]
    if returned is None:
        return ["None was returned"]
    if np.shape(returned) != inputs[name].shape:
        return [_of_shape(ring, returned, _derivative(judge, name, ring, inputs, dys), sizes)]
    line = _Line(judge, name, ring, inputs, {place: draw() for place in np.ndindex(inputs[name].shape)})
    claimed, true = line.claimed(returned), line.slope(dys)
    if not ring.differ(claimed, true):
        return _RIGHT
    factors = _multiples(sizes)
    known = [mistake for mistake, factor in factors if not ring.differ(claimed, true * float(factor))]
    number = _factor(claimed, true)
    if not known and not number:
        paths = _elsewhere(line, dys, returned) or _held(line, dys, claimed) or _one_less(line, dys, claimed, sizes)
        known = [paths] if paths else _of_labels(judge, name, ring, inputs, draw)
    ones = judge.run(ring, inputs, partial(judge._array, ring, entry=lambda: ring.of(Fraction(1))))
    if not known and not ring.differ(line.claimed(ones[0][name]), line.slope(ones[1])):
        known = ["this is right for a loss of Σy only"]
    return known + number


class _Line(NamedTuple):
    """A direction in which derivatives are compared: of two that differ, the products with random steps differ."""

    judge: Any
    name: str
    ring: Any
    inputs: Any
    steps: dict[tuple[int, ...], float]

    def slope(self, dys: Any, forgetting: Forgetting | None = None) -> Any:
        """The true derivative in this direction."""
        return self.judge.slope(self.ring, self.inputs, self.name, self.steps.__getitem__, dys, forgetting)

    def claimed(self, returned: Any) -> Any:
        """What the returned gradient makes of the direction."""
        return along(self.ring, returned, self.steps)

    def places(self, dys: Any) -> list[str]:
        """The lines of the sums and roots of the forward pass, in their order."""
        watched = Forgetting()
        self.slope(dys, watched)
        return watched.places

    def is_slope(self, dys: Any, claimed: Any, forgetting: Forgetting) -> bool:
        """Whether this is the derivative of the changed forward pass."""
        try:
            return not self.ring.differ(claimed, self.slope(dys, forgetting))
        except NO_VALUE:  # of the changed run
            return False


def _derivative(judge: Any, name: str, ring: Any, inputs: Any, dys: Any) -> Any:
    shape = inputs[name].shape
    one, zero = ring.of(Fraction(1)), ring.of(Fraction(0))
    result = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        slope = judge.slope(ring, inputs, name, lambda p, at=place: one if p == at else zero, dys)
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


def _shape_text(shape: tuple[int, ...], sizes: dict[str, int]) -> str:
    names = {n: letter for letter, n in sizes.items() if n > 1}
    return f"({', '.join(str(names.get(n, n)) for n in shape)}{',' * (len(shape) == 1)})"


def _of_shape(ring: Any, returned: Any, true: Any, sizes: dict[str, int]) -> str:
    shape = np.shape(returned)
    array = wrapped(returned)
    long = [[n for n in lengths if n > 1] for lengths in (shape, true.shape)]
    if long[0] == long[1] and _same(ring, array.reshape(true.shape), true):
        found, right = _shape_text(shape, sizes), _shape_text(true.shape, sizes)
        return f"{VALUES_ARE_RIGHT}, but the shape is {found} instead of {right}"
    if shape == true.shape[::-1] and _same(ring, array.T, true):
        return _TRANSPOSED
    extra = len(shape) - true.ndim
    if extra >= 0:
        axes = tuple(n for n in range(len(shape)) if n < extra or true.shape[n - extra] == 1 != shape[n])
        if axes:
            total = np.asarray(np.sum(array, axis=axes, keepdims=True), dtype=object)
            if total.size == true.size and _same(ring, total.reshape(true.shape), true):
                return f"the sum over {'the batch' if axes == (0,) else f'the axes {axes}'} is missing"
    return "it has not the shape of the input"


def _products(sizes: dict[str, int]) -> dict[str, int]:
    products = {letter: n for letter, n in sizes.items() if n > 1}
    return products | {f"{a}·{b}": sizes[a] * sizes[b] for a, b in combinations(products, 2)}


def _divisors(text: str, n: int) -> Iterator[tuple[Fraction, str]]:
    """What N − 1 for N multiplies by, and N for N − 1; at N = 2 it could be a factor 2."""
    if n > 2:
        yield Fraction(n, n - 1), f"{text} − 1 instead of {text}"
        yield Fraction(n - 1, n), f"{text} instead of {text} − 1"


def _multiples(sizes: dict[str, int]) -> Iterator[tuple[str, Fraction | float]]:
    """Factors by which gradients are wrong."""
    yield "the sign is wrong", Fraction(-1)
    for text, n in _products(sizes).items():
        for factor, instead in _divisors(text, n):
            yield f"it is divided by {instead}", factor
        yield f"it is {text} times too large: a sum in the place of a mean", Fraction(n)
        yield f"it is {text} times too small: a mean in the place of a sum", Fraction(1, n)
        yield f"it is √{text} times too large", n**0.5
        yield f"it is √{text} times too small", n**-0.5
    for (a, n), (b, m) in permutations(((a, n) for a, n in sizes.items() if n > 1), 2):
        yield f"it is divided by {b} instead of {a}", Fraction(n, m)
        yield f"it is divided by {b} − 1 instead of {a} − 1", Fraction(n - 1, m - 1)
    yield "it is always 0", Fraction(0)


def _factor(claimed: float, true: float) -> list[str]:
    """By which number the gradient is wrong, if it is a simple one."""
    if not true:
        return []
    for power, text in ((1, "{}"), (2, "√{}")):
        quotient = (claimed / true) ** power
        factor = Fraction(quotient).limit_denominator(_LARGEST_FACTOR)
        if 0 < abs(factor) <= _LARGEST_FACTOR and abs(quotient - factor) <= 1e-9 * abs(factor):
            shown = text.format(factor if power == 1 or factor.denominator == 1 else f"({factor})")
            sign = "−" if power == 2 and claimed / true < 0 else ""
            return [f"it is {sign}{shown} times what it should be: a factor is wrong"]
    return []


def _of_labels(judge: Any, name: str, ring: Any, inputs: Any, draw: Any) -> list[str]:
    """Whether it is right where an input that is not judged holds labels: 0 and 1, ±1, or rows of one 1 and else 0."""
    for other, value in inputs.items():
        if other in judge.names or value.ndim < 1 or value.shape[-1] < 2:
            continue
        for text, labels in _labels(value):
            with suppress(*NO_VALUE):  # at labels what is compared may be equal
                labelled = inputs | {other: labels}
                returned, dys = judge.run(ring, labelled, partial(judge._array, ring, entry=draw))
                line = _Line(judge, name, ring, labelled, {place: draw() for place in np.ndindex(inputs[name].shape)})
                if (true := line.slope(dys)) and not ring.differ(line.claimed(returned[name]), true):
                    return [f"it is right where {text.format(other)}, and not for other numbers"]
    return []


def _labels(value: Any) -> Iterator[tuple[str, Any]]:
    """Arrays of labels of this shape, with what they are."""
    none = value * 0
    ones = none + (np.arange(value.size) * 3 % 5 % 2).reshape(value.shape)  # more of them in some rows than in others
    yield "{} is 0 or 1", ones
    yield "{} is −1 or 1", 2 * ones - 1
    if value.ndim > 1:
        rows = none.copy()
        rows[..., 0] = rows[..., 0] + 1
        yield "each row of {} is one 1 and else 0", rows


def _elsewhere(line: _Line, dys: Any, returned: Any) -> str:
    """Whether it is the gradient of another input, or its own with the axes exchanged."""
    shape = line.inputs[line.name].shape
    for other, value in line.inputs.items():
        if (
            other != line.name
            and value.shape == shape
            and not line.ring.differ(line.claimed(returned), line._replace(name=other).slope(dys))
        ):
            return f"it is the gradient of {other}: gradients are returned in the order of the inputs"
    square = len(shape) == 2 and shape[0] == shape[1]
    if square and not line.ring.differ(line.claimed(np.asarray(returned, dtype=object).T), line.slope(dys)):
        return _TRANSPOSED
    return ""


_TRANSPOSED = "its transpose was returned"


def _held(line: _Line, dys: Any, claimed: Any) -> str:
    """Whether the code is right if some sum or root of the forward pass were a constant."""
    places = line.places(dys)
    for k, place in enumerate(places):
        if line.is_slope(dys, claimed, Forgetting(k)):
            return f"{_what(place)} was held fixed: the path through it is missing"
    if len(places) > 1 and line.is_slope(dys, claimed, Forgetting(-1)):
        return "all sums and roots of the forward pass were held fixed"
    return ""


def _one_less(line: _Line, dys: Any, claimed: Any, sizes: dict[str, int]) -> str:
    """Whether the code is right if some sum of the forward pass were divided by N − 1 instead of N, or the reverse."""
    for k, place in enumerate(line.places(dys)):
        for text, n in _products(sizes).items():
            for factor, instead in _divisors(text, n):
                if line.is_slope(dys, claimed, Forgetting(k, factor)):
                    return f"the path through {_what(place)} is divided by {instead}"
                if line.is_slope(dys, claimed, Forgetting(k, factor, factor)):
                    return f"it is the gradient for {_what(place)} divided by {instead}"
            for factor, kinds in (
                (Fraction(n), "a sum in the place of a mean"),
                (Fraction(1, n), "a mean in the place of a sum"),
            ):
                if line.is_slope(dys, claimed, Forgetting(k, factor)):
                    size = "large" if factor > 1 else "small"
                    return f"the path through {_what(place)} is {text} times too {size}: {kinds}"
    return ""


def _what(place: str) -> str:
    """What is computed in a line, by the name to which it is assigned, or by the one function in it."""
    file, _, line = place.rpartition(":")
    text = linecache.getline(file, int(line)).strip() if line.isdigit() else ""
    assigned = re.match(r"([A-Za-z_]\w*)\s*=[^=]", text)
    kinds = [kind for kind, words in _KINDS.items() if re.search(words, assigned[1] if assigned else text)]
    if kinds == ["the deviation"] and not re.search(_IN_A_DEVIATION, text):
        kinds = []  # sigma is a singular value, too, and the width of a kernel
    kind = kinds[0] if len(kinds) == 1 and (assigned or not re.search(_OTHERS, text)) else "what is computed"
    return f"{kind} in {short(file)}:{line}"


_KINDS = {"the variance": r"(?i)var", "the mean": r"(?i)mean|\bmu\b|\bavg", "the deviation": r"(?i)std|\bsd\b|sigma"}
_IN_A_DEVIATION = r"(?i)std|var|sqrt|\*\*"
_OTHERS = r"sum|norm|sqrt|@|dot|lambda"
