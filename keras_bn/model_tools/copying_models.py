"""A model once more, with some of its layers replaced: the common ground of converting, recalibrating and folding.

Graphs (Functional and Sequential models) are run once more with copies of their layers. Everything else comes from its
config, and the layers that it holds as attributes, in lists or in dictionaries are exchanged there.
"""

import contextlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_bn.keras_internals import (
    begin_paths_as,
    functional_class,
    held_layers,
    origin,
    output_shape_of,
)
from keras_bn.model_tools import replacing_layers
from keras_bn.model_tools.copied_state import compile_alike, copy_state, copy_weights_by_name, described, said
from keras_bn.progress import task

# Whether a layer is to be replaced, and what takes its place: a new layer, not yet built, of the same name. Several
# layers are a Sequential model of them; in a graph these stand one behind the other, without the model.
Replacement = Callable[[keras.Layer], keras.Layer | None]


def is_graph(layer: Any) -> bool:
    """Whether the layer is a Functional or Sequential model that runs its graph and nothing else."""
    base = _graph_class(layer)
    return base is not None and type(layer).call is base.call  # type: ignore[attr-defined]


def holds_graph(layer: Any) -> bool:
    """Whether the layer is a Functional or Sequential model, whatever a ``call`` of its own makes of the graph."""
    return _graph_class(layer) is not None


def _graph_class(layer: Any) -> type | None:
    if isinstance(layer, keras.Sequential):
        return keras.Sequential
    return functional_class(layer)


def all_layers(root: keras.Layer) -> list[keras.Layer]:
    """``root`` and every layer in it, at any depth, each once."""
    found: dict[int, keras.Layer] = {}
    waiting = [root]
    while waiting:
        layer = waiting.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            waiting += reversed(held_layers(layer))
    return list(found.values())


def rebuild(root: keras.Layer, replacement: Replacement) -> keras.Layer:
    """A copy of a model or layer, with state of its own, in which replaced layers keep their weights by name.

    Weights, random states, vocabularies, trainable flags and names are those of ``root``; so are the compilation and
    the state of the optimizer, where they can be expressed in a config, with a warning where not. Layers that were
    shared are shared again.

    Args:
        root: A model or layer; built, unless it holds no weights.
        replacement: For a layer, the one to take its place, or None to copy it. Not asked about the layers within one
            that it replaced.

    Raises:
        ValueError: a layer cannot be made from its config, or its copy cannot be built.
    """
    layers = len(all_layers(root))
    scope = keras.saving.custom_object_scope(_custom_classes(root))
    with task(f"Copying {root.name}", layers, "layer") as advance, scope:
        copier = _Copier(replacement, advance)
        new = copier.copy(root)
        copier.transfer()
        if isinstance(root, keras.Model) and isinstance(new, keras.Model) and root.compiled:
            compile_alike(root, new)
    return new


def inputs_like(model: keras.Model) -> Any:
    """New inputs like those of a Functional model, in the same structure."""

    def like(tensor: Any) -> Any:
        source = origin(tensor)
        return keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=source.name,
            sparse=tensor.sparse,
            optional=getattr(source, "optional", False),
        )

    return keras.tree.map_structure(like, model.input)


def input_of_sequential(model: keras.Sequential) -> list[Any]:
    """What to put before the copied layers of a Sequential model: its input, if it is known."""
    layers = held_layers(model)
    if not (model.built and layers and isinstance(layers[0], keras.layers.InputLayer)):
        return []
    first = layers[0]
    return [keras.Input(batch_shape=first.batch_shape, dtype=first.dtype, name=first.name, optional=first.optional)]


class _Copier:
    def __init__(self, replacement: Replacement, advance: Callable[[], None]) -> None:
        self._replacement, self._advance = replacement, advance
        # By the identity of the original: the copy; and whether it is a replacement.
        self._copies: dict[int, tuple[keras.Layer, keras.Layer, bool]] = {}

    def copy(self, layer: Any) -> Any:
        known = self._copies.get(id(layer))
        if known is not None:
            return known[1]
        if not isinstance(layer, keras.Layer):
            # An operation of keras.ops; it has no state.
            return layer
        new = self._replacement(layer)
        replaced = new is not None
        if new is None:
            if isinstance(layer, keras.Sequential):
                new = self._sequential(layer)
            else:
                new = self._functional(layer) if holds_graph(layer) else self._from_config(layer)
        self._keep(layer, new, replaced)
        return new

    def _keep(self, old: keras.Layer, new: keras.Layer, replaced: bool = False) -> None:
        self._copies[id(old)] = old, new, replaced
        self._advance()

    def _functional(self, model: keras.Model) -> keras.Model:
        # The view has no compilation, which clone_model would copy, or fail to.
        view = keras.Model(model.input, model.output, name=model.name)
        clone = keras.models.clone_model(
            view, input_tensors=inputs_like(view), clone_function=self.copy, call_function=self._call
        )
        for old, new in zip(_input_layers(model), _input_layers(clone), strict=True):
            self._keep(old, new)
        return (
            clone if type(model) in (keras.Model, type(clone)) else _of_class(model, clone, clone.input, clone.output)
        )

    def _parts(self, new: keras.Layer) -> list[keras.Layer]:
        """The layers that take the place of one; mostly one."""
        replaced = any(copy is new and was_replaced for _, copy, was_replaced in self._copies.values())
        return new.layers if replaced and isinstance(new, keras.Sequential) else [new]

    def _call(self, new: Any, *args: Any, **kwargs: Any) -> Any:
        first, *others = self._parts(new)
        result = first(*args, **kwargs)
        for layer in others:
            result = layer(result)
        return result

    def _sequential(self, model: keras.Sequential) -> keras.Sequential:
        layers = [part for layer in model.layers for part in self._parts(self.copy(layer))]
        layers = [*input_of_sequential(model), *layers]
        new = keras.Sequential(layers, name=model.name)
        if type(model) is not keras.Sequential:
            new = _of_class(model, new, layers)
        held, made = held_layers(model), held_layers(new)
        if len(held) == len(made):
            # The layer of the input, which `layers` leaves out.
            self._keep(held[0], made[0])
        return new

    def _from_config(self, layer: keras.Layer) -> keras.Layer:
        try:
            new = _fresh(layer)
        except Exception as error:
            raise ValueError(
                f"a copy of {described(layer)} is made by from_config(get_config()), which must succeed. "
                f"Received: {said(error)} Define get_config() in its class, and register functions and "
                "classes of your own with keras.saving.register_keras_serializable()."
            ) from error
        if held_layers(layer):
            self._build(layer, new)
            self._exchange(layer, new)
        return new

    def _build(self, old: keras.Layer, new: keras.Layer) -> None:
        config = old.get_build_config() if old.built else None
        if config and not new.built:
            # The scope that the paths of its weights begin with.
            begin_paths_as(new, old)
            with warnings.catch_warnings():
                # Where it cannot be built, its weights cannot be copied: `transfer` says so.
                warnings.filterwarnings("ignore", message="(Model|Layer) '.*' had a build config")
                warnings.filterwarnings("ignore", message="`build\\(\\)` was called on layer")
                try:
                    new.build_from_config(config)
                except Exception as error:
                    raise ValueError(
                        f"a copy of {described(old)} is built by build_from_config(get_build_config()), which must "
                        f"succeed. Received: {said(error)} Let its build() make all weights, and build those "
                        "layers that are not built yet."
                    ) from error

    def _exchange(self, old: keras.Layer, new: keras.Layer) -> None:
        """Go through the layers in ``new``, which its constructor made, beside those in ``old``."""
        held, made = held_layers(old), held_layers(new)
        if not (len(held) == len(made) and all(map(_corresponds, held, made))):
            names = [", ".join(type(layer).__name__ for layer in layers) for layers in (held, made)]
            raise ValueError(
                f"{described(old)} holds {len(held)} layers ({names[0]}), and its copy from its config "
                f"{len(made)} ({names[1]}); these must correspond. Let its constructor or build() make "
                "all of its layers, or let get_config() state those that are passed in."
            )
        exchanged: dict[int, keras.Layer] = {}
        for child, fresh in zip(held, made, strict=True):
            known = self._copies.get(id(child))
            if known is not None and known[1] is fresh:
                continue
            fresh.name = child.name
            replacement = None if known is not None else self._replacement(child)
            if known is None and replacement is None and type(child) is not type(fresh):
                # A batch normalization that was replaced before, unknown to the constructor of its owner.
                replacement = _fresh(child)
            if known is not None:
                exchanged[id(fresh)] = known[1]
            elif replacement is not None:
                self._keep(child, replacement, replaced=True)
                exchanged[id(fresh)] = replacement
            elif is_graph(child) and self._concerns(child):
                exchanged[id(fresh)] = self.copy(child)
            else:
                self._keep(child, fresh)
                self._exchange(child, fresh)
        replacing_layers.exchange(new, exchanged)

    def _concerns(self, layer: keras.Layer) -> bool:
        return any(self._replacement(inner) is not None for inner in all_layers(layer))

    def transfer(self) -> None:
        """Give the copies the state of the originals."""
        # What is part of a graph was built by its call. Owners come after what they hold, and build some of it.
        for old, new, _ in reversed(list(self._copies.values())):
            self._build(old, new)
        for old, new, replaced in self._copies.values():
            (copy_weights_by_name if replaced else copy_state)(old, new)


def _fresh(layer: keras.Layer) -> keras.Layer:
    if type(layer) is keras.layers.Lambda:
        # The function itself: its code alone, all that a config could hold, would lose what it refers to.
        config = {name: layer.get_config()[name] for name in ("name", "dtype")}
        return keras.layers.Lambda(
            layer.function, output_shape=output_shape_of(layer), mask=layer.mask, arguments=layer.arguments, **config
        )
    config = layer.get_config()
    parameters = inspect.signature(type(layer).__init__).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return type(layer).from_config(config)
    # Keras' base class adds these to the config of every layer, also where the constructor takes none of them.
    base = {
        name: config.pop(name) for name in ("name", "trainable", "dtype") if name not in parameters and name in config
    }
    new = type(layer).from_config(config)
    new.name = layer.name
    if "dtype" in base and new.dtype_policy != layer.dtype_policy:
        new.dtype_policy = layer.dtype_policy
    return new


def _of_class(model: keras.Model, graph: keras.Model, *parts: Any) -> keras.Model:
    """A model of the class of ``model`` from the parts of a copied graph; the graph where its constructor differs."""
    with contextlib.suppress(Exception):
        new: keras.Model = type(model)(*parts, name=model.name)
        if [layer is other for layer, other in zip(new.layers, graph.layers, strict=True)].count(False) == 0:
            return new
    # A class with a constructor of its own; the graph is all there is to copy.
    if not is_graph(model):
        raise ValueError(
            f"{described(model)} has a constructor and a call() of its own around its graph, of which only the graph "
            "can be copied. Make the graph an attribute of a keras.Model, or let the constructor take what "
            "that of its base class does."
        )
    return graph


def _input_layers(model: keras.Model) -> list[keras.Layer]:
    return [origin(tensor) for tensor in model.inputs]


def _custom_classes(root: keras.Layer) -> dict[str, type]:
    """The user's classes in a model that are not registered, by the names that configs call them."""
    classes = {type(layer) for layer in all_layers(root)}
    return {
        cls.__name__: cls
        for cls in classes
        if not cls.__module__.startswith("keras.") and keras.saving.get_registered_name(cls) == cls.__name__
    }


def _corresponds(old: keras.Layer, new: keras.Layer) -> bool:
    family = keras.layers.BatchNormalization
    return type(old) is type(new) or (isinstance(old, family) and isinstance(new, family))
