"""Choices by values: ReLU and its like, maxima of two, masks; where the two numbers that are compared differ."""

import numpy as np
import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient

X = {"x": ("N", "D")}


def relu_of_course(x):
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    dx = np.array(dout, copy=True)
    dx[cache <= 0] = 0
    return dx


def affine_relu(x, w, b):
    a = x @ w + b
    return np.maximum(a, 0), (x, w, a)


def affine_relu_backward(dout, cache):
    x, w, a = cache
    da = dout * (a > 0)
    return da @ w.T, x.T @ da, da.sum(axis=0)


def two_layers(x, w, v):
    h = x @ w
    r = np.where(h > 0, h, 0)
    return r @ v, (x, w, v, r)


def two_layers_backward(dout, cache):
    x, w, v, r = cache
    dh = np.where(r > 0, dout @ v.T, 0)
    return dh @ w.T, x.T @ dh, r.T @ dout


def huber(x):
    size = np.abs(x)
    return np.sum(np.where(size <= 1, 0.5 * x * x, size - 0.5))


def l2(x):
    return x / np.maximum(np.sqrt(np.sum(x * x, axis=1, keepdims=True)), 1e-12)


def l2_backward(dy, x):
    norm = np.sqrt(np.sum(x * x, axis=1, keepdims=True))
    held = np.maximum(norm, 1e-12)
    return dy / held - (norm > 1e-12) * x * np.sum(dy * x, axis=1, keepdims=True) / held**3


def hinge(scores, y):
    return np.mean(np.maximum(0, 1 - y * scores))


def hinge_backward(dy, scores, y):
    inside = (1 - y * scores > 0) / y.size
    return -dy * y * inside, -dy * scores * inside


RIGHT = {
    "relu": (relu_of_course, relu_backward, X),
    "relu by a product": (lambda x: x * (x > 0), lambda dy, x: dy * (x > 0), X),
    "relu as a half": (lambda x: (x + np.abs(x)) / 2, lambda dy, x: np.where(x < 0, 0, dy), X),
    "leaky": (lambda x: np.where(x > 0, x, 0.01 * x), lambda dy, x: np.where(x > 0, dy, 0.01 * dy), X),
    "elu": (lambda x: np.where(x > 0, x, np.exp(x) - 1), lambda dy, x: dy * np.where(x > 0, 1, np.exp(x)), X),
    "clip": (lambda x: np.clip(x, -1, 1), lambda dy, x: dy * ((x > -1) & (x < 1)), X),
    "clip, by its opposite": (lambda x: x.clip(-1, 1), lambda dy, x: dy * ~((x < -1) | (x > 1)), X),
    "relu6": (lambda x: np.minimum(np.maximum(x, 0), 6), lambda dy, x: dy * ((x > 0) * (x < 6)), X),
    "hard swish": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda dy, x: dy * np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6)),
        X,
    ),
    "soft threshold": (
        lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
        lambda dy, x: dy * (np.abs(x) > 0.5),
        X,
    ),
    "maximum": (np.maximum, lambda dy, a, b: (dy * (a > b), dy * (a <= b)), {"a": ("N",), "b": ("N",)}),
    "affine relu": (affine_relu, affine_relu_backward, {"x": ("N", "D"), "w": ("D", "M"), "b": ("M",)}),
    "two layers": (two_layers, two_layers_backward, {"x": ("N", "D"), "w": ("D", "M"), "v": ("M", "K")}),
    "huber": (huber, lambda dy, x: dy * np.clip(x, -1, 1), X),
    "huber, between fractions": (
        lambda x: np.where(np.abs(x) < 1.5, x * x / 2, 1.5 * (np.abs(x) - 0.75)),
        lambda dy, x: dy * np.clip(x, -1.5, 1.5),
        X,
    ),
    "l2 with a maximum": (l2, l2_backward, X),
    "hinge": (hinge, hinge_backward, {"scores": ("N",), "y": ("N",)}),
    "softplus, stable": (
        lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        lambda dy, x: dy / (1 + np.exp(-x)),
        X,
    ),
    "norm of a maximum": (
        lambda x: np.sqrt(np.sum(np.maximum(x, 0) ** 2)),
        lambda dy, x: dy * np.maximum(x, 0) / np.sqrt(np.sum(np.maximum(x, 0) ** 2)),
        X,
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_are_proved(name):
    forward, backward, inputs = RIGHT[name]
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof
    assert "≠ 0" in str(proof)  # what is compared may not agree


WRONG = {
    "the other side": (relu_of_course, lambda dy, x: dy * (x < 0), X),
    "the whole": (relu_of_course, lambda dy, x: dy, X),
    "another slope": (RIGHT["leaky"][0], lambda dy, x: np.where(x > 0, dy, 0.02 * dy), X),
    "wrong between −1 and 1": (huber, lambda dy, x: dy * np.sign(x), X),
    "the mask forgotten": (l2, lambda dy, x: dy / np.maximum(np.sqrt(np.sum(x * x, axis=1, keepdims=True)), 1e-12), X),
    "the output's sign, before the shift": (
        lambda x: np.maximum(x - 1, 0),
        lambda dy, x: dy * (x > 0),
        X,
    ),
    "one of two": (np.maximum, lambda dy, a, b: (dy * (a > b), dy * (a > b)), {"a": ("N",), "b": ("N",)}),
    "the margin's sign": (
        hinge,
        lambda dy, s, y: (dy * y * (1 - y * s > 0) / y.size, -dy * s * (1 - y * s > 0) / y.size),
        {"scores": ("N",), "y": ("N",)},
    ),
    "beyond 6": (RIGHT["relu6"][0], lambda dy, x: dy * (x > 0), X),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_refuted(name):
    forward, backward, inputs = WRONG[name]
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof.verdict == "refuted"
    assert proof.counterexample is not None


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lambda x: x * (x >= x.max()), lambda dy, x: dy * (x >= x.max())),  # the largest element equals the maximum
        (lambda x: x * (np.exp(x - x.max()) >= 1), lambda dy, x: dy * (np.exp(x - x.max()) >= 1)),
        (lambda x: x[x > 0], lambda dy, x: dy),
        (lambda x: x if (x > 0).all() else -x, lambda dy, x: dy),
        (lambda x: x * np.minimum(x.shape[0], 4), lambda dy, x: dy * np.minimum(x.shape[0], 4)),
        (lambda x: np.where(x, x, 0), lambda dy, x: dy),
    ],
)
def test_what_is_no_choice_of_an_element_is_refused(forward, backward):
    with pytest.raises(NotUnderstood):
        prove_gradient(forward, backward, inputs=X)


def test_where_nothing_is_claimed_is_said():
    squared = prove_gradient(lambda x: np.where(x * x > 0, x, 5), lambda dy, x: dy * (x * x > 0), inputs={"x": ("N",)})
    assert str(squared).startswith("dx  proved for every N where x[i]^2 ≠ 0")
    never = prove_gradient(
        lambda x: np.where(x * x + 1 > 0, x, 5), lambda dy, x: dy, inputs={"x": ("N",)}, pass_inputs=True
    )
    assert str(never) == "dx  proved for every N"


@pytest.mark.parametrize("dtype", [int, np.int32, float, "float32", bool])
def test_truth_values_as_numbers(dtype):
    assert prove_gradient(
        lambda x: x * (x > 0).astype(dtype), lambda dy, x: dy * (x > 0).astype(dtype), inputs={"x": ("N",)}
    )


def test_a_maximum_that_is_taken_away_and_added():
    """np.max twice is one number; the result does not depend on it."""
    proof = prove_gradient(
        lambda x: np.log(np.sum(np.exp(x - np.max(x)))) + np.max(x),
        lambda dy, x: dy * np.exp(x) / np.sum(np.exp(x)),
        inputs={"x": ("N",)},
    )
    assert proof
    for other in (np.min, lambda x: np.max(2 * x)):
        with pytest.raises(NotUnderstood, match="the result does not depend on it"):
            prove_gradient(
                lambda x, other=other: np.log(np.sum(np.exp(x - np.max(x)))) + other(x),
                lambda dy, x: dy * np.exp(x) / np.sum(np.exp(x)),
                inputs={"x": ("N",)},
                pass_inputs=True,
            )


def test_what_is_defined_nowhere_is_not_proved():
    for never in (lambda x: np.sqrt(-np.exp(x)), lambda x: np.sqrt(np.minimum(x, 0) - 1)):
        proof = prove_gradient(
            lambda x: x * x, lambda dy, x, never=never: 2 * x * dy + 0 * never(x), inputs=X, pass_inputs=True
        )
        assert proof.verdict == "not proved"


# NumPy's sums and products of truth values are truth values. Written as a mistake far from 1, where random numbers are.
TRUTH = {
    "or": ("proved", lambda x: x * ((x > 0) + (x > -1)), lambda dy, x: np.where(x > -1, dy, 0), X),
    "or, everywhere": ("proved", lambda x: x * ((x < 1) + (x > -1)), lambda dy, x: dy * ((x < 1) | (x > -1)), X),
    "counted twice": (
        "refuted",
        lambda x: x * ((x > 5) * (x < 10) + (x > 7)),
        lambda dy, x: dy * (1.0 * (x > 5) * (x < 10) + 1.0 * (x > 7)),
        X,
    ),
    "parts of a mask, counted twice": (
        "refuted",
        lambda x: x * ((x > 3)[:, :1] + (x > 3)[:, 1:]),
        lambda dy, x: dy * ((x > 3)[:, :1] * 1.0 + (x > 3)[:, 1:] * 1.0),
        {"x": ("N", 2)},
    ),
    "a part of a mask": (
        "proved",
        lambda x: np.where((x > 0)[:, :1], x, 0),
        lambda dy, x: np.where((x > 0)[:, :1], dy, 0),
        {"x": ("N", 2)},
    ),
    "a constant mask": (
        "proved",
        lambda x: np.where(np.tri(3) > 0, x, 0),
        lambda dy, x: dy * np.tri(3),
        {"x": ("N", 3, 3)},
    ),
    "not the diagonal": (
        "proved",
        lambda x: np.where(~np.eye(3, dtype=bool), x * x, 0),
        lambda dy, x: 2 * x * dy * (1 - np.eye(3)),
        {"x": (3, 3)},
    ),
}


@pytest.mark.parametrize("name", TRUTH)
def test_truth_values(name):
    verdict, forward, backward, inputs = TRUTH[name]
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof.verdict == verdict, proof


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x * np.dot(x > 3, x > 2),
        lambda x: x * np.einsum("n,n->n", x > 3, x > 2),
        lambda x: x * ((x > 4).astype(np.uint8) - (x > 3).astype(np.uint8)),
        lambda x: x * np.exp(x > 0),
    ],
)
def test_what_numpy_makes_of_truth_values_elsewhere_is_refused(forward):
    with pytest.raises(NotUnderstood):
        prove_gradient(forward, lambda dy, x: dy, inputs={"x": ("N",)}, pass_inputs=True)


def shifted_through_a_part(x):
    squares = (x - 31.7) ** 2 + 1
    first = squares[:, 0]
    first -= 1.01
    return np.maximum(first, 0)


# An element is equal to itself; the factor (x > 200) hides that from random numbers.
@pytest.mark.parametrize(
    ("forward", "backward", "inputs"),
    [
        (
            lambda x: x * (x[:, None] == x[None, :]).sum(1) * (x > 200),
            lambda dy, x: 0 * x,
            {"x": ("N",)},
        ),
        (
            lambda x: ((x[:, None] >= x[None, :]) * x[None, :] * (x > 200)[None, :]).sum(1),
            lambda dy, x: ((x[:, None] > x[None, :]) * dy[:, None] * (x > 200)[None, :]).sum(0),
            {"x": ("N",)},
        ),
        (
            lambda x: (lambda r: r * (r == r.max(axis=2, keepdims=True)) * (r > 200))(x.reshape(x.shape[0], 2, 2)),
            lambda dy, x: np.zeros_like(x),
            {"x": ("N", 4)},
        ),
        (
            shifted_through_a_part,
            lambda dy, x: np.stack([2 * (x[:, 0] - 31.7) * dy, 0 * dy], 1),
            {"x": ("N", 2)},
        ),
    ],
)
def test_what_is_wrong_far_away_is_not_proved(forward, backward, inputs):
    assert prove_gradient(forward, backward, inputs=inputs, pass_inputs=True).verdict != "proved"


def test_elements_equal_to_themselves():
    pair = {"inputs": {"x": ("N",)}, "pass_inputs": True}
    assert prove_gradient(lambda x: x * (x[:, None] == x[None, :]).sum(1), lambda dy, x: dy, **pair)
    assert prove_gradient(
        lambda x: ((x[:, None] >= x[None, :]) * x[None, :]).sum(1),
        lambda dy, x: ((x[:, None] >= x[None, :]) * dy[:, None]).sum(0),
        **pair,
    )


def leaky_in_place(dy, x):
    dx = dy.copy()
    dx[x < 0] *= 0.1
    return dx


def copied_where_positive(dy, x):
    dx = np.zeros_like(dy)
    dx[x > 0] = dy[x > 0]
    return dx


def test_elements_chosen_by_a_condition():
    assert prove_gradient(lambda x: np.where(x < 0, 0.1 * x, x), leaky_in_place, inputs=X)
    assert prove_gradient(lambda x: np.maximum(x, 0), copied_where_positive, inputs=X)
    with pytest.raises(NotUnderstood, match="the same condition"):
        prove_gradient(lambda x: np.sum(np.cumsum(x[x > 0])), lambda dy, x: dy * (x > 0), inputs=X)


def pooled(x):
    out = np.zeros((x.shape[0], 2, 2))
    for i in range(2):
        for j in range(2):
            out[:, i, j] = np.max(x[:, 2 * i : 2 * i + 2, 2 * j], axis=1)
    return out, (x, out)


def pooled_backward(dy, cache):
    x, out = cache
    dx = np.zeros_like(x)
    for i in range(2):
        for j in range(2):
            window = x[:, 2 * i : 2 * i + 2, 2 * j]
            dx[:, 2 * i : 2 * i + 2, 2 * j] = dy[:, i, j, None] * (window == out[:, i, j, None])
    return dx


def pooled_evenly(dy, cache):
    x, _ = cache
    dx = np.zeros_like(x)
    for i in range(2):
        for j in range(2):
            dx[:, 2 * i : 2 * i + 2, 2 * j] = dy[:, i, j, None] / 2
    return dx


def between(x):
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    return (x - low) / (high - low), (x, low, high)


def between_backward(dy, cache):
    x, low, high = cache
    y, width = (x - low) / (high - low), high - low
    at_low = (x == low) * np.sum(dy * (1 - y), axis=1, keepdims=True)
    return (dy - at_low - (x == high) * np.sum(dy * y, axis=1, keepdims=True)) / width


def between_with_a_fixed_width(dy, cache):
    x, low, high = cache
    return (dy - (x == low) * np.sum(dy, axis=1, keepdims=True)) / (high - low)


@pytest.mark.parametrize(
    ("verdict", "forward", "backward", "inputs"),
    [
        ("proved", pooled, pooled_backward, {"x": ("N", 4, 4)}),
        ("refuted", pooled, pooled_evenly, {"x": ("N", 4, 4)}),
        (
            "proved",
            lambda x: x.max(axis=1),
            lambda dy, x: dy[:, None] * (x == x.max(axis=1, keepdims=True)),
            {"x": ("N", 3)},
        ),
        ("proved", between, between_backward, {"x": ("N", 3)}),
        ("refuted", between, between_with_a_fixed_width, {"x": ("N", 3)}),
    ],
)
def test_maxima_of_few_numbers_are_followed(verdict, forward, backward, inputs):
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof.verdict == verdict, proof


# TensorFlow


@tf.custom_gradient
def straight_through(x):
    return tf.sign(x), lambda dy: dy


@tf.custom_gradient
def relu_above_one(x):
    return tf.nn.relu(x), lambda dy: tf.where(x > 1, dy, tf.zeros_like(dy))


@tf.custom_gradient
def relu_by_hand(x):
    return tf.nn.relu(x), lambda dy: tf.where(x > 0, dy, tf.zeros_like(dy))


@pytest.mark.parametrize(
    "function",
    [
        tf.nn.relu, tf.nn.relu6, tf.nn.leaky_relu, tf.nn.elu, tf.nn.selu, tf.nn.softsign, tf.abs, relu_by_hand,
        tf.math.reduce_logsumexp, tf.norm,
        lambda x: tf.nn.l2_normalize(x, 1),
        lambda x: tf.clip_by_value(x, -1.0, 1.0),
        lambda x: tf.clip_by_norm(x, 1.0),
        lambda x: tf.maximum(x, 0.1 * x),
        lambda x: x * tf.nn.relu(1 - tf.reduce_sum(x)),
        lambda x: tf.math.divide_no_nan(x, tf.reduce_sum(x * x)),
        lambda x: x / tf.where(tf.norm(x) == 0, tf.ones_like(x), tf.norm(x)),
    ],
)  # fmt: skip
def test_operations_of_tensorflow(function):
    assert prove_gradient(function, inputs=X)


def test_the_maximum_of_few_numbers_in_tensorflow():
    assert prove_gradient(lambda x: tf.reduce_max(x, axis=1) * x[:, 0], inputs={"x": ("N", 3)})


def test_second_order():
    assert prove_gradient(lambda x: tf.nn.relu(x) * x * x, inputs=X, order=2)


@pytest.mark.parametrize("function", [straight_through, relu_above_one])
def test_wrong_gradients_of_tensorflow_are_refuted(function):
    assert prove_gradient(function, inputs=X).verdict == "refuted"


def test_cross_entropy_is_right_for_labels_that_add_up_to_one():
    """TensorFlow's gradient of the logits, softmax − labels, is that of labels whose sum is 1 only."""

    def loss(logits, weights):
        return tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(tf.stop_gradient(weights)), logits)

    shapes = {"logits": ("N", "C"), "weights": ("N", "C")}
    assert prove_gradient(loss, inputs=shapes).gradients["logits"].verdict == "proved"
    free = prove_gradient(tf.nn.softmax_cross_entropy_with_logits, inputs={"labels": ("N", "C"), "logits": ("N", "C")})
    assert free.gradients["logits"].verdict == "refuted"


def barlow(z, weight=0.1):
    """The distance of a correlation from the identity, of which what is off the diagonal counts less."""
    n, d = z.shape
    c = z.T @ z / n
    w = np.where(np.eye(d) == 1, 1, weight)
    return ((c - np.eye(d)) ** 2 * w).sum(), (z, c, w)


def gradient_of_barlow(dy, cache):
    z, c, w = cache
    dc = 2 * (c - np.eye(z.shape[1])) * w * dy
    return z @ (dc + dc.T) / len(z)


def test_constants_may_be_compared():
    """An identity matrix beside 1 is no coincidence of a point."""
    assert prove_gradient(barlow, gradient_of_barlow, inputs={"z": ("N", "D")})

    def unweighted(dy, cache):
        z, c, w = cache
        return gradient_of_barlow(dy, (z, c, np.ones_like(w)))

    assert prove_gradient(barlow, unweighted, inputs={"z": ("N", "D")}).verdict == "refuted"


@pytest.mark.parametrize(
    "mask",
    [
        lambda x: np.eye(len(x)) == 1,
        lambda x: np.eye(len(x)) > 0.5,
        lambda x: np.eye(len(x)) != 0,
        lambda x: (np.ones_like(x) > 0) & (np.eye(len(x)) > 0),
        lambda x: (np.eye(len(x)) > 0) * (x > x.T) == 0,
    ],
)
def test_masks_of_constants(mask):
    def forward(x):
        return np.where(mask(x), 3 * x, x * x), x

    def gradient(dy, x):
        return dy * np.where(mask(x), 3, 2 * x)

    def swapped(dy, x):
        return dy * np.where(mask(x), 2 * x, 3)

    assert prove_gradient(forward, gradient, inputs={"x": (3, 3)})
    assert prove_gradient(forward, swapped, inputs={"x": (3, 3)}).verdict == "refuted"


MASK = np.tril(np.ones((3, 3)))


def causal(q, k, v):
    """Attention to what came before; what is masked gets a score of −10⁹, as is usual."""
    scores = np.where(MASK == 0, -1e9, q @ k.T / np.sqrt(q.shape[1]))
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = weights / weights.sum(axis=1, keepdims=True)
    return weights @ v, (q, k, v, weights)


def gradient_of_causal(dy, cache, scale=None):
    q, k, v, weights = cache
    d_weights = dy @ v.T
    d_scores = weights * (d_weights - (d_weights * weights).sum(axis=1, keepdims=True))
    d_scores = d_scores / (np.sqrt(q.shape[1]) if scale is None else scale)
    return d_scores @ k, d_scores.T @ q, weights.T @ dy


def test_a_mask_of_large_negative_scores():
    inputs = {"q": (3, "D"), "k": (3, "D"), "v": (3, "H")}
    proof = prove_gradient(causal, gradient_of_causal, inputs=inputs)
    assert proof, proof
    assert "exp(… − 1000000000) is 0, as it is on floats" in proof.gradients["q"].conditions

    def unscaled(dy, cache):
        return gradient_of_causal(dy, cache, scale=1)

    def unmasked(dy, cache):
        q, k, v, _ = cache
        weights = np.exp(q @ k.T / np.sqrt(q.shape[1]))
        return gradient_of_causal(dy, (q, k, v, weights / weights.sum(axis=1, keepdims=True)))

    for wrong in (unscaled, unmasked):
        assert prove_gradient(causal, wrong, inputs=inputs).gradients["q"].verdict == "refuted"


def test_a_large_negative_number_that_cancels_is_kept():
    """exp(x − 10⁹ + 10⁹) is exp(x)."""
    proof = prove_gradient(lambda x: np.exp(x - 1e9 + 1e9), lambda dy, x: dy * np.exp(x), inputs={"x": ("N",)})
    assert proof, proof
    assert not proof.gradients["x"].conditions
