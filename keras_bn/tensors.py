"""Tensors as they come: which ones are accepted, and the sizes that are known of them."""

from typing import Any

import tensorflow as tf


def as_tensor(name: str, value: Any) -> tf.Tensor:
    """A dense tensor of a value; raise TypeError if it is None or not dense."""
    if value is None or isinstance(value, (tf.SparseTensor, tf.RaggedTensor, tf.IndexedSlices)):
        raise TypeError(
            f"{name} must be a dense tensor or array. Received: {type(value).__name__}. "
            "tf.sparse.to_dense makes one of a sparse tensor, its to_tensor() of a ragged one."
        )
    return tf.convert_to_tensor(value)


def check_shape(shape: tf.TensorShape, axes: tuple[int, ...]) -> None:
    """Raise ValueError unless a tensor of this shape has rank 2 or more and the distinct ``axes``."""
    rank = shape.rank
    if rank is None:
        raise ValueError(
            "batch normalization needs inputs of known rank. Received: a tensor of unknown rank. "
            "State its rank with tf.ensure_shape."
        )
    if rank < 2:
        raise ValueError(
            f"batch normalization needs inputs of rank 2 or more, (batch, ..., channels). Received: shape={shape}. "
            "A batch of scalars has the shape (batch, 1)."
        )
    if any(not -rank <= a < rank for a in axes) or len({a % rank for a in axes}) != len(axes):
        raise ValueError(
            f"axis must name distinct axes in [{-rank}, {rank}) for inputs of shape {shape}. "
            f"Received: axis={axes[0] if len(axes) == 1 else axes}."
        )
    if len(axes) == rank:
        raise ValueError(
            f"axis must leave at least one axis to take statistics over. Received: axis={axes} for shape {shape}."
        )


def with_channels(shape: tf.TensorShape, axes: tuple[int, ...], channels: tuple[int, ...]) -> tuple[int | None, ...]:
    """The static shape of inputs, completed by that of their channels."""
    sizes = list(shape)
    for axis, size in zip(axes, channels, strict=True):
        sizes[axis] = size
    return tuple(sizes)


def sizes_of(value: tf.Tensor) -> list[Any]:
    """Sizes of a tensor, as ints where they are known."""
    if value.shape.is_fully_defined():
        return list(value.shape)
    dynamic = tf.shape(value)
    return [dynamic[i] if size is None else size for i, size in enumerate(value.shape)]
