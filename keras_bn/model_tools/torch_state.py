"""The entries of a batch normalization in a state dict of PyTorch, as arrays."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_bn import arguments

# Our names of PyTorch's entries.
ENTRIES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "num_batches_tracked": "update_count",
}


def entries_of(state: Mapping, prefix: str | None) -> dict[str, Any]:
    # torch.compile puts this before the names of what is in the module.
    state = {name.replace("_orig_mod.", ""): value for name, value in state.items()}
    found = sorted(name.removesuffix("running_mean") for name in state if name.split(".")[-1] == "running_mean")
    if prefix is None:
        if len(found) != 1:
            shown = ", ".join(repr(name.rstrip(".")) for name in found[:10]) + (", …" if len(found) > 10 else "")
            raise ValueError(
                "a state dict must hold one batch normalization (an entry running_mean), or prefix= name one of them. "
                f"Received: {len(found)}{': ' + shown if found else ''}."
            )
        start = found[0]
    else:
        start = arguments.prefix(prefix)
    entries = {name: state[start + name] for name in ENTRIES if state.get(start + name) is not None}
    if not {"running_mean", "running_var"} <= entries.keys():
        raise ValueError(
            f"a batch normalization in a state dict has the entries running_mean and running_var. Received: "
            f"prefix={prefix!r} with {sorted(entries) or 'none of them'}; there are "
            f"{', '.join(repr(name.rstrip('.')) for name in found[:10]) or 'none'}."
        )
    return entries


def check_values(entries: Mapping[str, Any], values: Mapping[str, np.ndarray], features: int) -> None:
    """Vectors of one length, and no variance below 0."""
    shapes = {entry: values[ENTRIES[entry]].shape for entry in entries if entry != "num_batches_tracked"}
    if any(shape != (features,) for shape in shapes.values()):
        raise ValueError(
            "the entries of a batch normalization must be vectors of one length. Received: "
            f"{', '.join(f'{entry} of shape {shape}' for entry, shape in shapes.items())}, for {features} features."
        )
    if "moving_variance" in values and (values["moving_variance"] < 0).any():
        raise ValueError(
            f"running_var must not be negative. Received: {values['moving_variance'].min()} as its smallest value."
        )


def values_of(layer: keras.layers.BatchNormalization) -> dict[str, np.ndarray]:
    """PyTorch's entries, from the weights of a layer."""
    values = {
        entry: keras.ops.convert_to_numpy(getattr(layer, name)).copy()
        for entry, name in ENTRIES.items()
        if getattr(layer, name, None) is not None
    }
    counted = values.get("num_batches_tracked", [getattr(layer, "num_batches_tracked", 0)])
    values["num_batches_tracked"] = np.array(counted).max().astype(np.int64)
    return values


def as_array(value: Any) -> np.ndarray:
    """A tensor of PyTorch, of any dtype and device, or an array, as an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return np.array(value)


def dtype_of(entries: dict[str, Any]) -> str | None:
    """The dtype of weights or statistics, as Keras calls it; None where there are none, or only whole numbers."""
    named = [entries[name] for name in ("weight", "bias", "running_mean") if name in entries]
    dtype = str(getattr(named[0], "dtype", "")).removeprefix("torch.") if named else ""
    return dtype if "float" in dtype else None
