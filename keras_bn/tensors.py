"""Tensors as they come: which ones are accepted, and the sizes that are known of them."""

from typing import Any

import keras
import tensorflow as tf


def as_tensor(name: str, value: Any) -> tf.Tensor:
    """A dense tensor of a value; raise TypeError if it is None, not dense, or several."""
    if value is None:
        raise TypeError(f"{name} must be a dense tensor or array. Received: None.")
    if isinstance(value, (tf.SparseTensor, tf.RaggedTensor, tf.IndexedSlices)):
        raise TypeError(
            f"{name} must be a dense tensor or array. Received: {type(value).__name__}. "
            "tf.sparse.to_dense makes one of a sparse tensor, its to_tensor() of a ragged one."
        )
    if isinstance(value, dict) or (isinstance(value, list | tuple) and any(hasattr(part, "shape") for part in value)):
        raise _several(name, value)
    return tf.convert_to_tensor(value)


def _several(name: str, tensors: Any) -> TypeError:
    """The error for several tensors, or their shapes, in the place of one."""
    return TypeError(
        f"{name} must be one tensor. Received: a {type(tensors).__name__} of {len(tensors)}. Normalize each by a layer "
        "of its own, or put them together with keras.layers.Concatenate."
    )


def as_real(name: str, value: Any, compute_dtype: str) -> tf.Tensor:
    """A dense tensor in the dtype in which it is normalized: ``compute_dtype``, or float32 for a wider value of that.

    Raises:
        TypeError: the value is None, not dense, complex, or no number.
    """
    x, dtype = as_tensor(name, value), tf.as_dtype(compute_dtype)
    if x.dtype.is_complex or not (x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool):
        raise TypeError(f"batch normalization needs real numbers. Received: {name} of dtype {x.dtype.name}.")
    if dtype.size >= 4:
        return tf.cast(x, dtype)
    return x if x.dtype.is_floating and x.dtype.size < 4 else tf.cast(x, tf.float32)


def as_flag(value: Any) -> Any:
    """A bool; or a boolean tensor, where only the graph that is being traced will know the value."""
    if not (tf.is_tensor(value) or isinstance(value, keras.Variable)):
        return bool(value)
    flag = tf.cast(tf.convert_to_tensor(value), tf.bool)
    known = tf.get_static_value(flag)
    return flag if known is None else bool(known)


def shape_of_one(name: str, shape: Any) -> tf.TensorShape:
    """The shape of one tensor; raise TypeError if it is that of several."""
    if isinstance(shape, dict) or (isinstance(shape, list | tuple) and any(isinstance(n, list | tuple) for n in shape)):
        raise _several(name, shape)
    return tf.TensorShape(shape)


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


def known_channels(shape: tf.TensorShape, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes along ``axes``; raise ValueError unless the shape has these axes and their sizes are known."""
    check_shape(shape, axes)
    channels = tuple(shape[a] for a in axes)
    if None in channels:
        raise ValueError(
            f"the sizes along axis={axes[0] if len(axes) == 1 else axes} must be known. "
            f"Received: input_shape={tuple(shape)}. State them in the model's Input."
        )
    return channels


def as_built(x: tf.Tensor, name: str, rank: int, axes: tuple[int, ...], channels: tuple[int, ...]) -> tf.Tensor:
    """The inputs of a layer of this name with what it was built for in their static shape; raise if they contradict."""
    if x.shape.rank is None:
        x = tf.ensure_shape(x, [None] * rank)
    sizes = [x.shape[a] for a in axes] if x.shape.rank == rank else None
    if sizes is None or any(size not in (None, known) for size, known in zip(sizes, channels, strict=True)):
        fitting = [a for a in range(1, rank) if sizes is not None and (x.shape[a],) == channels]
        remedy = (
            f"Their axis {fitting[0]} has that size: axis={fitting[0]} makes it the channel axis."
            if fitting
            else "Use another layer for inputs of another shape."
        )
        raise ValueError(
            f"{name} was built for inputs of rank {rank} with the shape {channels} along "
            f"axis={axes[0] if len(axes) == 1 else axes}. Received: inputs of shape {x.shape}. {remedy}"
        )
    # Of sizes that the graph does not know, the channels' must be right where it runs.
    return tf.ensure_shape(x, with_channels(x.shape, axes, channels)) if None in sizes else x


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
