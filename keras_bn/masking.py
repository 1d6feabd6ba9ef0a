"""How a mask is laid over the inputs: which of its axes belongs to which of their axes."""

from typing import Any

import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.batch import TensorBatch
from keras_bn.formulas.training import Fallback


def weights_of(mask: Any, inputs: Any, x: tf.Tensor, axes: tuple[int, ...]) -> tuple[tf.Tensor | None, bool]:
    """The weights of the elements of x, which are the inputs as they are normalized, and whether Keras passed them on.

    The weights are None without a mask.
    """
    if mask is None:
        return None, False
    given, from_keras = tf.convert_to_tensor(mask), is_propagated(mask, inputs)
    return propagated(given, x) if from_keras else explicit(given, x, axes), from_keras


def is_propagated(mask: Any, inputs: Any) -> bool:
    """Whether Keras passed on this mask with the inputs, to which it attaches it.

    A Functional model computes the mask that it passes once more, by operations of its graph, so that nothing but the
    shape tells it from one that the caller gave.
    """
    attached = keras_internals.attached_mask(inputs)
    if mask is None or attached is None:
        return False
    return mask is attached or tf.convert_to_tensor(mask).shape.is_compatible_with(attached.shape)


def fallback(moving: Fallback, batch: TensorBatch, *, propagated: bool) -> Fallback:
    """What normalizes the channels in which nothing counts: the moving statistics.

    But a mask that Keras propagates may leave out whole channels of a batch, as time steps that are padding in every
    sample where time is the channel axis; those pass unnormalized, unless nothing counts at all.
    """
    if not propagated:
        return moving
    empty = batch.is_empty()
    return Fallback(
        tf.where(empty, moving.mean, tf.zeros_like(moving.mean)),
        tf.where(empty, moving.variance, tf.ones_like(moving.variance)),
    )


def explicit(mask: tf.Tensor, x: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """The weights of the elements of x by a mask that the caller gave, with the rank of x.

    Its axes are those of x without the channel axes, in order, of which the last ones may be missing; or all axes of x,
    of size 1 along the channel axes. Any size may be 1 and broadcasts.

    Raises:
        TypeError: the mask is neither boolean nor numeric.
        ValueError: its shape does not fit.
    """
    rank = x.shape.rank
    reduced = [i for i in range(rank) if i not in [a % rank for a in axes]]
    is_full = mask.shape.rank == rank and all(mask.shape[a] == 1 for a in axes)
    positions = list(range(rank)) if is_full else reduced
    rule = (
        f"a mask must have the axes {tuple(reduced)} of the inputs, in order (the last ones may be missing), "
        f"or all axes with size 1 along axis={axes[0] if len(axes) == 1 else axes}"
    )
    return _lay_over(mask, x, positions, rule)


def propagated(mask: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """The weights of the elements of x by a mask that came with it: it covers the leading axes, Keras' convention.

    Raises:
        ValueError: its shape does not fit.
    """
    return _lay_over(mask, x, list(range(x.shape.rank)), "a mask that Keras propagates must cover leading axes")


def _lay_over(mask: tf.Tensor, x: tf.Tensor, positions: list[int], rule: str) -> tf.Tensor:
    rank = mask.shape.rank
    fits = rank is not None and rank <= len(positions)
    if fits:
        positions = positions[:rank]
        fits = all(
            size in (None, 1, x.shape[position]) or x.shape[position] is None
            for size, position in zip(mask.shape, positions, strict=True)
        )
    if not fits:
        raise ValueError(f"{rule}. Received: mask.shape={mask.shape}, inputs.shape={x.shape}.")
    if not (mask.dtype.is_bool or mask.dtype.is_floating or mask.dtype.is_integer):
        raise TypeError(f"a mask must be boolean or numeric. Received: dtype={mask.dtype.name}.")
    sizes = tf.shape(mask)
    known = [sizes[i] if size is None else size for i, size in enumerate(mask.shape)]
    full = [known[positions.index(i)] if i in positions else 1 for i in range(x.shape.rank)]
    return tf.reshape(mask, full)
