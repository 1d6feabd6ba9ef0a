"""A data set, in any form that Keras accepts, as batches of inputs."""

import math
import operator
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def count(data: Any, *, steps: int | None, batch_size: int) -> int | None:
    """How many batches ``inputs`` will give; None if that is not known.

    Raises:
        TypeError: ``data`` is none of the forms that ``inputs`` lists.
        ValueError: ``steps`` is missing for data without end; or arrays have different numbers of samples, or none.
    """
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
    arrays = _arrays(data)
    if arrays is not None:
        lengths = {_samples(array) for array in keras.tree.flatten(arrays)}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                f"arrays must have the same, positive number of samples. Received: {sorted(lengths)} samples."
            )
        whole = math.ceil(lengths.pop() / batch_size)
        return whole if steps is None else steps
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        if steps is None and not hasattr(data, "__len__"):
            _needs_steps(
                "a generator" if isinstance(data, Generator) else f"a {type(data).__name__} of unknown length", steps
            )
        return steps if steps is not None else len(data)  # type: ignore[arg-type]
    raise TypeError(
        "data must be arrays, a tf.data.Dataset, a keras.utils.PyDataset, or an iterable of batches. "
        f"Received: {type(data).__name__}. Of a file, pass what it holds, as numpy.load reads it."
    )


def inputs(data: Any, *, steps: int | None, batch_size: int) -> Iterator[Any]:
    """The inputs of the batches, without targets and sample weights; at most ``steps`` of them.

    Args:
        data: An array, a list or dictionary of arrays, or a tuple of such inputs and targets, cut into batches of
            ``batch_size``; or a ``tf.data.Dataset``, ``keras.utils.PyDataset``, generator or other iterable of batches,
            each inputs, or a tuple or list of inputs and targets, as in ``fit``.
        steps: How many batches to take; None for all.
        batch_size: The number of samples in a batch, for arrays.

    Raises:
        ValueError: there are less than ``steps`` batches, or none.
    """
    given = 0
    for batch in _batches(data, batch_size):
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
            yield _without_targets(data[index])
            index += 1
    elif (arrays := _arrays(data)) is not None:
        samples = _samples(keras.tree.flatten(arrays)[0])
        for start in range(0, samples, batch_size):
            part = slice(start, start + batch_size)
            yield keras.tree.map_structure(lambda array, part=part: array[part], arrays)
    else:
        yield from map(_without_targets, data)


def _arrays(data: Any) -> Any:
    """The inputs, where the data are arrays; None where they are batches or nothing of these."""
    if _is_array(data):
        return data
    if not isinstance(data, (list, tuple, dict)) or not data:
        return None
    if isinstance(data, list) and any(isinstance(item, (tuple, dict)) for item in data):
        # Batches: of inputs and targets, or of inputs by name.
        return None
    if isinstance(data, tuple):
        # As a batch is, and as Keras reads a tuple: inputs and targets.
        data = _without_targets(data)
        data = list(data) if isinstance(data, tuple) else data
    leaves = keras.tree.flatten(data)
    if not all(map(_is_array, leaves)):
        odd = next(type(leaf).__name__ for leaf in leaves if not _is_array(leaf))
        raise TypeError(
            "a list, dictionary or tuple must hold arrays with an axis of samples, or a list tuples of them. "
            f"Received: {type(data).__name__} with {odd}. Make arrays of it with numpy.asarray."
        )
    if isinstance(data, list) and any(isinstance(item, list) for item in data):
        raise ValueError(
            "a list of lists may be batches of several inputs, or inputs in a structure. Received: one of "
            f"{len(data)}. Pass batches as tuples, (inputs,), and inputs as one list."
        )
    return data[0] if isinstance(data, list) and len(data) == 1 else data


def _is_array(value: Any) -> bool:
    is_array = tf.is_tensor(value) or hasattr(value, "__array__")
    return is_array and len(value.shape if hasattr(value, "shape") else np.shape(value)) > 0


def _without_targets(batch: Any) -> Any:
    # A list, too, as Keras reads it, and as a DataLoader of PyTorch gives it.
    if not isinstance(batch, (tuple, list)):
        return batch
    if not 1 <= len(batch) <= 3:
        raise ValueError(
            f"a batch is inputs, or inputs, targets and sample weights. Received: a {type(batch).__name__} of "
            f"{len(batch)}. Several inputs are a list within it: ([a, b],)."
        )
    return batch[0]


def check_fit(inputs: Any, model: keras.Model) -> None:
    """Raise ValueError unless a batch is real, and what the model takes, where that is known: of a graph."""
    expected = getattr(model, "inputs", None) or []
    leaves = keras.tree.flatten(inputs)
    dtypes = [tf.as_dtype(leaf.dtype) for leaf in leaves]
    if wrong := [dtype.name for dtype in dtypes if dtype.is_complex]:
        raise ValueError(
            f"data must be real: {model.name} would drop the imaginary parts. Received: {wrong[0]}. Pass the real and "
            "the imaginary parts as channels."
        )
    if expected and isinstance(inputs, dict):
        # A Sequential model that was built by its layers has inputs, and no input.
        structure = getattr(model, "input", None)
        named = structure if isinstance(structure, dict) else {tensor.name: tensor for tensor in expected}
        pairs = [(tensor, inputs[name]) for name, tensor in named.items() if name in inputs]
    elif expected and len(leaves) != len(expected):
        raise ValueError(
            f"{model.name} must get all of its inputs, {len(expected)}. Received: {len(leaves)}. A list of arrays is "
            "several inputs, but of a batch it is inputs and targets, as a tuple is; ([a, b],) is one of two inputs."
        )
    else:
        pairs = list(zip(expected, leaves, strict=False))
    for tensor, value in pairs:
        if not _fits(tuple(tensor.shape), tuple(value.shape)):
            unbatched = len(value.shape) == len(tensor.shape) - 1
            remedy = " Batches have an axis of samples; dataset.batch(32) makes it." if unbatched else ""
            raise ValueError(
                f"{model.name} takes inputs of shape {tuple(tensor.shape)} for {tensor.name!r}. "
                f"Received: a batch of shape {tuple(value.shape)}.{remedy}"
            )


def _fits(expected: tuple[int | None, ...], given: tuple[int | None, ...]) -> bool:
    # A model that was built by a call states the number of samples of that call.
    expected = (None, *expected[1:])
    # Keras adds or takes away a last axis of size 1.
    if len(given) == len(expected) - 1 and expected[-1] == 1:
        expected = expected[:-1]
    elif len(given) == len(expected) + 1 and given[-1] == 1:
        given = given[:-1]
    return len(given) == len(expected) and all(
        a == b or a is None or b is None for a, b in zip(expected, given, strict=True)
    )


def whole(name: str, value: Any) -> int:
    """A whole number of at least 1, of any integral type, as an int.

    Raises:
        ValueError: it is none.
    """
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be a whole number of at least 1. Received: {name}={value!r}.")
    return number


def _samples(array: Any) -> int:
    return int(array.nrows() if isinstance(array, tf.RaggedTensor) else np.shape(array)[0])


def _tensor(value: Any) -> Any:
    if isinstance(value, tf.RaggedTensor):
        return value
    return tf.convert_to_tensor(np.asarray(value) if hasattr(value, "detach") else value)


def _needs_steps(what: str, steps: int | None) -> int:
    if steps is None:
        raise ValueError(f"steps must say how many batches to take of {what}. Received: steps=None.")
    return steps
