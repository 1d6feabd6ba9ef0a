"""The guided run itself: prove, check, train, draw; what is printed and what is kept."""

import json
import platform
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from keras_bn.guided_run import agreement, checks, drawing, training
from keras_bn.progress import say, step

PICTURE = "training.png"
RESULTS = "results.json"
PACKAGES = ("keras-bn", "tensorflow", "keras", "numpy", "sympy", "scikit-learn", "matplotlib")


class Options(NamedTuple):
    """What the user may choose, and what follows from ``--quick``."""

    output: Path
    epochs: int
    seed: int
    agreement_epochs: int = 2
    agreement_seeds: int = 5
    verbose: bool = False


class Proof(NamedTuple):
    """A claim that was settled; ``line`` is how it is printed if asked for."""

    identifier: str
    statement: str
    verdict: str
    proved: bool
    seconds: float
    line: str


class Family(NamedTuple):
    """So many claims of one kind, each settled when it is asked for."""

    title: str
    claims: int
    proofs: Iterable[Proof]


def run(options: Options, families: Iterable[Family], expressions: checks.Expressions) -> bool:
    """Run all four parts, print them as they go and write picture and results to ``options.output``.

    Args:
        options: What to run; the directory exists.
        families: The claims to be proved.
        expressions: The derived gradients, for the first oracle.

    Returns:
        Whether every proof and every check held.
    """
    start = time.perf_counter()
    proved = _prove(families, verbose=options.verbose)
    rows = _check(options.seed, expressions)
    digits = training.load_digits()
    curves = _train(options, digits)
    agreements = {network: _compare(options, network, digits) for network in training.NETWORKS}

    held = {
        "proofs": bool(proved) and all(proof.proved for proof in proved),
        "checks": bool(rows) and all(row.held for row in rows),
        "agreement": all(agreement.summarize(_together(steps)).held for steps in agreements.values()),
    }
    picture, results = options.output / PICTURE, options.output / RESULTS
    say("\n4. Draw, and keep the numbers")
    with step(f"  {picture}"):
        drawing.draw(curves, picture)
    seconds = time.perf_counter() - start
    document = {
        "held": held,
        "seconds": seconds,
        "options": {**options._asdict(), "output": str(options.output)},
        "versions": _versions(),
        "proofs": [proof._asdict() for proof in proved],
        "checks": [_row(row) for row in rows],
        "training": _nested(curves),
        "agreement": {network: _agreement(steps) for network, steps in agreements.items()},
    }
    results.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"  {results}")
    failed = [part for part, good in held.items() if not good]
    verdict = f"These did NOT hold: {', '.join(failed)}." if failed else "All proofs and checks held."
    say(f"\n{verdict} {seconds:.0f} s")
    return not failed


def _prove(families: Iterable[Family], *, verbose: bool) -> list[Proof]:
    say("1. Prove, for every batch size m")
    settled: list[Proof] = []
    for family in families:
        start = time.perf_counter()
        with step(f"  {family.title:<48}", parts=family.claims) as current:
            proofs = []
            for proof in family.proofs:
                proofs.append(proof)
                current.advance()
            proved = sum(proof.proved for proof in proofs)
            current.result = f"{proved:>3} of {family.claims:>2} proved {time.perf_counter() - start:6.1f} s"
        for proof in proofs:
            if verbose or not proof.proved:
                say(f"    {proof.line}")
        settled += proofs
    say(f"  {sum(proof.proved for proof in settled)} of {len(settled)} claims proved")
    return settled


def _check(seed: int, expressions: checks.Expressions) -> list[checks.Row]:
    say("\n2. Check the layer's gradients against three independent oracles")
    oracles: dict[str, checks.Oracle] = {
        "derivation": checks.derivation_oracle(expressions),
        "autodiff": checks.autodiff_oracle,
        "differences": checks.differences_oracle,
    }
    rows: list[checks.Row] = []
    cases = list(checks.make_cases(seed))
    label = f"  {len(checks.SHAPES)} shapes of rank 2, 3 and 4, channels last and first"
    with step(label, parts=len(cases) * len(oracles)) as current:
        for part in checks.check(cases, oracles):
            rows += part
            current.advance()
        current.result = f"{sum(row.held for row in rows)} of {len(rows)} comparisons held"
    say("  The largest errors, relative to the size of the terms of each gradient:")
    for line in checks.table(rows):
        say(f"    {line}")
    return rows


def _train(options: Options, digits: training.Digits) -> drawing.Curves:
    sizes = f"Train on {len(digits.train_labels)} handwritten digits, test on {len(digits.test_labels)}"
    say(f"\n3. {sizes}; {options.epochs} epochs, seed {options.seed}")
    curves: drawing.Curves = {}
    for network, build in training.NETWORKS.items():
        curves[network] = {}
        for variant in training.VARIANTS:
            with step(f"  {network + ',':<14} {drawing.STYLES[variant].label:<32}", parts=options.epochs) as current:
                epochs = []
                for epoch in training.train(
                    training.Trainer(build, variant), digits, seed=options.seed, epochs=options.epochs
                ):
                    epochs.append(epoch)
                    current.advance()
                current.result = (
                    f"loss {epochs[-1].train_loss:.4f}, accuracy {epochs[-1].train_accuracy:.1%}, "
                    f"test {epochs[-1].test_accuracy:.1%}"
                )
            curves[network][variant] = epochs
    return curves


def _compare(options: Options, network: str, digits: training.Digits) -> list[list[agreement.Step]]:
    """The steps of each training, by seed."""
    seeds = range(options.seed, options.seed + options.agreement_seeds)
    with step(f"  {network}: ours and the built-in layer in step, {len(seeds)} seeds", parts=len(seeds)) as current:
        comparison = agreement.Comparison(training.NETWORKS[network])
        steps = []
        for seed in seeds:
            steps.append(list(comparison.run(digits, seed=seed, epochs=options.agreement_epochs)))
            current.advance()
    verdict = agreement.summarize(_together(steps))
    say(
        f"    float64: losses differ by {verdict.loss:.0e} (allowed {agreement.LOSS_TOLERANCE:.0e}), "
        f"gradients by {verdict.gradient:.0e} of the largest one (allowed {agreement.GRADIENT_TOLERANCE:.0e})"
    )
    say(
        f"    float32: distance to the float64 run {verdict.our_distance:.1e}, of the built-in layer "
        f"{verdict.built_in_distance:.1e}; ratio {verdict.ratio:.2f} (allowed {agreement.DISTANCE_RATIO:.0f})"
    )
    if not verdict.held:
        say("    They do NOT agree.")
    return steps


def _together(steps: list[list[agreement.Step]]) -> list[agreement.Step]:
    return [one for training_steps in steps for one in training_steps]


def _row(row: checks.Row) -> dict[str, Any]:
    return {**row._asdict(), "tolerance": row.tolerance.bound, "reason": row.tolerance.reason, "held": row.held}


def _agreement(steps: list[list[agreement.Step]]) -> dict[str, Any]:
    verdict = agreement.summarize(_together(steps))
    return {
        **verdict._asdict(),
        "held": verdict.held,
        "allowed": {
            "loss": agreement.LOSS_TOLERANCE,
            "gradient": agreement.GRADIENT_TOLERANCE,
            "ratio": agreement.DISTANCE_RATIO,
        },
        "steps": [[one._asdict() for one in training_steps] for training_steps in steps],
    }


def _nested(curves: drawing.Curves) -> dict[str, Any]:
    return {
        network: {variant: [epoch._asdict() for epoch in epochs] for variant, epochs in variants.items()}
        for network, variants in curves.items()
    }


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            # Run from a checkout, without installation.
            versions[package] = None
    return versions
