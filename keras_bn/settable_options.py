"""Options that are set on a layer after it was made: checked as those of the constructor, or refused."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from keras_bn import arguments
from keras_bn.engines import selection

# What acts when it is set on a layer. A function that was traced or compiled before keeps the old value.
_SETTABLE: dict[str, Callable[[Any], None]] = {
    "statistics": arguments.statistics,
    "activation": arguments.activation,
    "engine": selection.check_name,
    "epsilon": arguments.epsilon,
    "momentum": partial(arguments.momentum, "momentum", optional=True),
    "renorm_momentum": partial(arguments.momentum, "renorm_momentum"),
}
# What the weights of a built layer, or its inputs, were made for.
_SETTLED = ("axis", "scale", "center", "renorm", "zero_debias", "virtual_batch_size", "synchronized")


class SettableOptions(keras.layers.BatchNormalization):
    """The built-in layer, whose options are checked whenever they are set."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SETTABLE:
            _SETTABLE[name](value)
        is_built = getattr(self, "built", False)
        settled = name in _SETTLED or (name == "momentum" and value is None and not getattr(self, "keeps_count", False))
        if is_built and settled and value != getattr(self, name):
            raise ValueError(
                f"{name} is fixed once a layer is built. Received: {name}={value!r} "
                f"for {self.name}, which has {name}={getattr(self, name)!r}. Make another layer with {name}={value!r}."
            )
        super().__setattr__(name, value)
