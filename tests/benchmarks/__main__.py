"""``python -m tests.benchmarks``: batch normalization against its peers, on this machine."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_bn.quiet import quiet_import

PARTS = ("speed", "memory", "accuracy", "models")
# With these the C library keeps what was freed, for the next pass: no page is fetched anew from the system.
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "1000000000"}


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts asked for; 0 if all contenders agree, 1 if results differ, 2 for bad input."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for path in (options.json, options.plot):
        if path is not None and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent} to write {path} into")
    with quiet_import():
        import tensorflow as tf

        from tests.benchmarks import accuracy, machine, memory, models, speed

        modules = {"speed": speed, "memory": memory, "accuracy": accuracy, "models": models}
    tf.get_logger().setLevel("ERROR")  # it advises against one function a contender
    results: dict[str, Any] = machine.description()
    kept = {name: os.environ[name] for name in KEEPS_MEMORY if name in os.environ}
    if kept:
        results["allocator"] = kept
    _say(f"{results['machine']['processor']}, {results['machine']['cores']} cores, {results['machine']['versions']}")
    for part in options.parts or PARTS:
        _say(f"\n{part}: {(modules[part].__doc__ or '').split(': ', 1)[1].strip()}")
        try:
            results[part] = modules[part].measure(quick=options.quick, say=_say)
        except AssertionError as error:
            print(f"results differ: {error}", file=sys.stderr)
            return 1
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _say(f"\nwrote {options.json}")
    if options.plot is not None:
        from tests.benchmarks import drawing

        for path in drawing.draw(results, options.plot):
            _say(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    settings = " ".join(f"{name}={value}" for name, value in KEEPS_MEMORY.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Batch normalization against its peers, on this machine: contenders take turns in one process, "
        "their results are compared before they are timed, and medians, ratios and quartiles are reported.",
        epilog="PyTorch, as TensorFlow, allocates and frees large tensors in every pass; what that costs is up to the "
        f"C library. To measure without: {settings} python -m tests.benchmarks speed",
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="|".join(PARTS), help="all by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw them into this folder")
    parser.add_argument("--quick", action="store_true", help="small cases and few rounds: a test of the benchmark")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
