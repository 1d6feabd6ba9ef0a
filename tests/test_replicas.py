"""The layer under ``tf.distribute`` is the layer of one process on the concatenated batch.

Replicas are logical CPUs, configured in ``conftest``. That the oracle can tell is shown by the
unsynchronized layer, whose y and dx are those of each replica's own batch.
"""

import functools
import itertools
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn.batch import TensorBatch
from keras_bn.replicas import WholeBatch
from tests import oracles, tolerances
from tests.conftest import REPLICAS
from tests.distribution import copies_of, distributed, on_replicas, strategy

Layer = keras_bn.BatchNormalization
README = Path(__file__).parents[1] / "keras_bn" / "README.md"
SIZES = [(4, 4), (6, 2), (8, 0), (0, 8), (3, 1, 0, 4), (2, 2, 2, 2)]


def built(sizes: tuple[int, ...], channels: tuple[int, ...], **options) -> Layer:
    with strategy(len(sizes)).scope():
        layer = Layer(**options)
        layer.build(channels)
    return started(layer)


def started(layer: Layer) -> Layer:
    """Weights and statistics that are none of the initial ones."""
    rng = np.random.default_rng(5)
    layer.set_weights(
        [weight if weight.name == "update_count" else rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights]
    )
    return layer


def gradients(layer: Layer, x, dy, mask=None):
    """(y, dx, dgamma, dbeta)."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True, mask=mask)
    return y, *tape.gradient(y, [x, layer.gamma.value, layer.beta.value], tf.cast(dy, y.dtype))


def states(layer: Layer) -> list[list[np.ndarray]]:
    """The values of each weight besides gamma and beta, one a replica."""
    return [copies_of(weight) for weight in layer.weights[2:]]


def assert_one_truth(layer: Layer, single: Layer, tolerance: float) -> None:
    """All replicas hold the same bits, which are those of the single process within the tolerance."""
    for copies, weight in zip(states(layer), single.weights[2:], strict=True):
        for copy in copies:
            np.testing.assert_array_equal(copy, copies[0])
        np.testing.assert_allclose(copies[0], weight.numpy(), rtol=tolerance, atol=tolerance)


def draw(shape: tuple[int, ...], ratio: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """x, whose rows have means of their own, and a cotangent that is not centred."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) + ratio + np.linspace(0, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return x, rng.normal(size=shape) + 0.5


# Options of the layer, and the shape of the mask along the axes after the first; 0 is a boolean mask, 1 weights.
OPTIONS = [
    ({}, None),
    ({}, 0),
    ({}, 1),
    ({"axis": 1}, 1),
    ({"axis": (3, 1)}, None),
    ({"axis": (3, 1)}, 1),
    ({"unbiased_variance": True}, None),
    ({"unbiased_variance": True}, 1),
    ({"unbiased_variance": True, "momentum": None}, 0),
    ({"renorm": True, "renorm_clipping": {"rmax": 1.1, "rmin": 0.9, "dmax": 0.5}}, None),
    ({"renorm": True, "unbiased_variance": True}, 1),
    ({"epsilon": 0.0, "momentum": 0.0}, 0),
]


def mask_for(kind: int | None, shape: tuple[int, ...], axis) -> np.ndarray | None:
    if kind is None:
        return None
    axes = [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    rng = np.random.default_rng(1)
    reduced = [size for i, size in enumerate(shape) if i not in axes]
    return rng.random(reduced) < 0.6 if kind == 0 else rng.uniform(0, 2, reduced) * (rng.random(reduced) < 0.8)


@pytest.mark.parametrize(("options", "mask_kind"), OPTIONS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_synchronized_is_the_single_process(sizes, options, mask_kind):
    shape = (8, 2, 3, 2)
    x, dy = draw(shape)
    options = {"dtype": "float64", **options}
    mask = mask_for(mask_kind, shape, options.get("axis", -1))
    values = [x, dy] if mask is None else [x, dy, mask]
    single = Layer(**options)
    single.build(shape)
    started(single)
    true = [value.numpy() for value in gradients(single, *map(tf.constant, values))]
    layer = built(sizes, shape, synchronized=True, **options)
    # Graphs take longer to trace than all else; every size and every option has one.
    graph = (SIZES.index(sizes) + OPTIONS.index((options_of(options), mask_kind))) % 6 == 0
    y, dx, dgamma, dbeta = on_replicas(functools.partial(gradients, layer), sizes, *values, graph=graph)
    for found, expected in zip((np.concatenate(y), np.concatenate(dx), sum(dgamma), sum(dbeta)), true, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerances.FLOAT64, atol=tolerances.FLOAT64)
    assert_one_truth(layer, single, tolerances.FLOAT64)


def options_of(options: dict) -> dict:
    return {name: value for name, value in options.items() if name != "dtype"}


@pytest.mark.parametrize(("options", "mask_kind"), [*OPTIONS, ({"virtual_batch_size": 3}, 1)])
@pytest.mark.parametrize("sizes", [(6, 2), (3, 1, 0, 4)], ids=str)
def test_unsynchronized_keeps_one_set_of_statistics(sizes, options, mask_kind):
    """y and gradients are those of each replica's own batch, the moving statistics those of the whole."""
    shape = (8, 2, 3, 2)
    x, dy = draw(shape)
    options = {"dtype": "float64", **options}
    mask = mask_for(mask_kind, shape, options.get("axis", -1))
    values = [x, dy] if mask is None else [x, dy, mask]
    layer = built(sizes, shape, **options)
    found = on_replicas(functools.partial(gradients, layer), sizes, *values)
    cuts = np.cumsum(sizes)[:-1]
    for replica, parts in enumerate(zip(*(np.split(value, cuts) for value in values), strict=True)):
        own = Layer(**options)
        own.build(shape)
        for value, expected in zip(found, gradients(started(own), *map(tf.constant, parts)), strict=True):
            np.testing.assert_allclose(value[replica], expected, rtol=tolerances.FLOAT64, atol=tolerances.FLOAT64)
    single = Layer(**options)
    single.build(shape)
    gradients(started(single), *map(tf.constant, values))
    assert_one_truth(layer, single, tolerances.FLOAT64)


@pytest.mark.parametrize("synchronized", [True, False])
@pytest.mark.parametrize("ratio", [0.5, 1e2, 1e4])
@pytest.mark.parametrize("sizes", [(3000, 1096), (1024, 3, 1069, 2000)], ids=str)
def test_float32_with_a_large_mean(sizes, ratio, synchronized):
    """The table holds means as pairs: a single float32 is off by 6e-4 standard deviations at mean/std 10⁴."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4096, 4)) + ratio + np.linspace(0, 1, 4096)[:, None]).astype("float32")
    dy = (rng.normal(size=x.shape) + 0.5).astype("float32")
    options = {"momentum": 0.0, "synchronized": synchronized}
    layer = built(sizes, x.shape, **options)
    y, dx, dgamma, dbeta = on_replicas(functools.partial(gradients, layer), sizes, x, dy)
    wide = Layer(dtype="float64", **options)
    wide.build(x.shape)
    true = [value.numpy() for value in gradients(started(wide), *(tf.constant(v.astype("float64")) for v in (x, dy)))]
    variance = states(layer)[1]
    for copy in variance:
        np.testing.assert_array_equal(copy, variance[0])
    assert oracles.output_error(variance[0], wide.moving_variance.numpy()) < tolerances.FLOAT32[ratio]
    assert oracles.output_error(states(layer)[0][0], wide.moving_mean.numpy()) < tolerances.FLOAT32[ratio]
    if synchronized:
        assert oracles.output_error(np.concatenate(y), true[0]) < tolerances.FLOAT32[ratio]
        assert oracles.output_error(np.concatenate(dx), true[1]) < tolerances.FLOAT32[ratio]
        assert oracles.output_error(sum(dgamma), true[2]) < tolerances.SUMS_FLOAT32
        assert oracles.output_error(sum(dbeta), true[3]) < tolerances.SUMS_FLOAT32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_half_precision(dtype):
    """Statistics and sums are float32: only y and dx are rounded."""
    x, dy = draw((8, 5, 4))
    narrow = tf.as_dtype(keras.dtype_policies.get(dtype).compute_dtype)
    x, dy = (tf.cast(value, narrow) for value in (x, dy))
    layer, single = built((6, 2), x.shape, dtype=dtype, synchronized=True), Layer(dtype=dtype)
    single.build(x.shape)
    true = gradients(started(single), x, dy)
    parts = on_replicas(functools.partial(gradients, layer), (6, 2), x.numpy(), dy.numpy())
    assert_one_truth(layer, single, tolerances.FLOAT32[0.5])
    for found, expected in zip(parts[:2], true[:2], strict=True):
        assert found[0].dtype == narrow
        # A float32 that differs in its last digits may be rounded to the neighbour.
        found = np.concatenate(found).astype("float64")
        unit = float(np.finfo("float16").eps) if narrow == tf.float16 else 2.0**-7
        np.testing.assert_allclose(found, tf.cast(expected, tf.float64), rtol=unit, atol=unit / 4)


@pytest.mark.parametrize("synchronized", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_collectives_are_counted(monkeypatch, synchronized, graph):
    """Forward one of [R·(3C + 1)] numbers, and backward one of [2C] if synchronized; in inference none."""
    context, calls = tf.distribute.ReplicaContext, []
    original = context.all_reduce

    def counted(self, reduce_op, value, options=None):
        calls.extend(tuple(v.shape) for v in tf.nest.flatten(value))
        return original(self, reduce_op, value, options)

    monkeypatch.setattr(context, "all_reduce", counted)
    x, dy = draw((8, 3, 5))
    layer = built((6, 2), x.shape, synchronized=synchronized, dtype="float64")
    on_replicas(functools.partial(gradients, layer), (6, 2), x, dy, graph=graph)
    replicas, channels = 2, 5
    expected = [(replicas * (3 * channels + 1),)] + [(2 * channels,)] * synchronized
    assert calls == [shape for shape in expected for _ in range(replicas)]
    calls.clear()
    on_replicas(lambda x: [layer(x, training=False)], (6, 2), x, graph=graph)
    layer.trainable = False
    on_replicas(lambda x: [layer(x, training=True)], (6, 2), x, graph=graph)
    assert calls == []


def time_on_paper(replicas: int, *sizes: int) -> float:
    """Microseconds of all-reduces of so many bytes, as keras_bn/README.md models them."""
    hops = 2 * math.ceil(math.log2(replicas))
    return sum(hops * 10 + 2 * (replicas - 1) / replicas * size / 1e4 for size in sizes)


def test_costs_on_paper():
    """The table of keras_bn/README.md, and where two small sums become cheaper than the table of all replicas."""
    text = README.read_text(encoding="utf-8")

    def table(replicas: int, channels: int) -> int:
        return 4 * replicas * (3 * channels + 1)

    def two_sums(channels: int) -> tuple[int, int]:
        return 4 * (channels + 1), 8 * channels

    for replicas in (8, 64, 1024):
        six, ours, two, backward = (
            round(time_on_paper(replicas, *sizes))
            for sizes in ([4 * 256] * 6, [table(replicas, 256)], two_sums(256), [8 * 256])
        )
        assert f"| R = {replicas} | {six} | {ours} + {backward} | {two} + {backward} |" in text

    def first(others, channels: int) -> int:
        """Replicas from which other collectives are cheaper than ours."""
        return next(
            n
            for n in itertools.count(2)
            if time_on_paper(n, table(n, channels), 8 * channels) > time_on_paper(n, *others(channels))
        )

    two = [first(lambda c: [*two_sums(c), 8 * c], channels) for channels in (64, 256, 2048)]
    six = [first(lambda c: [4 * c] * 6, channels) for channels in (64, 256, 2048)]
    flowing = " ".join(text.split())
    assert "from {} replicas at C = 64, {} at C = 256 and {} at C = 2048".format(*two) in flowing
    assert "six sums from {}, {} and {} replicas.".format(*six) in flowing


def test_collectives_of_the_built_in_layer(monkeypatch):
    context, calls = tf.distribute.ReplicaContext, []
    original = context.all_reduce

    def counted(self, reduce_op, value, options=None):
        calls.extend(tf.nest.flatten(value))
        return original(self, reduce_op, value, options)

    monkeypatch.setattr(context, "all_reduce", counted)
    with strategy(2).scope():
        layer = keras.layers.BatchNormalization(synchronized=True)
        layer.build((None, 3, 5))
    x, dy = (value.astype("float32") for value in draw((8, 3, 5)))
    on_replicas(functools.partial(gradients, layer), (4, 4), x, dy)
    assert len(calls) == 2 * 6


@pytest.mark.parametrize("graph", [True, False])
def test_second_order(graph):
    """Gradients of u·dx + u_γ·dγ + u_β·dβ, through the collectives of both passes."""
    shape, sizes = (8, 3), (5, 3)
    x, dy = draw(shape)
    u = np.random.default_rng(3).normal(size=shape)
    u_vector = np.random.default_rng(4).normal(size=3)

    def second(layer, x, dy, u):
        sources = [x, dy, layer.gamma.value]
        with tf.GradientTape() as tape:
            tape.watch(sources[:2])
            first = gradients(layer, x, dy)[1:]
        return tape.gradient(list(first), sources, [u, tf.constant(u_vector), tf.constant(u_vector)])

    single = Layer(dtype="float64")
    single.build(shape)
    true = second(started(single), *map(tf.constant, (x, dy, u)))
    layer = built(sizes, shape, synchronized=True, dtype="float64")
    found = on_replicas(functools.partial(second, layer), sizes, x, dy, u, graph=graph)
    for value, expected in zip((*map(np.concatenate, found[:2]), sum(found[2])), true, strict=True):
        assert oracles.output_error(value, expected.numpy()) < tolerances.SECOND_ORDER


@pytest.mark.parametrize("sizes", [(5, 3), (3, 1, 0, 4)], ids=str)
def test_cotangents_of_the_statistics(sizes):
    """Each replica may have its own for the mean and the variance of the whole (equation 2)."""
    x, dy = draw((8, 3))
    d = np.random.default_rng(2).normal(size=(len(sizes), 2, 3))

    def step(x, dy, number=None):
        with tf.GradientTape() as tape:
            tape.watch(x)
            batch = TensorBatch(x, (1,), (3,))
            if number is not None:
                batch = WholeBatch(batch, batch.moments(x))
            y, moments = keras_bn.functional.normalize_batch(
                "closed_form", batch, x, tf.ones(3, tf.float64), tf.zeros(3, tf.float64), epsilon=1e-3
            )
        own = tf.constant(d.sum(0)) if number is None else tf.gather(tf.constant(d), number)
        return [tape.gradient([y, moments.mean, moments.variance], x, [dy, own[0], own[1]])]

    here = lambda x, dy: step(x, dy, tf.distribute.get_replica_context().replica_id_in_sync_group)  # noqa: E731
    (found,) = on_replicas(here, sizes, x, dy)
    (expected,) = step(tf.constant(x), tf.constant(dy))
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=tolerances.FLOAT64, atol=tolerances.FLOAT64)


def test_operations_of_the_whole():
    """What no formula asks of a whole batch yet is right as well."""
    x, _ = draw((8, 3))
    weights = np.random.default_rng(1).uniform(0, 2, (8, 1))

    def step(x, weights):
        batch = TensorBatch(x, (1,), (3,), weights)
        batch = WholeBatch(batch, batch.moments(x))
        return batch.mean(x), batch.statistics.mean, batch.count(), batch.bessel(), batch.is_empty()

    mean, merged, count, bessel, empty = on_replicas(step, (6, 2), x, weights)
    total, single = weights.sum(), TensorBatch(tf.constant(x), (1,), (3,), tf.constant(weights))
    for replica in range(2):
        np.testing.assert_allclose(mean[replica], (weights * x).sum(0) / total, rtol=tolerances.FLOAT64)
        np.testing.assert_allclose(merged[replica], mean[replica], rtol=tolerances.FLOAT64)
        np.testing.assert_allclose(count[replica], [total] * 3, rtol=tolerances.FLOAT64)
        np.testing.assert_allclose(bessel[replica], single.bessel(), rtol=tolerances.FLOAT64)
        assert not empty[replica]


@pytest.mark.parametrize("synchronized", [True, False])
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e200])
def test_a_value_that_is_not_finite_on_one_replica(synchronized, poison):
    """Its channel keeps its statistics on every replica, the others move."""
    x, dy = draw((8, 3))
    x[7, 1] = poison
    layer, single = (built(sizes, x.shape, synchronized=synchronized, dtype="float64") for sizes in ((6, 2), (8,)))
    before = states(layer)
    y = np.concatenate(on_replicas(functools.partial(gradients, layer), (6, 2), x, dy)[0])
    gradients(single, tf.constant(x), tf.constant(dy))
    assert_one_truth(layer, single, tolerances.FLOAT64)
    for old, new in zip(before, states(layer), strict=True):
        assert old[0][1] == new[0][1]
        assert (np.delete(old[0], 1) != np.delete(new[0], 1)).all()
    assert np.isfinite(y[:, [0, 2]]).all()


@pytest.mark.parametrize("synchronized", [True, False])
def test_nothing_counts_on_any_replica(synchronized):
    x, dy = draw((8, 3))
    layer, single = (built(sizes, x.shape, synchronized=synchronized, dtype="float64") for sizes in ((6, 2), (8,)))
    before, mask = states(layer), np.zeros(8, bool)
    y, dx, *_ = on_replicas(functools.partial(gradients, layer), (6, 2), x, dy, mask)
    expected = gradients(single, tf.constant(x), tf.constant(dy), tf.constant(mask))
    np.testing.assert_allclose(np.concatenate(y), expected[0], rtol=tolerances.FLOAT64)
    np.testing.assert_allclose(np.concatenate(dx), expected[1], rtol=tolerances.FLOAT64)
    np.testing.assert_array_equal(states(layer), before)


def test_fast_engines_serve_replicas_of_their_own():
    """Its branches hold no collective: that comes after them."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(8, 40, 40, 16)) + np.linspace(0, 2, 8)[:, None, None, None]).astype("float32")
    for engine in ("auto", "fused", "products"):
        layer, single = built((6, 2), x.shape, engine=engine), Layer(engine="closed_form", dtype="float64")
        assert layer.engine_for(x.shape).engine != "closed_form"
        single.build(x.shape)
        gradients(started(single), tf.constant(x, tf.float64), tf.ones(x.shape, tf.float64))
        for graph in (True, False):
            on_replicas(functools.partial(gradients, started(layer)), (6, 2), x, np.ones_like(x), graph=graph)
            assert_one_truth(layer, single, tolerances.AUTO)
    with strategy(2).scope():
        choice = Layer(synchronized=True).engine_for(x.shape)
    assert choice == ("closed_form", "the fused kernel does not share statistics between replicas")
    assert Layer(synchronized=True).engine_for(x.shape).engine != "closed_form"


@pytest.mark.parametrize("synchronized", [True, False])
def test_one_device_and_no_strategy(synchronized):
    x, dy = draw((8, 3))
    layer = built((8,), x.shape, synchronized=synchronized, dtype="float64")
    single = Layer(synchronized=synchronized, dtype="float64")
    single.build(x.shape)
    true = gradients(started(single), tf.constant(x), tf.constant(dy))
    for (found,), expected in zip(on_replicas(functools.partial(gradients, layer), (8,), x, dy), true, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert_one_truth(layer, single, 0)


@pytest.mark.parametrize("synchronized", [True, False])
def test_outside_of_run_the_batch_is_whole(synchronized):
    """Within the scope of a strategy and after it: a plain call updates all replicas' statistics alike."""
    x, _ = draw((8, 3))
    layer, single = (built(sizes, x.shape, synchronized=synchronized, dtype="float64") for sizes in ((4, 4), (8,)))
    with strategy(2).scope():
        y = layer(x, training=True)
    np.testing.assert_array_equal(y, single(x, training=True))
    layer(x, training=True)
    single(x, training=True)
    assert_one_truth(layer, single, 0)


def network(replicas: int, synchronized: bool = True, **compiled) -> keras.Model:
    """No bias before batch normalization: its gradient would be pure rounding, which Adam scales up to a step."""
    keras.utils.set_random_seed(1)
    with strategy(replicas).scope():
        model = keras.Sequential(
            [
                keras.Input((4,), dtype="float64"),
                keras.layers.Dense(6, use_bias=False, dtype="float64"),
                Layer(synchronized=synchronized, dtype="float64", momentum=0.9),
                keras.layers.Activation("tanh", dtype="float64"),
                keras.layers.Dense(1, dtype="float64"),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", **compiled)
    return model


def data(samples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 4)) + np.linspace(0, 2, samples)[:, None]
    return x, np.sin(x.sum(1, keepdims=True))


def test_ten_steps_of_fit():
    x, y = data(80)
    weights = []
    for replicas in (1, 2, REPLICAS):
        model = network(replicas)
        model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
        weights.append(model.get_weights())
        if replicas > 1:
            for copies in states(model.layers[1]):
                np.testing.assert_array_equal(copies, [copies[0]] * replicas)
    for found in weights[1:]:
        for a, b in zip(found, weights[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    initial = network(1).get_weights()
    assert min(np.abs(a - b).max() for a, b in zip(weights[0], initial, strict=True)) > 1e-3


@pytest.mark.parametrize("synchronized", [True, False])
def test_ten_steps_of_a_custom_loop_over_uneven_batches(synchronized):
    """8/0, 6/2 and 1/7 rows in turns; the loss is summed, so that every row weighs the same."""
    x, y = data(80)
    weights = []
    for replicas in (1, 2):
        model = network(replicas, synchronized)
        optimizer = keras.optimizers.SGD(0.01)
        with strategy(replicas).scope():
            optimizer.build(model.trainable_variables)

        def step(x, y, model=model, optimizer=optimizer):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(model(x, training=True) - y))
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        for number in range(10):
            sizes = (8,) if replicas == 1 else [(8, 0), (6, 2), (1, 7)][number % 3]
            rows = slice(8 * number, 8 * number + 8)
            strategy(replicas).run(step, [distributed(value[rows], sizes) for value in (x, y)])
        weights.append(model.get_weights())
        for copies in states(model.layers[1]):
            np.testing.assert_array_equal(copies, [copies[0]] * replicas)
    differences = [np.abs(a - b).max() for a, b in zip(*weights, strict=True)]
    if synchronized:
        assert max(differences) < 1e-9
    else:
        assert max(differences) > 1e-6


@pytest.mark.slow
def test_equal_activations_leave_equal_statistics_unsynchronized():
    """In fit, with a last batch of 3 rows, of which one of 4 replicas gets none; predict is the same everywhere."""
    x, y = data(27)
    found = []
    for replicas in (1, 2, REPLICAS):
        model = network(replicas, synchronized=False)
        for layer in model.layers[::3]:
            layer.trainable = False  # so that the activations are equal, and stay so
        with strategy(replicas).scope():
            model.compile(keras.optimizers.SGD(0.0), "mse")
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        copies = states(model.layers[1])
        for values in copies:
            np.testing.assert_array_equal(values, [values[0]] * replicas)
        found.append([values[0] for values in copies])
        same = np.repeat(x[:1], 8, axis=0)
        (y_hat,) = on_replicas(lambda x, model=model: [model(x)], (8 // replicas,) * replicas, same)
        np.testing.assert_array_equal(np.concatenate(y_hat), np.repeat(y_hat[0][:1], 8, axis=0))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=tolerances.FLOAT64)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["weights", "keras", "checkpoint"])
def test_continuing_on_another_number_of_replicas(how, tmp_path):
    """Saved after 5 of 10 steps on 2 replicas, restored on 4, 1 and 2."""
    x, y = data(80)
    rest, last = slice(None, 40), slice(40, None)
    model = network(2)
    model.fit(x[rest], y[rest], batch_size=8, shuffle=False, verbose=0)
    path = str(tmp_path / {"weights": "m.weights.h5", "keras": "m.keras", "checkpoint": "ckpt"}[how])
    saved = states(model.layers[1])
    if how == "weights":
        model.save_weights(path)
    elif how == "keras":
        model.save(path)
    else:
        path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(path)
    ends = []
    for replicas in (REPLICAS, 1, 2):
        with strategy(replicas).scope():
            other = keras.models.load_model(path) if how == "keras" else network(replicas)
            if how != "keras":
                other.optimizer.build(other.trainable_variables)
            if how == "weights":
                other.load_weights(path)
            elif how == "checkpoint":
                tf.train.Checkpoint(model=other, optimizer=other.optimizer).read(path).assert_consumed()
        for found, old in zip(states(other.layers[1]), saved, strict=True):
            np.testing.assert_array_equal(found, [old[0]] * replicas)
        other.fit(x[last], y[last], batch_size=8, shuffle=False, verbose=0)
        ends.append(other.get_weights())
    model.fit(x[last], y[last], batch_size=8, shuffle=False, verbose=0)
    for end in ends:
        for a, b in zip(end, model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("synchronized", [True, False])
@pytest.mark.parametrize("axis", [-1, 1])
def test_a_mask_that_keras_propagates(axis, synchronized):
    """Through fit, as a graph whose sizes are unknown; padding in every sample at the last time step.

    Statistics alone are compared: Keras divides its loss by the unmasked elements of each replica, not of all.
    """
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (8, 6))
    tokens[:, -1] = 0
    targets, models = rng.normal(size=(8, 6, 3)), []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with strategy(replicas).scope():
            inputs = keras.Input((6,), dtype="int32")
            embedded = keras.layers.Embedding(5, 3, mask_zero=True, dtype="float64")(inputs)
            y = Layer(axis=axis, synchronized=synchronized, dtype="float64", unbiased_variance=True)(embedded)
            models.append(keras.Model(inputs, y))
            models[-1].compile(keras.optimizers.SGD(0.1), "mse")
        models[-1].fit(tokens, targets, batch_size=8, shuffle=False, verbose=0)
    assert_one_truth(models[1].layers[-1], models[0].layers[-1], tolerances.FLOAT64)


def test_several_steps_an_execution():
    """Where TensorFlow can: over collectives it cannot, for any model."""
    x, y = data(64)
    models = [network(REPLICAS, steps_per_execution=steps) for steps in (1, 4)]
    for model in models:
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
