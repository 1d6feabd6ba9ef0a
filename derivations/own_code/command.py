"""``check FILE::FUNCTION``: the gradient of a function that stands in a file."""

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from derivations.own_code.prove import prove_gradient
from derivations.own_code.refusal import NotUnderstood

_ADDRESS = re.compile(r"(?P<file>.+\.py)::(?P<name>\w+)")


def is_address(text: str) -> bool:
    """Whether this is FILE::FUNCTION, and no formula."""
    return _ADDRESS.fullmatch(text.strip()) is not None


def check_function(address: str, forward: str, inputs: str, wrt: str = "") -> tuple[str, int]:
    """The verdict in words, and the exit status.

    wrt: the inputs whose gradients are judged, separated by commas; all if there are none.

    Raises:
        NotUnderstood: there is no such function, or nothing can be proved of it.
    """
    found = _ADDRESS.fullmatch(address.strip())
    assert found is not None
    module = _loaded(Path(found["file"]))
    shapes = _shapes(inputs)
    function = _function(module, found["name"])
    functions = (_function(module, forward), function) if forward else (function,)
    judged = [name.strip() for name in wrt.split(",")] if wrt else None
    try:
        proof = prove_gradient(*functions, inputs=shapes, wrt=judged)
    except NotUnderstood:
        raise
    except Exception as error:
        alone = "" if forward else ". A NumPy function is given with its forward pass: --forward NAME"
        raised = f"{_line(error, found['file'])} raised {type(error).__name__}: {error}"
        raise NotUnderstood(f"{raised}{alone}") from error
    return str(proof), 0 if proof else 1


def _line(error: Exception, file: str) -> str:
    """``file:line`` of this file at which an error arose."""
    name = Path(file).name
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == name]
    return f"{name}:{lines[-1]}" if lines else "the code"


def _loaded(file: Path) -> Any:
    if not file.is_file():
        raise NotUnderstood(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))  # for what it imports from beside it
    sys.modules.setdefault(file.stem, module)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise NotUnderstood(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _function(module: Any, name: str) -> Any:
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise NotUnderstood(f"there is no function {name}. There are {', '.join(functions) or 'none'}")
    return getattr(module, name)


def _is_size(word: str) -> bool:
    return word == "?" or word.isidentifier() or (word.isascii() and word.isdigit())


def _shapes(text: str) -> dict[str, tuple[Any, ...]]:
    """ "x: N D, gamma: D" as a dictionary."""
    shapes: dict[str, tuple[Any, ...]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, lengths = (piece.strip() for piece in part.partition(":"))
        words = lengths.split()
        if not colon or not name.isidentifier() or not all(map(_is_size, words)):
            raise NotUnderstood(f'--inputs is written as "x: N D, gamma: D". Received: {part!r}')
        if name in shapes:
            raise NotUnderstood(f"--inputs names an input once. Received: {name!r} twice")
        shapes[name] = tuple(None if n in ("None", "?") else int(n) if n.isdigit() else n for n in words)
    if not shapes:
        raise NotUnderstood('name the inputs and their shapes: --inputs "x: N D, gamma: D"')
    return shapes
