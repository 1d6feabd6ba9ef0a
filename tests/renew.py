"""``python -m tests.renew``: make anew all that is committed and made by the code.

That is the report of the claims, the figures of the benchmark with their pictures, the notebooks, and the tables in the
pages. The tests find what the present code would not give.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = "notebooks/benchmarks.json"
PARTS = ("report", "benchmarks", "notebooks", "tables")


def commands(part: str) -> Iterator[list[str]]:
    """The commands that renew a part, to be run in the root of the checkout."""
    if part == "report":
        yield ["-m", "pytest", "-q", "--update", "tests/test_report.py::test_the_committed_report_is_up_to_date"]
    elif part == "benchmarks":
        yield ["-m", "tests.benchmarks", "--json", FIGURES, "--plot", "notebooks/pictures"]
        # By one thread, what is small enough for one.
        one = ["--threads", "1", "--models", "MobileNetV2", "ResNet50 8×64×64", "small CNN", "dense 128"]
        yield ["-m", "tests.benchmarks", "steps", *one, "--json", FIGURES]
    elif part == "notebooks":
        for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
            run = ["--to", "notebook", "--execute", "--inplace", "--ClearMetadataPreprocessor.enabled=True"]
            run.append("--ClearMetadataPreprocessor.clear_notebook_metadata=False")
            yield ["-m", "nbconvert", *run, str(notebook.relative_to(ROOT))]
        yield ["-m", "tests.stamps"]
    else:
        yield [
            "-m",
            "pytest",
            "-q",
            "--update",
            "tests/test_documentation.py",
            "tests/test_benchmarks.py",
            "-k",
            "table",
        ]


def main(arguments: list[str] | None = None) -> int:
    """Renew the parts asked for; the status of the first command that fails, or 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.renew", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="|".join(PARTS), help="all by default")
    parts = parser.parse_args(arguments).parts
    for part in [name for name in PARTS if name in parts] or PARTS:
        for command in commands(part):
            print(f"\n== python {' '.join(command)}", flush=True)
            # The notebooks run in their own folder.
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            status = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=False).returncode
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
