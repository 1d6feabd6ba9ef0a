"""A data set, in any form that Keras accepts, as batches of inputs."""

import math
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def count(data: Any, *, steps: int | None, batch_size: int) -> int | None:
    """How many batches ``inputs`` will give; None if that is not known.

    Raises:
        TypeError: ``data`` is none of the forms that ``inputs`` lists.
        ValueError: ``steps`` or ``batch_size`` is not a whole number of at least 1, or is missing for data without end.
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} must be a whole number of at least 1. Received: {name}={value!r}.")
    if isinstance(data, tf.data.Dataset):
        known = int(data.cardinality())
        if known == tf.data.INFINITE_CARDINALITY:
            known = _needs_steps("a tf.data.Dataset without end", steps)
        return steps if steps is not None or known < 0 else known
    if isinstance(data, keras.utils.PyDataset):
        known = data.num_batches
        return (
            steps
            if steps is not None
            else (known if known is not None else _needs_steps("an infinite PyDataset", steps))
        )
    if _is_arrays(data):
        lengths = {int(np.shape(array)[0]) for array in keras.tree.flatten(data)}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                f"arrays must have the same, positive number of samples. Received: {sorted(lengths)} samples."
            )
        whole = math.ceil(lengths.pop() / batch_size)
        return whole if steps is None else steps
    if isinstance(data, Iterable):
        if steps is None and not hasattr(data, "__len__"):
            _needs_steps(
                "a generator" if isinstance(data, Generator) else f"a {type(data).__name__} of unknown length", steps
            )
        return steps if steps is not None else len(data)  # type: ignore[arg-type]
    raise TypeError(
        "data must be arrays, a tf.data.Dataset, a keras.utils.PyDataset, or an iterable of batches. "
        f"Received: {type(data).__name__}."
    )


def inputs(data: Any, *, steps: int | None, batch_size: int) -> Iterator[Any]:
    """The inputs of the batches, without targets and sample weights; at most ``steps`` of them.

    Args:
        data: An array or a list or dictionary of arrays, inputs only, cut into batches of ``batch_size``; or a
            ``tf.data.Dataset``, ``keras.utils.PyDataset``, generator or other iterable of batches, each inputs, or a
            tuple of inputs and targets, as in ``fit``.
        steps: How many batches to take; None for all.
        batch_size: The number of samples in a batch, for arrays.

    Raises:
        ValueError: there are less than ``steps`` batches, or none.
    """
    given = 0
    for batch in _batches(data, batch_size):
        if isinstance(batch, tuple):
            batch = keras.utils.unpack_x_y_sample_weight(batch)[0]
        yield keras.tree.map_structure(_tensor, batch)
        given += 1
        if given == steps:
            return
    if steps is not None or given == 0:
        raise ValueError(
            f"data must have {steps or 'some'} batches. Received: {given}. Pass more data, or lower steps."
        )


def _batches(data: Any, batch_size: int) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        index = 0
        while data.num_batches is None or index < data.num_batches:
            yield data[index]
            index += 1
    elif _is_arrays(data):
        samples = len(keras.tree.flatten(data)[0])
        # A tuple of arrays is several inputs, as it is for `predict`; of a batch it would be inputs and targets.
        data = list(data) if isinstance(data, tuple) else data
        data = data[0] if isinstance(data, list) and len(data) == 1 else data
        for start in range(0, samples, batch_size):
            part = slice(start, start + batch_size)
            yield keras.tree.map_structure(lambda array, part=part: array[part], data)
    else:
        yield from data


def _is_arrays(data: Any) -> bool:
    if not isinstance(data, (list, tuple, dict)):
        return isinstance(data, np.ndarray) or tf.is_tensor(data) or hasattr(data, "__array__")
    leaves = keras.tree.flatten(data)
    return bool(leaves) and all(hasattr(leaf, "shape") and len(leaf.shape) > 0 for leaf in leaves)


def _tensor(value: Any) -> Any:
    return tf.convert_to_tensor(np.asarray(value) if hasattr(value, "detach") else value)


def _needs_steps(what: str, steps: int | None) -> int:
    if steps is None:
        raise ValueError(f"steps must say how many batches to take of {what}. Received: steps=None.")
    return steps
