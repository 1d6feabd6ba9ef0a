"""Inputs of other kinds: ragged ones, several calls in a step, one time step at a time; bounds that change."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from tests import tolerances
from tests.cases import EPSILON, MODES

Layer = keras_bn.BatchNormalization
VALUES = np.random.default_rng(0).normal(2.0, 3.0, (11, 4))


def ragged(values: np.ndarray = VALUES, lengths=(5, 0, 6)) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(values, list(lengths))


def normalized(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    axes = tuple(range(values.ndim - 1))
    mean = np.average(values, axes, None if weights is None else np.broadcast_to(weights[:, None], values.shape))
    spread = (values - mean) ** 2
    variance = np.average(spread, axes, None if weights is None else np.broadcast_to(weights[:, None], values.shape))
    return (values - mean) / np.sqrt(variance + EPSILON)


@pytest.mark.parametrize("mode", MODES[:2])
def test_33_ragged_inputs(mode):
    """The built-in layer takes them too, with statistics over the values."""
    layer, built_in = (kind(dtype="float64", momentum=0.0) for kind in (Layer, keras.layers.BatchNormalization))
    for one in (layer, built_in):
        call = (
            (lambda x, one=one: one(x, training=True))
            if mode == "eager"
            else tf.function(lambda x, one=one: one(x, training=True), autograph=False)
        )
        one.build((None, None, 4))
        y = call(ragged())
        assert isinstance(y, tf.RaggedTensor)
        np.testing.assert_array_equal(y.row_lengths(), [5, 0, 6])
        np.testing.assert_allclose(y.flat_values, normalized(VALUES), atol=tolerances.FLOAT64)
        np.testing.assert_allclose(one.moving_mean, VALUES.mean(0), rtol=tolerances.FLOAT64)
    inferred = layer(ragged(), training=False)
    np.testing.assert_allclose(inferred.flat_values, normalized(VALUES), atol=tolerances.FLOAT64)


def test_ragged_inputs_of_a_model():
    inputs = keras.Input((None, 4), ragged=True)
    model = keras.Model(inputs, Layer(momentum=0.0)(inputs))
    x = ragged(VALUES.astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(x.flat_values)
        y = model(x, training=True)
    np.testing.assert_allclose(y.flat_values, normalized(VALUES), atol=1e-6)
    gradient = tape.gradient(y.flat_values, x.flat_values, output_gradients=tf.ones_like(x.flat_values))
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)  # the output is unchanged by a shift of all values
    np.testing.assert_allclose(model.predict(x, verbose=0).flat_values, normalized(VALUES), atol=1e-6)


def test_ragged_inputs_with_inner_axes_and_masks():
    values = np.random.default_rng(1).normal(size=(6, 2, 3))
    layer = Layer(axis=(2, 3), dtype="float64", momentum=0.0)
    y = layer(ragged(values, [4, 2]), training=True)
    expected = (values - values.mean(0)) / np.sqrt(values.var(0) + EPSILON)
    np.testing.assert_allclose(y.flat_values, expected, atol=tolerances.FLOAT64)
    weights = np.array([1.0, 0.0, 2.0, 0.0, 1.0, 1.0, 3.0, 0.0, 0.0, 1.0, 0.5])
    layer = Layer(dtype="float64")
    y = layer(ragged(), training=True, mask=ragged(weights))
    np.testing.assert_allclose(y.flat_values, normalized(VALUES, weights), atol=tolerances.FLOAT64)


@pytest.mark.parametrize(
    ("options", "x", "mask", "said"),
    [
        ({}, ragged(), np.ones((3, 6)), "ragged like them"),
        ({"virtual_batch_size": 2}, ragged(), None, "virtual_batch_size=2 with ragged inputs"),
        ({"axis": 0}, tf.ragged.constant([[1.0, 2.0], [3.0, 4.0]]), None, "channel axis of ragged inputs"),
        ({"axis": 1}, ragged(), None, "channel axis of ragged inputs"),
    ],
)
def test_ragged_inputs_that_are_refused(options, x, mask, said):
    layer = Layer(**options)
    layer.build((2, 4) if options.get("axis") == 0 else (3, 6, 4))
    before = [weight.numpy() for weight in layer.weights]
    with pytest.raises(ValueError, match=said):
        layer(x, training=True, mask=mask)
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_layer_that_two_branches_share():
    """Each call normalizes with its own batch, and the moving statistics follow both, the later one more.

    Of both together they are where the branches are one batch.
    """
    a, b = (np.random.default_rng(seed).normal(seed, 1.0, (8, 4)) for seed in (1, 5))
    norm = Layer(momentum=0.5, dtype="float64")
    for x in (a, b):
        np.testing.assert_allclose(norm(x, training=True), normalized(x), atol=tolerances.FLOAT64)
    np.testing.assert_allclose(norm.moving_mean, 0.25 * a.mean(0) + 0.5 * b.mean(0), rtol=tolerances.FLOAT64)

    inputs = [keras.Input((4,), dtype="float64") for _ in range(2)]
    norm = Layer(momentum=0.5, dtype="float64")
    joined = norm(keras.layers.Concatenate(axis=0, dtype="float64")(inputs))
    keras.Model(inputs, joined)([a, b], training=True)
    np.testing.assert_allclose(norm.moving_mean, 0.25 * (a.mean(0) + b.mean(0)), rtol=tolerances.FLOAT64)


def test_time_distributed_normalizes_one_time_step_at_a_time():
    """What is meant by it mostly, one set of statistics over batch and time, is what the layer does by itself."""
    x = np.random.default_rng(0).normal(size=(16, 3, 4)) + np.arange(3.0)[:, None]
    stepwise = keras.layers.TimeDistributed(Layer(dtype="float64", momentum=0.5), dtype="float64")
    y = stepwise(tf.constant(x), training=True)
    expected = np.stack([normalized(x[:, t]) for t in range(3)], 1)
    np.testing.assert_allclose(y, expected, atol=tolerances.FLOAT64)
    np.testing.assert_allclose(Layer(dtype="float64")(x, training=True), normalized(x), atol=tolerances.FLOAT64)
    # Each step with statistics of its own, in inference too: time and features as channels.
    both = Layer(axis=(1, 2), dtype="float64", momentum=0.0)
    for training in (True, False):
        np.testing.assert_allclose(both(x, training=training), expected, atol=tolerances.FLOAT64)


def references(layer) -> tuple[np.ndarray, np.ndarray]:
    return layer.renorm_mean.numpy(), layer.renorm_stddev.numpy()


def renormalized(x: np.ndarray, layer, rmax: float, dmax: float) -> np.ndarray:
    """Equation 8 with the references of the layer as they are, in NumPy."""
    mean, stddev = references(layer)
    std = np.sqrt(x.var(0) + EPSILON)
    r, d = np.clip(std / stddev, None, rmax), np.clip((x.mean(0) - mean) / stddev, -dmax, dmax)
    return (x - x.mean(0)) / std * r + d


@pytest.mark.parametrize("kind", [tf.Variable, keras.Variable])
def test_bounds_that_are_variables(kind):
    """As in the layer of TF 2: what is assigned to them counts at the next step, without another trace."""
    rmax = kind(1.0, dtype="float64", trainable=False) if kind is tf.Variable else kind(1.0, dtype="float64")
    layer = Layer(renorm=True, renorm_clipping={"rmax": rmax, "dmax": 0.5}, dtype="float64")
    layer.build((None, 4))
    assert len(layer.weights) == 7  # the bound is no weight of the layer
    function = tf.function(lambda x: layer(x, training=True), autograph=False)
    for value in (1.0, 2.0, 5.0):
        rmax.assign(value)
        expected = renormalized(VALUES, layer, value, 0.5)
        np.testing.assert_allclose(function(tf.constant(VALUES)), expected, atol=tolerances.FLOAT64)
    assert function.experimental_get_tracing_count() == 1
    assert Layer.from_config(layer.get_config()).renorm_clipping == {"rmax": 5.0, "dmax": 0.5}


def test_34_bounds_on_a_schedule(tmp_path):
    """Of the layer's own training steps, the paper's way: tight at first, relaxed later."""
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 4, end_learning_rate=3.0)
    options = {"renorm": True, "renorm_clipping": {"rmax": schedule, "dmax": 0.0}, "renorm_momentum": 0.5}
    layer = Layer(**options, name="bn")
    model = keras.Sequential([keras.Input((4,)), layer])
    function = tf.function(lambda x: model(x, training=True), autograph=False)
    x = VALUES.astype("float32")
    for step in range(6):
        expected = renormalized(VALUES, layer, 1.0 + 2.0 * min(step, 4) / 4, 0.0)
        np.testing.assert_allclose(function(x), expected, atol=1e-5)
        model(x, training=False)  # inference is no step
    assert (function.experimental_get_tracing_count(), int(layer.renorm_step)) == (1, 6)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras").layers[0]
    assert int(again.renorm_step) == 6
    np.testing.assert_allclose(again(x, training=True), layer(x, training=True), atol=1e-6)


@pytest.mark.parametrize("bound", [tf.Variable([1.0, 2.0]), "3", tf.constant([1.0])])
def test_bounds_that_are_none(bound):
    with pytest.raises(ValueError, match="renorm_clipping: rmax"):
        Layer(renorm=True, renorm_clipping={"rmax": bound})
