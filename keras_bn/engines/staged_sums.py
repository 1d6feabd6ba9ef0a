"""Sums along an axis, in stages: long serial sums lose digits."""

from typing import Any

import tensorflow as tf

from keras_bn import xla
from keras_bn.tensors import sizes_of

# How many numbers are added one after the other before their mean joins the second stage of a sum.
RUN = 64
# The same in a sum of more than RUN and at most FEW numbers, where such short runs take no more time.
SHORT_RUN, FEW = 8, 1024
# The same where XLA compiles, and in the sums of the fused kernels.
BLOCK = 256
# Parts that are added to each other, number by number, before XLA sums.
FOLDS = 8


def staged_sum(value: tf.Tensor, axis: int, sizes: list[Any]) -> tf.Tensor:
    """Σ along one axis, in stages; ``sizes`` are those of the axes up to it, as ints where they are known.

    Both TensorFlow and XLA add serially, but for TensorFlow's sums along the last axis, which are pairwise: 4·10⁵
    float32 numbers cost them a relative 10⁻⁵. Runs of numbers are summed first, which is also faster, since a run stays
    in the cache. Their means, a small part of the numbers, are added in float64: however many numbers there are, none
    of them is added more than RUN times in float32, and of no more than FEW numbers none more than SHORT_RUN times. XLA
    would not be as fast with float64; there the *means* of longer runs are added, because XLA folds a sum of sums back
    into one serial sum, which a division prevents.
    """
    compiles = xla.compiles()
    if isinstance(sizes[axis], int) and sizes[axis] <= (BLOCK if compiles else RUN):
        return tf.reduce_sum(value, axis)
    if compiles:
        value, length, rest = _folded(value, axis, sizes)
        return _sum_of_runs(value, axis, [*sizes[:axis], length], BLOCK, value.dtype) + rest
    if axis == value.shape.rank - 1:
        return tf.reduce_sum(value, axis)
    run = SHORT_RUN if isinstance(sizes[axis], int) and sizes[axis] <= FEW else RUN
    return tf.cast(_sum_of_runs(value, axis, sizes, run, tf.float64), value.dtype)


def _sum_of_runs(value: tf.Tensor, axis: int, sizes: list[Any], run: int, dtype: tf.DType) -> tf.Tensor:
    """Σ along an axis, the second stage in a dtype of its own."""
    head, rest = _split(value, axis, sizes, [sizes[axis] // run, run])
    total = run * tf.reduce_sum(tf.cast(tf.reduce_mean(head, axis + 1), dtype), axis)
    return total if rest is None else total + tf.cast(tf.reduce_sum(rest, axis), dtype)


def _folded(value: tf.Tensor, axis: int, sizes: list[Any]) -> tuple[tf.Tensor, Any, tf.Tensor | float]:
    """(v, its length, r) with Σ value = Σ v + r: v is the sum of the FOLDS parts of the values.

    XLA writes out what it is to reduce, here an eighth of the values; the sum of the parts it computes while it reads.
    """
    length = sizes[axis] // FOLDS
    head, rest = _split(value, axis, sizes, [FOLDS, length])
    parts = tf.unstack(head, FOLDS, axis)
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0], length, 0.0 if rest is None else tf.reduce_sum(rest, axis)


def _split(value: tf.Tensor, axis: int, sizes: list[Any], stages: list[Any]) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The axis as two axes of sizes ``stages``, and what is left over, if anything may be."""
    before, whole = (slice(None),) * axis, stages[0] * stages[1]
    after = sizes_of(value)[axis + 1 :] if axis + 1 < value.shape.rank else []
    shape = [*sizes[:axis], *stages, *after]
    if isinstance(whole, int) and whole == sizes[axis]:
        return tf.reshape(value, shape), None
    return tf.reshape(value[(*before, slice(None, whole))], shape), value[(*before, slice(whole, None))]
