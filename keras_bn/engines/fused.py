"""TensorFlow's fused kernels, which evaluate the formulas in one pass or two.

They are several times faster than separate operations on CPU, and lose digits where the mean is large: a relative 10⁻³
at mean/std 10³. Training therefore looks at the kernel's own mean and variance, and falls back on the closed form where
they tell that digits were lost.
"""

from typing import Any

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form
from keras_bn.engines.closed_form import Backward, Gradients, Outputs

# The kernel adds serially: its error grows with |mean|/std and with the square root of the number M of elements. As
# measured, y and dx are within 1e-5 up to |mean|/std · √M = 800; beyond 10⁵ elements no more is asked than at 10⁵.
RELIABLE = 800.0
RELIABLE_ELEMENTS = 1e5


def training(
    batch: TensorBatch, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float, **fallback: Any
) -> tuple[Outputs, Backward]:
    """As ``closed_form.training``, for channels that come last.

    The function returned leaves the cotangents of mean and variance out of account. ``fallback`` is passed to the
    closed form.
    """
    channels = gamma.shape[0]
    flat_shape = [1, 1, -1, channels]
    kernel = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, flat_shape), scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    mean, variance = kernel.batch_mean, kernel.batch_variance * batch.biased()
    std = tf.sqrt(variance + epsilon)
    limit = RELIABLE * tf.math.rsqrt(tf.minimum(batch.count(), RELIABLE_ELEMENTS))
    unreliable = tf.logical_not(tf.reduce_all((tf.abs(mean) <= limit * std) & tf.math.is_finite(std)))

    def exact() -> tuple[tf.Tensor, ...]:
        outputs, _ = closed_form.training(batch, x, gamma, beta, epsilon=epsilon, **fallback)
        return outputs

    def fused() -> tuple[tf.Tensor, ...]:
        return tf.reshape(kernel.y, tf.shape(x)), mean, tf.zeros_like(mean), variance

    y, *statistics = tf.cond(unreliable, exact, fused)
    y.set_shape(x.shape)

    def backward(dy: tf.Tensor, *d_statistics: tf.Tensor) -> Gradients:
        def exact() -> Gradients:
            _, gradients = closed_form.training(batch, x, gamma, beta, epsilon=epsilon, **fallback)
            return gradients(dy, *d_statistics)

        def fused() -> Gradients:
            gradients = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=tf.reshape(dy, flat_shape),
                x=tf.reshape(x, flat_shape),
                scale=gamma,
                reserve_space_1=kernel.reserve_space_1,
                reserve_space_2=kernel.reserve_space_2,
                reserve_space_3=kernel.reserve_space_3,
                epsilon=epsilon,
                is_training=True,
            )
            dx = tf.reshape(gradients.x_backprop, tf.shape(x))
            return dx, gradients.scale_backprop, gradients.offset_backprop

        dx, d_gamma, d_beta = tf.cond(unreliable, exact, fused)
        dx.set_shape(x.shape)
        return dx, d_gamma, d_beta

    return (y, *statistics), backward


def inference(
    x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float
) -> tf.Tensor:
    """y, normalized with the given statistics (equation 5), in one pass over x.

    The kernel takes the input as it is: a reshape between would keep TensorFlow's graph optimizer from merging
    convolution, normalization and activation, and TFLite from folding them into one operation.
    """
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
    ).y
