"""Sums over the rows of a matrix, by TensorFlow's own products: each number is read once, and nothing is written back.

A sum of rows adds serially, which costs 10⁵ float32 numbers four digits if they are alike, such as the zeros behind a
ReLU. Here runs of BLOCK rows are summed apart, and then their sums.
"""

import tensorflow as tf

from keras_bn.engines.staged_sums import BLOCK

# How many rows of a block are laid side by side, as so many more channels: each channel then adds fewer numbers, and
# the kernel is fastest at some ten thousand channels (measured on 2 CPU cores).
SIDE_BY_SIDE, WIDTH = 128, 16384


def weighted(rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Σ_k w_k·x_k, of shape [C], for rows [M, C] that are finite and weights [M, 1]: a product of matrices."""
    blocks, channels = tf.shape(rows)[0] // BLOCK, rows.shape[1]
    whole = blocks * BLOCK
    heads = tf.matmul(
        tf.reshape(weights[:whole], [blocks, 1, BLOCK]), tf.reshape(rows[:whole], [blocks, BLOCK, channels])
    )
    return tf.reduce_sum(heads, [0, 1]) + tf.matmul(weights[whole:], rows[whole:], transpose_a=True)[0]


def squares(rows: tf.Tensor) -> tf.Tensor:
    """Σ_k x_k², of shape [C], for rows [M, C], of which there must be at least BLOCK.

    It is the gradient of a depthwise convolution with one weight a channel: the one operation of TensorFlow that
    multiplies elementwise and sums at once. Of no rows TensorFlow returns memory as it finds it.
    """
    blocks, channels = tf.shape(rows)[0] // BLOCK, rows.shape[1]
    whole, side = blocks * BLOCK, SIDE_BY_SIDE
    while side > 1 and side * channels > WIDTH:
        side //= 2
    heads = tf.reshape(rows[:whole], [blocks, BLOCK // side, side, channels])
    heads = tf.reshape(heads, [blocks, 1, BLOCK // side, side * channels])
    sums = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=heads,
        filter_sizes=[1, 1, side * channels, 1],
        out_backprop=heads,
        strides=[1, 1, 1, 1],
        padding="VALID",
    )
    return tf.reduce_sum(tf.reshape(sums, [side, channels]), 0) + tf.reduce_sum(tf.square(rows[whole:]), 0)
