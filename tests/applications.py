"""Real models for the tests of the model tools, small, with weights and statistics unlike those of a new model."""

import keras
import numpy as np

SMALL = {
    "MobileNetV2": (lambda **options: keras.applications.MobileNetV2(alpha=0.35, **options), 32),
}
LARGE = {
    "EfficientNetB0": (keras.applications.EfficientNetB0, 32),
    "ResNet50": (keras.applications.ResNet50, 32),
    "DenseNet121": (keras.applications.DenseNet121, 32),
    "Xception": (keras.applications.Xception, 71),
}
ALL = SMALL | LARGE


def build(name: str) -> keras.Model:
    """A model with random statistics, gamma and beta."""
    application, size = ALL[name]
    model = application(weights=None, input_shape=(size, size, 3), classes=10)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(0.1 * rng.normal(size=shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(0.1 * rng.normal(size=shape))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
    return model


def images(name: str, samples: int = 4) -> np.ndarray:
    size = ALL[name][1]
    return np.random.default_rng(1).normal(size=(samples, size, size, 3))


def error(found, expected) -> float:
    """The largest difference, relative to the largest value; of lists of arrays, over all of them."""
    if isinstance(expected, (list, tuple)):
        found, expected = (np.concatenate([np.ravel(value) for value in values]) for values in (found, expected))
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())
