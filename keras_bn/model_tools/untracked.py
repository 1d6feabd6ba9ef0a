"""Batch normalization without moving statistics."""

from typing import Any

import keras
import tensorflow as tf

from keras_bn import functional, masking
from keras_bn.batch import TensorBatch
from keras_bn.layer import BatchNormalization


@keras.saving.register_keras_serializable(package="keras_bn", name="UntrackedBatchNormalization")
class UntrackedBatchNormalization(BatchNormalization):
    """Batch normalization with the statistics of the batch at hand, in inference as in training.

    PyTorch's ``track_running_stats=False``. There are moving statistics, as in every layer of this family, but they
    stay what they are and nothing depends on them; ``trainable = False`` freezes gamma and beta only.

    Args:
        axis, epsilon, center, scale, …: As in ``BatchNormalization``, without ``renorm``, ``synchronized`` and
            ``virtual_batch_size``.

    Call arguments and errors are those of ``BatchNormalization``.

    >>> layer = UntrackedBatchNormalization(epsilon=0.0)
    >>> layer(np.array([[0.0], [2.0]])).numpy().tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        excluded = {name: getattr(self, name) for name in ("renorm", "synchronized", "virtual_batch_size")}
        if any(excluded.values()):
            given = ", ".join(f"{name}={value!r}" for name, value in excluded.items() if value)
            raise ValueError(
                f"UntrackedBatchNormalization supports none of {', '.join(excluded)}. Received: {given}. Leave it out."
            )

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        # Keras attaches a mask that it propagates to the inputs themselves.
        is_propagated = mask is not None and getattr(inputs, "_keras_mask", None) is mask
        x = self._checked(inputs)
        weights = None
        if mask is not None:
            mask = tf.convert_to_tensor(mask)
            weights = masking.propagated(mask, x) if is_propagated else masking.explicit(mask, x, self._axes)
        batch = TensorBatch(x, self._axes, self._channels, weights)
        gamma = tf.cast(self.gamma, batch.dtype) if self.scale else tf.ones(self._channels, batch.dtype)
        beta = tf.cast(self.beta, batch.dtype) if self.center else tf.zeros(self._channels, batch.dtype)
        return tf.cast(functional.train(batch, x, gamma, beta, epsilon=self.epsilon).y, self.compute_dtype)
