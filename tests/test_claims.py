"""The claims about what ships: all are proved, and the record says what it should."""

import inspect
import types
from dataclasses import replace

import pytest
import sympy as sp

from derivations import FAMILIES, prove
from derivations.claims import steps
from derivations.claims.claim import Claim, Verdict, all_proved
from derivations.claims.families import training
from derivations.notation import Definitions, gamma, i, k, m, mu, over_batch, x
from derivations.notation.settings import Condition, Setting
from derivations.notation.worlds import Computed
from derivations.report import terminal
from keras_bn.formulas import training as shipped

SETTLED = list(prove([family for family in FAMILIES if family not in ("steps", "graphs")]))
SHIPPED = [claim for claim in SETTLED if claim.about.startswith("keras_bn.formulas.")]
TEXTBOOK = [claim for claim in SETTLED if claim not in SHIPPED]


@pytest.mark.parametrize("claim", SHIPPED, ids=[claim.identifier for claim in SHIPPED])
def test_what_ships_is_proved(claim):
    assert claim.verdict is Verdict.PROVED, claim.line()
    # What stands for a clipped deviation is any constant, and may be 0; with a = 1 no batch has a weight.
    open_conditions = {"renormalization.correction.r": ("c ≠ 0",), "renormalization.correction.d": ("c ≠ 0",)}
    open_conditions["moving_statistics.debiased"] = ("1 − a ≠ 0",)
    assert claim.settlement.side_conditions == open_conditions.get(claim.identifier, ())


@pytest.mark.parametrize("claim", TEXTBOOK, ids=[claim.identifier for claim in TEXTBOOK])
def test_right_statements_are_proved_and_wrong_ones_refuted(claim):
    assert claim.verdict is claim.expected, claim.line()
    if claim.expected is Verdict.REFUTED:
        assert claim.family in ("mistakes", "tutorials")
        found = claim.settlement.counterexample
        assert found.left != found.right
        assert max(len(value) for value in found.values.values() if isinstance(value, tuple)) <= 3


def test_every_claim_is_settled_twice():
    for claim in SETTLED:
        # No equations: they compute their values twice by themselves.
        if claim.identifier != "tutorials.F" and claim.family != "rounding":
            examination = claim.settlement.examination
            assert examination.equal is (claim.verdict is Verdict.PROVED)
            assert examination.bound < 1e-12


def test_sentences_of_tutorials_are_quoted_and_corrected():
    names = {claim.identifier for claim in SETTLED}
    quoted = [claim for claim in SETTLED if claim.quote]
    assert {claim.identifier.split(".")[1] for claim in quoted} == {"A", "B1", "B2", "C", "D", "E", "F"}
    for claim in quoted:
        assert (f"{claim.identifier}.corrected" in names) is (claim.expected is Verdict.REFUTED)
    assert {claim.identifier for claim in quoted if claim.verdict is Verdict.PROVED} == {"tutorials.C", "tutorials.E"}


def test_the_bound_is_refuted_by_three_elements():
    claim = next(claim for claim in SETTLED if claim.identifier == "tutorials.F")
    assert claim.settlement.counterexample.values[x] == (0, 0, 1)
    assert claim.statement == "x̂ₖ² ≤ 1"


def test_every_output_of_training_has_a_claim_plain_and_weighted():
    names = {claim.identifier for claim in SHIPPED}
    for kind in ("plain", "weighted"):
        for name in (
            "normalize.y",
            "moments.mean",
            "moments.variance",
            "backward.x",
            "backward.gamma",
            "backward.beta",
        ):
            assert f"training.{kind}.{name}" in names


def test_identifiers_are_unique():
    names = [claim.identifier for claim in (*steps.claims(), *SETTLED)]
    assert len(set(names)) == len(names)


def test_families_are_lazy_and_their_names_checked():
    with pytest.raises(ValueError, match=r"no family nonsense\. The families are steps, training"):
        prove(["nonsense"])
    assert {claim.family for claim in prove(["inference"])} == {"inference"}
    assert {claim.family for claim in SETTLED} | {"steps", "graphs"} == set(FAMILIES) | {"graphs"}
    assert {claim.family for claim in prove(["bounds"])} == {"bounds"}


def test_another_function_is_judged_in_place_of_the_shipped_one():
    wrong = types.ModuleType("wrong")
    exec(inspect.getsource(shipped).replace("2 * d_variance", "d_variance"), wrong.__dict__)
    verdicts = {claim.identifier: claim.settle() for claim in training.claims(wrong)}
    claim = verdicts["training.plain.backward.x"]
    assert claim.verdict is Verdict.REFUTED
    assert claim.about == "wrong.backward"
    assert claim.settlement.counterexample.left != claim.settlement.counterexample.right
    assert verdicts["training.plain.normalize.y"].verdict is Verdict.PROVED
    assert not all_proved(verdicts.values())


def simple(*members: sp.Expr | Computed, **changes: object) -> Claim:
    claim = Claim("test.claim", "a claim", members, Setting({i: m, k: m}), steps.definitions())
    return replace(claim, **changes).settle()  # type: ignore[arg-type]


def test_a_claim_that_is_not_settled_has_no_verdict():
    with pytest.raises(ValueError, match=r"steps\.mean has not been settled"):
        _ = steps.claims()[0].verdict


def test_every_member_of_a_chain_counts():
    assert simple(x[k], x[k], x[k] + gamma).verdict is Verdict.REFUTED
    assert simple(x[k] + gamma, x[k], x[k]).verdict is Verdict.REFUTED


def test_zero_over_zero_is_refused():
    hidden_zero = steps.definitions().unfold(over_batch(x[i] - mu))
    claim = simple(gamma * hidden_zero / hidden_zero, gamma, conditions=frozenset({Condition(hidden_zero, "≠ 0")}))
    assert claim.verdict is Verdict.NOT_PROVED
    zero = simple(1 / hidden_zero, gamma)
    assert zero.verdict is Verdict.NOT_PROVED
    assert "identically 0" in zero.settlement.reason


def test_side_conditions_are_reported():
    claim = simple(x[k] ** 2 / x[k] ** 3, 1 / x[k])
    assert claim.verdict is Verdict.PROVED
    assert claim.settlement.side_conditions == ("xₖ ≠ 0",)
    assert "where xₖ ≠ 0" in terminal.claim_text(claim, 1)


def test_what_the_normal_form_does_not_cover_is_not_proved():
    claim = simple(Computed("f", x[k] + 0.5), x[k] + sp.Rational(1, 2))
    assert claim.verdict is Verdict.NOT_PROVED
    assert "outside of what the normal form covers" in claim.settlement.reason


def test_counterexamples_are_printed_in_full():
    claim = simple(over_batch(x[i]), m * x[k], definitions=Definitions({}))
    text = terminal.claim_text(claim, 7)
    assert "<" not in text
    values = claim.settlement.counterexample
    assert "  7. a claim" in text
    assert "refuted" in text
    assert "Σⱼ xⱼ = m·xₖ: false at the counterexample" in text
    assert f"left {values.left}, right {values.right}" in text
    assert "m = 2" in text
    assert "x = (" in text


def test_the_summary_counts_verdicts():
    text = terminal.summary_text([simple(x[k], x[k]), simple(x[k], gamma)], 1.25)
    assert text.startswith("2 claims: 1 proved, 1 refuted; settled twice")
    assert "; 1.2 s." in text
    assert "rounding" in text
