"""What users hit in the built-in layer, row by row, and what this layer does.

Numbers are those of the README's table. Where it is practical a test also shows today's built-in layer failing (Keras
3.14 and 3.15), so that the table is a claim that can be rerun; should Keras mend a defect, its line here fails and the
row goes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from tests import oracles, tolerances
from tests.cases import Case, draw
from tests.distribution import copies_of, on_replicas, strategy

Ours, BuiltIn = keras_bn.BatchNormalization, keras.layers.BatchNormalization


def state(layer) -> list[np.ndarray]:
    return [weight.numpy() for weight in layer.weights]


def assert_state(layer, expected: list[np.ndarray]) -> None:
    for weight, value in zip(layer.weights, expected, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def used(kind: type, shape: tuple[int, ...], **options):
    """A layer that has seen one batch, so that its moving statistics are not the initial ones."""
    layer = kind(**options)
    layer(np.random.default_rng(7).normal(1.0, 2.0, shape), training=True)
    return layer


def gradients(layer, x, dy, **call):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True, **call)
    return y, *tape.gradient(y, [x, layer.gamma.value, layer.beta.value], tf.cast(dy, y.dtype))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 4, 4, 3)])
@pytest.mark.parametrize("virtual_batch_size", [None, 2])
def test_01_empty_batch(shape, virtual_batch_size):
    layer = used(Ours, (8, *shape[1:-1], 3) if 0 not in shape[1:] else (8, 2, 3), virtual_batch_size=virtual_batch_size)
    before = state(layer)
    y, dx, dgamma, dbeta = gradients(layer, np.zeros(shape, "float32"), np.zeros(shape, "float32"))
    assert y.shape == dx.shape == shape
    np.testing.assert_array_equal(dgamma, 0)
    np.testing.assert_array_equal(dbeta, 0)
    assert_state(layer, before)


def test_01_built_in():
    layer = used(BuiltIn, (8, 3))
    layer(np.zeros((0, 3)), training=True)
    assert np.isnan(layer.moving_mean.numpy()).all()


def test_02_everything_masked():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    layer = used(Ours, (8, 3))
    before, mask = state(layer), np.zeros(4, bool)
    np.testing.assert_array_equal(layer(x, training=True, mask=mask), layer(x, training=False))
    assert_state(layer, before)
    built_in = used(BuiltIn, (8, 3))
    before = state(built_in)
    built_in(x, training=True, mask=mask)
    assert np.abs(built_in.moving_variance.numpy()).max() < np.abs(before[3]).max()


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_03_nan_in_a_batch(poison):
    x = np.ones((6, 2), "float32") * np.arange(6)[:, None]
    x[0, 0] = poison
    layer = used(Ours, (8, 2))
    before = state(layer)
    y = layer(x, training=True).numpy()
    assert np.isnan(y[:, 0]).any()  # the output is honest
    assert np.isfinite(y[:, 1]).all()
    for weight, old in zip(layer.weights[2:], before[2:], strict=True):
        assert weight.numpy()[0] == old[0]
        assert weight.numpy()[1] != old[1]
    built_in = used(BuiltIn, (8, 2))
    built_in(x, training=True)
    assert not np.isfinite(built_in.moving_variance.numpy()[0])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("upstream", [0.0, 3.0])
@pytest.mark.parametrize("ratio", [0.0, 1e3])
def test_04_nan_at_a_masked_position(poison, upstream, ratio):
    """Everything is as in FORMULAS' weighted case with δ·z = 0 at the masked elements, whose own dx is γ·s·δ."""
    case = Case((4, 5, 3), -1)
    inputs = draw(case, mean_over_std=ratio, dtype="float32")
    mask = np.ones((4, 5), bool)
    mask[0, 1] = mask[2, 3] = False
    dy = np.where(mask[..., None], inputs.dy, upstream).astype("float32")
    bad = np.where(mask[..., None], inputs.x, poison).astype("float32")

    kept = inputs.x[mask].astype("float64")
    inv_std = 1 / np.sqrt(kept.var(0) + 1e-3)
    z = np.where(mask[..., None], (inputs.x - kept.mean(0)) * inv_std, 0)
    delta_sum, delta_z = dy.sum((0, 1), dtype="float64"), (dy * z).sum((0, 1))
    dx = inv_std * (dy - mask[..., None] / mask.sum() * (delta_sum + z * delta_z))

    layer = Ours(momentum=0.0)
    y, *found = gradients(layer, bad, dy, mask=mask)
    tolerance = tolerances.FLOAT32[1e4]
    assert oracles.output_error(y.numpy()[mask], z[mask]) < tolerance
    assert oracles.output_error(layer.moving_variance.numpy(), kept.var(0)) < tolerance
    for a, b in zip(found, (dx, delta_z, delta_sum), strict=True):
        assert oracles.output_error(a.numpy(), b) < 2 * tolerance
    assert np.isnan(gradients(BuiltIn(), bad, dy, mask=mask)[1].numpy()[mask]).all()


def test_05_mask_with_another_channel_axis():
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(4, 3, 3)), rng.random((4, 3)) < 0.6
    layer = Ours(axis=1, dtype="float64", momentum=0.0)
    layer(x, training=True, mask=mask)
    kept = np.moveaxis(x, 1, -1)[mask]
    np.testing.assert_allclose(layer.moving_mean, kept.mean(0), rtol=tolerances.FLOAT64)
    np.testing.assert_allclose(layer.moving_variance, kept.var(0), rtol=tolerances.FLOAT64)
    full = Ours(axis=1, dtype="float64", momentum=0.0)
    full(x, training=True, mask=mask[:, None, :])
    np.testing.assert_array_equal(full.moving_mean, layer.moving_mean)
    wrong = BuiltIn(axis=1, dtype="float64", momentum=0.0)
    wrong(x, training=True, mask=mask)
    assert np.abs(wrong.moving_mean - kept.mean(0)).max() > 0.01
    with pytest.raises(ValueError, match=r"\(0, 2\).*mask.shape=\(4, 2\), inputs.shape=\(4, 3, 5\)"):
        Ours(axis=1)(np.ones((4, 3, 5)), training=True, mask=np.ones((4, 2), bool))


def test_06_mask_of_lower_rank():
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(4, 5, 2, 3)), rng.random((4, 5)) < 0.6
    layer = Ours(dtype="float64", momentum=0.0)
    layer(x, training=True, mask=mask)
    np.testing.assert_allclose(layer.moving_mean, x[mask].mean((0, 1)), rtol=tolerances.FLOAT64)
    with pytest.raises(ValueError, match="one dimension less"):
        BuiltIn()(x, mask=mask)


def test_07_mask_with_one_channel():
    x, mask = np.arange(8.0).reshape(2, 1, 4), np.array([[1, 1, 0, 0], [1, 0, 0, 1]], bool)
    layer = Ours(axis=1, momentum=0.0)
    layer(x, training=True, mask=mask)
    np.testing.assert_allclose(layer.moving_mean, [x[:, 0][mask].mean()])
    with pytest.raises((IndexError, ValueError, tf.errors.InvalidArgumentError)):
        BuiltIn(axis=1, momentum=0.0)(x, training=True, mask=mask)


def test_08_float_mask_is_weights():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(9, 3)), rng.uniform(0.1, 2.0, 9)
    layer, built_in = (kind(dtype="float64", momentum=0.0) for kind in (Ours, BuiltIn))
    layer(x, training=True, mask=weights)
    mean = np.average(x, axis=0, weights=weights)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=tolerances.FLOAT64)
    np.testing.assert_allclose(
        layer.moving_variance, np.average((x - mean) ** 2, axis=0, weights=weights), rtol=tolerances.FLOAT64
    )
    if keras.__version__ >= "3.15":  # 3.14 still took weights
        built_in(x, training=True, mask=weights)
        assert np.abs(built_in.moving_mean - mean).max() > 0.01


def on_two_replicas(kind: type, x: np.ndarray, *mask: np.ndarray, sizes: tuple[int, int] = (4, 4), **options):
    """A layer that saw one batch on two replicas, and its y."""
    with strategy(2).scope():
        layer = kind(momentum=0.0, **options)
        layer.build(x.shape)
    (y,) = on_replicas(lambda x, *mask: [layer(x, training=True, mask=mask[0] if mask else None)], sizes, x, *mask)
    return layer, np.concatenate(y)


def test_09_mask_and_synchronized():
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(8, 5, 3)), rng.random((8, 5)) < 0.6
    layer, y = on_two_replicas(Ours, x, mask, dtype="float64", synchronized=True)
    mean, variance = x[mask].mean(0), x[mask].var(0)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), atol=tolerances.FLOAT64)
    for copy in copies_of(layer.moving_mean):
        np.testing.assert_allclose(copy, mean, rtol=tolerances.FLOAT64)
    built_in, _ = on_two_replicas(BuiltIn, x, mask, dtype="float64", synchronized=True)
    first, second = copies_of(built_in.moving_mean)
    assert np.abs(first - second).max() > 0.1


def test_10_one_set_of_moving_statistics():
    """Two replicas see values around −10 and 10; then each predicts for the same row."""
    x = np.random.default_rng(0).normal(size=(8, 3)) + np.where(np.arange(8) < 4, -10, 10)[:, None]
    found = {}
    for kind in (Ours, BuiltIn):
        layer, _ = on_two_replicas(kind, x, dtype="float64")
        (found[kind],) = on_replicas(lambda x, layer=layer: [layer(x)], (1, 1), np.zeros((2, 3)))
        if kind is Ours:
            for copy in copies_of(layer.moving_variance):
                np.testing.assert_allclose(copy, x.var(0), rtol=tolerances.FLOAT64)
    np.testing.assert_array_equal(*found[Ours])
    assert np.abs(np.subtract(*found[BuiltIn])).max() > 10


@pytest.mark.parametrize(("mean", "std"), [(1e3, 1.0), (1e4, 1.0), (2e19, 1e16)])
def test_11_synchronized_variance(mean, std):
    x = (np.random.default_rng(0).normal(mean, std, (64, 3))).astype("float32")
    true = x.astype("float64").var(0)
    layer, y = on_two_replicas(Ours, x, synchronized=True, sizes=(24, 40))
    assert oracles.output_error(layer.moving_variance.numpy(), true) < tolerances.FLOAT32[1e4]
    z = (x - x.mean(0, dtype="float64")) / np.sqrt(true + 1e-3)
    assert oracles.output_error(y, z) < tolerances.FLOAT32[1e4]
    built_in, _ = on_two_replicas(BuiltIn, x, synchronized=True, sizes=(24, 40))
    assert not oracles.output_error(built_in.moving_variance.numpy(), true) < 0.01  # NaN too


@pytest.mark.parametrize("synchronized", [True, False])
def test_12_a_replica_without_rows(synchronized):
    x = np.random.default_rng(0).normal(size=(8, 3))
    layer, _ = on_two_replicas(Ours, x, sizes=(8, 0), dtype="float64", synchronized=synchronized)
    for copy in copies_of(layer.moving_variance):
        np.testing.assert_allclose(copy, x.var(0), rtol=tolerances.FLOAT64)
    built_in, _ = on_two_replicas(BuiltIn, x, sizes=(8, 0), dtype="float64")
    assert np.isnan(copies_of(built_in.moving_mean)[1]).all()


@pytest.mark.parametrize(("ratio", "allowed"), [(1e3, 1e-6), (1e4, 1e-6), (1e5, 2e-6)])
def test_13_large_mean(ratio, allowed):
    case = Case((4096, 4), -1)
    inputs = draw(case, mean_over_std=ratio, dtype="float32")
    inputs = inputs._replace(gamma=np.ones(4, "float32"), beta=np.zeros(4, "float32"))
    true = oracles.autodiff(inputs, case).y
    assert oracles.output_error(Ours(engine="closed_form")(inputs.x, training=True).numpy(), true) < allowed
    assert oracles.output_error(Ours()(inputs.x, training=True).numpy(), true) < 1e-5
    if ratio == 1e4:
        assert oracles.output_error(BuiltIn()(inputs.x, training=True).numpy(), true) > 1e-4


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(64, 4), (4, 5, 5, 4)])
def test_14_inference_with_a_large_mean(shape, jit_compile):
    x = (np.random.default_rng(0).normal(size=shape) + 1e5).astype("float32")
    true = (x.astype("float64") - 1e5) / np.sqrt(1 + 1e-3)
    errors = []
    for kind in (Ours, BuiltIn):
        layer = kind()
        layer.build(shape)
        layer.set_weights([np.ones(4), np.zeros(4), np.full(4, 1e5), np.ones(4)])
        y = tf.function(lambda x, layer=layer: layer(x, training=False), jit_compile=jit_compile)(x)
        errors.append(oracles.output_error(y.numpy(), true))
    assert errors[0] < 1e-6
    assert errors[1] > 1e-5


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_16_state_is_wide(policy):
    layer = Ours(dtype=policy)
    y = layer(np.full((4, 2), 7e4, "float32") * [[1], [2], [3], [4]], training=True)
    assert y.dtype == layer.compute_dtype
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    assert np.isfinite(state(layer)[3]).all()
    if policy == "float16":
        narrow = BuiltIn(dtype=policy)
        narrow.build((None, 2))
        assert {weight.dtype for weight in narrow.weights} == {"float16"}


def test_17_wide_input_of_a_narrow_layer():
    x = np.random.default_rng(0).normal(1e6, 1e5, (64, 3)).astype("float32")
    wide = Ours(dtype="float32")(x, training=True).numpy()
    np.testing.assert_allclose(Ours(dtype="mixed_float16")(x, training=True), wide, atol=2e-3)  # a float16 output
    assert not np.isfinite(BuiltIn(dtype="mixed_float16")(x, training=True).numpy()).all()


def test_18_mask_denominator_is_exact():
    x, mask = np.random.default_rng(0).normal(3.0, 1.0, (6, 2)), np.array([1, 1, 1, 0, 0, 1], bool)
    old = keras.config.epsilon()
    try:
        keras.config.set_epsilon(1e-2)
        layers = [kind(dtype="float64", momentum=0.0) for kind in (Ours, BuiltIn)]
        for layer in layers:
            layer(x, training=True, mask=mask)
    finally:
        keras.config.set_epsilon(old)
    np.testing.assert_allclose(layers[0].moving_mean, x[mask].mean(0), rtol=tolerances.FLOAT64)
    assert np.abs(layers[1].moving_mean - x[mask].mean(0)).max() > 1e-3


def test_19_unknown_shapes():
    layer, built_in = Ours(axis=1), BuiltIn(axis=1)
    x = np.random.default_rng(0).normal(size=(4, 3, 5)).astype("float32")
    for one in (layer, built_in):
        one.build((None, 3, None))
    expected = layer(x, training=True).numpy()
    for shape in (None, [None, None, None]):
        found = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec(shape, tf.float32)])(x)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        with pytest.raises((ValueError, TypeError)):
            tf.function(lambda x: built_in(x, training=True), input_signature=[tf.TensorSpec(shape, tf.float32)])(x)


def test_20_recomputation():
    def moving_mean(kind: type) -> float:
        with keras.RematScope(mode="full"):
            layer = kind(momentum=0.5)
        inputs = keras.Input((1,))
        model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(np.full((8, 1), 2.0), np.ones((8, 1)), batch_size=8, verbose=0)
        return float(layer.moving_mean[0])

    assert moving_mean(Ours) == pytest.approx(1.0)  # one update: 0.5 · 0 + 0.5 · 2
    assert moving_mean(BuiltIn) == pytest.approx(1.5)  # two


class Composite(keras.layers.Layer):
    """A layer that holds a batch normalization."""

    def __init__(self, norm, **kwargs):
        super().__init__(**kwargs)
        self.norm = norm

    def call(self, x, training=None):
        return 2 * self.norm(x, training=training)


# In a graph, Keras cannot recompute a layer whose call takes ``training``, and infers in backward where it takes none.
@pytest.mark.parametrize(
    ("kind", "run_eagerly"),
    [("composite", True), ("model", True), ("recompute_grad", True), ("recompute_grad", False)],
)
def test_20_recomputation_of_what_holds_the_layer(kind, run_eagerly):
    """TensorFlow runs all of it again in backward; statistics are updated once all the same."""

    def moving_mean(layer) -> float:
        inputs = keras.Input((1,))
        if kind == "recompute_grad":
            block = keras.layers.Lambda(tf.recompute_grad(lambda x: layer(x, training=True)))
            layer.build((None, 1))
        else:
            with keras.RematScope(mode="full"):
                block = Composite(layer) if kind == "composite" else keras.Sequential([keras.Input((1,)), layer])
        model = keras.Model(inputs, keras.layers.Dense(1)(block(keras.layers.Dense(1)(inputs))))
        model.layers[1].set_weights([np.ones((1, 1)), np.zeros(1)])
        model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=run_eagerly, jit_compile=False)
        model.train_on_batch(np.full((8, 1), 2.0), np.ones((8, 1)))
        return float(layer.moving_mean[0])

    assert moving_mean(Ours(momentum=0.5)) == pytest.approx(1.0)
    assert moving_mean(BuiltIn(momentum=0.5)) == pytest.approx(1.5)


def test_22_legacy_configs():
    config = {"axis": [3], "fused": True, "momentum": 0.9, "epsilon": 1e-4, "name": "old", "virtual_batch_size": 4}
    layer = Ours.from_config(config)
    assert (layer.axis, layer.momentum, layer.virtual_batch_size) == (3, 0.9, 4)
    with pytest.raises((TypeError, ValueError)):
        BuiltIn.from_config(config)


@pytest.mark.parametrize(
    ("option", "said"), [({"momentum": 1.5}, r"\[0, 1\].*momentum=1.5"), ({"epsilon": -1}, "negative.*epsilon=-1")]
)
def test_23_range_of_arguments(option, said):
    with pytest.raises(ValueError, match=said):
        Ours(**option)
    BuiltIn(**option)


def test_24_message_about_clipping():
    bounds = {"rmin": 2.0, "rmax": 1.0}
    with pytest.raises(ValueError, match=r"rmin=2.0, rmax=1.0"):
        Ours(renorm=True, renorm_clipping=bounds)
    with pytest.raises(ValueError, match=r"\{rmax\}"):
        BuiltIn(renorm=True, renorm_clipping=bounds)


@pytest.mark.parametrize("samples", [1, 3, 7, 8])
def test_25_ghost_batches(samples):
    x = np.random.default_rng(0).normal(size=(samples, 4, 2))
    layer = Ours(virtual_batch_size=3, dtype="float64", momentum=0.0)
    y = layer(x, training=True).numpy()
    for first in range(0, samples, 3):
        group = x[first : first + 3]
        expected = (group - group.mean((0, 1))) / np.sqrt(group.var((0, 1)) + 1e-3)
        np.testing.assert_allclose(y[first : first + 3], expected, atol=1e-13)
    np.testing.assert_allclose(layer.moving_mean, x.mean((0, 1)), rtol=tolerances.FLOAT64)
    np.testing.assert_allclose(layer.moving_variance, x.var((0, 1)), rtol=tolerances.FLOAT64)
    assert layer(x[:1], training=False).shape == (1, 4, 2)


def test_27_second_derivatives():
    """The built-in layer holds the mean constant in its variance: right for the gradient, not for the gradient's."""
    case = Case((8, 2), -1)
    inputs = draw(case)
    tensors = [tf.constant(value) for value in (inputs.x, inputs.dy, np.random.default_rng(1).normal(size=case.shape))]

    def of_penalty(function):
        x, dy, u = tensors
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x)
            dx = inner.gradient(y, x, output_gradients=dy)
        return outer.gradient(dx, x, output_gradients=u).numpy()

    true = of_penalty(lambda x: oracles.plain(x, tf.ones(2, tf.float64), tf.zeros(2, tf.float64), case)[0])
    errors = [
        oracles.output_error(of_penalty(lambda x, layer=layer: layer(x, training=True)), true)
        for layer in (Ours(dtype="float64"), BuiltIn(dtype="float64"))
    ]
    assert errors[0] < tolerances.SECOND_ORDER
    assert errors[1] > 0.01


@pytest.mark.parametrize("synchronized", [True, False])
def test_26_xla_over_several_replicas(synchronized):
    """An error that names the limit before TensorFlow fails, which it does for a model of dense layers alone."""

    def fit(replicas: int, *layers: keras.layers.Layer) -> None:
        with strategy(replicas).scope():
            model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
            model.compile("sgd", "mse", jit_compile=True)
        model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)

    with pytest.raises(
        NotImplementedError, match=r"one device only.*2 replicas of MirroredStrategy.*jit_compile=False"
    ):
        fit(2, Ours(synchronized=synchronized))
    fit(1, Ours(synchronized=synchronized))
    if synchronized:
        with pytest.raises(tf.errors.InvalidArgumentError, match="located in device"):
            fit(2)
