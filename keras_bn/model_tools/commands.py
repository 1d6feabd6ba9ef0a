"""``python -m keras_bn convert|fold|recalibrate|inspect``: the model tools on files."""

import argparse
import json
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_bn.model_tools import copying_models, inspection, model_files
from keras_bn.model_tools.folding import fold
from keras_bn.model_tools.keras_conversion import check_options, convert, revert
from keras_bn.model_tools.recalibration import recalibrate
from keras_bn.progress import say, step
from keras_bn.untracked import is_batch_normalization

# Options that change what a layer computes in inference.
_CHANGING = {"epsilon", "dtype", "statistics"}
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
            return _inspect(_built(_load(source), source))
        target = _target(options)
        if options.subcommand == "convert":
            _check_options(options)
        if options.subcommand == "recalibrate" and not options.data.is_file():
            raise _Usage(f"{options.data} is not there. Check the path.")
        model = _built(_load(source), source)
        if not _examined(model):
            raise ValueError(f"{source} has no batch normalization. Nothing was written.")
        with warnings.catch_warnings(record=True) as notes, step(f"{options.subcommand.capitalize()} {model.name}"):
            warnings.simplefilter("always", UserWarning)
            new, lines = _ACTIONS[options.subcommand](model, options)
        for line in [*lines, *(f"Note: {note.message}" for note in notes if note.category is UserWarning)]:
            say(line)
        # What must not change does not: outputs in inference, unless an option says so.
        changes = _CHANGING & parse_options(getattr(options, "set", [])).keys()
        reference = new if changes or options.subcommand == "recalibrate" else model
        with step(f"Save {target}") as saving:
            difference = model_files.save(new, target, reference, force=options.force)
            compared = "not compared: which inputs it takes is not known"
            saving.result = f"({compared if difference is None else f'outputs are equal to {difference:.0e}'})"
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
    except model_files.ERRORS as error:
        return Outcome(1, _readable(str(error).strip() or type(error).__name__))


def _load(path: Path) -> keras.Model:
    with step(f"Load {path}"):
        return model_files.load(path)


def _built(model: keras.Model, source: Path) -> keras.Model:
    if not model.built:
        raise ValueError(f"{source} holds a model that is not built. Call it on data once, and save it again.")
    return model


def _readable(text: str) -> str:
    """A message without terminal codes, and without the arrays that some of Keras' messages print."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


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
    number = sum(row.kind.partition(" + ")[0] == kind for row in rows)
    return new, [f"{number} of {len(rows)} batch normalizations are {kind} now."]


def _fold(model: keras.Model, options: argparse.Namespace) -> tuple[keras.Model, list[str]]:
    new, report = fold(model, return_report=True)
    return new, [str(report)]


def _recalibrate(model: keras.Model, options: argparse.Namespace) -> tuple[keras.Model, list[str]]:
    data = model_files.load_inputs(options.data, options.key, model)
    samples = len(keras.tree.flatten(data)[0])
    samples = min(samples, (options.steps or samples) * options.batch_size)
    new = recalibrate(model, data, steps=options.steps, batch_size=options.batch_size)
    number = sum(is_batch_normalization(layer) and layer.built for layer in copying_models.all_layers(new))
    return new, [f"{number} batch normalizations have the statistics of {samples} samples now."]


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
    if path.is_dir():
        raise _Usage(f"{path} is a directory. Name a file.")
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
