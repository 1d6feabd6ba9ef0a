"""Many small networks, trained side by side as one Keras model.

A sweep over nine settings with five seeds is 45 trainings. Here they are one: tensors are [samples, networks,
features], a dense layer is one product for each network, and batch normalization with ``axis=(1, 2)`` has statistics
and weights of its own for every feature of every network. The networks share neither weights, nor the order of the
data, nor the learning rate.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import keras_bn
from keras_bn.guided_run.training import load_digits

Array = np.ndarray
Layers = Callable[[int, int], list[keras.Layer]]
"""(networks, width) → what stands between the dense layer and the activation."""

DIGITS = load_digits()
IMAGES, LABELS = DIGITS.train_images.reshape(-1, 64), DIGITS.train_labels
TEST_IMAGES, TEST_LABELS = DIGITS.test_images.reshape(-1, 64), DIGITS.test_labels


class ScaleShift(keras.Layer):
    """gamma·x + beta, with a gamma and a beta for every feature of every network."""

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(shape=shape[1:], initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape[1:], initializer="zeros", name="beta")

    def call(self, x: Any) -> Any:
        return self.gamma * x + self.beta


def none(networks: int, width: int) -> list[keras.Layer]:
    """No normalization."""
    return []


def batch_norm(**options: Any) -> Layers:
    """Batch normalization with moving statistics over about ten batches, unless ``options`` say otherwise."""
    return lambda networks, width: [keras_bn.BatchNormalization(**{"axis": (1, 2), "momentum": 0.9, **options})]


def group_norm(groups: int) -> Layers:
    """Normalization within each sample, over groups of features; one group is layer normalization."""

    def layers(networks: int, width: int) -> list[keras.Layer]:
        return [
            keras.layers.Reshape((networks, groups, width // groups)),
            keras.layers.LayerNormalization(center=False, scale=False),
            keras.layers.Reshape((networks, width)),
            ScaleShift(),
        ]

    return layers


def accuracy_of(logits: tf.Tensor, labels: Array) -> Array:
    """Fraction classified rightly by each network, [networks]."""
    return np.mean(logits.numpy().argmax(-1) == labels[:, None], axis=0)


class History(NamedTuple):
    """What was measured while training: [steps, networks] of the loss, [epochs, networks] of the accuracies."""

    loss: Array
    """Of each step, before its update, in nats."""
    accuracy: Array
    """On the training data, of each epoch as it ran, as a fraction."""
    test_accuracy: Array
    """In inference, after each epoch."""


class Networks:
    """Networks of dense layers with ReLU, one model.

    Args:
        count: How many.
        normalization: What stands between each dense layer and its activation.
        depth: Hidden layers.
        width: Of each.
        after: Whether the normalization comes after the activation instead.
    """

    def __init__(
        self, count: int, normalization: Layers = none, *, depth: int = 4, width: int = 64, after: bool = False
    ) -> None:
        self.count = count
        hidden = inputs = keras.Input((count, 64))
        dense, before_relu = [], []
        for _ in range(depth):
            layers = normalization(count, width)
            hidden = self._dense(width, bias=not layers or after)(hidden)
            dense.append(hidden)
            for layer in (keras.layers.ReLU(), *layers) if after else (*layers, keras.layers.ReLU()):
                if isinstance(layer, keras.layers.ReLU):
                    before_relu.append(hidden)
                hidden = layer(hidden)
        self.model = keras.Model(inputs, self._dense(10, bias=True)(hidden))
        self._inner = keras.Model(inputs, [dense, before_relu])
        self.kernels = [v for v in self.model.trainable_variables if v.path.endswith("/kernel")]
        self._rates = tf.Variable(tf.zeros(count))
        self._images, self._labels = tf.constant(IMAGES), tf.constant(LABELS)
        self._run = tf.function(self._steps, input_signature=[tf.TensorSpec([None, None, count], tf.int32)])
        self._logits = tf.function(lambda images: self.model(images, training=False), autograph=False)

    def _dense(self, width: int, bias: bool) -> keras.Layer:
        return keras.layers.EinsumDense(
            "nri,rio->nro", output_shape=(self.count, width), bias_axes="ro" if bias else None
        )

    def repeated(self, images: Array) -> tf.Tensor:
        """The same images for all networks, [samples, networks, 64]."""
        return tf.repeat(tf.constant(images)[:, None], self.count, axis=1)

    def reset(self, seeds: Any, *, scale: Any = 1.0, output_scale: Any = None, gamma: Any = 1.0) -> "Networks":
        """Start anew: kernels are normal with a variance of 2/inputs (He et al. 2015), times ``scale``².

        The kernel of the output layer, which no normalization follows, has ``output_scale`` if given.
        """
        self._seeds, scales = (np.broadcast_to(value, self.count) for value in (seeds, scale))
        of_output = scales if output_scale is None else np.broadcast_to(output_scale, self.count)
        gammas = np.broadcast_to(gamma, self.count)
        for n, variable in enumerate(self.kernels):
            inputs, outputs = variable.shape[1:]
            drawn = [np.random.default_rng([seed, n]).normal(size=(inputs, outputs)) for seed in self._seeds]
            factors = of_output if n == len(self.kernels) - 1 else scales
            variable.assign(np.stack(drawn) * factors[:, None, None] * np.sqrt(2 / inputs))
        for variable in self.model.variables:
            ending = variable.path.split("/")[-1]
            if ending in ("beta", "bias", "moving_mean", "renorm_mean"):
                variable.assign(tf.zeros_like(variable))
            elif ending in ("moving_variance", "moving_stddev", "renorm_stddev"):
                variable.assign(tf.ones_like(variable))
            elif ending == "gamma":
                variable.assign(np.broadcast_to(gammas[:, None], variable.shape))
        self._epoch = 0
        return self

    def train(self, rates: Any, *, epochs: int, batch_size: int = 64, steps: int | None = None) -> History:
        """Stochastic gradient descent, with a learning rate for each network; goes on where it stopped.

        An epoch is a pass over the data in a new order, or its first ``steps`` steps.
        """
        self._rates.assign(np.broadcast_to(rates, self.count))
        rows = []
        for _ in range(epochs):
            orders = [np.random.default_rng([seed, self._epoch]).permutation(len(LABELS)) for seed in self._seeds]
            steps = len(LABELS) // batch_size if steps is None else steps
            order = np.stack(orders, axis=-1)[: steps * batch_size].reshape(steps, batch_size, self.count)
            loss, accuracy = (value.numpy() for value in self._run(order.astype(np.int32)))
            rows.append((loss, accuracy.mean(0), self.accuracy(TEST_IMAGES, TEST_LABELS)))
            self._epoch += 1
        loss, accuracy, test_accuracy = zip(*rows, strict=True)
        return History(np.concatenate(loss), np.stack(accuracy), np.stack(test_accuracy))

    def _steps(self, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One update for each row of indices; the losses and accuracies, [steps, networks]."""
        steps = tf.shape(order)[0]
        losses = tf.TensorArray(tf.float32, steps)
        accuracies = tf.TensorArray(tf.float32, steps)
        for step in tf.range(steps):
            images, labels = (tf.gather(values, order[step]) for values in (self._images, self._labels))
            variables = [variable.value for variable in self.model.trainable_variables]
            with tf.GradientTape() as tape:
                logits = self.model(images, training=True)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), axis=0)
            # The gradient of the sum of all losses holds, network by network, the gradient of its own.
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                rates = tf.reshape(self._rates, [-1] + [1] * (len(variable.shape) - 1))
                variable.assign_sub(rates * gradient)
            losses = losses.write(step, loss)
            right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
            accuracies = accuracies.write(step, tf.reduce_mean(tf.cast(right, tf.float32), axis=0))
        return losses.stack(), accuracies.stack()

    def accuracy(self, images: Array, labels: Array) -> Array:
        """Fraction classified rightly in inference, [networks]."""
        return accuracy_of(self._logits(self.repeated(images)), labels)

    def loss(self, images: Array, labels: Array) -> Array:
        """Loss in inference, in nats, [networks]."""
        logits = self._logits(self.repeated(images))
        labels = tf.repeat(tf.constant(labels)[:, None], self.count, axis=1)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), axis=0).numpy()

    def gradient_norms(self, samples: int = 256) -> Array:
        """‖∂loss/∂kernel‖ on the first training data, [layers, networks]."""
        kernels = [kernel.value for kernel in self.kernels]
        labels = tf.repeat(tf.constant(LABELS[:samples])[:, None], self.count, axis=1)
        with tf.GradientTape() as tape:
            logits = self.model(self.repeated(IMAGES[:samples]), training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), axis=0)
        return np.stack([tf.norm(gradient, axis=(1, 2)).numpy() for gradient in tape.gradient(loss, kernels)])

    def activations(self, images: Array) -> tuple[list[Array], list[Array]]:
        """What each dense layer gives and what each ReLU receives, in training: [samples, networks, width] a layer.

        Args:
            images: [samples, 64], the same for all networks.
        """
        dense, before_relu = self._inner(self.repeated(images), training=True)
        return [value.numpy() for value in dense], [value.numpy() for value in before_relu]
