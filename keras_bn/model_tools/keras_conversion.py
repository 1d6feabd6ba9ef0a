"""From Keras' built-in batch normalization to ours, and back, in finished models."""

import inspect
import warnings
from typing import Any

import keras

from keras_bn import moving_state, renorm_bounds
from keras_bn.layer import BatchNormalization
from keras_bn.model_tools import copying_models, inspection
from keras_bn.model_tools.options import check_known
from keras_bn.untracked import is_batch_normalization, is_built_in

# Of the options that the built-in layer lacks, those that it does without: results do not depend on them.
_HARMLESS = ("engine",)
# What the layers keep of themselves when they are converted, and what may be set.
_KEPT = {"name": "names", "axis": "channels", "center": "weights", "scale": "weights", "activation": "outputs"} | {
    f"{name}_initializer": "weights" for name in ("beta", "gamma", "moving_mean", "moving_variance")
}
_OPTIONS = {*inspect.signature(BatchNormalization).parameters, "dtype", "trainable"} - {*_KEPT, "kwargs"}


def convert(model: keras.Layer, **options: Any) -> keras.Layer:
    """The same model with every ``keras.layers.BatchNormalization`` replaced by ours.

    Outputs and gradients are equal to rounding, in inference and in training. Nested models and shared layers are
    followed, and layers that others hold as attributes, in lists or in dictionaries. Weights, random states of dropout,
    adapted statistics and vocabularies, trainable flags, names, compilation and the state of the optimizer are kept.
    ``model`` itself is not changed, and shares no weights with the result.

    A Functional model whose class has a constructor of its own becomes a plain ``keras.Model`` of the same graph. A
    loss or metric without a config leaves the result uncompiled, with a warning. Where the constructor of a class makes
    built-in layers, those are replaced in the result; a file of it holds their weights, but read back, the constructor
    makes built-in ones again, to be converted again. Layers of a class derived from the built-in one may compute
    something else, and stay as they are, with a warning; so do weights and statistics that are not finite, negative
    variances, and layers of classes derived from ours whose constructors do not take the options.

    Args:
        model: Functional, Sequential or subclassed model, or a layer. What is not a graph is made anew by
            ``from_config(get_config())``.
        **options: Constructor arguments of ``BatchNormalization`` to set in every batch normalization of the model,
            also in those that were ours before: ``engine=``, ``synchronized=True``, ``trainable=False``, …; not those
            that say which weights there are, or what they start from: ``axis``, ``center``, ``scale`` and initializers.

    Returns:
        A model or layer of the same class.

    Raises:
        TypeError: ``model`` is no Keras model or layer; an option is no argument of the layer, or must not be set.
        ValueError: an option is out of its range, or a layer cannot be copied: the message names it.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm")])
    >>> type(convert(model, virtual_batch_size=16).get_layer("norm")).__module__
    'keras_bn.layer'
    """
    _check(model, "convert")
    # Errors in the options come first, and whatever the model holds.
    check_options(options)
    derived = sorted({layer.name for layer in copying_models.all_layers(model) if _is_derived(layer)})
    if derived:
        warnings.warn(
            f"left as they are, since their classes derive from keras.layers.BatchNormalization: {', '.join(derived)}",
            stacklevel=2,
        )

    built = [layer for layer in copying_models.all_layers(model) if is_batch_normalization(layer) and layer.built]
    defects = [(layer.name, inspection.defect_of(layer)) for layer in built]
    if listing := "; ".join(f"{name}: {defect}" for name, defect in defects if defect):
        warnings.warn(f"statistics or weights that cannot be right, copied as they are: {listing}", stacklevel=2)

    def replacement(layer: keras.Layer) -> keras.Layer | None:
        if is_built_in(layer) or (options and type(layer) is BatchNormalization):
            new = BatchNormalization.from_config({**layer.get_config(), **options})
        elif options and isinstance(layer, BatchNormalization):
            new, lacking = _derived_with(layer, options)
            if lacking:
                left.append(f"{layer.name}: {lacking}")
                return None
        else:
            return None
        replaced.append((layer, new))
        return new

    left: list[str] = []
    replaced: list[tuple[keras.layers.BatchNormalization, BatchNormalization]] = []
    new = copying_models.rebuild(model, replacement)
    if left:
        warnings.warn(f"left as they are, since they cannot have these options: {'; '.join(left)}", stacklevel=2)
    # Where renormalization or the count of batches is new, it starts from the moving statistics.
    for old, layer in replaced:
        if layer.built and layer.renorm and not old.renorm:
            moving_state.start_references(layer)
        if layer.built and layer.keeps_count and not getattr(old, "keeps_count", False):
            moving_state.start_count(layer, old.momentum)
    return new


def _derived_with(layer: BatchNormalization, options: dict[str, Any]) -> tuple[BatchNormalization, str]:
    """A layer of the same derived class with these options; and why it cannot have them, or ""."""
    try:
        new = type(layer).from_config({**layer.get_config(), **options})
    except (TypeError, ValueError) as error:
        # Keras prints the whole config before the message itself.
        return layer, str(error).rpartition("Exception encountered: ")[2]
    asked, found = BatchNormalization(**options).get_config(), new.get_config()
    lost = [name for name in options if found.get(name) != asked.get(name)]
    return new, f"the constructor of {type(layer).__name__} does not take {', '.join(lost)}" if lost else ""


def check_options(options: dict[str, Any]) -> None:
    """Raise TypeError or ValueError unless ``convert`` can set these options."""
    for name, value in options.items():
        if name in _KEPT:
            raise TypeError(
                f"convert() keeps the {_KEPT[name]} of the layers. Received: {name}={value!r}. Leave the argument out."
            )
        if name not in _OPTIONS:
            raise TypeError(
                f"an option must be an argument of BatchNormalization, one of {', '.join(sorted(_OPTIONS))}. "
                f"Received: {name}={value!r}."
            )
    BatchNormalization(**options)


def revert(model: keras.Layer, *, lossy: bool = False) -> keras.Layer:
    """The same model with every batch normalization of ours replaced by the built-in layer: the inverse of ``convert``.

    One with an activation becomes two layers, the built-in one and ``keras.layers.Activation``; where the layer stood
    outside of a graph, they are a Sequential model.

    Args:
        model: As in ``convert``.
        lossy: Whether to leave out, with a warning, what the built-in layer cannot express but which inference does
            not depend on: ``momentum=None``, ``zero_debias``, ``statistics="moving"``, ``unbiased_variance``,
            ``virtual_batch_size``, a schedule of bounds, statistics kept in float32 under a 16-bit policy. Training
            then goes on otherwise.

    Returns:
        A model or layer of the same class.

    Raises:
        TypeError: ``model`` is no Keras model or layer.
        ValueError: the built-in layer cannot express an option of a layer; all of these are listed, by layer.

    >>> revert(BatchNormalization(virtual_batch_size=16, name="norm"))
    Traceback (most recent call last):
    ValueError: keras.layers.BatchNormalization cannot express an option. Received:
      norm: virtual_batch_size=16
    Pass lossy=True (--lossy on the command line) to leave out what inference does not depend on.
    """
    _check(model, "revert")
    ours = [layer for layer in copying_models.all_layers(model) if isinstance(layer, BatchNormalization)]
    for layer in ours:
        check_known(layer, "revert()")
    lost = {layer.name: (inexpressible(layer), impossible(layer)) for layer in ours}
    listing = "\n".join(f"  {name}: {', '.join([*b, *a])}" for name, (a, b) in lost.items() if a or b)
    hard = sorted({option for _, options in lost.values() for option in options})
    if hard or (listing and not lossy):
        remedy = (
            f"Inference depends on {', '.join(hard)}, so lossy=True does not help. Change it, or keep our layer."
            if hard
            else "Pass lossy=True (--lossy on the command line) to leave out what inference does not depend on."
        )
        raise ValueError(f"keras.layers.BatchNormalization cannot express an option. Received:\n{listing}\n{remedy}")
    if listing:
        warnings.warn(f"left out, since keras.layers.BatchNormalization cannot express it:\n{listing}", stacklevel=2)

    def replacement(layer: keras.Layer) -> keras.Layer | None:
        if type(layer) is not BatchNormalization:
            return None
        config = layer.get_config()
        if layer.momentum is None:
            config["momentum"] = 0.99
        gone = ("statistics", "zero_debias", "unbiased_variance", "virtual_batch_size", "activation")
        for name in (*gone, *_HARMLESS):
            config.pop(name, None)
        if renorm_bounds.follow_steps(layer.renorm_clipping):
            config["renorm_clipping"] = None
        new = keras.layers.BatchNormalization.from_config(config)
        return new if layer.activation is None else _with_activation(new, layer.activation)

    return copying_models.rebuild(model, replacement)


def _with_activation(norm: keras.layers.BatchNormalization, activation: str) -> keras.Sequential:
    behind = keras.layers.Activation(activation, dtype=norm.dtype_policy, name=f"{norm.name}_{activation}")
    return keras.Sequential([norm, behind], name=norm.name)


def inexpressible(layer: BatchNormalization) -> list[str]:
    """What of a layer's options the built-in layer lacks, though it infers alike."""
    found = [] if layer.momentum is not None else ["momentum=None"]
    found += ["statistics='moving'"] if layer.statistics == "moving" else []
    found += ["zero_debias=True"] if layer.zero_debias else []
    found += ["renorm_clipping on a schedule"] if renorm_bounds.follow_steps(layer.renorm_clipping) else []
    found += ["unbiased_variance=True"] if layer.unbiased_variance else []
    found += [] if layer.virtual_batch_size is None else [f"virtual_batch_size={layer.virtual_batch_size}"]
    if keras.backend.result_type(layer.variable_dtype, "float32") != layer.variable_dtype:
        found.append(f"float32 statistics under dtype={layer.dtype_policy.name!r}")
    return found


def impossible(layer: BatchNormalization) -> list[str]:
    """What of a layer the built-in layer cannot do at all."""
    found = [f"axis={layer.axis}"] if isinstance(layer.axis, tuple) else []
    found += ["statistics='batch'"] if layer.statistics == "batch" else []
    return found + ([] if type(layer) is BatchNormalization else [f"a layer of class {type(layer).__name__}"])


def _is_derived(layer: Any) -> bool:
    built_in = isinstance(layer, keras.layers.BatchNormalization)
    return built_in and not is_built_in(layer) and not isinstance(layer, BatchNormalization)


def _check(model: Any, function: str) -> None:
    if not isinstance(model, keras.Layer):
        raise TypeError(
            f"{function}() takes a Keras model or layer. Received: {type(model).__name__}. "
            "Load a file first: keras.models.load_model(path)."
        )
