"""Exact values of a formula as it was typed, at points at which it is defined.

A root or a quotient is examined where it stands, before anything cancels; SymPy has no part in it. Mean, variance and s
are computed from the elements.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from derivations.check.text import typed
from derivations.check.translation import FormulaProblem
from derivations.check.tree import Node
from derivations.normal_form.counterexamples import Undefined
from derivations.normal_form.intervals import Number, lower_end, square_root, upper_end
from derivations.notation import epsilon, k, m, x

TRIES = 300  # points, of which the first have small numbers and sizes, for legible counterexamples
MAX_SIZE = 64
Values = Mapping[Any, Any]  # as a counterexample has them
_POOL = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "3", "1/2", "10", "1/1000", "1000", "-1000")))


class FormulaPoint:
    """The names of formulas at one point; what is not free is computed from the elements, by what it stands for.

    values: of m, k and the free variables of the problem; what is missing is 1.
    """

    def __init__(self, values: Values, problem: FormulaProblem) -> None:
        one = Fraction(1)
        size = int(values.get(m, one))  # where no value is one an element, it does not matter
        self.values: dict[Any, Any] = {m: Fraction(size), k: values.get(k, one)}
        self._names: dict[str, Any] = {"m": self.values[m]}
        for name, variable in problem.problem.variables.items():
            symbol = variable.symbol
            self.values[symbol] = values.get(symbol, (one,) * size if variable.axes else one)
            self._names[name] = self.values[symbol]
        self._meaning = problem.meaning
        self.everywhere = range(size)
        weights: Sequence[Fraction] = self._names["w"] if problem.weighted else (one,) * size
        self.shares = [weight / sum(weights) for weight in weights]

    def named(self, name: str) -> Any:
        """The value of a name: a number, or one an element."""
        if name not in self._names:
            meaning = self._meaning[name]
            values = self._values(meaning, self.everywhere)
            self._names[name] = values if meaning.per_element else values[0]
        return self._names[name]

    def value(self, formula: Node) -> Number:
        """The value at the element k.

        Raises:
            Undefined: a divisor is 0 or a radicand negative, or may be as far as irrational values are known.
        """
        return self._values(formula, [int(self.values[k]) - 1])[0]

    def _values(self, node: Node, places: Sequence[int]) -> list[Number]:
        """The values at these elements."""
        match node.kind:
            case "number":
                return [node.value] * len(places)
            case "name":
                value = self.named(node.name)
                return [value[place] for place in places] if isinstance(value, list | tuple) else [value] * len(places)
            case "sum":
                return [_total(self._values(node.parts[0], self.everywhere))] * len(places)
            case "mean":
                return [self._mean(self._values(node.parts[0], self.everywhere))] * len(places)
        parts = [self._values(part, places) for part in node.parts]
        match node.kind:
            case "+":
                return [_total(values) for values in zip(*parts, strict=True)]
            case "*":
                return [math.prod(values, start=Fraction(1)) for values in zip(*parts, strict=True)]
            case "-":
                return [value * Fraction(-1) for value in parts[0]]
        exponent = {"/": Fraction(-1), "sqrt": Fraction(1, 2)}.get(node.kind, node.value)
        return [_power(value, exponent, node) for value in parts[0]]

    def _mean(self, values: Sequence[Any]) -> Any:
        return _total([share * value for share, value in zip(self.shares, values, strict=True)])


def points(formula: Node, problem: FormulaProblem, *, seed: int = 0) -> Iterator[FormulaPoint]:
    """Random points, the small ones first; the numbers in the formula and those beside them occur more often."""
    rng = random.Random(seed)
    numbers = {node.value for node in formula.walk() if node.kind == "number"}
    constants = {sign * c + step for c in numbers for sign in (1, -1) for step in (0, 1, -1)}
    constants |= {1 / c for c in constants if c}
    sizes = [int(c) for c in constants if c.denominator == 1 and 4 < c <= MAX_SIZE]
    wide = [*_POOL, *sorted(constants)]
    variables = problem.problem.variables
    for n in range(TRIES):
        size = 1 + n % 3 if n < TRIES // 2 else rng.choice([*range(1, 17), *sizes])
        # Few different numbers: a condition on all elements is then met more often.
        pool = _POOL[: 2 + n % 4] if n < TRIES // 4 else rng.sample(wide, rng.randint(1, 4))
        positive = [abs(c) for c in pool if c] or [Fraction(1)]
        values: dict[Any, Any] = {m: Fraction(size), k: Fraction(rng.randint(1, size))}
        for name, variable in variables.items():
            if name == "w" and problem.weighted:
                weights = [Fraction(1), *rng.choices([Fraction(0), *positive], k=size - 1)]
                values[variable.symbol] = tuple(rng.sample(weights, size))
            elif name == "epsilon":
                values[variable.symbol] = rng.choice(positive)
            else:
                values[variable.symbol] = tuple(rng.choices(pool, k=size)) if variable.axes else rng.choice(pool)
        if n % 2 and epsilon in values and x in values:  # a rational s, which decides what an irrational one cannot
            variance = FormulaPoint(values, problem).named("var")
            scale = rng.choice(positive)
            values[epsilon] = (scale * (math.isqrt(math.floor(variance / scale**2)) + 1)) ** 2 - variance
        yield FormulaPoint(values, problem)


def _total(values: Sequence[Number]) -> Any:
    return sum(values[1:], values[0])


def _power(base: Number, exponent: Fraction, node: Node) -> Number:
    inverted, rooted = exponent < 0, exponent.denominator == 2
    if inverted and lower_end(base) <= 0 <= upper_end(base):
        raise Undefined(f"1/0 in {typed(node)}")
    if rooted and lower_end(base) < 0:
        raise Undefined(f"the root of {base}")
    return (square_root(base) if rooted else base) ** exponent.numerator
