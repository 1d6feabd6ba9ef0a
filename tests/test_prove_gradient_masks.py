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


def test_what_is_nan_on_floats_is_refused():
    with pytest.raises(NotUnderstood, match="on floats the output or a gradient is infinite or NaN"):
        prove_gradient(lambda x: x + (x > 0) * -np.inf, lambda dy, x: dy, inputs=N)


@pytest.mark.parametrize(
    "exponent",
    [lambda x: 1e5 * (np.sin(x) - 1), lambda x: 99_900 * np.sin(x) - 1e5, lambda x: 1e5 * np.clip(x, 0, 1) - 1e5],
)
def test_a_large_constant_that_may_be_outweighed_is_no_mask(exponent):
    assert not prove_gradient(lambda x: x + np.exp(exponent(x)), lambda dy, x: dy, inputs=N)


def test_what_is_taken_as_0_is_named():
    proof = prove_gradient(lambda x: x + np.exp(x - 1e9), lambda dy, x: dy, inputs=N)
    assert proof.gradients["x"].conditions == ("exp(x[i] − 1000000000) is 0, as it is on floats",)


def test_a_mask_that_is_an_input():
    def weights(x, m):
        powers = np.exp(x + (1.0 - m) * -1e9)
        return powers / (1 + powers.sum(axis=1, keepdims=True))

    def backward(dy, x, m):
        p = weights(x, m)
        return p * (dy - (p * dy).sum(axis=1, keepdims=True)), None

    inputs = {"x": ("N", "D"), "m": ("N", "D")}
    assert prove_gradient(weights, backward, inputs=inputs, wrt=["x"])


MADE_OF_TRUTHS = {
    "int64": lambda x: np.int64(x > 0),
    "float32": lambda x: np.float32(x > 0),
    "heaviside": lambda x: np.heaviside(x, 0.0),
    "astype twice": lambda x: (x > 0).astype(bool).astype(float),
}


@pytest.mark.parametrize("name", MADE_OF_TRUTHS)
def test_numbers_made_of_truth_values(name):
    made = MADE_OF_TRUTHS[name]
    assert prove_gradient(lambda x: np.maximum(x, 0), lambda dy, x: np.multiply(dy, made(x)), inputs=N)
    wrong = prove_gradient(lambda x: np.maximum(x, 0), lambda dy, x: np.multiply(dy, made(-x)), inputs=N)
    assert wrong.verdict == "refuted"


CONSTANT_MASKS = {
    "ones of bool": lambda s: np.where(np.tril(np.ones((3, 3), dtype=bool)), s, -1e9),
    "astype": lambda s: np.where(~np.tril(np.ones((3, 3))).astype(bool), -1e9, s),
    "triu_indices": lambda s: with_number(s, np.triu_indices(3, 1), -1e9),
}


def with_number(scores, places, number):
    changed = scores.copy()
    changed[places] = number
    return changed


@pytest.mark.parametrize("name", CONSTANT_MASKS)
def test_masks_made_in_the_code(name):
    def forward(x):
        powers = np.exp(CONSTANT_MASKS[name](x))
        return powers / powers.sum(1, keepdims=True)

    def backward(dy, x):
        p = forward(x)
        return p * (dy - (p * dy).sum(1, keepdims=True))

    assert prove_gradient(forward, backward, inputs={"x": (3, 3)})


def test_assertions_that_numbers_are_finite():
    def forward(x):
        assert not np.isnan(x).any()
        assert np.all(np.isfinite(x))
        return x * x

    assert prove_gradient(forward, lambda dy, x: 2 * x * dy, inputs=N)
    with pytest.raises(NotUnderstood, match="control flow on values"):
        prove_gradient(lambda x: x if (x > 0).any() else -x, lambda dy, x: dy, inputs=N)


def test_a_cost_as_a_float():
    def cost(w, x, y):
        a = 1 / (1 + np.exp(-np.dot(w.T, x)))
        return float(np.squeeze(-np.mean(y * np.log(a) + (1 - y) * np.log(1 - a)))), (a, x, y)

    def backward(dy, cache):
        a, x, y = cache
        return dy * np.dot(x, (a - y).T) / x.shape[1]

    inputs = {"w": ("D", 1), "x": ("D", "N"), "y": (1, "N")}
    assert prove_gradient(cost, backward, inputs=inputs, wrt=["w"])


def test_a_network_of_two_layers_with_the_quotients_of_its_cross_entropy():
    def forward(x, y, w1, b1, w2, b2):
        h = np.maximum(w1 @ x + b1, 0)
        a = 1 / (1 + np.exp(-(w2 @ h + b2)))
        cost = -(np.dot(y, np.log(a).T) + np.dot(1 - y, np.log(1 - a).T)) / y.shape[1]
        return np.squeeze(cost), (x, y, h, w2, a)

    def backward(dy, cache, keep=1):
        x, y, h, w2, a = cache
        da = -(np.divide(y, a) - np.divide(1 - y, 1 - a))
        dz2 = dy * da * a * (1 - a)
        dz1 = np.array(w2.T @ dz2, copy=True)
        dz1[h <= 0] = 0
        m = x.shape[1]
        return dz1 @ x.T / m, dz1.sum(1, keepdims=True) / m, keep * dz2 @ h.T / m, dz2.sum(1, keepdims=True) / m

    inputs = {"x": ("D", "N"), "y": (1, "N"), "w1": ("H", "D"), "b1": ("H", 1), "w2": (1, "H"), "b2": (1, 1)}
    judged = ["w1", "b1", "w2", "b2"]
    assert prove_gradient(forward, backward, inputs=inputs, wrt=judged)
    wrong = prove_gradient(forward, lambda dy, cache: backward(dy, cache, keep=2), inputs=inputs, wrt=judged)
    assert wrong.gradients["w2"].mistake.startswith("it is 2 times")


def test_an_embedding_and_a_jacobian_of_a_softmax():
    words = np.array([[0, 3, 1], [2, 1, 1]])

    def slope(dy, table):
        gradient = np.zeros_like(table)
        np.add.at(gradient, words, dy)
        return gradient

    assert prove_gradient(lambda table: table[words, :], slope, inputs={"table": (4, "D")})

    def of_rows(dy, p):
        gradient = np.empty_like(dy)
        for n, (row, d) in enumerate(zip(p, dy, strict=True)):
            column = row.reshape(-1, 1)
            gradient[n] = np.dot(np.diagflat(column) - np.dot(column, column.T), d)
        return gradient

    assert prove_gradient(lambda z: (softmax(z), softmax(z)), of_rows, inputs={"z": (2, 3)})
