"""``BatchNormalization``, the Keras layer."""

from typing import Any

import keras
import tensorflow as tf

from keras_bn import functional
from keras_bn.engines import closed_form
from keras_bn.formulas import moving_statistics


@keras.saving.register_keras_serializable(package="keras_bn", name="BatchNormalization")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization whose backward pass is the proved closed form.

    A drop-in for ``keras.layers.BatchNormalization``: the same arguments, defaults and weights in the same order, so
    that weights files exchange in both directions.

    In training, y = gamma · (x − mean) / √(variance + epsilon) + beta with the mean and variance of the batch over all
    axes but ``axis`` (equation 1), and the moving statistics follow them (equation 11). In inference, and wherever the
    layer is frozen by ``trainable = False``, the moving statistics take their place (equation 5).

    Args:
        axis: The channel axis.
        momentum: Weight of the old value in the moving statistics.
        epsilon: Added to the variance.
        center: Whether to add ``beta``.
        scale: Whether to multiply by ``gamma``.
        **kwargs: As in ``keras.layers.BatchNormalization``: initializers, regularizers and constraints of the weights,
            ``name``, ``dtype``, ``trainable``. ``renorm`` and ``synchronized`` are not supported yet.

    Call arguments:
        inputs: Floating-point tensor of rank 2 or more.
        training: Whether to normalize with the statistics of the batch.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), Algorithms 1 and 2.

    >>> layer = BatchNormalization()
    >>> y = layer(np.array([[0.0], [2.0]]), training=True)
    >>> layer.moving_mean.numpy().round(2).tolist()
    [0.01]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for option in ("renorm", "synchronized"):
            if getattr(self, option):
                raise NotImplementedError(
                    f"{option}=True is not supported yet. Received: {option}={getattr(self, option)}. "
                    "Use keras.layers.BatchNormalization for it."
                )

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        # The parent's input_spec refuses inputs of unknown rank; `call` checks what can be known.
        self.input_spec = None
        self._rank = len(input_shape)
        self._channels = input_shape[self.axis]

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        x = tf.convert_to_tensor(inputs)
        functional.check_input(x, self.axis)
        self._check_built_for(x)
        if mask is not None:
            raise NotImplementedError(
                f"mask is not supported yet. Received: mask of shape {mask.shape}. "
                "Use keras.layers.BatchNormalization for masked inputs."
            )
        dtype = tf.float32 if x.dtype.size < 4 else x.dtype
        moving_mean, moving_variance = tf.cast(self.moving_mean, dtype), tf.cast(self.moving_variance, dtype)
        gamma = tf.cast(self.gamma, dtype) if self.scale else tf.ones([self._channels], dtype)
        beta = tf.cast(self.beta, dtype) if self.center else tf.zeros([self._channels], dtype)
        if training and self.trainable:
            y, mean, variance = functional.batch_norm(x, gamma, beta, axis=self.axis, epsilon=self.epsilon)
            # A moving average is no part of the loss.
            mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
            self.moving_mean.assign(moving_statistics.update(moving_mean, mean, self.momentum))
            self.moving_variance.assign(moving_statistics.update(moving_variance, variance, self.momentum))
        else:
            y = closed_form.inference(
                x, moving_mean, moving_variance, gamma, beta, axis=self.axis, epsilon=self.epsilon
            )
        return tf.cast(y, self.compute_dtype)

    def _check_built_for(self, x: tf.Tensor) -> None:
        rank = x.shape.rank
        if rank is None:
            return
        if rank != self._rank or x.shape[self.axis] not in (None, self._channels):
            raise ValueError(
                f"{self.name} was built for inputs of rank {self._rank} with {self._channels} channels on axis "
                f"{self.axis}. Received: shape={x.shape}. Use another layer for inputs of another shape."
            )
