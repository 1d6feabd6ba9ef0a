"""The layer's gradients against three oracles that share nothing with its backward pass.

- *derivation*: the expressions that SymPy derived, evaluated in float64.
- *autodiff*: TensorFlow differentiates the textbook forward pass, in float64.
- *differences*: central differences of the layer's own forward pass in float64; they know no formula at all.

Each oracle sees the numbers that the layer saw, so a float32 row shows the rounding of the layer alone. The cotangent
is always random: for L = Σy the gradient of x is zero, and a formula that is wrong by a factor would pass.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_bn.layer import BatchNormalization

Array = np.ndarray


class Gradients(NamedTuple):
    """Gradients of x (shaped like x), gamma and beta ([C]), in float64."""

    x: Array
    gamma: Array
    beta: Array


class Case(NamedTuple):
    """One input of the layer; ``dtype`` is that of the layer and of the numbers, which are kept as float64."""

    x: Array
    dy: Array
    gamma: Array
    axis: int
    epsilon: float
    dtype: str


class Tolerance(NamedTuple):
    bound: float
    reason: str


class Row(NamedTuple):
    """The error of one gradient in one case, by one oracle."""

    oracle: str
    dtype: str
    shape: tuple[int, ...]
    axis: int
    gradient: str
    error: float
    tolerance: Tolerance

    @property
    def held(self) -> bool:
        """Whether the error is within its tolerance; never so for NaN."""
        return self.error <= self.tolerance.bound


Oracle = Callable[[Case], Gradients]
Expressions = Callable[[Array, Array, Array, float], tuple[Array, Array, Array]]
"""(x [M, C], dy [M, C], gamma [C], epsilon) → (dx, dgamma, dbeta): the derived expressions, made callable."""

SHAPES = (
    ((16, 3), -1),
    ((16, 3), 1),
    ((6, 5, 3), -1),
    ((6, 3, 5), 1),
    ((2, 4, 4, 3), -1),
    ((2, 3, 4, 4), 1),
)
DTYPES = ("float32", "float64")
# Standard deviations by which the mean of the inputs is off zero.
OFFSET = 3.0


def make_cases(seed: int) -> Iterator[Case]:
    """Every shape in every dtype, with random values drawn from ``seed``."""
    random = np.random.default_rng(seed)
    for shape, axis in SHAPES:
        for dtype in DTYPES:
            # Rounded to the layer's dtype first: the rounding of the inputs is no error of the layer.
            x, dy = (random.normal(mean, size=shape).astype(dtype).astype(np.float64) for mean in (OFFSET, 0.0))
            gamma = random.normal(size=shape[axis]).astype(dtype).astype(np.float64)
            yield Case(x, dy, gamma, axis, epsilon=1e-3, dtype=dtype)


def layer_gradients(case: Case) -> Gradients:
    """What is checked: the gradients of ``keras_bn.BatchNormalization`` in training."""
    layer = _layer(case, case.dtype)
    x = tf.constant(case.x, case.dtype)
    parameters = [layer.gamma.value, layer.beta.value]
    with tf.GradientTape() as tape:
        tape.watch([x, *parameters])
        y = layer(x, training=True)
    gradients = tape.gradient(y, [x, *parameters], output_gradients=tf.constant(case.dy, case.dtype))
    return Gradients(*(gradient.numpy().astype(np.float64) for gradient in gradients))


def derivation_oracle(expressions: Expressions) -> Oracle:
    """The gradients by the expressions that were derived."""

    def gradients(case: Case) -> Gradients:
        channels_last = np.moveaxis(case.x, case.axis, -1).shape
        x, dy = (np.moveaxis(value, case.axis, -1).reshape(-1, channels_last[-1]) for value in (case.x, case.dy))
        dx, d_gamma, d_beta = expressions(x, dy, case.gamma, case.epsilon)
        return Gradients(np.moveaxis(np.reshape(dx, channels_last), -1, case.axis), d_gamma, d_beta)

    return gradients


def autodiff_oracle(case: Case) -> Gradients:
    """The gradients by TensorFlow's autodiff of y = γ(x − μ)/√(v + ε) + β as a textbook writes it."""
    x, gamma = tf.constant(case.x), tf.constant(case.gamma)
    beta = tf.zeros_like(gamma)
    axes = [axis for axis in range(case.x.ndim) if axis != case.axis % case.x.ndim]
    along_channels = [1] * case.x.ndim
    along_channels[case.axis] = -1
    with tf.GradientTape() as tape:
        tape.watch([x, gamma, beta])
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean((x - mean) ** 2, axes, keepdims=True)
        x_hat = (x - mean) / tf.sqrt(variance + case.epsilon)
        y = tf.reshape(gamma, along_channels) * x_hat + tf.reshape(beta, along_channels)
    gradients = tape.gradient(y, [x, gamma, beta], output_gradients=tf.constant(case.dy))
    return Gradients(*(gradient.numpy() for gradient in gradients))


def differences_oracle(case: Case) -> Gradients:
    """The gradients by central differences of the layer itself, in float64."""
    layer = _layer(case, "float64")

    @tf.function
    def loss(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
        return tf.reduce_sum(layer(x, training=True) * case.dy)

    point = [case.x, case.gamma, np.zeros_like(case.gamma)]
    # The cube root of the unit roundoff balances truncation, ~h², against rounding, ~u/h.
    step = 6e-6
    gradients = []
    for position, value in enumerate(point):
        gradient = np.empty(value.shape)
        for index in np.ndindex(value.shape):
            shifted = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * step
                shifted.append((moved[index], loss(*point[:position], moved, *point[position + 1 :]).numpy()))
            (above, loss_above), (below, loss_below) = shifted
            # Divided by the distance of the two floats, which is not quite two steps.
            gradient[index] = (loss_above - loss_below) / (above - below)
        gradients.append(gradient)
    return Gradients(*gradients)


def tolerance(oracle: str, dtype: str) -> Tolerance:
    """How far a right gradient may be off."""
    if dtype == "float32":
        return Tolerance(1e-6, "a chain of about 16 roundings of 6e-8")
    if oracle == "differences":
        return Tolerance(1e-7, "step 6e-6: truncation ~1e-10, rounding ~2e-10")
    return Tolerance(1e-12, "sums of up to 32 terms, rounded to 1e-16 each")


def errors(case: Case, actual: Gradients, expected: Gradients) -> dict[str, float]:
    """The error of each gradient by name: the largest over the channels of max|error| over the size of its terms.

    A gradient may cancel, and then its own size says nothing about the rounding it had to suffer. The terms of dx are
    of the size |γ|·inv_std·max|dy|; those of the sums dγ = Σ dy·x̂ and dβ = Σ dy are taken together, Σ|dy·x̂| and Σ|dy|.
    """
    axes = tuple(axis for axis in range(case.x.ndim) if axis != case.axis % case.x.ndim)
    inv_std = 1 / np.sqrt(case.x.var(axis=axes) + case.epsilon)
    residual = case.x - case.x.mean(axis=axes, keepdims=True)
    sizes = {
        "dx": np.abs(case.gamma) * inv_std * np.abs(case.dy).max(axis=axes),
        "dγ": inv_std * np.abs(case.dy * residual).sum(axis=axes),
        "dβ": np.abs(case.dy).sum(axis=axes),
    }
    largest = [np.abs(actual.x - expected.x).max(axis=axes), *map(np.abs, np.subtract(actual[1:], expected[1:]))]
    return {name: float((error / size).max()) for error, (name, size) in zip(largest, sizes.items(), strict=True)}


def check(
    cases: Iterable[Case], oracles: dict[str, Oracle], under_test: Oracle = layer_gradients
) -> Iterator[list[Row]]:
    """Check every case against every oracle; yields the rows of one case and oracle at a time."""
    for case in cases:
        actual = under_test(case)
        for name, oracle in oracles.items():
            yield [
                Row(name, case.dtype, case.x.shape, case.axis, gradient, error, tolerance(name, case.dtype))
                for gradient, error in errors(case, actual, oracle(case)).items()
            ]


def largest(rows: Iterable[Row]) -> list[Row]:
    """The row with the largest error for each oracle, dtype and gradient, in the order of their first appearance."""
    worst: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = row.oracle, row.dtype, row.gradient
        # `not <=` lets a NaN through, and nothing replaces it.
        if key not in worst or not row.error <= worst[key].error:
            worst[key] = row
    return list(worst.values())


def table(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of the table of the largest errors, with each tolerance and its reason."""
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in largest(rows):
        groups.setdefault((row.oracle, row.dtype), {})[row.gradient] = row
    yield f"{'oracle':<12} {'layer in':<9} {'dx':>8} {'dγ':>8} {'dβ':>8}  {'allowed':>7}"
    for (oracle, dtype), row_of in sorted(groups.items(), key=lambda item: item[0][1]):
        values = " ".join(f"{row_of[name].error:8.1e}" for name in ("dx", "dγ", "dβ"))
        bound, reason = row_of["dx"].tolerance
        verdict = "" if all(row.held for row in row_of.values()) else "  EXCEEDED"
        yield f"{oracle:<12} {dtype:<9} {values}  {bound:7.0e}  {reason}{verdict}"


def _layer(case: Case, dtype: str) -> BatchNormalization:
    layer = BatchNormalization(axis=case.axis, epsilon=case.epsilon, dtype=dtype)
    layer.build(case.x.shape)
    layer.gamma.assign(case.gamma)
    return layer
