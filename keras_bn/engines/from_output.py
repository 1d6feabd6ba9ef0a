"""A leaky ReLU behind batch normalization, of which only the output is kept until backward (equation 10).

The usual gradients of the two keep the input of either; these need neither, since both can be recovered from what comes
out. What keeps a third of the memory costs one more pass over it.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from keras_bn import xla
from keras_bn.batch import TensorBatch
from keras_bn.custom_gradients import custom_gradient
from keras_bn.engines import small_means
from keras_bn.engines.closed_form import Gradients
from keras_bn.formulas import output as output_formulas
from keras_bn.formulas import training as training_formulas
from keras_bn.formulas.training import Moments

# The slope of a leaky ReLU where its input is not positive: that of keras.activations.leaky_relu.
SLOPE = 0.2

# |beta|/|gamma| up to which (y − beta)/gamma is x_hat to within 17 roundings of y, and the least |gamma|, whose square
# is still far from underflow. Channels beyond keep their own input, one column each.
LIMIT = 16.0
SMALLEST = 1e-12


class Kept(NamedTuple):
    """What is kept between the passes: the output, which the next layer keeps as well, vectors, and columns of x."""

    out: tf.Tensor
    gamma: tf.Tensor
    beta: tf.Tensor
    variance: tf.Tensor
    columns: tf.Tensor


def serves(engine: str, *, mask: bool) -> bool:
    """Whether the kernel that this takes for backward would serve, too: in a graph on CPUs, and without a mask.

    Eagerly nothing would be gained, for the tape keeps the input of every operation.
    """
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    return engine != "closed_form" and not (mask or on_gpu or tf.executing_eagerly() or xla.compiles())


def activate(y: tf.Tensor, activation: str | None) -> tf.Tensor:
    """The activation of this name, of y; None leaves y as it is."""
    if activation == "relu":
        return tf.nn.relu(y)
    return y if activation is None else tf.nn.leaky_relu(y, SLOPE)


def leaky_relu(
    x: tf.Tensor, y: tf.Tensor, moments: Moments, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float
) -> tf.Tensor:
    """φ(y), for the y and the moments that batch normalization made of x, whose channels come last.

    Its gradients of any order are those of φ(y) with respect to x, gamma and beta, by way of the output alone.
    """
    columns = _columns(x, moments, _is_lost(gamma, beta))
    result: list[tf.Tensor] = []

    @custom_gradient
    def activated(*_: tf.Tensor) -> Any:
        def backward(d_out: tf.Tensor) -> Gradients:
            return _gradients(d_out, Kept(result[0], gamma, beta, moments.variance, columns), epsilon)

        return tf.stop_gradient(tf.nn.leaky_relu(y, SLOPE)), backward

    # The result itself, so that its own dependence on the inputs has a part in the second order.
    result.append(activated(x, gamma, beta))
    return result[0]


def _is_lost(gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    """The channels whose input cannot be recovered from their output."""
    return (tf.abs(gamma) < SMALLEST) | ~(tf.abs(beta) <= LIMIT * tf.abs(gamma))


def _columns(x: tf.Tensor, moments: Moments, lost: tf.Tensor) -> tf.Tensor:
    """x − μ of the channels that cannot be recovered, [M, number of these]: mostly none."""
    which = tf.reshape(tf.where(lost), [-1])
    columns = tf.gather(tf.reshape(x, [-1, x.shape[-1]]), which, axis=1)
    center, shift = (tf.gather(value, which) for value in moments[:2])
    return (tf.cast(columns, center.dtype) - center) - shift


def _gradients(d_out: tf.Tensor, kept: Kept, epsilon: float) -> Gradients:
    """Gradients of x, gamma and beta, which are themselves differentiable."""

    @custom_gradient
    def gradients(d_out: tf.Tensor, *values: tf.Tensor) -> Any:
        kept = Kept(*values)
        found = tf.cond(
            tf.reduce_any(_is_lost(kept.gamma, kept.beta)) | tf.equal(tf.size(kept.out), 0),
            small_means.apart(lambda: _by_formulas(d_out, kept, epsilon)),
            lambda: _by_kernel(d_out, kept, epsilon),
        )
        found[0].set_shape(kept.out.shape)

        def second_order(*cotangents: tf.Tensor) -> Any:
            # TensorFlow would take mean and variance for constants in the kernel's own derivative.
            with tf.GradientTape() as tape:
                tape.watch([d_out, *kept])
                first = _by_formulas(d_out, kept, epsilon)
            return tape.gradient(first, [d_out, *kept], output_gradients=cotangents)

        return tuple(found), second_order

    # As tensors of the graph of the first order: that of the second cannot see the forward one.
    return gradients(d_out, *(tf.identity(value) for value in kept))


def _by_kernel(d_out: tf.Tensor, kept: Kept, epsilon: float) -> Gradients:
    """The gradients by TensorFlow's kernel, which is given y for x.

    As an input, y has the mean beta and the deviation |gamma|, which makes sign(gamma)·x_hat of it; a scale of
    gamma·s·|gamma| then gives what scale gamma gives for x.
    """
    out, gamma, beta, variance, _ = kept
    delta = tf.raw_ops.LeakyReluGrad(gradients=d_out, features=out, alpha=SLOPE)
    # Not before: what waits for nothing is run in the forward pass, and kept until here.
    with tf.control_dependencies([delta]):
        y = tf.raw_ops.LeakyRelu(features=out, alpha=1 / SLOPE)
    images = tf.shape(out) if out.shape.rank == 4 else [1, 1, -1, out.shape[-1]]
    dx, d_gamma, d_beta = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=tf.reshape(delta, images),
        x=tf.reshape(y, images),
        scale=gamma * tf.math.reciprocal_no_nan(tf.sqrt(variance + epsilon)) * tf.abs(gamma),
        reserve_space_1=beta,
        reserve_space_2=tf.square(gamma),
        reserve_space_3=tf.square(gamma),
        epsilon=0.0,
        is_training=True,
    )[:3]
    return tf.reshape(dx, tf.shape(out)), d_gamma * tf.sign(gamma), d_beta


def _by_formulas(d_out: tf.Tensor, kept: Kept, epsilon: float) -> Gradients:
    """The gradients by the formulas, in which the channels that cannot be recovered take what was kept of them."""
    out, gamma, beta, variance, columns = kept
    batch, lost = TensorBatch(out, (-1,), tuple(gamma.shape)), _is_lost(gamma, beta)
    with tf.control_dependencies([d_out]):
        elements = batch.elements(tf.identity(out))
    slope = tf.where(elements > 0, tf.ones_like(elements), SLOPE * tf.ones_like(elements))
    dy, y = output_formulas.before_activation(batch.elements(d_out), elements, slope)
    inv_std = batch.inverse_root(variance + epsilon)
    # Where there is nothing to recover from, any other number does; the selection leaves out what comes of it.
    none = tf.zeros_like(gamma)
    divisors = tf.where(lost, none + 1, gamma), beta, tf.where(inv_std > 0, inv_std, none + 1)
    place = tf.maximum(tf.cumsum(tf.cast(lost, tf.int32)) - 1, 0)
    of_columns = tf.gather(tf.pad(columns, [[0, 0], [0, 1]]), place, axis=1)
    residual = tf.where(lost, of_columns, output_formulas.residual(y, *divisors))
    saved = training_formulas.Saved(none, none, inv_std)
    gradients = training_formulas.backward(batch, dy, none, none, residual, gamma, saved)
    return batch.like_input(gradients.x), gradients.gamma, gradients.beta
