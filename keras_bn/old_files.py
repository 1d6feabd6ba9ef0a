"""Files of other times: configs and weights of Keras 1 and 2 and TensorFlow 1, and those of layers with other options.

Sources: the constructors and weights of the layer in Keras 1.2, in TensorFlow 1.14 and in tf.keras 2.4 to 2.15.
"""

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from keras_bn import arguments, keras_internals, moving_state, renorm_bounds

# They choose an implementation, or belong to the model around the layer; they change no result.
_WITHOUT_EFFECT = ("fused", "adjustment", "_scope", "weights", "input_dtype", "batch_input_shape")
# Keras 1.
_RENAMED = {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"}
_INITIALIZERS = {"zero": "zeros", "one": "ones"}
_WHOLE = {"axis", "momentum", "epsilon", "center", "scale", "gamma_initializer"}


def modern_config(config: dict[str, Any], own: Collection[str] = (), *, is_derived: bool = False) -> dict[str, Any]:
    """The config that the layer of today has in the place of an older one; a new one is returned as it is.

    ``own`` are the names of arguments that a derived class adds: these are never an older Keras', and stay as they are.
    A derived class may also give an axis itself, and leave it out of its config.

    Raises:
        ValueError: the config asks for what this layer does not compute, or its axes are lost; the message says which.
    """
    of_class = {name: value for name, value in config.items() if name in own}
    config = {name: value for name, value in config.items() if name not in own}
    mode = config.get("mode", 0)
    if mode not in (0, 2):
        raise ValueError(
            "mode=1 of Keras 1 normalizes each sample by itself, which is no batch normalization. "
            f"Received: mode={mode!r}. Use keras.layers.LayerNormalization."
        )
    new = {_RENAMED.get(name, name): value for name, value in config.items() if name not in (*_WITHOUT_EFFECT, "mode")}
    if mode == 2:
        new["statistics"] = "batch"
    # Keras' loader of .h5 files drops an axis that is a list; a layer with several writes them under this name, too.
    axes = new.pop("axes", None)
    if axes is not None:
        new["axis"] = axes
    elif not is_derived and "axis" not in new and set(new) >= _WHOLE - {"axis"}:
        raise ValueError(
            "this config of a layer with several channel axes has lost them: Keras' loader of .h5 files drops lists. "
            "Received: a config without axis. Build the model by its code, with axis=(…), and load its weights: "
            "model.load_weights(path)."
        )
    if "axis" in new:
        new["axis"] = _axis(new["axis"])
    if isinstance(new.get("dtype"), dict):
        new["dtype"] = _policy(new["dtype"])
    if "renorm_clipping" in new:
        new["renorm_clipping"] = renorm_bounds.from_config(new["renorm_clipping"])
    for name in new:
        if name.endswith("_initializer"):
            new[name] = _initializer(new[name])
    return new | of_class


def _axis(value: Any) -> Any:
    """An axis; of a list that TensorFlow wrapped, written as a dictionary, the list."""
    if isinstance(value, dict):
        value = next((entry for entry in value.values() if isinstance(entry, (list, tuple))), value)
    return list(value) if isinstance(value, (list, tuple)) else value


def _policy(value: dict[str, Any]) -> Any:
    """A dtype policy; that of tf.keras 2, which Keras 3 does not know, by its name."""
    if value.get("class_name") not in ("Policy", "PolicyV1"):
        return value
    name = value["config"]["name"]
    # tf.keras 2.0 and 2.1: the dtype of the first inputs, which was float32 but for those who chose another.
    return None if name in ("infer", "_infer") else name.removesuffix("_with_float32_vars")


def _initializer(value: Any) -> Any:
    """An initializer without the ``dtype`` that TensorFlow 1 wrote into its config, or Keras 1's under today's name."""
    if isinstance(value, str):
        return _INITIALIZERS.get(value, value)
    if isinstance(value, dict) and isinstance(value.get("config"), dict) and "dtype" in value["config"]:
        return {**value, "config": {name: entry for name, entry in value["config"].items() if name != "dtype"}}
    return value


def own_weights(layer: Any, store: Any, rank: int | None) -> dict[str, Any]:
    """Stored weights as ``layer`` has them: by position, in the shape of its channels.

    The layer that wrote them may differ in ``renorm``, in ``momentum=None`` and ``zero_debias``, and may be one of
    tf.keras 2, where weights have ones for the axes that are not channels.

    Raises:
        ValueError: there are too few weights, or their sizes are others.
    """
    if not layer.built:
        if not len(store):  # of a layer that was not built either
            return {}
        raise ValueError(
            f"{layer.name} has no weights yet. Received: weights for a layer that is not built. First call it on data, "
            "or call its build(input_shape)."
        )
    values = [np.asarray(store[str(i)]) for i in range(len(store))]
    if len(layer.weights) != len(layer._own_weights):  # those of a derived class, which are its own business
        return dict(store)
    found = _named(layer, values)
    if "renorm_mean_weight" in found:
        found |= _debiased_references(found)
    own = [weight.name for weight in layer.weights]
    axes = arguments.axes(layer.axis)
    order = sorted(range(len(axes)), key=lambda i: axes[i] if rank is None else axes[i] % rank)
    shaped = {name: _shaped(layer, name, value, order) for name, value in found.items() if name in own}
    missing = set(own) - set(shaped)
    moving = shaped["moving_mean"], shaped["moving_variance"]
    if missing & {"moving_stddev", "renorm_mean", "renorm_stddev"}:
        references = moving_state.references_from(*moving, layer.epsilon)
        shaped |= {name: value for name, value in references.items() if name not in shaped}
    if "update_count" in missing:
        shaped["update_count"] = moving_state.count_of(*moving, moving_state.TRAINED_BATCHES)
    if "renorm_step" in missing:
        shaped["renorm_step"] = np.zeros((), "int64")
    return {str(i): shaped[name] for i, name in enumerate(own)}


def _named(layer: Any, values: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The weights by name: their number tells which they are, and that of the scalars among them."""
    plain = [*["gamma"] * layer.scale, *["beta"] * layer.center, "moving_mean", "moving_variance"]
    references = ["moving_stddev", "renorm_mean", "renorm_stddev"]
    # TensorFlow up to 1.14: averages of the references that start at 0, and the sums of their weights.
    biased = ["renorm_mean", "renorm_mean_weight", "renorm_stddev", "renorm_stddev_weight"]
    layouts = [
        (0, plain),
        (0, [*plain, "update_count"]),
        (0, [*plain, *references]),
        (0, [*plain, *references, "update_count"]),
        (1, [*plain, *references, "renorm_step"]),
        (1, [*plain, *references, "update_count", "renorm_step"]),
        (2, [*plain, *biased]),
    ]
    own = [weight.name for weight in layer.weights]
    scalars = sum(value.shape == () for value in values)
    for number, names in layouts:
        if len(names) == len(values) and number == scalars:
            found = dict(zip(names, values, strict=True))
            # So few may be those of a built-in layer with another center or scale, unless the layer has as many.
            is_clear = names in (own, plain) or len(names) > _MOST_OF_BUILT_IN
            if is_clear and _counts_batches(found) and (names == own or _has_deviations(found)):
                return found
    raise ValueError(
        f"{layer.name} holds {', '.join(own)}. Received: {len(values)} weights of the shapes "
        f"{', '.join(str(value.shape) for value in values)}, which do not fit these. Load a file of a layer with the "
        "same center and scale."
    )


_MOST_OF_BUILT_IN = 4  # gamma, beta and two statistics, without renorm
_LARGEST_EPSILON = 0.2


def _counts_batches(found: dict[str, np.ndarray]) -> bool:
    """Whether what should be a count of batches is none of a part of a batch, but for that of several channels alike.

    An average of the weights of a new layer and a trained one has such a part.
    """
    count = found.get("update_count", np.zeros(()))
    alike = count.size > 1 and bool(((count > 0) & (count == count.flat[0])).all())
    return alike or bool(((count == 0) | (count >= 1)).all())


def _has_deviations(found: dict[str, np.ndarray]) -> bool:
    """Whether what should be standard deviations are those of the variances beside them."""
    if "moving_stddev" not in found:
        return True
    square, variance = np.square(found["moving_stddev"].astype("float64")), found["moving_variance"]
    if square.shape != variance.shape:
        return False
    slack = 1e-2 * square
    return bool(((square - variance >= -slack) & (square - variance <= _LARGEST_EPSILON + slack)).all())


def _debiased_references(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The references of renormalization as today's layers keep them, without their bias towards 0."""
    names = ("renorm_mean", "renorm_stddev")
    values = {name: (found.pop(name), found.pop(f"{name}_weight")) for name in names}
    # A layer that saw no batch has none.
    return {name: value / weight for name, (value, weight) in values.items() if weight > 0}


def _shaped(layer: Any, name: str, value: np.ndarray, order: list[int]) -> np.ndarray:
    """A weight in the shape of the layer's; in tf.keras 2 it has the axes of the inputs, most of size 1."""
    expected = tuple(getattr(layer, name).shape)
    if value.shape == expected:
        return value
    ascending = tuple(expected[i] for i in order)
    if [size for size in value.shape if size != 1] != [size for size in ascending if size != 1]:
        raise ValueError(
            f"{name} of {layer.name} has the shape {expected} along axis={layer.axis}. Received: a weight of shape "
            f"{value.shape}. Give the layer the axis of the one that was saved."
        )
    return np.transpose(value.reshape(ascending), np.argsort(order))


class _OlderClass:
    """What Keras makes a layer with, where a file names a class that is gone."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def from_config(self, config: dict[str, Any]) -> keras.Layer:
        from keras_bn.layer import BatchNormalization

        return BatchNormalization.from_config({**config, **self._options})


# The names in files of TensorFlow 1 and tf.keras 2, which nothing in Keras 3 has.
_OLDER = {
    "BatchNormalizationV1": _OlderClass(),
    "BatchNormalizationV2": _OlderClass(),
    "SyncBatchNormalization": _OlderClass(synchronized=True),
}
keras.saving.get_custom_objects().update(_OLDER)
keras_internals.serve_names(
    {f"keras.layers.{module}{name}": kind for name, kind in _OLDER.items() for module in ("", "experimental.")}
)
