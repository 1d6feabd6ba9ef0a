"""Averaged weights in training, with the moving statistics that belong to them."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_bn import arguments
from keras_bn.model_tools import copying_models, data_sets
from keras_bn.model_tools.recalibration import recalibrate
from keras_bn.untracked import is_batch_normalization


class SwapEMAWeights(keras.callbacks.SwapEMAWeights):
    """Keras' callback of this name, after which batch normalization has statistics of the averaged weights.

    Keras swaps the averages that an optimizer with ``use_ema=True`` keeps into the model before it evaluates, and back
    afterwards. The moving statistics stay those of the weights in training, which are others. Here each time the
    averages come into the model ``recalibrate`` gives it the statistics of ``data``; when they leave it, the old ones
    come back. ``fit`` leaves the averages in the model, and so their statistics, too.

    Args:
        data: What to take the statistics of, and in which batches: as in ``recalibrate``. No generator, which would be
            used up the first time.
        steps, batch_size: As in ``recalibrate``.
        swap_on_epoch: As in Keras: whether the averages are in the model between epochs, for callbacks that save it.

    Raises:
        TypeError: ``data`` has none of the forms that ``recalibrate`` takes.
        ValueError: ``data`` is a generator, or a size is not positive; in ``fit``, the optimizer has no
            ``use_ema=True``. If the pass over the data fails, the model is as it was in training.

    Source: Izmailov and others, "Averaging Weights Leads to Wider Optima and Better Generalization" (2018).

    >>> SwapEMAWeights(np.zeros((8, 2)), batch_size=4).swap_on_epoch
    False
    """

    def __init__(
        self, data: Any, *, steps: int | None = None, batch_size: int = 32, swap_on_epoch: bool = False
    ) -> None:
        super().__init__(swap_on_epoch=swap_on_epoch)
        arguments.flags(swap_on_epoch=swap_on_epoch)
        steps = None if steps is None else data_sets.whole("steps", steps)
        batch_size = data_sets.whole("batch_size", batch_size)
        if isinstance(data, Iterator):
            raise ValueError(
                "data must be what can be gone through after every epoch. "
                f"Received: data={data!r}, which is used up the first time. Make a list or a tf.data.Dataset of it."
            )
        data_sets.count(data, steps=steps, batch_size=batch_size)
        self._data, self._steps, self._batch_size = data, steps, batch_size
        # The moving statistics of the weights in training, while the averages are in the model.
        self._kept: list[tuple[keras.Variable, Any]] | None = None

    def _enter(self) -> None:
        if self._kept is None:
            layers = [layer for layer in copying_models.all_layers(self.model) if is_batch_normalization(layer)]
            statistics = [v for layer in layers for v in layer.weights if v.name not in ("gamma", "beta")]
            self._kept = [(variable, variable.numpy()) for variable in statistics]
            try:
                recalibrate(self.model, self._data, steps=self._steps, batch_size=self._batch_size)
            except BaseException:
                # The pass has left the statistics; the weights of training come back, too.
                self._kept, self._ema_weights_in_model = None, False
                self._swap_variables()
                raise

    def _leave(self) -> None:
        for variable, value in self._kept or ():
            variable.assign(value)
        self._kept = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._leave()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self.swap_on_epoch:
            self._enter()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_test_begin(logs)
        self._enter()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        super().on_test_end(logs)
        self._leave()

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.on_test_begin(logs)

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        # Not the parent's, which leaves the averages in the model (Keras 3.15).
        self.on_test_end(logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        # Keras has put the averages into the model.
        self._enter()
        self._kept = None
