"""The options of the layer that the built-in one does not have, and those that it has, in combination."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_bn
from tests import oracles, tolerances
from tests.cases import EPSILON, MODES, Case, draw, in_mode

Layer = keras_bn.BatchNormalization


@pytest.mark.parametrize("axis", [(1, 3), (3, 1), (-1, -2), (1, 2), (0, 2)])
@pytest.mark.parametrize("mode", MODES)
def test_several_axes(axis, mode):
    shape = (4, 3, 5, 2)
    x = np.random.default_rng(0).normal(size=shape)
    layer = Layer(axis=axis, dtype="float64", momentum=0.0)
    layer.build(shape)
    layer.gamma.assign(np.random.default_rng(1).uniform(0.5, 2.0, layer.gamma.shape))
    kept = [a % 4 for a in axis]
    reduced = tuple(i for i in range(4) if i not in kept)
    # Weights have the axes in the order given; einsum puts them where they belong.
    letters = "".join("abcd"[a] for a in kept)
    normalized = (x - x.mean(reduced, keepdims=True)) / np.sqrt(x.var(reduced, keepdims=True) + EPSILON)
    y = in_mode(mode, lambda x: layer(x, training=True), [tf.constant(x)])(tf.constant(x))
    np.testing.assert_allclose(y, np.einsum(f"abcd,{letters}->abcd", normalized, layer.gamma.numpy()), atol=1e-12)
    np.testing.assert_allclose(
        layer.moving_mean, np.einsum(f"abcd->{letters}", x) / np.prod([shape[i] for i in reduced]), atol=1e-14
    )
    np.testing.assert_allclose(layer(x, training=False), y, atol=1e-12)


def test_tuple_axis_survives_files(tmp_path):
    model = keras.Sequential([keras.Input((3, 2)), Layer(axis=(1, 2), virtual_batch_size=2, unbiased_variance=True)])
    model.save(tmp_path / "m.keras")
    layer = keras.saving.load_model(tmp_path / "m.keras").layers[0]
    assert (layer.axis, layer.virtual_batch_size, layer.unbiased_variance) == ((1, 2), 2, True)


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": None},
        {"unbiased_variance": True, "momentum": 0.5},
        {"virtual_batch_size": 3},
        {"renorm": True, "renorm_clipping": {"rmax": 2.0, "dmax": 1.0}},
        {"axis": (1, 2)},
        {"engine": "closed_form", "synchronized": True},
        {"gamma_initializer": keras.initializers.Constant(0.1), "beta_regularizer": "l2", "scale": True},
    ],
)
def test_every_option_survives_config_and_clone(options):
    layer = Layer(name="bn", **options)
    again = Layer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    model = keras.Sequential([keras.Input((4, 3)), layer])
    copy = keras.models.clone_model(model).layers[0]
    assert type(copy) is Layer
    assert copy.get_config() == layer.get_config()


def test_cumulative_average_and_unbiased_variance():
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(n, 2)) for n in (5, 5, 5)]
    layer = Layer(momentum=None, unbiased_variance=True, dtype="float64")
    for batch in batches:
        layer(batch, training=True)
    layer(batches[0][:1], training=True)  # one element has no unbiased variance: nothing to store
    poisoned = batches[0].copy()
    poisoned[0, 0] = np.nan
    layer(poisoned, training=True)  # counts in the second channel alone
    means, variances = ([f(b, axis=0) for b in batches] for f in (np.mean, lambda b, axis: b.var(axis, ddof=1)))
    assert [weight.name for weight in layer.weights][-1] == "update_count"
    np.testing.assert_array_equal(layer.weights[-1], [3, 4])
    np.testing.assert_allclose(layer.moving_mean[0], np.mean(means, 0)[0], rtol=tolerances.FLOAT64)
    np.testing.assert_allclose(layer.moving_variance[0], np.mean(variances, 0)[0], rtol=tolerances.FLOAT64)
    np.testing.assert_allclose(layer.moving_mean[1], np.mean([*means, means[0]], 0)[1], rtol=tolerances.FLOAT64)


def test_unbiased_variance_of_weights():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(6, 2)), rng.uniform(0.1, 1.0, 6)
    layer = Layer(momentum=0.0, unbiased_variance=True, dtype="float64")
    layer(x, training=True, mask=weights)
    total = weights.sum()
    biased = np.average((x - np.average(x, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    expected = biased * total / (total - (weights**2).sum() / total)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=tolerances.FLOAT64)


@pytest.mark.parametrize("clipping", [None, {"rmax": 1.5, "rmin": 0.5, "dmax": 0.3}])
@pytest.mark.parametrize("mode", MODES)
def test_renorm_equals_the_built_in_layer(clipping, mode):
    rng = np.random.default_rng(0)
    options = {"renorm": True, "renorm_clipping": clipping, "dtype": "float64", "momentum": 0.9, "renorm_momentum": 0.8}
    layers = [kind(**options) for kind in (Layer, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.build((None, 4, 3))
        layer.gamma.assign([0.5, 1.0, 2.0])

    def step(layer, x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, *tape.gradient(y, [x, layer.gamma.value, layer.beta.value], dy)

    x, dy = (tf.constant(rng.normal(size=(6, 4, 3))) for _ in range(2))
    functions = [in_mode(mode, lambda x, dy, one=layer: step(one, x, dy), [x, dy]) for layer in layers]
    for number in range(4):
        ours, theirs = (function(2 * x + number, dy) for function in functions)
        for a, b in zip(ours, theirs, strict=True):
            assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.FLOAT64
    assert [w.name for w in layers[0].weights] == [w.name for w in layers[1].weights]
    for a, b in zip(*(layer.weights for layer in layers), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerances.FLOAT64)


def test_renorm_reads_its_references_before_it_writes_them():
    """A graph that read them after writing gave another output in about half of its runs."""
    x = tf.constant(np.random.default_rng(0).normal(size=(6, 4, 3)))
    options = {"renorm": True, "renorm_clipping": {"rmax": 1.5, "rmin": 0.5, "dmax": 0.3}, "dtype": "float64"}
    expected = Layer(**options)(x, training=True)
    for _ in range(20):
        layer = Layer(**options)
        layer.build((None, 4, 3))
        found = tf.function(lambda x, layer=layer: layer(x, training=True), autograph=False)(x)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("into_renorm", [True, False])
def test_weights_move_between_plain_and_renorm(tmp_path, into_renorm, trainable):
    def model(renorm: bool) -> keras.Model:
        return keras.Sequential([keras.Input((3,)), Layer(renorm=renorm, trainable=trainable, name="bn")])

    source, target = model(not into_renorm), model(into_renorm)
    source.layers[0](np.random.default_rng(0).normal(size=(9, 3)), training=True)
    source.save_weights(tmp_path / "m.weights.h5")
    target.load_weights(tmp_path / "m.weights.h5")
    x = np.ones((2, 3))
    np.testing.assert_array_equal(target(x), source(x))
    if into_renorm:
        layer = target.layers[0]
        np.testing.assert_array_equal(layer.renorm_mean, layer.moving_mean)
        np.testing.assert_allclose(layer.renorm_stddev, np.sqrt(layer.moving_variance.numpy() + EPSILON), rtol=1e-6)


def test_masked_sequence_from_embedding():
    inputs = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(5, 3, mask_zero=True)(inputs)
    layer = Layer(momentum=0.0)
    model = keras.Model(inputs, layer(hidden))
    tokens = np.array([[1, 2, 0, 0], [3, 4, 1, 0]])
    model(tokens, training=True)
    embedded = model.layers[1].embeddings.numpy()[tokens][tokens > 0]
    np.testing.assert_allclose(layer.moving_mean, embedded.mean(0), atol=1e-7)


def test_propagated_mask_with_time_as_channel():
    """Keras' masks cover leading axes: with axis=1, (batch, time), the weights differ by channel."""
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
    x[:, 2], x[0, 1] = 0.0, 0.0
    inputs = keras.Input((3, 2))
    layer = Layer(axis=1, momentum=0.0)
    model = keras.Model(inputs, layer(keras.layers.Masking()(inputs)))
    y = model(x, training=True).numpy()
    np.testing.assert_allclose(layer.moving_mean[:2], [x[:, 0].mean(), x[1:, 1].mean()], atol=1e-7)
    assert (float(layer.moving_mean[2]), float(layer.moving_variance[2])) == (0.0, 1.0)  # the initial values
    np.testing.assert_array_equal(y[:, 2], 0.0)  # a channel that is padding throughout passes unnormalized


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_promote(dtype):
    x = np.arange(12).reshape(4, 3).astype(dtype)
    np.testing.assert_array_equal(Layer()(x, training=True), Layer()(x.astype("float32"), training=True))


def test_numpy_float64_computes_in_the_layers_dtype():
    assert Layer()(np.ones((4, 3)), training=True).dtype == tf.float32


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"axis": "1"}, TypeError, "axis='1'"),
        ({"axis": (1, 1)}, ValueError, r"distinct.*\(1, 1\)"),
        ({"axis": ()}, TypeError, r"axis=\(\)"),
        ({"axis": True}, TypeError, "axis=True"),
        ({"momentum": -0.1}, ValueError, r"momentum=-0.1.*PyTorch"),
        ({"momentum": "fast"}, ValueError, "momentum='fast'"),
        ({"renorm_momentum": None}, ValueError, "renorm_momentum=None"),
        ({"epsilon": float("nan")}, ValueError, "epsilon=nan"),
        ({"renorm_clipping": {"r": 1}}, ValueError, "'rmin', 'rmax', 'dmax'.*'r': 1"),
        ({"renorm_clipping": {"dmax": -1}}, ValueError, "dmax=-1"),
        ({"virtual_batch_size": 0}, ValueError, "virtual_batch_size=0"),
        ({"virtual_batch_size": 2.0}, ValueError, "virtual_batch_size=2.0"),
        ({"virtual_batch_size": 2, "synchronized": True}, ValueError, "exclude.*synchronized=True"),
        ({"virtual_batch_size": 2, "renorm": True}, ValueError, "exclude.*renorm=True"),
        ({"virtual_batch_size": 2, "axis": 0}, ValueError, "axis=0"),
        ({"engine": "fast"}, ValueError, "engine='fast'"),
        *(
            ({name: value}, TypeError, f"{name} must be True or False. Received: {name}={value!r}")
            for name in ("center", "scale", "renorm", "synchronized", "unbiased_variance")
            for value in ("no", 1, None)
        ),
    ],
)
def test_constructor_refuses(options, error, said):
    with pytest.raises(error, match=said):
        Layer(**options)


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "string"])
def test_dtypes_that_cannot_hold_what_is_normalized(dtype):
    with pytest.raises(TypeError, match=f"dtype must be floating-point. Received: dtype='{dtype}'"):
        Layer(dtype=dtype)


@pytest.mark.parametrize("inputs", [None, tf.sparse.eye(3)], ids=["None", "sparse"])
def test_inputs_that_are_not_dense(inputs):
    layer = Layer()
    layer.build((None, 3))
    with pytest.raises(TypeError, match="inputs must be a dense tensor"):
        layer(inputs)


@pytest.mark.parametrize("is_built", [False, True], ids=["at first", "built"])
@pytest.mark.parametrize("collect", [list, tuple, lambda pair: dict(enumerate(pair))], ids=["list", "tuple", "dict"])
def test_several_inputs(collect, is_built):
    layer, pair = Layer(), [np.ones((2, 3), "float32")] * 2
    if is_built:
        layer.build((None, None, 3))
    with pytest.raises(TypeError, match="inputs must be one tensor"):
        layer(collect(pair))
    with pytest.raises(TypeError, match=r"x must be one tensor. Received: a list of 2"):
        keras_bn.batch_norm(pair, np.ones(3), np.ones(3))


def test_bounds_of_renormalization_as_tensors():
    layer = Layer(renorm=True, renorm_clipping={"rmax": 3.0, "dmax": tf.constant(5.0)})
    assert layer.get_config()["renorm_clipping"] == {"rmax": 3.0, "dmax": 5.0}
    for bound in (tf.constant([1.0, 2.0]), "5", tf.constant(-1.0)):
        with pytest.raises(ValueError, match="dmax should be non-negative: a number, a scalar variable, or a schedule"):
            Layer(renorm=True, renorm_clipping={"dmax": bound})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: keras_bn.load_old_model(None), "path must be a path. Received: path=None"),
        (lambda: keras_bn.BatchNormMonitor(picture=3), "picture must be a path. Received: picture=3"),
        (lambda: keras_bn.BatchNormMonitor(tensorboard=3), "tensorboard must be a path. Received: tensorboard=3"),
        (lambda: keras_bn.from_torch({"bn.running_mean": np.zeros(2)}, prefix=3), "prefix must be a text, such as"),
    ],
)
def test_what_is_no_path_and_no_text(call, said):
    with pytest.raises(TypeError, match=said):
        call()


def test_a_mask_beside_one_that_keras_propagates():
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 3)).astype("float32"))
    mask, attached = np.array([[1, 1, 0], [0, 1, 1]], bool), np.array([[1, 0, 1], [1, 1, 0]], bool)

    def moving_mean(mask, with_attached=True):
        layer, inputs = Layer(axis=1, momentum=0.0), tf.identity(x)
        if with_attached:
            inputs._keras_mask = tf.constant(attached)
        layer(inputs, training=True, mask=mask)
        return layer.moving_mean.numpy()

    explicit = moving_mean(mask, with_attached=False)
    np.testing.assert_allclose(moving_mean(mask[:, None]), explicit, rtol=1e-6)
    # Of the same shape, it cannot be told from Keras' own, and is read as that; a list, too.
    as_propagated = [x.numpy()[mask[:, t], t].mean() for t in range(3)]
    np.testing.assert_allclose(moving_mean(mask), as_propagated, rtol=1e-5)
    np.testing.assert_allclose(moving_mean(mask.tolist()), as_propagated, rtol=1e-5)


def test_no_mask_is_no_mask():
    """A derived class that calls its parent without the mask that Keras attached means it, as with Keras' layer."""
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 3)).astype("float32"))
    inputs = tf.identity(x)
    inputs._keras_mask = tf.constant([[True, False, True], [True, True, False]])
    layer = Layer(momentum=0.0)
    layer.build(x.shape)
    layer.call(inputs, training=True, mask=None)
    np.testing.assert_allclose(layer.moving_mean, x.numpy().mean((0, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    "momentum", [tf.Variable(0.9), keras.Variable(0.9), keras.optimizers.schedules.CosineDecay(1, 9)]
)
def test_a_schedule_of_the_momentum_is_refused_with_what_to_do(momentum):
    with pytest.raises(ValueError, match="A schedule is a callback"):
        Layer(momentum=momentum)


@pytest.mark.parametrize("shape", [(3,), (None, None), (4, 3)])
def test_build_refuses(shape):
    layer = Layer(axis=-1 if shape != (4, 3) else 2)
    with pytest.raises(ValueError, match=r"axis|rank"):
        layer.build(shape)


@pytest.mark.parametrize("engine", ["closed_form", "fused"])
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_weights_that_are_none_count_as_0(mode, engine):
    x = tf.constant(np.random.default_rng(0).uniform(1, 2, (5, 8)).astype("float32"))
    odd, plain = (tf.constant(mask) for mask in ([1.0, float("nan"), 2.0, -1.0, 1.0], [1.0, 0.0, 2.0, 0.0, 1.0]))
    layer = Layer(engine=engine)
    function = in_mode(mode, lambda x, mask: layer(x, mask=mask, training=True), [x, plain], -1)
    np.testing.assert_array_equal(function(x, odd), function(x, plain))


def test_channels_that_the_graph_does_not_know_are_checked_where_it_runs():
    layer = Layer(axis=(1, 2))
    layer.build((None, 2, 3))
    function = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec([None, None, None])])
    assert function(tf.ones([4, 2, 3])).shape == (4, 2, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        function(tf.ones([4, 3, 2]))


def test_a_mask_that_does_not_fit_leaves_the_state():
    layer = Layer()
    layer.build((None, 5, 3))
    before = [weight.numpy() for weight in layer.weights]
    for mask, error in (
        (np.ones((4, 6), bool), ValueError),
        (np.ones((4, 5, 3)), ValueError),
        (np.array("x"), Exception),
    ):
        with pytest.raises(error):
            layer(np.ones((4, 5, 3)), training=True, mask=mask)
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_epsilon_zero_on_a_constant_batch_gives_beta():
    layer = Layer(epsilon=0.0, beta_initializer=keras.initializers.Constant(0.5))
    x = np.full((6, 2), 3.0, "float32")
    layer.build((None, 2))
    layer.moving_mean.assign([3.0, 3.0])
    layer.moving_variance.assign([0.0, 0.0])
    for training in (True, False):
        np.testing.assert_array_equal(layer(x, training=training), np.full((6, 2), 0.5))


@pytest.mark.parametrize("magnitude", [1e20, 1e37])
@pytest.mark.parametrize("mode", MODES)
def test_where_the_variance_overflows_the_output_is_beta(magnitude, mode):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3000, 2)).astype("float32")
    x[:, 1] = np.abs(x[:, 1])
    x = tf.constant(x * np.float32(magnitude))
    layer = Layer(beta_initializer=keras.initializers.Constant(0.5))
    layer.build((None, 2))

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, *tape.gradient(y, [x, layer.gamma.value, layer.beta.value], tf.ones_like(y))

    y, dx, dgamma, dbeta = in_mode(mode, step, [x])(x)
    np.testing.assert_array_equal(y, np.full((3000, 2), 0.5, "float32"))
    for value in (dx, dgamma):
        np.testing.assert_array_equal(value, np.zeros(value.shape))
    np.testing.assert_array_equal(dbeta, [3000, 3000])
    np.testing.assert_array_equal(layer.moving_variance, [1, 1])
    np.testing.assert_array_equal(layer.moving_mean, [0, 0])


def test_derivative_tools():
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 2)))
    direction = tf.constant(np.random.default_rng(1).normal(size=(5, 2)))
    layer = Layer(dtype="float64")
    layer.build((None, 2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = layer(x, training=True)
    jacobian = tape.jacobian(y, x)
    looped = tape.jacobian(y, x, experimental_use_pfor=False)
    np.testing.assert_allclose(jacobian, looped, atol=1e-14)
    with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
        y = layer(x, training=True)
    np.testing.assert_allclose(accumulator.jvp(y), tf.einsum("abcd,cd->ab", jacobian, direction), atol=1e-12)
    batches = tf.stack([x, 2 * x, x + 1])
    mapped = tf.vectorized_map(lambda x: keras_bn.batch_norm(x, tf.ones(2), tf.zeros(2)).y, batches)
    np.testing.assert_allclose(mapped[1], keras_bn.batch_norm(2 * x, tf.ones(2), tf.zeros(2)).y, atol=1e-14)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{}, {"renorm": True}, {"virtual_batch_size": 3}])
def test_second_order_with_a_mask(mode, options):
    """Against TensorFlow's second derivative of the same definition, plain."""
    case = Case((7, 3), -1)
    inputs = draw(case)
    weights = tf.constant([1.0, 0.0, 0.5, 2.0, 1.0, 0.0, 1.0], tf.float64)
    layer = Layer(dtype="float64", **options)
    layer.build(case.shape)
    groups = [slice(0, 3), slice(3, 6), slice(6, 7)] if "virtual_batch_size" in options else [slice(None)]

    def definition(x):
        parts = []
        for group in groups:
            w = weights[group, None] / tf.reduce_sum(weights[group])
            mean = tf.reduce_sum(w * x[group], 0)
            variance = tf.reduce_sum(w * tf.square(x[group] - mean), 0)
            z = (x[group] - mean) / tf.sqrt(variance + EPSILON)
            if "renorm" in options:
                reference = tf.sqrt(tf.maximum(tf.ones(3, tf.float64), EPSILON))
                r = tf.stop_gradient(tf.sqrt(variance + EPSILON) / reference)
                z = r * z + tf.stop_gradient(mean / reference)
            parts.append(z)
        return tf.concat(parts, 0)

    def penalty(function, x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x)
            inner_gradient = inner.gradient(y, x, output_gradients=tf.constant(inputs.dy) * y)
            loss = tf.reduce_sum(tf.square(inner_gradient))
        return outer.gradient(loss, x)

    x = tf.constant(inputs.x)
    found = in_mode(mode, lambda x: penalty(lambda x: layer(x, training=True, mask=weights), x), [x])
    state = [weight.numpy() for weight in layer.weights]
    layer.set_weights(state)
    assert oracles.output_error(found(x).numpy(), penalty(definition, x).numpy()) < tolerances.SECOND_ORDER


SHAPES = {2: (6, 3), 3: (4, 3, 5), 4: (3, 4, 2, 3)}


@settings(max_examples=60)
@given(
    rank=st.sampled_from([2, 3, 4]),
    axis=st.data(),
    mask=st.sampled_from([None, "bool", "float", "full", "leading"]),
    dtype=st.sampled_from(["float32", "float64"]),
    renorm=st.booleans(),
    ghost=st.sampled_from([None, 1, 2, 4]),
    training=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_combination(rank, axis, mask, dtype, renorm, ghost, training, seed):
    """axis × rank × mask × dtype × renorm × ghost × training against NumPy in float64."""
    shape = SHAPES[rank]
    first = 1 if ghost else 0
    possible = list(range(first, rank))
    choices = [(a,) for a in possible] + ([*itertools.permutations(possible, 2)] if rank > 2 else [])
    axes = axis.draw(st.sampled_from([c for c in choices if len(c) < rank]))
    ghost = None if renorm else ghost
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, shape).astype(dtype)
    reduced = [i for i in range(rank) if i not in axes]
    weights, given_mask = np.ones(shape), None
    if mask is not None:
        covered = reduced[:1] if mask == "leading" else reduced
        values = rng.random([shape[i] for i in covered])
        values = values * (values > 0.3) if mask == "float" else values > 0.3
        full = values.reshape([shape[i] if i in covered else 1 for i in range(rank)]).astype(float)
        weights = np.broadcast_to(full, shape)
        given_mask = full if mask == "full" else values
    layer = Layer(
        axis=axes if len(axes) > 1 else axes[0], dtype=dtype, renorm=renorm, virtual_batch_size=ghost, momentum=0.7
    )
    layer.build(shape)
    y = layer(x, training=training, mask=given_mask).numpy()

    def vector(value):  # a per-channel array with ones, as a weight of the layer
        return np.transpose(np.squeeze(value, tuple(reduced)), [sorted(axes).index(a) for a in axes])

    def statistics(part, w):
        total = w.sum(tuple(reduced), keepdims=True)
        safe = np.where(total > 0, total, 1)
        mean = (w * part).sum(tuple(reduced), keepdims=True) / safe
        variance = (w * (part - mean) ** 2).sum(tuple(reduced), keepdims=True) / safe
        return np.where(total > 0, mean, 0), np.where(total > 0, variance, 1), total

    x64 = x.astype("float64")
    tolerance = 1e-5 if dtype == "float32" else 1e-12  # y up to 10; small groups magnify a rounding of x by 1/√ε = 30
    if not training:
        np.testing.assert_allclose(y, x64 / np.sqrt(1 + EPSILON), atol=tolerance)
        return
    size = ghost or shape[0]
    if 0 in axes:
        size = shape[0]
    for start in range(0, shape[0], size):
        part, w = x64[start : start + size], weights[start : start + size]
        mean, variance, total = statistics(part, w)
        expected = (part - mean) / np.sqrt(variance + EPSILON)
        if renorm:
            used = total > 0
            r = np.where(used, np.sqrt(variance + EPSILON), 1)
            expected = expected * r + np.where(used, mean, 0)  # the references are 0 and 1 at first
        np.testing.assert_allclose(y[start : start + size], expected, atol=tolerance * np.abs(expected).max() + 1e-30)
    mean, variance, total = statistics(x64, weights)
    updated = np.where(total > 0, 0.3 * mean, 0)
    np.testing.assert_allclose(layer.moving_mean, vector(updated), atol=tolerance)


@pytest.mark.parametrize(
    ("name", "value"),
    [("activation", "gelu"), ("momentum", 2.0), ("epsilon", -1), ("engine", "bogus"), ("statistics", "none")],
)
def test_options_that_are_set_later_are_checked(name, value):
    layer = keras_bn.BatchNormalization()
    layer.build((None, 3))
    before = layer.get_config()
    with pytest.raises(ValueError, match=name):
        setattr(layer, name, value)
    assert layer.get_config() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("renorm", True), ("zero_debias", True), ("axis", 0), ("scale", False), ("center", False), ("momentum", None),
        ("virtual_batch_size", 2), ("synchronized", True),
    ],
)  # fmt: skip
def test_options_that_a_built_layer_cannot_change_are_refused(name, value):
    layer = keras_bn.BatchNormalization()
    setattr(layer, name, getattr(layer, name))
    layer.build((None, 3))
    with pytest.raises(ValueError, match="fixed once a layer is built"):
        setattr(layer, name, value)


def test_options_that_act_when_they_are_set():
    layer = keras_bn.BatchNormalization()
    x = np.array([[-1.0], [3.0]], "float32")
    layer(x)
    layer.epsilon, layer.momentum, layer.activation = 0.0, 0.5, "relu"
    np.testing.assert_allclose(layer(x, training=True), [[0.0], [1.0]], atol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, [0.5])


def test_options_set_before_the_layer_is_built_act_as_those_of_the_constructor():
    x = np.random.default_rng(0).random((8, 3, 5)).astype("float32")
    layer = Layer()
    layer.axis = 1
    layer(x)
    assert layer.moving_mean.shape == (3,)
    for name, value in (("zero_debias", True), ("momentum", None)):
        layer = Layer()
        setattr(layer, name, value)
        layer(x, training=True)
        assert [weight.name for weight in layer.weights][-1] == "update_count"
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 3.0)
    layer = Layer(renorm=True)
    layer.renorm_clipping = {"rmax": schedule}
    layer(x, training=True)
    assert layer.renorm_step.numpy() == 1


@pytest.mark.parametrize(
    ("options", "name", "value", "said"),
    [
        ({}, "virtual_batch_size", 0, "virtual_batch_size must be None or a whole number"),
        ({"virtual_batch_size": 4}, "renorm", True, "exclude each other"),
        ({"virtual_batch_size": 4}, "synchronized", True, "exclude each other"),
        ({"virtual_batch_size": 4}, "axis", 0, "must not be a channel axis"),
        ({"renorm": True}, "renorm_clipping", {"rmaxx": 2.0}, "keys 'rmin', 'rmax', 'dmax'"),
        ({}, "zero_debias", "no", "zero_debias must be True or False"),
        ({}, "axis", 1.5, "axis must be an int"),
    ],
)
def test_options_set_before_the_layer_is_built_are_checked(options, name, value, said):
    layer = Layer(**options)
    before = getattr(layer, name)
    with pytest.raises((TypeError, ValueError), match=said):
        setattr(layer, name, value)
    assert getattr(layer, name) == before


def test_a_schedule_of_bounds_comes_too_late_for_a_built_layer():
    layer = Layer(renorm=True)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="must be there when the layer is built"):
        layer.renorm_clipping = {"rmax": keras.optimizers.schedules.PolynomialDecay(1.0, 10, 3.0)}
    layer.renorm_clipping = {"rmax": 2.0}
    layer.renorm_clipping = layer.renorm_clipping
    assert layer.get_config()["renorm_clipping"] == {"rmax": 2.0}


def test_a_config_makes_the_layer_also_as_keywords():
    config = Layer(axis=(1, 3)).get_config()
    assert Layer(**config).axis == (1, 3)


@pytest.mark.parametrize("options", [{}, {"zero_debias": True}, {"renorm": True}], ids=str)
def test_a_derived_class_may_add_weights_before_those_of_the_layer(tmp_path, options):
    class Gated(Layer):
        def build(self, input_shape):
            self.alpha = self.add_weight(name="alpha", shape=(input_shape[-1],), initializer="random_normal")
            super().build(input_shape)

    first, second = (keras.Sequential([keras.Input((3,)), Gated(**options)]) for _ in range(2))
    first(np.random.default_rng(0).normal(size=(9, 3)), training=True)
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    second.set_weights(second.get_weights())
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_setting_a_built_layer_to_what_it_has_changes_nothing():
    layer = Layer(axis=(1, 2), renorm_clipping={"rmax": keras.optimizers.schedules.PolynomialDecay(1.0, 10, 3.0)})
    layer.build((None, 3, 4, 5))
    layer.axis = [1, 2]
    layer.renorm_clipping = layer.renorm_clipping
    assert layer.axis == (1, 2)


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1.0, 1e20, 1e30])
def test_the_unbiased_variance_does_not_depend_on_the_scale_of_weights(scale):
    rng = np.random.default_rng(0)
    x, weights = rng.normal(3, 2, (16, 3)).astype("float32"), rng.uniform(0.5, 1.5, 16)
    layer = keras_bn.BatchNormalization(momentum=0.0, unbiased_variance=True)
    layer(x, training=True, mask=(weights * scale).astype("float32"))
    total = weights.sum()
    mean = weights @ x / total
    expected = weights @ (x - mean) ** 2 / (total - (weights**2).sum() / total)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-5)  # a sum of 16 numbers in float32
