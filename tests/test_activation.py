"""``activation=``: the layer with an activation behind it; with a leaky ReLU, backward from the output."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn

# Large enough that "auto" takes the fused kernel.
SHAPE = (16, 14, 14, 40)
ACTIVATIONS = ("relu", "leaky_relu")


def layers(activation, shape=SHAPE, gamma=None, beta=None, **options):
    """Our layer with an activation, and the float64 layer with Keras' own activation behind it."""
    rng = np.random.default_rng(0)
    channels = shape[-1]
    gamma = rng.normal(size=channels) + np.sign(rng.normal(size=channels)) if gamma is None else gamma
    beta = rng.normal(size=channels) if beta is None else beta
    made = (
        keras_bn.BatchNormalization(activation=activation, **options),
        keras.layers.BatchNormalization(dtype="float64"),
    )
    for layer in made:
        layer.build(shape)
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
    return *made, keras.layers.Activation(activation, dtype="float64")


def gradients(function, x, dy, variables, jit_compile=None):
    @tf.function(jit_compile=jit_compile)
    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, *tape.gradient(y, [x, *variables], output_gradients=tf.cast(dy, y.dtype))

    return [value.numpy().astype("float64") for value in step(tf.constant(x), tf.constant(dy))]


def data(shape=SHAPE, dtype="float32"):
    rng = np.random.default_rng(1)
    return (rng.normal(size=shape) + 0.5).astype(dtype), rng.normal(size=shape).astype(dtype)


def assert_equal_gradients(ours, plain, activation, x, dy, tolerance, **options):
    found = gradients(lambda x: ours(x, training=True), x, dy, [ours.gamma, ours.beta], **options)
    wide = [value.astype("float64") for value in (x, dy)]
    true = gradients(lambda x: activation(plain(x, training=True)), *wide, [plain.gamma, plain.beta])
    for value, expected in zip(found, true, strict=True):
        assert np.abs(value - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [SHAPE, (4096, 40), (8, 6)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_is_the_layer_with_the_activation_behind_it(activation, shape, jit_compile):
    x, dy = data(shape)
    assert_equal_gradients(*layers(activation, shape), x, dy, 3e-6, jit_compile=jit_compile)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_in_inference_and_in_the_moving_statistics(activation):
    ours, plain, behind = layers(activation)
    x, _ = data()
    for training in (True, False):
        expected = behind(plain(x, training=training)).numpy()
        np.testing.assert_allclose(ours(x, training=training).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, plain.moving_variance, rtol=1e-6)


@pytest.mark.parametrize(
    "gamma",
    [
        pytest.param([0.0] * 3, id="all 0"),
        pytest.param([0.0, 1e-6, -1e-20], id="tiny"),
        pytest.param([1.5, 0.0, -1e-6], id="one that can be recovered"),
        pytest.param([-1e-15, 1e-25, 1e30], id="powers"),
    ],
)
@pytest.mark.parametrize("beta", [0.0, 0.7, -1e3])
def test_the_gradients_where_gamma_is_tiny(gamma, beta):
    """The output holds too few digits of x, or none: what cannot be recovered is kept, by channels."""
    shape = (*SHAPE[:3], 30)
    x, dy = data(shape)
    gamma = np.tile(np.float32(gamma), 10)
    ours, plain, activation = layers("leaky_relu", shape, gamma, np.full(30, beta))
    found = gradients(lambda x: ours(x, training=True), x, dy, [ours.gamma, ours.beta])
    wide = [value.astype("float64") for value in (x, dy)]
    true = gradients(lambda x: activation(plain(x, training=True)), *wide, [plain.gamma, plain.beta])
    _, dx, *d_vectors = zip(found, true, strict=True)
    for value, expected in d_vectors:  # these do not depend on the size of gamma
        assert np.abs(value - expected).max() <= 1e-5 * np.abs(expected).max()
    # Channel by channel, for a large gamma must not hide the error of a small one; beyond 1e-37 float32 underflows.
    error = np.abs(dx[0] - dx[1]).max((0, 1, 2))
    assert np.all(error <= 1e-5 * np.abs(dx[1]).max((0, 1, 2)) + 1e-37)


def test_second_order():
    ours, plain, activation = layers("leaky_relu", gamma=np.where(np.arange(40) % 5 == 0, 1e-7, 1.3))
    x, dy = data()

    def penalty(function, x, dy, variables):
        @tf.function
        def step(x, dy):
            with tf.GradientTape() as outer:
                outer.watch([x, dy])
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = function(x)
                first = inner.gradient(y, [x, *variables], output_gradients=dy)
                cotangents = [tf.sin(tf.range(tf.size(value), dtype=value.dtype)) for value in first]
                loss = tf.add_n(
                    [tf.reduce_sum(tf.reshape(v, [-1]) * c) for v, c in zip(first, cotangents, strict=True)]
                )
            return outer.gradient(loss, [x, dy, *variables])

        return [np.asarray(value, "float64") for value in step(tf.constant(x), tf.constant(dy))]

    found = penalty(lambda x: ours(x, training=True), x, dy, [ours.gamma, ours.beta])
    wide = [value.astype("float64") for value in (x, dy)]
    true = penalty(lambda x: activation(plain(x, training=True)), *wide, [plain.gamma, plain.beta])
    for value, expected in zip(found, true, strict=True):
        # That of beta is 0, by the sum of many numbers.
        assert np.abs(value - expected).max() <= 1e-4 * max(np.abs(expected).max(), 1.0)


@pytest.mark.slow
def test_second_order_of_a_function_that_is_called_within_tapes():
    ours, plain, activation = layers("leaky_relu")
    x, dy = data()

    def penalty(function, x, dy):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.function(function)(x)
            dx = inner.gradient(y, x, output_gradients=dy)
        return outer.gradient(dx, x, output_gradients=dx).numpy()

    found = penalty(lambda x: ours(x, training=True), tf.constant(x), tf.constant(dy))
    wide = [tf.constant(value, "float64") for value in (x, dy)]
    true = penalty(lambda x: activation(plain(x, training=True)), *wide)
    assert np.abs(found - true).max() <= 1e-5 * np.abs(true).max()


def test_training_may_be_a_tensor():
    ours, plain, activation = layers("leaky_relu")
    x, dy = data()
    training = tf.Variable(True)
    found = gradients(lambda x: ours(x, training=training.read_value()), x, dy, [ours.gamma, ours.beta])
    wide = [value.astype("float64") for value in (x, dy)]
    true = gradients(lambda x: activation(plain(x, training=True)), *wide, [plain.gamma, plain.beta])
    for value, expected in zip(found, true, strict=True):
        assert np.abs(value - expected).max() <= 3e-6 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    ours, plain, activation = layers("leaky_relu", dtype=f"mixed_{dtype}")
    x, dy = (tf.cast(value, dtype).numpy() for value in data())
    assert_equal_gradients(ours, plain, activation, x, dy, {"float16": 3e-3, "bfloat16": 2e-2}[dtype])


def model(activation="leaky_relu"):
    made = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras_bn.BatchNormalization(activation=activation, unbiased_variance=True, name="norm"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    norm = made.get_layer("norm")
    for weight in norm.weights:
        weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
    made.compile("adam", "mse")
    made.fit(X, np.ones((16, 2)), verbose=0)
    return made


X = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_saved_and_loaded(activation, tmp_path):
    saved = model(activation)
    saved.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("norm").activation == activation
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), saved.predict(X, verbose=0))
    assert "activation" not in keras_bn.BatchNormalization().get_config()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("functional", [False, True])
def test_reverted_into_two_layers(activation, functional):
    ours = model(activation)
    if functional:
        ours = keras.Model(ours.inputs, ours.outputs)
        ours.compile("adam", "mse")
    with pytest.warns(UserWarning, match="unbiased_variance=True"):
        plain = keras_bn.revert(ours, lossy=True)
    norm, behind = plain.get_layer("norm"), plain.get_layer(f"norm_{activation}")
    assert behind.input is norm.output
    assert type(norm) is keras.layers.BatchNormalization
    assert behind.activation is getattr(keras.activations, activation)
    np.testing.assert_allclose(plain.predict(X, verbose=0), ours.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    losses = [made.fit(X, np.ones((16, 2)), epochs=3, verbose=0).history["loss"] for made in (plain, ours)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_layer_alone_is_reverted_into_a_model_of_two():
    layer = keras_bn.BatchNormalization(activation="relu", name="norm")
    layer(X, training=True)
    plain = keras_bn.revert(layer)
    assert [type(part).__name__ for part in plain.layers] == ["BatchNormalization", "Activation"]
    np.testing.assert_allclose(plain(X), layer(X), atol=1e-6)


@pytest.mark.filterwarnings("ignore:left out, since:UserWarning")
def test_what_knows_no_activation_says_so():
    ours = model()
    _, report = keras_bn.fold(ours, return_report=True)
    assert "it has activation='leaky_relu'; revert() makes two layers of it" in str(report)
    assert len(keras_bn.fold(keras_bn.revert(ours, lossy=True), return_report=True)[1].folded) == 1
    with pytest.raises(TypeError, match=r"keeps the outputs of the layers. Received: activation='relu'"):
        keras_bn.convert(ours, activation="relu")
    with pytest.raises(
        ValueError, match=r"activation must be None, 'relu' or 'leaky_relu'. Received: activation='elu'"
    ):
        keras_bn.BatchNormalization(activation="elu")
    with pytest.raises(ValueError, match=r"has no activation. Received: norm with activation='leaky_relu'"):
        keras_bn.to_torch_state_dict(ours.get_layer("norm"))


def traced_step():
    ours = keras_bn.BatchNormalization(activation="leaky_relu")
    ours.build(SHAPE)

    @tf.function
    def step(image, dy):
        with tf.GradientTape() as tape:
            tape.watch(image)
            x = tf.identity(2.0 * image, "normalized")
            y = ours(x, training=True)
        return tape.gradient(y, [image, ours.gamma, ours.beta], output_gradients=dy)

    return step.get_concrete_function(*map(tf.constant, data())).graph


def behind(op):
    """The operations that need this one, at any distance."""
    found, waiting = set(), [op]
    while waiting:
        following = [consumer for output in waiting.pop().outputs for consumer in output.consumers()]
        waiting += [consumer for consumer in following if consumer not in found]
        found.update(following)
    return found


def test_backward_needs_no_input():
    graph = traced_step()
    image, dy = graph.inputs[:2]
    backward = behind(dy.op)
    inputs = {graph.get_operation_by_name("normalized")} | {
        op for op in behind(image.op) if op.type in ("Mul", "Reshape") and op not in backward
    }
    assert any(op.type in ("If", "StatelessIf") for op in backward)
    large = [t for op in backward for t in op.inputs if t.op not in backward and t.shape.rank == 4]
    assert {tensor.op for tensor in large} & inputs == set()
    # The output, and nothing else of its size, is what backward takes from the forward pass.
    assert len({tensor.name for tensor in large if tensor.op is not dy.op}) == 1


def test_backward_recovers_nothing_before_its_time():
    """What waits for nothing is run in the forward pass, and kept until backward."""
    definition = traced_step().as_graph_def()
    nodes = [node for function in definition.library.function for node in function.node_def]
    recovering = [node for node in nodes if node.op == "LeakyRelu" and node.attr["alpha"].f > 1]
    assert recovering
    assert all(any(name.startswith("^") for name in node.input) for node in recovering)
