"""The bounds of batch renormalization: numbers, variables that the user assigns to, or schedules over the steps."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_bn.formulas.renormalization import Reference

NAMES = ("rmin", "rmax", "dmax")


class RenormBounds(Mapping):
    """The bounds by name. Of a dictionary, Keras would take the variables for weights of the layer."""

    def __init__(self, bounds: dict[str, Any]) -> None:
        self._bounds = dict(bounds)

    def __getitem__(self, name: str) -> Any:
        return self._bounds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bounds)

    def __len__(self) -> int:
        return len(self._bounds)


def numbers(bounds: Any) -> Any:
    """The bounds, those that are given as constant scalar tensors as numbers."""

    def number(bound: Any) -> Any:
        known = tf.get_static_value(bound) if isinstance(bound, tf.Tensor) and bound.shape == () else None
        return bound if known is None else float(known)

    return {name: number(bound) for name, bound in bounds.items()} if isinstance(bounds, dict) else bounds


def from_config(given: Any) -> Any:
    """The bounds that ``config`` wrote."""
    if not isinstance(given, Mapping):
        return given
    return {
        name: keras.saving.deserialize_keras_object(bound) if isinstance(bound, dict) else bound
        for name, bound in given.items()
    }


def config(bounds: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As in a config: a variable is its present value."""
    return None if bounds is None else {name: _serialized(bound) for name, bound in bounds.items()}


def follow_steps(bounds: Mapping[str, Any] | None) -> bool:
    """Whether one of them is a schedule, for which the layer counts its steps in ``renorm_step``."""
    return any(is_schedule(bound) for bound in (bounds or {}).values())


def reference(state: dict[str, tf.Tensor], bounds: Mapping[str, Any] | None) -> Reference:
    """What renormalization corrects the statistics of a batch towards, and the bounds at this step of the layer."""
    given: Mapping[str, Any] = bounds or {}
    now = (_value(given.get(name), state.get("renorm_step")) for name in NAMES)
    return Reference(state["renorm_mean"], state["renorm_stddev"], *now)


def is_schedule(bound: Any) -> bool:
    """Whether a bound depends on the step."""
    return isinstance(bound, keras.optimizers.schedules.LearningRateSchedule)


def is_variable(bound: Any) -> bool:
    """Whether a bound is a scalar that the user may assign to."""
    return isinstance(bound, (tf.Variable, keras.Variable)) and tuple(bound.shape) == ()


def _value(bound: Any, step: tf.Tensor | None) -> Any:
    if is_schedule(bound):
        bound = bound(step)
    return bound if bound is None or isinstance(bound, (int, float)) else tf.convert_to_tensor(bound)


def _serialized(bound: Any) -> Any:
    if is_schedule(bound):
        return keras.saving.serialize_keras_object(bound)
    return float(bound.numpy()) if is_variable(bound) else bound
