"""TensorFlow's fused kernels, which evaluate the formulas in one pass or two.

They are several times faster than separate operations on a CPU with oneDNN. The statistics that they compute themselves
are added serially, which costs float32 up to three digits; therefore they are given better ones (``small_means``).
"""

from collections.abc import Callable
from contextlib import nullcontext

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form, column_sums, second_order, small_means
from keras_bn.engines.closed_form import Backward, Gradients, Outputs
from keras_bn.engines.small_means import LIMIT, apart, on_cpu
from keras_bn.formulas import training as training_formulas
from keras_bn.formulas.training import Fallback

# Channels from which the kernels are faster, by a third, if each row is a sample of its own than if all rows are one
# image; with few channels it is the other way round (measured on 2 CPU cores).
WIDE = 256

# (y, mean, variance), and the gradients for a cotangent of y, by the kernels alone.
Kernels = tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], Callable[[tf.Tensor], Gradients]]


def training(
    batch: TensorBatch,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    epsilon: float,
    fallback: Fallback | None = None,
) -> tuple[Outputs, Backward]:
    """As ``closed_form.training``, for channels that come last.

    The function returned leaves the cotangents of mean and variance out of account.
    """
    if batch.row_weights is None and x.dtype == tf.float32 and not tf.config.list_logical_devices("GPU"):
        outputs, kernel_gradients = _of_small_means(batch, x, gamma, beta, epsilon, fallback)
    else:
        outputs, kernel_gradients = _guarded(batch, x, gamma, beta, epsilon, fallback)

    return outputs, second_order.backward(kernel_gradients, batch, x, gamma, beta, epsilon, fallback)


def _of_small_means(
    batch: TensorBatch, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, fallback: Fallback | None
) -> tuple[Outputs, Callable[[tf.Tensor], Gradients]]:
    """The outputs, and the gradients for a cotangent of y, by kernels that are given statistics.

    What the gradient's kernel takes as variance is an inverse deviation on a GPU: wherever the graph runs, it runs on a
    CPU.
    """
    near, moments = small_means.near(batch, x, fallback)
    _, shift, variance = moments
    # On four axes as they are: a reshape behind the kernel would keep TensorFlow from joining it with an activation.
    rows = near if x.shape.rank == 4 else tf.reshape(near, _images(-1, gamma.shape[0]))
    y = inference(rows, shift, variance, gamma, beta, epsilon=epsilon)
    y = y if x.shape.rank == 4 else tf.reshape(y, tf.shape(x))
    y.set_shape(x.shape)
    kernel = _gradient_kernel(rows, gamma, (shift, variance, variance), epsilon, is_training=True)

    def gradients(dy: tf.Tensor) -> Gradients:
        with on_cpu():
            if x.shape.rank == 4:
                return kernel(dy)
            dx, d_gamma, d_beta = kernel(tf.reshape(dy, tf.shape(rows)))
        return tf.reshape(dx, tf.shape(x)), d_gamma, d_beta

    return (y, *moments), gradients


def _guarded(
    batch: TensorBatch, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, fallback: Fallback | None
) -> tuple[Outputs, Callable[[tf.Tensor], Gradients]]:
    """The same by kernels whose statistics are looked at afterwards, and else by the closed form."""
    rows = tf.reshape(x, _images(-1, gamma.shape[0]))
    kernels = _own_statistics if batch.row_weights is None else _weighted
    with on_cpu() if kernels is _weighted else nullcontext():
        (y, mean, variance), kernel_gradients = kernels(batch, rows, gamma, beta, epsilon)
    reliable = tf.reduce_all((tf.square(mean) <= LIMIT**2 * variance) & tf.math.is_finite(variance))
    reliable &= ~batch.is_empty()

    def exact() -> tuple[Outputs, Backward]:
        return closed_form.training(batch, x, gamma, beta, epsilon=epsilon, fallback=fallback)

    # The kernels keep the mean as one number, where the closed form keeps a pair.
    y, *moments = tf.cond(
        reliable,
        lambda: (tf.reshape(y, tf.shape(x)), mean, tf.zeros_like(mean), variance),
        apart(lambda: exact()[0]),
    )
    y.set_shape(x.shape)

    def gradients(dy: tf.Tensor) -> Gradients:
        none = tf.zeros_like(gamma)

        def from_kernels() -> Gradients:
            dx, d_gamma, d_beta = kernel_gradients(tf.reshape(dy, tf.shape(rows)))
            return tf.reshape(dx, tf.shape(x)), d_gamma, d_beta

        return tf.cond(reliable, from_kernels, apart(lambda: exact()[1](dy, none, none, none)))

    return (y, *moments), gradients


def _images(rows: int, channels: int, last: int | None = None) -> list[int]:
    """The shape of rank 4 under which the kernels are to see rows of so many channels."""
    return [*((rows, 1, 1) if channels >= WIDE else (1, 1, rows)), channels if last is None else last]


def _own_statistics(batch: TensorBatch, rows: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> Kernels:
    """The same with the statistics of the kernel itself.

    In half precision its errors are those of the output, and better statistics would cost a copy in float32.
    """
    kernel = tf.raw_ops.FusedBatchNormV3(
        x=rows, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    reserved = kernel.reserve_space_1, kernel.reserve_space_2, kernel.reserve_space_3
    gradients = _gradient_kernel(rows, gamma, reserved, epsilon, is_training=True)
    return (kernel.y, kernel.batch_mean, kernel.batch_variance * batch.biased()), gradients


def _gradient_kernel(
    rows: tf.Tensor, gamma: tf.Tensor, reserved: tuple[tf.Tensor, ...], epsilon: float, *, is_training: bool
) -> Callable[[tf.Tensor], Gradients]:
    """The kernel that returns the gradients; what is reserved for it are mean, variance, and once more the variance."""

    def gradients(dy: tf.Tensor) -> Gradients:
        spaces = {f"reserve_space_{i}": space for i, space in enumerate(reserved, 1)}
        return tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=dy, x=rows, scale=gamma, **spaces, epsilon=epsilon, is_training=is_training
        )[:3]

    return gradients


def _weighted(batch: TensorBatch, rows: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> Kernels:
    """The same with weights [M, 1], which the kernels do not know: they are given the statistics.

    What the kernels then return for dx holds mean and variance constant; the route through these is one more affine map
    of x, times the weights. Where an element that does not count is not finite, neither are mean or variance.
    """
    channels = gamma.shape[0]
    x = tf.reshape(rows, [-1, channels])
    weights = batch.row_weights
    mean = batch.over_count(column_sums.weighted(x, weights))
    variance = batch.over_count(column_sums.weighted(batch.squared_difference(x, mean), weights))
    y = inference(rows, mean, variance, gamma, beta, epsilon=epsilon)
    of_constants = _gradient_kernel(rows, gamma, (mean, variance, variance), epsilon, is_training=False)

    def gradients(dy: tf.Tensor) -> Gradients:
        dx, d_gamma, d_beta = of_constants(dy)
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
