"""``python -m keras_bn convert|fold|recalibrate|inspect``: the model tools on files."""

import argparse
import json
import os
import re
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn.model_tools import copying_models, inspection
from keras_bn.model_tools.folding import fold
from keras_bn.model_tools.keras_conversion import check_options, convert, revert
from keras_bn.model_tools.recalibration import recalibrate
from keras_bn.progress import say, step

# What a user can mend; anything else is a defect, and shows its traceback.
_ERRORS = (ValueError, TypeError, OSError, ImportError, NotImplementedError, KeyError, tf.errors.OpError)


# Letters of an error message; a list of 50 layers, one a line, is within it.
LONGEST = 4000


class Outcome(NamedTuple):
    """How a subcommand ended; ``error`` is printed by the caller, which may hold back standard error meanwhile."""

    status: int
    error: str = ""


class _Usage(Exception):
    """Files are not there, or are there and must not be; or options are none."""


def run(options: argparse.Namespace) -> Outcome:
    """Run the subcommand of the options.

    Returns:
        Status 0; 1 if it failed, or nobody reads its output any more; 2 if files are not there, or are there and must
        not be, or cannot be written, or an option is none; 130 after Ctrl-C.
    """
    try:
        source = _existing(options.input)
        if options.subcommand == "inspect":
            return _inspect(_load(source))
        target = _target(options)
        if options.subcommand == "convert":
            _check_options(options)
        if options.subcommand == "recalibrate" and not options.data.is_file():
            raise _Usage(f"{options.data} is not there. Check the path.")
        model = _load(source)
        if not _examined(model):
            raise ValueError(f"{source} has no batch normalization. Nothing was written.")
        with warnings.catch_warnings(record=True) as notes, step(f"{options.subcommand.capitalize()} {model.name}"):
            warnings.simplefilter("always", UserWarning)
            model, lines = _ACTIONS[options.subcommand](model, options)
        for line in [*lines, *(f"Note: {note.message}" for note in notes if note.category is UserWarning)]:
            say(line)
        with step(f"Save {target}"):
            save(model, target, force=options.force)
        return Outcome(0)
    except KeyboardInterrupt:
        say("Interrupted; nothing was written.")
        return Outcome(130)
    except _Usage as error:
        return Outcome(2, str(error))
    except BrokenPipeError:
        # As `head` closes it. What Python still holds would break the pipe once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Outcome(1)
    except _ERRORS as error:
        return Outcome(1, _readable(str(error).strip() or type(error).__name__))


def _load(path: Path) -> keras.Model:
    with warnings.catch_warnings(), step(f"Load {path}"):
        # Keras' notes on files that hold no state of an optimizer, or an older one.
        warnings.simplefilter("ignore")
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is damaged, or is no file that Keras saved. Save the model again.")
        try:
            return keras.models.load_model(path, safe_mode=True)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is damaged: {error}. Save the model again.") from error
        except (ValueError, TypeError) as error:
            text = str(error)
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


def _readable(text: str) -> str:
    """A message without terminal codes, and without the arrays that some of Keras' messages print."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def save(model: keras.Model, path: Path, *, force: bool = False) -> None:
    """Save a model under ``path`` once it is written in full: to a temporary file beside it first.

    Raises:
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


def parse_options(texts: list[str]) -> dict[str, Any]:
    """Constructor arguments from NAME=VALUE texts; a value is JSON, or else a string.

    Raises:
        ValueError: there is no "=".
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(
                f"an option is NAME=VALUE. Received: --set {text}. For instance: --set engine=closed_form."
            )
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = {"None": None, "True": True, "False": False}.get(value, value)
    return options


def _check_options(options: argparse.Namespace) -> None:
    """Before the file is read."""
    if options.revert and options.set:
        raise _Usage(f"--revert takes no options. Received: --set {options.set[0]}. Leave out one of them.")
    if options.lossy and not options.revert:
        raise _Usage("--lossy is about --revert. Received: --lossy without it. Leave it out.")
    try:
        check_options(parse_options(options.set))
    except (TypeError, ValueError) as error:
        raise _Usage(f"--set: {error}") from error


def _convert(model: keras.Model, options: argparse.Namespace) -> tuple[keras.Model, list[str]]:
    new = revert(model, lossy=options.lossy) if options.revert else convert(model, **parse_options(options.set))
    rows, kind = _examined(new), "built-in" if options.revert else "ours"
    return new, [f"{sum(row.kind == kind for row in rows)} of {len(rows)} batch normalizations are {kind} now."]


def _fold(model: keras.Model, options: argparse.Namespace) -> tuple[keras.Model, list[str]]:
    new, report = fold(model, return_report=True)
    return new, [str(report)]


def _recalibrate(model: keras.Model, options: argparse.Namespace) -> tuple[keras.Model, list[str]]:
    data = load_inputs(options.data, options.key, model)
    samples = len(keras.tree.flatten(data)[0])
    samples = min(samples, (options.steps or samples) * options.batch_size)
    new = recalibrate(model, data, steps=options.steps, batch_size=options.batch_size)
    return new, [f"{len(_examined(new))} batch normalizations have the statistics of {samples} samples now."]


_ACTIONS = {"convert": _convert, "fold": _fold, "recalibrate": _recalibrate}


def _inspect(model: keras.Model) -> Outcome:
    rows = _examined(model)
    if not rows:
        say(f"{model.name} has no batch normalization.")
        return Outcome(0)
    say(inspection.table(rows))
    bad = [row for row in rows if row.verdict != "ok"]
    say(f"{len(rows)} batch normalizations, {len(rows) - len(bad)} of them ok")
    return Outcome(0)


def _examined(model: keras.Model) -> list[inspection.Health]:
    layers = [layer for layer in copying_models.all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    names = [layer.name for layer in layers]
    return [
        inspection.examine(layer, layer.name if names.count(layer.name) == 1 else layer.path)
        for layer in layers
        if layer.built
    ]


def _existing(path: Path) -> Path:
    if path.suffix != ".keras":
        raise _Usage(f"{path} must be a file in Keras' own format, *.keras. Load it in Python and save it as such.")
    if not path.is_file():
        raise _Usage(f"{path} is not there. Check the path.")
    return path


def _target(options: argparse.Namespace) -> Path:
    suffixes = {"convert": "reverted" if getattr(options, "revert", False) else "converted", "fold": "folded"}
    suffix = suffixes.get(options.subcommand, "recalibrated")
    path = options.output or options.input.with_name(f"{options.input.stem}_{suffix}.keras")
    if path.suffix != ".keras":
        raise _Usage(f"the result {path} must be named *.keras.")
    if path.is_dir():
        raise _Usage(f"{path} is a directory. Name a file.")
    if path.exists() and not options.force:
        raise _Usage(f"{path} exists. Pass --force to overwrite it, or name another file.")
    if not path.parent.is_dir():
        raise _Usage(f"the directory {path.parent} is not there. Make it first.")
    try:
        # Permission bits do not tell: the file system may be read-only, or full.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _Usage(f"cannot write to {path.parent}: {error.strerror}. Name a file in another directory.") from error
    return path
