"""``python -m tests.stamps``: mark the notebooks as made by the code that is here, right after they were executed.

Texts of notebooks are compared with what they give now. Pictures are not: they depend on the machine. Instead each
notebook says which code its pictures were made by, and a test finds those that are of another.
"""

import hashlib
import sys
from pathlib import Path

import nbformat

from tests.benchmarks import results

NOTEBOOKS = sorted((results.ROOT / "notebooks").glob("*.ipynb"))
KEY = "pictures_made_by"


def of(path: Path) -> str:
    """A short hash of what a notebook's pictures depend on: its cells, the helpers beside it, figures and engines."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    beside = [file.read_text(encoding="utf-8") for file in sorted(path.parent.glob("*.py"))]
    figures = [(path.parent / "benchmarks.json").read_text(encoding="utf-8")] if path.stem.startswith("4") else []
    return hashlib.sha256("\0".join([*cells, *beside, *figures, results.code()]).encode()).hexdigest()[:12]


def main() -> int:
    """Write the stamps into the notebooks."""
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata[KEY] = of(path)
        nbformat.write(notebook, path)
        print(f"{path.name}: {notebook.metadata[KEY]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
