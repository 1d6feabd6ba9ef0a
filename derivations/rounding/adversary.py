"""Roundings chosen to do harm: the formulas on numbers, each operation off by as much as the model allows.

A bound that holds for every choice of the roundings holds for the worst. Here they are chosen, for one output at a
time: how much each rounding moves it is found by trying, one after the other, and then each gets its full size and the
sign that adds to the error. What comes out is an error that the model does allow: a bound below it is wrong, one far
above it leaves much to be gained. Nothing here knows of magnitudes or lemmas.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from derivations.rounding.model import DIVISION, ROOT

Array = np.ndarray


class Perturbed:
    """Values of some runs, [runs, m] or [runs, 1], and what rounds them."""

    __array_ufunc__ = None

    def __init__(self, values: Array, rounds: "PerturbedOperations") -> None:
        self.values, self.rounds = values, rounds

    def _combined(self, other: Any, operation: Callable[[Any, Any], Array], *, exact: bool = False) -> "Perturbed":
        b = other.values if isinstance(other, Perturbed) else other
        if np.ndim(b) == 0 and (b == 0 or np.log2(abs(b)) % 1 == 0):
            exact = True  # a product with a power of 2, a sum with 0
        result = operation(self.values, b)
        return Perturbed(result, self.rounds) if exact else self.rounds.rounded(result)

    def __add__(self, other: Any) -> "Perturbed":
        return self._combined(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Perturbed":
        return self._combined(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> "Perturbed":
        return self._combined(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> "Perturbed":
        return self._combined(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __neg__(self) -> "Perturbed":
        return Perturbed(-self.values, self.rounds)


class PerturbedOperations:
    """The ``Operations`` of one batch of m elements whose roundings are given.

    Args:
        u, depth: Of the arithmetic and of its sums.
        weights: [m], or None.
        center: Of the values that are held constant.
        errors: The relative errors in units of their bounds, in [−1, 1]: one array [runs, m] or [runs, 1] for each
            rounding in turn; missing ones are 0. ``shapes`` tells how many there are.
        size: m.
        root: The relative error of an inverse root, in units of u.
    """

    def __init__(
        self,
        u: float,
        depth: float,
        weights: Array | None,
        center: float,
        errors: Mapping[int, Array],
        size: int,
        root: float,
    ) -> None:
        self.u, self.weights, self.center, self.errors, self.size = u, weights, center, errors, size
        self.root, self.of_sum = root, (1 + u) ** depth - 1
        self.shapes: list[int] = []

    def given(self, values: Any) -> Perturbed:
        return Perturbed(np.asarray(values, dtype=np.float64).reshape(1, -1), self)

    def rounded(self, values: Array, size: float | None = None) -> Perturbed:
        number = len(self.shapes)
        self.shapes.append(values.shape[1])
        if number in self.errors:
            values = values * (1 + self.errors[number] * (self.u if size is None else size))
        return Perturbed(values, self)

    def sum(self, value: Perturbed) -> Perturbed:
        full = np.broadcast_to(value.values, (len(value.values), self.size))
        return Perturbed(self.rounded(full, self.of_sum).values.sum(axis=1, keepdims=True), self)

    def sum_of_products(self, a: Perturbed, b: Perturbed) -> Perturbed:
        return self.sum(a * b)

    def over_replicas(self, *sums: Perturbed) -> tuple[Perturbed, ...]:
        return sums

    def mean(self, value: Perturbed) -> Perturbed:
        count: Any = float(self.size)
        if self.weights is not None:
            value = self.rounded(value.values * self.weights)
            count = self.rounded(np.broadcast_to(self.weights, (1, self.size)), self.of_sum).values
            count = count.sum(axis=1, keepdims=True)
        return self.rounded(self.sum(value).values / count, (1 + self.u) ** DIVISION - 1)

    def near_mean(self, value: Perturbed) -> Perturbed:
        return value

    def constant(self, value: Perturbed) -> Perturbed:
        return self.given([self.center])

    def share(self) -> Perturbed:
        if self.weights is None:
            return self.rounded(np.full((1, 1), 1 / self.size))
        count = self.rounded(np.broadcast_to(self.weights, (1, self.size)), self.of_sum).values
        return self.rounded(self.weights / count.sum(axis=1, keepdims=True))

    def squared_difference(self, a: Perturbed, b: Perturbed) -> Perturbed:
        difference = a - b
        return difference * difference

    def inverse_root(self, value: Perturbed) -> Perturbed:
        # A radicand that rounding made negative counts as next to nothing: the error is huge, but a number.
        return self.rounded(np.maximum(value.values, 1e-60) ** -0.5, self.root * self.u)

    def finite(self, value: Any, otherwise: Any) -> Any:
        return value

    def or_else(self, value: Any, fallback: Any) -> Any:
        return value

    def scaled(self, value: Perturbed, factor: Perturbed) -> Perturbed:
        return value * factor

    def regular(self, value: Any) -> Any:
        return value


# A function of the operations and of the data by name, which returns the value whose error is sought.
Run = Callable[[PerturbedOperations], Perturbed]


def worst_error(
    run: Run,
    size: int,
    *,
    u: float,
    depth: float,
    center: float,
    weights: Array | None = None,
    at: int = 0,
    root: float = float(ROOT),
) -> float:
    """The error of output ``at`` for roundings chosen against it."""

    def execute(errors: Mapping[int, Array]) -> tuple[Array, list[int]]:
        ops = PerturbedOperations(u, depth, weights, center, errors, size, root)
        values = run(ops).values
        return values[:, at if values.shape[1] > 1 else 0], ops.shapes

    (true,), shapes = execute({})
    runs = sum(shapes)
    errors, first = {}, 0
    for number, width in enumerate(shapes):
        errors[number] = np.zeros((runs, width))
        errors[number][np.arange(first, first + width), np.arange(width)] = 1.0
        first += width
    moved = execute(errors)[0] - true
    worst = 0.0
    for side in (1.0, -1.0):
        signs, first = {}, 0
        for number, width in enumerate(shapes):
            signs[number] = side * np.sign(moved[first : first + width]).reshape(1, width)
            first += width
        worst = max(worst, float(abs(execute(signs)[0][0] - true)))
    return worst
