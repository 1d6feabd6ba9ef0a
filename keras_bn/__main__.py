"""``python -m keras_bn``: the guided run, from the proof to a trained network."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from keras_bn.quiet import held_stderr

# What the guided run imports, and the name it is installed by.
OPTIONAL = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}
EPOCHS, QUICK_EPOCHS = 30, 5


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
    parser.set_defaults(command=guided_run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, or raises SystemExit(2) for arguments that will not do."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    return options.command(parser, options)


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
        from derivations.steps import numeric_gradients
        from keras_bn.guided_run.run import Options, run

        options = Options(
            output=arguments.output,
            epochs=arguments.epochs or (QUICK_EPOCHS if arguments.quick else EPOCHS),
            seed=arguments.seed,
            agreement_epochs=1 if arguments.quick else 2,
        )
        try:
            return 0 if run(options, _proofs(), numeric_gradients()) else 1
        except KeyboardInterrupt:
            print("Interrupted.", flush=True)
            return 130


def _proofs() -> Iterator:
    from derivations import prove
    from derivations.claim import Verdict
    from keras_bn.guided_run.run import Proof

    for claim in prove():
        settlement = claim.settlement
        yield Proof(
            identifier=claim.identifier,
            statement=claim.statement,
            verdict=str(claim.verdict),
            proved=claim.verdict is Verdict.PROVED,
            seconds=settlement.seconds if settlement else 0.0,
            line=claim.line(),
        )


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
