"""TensorFlow's fused kernels."""

import tensorflow as tf


def serves_inference(x: tf.Tensor, axes: tuple[int, ...], epsilon: float) -> bool:
    """Whether ``inference`` may be called: rank 4, channels last, at most 32 bits, ε > 0.

    With ε = 0 the kernel divides by the zero variance of a constant channel.
    """
    return x.shape.rank == 4 and [a % 4 for a in axes] == [3] and x.dtype != tf.float64 and epsilon > 0


def inference(
    x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float
) -> tf.Tensor:
    """y, normalized with the given statistics (equation 5), in one pass over x.

    The kernel takes the input as it is: a reshape between would keep TensorFlow's graph optimiser from merging
    convolution, normalization and activation, and TFLite from folding them into one operation.
    """
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
    ).y
