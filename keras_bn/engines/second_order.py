"""The second order of the engines whose first order TensorFlow would differentiate wrongly, or slowly."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.custom_gradients import custom_gradient
from keras_bn.engines import closed_form
from keras_bn.engines.closed_form import Backward, Gradients
from keras_bn.formulas.training import Fallback


def backward(
    gradients: Callable[[tf.Tensor], Gradients],
    batch: TensorBatch,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    fallback: Fallback | None,
) -> Backward:
    """``gradients``, of the cotangent of y alone, with the closed form's own gradients, for channels that come last.

    TensorFlow would take mean and variance for constants in the fused kernels' second derivative.
    """
    constants = [value for value in (batch.weights, *(fallback or ())) if value is not None]

    @custom_gradient
    def first_order(dy: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *constants: tf.Tensor) -> Any:
        dx, d_gamma, d_beta = gradients(dy)
        dx.set_shape(x.shape)

        def second_order(*cotangents: tf.Tensor) -> Any:
            values, none = list(constants), tf.zeros_like(gamma)
            weights = None if batch.weights is None else values.pop(0)
            again = TensorBatch(x, (-1,), tuple(gamma.shape), weights)
            given = Fallback(*values) if values else None
            with tf.GradientTape() as tape:
                tape.watch([dy, x, gamma])
                _, exact = closed_form.training(again, x, gamma, beta, epsilon=epsilon, fallback=given)
                first = exact(dy, none, none, none)
            found = tape.gradient(first, [dy, x, gamma], output_gradients=cotangents)
            return (*found, *[None] * (1 + len(constants)))

        return (dx, d_gamma, d_beta), second_order

    def backward(dy: tf.Tensor, *_: tf.Tensor) -> Gradients:
        # As tensors of the graph of the first order, which that of the second can see: it does not see the forward one.
        return first_order(dy, *(tf.identity(value) for value in (x, gamma, beta, *constants)))

    return backward
