"""Two small networks on handwritten digits, each with one of three kinds of normalization.

The three variants start from the same kernels and see the same batches in the same order, so that what differs between
their curves is the normalization alone.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn.layer import BatchNormalization

Array = np.ndarray

BATCH_SIZE = 64
LEARNING_RATE = 1e-3
# A moving average over about ten batches; Keras' default of a hundred would take five epochs of these data to settle.
MOMENTUM = 0.9
EPSILON = 1e-5

OURS, BUILT_IN, WITHOUT = VARIANTS = ("keras_bn", "keras", "none")
_LAYERS = {OURS: BatchNormalization, BUILT_IN: keras.layers.BatchNormalization}


class Digits(NamedTuple):
    """Images of shape [N, 8, 8, 1] with values from 0 to 1, and their labels 0…9."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


class Epoch(NamedTuple):
    """What is measured in one epoch; loss in nats, accuracies as fractions.

    The training figures are means over the batches as they were seen; the test accuracy is measured afterwards, with
    the moving statistics.
    """

    train_loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float


def load_digits() -> Digits:
    """scikit-learn's 1797 handwritten digits; a fifth of each class is set aside for testing, always the same."""
    from sklearn import datasets, model_selection

    data = datasets.load_digits()
    images = (data.images / 16).astype(np.float32)[..., np.newaxis]
    train_x, test_x, train_y, test_y = model_selection.train_test_split(
        images, data.target, test_size=0.2, stratify=data.target, random_state=0
    )
    return Digits(train_x, train_y, test_x, test_y)


def dense_network(variant: str, dtype: str) -> keras.Model:
    """Dense 64 – BN – ReLU – Dense 64 – BN – ReLU – Dense 10."""
    layers: list[keras.Layer] = [keras.layers.Flatten(dtype=dtype)]
    for _ in range(2):
        layers.append(keras.layers.Dense(64, use_bias=variant == WITHOUT, dtype=dtype))
        layers += _normalized_relu(variant, dtype)
    return _classifier(layers, dtype)


def convolutional_network(variant: str, dtype: str) -> keras.Model:
    """Conv 32 – BN – ReLU – pool – Conv 64 – BN – ReLU – pool – Dense 128 – BN – ReLU – Dense 10."""
    layers: list[keras.Layer] = []
    for filters in (32, 64):
        layers.append(keras.layers.Conv2D(filters, 3, padding="same", use_bias=variant == WITHOUT, dtype=dtype))
        layers += _normalized_relu(variant, dtype)
        layers.append(keras.layers.MaxPooling2D(2, dtype=dtype))
    layers.append(keras.layers.Flatten(dtype=dtype))
    layers.append(keras.layers.Dense(128, use_bias=variant == WITHOUT, dtype=dtype))
    layers += _normalized_relu(variant, dtype)
    return _classifier(layers, dtype)


NETWORKS: dict[str, Callable[[str, str], keras.Model]] = {
    "dense": dense_network,
    "convolutional": convolutional_network,
}


def _normalized_relu(variant: str, dtype: str) -> list[keras.Layer]:
    """Normalization where the variant has one, and ReLU.

    What precedes a normalization has no bias: the normalization would cancel it and beta takes its place.
    """
    relu = keras.layers.ReLU(dtype=dtype)
    if variant == WITHOUT:
        return [relu]
    return [_LAYERS[variant](momentum=MOMENTUM, epsilon=EPSILON, dtype=dtype), relu]


def _classifier(layers: list[keras.Layer], dtype: str) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 1), dtype=dtype), *layers, keras.layers.Dense(10, dtype=dtype)])


class Trainer:
    """A network with Adam, which can be started again from any seed without tracing its step again.

    Args:
        build: Makes the model, from a variant and a dtype.
        variant: One of ``VARIANTS``.
        dtype: Of weights and computations.
    """

    def __init__(self, build: Callable[[str, str], keras.Model], variant: str, dtype: str = "float32") -> None:
        self.dtype = dtype
        self.model = build(variant, dtype)
        self._optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self._optimizer.build(self.model.trainable_variables)
        self._variables = [*self.model.variables, *self._optimizer.variables]
        self._initial = [keras.ops.convert_to_numpy(variable) for variable in self._variables]
        self._step = tf.function(self._update)
        self._predict = tf.function(lambda images: tf.argmax(self.model(images, training=False), axis=-1))

    def reset(self, seed: int) -> None:
        """Start again: kernels are drawn from ``seed`` (He et al. 2015, uniform), the rest is as built.

        The draws are float32 numbers whatever the dtype, so that runs in float32 and float64 start at the same point.
        """
        random = np.random.default_rng(seed)
        for variable, initial in zip(self._variables, self._initial, strict=True):
            if variable.path.endswith("/kernel"):
                bound = math.sqrt(6 / math.prod(initial.shape[:-1]))
                initial = random.uniform(-bound, bound, initial.shape).astype(np.float32)
            variable.assign(initial)

    def step(self, images: Array, labels: Array) -> tuple[float, Array, float]:
        """One update; returns the loss, its whole gradient as one vector, and the accuracy, all before the update."""
        loss, gradient, accuracy = self._step(tf.constant(images, self.dtype), tf.constant(labels))
        return float(loss), gradient.numpy(), float(accuracy)

    def accuracy(self, images: Array, labels: Array) -> float:
        """Fraction classified rightly, in inference."""
        return float(np.mean(self._predict(tf.constant(images, self.dtype)).numpy() == labels))

    def _update(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self._optimizer.apply(gradients, variables)
        accuracy = tf.reduce_mean(tf.cast(tf.argmax(logits, axis=-1) == labels, tf.float32))
        return loss, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0), accuracy


def batches(digits: Digits, seed: int, epoch: int) -> Iterator[tuple[Array, Array]]:
    """The training data in an order that depends on seed and epoch only; what does not fill a batch sits out."""
    order = np.random.default_rng([seed, epoch]).permutation(len(digits.train_labels))
    for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        yield digits.train_images[chosen], digits.train_labels[chosen]


def train(trainer: Trainer, digits: Digits, *, seed: int, epochs: int) -> Iterator[Epoch]:
    """Train from the start, with ``seed`` for weights and order; yields the figures of each epoch as it ends."""
    trainer.reset(seed)
    for epoch in range(epochs):
        start = time.perf_counter()
        steps = [trainer.step(images, labels) for images, labels in batches(digits, seed, epoch)]
        yield Epoch(
            train_loss=float(np.mean([loss for loss, _, _ in steps])),
            train_accuracy=float(np.mean([accuracy for _, _, accuracy in steps])),
            test_accuracy=trainer.accuracy(digits.test_images, digits.test_labels),
            seconds=time.perf_counter() - start,
        )
