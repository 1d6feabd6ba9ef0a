"""TensorFlow's fused kernels, which evaluate the formulas in one pass or two.

They are several times faster than separate operations on CPU, and lose digits where the mean is large: a relative 10⁻³
at mean/std 10³. Training therefore looks at the mean and variance that they are given or give, and falls back on the
closed form where these tell that digits were lost.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form
from keras_bn.engines.closed_form import Backward, Gradients, Outputs
from keras_bn.formulas import training as training_formulas

# The kernel adds serially: its error grows with |mean|/std and with the square root of the number M of elements. As
# measured on normal inputs, y and dx are within 1e-5 up to |mean|/std · √M = 500; beyond 10⁵ elements no more is asked
# than at 10⁵. Inputs that begin with a few large elements lose more, up to 4e-4, unseen by the guard.
# That is with two threads, of which each adds half; one alone errs by 1.1e-5 at 10⁵ elements, and is not chosen by
# "auto".
RELIABLE = 500.0
RELIABLE_ELEMENTS = 1e5

# Channels from which the kernels are faster, by a third, if each row is a sample of its own than if all rows are one
# image; with few channels it is the other way round (measured on 2 CPU cores).
WIDE = 256

# (y, mean, variance), and the gradients for a cotangent of y, by the kernels alone.
Kernels = tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], Callable[[tf.Tensor], Gradients]]


def training(
    batch: TensorBatch, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float, **fallback: Any
) -> tuple[Outputs, Backward]:
    """As ``closed_form.training``, for channels that come last.

    The function returned leaves the cotangents of mean and variance out of account. ``fallback`` is passed to the
    closed form.
    """
    rows = tf.reshape(x, _images(-1, gamma.shape[0]))
    kernels = _unweighted if batch.row_weights is None else _weighted
    (y, mean, variance), kernel_gradients = kernels(batch, rows, gamma, beta, epsilon)
    std = tf.sqrt(variance + epsilon)
    limit = RELIABLE * tf.math.rsqrt(tf.minimum(batch.size(), RELIABLE_ELEMENTS))
    reliable = tf.reduce_all((tf.abs(mean) <= limit * std) & tf.math.is_finite(std)) & ~batch.is_empty()

    def exact() -> tuple[Outputs, Backward]:
        return closed_form.training(batch, x, gamma, beta, epsilon=epsilon, **fallback)

    # The kernels keep the mean as one number, where the closed form keeps a pair.
    y, *moments = tf.cond(
        reliable,
        lambda: (tf.reshape(y, tf.shape(x)), mean, tf.zeros_like(mean), variance),
        _apart(lambda: exact()[0]),
    )
    y.set_shape(x.shape)

    @tf.custom_gradient
    def first_order(dy: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor) -> Any:
        none = tf.zeros_like(gamma)

        def from_kernels() -> Gradients:
            dx, d_gamma, d_beta = kernel_gradients(tf.reshape(dy, tf.shape(rows)))
            return tf.reshape(dx, tf.shape(x)), d_gamma, d_beta

        dx, d_gamma, d_beta = tf.cond(reliable, from_kernels, _apart(lambda: exact()[1](dy, none, none, none)))
        dx.set_shape(x.shape)

        def second_order(*cotangents: tf.Tensor) -> Any:
            # TensorFlow would take mean and variance for constants in the kernels' own second derivative.
            with tf.GradientTape() as tape:
                tape.watch([dy, x, gamma])
                _, gradients = closed_form.training(batch, x, gamma, beta, epsilon=epsilon, **fallback)
                first = gradients(dy, none, none, none)
            return tape.gradient(first, [dy, x, gamma], output_gradients=cotangents)

        return (dx, d_gamma, d_beta), second_order

    return (y, *moments), lambda dy, *_: first_order(dy, x, gamma)


def _images(rows: int, channels: int, last: int | None = None) -> list[int]:
    """The shape of rank 4 under which the kernels are to see rows of so many channels."""
    return [*((rows, 1, 1) if channels >= WIDE else (1, 1, rows)), channels if last is None else last]


def _apart(branch: Callable[[], Any]) -> Callable[[], Any]:
    """A branch that is one operation in a graph: of one that is not taken, TensorFlow would visit every operation."""
    if tf.executing_eagerly():
        return branch
    return tf.function(branch, experimental_attributes={"_noinline": True}, autograph=False)


def _unweighted(batch: TensorBatch, rows: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> Kernels:
    """(y, mean, variance) of rows, and the gradients, by one kernel each."""
    options = {"epsilon": epsilon, "is_training": True}
    kernel = tf.raw_ops.FusedBatchNormV3(x=rows, scale=gamma, offset=beta, mean=[], variance=[], **options)
    reserved = {f"reserve_space_{i}": getattr(kernel, f"reserve_space_{i}") for i in (1, 2, 3)}

    def gradients(dy: tf.Tensor) -> Gradients:
        return tf.raw_ops.FusedBatchNormGradV3(y_backprop=dy, x=rows, scale=gamma, **reserved, **options)[:3]

    return (kernel.y, kernel.batch_mean, kernel.batch_variance * batch.biased()), gradients


def _weighted(batch: TensorBatch, rows: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> Kernels:
    """The same with weights [M, 1], which the kernels do not know: they are given the statistics.

    What the kernels then return for dx holds mean and variance constant; the route through these is one more affine map
    of x, times the weights. Where an element that does not count is not finite, neither are mean or variance.
    """
    channels = gamma.shape[0]
    x = tf.reshape(rows, [-1, channels])
    mean = batch.mean_of_finite(x)
    variance = batch.mean_of_finite(batch.squared_difference(x, mean))
    given = {"epsilon": epsilon, "is_training": False}
    y = inference(rows, mean, variance, gamma, beta, epsilon=epsilon)

    def gradients(dy: tf.Tensor) -> Gradients:
        reserved = {"reserve_space_1": mean, "reserve_space_2": variance, "reserve_space_3": variance}
        dx, d_gamma, d_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=dy, x=rows, scale=gamma, **reserved, **given
        )
        none = tf.zeros_like(mean)
        saved = training_formulas.Saved(mean, none, batch.inverse_root(variance + epsilon))
        slope, offset = training_formulas.through_statistics(batch, d_gamma, d_beta, none, none, gamma, saved)
        route = inference(rows, mean, tf.ones_like(mean), slope, offset, epsilon=0.0)
        return dx - tf.reshape(batch.share(), _images(-1, channels, 1)) * route, d_gamma, d_beta

    return (y, mean, variance), gradients


def inference(
    x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float
) -> tf.Tensor:
    """y, normalized with the given statistics (equation 5), in one pass over x.

    The kernel takes the input as it is: a reshape between would keep TensorFlow's graph optimizer from merging
    convolution, normalization and activation, and TFLite from folding them into one operation.
    """
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
    ).y
