"""``BatchNormMonitor``: what batch normalization does while a model trains."""

import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bn import arguments
from keras_bn.model_tools import copying_models, monitoring_picture
from keras_bn.model_tools.watched_layers import LAGGING_MEAN, LAGGING_VARIANCE, QUANTITIES, WatchedLayer
from keras_bn.untracked import is_batch_normalization


class BatchNormMonitor(keras.callbacks.Callback):
    """Watches every batch normalization of a model, ours or built-in, during ``fit``.

    After each epoch, ``logs`` and the history hold these quantities of every layer, under ``"<layer>/<quantity>"``:

    - ``gamma_min``, ``gamma_max``, ``beta_min``, ``beta_max``: the ranges over the channels;
    - ``mean_gap``: the largest distance, over the channels, of the moving mean from the mean of the epoch's batches, in
      standard deviations;
    - ``variance_gap``: the same for the variances, as the absolute logarithm of their ratio. Both gaps are NaN for a
      layer that is not updated, such as a frozen one;
    - ``dead``: the number of channels with gamma ≈ 0 or variance ≈ 0, whose output is constant.

    The statistics b of a batch are computed from the update of the moving statistics: b = (new − a·old)/(1 − a), with
    momentum a (equation 11). With ``renorm``, which averages √(variance + epsilon) instead, the variance follows from
    that. Nothing is added to the model or its training step; a few vectors are read after each batch. A layer that a
    step calls several times counts as updated once, so its gaps are overestimated.

    Gaps of more than half a standard deviation, or more than a factor of two, mean that inference lags behind training.
    One UserWarning says so, when a layer lags for two epochs in a row or at the end of training. More steps, a lower
    momentum or ``recalibrate`` help.

    Args:
        tensorboard: Directory to write all quantities to, for TensorBoard.
        picture: File in which to draw all quantities by layer and epoch at the end of training. Its suffix names the
            format; the default is PNG. It needs Matplotlib.
        warn: Whether to warn when inference statistics lag behind or are not finite, or when a variance is negative.

    Raises:
        ImportError: ``picture`` is given and Matplotlib is missing.
        ValueError: the directory of ``picture`` or ``tensorboard`` cannot be written to; or the picture is a directory
            or has a format that Matplotlib does not draw.
        ValueError: in ``fit``, if the model has no batch normalization.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), section 3.1.

    >>> monitor = BatchNormMonitor(warn=False)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(name="norm")])
    >>> model.compile(loss="mse")
    >>> history = model.fit(np.eye(2), np.eye(2), callbacks=[monitor], verbose=0).history
    >>> history["norm/dead"]
    [0.0]
    """

    def __init__(
        self, *, tensorboard: str | Path | None = None, picture: str | Path | None = None, warn: bool = True
    ) -> None:
        super().__init__()
        arguments.flags(warn=warn)
        if picture is not None:
            monitoring_picture.check(arguments.path("picture", picture))
        if tensorboard is not None and "://" not in str(tensorboard):
            _check_directory(arguments.path("tensorboard", tensorboard))
        self._directory, self._picture, self._warns = tensorboard, picture, warn
        self._writer: Any = None
        self._watched: list[WatchedLayer] = []
        self.records: dict[str, dict[str, list[float]]] = {}
        """By layer and quantity, one value an epoch."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        layers = [layer for layer in copying_models.all_layers(self.model) if is_batch_normalization(layer)]
        if not layers:
            raise ValueError(
                f"BatchNormMonitor needs a batch normalization. Received: the model {self.model.name!r} without "
                "any. Leave the callback out."
            )
        names = [layer.name for layer in layers]
        # Models within models may use a name twice.
        unique = [name if names.count(name) == 1 else layer.path for name, layer in zip(names, layers, strict=True)]
        self._watched = [WatchedLayer(name, layer) for name, layer in zip(unique, layers, strict=True)]
        self.records = {watched.name: {quantity: [] for quantity in QUANTITIES} for watched in self._watched}
        self._lagged: set[str] = set()
        self._warned = False
        self._defective: set[str] = set()
        if self._directory is not None:
            self._writer = tf.summary.create_file_writer(str(self._directory))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._batch = -1
        self._read()
        for watched in self._watched:
            watched.begin()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # With steps_per_execution, several batches end at once.
        steps, self._batch = batch - self._batch, batch
        self._read()
        for watched in self._watched:
            watched.update(steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        lagging = set()
        for watched in self._watched:
            values = watched.summary()
            for quantity, value in values.items():
                self.records[watched.name][quantity].append(value)
                if logs is not None:
                    logs[f"{watched.name}/{quantity}"] = value
            self._warn_of_defect(watched)
            if values["mean_gap"] > LAGGING_MEAN or values["variance_gap"] > LAGGING_VARIANCE:
                lagging.add(watched.name)
        if self._writer is not None:
            self._write(epoch)
        self._warn(lagging & self._lagged)
        self._lagged = lagging

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._picture is not None:
            monitoring_picture.draw(self.records, Path(self._picture))
        self._warn(self._lagged)

    def _read(self) -> None:
        """Read all statistics at once: one transfer, whatever the number of layers."""
        built = [watched for watched in self._watched if watched.layer.built]
        vectors = [tf.reshape(tf.cast(v.value, tf.float64), [-1]) for watched in built for v in watched.variables()]
        if vectors:
            parts = np.split(tf.concat(vectors, 0).numpy(), np.cumsum([int(v.shape[0]) for v in vectors])[:-1])
            rest = iter(parts)
            for watched in built:
                watched.now = [next(rest) for _ in watched.variables()]

    def _write(self, epoch: int) -> None:
        # tf.summary.scalar is part of the package tensorboard; this is what it writes.
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        )
        with self._writer.as_default():
            for name, quantities in self.records.items():
                for quantity, values in quantities.items():
                    tf.summary.write(f"{name}/{quantity}", np.float32(values[-1]), step=epoch, metadata=metadata)
        self._writer.flush()

    def _warn_of_defect(self, watched: WatchedLayer) -> None:
        if self._warns and watched.name not in self._defective and (defect := watched.defect()):
            self._defective.add(watched.name)
            warnings.warn(
                f"{watched.name} has {defect}: inference cannot be right. Look at the inputs of the layer, or at where "
                "its weights come from.",
                stacklevel=2,
            )

    def _warn(self, lagging: set[str]) -> None:
        if not (self._warns and lagging) or self._warned:
            return
        self._warned = True
        latest = {
            name: (self.records[name]["mean_gap"][-1], self.records[name]["variance_gap"][-1]) for name in lagging
        }
        worst = max(latest, key=lambda name: max(latest[name][0] / LAGGING_MEAN, latest[name][1] / LAGGING_VARIANCE))
        warnings.warn(
            f"inference statistics lag behind training in {len(lagging)} of {len(self._watched)} batch normalizations; "
            f"most in {worst}: the moving mean is off by {latest[worst][0]:.2g} standard deviations, the moving "
            f"variance by a factor of {np.exp(latest[worst][1]):.2g}. Train for more steps, lower the momentum, or use "
            "keras_bn.recalibrate.",
            stacklevel=2,
        )


def _check_directory(path: Path) -> None:
    """Before training, too: what is there of the path must be a directory in which the rest can be made."""
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(
            f"tensorboard must be a directory that can be written to. Received: {str(path)!r}, and {there} is none. "
            "Name another."
        )
