"""``recalibrate``: statistics of a data set, against NumPy on all of it at once."""

import pathlib
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bn import BatchNormalization, recalibrate
from tests import applications

KINDS = [keras.layers.BatchNormalization, BatchNormalization]
# 50 samples: 16 + 16 + 16 + 2, batches of unequal size.
X = np.random.default_rng(0).normal([1, -20, 0], [1, 4, 0.1], size=(50, 3)).astype("float32")


def single(kind=BatchNormalization, **options):
    return keras.Sequential([keras.Input((3,)), kind(name="norm", **options)])


def assert_statistics_of(norm, values):
    values = np.asarray(values, "float64").reshape(-1, values.shape[-1])
    np.testing.assert_allclose(norm.moving_mean, values.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(norm.moving_variance, values.var(0), rtol=1e-6)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[16 * index : 16 * (index + 1)], np.zeros(16)


def batched():
    return tf.data.Dataset.from_tensor_slices(X).batch(16)


DATA = {
    "array": (lambda: X, {}),
    "tensor": (lambda: tf.constant(X), {}),
    "list": (lambda: [X], {}),
    "batches of 1": (lambda: X, {"batch_size": 1}),
    "one batch": (lambda: X, {"batch_size": 1000}),
    "dataset": (batched, {}),
    "dataset with targets": (lambda: batched().map(lambda x: (x, tf.zeros(1), tf.ones(1))), {}),
    "endless dataset": (lambda: batched().repeat(), {"steps": 4}),
    "PyDataset": (Sequence, {}),
    "generator": (lambda: (X[i : i + 16] for i in range(0, 50, 16)), {"steps": 4}),
    "iterable": (lambda: [(X[:20], 0), (X[20:], 0)], {}),
    "list of inputs and targets": (lambda: [(X[:20], np.zeros(20)), (X[20:], np.zeros(30))], {}),
    "list of inputs in tuples": (lambda: [(X[:25],), (X[25:],)], {}),
    "batches that are lists": (lambda: ([X[i : i + 16], np.zeros(16)] for i in range(0, 50, 16)), {"steps": 4}),
    "inputs and targets": (lambda: (X, np.zeros(50)), {}),
    "list of inputs, and targets": (lambda: ([X], np.zeros(50), np.ones(50)), {}),
    "steps of NumPy": (lambda: X, {"steps": np.int64(4), "batch_size": np.int32(16)}),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_forms_of_data(kind, name):
    data, options = DATA[name]
    new = recalibrate(single(kind), data(), **({"batch_size": 16} | options))
    assert type(new.get_layer("norm")) is kind
    assert_statistics_of(new.get_layer("norm"), X)


@pytest.mark.parametrize("options", [{}, {"trainable": False}, {"axis": 1}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_in_float64_the_statistics_are_those_of_all_data(float64, kind, options):
    rng = np.random.default_rng(0)
    x = rng.normal([3.0, -200.0, 0.0], [1.0, 4.0, 0.1], size=(50, 4, 3))
    axis = options.get("axis", -1)
    if axis == 1:
        x = np.moveaxis(x, -1, 1)
    model = keras.Sequential([keras.Input(x.shape[1:]), kind(name="norm", **options)])
    batches = (part for part in (x[:1], x[1:20], x[20:]))
    norm = recalibrate(model, batches, steps=3).get_layer("norm")
    rest = tuple(i for i in range(3) if i != axis % 3)
    # Two passes over all of it, in more digits than float64 where the machine has them.
    wide = x.astype(np.longdouble)
    mean = wide.mean(rest, keepdims=True)
    np.testing.assert_allclose(norm.moving_mean, mean.reshape(-1).astype(float), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(norm.moving_variance, ((wide - mean) ** 2).mean(rest).astype(float), rtol=1e-12)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_bits(kind, policy):
    model = keras.Sequential([keras.Input((3,), dtype="float32"), kind(name="norm", dtype=policy)])
    norm = recalibrate(model, X, batch_size=16).get_layer("norm")
    # What the layer normalizes: ours the inputs as they are, the built-in one rounded ones.
    seen = X if kind is BatchNormalization else np.asarray(tf.cast(tf.cast(X, norm.compute_dtype), "float32"))
    rounding = {"float16": 1e-3, "bfloat16": 8e-3}.get(norm.moving_mean.dtype, 1e-5)
    np.testing.assert_allclose(np.asarray(tf.cast(norm.moving_mean, "float32")), seen.mean(0), rtol=rounding, atol=1e-4)
    np.testing.assert_allclose(np.asarray(tf.cast(norm.moving_variance, "float32")), seen.var(0), rtol=rounding)


def test_dictionaries_of_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model({"a": a, "b": b}, BatchNormalization(name="norm")(keras.layers.Add()([a, 2 * b])))
    for data in ({"a": X, "b": X}, tf.data.Dataset.from_tensor_slices({"a": X, "b": X}).batch(16)):
        assert_statistics_of(recalibrate(model, data, batch_size=16).get_layer("norm"), 3 * X)


def test_a_model_that_was_built_by_a_call_takes_batches_of_any_size():
    model = keras.Sequential([BatchNormalization(name="norm")])
    model(X[:32])
    assert_statistics_of(recalibrate(model, X, batch_size=16).get_layer("norm"), X)


def test_loaders_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.zeros(50))
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    assert_statistics_of(recalibrate(single(), loader).get_layer("norm"), X)


def test_steps_take_the_first_batches():
    assert_statistics_of(recalibrate(single(), X, steps=2, batch_size=16).get_layer("norm"), X[:32])


def test_graphs_and_eager_batches_agree(monkeypatch):
    model = applications.build("MobileNetV2")
    x = applications.images("MobileNetV2", samples=40).astype("float32")
    eager = recalibrate(model, x, batch_size=8, in_place=False)
    monkeypatch.setattr("keras_bn.model_tools.recalibration.EAGER", 1)
    assert applications.error(recalibrate(model, x, batch_size=8).get_weights(), eager.get_weights()) < 1e-4


def reference_pass(model, x, batch_size):
    """The inputs of each layer, where those before it normalize with the statistics of each batch."""
    chain = [layer for layer in model.layers if not isinstance(layer, keras.layers.Dropout)]
    seen = {}
    for start in range(0, len(x), batch_size):
        value = x[start : start + batch_size].astype("float64")
        for layer in chain:
            if isinstance(layer, keras.layers.BatchNormalization):
                seen.setdefault(layer.name, []).append(value)
                gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
                value = (value - value.mean(0)) / np.sqrt(value.var(0) + layer.epsilon) * gamma + beta
            else:
                value = np.tanh(value @ layer.kernel.numpy() + layer.bias.numpy())
    return {name: np.concatenate(values) for name, values in seen.items()}


@pytest.mark.parametrize("options", [{}, {"renorm": True}, {"virtual_batch_size": 4}, {"trainable": False}], ids=str)
def test_layers_before_use_the_statistics_of_the_batch_and_dropout_does_nothing(options):
    layers = [
        BatchNormalization(name="a", **options),
        keras.layers.Dense(5, activation="tanh"),
        keras.layers.Dropout(0.5),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.BatchNormalization(name="b")])
    model.get_layer("a").gamma.assign([1.0, 2.0, 0.5])
    new = recalibrate(model, X, batch_size=16, in_place=False)
    for name, values in reference_pass(model, X, 16).items():
        np.testing.assert_allclose(new.get_layer(name).moving_mean, values.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(new.get_layer(name).moving_variance, values.var(0), rtol=1e-5)
    if options.get("renorm"):
        norm = new.get_layer("a")
        np.testing.assert_array_equal(norm.renorm_mean, norm.moving_mean)
        np.testing.assert_allclose(norm.moving_stddev, np.sqrt(norm.moving_variance + norm.epsilon), rtol=1e-6)


def test_the_mean_of_the_variances_of_batches_would_be_too_small():
    x = np.repeat([[0.0], [10.0]], 8, axis=0)
    model = keras.Sequential([keras.Input((1,)), BatchNormalization(name="norm")])
    assert recalibrate(model, x, batch_size=8).get_layer("norm").moving_variance.numpy() == [25.0]


@pytest.mark.parametrize("kind", KINDS)
def test_masks(kind):
    x = np.random.default_rng(0).normal(2, 3, size=(10, 5, 3)).astype("float32")
    x[3:, 2:] = 0
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.Masking(0.0), kind(name="norm")])
    assert_statistics_of(recalibrate(model, x, batch_size=4).get_layer("norm"), x[(x != 0).any(-1)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_padding_does_not_count(kind):
    x = np.random.default_rng(0).normal(2, 3, size=(12, 5, 3)).astype("float32")
    x[4:8] = 0
    options = {"momentum": None} if kind is BatchNormalization else {}
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.Masking(0.0), kind(name="norm", **options)])
    norm = recalibrate(model, x, batch_size=4, in_place=False).get_layer("norm")
    assert_statistics_of(norm, x[(x != 0).any(-1)])
    if options:
        assert norm.update_count.numpy().tolist() == [2, 2, 2]
    norm = recalibrate(model, x[4:8]).get_layer("norm")
    assert (norm.moving_mean.numpy().tolist(), norm.moving_variance.numpy().tolist()) == ([0, 0, 0], [1, 1, 1])


def test_a_time_step_of_padding_passes_as_it_does_in_training():
    x = np.random.default_rng(0).normal(2, 3, size=(6, 4, 3)).astype("float32")
    x[:, 3], x[0, 2] = 0, 0
    layers = [BatchNormalization(axis=1, momentum=0.0, name="a"), BatchNormalization(momentum=0.0, name="b")]
    # Nothing is masked for the second, which sees what the first made of the padding.
    layers.insert(1, keras.layers.Lambda(lambda x: x + 0, mask=lambda inputs, mask=None: None))
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Masking(0.0), *layers])
    model.get_layer("a").moving_mean.assign([5.0] * 4)
    new = recalibrate(model, x, in_place=False)
    model(x, training=True)
    for name in "ab":
        norm, trained = new.get_layer(name), model.get_layer(name)
        np.testing.assert_allclose(norm.moving_mean, trained.moving_mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(norm.moving_variance, trained.moving_variance, rtol=1e-5)


def test_a_tuple_is_not_two_inputs():
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], BatchNormalization()(a + b))
    with pytest.raises(ValueError, match="all of its inputs, 2"):
        recalibrate(model, (X, X))
    for data in (([X, X], np.zeros(50)), [([X, X],)], [([X, X], np.zeros(50))]):
        assert_statistics_of(recalibrate(model, data).layers[-1], 2 * X)


def test_shared_and_nested_layers():
    shared = BatchNormalization(name="shared")
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], [keras.Sequential([shared])(a), shared(b)])
    new = recalibrate(model, [X, 2 * X], batch_size=16)
    assert_statistics_of(new.get_layer("shared"), np.concatenate([X, 2 * X]))


class Needy(keras.Model):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def call(self, x, training=None):
        return self.norm(x, training=training)


class Subclassed(keras.Model):
    def __init__(self, layer=None):
        super().__init__()
        self.norm = keras.layers.BatchNormalization() if layer is None else layer

    def call(self, x, training=None):
        return self.norm(x, training=training)


def test_subclassed_models():
    model = Subclassed()
    model(X)
    assert_statistics_of(recalibrate(model, X).norm, X)
    given = Needy(BatchNormalization())
    given(X)
    with pytest.raises(ValueError, match="get_config"):
        recalibrate(given, X, in_place=False)
    assert recalibrate(given, X) is given
    assert_statistics_of(given.norm, X)


def test_an_activation_of_the_layer_is_applied():
    layers = [BatchNormalization(activation="relu"), BatchNormalization(name="norm", epsilon=0.0)]
    model = recalibrate(keras.Sequential([keras.Input((3,)), *layers]), X, batch_size=50)
    x = X.astype("float64")
    hidden = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), 0)
    np.testing.assert_allclose(model.get_layer("norm").moving_mean, hidden.mean(0), rtol=1e-5)


class Compiled(Subclassed):
    """Its call is a graph that is traced once for each shape."""

    @tf.function
    def call(self, x, training=None):
        return self.norm(x, training=training)


def wrapped():
    model = single()
    model.call = tf.function(model.call)
    return model


# A copy of the second is one of its class, without the call of the instance.
@pytest.mark.parametrize(("make", "in_place"), [(Compiled, True), (Compiled, False), (wrapped, True)])
def test_40_a_call_that_is_a_tf_function(make, in_place):
    model = make()
    # Keras bakes the initial values into the trace that builds a layer, whichever layer it is.
    if not model.built:
        model.layers[0].build((None, 3))
    model(X, training=False)
    new = recalibrate(model, X, in_place=in_place)
    norm = new.layers[0]
    assert_statistics_of(norm, X)
    normalized = (X - X.mean(0)) / np.sqrt(X.var(0) + norm.epsilon)
    np.testing.assert_allclose(new(X, training=False), normalized, rtol=1e-4, atol=1e-4)
    # With the statistics of the data set, not with those of this batch.
    np.testing.assert_allclose(new(X[:16], training=False), normalized[:16], rtol=1e-4, atol=1e-4)


def test_the_average_of_batches_goes_on_from_there():
    new = recalibrate(single(momentum=None), X, batch_size=16).get_layer("norm")
    assert new.update_count.numpy().tolist() == [4, 4, 4]


def test_the_model_itself_is_changed_unless_a_copy_is_asked_for():
    model = single()
    assert recalibrate(model, X) is model
    assert_statistics_of(model.get_layer("norm"), X)
    before = [value.copy() for value in model.get_weights()]
    assert_statistics_of(recalibrate(model, 2 * X, in_place=False).get_layer("norm"), 2 * X)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert "call" not in vars(model.get_layer("norm"))


def test_a_call_that_a_layer_has_of_its_own_stays():
    model = single()
    norm = model.get_layer("norm")
    own = lambda inputs, training=None, mask=None: 2 * inputs  # noqa: E731
    norm.call = own
    recalibrate(model, X)
    assert vars(norm)["call"] is own
    assert_statistics_of(norm, X)


def failing():
    yield X[:16]
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (failing, {"steps": 3}, KeyboardInterrupt),
        (lambda: np.where(X[0] == X, np.nan, X), {}, ValueError),
        (lambda: X, {"steps": 9, "batch_size": 16}, ValueError),
    ],
    ids=["interrupted", "NaN", "too few"],
)
def test_a_failing_pass_leaves_the_old_statistics(data, options, error):
    model = single()
    before = [value.copy() for value in model.get_weights()]
    with pytest.raises(error):
        recalibrate(model, data(), **options)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert_statistics_of(recalibrate(model, X).get_layer("norm"), X)


@pytest.mark.parametrize(
    ("data", "options", "error", "received"),
    [
        (lambda: (x for x in [X]), {}, ValueError, "steps=None"),
        (lambda: batched().repeat(), {}, ValueError, "steps=None"),
        (lambda: X, {"steps": 0}, ValueError, "steps=0"),
        (lambda: X, {"batch_size": -1}, ValueError, "batch_size=-1"),
        (lambda: X[:0], {}, ValueError, r"\[0\]"),
        (lambda: X, {"steps": True}, ValueError, "steps=True"),
        (lambda: X, {"steps": 2.0}, ValueError, "steps=2.0"),
        (lambda: 3, {}, TypeError, "Received: int"),
        (lambda: "data.npz", {}, TypeError, "Received: str. Of a file"),
        (lambda: pathlib.Path("data.npz"), {}, TypeError, r"Received: \w+Path. Of a file"),
        (
            lambda: [X[:25], X[25:]],
            {},
            ValueError,
            r"all of its inputs, 1. Received: 2.*\(\[a, b\],\)",
        ),
        (lambda: [[X[:25]], [X[25:]]], {}, ValueError, "list of lists.*as tuples"),
        (lambda: [[1.0, 2.0, 3.0]], {}, TypeError, "list with float"),
        (lambda: (X, X, X, X), {}, ValueError, r"a tuple of 4.*\(\[a, b\],\)"),
        (lambda: X[:, :2], {}, ValueError, r"shape \(None, 3\).*Received: a batch of shape \(32, 2\)"),
        (lambda: batched().unbatch(), {}, ValueError, r"a batch of shape \(3,\).*dataset.batch"),
    ],
)
def test_errors(data, options, error, received):
    with pytest.raises(error, match=received):
        recalibrate(single(), data(), **options)


def test_what_is_no_model_or_not_built():
    with pytest.raises(TypeError, match="Received: str"):
        recalibrate("model.keras", X)
    with pytest.raises(ValueError, match="norm without weights"):
        recalibrate(keras.Sequential([BatchNormalization(name="norm")]), X)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accident", ["spike", "average"])
def test_accuracy_is_rescued(accident, kind):
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 3, size=(4, 8))
    labels = rng.integers(0, 4, 1200)
    x = (centers[labels] + rng.normal(size=(1200, 8)) + 5).astype("float32")
    train, test = slice(0, 800), slice(800, None)

    def network(seed):
        keras.utils.set_random_seed(seed)
        layers = [layer for _ in range(3) for layer in (keras.layers.Dense(32), kind(), keras.layers.ReLU())]
        model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(4)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss, metrics=["accuracy"])
        return model

    def accuracy(model):
        return np.mean(np.argmax(model(x[test]), -1) == labels[test])

    model = network(0)
    model.fit(x[train], labels[train], epochs=6, verbose=0)
    if accident == "spike":
        # Steps far too long, and an epoch to recover: the weights do, the statistics do not.
        model.optimizer.learning_rate = 5.0
        model.fit(x[:128], labels[:128], verbose=0)
        model.optimizer.learning_rate = 0.05
        model.fit(x[train], labels[train], verbose=0)
    else:
        early = model.get_weights()
        model.fit(x[train], labels[train], epochs=6, verbose=0)
        # Of weights only, as averaging does; the statistics belong to neither.
        model.set_weights([(a + b) / 2 for a, b in zip(early, model.get_weights(), strict=True)])
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.moving_mean.assign(0 * layer.moving_mean.numpy())
                layer.moving_variance.assign(1 + 0 * layer.moving_variance.numpy())
    assert accuracy(model) < 0.8
    assert accuracy(recalibrate(model, x[train], batch_size=100)) > 0.95


def test_a_model_without_batch_normalization_is_warned_of():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="has no batch normalization"):
        recalibrate(model, np.zeros((4, 3), "float32"))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_of_sixteen_bits_are_not_rounded(kind, policy):
    model = keras.Sequential([keras.Input((1,), dtype="int32"), kind(name="norm", dtype=policy)])
    x = np.array([[1001], [1002], [1003], [1005]], "int32")
    recalibrate(model, x)
    assert_statistics_of(model.get_layer("norm"), x)


@pytest.mark.parametrize("kind", KINDS)
def test_the_call_of_a_derived_class_remains(kind):
    class Scaled(kind):
        def call(self, inputs, factor=10.0, training=None, mask=None):
            return factor * super().call(inputs, training, mask=mask)

    first, norm = Scaled(name="first"), BatchNormalization(name="norm")
    recalibrate(keras.Sequential([keras.Input((3,)), first, norm]), X, batch_size=50)
    assert_statistics_of(first, X)
    np.testing.assert_allclose(norm.moving_variance, 100 * X.var(0) / (X.var(0) + first.epsilon), rtol=1e-5)


def test_a_derived_class_that_normalizes_by_itself_is_named():
    class Own(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            return inputs

    model = keras.Sequential([keras.Input((3,)), Own(name="own")])
    with pytest.warns(UserWarning, match="own keeps its statistics: .* of its class, Own, does not come"):
        recalibrate(model, X)


RAGGED = tf.RaggedTensor.from_row_lengths(X, [20, 0, 25, 5])


@pytest.mark.parametrize(
    "data",
    [RAGGED, [(RAGGED,)], [RAGGED], tf.data.Dataset.from_tensors(RAGGED), (RAGGED, np.zeros(4))],
    ids=["tensor", "tuples", "list", "dataset", "with targets"],
)
def test_ragged_inputs(data):
    model = keras.Sequential([keras.Input((None, 3), ragged=True), BatchNormalization(name="norm")])
    recalibrate(model, data, batch_size=2)
    assert_statistics_of(model.get_layer("norm"), X)


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_inputs_by_name_of_a_sequential_model():
    model = keras.Sequential([keras.Input((3,), name="inputs"), BatchNormalization(name="norm")])
    recalibrate(model, {"inputs": X})
    assert_statistics_of(model.get_layer("norm"), X)


class WithUnused(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm, self.auxiliary = BatchNormalization(), BatchNormalization()
        self.calls_auxiliary = False

    def call(self, inputs):
        y = self.norm(inputs)
        return self.auxiliary(y) if self.calls_auxiliary else y


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer")
def test_a_layer_that_is_never_called_needs_no_weights():
    model = WithUnused()
    model(X)
    recalibrate(model, X)
    assert_statistics_of(model.norm, X)
    before = model.norm.get_weights()
    model.calls_auxiliary = True
    with pytest.raises(ValueError, match="every layer must be built"):
        recalibrate(model, X + 1)
    for a, b in zip(before, model.norm.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_several_ragged_inputs():
    inputs = [keras.Input((None, 3), ragged=True) for _ in range(2)]
    norms = [BatchNormalization(name=name) for name in "ab"]
    model = keras.Model(inputs, [norm(tensor) for norm, tensor in zip(norms, inputs, strict=True)])
    recalibrate(model, [RAGGED, RAGGED + 1])
    assert_statistics_of(norms[0], X)
    assert_statistics_of(norms[1], X + 1)


def test_a_mask_that_keras_leaves_to_the_layer():
    """Where ``training`` is a tensor."""

    class Masked(keras.Model):
        def __init__(self):
            super().__init__()
            self.masking, self.norm = keras.layers.Masking(), BatchNormalization()

        def call(self, inputs):
            return self.norm(self.masking(inputs), training=tf.constant(False))

    model = Masked()
    padded = np.concatenate([X[None], np.zeros((1, 50, 3), "float32")])
    model(padded)
    recalibrate(model, padded)
    assert_statistics_of(model.norm, X)


def test_passes_in_two_threads_take_turns():
    originals = [kind.call for kind in KINDS]
    models = [single(), single(keras.layers.BatchNormalization)]
    threads = [threading.Thread(target=recalibrate, args=(model, X + n)) for n, model in enumerate(models)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, model in enumerate(models):
        assert_statistics_of(model.get_layer("norm"), X + n)
    assert [kind.call for kind in KINDS] == originals


def test_complex_data_is_refused():
    model = keras.Sequential([keras.Input((2,)), BatchNormalization()])
    with pytest.raises(ValueError, match=r"must be real.*Received: complex"):
        recalibrate(model, np.ones((4, 2)) * (1 + 5j))
    np.testing.assert_array_equal(model.layers[0].moving_mean, [0, 0])


def test_a_word_is_no_flag():
    model = keras.Sequential([keras.Input((2,)), BatchNormalization()])
    with pytest.raises(TypeError, match="in_place must be True or False"):
        recalibrate(model, np.ones((4, 2)), in_place="no")
