"""Parts of arrays along axes of known length: slices, columns, arrays put together; in NumPy and TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient

X = {"x": ("N", 4)}
WEIGHTS = np.array([0.299, 0.587, 0.114])


def gated(x):
    a, b = np.split(x, 2, axis=1)
    gate = 1 / (1 + np.exp(-b))
    return a * gate, (a, gate)


def gated_backward(dy, cache):
    a, gate = cache
    return np.concatenate([dy * gate, dy * a * gate * (1 - gate)], axis=1)


def gated_without_the_value(dy, cache):
    _, gate = cache
    return np.concatenate([dy * gate, dy * gate * (1 - gate)], axis=1)


def column_by_column(x):
    out, deviations = np.zeros_like(x), []
    for j in range(x.shape[1]):
        centered = x[:, j] - x[:, j].mean()
        deviations.append(np.sqrt((centered**2).mean() + 1e-5))
        out[:, j] = centered / deviations[-1]
    return out, (out, deviations)


def column_by_column_backward(dy, cache):
    xhat, deviations = cache
    dx = np.empty_like(dy)
    for j in range(dy.shape[1]):
        d, z = dy[:, j], xhat[:, j]
        dx[:, j] = (d - d.mean() - z * (d * z).mean()) / deviations[j]
    return dx


def column_by_column_with_the_first_of_all(dy, cache):
    xhat, deviations = cache
    dx = np.empty_like(dy)
    for j in range(dy.shape[1]):
        d, z = dy[:, j], xhat[:, j]
        dx[:, j] = (d - d.mean() - z * (d * xhat[:, 0]).mean()) / deviations[j]
    return dx


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    return p, p


def softmax_by_loops(dy, p):
    dx = np.zeros_like(dy)
    for j in range(4):
        for k in range(4):
            dx[:, j] += dy[:, k] * p[:, k] * ((1.0 if j == k else 0.0) - p[:, j])
    return dx


def softmax_by_wrong_loops(dy, p):
    dx = np.zeros_like(dy)
    for j in range(4):
        for k in range(4):
            dx[:, j] += dy[:, k] * p[:, k] * ((1.0 if j == k else 0.0) - p[:, k])
    return dx


def first_row_as_a_square(z):
    return z.reshape(3, 2, 2)[0].reshape(4)


def first_row_as_a_square_backward(dy, z):
    dz = np.zeros_like(z)
    dz[0] = dy
    return dz


def roughness(x):
    return np.sum((x[:, 1:] - x[:, :-1]) ** 2)


def roughness_backward(dy, x):
    steps = np.diff(x, axis=1)
    return 2 * dy * (np.pad(steps, ((0, 0), (1, 0))) - np.pad(steps, ((0, 0), (0, 1))))


def roughness_added(dy, x):
    steps = np.diff(x, axis=1)
    return 2 * dy * (np.pad(steps, ((0, 0), (1, 0))) + np.pad(steps, ((0, 0), (0, 1))))


def turned(x):
    a, b = x[..., :2], x[..., 2:]
    return np.concatenate([0.6 * a - 0.8 * b, 0.8 * a + 0.6 * b], axis=-1)


def turned_back(dy, x):
    a, b = dy[..., :2], dy[..., 2:]
    return np.concatenate([0.6 * a + 0.8 * b, -0.8 * a + 0.6 * b], axis=-1)


def cross(a, b):
    return np.stack([a[:, n - 2] * b[:, n - 1] - a[:, n - 1] * b[:, n - 2] for n in range(3)], axis=1)


def recurrent(x, w, u, h):
    states = [h]
    for t in range(2):
        states.append(np.tanh(x[:, t] @ w + states[-1] @ u))
    return np.stack(states[1:], axis=1), (x, w, u, states)


def recurrent_backward(dy, cache):
    x, w, u, states = cache
    dx, dw, du, dh = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u), np.zeros_like(states[0])
    for t in reversed(range(2)):
        da = (dy[:, t] + dh) * (1 - states[t + 1] ** 2)
        dx[:, t] = da @ w.T
        dw += x[:, t].T @ da
        du += states[t].T @ da
        dh = da @ u.T
    return dx, dw, du, dh


def recurrent_truncated(dy, cache):
    x, w, u, states = cache
    dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
    for t in range(2):
        da = dy[:, t] * (1 - states[t + 1] ** 2)
        dx[:, t] = da @ w.T
        dw += x[:, t].T @ da
        du += states[t].T @ da
    return dx, dw, du, (dy[:, 0] * (1 - states[1] ** 2)) @ u.T


def convolution(x, w):
    out = np.zeros((x.shape[0], 2, 2, w.shape[-1]))
    for i in range(2):
        for j in range(2):
            out[:, i, j] = np.einsum("nhwc,hwcf->nf", x[:, i : i + 2, j : j + 2], w)
    return out


def convolution_backward(dy, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(2):
        for j in range(2):
            dx[:, i : i + 2, j : j + 2] += np.einsum("nf,hwcf->nhwc", dy[:, i, j], w)
            dw += np.einsum("nf,nhwc->hwcf", dy[:, i, j], x[:, i : i + 2, j : j + 2])
    return dx, dw


def convolution_overwritten(dy, x, w):
    dx, dw = convolution_backward(dy, x, w)
    for i in range(2):
        for j in range(2):
            dx[:, i : i + 2, j : j + 2] = np.einsum("nf,hwcf->nhwc", dy[:, i, j], w)
    return dx, dw


def pooled(x):
    return sum(x[:, i::2, j::2] for i in range(2) for j in range(2)) / 4


def pooled_backward(dy, x):
    dx = np.zeros_like(x)
    for i in range(2):
        for j in range(2):
            dx[:, i::2, j::2] = dy / 4
    return dx


def lstm(a, c):
    width = c.shape[1]
    i, f, o = (1 / (1 + np.exp(-a[:, n * width : (n + 1) * width])) for n in range(3))
    g = np.tanh(a[:, 3 * width :])
    new = f * c + i * g
    return (o * np.tanh(new), new), (i, f, o, g, c, new)


def lstm_backward(dys, cache):
    dh, dc = dys
    i, f, o, g, c, new = cache
    t = np.tanh(new)
    dc = dc + dh * o * (1 - t * t)
    return np.hstack([dc * g * i * (1 - i), dc * c * f * (1 - f), dh * t * o * (1 - o), dc * i * (1 - g * g)]), dc * f


NUMPY = {
    "gated linear unit": ("proved", gated, gated_backward, X),
    "gated, the value left out": ("refuted", gated, gated_without_the_value, X),
    "column by column": ("proved", column_by_column, column_by_column_backward, X),
    "column by column, one index wrong": ("refuted", column_by_column, column_by_column_with_the_first_of_all, X),
    "softmax by loops": ("proved", softmax, softmax_by_loops, X),
    "softmax by loops, one index wrong": ("refuted", softmax, softmax_by_wrong_loops, X),
    "roughness": ("proved", roughness, roughness_backward, X),
    "roughness, a sign": ("refuted", roughness, roughness_added, X),
    "pairs turned": ("proved", turned, turned_back, {"x": ("N", "T", 4)}),
    "pairs turned on": ("refuted", turned, lambda dy, x: turned(dy), {"x": ("N", "T", 4)}),
    "cross product": (
        "proved",
        cross,
        lambda dy, a, b: (cross(b, dy), cross(dy, a)),
        {"a": ("N", 3), "b": ("N", 3)},
    ),
    "cross product, turned round": (
        "refuted",
        cross,
        lambda dy, a, b: (cross(b, dy), cross(a, dy)),
        {"a": ("N", 3), "b": ("N", 3)},
    ),
    "through time": (
        "proved",
        recurrent,
        recurrent_backward,
        {"x": ("N", 2, "D"), "w": ("D", "H"), "u": ("H", "H"), "h": ("N", "H")},
    ),
    "through time, cut": (
        "refuted",
        recurrent,
        recurrent_truncated,
        {"x": ("N", 2, "D"), "w": ("D", "H"), "u": ("H", "H"), "h": ("N", "H")},
    ),
    "convolution": (
        "proved",
        convolution,
        convolution_backward,
        {"x": ("N", 3, 3, "C"), "w": (2, 2, "C", "F")},
    ),
    "convolution, overlaps overwritten": (
        "refuted",
        convolution,
        convolution_overwritten,
        {"x": ("N", 3, 3, "C"), "w": (2, 2, "C", "F")},
    ),
    "pooling": ("proved", pooled, pooled_backward, {"x": ("N", 4, 4, "C")}),
    "pooling, undivided": (
        "refuted",
        pooled,
        lambda dy, x: 4 * pooled_backward(dy, x),
        {"x": ("N", 4, 4, "C")},
    ),
    "product": (
        "proved",
        lambda x: np.prod(x, axis=1),
        lambda dy, x: dy[:, None] * np.prod(x, axis=1, keepdims=True) / x,
        X,
    ),
    "repeated": (
        "proved",
        lambda x: np.repeat(x, 2, axis=1) * np.tile(x, (1, 2)),
        lambda dy, x: np.stack(
            [
                dy[:, 2 * n] * x[:, (2 * n) % 4]
                + dy[:, 2 * n + 1] * x[:, (2 * n + 1) % 4]
                + dy[:, n] * x[:, n // 2]
                + dy[:, n + 4] * x[:, (n + 4) // 2]
                for n in range(4)
            ],
            axis=1,
        ),
        X,
    ),
    "gates of an LSTM": ("proved", lstm, lstm_backward, {"a": ("N", 8), "c": ("N", 2)}),
    "constants": ("proved", lambda x: x @ WEIGHTS, lambda dy, x: dy[:, None] * WEIGHTS, {"x": ("N", 3)}),
    "constants, reversed": (
        "refuted",
        lambda x: np.sum(x * WEIGHTS, axis=1),
        lambda dy, x: dy[:, None] * WEIGHTS[::-1],
        {"x": ("N", 3)},
    ),
    "determinant": (
        "proved",
        lambda a: a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0],
        lambda dy, a: dy * np.array([[a[1, 1], -a[1, 0]], [-a[0, 1], a[0, 0]]]),
        {"a": (2, 2)},
    ),
    "sums": (
        "proved",
        lambda x: np.cumsum(x**2, axis=1),
        lambda dy, x: 2 * x * np.flip(np.cumsum(np.flip(dy, 1), axis=1), 1),
        X,
    ),
    "sums, from the wrong end": (
        "refuted",
        lambda x: np.cumsum(x**2, axis=1),
        lambda dy, x: 2 * x * np.cumsum(dy, axis=1),
        X,
    ),
    "a row split and merged": (
        "proved",
        first_row_as_a_square,
        first_row_as_a_square_backward,
        {"z": (3, 4)},
    ),
    "another diagonal": ("proved", lambda x: np.eye(4, 4, 1) @ x, lambda dy, x: np.eye(4, k=-1) @ dy, {"x": (4, "D")}),
    "backwards to the first": (
        "proved",
        lambda x: x[:, 0::-1] * x[:, 1::-1],
        lambda dy, x: np.stack([dy[:, 0] * x[:, 1] + 2 * dy[:, 1] * x[:, 0], dy[:, 0] * x[:, 0]], axis=1),
        {"x": ("N", 2)},
    ),
    "triangle": ("proved", lambda x: np.tril(x) ** 2, lambda dy, x: 2 * np.tril(x) * dy, {"x": (3, 3)}),
    "sum of a list": (
        "proved",
        lambda a, b: np.sum([a, b], axis=0),
        lambda dy, a, b: (dy, dy),
        {"a": ("N",), "b": ("N",)},
    ),
    "tiled constants": (
        "proved",
        lambda x: x * np.tile(np.array([1.0, 2.0]), (x.shape[0], 1)),
        lambda dy, x: dy * np.array([1.0, 2.0]),
        {"x": ("N", 2)},
    ),
    "taken from the flat array": (
        "proved",
        lambda x: np.take(x, [0, 3]) * 2,
        lambda dy, x: np.array([[2 * dy[0], 0], [0, 2 * dy[1]]]),
        {"x": (2, 2)},
    ),
    "two numbers": (
        "proved",
        lambda x: np.array([x.mean(), np.sum(x**2)]),
        lambda dy, x: dy[0] / x.size + 2 * x * dy[1],
        {"x": ("N", "D")},
    ),
    "rows of the transpose": ("proved", lambda x: sum(r**2 for r in x.T), lambda dy, x: 2 * x * dy[:, None], X),
    "chosen columns": (
        "refuted",
        lambda x: x[:, [2, 0]] * 3,
        lambda dy, x: 3 * np.stack([dy[:, 0], 0 * dy[:, 0], dy[:, 1], 0 * dy[:, 0]], axis=1),
        X,
    ),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy(name):
    verdict, forward, backward, inputs = NUMPY[name]
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof.verdict == verdict, proof


def written_through_a_view(x):
    out = np.zeros_like(x)
    first = out[:, 0]
    first += x[:, 1]
    out[:, 1] = first * 2
    first[...] = x[:, 0] ** 2
    return out


def written_through_a_view_backward(dy, x):
    zero = 0 * dy[:, 0]
    return np.stack([2 * x[:, 0] * dy[:, 0], 2 * dy[:, 1], zero, zero], axis=1)


def exchanged(x):
    x = x.copy()
    x[:, [0, 1]] = x[:, [1, 0]]
    return 2 * x


def not_exchanged(x):
    out = x.copy()
    out[:, 0], out[:, 1] = out[:, 1], out[:, 0]  # NumPy's views: both become the second column
    return out


def not_exchanged_backward(dy, x):
    dx = dy.copy()
    dx[:, 1] += dy[:, 0]
    dx[:, 0] = 0
    return dx


def of_single_elements(x):
    first = x[0]
    first += x[1]  # another number; x stays as it is
    total = x.sum()
    other = total
    total += 1.0
    return first * other * x


def of_single_elements_backward(dy, x):
    first, total, sum_ = x[0] + x[1], x.sum(), np.sum(dy * x)
    return dy * first * total + sum_ * first + np.array([1.0, 1.0, 0.0, 0.0]) * sum_ * total


def doubled_through_a_piece(x):
    y = x.copy()
    first, _ = np.split(y, 2, axis=1)
    first *= 2
    return y


def copied_by_functions(x):
    e = np.exp(x)
    size, joined, repeated = np.abs(e), np.concatenate([e]), np.tile(e, 1)
    size *= 2
    joined *= 3
    repeated *= 5
    return e + size + joined + repeated


def summed_into_another(x):
    out = np.zeros_like(x)
    np.cumsum(x**2, axis=1, out=out)
    return out


def test_results_written_into_another_array():
    backward = NUMPY["sums"][2]
    proof = prove_gradient(summed_into_another, backward, inputs=X, pass_inputs=True)
    assert proof, proof


def test_what_numpy_copies_is_a_copy():
    proof = prove_gradient(copied_by_functions, lambda dy, x: 11 * dy * np.exp(x), inputs={"x": ("N",)})
    assert proof, proof


def test_single_elements_are_numbers():
    proof = prove_gradient(of_single_elements, of_single_elements_backward, inputs={"x": (4,)})
    assert proof, proof


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (doubled_through_a_piece, lambda dy, x: dy * np.array([2, 2, 1, 1])),
        (written_through_a_view, written_through_a_view_backward),
        (exchanged, lambda dy, x: 2 * dy[:, [1, 0, 2, 3]]),
        (not_exchanged, not_exchanged_backward),
    ],
)
def test_parts_are_views_as_in_numpy(forward, backward):
    proof = prove_gradient(forward, backward, inputs=X)
    assert proof, proof


def test_a_part_of_an_input_that_is_changed_in_place_is_refused():
    def forward(x):
        first = x[:, 0]
        first += 1
        return x * x

    with pytest.raises(NotUnderstood, match="changes its inputs"):
        prove_gradient(forward, lambda dy, x: 2 * x * dy, inputs=X)


def test_conditions_name_the_place():
    proof = prove_gradient(
        lambda x: 1 / x[:, 2], lambda dy, x: np.pad(-dy[:, None] / x[:, 2:3] ** 2, ((0, 0), (2, 1))), inputs=X
    )
    assert proof
    assert "x[i, 2] ≠ 0" in str(proof)


@pytest.mark.parametrize("forward", [lambda x: x[0] ** 2, lambda x: x[1:] - x[:-1], lambda x: x[:, ::2]])
def test_a_part_along_an_unknown_length_is_refused_with_the_rule(forward):
    with pytest.raises(NotUnderstood, match="whose length is a number"):
        prove_gradient(forward, lambda dy, x: x, inputs={"x": ("N", "D")})


def with_gradient(function, gradient):
    @tf.custom_gradient
    def operation(*inputs):
        return function(*inputs), lambda dy: gradient(dy, *inputs)

    return operation


def tf_gated(x):
    a, b = tf.split(x, 2, axis=-1)
    return a * tf.sigmoid(b)


def tf_gated_backward(dy, x):
    a, b = tf.split(x, 2, axis=-1)
    gate = tf.sigmoid(b)
    return tf.concat([dy * gate, dy * a * gate * (1 - gate)], axis=-1)


def tf_gated_exchanged(dy, x):
    one, other = tf.split(tf_gated_backward(dy, x), 2, axis=-1)
    return tf.concat([other, one], axis=-1)


def tf_unstacked(x):
    a, b, c, d = tf.unstack(x, axis=1)
    return a * b + c / (1 + d**2)


def tf_turned(x):
    a, b = x[..., ::2], x[..., 1::2]
    return tf.reshape(tf.stack([a * 0.6 - b * 0.8, a * 0.8 + b * 0.6], axis=-1), tf.shape(x))


def tf_heads(q, k, v):
    heads = zip(*(tf.split(value, 2, axis=-1) for value in (q, k, v)), strict=True)
    return tf.concat([tf.nn.softmax(tf.matmul(a, b, transpose_b=True)) @ c for a, b, c in heads], axis=-1)


TENSORFLOW = {
    "gated": ("proved", with_gradient(tf_gated, tf_gated_backward), X),
    "gated, exchanged": ("refuted", with_gradient(tf_gated, tf_gated_exchanged), X),
    "unstack": ("proved", tf_unstacked, X),
    "stack": ("proved", lambda x, y: tf.stack([x * y, x + y], axis=-1), {"x": ("N",), "y": ("N",)}),
    "slices": ("proved", lambda x: tf.reduce_sum((x[:, 1:] - x[:, :-1]) ** 2, 1), X),
    "columns": ("proved", lambda x: x[:, 0, tf.newaxis] * x[:, 1:], X),
    "concat": ("proved", lambda x, y: tf.nn.softmax(tf.concat([x, y], -1)), {"x": ("N", 2), "y": ("N", 2)}),
    "pad": ("proved", lambda x: tf.pad(x, [[0, 0], [1, 1]]) ** 2, X),
    "gather": ("proved", lambda x: tf.gather(x, [2, 0, 0], axis=1) ** 2, X),
    "sums": ("proved", lambda x: tf.cumsum(x**2, axis=1, exclusive=True, reverse=True) * x, X),
    "reverse": ("proved", lambda x: tf.reverse(x, [1]) * x, X),
    "roll": ("proved", lambda x: tf.roll(x, 1, axis=1) * x, X),
    "pairs turned": ("proved", tf_turned, {"x": ("N", None, 4)}),
    "cross product": ("proved", tf.linalg.cross, {"a": ("N", 3), "b": ("N", 3)}),
    "uneven parts": ("proved", lambda x: tf.multiply(*tf.split(x, [3, 1], -1)), X),
    "a column padded wrongly": (
        "refuted",
        with_gradient(lambda x: x[:, 0] ** 2, lambda dy, x: tf.pad(2 * x[:, :1] * dy[:, None], [[0, 0], [1, 2]])),
        X,
    ),
    "tile": ("proved", lambda x: tf.tile(x, [1, 2]), X),
    "the larger of equal columns": (
        "proved",
        lambda x: tf.reduce_max(tf.stack([x[:, 0], x[:, 0], x[:, 1]], 1), 1),
        X,
    ),
    "one hot": ("proved", lambda x: tf.reduce_sum(x * tf.one_hot([0, 2, 1], 4, dtype=x.dtype)), {"x": (3, 4)}),
    "a triangle": ("proved", lambda a: tf.linalg.band_part(a, -1, 0) ** 2, {"a": ("N", 3, 3)}),
    "a mask of truth values": ("proved", lambda a: tf.where(np.tri(3) > 0, a * a, 1.0), {"a": ("N", 3, 3)}),
    "heads of attention": ("proved", tf_heads, dict.fromkeys("qkv", ("T", 4))),
}


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow(name):
    verdict, operation, inputs = TENSORFLOW[name]
    proof = prove_gradient(operation, inputs=inputs)
    assert proof.verdict == verdict, proof


@pytest.mark.parametrize(
    "operation", [with_gradient(tf_gated, tf_gated_backward), lambda x: tf.pad(x, [[0, 0], [1, 0]]) ** 2]
)
def test_second_order(operation):
    proof = prove_gradient(operation, inputs=X, order=2)
    assert proof, proof
