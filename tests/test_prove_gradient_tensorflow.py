"""Functions of TensorFlow: the gradient that the tape takes, any custom gradient included."""

import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient

LAYER = {"x": (None, 4), "gamma": (4,), "beta": (4,)}


def batch_normalization(x, gamma, beta):
    mean, variance = tf.nn.moments(x, [0])
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)


def layer_normalization(x, gamma, beta):
    mean = tf.reduce_mean(x, -1, keepdims=True)
    return (x - mean) / tf.sqrt(tf.math.reduce_variance(x, -1, keepdims=True) + 1e-5) * gamma + beta


def rms_normalization(total):
    @tf.custom_gradient
    def function(x, gamma):
        inverse = tf.math.rsqrt(tf.reduce_mean(x * x, 0) + 1e-3)
        y = x * inverse

        def gradient(dy):
            scaled = dy * gamma
            return inverse * (scaled - y * total(scaled * y, 0)), tf.reduce_sum(dy * y, 0)

        return gamma * y, gradient

    return function


@tf.custom_gradient
def l2_normalization(x):
    inverse = tf.math.rsqrt(tf.reduce_sum(x * x, 1, keepdims=True))
    y = x * inverse
    return y, lambda dy: inverse * (dy - y * tf.reduce_sum(dy * y, 1, keepdims=True))


@tf.custom_gradient
def reversed_gradient(x):
    return tf.identity(x), lambda dy: -dy


def group_normalization(x, gamma):
    shape = tf.shape(x)
    groups = tf.reshape(x, [shape[0], shape[1], 2, 3])
    mean = tf.reduce_mean(groups, [1, 3], keepdims=True)
    variance = tf.reduce_mean((groups - mean) ** 2, [1, 3], keepdims=True)
    return tf.reshape((groups - mean) / tf.sqrt(variance + 1e-5), shape) * gamma


RIGHT = {
    "batch": (batch_normalization, LAYER),
    "already wrapped": (tf.function(batch_normalization), LAYER),
    "layer": (layer_normalization, LAYER),
    "rms, its own gradient": (rms_normalization(tf.reduce_mean), {"x": (None, 4), "gamma": (4,)}),
    "l2, its own gradient": (l2_normalization, {"x": (None, None)}),
    "group": (group_normalization, {"x": (None, None, 6), "gamma": (6,)}),
    "softmax": (tf.nn.softmax, {"x": ("N", "C")}),
    "dense": (lambda x, w, b: tf.tanh(tf.matmul(x, w) + b), {"x": ("N", "D"), "w": ("D", "M"), "b": ("M",)}),
    "swish": (lambda x: x * tf.sigmoid(x), {"x": ("N",)}),
    "two outputs": (lambda x: (x - tf.reduce_mean(x, 0), tf.reduce_mean(x * x, 0)), {"x": ("N", 3)}),
    "squared error": (lambda p, t: tf.reduce_mean((p - t) ** 2), {"p": ("N", "D"), "t": ("N", "D")}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_are_proved(name):
    function, inputs = RIGHT[name]
    assert prove_gradient(function, inputs=inputs)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (rms_normalization(tf.reduce_sum), {"x": (None, 4), "gamma": (4,)}),
        (reversed_gradient, {"x": ("N", "D")}),
    ],
)
def test_wrong_ones_are_refuted(function, inputs):
    proof = prove_gradient(function, inputs=inputs)
    assert proof.gradients["x"].verdict == "refuted"
    assert proof.counterexample is not None


def test_what_is_held_is_named():
    proof = prove_gradient(lambda x: x + tf.stop_gradient(tf.reduce_mean(x, 0)), inputs={"x": ("N", 3)})
    assert proof
    assert proof.held == ("StopGradient",)


@pytest.mark.parametrize(
    "function", [tf.nn.relu, lambda x: tf.nn.l2_normalize(x, 0), lambda x: tf.where(x > 0, x, -x), tf.sort]
)
def test_choices_by_values_are_refused(function):
    with pytest.raises(NotUnderstood):
        prove_gradient(function, inputs={"x": ("N",)})


def test_second_order():
    proof = prove_gradient(lambda x: x * x * x, inputs={"x": ("N",)}, order=2)
    assert proof
    assert set(proof.gradients) == {"x", "x (second order)", "cotangent (second order)"}
