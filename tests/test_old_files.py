"""Configs and weights that older layers wrote, and those of layers with other options."""

import copy
import json
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from tests import tolerances

Layer = keras_bn.BatchNormalization

# As tf.keras 2.4 wrote it.
TF2 = {
    "name": "bn",
    "trainable": True,
    "dtype": "float32",
    "axis": [3],
    "momentum": 0.9,
    "epsilon": 1e-4,
    "center": True,
    "scale": True,
    "beta_initializer": {"class_name": "Zeros", "config": {}},
    "gamma_initializer": {"class_name": "Ones", "config": {}},
    "moving_mean_initializer": {"class_name": "Zeros", "config": {}},
    "moving_variance_initializer": {"class_name": "Ones", "config": {}},
    "beta_regularizer": None,
    "gamma_regularizer": {"class_name": "L2", "config": {"l2": 0.01}},
    "beta_constraint": None,
    "gamma_constraint": None,
}
# As TensorFlow 1.14 wrote it.
TF1 = TF2 | {
    f"{name}_initializer": {"class_name": kind, "config": {"dtype": "float32"}}
    for name, kind in (("beta", "Zeros"), ("gamma", "Ones"), ("moving_mean", "Zeros"), ("moving_variance", "Ones"))
}
# As Keras 1.2 wrote it.
KERAS1 = {
    "name": "bn",
    "trainable": True,
    "batch_input_shape": [None, 4],
    "input_dtype": "float32",
    "mode": 0,
    "axis": -1,
    "momentum": 0.9,
    "epsilon": 1e-4,
    "beta_init": "zero",
    "gamma_init": "one",
    "beta_regularizer": None,
    "gamma_regularizer": None,
}


def policy(kind: str, name: str) -> dict:
    return {"class_name": kind, "config": {"name": name}}


@pytest.mark.parametrize("config", [TF2, TF1, KERAS1], ids=["tf.keras 2", "TensorFlow 1", "Keras 1"])
def test_configs_of_older_layers(config):
    layer = Layer.from_config(dict(config))
    assert (layer.name, layer.axis, layer.momentum, layer.epsilon) == (
        "bn",
        3 if config["axis"] == [3] else -1,
        0.9,
        1e-4,
    )
    layer.build((None, 2, 2, 4))
    for weight, value in zip(layer.weights, (1.0, 0.0, 0.0, 1.0), strict=True):
        np.testing.assert_array_equal(weight, np.full(4, value))
    if config is not TF2:
        with pytest.raises((TypeError, ValueError)):
            keras.layers.BatchNormalization.from_config(dict(config))


@pytest.mark.parametrize(
    ("dtype", "compute", "state"),
    [
        (policy("Policy", "mixed_float16"), "float16", "float32"),
        (policy("Policy", "float64"), "float64", "float64"),
        (policy("PolicyV1", "mixed_bfloat16"), "bfloat16", "float32"),
        (policy("Policy", "infer"), "float32", "float32"),
        (policy("Policy", "float16_with_float32_vars"), "float16", "float32"),
    ],
)
def test_policies_of_older_layers(dtype, compute, state):
    layer = Layer.from_config(TF2 | {"dtype": dtype})
    layer.build((None, 2, 2, 4))
    assert (layer.compute_dtype, layer.moving_mean.dtype) == (compute, state)


@pytest.mark.parametrize(
    "axis",
    [[3], (3,), {"class_name": "ListWrapper", "items": [3]}, {"class_name": "__tuple__", "items": [3]}, 3],
    ids=str,
)
def test_axes_of_older_layers(axis):
    assert Layer.from_config(TF2 | {"axis": axis}).axis == 3


def test_an_axis_that_tensorflow_wrapped():
    module = tf.Module()
    module.axis = [1, 3]
    assert type(module.axis).__name__ == "ListWrapper"
    assert Layer.from_config(TF2 | {"axis": module.axis}).axis == (1, 3)
    assert Layer(axis=module.axis).axis == (1, 3)


def test_modes_of_keras_1():
    assert Layer.from_config(KERAS1 | {"mode": 2}).statistics == "batch"
    with pytest.raises(ValueError, match=r"mode=1 .*LayerNormalization"):
        Layer.from_config(KERAS1 | {"mode": 1})


def test_an_axis_that_counts_the_groups():
    """tf.keras 2 wrote the axis that it had incremented for the axis of the groups, and could not read it."""
    layer = Layer.from_config(TF2 | {"axis": [4], "virtual_batch_size": 2})
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 5)).astype("float32")
    y = layer(x, training=True)
    assert (layer.axis, layer.gamma.shape) == (3, (5,))
    np.testing.assert_array_equal(y, Layer(axis=3, epsilon=1e-4, virtual_batch_size=2)(x, training=True))
    assert Layer.from_config(layer.get_config()).axis == 3
    with pytest.raises(ValueError, match="axis"):
        Layer(axis=4, virtual_batch_size=2)(x)


def weights(*shapes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 2.0, shape).astype("float32") for shape in shapes]


LAYOUTS = [
    # axis, input shape, the shape of each weight in tf.keras 2, as ours has it.
    ({"axis": 3, "virtual_batch_size": 2}, (None, 2, 3, 4), (1, 1, 1, 1, 4), lambda v: v.reshape(4)),
    ({"axis": 1, "virtual_batch_size": 2}, (None, 4, 2, 3), (1, 1, 4, 1, 1), lambda v: v.reshape(4)),
    ({"axis": (1, 3)}, (None, 6, 2, 4), (1, 6, 1, 4), lambda v: v[0, :, 0]),
    ({"axis": (3, 1)}, (None, 6, 2, 4), (1, 6, 1, 4), lambda v: v[0, :, 0].T),
    ({"axis": (1, 2)}, (None, 1, 6), (1, 1, 6), lambda v: v[0]),
]


@pytest.mark.parametrize(("options", "shape", "old", "ours"), LAYOUTS)
@pytest.mark.parametrize("how", ["load_own_variables", "set_weights"])
def test_35_shapes_of_older_weights(options, shape, old, ours, how):
    layer, stored = Layer(**options), weights(*[old] * 4)
    layer.build(shape)
    if how == "set_weights":
        layer.set_weights(stored)
    else:
        layer.load_own_variables({str(i): value for i, value in enumerate(stored)})
    for weight, value in zip(layer.weights, stored, strict=True):
        np.testing.assert_array_equal(weight, ours(value))


@pytest.mark.parametrize("old", [(4, 1, 6), (5,), (1, 4, 1, 6)])
def test_weights_of_another_shape_are_refused(old):
    layer = Layer(axis=(1, 3))
    layer.build((None, 6, 2, 4))
    before = [weight.numpy() for weight in layer.weights]
    with pytest.raises(ValueError, match=r"gamma of .* has the shape \(6, 4\) along axis=\(1, 3\). Received: .*shape"):
        layer.set_weights(weights(*[old] * 4))
    with pytest.raises(ValueError, match="Received: 3 weights of the shapes"):
        layer.set_weights(weights(*[(6, 4)] * 3))
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("steps", [0, 5])
@pytest.mark.parametrize("options", [{"renorm": True}, {}, {"momentum": None}])
def test_renormalization_of_tensorflow_1(steps, options):
    """Its references start at 0 and are kept with the sum of their weights; what it used is the quotient."""
    gamma, beta, mean, variance, ref_mean, ref_stddev = weights(*[(4,)] * 6)
    weight = np.float32(1 - 0.99**steps)
    layer = Layer(**options)
    layer.build((None, 4))
    layer.set_weights([gamma, beta, mean, variance, ref_mean * weight, weight, ref_stddev * weight, weight])
    found = {variable.name: variable.numpy() for variable in layer.weights}
    np.testing.assert_array_equal(found["moving_variance"], variance)
    if options.get("renorm"):
        expected = (ref_mean, ref_stddev) if steps else (mean, np.sqrt(variance + 1e-3))
        for name, value in zip(("renorm_mean", "renorm_stddev"), expected, strict=True):
            np.testing.assert_allclose(found[name], value, rtol=1e-5)
        np.testing.assert_allclose(found["moving_stddev"], np.sqrt(variance + 1e-3), rtol=1e-6)


OPTIONS = [{}, {"renorm": True}, {"momentum": None}, {"renorm": True, "zero_debias": True}]


@pytest.mark.parametrize("source", OPTIONS)
@pytest.mark.parametrize("target", OPTIONS)
def test_weights_move_between_layers_of_all_kinds(tmp_path, source, target):
    models = [keras.Sequential([keras.Input((4,)), Layer(name="bn", **options)]) for options in (source, target)]
    for _ in range(3):
        models[0].layers[0](np.random.default_rng(0).normal(3.0, 2.0, (9, 4)), training=True)
    models[0].save_weights(tmp_path / "m.weights.h5")
    models[1].load_weights(tmp_path / "m.weights.h5")
    found, stored = ({v.name: v.numpy() for v in model.layers[0].weights} for model in reversed(models))
    for name in found.keys() & stored.keys():
        np.testing.assert_array_equal(found[name], stored[name])
    if "update_count" in found.keys() - stored.keys():
        np.testing.assert_array_equal(found["update_count"], 100.0)


def old_file(path, layers: list[tuple[str, dict]], stored: dict[str, list[np.ndarray]]) -> None:
    """A Sequential model as tf.keras 2 wrote it into an .h5 file."""
    config = {"name": "old", "layers": [{"class_name": kind, "config": config} for kind, config in layers]}
    names = [config["name"] for _, config in layers]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
        group = file.create_group("model_weights")
        group.attrs.update({"layer_names": names, "backend": "tensorflow", "keras_version": "2.4.0"})
        for name in names:
            values = stored.get(name, [])
            entries = group.create_group(name)
            entries.attrs["weight_names"] = [f"{name}/{i}:0" for i in range(len(values))]
            for i, value in enumerate(values):
                entries[f"{name}/{i}:0"] = value


INPUT = ("InputLayer", {"name": "input", "batch_input_shape": [None, 2, 3, 4], "dtype": "float32"})


@pytest.mark.parametrize("module", ["keras.layers", "keras.layers.experimental"])
@pytest.mark.parametrize("registered", [None, "SyncBatchNormalization"])
def test_synchronized_layers_of_keras_files_of_tf_keras(tmp_path, module, registered):
    """Up to TensorFlow 2.15 they were classes of their own, of a Keras module, with an empty registered name."""
    model = keras.Sequential([keras.Input((4,)), Layer(name="bn", synchronized=True)])
    model.layers[0].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                (entry,) = [one for one in config["config"]["layers"] if one["class_name"] != "InputLayer"]
                entry |= {"module": module, "class_name": "SyncBatchNormalization", "registered_name": registered}
                for option in set(entry["config"]) - {*TF2, "name"}:  # those that came later
                    del entry["config"][option]
                content = json.dumps(config)
            old.writestr(name, content)
    layer = keras.saving.load_model(tmp_path / "old.keras").get_layer("bn")
    assert type(layer) is Layer
    assert layer.synchronized
    np.testing.assert_array_equal(layer.moving_mean, [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("name", ["BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization"])
def test_older_class_names_need_no_custom_objects(tmp_path, name):
    stored = weights(*[(4,)] * 4)
    old_file(tmp_path / "old.h5", [INPUT, (name, TF1)], {"bn": stored})
    model = keras.saving.load_model(tmp_path / "old.h5", compile=False)
    layer = model.get_layer("bn")
    assert type(layer) is Layer
    assert layer.synchronized is (name == "SyncBatchNormalization")
    for weight, value in zip(layer.weights, stored, strict=True):
        np.testing.assert_array_equal(weight, value)
    model.save(tmp_path / "new.keras")
    assert type(keras.saving.load_model(tmp_path / "new.keras").get_layer("bn")) is Layer


@pytest.mark.parametrize("axis", [(1, 3), (3, 1), (-2, -1), 2])
def test_36_our_own_layer_in_an_h5_file(tmp_path, axis):
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 5)).astype("float32")
    model = keras.Sequential([keras.Input((2, 3, 5)), Layer(axis=axis, unbiased_variance=True, name="bn")])
    model(x, training=True)
    model.save(tmp_path / "m.h5")
    loaded = keras.saving.load_model(tmp_path / "m.h5", compile=False)
    assert loaded.layers[0].axis == axis
    np.testing.assert_array_equal(loaded(x), model(x))


def test_axes_that_are_lost_are_missed(tmp_path):
    """Of an .h5 file Keras drops the list of several axes before the layer sees it."""
    several = TF2 | {"axis": [1, 3]}
    old_file(tmp_path / "old.h5", [INPUT, ("BatchNormalization", several)], {"bn": weights(*[(1, 2, 1, 4)] * 4)})
    with (
        keras.saving.custom_object_scope({"BatchNormalization": Layer}),
        pytest.raises(ValueError, match=r"has lost them.*Build the model by its code"),
    ):
        keras.saving.load_model(tmp_path / "old.h5", compile=False)
    assert Layer.from_config({"momentum": 0.5}).axis == -1


def test_the_built_in_layer_reads_what_it_can_express():
    config = Layer(name="bn").get_config()
    assert config == keras.layers.BatchNormalization(name="bn").get_config()


def test_an_older_model_of_tf_keras_infers_alike(tmp_path):
    stored = weights(*[(4,)] * 4)
    old_file(tmp_path / "old.h5", [INPUT, ("BatchNormalization", TF2)], {"bn": stored})
    with keras.saving.custom_object_scope({"BatchNormalization": Layer}):
        model = keras.saving.load_model(tmp_path / "old.h5", compile=False)
    x = np.random.default_rng(0).normal(size=(5, 2, 3, 4))
    gamma, beta, mean, variance = (value.astype("float64") for value in stored)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-4) + beta
    np.testing.assert_allclose(model(x.astype("float32")), expected, atol=10 * tolerances.FLOAT32[0.5])


def expected_of(x: np.ndarray, values: list[np.ndarray], letters: str) -> np.ndarray:
    """Inference in NumPy, with weights whose axes are ``letters`` of the inputs' ``abcd``."""
    gamma, beta, mean, variance = (np.einsum(f"{letters},abcd->abcd", v, np.ones_like(x)) for v in values[:4])
    return gamma * (x - mean) / np.sqrt(variance + 1e-4) + beta


@pytest.mark.parametrize(
    ("options", "old", "letters", "axis"),
    [
        ({"axis": [4], "virtual_batch_size": 2}, (1, 1, 1, 1, 4), "d", 3),
        ({"axis": [2], "virtual_batch_size": 2}, (1, 1, 2, 1, 1), "b", 1),
        ({"axis": [1, 3]}, (1, 2, 1, 4), "bd", (1, 3)),
        ({"axis": [3, 1]}, (1, 2, 1, 4), "bd", (3, 1)),
        ({"axis": {"class_name": "ListWrapper", "items": [3]}}, (4,), "d", 3),
    ],
)
def test_older_models_in_h5_files(tmp_path, options, old, letters, axis):
    """keras.saving.load_model cannot: it compares shapes before a layer sees them, and drops lists of axes."""
    stored = weights(*[old] * 4)
    old_file(tmp_path / "old.h5", [INPUT, ("BatchNormalization", TF2 | options)], {"bn": stored})
    before = (tmp_path / "old.h5").read_bytes()
    model = keras_bn.load_old_model(tmp_path / "old.h5")
    layer = model.get_layer("bn")
    assert (layer.axis, layer.virtual_batch_size) == (axis, options.get("virtual_batch_size"))
    x = np.random.default_rng(0).normal(size=(6, 2, 3, 4)).astype("float32")
    squeezed = [v.reshape([size for size in v.shape if size != 1]).astype("float64") for v in stored]
    np.testing.assert_allclose(model(x), expected_of(x, squeezed, letters), atol=1e-5)
    assert (tmp_path / "old.h5").read_bytes() == before


def test_an_older_model_with_renormalization(tmp_path):
    references = np.float32([1, 2, 3, 4]), np.float32(0.5), np.float32([4, 3, 2, 1]), np.float32(0.25)
    stored = [*weights(*[(4,)] * 4), *references]
    names = "gamma beta moving_mean moving_variance renorm_mean renorm_mean_weight renorm_stddev renorm_stddev_weight"
    old_file(tmp_path / "old.h5", [INPUT, ("BatchNormalizationV1", TF1 | {"renorm": True})], {"bn": stored})
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        group = file["model_weights"]["bn"]
        for i, name in enumerate(names.split()):
            group.move(f"bn/{i}:0", f"bn/{name}:0")
        group.attrs["weight_names"] = [f"bn/{name}:0" for name in names.split()]
    layer = keras_bn.load_old_model(tmp_path / "old.h5").get_layer("bn")
    np.testing.assert_allclose(layer.renorm_mean, [2, 4, 6, 8])
    np.testing.assert_allclose(layer.renorm_stddev, [16, 12, 8, 4])
    np.testing.assert_allclose(layer.moving_stddev, np.sqrt(stored[3] + 1e-4), rtol=1e-6)
    np.testing.assert_array_equal(layer.moving_variance, stored[3])


def test_files_that_hold_no_older_model(tmp_path):
    (tmp_path / "no.h5").write_text("no")
    with pytest.raises(ValueError, match=r"Received: .*no.h5"):
        keras_bn.load_old_model(tmp_path / "no.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["bn"]
    with pytest.raises(ValueError, match="holds weights without a model"):
        keras_bn.load_old_model(tmp_path / "w.h5")


# Weights are stored by position alone: those of an unlike layer must not be taken for others.
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({}, {"scale": False}),
        ({}, {"center": False}),
        ({"scale": False}, {"scale": False, "center": False}),
        ({"renorm": True}, {"renorm": True, "scale": False}),
        ({"scale": False, "zero_debias": True}, {"scale": False}),
    ],
)
@pytest.mark.parametrize("by", ["set_weights", "file"])
def test_weights_of_another_scale_or_center_are_refused(source, target, by, tmp_path):
    models = [keras.Sequential([keras.Input((5,)), keras_bn.BatchNormalization(**o)]) for o in (source, target)]
    models[0](np.random.default_rng(0).normal(1, 2, (64, 5)), training=True)
    before = models[1].get_weights()
    models[0].save_weights(tmp_path / "w.weights.h5")
    layer, weights = models[1].layers[0], models[0].layers[0].get_weights()
    with pytest.raises(ValueError, match="same center and scale"):
        layer.set_weights(weights) if by == "set_weights" else models[1].load_weights(tmp_path / "w.weights.h5")
    for was, value in zip(before, models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(value, was)


def test_weights_for_a_layer_that_is_not_built():
    with pytest.raises(ValueError, match="no weights yet"):
        keras_bn.BatchNormalization().set_weights([np.ones(5)] * 4)


@keras.saving.register_keras_serializable("tests")
class WithAnUnusedBranch(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.used, self.unused = keras.layers.Dense(2), keras_bn.BatchNormalization()

    def build(self, shape):
        self.used.build(shape)

    def call(self, x):
        return self.used(x)


def test_a_layer_that_was_never_built_is_saved_copied_and_loaded(tmp_path):
    """A subclassed model may hold one that its call does not use: its file was lost."""
    model = WithAnUnusedBranch()
    y = model(np.ones((2, 3), "float32"))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(np.ones((2, 3), "float32")), y)
    layer = keras_bn.BatchNormalization(momentum=0.5)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.momentum == 0.5
        assert not other.built
    layer.set_weights([])


@keras.saving.register_keras_serializable("tests")
class WithMore(keras_bn.BatchNormalization):
    def build(self, input_shape):
        super().build(input_shape)
        self.more = self.add_weight(name="more", shape=(1,), trainable=self.center)


@pytest.mark.parametrize("options", [{}, {"center": False}, {"zero_debias": True}])
def test_a_derived_class_with_weights_of_its_own(options, tmp_path):
    model = keras.Sequential([keras.Input((5,)), WithMore(**options)])
    x = np.random.default_rng(0).normal(1, 2, (64, 5)).astype("float32")
    model(x, training=True)
    model.layers[0].more.assign([7.0])
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    for made in (keras.models.load_model(tmp_path / "m.keras"), keras_bn.convert(model)):
        np.testing.assert_array_equal(made(x), model(x))
        assert made.layers[0].more.numpy() == 7
    model.load_weights(tmp_path / "m.weights.h5")
    model.layers[0].set_weights(model.layers[0].get_weights())
    assert model.layers[0].more.numpy() == 7


def test_arguments_of_a_derived_class_are_none_of_old_keras():
    class Conditional(keras_bn.BatchNormalization):
        def __init__(self, mode="class", fused=3, **options):
            super().__init__(**options)
            self.mode, self.fused = mode, fused

        def get_config(self):
            return {**super().get_config(), "mode": self.mode, "fused": self.fused}

    made = Conditional.from_config(Conditional(mode="label", fused=5).get_config())
    assert (made.mode, made.fused) == ("label", 5)


def test_arguments_of_a_derived_class_named_like_others_stay_as_they_are():
    class Odd(keras_bn.BatchNormalization):
        def __init__(self, axes=7, beta_init=5, foo_initializer="zero", **options):
            super().__init__(**options)
            self.own = axes, beta_init, foo_initializer

        def get_config(self):
            return {
                **super().get_config(),
                **dict(zip(("axes", "beta_init", "foo_initializer"), self.own, strict=True)),
            }

    assert Odd.from_config(Odd(8, 9, "one").get_config()).own == (8, 9, "one")


def test_variances_of_one_channel_are_no_count(tmp_path):
    source = keras.layers.BatchNormalization(scale=False)
    source.build((None, 1))
    source.set_weights([np.array([0.2]), np.array([-0.5]), np.array([0.37])])
    target = keras_bn.BatchNormalization(scale=False, center=False, momentum=None)
    target.build((None, 1))
    with pytest.raises(ValueError, match="same center and scale"):
        target.set_weights(source.get_weights())


def test_a_count_of_batches_that_is_an_average(tmp_path):
    """Of the weights of a new layer and a trained one."""
    model = keras.Sequential([keras.Input((4,)), keras_bn.BatchNormalization(zero_debias=True)])
    new = model.get_weights()
    model(np.random.default_rng(0).random((8, 4)), training=True)
    averaged = [0.9 * a + 0.1 * b for a, b in zip(new, model.get_weights(), strict=True)]
    model.set_weights(averaged)
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    for found, expected in zip(model.get_weights(), averaged, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@keras.saving.register_keras_serializable("tests")
class ChannelsFirst(keras_bn.BatchNormalization):
    """A class that gives the axis itself, and leaves it out of its config."""

    def __init__(self, **options):
        super().__init__(axis=1, **options)

    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "axis"}


def test_a_derived_class_may_leave_the_axis_to_its_constructor(tmp_path):
    model = keras.Sequential([keras.Input((4, 5)), ChannelsFirst()])
    model.save(tmp_path / "model.keras")
    for again in (keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert again.layers[0].axis == 1
    assert keras_bn.convert(model).layers[0].axis == 1
