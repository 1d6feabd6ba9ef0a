"""Places listed beside each other, as in p[np.arange(N), labels]: losses, embeddings; in NumPy and TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient

LABELS = np.array([2, 0, 1])
WORDS = np.array([[0, 1], [1, 2]])
ROWS = np.arange(3)


def softmax_loss(x):
    powers = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = powers / np.sum(powers, axis=1, keepdims=True)
    return -np.sum(np.log(p[np.arange(x.shape[0]), LABELS])) / x.shape[0], p


def softmax_gradient(count):
    def backward(dy, p):
        dx = p.copy()
        dx[np.arange(p.shape[0]), LABELS] -= 1
        return dy * dx / count(p)

    return backward


def hinge_loss(x):
    margins = np.maximum(0, x - x[ROWS, LABELS][:, np.newaxis] + 1.0)
    margins[ROWS, LABELS] = 0
    return np.sum(margins), margins


def hinge_gradient(of_right_class):
    def backward(dy, margins):
        dx = np.zeros_like(margins)
        dx[margins > 0] = 1
        dx[ROWS, LABELS] -= of_right_class(margins)
        return dy * dx

    return backward


def embedding_backward(dy, w):
    dw = np.zeros_like(w)
    np.add.at(dw, WORDS, 2 * dy * w[WORDS])
    return dw


def embedding_without_repetitions(dy, w):
    dw = np.zeros_like(w)
    dw[WORDS] += 2 * dy * w[WORDS]
    return dw


def around_a_slice_backward(dy, x):
    dx = np.zeros_like(x)
    dx[[0, 2], :, [1, 0]] = 2 * dy * x[[0, 2], :, [1, 0]]
    return dx


def mask_around_a_slice_backward(dy, x):
    dx = np.zeros_like(x)
    dx[0, :, np.array([True, False, True])] = 2 * dy * x[0, :, [0, 2]]
    return dx


def beside_a_number_backward(dy, x):
    dx = np.zeros_like(x)
    dx[:, [0, 2], 1] += 2 * dy * x[:, [0, 2], 1]
    return dx


def twice(dy, x):
    dx = np.zeros_like(x)
    np.add.at(dx, ([0, 0], [1, 1]), dy)
    np.add.at(dx, 2, dy.sum())
    return dx


SQUARE = {"x": (3, 3)}
NUMPY = {
    "softmax loss": ("proved", softmax_loss, softmax_gradient(len), SQUARE),
    "softmax loss, not divided": ("refuted", softmax_loss, softmax_gradient(lambda p: 1), SQUARE),
    "hinge loss": ("proved", hinge_loss, hinge_gradient(lambda margins: np.sum(margins > 0, axis=1)), SQUARE),
    "hinge loss, one for all": ("refuted", hinge_loss, hinge_gradient(lambda margins: 1), SQUARE),
    "an embedding": ("proved", lambda w: (w[WORDS] ** 2, w), embedding_backward, {"w": (4, "D")}),
    "a word counted once": ("refuted", lambda w: (w[WORDS] ** 2, w), embedding_without_repetitions, {"w": (4, "D")}),
    "lists around a slice": (
        "proved",
        lambda x: (x[[0, 2], :, [1, 0]] ** 2, x),
        around_a_slice_backward,
        {"x": (3, "N", 2)},
    ),
    "a list and a number": (
        "proved",
        lambda x: (x[:, [0, 2], 1] ** 2, x),
        beside_a_number_backward,
        {"x": ("N", 3, 2)},
    ),
    "truth values around a slice": (
        "proved",
        lambda x: (x[0, :, np.array([True, False, True])] ** 2, x),
        mask_around_a_slice_backward,
        {"x": (2, "N", 3)},
    ),
    "a place listed twice": ("proved", lambda x: (x[[0, 0], [1, 1]] + x[2, 0] + x[2, 1], x), twice, {"x": (3, 2)}),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy(name):
    verdict, forward, backward, inputs = NUMPY[name]
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof.verdict == verdict, proof


def with_gradient(function, gradient):
    return tf.custom_gradient(lambda x: (function(x), lambda dy: gradient(dy, x)))


def sparse_loss(x):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, x)


TENSORFLOW = {
    "sparse cross-entropy": ("proved", sparse_loss, {"x": (3, 4)}),
    "sparse cross-entropy of Keras": (
        "proved",
        lambda x: tf.keras.losses.sparse_categorical_crossentropy(LABELS, x, from_logits=True),
        {"x": (3, 4)},
    ),
    "another class's": (
        "refuted",
        with_gradient(
            sparse_loss,
            lambda dy, x: dy[:, None] * (tf.nn.softmax(x) - tf.one_hot([2, 1, 1], 4, dtype=x.dtype)),
        ),
        {"x": (3, 4)},
    ),
    "gather_nd": ("proved", lambda x: tf.gather_nd(x, [[0, 1], [2, 0], [0, 1]]) ** 2, {"x": (3, 4)}),
    "an embedding": ("proved", lambda w: tf.gather(w, WORDS) ** 2, {"w": (4, "D")}),
    "one of each row": ("proved", lambda x: tf.gather(x, LABELS, batch_dims=1) ** 2, {"x": (3, 4)}),
    "rows replaced": ("proved", lambda x: tf.tensor_scatter_nd_update(x, [[0], [2]], x[1:] ** 2) ** 2, {"x": (3, 4)}),
    "rows added": ("proved", lambda x: tf.tensor_scatter_nd_add(x, [[0], [2]], x[:2]) ** 2, {"x": (3, 4)}),
    "outputs of float32": ("proved", lambda x: tf.keras.losses.MeanSquaredError()(x * 0, x), {"x": (None, 3)}),
    "a mask from outside": (
        "proved",
        (lambda mask: lambda x: tf.where(mask, x * x, 0.0))(tf.constant([True, False, True])),
        {"x": (None, 3)},
    ),
}


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow(name):
    verdict, function, inputs = TENSORFLOW[name]
    proof = prove_gradient(function, inputs=inputs)
    assert proof.verdict == verdict, proof


def test_lists_that_do_not_fit_are_an_error_as_in_numpy():
    with pytest.raises((IndexError, NotUnderstood), match="broadcast"):
        prove_gradient(lambda x: (x[[0, 1], [0, 1, 2]], x), lambda dy, x: x, inputs=SQUARE)


@pytest.mark.parametrize(
    ("numbers", "because"),
    [
        (lambda n: tf.range(1, n, tf.maximum(n // 4, 1)), "another one than 0"),
        (lambda n: tf.range(0, n - 1, tf.maximum(n // 4, 1)), "another size than that of the axis"),
    ],
)
def test_numbers_to_an_unknown_size_are_those_of_a_whole_axis(numbers, because):
    def about_some(x):
        return x - tf.stop_gradient(tf.reduce_mean(tf.gather(x, numbers(tf.shape(x)[0])), 0))

    with pytest.raises(NotUnderstood, match=because):
        prove_gradient(about_some, inputs={"x": (None, 3)})
