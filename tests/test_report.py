"""The report: committed in step with the claims, and a page that stands alone."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import sympy as sp

from derivations import prove
from derivations.claims import steps
from derivations.claims.claim import Claim, Verdict
from derivations.claims.mutants import EQUIVALENT, Tally
from derivations.notation import Partial, delta, i, k, m, mathml, over_batch, x
from derivations.notation.equations import EQUATIONS
from derivations.report import document, terminal

REPORT = Path(document.__file__).parents[1] / "REPORT.md"


@pytest.fixture(scope="module")
def claims() -> list[Claim]:
    return list(prove(["steps", "mistakes", "tutorials"]))


@pytest.mark.slow
def test_the_committed_report_is_up_to_date(request: pytest.FixtureRequest, tmp_path: Path):
    """``pytest --update`` rewrites it."""
    file = tmp_path / "REPORT.md"
    command = [sys.executable, "-m", "derivations", "report", "--markdown", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    fresh = file.read_text(encoding="utf-8")
    if request.config.getoption("--update"):
        REPORT.write_text(fresh, encoding="utf-8")
    assert REPORT.read_text(encoding="utf-8") == fresh, "REPORT.md is stale: run python -m tests.renew report"


def test_the_page_needs_nothing_from_elsewhere(claims: list[Claim]):
    page = document.html(claims)
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", page)
    assert page.count("<article") == len(claims) == page.count("<details>")
    for claim in claims:
        assert f'id="{claim.identifier}"' in page
    for words in ("prefers-color-scheme: dark", "@media print", "width=device-width", 'href="#tutorials"'):
        assert words in page
    ET.fromstring(page.replace("<!DOCTYPE html>", "").replace('<meta charset="utf-8">', "").replace(VIEWPORT, ""))


VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'


def test_every_link_has_a_target(claims: list[Claim]):
    page = document.html(claims)
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page


def test_verdicts_counterexamples_and_limits_are_printed(claims: list[Claim]):
    for text in (document.html(claims), document.markdown(claims)):
        for words in (
            "What is not proved",
            "Rounding",
            "refuted",
            "ounterexample",
            "After this stage",
            *EQUATIONS.values(),
        ):
            assert words in text
    assert "seconds" not in document.markdown(claims)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (x[k] / m, "<mfrac><mrow><msub><mi>x</mi><mrow><mi>k</mi></mrow></msub></mrow><mrow><mi>m</mi></mrow></mfrac>"),
        (sp.sqrt(m), "<msqrt><mi>m</mi></msqrt>"),
        (-m, "<mrow><mo>−</mo><mi>m</mi></mrow>"),
        (Partial(m, x[k]), "<mfrac><mrow><mo>∂</mo><mi>m</mi></mrow><mrow><mo>∂</mo><msub>"),
        (sp.Symbol("g_mu"), "<msub><mi>g</mi><mi>μ</mi></msub>"),
    ],
)
def test_mathml(expression, expected):
    assert expected in mathml.mathml(expression)


def test_a_sum_is_bracketed_where_something_follows_it():
    shown = mathml.mathml(over_batch(x[i]) * over_batch(delta[i] * x[i]))
    assert shown.count("<mo>(</mo>") == 1
    assert mathml.mathml(over_batch(x[i] + 1)).count("<mo>(</mo>") == 1
    ET.fromstring(mathml.math(shown, mathml.mathml(steps.D_X)))


def test_mutants_and_axioms_are_reported(claims: list[Claim]):
    same = next(iter(EQUIVALENT.values()))
    tallies = [Tally("training.moments", 22, [(same.changes[0], same)]), Tally("inference.normalize", 32)]
    for text in (document.markdown(claims, tallies), document.html(claims, tallies)):
        for words in ("proved equivalent", same.because, same.accuracy, "FusedBatchNormV3", "max(m − 1, 1)"):
            assert words in text
    assert "| training.moments | 23 | 22 | 1 |" in document.markdown(claims, tallies)
    assert "| all | 55 | 54 | 1 |" in document.markdown(claims, tallies)
    assert "| all |" not in document.markdown(claims)


def test_the_verdict_carries_the_axiom(claims: list[Claim]):
    claim = replace(next(c for c in claims if c.verdict is Verdict.PROVED), axioms=("A1",))
    assert claim.verdict_text == "proved assuming A1"
    for text in (
        claim.line(),
        terminal.claim_text(claim, 1),
        document.markdown([claim]),
        document.html([claim]),
        str(terminal.records([claim])),
    ):
        assert "proved assuming A1" in text
    assert "1 of the proofs assume an axiom" in terminal.summary_text([claim], 0)
    refuted = replace(next(c for c in claims if c.verdict is Verdict.REFUTED), axioms=("A1",))
    assert refuted.verdict_text == "refuted"
