"""Right gradients are proved, wrong ones refuted, and what is not understood is refused."""

import subprocess
import sys

import numpy as np
import pytest

from derivations import NotUnderstood, prove_gradient
from tests.student_functions import REFUSED, RIGHT, WRONG


def ids(cases):
    return [name for name, *_ in cases]


@pytest.mark.parametrize(("name", "forward", "backward", "inputs"), RIGHT, ids=ids(RIGHT))
def test_right_ones_are_proved(name, forward, backward, inputs):
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert proof
    assert proof.verdict == "proved"
    assert proof.counterexample is None


@pytest.mark.parametrize(("name", "forward", "backward", "inputs"), WRONG, ids=ids(WRONG))
def test_wrong_ones_are_refuted(name, forward, backward, inputs):
    proof = prove_gradient(forward, backward, inputs=inputs)
    assert not proof
    assert proof.verdict == "refuted"
    example = proof.counterexample
    assert example is not None
    assert example.returned != example.correct


@pytest.mark.parametrize(("name", "forward", "backward", "inputs"), REFUSED, ids=ids(REFUSED))
def test_what_is_not_understood_is_refused(name, forward, backward, inputs):
    with pytest.raises(NotUnderstood):
        prove_gradient(forward, backward, inputs=inputs)


def test_there_are_enough_functions():
    assert len(RIGHT) >= 20
    assert len(WRONG) >= 20


def test_the_refusal_names_the_line():
    with pytest.raises(NotUnderstood, match=r"test_prove_gradient\.py:\d+"):
        prove_gradient(lambda x: np.sort(x), lambda dy, x: dy, inputs={"x": ("N",)})


def test_errors_of_the_user_pass_through():
    with pytest.raises(ZeroDivisionError):
        prove_gradient(lambda x: 2 * x, lambda dy, x: 1 / 0, inputs={"x": ("N",)})


def test_the_unbiased_variance_is_proved_where_it_is_defined():
    (case,) = [case for case in RIGHT if case[0] == "unbiased"]
    proof = prove_gradient(case[1], case[2], inputs=case[3])
    assert proof.gradients["x"].conditions == ("N − 1 ≠ 0",)


def test_a_squeeze_is_proved_for_other_sizes_than_one():
    proof = prove_gradient(
        lambda x: x.mean(0, keepdims=True),
        lambda d, x: np.ones_like(x) * np.squeeze(d) / x.shape[0],
        inputs={"x": ("N", "D")},
    )
    assert str(proof) == "dx  proved for every N, D where D ≠ 1"


def test_right_for_small_batches_only():
    (case,) = [case for case in WRONG if case[0] == "right for N<=3"]
    proof = prove_gradient(case[1], case[2], inputs=case[3])
    assert proof.counterexample.sizes["N"] == 4
    assert proof.gradients["gamma"]
    assert proof.gradients["beta"]


def test_state_is_put_back():
    state = {"calls": 0}

    def forward(x):
        state["calls"] += 1
        return x * 2

    assert prove_gradient(forward, lambda dy, x: 2 * dy, inputs={"x": ("N",)})
    assert state == {"calls": 0}


def test_the_counterexample_can_be_pasted():
    proof = prove_gradient(lambda x: x**3, lambda dy, x: 3 * x * dy, inputs={"x": ("N",)})
    namespace = {"np": np}
    for line in proof.counterexample.lines("x"):
        name, _, value = line.partition(" = ")
        namespace[name.split()[0]] = eval(value, {"np": np})
    np.testing.assert_allclose(namespace["returned"], 3 * namespace["x"] * namespace["dy"])
    np.testing.assert_allclose(namespace["correct"], 3 * namespace["x"] ** 2 * namespace["dy"])


def test_it_is_shown_in_notebooks():
    proof = prove_gradient(lambda x: x * x, lambda dy, x: 2 * x * dy, inputs={"x": ("N",)})
    assert "proved for every N" in proof._repr_html_()
    assert r"\frac{\partial L}{\partial \mathrm{x}}" in proof._repr_latex_()


@pytest.mark.parametrize("inputs", [{}, {"x": "N"}, {"x": (0,)}, {"x": (True,)}, {"x": (1.5,)}, {3: ("N",)}, None])
def test_shapes_are_checked(inputs):
    with pytest.raises(NotUnderstood):
        prove_gradient(lambda x: x, lambda dy, x: dy, inputs=inputs)


def test_numpy_code_needs_no_tensorflow():
    program = (
        "import sys; from derivations import prove_gradient; "
        "assert prove_gradient(lambda x: x * x, lambda dy, x: 2 * x * dy, inputs={'x': ('N',)}); "
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_shape_in_one_text_is_answered_by_the_tuple():
    with pytest.raises(NotUnderstood, match=r"as in \('N', 'D'\)"):
        prove_gradient(lambda x: x, lambda dy, x: dy, inputs={"x": "N D"})


def test_as_many_sizes_as_one_likes():
    letters = "ABCDEFGHI"
    proof = prove_gradient(
        lambda *xs: sum(x.sum() for x in xs),
        lambda dy, *xs: [dy * np.ones_like(x) for x in xs],
        inputs={letter.lower(): (letter,) for letter in letters},
        pass_inputs=True,
    )
    assert proof


def test_a_divisor_that_cannot_be_inverted_is_no_traceback():
    def backward(dy, x):
        return 2 * dy + 0 / (x - x.mean())

    try:
        proof = prove_gradient(lambda x: 2 * x, backward, inputs={"x": ("N",)})
    except NotUnderstood:
        return
    assert proof.verdict in ("proved", "not proved")
