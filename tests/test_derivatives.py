"""Derivatives of every kind, by both engines, against central differences in float64 of the textbook's formula."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn import batch_norm
from tests import oracles, tolerances
from tests.cases import EPSILON

RNG = np.random.default_rng(0)
X, TANGENT, WEIGHTS = (RNG.normal(size=(6, 5, 8)) for _ in range(3))
GAMMA, BETA = RNG.uniform(0.5, 1.5, 8), RNG.normal(size=8)
STEP = 1e-5


def plain(x: np.ndarray) -> np.ndarray:
    return GAMMA * (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + EPSILON) + BETA


def along(function, x: np.ndarray, tangent: np.ndarray) -> np.ndarray:
    """The derivative of a function along a tangent."""
    return (function(x + STEP * tangent) - function(x - STEP * tangent)) / (2 * STEP)


def textbook(x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, [0, 1])
    return GAMMA * (x - mean) / tf.sqrt(variance + EPSILON) + BETA


def gradient_of_loss(x: np.ndarray, function=textbook) -> np.ndarray:
    """Of Σ w·y² in float64, by TensorFlow's differentiation of a function."""
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        loss = tf.reduce_sum(WEIGHTS * function(point) ** 2)
    return tape.gradient(loss, point).numpy()


def single(value: np.ndarray) -> tf.Tensor:
    return tf.constant(value, tf.float32)


def normalize(engine: str):
    return lambda x: batch_norm(x, single(GAMMA), single(BETA), epsilon=EPSILON, engine=engine).y


def forward(function, x, tangent):
    with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
        y = function(x)
    return accumulator.jvp(y)


def gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(single(WEIGHTS) * function(x) ** 2)
    return tape.gradient(loss, x)


def forward_over_reverse(function, x, tangent):
    with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
        found = gradient(function, x)
    return accumulator.jvp(found)


def reverse_over_forward(function, x, tangent):
    with tf.GradientTape() as tape:
        tape.watch(x)
        with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
            loss = tf.reduce_sum(single(WEIGHTS) * function(x) ** 2)
        slope = accumulator.jvp(loss)
    return tape.gradient(slope, x)


def forward_over_forward(function, x, tangent):
    with tf.autodiff.ForwardAccumulator(x, tangent) as outer:
        with tf.autodiff.ForwardAccumulator(x, tangent) as inner:
            y = function(x)
        slope = inner.jvp(y)
    return outer.jvp(slope, unconnected_gradients=tf.UnconnectedGradients.ZERO)  # of an affine map it is 0


KINDS = [forward, forward_over_reverse, reverse_over_forward, forward_over_forward]


def agrees(kind, found: np.ndarray, output, gradient) -> bool:
    """Whether ``kind`` gave what central differences in float64 give, of the output or of its gradient."""
    if kind is not forward_over_forward:
        return oracles.output_error(found, along(output if kind is forward else gradient, X, TANGENT)) < tolerances.AUTO
    true = along(lambda x: along(output, x, TANGENT), X, TANGENT)
    # The second difference is off by 1e-16/1e-10.
    if np.max(np.abs(true)) < 1e-4:  # the map is affine
        return not np.any(found)
    return oracles.output_error(found, true) < 1e-4


@pytest.mark.parametrize("engine", ["closed_form", "products", "fused"])
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("kind", KINDS)
def test_41_forward_mode(kind, mode, engine):
    function = lambda x, tangent: kind(normalize(engine), x, tangent)  # noqa: E731
    if mode == "graph":
        function = tf.function(function, autograph=False)
    found = function(single(X), single(TANGENT)).numpy()
    assert agrees(kind, found, plain, gradient_of_loss)


# What the layer can do besides: its options, and the arguments of its call. Bounds that are equal hold r and d, which
# are constants in the derivative, where they are.
MASK = np.arange(30).reshape(6, 5) % 4 > 0
LAYERS = {
    "inference": ({}, {"training": False}),
    "frozen": ({"statistics": "moving"}, {"training": True}),
    "masked": ({}, {"training": True, "mask": MASK}),
    "renormalized": ({"renorm": True, "renorm_clipping": {"rmin": 1.5, "rmax": 1.5, "dmax": 0.0}}, {"training": True}),
    "ghost batches": ({"virtual_batch_size": 3}, {"training": True}),
    "several axes": ({"axis": (1, 2)}, {"training": True}),
    "another axis": ({"axis": 1}, {"training": True}),
    "with an activation": ({"activation": "leaky_relu"}, {"training": True}),
}


def layer(name: str, dtype: str, engine: str):
    """A layer as a function of x; the same weights whatever its dtype."""
    options, call = LAYERS[name]
    norm = keras_bn.BatchNormalization(dtype=dtype, engine=engine, epsilon=EPSILON, **options)
    norm.build(X.shape)
    rng = np.random.default_rng(3)
    norm.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in norm.weights])
    return lambda x: norm(x, **call)


# The kernels serve the channels that come last, of one batch, without renormalization.
SERVED = ("inference", "frozen", "masked", "with an activation")


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "engine"), [(name, "auto") for name in LAYERS] + [(name, "fused") for name in SERVED])
def test_forward_mode_of_layers(name, kind, mode, engine):
    """Against central differences of the same layer in float64."""
    function = layer(name, "float32", engine)
    of_tensors = lambda x, tangent: kind(function, x, tangent)  # noqa: E731
    if mode == "graph":
        of_tensors = tf.function(of_tensors, autograph=False)
    found = of_tensors(single(X), single(TANGENT)).numpy()
    exact = layer(name, "float64", "closed_form")
    of_output = lambda x: exact(tf.constant(x)).numpy()  # noqa: E731
    of_gradient = lambda x: gradient_of_loss(x, exact)  # noqa: E731
    assert agrees(kind, found, of_output, of_gradient)


@pytest.mark.parametrize("engine", ["closed_form", "products", "fused"])
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("kind", ["jacobian", "batch_jacobian"])
def test_jacobians(kind, mode, engine):
    x = X[:3, :2]

    def function(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = normalize(engine)(x)
        return getattr(tape, kind)(y, x)

    found = (tf.function(function, autograph=False) if mode == "graph" else function)(single(x)).numpy()
    true = np.zeros(x.shape * 2)
    for index in np.ndindex(x.shape):
        direction = np.zeros(x.shape)
        direction[index] = 1
        true[(..., *index)] = along(plain, x, direction)
    if kind == "batch_jacobian":  # that of the sum over the samples, which do influence each other here
        true = np.moveaxis(true.sum(0), 2, 0)
    assert oracles.output_error(found, true) < tolerances.AUTO


@pytest.mark.parametrize("engine", ["closed_form", "products", "fused"])
def test_vectorized_map(engine):
    xs = np.stack([X, 2 * X + 1, X[::-1] ** 2])
    found = tf.vectorized_map(normalize(engine), single(xs)).numpy()
    assert oracles.output_error(found, np.stack([plain(x) for x in xs])) < tolerances.AUTO
    found = tf.vectorized_map(lambda x: gradient(normalize(engine), x), single(xs)).numpy()
    assert oracles.output_error(found, np.stack([gradient_of_loss(x) for x in xs])) < tolerances.AUTO


@pytest.mark.parametrize("engine", ["closed_form", "fused"])
@pytest.mark.parametrize("masked", [False, True])
def test_42_second_order_of_a_function_that_was_traced(masked, engine):
    """Of which the second derivative is traced in a graph of its own."""
    mask = tf.constant(RNG.random(X.shape[:-1]) < 0.7) if masked else None
    layer = keras_bn.BatchNormalization(engine=engine)
    layer.build(X.shape)
    found = []
    for function in (lambda x: layer(x, training=True, mask=mask),) * 2:
        function = tf.function(function, input_signature=[tf.TensorSpec([None, None, 8])]) if found else function
        x, dy = single(X), single(WEIGHTS)
        with tf.GradientTape() as outer:
            outer.watch([x, dy])
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x)
            dx = inner.gradient(y, x, output_gradients=dy)
        found.append(outer.gradient(dx, [x, dy], output_gradients=single(TANGENT)))
    for a, b in zip(*found, strict=True):
        assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.SECOND_ORDER_FUSED


@pytest.mark.parametrize("engine", ["products", "fused"])
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("mean_over_std", [0.5, 1e5])
def test_43_no_engine_computes_a_nan_that_it_throws_away(mean_over_std, mode, engine):
    x = single(np.concatenate([X, X, X, X, X, X, X, X, X]) + mean_over_std)
    x = tf.concat([x[..., :-1], tf.fill([*x.shape[:-1], 1], 5.0)], -1)  # and one constant channel
    layer = keras_bn.BatchNormalization(engine=engine)
    layer.build(x.shape)

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return tape.gradient(y, x, output_gradients=y)

    tf.debugging.enable_check_numerics()
    try:
        found = (tf.function(step) if mode == "graph" else step)(x)
    finally:
        tf.debugging.disable_check_numerics()
    assert np.isfinite(found.numpy()).all()


def test_an_engine_asked_for_by_name_serves_training_alone():
    model = keras.Sequential([keras.Input((8,)), keras_bn.BatchNormalization(engine="fused")])
    model.compile("sgd", "mse")
    x = np.random.default_rng(1).normal(size=(300, 8)).astype("float32")
    model.fit(x, x, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("options", [{}, {"activation": "leaky_relu"}, {"virtual_batch_size": 3}], ids=str)
@pytest.mark.parametrize("engine", ["closed_form", "products", "fused"])
def test_outputs_of_which_rows_are_gathered(engine, options, mode):
    """TensorFlow gives the gradient of a gather as ``IndexedSlices``."""
    if "virtual_batch_size" in options and engine != "closed_form":
        engine = "auto"
    layer = keras_bn.BatchNormalization(engine=engine, **options)
    layer.build(X.shape)
    weights, rows = single(WEIGHTS), [4, 0, 4]

    def gradients(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = layer(x, training=True)
            gathered = tf.reduce_sum(tf.gather(weights, rows) * tf.gather(y, rows))
            product = tf.reduce_sum(tf.reshape(tf.constant([1.0, 0, 0, 0, 2.0, 0]), [6, 1, 1]) * weights * y)
        return tape.gradient(gathered, x), tape.gradient(product, x)

    found, expected = (tf.function(gradients) if mode == "graph" else gradients)(single(X))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["closed_form", "products", "fused"])
def test_a_variance_of_which_channels_are_gathered(engine):
    x = single(X)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        variance = batch_norm(x, single(GAMMA), single(BETA), engine=engine).variance
        gathered, product = tf.reduce_sum(tf.gather(variance, [1, 5])), variance[1] + variance[5]
    np.testing.assert_allclose(tape.gradient(gathered, x), tape.gradient(product, x), rtol=1e-6, atol=1e-8)


IMAGES = RNG.normal(size=(3, 4, 4, 8))


def inference(x, mean, variance):
    """The textbook in float64."""
    return GAMMA * (x - mean) / np.sqrt(variance + EPSILON) + BETA


def built(engine):
    layer = keras_bn.BatchNormalization(epsilon=EPSILON, engine=engine)
    layer.build(IMAGES.shape)
    layer.set_weights([GAMMA, BETA, BETA + 1, GAMMA + 1])
    return layer


@pytest.mark.parametrize("kind", ["reverse", "reverse around a graph", "forward"])
@pytest.mark.parametrize("engine", ["closed_form", "auto"])
def test_inference_by_its_statistics(engine, kind):
    """The kernel that ``auto`` takes for images holds them constant."""
    layer, x = built(engine), single(IMAGES)
    weights, mean = single(RNG.normal(size=IMAGES.shape)), layer.moving_mean.value
    loss = lambda: tf.reduce_sum(weights * layer(x, training=False) ** 2)  # noqa: E731
    tangent = np.linspace(1, 2, 8)
    expected = along(lambda m: np.sum(weights.numpy() * inference(IMAGES, m, GAMMA + 1) ** 2), BETA + 1, tangent)
    if kind == "forward":
        with tf.autodiff.ForwardAccumulator(mean, single(tangent)) as accumulator:
            value = loss()
        found = accumulator.jvp(value)
    else:
        function = tf.function(loss) if kind == "reverse around a graph" else loss
        with tf.GradientTape() as tape:
            tape.watch(mean)
            value = function()
        found = np.sum(tape.gradient(value, mean).numpy() * tangent)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_inference_by_statistics_that_a_batch_before_has_moved(mode):
    """As in meta-learning: the loss depends on the batch through the moving statistics, too."""
    layer, weights = built("auto"), RNG.normal(size=IMAGES.shape)
    trainable = [variable.value for variable in layer.trainable_variables]
    statistics = [tf.convert_to_tensor(variable.value) for variable in layer.non_trainable_variables]

    def loss(x):
        _, moved = layer.stateless_call(trainable, statistics, x, training=True)
        return tf.reduce_sum(single(weights) * layer.stateless_call(trainable, moved, 2 * x, training=False)[0] ** 2)

    def expected(x):
        mean = 0.99 * (BETA + 1) + 0.01 * x.mean((0, 1, 2))
        variance = 0.99 * (GAMMA + 1) + 0.01 * x.var((0, 1, 2))
        return np.sum(weights * inference(2 * x, mean, variance) ** 2)

    x, tangent = single(IMAGES), RNG.normal(size=IMAGES.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = (tf.function(loss) if mode == "graph" else loss)(x)
    found = np.sum(tape.gradient(value, x).numpy() * tangent)
    np.testing.assert_allclose(found, along(expected, IMAGES, tangent), rtol=1e-4)


def test_an_infinite_input_is_not_hidden():
    x = np.array(RNG.normal(size=(600, 8)), "float32")
    x[3, 5] = np.inf
    for engine in ("closed_form", "products", "fused"):
        layer = keras_bn.BatchNormalization(engine=engine)
        y = layer(x, training=True).numpy()
        assert np.isnan(y[3, 5])
        assert np.isfinite(np.delete(y, 5, axis=1)).all()
        assert np.isfinite(layer.moving_variance.numpy()).all()
