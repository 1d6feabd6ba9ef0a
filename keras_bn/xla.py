"""What is asked of private parts of TensorFlow: who compiles what is being traced, and who differentiates it."""

from typing import Any

import tensorflow as tf

try:
    from tensorflow.python.ops import control_flow_util
except ImportError:  # a private module: without it, what is right everywhere is taken
    control_flow_util = None
try:
    from tensorflow.python.eager import forwardprop_util, record
except ImportError:
    forwardprop_util = record = None


def compiles() -> bool:
    """Whether what is being traced will be compiled by XLA, or may be."""
    if tf.executing_eagerly():
        return False
    if control_flow_util is None:
        return True
    return bool(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))


def differentiates_forward(*values: Any) -> bool:
    """Whether a ``tf.autodiff.ForwardAccumulator`` follows any of these tensors.

    It follows every operation by itself, also those inside a ``tf.custom_gradient``, of whose gradient it takes no
    notice: what is computed must be differentiable operation by operation.
    """
    return forwardprop_util is not None and bool(forwardprop_util.pack_tangents(list(values)).tangents)


def differentiates(*values: Any) -> bool:
    """Whether an open ``tf.GradientTape``, or an accumulator, follows any of these tensors."""
    return differentiates_forward(*values) or (record is not None and bool(record.should_record_backprop(list(values))))


def is_finite(value: tf.Tensor) -> tf.Tensor:
    """Where a tensor is finite.

    In a graph, accumulators within accumulators fail at the truth values of what they follow.
    """
    return tf.math.is_finite(tf.stop_gradient(value) if differentiates_forward(value) else value)
