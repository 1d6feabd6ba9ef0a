"""Models of ``keras.applications``, or their first half, with our class instead of the built-in one, trained a step."""

import contextlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn

MODELS = {
    "MobileNetV2": {"input_shape": (32, 32, 3), "alpha": 0.35},
    "MobileNetV3Small": {"input_shape": (32, 32, 3), "minimalistic": True},
    "ResNet50": {"input_shape": (32, 32, 3)},
    "ResNet50V2": {"input_shape": (32, 32, 3)},
    "EfficientNetB0": {"input_shape": (32, 32, 3)},
    "DenseNet121": {"input_shape": (32, 32, 3)},
    "Xception": {"input_shape": (71, 71, 3)},
    "InceptionV3": {"input_shape": (75, 75, 3)},
}
# Where large networks are cut off: what follows repeats the kinds of blocks that stand before.
LAST = {
    "ResNet50": "conv3_block4_out",
    "ResNet50V2": "conv3_block4_out",
    "EfficientNetB0": "block4c_add",
    "DenseNet121": "pool2_pool",
    "Xception": "block4_sepconv2_bn",
    "InceptionV3": "mixed3",
}
BATCHES = 9


def application(name: str) -> keras.Model:
    build = getattr(keras.applications, name)
    if name not in LAST:
        return build(weights=None, classes=5, **MODELS[name])
    whole = build(weights=None, include_top=False, **MODELS[name])
    features = keras.layers.GlobalAveragePooling2D()(whole.get_layer(LAST[name]).output)
    return keras.Model(whole.inputs, keras.layers.Dense(5, activation="softmax")(features))


@contextlib.contextmanager
def dtype(name: str):
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def training_step(
    name: str, kind: Callable[[dict], keras.Layer], floatx: str, weights: list[np.ndarray]
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A function of the images: their loss, and what one step of SGD from ``weights`` changes in all weights and moving
    statistics.
    """
    with dtype(floatx):
        model = application(name)

        def replace(layer):
            if isinstance(layer, keras.layers.BatchNormalization):
                return kind(layer.get_config())
            return layer.__class__.from_config(layer.get_config())

        copy = keras.models.clone_model(model, clone_function=replace)
        for layer in copy.layers:  # chance has no place in a comparison
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        copy.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    assert {weight.dtype for weight in copy.trainable_weights} == {floatx}

    def changes(images):
        copy.set_weights(weights)
        with dtype(floatx):
            loss = copy.train_on_batch(images.astype(floatx), np.arange(len(images)) % 5)
        return [np.asarray(loss), *(new - old for new, old in zip(copy.get_weights(), weights, strict=True))]

    return changes


def distance(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Norm of the difference of all changes, in units of their norm."""
    difference = sum(float(np.sum(np.square(p.astype("float64") - q))) for p, q in zip(a, b, strict=True))
    return float(np.sqrt(difference / sum(float(np.sum(np.square(q.astype("float64")))) for q in b)))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_training_step(name):
    tf.keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    weights = application(name).get_weights()  # in float32, which float64 holds exactly
    ours, built_in = keras_bn.BatchNormalization.from_config, keras.layers.BatchNormalization.from_config
    true, wide, *narrow = (
        training_step(name, kind, floatx, weights)
        for kind, floatx in ((built_in, "float64"), (ours, "float64"), (ours, "float32"), (built_in, "float32"))
    )
    ratios, rng = [], np.random.default_rng(0)
    for _ in range(BATCHES):
        images = rng.normal(size=(8, *MODELS[name]["input_shape"])).astype("float32")
        expected = true(images)
        for a, b in zip(wide(images), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(1.0, np.abs(b).max()))
        distances = [distance(step(images), expected) for step in narrow]
        ratios.append(distances[0] / distances[1])
    # One number is luck: a rounding that moves an input of ReLU across 0 changes the step by a thousandfold.
    assert np.median(ratios) <= 2, ratios
