"""Claims and their verdicts as text for the terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence

from derivations.claims.claim import Claim, Verdict
from derivations.normal_form.counterexamples import Counterexample
from derivations.notation import Definitions, printing

WIDTH = 100
TITLES = {
    "steps": "The derivation, step by step",
    "training": "Batch normalization in training",
    "forms": "Other forms of the gradient",
    "inference": "Batch normalization in inference",
    "second_order": "Gradients of the gradients",
    "replicas": "Replicas, ghost batches, and merged statistics",
    "renormalization": "Batch renormalization",
    "output": "Backward from the output",
    "moving_statistics": "The moving statistics",
    "bounds": "The bound on normalized inputs",
    "rounding": "Rounding errors",
    "degenerate": "Batches in which nothing counts",
    "mistakes": "Mistakes, refuted",
    "tutorials": "What tutorials say",
    "graphs": "The graphs that TensorFlow traces",
}
LIMITS = (
    "Proved are identities between real numbers, for every batch size.",
    "Rounding is bounded in the family rounding alone. Not covered: overflow, underflow, NaN and infinity.",
)


def definitions_text(definitions: Definitions, *, latex: bool = False) -> str:
    """One line a definition."""
    show = printing.latex if latex else printing.unicode
    lines = [f"{show(name)} = {show(value)}" for name, value in definitions.items()]
    return "\n".join(f"    \\[ {line} \\]" if latex else f"    {line}" for line in lines)


def claim_text(claim: Claim, number: int, *, latex: bool = False, steps: bool = False) -> str:
    """A settled claim: title, verdict, time and equation, side conditions, what is proved in words, a counterexample.

    ``steps``: also the justification and how it was proved.
    """
    settlement = claim.settlement
    assert settlement is not None
    verdict = f"{claim.verdict_text:<10} {settlement.seconds * 1e3:5.0f} ms"
    lines = [f"{number:3}. {claim.title:<{WIDTH - len(verdict) - 5}}{verdict}"]
    lines.append(f"       \\[ {claim.latex} \\]" if latex else f"       {claim.statement}")
    if claim.quote:
        lines.append(f"       “{claim.quote}”")
    if claim.because and (steps or claim.in_words):
        lines.append(f"       {claim.because}")
    if steps:
        lines += [f"       · {step}" for step in settlement.steps if step != claim.because]
    if settlement.side_conditions:
        lines.append(f"       where {' and '.join(settlement.side_conditions)}")
    if settlement.verdict is not Verdict.PROVED:
        lines.append(f"       {settlement.reason}")
    if settlement.counterexample:
        lines.append(f"       {counterexample_text(settlement.counterexample)}")
    return "\n".join(lines)


def heading_text(title: str, claims: Sequence[Claim]) -> str:
    """The title of a group of claims, what they are about, and what all of them assume."""
    about = dict.fromkeys(claim.about for claim in claims)
    common = [text for text in claims[0].assumptions if all(text in claim.assumptions for claim in claims)]
    return f"{title}\n{'─' * len(title)}\nabout {', '.join(about)}; for {', '.join(common)}"


def counterexample_text(counterexample: Counterexample) -> str:
    """The point and the two values, in full."""
    point = []
    for symbol, value in sorted(counterexample.values.items(), key=lambda item: str(item[0])):
        name = printing.unicode(getattr(symbol, "label", symbol))
        point.append(f"{name} = ({', '.join(map(str, value))})" if isinstance(value, tuple) else f"{name} = {value}")
    return f"at {', '.join(point)}: left {counterexample.left}, right {counterexample.right}"


def summary_text(claims: Iterable[Claim], seconds: float) -> str:
    """How many claims met which verdict, the time, and what a proof does not cover."""
    settled = list(claims)
    counts = Counter(claim.verdict for claim in settled)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    refuted = sum(claim.verdict is claim.expected is Verdict.REFUTED for claim in settled)
    on_axioms = sum(bool(claim.axioms) for claim in settled if claim.verdict is Verdict.PROVED)
    if on_axioms:
        verdicts += f" ({on_axioms} of the proofs assume an axiom, which the report states)"
    if refuted:
        verdicts += f" ({refuted} of them false statements of tutorials and the like, claimed to be refuted)"
    bounds = [
        claim.settlement.examination.bound for claim in settled if claim.settlement and claim.settlement.examination
    ]
    if bounds:
        verdicts += f"; settled twice, a false claim passes the second proof with a probability below {max(bounds):.0e}"
    number = "1 claim" if counts.total() == 1 else f"{counts.total()} claims"
    return "\n".join((f"{number}: {verdicts or 'none'}; {seconds:.1f} s.", *LIMITS))


def records(claims: Iterable[Claim]) -> list[dict[str, object]]:
    """The claims as plain data."""
    return [
        {
            "identifier": claim.identifier,
            "title": claim.title,
            "statement": claim.statement,
            "latex": claim.latex,
            "about": claim.about,
            "quote": claim.quote,
            "assumptions": list(claim.assumptions),
            "verdict": claim.verdict_text,
            "expected": str(claim.expected),
            "side_conditions": list(settlement.side_conditions),
            "steps": list(settlement.steps),
            "counterexample": counterexample_text(settlement.counterexample) if settlement.counterexample else "",
            "reason": settlement.reason,
            "seconds": round(settlement.seconds, 4),
        }
        for claim in claims
        if (settlement := claim.settlement)
    ]
