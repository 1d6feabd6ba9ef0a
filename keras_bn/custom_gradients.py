"""Functions with gradients of their own, whose graphs can be freed.

Where ``tf.custom_gradient`` is called in a graph, TensorFlow registers the gradient under a new name, and keeps it for
ever, with all tensors that it uses and the graph that these belong to. A process that fits many models would keep the
graphs of all.
"""

import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

try:
    from tensorflow.python.framework.ops import gradient_registry
except ImportError:  # a private module: without it, graphs are kept as TensorFlow keeps them
    gradient_registry = None


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """As ``tf.custom_gradient``; in a graph, the gradient lives as long as the graph.

    The gradient is given tensors, also where what follows gathers rows and TensorFlow would give it ``IndexedSlices``.
    """

    @tf.custom_gradient
    def differentiable(*inputs: tf.Tensor) -> Any:
        outputs, gradient = function(*inputs)
        return outputs, lambda *cotangents: gradient(*map(tf.convert_to_tensor, cotangents))

    def call(*inputs: tf.Tensor) -> Any:
        outputs = differentiable(*inputs)
        if not tf.executing_eagerly():
            _let_go(tf.nest.flatten(outputs)[0].op)
        return outputs

    return call


def _let_go(operation: tf.Operation) -> None:
    """Let the graph of an operation, and not the registry, hold the operation's gradient."""
    entries = getattr(gradient_registry, "_registry", {})
    name = operation.get_attr("_gradient_op_type").decode()
    entry = entries.get(name)
    if entry is None:
        return
    operation.graph._keras_bn_gradients = [*getattr(operation.graph, "_keras_bn_gradients", ()), entry["type"]]
    gradient = weakref.ref(entry["type"], lambda _: entries.pop(name, None))
    entry["type"] = lambda operation, *cotangents: gradient()(operation, *cotangents)  # type: ignore[misc]
