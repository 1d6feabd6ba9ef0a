"""The networks whose steps are measured, and what stands in each in the place of batch normalization."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import keras_bn
from tests.benchmarks.contenders import (
    BUILT_IN,
    CLOSED_FORM,
    FUSED,
    IN_PLACE,
    LEAKY,
    NONE,
    OURS,
    OURS_LEAKY,
    TORCH,
    torch,
)

CLASSES = 10
# While times are taken, weights hardly move: every contender has the same work in every round.
RATE = 1e-9


class Network(NamedTuple):
    """A network with batch normalization, and the size of a batch; images unless it says otherwise."""

    name: str
    make: Callable[[], keras.Model]
    batch_size: int
    sequences: bool = False

    def data(self, model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
        """Random inputs of a model that was made, and labels."""
        rng = np.random.default_rng(0)
        labels = rng.normal(size=(self.batch_size, CLASSES)).astype("float32")
        if not self.sequences:
            return rng.normal(size=(self.batch_size, *model.input_shape[1:])).astype("float32"), labels
        words = rng.integers(1, WORDS, (self.batch_size, LENGTH))
        lengths = rng.integers(LENGTH // 4, LENGTH + 1, (self.batch_size, 1))
        return np.where(np.arange(LENGTH) < lengths, words, 0), labels


# Of the sequences: different words, and the length of the longest.
WORDS, LENGTH = 1000, 64


def application(name: str, size: int) -> Callable[[], keras.Model]:
    """Makes one of Keras' applications, without dropout: all contenders are to compute the same."""

    def without_dropout(layer: keras.layers.Layer) -> keras.layers.Layer:
        none = {"rate": 0.0} if isinstance(layer, keras.layers.Dropout) else {}
        return layer.__class__.from_config({**layer.get_config(), **none})

    def make() -> keras.Model:
        model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=CLASSES)
        return keras.models.clone_model(model, clone_function=without_dropout)

    return make


def _small_cnn() -> keras.Model:
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for filters, stride in ((32, 1), (64, 2), (128, 2)):
        model.add(keras.layers.Conv2D(filters, 3, stride, use_bias=False))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(CLASSES))
    return model


def _dense() -> keras.Model:
    model = keras.Sequential([keras.Input((256,))])
    for _ in range(4):
        model.add(keras.layers.Dense(512, use_bias=False))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Dense(CLASSES))
    return model


def _recurrent() -> keras.Model:
    model = keras.Sequential([keras.Input((LENGTH,)), keras.layers.Embedding(WORDS, 128, mask_zero=True)])
    for more in (True, True, False):
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.GRU(128, return_sequences=more))
    model.add(keras.layers.Dense(CLASSES))
    return model


NETWORKS = [
    Network("MobileNetV2 16×96×96", application("MobileNetV2", 96), 16),
    Network("ResNet50 8×64×64", application("ResNet50", 64), 8),
    Network("ResNet50 8×160×160", application("ResNet50", 160), 8),
    Network("DenseNet121 8×64×64", application("DenseNet121", 64), 8),
    Network("EfficientNetB0 8×96×96", application("EfficientNetB0", 96), 8),
    Network("small CNN 64×28×28", _small_cnn, 64),
    Network("dense 128×256", _dense, 128),
    Network("masked GRU 32×64", _recurrent, 32, sequences=True),
]
QUICK = [network for network in NETWORKS if network.name.startswith("dense")]
# The first five take turns by default, the others if they are asked for.
CONTENDERS = (BUILT_IN, OURS, FUSED, NONE, TORCH, CLOSED_FORM, LEAKY, OURS_LEAKY, IN_PLACE)


def contender(name: str, model: keras.Model, *, masked: bool) -> Any:
    """A copy of the model with another batch normalization; None if there is no such.

    PyTorch's counterpart is a module, made of sequential models alone. Neither it nor the bare kernel knows masks.
    """
    if name in (FUSED, TORCH) and masked:
        return None
    if name == BUILT_IN:
        return copy(model, keras.layers.BatchNormalization)
    if name == OURS:
        return keras_bn.convert(model)
    if name == CLOSED_FORM:
        return keras_bn.convert(model, engine="closed_form")
    if name in (LEAKY, OURS_LEAKY, IN_PLACE):
        return _with_leaky_relu(model, name)
    if name == FUSED:
        return copy(model, BareKernel)
    if name == NONE:
        return copy(model, Nothing)
    return _torch_module(model) if torch is not None and isinstance(model, keras.Sequential) else None


class BareKernel(keras.layers.BatchNormalization):
    """What TensorFlow's fused kernel alone costs: it loses digits where the mean is large, and nothing looks after it.

    For channels that come last, without a mask, in training and in inference.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        images = inputs if inputs.shape.rank == 4 else tf.reshape(inputs, [1, 1, -1, inputs.shape[-1]])
        ones, zeros = tf.ones(inputs.shape[-1]), tf.zeros(inputs.shape[-1])
        kernel = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else ones,
            offset=tf.convert_to_tensor(self.beta) if self.center else zeros,
            mean=[] if training else tf.convert_to_tensor(self.moving_mean),
            variance=[] if training else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            batch = kernel.batch_mean, kernel.batch_variance
            for variable, value in zip((self.moving_mean, self.moving_variance), batch, strict=True):
                variable.assign(self.momentum * tf.convert_to_tensor(variable) + (1 - self.momentum) * value)
        return kernel.y if inputs.shape.rank == 4 else tf.reshape(kernel.y, tf.shape(inputs))


class Nothing(keras.layers.Layer):
    """What costs nothing in the place of batch normalization, and is called as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs


def copy(model: keras.Model, normalization: type[keras.layers.Layer]) -> keras.Model:
    """The model with another class in the place of batch normalization, and the same weights where that has any."""

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, keras.layers.BatchNormalization):
            return layer.__class__.from_config(layer.get_config())
        return Nothing(name=layer.name) if normalization is Nothing else normalization.from_config(layer.get_config())

    return _cloned(model, replaced)


def _with_leaky_relu(model: keras.Model, name: str) -> keras.Model:
    """The model with leaky ReLUs for its ReLUs; IN_PLACE has those in our layer that stand right behind one."""
    relus = {
        layer.name: layer._inbound_nodes[0].parent_nodes[0].operation
        for layer in model.layers
        if isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu
    }
    behind = {relu: norm.name for relu, norm in relus.items() if isinstance(norm, keras.layers.BatchNormalization)}
    normalization = keras.layers.BatchNormalization if name == LEAKY else keras_bn.BatchNormalization

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.BatchNormalization):
            joined = {"activation": "leaky_relu"} if name == IN_PLACE and layer.name in behind.values() else {}
            return normalization.from_config({**layer.get_config(), **joined})
        if layer.name not in relus:
            return layer.__class__.from_config(layer.get_config())
        if name == IN_PLACE and layer.name in behind:
            return Nothing(name=layer.name)
        return keras.layers.LeakyReLU(0.2, name=layer.name)

    return _cloned(model, replaced)


def _cloned(model: keras.Model, replaced: Callable[[keras.layers.Layer], keras.layers.Layer]) -> keras.Model:
    copy = keras.models.clone_model(model, clone_function=replaced)
    for new, old in zip(copy.layers, model.layers, strict=True):
        if new.weights:
            new.set_weights(old.get_weights())
    return copy


def _torch_module(model: keras.Sequential) -> Any:
    """PyTorch's counterpart of a sequential model, with the same weights, in its faster memory format."""
    modules = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            made = torch.nn.Linear(*layer.kernel.shape, bias=layer.use_bias)
            weights = [layer.kernel.numpy().T, *([layer.bias.numpy()] if layer.use_bias else [])]
        elif isinstance(layer, keras.layers.Conv2D):
            *kernel, inputs, outputs = layer.kernel.shape
            made = torch.nn.Conv2d(inputs, outputs, kernel, layer.strides, bias=False)
            weights = [layer.kernel.numpy().transpose(3, 2, 0, 1)]
        elif isinstance(layer, keras.layers.BatchNormalization):
            kind = torch.nn.BatchNorm2d if len(layer.input.shape) == 4 else torch.nn.BatchNorm1d
            made = kind(layer.gamma.shape[0], eps=layer.epsilon, momentum=1 - layer.momentum)
            weights = [layer.gamma.numpy(), layer.beta.numpy()]
        elif isinstance(layer, keras.layers.ReLU):
            made, weights = torch.nn.ReLU(inplace=True), []
        elif isinstance(layer, keras.layers.GlobalAveragePooling2D):
            made, weights = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()), []
        else:
            raise TypeError(f"no counterpart of {type(layer).__name__} in PyTorch is written down here")
        with torch.no_grad():
            for parameter, value in zip(made.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(np.array(value)))
        modules.append(made)
    return torch.nn.Sequential(*modules).to(memory_format=torch.channels_last)
