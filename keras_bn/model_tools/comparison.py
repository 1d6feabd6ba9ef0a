"""Whether two models give the same outputs for random inputs."""

from typing import Any

import keras
import numpy as np

# The size of an axis of inputs that may have any: large enough for what networks on images take at least.
ANY_SIZE = 64
SAMPLES = 2
# How far outputs may be apart, relative to their size. What this is to find is off by about that size; rounding is not,
# in float16 and however deep the network.
TOLERANCE = 1e-2


def random_inputs(model: keras.Model) -> Any:
    """Inputs that a Functional or Sequential model takes; None where it does not tell which it takes."""
    if not getattr(model, "inputs", None) or any(tensor.sparse or tensor.ragged for tensor in model.inputs):
        return None
    random = np.random.default_rng(0)

    def draw(tensor: Any) -> Any:
        shape = [SAMPLES, *(ANY_SIZE if size is None else size for size in tensor.shape[1:])]
        if tensor.dtype == "string":
            values = random.choice(np.array(["a", "the", "0"], object), shape)
        elif keras.backend.is_float_dtype(tensor.dtype):
            values = random.normal(size=shape).astype(tensor.dtype)
        else:
            # Small enough for the rows of every embedding.
            values = random.integers(0, 2, shape).astype(tensor.dtype)
        return keras.ops.convert_to_tensor(values)

    # A Sequential model from a file knows its inputs, but no structure of them.
    return keras.tree.map_structure(draw, model.inputs[0] if isinstance(model, keras.Sequential) else model.input)


def largest_difference(one: keras.Model, other: keras.Model) -> float | None:
    """The largest difference of the outputs in inference, relative to their size; None where nothing can be compared.

    Outputs that are no numbers count as different by 1 where they are not equal.
    """
    inputs = random_inputs(one)
    if inputs is None:
        return None
    try:
        expected = keras.tree.flatten(one(inputs, training=False))
    except Exception:  # inputs of these sizes are none that the model takes
        return None
    found = keras.tree.flatten(other(inputs, training=False))
    return max(map(_difference, expected, found), default=0.0)


def _difference(expected: Any, found: Any) -> float:
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(expected.dtype)):
        return float(np.mean(np.asarray(expected) != np.asarray(found)) > 0.5)
    a, b = (keras.ops.convert_to_numpy(keras.ops.cast(value, "float64")) for value in (expected, found))
    if a.shape != b.shape or (np.isfinite(a) != np.isfinite(b)).any():
        return float("inf")
    finite = np.isfinite(a)
    size = np.abs(a[finite]).max(initial=0.0) or 1.0
    return float(np.abs(a[finite] - b[finite]).max(initial=0.0) / size)
