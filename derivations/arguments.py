"""What ``python -m derivations`` takes: its commands, their options, and the help that suffices to use them."""

import argparse
from pathlib import Path
from typing import NoReturn

from derivations import FAMILIES
from derivations.check.problems import TARGETS

STATUS = (
    "Exit status: 0 if every verdict is as it should be, 1 if something is refuted or not proved, 2 for bad input, "
    "3 if the two proofs contradict each other."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the command; ``command`` is the name of what is to be run."""
    whole = _Parser(
        prog="python -m derivations",
        description="Derive the gradients of batch normalization for every batch size m, prove that keras_bn computes "
        "them, and judge formulas of your own. Each claim is settled twice, by a normal form of finite sums and by "
        "exact evaluation over prime fields. Without a subcommand, it runs prove.",
        epilog=f"{STATUS} Families: {', '.join(FAMILIES)}. `COMMAND --help` tells more.",
    )
    commands = whole.add_subparsers(required=True, dest="command", metavar="COMMAND", parser_class=_Parser)

    prove = commands.add_parser(
        "prove",
        help="settle claims, and print them by family, with every counterexample",
        description="Settle claims by both proofs, and print them by family. Without a name it settles everything, "
        "which takes a minute; `prove steps` takes a second.",
        epilog=STATUS,
    )
    names = f"families ({', '.join(FAMILIES)}) or identifiers of claims; by default all claims"
    prove.add_argument("names", nargs="*", metavar="NAME", help=names)
    prove.add_argument("--steps", action="store_true", help="show the justification and the steps of each proof")
    prove.add_argument("--latex", action="store_true", help="print the equations in LaTeX")
    prove.add_argument("--json", type=Path, metavar="FILE", help="write the verdicts to FILE")
    prove.add_argument("--no-graphs", action="store_true", help="leave out the graphs that TensorFlow traces")

    listing = commands.add_parser(
        "list",
        help="print the identifiers and statements of claims",
        description="Print the identifiers and statements of claims, without settling them.",
    )
    listing.add_argument("names", nargs="*", metavar="NAME", help=names)
    listing.set_defaults(no_graphs=False)

    check = commands.add_parser(
        "check",
        help="judge a formula or a function of your own",
        description="Judge a gradient of your own, for every batch size: a formula, lines of code, or a function in a "
        "file.",
        epilog='Examples: check "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))"; check '
        'layers.py::batchnorm_backward --forward batchnorm_forward --inputs "x: N D, gamma: D, beta: D". A formula '
        "consists of numbers, of x, delta (or dy, dout), x_hat, gamma, beta, mu, var, s (or inv_std, ivar), epsilon, "
        "m (or N), of + - * / ** and parentheses, of sum( ) and mean( ) over the batch, and of "
        "sqrt( ), square( ), var( ), std( ). NumPy's spelling is understood, such as np.sum(dout*xhat, axis=0) and "
        "x.mean(axis=0), and so are the symbols in which results are printed: δₖ, x̂, γ, μ, v, ε, Σⱼ, ·, −. Lines such "
        "as mu = mean(x); xmu = x - mu, separated by ; or newlines, are read as code. The line that is named like the "
        "target is judged, or else the last line. With --weighted there are also w, and W for the sum of all w, and "
        "mean( ) is the weighted mean. With --forward the names are x, delta, y and those of the forward pass. If a "
        "formula is not defined everywhere, it is proved where it takes roots of values ≥ 0 and divides by values ≠ 0. "
        "A formula that is defined nowhere is refused. Exit status: 0 proved, 1 refuted or not proved, 2 not "
        "understood, 3 if the two proofs contradict each other.",
    )
    check.add_argument(
        "formula", metavar="FORMULA", help="a formula, lines of code, or FILE.py::FUNCTION (with --inputs)"
    )
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
    check.add_argument(
        "--wrt",
        metavar="NAMES",
        default="",
        help="the inputs, separated by commas, whose gradients are judged; all of them by default",
    )

    bound = commands.add_parser(
        "bound",
        help="print proved bounds on rounding errors, and measured errors",
        description="Print the proved bounds on the rounding errors of mean, variance, output and gradients in "
        "training, beside the errors that were measured on random data. The depth of the sums is read from the traced "
        "graph.",
        epilog="Exit status: 0 if the table was printed, 2 for bad input.",
    )
    bound.add_argument("--elements", type=_whole, default=100352, help="elements that share statistics (%(default)s)")
    bound.add_argument(
        "--ratio", type=float, default=0.0, help="mean/std of the data, at most 4 with --engine fused (%(default)g)"
    )
    bound.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of the computation (%(default)s)"
    )
    bound.add_argument(
        "--engine",
        choices=("closed_form", "products", "fused"),
        default="closed_form",
        help="that computes (%(default)s)",
    )
    bound.add_argument("--mask", action="store_true", help="use a mask by which half of the elements count")
    bound.add_argument("--jit-compile", action="store_true", help="compile with XLA")

    writing = commands.add_parser("report", help="write the whole derivation as a document", epilog=STATUS)
    writing.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page to FILE")
    writing.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write Markdown to FILE, or print it if you name no file"
    )
    writing.add_argument("--no-graphs", action="store_true", help="leave out the graphs that TensorFlow traces")
    writing.add_argument("--no-mutants", action="store_true", help="leave out the verdicts on mutants of the formulas")
    writing.set_defaults(names=[])
    return whole


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
