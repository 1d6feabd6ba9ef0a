"""The layer beside Keras' own: outputs, gradients, moving statistics, training, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from tests import oracles, tolerances
from tests.cases import MODES, SMALL, Case, draw, in_mode

CASES = [Case((9, 3), -1), Case((4, 3, 5), 1), Case((2, 4, 3, 5), -1), Case((2, 5, 3, 4), 1), Case((2, 3, 2, 2, 4), -1)]


def built(kind: type, case: Case, **options) -> keras.layers.Layer:
    """A layer of ``kind`` with weights that tell axes and roles apart."""
    layer = kind(axis=case.axis, **options)
    layer.build((None, *case.shape[1:]))
    rng = np.random.default_rng(5)
    layer.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in layer.weights])
    return layer


def pair(case: Case, **options) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    return built(keras_bn.BatchNormalization, case, **options), built(keras.layers.BatchNormalization, case, **options)


def step(layer, x, dy, training: bool):
    """Output and the gradients of Σ dy·y with respect to the input and the trainable weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
    variables = [variable.value for variable in layer.trainable_variables]
    return y, *tape.gradient(y, [x, *variables], dy)


def assert_same(layer, other, case: Case, training: bool, mode: str = "eager"):
    inputs = draw(case)
    x, dy = tf.constant(inputs.x), tf.constant(inputs.dy)
    # The built-in layer cannot be traced with axis=1 unless the channels are known.
    ours, theirs = (
        in_mode(mode, lambda x, dy, one=one: step(one, x, dy, training), [x, dy], case.axis)(x, dy)
        for one in (layer, other)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.FLOAT64
    for a, b in zip(layer.weights, other.weights, strict=True):
        assert a.name == b.name
        assert a.trainable == b.trainable
        assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.FLOAT64


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_equals_the_built_in_layer(case, training, mode):
    assert_same(*pair(case, dtype="float64", momentum=0.7, epsilon=0.01), case, training, mode)


@pytest.mark.parametrize("options", [{"center": False}, {"scale": False}, {"center": False, "scale": False}])
@pytest.mark.parametrize("training", [True, False])
def test_without_scale_or_shift(options, training):
    assert_same(*pair(CASES[2], dtype="float64", **options), CASES[2], training)


def test_frozen_layer_uses_and_keeps_the_moving_statistics():
    ours, theirs = pair(CASES[0], dtype="float64")
    ours.trainable = theirs.trainable = False
    before = [weight.numpy() for weight in ours.weights]
    x = draw(CASES[0]).x
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=tolerances.FLOAT64)
    for weight, old in zip(ours.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_same_constructor_defaults_and_weights():
    ours, theirs = keras_bn.BatchNormalization(name="bn"), keras.layers.BatchNormalization(name="bn")
    assert isinstance(ours, keras.layers.BatchNormalization)
    assert ours.get_config() == theirs.get_config()
    assert keras_bn.BatchNormalization(1, 0.9, 1e-5, False, name="bn").get_config() == (
        keras.layers.BatchNormalization(1, 0.9, 1e-5, False, name="bn").get_config()
    )


def test_regularizers_constraints_and_initializers_apply():
    layer = keras_bn.BatchNormalization(
        gamma_initializer="zeros", moving_variance_initializer="zeros", gamma_regularizer="l2", beta_constraint="NonNeg"
    )
    layer.build((None, 2))
    assert layer.gamma.numpy().tolist() == layer.moving_variance.numpy().tolist() == [0.0, 0.0]
    layer.gamma.assign([1.0, 2.0])
    assert float(layer.losses[0]) == pytest.approx(0.01 * 5)  # Keras' "l2" weighs the squares by 0.01
    assert layer.beta.constraint is not None


def network(kind: type, dtype: str = "float64") -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2), dtype=dtype),
            keras.layers.Conv2D(4, 3, use_bias=False, dtype=dtype),
            kind(dtype=dtype, name="first"),
            keras.layers.ReLU(dtype=dtype),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(6, use_bias=False, dtype=dtype),
            kind(dtype=dtype, name="second"),
            keras.layers.Dense(1, dtype=dtype),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=False)
    return model


def test_ten_steps_of_fit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(160, 8, 8, 2)), rng.normal(size=(160, 1))
    models = [network(kind) for kind in (keras_bn.BatchNormalization, keras.layers.BatchNormalization)]
    losses = [model.fit(x, y, batch_size=16, shuffle=False, verbose=0).history["loss"] for model in models]
    np.testing.assert_allclose(*losses, rtol=tolerances.TRAINING_FLOAT64)
    for a, b in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-10)  # 1e-16 a step, grown by ten steps
    np.testing.assert_allclose(*(model.predict(x, verbose=0) for model in models), atol=1e-9)


@pytest.mark.parametrize("option", [{"run_eagerly": True}, {"jit_compile": True}])
def test_fit_in_other_modes(option):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 8, 8, 2)), rng.normal(size=(32, 1))
    losses = []
    for kind in (keras_bn.BatchNormalization, keras.layers.BatchNormalization):
        model = network(kind)
        model.compile("sgd", "mse", **option)
        losses.append(model.fit(x, y, batch_size=16, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=tolerances.TRAINING_FLOAT64)


def test_stateless_call_leaves_the_layer_alone():
    layer, other = pair(CASES[0], dtype="float64")
    before = [weight.numpy() for weight in layer.weights]
    x = draw(CASES[0]).x
    trainable, moving = [
        [v.value for v in group] for group in (layer.trainable_variables, layer.non_trainable_variables)
    ]
    y, updated = layer.stateless_call(trainable, moving, x, training=True)
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    np.testing.assert_allclose(y, other(x, training=True), rtol=1e-11)
    for new, weight in zip(updated, other.non_trainable_variables, strict=True):
        np.testing.assert_allclose(new, weight.numpy(), rtol=tolerances.FLOAT64)


def test_model_file_round_trip(tmp_path):
    model, x = network(keras_bn.BatchNormalization), np.random.default_rng(1).normal(size=(5, 8, 8, 2))
    model.fit(x, np.ones((5, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("first")) is keras_bn.BatchNormalization
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    config = keras.saving.serialize_keras_object(model.get_layer("first"))
    assert config["registered_name"] == "keras_bn>BatchNormalization"


@pytest.mark.parametrize("source", [0, 1])
def test_weights_files_exchange_with_the_built_in_layer(tmp_path, source):
    x = np.random.default_rng(1).normal(size=(5, 8, 8, 2))
    models = [network(kind) for kind in (keras_bn.BatchNormalization, keras.layers.BatchNormalization)]
    models[source].fit(x, np.ones((5, 1)), verbose=0)
    models[1 - source].optimizer.build(models[1 - source].trainable_variables)  # the file holds its state too
    models[source].save_weights(tmp_path / "model.weights.h5")
    models[1 - source].load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(*(model.predict(x, verbose=0) for model in models), rtol=1e-11)


@pytest.mark.parametrize("axis", [-1, 1])
def test_unknown_rank_once_built(axis):
    case = Case((4, 3, 2, 3), axis)
    layer, other = pair(case, dtype="float64")
    x = draw(case).x
    for training in (True, False):
        call = tf.function(
            lambda x, t=training: layer(x, training=t), input_signature=[tf.TensorSpec(None, tf.float64)]
        )
        np.testing.assert_allclose(call(x), other(x, training=training), rtol=1e-11)


def test_second_order_through_the_layer():
    case = SMALL[6]
    layer, other = pair(case, dtype="float64")

    def penalty(one, x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(tf.sin(one(x, training=True)))
            penalty = tf.reduce_sum(tf.square(inner.gradient(loss, x)))
        return outer.gradient(penalty, [x, one.gamma.value, one.beta.value])

    x = tf.constant(draw(case).x)
    true = penalty(other, x)
    for mode in MODES:
        for a, b in zip(in_mode(mode, lambda x: penalty(layer, x), [x])(x), true, strict=True):
            assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.SECOND_ORDER


@pytest.mark.parametrize("bad", [np.ones((4, 3, 2)), np.ones((4, 2)), np.ones(3)])
def test_a_failed_call_names_the_shapes_and_leaves_the_state(bad):
    layer = built(keras_bn.BatchNormalization, CASES[0])
    before = [weight.numpy() for weight in layer.weights]
    with pytest.raises(ValueError, match=r"shape=\("):
        layer(bad, training=True)
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
