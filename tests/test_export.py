"""What leaves Keras: SavedModel, TFLite, optimized graphs; and how models wrap the layer."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

import keras_bn


def stack(kind: type) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, use_bias=False), kind(), keras.layers.ReLU()]
    )
    rng = np.random.default_rng(0)
    model.layers[1].set_weights([rng.uniform(0.5, 2.0, 4) for _ in range(4)])
    return model


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")


def test_saved_model(tmp_path, images):
    model = stack(keras_bn.BatchNormalization)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(images), model.predict(images, verbose=0), atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # the converter and the interpreter announce their successors
def test_tflite_folds_to_one_operation(images):
    operations = []
    for kind in (keras_bn.BatchNormalization, keras.layers.BatchNormalization):
        model = stack(kind)
        interpreter = tf.lite.Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(model).convert())
        operations.append([operation["op_name"] for operation in interpreter._get_ops_details()])
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-5)
    assert operations[0] == operations[1]
    assert "CONV_2D" in operations[0]
    assert not {"MUL", "ADD", "SUB"} & set(operations[0])


def optimized(function, *arguments) -> list[str]:
    """The operations of the graph that TensorFlow runs, after its optimizer."""
    context.enable_run_metadata()
    function(*arguments)
    graphs = context.export_run_metadata().function_graphs
    context.disable_run_metadata()
    return [node.op for graph in graphs for node in graph.post_optimization_graph.node]


def test_tensorflow_merges_convolution_normalization_and_activation():
    """Which needs the kernel on the input as it is: between the built-in layer's operations nothing can be merged."""
    images = tf.ones([2, 8, 8, 3])
    found = {}
    for kind in (keras_bn.BatchNormalization, keras.layers.BatchNormalization):
        model = stack(kind)
        found[kind] = optimized(tf.function(lambda x, model=model: model(x, training=False)), images)
    ours, built_in = found.values()
    assert "_FusedConv2D" in ours
    assert not {"Conv2D", "FusedBatchNormV3", "Relu", "Mul", "AddV2", "Sub"} & set(ours)
    assert {"Conv2D", "Relu", "Mul", "AddV2"} <= set(built_in)


def test_wrapped_shared_and_copied():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 5)).astype("float32")
    results = []
    for kind in (keras_bn.BatchNormalization, keras.layers.BatchNormalization):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3, 5))
        shared = kind(momentum=0.5)
        hidden = keras.layers.TimeDistributed(kind(momentum=0.5))(inputs)
        model = keras.Model(inputs, keras.layers.Dense(1)(shared(shared(hidden))))
        model.compile("sgd", "mse", jit_compile=False)
        losses = [model.train_on_batch(x, np.ones((4, 3, 1))) for _ in range(3)]
        results.append([losses, *(weight.numpy() for weight in model.weights)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)  # float32, three steps
    layer = keras_bn.BatchNormalization(renorm=True)
    layer(x, training=True)
    again = copy.deepcopy(layer)
    layer(x + 1, training=True)
    assert np.abs(again.moving_mean.numpy() - layer.moving_mean.numpy()).max() > 0
    assert again.get_config() == layer.get_config()


def test_frozen_fine_tuning():
    model = stack(keras_bn.BatchNormalization)
    model.layers[1].trainable = False
    before = model.layers[1].get_weights()
    model.compile("sgd", "mse", jit_compile=False)
    kernel = model.layers[0].get_weights()[0]
    model.fit(np.ones((4, 8, 8, 3)), np.zeros((4, 6, 6, 4)), verbose=0)
    for a, b in zip(model.layers[1].get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(model.layers[0].get_weights()[0] - kernel).max() > 0
