"""Gradients of gradients: what the tape takes of its own first gradient, against the derivative of the true one.

The true first gradient is the derivative of the forward pass, whatever a custom gradient returns in its place. The
first proof has it from the algebra. The second differentiates in two directions at once: by dual numbers whose parts
are dual numbers.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.algebra.atoms import begun_again
from derivations.own_code.exact.arrays import wrapped
from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.exact.rings import WithOperators
from derivations.own_code.graphs.judge import GraphJudge, GraphPair
from derivations.own_code.proof import GradientVerdict
from derivations.own_code.refusal import NotUnderstood
from derivations.own_code.running.calling import Shape
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.decision import true_gradients, variable
from derivations.own_code.symbolic.shapes import lift


class _OfNumbers(WithOperators):
    """The ring whose elements are dual numbers over another ring."""

    def __init__(self, ring: Any) -> None:
        self.inner = ring

    def of(self, value: Fraction) -> Number:
        return Number(self.inner, self.inner.of(value))

    def rational(self, a: Number) -> Any:
        return self.inner.rational(a.a)

    def inverse(self, a: Number) -> Any:
        return 1 / a

    def sign(self, a: Number) -> int:
        return a.sign()

    def root(self, a: Number) -> Number:
        return a.sqrt()

    def power_of_pi(self, halves: int) -> Number:
        return Number(self.inner, self.inner.power_of_pi(halves))

    def function(self, name: str, a: Number) -> Any:
        return a._function(name)


class SecondPair(GraphPair):
    """The first gradient of a function, and what the tape takes of that."""

    def __init__(self, first: GraphPair, function: Any, shapes: Mapping[str, Shape], cotangents: Sequence[str]) -> None:
        import tensorflow as tf

        self.first, self.cotangents = first, tuple(cotangents)
        count = len(first.names)

        def gradient(*given: Any) -> Any:
            inputs, dys = given[:count], given[count:]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = tf.nest.flatten(function(*inputs))
            found = tape.gradient(outputs, inputs, output_gradients=list(dys))
            return [tf.convert_to_tensor(value) for value in found if value is not None]

        super().__init__(gradient, shapes)

    def run_forward(self, inputs: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
        """The true first gradients; of numbers only arrays of their shapes, since ``slope`` differentiates twice."""
        given, dys = inputs[: len(self.first.names)], inputs[len(self.first.names) :]
        named = dict(zip(self.first.names, given, strict=True))
        if isinstance(given[0], SymbolicArray):
            algebra = given[0].algebra
            outputs, _ = self.first.run_forward(given)
            true = true_gradients([lift(algebra, y) for y in outputs], dys, named)
        else:
            true = list(given)
        return [value for value, connected in zip(true, self.first.connected, strict=True) if connected], ()


class SecondJudge(GraphJudge):
    """A function judged at second order."""

    pair: SecondPair

    def slope(
        self, ring: Any, inputs: Mapping[str, Any], name: str, direction: Any, dys: Any, forgetting: Any = None
    ) -> Any:
        """The derivative, in a direction of one input, of that of Σ cotangent·y in the directions ``dys``."""
        first, outer = self.pair.first, _OfNumbers(ring)
        zero = ring.of(Fraction(0))
        weights = iter(dys)
        along = {n: next(weights) for n, connected in zip(first.names, first.connected, strict=True) if connected}
        given = {}
        for key, value in inputs.items():
            doubled = value.copy()
            for place, entry in zip(np.ndindex(value.shape), value.ravel(), strict=True):
                inner = Number(ring, entry.a, direction(place) if key == name else zero)
                step = Number(ring, along[key][place].a) if key in along else None
                doubled[place] = Number(outer, inner, step)
            doubled.forgetting = forgetting
            given[key] = doubled
        outputs, _ = first.run_forward([given[key] for key in first.names])
        total = Number(outer, outer.of(Fraction(0)))
        for y, cotangent in zip(outputs, self.pair.cotangents, strict=True):
            for entry, weight in zip(wrapped(y).ravel(), given[cotangent].ravel(), strict=True):
                total = total + entry * weight
        return zero if total.b is None or total.b.b is None else total.b.b


def second_order(function: Any, shapes: Mapping[str, Shape], first: GraphPair) -> dict[str, GradientVerdict]:
    """The verdicts on the gradients of the first gradients, a cotangent for each output among their inputs."""
    if not any(first.connected):
        raise NotUnderstood("order=2: the tape finds no path from the outputs to any input")
    outputs = _shapes_of_outputs(first, shapes)
    names = ["cotangent"] if len(outputs) == 1 else [f"cotangent{n + 1}" for n in range(len(outputs))]
    if taken := set(names) & set(shapes):
        raise NotUnderstood(f"an input is called {min(taken)}, as a cotangent of order=2 is; give it another name")
    twice = dict(shapes) | dict(zip(names, outputs, strict=True))
    proof = SecondJudge(SecondPair(first, function, twice, names), twice).proof()
    return {f"{name} (second order)": verdict for name, verdict in proof.gradients.items()}


def _shapes_of_outputs(pair: GraphPair, shapes: Mapping[str, Shape]) -> list[Shape]:
    from derivations.own_code.symbolic.journal import SymbolicAlgebra

    def run(apart: frozenset[int]) -> list[Any]:
        algebra = SymbolicAlgebra(apart)
        outputs, _ = pair.run_forward([variable(algebra, name, shape) for name, shape in shapes.items()])
        return [lift(algebra, output).shape for output in outputs]

    found = []
    for shape in begun_again(run):
        lengths = [n if isinstance(n, int) else repr(n) for n in shape]
        if any(isinstance(n, str) and not n.isidentifier() for n in lengths):
            raise NotUnderstood("order=2 is understood where each axis of an output is one of the inputs'")
        found.append(tuple(lengths))
    return found
