"""Independent ways to the same numbers, all in float64, none through ``keras_bn.formulas``."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tests.cases import EPSILON, Case, Inputs


class Result(NamedTuple):
    y: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    dx: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray


def plain(x, gamma, beta, case: Case, epsilon: float = EPSILON):
    """The textbook definition as TensorFlow operations, to be differentiated by TensorFlow: (y, mean, variance)."""
    broadcast = [1] * len(case.shape)
    broadcast[case.axis] = case.channels
    mean = tf.reduce_mean(x, case.reduced, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), case.reduced, keepdims=True)
    y = tf.reshape(gamma, broadcast) * (x - mean) / tf.sqrt(variance + epsilon) + tf.reshape(beta, broadcast)
    return y, tf.reshape(mean, [-1]), tf.reshape(variance, [-1])


def gradients(function, x, gamma, beta, dy, d_mean, d_variance):
    """Outputs of ``function(x, gamma, beta)`` and the gradients for the given cotangents, by TensorFlow's tape."""
    with tf.GradientTape() as tape:
        tape.watch([x, gamma, beta])
        outputs = function(x, gamma, beta)
    return *outputs, *tape.gradient(list(outputs), [x, gamma, beta], [dy, d_mean, d_variance])


def second_order(function, x, gamma, beta, dy, d_mean, d_variance, u, u_gamma, u_beta):
    """Gradients of u·dx + u_γ·dγ + u_β·dβ with respect to x, γ and all three cotangents."""
    sources = [x, gamma, dy, d_mean, d_variance]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        first = gradients(function, x, gamma, beta, dy, d_mean, d_variance)[3:]
    return tape.gradient(list(first), sources, [u, u_gamma, u_beta])


def autodiff(inputs: Inputs, case: Case) -> Result:
    """TensorFlow's own differentiation of the plain forward."""
    values = gradients(lambda *a: plain(*a, case), *inputs.astype("float64").tensors())
    return Result(*(value.numpy() for value in values))


def central_differences(inputs: Inputs, case: Case, step: float = 1e-5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dx, dgamma, dbeta) by central differences of the plain forward, one coordinate after the other."""
    x, gamma, beta, dy, d_mean, d_variance = inputs.astype("float64")

    def loss(*point: np.ndarray) -> float:
        y, mean, variance = plain(*(tf.constant(value) for value in point), case)
        return float(np.sum(dy * y) + np.sum(d_mean * mean) + np.sum(d_variance * variance))

    found = []
    for position, value in enumerate((x, gamma, beta)):
        gradient = np.empty_like(value)
        for index in np.ndindex(value.shape):
            sides = []
            for sign in (1, -1):
                point = [x.copy(), gamma.copy(), beta.copy()]
                point[position][index] += sign * step
                sides.append(loss(*point))
            gradient[index] = (sides[0] - sides[1]) / (2 * step)
        found.append(gradient)
    return tuple(found)


def output_error(found: np.ndarray, true: np.ndarray) -> float:
    """max |error| / max |true|."""
    return float(np.max(np.abs(found - true)) / np.max(np.abs(true)))


def dx_error(found: np.ndarray, inputs: Inputs, true: Result, case: Case, epsilon: float = EPSILON) -> float:
    """Largest error of dx over the channels, in units of max(|γ|·s·max|δ|): dx itself may cancel to nothing."""
    scale = np.abs(inputs.gamma) / np.sqrt(true.variance + epsilon)
    unit = scale * np.max(np.abs(inputs.dy), axis=case.reduced)
    return float(np.max(np.max(np.abs(found - true.dx), axis=case.reduced) / unit))
