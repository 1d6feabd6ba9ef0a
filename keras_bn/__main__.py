"""``python -m keras_bn``: the guided run, from the proof to a trained network; and the model tools on files."""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

import keras_bn
from derivations.quiet import held_stderr

# What the guided run imports, and the name it is installed by.
OPTIONAL = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}
EPOCHS, QUICK_EPOCHS = 30, 5
TOOLS = ("convert", "fold", "recalibrate", "inspect")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def make_parser() -> Parser:
    parser = Parser(
        prog="python -m keras_bn",
        description=(
            "Prove the gradients of batch normalization for every batch size, check the layer against three "
            "independent oracles, train two networks on handwritten digits with our layer, with Keras' built-in one "
            "and without, and draw the curves. Takes about a minute on two cores."
        ),
        epilog="Exit status: 0 if every proof and check held, 1 if one did not, 2 if the run could not start.",
    )
    _add_options(parser)
    subparsers = parser.add_subparsers(
        title="tools for saved models", metavar="COMMAND", dest="subcommand", parser_class=Parser
    )
    convert = _add_tool(subparsers, "convert", "replace Keras' built-in batch normalization by ours, or the other way")
    convert.add_argument("--revert", action="store_true", help="from our layer back to the built-in one")
    convert.add_argument("--lossy", action="store_true", help="with --revert: leave out what inference does not need")
    convert.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a constructor argument in every layer, as engine=closed_form or virtual_batch_size=32",
    )
    _add_tool(subparsers, "fold", "fold batch normalization into the linear layers beside it, for inference")
    recalibrate = _add_tool(subparsers, "recalibrate", "take the moving statistics from a data set")
    recalibrate.add_argument(
        "--data", type=Path, required=True, metavar="FILE.npz", help="inputs, written by numpy.savez"
    )
    recalibrate.add_argument("--key", metavar="NAME", help='the array of inputs in it (default: "x", or the only one)')
    recalibrate.add_argument("--batch-size", type=_positive, default=32, metavar="N", help="(default: %(default)s)")
    recalibrate.add_argument("--steps", type=_positive, metavar="N", help="how many batches to take (default: all)")
    _add_tool(subparsers, "inspect", "print a table of all batch normalizations and their health", writes=False)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the guided run."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("keras_bn_results"),
        metavar="DIR",
        help="directory for training.png and results.json, made if missing (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=_positive,
        metavar="N",
        help=f"epochs of training (default: {EPOCHS}, with --quick {QUICK_EPOCHS})",
    )
    parser.add_argument(
        "--seed",
        type=_not_negative,
        default=0,
        metavar="N",
        help="seed of weights, order of the data and inputs of the checks (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="half a minute: fewer epochs, a shorter comparison with the built-in layer"
    )
    parser.add_argument("--verbose", action="store_true", help="print every equation that is proved")
    parser.set_defaults(command=guided_run)


def _add_tool(subparsers: Any, name: str, text: str, *, writes: bool = True) -> argparse.ArgumentParser:
    tool = subparsers.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog="Exit status: 0, 1 on failure, 2 for usage.",
    )
    tool.add_argument("input", type=Path, metavar="IN.keras")
    if writes:
        tool.add_argument(
            "output",
            type=Path,
            nargs="?",
            metavar="OUT.keras",
            help="where to save (default: beside IN, with a suffix)",
        )
        tool.add_argument("--force", action="store_true", help="overwrite OUT.keras if it exists")
    tool.set_defaults(command=model_tool)
    return tool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, or raises SystemExit(2) for arguments that will not do."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = make_parser()
    if not set(TOOLS) & set(words):
        # argparse would take the value of an option that it does not know for the name of a tool.
        guided = Parser(prog=parser.prog, add_help=False)
        _add_options(guided)
        _, unknown = guided.parse_known_args(words)
        if strange := [word for word in unknown if word.startswith("-") and word not in ("-h", "--help")]:
            parser.error(f"unrecognized arguments: {' '.join(strange)}")
    options = parser.parse_args(words)
    return options.command(parser, options)


def model_tool(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run one of the tools for saved models.

    Returns:
        The exit status: 0, or 130 after Ctrl-C.

    Raises:
        SystemExit: 1, if it failed; 2, if a file is not there, or must not be overwritten.
    """
    with _tensorflow():
        from keras_bn.model_tools import commands

        outcome = commands.run(arguments)
    if outcome.error:
        parser.exit(outcome.status, f"{parser.prog} {arguments.subcommand}: error: {outcome.error}\n")
    return outcome.status


def guided_run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Prove, check, train, draw.

    Returns:
        The exit status: 0 if every proof and check held, 1 if one did not, 130 after Ctrl-C.

    Raises:
        SystemExit: 2, if a package is missing or the directory cannot be written to.
    """
    missing = [name for module, name in OPTIONAL.items() if find_spec(module) is None]
    if missing:
        parser.error(f"{' and '.join(missing)} missing. Install with: python -m pip install {' '.join(missing)}")
    _make_writable(parser, arguments.output)
    # Before SymPy is imported, which takes a moment.
    print(f"Prove, check, train and draw; the results go to {arguments.output}.\n", flush=True)
    with held_stderr():
        from derivations.claims.steps import numeric_gradients
        from keras_bn.guided_run.run import Options, run

        options = Options(
            output=arguments.output,
            epochs=arguments.epochs or (QUICK_EPOCHS if arguments.quick else EPOCHS),
            seed=arguments.seed,
            agreement_epochs=1 if arguments.quick else 2,
            verbose=arguments.verbose,
        )
        try:
            return 0 if run(options, _families(), numeric_gradients()) else 1
        except KeyboardInterrupt:
            print("Interrupted.", flush=True)
            return 130


@contextmanager
def _tensorflow() -> Iterator[None]:
    """Import TensorFlow and the whole of the package, and let TensorFlow write nothing meanwhile."""
    with held_stderr():
        with Console().status("Loading TensorFlow"):
            importlib.reload(keras_bn)  # which skipped its imports when python -m looked for this command
        yield


def _families() -> Iterator:
    """What ``derivations`` claims and ought to prove, by family."""
    from derivations import BY_NAME_ONLY, FAMILIES
    from derivations.claims.claim import Claim, Verdict
    from derivations.report.terminal import TITLES
    from keras_bn.guided_run.run import Family, Proof

    def proof(claim: Claim) -> Proof:
        settled = claim.settle()
        return Proof(
            identifier=claim.identifier,
            statement=claim.statement,
            verdict=str(settled.verdict),
            proved=settled.verdict is Verdict.PROVED,
            seconds=settled.settlement.seconds if settled.settlement else 0.0,
            line=settled.line(),
        )

    for name in FAMILIES:
        if name not in BY_NAME_ONLY:
            claims = list(importlib.import_module(FAMILIES[name]).claims())
            yield Family(TITLES[name], len(claims), map(proof, claims))


def _make_writable(parser: argparse.ArgumentParser, directory: Path) -> None:
    """Make the directory, and leave by the parser's error unless a file can be written there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Permission bits do not tell: the file system may be read-only, or full.
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        parser.error(f"cannot write to {directory}: {error.strerror}. Choose another directory with --output DIR.")


def _positive(text: str) -> int:
    return _whole_number(text, 1)


def _not_negative(text: str) -> int:
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least {least}. Received: {text}")
    return number


if __name__ == "__main__":
    # A terminal that cannot show Greek letters shall show question marks, not a traceback.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
