"""Linear layers as arrays: how each kind takes in an affine map of its outputs or of its inputs, channel by channel."""

from typing import Any

import keras
import numpy as np

from keras_bn.model_tools.inspection import as_array

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
# No classes derived from these: they may compute something else.
_KINDS = (keras.layers.Dense, *_CONVOLUTIONS, *_TRANSPOSED, *_DEPTHWISE, *_SEPARABLE)


class Linear:
    """The weights of a layer in float64, which affine maps change until ``finished`` puts them back.

    Kernels: Dense [in, out]; convolutions [..., in / groups, out], transposed ones [..., out, in], depthwise ones
    [..., in, multiplier]; separable ones depthwise [..., in, multiplier] and pointwise [..., in · multiplier, out].
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer
        self._kind = type(layer)
        name = "depthwise_kernel" if self._kind in _SEPARABLE else "kernel"
        self._kernel = as_array(getattr(layer, name))
        self._pointwise = as_array(layer.pointwise_kernel) if self._kind in _SEPARABLE else None
        self._bias = as_array(layer.bias) if layer.use_bias else np.zeros(self._outputs())
        self._name = name
        self.changed = False

    def _outputs(self) -> int:
        if self._pointwise is not None:
            return self._pointwise.shape[-1]
        if self._kind in _DEPTHWISE:
            return self._kernel.shape[-1] * self._kernel.shape[-2]
        return self._kernel.shape[-2 if self._kind in _TRANSPOSED else -1]

    def map_outputs(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Compute scale·y + shift in place of y; both [out] (equation 13)."""
        if self._pointwise is not None:
            self._pointwise = self._pointwise * scale
        elif self._kind in _DEPTHWISE:
            self._kernel = self._kernel * scale.reshape(self._kernel.shape[-2:])
        elif self._kind in _TRANSPOSED:
            self._kernel = self._kernel * scale[:, None]
        else:
            self._kernel = self._kernel * scale
        self._bias = self._bias * scale + shift
        self.changed = True

    def map_inputs(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Take scale·x + shift in place of x; both [in]. Exact where each output sees the whole kernel."""
        if self._kind in _TRANSPOSED:
            # The shift is 0 here: at the borders an output sees only part of the kernel.
            self._kernel = self._kernel * scale
        elif self._kind in (*_DEPTHWISE, *_SEPARABLE):
            constant = self._sum_over_places(self._kernel * shift[:, None]).reshape(-1)
            if self._pointwise is not None:
                constant = constant @ self._pointwise.reshape(self._pointwise.shape[-2:])
            self._bias = self._bias + constant
            self._kernel = self._kernel * scale[:, None]
        else:
            # With groups, the outputs of group g see the inputs of group g only: [in / groups, out].
            inputs, outputs = self._kernel.shape[-2:]
            groups = len(scale) // inputs
            seen = [np.repeat(value.reshape(groups, inputs).T, outputs // groups, axis=1) for value in (scale, shift)]
            self._bias = self._bias + self._sum_over_places(self._kernel * seen[1]).sum(axis=0)
            self._kernel = self._kernel * seen[0]
        self.changed = True

    def _sum_over_places(self, value: np.ndarray) -> np.ndarray:
        return value.sum(axis=tuple(range(value.ndim - 2)))

    def finished(self) -> keras.layers.Layer:
        """A layer of the same name with the new weights: the old one may serve elsewhere, too."""
        layer = self._kind.from_config({**self.layer.get_config(), "use_bias": True})
        layer.build_from_config(self.layer.get_build_config())
        layer.trainable = self.layer.trainable
        getattr(layer, self._name).assign(self._kernel)
        if self._pointwise is not None:
            layer.pointwise_kernel.assign(self._pointwise)
        layer.bias.assign(self._bias)
        return layer


def is_linear(layer: Any) -> bool:
    """Whether a layer is of a kind that ``Linear`` knows."""
    return type(layer) in _KINDS


def obstacle(layer: keras.layers.Layer) -> str:
    """Why the weights of a layer cannot be changed; "" if they can."""
    if getattr(layer, "quantization_mode", None) is not None:
        return f"{layer.name} is quantized"
    if getattr(layer, "lora_enabled", False):
        return f"{layer.name} has LoRA weights"
    return ""


def channel_axis(layer: keras.layers.Layer, rank: int) -> int:
    """The axis of inputs and outputs of this rank that the kernel mixes or makes."""
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1


def adds_zeros(layer: keras.layers.Layer) -> bool:
    """Whether some outputs may see only part of the kernel; with "same", for some sizes of the inputs."""
    if type(layer) in _TRANSPOSED:
        return True
    # With stride s, padding is (⌈n/s⌉ − 1)s + (k − 1)d + 1 − n, if that is positive. For a kernel of size k = 1 it is
    # not, since ⌈n/s⌉ − 1 < n/s; for a larger one it is where n = 1.
    return getattr(layer, "padding", "valid") != "valid" and any(size > 1 for size in layer.kernel_size)
