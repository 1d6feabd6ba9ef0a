"""Contenders timed in turns, so that what else the machine does meets all of them alike."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Seconds that one turn of a contender lasts at least, and how often each has a turn.
TURN = 0.01
ROUNDS, QUICK_ROUNDS = 15, 2


class Timing(NamedTuple):
    """Of one contender; a ratio is the reference's time over this one's, in the same round."""

    milliseconds: float
    quartiles: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]

    def record(self) -> dict[str, Any]:
        return self._asdict()


def interleaved(contenders: Mapping[str, Callable[[], Any]], reference: str, *, quick: bool) -> dict[str, Timing]:
    """Medians and quartiles over rounds in which every contender runs, in an order drawn anew each time."""
    return compared(rounds(contenders, quick=quick), reference)


def rounds(
    contenders: Mapping[str, Callable[[], Any]], *, quick: bool, count: int | None = None
) -> dict[str, np.ndarray]:
    """Seconds of every contender by round.

    A contender is called twice before, and returns when its work is done.
    """
    repeats = {}
    for name, run in contenders.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = 1 if quick else max(1, round(TURN / (time.perf_counter() - start)))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order, rng = list(contenders), random.Random(0)
    for _ in range(count or (QUICK_ROUNDS if quick else ROUNDS)):
        rng.shuffle(order)
        for name in order:
            start = time.perf_counter()
            for _ in range(repeats[name]):
                contenders[name]()
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    return {name: np.array(values) for name, values in seconds.items()}


def compared(seconds: Mapping[str, np.ndarray], reference: str) -> dict[str, Timing]:
    """Medians and quartiles of every contender, and of its ratio to the reference."""
    return {name: _timing(values, seconds[reference]) for name, values in seconds.items()}


def difference(seconds: np.ndarray, base: np.ndarray) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the milliseconds beyond those of another, in the same round."""
    low, median, high = (float(value) for value in np.quantile(1e3 * (seconds - base), [0.25, 0.5, 0.75]))
    return low, median, high


def _timing(seconds: np.ndarray, base: np.ndarray) -> Timing:
    low, median, high = (float(value) for value in np.quantile(1e3 * seconds, [0.25, 0.5, 0.75]))
    ratio_low, ratio, ratio_high = (float(value) for value in np.quantile(base / seconds, [0.25, 0.5, 0.75]))
    return Timing(median, (low, high), ratio, (ratio_low, ratio_high))
