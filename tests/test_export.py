"""What leaves Keras: SavedModel, TFLite, optimized graphs; and how models wrap the layer."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

import keras_bn

L = keras.layers


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


# (a linear layer, the shape of an input, what TFLite leaves of normalization)
LINEAR = {
    "Dense": (lambda: L.Dense(4), (3,), []),
    "Conv1D": (lambda: L.Conv1D(4, 3), (8, 3), []),
    "Conv2D": (lambda: L.Conv2D(4, 3), (8, 8, 3), []),
    "DepthwiseConv1D": (lambda: L.DepthwiseConv1D(3), (8, 3), []),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3), (8, 8, 3), []),
    "SeparableConv1D": (lambda: L.SeparableConv1D(4, 3), (8, 3), []),
    "SeparableConv2D": (lambda: L.SeparableConv2D(4, 3), (8, 8, 3), []),
    "Conv1DTranspose": (lambda: L.Conv1DTranspose(4, 3), (8, 3), []),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(4, 3), (8, 8, 3), []),
    # Here it folds nothing, of the built-in layer neither: x·a + b there, (x − M)·a + b of ours.
    "Dense of rank 3": (lambda: L.Dense(4), (5, 3), ["ADD", "ADD", "MUL"]),
    "Dense of rank 4": (lambda: L.Dense(4), (5, 6, 3), ["ADD", "MUL"]),
    "Conv3D": (lambda: L.Conv3D(4, 3), (4, 4, 4, 3), ["ADD", "ADD", "MUL"]),
    "Conv3DTranspose": (lambda: L.Conv3DTranspose(4, 3), (4, 4, 4, 3), ["ADD", "ADD", "MUL"]),
}


def lite(model: keras.Model) -> tuple[tf.lite.Interpreter, list[str]]:
    """The converted model, and its operations."""
    export = tf.lite.TFLiteConverter.from_keras_model(model)
    interpreter = tf.lite.Interpreter(model_content=export.convert())
    names = [operation["op_name"] for operation in interpreter._get_ops_details()]
    return interpreter, [name for name in names if name != "DELEGATE"]


@pytest.mark.filterwarnings("ignore")  # the converter and the interpreter announce their successors
@pytest.mark.parametrize("name", LINEAR)
def test_38_tflite_folds_into_every_linear_layer(name):
    make, shape, left = LINEAR[name]
    operations = {}
    for kind in (L.BatchNormalization, keras_bn.BatchNormalization):
        norm, rng = kind(), np.random.default_rng(0)
        model = keras.Sequential([keras.Input(shape), make(), norm, L.ReLU()])
        norm.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in norm.get_weights()])
        interpreter, operations[kind] = lite(model)
    built_in, ours = operations.values()
    of_normalization = [name for name in ours if name in ("ADD", "SUB", "MUL")]
    assert sorted(of_normalization) == left
    assert [name for name in ours if name not in of_normalization] == [n for n in built_in if n not in of_normalization]
    x = rng.normal(size=(2, *shape)).astype("float32")
    [entry] = interpreter.get_input_details()
    interpreter.resize_tensor_input(entry["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], x)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 3), (8, 8, 3), (4, 4, 4, 3)], ids=str)
def test_inference_is_accurate_at_a_large_mean(shape):
    """What TFLite is given to fold is no x·a + b, whose error here is 1e-3."""
    rng = np.random.default_rng(0)
    layer = keras_bn.BatchNormalization(epsilon=0.0)
    layer.build((None, *shape[1:]))
    x = (1e4 + rng.normal(size=shape)).astype("float32")
    layer.moving_mean.assign(np.full(3, 1e4))
    expected = x.astype("float64") - 1e4
    for call in (layer, tf.function(layer)):
        np.testing.assert_allclose(call(x), expected, rtol=1e-6, atol=1e-6)


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


@pytest.mark.parametrize("sizes", [(4, 8, 8, 16), (None, None, None, 16)])
def test_44_tensorflow_joins_normalization_and_activation_in_training(sizes):
    """With its kernels on CPUs, and if nothing branches between the two."""
    layer = keras_bn.BatchNormalization(engine="fused")
    layer.build(sizes)
    found = []
    for function in (tf.compat.v1.nn.fused_batch_norm, None):

        @tf.function(input_signature=[tf.TensorSpec(sizes)] * 2, autograph=False)
        def step(x, dy, bare=function):
            x = tf.exp(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = bare(x, tf.ones(16), tf.zeros(16))[0] if bare else layer(x, training=True)
                y = tf.nn.relu(y)
            return y, tape.gradient(y, x, output_gradients=dy)

        x = tf.random.normal([4, 8, 8, 16])
        found.append({node.removeprefix("_MklNative").removeprefix("_") for node in optimized(step, x, x)})
    bare, ours = found
    assert "FusedBatchNormEx" in ours or "FusedBatchNormEx" not in bare  # where TensorFlow joins them at all
    assert "Relu" not in ours or "Relu" in bare


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
