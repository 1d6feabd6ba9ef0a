"""The whole derivation as a document: Markdown for the repository, one self-contained HTML page for reading."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from derivations.claims import steps
from derivations.claims.claim import Claim, Verdict
from derivations.claims.mutants import Tally
from derivations.graphs import kernel_axioms
from derivations.notation import mathml, printing
from derivations.notation.equations import EQUATIONS
from derivations.notation.worlds import Computed
from derivations.report.terminal import TITLES, counterexample_text

TITLE = "Batch normalization: the derivation and its proofs"
HOW = (
    "Each claim is settled twice. The first proof brings both sides to a normal form of finite sums, after SymPy's "
    "differentiation; equal normal forms are equal for every batch size m. The second proof shares nothing with it: "
    "the same functions run on dual numbers over two prime fields, at as many sizes as the degrees demand. A "
    "contradiction between the two fails the build. A false claim is refuted by an exact counterexample.",
    "Functions of keras_bn are executed themselves, on a batch of unknown size; no formula is typed a second time. "
    "Both proofs execute that code, and start from the same definitions; they share neither arithmetic nor derivative.",
    "The graphs are those that TensorFlow traces of training and of inference. The first proof interprets them "
    "operation by operation, for every size; the second runs the graph itself, on residues and real numbers at once, "
    "at sizes on both sides of every block of a sum, against the textbook, stated apart and differentiated by dual "
    "numbers. The two share the reader of nodes and the text of the axioms, and the meaning of no other operation.",
)
NOT_PROVED = (
    "Rounding in floating point, but for the bounds of the family rounding, which rest on the assumptions that are "
    "printed with them; overflow, underflow, NaN and infinity. Everything else that is proved are identities of real "
    "numbers.",
    "What TensorFlow's graph optimiser and XLA make of a traced graph.",
    "The graphs of other options than those in the names of the claims: of ghost batches, several replicas, and "
    "masks other than one truth value for each element, such as one for each sample. Of these only the formulas that "
    "they run are proved.",
    "Collectives: that an all-reduce is a sum is an assumption.",
    "That a reshape into ghost batches brings each element to its group: tested on concrete shapes.",
    "TensorFlow's fused kernels: what is “proved assuming A1”, A2, A3 or A4 rests on the axiom.",
    "Steps in words, which are printed with the claims that rest on them.",
)


AXIOMS = tuple(f"{name}: {statement}" for name, statement in kernel_axioms.AXIOMS.items())
MUTANTS = (
    "Each shipped formula is changed mechanically: each term and factor dropped, each sign flipped, each operand "
    "scaled by 1.001, each operation and variable exchanged for its neighbours. A mutant is refuted by exact values "
    "that differ, or proved to be the same function: then an accuracy test tells it apart in floating point.",
)


def markdown(claims: Sequence[Claim], tallies: Sequence[Tally] = ()) -> str:
    """The document in Markdown, without times: the same claims give the same text."""
    lines = [f"# {TITLE}", "", "Made by `python -m derivations report --markdown FILE`; not edited by hand.", ""]
    lines += [*_paragraphs(HOW), "## Numbered equations", ""]
    lines += [f"{number}. {title}" for number, title in EQUATIONS.items()]
    lines += ["", "## Definitions", ""]
    lines += [
        f"- `{printing.unicode(name)} = {printing.unicode(value)}`" for name, value in steps.definitions().items()
    ]
    lines += ["", "## Verdicts", "", *_counts(claims), ""]
    for family, group in _families(claims):
        lines += [f"## {TITLES[family]}", ""]
        for claim in group:
            lines += _markdown_claim(claim)
    if tallies:
        lines += ["## Mutants", "", *_paragraphs(MUTANTS), "| formula | mutants | refuted | proved equivalent |"]
        lines += ["|---|---:|---:|---:|", *(f"| {' | '.join(row)} |" for row in _rows(tallies)), ""]
        for tally in tallies:
            for change, same in tally.equivalent:
                lines += [f"- `{change}`: {same.because} Told apart by `{same.accuracy}`."]
        lines += [""]
    lines += ["## Axioms", "", *(f"- {sentence}" for sentence in AXIOMS), ""]
    lines += ["## What is not proved", "", *(f"- {sentence}" for sentence in NOT_PROVED)]
    return "\n".join(lines) + "\n"


def _rows(tallies: Sequence[Tally]) -> list[tuple[str, ...]]:
    """What became of the mutants of each formula, and of all."""
    counts = [(t.name, (t.tried, t.refuted, len(t.equivalent))) for t in tallies]
    sums = tuple(sum(column) for column in zip(*(numbers for _, numbers in counts), strict=True))
    return [(name, *map(str, numbers)) for name, numbers in (*counts, ("all", sums))]


def _paragraphs(sentences: Iterable[str]) -> list[str]:
    return [line for sentence in sentences for line in (sentence, "")]


def _families(claims: Sequence[Claim]) -> list[tuple[str, list[Claim]]]:
    return [(family, list(group)) for family, group in groupby(claims, key=lambda claim: claim.family)]


def _counts(claims: Sequence[Claim]) -> list[str]:
    lines = []
    for verdict in Verdict:
        count = sum(claim.verdict is verdict for claim in claims)
        expected = sum(claim.verdict is verdict is claim.expected for claim in claims)
        note = "" if verdict is Verdict.PROVED else f", {expected} of them claimed in order to be"
        on_axioms = sum(bool(claim.axioms) for claim in claims if claim.verdict is verdict is Verdict.PROVED)
        note += f", {on_axioms} of them assuming an axiom" if on_axioms else ""
        if count:
            lines.append(f"- {count} {verdict}{note}")
    return lines


def _markdown_claim(claim: Claim) -> list[str]:
    settlement = claim.settlement
    assert settlement is not None
    lines = [f"### {claim.title}", "", f"`{claim.identifier}`: **{claim.verdict_text}**", ""]
    lines += [f"> {claim.quote}", ""] if claim.quote else []
    lines += ["```text", claim.statement, "```", ""]
    lines += [f"- about {claim.about}; for {', '.join(claim.assumptions)}"]
    lines += [f"- where {' and '.join(settlement.side_conditions)}"] if settlement.side_conditions else []
    lines += [f"- {line}" for line in dict.fromkeys((claim.because, *settlement.steps)) if line]
    if settlement.counterexample:
        lines.append(f"- counterexample {counterexample_text(settlement.counterexample)}")
    return [*lines, ""]


_STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --bad: #b35900; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #f0883e; } }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h2 { border-top: 1px solid var(--line); padding-top: 1rem; margin-top: 2.5rem; }
article { border-left: 3px solid var(--good); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0; break-inside: avoid; }
article.refuted { border-color: var(--bad); }
h3 { font-size: 1rem; margin: .2rem 0; } .verdict { float: right; color: var(--good); }
.refuted .verdict { color: var(--bad); } code { overflow-wrap: anywhere; font-size: .85em; }
.scroll { overflow-x: auto; padding: .4rem 0; } math { font-size: 1.1em; }
blockquote { margin: .4rem 0; padding-left: .8rem; border-left: 2px solid var(--line); font-style: italic; }
table { border-collapse: collapse; font-size: .9em; } td, th { padding: .15rem .8rem .15rem 0; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr:last-child td { border-top: 1px solid var(--line); }
nav ul { columns: 2 16rem; padding-left: 1.2rem; } summary { cursor: pointer; color: GrayText; font-size: .9em; }
@media print { nav, summary { display: none; } details > :not(summary) { display: block; }
  details::details-content { content-visibility: visible; height: auto; } body { max-width: none; } }
"""


def html(claims: Sequence[Claim], tallies: Sequence[Tally] = ()) -> str:
    """The document as one page that needs nothing else: formulas in MathML, steps that fold."""
    families = _families(claims)
    contents = "".join(f'<li><a href="#{family}">{escape(TITLES[family])}</a></li>' for family, _ in families)
    equations = "".join(f'<li value="{number}">{escape(title)}</li>' for number, title in EQUATIONS.items())
    definitions = "".join(
        f'<div class="scroll">{mathml.math(mathml.mathml(name), mathml.mathml(value))}</div>'
        for name, value in steps.definitions().items()
    )
    body = "".join(
        f'<h2 id="{family}">{escape(TITLES[family])}</h2>{"".join(map(_html_claim, group))}'
        for family, group in families
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(TITLE)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(TITLE)}</h1>
{"".join(f"<p>{escape(sentence)}</p>" for sentence in HOW)}
<ul>{"".join(f"<li>{escape(line[2:])}</li>" for line in _counts(claims))}</ul>
<nav><h2>Contents</h2><ul><li><a href="#equations">Numbered equations</a></li>
<li><a href="#definitions">Definitions</a></li>{contents}
{'<li><a href="#mutants">Mutants</a></li>' if tallies else ""}
<li><a href="#axioms">Axioms</a></li><li><a href="#limits">What is not proved</a></li></ul></nav>
<h2 id="equations">Numbered equations</h2><ol>{equations}</ol>
<h2 id="definitions">Definitions</h2>{definitions}
{body}
{_html_mutants(tallies) if tallies else ""}
<h2 id="axioms">Axioms</h2><ul>{"".join(f"<li>{escape(line)}</li>" for line in AXIOMS)}</ul>
<h2 id="limits">What is not proved</h2><ul>{"".join(f"<li>{escape(line)}</li>" for line in NOT_PROVED)}</ul>
</body></html>
"""


def _html_mutants(tallies: Sequence[Tally]) -> str:
    heads = "".join(f"<th>{title}</th>" for title in ("formula", "mutants", "refuted", "proved equivalent"))
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in _rows(tallies))
    equivalent = "".join(
        f"<li><code>{escape(change)}</code>: {escape(same.because)} "
        f"Told apart by <code>{escape(same.accuracy)}</code>.</li>"
        for tally in tallies
        for change, same in tally.equivalent
    )
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in MUTANTS)
    return (
        f'<h2 id="mutants">Mutants</h2>{paragraphs}<div class="scroll"><table><tr>{heads}</tr>{rows}</table></div>'
        f"<p>Proved equivalent:</p><ul>{equivalent}</ul>"
    )


def _html_claim(claim: Claim) -> str:
    settlement = claim.settlement
    assert settlement is not None
    members = [
        mathml.text(member.name) if isinstance(member, Computed) else mathml.mathml(member) for member in claim.members
    ]
    formula = mathml.math(*members) if "≤" not in claim.statement else mathml.math(mathml.text(claim.statement))
    lines = [f"about {claim.about}; for {', '.join(claim.assumptions)}"]
    lines += [f"where {' and '.join(settlement.side_conditions)}"] if settlement.side_conditions else []
    lines += [line for line in dict.fromkeys(settlement.steps) if line != claim.because]
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    quote = f"<blockquote>{escape(claim.quote)}</blockquote>" if claim.quote else ""
    found = settlement.counterexample
    counterexample = f"<p>Counterexample {escape(counterexample_text(found))}</p>" if found else ""
    return (
        f'<article class="{settlement.verdict.replace(" ", "-")}" id="{claim.identifier}">'
        f'<span class="verdict">{claim.verdict_text}</span><h3>{escape(claim.title)}</h3>{quote}'
        f'<div class="scroll">{formula}</div><p>{escape(claim.because)}</p>{counterexample}'
        f"<details><summary><code>{escape(claim.identifier)}</code></summary><ul>{items}</ul></details></article>"
    )
