"""``python -m derivations``: derive the gradients step by step, and prove the functions that ship."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from derivations import FAMILIES, report, steps
from derivations.claim import Claim, all_proved

TITLES = {
    "steps": "The derivation, step by step",
    "training": "Batch normalization in training",
    "inference": "Batch normalization in inference",
    "moving_statistics": "The moving statistics",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m derivations",
        description="Derive the gradients of batch normalization step by step for every batch size m, and prove that "
        "the functions of keras_bn.formulas compute them. Each claim is proved, refuted by an exact counterexample, or "
        "reported as not proved.",
        epilog="Exit status: 0 if everything is proved, 1 if anything is not, 2 for bad input. "
        "All families but 'steps' import TensorFlow, which takes a few seconds.",
    )
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"what to prove, of {', '.join(FAMILIES)}; by default everything"
    )
    parser.add_argument("--latex", action="store_true", help="print the equations in LaTeX")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.families if name not in FAMILIES]:
        parser.error(f"there is no family {', '.join(unknown)}: choose from {', '.join(FAMILIES)}")

    start = time.perf_counter()
    settled: list[Claim] = []
    for name in options.families or FAMILIES:
        try:
            claims = _claims(name)
        except ImportError as error:
            print(f"cannot import the functions to be proved: {error}", file=sys.stderr)
            return 2
        _print(report.heading_text(TITLES[name], claims) + "\n")
        if name == "steps":
            _print(report.definitions_text(steps.definitions(), latex=options.latex) + "\n")
        for claim in claims:
            settled.append(claim.settle())
            _print(report.claim_text(settled[-1], len(settled), latex=options.latex))
        _print("")
    _print(report.summary_text(settled, time.perf_counter() - start))
    return 0 if all_proved(settled) else 1


def _claims(family: str) -> list[Claim]:
    module = FAMILIES[family]
    if module not in sys.modules and "keras_bn" not in sys.modules and family != "steps":
        _print("Importing keras_bn and TensorFlow …\n")
    return list(import_module(module).claims())


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        status = main()
    except BrokenPipeError:  # whoever read the output, such as head, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
