"""The benchmark's short form: that its contenders agree, and that its records have their shape; never its times."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.benchmarks import results, tables

TIMING = {"milliseconds", "quartiles", "ratio", "ratio_quartiles"}
FIELDS = {
    "step-memory": {"model", "dtype", "contender", "peak", "before"},
    "speed": {"case", "shape", "mode", "contender"} | TIMING,
    "memory": {"case", "dtype", "contender", "peak_over_input"},
    "accuracy": {"contender", "mode", "mean_over_std", "output_error", "dx_error"},
    "steps": {"model", "step", "threads", "contender", "cost"} | TIMING,
}


def command(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_short_form(tmp_path):
    file, folder = tmp_path / "results.json", tmp_path / "pictures"
    done = command("--quick", "--json", file, "--plot", folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["machine"]["cores"] >= 1
    assert {"keras", "tensorflow"} <= set(found["machine"]["versions"])
    for part, fields in FIELDS.items():
        assert found[part], part
        assert all(set(record) == fields for record in found[part]), part
        assert {"keras", "keras_bn"} <= {record["contender"] for record in found[part]}
    for part in ("speed", "steps"):
        for record in found[part]:
            low, high = record["quartiles"]
            assert 0 < low <= record["milliseconds"] <= high
            if record["contender"] == "keras":
                assert record["ratio"] == 1
    assert sorted(os.listdir(folder)) == ["accuracy.png", "memory.png", "speed.png", "step-memory.png", "steps.png"]
    for record in found["steps"]:
        low, median, high = record["cost"]
        assert low <= median <= high
        if record["contender"] == "none":
            assert median == 0
    # What a step returns is twice its input.
    peaks = {(r["contender"], r["dtype"]): r["peak_over_input"] for r in found["memory"]}
    assert 1.9 < peaks["keras_bn", "float32"] < peaks["keras", "float32"]
    errors = {(r["contender"], r["mode"], r["mean_over_std"]): r["output_error"] for r in found["accuracy"]}
    assert errors["keras_bn", "graph", 1000.0] < 1e-5 < errors["keras", "graph", 1000.0]


def test_what_was_not_measured_anew_stays(tmp_path):
    file = tmp_path / "results.json"
    machine = {"machine": {"cores": 2}, "code": "a"}
    key = {"model": "dense", "step": "train", "threads": 2}
    record = {**key, "contender": "keras", "milliseconds": 1.0}
    other = {**record, "threads": 1}
    results.write(file, {**machine, "date": "2026-01-01", "steps": [record, other], "speed": []})
    found = results.write(file, {**machine, "date": "2026-01-02", "steps": [{**record, "milliseconds": 2.0}]})
    assert found["steps"] == [{**record, "milliseconds": 2.0}, other]
    assert found["date"] == "2026-01-02"
    assert found["speed"] == []
    # Of other code, nothing stays.
    results.write(file, {**machine, "code": "b", "steps": [record]})
    assert json.loads(file.read_text()) == {**machine, "code": "b", "steps": [record]}


def test_the_stamp_changes_with_what_computes_and_not_with_its_comments(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    module = tmp_path / "keras_bn" / "batch.py"
    module.parent.mkdir()
    module.write_text('def f(x):\n    """Text."""\n    return x + 1\n')
    stamp = results.code()
    module.write_text('# Why.\ndef f(x):\n    """Other text."""\n    return (x\n            + 1)\n')
    assert results.code() == stamp
    module.write_text("def f(x):\n    return x + 2\n")
    assert results.code() != stamp


def test_the_committed_figures_are_those_of_the_code():
    measured = json.loads((results.ROOT / "notebooks" / "benchmarks.json").read_text(encoding="utf-8"))
    assert results.are_of_the_code(measured), (
        "the engines are not those that were measured: run python -m tests.renew benchmarks, on a quiet machine, or "
        "compare them with those: python -m tests.benchmarks --compare FOLDER --json notebooks/benchmarks.json"
    )


def test_figures_of_an_earlier_code_count_if_the_present_one_was_compared_with_it(tmp_path):
    file, earlier = tmp_path / "results.json", {"code": "earlier", "steps": []}
    file.write_text(json.dumps(earlier))
    assert not results.are_of_the_code(earlier)
    for compared, counts in ({"code": results.code()}, True), ({"code": "another"}, False):
        results.write_comparison(file, {"with": "earlier", **compared})
        assert results.are_of_the_code(json.loads(file.read_text())) is counts
    with pytest.raises(ValueError, match=r"code earlier\. Received: a comparison with older"):
        results.write_comparison(file, {"with": "older", "code": results.code()})


@pytest.mark.slow
def test_a_comparison_with_another_checkout(tmp_path):
    """With one in which normalization is off by one percent, which it does not time."""
    shutil.copytree(results.ROOT / "keras_bn", tmp_path / "keras_bn")
    arguments = ["--compare", tmp_path, "--models", "dense 128", "--rounds", "1"]
    same = command(*arguments)
    assert same.returncode == 0, same.stderr
    assert re.fullmatch(r"dense 128×256 +other [\d.]+× \[.*\], built_in [\d.]+× \[.*\]\n", same.stdout)
    formulas = tmp_path / "keras_bn" / "formulas" / "training.py"
    right = formulas.read_text(encoding="utf-8")
    formulas.write_text(right.replace("scale = inv_std * gamma", "scale = 1.01 * inv_std * gamma"), encoding="utf-8")
    different = command(*arguments)
    assert different.returncode == 1
    assert "dense 128×256: loss of keras_bn of the other checkout differs by" in different.stderr


@pytest.mark.parametrize("page", tables.pages(), ids=lambda path: str(path.relative_to(results.ROOT)))
def test_the_tables_are_what_was_measured(page, request):
    """``pytest --update`` writes them anew."""
    measured = json.loads((results.ROOT / "notebooks" / "benchmarks.json").read_text(encoding="utf-8"))
    expected = tables.filled(page.read_text(encoding="utf-8"), measured)
    if request.config.getoption("--update"):
        page.write_text(expected, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == expected, "a table is stale: run python -m tests.renew tables"


def test_contenders_that_differ_are_not_timed(monkeypatch, capsys):
    from tests.benchmarks import __main__, contenders, speed

    right = contenders.training_step

    def wrong(function, *arguments):
        return right(lambda x: 1.01 * function(x), *arguments)

    monkeypatch.setattr(speed, "QUICK", [speed.QUICK[0]._replace(modes=("graph",))])
    calls = iter([right, wrong, right])
    monkeypatch.setattr(contenders, "training_step", lambda *arguments: next(calls)(*arguments))
    assert __main__.main(["speed", "--quick"]) == 1
    assert "keras_bn differs by" in capsys.readouterr().err


def test_networks_that_differ_are_not_timed(monkeypatch, capsys):
    """One whose forward pass is right and whose gradient is 10 % off."""
    import tensorflow as tf

    from tests.benchmarks import __main__, networks

    @tf.custom_gradient
    def wrong(y):
        return tf.identity(y), lambda dy: 1.1 * dy

    right = networks.BareKernel.call

    def call(self, inputs, training=None, mask=None):
        return wrong(right(self, inputs, training))

    monkeypatch.setattr(networks.BareKernel, "call", call)
    command = ["steps", "--quick", "--models", "DENSE 128", "--contenders", "tf.nn.fused_batch_norm"]
    assert __main__.main(command) == 1
    assert "gradient of tf.nn.fused_batch_norm differs by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sped"], "speed"),
        (["speed", "--json", "nowhere/results.json"], "no folder nowhere"),
        (["steps", "--models", "VGG"], "--models: no name has 'VGG' in it"),
        (["speed", "--cases", "5D"], "--cases: no name has '5D' in it"),
        (["steps", "--contenders", "jax"], "no contender is called 'jax'"),
        (["--compare", "nowhere"], "--compare takes the folder of another checkout. Received: nowhere"),
        (["--compare", ".", "--models", "dense", "--json", "results.json"], "with --json it takes all networks"),
        (["--compare", ".", "--contenders", "none"], "--compare has its own contenders"),
    ],
)
def test_bad_input(arguments, said, capsys):
    from tests.benchmarks import __main__

    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
