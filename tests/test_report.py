"""The report: committed in step with the claims, and a page that stands alone."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import sympy as sp

from derivations import document, mathml, prove, steps
from derivations.claim import Claim
from derivations.equations import EQUATIONS
from derivations.notation import Partial, delta, i, k, m, over_batch, x

REPORT = Path(document.__file__).with_name("REPORT.md")


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
    assert REPORT.read_text(encoding="utf-8") == fresh, "derivations/REPORT.md is stale: run pytest --update"


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
