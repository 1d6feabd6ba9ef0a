"""Figures in a file: what they were measured on, and how a part of them is measured anew."""

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
# What computes, and so decides how fast and how exact that is.
MEASURED = ("keras_bn/engines/*.py", "keras_bn/formulas/*.py", "keras_bn/batch.py", "keras_bn/functional.py")
# What tells one record of a part from another; all but what was measured.
KEYS = ("model", "case", "shape", "mode", "step", "threads", "dtype", "contender", "mean_over_std")


def code(root: Path | None = None) -> str:
    """A short hash of what is measured: of its statements, not of comments, docstrings or layout.

    Of this checkout, or of another.
    """
    root = root or ROOT
    digest = hashlib.sha256()
    for pattern in MEASURED:
        for path in sorted(root.glob(pattern)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list) and body and _is_text(body[0]):
                    del body[0]
            digest.update(f"{path.relative_to(root)}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:12]


def write(path: Path, new: dict[str, Any]) -> dict[str, Any]:
    """Write results, and return all that is in the file then.

    Of what is there and comes from the same code and machine, all that was not measured anew stays: a benchmark can be
    run in pieces.
    """
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if all(old.get(key) == new.get(key) for key in ("code", "machine", "allocator")):
        new = {**old, **{part: _merged(old.get(part), value) for part, value in new.items()}}
    _save(path, new)
    return new


def write_comparison(path: Path, comparison: dict[str, Any]) -> None:
    """Write beside the figures of a file how the present code compares with the one they were measured with.

    Raises:
        ValueError: the comparison is with another code.
    """
    old = json.loads(path.read_text(encoding="utf-8"))
    if old["code"] != comparison["with"]:
        raise ValueError(
            f"the figures in {path} were measured with the code {old['code']}. Received: a comparison with "
            f"{comparison['with']}. Check out the commit that renewed the figures, and compare with that."
        )
    _save(path, {**old, "comparison": comparison})


def are_of_the_code(measured: dict[str, Any]) -> bool:
    """Whether figures were measured with the present code, or with one that it was compared with."""
    comparison = measured.get("comparison", {})
    compared = comparison.get("with") == measured["code"] and comparison.get("code") == code()
    return measured["code"] == code() or compared


def _save(path: Path, figures: dict[str, Any]) -> None:
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, list) and isinstance(new, list)):
        return new
    measured = {_key(record): record for record in new}
    renewed = [measured.pop(_key(record), record) for record in old]
    return renewed + list(measured.values())


def _key(record: dict[str, Any]) -> str:
    return json.dumps({key: record[key] for key in KEYS if key in record})


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
