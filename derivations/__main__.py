"""``python -m derivations``: derive the gradients, prove the functions that ship, judge a formula, bound rounding."""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from derivations import FAMILIES, WITHOUT_TENSORFLOW
from derivations.arguments import parser as parser_of_command
from derivations.check.tree import FormulaError
from derivations.check.verdict import judge
from derivations.claims import mutants, steps
from derivations.claims.claim import Claim, Disagreement, all_as_expected
from derivations.own_code.command import check_function, is_address
from derivations.own_code.refusal import NotUnderstood
from derivations.processes import APART, CLOSED_FORM, KERNELS, second_process
from derivations.quiet import held_stderr
from derivations.report import document, terminal

MOST_ELEMENTS = 20_000_000  # that fit into memory several times, in longer numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in (*_RUN, "-h", "--help"):
        given = ["prove", *given]
    if given[0] == "check":
        # A formula may begin with a minus, which argparse would take for an option.
        given = [f" {word}" if word.startswith("-") and word[:2] != "--" and word != "-h" else word for word in given]
    parser = parser_of_command()
    options = parser.parse_args(given)
    for name in ("json", "html", "markdown"):
        if (file := getattr(options, name, None)) is not None:
            _check_writable(parser, file)
    try:
        return _RUN[options.command](parser, options)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _prove(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    start = time.perf_counter()
    settled: list[Claim] = []
    for name, claims, verdicts in _settled(parser, options):
        _print(terminal.heading_text(terminal.TITLES[name], claims) + "\n")
        if name == "steps":
            _print(terminal.definitions_text(steps.definitions(), latex=options.latex) + "\n")
        for claim in verdicts:
            settled.append(claim)
            _print(terminal.claim_text(claim, len(settled), latex=options.latex, steps=options.steps))
        _print("")
    _print(terminal.summary_text(settled, time.perf_counter() - start))
    if options.json is not None:
        _write(parser, options.json, json.dumps(terminal.records(settled), indent=1, ensure_ascii=False))
    return 0 if all_as_expected(settled) else 1


def _list(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    for _, claims in _chosen(parser, _names(options)):
        for claim in claims:
            _print(f"{claim.identifier}\n    {claim.statement}")
    return 0


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.forward is not None and not options.forward.strip():
        parser.error("--forward is empty: write the forward pass, or leave --forward out for batch normalization's own")
    options.forward = options.forward or ""
    if options.elements and not options.forward:
        parser.error("--elements names letters of a forward pass of your own: give it by --forward")
    if is_address(options.formula):
        if options.target != "dx" or options.elements or options.weighted:
            parser.error("--target, --elements and --weighted are for formulas: of a function every gradient is judged")
        return _check_function(parser, options)
    if options.inputs or options.wrt:
        parser.error(
            f"{'--inputs' if options.inputs else '--wrt'} is for a function in a file: name it as FILE.py::FUNCTION"
        )
    if options.weighted and options.forward:
        parser.error("--weighted is for batch normalization's own forward pass: write the weights into --forward")
    try:
        judgement = judge(
            options.formula,
            options.target,
            weighted=options.weighted,
            forward=options.forward,
            elements=tuple(filter(None, re.split(r"[\s,]+", options.elements))),
        )
    except FormulaError as error:
        print(f"{parser.prog} check: error: {error.pointed()}", file=sys.stderr)
        return 2
    except Disagreement as error:
        print(f"{parser.prog} check: no verdict, since the proofs contradict each other: {error}", file=sys.stderr)
        return 3
    _print(judgement.text())
    return 0 if all_as_expected([judgement.claim]) else 1


def _check_function(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from rich.console import Console

    error = None
    with held_stderr(), Console().status(f"Proving {options.formula.strip()}"):
        try:
            text, status = check_function(options.formula, options.forward, options.inputs, options.wrt)
        except NotUnderstood as found:
            error = found
    if error is not None:
        print(f"{parser.prog} check: error: {error}", file=sys.stderr)
        return 2
    _print(text)
    return status


def _bound(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if not 1 <= options.elements <= MOST_ELEMENTS:
        parser.error(f"--elements must be from 1 to {MOST_ELEMENTS}. Received: {options.elements}")
    if not 0 <= options.ratio < 1e30:
        parser.error(f"--ratio is |mean|/std, at least 0 and below 1e30. Received: {options.ratio}")
    _progress("Importing keras_bn and TensorFlow …")
    with held_stderr():
        import keras_bn  # noqa: F401
    from derivations.check import rounding_errors

    request = rounding_errors.Request(
        options.elements, options.ratio, options.dtype, options.mask, options.jit_compile, options.engine
    )
    _progress("Tracing, and running on random data …")
    try:
        table = rounding_errors.table(request)
    except ValueError as error:
        parser.error(str(error))
    finally:
        _progress("")
    _print(table.text())
    return 0


def _report(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    settled = [claim for *_, verdicts in _settled(parser, options) for claim in verdicts]
    tallies = [] if options.no_mutants else mutants.tallies(_progress)
    _progress("")
    if options.html is None and options.markdown is None:
        _print(document.markdown(settled, tallies))
    for file, make in ((options.html, document.html), (options.markdown, document.markdown)):
        if file is not None:
            _write(parser, file, make(settled, tallies))
    return 0 if all_as_expected(settled) else 1


def _check_writable(parser: argparse.ArgumentParser, file: Path) -> None:
    """End with an error, before any work, where a file could not be written."""
    rule = f"cannot write {file}"
    if file.is_dir():
        parser.error(f"{rule}: it is a directory; name a file in it, such as {file / 'derivation'}")
    if not file.parent.is_dir():
        parser.error(f"{rule}: there is no directory {file.parent}; create it first")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        parser.error(f"{rule}: no permission; choose a place where you may write")


def _write(parser: argparse.ArgumentParser, file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        parser.error(f"cannot write {file}: {error.strerror}; choose another place")
    _print(f"Wrote {file} ({len(text.encode()) / 1000:.0f} kB).")


def _names(options: argparse.Namespace) -> list[str]:
    """The families and claims asked for."""
    return options.names or [name for name in FAMILIES if not (options.no_graphs and name == "graphs")]


def _settled(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> Iterator[tuple[str, list[Claim], Iterable[Claim]]]:
    """For each family asked for its name, its claims, and the same, settled one by one."""
    names = _names(options)
    families = dict.fromkeys(name.split(".")[0] for name in names)
    # Where single claims are named, the claims of that family are looked up one by one.
    whole = [family for family in families if not any(name.startswith(f"{family}.") for name in names)]
    apart = [name for name in APART if name in whole]
    apart = [CLOSED_FORM] if "graphs" in whole else apart if len(families) > len(apart) else []
    by_parts = {*apart, "graphs"} & {*whole}
    with second_process(apart) as settled:
        chosen = dict(_chosen(parser, [name for name in names if name not in by_parts]))
        for family in families:
            if family in chosen:
                yield family, chosen[family], map(_settle, chosen[family])
                continue
            kernels = settled(KERNELS, _progress) if family == "graphs" else []
            claims = settled(CLOSED_FORM if family == "graphs" else family, _progress) + kernels
            _progress("")
            yield family, claims, claims


def _settle(claim: Claim) -> Claim:
    _progress(claim.identifier)
    settled = claim.settle()
    _progress("")
    return settled


def _chosen(parser: argparse.ArgumentParser, names: Sequence[str]) -> list[tuple[str, list[Claim]]]:
    """The claims of these names, by family."""
    families = dict.fromkeys(name.split(".")[0] for name in names)
    if unknown := [name for name in families if name not in FAMILIES]:
        parser.error(f"there is no family {', '.join(unknown)}: choose from {', '.join(FAMILIES)}")
    chosen = []
    for family in families:
        try:
            claims = _claims(family)
        except ImportError as error:
            parser.exit(2, f"cannot import the functions to be proved: {error}\n")
        wanted = [claim for claim in claims if family in names or claim.identifier in names]
        missing = [n for n in names if n.split(".")[0] == family != n and n not in {c.identifier for c in claims}]
        if missing:
            parser.error(f"there is no claim {missing[0]}: `python -m derivations list {family}` lists them")
        chosen.append((family, wanted))
    return chosen


def _claims(family: str) -> list[Claim]:
    if family not in WITHOUT_TENSORFLOW and "keras_bn" not in sys.modules:
        _progress("Importing keras_bn and TensorFlow …")
    with held_stderr():
        claims: Iterable[Claim] = import_module(FAMILIES[family]).claims()
    return list(claims)


_RUN = {"prove": _prove, "list": _list, "check": _check, "bound": _bound, "report": _report}


def _progress(text: str) -> None:
    """A line that the next one replaces, for a person who waits."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a terminal without Greek letters shows question marks, no traceback
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        status = main()
    except BrokenPipeError:  # whoever read the output, such as head, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
