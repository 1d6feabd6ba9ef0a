"""Files of models and of their inputs: what can be read is read without running code, what is written is read back."""

import json
import os
import re
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bn.model_tools.comparison import TOLERANCE, largest_difference

# What a user can mend; anything else is a defect, and shows its traceback.
ERRORS = (ValueError, TypeError, OSError, ImportError, NotImplementedError, KeyError, tf.errors.OpError)


def load(path: Path) -> keras.Model:
    """A model from a file.

    Raises:
        ValueError: the file is damaged, holds Python code, or needs classes that are not known here.
    """
    with warnings.catch_warnings():
        # Keras' notes on files that hold no state of an optimizer, or an older one.
        warnings.simplefilter("ignore")
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is damaged, or is no file that Keras saved. Save the model again.")
        try:
            return keras.models.load_model(path, safe_mode=True)
        except (zipfile.BadZipFile, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is damaged: {error}. Save the model again.") from error
        except (ValueError, TypeError, KeyError, OSError) as error:
            text = str(error)
            # What the archive, and HDF5 in it, say where a part is missing or is none of theirs.
            if any(part in text for part in ("in the archive", "model.weights.h5", "file signature not found")):
                raise ValueError(f"{path} is damaged: {text}. Save the model again.") from error
            if "safe_mode" in text or "unsafe_deserialization" in text:
                raise ValueError(
                    f"{path} holds Python code, as a Lambda layer does, and these commands run none from files. If you "
                    "trust it, load it in Python with safe_mode=False, and call the function of keras_bn there."
                ) from error
            if unknown := re.search(r"Could not locate (class|function) '(.*?)'", text):
                raise ValueError(
                    f"{path} needs {unknown[1]} {unknown[2]!r}, which only your code defines. Load the model in "
                    "Python, where it is defined, and call the function of keras_bn there."
                ) from error
            raise


def save(model: keras.Model, path: Path, reference: keras.Model, *, force: bool = False) -> float | None:
    """Save a model under ``path`` once it is written in full, to a temporary file beside it, and read back from there.

    Returns:
        By how much the outputs of the file differ from those of ``reference`` on random inputs, relative to their size;
        None if they could not be compared.

    Raises:
        ValueError: the file cannot be read back, or does not compute what ``reference`` computes.
        FileExistsError: there is such a file, and not ``force``.
        OSError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as directory:
        temporary = Path(directory) / path.name
        try:
            model.save(temporary)
        except OSError as error:
            # Under the name that the user gave.
            reason = (error.strerror or str(error)).replace(str(temporary), str(path))
            raise OSError(f"{path} could not be written: {reason}.") from error
        try:
            difference = largest_difference(reference, load(temporary))
        except ERRORS as error:
            raise ValueError(f"the result cannot be read back from a file, and is not kept: {error}") from error
        if difference is not None and not difference <= TOLERANCE:
            raise ValueError(
                f"the result does not compute what {reference.name} does: on random inputs, its outputs are off by "
                f"{difference:.1e} of their size. Nothing was written. Some layer keeps what neither its get_config() "
                "nor its save_own_variables() and save_assets() tell."
            )
        _put(temporary, path, force=force)
        return difference


def _put(temporary: Path, path: Path, *, force: bool) -> None:
    if force:
        os.replace(temporary, path)
        return
    try:
        # Fails if a file of that name came about meanwhile, which replacing it would not.
        os.link(temporary, path)
    except FileExistsError as error:
        raise FileExistsError(f"{path} exists. Pass --force to overwrite it.") from error
    except OSError:
        # A file system without hard links.
        if path.exists():
            raise FileExistsError(f"{path} exists. Pass --force to overwrite it.") from None
        os.replace(temporary, path)


def load_inputs(path: Path, key: str | None, model: keras.Model) -> Any:
    """The inputs of a model from an NPZ file, never from a pickle.

    ``key`` names the array; else inputs are matched by name, or a model with one input takes "x", or the only array.

    Raises:
        ValueError: this is no NPZ file, or its arrays are of objects, do not tell which is which, or do not fit.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an NPZ file, and is none or damaged. Write it with numpy.savez(file, x=…).")
    with np.load(path, allow_pickle=False) as file:
        names = [tensor.name for tensor in model.inputs] if getattr(model, "inputs", None) else []
        if key is None and len(names) > 1:
            missing = [name for name in names if name not in file.files]
            if missing:
                raise ValueError(f"{path} must have an array for each input, {names}. Received: {file.files}.")
            found = {
                tensor.name: _fitting(file, path, tensor.name, tensor.shape[1:], tensor.dtype)
                for tensor in model.inputs
            }
            return found if isinstance(model.input, dict) else [found[name] for name in names]
        candidates = [key] if key is not None else [*names, "x", *(file.files if len(file.files) == 1 else [])]
        chosen = next((name for name in candidates if name in file.files), None)
        if chosen is None:
            raise ValueError(f"name the array of inputs with --key. Received: --key {key}; {path} has {file.files}.")
        shape, dtype = (model.inputs[0].shape[1:], model.inputs[0].dtype) if names else (None, "float32")
        return _fitting(file, path, chosen, shape, dtype)


def _fitting(file: Any, path: Path, name: str, shape: tuple[int | None, ...] | None, dtype: str) -> np.ndarray:
    """An array of the file, once it is found to be what an input of this shape and dtype takes."""
    try:
        array: np.ndarray = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            f"{name} in {path} holds Python objects, which are pickled; pickles are never loaded (allow_pickle=False). "
            "Save plain arrays of numbers."
        ) from error
    if dtype != "string" and array.dtype.kind not in "biuf":
        raise ValueError(f"{name} in {path} must hold numbers. Received: dtype={array.dtype}.")
    if shape is not None and not (
        array.ndim == len(shape) + 1
        and all(size in (None, given) for size, given in zip(shape, array.shape[1:], strict=True))
    ):
        expected = ", ".join(["samples", *("any" if size is None else str(size) for size in shape)])
        raise ValueError(f"{name} in {path} must have the shape ({expected}). Received: {array.shape}.")
    return array
