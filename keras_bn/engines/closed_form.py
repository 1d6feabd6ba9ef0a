"""The formulas of ``keras_bn.formulas``, run operation by operation on TensorFlow tensors."""

from collections.abc import Callable

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.formulas import inference as inference_formulas
from keras_bn.formulas import training as training_formulas

Outputs = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Backward = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Outputs]


def training(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, axis: int, epsilon: float) -> tuple[Outputs, Backward]:
    """(y, mean, variance), and the function that maps their cotangents to those of (x, gamma, beta).

    Between the two, x itself and three vectors of C values are kept.
    """
    batch = TensorBatch(x, axis, gamma.shape[0])
    y, statistics, saved = training_formulas.forward(
        batch, batch.elements(x), batch.channel(gamma), batch.channel(beta), epsilon
    )

    def backward(dy: tf.Tensor, d_mean: tf.Tensor, d_variance: tf.Tensor) -> Outputs:
        gradients = training_formulas.backward(
            batch,
            batch.elements(dy),
            batch.channel(d_mean),
            batch.channel(d_variance),
            batch.elements(x),
            batch.channel(gamma),
            saved,
        )
        return batch.like_input(gradients.x), batch.vector(gradients.gamma), batch.vector(gradients.beta)

    return (batch.like_input(y), batch.vector(statistics.mean), batch.vector(statistics.variance)), backward


def inference(
    x: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    axis: int,
    epsilon: float,
) -> tf.Tensor:
    """y, normalized with the given statistics; TensorFlow differentiates this affine map itself."""
    batch = TensorBatch(x, axis, gamma.shape[0])
    vectors = [batch.channel(value) for value in (mean, variance, gamma, beta)]
    return batch.like_input(inference_formulas.forward(batch, batch.elements(x), *vectors, epsilon))
