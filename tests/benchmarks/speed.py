"""Speed: one forward and backward pass of each contender, by shape and mode."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks import contenders, timing
from tests.benchmarks.contenders import BUILT_IN, FLOOR, FUSED, NONE, OURS, TORCH, TORCH_FIRST


class Case(NamedTuple):
    """What is timed; ``kind`` is training, inference, second order, or predict.

    ``data`` is what the inputs are like: normal, with a mean of half a deviation; or what the statistics of the bare
    kernel lose digits of.
    """

    name: str
    shape: tuple[int, ...]
    modes: tuple[str, ...] = ("graph", "xla")
    axis: int = -1
    masked: bool = False
    kind: str = "training"
    kernel: int = 3
    data: str = "normal"


LARGE = [
    Case("32×56×56×64", (32, 56, 56, 64)),
    Case("16×56×56×256", (16, 56, 56, 256)),
    Case("32×14×14×1024", (32, 14, 14, 1024)),
    Case("64×7×7×2048", (64, 7, 7, 2048)),
    Case("4096×1024", (4096, 1024)),
]
CASES = [
    *LARGE,
    Case("32×112×112×64", (32, 112, 112, 64)),
    Case("256×128", (256, 128), ("graph", "xla", "eager")),
    Case("32×10", (32, 10), ("graph", "xla", "eager")),
    Case("masked 64×128×512", (64, 128, 512), masked=True),
    Case("axis=1 32×64×56×56", (32, 64, 56, 56), axis=1),
    Case("inference 32×56×56×64", (32, 56, 56, 64), kind="inference"),
    Case("second order 32×28×28×64", (32, 28, 28, 64), kind="second order"),
    Case("a constant channel 32×56×56×64", (32, 56, 56, 64), ("graph",), data="a constant channel"),
    Case("mean/std 100 32×56×56×64", (32, 56, 56, 64), ("graph",), data="mean/std 100"),
    Case("behind a ReLU 32×56×56×64", (32, 56, 56, 64), ("graph",), data="behind a ReLU"),
    Case("predict (1×1 Conv+BN+ReLU)×4", (32, 56, 56, 64), ("graph",), kind="predict", kernel=1),
    Case("predict (3×3 Conv+BN+ReLU)×4", (32, 56, 56, 64), ("graph",), kind="predict", kernel=3),
]
QUICK = [
    Case("8×14×14×16", (8, 14, 14, 16)),
    Case("32×10", (32, 10), ("graph", "eager")),
    Case("masked 4×8×16", (4, 8, 16), masked=True),
    Case("axis=1 4×8×7×7", (4, 8, 7, 7), ("graph",), axis=1),
    Case("mean/std 100 4×7×7×8", (4, 7, 7, 8), ("graph",), data="mean/std 100"),
    Case("inference 4×7×7×8", (4, 7, 7, 8), ("graph",), kind="inference"),
    Case("second order 4×7×7×8", (4, 7, 7, 8), ("graph",), kind="second order"),
    Case("predict (3×3 Conv+BN+ReLU)×4", (2, 8, 8, 4), ("graph",), kind="predict"),
]
# float32 results of different algorithms on data without a large mean, relative to the largest entry; the second order
# of the built-in layer passes through more sums.
AGREEMENT = {"training": 1e-4, "inference": 1e-4, "second order": 1e-3, "predict": 1e-4}
# Of these data the peers lose digits: two and more of a mean of 100 deviations, one of many zeros.
AGREEMENT_OF_DATA = {"mean/std 100": 1e-2, "behind a ReLU": 1e-3}


def measure(*, quick: bool, say: Callable[[str], None], cases: list[Case] | None = None) -> list[dict[str, Any]]:
    """Records of all cases, modes and contenders."""
    records = []
    for case in cases or (QUICK if quick else CASES):
        for mode in case.modes:
            runs = dict(_contenders(case, mode))
            _agree(case, mode, runs)
            results = timing.interleaved(runs, BUILT_IN, quick=quick)
            for name, result in results.items():
                key = {"case": case.name, "shape": list(case.shape), "mode": mode, "contender": name}
                records.append({**key, **result.record()})
            say(f"{case.name:26s} {mode:5s} " + _summary(results))
    return records


def _summary(results: dict[str, timing.Timing]) -> str:
    return "  ".join(f"{name} {r.milliseconds:.3g} ms ({r.ratio:.2f}×)" for name, r in results.items())


def _contenders(case: Case, mode: str) -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(0)
    x = _inputs(case, rng)
    dy = rng.normal(size=case.shape).astype("float32")
    inputs, cotangent = tf.constant(x), tf.constant(dy)
    mask = tf.constant(rng.random(case.shape[:-1]) < 0.7) if case.masked else None
    if case.kind == "predict":
        yield from ((name, _predict(name, x, case.kernel)) for name in (BUILT_IN, OURS, NONE))
        return
    for name in (BUILT_IN, OURS):
        layer = contenders.layer(name, case.shape, axis=case.axis)
        if case.kind == "inference":
            yield name, contenders.inference_step(layer, inputs, mode)
            continue
        options = {"training": True, **({"mask": mask} if case.masked else {})}
        function = _called(layer, options)
        if case.kind == "second order":
            yield name, contenders.second_order_step(function, inputs, cotangent, mode)
        else:
            yield name, contenders.training_step(function, inputs, cotangent, mode, [layer.gamma, layer.beta])
    if case.kind != "training" or case.masked or case.axis != -1:
        return
    if mode != "xla":  # there it is another algorithm, which loses the digits of a large mean
        function, variables = contenders.fused_batch_norm(inputs)
        yield FUSED, contenders.training_step(function, inputs, cotangent, mode, variables)
    if mode == "graph" and contenders.torch is not None:
        vectors = contenders.scale(x.shape[-1]), np.zeros(x.shape[-1], "float32")
        yield TORCH, contenders.torch_step(x, dy, *vectors)
        if x.ndim == 4:
            yield TORCH_FIRST, contenders.torch_step(x, dy, *vectors, channels_last=False)
    if mode == "graph":
        yield FLOOR, contenders.floor_step(x)


def _inputs(case: Case, rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=case.shape) + (100 if case.data == "mean/std 100" else 0.5)
    if case.data == "a constant channel":
        x[..., 0] = 3.0
    if case.data == "behind a ReLU":
        x = np.maximum(x, 0)
        x[..., 0] = 0.0  # and one that is dead
    return x.astype("float32")


def _called(layer: Any, options: dict[str, Any]) -> Any:
    return lambda x: layer(x, **options)


def _predict(name: str, x: np.ndarray, kernel: int) -> Any:
    """Four blocks of convolution, batch normalization and ReLU, by ``predict_on_batch``."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(x.shape[1:])])
    for _ in range(4):
        model.add(keras.layers.Conv2D(x.shape[-1], kernel, padding="same", use_bias=False))
        if name != NONE:
            model.add(contenders.layer(name, x.shape))
        model.add(keras.layers.ReLU())
    return lambda: (model.predict_on_batch(x),) * 2


def _agree(case: Case, mode: str, runs: dict[str, Any]) -> None:
    expected = [np.asarray(value, "float64") for value in runs[BUILT_IN]()]
    for name, run in runs.items():
        if name in (FLOOR, NONE):
            continue
        for found, true in zip(run(), expected, strict=True):
            error = float(np.max(np.abs(np.asarray(found, "float64") - true)) / np.max(np.abs(true)))
            limit = AGREEMENT_OF_DATA.get(case.data, AGREEMENT[case.kind])
            if not error <= limit:
                raise AssertionError(f"{name} differs by {error:.1e} from {BUILT_IN} in {case.name}, {mode}")
