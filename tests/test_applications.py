"""Models of ``keras.applications`` with our class in place of the built-in one: one training step."""

import contextlib

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


@contextlib.contextmanager
def dtype(name: str):
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def initial_weights(name: str) -> list[np.ndarray]:
    """Random weights that float32 holds exactly: Keras draws others in float64."""
    keras.utils.set_random_seed(1)
    return getattr(keras.applications, name)(weights=None, classes=5, **MODELS[name]).get_weights()


def step(name: str, kind: type, floatx: str, weights: list[np.ndarray]) -> list[np.ndarray]:
    """The loss of a fixed batch, and what one step of SGD on it changes in all weights and moving statistics."""
    options = MODELS[name]
    with dtype(floatx):
        model = getattr(keras.applications, name)(weights=None, classes=5, **options)

        def replace(layer):
            if isinstance(layer, keras.layers.BatchNormalization):
                return kind.from_config(layer.get_config())
            return layer.__class__.from_config(layer.get_config())

        copy = keras.models.clone_model(model, clone_function=replace)
        copy.set_weights(weights)
        for layer in copy.layers:  # chance has no place in a comparison
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(8, *options["input_shape"])).astype("float32"), np.arange(8) % 5
        copy.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
        loss = copy.train_on_batch(x.astype(floatx), y)
        assert {weight.dtype for weight in copy.trainable_weights} == {floatx}
        return [np.asarray(loss), *(new - old for new, old in zip(copy.get_weights(), weights, strict=True))]


def distance(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Norm of the difference of all changes, in units of their norm."""
    difference = sum(float(np.sum(np.square(p.astype("float64") - q))) for p, q in zip(a, b, strict=True))
    return float(np.sqrt(difference / sum(float(np.sum(np.square(q.astype("float64")))) for q in b)))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_training_step(name):
    Ours, BuiltIn = keras_bn.BatchNormalization, keras.layers.BatchNormalization
    tf.keras.backend.clear_session()
    weights = initial_weights(name)
    true, ours = (step(name, kind, "float64", weights) for kind in (BuiltIn, Ours))
    for a, b in zip(ours, true, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(1.0, np.abs(b).max()))
    narrow = [distance(step(name, kind, "float32", weights), true) for kind in (Ours, BuiltIn)]
    assert narrow[0] <= 2 * narrow[1]
