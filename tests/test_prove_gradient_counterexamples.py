"""Counterexamples show that something is wrong; what differs as by a rounded constant is not called wrong."""

import numpy as np
import pytest
import tensorflow as tf

from derivations import NotUnderstood, prove_gradient
from derivations.__main__ import main
from derivations.own_code.counterexamples import difference

N, ND = {"x": ("N",)}, {"x": ("N", "D")}


def custom(forward, backward):
    @tf.custom_gradient
    def function(x):
        return forward(x), lambda dy: backward(dy, x)

    return function


# What is seen


def softmax(z):
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [5, 12])
def test_a_maximum_of_many_numbers_is_no_obstacle(classes):
    def backward(dy, z):
        gradient = softmax(z)
        gradient[range(3), [1, 0, 4]] -= 1
        return gradient * dy  # without 1/N

    proof = prove_gradient(
        lambda z: -np.log(softmax(z))[range(3), [1, 0, 4]].mean(), backward, inputs={"z": (3, classes)}
    )
    assert proof.verdict == "refuted"
    assert proof.gradients["z"].mistake.startswith("it is 3 times")
    assert difference(proof.counterexample) > 0.1


def test_a_missing_sum_is_shown_where_there_is_something_to_be_summed():
    proof = prove_gradient(lambda x, b: x + b, lambda dy, x, b: (dy, dy), inputs={**ND, "b": ("D",)})
    assert proof.counterexample.sizes["N"] > 1
    assert proof.gradients["b"].mistake == "the sum over the batch is missing"


def scaled(x, epsilon=0.0):
    return x / np.sqrt((x * x).mean(0) + epsilon)


def slope_of_scaled(dy, x, epsilon=0.0):
    root = np.sqrt((x * x).mean(0) + epsilon)
    return (dy - x / root * (dy * x / root).mean(0)) / root


@pytest.mark.parametrize("epsilon", [1e-5, 1e-8, 1e-12])
def test_a_small_epsilon_that_was_forgotten_is_shown_where_it_is_felt(epsilon):
    proof = prove_gradient(lambda x: scaled(x, epsilon), slope_of_scaled, inputs=N)
    assert proof.verdict == "refuted"
    assert difference(proof.counterexample) > 1e-3
    assert (
        float(max(abs(value.mid if hasattr(value, "mid") else value) for value in proof.counterexample.correct)) > 1e-3
    )


def test_a_limit_of_squares_that_was_forgotten_is_found():
    def root(x):
        return np.sqrt(np.maximum((x * x).mean(0), 1e-2))

    def backward(dy, x):
        return (dy - x / root(x) * (dy * x / root(x)).mean(0)) / root(x)

    assert prove_gradient(lambda x: x / root(x), backward, inputs=ND).verdict == "refuted"


def test_a_limit_beside_another_is_found():
    proof = prove_gradient(lambda x: np.clip(x, -2.5, 2.5), lambda dy, x: dy * (np.abs(x) < 2.4), inputs=N)
    assert proof.verdict == "refuted"


def test_there_is_no_counterexample_at_a_kink():
    def backward(dy, x):
        size = np.abs(x).sum(1, keepdims=True)
        return dy / size - (dy * x).sum(1, keepdims=True) / size**2  # without the sign

    proof = prove_gradient(lambda x: x / np.abs(x).sum(1, keepdims=True), backward, inputs=ND)
    assert proof.verdict == "refuted"
    assert 0 not in np.ravel(proof.counterexample.inputs["x"])


def test_long_fractions_are_shown_in_ten_digits():
    cosines = np.cos([0.3, 0.6])
    proof = prove_gradient(lambda x: cosines * x, lambda dy, x: dy, inputs={"x": ("N", 2)})
    assert "/" not in str(proof).split("correct")[1]


# Constants


def sqrt_2(x):
    return x / tf.sqrt(2.0)


CONSTANTS = {
    "leaky relu": custom(lambda x: tf.nn.leaky_relu(x, 0.2), lambda dy, x: tf.where(x > 0, dy, 0.2 * dy)),
    "gelu": custom(
        tf.nn.gelu,
        lambda dy, x: dy * (0.5 * (1 + tf.math.erf(x / np.sqrt(2))) + x * tf.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
    ),
    "gelu in single precision": custom(
        lambda x: 0.5 * x * (1 + tf.math.erf(sqrt_2(x))),
        lambda dy, x: dy * (0.5 * (1 + tf.math.erf(sqrt_2(x))) + x * tf.exp(-x * x / 2) / tf.sqrt(2 * np.pi)),
    ),
    "selu": custom(
        tf.nn.selu,
        lambda dy, x: dy * tf.where(x > 0, 1.0507009873554805, 1.7580993408473766 * tf.exp(x)),
    ),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_those_that_were_meant(name):
    assert prove_gradient(CONSTANTS[name], inputs=N)


@pytest.mark.parametrize(
    ("exact", "single"),
    [(0.1, np.float32(0.1)), (1 / 3, np.float32(1 / 3)), (np.sqrt(2.0), np.sqrt(np.float32(2)))],
)
def test_constants_in_single_precision(exact, single):
    assert prove_gradient(lambda x: exact * x, lambda dy, x: dy * single, inputs=N)
    assert prove_gradient(lambda x: exact * x, lambda dy, x: dy * np.array([single, single]), inputs={"x": ("N", 2)})
    assert prove_gradient(lambda x: exact * x, lambda dy, x: dy * single * 2, inputs=N).verdict == "refuted"


def test_a_rounded_constant_is_neither_proved_nor_refuted():
    proof = prove_gradient(lambda x: np.sqrt(2 / np.pi) * x, lambda dy, x: 0.797885 * dy, inputs=N)
    assert proof.verdict == "not proved"
    assert "as where a constant is rounded" in proof.gradients["x"].reason
    assert prove_gradient(lambda x: np.sqrt(2 / np.pi) * x, lambda dy, x: 0.7979 * dy, inputs=N).verdict == "refuted"


# Logarithms of sigmoids


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cross_entropy(z, y):
    return -(y * np.log(sigmoid(z)) + (1 - y) * np.log(1 - sigmoid(z)))


@pytest.mark.parametrize(
    "log_odds", [lambda z: z, lambda z: np.log(sigmoid(z) / (1 - sigmoid(z))), lambda z: -np.log(1 / sigmoid(z) - 1)]
)
def test_the_log_odds_of_a_sigmoid_are_its_argument(log_odds):
    inputs = {"z": ("N",), "y": ("N",)}
    proof = prove_gradient(cross_entropy, lambda dy, z, y: (dy * (sigmoid(z) - y), -dy * log_odds(z)), inputs=inputs)
    assert proof
    assert not proof.gradients["z"].conditions
    wrong = prove_gradient(cross_entropy, lambda dy, z, y: (dy * (sigmoid(z) - y), dy * log_odds(z)), inputs=inputs)
    assert wrong.gradients["y"].mistake == "the sign is wrong"


def test_an_exponential_of_what_is_limited():
    def softplus(x):
        return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20))))

    assert prove_gradient(softplus, lambda dy, x: dy * np.where(x > 20, 1, sigmoid(x)), inputs=N)
    assert prove_gradient(softplus, lambda dy, x: dy * np.where(x > 20, 2, sigmoid(x)), inputs=N).verdict == "refuted"


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_first_of_a_known_number_of_classes(classes):
    def probabilities(x, w):
        powers = np.exp(x @ w)
        return powers / powers.sum(1, keepdims=True)

    def backward(dy, x, w):
        gradient = probabilities(x, w)
        gradient[:, 0] -= 1
        gradient *= dy / len(x)
        return gradient @ w.T, x.T @ gradient

    inputs = {"x": ("N", "D"), "w": ("D", classes)}
    assert prove_gradient(lambda x, w: -np.log(probabilities(x, w)[:, 0]).mean(), backward, inputs=inputs)


# Which gradients are judged


def squared_error(p, t):
    return ((p - t) ** 2).mean(), (p, t)


PT = {"p": ("N",), "t": ("N",)}
OF_P = {
    "None": lambda dy, c: (2 * dy * (c[0] - c[1]) / c[0].size, None),
    "alone": lambda dy, c: 2 * dy * (c[0] - c[1]) / c[0].size,
    "a dictionary": lambda dy, c: {"dp": 2 * dy * (c[0] - c[1]) / c[0].size},
}


@pytest.mark.parametrize("name", OF_P)
def test_gradients_of_labels_need_not_be_returned(name):
    proof = prove_gradient(squared_error, OF_P[name], inputs=PT, wrt=["p"])
    assert proof
    assert set(proof.gradients) == {"p"}
    assert "not judged: the gradient of t" in str(proof)
    wrong = prove_gradient(lambda p, t: (((p - t) ** 2).sum(), (p, t)), OF_P[name], inputs=PT, wrt=["p"])
    assert wrong.verdict == "refuted"
    if name == "None":
        assert not prove_gradient(squared_error, OF_P[name], inputs=PT)


def test_gradients_of_labels_in_tensorflow():
    @tf.custom_gradient
    def loss(logits, labels):
        def gradient(dy):
            return dy[:, None] * (tf.nn.softmax(logits) * tf.reduce_sum(labels, 1, keepdims=True) - labels), None

        return tf.nn.softmax_cross_entropy_with_logits(labels, logits), gradient

    inputs = {"logits": ("N", "K"), "labels": ("N", "K")}
    assert prove_gradient(loss, inputs=inputs, wrt=["logits"])
    assert prove_gradient(loss, inputs=inputs).gradients["labels"].verdict == "refuted"


def test_what_is_right_for_one_hot_labels_alone_is_said_to_be():
    def loss(x, y):
        logarithms = x - np.log(np.exp(x).sum(1, keepdims=True))
        return -(logarithms * y).sum() / len(x), (np.exp(logarithms), y)

    inputs = {"x": ("N", "C"), "y": ("N", "C")}
    proof = prove_gradient(loss, lambda dy, c: dy * (c[0] - c[1]) / len(c[1]), inputs=inputs, wrt=["x"])
    assert proof.gradients["x"].mistake.startswith("it is right where each row of y is one 1 and else 0")
    proof = prove_gradient(
        loss, lambda dy, c: dy * (c[0] * c[1].sum(1, keepdims=True) - c[1]) / len(c[1]), inputs=inputs, wrt=["x"]
    )
    assert proof


LABELS = {
    "where": (
        lambda p, y: np.where(y == 1, -np.log(p), -np.log(1 - p)),
        lambda dy, p, y: np.where(y == 1, -dy / p, dy / (1 - p)),
        lambda dy, p, y: dy / (1 - p),
    ),
    "products": (lambda p, y: p**2 * (y == 2), lambda dy, p, y: 2 * p * dy * (y == 2), lambda dy, p, y: 2 * p * dy),
    "not equal": (lambda p, y: p**2 * (y != 2), lambda dy, p, y: 2 * p * dy * (y != 2), lambda dy, p, y: 2 * p * dy),
    "three of them": (
        lambda p, y: np.where(y == 0, p, np.where(y == 1, p**2, p**3)),
        lambda dy, p, y: dy * ((y == 0) + 2 * p * (y == 1) + 3 * p**2 * ((y != 0) & (y != 1))),
        lambda dy, p, y: dy * ((y == 0) + 2 * p * (y == 1) + 3 * p**2),
    ),
    "sums": (
        lambda p, y: (p**2 * (y == 2)).sum(),
        lambda dy, p, y: 2 * p * dy * (y == 2),
        lambda dy, p, y: 2 * p * dy * (y != 2),
    ),
}


@pytest.mark.parametrize("name", LABELS)
def test_numbers_with_which_labels_are_compared_are_met(name):
    forward, right, wrong = LABELS[name]
    inputs = {"p": ("N",), "y": ("N",)}
    assert prove_gradient(forward, lambda dy, p, y: (right(dy, p, y), None), inputs=inputs, wrt=["p"])
    proof = prove_gradient(forward, lambda dy, p, y: (wrong(dy, p, y), None), inputs=inputs, wrt=["p"])
    assert proof.verdict == "refuted"


def test_the_number_of_labels_divides():
    def mean(p, y):
        return (p**2 * (y == 2)).sum() / (y == 2).sum()

    inputs = {"p": ("N",), "y": ("N",)}
    proof = prove_gradient(mean, lambda dy, p, y: 2 * p * dy * (y == 2) / (y == 2).sum(), inputs=inputs, wrt=["p"])
    assert proof
    assert "[y[i] = 2]" in str(proof)
    assert "\0" not in str(proof)


def test_labels_of_tensorflow_are_met():
    @tf.custom_gradient
    def masked(x, m):
        return tf.where(tf.equal(m, 0.0), 0.0 * x, x * x), lambda dy: (2 * x * dy, None)

    inputs = {"x": ("N",), "m": ("N",)}
    assert prove_gradient(masked, inputs=inputs, wrt=["x"]).verdict == "refuted"
    right = prove_gradient(lambda x, m: tf.where(tf.equal(m, 0.0), 0.0 * x, x * x), inputs=inputs, wrt=["x"])
    assert right


@pytest.mark.parametrize("wrt", [[], ["z"], ["p", "p"], "q"])
def test_wrt_names_inputs(wrt):
    with pytest.raises(NotUnderstood, match=r"wrt names some of the inputs \(p, t\)"):
        prove_gradient(squared_error, OF_P["None"], inputs=PT, wrt=wrt)


def test_wrt_on_the_command_line(tmp_path, capsys):
    file = tmp_path / "losses.py"
    file.write_text(
        "def loss(p, t):\n    return ((p - t)**2).mean(), (p, t)\n"
        "def backward(dy, cache):\n    p, t = cache\n    return 2*dy*(p - t)/p.size, None\n"
    )
    command = ["check", f"{file}::backward", "--forward", "loss", "--inputs", "p: N, t: N"]
    assert main([*command, "--wrt", "p"]) == 0
    assert "not judged: the gradient of t" in capsys.readouterr().out
    assert main(command) == 1
    assert main([*command, "--wrt", "q"]) == 2
    with pytest.raises(SystemExit, match="2"):
        main(["check", "delta", "--wrt", "x"])
    assert "--wrt is for a function in a file" in capsys.readouterr().err


# Functions


def test_functions_of_scipy():
    special = pytest.importorskip("scipy.special")

    def judged(forward, backward, inputs=ND):
        return prove_gradient(forward, backward, inputs=inputs)

    def of_softmax(dy, p):
        return p * (dy - (dy * p).sum(1, keepdims=True))

    assert judged(special.expit, lambda dy, x: dy * special.expit(x) * special.expit(-x))
    assert judged(special.log_expit, lambda dy, x: dy * special.expit(-x))
    assert judged(lambda x: special.softmax(x, axis=1), lambda dy, x: of_softmax(dy, special.softmax(x, axis=1)))
    assert judged(
        lambda x: special.logsumexp(x, axis=1), lambda dy, x: dy[:, None] * np.exp(special.log_softmax(x, axis=1))
    )
    assert judged(lambda x: special.xlogy(x, x), lambda dy, x: dy * (np.log(x) + 1))
    assert judged(special.expit, lambda dy, x: dy * special.expit(x)).verdict == "refuted"


def test_einsum_with_an_ellipsis():
    inputs = {"x": ("B", "N", "I"), "w": ("I", "J")}

    def backward(dy, x, w):
        return np.einsum("...j,ij->...i", dy, w), np.einsum("bni,bnj->ij", x, dy)

    assert prove_gradient(lambda x, w: np.einsum("...i,ij->...j", x, w), backward, inputs=inputs)
    proof = prove_gradient(lambda x, w: 2 * np.einsum("...i,ij", x, w), backward, inputs=inputs)
    assert proof.gradients["x"].mistake.startswith("it is 1/2 times")


def test_arrays_broadcast_together():
    assert prove_gradient(
        lambda x, b: np.multiply(*np.broadcast_arrays(x, b)),
        lambda dy, x, b: (dy * b, (dy * x).sum(0)),
        inputs={**ND, "b": ("D",)},
    )
    proof = prove_gradient(lambda x: x * 2, lambda dy, x: np.broadcast_arrays(dy, x)[0], inputs=ND)
    assert proof.gradients["x"].mistake.startswith("it is 1/2 times")


def test_numpy_may_be_imported_in_a_function_around():
    import numpy as local

    def mean(x):
        return local.ones((1, len(x))) @ x / len(x)

    def backward(dy, x):
        return local.zeros(x.shape) + dy / len(x)

    assert prove_gradient(mean, backward, inputs=ND)
    assert local is np


PLACES = tf.constant([0, 2, 2])
TABLES = {
    "a new axis": lambda x: tf.scatter_nd(PLACES[:, None], x, [3, 2]),
    "expand_dims": lambda x: tf.scatter_nd(tf.expand_dims(PLACES, 1), x, [3, 2]),
    "stack": lambda x: tf.gather_nd(x, tf.stack([tf.range(3), tf.constant([1, 0, 1])], axis=1)),
    "take of a table": lambda x: tf.keras.ops.take(x, [[0, 2], [2, 1]], axis=0),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_places(name):
    assert prove_gradient(lambda x: TABLES[name](x) ** 2, inputs={"x": (3, 2)})


# Mistakes by name


def test_gradients_in_the_wrong_order():
    proof = prove_gradient(
        lambda a, b: a * b * b, lambda dy, a, b: (2 * dy * a * b, dy * b * b), inputs={"a": ("N",), "b": ("N",)}
    )
    assert proof.gradients["a"].mistake.startswith("it is the gradient of b")
    assert proof.gradients["b"].mistake.startswith("it is the gradient of a")


@pytest.mark.parametrize("columns", ["D", "K"])
def test_a_transpose(columns):
    inputs = {"x": ("N", "D"), "w": ("D", columns)}
    proof = prove_gradient(lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, dy.T @ x), inputs=inputs)
    assert proof.gradients["x"].verdict == "proved"
    assert proof.gradients["w"].mistake == "its transpose was returned"


def test_a_root_of_a_size():
    proof = prove_gradient(
        lambda q, k: q @ k.T / np.sqrt(q.shape[1]), lambda dy, q, k: (dy @ k, dy.T @ q),
        inputs={"q": ("N", "D"), "k": ("M", "D")},
    )  # fmt: skip
    assert {gradient.mistake for gradient in proof.gradients.values()} == {"it is √D times too large"}


def test_a_line_is_called_by_what_is_assigned_in_it():
    def regularized(x, w):
        h = x @ w
        return np.mean(h**2) + np.sum(w * w)

    def backward(dy, x, w):
        d = 2 * (x @ w) * dy / (x @ w).size
        return d @ w.T, x.T @ d

    proof = prove_gradient(regularized, backward, inputs={"x": ("N", "D"), "w": ("D", "K")})
    assert "the mean" not in proof.gradients["w"].mistake
