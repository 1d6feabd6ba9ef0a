"""Models: a training step and a prediction of whole networks, with Keras' layer, with ours, and with none."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_bn
from tests.benchmarks import timing
from tests.benchmarks.contenders import BUILT_IN, NONE, OURS

# Losses and predictions of the two layers, relative: float32 through up to 53 layers.
AGREEMENT = 1e-3


class _Nothing(keras.layers.Layer):
    """What stands in the place of batch normalization, and is called as it is."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs


def _dense() -> keras.Model:
    model = keras.Sequential([keras.Input((256,))])
    for _ in range(4):
        model.add(keras.layers.Dense(512, use_bias=False))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Dense(10))
    return model


def _application(name: str, size: int) -> keras.Model:
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)


# Name, constructor, and batch size.
MODELS: list[tuple[str, Callable[[], keras.Model], int]] = [
    ("MobileNetV2 96×96", lambda: _application("MobileNetV2", 96), 32),
    ("ResNet50 64×64", lambda: _application("ResNet50", 64), 32),
    ("dense 4×512", _dense, 128),
]


def measure(*, quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Records of all models, steps and contenders."""
    records = []
    for name, make, batch_size in MODELS[-1:] if quick else MODELS:
        keras.utils.set_random_seed(0)
        model = make()
        contenders = {BUILT_IN: model, OURS: keras_bn.convert(model), NONE: _without(model)}
        rng = np.random.default_rng(0)
        x = rng.normal(size=(batch_size, *model.input_shape[1:])).astype("float32")
        labels = rng.normal(size=(batch_size, 10)).astype("float32")
        for contender in contenders.values():
            # So small a rate that the weights stay where the comparison of the results found them.
            contender.compile(keras.optimizers.SGD(1e-9), "mse")
        _agree(name, contenders, x, labels)
        steps = {
            "train": {key: _bound(value.train_on_batch, x, labels) for key, value in contenders.items()},
            "predict": {key: _bound(value.predict_on_batch, x) for key, value in contenders.items()},
        }
        for step, runs in steps.items():
            results = timing.interleaved(runs, BUILT_IN, quick=quick)
            for contender, result in results.items():
                records.append({"model": name, "step": step, "contender": contender, **result.record()})
            summary = "  ".join(f"{key} {r.milliseconds:.3g} ms ({r.ratio:.2f}×)" for key, r in results.items())
            say(f"{name:18s} {step:8s} {summary}")
    return records


def _bound(function: Any, *arguments: Any) -> Any:
    return lambda: function(*arguments)


def _without(model: keras.Model) -> keras.Model:
    """The model with nothing in the place of batch normalization."""

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.BatchNormalization):
            return _Nothing(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=replaced)


def _agree(name: str, contenders: dict[str, keras.Model], x: np.ndarray, labels: np.ndarray) -> None:
    losses, outputs = [], []
    for key in (BUILT_IN, OURS):
        outputs.append(contenders[key].predict_on_batch(x))
        losses.append(float(np.ravel(contenders[key].train_on_batch(x, labels))[0]))
    error = max(
        abs(losses[1] - losses[0]) / abs(losses[0]),
        np.max(np.abs(outputs[1] - outputs[0])) / np.max(np.abs(outputs[0])),
    )
    if not error <= AGREEMENT:
        raise AssertionError(f"{name}: {OURS} differs by {error:.1e} from {BUILT_IN}")
