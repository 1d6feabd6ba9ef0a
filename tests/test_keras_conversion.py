"""``convert`` and ``revert``: outputs, gradients, training and structure before and after."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn import BatchNormalization, convert, revert
from keras_bn.model_tools.copying_models import all_layers
from tests import applications

BUILT_IN = keras.layers.BatchNormalization


def norms(model):
    return [layer for layer in all_layers(model) if isinstance(layer, BUILT_IN)]


def kinds(model):
    return {type(layer) for layer in norms(model)}


def gradients(model, x, training):
    with tf.GradientTape() as tape:
        y = model(x, training=training)
        loss = tf.reduce_mean(tf.square(y - tf.constant(0.3, y.dtype)))
    return y.numpy(), [g.numpy() for g in tape.gradient(loss, [v.value for v in model.trainable_variables])]


def assert_alike(model, new, x, tolerance=1e-12, training=(False, True)):
    """The same outputs, gradients and states."""
    assert applications.error(new.get_weights(), model.get_weights()) == 0
    for mode in training:
        (y, dy), (y_new, dy_new) = gradients(model, x, mode), gradients(new, x, mode)
        assert applications.error(y_new, y) < tolerance
        assert applications.error(dy_new, dy) < tolerance
    assert applications.error(new.get_weights(), model.get_weights()) < tolerance


APPLICATIONS = [
    *applications.SMALL,
    *(pytest.param(name, marks=pytest.mark.slow) for name in applications.LARGE),
]


@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(float64, name):
    model = applications.build(name)
    before = [value.copy() for value in model.get_weights()]
    new = convert(model)
    assert kinds(new) == {BatchNormalization}
    assert kinds(model) == {BUILT_IN}
    assert [layer.name for layer in new.layers] == [layer.name for layer in model.layers]
    assert [v.path for v in new.weights] == [v.path for v in model.weights]
    # Dropout draws alike: its random state is copied. Xception's and ResNet's many layers amplify rounding.
    assert_alike(model, new, applications.images(name), tolerance=1e-9)
    back = revert(new)
    assert kinds(back) == {BUILT_IN}
    assert applications.error(back.get_weights(), new.get_weights()) == 0
    assert applications.error(back(applications.images(name)), new(applications.images(name))) < 1e-9
    assert applications.error(model.get_weights(), before) > 0, "training has to move the statistics"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_outputs_of_applications_in_float32(name):
    model = applications.build(name)
    x = applications.images(name).astype("float32")
    assert applications.error(convert(model)(x), model(x)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS[:2])
def test_ten_steps_of_training(float64, name):
    model = applications.build(name)
    # These networks of 1×1 pixels amplify rounding, tenfold a step at a rate of 1e-3; the control tells by how much.
    model.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9), loss="sparse_categorical_crossentropy")
    new, control = convert(model), revert(convert(model))
    assert new.compiled
    assert kinds(control) == {BUILT_IN}
    x, labels = applications.images(name, samples=16), tf.constant(np.arange(16) % 10)
    start = model.get_weights()
    for _ in range(10):
        loss, ours = (m.train_on_batch(tf.constant(x), labels) for m in (model, new))
        # The built-in layer against itself, with every input moved to the next number.
        nudged = control.train_on_batch(tf.constant(np.nextafter(x, np.inf)), labels)
        assert nudged == pytest.approx(loss, rel=1e-9), "this rate amplifies rounding by itself"
        assert ours == pytest.approx(loss, rel=1e-9)
    assert applications.error(new.get_weights(), model.get_weights()) < 1e-9
    assert applications.error(model.get_weights(), start) > 1e-3


# Kinds of models


class Block(keras.layers.Layer):
    """A layer without a config of its layers, as users write them."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)
        self.norm = BUILT_IN()
        self.others = [BUILT_IN(momentum=0.8), {"last": BUILT_IN(scale=False)}]

    def build(self, input_shape):
        self.dense.build(input_shape)
        shape = (*input_shape[:-1], self.units)
        for layer in (self.norm, self.others[0], self.others[1]["last"]):
            layer.build(shape)
        super().build(input_shape)

    def call(self, x, training=None):
        x = self.norm(self.dense(x), training=training)
        return self.others[1]["last"](self.others[0](x, training=training), training=training)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Subclassed(keras.Model):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(units)
        self.norm = BUILT_IN()
        self.block = Block(units)
        self.inner = keras.Sequential([keras.Input((units,)), BUILT_IN(), keras.layers.Dense(units)])

    def call(self, x, training=None):
        return self.inner(self.block(self.norm(self.first(x), training=training), training=training), training=training)


def functional():
    x = keras.Input((3,))
    y = BUILT_IN(name="norm")(keras.layers.Dense(4, name="dense")(x))
    return keras.Model(x, keras.ops.tanh(y) + 1, name="model")


def nested():
    shared = BUILT_IN(name="shared")
    x = keras.Input((4,))
    inner = keras.Model(x, keras.layers.Dense(4)(shared(x)), name="inner")
    chain = keras.Sequential([keras.Input((4,)), BUILT_IN(), inner], name="chain")
    x = keras.Input((4,))
    return keras.Model(x, [chain(shared(x)), inner(x)])


def subclassed():
    model = Subclassed()
    model(np.zeros((2, 3)))
    return model


def lambdas():
    factor = 3.0
    return keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * factor), BUILT_IN()])


def hard_coded_training():
    x = keras.Input((3,))
    return keras.Model(x, BUILT_IN()(BUILT_IN()(keras.layers.Dense(3)(x), training=False), training=True))


class Around(keras.Model):
    """A functional model that does something around its graph."""

    def call(self, x, training=None, mask=None):
        return 2 * super().call(x / 2, training=training)


class AroundChain(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x / 2, training=training)


def around():
    x = keras.Input((3,))
    return Around(x, BUILT_IN()(keras.layers.Dense(2)(x)))


Pair = collections.namedtuple("Pair", "dense norm")


class Containers(keras.Model):
    """Layers in tuples, named tuples, dictionaries of lists and sets."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pair = (keras.layers.Dense(3), BUILT_IN())
        self.named = Pair(keras.layers.Dense(3), BUILT_IN())
        self.table = {"a": [keras.layers.Dense(3), BUILT_IN()], "b": [BUILT_IN()]}
        self.lone = {BUILT_IN()}

    def call(self, x, training=None):
        for dense, norm in (self.pair, self.named, self.table["a"]):
            x = norm(dense(x), training=training)
        for norm in (*self.table["b"], *self.lone):
            x = norm(x, training=training)
        return x


class Lazy(keras.layers.Layer):
    """Does not build the blocks that it holds: they are when they are called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(3), Block(3)]

    def call(self, x, training=None):
        for block in self.blocks:
            x = x + block(x, training=training)
        return x


def containers():
    model = Containers()
    model(np.zeros((2, 3)))
    return model


def dictionary_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    return keras.Model({"a": a, "b": b}, {"sum": BUILT_IN()(a) + BUILT_IN()(b)})


class TracksItself(keras.Model):
    """A functional model with a constructor of its own."""

    def __init__(self, width):
        x = keras.Input((3,))
        super().__init__(x, BUILT_IN()(keras.layers.Dense(width)(x)))


class OwnStep(keras.Model):
    """A functional model with a training step of its own."""

    def train_step(self, data):
        return super().train_step(data)


def own_step():
    x = keras.Input((3,))
    return OwnStep(x, BUILT_IN()(keras.layers.Dense(2)(x)))


def wrapped():
    time = keras.layers.TimeDistributed(BUILT_IN())
    model = keras.Sequential([keras.Input((5, 3)), time, keras.layers.TimeDistributed(Block(3))])
    model(np.zeros((2, 5, 3)))
    return model


def masked():
    return keras.Sequential([keras.Input((5, 3)), keras.layers.Masking(0.5), BUILT_IN(axis=-1), keras.layers.LSTM(2)])


MODELS = {
    "functional": functional,
    "sequential": lambda: keras.Sequential([keras.Input((3,)), BUILT_IN(), keras.layers.Dense(2), BUILT_IN()]),
    "subclassed": subclassed,
    "block": lambda: keras.Sequential([keras.Input((3,)), Block(4), keras.layers.Dropout(0.5)]),
    "lambda": lambdas,
    "hard-coded training": hard_coded_training,
    "constructor of its own": lambda: TracksItself(4),
    "training step of its own": own_step,
    "call of its own": around,
    "chain with a call of its own": lambda: AroundChain([keras.Input((3,)), keras.layers.Dense(2), BUILT_IN()]),
    "containers": containers,
    "lazy": lambda: keras.Sequential([keras.Input((3,)), Lazy(), BUILT_IN()]),
    "wrapped": wrapped,
    "masked": masked,
}


def move_away(model):
    """Weights unlike those of a new model."""
    rng = np.random.default_rng(3)
    for variable in model.weights:
        if "seed" not in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_kinds_of_models(float64, name):
    model = move_away(MODELS[name]())
    x = np.random.default_rng(0).normal(size=(6, 5, 3) if name in ("wrapped", "masked") else (6, 3))
    new = convert(model)
    assert kinds(new) == {BatchNormalization}
    assert kinds(model) == {BUILT_IN}
    assert len(norms(new)) == len(norms(model))
    assert [layer.name for layer in all_layers(new)] == [layer.name for layer in all_layers(model)]
    assert [variable.path for variable in new.weights] == [variable.path for variable in model.weights]
    # The built-in layer adds Keras' epsilon, 1e-7, to the number of elements that a mask leaves.
    assert_alike(model, new, x, tolerance=1e-7 if name == "masked" else 1e-12)
    assert type(new) is type(model) or name == "constructor of its own"
    back = revert(new)
    assert kinds(back) == {BUILT_IN}
    assert_alike(new, back, x, tolerance=1e-7 if name == "masked" else 1e-12)


def test_nested_and_shared_layers(float64):
    model = move_away(nested())
    new = convert(model)
    assert len(norms(new)) == len(norms(model)) == 2
    [shared] = [layer for layer in norms(new) if layer.name == "shared"]
    assert shared is new.get_layer("inner").get_layer("shared")
    x = np.random.default_rng(0).normal(size=(6, 4))
    for _ in range(2):
        for a, b in zip(new(x, training=True), model(x, training=True), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert applications.error(new.get_weights(), model.get_weights()) < 1e-12


def test_structures_of_inputs_and_outputs():
    model = move_away(dictionary_inputs())
    new = convert(model)
    x = {name: np.random.default_rng(0).normal(size=(6, 3)).astype("float32") for name in "ab"}
    np.testing.assert_allclose(new(x)["sum"], model(x)["sum"], rtol=1e-5)
    assert list(new.output) == list(model.output)


def test_trainable_flags():
    model = nested()
    model.get_layer("chain").trainable = False
    model.get_layer("chain").layers[0].trainable = True
    model.get_layer("shared").beta.trainable = False
    new = convert(model)
    assert [layer.trainable for layer in all_layers(new)] == [layer.trainable for layer in all_layers(model)]
    assert [v.path for v in new.trainable_variables] == [v.path for v in model.trainable_variables]


def test_nothing_is_shared_with_the_original():
    model = functional()
    before = [value.copy() for value in model.get_weights()]
    nodes = {layer.name: len(layer._inbound_nodes) for layer in model.layers}
    new = convert(model)
    new(np.ones((4, 3)), training=True)
    for variable in new.weights:
        variable.assign(variable + 1)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert {layer.name: len(layer._inbound_nodes) for layer in model.layers} == nodes
    assert not {id(v) for v in new.variables} & {id(v) for v in model.variables}


def test_the_state_of_the_optimizer_goes_along(float64):
    model = functional()
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", jit_compile=False)
    x = tf.constant(np.random.default_rng(0).normal(size=(8, 3)))
    y = tf.ones((8, 4), tf.float64)
    model.train_on_batch(x, y)
    new = convert(model)
    for _ in range(3):
        assert new.train_on_batch(x, y) == pytest.approx(model.train_on_batch(x, y), rel=1e-12)
    assert int(new.optimizer.iterations) == 4
    assert applications.error(new.get_weights(), model.get_weights()) < 1e-9


# Options


def test_options_override_and_reach_layers_of_ours():
    new = convert(functional(), engine="closed_form", virtual_batch_size=4, momentum=None, unbiased_variance=True)
    norm = new.get_layer("norm")
    assert (norm.engine, norm.virtual_batch_size, norm.momentum, norm.unbiased_variance) == (
        "closed_form",
        4,
        None,
        True,
    )
    assert convert(new, engine="auto").get_layer("norm").engine == "auto"
    assert convert(new).get_layer("norm").virtual_batch_size == 4
    assert convert(functional(), synchronized=True).get_layer("norm").synchronized


def test_renormalization_starts_from_the_moving_statistics():
    model = move_away(functional())
    norm = convert(model, renorm=True).get_layer("norm")
    np.testing.assert_array_equal(norm.renorm_mean, norm.moving_mean)
    np.testing.assert_allclose(norm.renorm_stddev, np.sqrt(norm.moving_variance + norm.epsilon), rtol=1e-6)


def test_layers_of_one_name_start_renormalization_each_for_itself():
    x = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), BatchNormalization(name="norm", renorm=True)], name="inner")
    model = move_away(keras.Model(x, inner(BUILT_IN(name="norm")(x))))
    new = convert(model, renorm=True)
    begun, kept = new.get_layer("norm"), new.get_layer("inner").get_layer("norm")
    np.testing.assert_array_equal(begun.renorm_mean, begun.moving_mean)
    np.testing.assert_array_equal(kept.renorm_mean, inner.get_layer("norm").renorm_mean)
    assert not np.array_equal(kept.renorm_mean, kept.moving_mean)


@pytest.mark.parametrize("options", [{"momentum": 2.0}, {"engine": "none"}, {"virtual_batch_size": 0}], ids=str)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        convert(functional(), **options)


def test_options_that_do_not_exist():
    with pytest.raises(TypeError, match=r"one of .*momentum.*Received: no_such=1"):
        convert(functional(), no_such=1)
    with pytest.raises(TypeError, match="unbiased_variance='maybe'"):
        convert(functional(), unbiased_variance="maybe")


@pytest.mark.parametrize(("name", "value"), [("name", "x"), ("axis", 1), ("center", False), ("scale", False)])
def test_options_that_would_change_what_the_weights_are(name, value):
    with pytest.raises(TypeError, match=f"keeps the .*Received: {name}={value!r}"):
        convert(functional(), **{name: value})


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ({"virtual_batch_size": 2}, "virtual_batch_size=2"),
        ({"momentum": None}, "momentum=None"),
        ({"unbiased_variance": True}, "unbiased_variance=True"),
    ],
)
def test_revert_lists_what_cannot_be_expressed(options, listed):
    model = convert(functional(), **options)
    with pytest.raises(ValueError, match=f"norm: {listed}"):
        revert(model)
    with pytest.warns(UserWarning, match=f"norm: {listed}"):
        back = revert(model, lossy=True)
    x = np.ones((2, 3), "float32")
    np.testing.assert_allclose(back(x), model(x), rtol=1e-6)


def test_revert_of_several_axes():
    layer = BatchNormalization(axis=(1, 2), name="norm")
    layer.build((None, 2, 3))
    with pytest.raises(ValueError, match=r"norm: axis=\(1, 2\)"):
        revert(layer, lossy=True)


# Single layers, other models, files


def test_single_layers():
    layer = BUILT_IN(axis=1, momentum=0.7, epsilon=0.01, scale=False, name="norm", trainable=False)
    layer.build((None, 3, 4))
    layer.moving_mean.assign([1, 2, 3])
    new = convert(layer, engine="closed_form")
    assert type(new) is BatchNormalization
    assert (new.axis, new.momentum, new.epsilon, new.scale, new.name, new.trainable) == (
        1,
        0.7,
        0.01,
        False,
        "norm",
        False,
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(new(x), layer(x), rtol=1e-5)
    back = revert(new)
    assert type(back) is BUILT_IN
    np.testing.assert_allclose(back(x), layer(x), rtol=1e-5)
    assert not convert(BUILT_IN()).built
    assert type(convert(keras.layers.Dense(1))) is keras.layers.Dense


@pytest.mark.parametrize("function", [convert, revert])
@pytest.mark.parametrize("value", [3, None, "model.keras"])
def test_what_is_no_model(function, value):
    with pytest.raises(TypeError, match=f"Received: {type(value).__name__}"):
        function(value)


class Needy(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)


def test_models_that_cannot_be_made_anew():
    model = Needy(BUILT_IN())
    model(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"needy.*Needy.*get_config"):
        convert(model)


class OwnConstructorAndCall(keras.Model):
    def __init__(self, width):
        x = keras.Input((3,))
        super().__init__(x, BUILT_IN()(keras.layers.Dense(width)(x)))

    def call(self, x, training=None, mask=None):
        return super().call(x / 2, training=training)


def test_a_graph_behind_a_constructor_and_a_call():
    with pytest.raises(ValueError, match="OwnConstructorAndCall, has a constructor and a call"):
        convert(OwnConstructorAndCall(2))


class BuildsTwice(keras.layers.Layer):
    def __init__(self, norm, **kwargs):
        super().__init__(**kwargs)
        self.norm = norm

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x)

    def get_config(self):
        return {**super().get_config(), "norm": keras.saving.serialize_keras_object(self.norm)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "norm": keras.saving.deserialize_keras_object(config["norm"])})


def test_copies_that_cannot_be_built():
    model = keras.Sequential([keras.Input((3,)), BuildsTwice(BUILT_IN(), name="twice")])
    with pytest.raises(ValueError, match=r"'twice', a BuildsTwice, is built by .* build those layers that are not"):
        convert(model)


class Hidden(keras.layers.Layer):
    """Holds a layer where only its own code finds it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        norm = BUILT_IN(name="hidden_norm")
        self._layers.append(norm)
        self._tracker.stored_ids["layers"].add(id(norm))
        self.run = lambda x: norm(x)

    def build(self, shape):
        self._layers[0].build(shape)

    def call(self, x):
        return self.run(x)


def test_layers_held_where_they_cannot_be_exchanged():
    with pytest.raises(ValueError, match="Received: hidden_norm, held otherwise"):
        convert(keras.Sequential([keras.Input((3,)), Hidden()]))


class Derived(BUILT_IN):
    pass


def test_derived_classes_are_left_with_a_warning():
    model = keras.Sequential([keras.Input((3,)), Derived(name="derived"), BUILT_IN()])
    with pytest.warns(UserWarning, match="derived"):
        new = convert(model)
    assert [type(layer) for layer in new.layers] == [Derived, BatchNormalization]


def small():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), BUILT_IN()], name="inner")
    return keras.Sequential([keras.Input((4,)), BUILT_IN(), inner, BUILT_IN(scale=False)], name="small")


def test_files_of_either_layer(tmp_path):
    model = move_away(small())
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    expected = model(x).numpy()
    new = convert(model)
    for name, saved in {"built_in": model, "ours": new}.items():
        saved.save(tmp_path / f"{name}.keras")
        saved.save_weights(tmp_path / f"{name}.weights.h5")
    loaded = convert(keras.models.load_model(tmp_path / "built_in.keras"))
    back = revert(keras.models.load_model(tmp_path / "ours.keras"))
    read = convert(small())
    read.load_weights(tmp_path / "built_in.weights.h5")
    crossed = small()
    crossed.load_weights(tmp_path / "ours.weights.h5")
    for other in (loaded, back, read, crossed):
        np.testing.assert_allclose(other(x), expected, rtol=1e-5, atol=1e-5)


@keras.saving.register_keras_serializable("tests")
class OfOurs(keras_bn.BatchNormalization):
    """Takes every option."""


@keras.saving.register_keras_serializable("tests")
class WithFixedEpsilon(keras_bn.BatchNormalization):
    def __init__(self, **options):
        super().__init__(**{**options, "epsilon": 0.5})


def test_options_act_on_classes_derived_from_ours_or_a_warning_names_them():
    untracked = keras_bn.UntrackedBatchNormalization(name="untracked")
    layers = [OfOurs(name="own"), WithFixedEpsilon(name="fixed"), untracked]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.layers[0].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    with pytest.warns(UserWarning, match=r"cannot have these options: fixed: .*WithFixedEpsilon does not take epsilon"):
        new = keras_bn.convert(model, epsilon=0.1, trainable=False)
    assert [layer.epsilon for layer in new.layers] == [0.1, 0.5, 0.1]
    assert [layer.trainable for layer in new.layers] == [False, True, False]
    assert [type(layer) for layer in new.layers] == [type(layer) for layer in layers]
    np.testing.assert_array_equal(new.layers[0].moving_mean, [1, 2, 3, 4])
    with pytest.warns(UserWarning, match="untracked: UntrackedBatchNormalization always normalizes"):
        assert keras_bn.convert(model, statistics="moving").layers[0].statistics == "moving"
