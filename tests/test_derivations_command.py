"""``python -m derivations``, run as a user runs it."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from derivations import __main__ as command
from derivations.claims import steps


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    surroundings.pop("TF_CPP_MIN_LOG_LEVEL", None)  # set by the tests, not by a user
    return subprocess.run(
        [sys.executable, "-m", "derivations", *arguments], capture_output=True, text=True, env=surroundings, check=False
    )


def test_what_ships_is_proved_and_nothing_else_printed(tmp_path: Path):
    file = tmp_path / "verdicts.json"
    done = run("steps", "training", "inference", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "∂μ/∂xₖ = 1/m" in done.stdout
    assert "keras_bn.formulas.training.backward" in done.stdout
    assert "refuted" not in done.stdout
    assert "not proved" not in done.stdout
    assert done.stdout.count("proved  ") == int(done.stdout.split(" claims: ")[0].split()[-1])
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert {entry["verdict"] for entry in kept} == {"proved"}
    assert len({entry["identifier"] for entry in kept}) == len(kept) == done.stdout.count("proved  ")


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
    for words in ("Exit status", "check", "list", "moving_statistics"):
        assert words in done.stdout
    for subcommand, words in (("prove", "--latex"), ("check", "--target"), ("list", "without settling")):
        assert words in run(subcommand, "--help").stdout


def test_exit_status_of_a_wrong_step(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    right = steps.claims()
    wrong = [type(claim)(**{**vars(claim), "members": (claim.members[0], 2 * claim.members[-1])}) for claim in right]
    monkeypatch.setattr(steps, "claims", lambda: [right[0], wrong[1]])
    assert command.main(["steps"]) == 1
    printed = capsys.readouterr().out
    assert "false at the counterexample" in printed
    assert "2 claims: 1 proved, 1 refuted" in printed


def test_the_steps_of_one_claim(capsys: pytest.CaptureFixture[str]):
    assert command.main(["prove", "steps.variance", "--steps"]) == 0
    printed = capsys.readouterr().out
    assert "The mean depends on x_k too" in printed
    assert "both sides have one normal form" in printed
    assert re.search(r"a false claim passes with a probability below \de-1[3-9]", printed)
    assert "1 claim: 1 proved" in printed


def test_an_unknown_claim():
    done = run("prove", "steps.nonsense")
    assert done.returncode == 2
    assert "there is no claim steps.nonsense" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", [["prove", "--json"], ["report", "--html"], ["report", "--markdown"]])
def test_a_file_that_cannot_be_written_is_found_before_the_work(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command, "_chosen", lambda *arguments: pytest.fail("the work has begun"))
    (tmp_path / "kept").write_text("", encoding="utf-8")

    def error(file: Path) -> str:
        with pytest.raises(SystemExit) as caught:
            command.main([*option, str(file)])
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert f"there is no directory {tmp_path / 'no'}; create it first" in error(tmp_path / "no" / "file")
    assert f"there is no directory {tmp_path / 'kept'};" in error(tmp_path / "kept" / "file")
    assert f"cannot write {tmp_path}: it is a directory; name a file in it" in error(tmp_path)
    monkeypatch.setattr("os.access", lambda *arguments: False)  # root may write anywhere
    for name in ("kept", "new"):
        assert "no permission; choose a place where you may write" in error(tmp_path / name)


def test_what_was_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "FAMILIES", {"steps": "derivations.claims.steps"})
    files = [tmp_path / "page.html", tmp_path / "text.md"]
    assert command.main(["report", "--no-mutants", "--html", str(files[0]), "--markdown", str(files[1])]) == 0
    printed = capsys.readouterr().out
    for file in files:
        assert f"Wrote {file} ({file.stat().st_size / 1000:.0f} kB)." in printed


def test_list_settles_nothing(capsys: pytest.CaptureFixture[str]):
    assert command.main(["list", "steps"]) == 0
    printed = capsys.readouterr().out
    assert "steps.jacobian\n    ∂x̂ᵢ/∂xₖ = " in printed
    assert "proved" not in printed


def test_check_is_quick_and_imports_neither_tensorflow_nor_keras_bn():
    code = (
        "import sys; from derivations.__main__ import main; status = main(['check', sys.argv[1]]); "
        "sys.exit(9 if {'tensorflow', 'keras', 'keras_bn'} & set(sys.modules) else status)"
    )
    for formula, status, verdict in (
        ("gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))", 0, "proved for every batch size m"),
        ("gamma*s*(delta - mean(delta))", 1, "refuted"),
    ):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, formula], capture_output=True, encoding="utf-8", check=False)
        assert time.perf_counter() - start < 10  # 2 s on a quiet machine
        assert done.returncode == status, done.stderr
        assert done.stdout.startswith(verdict)


def test_a_formula_that_begins_with_a_minus():
    done = run("check", "-gamma*s*sum(delta)", "--target", "dmean")
    assert done.returncode == 0, done.stderr
    assert "proved" in done.stdout


def test_a_formula_that_is_defined_nowhere_is_refused():
    done = run("check", "--target", "dx_hat", "-gamma*delta*sqrt(-1)**2")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "defined nowhere" in done.stderr
    assert done.stderr.splitlines()[2].index("^") == done.stderr.splitlines()[1].index("sqrt")


def test_check_points_at_the_character():
    done = run("check", "gamma*q")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "there is no 'q'" in done.stderr
    assert done.stderr.splitlines()[2].index("^") == done.stderr.splitlines()[1].index("q")
    weighted = run("check", "--weighted", "--target", "dgamma", "sum(delta*x_hat) + 0*w/W")
    assert weighted.returncode == 0, weighted.stderr


def test_families_that_are_said_to_do_without_tensorflow_do():
    """All of them in one process, and then one that needs it."""
    program = (
        "import sys; from derivations import WITHOUT_TENSORFLOW, prove\n"
        "list(prove(sorted(WITHOUT_TENSORFLOW))); print('tensorflow' in sys.modules)\n"
        "list(prove(['inference'])); print('tensorflow' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["False", "True"]


def test_a_second_process_settles_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    printed = []
    for cores in (1, 2):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert command.main(["prove", "forms", "degenerate", "steps.mean"]) == 0
        printed.append(re.sub(r" +[\d.]+ m?s\b", "", capsys.readouterr().out))  # but for the times
    assert printed[0] == printed[1]
    assert "Other forms" in printed[0]
