"""Whether XLA compiles what is being traced."""

import tensorflow as tf

try:
    from tensorflow.python.ops import control_flow_util
except ImportError:  # a private module: without it, what is right everywhere is taken
    control_flow_util = None


def compiles() -> bool:
    """Whether what is being traced will be compiled by XLA, or may be."""
    if tf.executing_eagerly():
        return False
    if control_flow_util is None:
        return True
    return bool(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))
