"""Options that are set on a layer after it was made: checked as those of the constructor, or refused."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from keras_bn import arguments, renorm_bounds
from keras_bn.engines import selection
from keras_bn.renorm_bounds import RenormBounds


def _flag(name: str) -> Callable[[Any], None]:
    return lambda value: arguments.flags(**{name: value})


# What each option must be, whenever it is set. A function that was traced or compiled before keeps the old value.
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "axis": arguments.axis,
    "statistics": arguments.statistics,
    "activation": arguments.activation,
    "engine": selection.check_name,
    "epsilon": arguments.epsilon,
    "momentum": partial(arguments.momentum, "momentum", optional=True),
    "renorm_momentum": partial(arguments.momentum, "renorm_momentum"),
    "renorm_clipping": arguments.renorm_clipping,
    **{name: _flag(name) for name in ("center", "scale", "renorm", "synchronized", "zero_debias", "unbiased_variance")},
}
# What the weights of a built layer, or its inputs, were made for.
_SETTLED = ("axis", "scale", "center", "renorm", "zero_debias", "virtual_batch_size", "synchronized")
# Options of which some exclude each other.
_TOGETHER = ("axis", "renorm", "synchronized", "virtual_batch_size")


class SettableOptions(keras.layers.BatchNormalization):
    """The built-in layer, whose options are checked whenever they are set."""

    # Until the constructor sets them.
    virtual_batch_size: int | None = None
    zero_debias = False
    update_count: keras.Variable | None = None

    @property
    def _axes(self) -> tuple[int, ...]:
        """The channel axes, also if there is one."""
        return arguments.axes(self.axis)

    @property
    def keeps_count(self) -> bool:
        """Whether the layer counts its batches, in the weight ``update_count``."""
        return self.update_count is not None if self.built else self.momentum is None or self.zero_debias

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "renorm_clipping":
            value = renorm_bounds.numbers(value)
        if name in _CHECKS:
            _CHECKS[name](value)
        if name in _TOGETHER:
            now: dict[str, Any] = {option: getattr(self, option, None) for option in _TOGETHER} | {name: value}
            flags = {option: bool(now[option]) for option in ("renorm", "synchronized")}
            arguments.virtual_batch_size(now["virtual_batch_size"], now["axis"], **flags)
        if name == "axis":
            value = arguments.axis(value)
        if name == "momentum" and value is not None:
            value = float(value)
        if name == "renorm_clipping" and value is not None:
            value = RenormBounds(value)
        if getattr(self, "built", False):
            self._check_settled(name, value)
        super().__setattr__(name, value)

    def _check_settled(self, name: str, value: Any) -> None:
        """Raise ValueError if an option of the built layer asks for other weights or inputs."""
        settled = name in _SETTLED or (name == "momentum" and value is None and not self.keeps_count)
        if settled and value != getattr(self, name):
            raise ValueError(
                f"{name} is fixed once a layer is built. Received: {name}={value!r} "
                f"for {self.name}, which has {name}={getattr(self, name)!r}. Make another layer with {name}={value!r}."
            )
        counts_steps = hasattr(self, "renorm_step") or not self.renorm
        if name == "renorm_clipping" and renorm_bounds.follow_steps(value) and not counts_steps:
            raise ValueError(
                "a schedule in renorm_clipping must be there when the layer is built, which then counts its steps. "
                f"Received: renorm_clipping={value!r} for {self.name}. Make another layer with it."
            )
