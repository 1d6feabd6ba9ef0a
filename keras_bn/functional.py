"""``batch_norm``: batch normalization as one differentiable operation."""

from typing import Any, NamedTuple

import tensorflow as tf

from keras_bn.engines import closed_form


class BatchNormOutput(NamedTuple):
    """Result of ``batch_norm``; all three are differentiable."""

    y: tf.Tensor
    """Like x."""
    mean: tf.Tensor
    """[C], mean of the batch."""
    variance: tf.Tensor
    """[C], biased variance of the batch."""


def batch_norm(x: Any, gamma: Any, beta: Any, *, axis: int = -1, epsilon: float = 1e-3) -> BatchNormOutput:
    """Normalize ``x`` with the mean and variance of its own batch, then scale and shift.

    y = gamma · (x − mean) / √(variance + epsilon) + beta, with mean and variance over all axes but ``axis``. Gradients
    of any order follow the closed form (equations 1 and 2) instead of the graph of the forward pass; between the passes
    only x and three vectors of C values are kept. Works eagerly, in ``tf.function`` and with ``jit_compile=True``.

    Args:
        x: Floating-point tensor of rank 2 or more; sizes may be unknown, except that of ``axis`` or of ``gamma``.
        gamma: [C], the scale.
        beta: [C], the shift.
        axis: The channel axis.
        epsilon: Added to the variance; not negative.

    Returns:
        ``(y, mean, variance)``. y has the shape and dtype of x; mean and variance are [C], in the dtype of x or
        float32 where that is narrower.

    Raises:
        TypeError: x is not floating-point.
        ValueError: rank, axis, gamma, beta or epsilon do not fit.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), Algorithm 1.

    >>> y, mean, variance = batch_norm([[0.0, 1.0], [2.0, 5.0]], [1.0, 1.0], [0.0, 0.0], epsilon=0.0)
    >>> mean.numpy().tolist(), variance.numpy().tolist()
    ([1.0, 3.0], [1.0, 4.0])
    """
    x = tf.convert_to_tensor(x)
    check_input(x, axis)
    if not epsilon >= 0:
        raise ValueError(
            f"epsilon must not be negative. Received: epsilon={epsilon}. Typical values are 1e-3 and 1e-5."
        )
    statistics_dtype = tf.float32 if x.dtype.size < 4 else x.dtype
    gamma, beta = _vector(gamma, "gamma", statistics_dtype), _vector(beta, "beta", statistics_dtype)
    channels = None if x.shape.rank is None else x.shape[axis]
    if gamma.shape != beta.shape or channels not in (None, gamma.shape[0]):
        raise ValueError(
            "gamma and beta must have one value for each channel. "
            f"Received: gamma.shape={gamma.shape}, beta.shape={beta.shape}, x.shape={x.shape} with axis={axis}, "
            f"that is {channels} channels."
        )

    @tf.custom_gradient
    def differentiable(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        return closed_form.training(x, gamma, beta, axis=axis, epsilon=epsilon)

    return BatchNormOutput(*differentiable(x, gamma, beta))


def check_input(x: tf.Tensor, axis: int) -> None:
    """Raise unless ``x`` is a floating-point tensor of rank 2 or more (or of unknown rank) that has ``axis``."""
    if not x.dtype.is_floating:
        raise TypeError(
            f"batch normalization needs floating-point inputs. Received: dtype={x.dtype.name}. Convert them with tf.cast."
        )
    rank = x.shape.rank
    if rank is None:
        return
    if rank < 2:
        raise ValueError(
            f"batch normalization needs inputs of rank 2 or more, (batch, ..., channels). Received: shape={x.shape}. "
            "A batch of scalars has the shape (batch, 1)."
        )
    if not -rank <= axis < rank:
        raise ValueError(f"axis must be in [{-rank}, {rank}) for inputs of shape {x.shape}. Received: axis={axis}.")


def _vector(value: Any, name: str, dtype: tf.DType) -> tf.Tensor:
    value = tf.cast(tf.convert_to_tensor(value), dtype)
    if value.shape.rank != 1 or value.shape[0] is None:
        raise ValueError(f"{name} must be a vector of known size, one value a channel. Received: shape={value.shape}.")
    return value
