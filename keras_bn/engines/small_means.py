"""Statistics in one pass, and inputs for which they lose no digits.

⟨x²⟩ − μ² takes one pass over x and writes nothing, but loses digits where the mean is large. There x − center takes the
place of x (equation 9), *before* anything else sees it: neither pass branches behind that.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form, column_sums
from keras_bn.engines.staged_sums import BLOCK
from keras_bn.formulas.training import Fallback, Moments

# |mean|/std up to which ⟨x²⟩ − μ² is the variance to within 17 roundings, or (1 + LIMIT²).
LIMIT = 4.0


def near(batch: TensorBatch, x: tf.Tensor, fallback: Fallback | None) -> tuple[tf.Tensor, Moments]:
    """x − center, with a center of 0 where means are small, and the moments, as vectors, for channels that come last.

    The products of matrices run on a CPU wherever the graph runs: a GPU may round them to 10 bits.
    """
    with on_cpu():
        if column_sums.run_length(x.shape) is not None:
            total, total_square = column_sums.total(x, x.shape), column_sums.of_products(x, x, x.shape)
        else:
            rows = tf.reshape(x, [-1, x.shape[-1]])
            total, total_square = column_sums.weighted(rows, tf.ones([tf.shape(rows)[0], 1])), column_sums.squares(rows)
    mean = batch.over_count(total)
    variance = batch.over_count(total_square) - tf.square(mean)
    reliable = tf.reduce_all((tf.square(mean) <= LIMIT**2 * variance) & tf.math.is_finite(variance))
    if not x.shape.is_fully_defined():
        # Of fewer rows ``column_sums.squares`` returns nothing that is known.
        reliable &= batch.size() >= BLOCK

    def shifted() -> tuple[tf.Tensor, ...]:
        statistics = closed_form.statistics(batch, batch.elements(x), fallback)
        center, shift, variance = (batch.vector(value) for value in statistics)
        # A channel whose variance overflows is β everywhere, and has no gradients: as one of zeros. But where x itself
        # is infinite it is NaN.
        difference = tf.where(tf.math.is_inf(variance), 0.0 * x, x - center)
        return difference, center, batch.regular(shift), variance

    near, *moments = tf.cond(reliable, lambda: (x, tf.zeros_like(mean), mean, variance), apart(shifted))
    near.set_shape(x.shape)
    return near, Moments(*moments)


def on_cpu() -> AbstractContextManager[Any]:
    """Where a graph is made, what stands in it is to run on a CPU, whatever devices it finds later."""
    return nullcontext() if tf.executing_eagerly() else tf.device("/device:CPU:*")


def apart(branch: Callable[[], Any]) -> Callable[[], Any]:
    """A branch that is one operation in a graph: of one that is not taken, TensorFlow would visit every operation."""
    if tf.executing_eagerly():
        return branch
    return tf.function(branch, experimental_attributes={"_noinline": True}, autograph=False)
