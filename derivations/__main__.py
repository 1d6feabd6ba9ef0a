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
from typing import NoReturn

from derivations import FAMILIES, WITHOUT_TENSORFLOW
from derivations.check.problems import TARGETS
from derivations.check.tree import FormulaError
from derivations.check.verdict import judge
from derivations.claims import mutants, steps
from derivations.claims.claim import Claim, Disagreement, all_as_expected
from derivations.own_code.command import check_function, is_address
from derivations.own_code.refusal import NotUnderstood
from derivations.processes import APART, CLOSED_FORM, FUSED, second_process
from derivations.quiet import held_stderr
from derivations.report import document, terminal

COMMANDS = ("prove", "list", "check", "bound", "report")
MOST_ELEMENTS = 20_000_000  # that fit into memory several times, in longer numbers
STATUS = (
    "Exit status: 0 if every verdict is as it should be, 1 if something is refuted or not proved, 2 for bad input, "
    "3 if the two proofs contradict each other."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in (*COMMANDS, "-h", "--help"):
        given = ["prove", *given]
    if given[0] == "check":
        # A formula may begin with a minus, which argparse would take for an option.
        given = [f" {word}" if word.startswith("-") and word[:2] != "--" and word != "-h" else word for word in given]
    parser = _parser()
    options = parser.parse_args(given)
    for name in ("json", "html", "markdown"):
        if (file := getattr(options, name, None)) is not None:
            _check_writable(parser, file)
    try:
        return options.run(parser, options)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m derivations",
        description="Derive the gradients of batch normalization for every batch size m, prove that keras_bn computes "
        "them, and judge formulas of your own. Each claim is settled twice, by a normal form of finite sums and by "
        "exact evaluation over prime fields. Without a subcommand, it runs prove.",
        epilog=f"{STATUS} Families: {', '.join(FAMILIES)}. `COMMAND --help` tells more.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    prove = commands.add_parser(
        "prove", help="settle claims, and print them by family, with every counterexample", epilog=STATUS
    )
    names = f"families ({', '.join(FAMILIES)}) or identifiers of claims; by default all claims"
    prove.add_argument("names", nargs="*", metavar="NAME", help=names)
    prove.add_argument("--steps", action="store_true", help="show the justification and the steps of each proof")
    prove.add_argument("--latex", action="store_true", help="print the equations in LaTeX")
    prove.add_argument("--json", type=Path, metavar="FILE", help="write the verdicts to FILE")
    prove.add_argument("--no-graphs", action="store_true", help="leave out the graphs that TensorFlow traces")
    prove.set_defaults(run=_prove)

    listing = commands.add_parser(
        "list",
        help="print the identifiers and statements of claims",
        description="Print the identifiers and statements of claims, without settling them.",
    )
    listing.add_argument("names", nargs="*", metavar="NAME", help=names)
    listing.set_defaults(run=_list, no_graphs=False)

    check = commands.add_parser(
        "check",
        help="judge a formula of your own",
        epilog="A formula consists of numbers, of x, delta (or dy, dout), x_hat, gamma, beta, mu, var, s (or inv_std, "
        "ivar), epsilon, m (or N), of + - * / ** and parentheses, of sum( ) and mean( ) over the batch, and of "
        "sqrt( ), square( ), var( ), std( ). NumPy's spelling is understood, such as np.sum(dout*xhat, axis=0) and "
        "x.mean(axis=0), and so are the symbols in which results are printed: δₖ, x̂, γ, μ, v, ε, Σⱼ, ·, −. Lines such "
        "as mu = mean(x); xmu = x - mu, separated by ; or newlines, are read as code. The line that is named like the "
        "target is judged, or else the last line. With --weighted there are also w, and W for the sum of all w, and "
        "mean( ) is the weighted mean. With --forward the names are x, delta, y and those of the forward pass. If a "
        "formula is not defined everywhere, it is proved where it takes roots of values ≥ 0 and divides by values ≠ 0. "
        "A formula that is defined nowhere is refused. " + STATUS,
    )
    check.add_argument("formula", metavar="FORMULA", help='such as "gamma*s*(delta - mean(delta))", or lines of code')
    check.add_argument(
        "--target",
        default="dx",
        help=f"the gradient that the formula should be: {', '.join(TARGETS)} (default: %(default)s); dmean and "
        "dvariance are the gradients of the statistics as the paper derives them, and dx_hat is that of the normalized "
        "input; with --forward, a target is d and a letter of the forward pass",
    )
    check.add_argument("--weighted", action="store_true", help="weight the mean and the variance by w")
    check.add_argument(
        "--forward",
        metavar="FORMULA",
        help='a forward pass of your own instead of batch normalization, such as "gamma*x/sqrt(mean(x**2) + epsilon)"',
    )
    check.add_argument(
        "--elements",
        metavar="NAMES",
        default="",
        help="the names in the forward pass, separated by commas, that have a value for each element, as x has; all "
        "other names are numbers",
    )
    check.add_argument(
        "--inputs",
        metavar="SHAPES",
        default="",
        help='the inputs of a function that FILE.py::FUNCTION names instead of a formula, such as "x: N D, gamma: D, '
        'beta: D"; --forward then names the forward function in the same file, and without --forward the function is '
        "one of TensorFlow",
    )
    check.set_defaults(run=_check)

    bound = commands.add_parser(
        "bound",
        help="print proved bounds on rounding errors, and measured errors",
        description="Print the proved bounds on the rounding errors of mean, variance, output and gradients in "
        "training, beside the errors that were measured on random data. The depth of the sums is read from the traced "
        "graph.",
        epilog="Exit status: 0 if the table was printed, 2 for bad input.",
    )
    bound.add_argument("--elements", type=_whole, default=100352, help="elements that share statistics (%(default)s)")
    bound.add_argument("--ratio", type=float, default=0.0, help="mean/std of the data (%(default)g)")
    bound.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)")
    bound.add_argument("--engine", choices=("closed_form", "fused"), default="closed_form", help="(%(default)s)")
    bound.add_argument("--mask", action="store_true", help="use a mask by which half of the elements count")
    bound.add_argument("--jit-compile", action="store_true", help="compile with XLA")
    bound.set_defaults(run=_bound)

    writing = commands.add_parser("report", help="write the whole derivation as a document", epilog=STATUS)
    writing.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page to FILE")
    writing.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write Markdown to FILE, or print it if you name no file"
    )
    writing.add_argument("--no-graphs", action="store_true", help="leave out the graphs that TensorFlow traces")
    writing.add_argument("--no-mutants", action="store_true", help="leave out the verdicts on mutants of the formulas")
    writing.set_defaults(run=_report, names=[])
    return parser


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
        return _check_function(parser, options)
    if options.inputs:
        parser.error("--inputs is for a function in a file: name it as FILE.py::FUNCTION")
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
    try:
        text, status = check_function(options.formula, options.forward, options.inputs)
    except NotUnderstood as error:
        print(f"{parser.prog} check: error: {error}", file=sys.stderr)
        return 2
    _print(text)
    return status


def _whole(text: str) -> int:
    """A whole number, also as 1e5.

    Raises:
        argparse.ArgumentTypeError: it is no whole number.
    """
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not number.is_integer():
        raise argparse.ArgumentTypeError(f"must be a whole number, such as 100352 or 1e5. Received: {text}")
    return int(text) if text.isdecimal() else int(number)


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
            fused = settled(FUSED, _progress) if family == "graphs" else []
            claims = settled(CLOSED_FORM if family == "graphs" else family, _progress) + fused
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
