"""Functions of TensorFlow: the gradient that the tape takes, any custom gradient included."""

import functools

import pytest
import tensorflow as tf

import keras_bn
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


def squeeze_and_excitation(x, w1, w2):
    s = tf.nn.relu(tf.reduce_mean(x, [1, 2]) @ w1)
    return x * tf.sigmoid(s @ w2)[:, None, None, :]


def evolved_normalization(x, v):
    return x * tf.sigmoid(v * x) / tf.sqrt(tf.math.reduce_variance(x, -1, keepdims=True) + 1e-5)


def rms_with_epsilon_outside(x, gamma):
    return gamma * x / (tf.sqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True)) + 1e-8)


def attention(q, k, v):
    scores = tf.matmul(q, k, transpose_b=True) / tf.sqrt(tf.cast(tf.shape(q)[-1], q.dtype))
    return tf.matmul(tf.nn.softmax(scores), v)


def global_response(x, gamma, beta):
    norm = tf.sqrt(tf.reduce_sum(x * x, [1, 2], keepdims=True))
    return gamma * x * norm / (tf.reduce_mean(norm, -1, keepdims=True) + 1e-6) + beta + x


def weighted_mean(x, w):
    return tf.reduce_sum(w[:, None] * x, 0) / tf.reduce_sum(w)


RIGHT = {
    "squeeze and excitation": (
        squeeze_and_excitation,
        {"x": ("N", "H", "W", "C"), "w1": ("C", "R"), "w2": ("R", "C")},
    ),
    "evolved": (evolved_normalization, {"x": ("N", "D"), "v": ("D",)}),
    "rms, epsilon outside": (rms_with_epsilon_outside, {"x": ("N", "D"), "gamma": ("D",)}),
    "attention": (attention, {"q": ("N", "T", "D"), "k": ("N", "T", "D"), "v": ("N", "T", "D")}),
    "global response": (global_response, {"x": ("N", "H", "W", "C"), "gamma": ("C",), "beta": ("C",)}),
    "weighted mean": (weighted_mean, {"x": ("N", "D"), "w": ("N",)}),
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
    ("shape", "axis"),
    [
        ((5, 4), -1),
        ((3, 2, 2, 4), -1),
        ((None, 4), -1),
        ((None, 2, 2, 4), -1),
        ((None, 8, 8, 3), -1),
        ((None, 3, None, None), 1),
        pytest.param((None, None, None, 4), -1, marks=pytest.mark.slow),
        pytest.param((None, 2, None, 3), (1, 3), marks=pytest.mark.slow),
    ],
)
def test_our_own_operation_is_proved_as_any_other(shape, axis):
    """Of unknown sizes too, although its sums are cut into blocks of ⌊N/64⌋ rows, or of pixels, and a rest."""
    channels = tuple(shape[n] for n in (axis if isinstance(axis, tuple) else (axis,)))
    operation = functools.partial(keras_bn.batch_norm, axis=axis)
    assert prove_gradient(operation, inputs={"x": shape, "gamma": channels, "beta": channels})


def test_a_mask_of_pixels_that_are_cut_as_one_axis_is_not_understood():
    mask = tf.constant([[True, False, True]])
    with pytest.raises(NotUnderstood, match="cut as one"):
        prove_gradient(
            lambda x, gamma, beta: keras_bn.batch_norm(x, gamma, beta, mask=mask),
            inputs={"x": (None, 3, 2), "gamma": (2,), "beta": (2,)},
        )


def staged_sum(x, run=64, rest=1):
    whole = tf.shape(x)[0] // run * run
    head = tf.reshape(x[:whole], [whole // run, run, 4])
    return tf.reduce_sum(tf.reduce_sum(head, 1), 0) + rest * tf.reduce_sum(x[whole:], 0)


def number_of(x):
    return tf.cast(tf.shape(x)[0], x.dtype)


def with_gradient(function, gradient):
    return tf.custom_gradient(lambda x: (function(x), lambda dy: gradient(dy, x)))


BLOCKS = {
    "a sum in blocks": ("proved", lambda x: staged_sum(x) ** 2),
    "two lengths of blocks": ("proved", lambda x: (staged_sum(x, 64) - staged_sum(x, 8) + tf.reduce_sum(x, 0)) ** 2),
    "a variance": ("proved", lambda x: staged_sum((x - staged_sum(x) / number_of(x)) ** 2) / number_of(x)),
    "a gradient of its own": (
        "proved",
        with_gradient(lambda x: x * staged_sum(x), lambda dy, x: dy * staged_sum(x) + staged_sum(dy * x)),
    ),
    "an exponential": ("proved", lambda x: staged_sum(tf.exp(x)) * x),
    "whole blocks alone": ("proved", lambda x: x[: tf.shape(x)[0] // 8 * 8] ** 2),
    "the rest left out of the gradient": (
        "refuted",
        with_gradient(lambda x: x * staged_sum(x), lambda dy, x: dy * staged_sum(x) + staged_sum(dy * x, rest=0)),
    ),
    "right for fewer rows than a block": (
        "refuted",
        with_gradient(
            lambda x: x * tf.reduce_sum(x, 0),
            lambda dy, x: dy * tf.reduce_sum(x, 0) + staged_sum(dy * x) + staged_sum(dy * x, rest=0),
        ),
    ),
    "a few rows, held": (
        "proved",
        lambda x: x * tf.stop_gradient(tf.reduce_mean(x[:: tf.maximum(tf.shape(x)[0] // 8, 1)], 0)),
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_axes_in_blocks(name):
    verdict, function = BLOCKS[name]
    proof = prove_gradient(function, inputs={"x": (None, 4)})
    assert proof.verdict == verdict, proof
    assert not proof.gradients["x"].mistake  # at a few rows, of which no block is whole, it may look like another


@pytest.mark.parametrize(
    "name", ["a sum in blocks", "a variance", "a gradient of its own", "the rest left out of the gradient"]
)
@pytest.mark.parametrize("shape", [(None, None, 2, 4), (None, 16, 4)])
def test_pixels_in_blocks(name, shape):
    verdict, function = BLOCKS[name]
    proof = prove_gradient(lambda x: function(tf.reshape(x, [-1, 4])), inputs={"x": shape})
    assert proof.verdict == verdict, proof


def test_a_number_of_blocks_may_be_zero():
    proof = prove_gradient(
        lambda x: x / tf.reduce_sum(tf.ones_like(x[: tf.shape(x)[0] // 8 * 8, 0])), inputs={"x": (None, 4)}
    )
    assert "≠ 0" in str(proof) or not proof


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * tf.reduce_mean(x[:: tf.maximum(tf.shape(x)[0] // 8, 1)], 0),
        lambda x: x * tf.cast(tf.shape(x)[0] // 2, x.dtype),
        lambda x: x[: tf.shape(x)[0] // 2] + x[tf.shape(x)[0] // 2 :],
        lambda x: x[1:] - x[:-1],
    ],
)
def test_rounded_sizes_elsewhere_are_refused(function):
    with pytest.raises(NotUnderstood):
        prove_gradient(function, inputs={"x": (None, 4)})


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
    (held,) = proof.held
    assert held.startswith("what tf.stop_gradient is given in test_prove_gradient_tensorflow.py:")


def test_what_is_held_without_effect_is_not_named():
    def standardized(x):
        mean, variance = tf.nn.moments(x, [0])  # which holds the mean within the variance
        return (x - mean) / tf.sqrt(variance + 1e-3)

    proof = prove_gradient(standardized, inputs={"x": ("N", "D")})
    assert proof
    assert proof.held == ()


@pytest.mark.parametrize("function", [tf.sort, tf.reduce_max, lambda x: tf.concat([x, x], 0), lambda x: x[:2]])
def test_what_is_not_understood_is_refused(function):
    with pytest.raises(NotUnderstood):
        prove_gradient(function, inputs={"x": ("N",)})


def test_second_order():
    proof = prove_gradient(lambda x: x * x * x, inputs={"x": ("N",)}, order=2)
    assert proof
    assert set(proof.gradients) == {"x", "x (second order)", "cotangent (second order)"}


@tf.custom_gradient
def cube_that_holds(x):
    return x**3, lambda dy: 3 * tf.stop_gradient(x) ** 2 * dy


def batch_normalization_of(hold):
    @tf.custom_gradient
    def function(x):
        centered = x - tf.reduce_mean(x, 0)
        s = tf.math.rsqrt(tf.reduce_mean(centered**2, 0) + 1e-3)
        x_hat = centered * s
        kept, scale = hold(x_hat), hold(s)
        return x_hat, lambda dy: scale * (dy - tf.reduce_mean(dy, 0) - kept * tf.reduce_mean(dy * kept, 0))

    return function


@pytest.mark.parametrize("function", [cube_that_holds, batch_normalization_of(tf.stop_gradient)])
def test_what_the_gradient_holds_constant_is_refuted_at_second_order(function):
    proof = prove_gradient(function, inputs={"x": ("N", 2)}, order=2)
    assert proof.gradients["x"].verdict == "proved"
    assert proof.gradients["x (second order)"].verdict == "refuted"


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (batch_normalization_of(tf.identity), {"x": ("N", 2)}),
        (lambda x: x * tf.stop_gradient(x), {"x": ("N",)}),  # the forward pass holds it: a constant at both orders
        (lambda x, y: (x * y, tf.reduce_sum(x * x)), {"x": ("N",), "y": ("N",)}),
        (lambda x: tf.exp(x) * tf.reduce_sum(x), {"x": ("N",)}),
        (lambda x: x * x, {"x": ()}),
    ],
)
def test_right_ones_are_proved_at_second_order(function, inputs):
    assert prove_gradient(function, inputs=inputs, order=2)


def with_gradient(gradient):
    return tf.custom_gradient(lambda x: (x * x, lambda dy: gradient(x, dy)))


def test_what_is_defined_nowhere_is_not_proved():
    proof = prove_gradient(with_gradient(lambda x, dy: 2 * x * dy + 0 * tf.sqrt(-1 - x * x)), inputs={"x": ("N",)})
    assert proof.verdict == "not proved"
    assert "−x[i]^2 − 1 ≥ 0" in str(proof)


def test_casts_are_named_or_refused():
    to = lambda dtype: with_gradient(lambda x, dy: tf.cast(tf.cast(2 * x * dy, dtype), x.dtype))  # noqa: E731
    assert "float64 to float32 are taken as exact" in str(prove_gradient(to(tf.float32), inputs={"x": ("N",)}))
    for dtype in (tf.float16, tf.bfloat16, tf.int32):
        with pytest.raises(NotUnderstood):
            prove_gradient(to(dtype), inputs={"x": ("N",)})


def test_a_missing_path_is_named():
    assert "no path" in str(prove_gradient(with_gradient(lambda x, dy: None), inputs={"x": ("N",)}))


def test_captured_constants_and_nested_functions():
    two, inner = tf.constant(2.0, tf.float64), tf.function(lambda x: x * tf.reduce_sum(x))
    assert prove_gradient(lambda x: two * inner(x), inputs={"x": ("N",)})


def test_variables_are_refused():
    count = tf.Variable(0.0, dtype=tf.float64)

    def counts(x):
        count.assign_add(1.0)
        return x * x

    for function in (counts, lambda x: x * count):
        with pytest.raises(NotUnderstood):
            prove_gradient(function, inputs={"x": ("N",)})
