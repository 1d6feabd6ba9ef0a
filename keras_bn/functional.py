"""``batch_norm``: batch normalization as one differentiable operation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_bn import arguments, masking, xla
from keras_bn.batch import TensorBatch, statistics_dtype
from keras_bn.custom_gradients import custom_gradient
from keras_bn.engines import closed_form, fused, products, selection
from keras_bn.formulas.renormalization import Reference
from keras_bn.formulas.training import Fallback, Moments
from keras_bn.tensors import as_tensor, check_shape, with_channels


class BatchNormOutput(NamedTuple):
    """Result of ``batch_norm``. All three tensors are differentiable."""

    y: tf.Tensor
    """Like x."""
    mean: tf.Tensor
    """Mean of the batch, shaped like gamma."""
    variance: tf.Tensor
    """Biased variance of the batch, shaped like gamma."""


def batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    *,
    axis: int | tuple[int, ...] = -1,
    epsilon: float = 1e-3,
    mask: Any = None,
    engine: str = "auto",
) -> BatchNormOutput:
    """Normalize ``x`` with the mean and variance of its own batch, then scale and shift.

    y = gamma · (x − mean) / √(variance + epsilon) + beta, with mean and variance over all axes but ``axis``. Gradients
    of any order follow the closed form (equations 1, 2 and 4) instead of the graph of the forward pass; between the
    passes only x and a few vectors of the size of gamma are kept. The function works eagerly, in ``tf.function`` and
    with ``jit_compile=True``.

    Args:
        x: Floating-point tensor of rank 2 or more. Its sizes may be unknown; the shape of ``gamma`` must be known.
        gamma: The scale, of shape [C]; with several axes, of the shape that x has along them.
        beta: The shift, of the same shape as gamma.
        axis: The channel axis, or a tuple of several. With several, every combination of channels has its own
            statistics.
        epsilon: Added to the variance; not negative.
        mask: Which elements count in mean and variance; None if all do. Every element is normalized. The mask is
            boolean or holds finite weights; a weight that is negative or NaN counts as 0. It has the shape of x without
            ``axis``, or with size 1 along ``axis``. If its rank is lower, it broadcasts over the last axes. It has no
            gradient.
        engine: "closed_form" is exact to rounding. "products" takes sums as products of matrices, and "fused" is
            TensorFlow's kernel; neither supports every call. "auto" chooses between them.

    Returns:
        ``(y, mean, variance)``. y has the shape and dtype of x. mean and variance have the shape of gamma, and are at
        least float32. If no element of a channel counts, its mean and variance are 0.

    Raises:
        TypeError: x is not floating-point; x, gamma or beta is None or sparse; axis is no int.
        ValueError: rank, axis, gamma, beta, epsilon or mask do not fit, or the engine does not support them.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), Algorithm 1.

    >>> y, mean, variance = batch_norm([[0.0, 1.0], [2.0, 5.0]], [1.0, 1.0], [0.0, 0.0], epsilon=0.0)
    >>> mean.numpy().tolist(), variance.numpy().tolist()
    ([1.0, 3.0], [1.0, 4.0])
    """
    axes = arguments.axes(axis)
    arguments.epsilon(epsilon)
    x = as_tensor("x", x)
    if not x.dtype.is_floating:
        raise TypeError(
            "batch normalization needs floating-point inputs. "
            f"Received: dtype={x.dtype.name}. Convert them with tf.cast."
        )
    check_shape(x.shape, axes)
    gamma, beta = (
        tf.cast(as_tensor(name, value), statistics_dtype(x.dtype)) for name, value in (("gamma", gamma), ("beta", beta))
    )
    sizes = tf.TensorShape([x.shape[a] for a in axes])
    if not (gamma.shape.is_fully_defined() and gamma.shape == beta.shape and sizes.is_compatible_with(gamma.shape)):
        raise ValueError(
            f"gamma and beta must have the known shape that x has along axis={axis}. "
            f"Received: gamma.shape={gamma.shape}, beta.shape={beta.shape}, x.shape={x.shape}."
        )
    selection.check_name(engine)
    shape = with_channels(x.shape, axes, tuple(gamma.shape))
    # The weights of an explicit mask are the same for all channels.
    call = {"mask": mask is not None, "jit_compile": xla.compiles(), "eager": tf.executing_eagerly()}
    engine = selection.choose(engine, selection.Request(shape, axes, x.dtype, epsilon, **call)).engine
    weights = None if mask is None else masking.explicit(tf.convert_to_tensor(mask), x, axes)
    batch = TensorBatch(x, axes, tuple(gamma.shape), weights)
    y, moments = normalize_batch(engine, batch, x, gamma, beta, epsilon=epsilon)
    return BatchNormOutput(y, moments.mean, moments.variance)


def normalize_batch(
    engine: str,
    batch: TensorBatch,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    epsilon: float,
    fallback: Fallback | None = None,
    reference: Reference | None = None,
) -> tuple[tf.Tensor, Moments]:
    """y and the moments of a batch by a chosen engine; ``fallback`` and ``reference`` are those of the closed form.

    The moments have the shape of gamma. The mean is kept as a pair of numbers. y, the pair and the variance are all
    differentiable.
    """
    if xla.differentiates_forward(x, gamma, beta):
        engine = "closed_form"  # the kernels would hold mean and variance constant
    options: dict[str, Any] = {"epsilon": epsilon, "fallback": fallback}
    if engine == "closed_form":
        return _by_formulas(batch, x, gamma, beta, reference=reference, **options)
    assert reference is None
    training = {"fused": fused.training, "products": products.training}[engine]
    return _apart_from_statistics(training, batch, x, gamma, beta, **options)


def _by_formulas(
    batch: TensorBatch, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, **options: Any
) -> tuple[tf.Tensor, Moments]:
    @custom_gradient
    def normalized(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        return closed_form.training(batch, x, gamma, beta, **options)

    y, *moments = normalized(x, gamma, beta)
    return y, Moments(*moments)


def _apart_from_statistics(
    training: Callable[..., Any],
    batch: TensorBatch,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    **options: Any,
) -> tuple[tf.Tensor, Moments]:
    """By an engine whose gradients are those of y alone."""
    moments: list[tf.Tensor] = []

    @custom_gradient
    def normalized(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        # y alone: TensorFlow keeps what returns several outputs, and would not join the kernel with what follows.
        nonlocal moments
        (y, *moments), backward = training(batch, x, gamma, beta, **options)
        return y, backward

    y = normalized(x, gamma, beta)

    @custom_gradient
    def statistics(x: tf.Tensor) -> Any:
        # Apart from y: where nobody differentiates mean and variance, their gradient costs nothing.
        def backward(*d_moments: tf.Tensor) -> tf.Tensor:
            _, gradients = closed_form.training(batch, x, gamma, beta, **options)
            return gradients(tf.zeros_like(x), *d_moments)[0]

        return tuple(tf.stop_gradient(value) for value in moments), backward

    return y, Moments(*statistics(x))
