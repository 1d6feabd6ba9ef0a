"""Replicas: one batch, of which every replica of a ``tf.distribute`` strategy holds a part.

Statistics of the whole come from those of the parts by the stable merge (equation 7), in one collective: each of the R
replicas fills its own row of a table of zeros, [R, 3C + 1], with its count, mean (as a pair) and variance; the tables
are added up, and every replica merges all rows by itself. Only zeros are added to a number, so that all replicas hold
the same bits, and they need no further collective to agree on the moving statistics.

Two sums, one after the other, would need no table: first Σw and Σw·μ_r about some center, then the variances about the
mean. The second has to wait for the first, so this is cheaper only where R(3C + 1) is large (README, "Replicas").
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_bn import xla
from keras_bn.batch import TensorBatch
from keras_bn.formulas import merging
from keras_bn.formulas.training import Moments


class WholeBatch(TensorBatch):
    """The batch of all replicas. It views the elements of this replica; counts, shares and moments are of the whole.

    Its construction is one collective operation, and so is every call of ``over_replicas``. Every replica has to take
    part in each, even if its part is empty.

    Args:
        part: The elements of this replica.
        moments: Theirs, as ``part.moments`` returns them.
    """

    def __init__(self, part: TensorBatch, moments: Moments) -> None:
        vars(self).update(vars(part))
        weight = part._mean_weight()
        sums = [part._total, weight] if tf.is_tensor(weight) else [part._total]
        columns = [_one_or_all(part, value) for value in sums]
        columns += [tf.reshape(part.vector(value), [-1]) for value in moments]
        table = _table(tf.concat(columns, axis=0))
        columns = tf.split(table, [int(column.shape[0]) for column in columns], axis=1)
        counts, moments = columns[: len(sums)], Moments(*columns[len(sums) :])
        parts = TensorBatch(moments.center, (1,), (math.prod(self._channels),), weights=counts[0])
        merged = merging.merge_moments(parts, moments)
        self.statistics = Moments(*(tf.reshape(parts.vector(value), self._channels) for value in merged))
        """Of the whole, shaped like gamma."""
        self._total = self._per_channel_view(tf.reduce_sum(counts[0], axis=0))
        self._derive_from_total()
        self._whole_mean_weight = weight
        if tf.is_tensor(weight):
            shares = tf.math.divide_no_nan(counts[0], tf.reduce_sum(counts[0], axis=0))
            self._whole_mean_weight = self._per_channel_view(tf.reduce_sum(shares * counts[1], axis=0))

    def _per_channel_view(self, value: tf.Tensor) -> tf.Tensor:
        """One number for all channels, or one for each."""
        return value[0] if value.shape[0] == 1 else self.channel(tf.reshape(value, self._channels))

    def _mean_weight(self) -> Any:
        return self._whole_mean_weight

    def moments(self, elements: tf.Tensor) -> Moments:
        """Mean and variance of the whole batch, of which ``elements`` are those at hand."""
        return Moments(*(self.channel(value) for value in self.statistics))

    def mean(self, value: tf.Tensor) -> tf.Tensor:
        """Σ w·value / Σ w over all replicas."""
        return self.over_replicas(super().mean(value))[0]

    def over_replicas(self, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The sums of values per channel over all replicas, in one collective."""
        packed = _all_reduce(tf.stack([tf.broadcast_to(value, self._per_channel) for value in sums]))
        return tuple(tf.unstack(packed))


def number() -> int:
    """How many replicas the strategy at hand has."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def several() -> bool:
    """Whether this call is one of several replicas', each with its own part of the batch.

    Raises:
        NotImplementedError: XLA is to compile it, which TensorFlow does for one replica only.
    """
    # Outside of `strategy.run` the batch is whole, whatever the strategy: there is no replica context.
    if number() == 1 or tf.distribute.get_replica_context() is None:
        return False
    strategy = tf.distribute.get_strategy()
    if xla.compiles() and not isinstance(strategy, tf.distribute.TPUStrategy):
        raise NotImplementedError(
            "TensorFlow compiles no training step of several replicas with XLA, whatever its layers: a compiled "
            "program reaches the variables of one device only. "
            f"Received: jit_compile=True with {number()} replicas of {type(strategy).__name__}. "
            "Use jit_compile=False there."
        )
    return True


def branch(training: tf.Tensor, in_training: Callable[[], Any], in_inference: Callable[[], Any]) -> Any:
    """``tf.cond``, in which replicas could not wait for each other.

    Raises:
        NotImplementedError: there are several replicas.
    """
    if several():
        raise NotImplementedError(
            "several replicas cannot train in one branch of a graph. Received: training as a tensor that only the "
            f"graph will know, with {number()} replicas. Pass True or False."
        )
    return tf.cond(training, in_training, in_inference)


def _one_or_all(part: TensorBatch, value: Any) -> tf.Tensor:
    """A number for each channel, or a single one that all channels share."""
    value = tf.cast(value, part.dtype)
    return tf.reshape(value if value.shape.num_elements() == 1 else part.vector(value), [-1])


def _table(row: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas."""
    own = tf.range(number()) == tf.distribute.get_replica_context().replica_id_in_sync_group
    # Selected, not multiplied by 0: a row may hold infinity or NaN, and 0 times these would spoil the other rows.
    return _all_reduce(tf.where(own[:, None], row, tf.zeros_like(row)))


def _all_reduce(value: tf.Tensor) -> tf.Tensor:
    # Flat in eager mode and in graphs alike: TensorFlow numbers the collectives of all strategies over the same devices
    # from the same start, and refuses another shape under a number that it has seen.
    flat = tf.reshape(value, [-1])
    return tf.reshape(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, flat), value.shape)
