"""Batch normalization without moving statistics."""

from typing import Any

import keras
import tensorflow as tf

from keras_bn.formulas.training import Fallback
from keras_bn.layer import BatchNormalization
from keras_bn.moving_state import State


@keras.saving.register_keras_serializable(package="keras_bn", name="UntrackedBatchNormalization")
class UntrackedBatchNormalization(BatchNormalization):
    """Batch normalization with the statistics of the batch at hand, in inference as in training.

    PyTorch's ``track_running_stats=False``. There are moving statistics, as in every layer of this family, but they
    stay what they are and nothing depends on them; ``trainable = False`` freezes gamma and beta only.

    Args:
        axis, epsilon, center, scale, …: As in ``BatchNormalization``, without ``renorm``, ``synchronized`` and
            ``virtual_batch_size``.

    Call arguments and errors are those of ``BatchNormalization``. Channels in which a mask lets nothing count are
    normalized with mean 0 and variance 1.

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
        self._refuse_statistics()

    def _refuse_statistics(self) -> None:
        if self.statistics != "auto":
            raise ValueError(
                "UntrackedBatchNormalization always normalizes with the statistics of the batch. "
                f"Received: statistics={self.statistics!r}. Use BatchNormalization for others."
            )

    def _phase(self, training: Any) -> tuple[Any, Any]:
        self._refuse_statistics()
        return True, False

    def _moving(self, state: State) -> Fallback:
        return Fallback(tf.zeros_like(state["moving_mean"]), tf.ones_like(state["moving_variance"]))


def is_built_in(layer: Any) -> bool:
    """Whether a layer is Keras' own batch normalization, and of no class derived from it."""
    return type(layer) is keras.layers.BatchNormalization


def is_batch_normalization(layer: Any) -> bool:
    """Whether a layer normalizes with moving statistics as the built-in layer and ours do."""
    return isinstance(layer, keras.layers.BatchNormalization) and not isinstance(layer, UntrackedBatchNormalization)
