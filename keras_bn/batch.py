"""Which elements of a tensor share statistics, and how they are summed.

A tensor of any rank is viewed, without copying, as ``[M, C]`` where the channel axis is the last one and as
``[A, C, B]`` elsewhere; vectors of one value a channel then have the shape ``[C]`` or ``[C, 1]`` and broadcast.
"""

from typing import Any

import tensorflow as tf

# How many numbers are added one after the other before their mean joins the next stage of a sum.
BLOCK = 64
# Lengths up to which a sum down the columns, or along a row, needs no stages. TensorFlow adds along a row pairwise, and
# cutting a row that is no multiple of a block copies it; so that only rows are staged which are long for XLA.
SERIAL = (BLOCK, 1024)


class TensorBatch:
    """The batch of a tensor ``x`` with channel axis ``axis``: the ``Operations`` of the formulas on tensors.

    Statistics and sums have the dtype of ``x``, or float32 where that is narrower.
    """

    def __init__(self, x: tf.Tensor, axis: int, channels: int) -> None:
        self.dtype = tf.float32 if x.dtype.size < 4 else x.dtype
        self._original = x.dtype
        self._static_shape = x.shape
        self._shape = tf.shape(x)
        self._channels = channels
        self._channels_last = axis == -1 or (x.shape.rank is not None and axis % x.shape.rank == x.shape.rank - 1)
        if self._channels_last:
            self._view = [-1, channels]
        else:
            # Explicit sizes: a -1 could not be inferred where another axis is empty.
            before = _size(x.shape[:axis], self._shape[:axis])
            after = _size(x.shape[axis:][1:], self._shape[axis:][1:])
            self._view = [before, channels, after]
        size = _size(x.shape, self._shape)
        self._count = tf.cast(size // channels, self.dtype)

    def elements(self, value: tf.Tensor) -> tf.Tensor:
        """A tensor shaped like ``x``, as one value an element: [M, C] or [A, C, B]."""
        return tf.reshape(tf.cast(value, self.dtype), self._view)

    def like_input(self, value: tf.Tensor) -> tf.Tensor:
        """The inverse of ``elements``: shape and dtype of ``x``."""
        value = tf.cast(tf.reshape(value, self._shape), self._original)
        value.set_shape(self._static_shape)
        return value

    def channel(self, value: tf.Tensor) -> tf.Tensor:
        """A vector [C], as one value a channel: [C] or [C, 1]."""
        return value if self._channels_last else value[:, tf.newaxis]

    def vector(self, value: tf.Tensor) -> tf.Tensor:
        """The inverse of ``channel``: [C]."""
        return tf.reshape(value, [self._channels])

    def sum(self, value: tf.Tensor) -> tf.Tensor:
        """Σ over the elements of a channel, in stages: a long serial sum would lose digits."""
        if not self._channels_last:
            before, channels, after = self._view
            value = _staged_sum(tf.reshape(value, [before * channels, after]), axis=1)
        return self.channel(_staged_sum(tf.reshape(value, [-1, self._channels]), axis=0))

    def mean(self, value: tf.Tensor) -> tf.Tensor:
        """Σ value / m."""
        return self.sum(value) / self._count

    def share(self) -> tf.Tensor:
        """1 / m."""
        return 1 / self._count

    def squared_difference(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """(a − b)², in one pass."""
        return tf.math.squared_difference(a, b)

    def rsqrt(self, value: tf.Tensor) -> tf.Tensor:
        """value^(−1/2)."""
        return tf.math.rsqrt(value)

    def constant(self, value: tf.Tensor) -> tf.Tensor:
        """The same value, or 0 where it is not finite, held constant by differentiation.

        Without the selection XLA's compiler would fuse the division that ends a mean into every subtraction of it, as a
        multiply-add that does not round the quotient: each use would see another constant.
        """
        return tf.stop_gradient(tf.where(tf.math.is_finite(value), value, tf.zeros_like(value)))


def _size(static: tf.TensorShape, dynamic: tf.Tensor) -> Any:
    """Product of sizes, as an int where it is known."""
    known = static.num_elements()
    return tf.reduce_prod(dynamic) if known is None else known


def _staged_sum(matrix: tf.Tensor, axis: int, stages: int = 2) -> tf.Tensor:
    """Σ over the rows (axis 0) or within each row (axis 1) of a matrix.

    XLA adds serially along either axis, and TensorFlow down the columns: 4·10⁵ float32 numbers cost a relative 10⁻⁵.
    Blocks are summed first, which is also faster, since a block stays in the cache. The *means* of the blocks go to the
    next stage, because XLA folds a sum of sums back into one serial sum; a division between them prevents that.
    """
    length = matrix.shape[axis]
    if stages == 0 or (length is not None and length <= SERIAL[axis]):
        return tf.reduce_sum(matrix, axis)
    length = tf.shape(matrix)[axis] if length is None else length
    blocks = length // BLOCK
    whole = blocks * BLOCK
    if axis == 0:
        head, rest, shape = matrix[:whole], matrix[whole:], [blocks, BLOCK, matrix.shape[1]]
    else:
        rows = _size(matrix.shape[:1], tf.shape(matrix)[:1])
        head, rest, shape = matrix[:, :whole], matrix[:, whole:], [rows, blocks, BLOCK]
    means = tf.reduce_mean(tf.reshape(head, shape), axis + 1)
    return BLOCK * _staged_sum(means, axis, stages - 1) + tf.reduce_sum(rest, axis)
