"""Ragged inputs: their values, of all rows in one run, are what is normalized."""

from typing import Any

import tensorflow as tf

from keras_bn import arguments
from keras_bn.tensors import sizes_of


def rows(inputs: tf.RaggedTensor, mask: Any, layer: Any) -> tuple[tf.Tensor, Any]:
    """The values as a dense tensor of the rank of the inputs, with ones for the ragged axes; and the mask likewise.

    Raises:
        ValueError: a channel axis of the layer is ragged, the mask is not ragged like the inputs, or the layer
            normalizes groups of samples.
    """
    ragged, rank = inputs.ragged_rank, inputs.shape.rank
    axes = arguments.axes(layer.axis)
    if any(a % rank <= ragged for a in axes):
        raise ValueError(
            f"the channel axis of ragged inputs must come after their ragged axes. Received: axis={layer.axis}, "
            f"inputs of shape {inputs.shape}. Make them dense with their to_tensor(), and pass a mask."
        )
    if getattr(layer, "virtual_batch_size", None) is not None:
        raise ValueError(
            "virtual_batch_size divides samples, which rows of ragged inputs are not. "
            f"Received: virtual_batch_size={layer.virtual_batch_size} with ragged inputs. Leave it out."
        )
    if mask is not None:
        if not isinstance(mask, tf.RaggedTensor) or mask.ragged_rank != ragged:
            raise ValueError(
                f"the mask of ragged inputs must be ragged like them. Received: {type(mask).__name__}. "
                "Make the inputs dense with their to_tensor() to use another mask."
            )
        mask = _with_ones(mask.flat_values, ragged)
    return _with_ones(inputs.flat_values, ragged), mask


def like(inputs: tf.RaggedTensor, y: tf.Tensor) -> tf.RaggedTensor:
    """Ragged like the inputs, with values from what ``rows`` gives."""
    return inputs.with_flat_values(tf.reshape(y, sizes_of(inputs.flat_values)))


def _with_ones(values: tf.Tensor, ragged: int) -> tf.Tensor:
    first, *others = sizes_of(values)
    return tf.reshape(values, [first, *[1] * ragged, *others])
