"""Sums over the rows of a matrix, by TensorFlow's own products: each number is read once, and nothing is written back.

A sum of rows adds serially, which costs 10⁵ float32 numbers four digits if they are alike, such as the zeros behind a
ReLU. Here runs of at most BLOCK rows are summed apart, and then their sums.
"""

import tensorflow as tf

from keras_bn.engines.staged_sums import BLOCK

# How many rows are laid side by side, as so many more channels: each channel then adds fewer numbers, and the kernel
# of the squares is fastest at some ten thousand channels. It writes its sums once an image, which is why an image has
# up to LONGEST such rows: with 2 it took twice the time (measured on 2 CPU cores).
SIDE_BY_SIDE, WIDTH, LONGEST = 128, 16384, 64
# Rows of a run from which it is worth to be one.
SHORTEST = 16


def run_length(shape: tf.TensorShape) -> int | None:
    """How many rows make a run such that inputs of this shape are whole runs; None where that is not known, or short.

    Where the number of samples is unknown, no run crosses from one to the next.
    """
    rows = _known_rows(shape)
    if rows is None:
        return None
    length = max(n for n in range(1, BLOCK + 1) if rows % n == 0)
    return length if length >= min(SHORTEST, rows) and (length > 1 or shape[0] is not None) else None


def _known_rows(shape: tf.TensorShape) -> int | None:
    """How many rows inputs of this shape have; where the number of samples is unknown, each sample."""
    return shape[:-1].num_elements() or shape[1:-1].num_elements() or None


def total(value: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Σ over all axes but the last, for inputs of a shape that consists of whole runs (``run_length``).

    The value may have been reshaped since.
    """
    length = run_length(shape)
    assert length is not None
    runs = tf.reshape(value, [-1, length, shape[-1]])
    return tf.reduce_sum(tf.matmul(tf.ones([1, 1, length], value.dtype), runs), [0, 1])


def of_products(a: tf.Tensor, b: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Σ a·b, in the same way."""
    rows = _known_rows(shape)
    assert rows is not None
    return _of_products(a, b, rows, shape[-1])


def weighted(rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Σ_k w_k·x_k, of shape [C], for rows [M, C] that are finite and weights [M, 1]: a product of matrices."""
    blocks, channels = tf.shape(rows)[0] // BLOCK, rows.shape[1]
    whole = blocks * BLOCK
    heads = tf.matmul(
        tf.reshape(weights[:whole], [blocks, 1, BLOCK]), tf.reshape(rows[:whole], [blocks, BLOCK, channels])
    )
    return tf.reduce_sum(heads, [0, 1]) + tf.matmul(weights[whole:], rows[whole:], transpose_a=True)[0]


def squares(rows: tf.Tensor) -> tf.Tensor:
    """Σ_k x_k², of shape [C], for rows [M, C], of which there must be at least BLOCK."""
    channels = rows.shape[1]
    whole = tf.shape(rows)[0] // BLOCK * BLOCK
    return _of_products(rows[:whole], rows[:whole], BLOCK, channels) + tf.reduce_sum(tf.square(rows[whole:]), 0)


def _of_products(a: tf.Tensor, b: tf.Tensor, rows: int, channels: int) -> tf.Tensor:
    """Σ a·b, of shape [C], for so many channels, which come last, and a multiple of so many rows.

    It is the gradient of a depthwise convolution with one weight a channel: the one operation of TensorFlow that
    multiplies elementwise and sums at once. Of no rows TensorFlow returns memory as it finds it.
    """
    side = max(n for n in range(1, SIDE_BY_SIDE + 1) if rows % n == 0 and (n == 1 or n * channels <= WIDTH))
    length = max(n for n in range(1, LONGEST + 1) if rows // side % n == 0)

    def images(value: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.reshape(value, [-1, length, side, channels]), [-1, 1, length, side * channels])

    sums = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=images(a),
        filter_sizes=[1, 1, side * channels, 1],
        out_backprop=images(b),
        strides=[1, 1, 1, 1],
        padding="VALID",
    )
    return tf.reduce_sum(tf.reshape(sums, [side, channels]), 0)
