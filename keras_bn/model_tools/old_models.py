"""Models in .h5 files of Keras 1 and 2, whose batch normalization no layer of today takes as it is.

Keras' loader of such files compares shapes and numbers of weights before a layer sees them, and drops lists of axes. So
a copy of the file is brought up to date, and loaded by Keras.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_bn import arguments, old_files

_CLASSES = ("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization")


def load_old_model(path: str | Path, custom_objects: dict[str, Any] | None = None) -> keras.Model:
    """The model in an .h5 file that Keras 1, Keras 2 or TensorFlow wrote, with every batch normalization as ours.

    What has no place in ``keras.saving.load_model`` is taken along: several channel axes, ``virtual_batch_size``,
    renormalization, and their weights in the shapes of then.

    Args:
        path: The file. It is not changed.
        custom_objects: Classes and functions that the model needs besides, by name.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: the file holds no model, or a batch normalization computes what ours does not.

    >>> load_old_model("model_of_2019.h5")
    Traceback (most recent call last):
    ValueError: load_old_model() takes an .h5 file with a model. Received: model_of_2019.h5, no file. Check the path.
    """
    path = arguments.path("path", path)
    if not path.is_file() or not h5py.is_hdf5(path):
        remedy = "keras.saving.load_model loads it" if path.suffix == ".keras" else "Check the path"
        kind = "a file of another kind" if path.is_file() else "a directory" if path.is_dir() else "no file"
        raise ValueError(f"load_old_model() takes an .h5 file with a model. Received: {path}, {kind}. {remedy}.")
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "model.h5"
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            if "model_config" not in file.attrs or "model_weights" not in file:
                raise ValueError(
                    f"{path} holds weights without a model. Build the model by its code and set the weights of its "
                    "layers: set_weights() takes them in older shapes, too."
                )
            config = json.loads(file.attrs["model_config"])
            layers: dict[str, dict[str, Any]] = {}
            file.attrs["model_config"] = json.dumps(_modern(config, layers))
            for name, group in file["model_weights"].items():
                _modernize_weights(name, group, layers)
        return keras.saving.load_model(copy, custom_objects=custom_objects, compile=False)


def _modern(config: Any, layers: dict[str, dict[str, Any]]) -> Any:
    """A config in which batch normalization is ours; the configs of these layers are added to ``layers`` by name."""
    if isinstance(config, list):
        return [_modern(entry, layers) for entry in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") not in _CLASSES or not isinstance(config.get("config"), dict):
        return {name: _modern(entry, layers) for name, entry in config.items()}
    old = config["config"]
    # The loader takes it for the inputs of the model.
    kept = {name: old[name] for name in ("batch_input_shape",) if name in old}
    new = old_files.modern_config(old) | kept
    axes = new["axis"] if isinstance(new["axis"], list) else [new["axis"]]
    if new.get("virtual_batch_size") is not None and isinstance(old["axis"], list):
        # Built layers wrote the axis that they had incremented for that of the groups.
        axes = [a - 1 for a in axes]
    new["axis"] = new["axes"] = axes
    if config["class_name"] == "SyncBatchNormalization":
        new["synchronized"] = True
    layers[new["name"]] = new
    return {**config, "class_name": "keras_bn>BatchNormalization", "config": new}


def _modernize_weights(layer: str, group: h5py.Group, layers: dict[str, dict[str, Any]]) -> None:
    """Give the weights of batch normalization in a group the shapes and the number of today."""
    stored = [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs.get("weight_names", [])]
    new: dict[str, np.ndarray] = {}
    for name in stored:
        scope, _, variable = name.rpartition("/")
        config = layers.get(layer) or layers.get(scope.rpartition("/")[2])
        value = np.asarray(group[name])
        if config is None or variable.startswith(("renorm_mean_weight", "renorm_stddev_weight")):
            # What is left out of a config's layer is the weight of a reference.
            new |= {} if config else {name: value}
            continue
        weight = f"{scope}/{variable.replace(':', '_weight:')}"
        if variable.startswith("renorm_") and weight in stored:
            if variable.startswith("renorm_mean"):
                variance = np.asarray(group[f"{scope}/moving_variance:0"])
                new[f"{scope}/moving_stddev:0"] = _shaped(np.sqrt(variance + config["epsilon"]), config["axis"])
            value = value / max(float(np.asarray(group[weight])), np.finfo("float32").tiny)
        new[name] = _shaped(value, config["axis"])
    for name in stored:
        del group[name]
    for name, value in new.items():
        group[name] = value
    group.attrs["weight_names"] = np.array([name.encode() for name in new])


def _shaped(value: np.ndarray, axes: list[int]) -> np.ndarray:
    """A weight without the ones that stand for other axes, in the order of ``axes``."""
    if value.ndim <= len(axes):
        return value
    value = value.reshape([size for size in value.shape if size != 1] or [1])
    return np.transpose(value, np.argsort(np.argsort(axes))) if value.ndim == len(axes) else value
