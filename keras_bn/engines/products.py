"""The formulas, whose sums are products of matrices: each reads its tensors once, and writes nothing.

Where oneDNN runs TensorFlow's fused kernels these are faster. Elsewhere their backward pass takes up to twice as long.
"""

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.engines import column_sums, second_order, small_means
from keras_bn.engines.closed_form import Backward, Gradients, Outputs
from keras_bn.formulas import training as training_formulas
from keras_bn.formulas.training import Fallback


class Rows(TensorBatch):
    """A batch of float32 inputs whose channels come last, and all of whose elements count.

    It is summed by ``column_sums`` wherever that takes whole runs of rows.
    """

    def __init__(self, x: tf.Tensor) -> None:
        super().__init__(x, (-1,), (x.shape[-1],))
        self._input_shape = x.shape
        self._in_runs = column_sums.run_length(x.shape) is not None

    def sum(self, value: tf.Tensor) -> tf.Tensor:
        """Σ over every row."""
        if not self._in_runs:
            return super().sum(value)
        with small_means.on_cpu():
            return column_sums.total(value, self._input_shape)

    def sum_of_products(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Σ a·b over every row, without writing the products."""
        if not self._in_runs:
            return super().sum_of_products(a, b)
        with small_means.on_cpu():
            return column_sums.of_products(a, b, self._input_shape)


def training(
    batch: TensorBatch,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    epsilon: float,
    fallback: Fallback | None = None,
) -> tuple[Outputs, Backward]:
    """As ``closed_form.training``, for float32 inputs whose channels come last, and all of whose elements count.

    The function returned leaves the cotangents of mean and variance out of account.
    """
    near, moments = small_means.near(batch, x, fallback)
    rows = Rows(x)
    elements = rows.elements(near)
    # The center has been subtracted.
    y, saved = training_formulas.normalize(rows, elements, moments._replace(center=0.0), gamma, beta, epsilon)

    def gradients(dy: tf.Tensor) -> Gradients:
        found = training_formulas.backward(rows, rows.elements(dy), 0.0, 0.0, elements, gamma, saved)
        return rows.like_input(found.x), found.gamma, found.beta

    return (rows.like_input(y), *moments), second_order.backward(gradients, batch, x, gamma, beta, epsilon, fallback)
