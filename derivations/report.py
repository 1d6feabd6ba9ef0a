"""Claims and their verdicts as text for the terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence

from derivations import printing
from derivations.claim import Claim, Verdict
from derivations.counterexample import Counterexample
from derivations.notation import Definitions

WIDTH = 100
LIMITS = (
    "Proved are identities between real numbers, for every batch size.",
    "Not covered: rounding, overflow, NaN and infinity.",
)


def definitions_text(definitions: Definitions, *, latex: bool = False) -> str:
    """One line a definition."""
    show = printing.latex if latex else printing.unicode
    lines = [f"{show(name)} = {show(value)}" for name, value in definitions.items()]
    return "\n".join(f"    \\[ {line} \\]" if latex else f"    {line}" for line in lines)


def claim_text(claim: Claim, number: int, *, latex: bool = False) -> str:
    """A settled claim: title, verdict, time, equation and justification; what went wrong, if anything did."""
    settlement = claim.settlement
    assert settlement is not None
    verdict = f"{settlement.verdict:<10} {settlement.seconds * 1e3:5.0f} ms"
    lines = [f"{number:3}. {claim.title:<{WIDTH - len(verdict) - 5}}{verdict}"]
    lines.append(f"       \\[ {claim.latex} \\]" if latex else f"       {claim.statement}")
    if claim.because:
        lines.append(f"       {claim.because}")
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
    counts = Counter(claim.verdict for claim in claims)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    return "\n".join((f"{counts.total()} claims: {verdicts or 'none'}; {seconds:.1f} s.", *LIMITS))
