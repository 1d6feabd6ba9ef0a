"""How people write it: masks as numbers, losses of a batch in several inputs, errors far away, reshapes gone wrong."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient

ND = {"x": ("N", "D")}


def in_place(mask_of):
    def backward(dy, x):
        mask = mask_of(x)
        mask *= dy
        return mask

    return backward


def written_mask(x):
    mask = np.zeros_like(x)
    mask[x > 0] = 1
    return mask


def ones_but_where_it_is_negative(x):
    mask = np.ones_like(x > 0, dtype=float)
    mask[x <= 0] = 0
    return mask


MASKS = {
    "astype": lambda x: (x > 0).astype(float),
    "array": lambda x: np.array(x > 0, dtype=float),
    "asarray": lambda x: np.asarray(x > 0, dtype=np.float64),
    "times one": lambda x: 1.0 * (x > 0),
    "where": lambda x: np.where(x > 0, 1.0, 0.0),
    "where of whole numbers": lambda x: np.where(x > 0, 1, 0).astype(x.dtype),
    "written": written_mask,
    "ones": ones_but_where_it_is_negative,
    "logic": lambda x: ((x > 0) & ~(x <= 0)).astype(x.dtype),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_relu(name):
    assert prove_gradient(lambda x: np.maximum(x, 0), in_place(MASKS[name]), inputs=ND)


def test_a_mask_that_is_counted():
    def hinge(s, t):
        margins = np.maximum(0, s - (s * t).sum(1, keepdims=True) + 1)
        return margins.sum() / len(s), (margins, t)

    def backward(dy, cache):
        margins, t = cache
        d = (margins > 0).astype(float)
        d -= t * d.sum(1, keepdims=True)
        return dy * d / len(margins), None

    proof = prove_gradient(hinge, backward, inputs={"s": ("N", "C"), "t": ("N", "C")})
    assert proof.gradients["s"].verdict == "proved", proof


def mean_of_chosen(x):
    return np.mean(x[x > 0]), x


NUMPY = {
    "chosen elements": ("proved", lambda x: (x[x > 0].sum(), x), lambda dy, x: dy * (x > 0), ND),
    "their mean": ("proved", mean_of_chosen, lambda dy, x: dy * (x > 0) / (x > 0).sum(), ND),
    "their mean, divided by all": ("refuted", mean_of_chosen, lambda dy, x: dy * (x > 0) / x.size, ND),
    "a weighted average": (
        "proved",
        lambda x, w: (np.average(x, axis=0, weights=w), (x, w)),
        lambda dy, c: (dy * c[1] / c[1].sum(0), dy * (c[0] - np.average(c[0], axis=0, weights=c[1])) / c[1].sum(0)),
        {"x": ("N", "D"), "w": ("N", "D")},
    ),
    "softplus": ("proved", lambda x: (np.logaddexp(0, x), x), lambda dy, x: dy / (1 + np.exp(-x)), ND),
    "flattened": (
        "proved",
        lambda x: (x.reshape(x.shape[0], int(np.prod(x.shape[1:]))) ** 2, x),
        lambda dy, x: 2 * dy.reshape(x.shape) * x,
        {"x": ("N", "C", "H")},
    ),
    "N − 1 in the gradient alone": (
        "refuted",
        lambda x: (x - x.mean(0), x),
        lambda dy, x: dy - dy.sum(0) * (1 / (len(x) - 1)),
        ND,
    ),
    "N − 1 in both": ("proved", lambda x: (x * (1 / (len(x) - 1)), x), lambda dy, x: dy / (len(x) - 1), ND),
    # What is wrong where points by chance seldom are.
    "large x": ("refuted", lambda x: (x * x, x), lambda dy, x: 2 * x * dy * np.where(x > 100, 0, 1), ND),
    "very large x": ("refuted", lambda x: (x * x, x), lambda dy, x: 2 * np.clip(x, -1e6, 1e6) * dy, ND),
    "small x": ("refuted", lambda x: (x * x, x), lambda dy, x: np.where(abs(x) < 1e-3, 0, 2 * x * dy), ND),
    "x between two numbers": (
        "refuted",
        lambda x: (x * x, x),
        lambda dy, x: np.where((x > 0.3) & (x < 0.4), 0, 2 * x * dy),
        ND,
    ),
    "a large sum": ("refuted", lambda x: (x * x, x), lambda dy, x: 2 * x * dy * np.where(x.sum() > 50, 0, 1), ND),
    "a clipped cotangent": ("refuted", lambda x: (x * x, x), lambda dy, x: 2 * x * np.maximum(dy, -5), ND),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy(name):
    verdict, forward, backward, inputs = NUMPY[name]
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof.verdict == verdict, proof


def channels_last(x):
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def spatial(x):
    n, c, h, w = x.shape
    flat = channels_last(x)
    return (flat - flat.mean(0)).reshape(n, h, w, c).transpose(0, 3, 1, 2), x.shape


def spatial_backward(dy, shape):
    n, c, h, w = shape
    flat = channels_last(dy)
    return (flat - flat.mean(0)).reshape(n, h, w, c).transpose(0, 3, 1, 2)


def spatial_not_transposed_back(dy, shape):
    flat = channels_last(dy)
    return (flat - flat.mean(0)).reshape(shape)


def test_a_reshape_that_mixes_axes_is_refuted_although_it_is_not_understood():
    """Only the first proof does not understand it; a counterexample needs no more than the second."""
    images = {"x": ("N", "C", "H", "W")}
    assert prove_gradient(spatial, spatial_backward, inputs=images)
    proof = prove_gradient(spatial, spatial_not_transposed_back, inputs=images)
    assert proof.verdict == "refuted", proof
    with pytest.raises(NotUnderstood, match="only whole axes"):  # right, but not understood
        prove_gradient(
            lambda x: x.reshape(x.shape[1], x.shape[0]), lambda dy: dy.reshape(dy.shape[1], dy.shape[0]), inputs=ND
        )


def test_a_mistake_fits_at_all_sizes_that_are_tried():
    """½ is no mean over H where H happens to be 2."""

    def layer(x, w):
        h = np.maximum(x @ w, 0)
        return h.sum() + 0.1 * (w**2).sum(), (x, w, h)

    def backward(dy, cache):
        x, w, h = cache
        mask = (h > 0) * dy
        return mask @ w.T, x.T @ mask + dy * 0.1 * w

    proof = prove_gradient(layer, backward, inputs={"x": ("N", "D"), "w": ("D", "H")})
    assert proof.gradients["w"].verdict == "refuted"
    assert "H times" not in proof.gradients["w"].mistake


@pytest.mark.parametrize("none_of", ["numpy", "tensorflow"])
def test_a_batch_in_several_inputs(none_of):
    """Each None is a size of its own, but for code that runs for equal ones alone."""
    inputs = {"p": (None, 3), "t": (None, 3)}
    if none_of == "numpy":
        proof = prove_gradient(
            lambda p, t: ((p - t) ** 2, p - t), lambda dy, d: (2 * dy * d, -2 * dy * d), inputs=inputs
        )
    else:
        proof = prove_gradient(lambda p, t: tf.reduce_mean((p - t) ** 2), inputs=inputs)
    assert proof
    assert "p and t are taken to be equally long" in str(proof)
    assert not prove_gradient(lambda p, t: tf.matmul(p, t, transpose_b=True), inputs=inputs).note


@tf.custom_gradient
def soft_target(z):
    p, q = tf.nn.softmax(z), tf.constant([0.9, 0.1])
    return -tf.reduce_sum(q * tf.nn.log_softmax(z), -1), lambda dy: dy[:, None] * (p - q)


@tf.custom_gradient
def mean_by_a_count_of_float32(x):
    def gradient(dy):
        return tf.broadcast_to(dy / tf.cast(tf.shape(x)[0], tf.float32), tf.shape(x))

    return tf.reduce_mean(x, 0), gradient


@tf.custom_gradient
def relu_by_zeros_of_float32(x):
    return tf.nn.relu(x), lambda dy: tf.where(x > 0, dy, tf.zeros(tf.shape(x)))


@pytest.mark.parametrize("function", [soft_target, mean_by_a_count_of_float32, relu_by_zeros_of_float32])
def test_numbers_of_float32_in_the_gradient_alone(function):
    assert prove_gradient(function, inputs={"x": (None, 2)})


def test_the_line_is_that_of_the_operation():
    def standardized(x):
        centered = x - tf.reduce_mean(x, -1, keepdims=True)
        return centered / tf.sqrt(tf.reduce_mean(centered**2, -1, keepdims=True))

    line = standardized.__code__.co_firstlineno + 2
    assert f"{line})" in str(prove_gradient(standardized, inputs={"x": (None, 4)}))


def with_moments(x):
    """``tf.nn.moments`` holds the mean in the variance, which changes the second derivative alone."""
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-3)


@tf.custom_gradient
def with_moments_and_a_gradient(x):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    inverse = tf.math.rsqrt(variance + 1e-3)
    z = (x - mean) * inverse

    def of_rows(a):
        return tf.reduce_mean(a, -1, keepdims=True)

    return z, lambda dy: inverse * (dy - of_rows(dy) - z * of_rows(dy * z))


@pytest.mark.parametrize(("function", "verdict"), [(with_moments, "refuted"), (with_moments_and_a_gradient, "proved")])
def test_what_is_held_without_effect_is_not_held_in_the_true_second_derivative(function, verdict):
    proof = prove_gradient(function, inputs={"x": (None, 3)}, order=2)
    assert proof.gradients["x"].verdict == "proved"
    assert proof.gradients["x (second order)"].verdict == verdict, proof


def test_the_second_derivative_of_moments_is_wrong_by_differences():
    """What the test above calls wrong and right, by float64 differences of the tape's own first gradient."""
    rng = np.random.default_rng(0)
    x, dy, u = (tf.constant(rng.normal(size=(2, 3))) for _ in range(3))

    def first(function, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x, dy)

    errors = []
    for function in (with_moments, with_moments_and_a_gradient):
        with tf.GradientTape() as tape:
            tape.watch(x)
            gradient = first(function, x)
        found = tape.gradient(gradient, x, u).numpy()
        numeric = np.zeros((2, 3))
        for place in np.ndindex(2, 3):
            step = np.zeros((2, 3))
            step[place] = 1e-6
            change = first(function, x + step) - first(function, x - step)
            numeric[place] = np.sum(change.numpy() * u.numpy()) / 2e-6
        errors.append(np.abs(found - numeric).max())
    assert errors[0] > 1e-2
    assert errors[1] < 1e-6  # of differences with steps of 1e-6


def test_a_condition_on_two_elements_says_that_they_are_two():
    def largest(x):
        m = x.max(axis=1)
        return m, (x, m)

    proof = prove_gradient(largest, lambda dy, c: (c[0] == c[1][:, None]) * dy[:, None], inputs={"x": ("N", 2)})
    assert any("≠ 0 for j ≠ 0 (" in condition for condition in proof.gradients["x"].conditions), proof


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def logistic(x, w, b, t):
    p = sigmoid(x @ w + b)
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p)), (x, w, p, t)


def gradient_of_logistic(dy, cache):
    x, w, p, t = cache
    r = dy * (p - t) / len(t)
    return np.outer(r, w), x.T @ r, r.sum(), dy / len(t) * (np.log(1 - p) - np.log(p))


def logistic_of_columns(w, b, x, t):
    """Features by samples, and a row of weights."""
    a = sigmoid(w @ x + b)
    return -np.sum(t * np.log(a) + (1 - t) * np.log(1 - a)) / x.shape[1], (w, x, a, t)


def gradient_of_columns(dy, cache):
    w, x, a, t = cache
    dz = dy * (a - t) / x.shape[1]
    return dz @ x.T, dz.sum(), w.T @ dz, dy / x.shape[1] * (np.log(1 - a) - np.log(a))


def labels(x, w, b):
    """Several labels, each with a bias of its own, none of which is right."""
    p = sigmoid(x @ w + b)
    return -np.log(1 - p).sum(), (x, w, p)


def gradient_of_labels(dy, cache):
    x, w, p = cache
    return dy * p @ w.T, dy * x.T @ p, (dy * p).sum(0)


LOGISTIC = {
    "samples by features": (logistic, gradient_of_logistic, {"x": ("N", "D"), "w": ("D",), "b": (), "t": ("N",)}),
    "features by samples": (
        logistic_of_columns,
        gradient_of_columns,
        {"w": (1, "n"), "b": (), "x": ("n", "m"), "t": (1, "m")},
    ),
    "several labels": (labels, gradient_of_labels, {"x": ("N", "D"), "w": ("D", "K"), "b": ("K",)}),
}


@pytest.mark.parametrize("kind", LOGISTIC)
def test_logistic_regression_with_a_bias(kind):
    forward, gradient, inputs = LOGISTIC[kind]
    assert prove_gradient(forward, gradient, inputs=inputs)

    def without_the_mean(dy, cache):
        *others, last = gradient(dy, cache)
        return (*others, last * 2)

    wrong = prove_gradient(forward, without_the_mean, inputs=inputs)
    assert [v.verdict for v in wrong.gradients.values()] == ["proved"] * (len(inputs) - 1) + ["refuted"]


@pytest.mark.parametrize("power", [-2, -1, 1, 2])
def test_sums_of_fractions_of_exponentials(power):
    """1/(e·q), q/e and their powers, of which the sum over x must be taken term by term."""
    proof = prove_gradient(
        lambda x, w: np.sum((np.exp(x * w) / (1 + np.exp(x * w))) ** power),
        lambda dy, x, w: (
            dy * power * w * sigmoid(x * w) ** power * (1 - sigmoid(x * w)),
            dy * power * np.sum(x * sigmoid(x * w) ** power * (1 - sigmoid(x * w))),
        ),
        inputs={"x": ("N",), "w": ()},
    )
    assert proof, proof


def test_a_small_part_beside_a_large_one_is_no_false_alarm():
    """For N = 64 the floats hold nothing of y in exp(64) + y."""
    proof = prove_gradient(
        lambda x, y: np.exp(x.sum()) + y,
        lambda dy, x, y: (dy * np.exp(x.sum()) * np.ones_like(x), dy),
        inputs={"x": ("N",), "y": ()},
    )
    assert proof, proof


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda x: x + np.sin(x) ** 2, lambda x: 1 + np.sin(2 * x)),
        (lambda x: np.sin(x) * np.cos(x), lambda x: np.cos(2 * x)),
        (lambda x: np.cos(4 * x), lambda x: -8 * np.sin(2 * x) * np.cos(2 * x)),
        (lambda x: np.sin(2 * x + 2), lambda x: 2 - 4 * np.sin(x + 1) ** 2),
    ],
)
def test_sines_of_twice_an_angle(function, slope):
    assert prove_gradient(function, lambda dy, x: dy * slope(x), inputs={"x": ("N",)})
    assert prove_gradient(function, lambda dy, x: dy * (slope(x) + 0.01), inputs={"x": ("N",)}).verdict == "refuted"


def network(slope_of_tanh):
    """One hidden layer, a sigmoid and cross-entropy, as in a well-known course; labels need no gradient."""

    def forward(x, w1, w2, t):
        a1 = np.tanh(x @ w1)
        a2 = 1 / (1 + np.exp(-(a1 @ w2)))
        return -np.sum(t * np.log(a2) + (1 - t) * np.log(1 - a2)) / len(x), (x, w1, w2, t, a1, a2)

    def backward(dy, cache):
        x, w1, w2, t, a1, a2 = cache
        d2 = dy * (a2 - t) / len(x)
        d1 = (d2 @ w2.T) * slope_of_tanh(a1)
        return d1 @ w1.T, x.T @ d1, a1.T @ d2, 0 * t

    return forward, backward


NETWORK = {"inputs": {"x": ("N", "D"), "w1": ("D", "H"), "w2": ("H", 1), "t": ("N", 1)}, "wrt": ["x", "w1", "w2"]}


def test_a_network_that_saturates_at_many_positive_numbers():
    """Beside 1 − p of 10⁻¹³ a difference of floats is rounding."""
    assert prove_gradient(*network(lambda a: 1 - a**2), **NETWORK)
    wrong = prove_gradient(*network(lambda a: (1 - a) * a), **NETWORK)
    assert [v.verdict for v in wrong.gradients.values()] == ["refuted", "refuted", "proved"]


def scaled(y, factor):
    y *= factor
    return y


@pytest.mark.parametrize(
    ("forward", "backward", "verdict"),
    [
        (np.exp, lambda dy, y: scaled(y, dy), "proved"),
        (lambda x: 1 / (1 + np.exp(-x)), lambda dy, y: scaled(scaled(y, 1 - y), dy), "proved"),
        (np.exp, lambda dy, y: scaled(y, 2 * dy), "refuted"),
    ],
)
def test_backward_may_work_in_the_output(forward, backward, verdict):
    def kept(x):
        y = forward(x)
        return y, y

    assert prove_gradient(kept, backward, inputs={"x": ("N",)}).verdict == verdict


@pytest.mark.parametrize(
    "letters", ["abc", *(pytest.param(more, marks=pytest.mark.slow) for more in ("abcd", "abcde"))]
)
def test_one_size_for_another_is_refuted_whichever_they_are(letters):
    inputs = {f"x{letter}": (letter, 2) for letter in letters}
    count = {letter: n for n, letter in enumerate(letters)}

    def forward(*xs):
        return sum((x**2).mean(0) for x in xs), xs

    for right, wrong in itertools.permutations(letters, 2):

        def backward(dy, cache, right=right, wrong=wrong):
            sizes = [len(x) for x in cache]
            sizes[count[right]] = len(cache[count[wrong]])
            return [2 * dy * x / n for x, n in zip(cache, sizes, strict=True)]

        proof = prove_gradient(forward, backward, inputs=inputs)
        assert proof.gradients[f"x{right}"].verdict == "refuted"
        assert proof.gradients[f"x{right}"].mistake == f"it is divided by {wrong} instead of {right}"


def off_diagonal(x):
    covariance = x.T @ x / len(x)
    np.fill_diagonal(covariance, 0)
    return (covariance**2).sum(), (x, covariance)


def with_ones(x):
    return np.c_[x, np.ones(len(x))]


LESS_COMMON = {
    "fill_diagonal": (off_diagonal, lambda dy, cache: 4 * dy * cache[0] @ cache[1] / len(cache[0]), ND),
    "hypot": (
        np.hypot,
        lambda dy, a, b: (dy * a / np.hypot(a, b), dy * b / np.hypot(a, b)),
        {"a": ("N",), "b": ("N",)},
    ),
    "c_": (
        lambda x, w: (with_ones(x) @ w, (x, w)),
        lambda dy, cache: (np.outer(dy, cache[1][:-1]), with_ones(cache[0]).T @ dy),
        {"x": ("N", 3), "w": (4,)},
    ),
    "average": (
        lambda x, w: np.average(x, axis=0, weights=w),
        lambda dy, x, w: (
            w[:, None] * dy / w.sum(),
            ((x - np.average(x, axis=0, weights=w)) * dy).sum(1) / w.sum(),
        ),
        {"x": ("N", "D"), "w": ("N",)},
    ),
}


@pytest.mark.parametrize("name", LESS_COMMON)
def test_less_common_functions(name):
    forward, backward, inputs = LESS_COMMON[name]
    assert prove_gradient(forward, backward, inputs=inputs)

    def doubled(dy, *given):
        found = backward(dy, *given)
        return [2 * value for value in found] if isinstance(found, tuple) else 2 * found

    options = {} if name in ("fill_diagonal", "c_") else {"pass_inputs": True}
    assert prove_gradient(forward, doubled, inputs=inputs, **options).verdict == "refuted"
