"""Which statistics normalize, and how the moving ones follow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn.model_tools import inspection
from tests import tolerances
from tests.cases import EPSILON, MODES, in_mode

Layer = keras_bn.BatchNormalization
X = np.random.default_rng(0).normal(2.0, 3.0, (16, 4))


def layer_of(**options) -> keras.Layer:
    """A layer whose moving statistics are neither the initial ones nor those of the batch."""
    layer = Layer(dtype="float64", **{"momentum": 0.5, **options})
    layer.build((None, 4))
    layer.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    layer.moving_variance.assign([4.0, 3.0, 2.0, 1.0])
    return layer


def by_moving(x, layer) -> np.ndarray:
    return (x - [1.0, 2.0, 3.0, 4.0]) / np.sqrt(np.array([4.0, 3.0, 2.0, 1.0]) + EPSILON)


def by_batch(x, layer=None) -> np.ndarray:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON)


# What normalizes, and whether the moving statistics follow: statistics, training, trainable.
RULES = [
    ("auto", True, True, by_batch, True),
    ("auto", True, False, by_moving, False),
    ("auto", False, True, by_moving, False),
    ("moving", True, True, by_moving, False),
    ("moving", False, True, by_moving, False),
    ("batch", True, True, by_batch, True),
    ("batch", True, False, by_batch, True),
    ("batch", False, True, by_batch, False),
    ("batch", False, False, by_batch, False),
]


@pytest.mark.parametrize(("statistics", "training", "trainable", "expected", "follows"), RULES)
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_whose_statistics_normalize(statistics, training, trainable, expected, follows, symbolic, mode):
    layer = layer_of(statistics=statistics, trainable=trainable)
    x = tf.constant(X)
    if symbolic:
        flag = tf.constant(training)
        y = in_mode(mode, lambda x, training: layer(x, training=training), [x, flag])(x, flag)
    else:
        y = in_mode(mode, lambda x: layer(x, training=training), [x])(x)
    np.testing.assert_allclose(y, expected(X, layer), rtol=0, atol=tolerances.FLOAT64)
    mean = (np.array([1.0, 2.0, 3.0, 4.0]) + X.mean(0)) / 2 if follows else [1.0, 2.0, 3.0, 4.0]
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=tolerances.FLOAT64)


@pytest.mark.parametrize("value", ["Moving", None, True, 0])
def test_statistics_refuses(value):
    with pytest.raises(ValueError, match=r"one of 'auto', 'moving', 'batch'. Received: statistics="):
        Layer(statistics=value)
    layer = Layer()
    with pytest.raises(ValueError, match="Received: statistics="):
        layer.statistics = value
    assert layer.statistics == "auto"


def network(**options) -> keras.Model:
    inputs = keras.Input((4,))
    hidden = Layer(name="norm", **options)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("statistics", ["moving", "batch"])
def test_statistics_are_saved_and_settable(tmp_path, statistics):
    model = network(statistics=statistics)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        loaded = keras.saving.load_model(tmp_path / name, compile=False)
        norm = loaded.get_layer("norm")
        assert norm.statistics == statistics
        norm.statistics = "auto"
        loaded.compile("sgd", "mse")
        before = norm.moving_mean.numpy()
        loaded.fit(X, np.ones((16, 1)), verbose=0)
        assert np.abs(norm.moving_mean.numpy() - before).min() > 1e-3


def test_15_a_freeze_that_holds_in_a_functional_model():
    """``bn(h, training=False)`` does not: Keras passes its own ``training`` to every layer of a Functional model."""

    def moved(kind: type, call: dict, **options) -> tuple[bool, bool]:
        inputs = keras.Input((4,))
        norm = kind(**options)
        model = keras.Model(inputs, keras.layers.Dense(1)(norm(inputs, **call)))
        model.compile("sgd", "mse")
        gamma = norm.gamma.numpy()
        model.fit(X, np.ones((16, 1)), verbose=0)
        return bool(norm.moving_mean.numpy().any()), bool(np.any(norm.gamma.numpy() != gamma))

    assert moved(Layer, {}, statistics="moving") == (False, True)  # γ and β train on
    assert moved(keras.layers.BatchNormalization, {"training": False}) == (True, True)


def test_28_statistics_of_the_batch_in_predict_and_switched_at_run_time():
    x = X.astype("float32")
    model = network(statistics="batch")
    kernel, bias = (weight.numpy() for weight in model.layers[-1].weights)
    np.testing.assert_allclose(model.predict(x, verbose=0), by_batch(X) @ kernel + bias, atol=1e-5)
    norm = model.get_layer("norm")
    np.testing.assert_array_equal(norm.moving_mean, 0.0)  # not in training: the moving ones stay
    norm.statistics = "moving"
    model.compile("sgd", "mse")  # as after a change of ``trainable``
    np.testing.assert_allclose(model.predict(x, verbose=0), X / np.sqrt(1 + EPSILON) @ kernel + bias, atol=1e-5)


def test_21_the_discriminator_of_a_gan_keeps_learning_its_statistics():
    """``D.trainable = False`` after ``D.compile`` stops those of the built-in layer."""

    def moving_mean(kind: type, **options) -> np.ndarray:
        discriminator = keras.Sequential([keras.Input((4,)), kind(**options), keras.layers.Dense(1)])
        discriminator.compile("sgd", "mse")
        discriminator.trainable = False
        with pytest.warns(UserWarning, match="trainable weights"):
            discriminator.train_on_batch(X, np.ones((16, 1)))
        return discriminator.layers[0].moving_mean.numpy()

    np.testing.assert_allclose(moving_mean(Layer, statistics="batch"), 0.01 * X.mean(0), rtol=1e-4)
    np.testing.assert_array_equal(moving_mean(keras.layers.BatchNormalization), 0.0)


def test_29_a_mask_reaches_the_layer_beside_a_symbolic_training():
    x = tf.constant(np.random.default_rng(1).normal(size=(3, 5, 4)))
    keep = tf.sequence_mask([2, 1, 4], 5)
    layer = Layer(dtype="float64", momentum=0.0)
    layer.build((None, 5, 4))

    @tf.function
    def call(x, training):
        x = tf.identity(x)
        x._keras_mask = keep
        return layer(x, training=training)

    call(x, tf.constant(True))
    np.testing.assert_allclose(layer.moving_mean, x.numpy()[keep.numpy()].mean(0), rtol=tolerances.FLOAT64)


def test_gradients_through_a_symbolic_training():
    x, weights = tf.constant(X), tf.constant(np.random.default_rng(2).normal(size=X.shape))

    def gradient(layer, x, training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
        return tape.gradient(y, x, weights)

    for training in (True, False):
        known = gradient(layer_of(), x, training)
        for mode in MODES[1:]:
            layer = layer_of()
            call = in_mode(mode, lambda x, t, one=layer: gradient(one, x, t), [x, tf.constant(True)])
            np.testing.assert_allclose(call(x, tf.constant(training)), known, atol=tolerances.FLOAT64)


BATCHES = [np.random.default_rng(seed).normal(3.0 + seed, 2.0, (8, 4)) for seed in range(4)]


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 1.0, None])
@pytest.mark.parametrize("renorm", [False, True])
def test_zero_debias_is_adams_correction(momentum, renorm):
    """(r_t − a^t·r_0) / (1 − a^t): a weighted mean of the batches alone; for a = 1 the plain mean."""
    layer = Layer(zero_debias=True, momentum=momentum, renorm=renorm, epsilon=0.0, dtype="float64")
    for number, batch in enumerate(BATCHES, 1):
        layer(batch, training=True)
        a = 1.0 if momentum is None else momentum
        weights = a ** np.arange(number - 1, -1, -1.0)
        means, variances = (np.array([f(batch, 0) for batch in BATCHES[:number]]) for f in (np.mean, np.var))
        np.testing.assert_allclose(layer.moving_mean, np.average(means, 0, weights), rtol=tolerances.FLOAT64)
        # With renormalization Keras averages the deviation.
        expected = np.average(np.sqrt(variances), 0, weights) ** 2 if renorm else np.average(variances, 0, weights)
        np.testing.assert_allclose(layer.moving_variance, expected, rtol=tolerances.FLOAT64)
        np.testing.assert_allclose(layer.update_count, weights.sum(), rtol=tolerances.FLOAT64)


def test_30_zero_debias_makes_the_first_inference_right():
    """What the built-in layer infers after one step is off by nearly everything: it has taken in a hundredth."""
    x = np.random.default_rng(0).normal(50.0, 5.0, (64, 4)).astype("float32")
    layers = Layer(zero_debias=True), keras.layers.BatchNormalization()
    for layer in layers:
        layer(x, training=True)
    ours, theirs = (layer(x, training=False).numpy() for layer in layers)
    np.testing.assert_allclose(ours, by_batch(x.astype("float64")), atol=1e-4)
    assert np.abs(theirs - by_batch(x)).max() > 10


def trained() -> list[np.ndarray]:
    layer = keras.layers.BatchNormalization()
    layer.build((None, 4))
    layer.moving_mean.assign([1.0, 2.0, 3.0, 0.0])
    layer.moving_variance.assign([4.0, 3.0, 2.0, 1.0])  # the last channel is as in a new layer
    return [weight.numpy() for weight in layer.weights]


@pytest.mark.parametrize("options", [{"momentum": None}, {"zero_debias": True, "momentum": 0.9}])
def test_31_trained_statistics_count_as_a_hundred_batches(tmp_path, options):
    """They were wiped by the first batch. Those of a new layer are, still."""
    models = [
        keras.Sequential([keras.Input((4,)), kind]) for kind in (keras.layers.BatchNormalization(), Layer(**options))
    ]
    models[0].set_weights(trained())
    models[0].save_weights(tmp_path / "m.weights.h5")
    models[1].load_weights(tmp_path / "m.weights.h5")
    layer = models[1].layers[0]
    np.testing.assert_array_equal(layer.update_count, [100, 100, 100, 0])
    layer(X.astype("float32"), training=True)
    a = options["momentum"] or 1.0
    old = 100 * a / (100 * a + 1)
    expected = old * np.array([1.0, 2.0, 3.0, 0.0]) + (1 - old) * X.mean(0)
    np.testing.assert_allclose(layer.moving_mean, [*expected[:3], X.mean(0)[3]], rtol=1e-5)


@pytest.mark.parametrize("options", [{"momentum": None}, {"zero_debias": True, "momentum": 0.9}])
@pytest.mark.parametrize("source", ["checkpoint", "by hand"])
def test_statistics_that_come_without_a_count_count_as_in_files(tmp_path, options, source):
    """A checkpoint restores variables one by one, and the layer does not see it."""
    models = [
        keras.Sequential([keras.Input((4,)), kind]) for kind in (keras.layers.BatchNormalization(), Layer(**options))
    ]
    models[0].set_weights(trained())
    layer = models[1].layers[0]
    if source == "checkpoint":
        path = tf.train.Checkpoint(model=models[0]).save(str(tmp_path / "model"))
        tf.train.Checkpoint(model=models[1]).restore(path).expect_partial()
    else:
        layer.moving_mean.assign(models[0].layers[0].moving_mean)
        layer.moving_variance.assign(models[0].layers[0].moving_variance)
    layer(X.astype("float32"), training=True)
    a = options["momentum"] or 1.0
    old = 100 * a / (100 * a + 1)
    expected = old * np.array([1.0, 2.0, 3.0, 0.0]) + (1 - old) * X.mean(0)
    np.testing.assert_allclose(layer.moving_mean, [*expected[:3], X.mean(0)[3]], rtol=1e-5)


def test_statistics_that_start_elsewhere_are_those_of_a_new_layer():
    layer = Layer(momentum=None, moving_mean_initializer=keras.initializers.Constant(7.0))
    layer(X.astype("float32"), training=True)
    np.testing.assert_allclose(layer.moving_mean, X.mean(0), rtol=1e-5)


def test_convert_to_an_average_of_all_batches_keeps_what_was_trained():
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(momentum=0.9)])
    model.set_weights(trained())
    layer = keras_bn.convert(model, momentum=None).layers[0]
    np.testing.assert_allclose(layer.update_count, [10, 10, 10, 0], rtol=1e-6)  # 1/(1 − 0.9)
    again = keras_bn.convert(keras.Sequential([keras.Input((4,)), layer]), engine="closed_form").layers[0]
    np.testing.assert_array_equal(again.update_count, layer.update_count)


def test_accumulated_gradients_are_those_of_ghost_batches(float64):
    """k micro-batches of m: γ, β and what is below get the gradient of one batch in groups of m samples."""
    x, y = (np.random.default_rng(seed).normal(size=(8, width)) for seed, width in ((0, 4), (1, 1)))

    def weights(batch_size: int, k: int | None, **options) -> tuple[list[np.ndarray], keras.Layer]:
        keras.utils.set_random_seed(0)
        norm = Layer(**options)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), norm, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=k), "mse")
        model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
        return [variable.numpy() for variable in model.trainable_variables], norm

    accumulated, norm = weights(4, 2, momentum=None)
    whole, ghosts = weights(8, None, momentum=None, virtual_batch_size=4)
    for a, b in zip(accumulated, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    # The mean of the whole is that of the micro-batches; of the variance, what lies between their means is left out.
    np.testing.assert_allclose(norm.moving_mean, ghosts.moving_mean, rtol=1e-10)
    assert np.all(norm.moving_variance.numpy() < ghosts.moving_variance.numpy())


def backbone() -> keras.Model:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="inner"), keras.layers.Dense(4)])
    inputs = keras.Input((4,))
    outer = keras.layers.BatchNormalization(name="outer")
    return keras.Model(inputs, keras.layers.Dense(1)(outer(inner(inputs))))


def test_a_whole_backbone_is_frozen_by_convert():
    model = keras_bn.convert(backbone(), statistics="moving")
    model.compile("sgd", "mse")
    monitor = keras_bn.BatchNormMonitor()
    model.fit(X, np.ones((16, 1)), epochs=2, verbose=0, callbacks=[monitor])
    layers = [model.get_layer("outer"), model.layers[1].get_layer("inner")]
    for layer in layers:
        np.testing.assert_array_equal(layer.moving_mean, 0.0)
        assert inspection.examine(layer).statistics == "moving"
        assert "moving" in inspection.table([inspection.examine(layer)])
        assert np.any(layer.gamma.numpy() != 1.0)
    # What does not follow does not lag behind.
    assert all(np.isnan(gap) for record in monitor.records.values() for gap in record["mean_gap"])


@pytest.mark.parametrize("statistics", ["moving", "batch"])
def test_tools_respect_statistics(statistics):
    model = keras_bn.convert(backbone(), statistics=statistics)
    x = X.astype("float32")
    y = model.predict(x, verbose=0)
    folded, _ = keras_bn.fold(model, return_report=True)
    np.testing.assert_allclose(folded.predict(x, verbose=0), y, atol=1e-4)
    left = [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert bool(left) is (statistics == "batch")
    said = "statistics='batch'" if statistics == "batch" else "statistics='moving'"
    with pytest.raises(ValueError, match=said):
        keras_bn.revert(model)
    if statistics == "moving":
        with pytest.warns(UserWarning, match=said):
            reverted = keras_bn.revert(model, lossy=True)
        np.testing.assert_allclose(reverted.predict(x, verbose=0), y, atol=1e-5)
    else:
        with pytest.raises(ValueError, match=said):
            keras_bn.revert(model, lossy=True)


@pytest.mark.parametrize(("options", "count"), [({"momentum": None}, 4), ({"zero_debias": True, "momentum": 0.5}, 2)])
def test_recalibration_counts_its_batches(options, count):
    """Of an average with momentum a, 1/(1 − a) batches at most: more would never be forgotten."""
    layer = Layer(**options)
    keras_bn.recalibrate(keras.Sequential([keras.Input((4,)), layer]), X, batch_size=4)
    np.testing.assert_allclose(layer.update_count, count)
    np.testing.assert_allclose(layer.moving_mean, X.mean(0), rtol=1e-5)


@pytest.mark.parametrize("options", [{"momentum": None}, {"zero_debias": True, "momentum": 0.5}])
def test_the_monitor_solves_for_batches_that_are_counted(options):
    model = keras.Sequential([keras.Input((4,)), Layer(name="norm", **options), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    monitor = keras_bn.BatchNormMonitor()
    x = np.concatenate([X, X])  # equal batches: no gap
    model.fit(x, np.ones((32, 1)), batch_size=16, shuffle=False, epochs=2, verbose=0, callbacks=[monitor])
    assert max(monitor.records["norm"]["mean_gap"]) < 1e-4
    assert max(monitor.records["norm"]["variance_gap"]) < 1e-4


def test_a_layer_without_moving_statistics_refuses_others():
    with pytest.raises(ValueError, match="statistics='moving'"):
        keras_bn.UntrackedBatchNormalization(statistics="moving")
    layer = keras_bn.UntrackedBatchNormalization()
    layer.statistics = "moving"
    with pytest.raises(ValueError, match="statistics='moving'"):
        layer(X)


@pytest.mark.parametrize("kind", [tf.Variable, keras.Variable, np.bool_, int])
def test_other_forms_of_training(kind):
    for value in (True, False):
        flag = kind(value)
        layer = layer_of()
        y = layer(tf.constant(X), training=flag)
        np.testing.assert_allclose(y, (by_batch if value else by_moving)(X, layer), atol=tolerances.FLOAT64)
    if kind is tf.Variable:
        layer, flag = layer_of(), tf.Variable(True)
        call = tf.function(lambda x: layer(x, training=flag), autograph=False)
        for value in (True, False):  # one trace, switched at run time
            flag.assign(value)
            expected = by_batch(X) if value else (X - layer.moving_mean) / np.sqrt(layer.moving_variance + EPSILON)
            np.testing.assert_allclose(call(tf.constant(X)), expected, atol=tolerances.FLOAT64)
