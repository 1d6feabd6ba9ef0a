"""Every private part of Keras that the project relies on is there, and is what it is taken for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.keras_internals import Call


class Pair(keras.layers.Layer):
    """A layer with a weight, a random state and two layers."""

    def __init__(self):
        super().__init__(name="pair")
        self.first = keras.layers.Dense(2, name="first")
        self.second = keras.layers.Dense(2, name="second")
        self.seeds = keras.random.SeedGenerator(0)
        self.note = "mine"

    def build(self, shape):
        self.weight = self.add_weight(name="weight", shape=(1,))
        self.constant = self.add_weight(name="constant", shape=(1,), trainable=False)
        self.first.build(shape)


def same(found, expected):
    """Whether these are the very same objects: variables and tensors compare by element."""
    return [id(value) for value in found] == [id(value) for value in expected]


@pytest.fixture
def pair():
    layer = Pair()
    layer.build((None, 2))
    return layer


def test_the_layers_that_a_layer_holds(pair):
    assert keras_internals.held_layers(pair) == [pair.first, pair.second]
    sequential = keras.Sequential([keras.Input((2,)), pair.first])
    assert [type(layer).__name__ for layer in keras_internals.held_layers(sequential)] == ["InputLayer", "Dense"]


def test_one_layer_is_tracked_instead_of_another(pair):
    new = keras.layers.Dense(3, name="new")
    new.build((None, 2))
    keras_internals.track_instead(pair, pair.first, new)
    assert keras_internals.held_layers(pair)[0] is new
    assert any(variable is new.kernel for variable in pair.weights)


def test_attributes_leave_out_the_store(pair):
    assert {"first", "second", "note"} <= keras_internals.attributes(pair).keys()
    lists = [value for value in keras_internals.attributes(pair).values() if isinstance(value, list)]
    assert not any(item is pair.first for items in lists for item in items)


def test_names_of_keras_own_in_files():
    layer = {"module": "keras.layers", "class_name": "Gone", "config": {"units": 3}, "registered_name": None}
    keras_internals.serve_names({"keras.layers.Gone": keras.layers.Dense})
    assert keras.saving.deserialize_keras_object(layer).units == 3


def test_own_variables_are_not_those_of_layers_within(pair):
    assert same(keras_internals.own_variables(pair), [pair.weight, pair.constant, pair.seeds.state])


def test_the_trainable_flag_of_one_layer_alone(pair):
    keras_internals.set_own_trainable(pair, False)
    assert not pair.trainable
    assert pair.first.trainable


def test_paths(pair):
    keras_internals.set_path(pair.weight, "elsewhere/weight")
    assert pair.weight.path == "elsewhere/weight"
    with keras.name_scope("outer"):
        scoped = keras.layers.Dense(1, name="dense")
        scoped(np.ones((1, 1)))
    alike = keras.layers.Dense(1, name="dense")
    keras_internals.begin_paths_as(alike, scoped)
    alike.build((None, 1))
    assert alike.kernel.path == scoped.kernel.path == "outer/dense/kernel"


def test_the_output_shape_of_a_lambda():
    assert keras_internals.output_shape_of(keras.layers.Lambda(lambda x: x, output_shape=(7,))) == (7,)


def test_the_mask_that_is_attached():
    y = keras.layers.Masking()(tf.constant([[[0.0], [1.0]]]))
    assert keras_internals.attached_mask(y).numpy().tolist() == [[False, True]]
    assert keras_internals.attached_mask(tf.zeros((1, 2))) is None


def test_the_class_of_functional_models():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    assert keras_internals.functional_class(model) is type(model)
    assert keras_internals.functional_class(type("Mine", (type(model),), {})(inputs, inputs)) is type(model)
    assert keras_internals.functional_class(keras.layers.Dense(1)) is None


def test_calls_of_a_graph_in_order():
    inputs = keras.Input((2,), name="inputs")
    dense, norm = keras.layers.Dense(2), keras.layers.BatchNormalization()
    h = dense(inputs)
    outputs = norm(h, training=True)
    model = keras.Model(inputs, outputs)
    source = keras_internals.origin(inputs)
    assert source.name == "inputs"
    assert keras_internals.origin(h) is dense
    expected = [
        Call(source, [], [inputs], {}),
        Call(dense, [inputs], [h], {}),
        Call(norm, [h], [outputs], {"training": True}),
    ]
    for call, right in zip(keras_internals.calls(model), expected, strict=True):
        assert call.operation is right.operation
        assert same(call.inputs, right.inputs)
        assert same(call.outputs, right.outputs)
        assert call.options == right.options


def test_a_part_that_is_gone_is_named():
    with pytest.raises(NotImplementedError, match=rf"object._layers.*Keras {keras.__version__}.*newer keras_bn"):
        keras_internals.held_layers(object())


def test_which_weights_decay(pair):
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[pair.weight])
    optimizer.build(pair.trainable_variables)
    assert [keras_internals.decays(optimizer, v) for v in (pair.weight, pair.first.kernel)] == [False, True]
