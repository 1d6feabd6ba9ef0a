"""What copies of models take over besides weights: adapted statistics, vocabularies, flags, the compilation."""

import functools

import keras
import numpy as np
import pytest

from keras_bn import BatchNormalization, BatchNormMonitor, convert, fold, recalibrate
from keras_bn.model_tools import inspection

L = keras.layers
WORDS = np.array([["red green"], ["green blue blue"], ["unseen red"]], object)


def numbers(shift=3.0):
    return np.random.default_rng(0).normal(shift, 5.0, size=(16, 3)).astype("float32")


def normalization():
    layer = L.Normalization()
    layer.adapt(numbers())
    return keras.Input((3,)), layer, numbers()


def vectorization():
    layer = L.TextVectorization(output_sequence_length=3)
    layer.adapt(["red", "green green blue"])
    return keras.Input((1,), dtype="string"), layer, keras.ops.convert_to_tensor(WORDS)


def string_lookup(output_mode="multi_hot"):
    layer = L.StringLookup(output_mode=output_mode)
    layer.adapt([["red", "green"], ["blue", "red"]])
    return keras.Input((1,), dtype="string"), layer, keras.ops.convert_to_tensor(np.array([["red"], ["x"]], object))


def integer_lookup():
    layer = L.IntegerLookup(output_mode="one_hot")
    layer.adapt([7, 9, 11])
    return keras.Input((1,), dtype="int64"), layer, np.array([[9], [10]])


def discretization():
    layer = L.Discretization(num_bins=4, output_mode="one_hot")
    layer.adapt(numbers()[:, :1])
    return keras.Input((1,)), layer, numbers()[:, :1]


ADAPTED = {
    "Normalization": normalization,
    "TextVectorization": vectorization,
    "StringLookup": string_lookup,
    "StringLookup, tf_idf": functools.partial(string_lookup, "tf_idf"),
    "IntegerLookup": integer_lookup,
    "Discretization": discretization,
}


@pytest.mark.parametrize("copy", [convert, fold])
@pytest.mark.parametrize("name", ADAPTED)
def test_37_what_was_adapted_is_copied(name, copy):
    inputs, layer, x = ADAPTED[name]()
    h = keras.layers.Lambda(lambda x: keras.ops.cast(x, "float32"))(layer(inputs))
    model = keras.Model(inputs, BatchNormalization()(L.Dense(2)(h)))
    expected = model(x)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(copy(model)(x), expected, rtol=1e-5, atol=1e-6)


def test_what_was_adapted_is_copied_into_the_model_with_new_statistics():
    inputs, layer, x = normalization()
    model = keras.Model(inputs, BatchNormalization(name="norm", epsilon=0.0)(layer(inputs)))
    norm = recalibrate(model, x, in_place=False).get_layer("norm")
    # Of data that were normalized to mean 0 and variance 1; in the original they start as that.
    np.testing.assert_allclose(norm.moving_mean, np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, np.ones(3), atol=1e-5)


def test_what_was_adapted_within_a_subclassed_model_is_copied():
    @keras.saving.register_keras_serializable("tests")
    class Model(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.words, self.embedding, self.norm = L.TextVectorization(), L.Embedding(9, 2), BatchNormalization()

        def call(self, x, training=None):
            return self.norm(self.embedding(self.words(x)), training=training)

    model = Model()
    model.words.adapt(["red", "green green blue"])
    x = keras.ops.convert_to_tensor(WORDS)
    expected = model(x)
    np.testing.assert_allclose(convert(model)(x), expected, rtol=1e-6)


class Forgetful(L.Layer):
    """A layer whose hooks fail."""

    def call(self, x):
        return x

    def save_assets(self, directory):
        raise RuntimeError("nothing to save")


def test_what_cannot_be_copied_is_refused():
    model = keras.Sequential([keras.Input((2,)), Forgetful(name="forgetful"), BatchNormalization()])
    with pytest.raises(ValueError, match=r"'forgetful', a Forgetful, .* Received: RuntimeError: nothing to save"):
        convert(model)


# Flags and options


@pytest.mark.parametrize("kind", [L.BatchNormalization, BatchNormalization])
@pytest.mark.parametrize("trainable", [True, False])
def test_the_option_trainable_acts(kind, trainable):
    model = keras.Sequential([keras.Input((2,)), L.Dense(2), kind(name="norm", trainable=not trainable)])
    new = convert(model, trainable=trainable)
    assert new.get_layer("norm").trainable is trainable
    assert len(new.trainable_variables) == (4 if trainable else 2)
    assert new.layers[0].trainable
    before = new.get_layer("norm").get_weights()
    new.compile("sgd", "mse")
    new.fit(numbers()[:, :2], numbers()[:, 1:], verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(new.get_layer("norm").get_weights(), before, strict=True)]
    assert moved == [trainable] * 4


@pytest.mark.parametrize("name", ["gamma_initializer", "moving_variance_initializer"])
def test_options_that_would_not_act_are_refused(name):
    with pytest.raises(TypeError, match=rf"keeps the weights of the layers. Received: {name}='zeros'"):
        convert(keras.Sequential([keras.Input((2,)), BatchNormalization()]), **{name: "zeros"})


# Compilation


def untyped(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2)


class Stubborn(keras.losses.Loss):
    """A loss without a config, whose constructor takes an argument."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * keras.ops.mean((y_true - y_pred) ** 2)


@pytest.mark.parametrize("loss", [Stubborn(2.0), untyped])
def test_a_copy_that_is_not_compiled_says_so(loss):
    model = keras.Sequential([keras.Input((2,)), BatchNormalization()], name="mine")
    model.compile("sgd", loss)
    with pytest.warns(UserWarning, match=r"the copy of mine is not compiled: \w+Error: .* Compile it as the original"):
        assert not convert(model).compiled


def test_an_optimizer_that_starts_anew_says_so():
    model = keras.Sequential([keras.Input((2,)), L.Dense(2), BatchNormalization()], name="mine")
    model.compile("adam", "mse")
    model.fit(numbers()[:, :2], numbers()[:, 1:], verbose=0)
    with pytest.warns(UserWarning, match="the optimizer of mine starts anew"):
        convert(model, trainable=False)


# Whose statistics normalize


@pytest.mark.parametrize("kind", [L.BatchNormalization, BatchNormalization])
def test_a_whole_model_with_the_moving_statistics(kind):
    model = keras.Sequential([keras.Input((3,)), L.Dense(4), kind(name="norm"), L.Dense(1)])
    model(numbers(), training=True)
    new = convert(model, statistics="moving")
    norm = new.get_layer("norm")
    before = norm.get_weights()
    np.testing.assert_allclose(new(numbers(), training=True), model(numbers()), rtol=1e-5, atol=1e-6)
    new.compile("sgd", "mse")
    history = new.fit(numbers(), numbers()[:, :1], verbose=0, callbacks=[BatchNormMonitor()]).history
    # Frozen are the statistics; gamma and beta train.
    same = [np.array_equal(a, b) for a, b in zip(norm.get_weights(), before, strict=True)]
    assert same == [False, False, True, True]
    assert np.isnan(history["norm/mean_gap"][0])
    assert inspection.examine(norm).statistics == "moving"


def test_the_optimizer_survives_a_model_that_was_written_to_h5(tmp_path):
    """Keras takes the optimizer out of the configuration of a model that it writes in the old format."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    x = np.random.default_rng(0).normal(size=(8, 3))
    model.fit(x, x, verbose=0)
    model.save(tmp_path / "m.h5")
    copy = convert(model)
    assert type(copy.optimizer) is keras.optimizers.Adam
    assert float(copy.optimizer.learning_rate) == pytest.approx(0.05)
    assert int(copy.optimizer.iterations) == 1


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("by", ["var_names", "var_list"])
def test_weights_that_do_not_decay(by, scaled, built):
    """Which the optimizer's config does not say."""
    model = keras.Sequential([keras.Input((3,)), L.Dense(3, name="dense"), L.BatchNormalization(name="norm")])
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    given = {"var_names": ["gamma"]} if by == "var_names" else {"var_list": [model.get_layer("norm").gamma]}
    optimizer.exclude_from_weight_decay(**given)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    if built:
        model.optimizer.build(model.trainable_variables)
    zeros = np.zeros((8, 3), "float32")
    for copy in (convert(model), recalibrate(model, numbers(), in_place=False)):
        kernel = copy.get_layer("dense").kernel.numpy()
        copy.fit(zeros, zeros, verbose=0)
        np.testing.assert_array_equal(copy.get_layer("norm").gamma, 1)
        assert np.abs(copy.get_layer("dense").kernel.numpy()).sum() < np.abs(kernel).sum()
