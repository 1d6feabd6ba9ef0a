"""Ghost batches: groups of samples, each normalized with statistics of its own.

Source: Hoffer, Hubara and Soudry, "Train longer, generalize better" (2017).
"""

from typing import Any

import tensorflow as tf

from keras_bn import functional
from keras_bn.batch import TensorBatch
from keras_bn.formulas import merging
from keras_bn.formulas.training import Fallback, Moments
from keras_bn.tensors import sizes_of


def normalize_groups(
    size: int,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    axes: tuple[int, ...],
    weights: tf.Tensor | None,
    epsilon: float,
    fallback: Fallback,
) -> tuple[tf.Tensor, Moments]:
    """``functional.normalize_batch`` on groups of ``size`` samples, the last of which may be smaller.

    The moments are those of the whole batch, merged from those of the groups (equation 7).
    """
    samples = sizes_of(x)[0]
    if weights is not None:
        weights = tf.broadcast_to(weights, [samples, *sizes_of(weights)[1:]])
    whole = samples // size * size
    parts = [(slice(None, whole), whole // size, size), (slice(whole, None), 1, samples - whole)]
    outputs = [
        _equal_groups(
            groups,
            group_size,
            x[part],
            gamma,
            beta,
            axes,
            None if weights is None else weights[part],
            epsilon,
            fallback,
        )
        for part, groups, group_size in parts
        if tf.is_tensor(samples) or groups * group_size > 0 or samples == 0
    ]
    y, count, *moments = (tf.concat(values, axis=0) for values in zip(*outputs, strict=True))
    groups = TensorBatch(count, tuple(range(1, count.shape.rank)), tuple(gamma.shape), weights=count)
    merged = merging.merge_moments(groups, Moments(*(groups.elements(value) for value in moments)))
    y.set_shape(x.shape)  # ensure_shape, an operation, has no derivative in forward mode
    return y, Moments(*(groups.vector(value) for value in merged))


def _equal_groups(
    groups: Any,
    size: Any,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    axes: tuple[int, ...],
    weights: tf.Tensor | None,
    epsilon: float,
    fallback: Fallback,
) -> tuple[tf.Tensor, ...]:
    """(y, and count and moments of each group): the groups are one more channel axis, in front."""
    rank, channels = x.shape.rank, (groups, *gamma.shape)
    grouped = tf.reshape(x, [groups, size, *sizes_of(x)[1:]])
    if weights is not None:
        weights = tf.reshape(weights, [groups, size, *sizes_of(weights)[1:]])
    batch = TensorBatch(grouped, (0, *(a % rank + 1 for a in axes)), channels, weights)
    fallback = Fallback(*(tf.broadcast_to(value, channels) for value in fallback))
    y, moments = functional.normalize_batch(
        "closed_form",
        batch,
        grouped,
        tf.broadcast_to(gamma, channels),
        tf.broadcast_to(beta, channels),
        epsilon=epsilon,
        fallback=fallback,
    )
    return tf.reshape(y, tf.shape(x)), batch.count(), *moments
