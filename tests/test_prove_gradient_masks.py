"""Masks that take scores out of a softmax: large negative numbers, −∞, and constant arrays of truth values."""

import numpy as np
import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient

ALLOWED = np.tril(np.ones((3, 3))) == 1
N = {"x": ("N",)}


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def added(scores):
    return scores + np.triu(np.full((3, 3), -np.inf), 1)


def chosen(scores):
    return np.where(ALLOWED, scores, -np.inf)


def assigned(scores):
    scores[..., ~ALLOWED] = -np.inf
    return scores


def assigned_finite(scores):
    scores[~ALLOWED] = -1e9
    return scores


def transposed(a):
    return np.swapaxes(a, -1, -2)


def attention(masked, batch=(), forgotten=1.0):
    def forward(q, k, v):
        p = softmax(masked(q @ transposed(k) / np.sqrt(q.shape[-1])))
        return p @ v, (q, k, v, p)

    def backward(dy, cache):
        q, k, v, p = cache
        dp = dy @ transposed(v)
        ds = p * (dp - forgotten * (dp * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
        return ds @ k, transposed(ds) @ q, transposed(p) @ dy

    inputs = {"q": (*batch, 3, "D"), "k": (*batch, 3, "D"), "v": (*batch, 3, "E")}
    return prove_gradient(forward, backward, inputs=inputs)


@pytest.mark.parametrize("masked", [added, chosen, assigned, assigned_finite])
def test_causal_attention(masked):
    proof = attention(masked)
    assert proof
    assert "is 0, as it is on floats" in str(proof)
    wrong = attention(masked, forgotten=0.0)
    assert wrong.gradients["q"].verdict == "refuted"
    assert wrong.gradients["v"].verdict == "proved"


def test_causal_attention_in_batches():
    assert attention(assigned, batch=("B",))


@pytest.mark.parametrize("lowest", [-np.inf, -1e9])
def test_a_mask_by_values(lowest):
    def forward(x):
        return np.exp(np.where(x > 0, x, lowest))

    assert prove_gradient(forward, lambda dy, x: dy * np.exp(x) * (x > 0), inputs=N)
    for wrong in (lambda dy, x: dy * np.exp(x), lambda dy, x: 0 * dy):
        assert prove_gradient(forward, wrong, inputs=N).verdict == "refuted"


def test_tensorflow():
    def weights(q, k):
        return tf.nn.softmax(tf.where(ALLOWED, tf.matmul(q, k, transpose_b=True), -np.inf))

    assert prove_gradient(weights, inputs={"q": (None, 3, "D"), "k": ("N1", 3, "D")})


def test_limits_that_are_none():
    assert prove_gradient(lambda x: np.clip(x, 0, np.inf), lambda dy, x: dy * (x > 0), inputs=N)
    assert prove_gradient(lambda x: np.clip(x, -np.inf, 1), lambda dy, x: dy * (x < 1), inputs=N)
    assert prove_gradient(lambda x: np.maximum(x, -np.inf), lambda dy, x: dy, inputs=N)
    assert prove_gradient(lambda x: np.maximum(x, -np.inf), lambda dy, x: dy * (x > 0), inputs=N).verdict == "refuted"


@pytest.mark.parametrize("function", [lambda x: x + np.inf, lambda x: x / -np.inf, lambda x: x * np.nan])
def test_other_infinite_numbers_are_refused(function):
    with pytest.raises(NotUnderstood, match="only finite numbers can be computed with"):
        prove_gradient(function, lambda dy, x: dy, inputs=N)


def test_elements_at_constant_truth_values():
    def backward(dy, x):
        gradient = np.zeros_like(x)
        gradient[ALLOWED] = 2 * dy * x[ALLOWED]
        return gradient

    inputs = {"x": (3, 3)}
    assert prove_gradient(lambda x: x[ALLOWED] ** 2, backward, inputs=inputs)
    assert prove_gradient(lambda x: x[ALLOWED.T] ** 2, backward, inputs=inputs).verdict == "refuted"
