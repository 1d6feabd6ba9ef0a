"""What this project needs of Keras and finds under none of its public names: here, and nowhere else.

A Keras that has moved one of these parts breaks here, with a message that names it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras


def _part(owner: Any, name: str) -> Any:
    """An attribute that is private in Keras.

    Raises:
        NotImplementedError: This version of Keras does not have it.
    """
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise NotImplementedError(
            f"keras_bn needs {type(owner).__name__}.{name}, a private part of Keras. Received: Keras "
            f"{keras.__version__}, which lacks it. Install a newer keras_bn, or Keras 3.15."
        ) from error


def held_layers(owner: keras.Layer) -> list[keras.Layer]:
    """The layers that a layer or model holds, its inputs included, each once, in the order of their making."""
    return list(_part(owner, "_layers"))


def track_instead(owner: keras.Layer, old: keras.Layer, new: keras.Layer) -> None:
    """Let ``owner`` count ``new`` among its layers, in the place of ``old``."""
    _part(owner, "_tracker").replace_tracked_value("layers", old, new)


def attributes(owner: keras.Layer) -> dict[str, Any]:
    """The attributes of a layer by name, without the store in which Keras counts its layers."""
    return {name: value for name, value in vars(owner).items() if name not in ("_layers", "_tracker")}


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The weights and random states that belong to the layer itself, not to one within it."""
    seeds = [generator.state for generator in _part(layer, "_seed_generators")]
    return [*_part(layer, "_trainable_variables"), *_part(layer, "_non_trainable_variables"), *seeds]


def set_own_trainable(layer: keras.Layer, trainable: bool) -> None:
    """Set the flag of this layer alone: the public setter sets those of the layers within, too."""
    _part(layer, "_trainable")
    layer._trainable = trainable


def decays(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> bool:
    """Whether the optimizer lets a variable decay, if it has a weight decay."""
    return bool(_part(optimizer, "_use_weight_decay")(variable))


def set_path(variable: keras.Variable, path: str) -> None:
    """Let a variable be found under another path."""
    _part(variable, "_path")
    variable._path = path


def begin_paths_as(layer: keras.Layer, other: keras.Layer) -> None:
    """Let the weights that ``layer`` is going to make be found below the same scope as those of ``other``."""
    _part(layer, "_parent_path")
    layer._parent_path = _part(other, "_parent_path")


def output_shape_of(layer: keras.layers.Lambda) -> Any:
    """The argument ``output_shape`` of a Lambda."""
    return _part(layer, "_output_shape")


def attached_mask(tensor: Any) -> Any:
    """The mask that Keras propagates with a tensor; None if there is none."""
    return getattr(tensor, "_keras_mask", None)


def serve_names(objects: Mapping[str, Any]) -> None:
    """Let files name objects by names of Keras' own, such as keras.layers.experimental.SyncBatchNormalization.

    For such a name with an empty ``registered_name``, as tf.keras wrote it, Keras looks only among its own objects.
    """
    from keras.src import api_export

    known = _part(api_export, "REGISTERED_NAMES_TO_OBJS")
    for name, value in objects.items():
        known.setdefault(name, value)


def functional_class(layer: Any) -> type | None:
    """Keras' class Functional, if the layer is of it or of a class derived from it; else None."""
    functional = [c for c in type(layer).__mro__ if c.__name__ == "Functional" and c.__module__.startswith("keras.")]
    return functional[0] if functional else None


def origin(tensor: Any) -> Any:
    """The layer or operation that a symbolic tensor comes from; of an input its InputLayer."""
    return _part(tensor, "_keras_history").operation


class Call(NamedTuple):
    """A call of a layer or operation in the graph of a Functional model."""

    operation: Any
    inputs: list[Any]
    outputs: list[Any]
    options: dict[str, Any]
    """The arguments that were passed by name."""


def calls(model: keras.Model) -> list[Call]:
    """The calls in the graph of a Functional model, in the order in which it runs them."""
    by_depth = _part(model, "_nodes_by_depth")
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [Call(node.operation, node.input_tensors, node.outputs, node.arguments.kwargs) for node in nodes]
