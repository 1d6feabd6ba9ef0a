"""Which engine may serve which request, and why not."""

from typing import Any

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form, fused

ENGINES = ("auto", "closed_form", "fused")


def check_name(engine: Any) -> None:
    """Raise unless ``engine`` names an engine that exists."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}. Received: engine={engine!r}.")
    if engine == "fused":
        raise NotImplementedError(
            "engine='fused' does not train yet. Received: engine='fused'. Use 'auto', which takes the fused kernel for "
            "inference where it can."
        )


def inference(
    engine: str,
    batch: TensorBatch,
    x: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    axes: tuple[int, ...],
    epsilon: float,
) -> tf.Tensor:
    """y, normalized with given statistics."""
    if engine == "auto" and fused.serves_inference(x, axes, epsilon):
        return fused.inference(x, mean, variance, gamma, beta, epsilon=epsilon)
    return closed_form.inference(batch, x, mean, variance, gamma, beta, epsilon=epsilon)


def refuse_replicas(synchronized: bool) -> None:
    """Raise if statistics are to be shared between several replicas."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if synchronized and replicas > 1:
        raise NotImplementedError(
            f"synchronized=True is supported on one replica so far. Received: {replicas} replicas. "
            "Use keras.layers.BatchNormalization there."
        )
