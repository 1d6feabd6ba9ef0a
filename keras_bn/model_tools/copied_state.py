"""What a copy takes over once it is made: weights, random states, tables, trainable flags and the compilation."""

import tempfile
import textwrap
import warnings
from typing import Any

import keras

from keras_bn.keras_internals import decays, own_variables, set_own_trainable, set_path


def copy_state(old: keras.Layer, new: keras.Layer) -> None:
    """Give a copy the state of a layer, apart from the layers within.

    What is more than variables, such as the vocabulary of a StringLookup, goes by Keras' own hooks for saving and
    loading, assets included.

    Raises:
        ValueError: they have other weights, or a hook fails.
    """
    pairs = list(zip(own_variables(old), own_variables(new), strict=False))
    if len(own_variables(old)) != len(own_variables(new)) or any(a.shape != b.shape for a, b in pairs):
        raise ValueError(
            f"{described(old)} has {len(own_variables(old))} weights and its copy {len(own_variables(new))}, "
            "or of other shapes; they must be equal to copy them. Define build(input_shape) in its class, or "
            "get_build_config() and build_from_config()."
        )
    set_own_trainable(new, old.trainable)
    for source, target in pairs:
        _copy_variable(source, target)
    # What the hooks of a layer with LoRA weights hold is the sum of these and the kernel.
    if not getattr(old, "lora_enabled", False):
        try:
            _run_hooks(old, new)
        except Exception as error:
            raise ValueError(
                f"a copy of {described(old)} takes over its state by save_own_variables(), load_own_variables(), "
                f"save_assets() and load_assets(), which must succeed. Received: {said(error)}"
            ) from error


def copy_weights_by_name(old: keras.Layer, new: keras.Layer) -> None:
    """Give a layer that takes the place of another one the weights that both have."""
    # Two layers may take the place of one: then in a model, and one of them has the weights.
    made = new.variables if isinstance(new, keras.Sequential) else own_variables(new)
    by_name = {variable.name: variable for variable in made}
    for source in own_variables(old):
        if source.name in by_name:
            _copy_variable(source, by_name[source.name])
    if new.trainable != old.trainable:
        # An option of its own, which holds for its weights, too.
        for variable in new.weights:
            variable.trainable = new.trainable and variable.name in ("gamma", "beta")


def _copy_variable(source: keras.Variable, target: keras.Variable) -> None:
    target.assign(source.numpy())
    target.trainable = source.trainable
    # The constructor of an owner builds under names of its own.
    set_path(target, source.path)


def _run_hooks(old: keras.Layer, new: keras.Layer) -> None:
    if type(old).load_own_variables is not keras.Layer.load_own_variables:
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables(store)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as directory:
            old.save_assets(directory)
            new.load_assets(directory)


def compile_alike(old: keras.Model, new: keras.Model) -> None:
    """Compile a copy as the original is, with the state of its optimizer; warn of what cannot be taken over."""
    try:
        config = old.get_compile_config()
        if config is None:
            return
        if old.optimizer is not None:  # Keras leaves it out of the configuration of a model that it wrote to .h5
            config = {"optimizer": keras.saving.serialize_keras_object(old.optimizer)} | config
        new.compile_from_config(config)
    except (TypeError, ValueError) as error:
        # A loss or an optimizer of the user's own, without a config.
        warnings.warn(
            f"the copy of {old.name} is not compiled: {said(error)} Compile it as the original was.", stacklevel=4
        )
        return
    if new.optimizer is None or old.optimizer is None:
        return
    _exclude_from_decay_alike(old, new)
    if not old.optimizer.built:
        return
    if not new.optimizer.built:
        new.optimizer.build(new.trainable_variables)
    pairs = list(zip(old.optimizer.variables, new.optimizer.variables, strict=False))
    if len(old.optimizer.variables) == len(new.optimizer.variables) and all(a.shape == b.shape for a, b in pairs):
        for source, target in pairs:
            target.assign(source.numpy())
    else:
        warnings.warn(f"the optimizer of {new.name} starts anew: other weights are trained now.", stacklevel=4)


def _exclude_from_decay_alike(old: keras.Model, new: keras.Model) -> None:
    """Exclude the weights from decay that the original excludes, which no config says."""
    before, after = (getattr(model.optimizer, "inner_optimizer", model.optimizer) for model in (old, new))
    if before.weight_decay is None:
        return
    excluded = {variable.path for variable in old.variables if not decays(before, variable)}
    if not excluded:
        return
    try:
        after.exclude_from_weight_decay(var_list=[variable for variable in new.variables if variable.path in excluded])
    except ValueError as error:  # Keras may refuse it of an optimizer that is built
        warnings.warn(f"{new.name} lets weights decay that {old.name} does not: {said(error)}", stacklevel=5)


def said(error: Exception) -> str:
    """An error within the message of another one."""
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 250) or 'without a message'}."


def described(layer: keras.Layer) -> str:
    """A layer within a message."""
    return f"{layer.name!r}, a {type(layer).__name__},"
