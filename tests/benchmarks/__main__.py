"""``python -m tests.benchmarks``: batch normalization against its peers, on this machine."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from derivations.quiet import held_stderr
from tests.benchmarks.results import code, write, write_comparison

PARTS = ("steps", "step-memory", "speed", "memory", "accuracy")
# With these the C library keeps what was freed, for the next pass: no page is fetched anew from the system.
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "1000000000"}


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts asked for; 0 if all contenders agree, 1 if results differ, 2 for bad input."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for path in (options.json, options.plot):
        if path is not None and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent} to write {path} into")
    with held_stderr():
        import tensorflow as tf

        from tests.benchmarks import accuracy, machine, memory, networks, speed, step_memory, steps

        modules = {"steps": steps, "step-memory": step_memory, "speed": speed, "memory": memory, "accuracy": accuracy}
    tf.get_logger().setLevel("ERROR")  # it advises against one function a contender
    if options.threads:
        machine.use_threads(options.threads)
    if options.compare is not None:
        return _compare(parser, options)
    selected = {
        "steps": _selected(parser, options, networks.NETWORKS, networks.CONTENDERS),
        "speed": {"cases": _named(parser, "--cases", options.cases, speed.CASES)} if options.cases else {},
    }
    results: dict[str, Any] = {**machine.description(), "code": code()}
    kept = {name: os.environ[name] for name in KEEPS_MEMORY if name in os.environ}
    if kept:
        results["allocator"] = kept
    _say(f"{results['machine']['processor']}, {results['machine']['cores']} cores, {results['machine']['versions']}")
    for part in options.parts or PARTS:
        _say(f"\n{part}: {(modules[part].__doc__ or '').split(': ', 1)[1].strip()}")
        try:
            own = selected.get(part, {})
            results[part] = modules[part].measure(quick=options.quick, say=_say, **own)
        except AssertionError as error:
            print(f"results differ: {error}", file=sys.stderr)
            return 1
    if options.json is not None:
        results = write(options.json, results)
        _say(f"\nwrote {options.json}")
    if options.plot is not None:
        from tests.benchmarks import drawing

        for path in drawing.draw(results, options.plot):
            _say(f"wrote {path}")
    return 0


def _compare(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from tests.benchmarks import comparison, networks, timing

    if not (options.compare / "keras_bn" / "__init__.py").is_file():
        parser.error(f"--compare takes the folder of another checkout. Received: {options.compare}")
    if options.contenders or (options.json and (options.models or (options.rounds or timing.ROUNDS) < timing.ROUNDS)):
        parser.error("--compare has its own contenders; with --json it takes all networks, and no fewer rounds")
    own = _selected(parser, options, networks.NETWORKS, networks.CONTENDERS)
    try:
        found = comparison.measure(options.compare, say=_say, models=own.get("models"), rounds=own.get("rounds"))
        if options.json is not None:
            write_comparison(options.json, found)
            _say(f"wrote {options.json}")
    except AssertionError as error:
        print(f"results differ: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        parser.error(str(error))
    return 0


def _selected(
    parser: argparse.ArgumentParser, options: argparse.Namespace, models: list[Any], contenders: tuple[str, ...]
) -> dict[str, Any]:
    """The networks, contenders and rounds asked for; what was not asked for is left out."""
    selected: dict[str, Any] = {}
    if options.models:
        selected["models"] = _named(parser, "--models", options.models, models)
    if options.contenders:
        unknown = [name for name in options.contenders if name not in contenders]
        if unknown:
            parser.error(f"no contender is called {unknown[0]!r}; they are {', '.join(map(repr, contenders))}")
        # The built-in layer is what all are compared with.
        selected["contenders"] = tuple(dict.fromkeys((contenders[0], *options.contenders)))
    if options.rounds:
        selected["rounds"] = options.rounds
    return selected


def _named(parser: argparse.ArgumentParser, option: str, words: list[str], known: list[Any]) -> list[Any]:
    """Those of the known that have one of the words in their name."""
    for word in words:
        if not any(word.lower() in one.name.lower() for one in known):
            parser.error(f"{option}: no name has {word!r} in it: {', '.join(one.name for one in known)}")
    return [one for one in known if any(word.lower() in one.name.lower() for word in words)]


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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures; what else is in it stays")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw them into this folder")
    parser.add_argument("--models", nargs="+", metavar="WORD", help="steps: networks with such a word in their name")
    parser.add_argument("--cases", nargs="+", metavar="WORD", help="speed: cases with such a word in their name")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="steps: these beside the built-in layer")
    parser.add_argument("--rounds", type=int, metavar="N", help="steps: how often each contender has a turn")
    parser.add_argument(
        "--compare", type=Path, metavar="DIR", help="instead, steps with this code and that of another checkout"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="let TensorFlow and PyTorch use so many")
    parser.add_argument("--quick", action="store_true", help="small cases and few rounds: a test of the benchmark")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
