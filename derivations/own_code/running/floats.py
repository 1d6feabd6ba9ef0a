"""The user's code on floats: at sizes far beyond those of the exact runs, and many times in a row.

This proves nothing. It refuses a proof whose hypothesis does not hold: that the code does the same at every size, on
NumPy's arrays as on those of unknown size, and in every call.
"""

import random
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import cycle, product
from typing import Any

import numpy as np

from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.refusal import NotUnderstood
from derivations.own_code.running.calling import concrete
from derivations.own_code.running.seeing import seen_through
from derivations.own_code.running.ways import Way

_LARGE = (17, 64, 100, 257, 1000)  # both parities, powers of two and others
_SMALL = (3, 4, 5, 2, 6, 7)
_CALLS = 12
_ELEMENTS = 200_000  # of one input


def sizes_to_try(judge: Any) -> Iterator[dict[str, int]]:
    """Small sizes, and each size large while the others are small."""
    rows = [[_SMALL[n % len(_SMALL)] for n in range(len(judge.letters))], [1] * len(judge.letters)]
    for k in range(len(judge.letters)):
        for large in _LARGE:
            rows.append([large if n == k else _SMALL[n % len(_SMALL)] for n in range(len(judge.letters))])
    rows.append([17 + 6 * n for n in range(len(judge.letters))])
    for row in rows:
        sizes = dict(zip(judge.letters, row, strict=True))
        if all(np.prod(concrete(shape, sizes)) <= _ELEMENTS for shape in judge.shapes.values()):
            yield sizes


# Sizes and ranges of real numbers at which the code may have a value. Residues are no evidence, since they have roots.
_SIZES_OF_FLOATS = ((2, 3, 1, 2, 1, 2, 1), (3, 4, 2, 3, 2))
_RANGES_OF_FLOATS = ((1, 13), (1, 13), (1, 6), (-6, -1), (-13, 13), (-40, -8), (8, 40))  # in sevenths, 7 being 1


def _seventh(rng: random.Random, low: int, high: int) -> Fraction:
    return Fraction(rng.choice([n for n in range(low, high + 1) if n]), 7) + Fraction(rng.randint(0, 9), 97)


def _floats(array: Any) -> Any:
    """An array of exact numbers as floats."""

    def as_float(number: Any) -> float:
        value = number.a if isinstance(number, Number) else number
        return float(value.mid) if hasattr(value, "mid") else float(value)

    return np.vectorize(as_float, otypes=[float])(np.asarray(array, dtype=object))


def exact_as_floats(judge: Any) -> bool:
    """Whether real numbers were found at which the code has a value.

    Code is refused if it does on floats what exact arithmetic does not, such as rounding to integers. Results are
    compared to a thousandth, so that single precision passes and a number that is cut off does not.
    """
    rng = random.Random(5)
    overflows = False
    for rows, (low, high) in product(_SIZES_OF_FLOATS, _RANGES_OF_FLOATS):
        sizes = dict(zip(judge.letters, cycle(rows), strict=False))
        found = judge.point(sizes, partial(_seventh, rng, low, high), rng, 7)
        if found is None:
            continue
        _, inputs, returned, dys = found
        exact = _by_name(judge, judge.outputs, returned)
        given = [_floats(value) for value in inputs.values()]
        with (
            seen_through([judge.pair.forward, judge.pair.backward], {}),
            np.errstate(all="ignore"),
            warnings.catch_warnings(action="ignore"),
        ):
            ys, cache = judge.pair.run_forward(given)
            back = judge.pair.run_backward([_floats(dy) for dy in dys], cache, given)
        floats = _by_name(judge, ys, back)
        known = {name: np.asarray(value, dtype=float) for name, value in floats.items() if value is not None}
        if not all(np.isfinite(value).all() for value in known.values()):
            overflows = True
            continue
        for name, shown in known.items():
            if exact[name] is None:
                continue
            exact_value = _floats(exact[name])
            scale = 1e-3 * (np.abs(exact_value).max(initial=0) + 1e-3)
            if shown.shape != exact_value.shape or not (np.abs(shown - exact_value) <= scale).all():
                raise NotUnderstood(
                    f"{name} on floats is not what exact arithmetic gives: the code rounds or cuts off numbers, asks "
                    "for types, keeps a state between calls, or is random; nothing can be proved of that"
                )
        return True
    if overflows:
        raise NotUnderstood("on floats the output or a gradient is infinite or NaN, wherever it was tried")
    return False


def _by_name(judge: Any, ys: Sequence[Any], gradients: Mapping[str, Any]) -> dict[str, Any]:
    """What the code gave, by what it is called in a refusal."""
    outputs = {"the output" if n == 0 else f"output {n + 1}": y for n, y in enumerate(ys)}
    return outputs | {f"the gradient of {name}": gradients[name] for name in judge.names}


def same_in_every_call(judge: Any) -> None:
    """Refuse code that gives something else when it is called again."""
    rng = np.random.default_rng(1)
    sizes = next(sizes_to_try(judge))
    inputs, dys = _inputs(judge, sizes, rng), None
    first: Mapping[str, Any] = {}
    with seen_through([judge.pair.forward, judge.pair.backward], {}), np.errstate(all="ignore"):
        for call in range(_CALLS):
            given = [value.copy() for value in inputs]
            ys, cache = judge.pair.run_forward(given)
            dys = dys or [rng.normal(size=np.shape(y)) for y in ys]
            returned = judge.pair.run_backward([dy.copy() for dy in dys], cache, given)
            found = _by_name(judge, ys, returned)
            found = {name: np.array(value, dtype=float) for name, value in found.items() if value is not None}
            first = first or found
            for name, value in found.items():
                if not np.array_equal(value, first.get(name, value), equal_nan=True):
                    raise NotUnderstood(
                        f"{name} is another in call {call + 1} than in the first, for the same inputs: the code keeps "
                        "a state between calls, or is random; nothing can be proved of that"
                    )


def same_at_every_size(judge: Any, way: Way, names: Sequence[str]) -> None:
    """Refuse code that takes another way than on arrays of unknown size, or is wrong, at some size."""
    rng = np.random.default_rng(2)
    for sizes in sizes_to_try(judge):
        text = ", ".join(f"{name} = {n}" for name, n in sizes.items())
        # Sums of many positive numbers may saturate what follows, so that nothing but rounding is left: what is wrong
        # because of the size is wrong at smaller numbers, too.
        largest = max(sizes.values(), default=1)
        wrong: set[str] = set(names)
        for scale in (1.0, largest**-0.5, 1 / largest):
            wrong &= _wrong_at(judge, way, sizes, text, wrong, rng, scale)
            if not wrong:
                break
        if wrong:
            name = next(name for name in judge.shapes if name in wrong)
            raise NotUnderstood(
                f"the gradient of {name} is proved for arrays of unknown size, but on floats it is wrong for {text}: "
                "the code asks for types or sizes in a way that is not seen"
            )


def _wrong_at(
    judge: Any, way: Way, sizes: Mapping[str, int], text: str, names: Collection[str], rng: Any, scale: float
) -> set[str]:
    """Which of the gradients are wrong at random numbers of some scale."""
    inputs = _inputs(judge, sizes, rng, scale)
    taken = Way()
    with _running(judge), taken.followed():
        try:
            ys, cache = judge.pair.run_forward([value.copy() for value in inputs])
            dys = [rng.normal(size=np.shape(y)) for y in ys]
            returned = judge.pair.run_backward([dy.copy() for dy in dys], cache, inputs)
        except NotUnderstood:
            raise
        except ZeroDivisionError:  # a size for which there is no value, such as 1 where N − 1 divides
            return set()
        except Exception as error:
            raise NotUnderstood(f"for {text} the code raises {type(error).__name__}: {error}") from error
    if place := taken.parts_from(way):
        raise NotUnderstood(
            f"{place}: for {text} the code takes another way than on arrays of unknown size: it asks for types, "
            "sizes or exceptions; what is proved must do the same for every size"
        )
    found = enumerate(judge.shapes)
    return {name for n, name in found if name in names and _wrong(judge, inputs, dys, n, returned[name], rng)}


def _running(judge: Any) -> Any:
    return seen_through([judge.pair.forward, judge.pair.backward], {})


def _inputs(judge: Any, sizes: Mapping[str, int], rng: Any, scale: float = 1.0) -> list[Any]:
    return [scale * rng.uniform(0.5, 1.5, concrete(shape, sizes)) for shape in judge.shapes.values()]


def _wrong(judge: Any, inputs: Sequence[Any], dys: Sequence[Any], n: int, returned: Any, rng: Any) -> bool:
    """Whether a directional derivative differs by far more than differences of several steps do."""
    direction = rng.choice((-1.0, 1.0), size=np.shape(inputs[n]))
    if returned is None or np.shape(returned) != np.shape(inputs[n]):
        return True
    claimed = float(np.sum(np.asarray(returned, dtype=float) * direction))

    size = 0.0  # of the largest number that is added up

    def loss(step: float) -> float:
        nonlocal size
        changed = [value.copy() for value in inputs]
        changed[n] = changed[n] + step * direction
        with _running(judge):
            ys, _ = judge.pair.run_forward(changed)
        parts = [np.asarray(y, dtype=float) * dy for y, dy in zip(ys, dys, strict=True)]
        size = max([size, *(np.abs(part).max(initial=0) for part in parts)])
        return float(sum(np.sum(part) for part in parts))

    for step in (2e-3, 2e-6):  # the second where |x| or its like has its kink nearby
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            slopes = [(loss(h) - loss(-h)) / (2 * h) for h in (step, step / 2, step / 4)]
        if not np.isfinite([claimed, *slopes]).all():
            return False  # no value here: nothing is found
        best = slopes[1] + (slopes[1] - slopes[0]) / 3, slopes[2] + (slopes[2] - slopes[1]) / 3
        allowed = max(slopes) - min(slopes) + 10 * abs(best[1] - best[0])
        # Beside it a small part of the loss is lost in rounding, such as that of y in exp(64) + y.
        allowed += 16 * np.finfo(float).eps * size / step
        if abs(claimed - best[1]) <= allowed + 1e-5 * (abs(claimed) + abs(best[1]) + 1e-3):
            return False
    return True
