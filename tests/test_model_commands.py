"""``python -m keras_bn convert|fold|recalibrate|inspect`` on files."""

import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import keras_bn
from keras_bn import BatchNormalization, __main__
from keras_bn.model_tools import model_files

X = np.random.default_rng(0).normal(2, 3, size=(50, 4)).astype("float32")


@pytest.fixture
def file(tmp_path):
    norm = keras.layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3), norm, keras.layers.Dense(2)])
    model(X, training=True)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=X, y=np.zeros(50))
    return tmp_path / "model.keras"


def run(*arguments):
    return __main__.main([str(argument) for argument in arguments])


def fails(capsys, status, *arguments):
    """The line on stderr of a command that fails."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == status
    error = capsys.readouterr().err
    assert error.startswith("python -m keras_bn")
    return error


def test_convert_and_back(file, tmp_path, capsys):
    assert (
        run("convert", file, tmp_path / "ours.keras", "--set", "virtual_batch_size=8", "--set", "engine=closed_form")
        == 0
    )
    assert "1 of 1 batch normalizations are ours now" in capsys.readouterr().out
    ours, before = keras.models.load_model(tmp_path / "ours.keras"), keras.models.load_model(file)
    norm = ours.get_layer("norm")
    assert type(norm) is BatchNormalization
    assert (norm.virtual_batch_size, norm.engine) == (8, "closed_form")
    np.testing.assert_allclose(ours(X), before(X), rtol=1e-5, atol=1e-5)
    error = fails(capsys, 1, "convert", tmp_path / "ours.keras", "--revert")
    assert "norm: virtual_batch_size=8" in error
    assert "--lossy on the command line" in error
    assert not (tmp_path / "ours_reverted.keras").exists()
    assert run("convert", tmp_path / "ours.keras", "--revert", "--lossy") == 0
    out = capsys.readouterr().out
    assert "1 of 1 batch normalizations are built-in now" in out
    assert "virtual_batch_size=8" in out
    back = keras.models.load_model(tmp_path / "ours_reverted.keras")
    assert type(back.get_layer("norm")) is keras.layers.BatchNormalization
    np.testing.assert_array_equal(back(X), before(X))


def test_fold(file, capsys):
    assert run("fold", file) == 0
    assert "norm  into dense" in capsys.readouterr().out
    folded = keras.models.load_model(file.with_name("model_folded.keras"))
    assert len(folded.layers) == 2
    np.testing.assert_allclose(folded(X), keras.models.load_model(file)(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [[], ["--batch-size", "7"], ["--key", "x"]], ids=str)
def test_recalibrate(file, options):
    assert run("recalibrate", file, "--data", file.with_name("data.npz"), *options) == 0
    new = keras.models.load_model(file.with_name("model_recalibrated.keras"))
    inputs = new.layers[0](X).numpy().astype("float64")
    np.testing.assert_allclose(new.get_layer("norm").moving_mean, inputs.mean(0), rtol=1e-5)
    np.testing.assert_allclose(new.get_layer("norm").moving_variance, inputs.var(0), rtol=1e-5)


@pytest.mark.parametrize("command", ["convert", "fold"])
def test_what_layers_adapt_is_in_the_file(tmp_path, capsys, command):
    scaling, words = keras.layers.Normalization(), keras.layers.TextVectorization(output_sequence_length=3)
    scaling.adapt(5 * X + 7)
    words.adapt(["red", "green green blue"])
    inputs = [keras.Input((4,), name="numbers"), keras.Input((1,), dtype="string", name="text")]
    h = keras.layers.Concatenate()(
        [scaling(inputs[0]), keras.layers.Flatten()(keras.layers.Embedding(9, 2)(words(inputs[1])))]
    )
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(2)(h)))
    model.save(tmp_path / "model.keras")
    assert run(command, tmp_path / "model.keras", tmp_path / "new.keras") == 0
    assert "(outputs are equal to " in capsys.readouterr().out
    x = [keras.ops.convert_to_tensor(v) for v in (5 * X[:2] + 7, [["red blue"], ["unseen green"]])]
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "new.keras")(x), model(x), rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable("tests")
class Secretive(keras.layers.Layer):
    """A layer that computes with what it tells nobody."""

    factor = 1.0

    def build(self, shape):
        self.factor = float(next(FACTORS))

    def call(self, x):
        return self.factor * x


FACTORS = iter(range(1, 100))


@pytest.mark.parametrize("command", ["convert", "fold"])
def test_a_file_that_computes_something_else_is_not_written(tmp_path, capsys, command):
    layers = [Secretive(name="secretive"), keras.layers.Dense(2), keras.layers.BatchNormalization()]
    keras.Sequential([keras.Input((4,)), *layers]).save(tmp_path / "model.keras")
    error = fails(capsys, 1, command, tmp_path / "model.keras", tmp_path / "new.keras")
    assert "does not compute what sequential" in error
    assert "Nothing was written" in error
    assert not (tmp_path / "new.keras").exists()


def test_options_act(file, capsys):
    for option, name, value in (("trainable=false", "trainable", False), ("epsilon=0.5", "epsilon", 0.5)):
        assert run("convert", file, file.with_name("new.keras"), "--set", option, "--force") == 0
        assert getattr(keras.models.load_model(file.with_name("new.keras")).get_layer("norm"), name) == value


def test_inspect(tmp_path, capsys):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            BatchNormalization(name="a", activation="relu"),
            keras.layers.BatchNormalization(name="b", trainable=False),
        ]
    )
    model.get_layer("a").gamma.assign([0, 1, 2, 3])
    model.get_layer("a").moving_mean.assign([-1, 2, 3, np.nan])
    model.save(tmp_path / "model.keras")
    assert run("inspect", tmp_path / "model.keras") == 0
    lines = capsys.readouterr().out.splitlines()
    [a] = [line for line in lines if line.startswith("a ")]
    [b] = [line for line in lines if line.startswith("b ")]
    assert "ours + relu" in a
    assert "0 … 3" in a
    assert a.endswith("not finite in channel 3, 1 dead")
    assert "built-in" in b
    assert b.split()[3] == "no"
    assert b.endswith("statistics never updated")
    assert lines[-1] == "2 batch normalizations, 0 of them ok"


def test_nothing_is_overwritten_without_force(file, capsys):
    target = file.with_name("out.keras")
    target.write_text("precious")
    error = fails(capsys, 2, "fold", file, target)
    assert "out.keras exists" in error
    assert "--force" in error
    assert target.read_text() == "precious"
    assert run("fold", file, target, "--force") == 0
    assert len(keras.models.load_model(target).layers) == 2
    assert {path.name for path in file.parent.iterdir()} == {"model.keras", "data.npz", "out.keras"}


def test_a_file_that_comes_about_meanwhile_is_not_overwritten(file):
    model = keras.models.load_model(file)
    with pytest.raises(FileExistsError, match="--force"):
        model_files.save(model, file, model)


def test_a_failing_save_leaves_what_was_there(file, monkeypatch, capsys):
    def fail(model, path):
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(keras.Model, "save", fail)
    before = file.read_bytes()
    assert f"{file} could not be written: disk full" in fails(capsys, 1, "fold", file, file, "--force")
    assert file.read_bytes() == before
    assert {path.name for path in file.parent.iterdir()} == {"model.keras", "data.npz"}


def test_lambdas_are_not_loaded(tmp_path, capsys):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1), BatchNormalization()])
    model.save(tmp_path / "model.keras")
    for tool in ("convert", "fold", "inspect"):
        assert "holds Python code, as a Lambda layer does" in fails(capsys, 1, tool, tmp_path / "model.keras")
    assert len(list(tmp_path.iterdir())) == 1


def test_classes_that_only_the_users_code_defines(tmp_path, capsys):
    class OnlyHere(keras.layers.Layer):
        def call(self, x):
            return x

    keras.Sequential([keras.Input((2,)), OnlyHere(), BatchNormalization()]).save(tmp_path / "model.keras")
    error = fails(capsys, 1, "inspect", tmp_path / "model.keras")
    assert "needs class 'OnlyHere', which only your code defines" in error


def test_pickles_are_not_loaded(file, capsys):
    np.savez(file.with_name("data.npz"), x=np.array([{"a": 1}], dtype=object))
    assert "allow_pickle" in fails(capsys, 1, "recalibrate", file, "--data", file.with_name("data.npz"))


@pytest.mark.parametrize(
    ("arguments", "status", "received"),
    [
        (["inspect", "missing.keras"], 2, "missing.keras is not there"),
        (["convert", "model.h5"], 2, r"model.h5 must be a file in Keras' own format"),
        (["convert", "model.keras", "out.h5"], 2, "out.h5 must be named"),
        (["convert", "model.keras", "no/out.keras"], 2, "directory no is not there"),
        (["convert", "model.keras", "a.keras"], 2, "a.keras is a directory"),
        (["convert", "model.keras", "a.keras", "--force"], 2, "a.keras is a directory"),
        (["convert", "model.keras", "/proc/out.keras"], 2, "cannot write to /proc"),
        (["convert", "model.keras", "--set", "engine"], 2, "Received: --set engine"),
        (["convert", "model.keras", "--set", "epsilon=-1"], 2, "epsilon=-1"),
        (["convert", "model.keras", "--set", "epsilon=big"], 2, "epsilon must be a finite number"),
        (["convert", "model.keras", "--set", "no_such=1"], 2, "no_such=1"),
        (["convert", "model.keras", "--set", "axis=1"], 2, "keeps the channels of the layers. Received: axis=1"),
        (["convert", "model.keras", "--set", "unbiased_variance=maybe"], 2, "unbiased_variance='maybe'"),
        (["convert", "model.keras", "--set", "engine=auto", "--revert"], 2, "--revert takes no options"),
        (["convert", "model.keras", "--lossy"], 2, "--lossy without it"),
        (["recalibrate", "model.keras"], 2, "--data"),
        (["recalibrate", "model.keras", "--data", "missing.npz"], 2, "missing.npz is not there"),
        (["recalibrate", "model.keras", "--data", "data.npz", "--key", "z"], 1, "Received: --key z"),
        (["recalibrate", "model.keras", "--data", "model.keras"], 1, "model.keras"),
        (["recalibrate", "model.keras", "--data", "data.npz", "--steps", "99"], 1, "Received: 2"),
        (
            ["recalibrate", "model.keras", "--data", "wrong.npz"],
            1,
            "must have the shape (samples, 4). Received: (50, 3)",
        ),
        (["recalibrate", "model.keras", "--data", "words.npz"], 1, "must hold numbers. Received: dtype=<U1"),
        (["recalibrate", "model.keras", "--data", "data.npy"], 1, "data.npy must be an NPZ file"),
        (["fold", "broken.keras"], 1, "broken.keras is damaged"),
        (["inspect", "half.keras"], 1, "half.keras is damaged"),
        (["convert", "plain.keras"], 1, "plain.keras has no batch normalization"),
        (["explode", "model.keras"], 2, "explode"),
    ],
    ids=str,
)
def test_errors(file, capsys, monkeypatch, arguments, status, received):
    monkeypatch.chdir(file.parent)
    (file.parent / "a.keras").mkdir()
    (file.parent / "broken.keras").write_text("no archive")
    (file.parent / "half.keras").write_bytes(file.read_bytes()[:5000])
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save("plain.keras")
    np.savez("wrong.npz", x=X[:, :3])
    np.savez("words.npz", x=np.array(["a", "b"]))
    np.save("data.npy", X)
    assert received in fails(capsys, status, *arguments)


def test_a_reader_that_leaves_early(file):
    """As in ``inspect … | head -1``."""
    command = [sys.executable, "-m", "keras_bn", "inspect", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["convert", "fold", "inspect"])
def test_a_model_that_is_not_built_says_so(tmp_path, capsys, command):
    model = keras.Sequential([keras.layers.Dense(2), keras.layers.BatchNormalization()])
    with pytest.warns(UserWarning, match="not yet been built"):  # so does Keras
        model.save(tmp_path / "model.keras")
    assert "not built" in fails(capsys, 1, command, tmp_path / "model.keras")


def test_as_a_process(file):
    def process(*arguments):
        command = [sys.executable, "-m", "keras_bn", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=200, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "0"}
        )

    good, bad = process("inspect", file), process("inspect", file.with_name("missing.keras"))
    assert (good.returncode, good.stderr) == (0, "")
    assert "norm" in good.stdout
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert "is not there" in bad.stderr


@pytest.mark.parametrize(
    ("member", "content"),
    [("config.json", b"{x"), ("model.weights.h5", b"no HDF5"), ("config.json", None), ("model.weights.h5", None)],
)
def test_an_archive_with_a_damaged_member_is_named(member, content, file, capsys):
    broken = file.parent / "damaged.keras"
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(broken, "w") as damaged:
        for name in whole.namelist():
            if name != member:
                damaged.writestr(name, whole.read(name))
        if content is not None:
            damaged.writestr(member, content)
    message = fails(capsys, 1, "inspect", broken)
    assert "damaged.keras is damaged" in message
    assert "Save the model again." in message


def test_counts_are_those_of_the_layers_that_were_meant(tmp_path, capsys):
    norms = [BatchNormalization(name="a", activation="relu"), keras_bn.UntrackedBatchNormalization(name="b")]
    model = keras.Sequential([keras.Input((4,)), *norms])
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=X)
    run("convert", tmp_path / "model.keras", tmp_path / "new.keras")
    assert "1 of 2 batch normalizations are ours now" in capsys.readouterr().out
    run("recalibrate", tmp_path / "model.keras", "--data", tmp_path / "data.npz")
    assert "1 batch normalizations have the statistics of 50 samples" in capsys.readouterr().out
    run("inspect", tmp_path / "model.keras")
    rows = capsys.readouterr().out.splitlines()
    assert [row.endswith("statistics never updated") for row in rows if row.startswith(("a ", "b "))] == [True, False]
