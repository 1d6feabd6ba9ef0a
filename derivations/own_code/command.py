"""``check FILE::FUNCTION``: the gradient of a function that stands in a file."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from derivations.own_code.prove import prove_gradient
from derivations.own_code.refusal import NotUnderstood

_ADDRESS = re.compile(r"(?P<file>.+\.py)::(?P<name>\w+)")


def is_address(text: str) -> bool:
    """Whether this is FILE::FUNCTION, and no formula."""
    return _ADDRESS.fullmatch(text.strip()) is not None


def check_function(address: str, forward: str, inputs: str) -> tuple[str, int]:
    """The verdict in words, and the exit status.

    Raises:
        NotUnderstood: there is no such function, or nothing can be proved of it.
    """
    found = _ADDRESS.fullmatch(address.strip())
    assert found is not None
    module = _loaded(Path(found["file"]))
    shapes = _shapes(inputs)
    function = _function(module, found["name"])
    if forward:
        proof = prove_gradient(_function(module, forward), function, inputs=shapes)
    else:
        proof = prove_gradient(function, inputs=shapes)
    return str(proof), 0 if proof else 1


def _loaded(file: Path) -> Any:
    if not file.is_file():
        raise NotUnderstood(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))  # for what it imports from beside it
    sys.modules.setdefault(file.stem, module)
    spec.loader.exec_module(module)
    return module


def _function(module: Any, name: str) -> Any:
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise NotUnderstood(f"there is no function {name}. There are {', '.join(functions) or 'none'}")
    return getattr(module, name)


def _shapes(text: str) -> dict[str, tuple[Any, ...]]:
    """ "x: N D, gamma: D" as a dictionary."""
    shapes: dict[str, tuple[Any, ...]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, lengths = part.partition(":")
        if not colon:
            raise NotUnderstood(f'--inputs is written as "x: N D, gamma: D". Received: {part!r}')
        words = lengths.split()
        shapes[name.strip()] = tuple(None if n in ("None", "?") else int(n) if n.isdigit() else n for n in words)
    if not shapes:
        raise NotUnderstood('name the inputs and their shapes: --inputs "x: N D, gamma: D"')
    return shapes
