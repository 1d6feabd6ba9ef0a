"""Sizes as people compute with them: beside numbers of the data, several at once, and what is wrong for some alone."""

import numpy as np
import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient


def layer_norm(x):
    deviation = x - x.mean()
    std = np.sqrt((deviation**2).mean() + 1e-5)
    return deviation / std, (deviation / std, std, x.shape[0])


def layer_norm_gradient(dy, cache):
    z, std, n = cache
    return (n * dy - dy.sum() - z * (dy * z).sum()) / (n * std)


BESIDE_NUMBERS = {
    "a product": (lambda x: ((x**2).sum() * x.shape[0], x), lambda dy, x: 2 * x.shape[0] * dy * x),
    "a sum": (lambda x: ((x.shape[0] + x.mean()) ** 2, x), lambda dy, x: 2 * dy * (1 + x.mean() / len(x)) + 0 * x),
    "a difference": (lambda x: (x.shape[0] - x.sum(), x), lambda dy, x: -dy * np.ones_like(x)),
    "a standard deviation": (layer_norm, layer_norm_gradient),
}


@pytest.mark.parametrize("name", BESIDE_NUMBERS)
def test_a_size_before_a_single_number_of_the_data(name):
    forward, backward = BESIDE_NUMBERS[name]
    assert prove_gradient(forward, backward, inputs={"x": ("N",)})
    wrong = lambda dy, cache: 2 * backward(dy, cache)  # noqa: E731
    assert prove_gradient(forward, wrong, inputs={"x": ("N",)}).verdict == "refuted"


def attention(q, k):
    scores = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]))
    weights = scores / scores.sum(-1, keepdims=True)
    return weights, (q, k, weights)


def attention_gradient(scale):
    def backward(dy, cache):
        q, k, weights = cache
        d = scale(q) * weights * (dy - (dy * weights).sum(-1, keepdims=True))
        return d @ k, d.swapaxes(-1, -2) @ q

    return backward


ATTENTION = {"q": ("B", "N", "D"), "k": ("B", "M", "D")}


def test_four_sizes():
    assert prove_gradient(attention, attention_gradient(lambda q: 1 / np.sqrt(q.shape[-1])), inputs=ATTENTION)
    proof = prove_gradient(attention, attention_gradient(lambda q: 1), inputs=ATTENTION)
    assert proof.verdict == "refuted"
    assert all(gradient.verdict == "refuted" for gradient in proof.gradients.values())


IMAGES = {"x": ("N", "C", "H", "W")}


def mean_of_places(x):
    return x.mean((2, 3)), x


@pytest.mark.parametrize(
    ("count", "verdict"),
    [
        (lambda n, c, h, w: h * w, "proved"),
        (lambda n, c, h, w: h + w - 1, "refuted"),  # right where either is 1
        (lambda n, c, h, w: h * w + (n - 1) * (c - 1), "refuted"),
        (lambda n, c, h, w: h * w + (n - 1) * (w - 1), "refuted"),
        (lambda n, c, h, w: h * h, "refuted"),
    ],
)
def test_what_is_wrong_where_two_of_four_sizes_are_more_than_1(count, verdict):
    backward = lambda dy, x: dy[:, :, None, None] / count(*x.shape) * np.ones_like(x)  # noqa: E731
    assert prove_gradient(mean_of_places, backward, inputs=IMAGES).verdict == verdict


def test_traces():
    square = {"a": ("N", "N")}
    assert prove_gradient(lambda a: (np.trace(a @ a), a), lambda dy, a: 2 * dy * a.T, inputs=square)
    proof = prove_gradient(lambda a: (a.trace() ** 2, a), lambda dy, a: 2 * dy * a.trace() * a, inputs=square)
    assert proof.verdict == "refuted"
    with pytest.raises(NotUnderstood, match="trace of a matrix that is not square"):
        prove_gradient(lambda a: (np.trace(a), a), lambda dy, a: dy * a, inputs={"a": ("N", "D")})


def correlations(a, b):
    """The loss of Barlow Twins, without its weights."""
    matrix = tf.matmul(a - tf.reduce_mean(a, 0), b, transpose_a=True) / tf.cast(tf.shape(a)[0], a.dtype)
    return tf.reduce_sum((matrix - tf.eye(tf.shape(a)[1], dtype=a.dtype)) ** 2)


@pytest.mark.parametrize("shape", [("N", 3), ("N", "D")])
def test_an_identity_matrix_of_tensorflow(shape):
    assert prove_gradient(correlations, inputs={"a": shape, "b": shape})


def columns(places):
    def backward(dy, x):
        dx = np.zeros_like(x)
        np.add.at(dx, (slice(None), places), dy)
        return dx

    return backward


def test_columns_that_are_added_at():
    forward = lambda x: (x[:, [0, 0, 2]], x)  # noqa: E731
    assert prove_gradient(forward, columns([0, 0, 2]), inputs={"x": ("N", 3)})
    first = lambda x: (x[:, [0, 1]], x)  # noqa: E731
    assert prove_gradient(first, columns(np.array([True, True, False])), inputs={"x": ("N", 3)})
    assert prove_gradient(forward, columns([0, 1, 2]), inputs={"x": ("N", 3)}).verdict == "refuted"


@pytest.mark.parametrize("flatten", ["ravel", "flatten"])
def test_orders_of_a_flattened_array(flatten):
    for arguments, options in (((), {}), (("C",), {}), ((), {"order": "C"}), ((), {"order": "A"})):
        assert prove_gradient(
            lambda x, a=arguments, o=options: (getattr(x, flatten)(*a, **o) ** 2, x),
            lambda dy, x: 2 * x * dy.reshape(x.shape),
            inputs={"x": ("N", "D")},
        )
    with pytest.raises(NotUnderstood, match="order='F'"):
        prove_gradient(lambda x: (getattr(x, flatten)(order="F"), x), lambda dy, x: x, inputs={"x": ("N", "D")})
