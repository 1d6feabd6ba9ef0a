"""Accuracy: errors of y and dx in float32 against float64, by mean/std."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

import keras_bn
from tests import oracles
from tests.benchmarks import contenders
from tests.benchmarks.contenders import BUILT_IN, CLOSED_FORM, FUSED, OURS, TORCH
from tests.cases import EPSILON, Case, Inputs, draw

CASE, QUICK_CASE = Case((32, 28, 28, 32), -1), Case((4, 7, 7, 8), -1)
MEAN_OVER_STD = (0.0, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
QUICK_MEAN_OVER_STD = (0.0, 1e3)


def measure(*, quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Records of all contenders, modes and means; an error is None where the result is not finite."""
    case = QUICK_CASE if quick else CASE
    records = []
    for mean_over_std in QUICK_MEAN_OVER_STD if quick else MEAN_OVER_STD:
        inputs = draw(case, mean_over_std=mean_over_std, dtype="float32")
        none = np.zeros(case.channels, "float32")
        inputs = inputs._replace(d_mean=none, d_variance=none)
        true = oracles.autodiff(inputs, case)
        for name, mode, run in _contenders(case, inputs):
            y, dx = (np.asarray(value, "float64") for value in run())
            errors = oracles.output_error(y, true.y), oracles.dx_error(dx, inputs, true, case)
            output_error, dx_error = (error if np.isfinite(error) else None for error in errors)
            records.append(
                {
                    "contender": name,
                    "mode": mode,
                    "mean_over_std": mean_over_std,
                    "output_error": output_error,
                    "dx_error": dx_error,
                }
            )
            say(f"mean/std {mean_over_std:<8g} {name:24s} {mode:5s} y {_text(output_error)}  dx {_text(dx_error)}")
    return records


def _text(error: float | None) -> str:
    return "not finite" if error is None else f"{error:.1e}"


def _contenders(case: Case, inputs: Inputs) -> Iterator[tuple[str, str, Any]]:
    x, dy = tf.constant(inputs.x), tf.constant(inputs.dy)
    gamma, beta = tf.constant(inputs.gamma), tf.constant(inputs.beta)
    for mode in ("graph", "xla"):
        layer = contenders.layer(BUILT_IN, case.shape)
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
        yield BUILT_IN, mode, contenders.training_step(lambda x, layer=layer: layer(x, training=True), x, dy, mode)
        for name, engine in ((OURS, "auto"), (CLOSED_FORM, "closed_form")):

            def ours(x: tf.Tensor, engine: str = engine) -> tf.Tensor:
                return keras_bn.batch_norm(x, gamma, beta, epsilon=EPSILON, engine=engine).y

            yield name, mode, contenders.training_step(ours, x, dy, mode)

        def fused(x: tf.Tensor) -> tf.Tensor:
            return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=EPSILON)[0]

        yield FUSED, mode, contenders.training_step(fused, x, dy, mode)
    if contenders.torch is not None:
        yield TORCH, "eager", contenders.torch_step(inputs.x, inputs.dy, gamma=inputs.gamma, beta=inputs.beta)
