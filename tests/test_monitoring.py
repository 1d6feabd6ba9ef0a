"""``BatchNormMonitor``: what it measures, against the batches themselves."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bn import BatchNormalization, BatchNormMonitor
from keras_bn.model_tools import monitoring_picture
from keras_bn.model_tools.watched_layers import QUANTITIES

KINDS = [keras.layers.BatchNormalization, BatchNormalization]
# The variance and the mean of channel 1 differ from those of a new layer.
X = np.random.default_rng(0).normal([0, 3], [1, 4], size=(64, 2))
# Keras passes NumPy arrays on in float32.
X = X.astype("float32").astype("float64")


def fit(monitor, *, kind=BatchNormalization, epochs=1, x=X, **options):
    norm = kind(name="norm", dtype="float64", **options)
    model = keras.Sequential([keras.Input((2,), dtype="float64"), norm])
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    return norm, model.fit(x, x, batch_size=16, shuffle=False, epochs=epochs, callbacks=[monitor], verbose=0).history


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"momentum": 0.0}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_gaps_are_those_of_the_batches(kind, options):
    norm, history = fit(BatchNormMonitor(warn=False), kind=kind, **options)
    batches = X.reshape(4, 16, 2)
    mean, variance = batches.mean(1).mean(0), batches.var(1).mean(0)
    moving_mean, moving_variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    expected = np.max(np.abs(moving_mean - mean) / np.sqrt(variance + norm.epsilon))
    np.testing.assert_allclose(history["norm/mean_gap"], [expected], rtol=1e-9)
    ratio = np.log((moving_variance + norm.epsilon) / (variance + norm.epsilon))
    np.testing.assert_allclose(history["norm/variance_gap"], [np.abs(ratio).max()], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_renormalization_averages_the_deviation(kind):
    norm, history = fit(BatchNormMonitor(warn=False), kind=kind, renorm=True, momentum=0.9, epsilon=0.5)
    variance = X.reshape(4, 16, 2).var(1).mean(0)
    ratio = np.log((norm.moving_variance.numpy() + norm.epsilon) / (variance + norm.epsilon))
    np.testing.assert_allclose(history["norm/variance_gap"], [np.abs(ratio).max()], rtol=1e-9)


def test_the_average_of_all_batches_has_no_gap():
    _, history = fit(BatchNormMonitor(), momentum=None)
    np.testing.assert_allclose(history["norm/mean_gap"], [0], atol=1e-9)
    np.testing.assert_allclose(history["norm/variance_gap"], [0], atol=1e-9)


def test_several_steps_at_once():
    monitors = []
    for steps in (1, 2, 4):
        norm = BatchNormalization(name="norm", dtype="float64", momentum=0.5)
        model = keras.Sequential([keras.Input((2,), dtype="float64"), norm])
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", steps_per_execution=steps)
        # Equal batches, whose average does not depend on their weights.
        x = np.tile(X[:16], (4, 1))
        history = model.fit(x, x, batch_size=16, shuffle=False, callbacks=[BatchNormMonitor(warn=False)], verbose=0)
        monitors.append(history.history["norm/mean_gap"])
    np.testing.assert_allclose(np.ravel(monitors), monitors[0] * 3, rtol=1e-9)


def test_all_quantities_of_all_layers_and_epochs():
    monitor = BatchNormMonitor(warn=False)
    model = keras.Sequential(
        [keras.Input((2,)), BatchNormalization(name="a"), keras.layers.BatchNormalization(name="b")]
    )
    model.compile(loss="mse")
    history = model.fit(X, X, epochs=3, callbacks=[monitor], verbose=0).history
    for layer in ("a", "b"):
        for quantity in QUANTITIES:
            assert len(history[f"{layer}/{quantity}"]) == 3
            assert monitor.records[layer][quantity] == history[f"{layer}/{quantity}"]
    a = model.get_layer("a")
    assert history["a/gamma_min"][-1] == pytest.approx(float(a.gamma.numpy().min()))
    assert history["a/beta_max"][-1] == pytest.approx(float(a.beta.numpy().max()))


def test_dead_channels():
    monitor = BatchNormMonitor(warn=False)
    x = X * [1, 0]
    _, history = fit(monitor, x=x, momentum=0.0, gamma_initializer="ones")
    assert history["norm/dead"] == [1.0]
    _, history = fit(monitor, gamma_initializer="zeros")
    assert history["norm/dead"] == [2.0]
    _, history = fit(monitor)
    assert history["norm/dead"] == [0.0]


def test_frozen_layers_have_no_gap():
    norm = keras.layers.BatchNormalization(name="norm", trainable=False)
    model = keras.Sequential([keras.Input((2,)), norm, keras.layers.Dense(2)])
    model.compile(loss="mse")
    history = model.fit(X, X, callbacks=[BatchNormMonitor()], verbose=0).history
    assert np.isnan(history["norm/mean_gap"]).all()


def test_warning_when_inference_lags():
    with pytest.warns(UserWarning, match=r"lag behind training in 1 of 1 .* most in norm: .* keras_bn.recalibrate"):
        fit(BatchNormMonitor())
    with pytest.warns(UserWarning, match="lag behind") as caught:
        fit(BatchNormMonitor(), epochs=4)
    assert len(caught) == 1


def test_no_warning_once_it_has_caught_up():
    fit(BatchNormMonitor(), momentum=0.5, epochs=5)
    fit(BatchNormMonitor(warn=False))


def test_tensorboard(tmp_path):
    _, history = fit(BatchNormMonitor(tensorboard=tmp_path, warn=False), epochs=2)
    [file] = tmp_path.glob("events.out.tfevents.*")
    found = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert len(found) == 2 * len(QUANTITIES)
    assert found["norm/mean_gap", 1] == pytest.approx(history["norm/mean_gap"][1])


def test_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="Matplotlib is an optional extra")
    fit(BatchNormMonitor(picture=tmp_path / "bn.png", warn=False), epochs=2)
    assert (tmp_path / "bn.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_what_is_frozen_or_not_finite(tmp_path):
    pytest.importorskip("matplotlib", reason="Matplotlib is an optional extra")
    values = {quantity: [1.0, float("nan"), float("inf")] for quantity in QUANTITIES}
    monitoring_picture.draw(
        {"a": values, "b": {quantity: [float("nan")] * 3 for quantity in QUANTITIES}}, tmp_path / "bn.png"
    )
    assert (tmp_path / "bn.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "keras-bn\[demo\]"'):
        BatchNormMonitor(picture="bn.png")


@pytest.mark.parametrize(
    ("name", "message"), [("none/bn.png", "Create .*none"), ("bn.foo", "one of .*png"), ("a.png", "directory .*a.png")]
)
def test_a_picture_that_cannot_be_written_is_refused_before_training(tmp_path, name, message):
    pytest.importorskip("matplotlib", reason="Matplotlib is an optional extra")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ValueError, match=message):
        BatchNormMonitor(picture=tmp_path / name)


@pytest.mark.parametrize("name", ["file", "file/logs/run"])
def test_a_directory_that_cannot_be_made_is_refused_before_training(tmp_path, name):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ValueError, match=r"tensorboard must be a directory.*file is none"):
        BatchNormMonitor(tensorboard=tmp_path / name)
    BatchNormMonitor(tensorboard=tmp_path / "new" / "logs")
    BatchNormMonitor(tensorboard="gs://bucket/logs")


def test_a_model_without_batch_normalization():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="dense")])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="needs a batch normalization"):
        model.fit(X, X, callbacks=[BatchNormMonitor()], verbose=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_variance_that_cannot_be_right_is_named(kind):
    def build():
        norm = kind(name="norm", trainable=False)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), norm])
        norm.moving_variance.assign([1.0, -0.5])
        model.compile("sgd", "mse")
        return model

    with pytest.warns(UserWarning, match="norm has negative variance in channel 1: inference cannot be right"):
        build().fit(X, X, epochs=2, verbose=0, callbacks=[BatchNormMonitor()])
    build().fit(X, X, verbose=0, callbacks=[BatchNormMonitor(warn=False)])
