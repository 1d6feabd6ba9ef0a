"""Functions of TensorFlow: the gradient that its tape takes, against the derivative of the traced forward pass.

Both graphs are run operation by operation, by NumPy's functions, on arrays of unknown size and on exact numbers; at
floats TensorFlow itself runs them, so that a wrong reading of an operation is found.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from derivations.own_code.exact.arrays import wrapped
from derivations.own_code.exact.dual_numbers import Number, constant
from derivations.own_code.exact.runs import NO_VALUE
from derivations.own_code.graphs.run import Run
from derivations.own_code.proof import Counterexample, GradientVerdict, Proof
from derivations.own_code.prove import Judge
from derivations.own_code.refusal import NotUnderstood
from derivations.own_code.running.calling import Shape
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.shapes import lift


class GraphPair:
    """A function of tensors and the gradient that the tape takes of it, called as a pair of NumPy functions is."""

    def __init__(self, function: Any, shapes: Mapping[str, Shape]) -> None:
        import tensorflow as tf

        self.names = tuple(shapes)
        self.forward = self.backward = None
        specs = [[None if isinstance(n, str) else n for n in shape] for shape in shapes.values()]
        self.connected: list[bool] = []
        self.held: dict[str, None] = {}
        self.holds = True
        try:
            self._trace(tf, function, specs, tf.float64)
        except (TypeError, ValueError, tf.errors.InvalidArgumentError):  # there may be constants of float32 in it
            self._trace(tf, function, specs, tf.float32)

    def _trace(self, tf: Any, function: Any, specs: list[list[int | None]], dtype: Any) -> None:
        """The graphs of the function and of its gradient, for inputs of a data type."""
        self.dtype = dtype

        def forward(*inputs: Any) -> Any:
            return [tf.convert_to_tensor(value) for value in tf.nest.flatten(function(*inputs))]

        def gradient(*given: Any) -> Any:
            inputs, dys = given[: len(specs)], given[len(specs) :]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = tf.nest.flatten(function(*inputs))
            found = tape.gradient(outputs, inputs, output_gradients=list(dys))
            self.connected = [value is not None for value in found]
            return [tf.convert_to_tensor(value) for value in found if value is not None]

        signature = [tf.TensorSpec(shape, dtype) for shape in specs]
        self.graph = tf.function(forward, autograph=False).get_concrete_function(*signature)
        if not self.graph.outputs:
            raise NotUnderstood("the function returned nothing; it returns a tensor, or several")
        for output in self.graph.outputs:
            if output.dtype not in (dtype, tf.float32):
                raise NotUnderstood(f"an output is of {output.dtype.name}; all must be of the inputs' {dtype.name}")
        signature += [tf.TensorSpec(output.shape, output.dtype) for output in self.graph.outputs]
        self.gradient = tf.function(gradient, autograph=False).get_concrete_function(*signature)

    def run_forward(self, inputs: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
        """The outputs."""
        return self._run(self.graph, inputs), ()

    def run_backward(self, dys: Sequence[Any], cache: Any, inputs: Sequence[Any]) -> dict[str, Any]:
        """The gradients by name; 0 for an input that the outputs do not depend on."""
        found = iter(self._run(self.gradient, [*inputs, *dys]))
        return {
            name: next(found) if connected else given * 0
            for name, connected, given in zip(self.names, self.connected, inputs, strict=True)
        }

    def _run(self, function: Any, given: Sequence[Any]) -> list[Any]:
        first = given[0]
        if isinstance(first, SymbolicArray):
            run = Run(lambda value: lift(first.algebra, value), holds=self.holds)
        elif first.dtype == object:
            ring = next(iter(first.ravel())).ring
            run = Run(lambda value: _exact(ring, value), holds=self.holds)
        else:
            import tensorflow as tf

            types = [tensor.dtype for tensor in function.inputs]
            return [np.asarray(value) for value in function(*map(tf.constant, given, types))]
        outputs = [run.array(value) for value in run.graph(function, given)]
        self.held |= run.held
        return [wrapped(np.array(value, dtype=object)) if isinstance(value, Number) else value for value in outputs]


def _exact(ring: Any, value: Any) -> Any:
    """A constant as a number, or as an array of them."""

    def number(entry: Any) -> Number:
        return constant(ring, entry)

    if isinstance(value, Fraction):
        return number(value)
    if np.ndim(value) == 0:
        return number(
            value.item() if isinstance(value, np.ndarray) and value.dtype == np.float64 else np.asarray(value)[()]
        )
    entries = [number(entry) for entry in value.ravel()]  # with their type: a float32 is the number that was written
    result = np.empty(value.size, dtype=object)
    result[:] = entries
    return wrapped(result.reshape(value.shape))


class GraphJudge(Judge):
    """A function of tensors, judged."""

    pair: GraphPair

    def mistake(self, name: str, example: Counterexample) -> str:
        """The mistake; a gradient that is None is one."""
        if not self.pair.connected[self.names.index(name)]:
            return "the tape finds no path to it, and returns None; the gradient is not 0"
        return super().mistake(name, example)


def prove_operation(function: Any, shapes: Mapping[str, Shape], wrt: Sequence[str], order: int) -> Proof:
    """Prove the gradient that TensorFlow takes of a function of tensors."""
    if not callable(function):
        raise NotUnderstood(f"the first argument must be a function. Received: {type(function).__name__}")
    if order not in (1, 2):
        raise NotUnderstood(f"order must be 1 or 2. Received: {order!r}")
    pair = GraphPair(function, shapes)
    proof = GraphJudge(pair, shapes, wrt).proof()
    verdicts: dict[str, GradientVerdict] = dict(proof.gradients)
    if pair.held and _holding_changes_nothing(pair, shapes):
        pair.holds, pair.held = False, {}
    if order == 2:
        from derivations.own_code.graphs.second_order import second_order

        left_out = {f"{name} (second order)" for name in shapes if name not in wrt}
        second = second_order(function, shapes, pair)
        verdicts |= {name: verdict for name, verdict in second.items() if name not in left_out}
    return Proof(verdicts, proof.sizes, held=tuple(pair.held), note=proof.note)


def _holding_changes_nothing(pair: GraphPair, shapes: Mapping[str, Shape]) -> bool:
    """Whether the first gradient is the same with what is held and without, as of the mean in ``tf.nn.moments``.

    Then nothing is said of it, and the second derivative is that of the function with nothing held.
    """
    judge, rng = GraphJudge(pair, shapes), random.Random(0)
    compared = False
    for sizes in islice(judge.sizes(), _POINTS):
        if (found := judge.point(sizes, partial(_fifths, rng), rng)) is None:
            continue
        ring, inputs, _, dys = found
        for name in shapes:
            steps = {place: _fifths(rng) for place in np.ndindex(inputs[name].shape)}
            slopes = []
            with suppress(*NO_VALUE):
                for pair.holds in (True, False):
                    slopes.append(judge.slope(ring, inputs, name, steps.__getitem__, dys))
            pair.holds, compared = True, compared or len(slopes) == 2
            if len(slopes) == 2 and ring.differ(*slopes):
                return False
    return compared


_POINTS = 3


def _fifths(rng: random.Random) -> Fraction:
    return Fraction(rng.randint(1, 19), 5)
