"""``python -m keras_bn``: its arguments, and that each of its checks can fail."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from derivations.claims.steps import numeric_gradients
from keras_bn import BatchNormalization, __main__, progress
from keras_bn.guided_run import agreement, checks, run, training

ORACLES = {
    "derivation": checks.derivation_oracle(numeric_gradients()),
    "autodiff": checks.autodiff_oracle,
    "differences": checks.differences_oracle,
}
CASES = list(checks.make_cases(seed=0))
# Columns of a terminal that the run's widest line may take.
WIDTH = 110


@pytest.fixture(scope="module")
def digits():
    return training.load_digits()


# Arguments


def error_of(capsys, *arguments):
    """The line on stderr of a command that refuses its arguments before any work."""
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (["--epochs", "-3"], "at least 1. Received: -3"),
        (["--epochs", "0"], "at least 1. Received: 0"),
        (["--epochs", "many"], "at least 1. Received: many"),
        (["--seed", "-1"], "at least 0. Received: -1"),
        (["--seed", "1.5"], "at least 0. Received: 1.5"),
        (["--sead", "1"], "--sead"),
        (["--output"], "--output"),
    ],
)
def test_bad_arguments(capsys, arguments, received):
    assert received in error_of(capsys, *arguments)


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_output_that_cannot_be_a_directory(capsys, tmp_path, output):
    (tmp_path / "file").touch()
    error = error_of(capsys, "--output", str(tmp_path / output))
    assert str(tmp_path / output) in error
    assert "--output" in error


def test_missing_optional_packages(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(__main__, "find_spec", lambda module: None)
    error = error_of(capsys, "--output", str(tmp_path / "new"))
    assert "python -m pip install matplotlib scikit-learn" in error
    assert not (tmp_path / "new").exists()


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--output", "--epochs", "--seed", "--quick", "--verbose", "Exit status"))


# Progress


def test_a_step_in_a_file_is_its_label_and_its_result(capsys):
    with progress.step("working", parts=2) as step:
        step.advance()
        step.result = "done"
    assert capsys.readouterr().out == "working done\n"


def test_a_step_on_a_terminal_shows_a_bar_and_leaves_its_result(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.step("working", parts=2) as step:
        step.advance()
        step.result = "done"
    assert "1/2" in terminal.getvalue()
    assert terminal.getvalue().endswith("working done\n")


def run_task(parts=3):
    with progress.task("counting", parts, "sheep") as advance:
        for _ in range(parts):
            advance()


def test_a_task_speaks_after_its_patience_and_can_be_silenced(capsys, monkeypatch):
    run_task()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    run_task()
    out = capsys.readouterr().out
    assert out.startswith("counting\n3/3 - 0s")
    assert "/sheep" in out
    keras.config.disable_interactive_logging()
    try:
        run_task()
    finally:
        keras.config.enable_interactive_logging()
    assert capsys.readouterr().out == ""


# Checks


def held(case, oracle, under_test):
    return all(row.held for rows in checks.check([case], {oracle: ORACLES[oracle]}, under_test) for row in rows)


def mutated(**changes):
    """The layer's gradients, with some replaced by a function of case and gradients."""

    def gradients(case):
        right = checks.layer_gradients(case)
        return right._replace(**{name: change(case, right) for name, change in changes.items()})

    return gradients


def without_mean_term(case, gradients):
    """Dx without −γ·s·dβ/m."""
    axes = tuple(axis for axis in range(case.x.ndim) if axis != case.axis % case.x.ndim)
    along_channels = [1] * case.x.ndim
    along_channels[case.axis] = -1
    inv_std = 1 / np.sqrt(case.x.var(axis=axes) + case.epsilon)
    return gradients.x + (case.gamma * inv_std * case.dy.mean(axis=axes)).reshape(along_channels)


WRONG = {
    "dx: a term dropped": mutated(x=without_mean_term),
    "dx: sign": mutated(x=lambda _, right: -right.x),
    "dx: ×1.001": mutated(x=lambda _, right: right.x * 1.001),
    "dx: NaN": mutated(x=lambda _, right: right.x * np.nan),
    "dγ: sign": mutated(gamma=lambda _, right: -right.gamma),
    "dγ: ×1.001": mutated(gamma=lambda _, right: right.gamma * 1.001),
    "dγ and dβ exchanged": mutated(gamma=lambda _, right: right.beta, beta=lambda _, right: right.gamma),
    "dβ: sign": mutated(beta=lambda _, right: -right.beta),
    "dβ: ×1.001": mutated(beta=lambda _, right: right.beta * 1.001),
    "dβ: one channel": mutated(beta=lambda _, right: right.beta * [1, 1, 1.001]),
}


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.dtype}-{case.x.shape}-{case.axis}")
def test_right_gradients_hold(case, oracle):
    assert held(case, oracle, checks.layer_gradients)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("case", CASES[4:6], ids=lambda case: case.dtype)
def test_wrong_gradients_do_not_hold(case, wrong, oracle):
    assert not held(case, oracle, wrong)


def test_cases_vary_with_the_seed():
    assert not np.array_equal(CASES[0].x, next(checks.make_cases(seed=1)).x)
    assert {(case.x.ndim, case.axis, case.dtype) for case in CASES} == {
        (rank, axis, dtype) for rank in (2, 3, 4) for axis in (-1, 1) for dtype in ("float32", "float64")
    }


def test_table_shows_the_largest_error_and_what_exceeds():
    rows = [
        checks.Row("autodiff", "float64", (2, 3), -1, gradient, error, checks.Tolerance(1e-12, "because"))
        for error in (1e-15, 5e-10, 2e-15)
        for gradient in ("dx", "dγ", "dβ")
    ]
    _, line = checks.table(rows)
    assert "5.0e-10" in line
    assert "because" in line
    assert "EXCEEDED" in line
    assert [row.error for row in checks.largest([*rows, rows[0]._replace(error=float("nan"))])][1:] == [5e-10, 5e-10]
    assert not checks.largest([*rows, rows[0]._replace(error=float("nan"))])[0].held


def test_the_whole_table_fits_a_screen():
    rows = [
        checks.Row(oracle, dtype, (2, 3), -1, gradient, 1e-15, checks.tolerance(oracle, dtype))
        for oracle in ORACLES
        for dtype in checks.DTYPES
        for gradient in ("dx", "dγ", "dβ")
    ]
    assert max(map(len, checks.table(rows))) <= WIDTH - 4, "the run indents it by four"


# Training


def test_digits_are_split_the_same_way_every_time(digits):
    assert (len(digits.train_labels), len(digits.test_labels)) == (1437, 360)
    assert set(digits.test_labels) == set(range(10))
    assert digits.train_images.min() == 0
    assert digits.train_images.max() == 1
    for one, other in zip(digits, training.load_digits(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_order_depends_on_seed_and_epoch_only(digits):
    def labels(seed, epoch):
        return np.concatenate([labels for _, labels in training.batches(digits, seed, epoch)])

    np.testing.assert_array_equal(labels(0, 1), labels(0, 1))
    assert not np.array_equal(labels(0, 1), labels(0, 2))
    assert not np.array_equal(labels(0, 1), labels(1, 1))


def test_variants_and_dtypes_start_from_the_same_kernels():
    def kernels(variant, dtype, seed):
        trainer = training.Trainer(training.dense_network, variant, dtype)
        trainer.reset(seed)
        return np.concatenate(
            [np.ravel(variable) for variable in trainer.model.variables if variable.path.endswith("/kernel")]
        )

    first = kernels(training.OURS, "float32", seed=3)
    for variant in training.VARIANTS:
        np.testing.assert_array_equal(kernels(variant, "float64", seed=3), first)
    assert not np.array_equal(kernels(training.OURS, "float32", seed=4), first)


def test_a_reset_trainer_repeats_its_training(digits):
    trainer = training.Trainer(training.dense_network, training.OURS)
    first, second = ([epoch[:3] for epoch in training.train(trainer, digits, seed=5, epochs=2)] for _ in range(2))
    assert first == second
    assert first[1][0] < first[0][0]


# Agreement


def compare(digits, monkeypatch, layer):
    monkeypatch.setitem(training._LAYERS, training.OURS, layer)
    comparison = agreement.Comparison(training.dense_network)
    return agreement.summarize(list(comparison.run(digits, seed=0, epochs=1)))


class OtherEpsilon(BatchNormalization):
    def __init__(self, *, epsilon, **kwargs):
        super().__init__(epsilon=epsilon * (1 + 1e-5), **kwargs)


class WrongGradient(BatchNormalization):
    """Right outputs, and gradients of x that are wrong by 10⁻⁶ of themselves."""

    def call(self, inputs, training=None, mask=None):
        @tf.custom_gradient
        def identity(x):
            return tf.identity(x), lambda dx: dx * (1 + 1e-6)

        return super().call(identity(inputs), training=training, mask=mask)


class Inaccurate(BatchNormalization):
    """Right in float64; loses seven of the 24 bits in float32."""

    def call(self, inputs, training=None, mask=None):
        @tf.custom_gradient
        def rounded(y):
            return tf.bitcast(tf.bitcast(y, tf.int32) & -(1 << 7), tf.float32), lambda dy: dy

        y = super().call(inputs, training=training, mask=mask)
        return rounded(y) if y.dtype == tf.float32 else y


def test_agreement_holds_for_the_layer(digits, monkeypatch):
    assert compare(digits, monkeypatch, BatchNormalization).held


@pytest.mark.parametrize(
    ("layer", "exceeded"),
    [
        pytest.param(OtherEpsilon, lambda verdict: verdict.loss > agreement.LOSS_TOLERANCE, marks=pytest.mark.slow),
        (WrongGradient, lambda verdict: verdict.gradient > agreement.GRADIENT_TOLERANCE),
        (Inaccurate, lambda verdict: verdict.loss < agreement.LOSS_TOLERANCE and verdict.ratio > 2),
    ],
)
def test_agreement_does_not_hold_for_a_perturbed_layer(digits, monkeypatch, layer, exceeded):
    verdict = compare(digits, monkeypatch, layer)
    assert exceeded(verdict)
    assert not verdict.held


@pytest.mark.parametrize("position", range(4))
def test_agreement_does_not_hold_with_nan(position):
    step = [0.0, 0.0, 1e-7, 1e-7]
    step[position] = float("nan")
    assert not agreement.summarize([agreement.Step(*step)]).held


def test_jumps_of_single_runs_do_not_decide():
    calm, jump = agreement.Step(0.0, 0.0, 1e-7, 1e-7), agreement.Step(0.0, 0.0, 1e-3, 1e-7)
    assert agreement.summarize([calm] * 3 + [jump] * 2).held
    assert not agreement.summarize([calm] * 2 + [jump] * 3).held


# The whole


def proof(proved=True):
    verdict = "proved" if proved else "not proved"
    return run.Proof("steps.mean", "∂μ/∂xₖ = 1/m", verdict, proved, 0.1, f"{verdict}  the mean")


def small_run(monkeypatch, directory, proofs, expressions, images=None):
    monkeypatch.setattr(training, "NETWORKS", {"dense": training.dense_network})
    if images is not None:
        few = training.Digits(*(part[:images] for part in training.load_digits()))
        monkeypatch.setattr(training, "load_digits", lambda: few)
        monkeypatch.setattr(checks, "make_cases", lambda seed: iter(CASES[:1]))
    chosen = run.Options(directory, epochs=1, seed=2, agreement_epochs=1, agreement_seeds=1)
    good = run.run(chosen, [run.Family("The family", len(proofs), proofs)], expressions)
    return good, json.loads((directory / run.RESULTS).read_text(encoding="utf-8"))


def test_results_are_complete(monkeypatch, tmp_path, capsys):
    good, results = small_run(monkeypatch, tmp_path, [proof()], numeric_gradients())
    assert good
    assert results["held"] == {"proofs": True, "checks": True, "agreement": True}
    assert results["options"] == {
        "output": str(tmp_path),
        "epochs": 1,
        "seed": 2,
        "agreement_epochs": 1,
        "agreement_seeds": 1,
        "verbose": False,
    }
    assert results["versions"]["tensorflow"] == tf.__version__
    assert results["proofs"] == [proof()._asdict()]
    assert len(results["checks"]) == len(CASES) * len(ORACLES) * 3
    assert set(results["checks"][0]) == {
        "oracle", "dtype", "shape", "axis", "gradient", "error", "tolerance", "reason", "held"
    }  # fmt: skip
    assert set(results["training"]["dense"]) == set(training.VARIANTS)
    assert [set(epoch) for epoch in results["training"]["dense"]["none"]] == [set(training.Epoch._fields)]
    assert set(results["agreement"]["dense"]) == {*agreement.Agreement._fields, "held", "allowed", "steps"}
    assert len(results["agreement"]["dense"]["steps"][0]) == 1437 // training.BATCH_SIZE
    assert (tmp_path / run.PICTURE).read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert str(tmp_path / run.PICTURE) in out
    assert str(tmp_path / run.RESULTS) in out
    assert re.search(r"^  The family +1 of  1 proved +\d+\.\d s$", out, re.MULTILINE)
    # What is proved is in the results; on the terminal, where it is asked for.
    assert proof().line not in out
    run._prove([run.Family("The family", 1, [proof()])], verbose=True)
    assert proof().line in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_without_claims_fails(monkeypatch, tmp_path, capsys):
    good, results = small_run(monkeypatch, tmp_path, [], numeric_gradients(), images=128)
    assert not good
    assert results["held"] == {"proofs": False, "checks": True, "agreement": True}
    assert "did NOT hold: proofs" in capsys.readouterr().out


def test_a_claim_that_is_not_proved_and_an_oracle_that_disagrees_fail(monkeypatch, tmp_path, capsys):
    right, proofs = numeric_gradients(), [proof(), proof(proved=False)]

    def wrong(*arguments):
        dx, d_gamma, d_beta = right(*arguments)
        return dx, d_gamma * 1.001, d_beta

    good, results = small_run(monkeypatch, tmp_path, proofs, wrong, images=128)
    assert not good
    assert results["held"] == {"proofs": False, "checks": False, "agreement": True}
    out = capsys.readouterr().out
    assert "did NOT hold: proofs, checks" in out
    assert proofs[1].line in out


@pytest.mark.slow
def test_the_command(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    finished = subprocess.run(
        [sys.executable, "-m", "keras_bn", "--quick", "--output", str(tmp_path / "new" / "results")],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    assert {path.name for path in (tmp_path / "new" / "results").iterdir()} == {run.PICTURE, run.RESULTS}
    for part in ("1. Prove", "2. Check", "3. Train", "4. Draw", "All proofs and checks held."):
        assert part in finished.stdout
    # The length of the path is the user's choice, not the command's.
    lines = finished.stdout.replace(str(tmp_path), "").splitlines()
    assert len(lines) <= 48, "one screen"
    assert max(map(len, lines)) <= WIDTH
