"""The mistakes that are named, and the command."""

import re
import subprocess
import sys

import numpy as np
import pytest

from derivations import NotUnderstood, prove_gradient
from derivations.__main__ import main
from tests.student_functions import REFUSED

SHAPES = {"x": ("N", "D"), "gamma": ("D",), "beta": ("D",)}
FORWARD = """
import numpy as np

def forward(x, gamma, beta):
    mean = x.mean(axis=0)
    centered = x - mean
    std = np.sqrt((centered**2).mean(axis=0) + 1e-5)
    x_hat = centered / std
    return gamma * x_hat + beta, (x_hat, gamma, std)

def backward(dy, cache):
    x_hat, gamma, std = cache
    d = dy * gamma
    dx = (d - d.mean(axis=0) - x_hat * (d * x_hat).mean(axis=0)) / std
    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)
"""


def forward(x, gamma, beta):
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    std = np.sqrt(var + 1e-5)
    x_hat = (x - mean) / std
    return gamma * x_hat + beta, (x_hat, gamma, std)


def right(dy, cache):
    x_hat, gamma, std = cache
    d = dy * gamma
    dx = (d - d.mean(axis=0) - x_hat * (d * x_hat).mean(axis=0)) / std
    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


def changed(place, change):
    def backward(dy, cache):
        gradients = list(right(dy, cache))
        gradients[place] = change(gradients[place], dy, cache)
        return gradients

    return backward


def one_less(dx, dy, cache):
    x_hat, gamma, std = cache
    d = dy * gamma
    return (d - d.mean(axis=0) - x_hat * (d * x_hat).sum(axis=0) / (len(d) - 1)) / std


@pytest.mark.parametrize(
    ("place", "change", "mistake"),
    [
        (0, lambda dx, dy, c: (dy * c[1] - (dy * c[1]).mean(0)) / c[2], "the variance in "),
        (0, lambda dx, dy, c: dy * c[1] / c[2], "all sums and roots of the forward pass were held fixed"),
        (0, lambda dx, dy, c: -dx, "the sign is wrong"),
        (0, lambda dx, dy, c: dx * len(dx), "it is N times too large"),
        (1, lambda dg, dy, c: (dy * c[0]).mean(0), "it is N times too small"),
        (1, lambda dg, dy, c: dy * c[0], "the sum over the batch is missing"),
        (0, one_less, "the path through the variance in "),
        (1, lambda dg, dy, c: dg * len(dy) / (len(dy) - 1), "it is divided by N − 1 instead of N"),
        (1, lambda dg, dy, c: dg * (len(dy) - 1) / len(dy), "it is divided by N instead of N − 1"),
        (1, lambda dg, dy, c: dg * 2, "it is 2 times what it should be"),
        (1, lambda dg, dy, c: dg * 3, "it is 3 times what it should be"),
        (1, lambda dg, dy, c: dg * 1.5, "it is 3/2 times what it should be"),
        (1, lambda dg, dy, c: dy.sum(0), "it is the gradient of beta"),
        (1, lambda dg, dy, c: dg / np.sqrt(len(dy)), "it is √N times too small"),
        (1, lambda dg, dy, c: dg * dg, ""),
        (2, lambda db, dy, c: db * 0, "it is always 0"),
        (2, lambda db, dy, c: db * db, ""),
    ],
)
def test_the_mistake_is_named(place, change, mistake):
    proof = prove_gradient(forward, changed(place, change), inputs=SHAPES)
    gradient = list(proof.gradients.values())[place]
    assert gradient.verdict == "refuted"
    assert gradient.mistake.startswith(mistake)
    assert bool(gradient.mistake) == bool(mistake)


@pytest.mark.parametrize(("ddof", "divisor", "instead"), [(0, 1, "N − 1 instead of N"), (1, 0, "N instead of N − 1")])
def test_a_variance_divided_by_another_number_of_degrees_of_freedom(ddof, divisor, instead):
    def standardize(x):
        centered = x - x.mean(axis=0)
        variance = (centered**2).sum(axis=0) / (len(x) - ddof)
        return centered / np.sqrt(variance + 1e-3)

    def path(dy, x):
        """The statistics of the forward pass, the other divisor in the derivative of the variance."""
        std = np.sqrt(x.var(axis=0, ddof=ddof) + 1e-3)
        z = (x - x.mean(axis=0)) / std
        return (dy - dy.mean(axis=0) - z * (dy * z).sum(axis=0) / (len(x) - divisor)) / std

    def whole(dy, x):
        """All of the gradient for the other variance."""
        std = np.sqrt(x.var(axis=0, ddof=divisor) + 1e-3)
        z = (x - x.mean(axis=0)) / std
        return (dy - dy.mean(axis=0) - z * (dy * z).sum(axis=0) / (len(x) - divisor)) / std

    for backward, words in ((path, "the path through "), (whole, "it is the gradient for ")):
        mistake = prove_gradient(standardize, backward, inputs={"x": ("N", "D")}).gradients["x"].mistake
        assert mistake.startswith(words)
        assert mistake.endswith(f"divided by {instead}")
    assert mistake.count("the variance in ") == 1


def test_right_values_in_another_shape_are_neither_proved_nor_refuted():
    proof = prove_gradient(forward, changed(2, lambda db, dy, c: db[None, :]), inputs=SHAPES)
    assert proof.gradients["beta"].verdict == "not proved"
    assert proof.gradients["beta"].reason == "the values are right, but the shape is (1, D) instead of (D,)"


def test_none_is_named_as_what_was_returned():
    proof = prove_gradient(forward, changed(2, lambda db, dy, c: None), inputs=SHAPES)
    assert [gradient.verdict for gradient in proof.gradients.values()] == ["proved", "proved", "not proved"]
    assert proof.gradients["beta"].reason.startswith("None was returned")


@pytest.mark.parametrize(
    ("case", "remedy"),
    [
        ("gradients stored, dx returned", "backward=lambda dy: (layer.backward(dy), layer.dgamma, layer.dbeta)"),
        ("running mean in place", "assign the result to its name"),
        ("names in another order", "Give the inputs in the order of the parameters"),
        ("dy last", "would be called as backward(dy, x)"),
    ],
)
def test_refusals_of_ordinary_code_name_the_remedy(case, remedy):
    (found,) = [one for one in REFUSED if one[0] == case]
    with pytest.raises(NotUnderstood, match=re.escape(remedy)):
        prove_gradient(found[1], found[2], inputs=found[3])


def test_an_object_with_arrays_of_a_fixed_size_is_told_of_the_sizes():
    gamma = np.ones(3)
    with pytest.raises(ValueError, match="broadcast") as raised:
        prove_gradient(lambda x: x * gamma, lambda dy, x: dy * gamma, inputs={"x": ("N", "D")})
    assert "x of shape (3, 4)" in raised.value.__notes__[0]


def test_a_loss_of_the_sum_hides_this():
    proof = prove_gradient(
        lambda p, t: ((p - t) ** 2).mean(), lambda dy, p, t: (2 * (p - t) / p.size, -2 * (p - t) / p.size),
        inputs={"p": ("N",), "t": ("N",)},
    )  # fmt: skip
    assert proof.gradients["p"].mistake == "this is right for a loss of Σy only"


INPUTS = "x: batch_size D, gamma: D, beta: D"


def test_a_function_in_a_file(tmp_path, capsys):
    file = tmp_path / "layers.py"
    file.write_text(FORWARD)
    assert main(["check", f"{file}::backward", "--forward", "forward", "--inputs", INPUTS]) == 0
    assert "dx      proved for every batch_size, D" in capsys.readouterr().out
    file.write_text(FORWARD.replace("- d.mean(axis=0)", ""))
    assert main(["check", f"{file}::backward", "--forward", "forward", "--inputs", INPUTS]) == 1
    assert "refuted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("other", ["--forward", "forward", "--inputs", INPUTS]),
        ("backward", ["--forward", "other", "--inputs", INPUTS]),
        ("backward", ["--forward", "forward"]),
        ("backward", ["--forward", "forward", "--inputs", "x N D"]),
        ("backward", ["--forward", "forward", "--inputs", "x: N, D; gamma: D"]),
        ("backward", ["--forward", "forward", "--inputs", f"{INPUTS}, x: D N"]),
        ("backward", ["--forward", "forward", "--inputs", "x: N 2D, gamma: D, beta: D"]),
        ("backward", ["--forward", "forward", "--inputs", "x: N ², gamma: D, beta: D"]),
    ],
)
def test_bad_input_has_status_2(tmp_path, capsys, name, options):
    file = tmp_path / "layers.py"
    file.write_text(FORWARD)
    assert main(["check", f"{file}::{name}", *options]) == 2
    assert "error" in capsys.readouterr().err


def test_a_backward_function_alone_is_told_what_it_lacks(tmp_path, capsys):
    file = tmp_path / "layers.py"
    file.write_text(FORWARD)
    assert main(["check", f"{file}::backward", "--inputs", INPUTS]) == 2
    assert "--forward NAME" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--target", "dgamma"], ["--elements", "q", "--forward", "f"], ["--weighted"]])
def test_options_of_formulas_are_refused_beside_a_function(tmp_path, capsys, options):
    file = tmp_path / "layers.py"
    file.write_text(FORWARD)
    with pytest.raises(SystemExit) as end:
        main(["check", f"{file}::backward", *options, "--inputs", INPUTS])
    assert end.value.code == 2
    assert "are for formulas" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["import nothing_of_this_name", "def backward(:", FORWARD.replace("mean = x", "mean = 1 / 0 + x")]
)
def test_a_file_that_fails_has_status_2(tmp_path, capsys, text):
    file = tmp_path / "layers.py"
    file.write_text(text)
    assert main(["check", f"{file}::backward", "--forward", "forward", "--inputs", INPUTS]) == 2
    assert "layers.py" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--forward", ""], ["--forward", " "], ["--elements", "t"]])
def test_half_given_options_do_not_judge_batch_normalization(capsys, options):
    with pytest.raises(SystemExit) as end:
        main(["check", "delta", *options])
    assert end.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_a_function_of_tensorflow_in_a_file_is_judged_quietly(tmp_path):
    file = tmp_path / "operations.py"
    file.write_text(
        "import tensorflow as tf\n\n\ndef norm(x):\n    return x / tf.sqrt(tf.reduce_sum(x * x, -1, keepdims=True))\n"
    )
    command = [sys.executable, "-m", "derivations", "check", f"{file}::norm", "--inputs", "x: None 4"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("dx  proved for every N1")
    assert not ended.stderr


@pytest.mark.parametrize(
    ("forward", "gradient"),
    [
        (lambda x: np.maximum(x, 0), lambda dy, x: dy * (x < 0)),
        (lambda x: np.where(x > 0, x, 0.1 * x), lambda dy, x: np.where(x > 0, -dy, 0.1 * dy)),
        (lambda x: np.where(x > 0, x, 0.1 * x), lambda dy, x: np.where(x > 0, 2 * dy, 0.7 * dy)),
    ],
)
def test_a_name_must_fit_on_both_sides_of_a_choice(forward, gradient):
    verdict = prove_gradient(forward, gradient, inputs={"x": ("N",)}).gradients["x"]
    assert (verdict.verdict, verdict.mistake) == ("refuted", "")


def test_a_name_counts_every_size():
    images = prove_gradient(
        lambda x: x.mean((0, 2, 3)),
        lambda dy, x: dy[None, :, None, None] / x.shape[0] * np.ones_like(x),
        inputs={"x": ("N", "C", "H", "W")},
    )
    assert images.gradients["x"].mistake.startswith("it is H·W times too large")

    def forward(w1, w2, x):
        a = np.tanh(w1 @ x)
        return w2 @ a, (w1, w2, x, a)

    def divided_by_m(dy, cache):
        w1, w2, x, a = cache
        d = w2.T @ dy * (1 - a * a)
        return d @ x.T / x.shape[1], dy @ a.T / x.shape[1], w1.T @ d

    proof = prove_gradient(forward, divided_by_m, inputs={"w1": ("h", "n"), "w2": ("o", "h"), "x": ("n", "m")})
    assert [v.mistake[:24] for v in proof.gradients.values()] == ["it is m times too small:"] * 2 + [""]


def of_two(forward, gradients):
    """A pair of functions of two inputs, from the gradients for a cotangent and both."""
    return lambda *both: (forward(*both), both), lambda dy, cache: gradients(dy, *cache)


ROWS = {"x": ("n", "D"), "y": ("m", "D")}
LOGITS = {"s": ("N",), "y": ("N",)}


@pytest.mark.parametrize(
    ("pair", "inputs", "wrt", "mistake"),
    [
        (
            of_two(
                lambda x, y: x.mean(0) - y.mean(0),
                lambda dy, x, y: (0 * x + dy / len(x), 0 * y - dy / len(x)),
            ),
            ROWS,
            None,
            "it is divided by n instead of m",
        ),
        (
            of_two(
                lambda x, y: x.var(0, ddof=1) - y.var(0, ddof=1),
                lambda dy, x, y: (2 * dy * (x - x.mean(0)) / (len(x) - 1), -2 * dy * (y - y.mean(0)) / (len(x) - 1)),
            ),
            ROWS,
            None,
            "it is divided by n − 1 instead of m − 1",
        ),
        (  # wrong at negative numbers alone
            of_two(
                lambda x, a: np.where(x > 0, x, a * x),
                lambda dy, x, a: (dy * np.where(x > 0, 1, a), (dy * np.where(x > 0, 0, x)).mean(0)),
            ),
            {"x": ("N", "C"), "a": ("C",)},
            None,
            "it is N times too small: a mean in the place of a sum",
        ),
        (
            of_two(
                lambda x, w: x @ w / np.sqrt(8),
                lambda dy, x, w: (dy @ w.T / np.sqrt(8), x.T @ dy),
            ),
            {"x": ("N", "D"), "w": ("D", "K")},
            None,
            "it is √8 times what it should be",
        ),
        (
            of_two(
                lambda s, y: (y * np.exp(s) + (1 - y) * np.exp(-s)) ** 2,
                lambda dy, s, y: (2 * dy * (y * np.exp(2 * s) - (1 - y) * np.exp(-2 * s)), 0 * y),
            ),
            LOGITS,
            ["s"],
            "it is right where y is 0 or 1",
        ),
        (
            of_two(
                lambda s, y: (1 - y * s) ** 2,
                lambda dy, s, y: (2 * dy * (s - y), 0 * y),
            ),
            LOGITS,
            ["s"],
            "it is right where y is −1 or 1",
        ),
    ],
)
def test_more_mistakes_have_names(pair, inputs, wrt, mistake):
    proof = prove_gradient(*pair, inputs=inputs, **({} if wrt is None else {"wrt": wrt}))
    assert proof.verdict == "refuted"
    assert f"refuted: {mistake}" in str(proof)


def test_a_sum_for_a_mean_in_one_path_and_a_size_behind_the_first():
    shapes = {"x": ("N", "D")}

    def normalized(x):
        centered = x - x.mean(1, keepdims=True)
        var = (centered**2).mean(1, keepdims=True)
        return centered / np.sqrt(var + 1), (centered, var)

    def backward(of_path):
        def of(dy, cache):
            centered, var = cache
            s = (var + 1) ** -0.5
            through_var = -(s**3) * of_path(dy * centered)
            d = dy * s + through_var * centered
            return d - d.mean(1, keepdims=True)

        return of

    right = backward(lambda product: product.mean(1, keepdims=True))
    summed = backward(lambda product: product.sum(1, keepdims=True))
    one_less = backward(lambda product: product.sum(1, keepdims=True) / (product.shape[1] - 1))
    assert prove_gradient(normalized, right, inputs=shapes)
    assert "D times too large: a sum in the place of a mean" in str(prove_gradient(normalized, summed, inputs=shapes))
    assert "divided by D − 1 instead of D" in str(prove_gradient(normalized, one_less, inputs=shapes))


def test_sigma_is_a_deviation_only_where_one_is_computed():
    def forward(w, u):
        sigma = u @ w @ u
        return w / sigma, (w, u, sigma)

    def held(dy, cache):
        _, u, sigma = cache
        return dy / sigma, 0 * u

    proof = prove_gradient(forward, held, inputs={"w": ("D", "D"), "u": ("D",)}, wrt=["w"])
    assert "was held fixed" in str(proof)
    assert "deviation" not in str(proof)
