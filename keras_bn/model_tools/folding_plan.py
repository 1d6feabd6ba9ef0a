"""Which linear layer of a graph can take in which batch normalization."""

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_bn import keras_internals
from keras_bn.layer import BatchNormalization
from keras_bn.model_tools import inspection, linear_layers
from keras_bn.model_tools.copying_models import all_layers
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


class Plan:
    """Which linear layer takes in which batch normalization of a graph.

    Args:
        uses: The calls of the graph, in order.
        outputs: The tensors that are its outputs.
        in_training: Layers that some graph calls with ``training=True``, by their identities.
    """

    def __init__(self, uses: list[Use], outputs: set[int], in_training: set[int]) -> None:
        self._uses, self._outputs, self._in_training = uses, outputs, in_training
        self._producers = {tensor: use for use in uses for tensor in use.outputs}
        self._consumers: dict[int, list[Use]] = {}
        for use in uses:
            for tensor in use.inputs:
                self._consumers.setdefault(tensor, []).append(use)
        self.linear: dict[int, Linear] = {}
        self.gone: set[int] = set()

    def place_all(self) -> list[tuple[keras.layers.BatchNormalization, list[str], str]]:
        """(layer, names of the layers that take it in, why there are none) of each batch normalization, in order."""
        norms = {
            id(use.layer): use.layer for use in self._uses if isinstance(use.layer, keras.layers.BatchNormalization)
        }
        found: dict[int, tuple[list[str], str]] = {}
        before = -1
        # What is gone may clear the way for another one.
        while before < len(self.gone):
            before = len(self.gone)
            found |= {key: self._place(norm) for key, norm in norms.items() if key not in self.gone}
        return [(norm, *found[key]) for key, norm in norms.items()]

    def _place(self, norm: keras.layers.BatchNormalization) -> tuple[list[str], str]:
        uses = [use for use in self._uses if use.layer is norm]
        if not is_batch_normalization(norm) or (not is_built_in(norm) and type(norm) is not BatchNormalization):
            return [], f"its class {type(norm).__name__} may compute something else"
        if getattr(norm, "statistics", "auto") == "batch":
            return [], "it normalizes with the statistics of each batch, statistics='batch'"
        if isinstance(norm.axis, tuple):
            return [], f"it has several channel axes, {norm.axis}"
        if getattr(norm, "activation", None) is not None:
            return [], f"it has activation={norm.activation!r}; revert() makes two layers of it"
        if id(norm) in self._in_training:
            return [], "it is called with training=True, or runs after what is"
        if defect := inspection.defect_of(norm):
            return [], defect
        scale, shift = _affine(norm)
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            return [], "its variance and epsilon are 0"
        before = [self._before(use) for use in uses]
        obstacles = [found for found in before if isinstance(found, str)]
        obstacles += [
            f"{found.layer.name} before it is called elsewhere, too"
            for found in before
            if isinstance(found, Use) and not self._serves_only(found, before)
        ]
        if not obstacles:
            return self._taken_in(norm, before, "map_outputs", scale, shift)
        after = self._after(uses[0], shift) if len(uses) == 1 else ["it is called several times"]
        obstacles += [found for found in after if isinstance(found, str)]
        several = [f for f in after if isinstance(f, Use) and not self._serves_only(f, after)]
        obstacles += [f"{found.layer.name} after it is called several times" for found in several]
        if all(isinstance(found, Use) for found in after) and not several:
            return self._taken_in(norm, after, "map_inputs", scale, shift)
        return [], f"{obstacles[0]}; {obstacles[-1]}"

    def _taken_in(
        self, norm: keras.Layer, places: list[Any], how: str, scale: np.ndarray, shift: np.ndarray
    ) -> tuple[list[str], str]:
        takers = {id(use.layer): use.layer for use in places}
        for key, layer in takers.items():
            getattr(self.linear.setdefault(key, Linear(layer)), how)(scale, shift)
        self.gone.add(id(norm))
        return [layer.name for layer in takers.values()], ""

    def _serves_only(self, use: Use, places: list[Any]) -> bool:
        """Whether all calls of a layer are among these: it can take in what belongs to every one of its calls."""
        among = sum(isinstance(place, Use) and place.layer is use.layer for place in places)
        return among == sum(other.layer is use.layer for other in self._uses)

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

    def _after(self, norm: Use, shift: np.ndarray) -> list[Use | str]:
        """The linear layers that take what ``norm`` gives, of all who do; or, for each who is none, why not."""
        found: list[Use | str] = []
        waiting = [norm.outputs[0]]
        while waiting:
            tensor = waiting.pop()
            if tensor in self._outputs:
                found.append("after it is an output")
            for use in self._consumers.get(tensor, []):
                if self._passes(use):
                    waiting.append(use.outputs[0])
                    continue
                reason = self._unfit(use, norm, "after")
                if not reason and linear_layers.adds_zeros(use.layer) and shift.any():
                    reason = f"{use.layer.name} after it pads with zeros, to which it would add"
                found.append(reason or use)
        return found

    def _passes(self, use: Use) -> bool:
        kind = type(use.layer)
        linear = kind is keras.layers.Activation and use.layer.activation is keras.activations.linear
        return id(use.layer) not in self._in_training and (id(use.layer) in self.gone or kind in _IDENTITIES or linear)

    def _unfit(self, use: Use, norm: Use, place: str) -> str:
        name = getattr(use.layer, "name", type(use.layer).__name__)
        if not linear_layers.is_linear(use.layer):
            return f"{place} it is {name}, a {type(use.layer).__name__}"
        if norm.layer.axis % norm.rank != linear_layers.channel_axis(use.layer, norm.rank):
            return f"{name} {place} it has other channels than axis={norm.layer.axis}"
        wide = _widest(norm.layer) if place == "after" else norm.layer.compute_dtype
        if keras.backend.result_type(use.layer.compute_dtype, wide) != use.layer.compute_dtype:
            return f"{name} {place} it computes in {use.layer.compute_dtype}, and it in {wide}"
        return linear_layers.obstacle(use.layer)


def called_in_training(root: keras.Layer) -> set[int]:
    """The layers that run in training although their model is called without ``training``, by their identities.

    A graph calls a layer with ``training=True``; what is in that layer inherits it, and so does, in Keras, everything
    that runs after it until the outermost call returns.
    """
    found: set[int] = set()
    met: set[int] = set()

    def visit(layer: keras.Layer, training: bool) -> bool:
        """Go through the calls in a layer in their order; returns what the next one inherits."""
        met.add(id(layer))
        if isinstance(layer, keras.Sequential):
            steps = [(inner, None) for inner in layer.layers]
        elif keras_internals.functional_class(layer) is not None:
            steps = [(call.operation, call.options.get("training")) for call in keras_internals.calls(layer)]
        else:
            return training
        for inner, given in steps:
            if isinstance(inner, keras.Layer):
                training = training if given is None else bool(given)
                if training:
                    found.update(id(one) for one in all_layers(inner))
                training = visit(inner, training)
        return training

    for layer in all_layers(root):
        if id(layer) not in met:
            visit(layer, training=False)
    return found


def uses_in(model: keras.Model) -> tuple[list[Use], set[int]]:
    """The calls in a graph in order, and the tensors that are its outputs."""
    if isinstance(model, keras.Sequential):
        chain = []
        for place, layer in enumerate(model.layers):
            chain.append(Use(layer, (place,), (place + 1,), _rank(layer)))
        return chain, {len(chain)}
    uses = [
        Use(
            call.operation,
            tuple(id(tensor) for tensor in call.inputs),
            tuple(id(tensor) for tensor in call.outputs),
            len(call.outputs[0].shape),
        )
        for call in keras_internals.calls(model)
    ]
    return uses, {id(tensor) for tensor in model.outputs}


def _rank(layer: keras.Layer) -> int:
    shape = (layer.get_build_config() or {}).get("input_shape") or ()
    return len(shape) if all(size is None or isinstance(size, int) for size in shape) else 0


def _widest(norm: keras.layers.BatchNormalization) -> str:
    """The dtype in which inputs are normalized: ours takes those of a 16-bit layer as they are."""
    if not isinstance(norm, BatchNormalization):
        return norm.compute_dtype
    return keras.backend.result_type(
        norm.compute_dtype, getattr(getattr(norm, "input", None), "dtype", norm.compute_dtype)
    )


def _affine(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """(γs, β − Mγs) in float64 (equation 13)."""
    mean, variance = (as_array(v) for v in (norm.moving_mean, norm.moving_variance))
    gamma = as_array(norm.gamma) if norm.scale else np.ones_like(mean)
    beta = as_array(norm.beta) if norm.center else np.zeros_like(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(variance + norm.epsilon)
        return scale, beta - mean * scale
