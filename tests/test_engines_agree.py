"""Every engine evaluates the same formulas to the same numbers, within stated tolerances; selection says why."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn import batch_norm
from keras_bn.engines import column_sums, selection
from tests import oracles, tolerances
from tests.cases import EPSILON, Case, draw, in_mode

CHANNELS_LAST = [Case((64, 8), -1), Case((1000, 16), -1), Case((4, 7, 8), 2), Case((8, 14, 14, 16), -1)]
CHANNELS_LAST += [Case((2, 3, 4, 5, 8), -1), Case((100_000, 8), -1)]
# The engines that "auto" chooses where it can, without oneDNN and with it.
FAST = ["products", "fused"]


def by(engine: str, case: Case):
    return lambda x, gamma, beta: batch_norm(x, gamma, beta, axis=case.axis, epsilon=EPSILON, engine=engine)


@pytest.mark.parametrize("engine", selection.ENGINES)
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("mean_over_std", [0.0, 0.5, 2.0, 3.0, 10.0, 25.0, 31.0, 1e2, 1e3, 1e5])
@pytest.mark.parametrize("case", CHANNELS_LAST, ids=lambda case: case.id)
def test_every_engine_is_as_accurate_as_it_claims(case, mean_over_std, mode, engine):
    inputs = draw(case, mean_over_std=mean_over_std, dtype="float32")
    tensors = inputs.tensors()
    function = in_mode(mode, lambda *a: oracles.gradients(by(engine, case), *a), tensors, case.axis)
    found = oracles.Result(*(value.numpy() for value in function(*tensors)))
    true = oracles.autodiff(inputs, case)
    assert oracles.output_error(found.y, true.y) < tolerances.AUTO
    assert oracles.dx_error(found.dx, inputs, true, case) < tolerances.AUTO
    # A float32 mean is exact to half a unit in its last place.
    np.testing.assert_allclose(found.mean, true.mean, rtol=tolerances.AUTO, atol=tolerances.AUTO)
    # What is claimed is claimed of y and dx, in which the standard deviation stands, not the variance.
    np.testing.assert_allclose(np.sqrt(found.variance), np.sqrt(true.variance), rtol=tolerances.AUTO)


def unlike_normals(elements: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """x and δ of which the sums, added up one by one, lose digits: alike numbers, outliers, biased cotangents."""
    rng = np.random.default_rng(0)
    normal, other = rng.normal(size=(2, elements, 8))
    first = np.where(np.arange(elements) < elements // 32, 1, 0)[:, None]
    return {
        "behind a ReLU": (np.maximum(normal, 0), other),
        "ReLU, both": (np.maximum(normal, 0), np.maximum(other, 0)),
        "bits": (rng.integers(0, 2, normal.shape), other),
        "uniform": (rng.uniform(size=normal.shape), rng.uniform(-1, 1, size=normal.shape)),
        "large rows first": ((1 + normal) * (1 + 29 * first), other),
        "huge rows first": ((1 + normal) * (1 + 999 * first), other),
        "log-normal": (np.exp(2 * normal), other),
        "large cotangents first": (1 + normal, other * (1 + 999 * first)),
        "biased cotangents": (1 + normal, 0.5 + other),
        "one channel large": (normal * 10.0 ** np.arange(8), other),
        "one channel constant": (np.where(np.arange(8) == 3, 5.0, normal), other),
        "one channel zero": (np.where(np.arange(8) == 3, 0.0, normal), other),
    }


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("elements", [1000, 100_000])
@pytest.mark.parametrize("kind", unlike_normals(1))
def test_auto_is_accurate_whatever_the_distribution(kind, elements, engine):
    """As above; the built-in layer errs by up to 2e-4 here."""
    x, dy = (value.astype("float32") for value in unlike_normals(elements)[kind])
    case, none = Case(x.shape, -1), np.zeros(8, "float32")
    inputs = draw(case, dtype="float32")._replace(x=x, dy=dy, d_mean=none, d_variance=none)
    tensors = inputs.tensors()
    function = in_mode("graph", lambda *a: oracles.gradients(by(engine, case), *a), tensors, case.axis)
    found, true = oracles.Result(*(value.numpy() for value in function(*tensors))), oracles.autodiff(inputs, case)
    assert oracles.output_error(found.y, true.y) < tolerances.AUTO
    assert oracles.dx_error(found.dx, inputs, true, case) < tolerances.AUTO
    np.testing.assert_allclose(found.variance, true.variance, rtol=tolerances.AUTO, atol=1e-30)


@pytest.mark.parametrize(
    ("shape", "known"),
    [
        *(((16, 48, 48, 8), known) for known in (True, False)),
        *(((6, 5, 7, 300), known) for known in (True, False)),
        *(((7, 12, 33, 20), known) for known in (True, False)),
        *(((5, 97, 1, 4), known) for known in (True, False)),
        ((3, 1, 1, 8), True),
    ],
)
def test_sums_of_columns_whatever_the_sizes(shape, known):
    x = np.random.default_rng(0).normal(1, 2, shape).astype("float32")
    spec = tf.TensorSpec(shape if known else (None, *shape[1:]))
    assert column_sums.run_length(spec.shape) is not None
    found = tf.function(sums, input_signature=[spec] * 2, autograph=False)(x, x[::-1])
    a, b = (value.reshape(-1, shape[-1]).astype("float64") for value in (x, x[::-1]))
    # Of numbers of the order 1: a few roundings of 6e-8, times the few hundred additions of a run at most.
    np.testing.assert_allclose(found[0] / len(a), a.mean(0), atol=1e-5)
    np.testing.assert_allclose(found[1] / len(a), (a * b).mean(0), atol=3e-5)
    np.testing.assert_allclose(found[2] / len(a), np.square(a).mean(0), rtol=1e-5)


def sums(a, b):
    """Σ a, Σ a·b and Σ a², by columns."""
    products = column_sums.of_products
    return column_sums.total(a, a.shape), products(a, b, a.shape), products(a, a, a.shape)


@pytest.mark.parametrize("shape", [(32, 56, 56, 64), (16, 48, 48, 96), (None, 40, 40, 64), (32, 14, 14, 1024)])
def test_sums_of_products_write_little(shape):
    # The kernel writes its sums once an image: with two rows an image, half of what it reads; here a 16th at most.
    of_squares = lambda x: column_sums.of_products(x, x, x.shape)  # noqa: E731
    graph = tf.function(of_squares, autograph=False).get_concrete_function(tf.TensorSpec(shape)).graph
    (kernel,) = (o for o in graph.get_operations() if o.type == "DepthwiseConv2dNativeBackpropFilter")
    assert kernel.inputs[0].shape[2] >= 16


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("mean_over_std", [0.5, 1e3])
def test_second_order(mode, mean_over_std, engine):
    """Against float64; both branches of the guard."""
    case = Case((6, 5, 8), -1)
    inputs = draw(case, mean_over_std=mean_over_std, dtype="float32")
    directions = draw(case, seed=1, dtype="float32")
    values = [*inputs, directions.dy, directions.gamma, directions.beta]
    tensors = [tf.constant(value) for value in values]
    found = in_mode(mode, lambda *a: oracles.second_order(by(engine, case), *a), tensors, case.axis)(*tensors)
    wide = [tf.constant(value.astype("float64")) for value in values]
    true = oracles.second_order(lambda *a: oracles.plain(*a, case), *wide)
    for a, b in zip(found, true, strict=True):
        assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.SECOND_ORDER_FUSED


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("mean_over_std", [0.5, 2.0, 31.0, 1e5])
@pytest.mark.parametrize("case", CHANNELS_LAST, ids=lambda case: case.id)
@pytest.mark.parametrize("kind", ["boolean", "weights", "NaN where nothing counts", "nothing counts"])
def test_fused_with_a_mask(kind, case, mean_over_std, mode):
    """Against the closed form in float64, which has tests of its own; with random cotangents of all three outputs."""
    rng = np.random.default_rng(2)
    inputs = draw(case, mean_over_std=mean_over_std, dtype="float32")
    mask = rng.random(case.shape[:-1]) < 0.7 if kind != "nothing counts" else np.zeros(case.shape[:-1], bool)
    if kind == "weights":
        mask = (mask * rng.uniform(0.5, 2.0, mask.shape)).astype("float32")
    if kind == "NaN where nothing counts":
        inputs = inputs._replace(x=np.where(mask[..., None], inputs.x, np.float32("nan")))

    def function(engine):
        def forward(x, gamma, beta):
            return batch_norm(x, gamma, beta, axis=case.axis, epsilon=EPSILON, engine=engine, mask=mask)

        return lambda *a: oracles.gradients(forward, *a)

    tensors = inputs.tensors()
    found = in_mode(mode, function("fused"), tensors, case.axis)(*tensors)
    true = function("closed_form")(*inputs.astype("float64").tensors())
    found, true = (oracles.Result(*(value.numpy() for value in values)) for values in (found, true))
    assert np.array_equal(np.isnan(found.y), np.isnan(true.y))
    assert oracles.output_error(np.nan_to_num(found.y), np.nan_to_num(true.y)) < tolerances.AUTO
    assert oracles.dx_error(found.dx, inputs, true, case) < tolerances.AUTO
    x_hat = np.nan_to_num((true.y - inputs.beta) / inputs.gamma)
    summed = np.sum(np.abs(inputs.dy) * (1 + np.abs(x_hat)), axis=case.reduced)  # the sums themselves may cancel
    for a, b in ((found.dgamma, true.dgamma), (found.dbeta, true.dbeta)):
        assert np.max(np.abs(a - b) / summed) < tolerances.AUTO


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("mean_over_std", [0.5, 1e3])
def test_fused_second_order_with_a_mask(mode, mean_over_std):
    case = Case((6, 5, 8), -1)
    mask = np.random.default_rng(2).random(case.shape[:-1]) < 0.7
    inputs, directions = (draw(case, mean_over_std=mean_over_std, dtype="float32", seed=seed) for seed in (0, 1))
    values = [*inputs, directions.dy, directions.gamma, directions.beta]

    def function(engine):
        def forward(x, gamma, beta):
            return batch_norm(x, gamma, beta, epsilon=EPSILON, engine=engine, mask=mask)

        return lambda *a: oracles.second_order(forward, *a)

    tensors = [tf.constant(value) for value in values]
    found = in_mode(mode, function("fused"), tensors, case.axis)(*tensors)
    true = function("closed_form")(*(tf.constant(value.astype("float64")) for value in values))
    for a, b in zip(found, true, strict=True):
        assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.SECOND_ORDER_FUSED


def test_the_scale_of_weights_does_not_lift_the_guard():
    """At mean/std 3000 the kernels lose digits, whatever the weights add up to."""
    case = Case((20_000, 8), -1)
    inputs = draw(case, mean_over_std=3e3, dtype="float32")
    x, gamma, beta = inputs.tensors()[:3]
    mask = tf.fill([20_000], 1e-6)
    found = batch_norm(x, gamma, beta, epsilon=EPSILON, engine="fused", mask=mask).y
    assert oracles.output_error(found.numpy(), oracles.autodiff(inputs, case).y) < tolerances.AUTO


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fused_in_half_precision(dtype):
    x = tf.cast(np.random.default_rng(0).normal(size=(256, 16)), dtype)
    found = {engine: batch_norm(x, tf.ones(16), tf.zeros(16), engine=engine) for engine in ("fused", "closed_form")}
    rounding = 2.0**-11 if dtype == "float16" else 2.0**-8
    y, other = (tf.cast(found[engine].y, tf.float32) for engine in ("fused", "closed_form"))
    np.testing.assert_allclose(y, other, atol=4 * 2 * rounding)  # one rounding of y, which is below 4
    np.testing.assert_allclose(found["fused"].variance, found["closed_form"].variance, rtol=1e-5)
    assert found["fused"].y.dtype == dtype


@pytest.mark.parametrize("engine", FAST)
def test_one_element_has_variance_zero(engine):
    y, mean, variance = batch_norm(tf.fill([1, 8], 3.0), tf.ones(8), tf.fill([8], 0.5), engine=engine)
    np.testing.assert_array_equal(y, np.full((1, 8), 0.5))
    np.testing.assert_array_equal(mean, np.full(8, 3.0))
    np.testing.assert_array_equal(variance, np.zeros(8))


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("magnitude", [1e20, 1e37])
def test_where_the_variance_overflows(magnitude, engine):
    x = tf.constant((np.random.default_rng(0).uniform(-1, 1, (20_000, 8)) * magnitude).astype("float32"))
    layer = keras_bn.BatchNormalization(engine=engine)
    layer.build(x.shape)
    for function in (layer, tf.function(layer)):
        np.testing.assert_array_equal(function(x, training=True), np.zeros(x.shape))
    np.testing.assert_array_equal(layer.moving_variance, np.ones(8))


@pytest.mark.parametrize(
    ("options", "call", "engine", "reason"),
    [
        ({}, {"input_shape": (32, 56, 56, 64)}, "fused", "fastest"),
        ({}, {"input_shape": (None, 56, 56, 64)}, "fused", "fastest"),
        ({}, {"input_shape": (32, 10)}, "closed_form", "about 320 elements"),
        ({}, {"input_shape": (32, 56, 56, 3)}, "closed_form", "fewer than 8 channels"),
        ({}, {"input_shape": (32, 56, 56, 64), "jit_compile": True}, "closed_form", "XLA.*cancels"),
        ({}, {"input_shape": (32, 56, 56, 64), "dtype": "float64"}, "closed_form", "no float64"),
        ({}, {"input_shape": (32, 56, 56, 64), "mask": True}, "fused", "fastest"),
        ({"dtype": "float16"}, {"input_shape": (32, 56, 56, 64), "mask": True}, "closed_form", "mask.*float32"),
        ({"axis": 1}, {"input_shape": (32, 64, 56, 56)}, "closed_form", "channels last"),
        ({"axis": (2, 3)}, {"input_shape": (32, 64, 56, 56)}, "closed_form", "channels last"),
        ({"renorm": True}, {"input_shape": (32, 56, 56, 64)}, "closed_form", "renormalization"),
        ({"virtual_batch_size": 4}, {"input_shape": (32, 56, 56, 64)}, "closed_form", "ghost"),
        ({"synchronized": True}, {"input_shape": (32, 56, 56, 64)}, "fused", "fastest"),
        ({"epsilon": 0.0}, {"input_shape": (32, 56, 56, 64)}, "closed_form", "constant"),
        ({"epsilon": 1e-39}, {"input_shape": (32, 56, 56, 64)}, "closed_form", "constant"),
        ({"engine": "closed_form"}, {"input_shape": (32, 56, 56, 64)}, "closed_form", "asked for"),
        ({}, {"input_shape": (1, 8, 8, 4), "training": False}, "fused", "fastest"),
        ({}, {"input_shape": (8, 4), "training": False}, "closed_form", "rank 4"),
    ],
)
def test_selection_and_its_reason(options, call, engine, reason, monkeypatch):
    with_onednn(monkeypatch, True)
    choice = keras_bn.BatchNormalization(**options).engine_for(**call)
    assert choice.engine == engine
    assert re.search(reason, choice.reason), choice.reason


@pytest.mark.parametrize(
    ("options", "call", "engine", "reason"),
    [
        ({}, {"input_shape": (32, 56, 56, 64)}, "products", "without oneDNN.*fastest"),
        ({}, {"input_shape": (None, 56, 56, 64)}, "products", "without oneDNN.*fastest"),
        ({}, {"input_shape": (8, 8, 8, 128)}, "products", "without oneDNN.*fastest"),
        ({}, {"input_shape": (8, 8, 8, 128), "eager": True}, "closed_form", "about 65536 elements"),
        ({}, {"input_shape": (32, 56, 56, 64), "eager": True}, "fused", "fastest"),
        ({}, {"input_shape": (32, 112, 112, 64)}, "fused", "fastest"),
        ({}, {"input_shape": (128, 512)}, "closed_form", "about 65536 elements"),
        ({}, {"input_shape": (512, 32)}, "closed_form", "about 16384 elements"),
        ({}, {"input_shape": (32, 56, 56, 64), "mask": True}, "fused", "fastest"),
        ({}, {"input_shape": (32, 56, 56, 64), "training": False}, "fused", "fastest"),
        ({"dtype": "bfloat16"}, {"input_shape": (32, 56, 56, 64)}, "fused", "fastest"),
        ({"renorm": True}, {"input_shape": (32, 56, 56, 64)}, "closed_form", "renormalization"),
    ],
)
def test_selection_without_onednn(options, call, engine, reason, monkeypatch):
    with_onednn(monkeypatch, False)
    choice = keras_bn.BatchNormalization(**options).engine_for(**call)
    assert choice.engine == engine
    assert re.search(reason, choice.reason), choice.reason


def with_onednn(monkeypatch, runs):
    monkeypatch.setattr(selection, "runs_onednn", lambda: runs)
    selection.choose.cache_clear()
    monkeypatch.setattr(selection, "choose", selection.choose.__wrapped__)


@pytest.mark.slow
def test_whether_onednn_runs_is_what_tensorflow_says(tmp_path):
    """In a process each, since TensorFlow asks once."""
    code = "from keras_bn.engines import selection; print(selection.runs_onednn())"
    for value, expected in (("0", "False"), ("1", "True")):
        environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": value}
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
        )
        assert found.stdout.strip() == expected, found.stderr


def test_an_engine_that_cannot_serve_says_why():
    layer = keras_bn.BatchNormalization(engine="fused", dtype="float64")
    with pytest.raises(ValueError, match=r"no float64.*\(8, 4\).*engine='auto'"):
        layer(np.ones((8, 4)), training=True)
    with pytest.raises(ValueError, match="XLA"):
        tf.function(keras_bn.BatchNormalization(engine="fused"), jit_compile=True)(tf.ones([8, 4]), training=True)
    products = keras_bn.BatchNormalization(engine="products")
    with pytest.raises(ValueError, match=r"engine='products' cannot serve.*knows no masks"):
        products(np.ones((8, 4), "float32"), mask=np.ones(8, bool), training=True)
    with pytest.raises(ValueError, match=r"sums by products is used on float32.*float64"):
        batch_norm(np.ones((8, 4)), np.ones(4), np.ones(4), engine="products")


def test_xla_is_seen_wherever_it_is_asked_for():
    """In functions, in functions nested in them, and in Keras' own training loop."""
    seen = []

    class Watch(keras.layers.Layer):
        def call(self, x):
            seen.append(keras_bn.xla.compiles())
            return x

    inner = tf.function(Watch())
    tf.function(lambda x: inner(x), jit_compile=True)(tf.ones([2, 2]))
    assert seen == [True]
    seen.clear()
    model = keras.Sequential([keras.Input((2,)), Watch(), keras.layers.Dense(1)])
    seen.clear()
    for jit_compile in (True, False):
        model.compile("sgd", "mse", jit_compile=jit_compile)
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert set(seen[: len(seen) // 2]) == {True}
    assert set(seen[len(seen) // 2 :]) == {False}
