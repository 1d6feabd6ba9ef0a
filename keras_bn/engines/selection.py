"""Which engine may serve which request, and why not."""

from typing import Any

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form, fused

try:
    from tensorflow.python.ops import control_flow_util
except ImportError:  # a private module: without it, what is right everywhere is taken
    control_flow_util = None

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
    """y, normalized with given statistics.

    XLA turns the fused kernel into x·a + b, which cancels where the mean is large.
    """
    if engine == "auto" and not traced_for_xla() and fused.serves_inference(x, axes, epsilon):
        return fused.inference(x, mean, variance, gamma, beta, epsilon=epsilon)
    return closed_form.inference(batch, x, mean, variance, gamma, beta, epsilon=epsilon)


def traced_for_xla() -> bool:
    """Whether what is being traced will be compiled by XLA, or may be."""
    if control_flow_util is None:
        return True
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def refuse_replicas(synchronized: bool) -> None:
    """Raise if statistics are to be shared between several replicas."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if synchronized and replicas > 1:
        raise NotImplementedError(
            f"synchronized=True is supported on one replica so far. Received: {replicas} replicas. "
            "Use keras.layers.BatchNormalization there."
        )
