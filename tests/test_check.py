"""The judge of a user's formula: right ones are proved however written, wrong ones refuted, the rest refused."""

import random
import re
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivations.check.parser import MAX_DEPTH, parse
from derivations.check.tokens import MAX_LENGTH
from derivations.check.tree import FormulaError
from derivations.check.verdict import TARGETS, judge
from derivations.claims.claim import Verdict
from derivations.notation import delta, gamma, k, m, x

RIGHT = [
    ("dx", "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))"),
    ("dx", "(1/m)*s*gamma*(m*delta - sum(delta) - x_hat*sum(delta*x_hat))"),
    ("dx", "gamma/sqrt(var + epsilon)*(dy - mean(dy) - (x - mu)/(var + epsilon)*mean(dy*(x - mean_x)))"),
    (
        "dx",
        "gamma*(var+epsilon)**(-1/2)*(delta - mean(delta)) - gamma*s**3*(x-mean(x))*mean(delta*x - mu*delta)",
    ),
    ("dx", "gamma*s*delta + (-gamma*s**2*sum(delta*x_hat)/m)*(x-mu) - gamma*s*sum(delta)/m"),
    ("dx", "γ·s·(δ − mean(δ) − x_hat·mean(δ·x_hat))"),
    ("dx", "gamma*s*(delta - mean(delta) - x_hat*mean((delta - mean(delta))*x_hat)) + mean(x_hat)"),
    ("dgamma", "sum(delta*(x - mu))*s"),
    ("dgamma", "s*(sum(delta*x) - mu*sum(delta))"),
    ("dbeta", "m*mean(delta)"),
    ("dx_hat", "gamma*dy"),
    ("dmean", "-gamma*s*sum(delta)"),
    ("dmean", "-sum(gamma*delta)*s + sum(x - mu)"),
    ("dvariance", "-0.5*gamma*(var + epsilon)**-1.5*sum(delta*(x - mu))"),
    ("dvariance", "-gamma*s**2*sum(delta*x_hat)/2"),
]
WRONG = [
    ("dx", "gamma*s*(delta - mean(delta))"),
    ("dx", "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x))"),
    ("dx", "gamma*s*(delta - mean(delta) - x_hat*sum(delta*x_hat))"),
    ("dx", "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat)/mean(x_hat**2))"),
    ("dx", "s*(delta - mean(delta) - x_hat*mean(delta*x_hat))"),
    ("dx", "1.001*gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))"),
    ("dx", "gamma*s*(delta - sum(delta)/(m-1) - x_hat*sum(delta*x_hat)/(m-1))"),
    ("dx", "0"),
    ("dgamma", "sum(delta*x)*s"),
    ("dgamma", "delta*x_hat"),
    ("dbeta", "mean(delta)"),
    ("dmean", "-gamma*sum(delta)/sqrt(var)"),
    ("dvariance", "-0.5*gamma*s**2*sum(delta*(x - mu))"),
    ("dx", "sqrt(x**2)"),
    ("dx", "sqrt(sqrt(var))"),
]


@pytest.mark.parametrize(("target", "formula"), RIGHT)
def test_right_formulas_are_proved(target, formula):
    judgement = judge(formula, target)
    assert judgement.claim.verdict is Verdict.PROVED, judgement.text()
    assert judgement.text().startswith("proved for every batch size m")
    assert "missing" not in judgement.text()


@pytest.mark.parametrize(("target", "formula"), WRONG)
def test_wrong_formulas_are_refuted(target, formula):
    judgement = judge(formula, target)
    found = judgement.claim.settlement.counterexample
    assert judgement.claim.verdict is Verdict.REFUTED
    assert judgement.text().startswith("refuted")
    for words in ("true value", "formula's value", "correct", "  m  ", "  x  ", "  delta  "):
        assert words in judgement.text()
    assert found.left != found.right


def test_weights():
    right = "gamma*s*(delta - w/sum(w)*(sum(delta) + x_hat*sum(delta*x_hat)))"
    assert judge(right, weighted=True).claim.verdict is Verdict.PROVED
    assert judge(right.replace("sum(w)", "W"), weighted=True).claim.verdict is Verdict.PROVED
    assert judge(RIGHT[0][1], weighted=True).claim.verdict is Verdict.REFUTED
    assert judge("x_hat*0 + sum(w*x_hat)", "dbeta", weighted=True).claim.verdict is Verdict.REFUTED
    with pytest.raises(FormulaError, match="known with --weighted"):
        judge(right)


def test_what_is_missing_is_readable():
    text = judge("gamma*s*(delta - mean(delta))").text()
    assert "what is missing    −γ·s·x̂ₖ·Σⱼ δⱼ·x̂ⱼ/m" in text
    assert "what is missing    −γ·s·Σⱼ δⱼ/m" in judge("gamma*s*(delta - x_hat*mean(delta*x_hat))").text()


def test_the_counterexample_is_what_it_says():
    found = judge("gamma*s*(delta - mean(delta))").claim.settlement.counterexample
    values = {str(getattr(symbol, "label", symbol)): value for symbol, value in found.values.items()}
    x, delta, m = values["x"], values["delta"], len(values["x"])
    mu = sum(x) / m
    s_squared = 1 / (sum((value - mu) ** 2 for value in x) / m + values["epsilon"])
    k = int(values["k"]) - 1
    along = sum(d * (value - mu) for d, value in zip(delta, x, strict=True)) / m
    bracket = delta[k] - sum(delta) / m - (x[k] - mu) * s_squared * along
    assert found.right**2 == values["gamma"] ** 2 * s_squared * bracket**2
    assert found.left**2 == values["gamma"] ** 2 * s_squared * (delta[k] - sum(delta) / m) ** 2


def test_side_conditions_are_part_of_the_verdict():
    text = judge("gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat)) + 0/(m - 1)").text()
    assert text.startswith("proved where m − 1 ≠ 0\n")


# What is typed, its target, and the first line of the verdict.
WHERE_DEFINED = [
    ("gamma*delta + 0*sqrt(x)", "dx_hat", "proved where xₖ ≥ 0"),
    ("gamma*delta*x/x", "dx_hat", "proved where xₖ ≠ 0"),
    ("gamma*delta*sqrt(x)**2/x", "dx_hat", "proved where xₖ > 0"),
    ("gamma*delta + 0/sqrt(x)", "dx_hat", "proved where xₖ > 0"),
    ("gamma*delta/(1/x)/x", "dx_hat", "proved where xₖ ≠ 0"),
    ("gamma*delta + sqrt(1 - m)", "dx_hat", "proved where 1 − m ≥ 0"),
    ("gamma*delta + sqrt(-var)", "dx_hat", "proved where −v ≥ 0"),
    ("gamma*delta + 0*sqrt(-gamma**2)", "dx_hat", "proved where −γ² ≥ 0"),
    ("gamma*delta + 0*sqrt(x_hat - 1e-1)", "dx_hat", "proved where x̂ₖ − 1e-1 ≥ 0"),
    ("gamma*delta + 0*sqrt(s - 2000)", "dx_hat", "proved where s − 2000 ≥ 0"),
    ("gamma*delta + 0*sqrt(-(gamma - 5.5)**2)", "dx_hat", "proved where −(γ − 5.5)² ≥ 0"),
    ("gamma*delta + 0*sqrt(m - 17)", "dx_hat", "proved where m − 17 ≥ 0"),
    ("gamma*delta*sqrt(x**2)/sqrt(x**2)", "dx_hat", "proved where xₖ ≠ 0"),
    ("sum(sqrt(delta)**2)", "dbeta", "proved where δⱼ ≥ 0 for all j"),
    ("sum(delta) + mean(0/(x_hat - mu))", "dbeta", "proved where x̂ⱼ − μ ≠ 0 for all j"),
    ("sum(delta) + sum(0*sqrt(mean(x)))", "dbeta", "proved where mean(x) ≥ 0"),
    # Nothing of this is listed: it always holds.
    ("gamma*delta + 0*sqrt(epsilon**2) + 0/s + 0*sqrt(m - 1)", "dx_hat", "proved for every batch size m"),
    ("gamma*delta + 0*sqrt(mean(x**2) - mu**2)", "dx_hat", "proved for every batch size m"),
    ("gamma*delta + 0*sqrt(1/s**2 - var)/(1 + var)", "dx_hat", "proved for every batch size m"),
    ("gamma*delta + 0*sqrt(x*delta*x*delta)", "dx_hat", "proved for every batch size m"),
    ("gamma*delta + 0*sqrt(sqrt(2) - 1.4)", "dx_hat", "proved for every batch size m"),
    # A counterexample lies where the formula is defined, or else there is none.
    ("2*gamma*delta*x/x", "dx_hat", "refuted by a counterexample"),
    ("2*sum(delta) + 0*sqrt(gamma - 5)", "dbeta", "refuted by a counterexample"),
    ("sqrt(x**2)", "dx_hat", "refuted by a counterexample"),
    ("gamma*delta + 0*sqrt(epsilon*s**2 - 2)", "dx_hat", "not proved: found no point at which the formula is defined"),
    ("2*gamma*delta + sqrt(1 - m)/(m - 1)", "dx_hat", "not proved: found no point at which the formula is defined"),
    ("gamma*delta + sum(0*sqrt(x_hat - 1))", "dx_hat", "not proved: found no point at which the formula is defined"),
    ("sqrt(-gamma**2)", "dx", "not proved: neither proof nor counterexample was found"),
    ("gamma*delta + sqrt(x*delta) - sqrt(x)*sqrt(delta)", "dx_hat", "not proved: neither proof nor counterexample"),
]


@pytest.mark.parametrize(("formula", "target", "verdict"), WHERE_DEFINED)
def test_where_a_formula_is_defined(formula, target, verdict):
    first = judge(formula, target).text().splitlines()[0]
    assert first.startswith(verdict)
    assert first == verdict or not verdict.startswith("proved")


def test_a_counterexample_meets_the_conditions():
    for formula, conditions in (("2*sum(delta) + 0*sqrt(gamma - 5)", "γ − 5 ≥ 0"), ("2*sum(delta)*x/x", "xₖ ≠ 0")):
        settlement = judge(formula, "dbeta").claim.settlement
        values = settlement.counterexample.values
        assert settlement.side_conditions == (conditions,)
        assert values[gamma] >= 5 if gamma in values else values[x][int(values[k]) - 1] != 0
        assert settlement.counterexample.right == sum(values[delta]) != settlement.counterexample.left


def test_weights_are_not_negative():
    for formula, verdict in (
        ("sum(delta) + 0*sqrt(sum(w))/W", "proved for every batch size m"),
        ("sum(delta) + sqrt(-w)", "proved where −wₖ ≥ 0"),
        ("sum(delta) + mean(0/w)", "proved where wⱼ ≠ 0 for all j"),
    ):
        assert judge(formula, "dbeta", weighted=True).text().splitlines()[0] == verdict


def test_the_claim_is_printed_as_it_was_typed():
    text = judge("gamma*delta + sum(0*x̂) - (x - x)/2**-0.5*(-m)", "dx_hat").text()
    assert "  claim              ∂L/∂x̂ₖ = γ·δₖ + sum(0·x̂) − (xₖ − xₖ)/2^(−1/2)·(−m)\n" in text
    assert text.count("both sides have one normal form, of 1 term\n") == 1


def test_polynomials_that_vanish_for_small_sizes_are_refuted():
    product = "*".join(f"(m - {size})" for size in range(1, 13))
    found = judge(f"sum(delta) + {product}", "dbeta").claim.settlement.counterexample
    assert found.values[m] == 13


def test_results_can_be_typed_again():
    assert judge("−γ·s²·sum(δ·x̂)/2", "dvariance").claim.verdict is Verdict.PROVED
    assert judge("γ·δ·(v + ε)·(v + ε)⁻¹", "dx_hat").claim.verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("z", "x_hat"),
        ("upstream", "delta"),
        ("sigma", r"sqrt\(var \+ epsilon\)"),
        ("gama", "gamma"),
        ("weight", "gamma"),
    ],
)
def test_unknown_names_are_guessed(typed, meant):
    with pytest.raises(FormulaError, match=f"there is no '{typed}': did you mean {meant}\\?"):
        judge(f"2*{typed}")


@pytest.mark.parametrize(
    ("formula", "message", "position"),
    [
        ("-gamma*delta*sqrt(-1)**2", "radicand must be ≥ 0, and “−1” never is", 13),
        ("delta*sqrt(-m)", "“−m” never is", 6),
        ("sqrt(-epsilon)*0", "“−ε” never is", 0),
        ("delta + 0*sqrt(-1 - var)", "“−1 − v” never is", 10),
        ("sqrt(1 - m)**2/(1 - m)", "divided by must be > 0, and “1 − m” never is", 14),
        ("(-1)**0.5*(-1)**-0.5", "“−1” never is", 4),
        ("(-8)**(1/2)", "“−8” never is", 4),
        ("sum(sqrt(-1 - x**2))", "“−1 − xⱼ²” never is", 4),
        ("sqrt(m*(1 - m) - 1)", "never is", 0),
        ("sqrt(var - 1/s**2)", "“v − 1/s²” never is", 0),
        ("sqrt(sqrt(4) - 3)", "never is", 0),
        ("1/sqrt(-var)", "identically 0", 1),
        ("", "empty", 0),
        ("  ", "empty", 0),
        ("gamma*q", "no 'q'", 6),
        ("2 x", "operator is missing", 2),
        ("x.real", r"\.real is not understood", 2),
        ("x|2", r"'\|' is not part", 1),
        (r"\gamma*s", "LaTeX is not understood", 0),
        ("x[0]", "without an index", 1),
        ("__import__('os')", '"\'" is not part', 11),
        ("s(3)", "no function", 1),
        ("(x + 1", r"expected '\)'", 6),
        ("x +", "found the end", 3),
        ("sum x", r"expected '\('", 4),
        ("x**delta", "exponent must be a number", 3),
        ("x**(1/3)", "whole or half", 4),
        ("x**13", "above 12", 3),
        ("(x**4)**4", "nested exponents", 2),
        ("9**9**9", "exponent is above 12", 4),
        ("1e99", "40 digits", 0),
        ("x/0", "defined nowhere", 1),
        ("gamma*(var - var)/(var - var)", "as in 0/0", 17),
        ("1/sum(x_hat)", "defined nowhere", 1),
        ("1/(var + epsilon - s**-2)", "defined nowhere", 1),
        ("(x - x)**(-1/2)", "defined nowhere", 7),
        ("x if x else 1", "cases and functions are not understood", 2),
        ("lambda + 1", "no 'lambda'", 0),
    ],
)
def test_refusals_point_at_the_character(formula, message, position):
    with pytest.raises(FormulaError, match=message) as caught:
        judge(formula)
    assert caught.value.position == position
    if formula.strip():
        pointed = caught.value.pointed().splitlines()
        assert pointed[-1].index("^") == position + 2
        assert f"character {position + 1}" in pointed[-1]


def test_size_is_limited():
    for formula, message in (
        ("x" * (MAX_LENGTH + 1), f"{MAX_LENGTH + 1} characters"),
        ("(" * (MAX_DEPTH + 1) + "x" + ")" * (MAX_DEPTH + 1), "deeper than 50"),
        ("-" * (MAX_DEPTH + 1) + "x", "deeper than 50"),
        ("x" + "**2" * (MAX_DEPTH + 1), "deeper than 50"),
    ):
        with pytest.raises(FormulaError, match=message):
            parse(formula)
    parse("(" * (MAX_DEPTH - 1) + "x" + ")" * (MAX_DEPTH - 1))
    for operator in "+-*/":
        assert judge(operator.join(["1"] * 1000)).claim.verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    "formula",
    [
        "+".join(f"sqrt(x - {n})" for n in range(138)),
        "gamma*delta + 0*(" + "+".join(f"sqrt(x - {n}) + sqrt(-1/2 - x)" for n in range(60)) + ")",
        "gamma*delta + 0*" + "sqrt(x + " * 11 + "x" + ")" * 11,
        "gamma*delta + 0*" + "sqrt(" * 49 + "x" + ")" * 49,
        "gamma*delta + " + "sum(x*" * 20 + "x" + ")" * 20,
        "gamma*delta + epsilon**2/mean(sqrt(var))*sqrt(var + 2) - sqrt(var + 2)*epsilon**2/mean(sqrt(var))",
        "(x + 1)**6*(delta + 1)**6*(gamma + 1)**6",
        "sum((x + delta + gamma + beta + m + 1)**12)",
        "*".join(["x"] * 30),
        "+".join(f"1/(x - {n})" for n in range(40)),
    ],
    ids=["roots", "contradictions", "nested", "deep", "sums", "degrees", "product", "power", "long", "quotients"],
)
def test_large_formulas_are_judged_in_time(formula):
    start = time.perf_counter()
    judge(formula, "dx_hat")
    assert time.perf_counter() - start < 20  # 2 s on a quiet machine


@given(st.text(alphabet="x+-*/()0123.e sqrtmeanugavdlp_h\n\0δ·²'\"[]{}", max_size=60) | st.text(max_size=30))
def test_any_text_is_parsed_or_refused(text):
    error = None
    try:
        parse(text)
    except FormulaError as refused:
        error = refused
    assert error is None or (0 <= error.position <= len(text) and error.pointed())


names = st.sampled_from(["x", "delta", "x_hat", "gamma", "mu", "var", "s", "epsilon", "m", "2", "0.5"])
formulas = st.recursive(
    names,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["sum", "mean", "sqrt", "-"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, st.sampled_from(["2", "3", "-1", "(-1/2)"])).map(lambda t: f"({t[0]})**{t[1]}"),
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(formulas, st.sampled_from(TARGETS))
def test_any_formula_is_judged_in_time(formula, target):
    start = time.perf_counter()
    try:
        verdict = judge(formula, target).claim.verdict
    except FormulaError:
        verdict = None
    assert time.perf_counter() - start < 20
    # The gradients are not found by chance, but for the shortest of them.
    assert verdict is not Verdict.PROVED or target in ("dbeta", "dx_hat"), formula


REWRITINGS = [
    lambda f, rng: f"({f} + {f})/2",
    lambda f, rng: f"{f} + x - x",
    lambda f, rng: f"({f})*(1 + var - var)",
    lambda f, rng: f"{f} + gamma*mean(x_hat)",
    lambda f, rng: f"{f} + {rng.randint(1, 3)}*(var + epsilon - 1/s**2)",
    lambda f, rng: f"({f})*s**2*(var + epsilon)",
    lambda f, rng: f"{f} + x_hat*(mean(x_hat**2) - 1 + epsilon*s**2)",
    lambda f, rng: f"{f} + delta*(mean(x**2) - mu**2 - var)",
    lambda f, rng: f"({f})*sqrt(var + epsilon)*inv_std",
]


@pytest.mark.parametrize("seed", range(12))
def test_rewritings_are_proved_and_their_errors_refuted(seed):
    rng = random.Random(seed)
    target, formula = rng.choice(RIGHT)
    for rewriting in rng.sample(REWRITINGS, 2):
        formula = rewriting(f"({formula})", rng)
    assert judge(formula, target).claim.verdict is Verdict.PROVED, formula
    wrong = f"{formula} + {Fraction(1, 100)}*s*sum(delta*x)"
    assert judge(wrong, target).claim.verdict is Verdict.REFUTED, wrong


# Right rewritings and wrong formulas, by target.
REWRITTEN = {
    "dx": [
        "gamma*s*delta - gamma*s*mean(delta) - gamma*s*x_hat*mean(x_hat*delta)",
        "gamma*s/m*(m*dy - sum(dy) - (x-mu)*s**2*sum(dy*(x-mu)))",
        "(gamma/sqrt(var+epsilon))*((delta-mean(delta)) - x_hat*mean(x_hat*(delta-mean(delta))))",
        "gamma*inv_std*(delta - sum(delta + x_hat*sum(delta*x_hat)/m)/m - x_hat*mean(delta*x_hat))",
        "gamma*s*delta + 2*(x-mu)/m*(-gamma*s**3*sum(delta*(x-mu))/2) - gamma*s*sum(delta)/m",
        "gamma*(mean(x**2)-mean(x)**2+epsilon)**(-0.5)*(delta-mean(delta)-x_hat*mean(delta*x_hat))",
        "gamma*s*sum((delta-mean(delta))/m) + gamma*s*(delta-mean(delta)-x_hat*mean(delta*x_hat))",
        "gamma*s*(1-1/m)*delta - gamma*s*(sum(delta)-delta)/m - gamma*s*x_hat*sum(delta*x_hat)/m",
        "gamma*s**3*((var+epsilon)*(delta-mean(delta)) - (x-mu)*mean(delta*(x-mu)))",
        "gamma*s*(delta-mean(delta)-x_hat*(mean(delta*x)-mu*mean(delta))*s)",
        "gamma/s*(delta-mean(delta))*s**2 - gamma*s*x_hat*mean(delta*x_hat)",
        "0.5*gamma*s*(2*delta-2*mean(delta)-2*x_hat*mean(delta*x_hat))",
    ],
    "dgamma": [
        "sum(x_hat*delta)",
        "m*mean(delta*x_hat)",
        "s*sum(delta*(x-mean(x)))",
        "sum((delta-mean(delta))*x_hat)",
        "s*(sum(x*delta)-sum(x)*sum(delta)/m)",
        "sum(delta*(x-mu)/sqrt(epsilon+var))",
    ],
    "dbeta": [
        "sum(dy)",
        "m*mean(dy)",
        "sum(delta)+sum(x_hat)",
        "sum(delta + x - mu)",
        "mean(m*delta)",
        "sum(mean(delta))",
    ],
    "dx_hat": [
        "gamma*delta",
        "delta*gamma + 0*x",
        "gamma*(delta - mean(delta)) + gamma*mean(delta)",
        "gamma*dy*s**2*(var+epsilon)",
    ],
    "dmean": [
        "-gamma*s*sum(delta)",
        "-s*sum(gamma*dy)",
        "-gamma*m*mean(delta)/sqrt(var+epsilon)",
        "-s*sum(gamma*delta) - 2*(-0.5*gamma*s**3*sum(delta*(x-mu)))*mean(x-mu)",
    ],
    "dvariance": [
        "-0.5*gamma*s**3*sum(delta*(x-mu))",
        "-gamma*s**2*sum(delta*x_hat)/2",
        "sum(gamma*delta*(x-mu))*(-1/2)*(var+epsilon)**(-3/2)",
        "-0.5*gamma/(var+epsilon)*sum(x_hat*dy)",
    ],
}
MISTAKEN = {
    "dx": [
        "gamma*s*(delta-mean(delta)-x_hat*mean(delta*x_hat)*m/(m-1))",
        "gamma*s*(delta+mean(delta)-x_hat*mean(delta*x_hat))",
        "gamma*s*(delta-mean(delta)-x*mean(delta*x_hat))",
        "gamma*s*(delta-mean(delta)-x_hat*mean(delta)*mean(x_hat))",
        "gamma*s**2*(delta-mean(delta)-x_hat*mean(delta*x_hat))",
        "gamma*s*(delta-mean(delta)-x_hat*mean(delta*x_hat))+epsilon",
        "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat)/(1-epsilon*s**2))",
        "gamma*(delta-mean(delta)-x_hat*mean(delta*x_hat))/sqrt(var)",
        "s*delta",
        "gamma*s*(delta-mean(delta)-(x-mu)*mean(delta*(x-mu)))",
        "gamma*s*(delta-mean(delta)-x_hat*mean(delta*x_hat)/2)",
        "beta*s*(delta-mean(delta)-x_hat*mean(delta*x_hat))",
    ],
    "dgamma": [
        "sum(delta*x)",
        "mean(delta*x_hat)",
        "sum(delta)*sum(x_hat)",
        "sum(delta*x_hat)+beta",
        "sum(delta*(x-mu))/sqrt(var)",
        "gamma*sum(delta*x_hat)",
    ],
    "dbeta": [
        "delta",
        "mean(delta)",
        "gamma*sum(delta)",
        "sum(delta*x_hat)",
        "sum(delta)+1",
        "sum(delta)*1.0000001",
    ],
    "dx_hat": [
        "delta",
        "gamma*delta*s",
        "gamma*sum(delta)",
        "gamma*(delta-mean(delta))",
    ],
    "dmean": [
        "-gamma*sum(delta)",
        "gamma*s*sum(delta)",
        "-gamma*s*mean(delta)",
        "0",
    ],
    "dvariance": [
        "-0.5*gamma*s**3*sum(delta*x)",
        "-0.5*gamma*s**2*sum(delta*(x-mu))",
        "0.5*gamma*s**3*sum(delta*(x-mu))",
        "-gamma*s**3*sum(delta*(x-mu))",
    ],
}
REWRITTEN_WEIGHTED = {
    "dx": [
        "gamma*s*(delta - w/W*sum(delta) - w/W*x_hat*sum(delta*x_hat))",
        "gamma*s*delta - gamma*s*w*(sum(delta)+x_hat*sum(delta*x_hat))/sum(w)",
    ],
    "dgamma": [
        "sum(delta*x_hat)",
        "s*(sum(delta*x) - mu*sum(delta))",
    ],
    "dbeta": [
        "sum(dy)",
    ],
    "dx_hat": [
        "gamma*dy",
    ],
    "dmean": [
        "-gamma*s*sum(delta)",
    ],
    "dvariance": [
        "-gamma*s**3*sum(delta*(x-mu))/2",
    ],
}
MISTAKEN_WEIGHTED = {
    "dx": [
        "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))",
        "gamma*s*(delta - w*mean(delta) - w*x_hat*mean(delta*x_hat))",
    ],
    "dgamma": [
        "sum(w*delta*x_hat)",
        "mean(delta*x_hat)",
    ],
    "dbeta": [
        "sum(w*dy)",
    ],
    "dx_hat": [
        "gamma*w*dy",
    ],
    "dmean": [
        "-gamma*s*sum(w*delta)",
        "-gamma*s*mean(delta)*m",
    ],
    "dvariance": [
        "-gamma*s**3*sum(w*delta*(x-mu))/2",
    ],
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("weighted", "formulas", "verdict"),
    [
        (False, REWRITTEN, Verdict.PROVED),
        (False, MISTAKEN, Verdict.REFUTED),
        (True, REWRITTEN_WEIGHTED, Verdict.PROVED),
        (True, MISTAKEN_WEIGHTED, Verdict.REFUTED),
    ],
    ids=["rewritten", "mistaken", "rewritten weighted", "mistaken weighted"],
)
def test_every_target(target, weighted, formulas, verdict):
    for formula in formulas[target]:
        judgement = judge(formula, target, weighted=weighted)
        assert judgement.claim.verdict is verdict, f"{formula}\n{judgement.text()}"
        assert re.match(rf"{verdict}\b", judgement.text())
