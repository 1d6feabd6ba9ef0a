"""The storeys of ``derivations``: each folder imports only what is below it, and the two proofs share nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "derivations"
# From the ground up. Modules of ``derivations`` itself, such as the command, may import all of them.
STOREYS = ("notation", "normal_form", "prime_fields", "rounding", "graphs", "claims", "check", "own_code", "report")
# Walls besides: these do not import those, although they stand below or beside them.
WALLS = {
    "prime_fields": ("normal_form",),
    "normal_form": ("prime_fields",),
    "rounding": ("prime_fields",),
    "graphs.exact": ("graphs.symbolic", "normal_form"),
    "graphs.symbolic": ("graphs.exact", "prime_fields"),
    "own_code.algebra": ("own_code.symbolic", "own_code.exact", "own_code.graphs", "own_code.running"),
    "own_code.symbolic": ("own_code.exact", "own_code.graphs"),
    "own_code.exact": ("own_code.algebra", "own_code.symbolic", "own_code.graphs"),
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path


def imported(path: Path) -> Iterator[str]:
    """What a module imports of ``derivations``, by the names below it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "derivations":
            inner = ".".join((node.module or "").split(".")[1:])
            yield from (".".join(filter(None, (inner, alias.name))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full, so that they can be read and checked"
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("derivations.") for a in node.names if a.name.startswith("derivations."))


INSIDE = [(name, path) for name, path in modules() if name.split(".")[0] in STOREYS]


def test_every_folder_has_its_storey():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= set(STOREYS)


@pytest.mark.parametrize(("name", "path"), INSIDE, ids=[name for name, _ in INSIDE])
def test_a_storey_imports_only_what_is_below_it(name, path):
    height = STOREYS.index(name.split(".")[0])
    for other in imported(path):
        assert other.split(".")[0] in STOREYS[: height + 1], f"{name} imports {other}"
        for wall, beyond in WALLS.items():
            if name.startswith(f"{wall}."):
                assert not any(f"{other}.".startswith(f"{far}.") for far in beyond), f"{name} imports {other}"
