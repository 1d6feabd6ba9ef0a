"""Random functions with choices by values and parts of arrays, half of them with a planted error.

No verdict contradicts differences.
"""

import random

import numpy as np
import pytest

from derivations import prove_gradient


def one_column(d, a, n):
    slope = d * a[:, 1:2]
    slope[:, n] += (d * a).sum(1)
    return slope


def by_columns(a):
    y = np.zeros_like(a)
    for n in range(4):
        y[:, n] = (n + 1) * a[:, n] ** 2
    return y


def softmax(a):
    powers = [np.exp(a[:, n]) for n in range(4)]
    return np.stack([power / sum(powers) for power in powers], 1)


def softmax_slope(d, y):
    return y * (d - (d * y).sum(1, keepdims=True))


# Each: the value of a (and b), what backward returns for each, and the same with an error.
UNARY = {
    "relu": (lambda a: np.maximum(a, 0), lambda d, a: d * (a > 0), lambda d, a: d * (a > 1)),
    "abs": (np.abs, lambda d, a: d * np.sign(a), lambda d, a: d * np.where(a > 1, 1, -1)),
    "clip": (lambda a: np.clip(a, -1, 2), lambda d, a: d * ((a > -1) & (a < 2)), lambda d, a: d * (a > -1)),
    "bell": (lambda a: np.exp(-a * a), lambda d, a: -2 * d * a * np.exp(-a * a), lambda d, a: -d * a * np.exp(-a * a)),
    "tanh": (np.tanh, lambda d, a: d * (1 - np.tanh(a) ** 2), lambda d, a: d * (1 - np.tanh(a))),
    "square": (lambda a: a**2, lambda d, a: 2 * a * d, lambda d, a: 2 * d),
    "shifted": (lambda a: 3 * a + 1, lambda d, a: 3 * d, lambda d, a: 2 * d),
    "centered": (lambda a: a - a.mean(0), lambda d, a: d - d.mean(0), lambda d, a: d),
    "step": (lambda a: a * (a > 0.5), lambda d, a: d * (a > 0.5), lambda d, a: d * (a >= -1)),
}
# The same of parts, for four columns.
PARTS = {
    "flipped": (lambda a: a[:, ::-1], lambda d, a: d[:, ::-1], lambda d, a: d),
    "rolled": (lambda a: np.roll(a, 1, 1), lambda d, a: np.roll(d, -1, 1), lambda d, a: np.roll(d, 1, 1)),
    "sums": (
        lambda a: np.cumsum(a, 1),
        lambda d, a: np.cumsum(d[:, ::-1], 1)[:, ::-1],
        lambda d, a: np.cumsum(d, 1),
    ),
    "gated": (
        lambda a: np.concatenate([a[:, :2] * a[:, 2:], a[:, 2:]], 1),
        lambda d, a: np.concatenate([d[:, :2] * a[:, 2:], d[:, :2] * a[:, :2] + d[:, 2:]], 1),
        lambda d, a: np.concatenate([d[:, :2] * a[:, 2:], d[:, 2:]], 1),
    ),
    "one column": (lambda a: a * a[:, 1:2], lambda d, a: one_column(d, a, 1), lambda d, a: one_column(d, a, 2)),
    "by columns": (by_columns, lambda d, a: 2 * d * a * np.arange(1, 5), lambda d, a: 2 * d * a * np.arange(4)),
    "softmax": (softmax, lambda d, a: softmax_slope(d, softmax(a)), lambda d, a: softmax(a) * d),
}
BINARY = {
    "product": (lambda a, b: a * b, lambda d, a, b: (d * b, d * a), lambda d, a, b: (d * b, 0 * d)),
    "sum": (lambda a, b: a + b, lambda d, a, b: (d, d), lambda d, a, b: (d, 2 * d)),
    "larger": (np.maximum, lambda d, a, b: (d * (a > b), d * (a <= b)), lambda d, a, b: (d * (a > b), d * (a > b))),
    "choice": (
        lambda a, b: np.where(a > 0, b, a),
        lambda d, a, b: (np.where(a > 0, 0, d), np.where(a > 0, d, 0)),
        lambda d, a, b: (np.where(a > 0, 0, d), d),
    ),
}


def invented(rng, depth, errors, unary=UNARY):
    """A function of x that returns y and what backward does with dy; ``errors`` holds how many are still to be made."""
    if depth == 0:
        factor = rng.choice((1, 2, -1, 0.5))
        return lambda x: (factor * x, lambda d: factor * d)
    table = BINARY if rng.random() < 0.4 else unary
    value, right, wrong = table[rng.choice(sorted(table))]
    slope = right
    if errors and rng.random() < 0.5:
        errors.pop()
        slope = wrong
    parts = [invented(rng, depth - 1, errors, unary) for _ in range(2 if table is BINARY else 1)]

    def function(x):
        given, backs = zip(*(part(x) for part in parts), strict=True)

        def back(d):
            slopes = slope(d, *given)
            return sum(one(own) for one, own in zip(backs, slopes if len(backs) > 1 else (slopes,), strict=True))

        return value(*given), back

    return function


@np.errstate(all="ignore")  # where an exponential overflows there is no difference, and nothing is compared
def error(function, seed, columns=2, step=1e-6):
    """How far backward is from differences, where those from either side agree: not at an edge."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for scale in (0.3, 1, 3) * 15:
        x, dy = scale * rng.normal(size=(3, columns)), rng.normal(size=(3, columns))
        returned, found, smooth = function(x)[1](dy), np.zeros_like(x), True
        for place in np.ndindex(x.shape):
            moved = np.zeros_like(x)
            moved[place] = step
            above, here, below = ((function(x + sign * moved)[0] * dy).sum() for sign in (1, 0, -1))
            smooth = smooth and abs(above - 2 * here + below) < 1e-3 * step * (1 + abs(above - here) / step)
            found[place] = (above - below) / (2 * step)
        if smooth:
            worst = max(worst, np.max(np.abs(found - returned) / (1 + np.abs(found) + np.abs(returned))))
    return worst


def tally(seeds, unary, columns):
    """How often each verdict was given on right and on wrong functions; none contradicts the differences."""
    found = {}
    for seed in seeds:
        rng = random.Random(seed)
        function = invented(rng, rng.choice((1, 2, 2, 3)), [True] if seed % 2 else [], unary)
        # The differences are good to 1e-9, and planted errors are larger.
        is_right = error(function, seed, columns if isinstance(columns, int) else 2) < 2e-4
        verdict = prove_gradient(
            lambda x, f=function: (f(x)[0], x),
            lambda d, cache, f=function: f(cache)[1](d),
            inputs={"x": ("N", columns)},
            pass_inputs=False,
        ).verdict
        assert verdict != ("refuted" if is_right else "proved"), f"seed {seed}"
        found[is_right, verdict] = found.get((is_right, verdict), 0) + 1
    return found


@pytest.mark.slow
def test_no_verdict_on_choices_is_wrong():
    found = tally(range(120), UNARY, "D")
    assert found[True, "proved"] > 60  # it must not be right by proving nothing
    assert found[False, "refuted"] > 25


@pytest.mark.slow
def test_no_verdict_on_parts_is_wrong():
    smooth = {name: UNARY[name] for name in ("relu", "tanh", "square", "shifted", "centered")}
    found = tally(range(60), PARTS | smooth, 4)
    assert found[True, "proved"] > 27
    assert found[False, "refuted"] > 15
