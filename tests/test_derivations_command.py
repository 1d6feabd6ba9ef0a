"""``python -m derivations``, run as a user runs it."""

import os
import subprocess
import sys

import pytest

from derivations import __main__ as command
from derivations import steps


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    surroundings.pop("TF_CPP_MIN_LOG_LEVEL", None)  # set by the tests, not by a user
    return subprocess.run(
        [sys.executable, "-m", "derivations", *arguments], capture_output=True, text=True, env=surroundings, check=False
    )


def test_everything_is_proved_and_nothing_else_printed():
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "∂μ/∂xₖ = 1/m" in done.stdout
    assert "keras_bn.formulas.training.backward" in done.stdout
    assert "refuted" not in done.stdout
    assert "not proved" not in done.stdout
    assert done.stdout.count("proved  ") == int(done.stdout.split(" claims: ")[0].split()[-1])


def test_latex_of_one_family_without_tensorflow():
    code = (
        "import sys; from derivations.__main__ import main; status = main(['steps', '--latex']); "
        "sys.exit(status or 3 * bool({'tensorflow', 'keras', 'keras_bn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert r"\[ \frac{\partial \mu}{\partial x_{k}} = \frac{1}{m} \]" in done.stdout


def test_bad_input():
    done = run("nonsense")
    assert done.returncode == 2
    assert "there is no family nonsense: choose from steps, training" in done.stderr


def test_a_backend_that_does_not_serve():
    done = run("inference", KERAS_BACKEND="jax")
    assert done.returncode == 2
    assert "cannot import the functions to be proved" in done.stderr
    assert "KERAS_BACKEND" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_suffices():
    done = run("--help")
    assert done.returncode == 0
    for words in ("Exit status", "--latex", "moving_statistics", "TensorFlow"):
        assert words in done.stdout


def test_exit_status_of_a_wrong_step(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    right = steps.claims()
    wrong = [type(claim)(**{**vars(claim), "members": (claim.members[0], 2 * claim.members[-1])}) for claim in right]
    monkeypatch.setattr(steps, "claims", lambda: [right[0], wrong[1]])
    assert command.main(["steps"]) == 1
    printed = capsys.readouterr().out
    assert "false at the counterexample" in printed
    assert "2 claims: 1 proved, 1 refuted" in printed
