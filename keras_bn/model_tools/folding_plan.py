"""Which linear layer of a graph can take in which batch normalization."""

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_bn import keras_internals
from keras_bn.layer import BatchNormalization
from keras_bn.model_tools import linear_layers
from keras_bn.model_tools.inspection import as_array
from keras_bn.model_tools.linear_layers import Linear
from keras_bn.untracked import is_batch_normalization, is_built_in

# Layers that are the identity in inference.
_IDENTITIES = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)


class Use(NamedTuple):
    """One call of a layer in a graph; tensors by their identity."""

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    rank: int
    training: bool
    """Whether the call says that it is training."""


class Plan:
    """Which linear layer takes in which batch normalization of a graph."""

    def __init__(self, uses: list[Use], outputs: set[int]) -> None:
        self._uses, self._outputs = uses, outputs
        self._producers = {tensor: use for use in uses for tensor in use.outputs}
        self._consumers: dict[int, list[Use]] = {}
        for use in uses:
            for tensor in use.inputs:
                self._consumers.setdefault(tensor, []).append(use)
        self.linear: dict[int, Linear] = {}
        self.gone: set[int] = set()

    def place(self, norm: keras.layers.BatchNormalization) -> tuple[str | None, str]:
        """(name of the layer that takes it in, ""), or (None, why there is none)."""
        uses = [use for use in self._uses if use.layer is norm]
        if not is_batch_normalization(norm) or (not is_built_in(norm) and type(norm) is not BatchNormalization):
            return None, f"its class {type(norm).__name__} may compute something else"
        if isinstance(norm.axis, tuple):
            return None, f"it has several channel axes, {norm.axis}"
        if any(use.training for use in uses):
            return None, "it is called with training=True"
        scale, shift = _affine(norm)
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            return None, "its weights or statistics are not finite, or its variance and epsilon are 0"
        before = [self._before(use) for use in uses]
        places = [found for found in before if isinstance(found, Use)]
        takers = {id(found.layer): found for found in places}
        # A layer that is called several times can take in what follows every one of its calls.
        shared = [
            found.layer.name
            for found in takers.values()
            if self._calls(found) > sum(p.layer is found.layer for p in places)
        ]
        if len(places) == len(before) and not shared:
            for found in takers.values():
                self._of(found).map_outputs(scale, shift)
            self.gone.add(id(norm))
            return ", ".join(found.layer.name for found in takers.values()), ""
        reasons = [found for found in before if isinstance(found, str)]
        reasons += [f"{name} before it is called elsewhere, too" for name in shared]
        after = self._after(uses[0], shift) if len(uses) == 1 else "it is called several times"
        if isinstance(after, Use) and self._calls(after) > 1:
            after = f"{after.layer.name} after it is called several times"
        if isinstance(after, Use):
            self._of(after).map_inputs(scale, shift)
            self.gone.add(id(norm))
            return after.layer.name, ""
        return None, f"{reasons[0]}; {after}"

    def _calls(self, use: Use) -> int:
        return sum(other.layer is use.layer for other in self._uses)

    def _of(self, use: Use) -> Linear:
        return self.linear.setdefault(id(use.layer), Linear(use.layer))

    def _before(self, norm: Use) -> Use | str:
        """The linear layer whose outputs are what ``norm`` normalizes, and nothing else; or why there is none."""
        tensor = norm.inputs[0]
        while True:
            use = self._producers.get(tensor)
            if use is None or isinstance(use.layer, keras.layers.InputLayer):
                return "before it is an input"
            if len(self._consumers[tensor]) > 1 or tensor in self._outputs:
                return f"the output of {use.layer.name} before it is used elsewhere, too"
            if not self._passes(use):
                break
            tensor = use.inputs[0]
        reason = self._unfit(use, norm, "before")
        activation = getattr(use.layer, "activation", None)
        if not reason and activation is not keras.activations.linear and activation is not None:
            reason = f"the activation {getattr(activation, '__name__', activation)} of {use.layer.name} comes between"
        return reason or use

    def _after(self, norm: Use, shift: np.ndarray) -> Use | str:
        """The linear layer that takes what ``norm`` gives, alone; or why there is none."""
        tensor = norm.outputs[0]
        while True:
            consumers = self._consumers.get(tensor, [])
            if tensor in self._outputs:
                return "after it is an output"
            if len(consumers) != 1:
                return f"after it are {len(consumers)} layers"
            use = consumers[0]
            if not self._passes(use):
                break
            tensor = use.outputs[0]
        reason = self._unfit(use, norm, "after")
        if not reason and linear_layers.adds_zeros(use.layer) and shift.any():
            reason = f"{use.layer.name} after it pads with zeros, to which it would add"
        return reason or use

    def _passes(self, use: Use) -> bool:
        kind = type(use.layer)
        linear = kind is keras.layers.Activation and use.layer.activation is keras.activations.linear
        return not use.training and (id(use.layer) in self.gone or kind in _IDENTITIES or linear)

    def _unfit(self, use: Use, norm: Use, place: str) -> str:
        name = getattr(use.layer, "name", type(use.layer).__name__)
        if not linear_layers.is_linear(use.layer):
            return f"{place} it is {name}, a {type(use.layer).__name__}"
        if norm.layer.axis % norm.rank != linear_layers.channel_axis(use.layer, norm.rank):
            return f"{name} {place} it has other channels than axis={norm.layer.axis}"
        return linear_layers.obstacle(use.layer)


def uses_in(model: keras.Model) -> tuple[list[Use], set[int]]:
    """The calls in a graph in order, and the tensors that are its outputs."""
    if isinstance(model, keras.Sequential):
        chain = []
        for place, layer in enumerate(model.layers):
            chain.append(Use(layer, (place,), (place + 1,), _rank(layer), False))
        return chain, {len(chain)}
    uses = [
        Use(
            call.operation,
            tuple(id(tensor) for tensor in call.inputs),
            tuple(id(tensor) for tensor in call.outputs),
            len(call.outputs[0].shape),
            bool(call.options.get("training")),
        )
        for call in keras_internals.calls(model)
    ]
    return uses, {id(tensor) for tensor in model.outputs}


def _rank(layer: keras.Layer) -> int:
    shape = (layer.get_build_config() or {}).get("input_shape") or ()
    return len(shape) if all(size is None or isinstance(size, int) for size in shape) else 0


def _affine(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """(γs, β − Mγs) in float64 (equation 13)."""
    mean, variance = (as_array(v) for v in (norm.moving_mean, norm.moving_variance))
    gamma = as_array(norm.gamma) if norm.scale else np.ones_like(mean)
    beta = as_array(norm.beta) if norm.center else np.zeros_like(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(variance + norm.epsilon)
        return scale, beta - mean * scale
