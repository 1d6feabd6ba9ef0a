"""Judge a formula typed by a user against the definition in ``derivations.steps``; ``keras_bn`` is not involved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy import Add, Dummy, Expr, Indexed, IndexedBase, Mul, Rational, Sum, Symbol

from derivations import printing, steps
from derivations.claim import Claim, Settlement, Verdict
from derivations.counterexample import Counterexample, search
from derivations.finite_sums import Condition, Setting, Unprovable
from derivations.formula_parser import FormulaError, Node, parse
from derivations.notation import (
    L,
    Partial,
    beta,
    delta,
    epsilon,
    gamma,
    i,
    k,
    m,
    mu,
    over_batch,
    s,
    v,
    w,
    x,
    x_hat,
)

_z = IndexedBase("z", real=True)  # the normalised input as a variable of its own
_W = over_batch(w[i])


def _targets(weighted: bool) -> dict[str, tuple[Expr, Expr, str]]:
    """For each target the gradient by definition, its closed form, and its name."""
    share = w[k] / _W if weighted else 1 / m
    d_x = gamma * s * (delta[k] - share * steps.D_BETA - share * x_hat[k] * steps.D_GAMMA)
    loss_of_x_hat = over_batch(delta[i] * (gamma * _z[i] + beta))
    return {
        "dx": (Partial(L, x[k]), d_x, "∂L/∂xₖ"),
        "dgamma": (Partial(L, gamma), steps.D_GAMMA, "∂L/∂γ"),
        "dbeta": (Partial(L, beta), steps.D_BETA, "∂L/∂β"),
        "dx_hat": (Partial(loss_of_x_hat, _z[k]), gamma * delta[k], "∂L/∂x̂ₖ"),
        "dmean": (Partial(L, mu), -gamma * s * steps.D_BETA, "∂L/∂μ"),
        "dvariance": (Partial(L, v), -gamma * s**2 * steps.D_GAMMA / 2, "∂L/∂v"),
    }


TARGETS = tuple(_targets(False))
_NAMES = {
    "x": x[i], "delta": delta[i], "x_hat": x_hat[i], "gamma": gamma, "beta": beta, "mu": mu, "var": v, "s": s,
    "epsilon": epsilon, "m": m, "w": w[i], "W": _W,
}  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """The verdict on a formula."""

    target: str
    claim: Claim
    residual: Expr | None  # true − formula, in named quantities

    def text(self) -> str:
        """The verdict in words, first of all the line with it."""
        settlement = self.claim.settlement
        assert settlement is not None
        sizes = "for every batch size m" + "".join(f", where {c}" for c in settlement.side_conditions)
        if settlement.verdict is Verdict.PROVED:
            lines = [f"proved {sizes}"]
        elif settlement.verdict is Verdict.REFUTED:
            lines = ["refuted by a counterexample"]
        else:
            lines = [f"not proved: {settlement.reason}"]
        formula = self.claim.members[0]
        lines.append(f"  claim              {self.target} = {printing.unicode(formula)}")
        if settlement.counterexample:
            lines += _point_lines(settlement.counterexample)
            lines.append(f"  true value         {settlement.counterexample.right}")
            lines.append(f"  formula's value    {settlement.counterexample.left}")
        if self.residual is not None and settlement.verdict is not Verdict.PROVED:
            lines.append(f"  what is missing    {printing.unicode(self.residual)}")
        lines.append(f"  correct            {self.target} = {printing.unicode(self.claim.members[-1])}")
        lines.append(f"  assuming           {', '.join(self.claim.assumptions)}")
        lines += [f"  {step}" for step in settlement.steps]
        return "\n".join(lines)


def judge(text: str, target: str = "dx", *, weighted: bool = False) -> Judgement:
    """The verdict on the formula as a statement of the gradient ``target``, for every batch size.

    Raises:
        FormulaError: the text is no formula, too large, or defined nowhere, such as 0/0.

    >>> print(judge("sum(delta)", "dbeta").text().splitlines()[0])
    proved for every batch size m
    >>> print(judge("gamma*s*(delta - mean(delta))").text().splitlines()[0])
    refuted by a counterexample
    """
    textbook, where = steps.definitions(weighted), steps.setting(weighted)
    translation = _Translation(text, weighted)
    formula = translation.expression(parse(text, weighted=weighted)).xreplace({i: k})
    truth, closed, name = _targets(weighted)[target]
    claim = Claim(
        f"check.{target}",
        "a formula",
        (formula, truth, closed),
        where,
        textbook,
        assumptions=("m ≥ 1", "ε > 0", *(("w ≥ 0", "Σ w > 0") if weighted else ())),
        conditions=frozenset(translation.conditions),
    ).settle()
    if claim.verdict is Verdict.NOT_PROVED:
        claim = _searched(claim)
    residual = None if claim.verdict is Verdict.PROVED else _readable(closed - formula, weighted)
    return Judgement(name, claim, residual)


def _searched(claim: Claim) -> Claim:
    """The claim, refuted by a counterexample if there is one outside of what the normal form covers."""
    left, right = (claim.definitions.unfold(member) for member in (claim.members[0], claim.members[-1]))
    if found := search(left, right, claim.setting):
        settlement = Settlement(Verdict.REFUTED, 0.0, counterexample=found, reason="false at the counterexample")
        return Claim(**{**vars(claim), "settlement": settlement})
    return claim


class _Translation:
    """A parsed formula as an expression; denominators and radicands are examined before SymPy can cancel them."""

    def __init__(self, text: str, weighted: bool) -> None:
        self.text = text
        self.share = w[i] / _W if weighted else 1 / m
        self.setting, self.definitions = steps.setting(weighted), steps.definitions(weighted)
        self.conditions: set[Condition] = set()

    def expression(self, node: Node) -> Expr:
        if node.kind == "number":
            return Rational(node.value.numerator, node.value.denominator)
        if node.kind == "name":
            return _NAMES[node.name]
        parts = [self.expression(part) for part in node.parts]
        match node.kind:
            case "+":
                return Add(*parts)
            case "*":
                return Mul(*parts)
            case "-":
                return -parts[0]
            case "/":
                self._require(parts[1], "≠ 0", node.position)
                return parts[0] / parts[1]
            case "sqrt":
                return self._power(parts[0], Rational(1, 2), node.position)
            case "**":
                exponent = Rational(node.value.numerator, node.value.denominator)
                return self._power(parts[0], exponent, node.position)
            case "sum":
                return over_batch(parts[0])
        return over_batch(self.share * parts[0])

    def _power(self, base: Expr, exponent: Expr, position: int) -> Expr:
        if not exponent.is_Integer:
            self._require(base, "> 0" if exponent.is_negative else "≥ 0", position)
        elif exponent.is_negative:
            self._require(base, "≠ 0", position)
        return base**exponent

    def _require(self, expression: Expr, relation: str, position: int) -> None:
        unfolded = self.definitions.unfold(expression)
        try:
            zero = relation != "≥ 0" and self.setting.residual(unfolded) == 0
        except Unprovable:  # what the normal form does not cover is not claimed to be 0
            zero = False
        if zero:
            raise FormulaError(
                "the formula is defined nowhere: it divides by something that is identically 0, as in 0/0",
                self.text,
                position,
            )
        self.conditions.add(Condition(unfolded.xreplace({i: k}), relation))


def _point_lines(found: Counterexample) -> list[str]:
    """The point, in the order in which one would compute with it."""
    order: list[Any] = [m, x, w, delta, gamma, beta, epsilon, k]
    values: Mapping[Any, Any] = found.values
    lines = []
    for symbol in order:
        if symbol in values:
            value = values[symbol]
            shown = f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)
            name = str(getattr(symbol, "label", symbol))
            lines.append(f"  {name:<18} {shown}")
    return lines


def _readable(difference: Expr, weighted: bool) -> Expr | None:
    """The difference in μ, s, x̂ and ε, with Σ x̂ = 0 and Σ x̂² = m·(1 − ε·s²); None if it has no simple form."""
    element = IndexedBase("xhat", real=True)  # no shorthand any more: a variable
    mean, inverse = Symbol("mu", real=True), Symbol("s", positive=True)

    def in_names(e: Expr) -> Expr:
        if isinstance(e, Indexed):
            if e.base == x:
                return mean + element[e.indices] / inverse
            return element[e.indices] if e.base == x_hat else e
        if e in (mu, s, v):
            return {mu: mean, s: inverse, v: inverse**-2 - epsilon}[e]
        if isinstance(e, Sum):
            return Sum(in_names(e.function), *e.limits)
        return e.func(*map(in_names, e.args)) if e.args else e

    where = Setting({i: m, k: m})
    weight = w[i] if weighted else sp.Integer(1)
    moments = {
        where.normal_form(over_batch(weight * element[i])): sp.Integer(0),
        where.normal_form(over_batch(weight * element[i] ** 2)): over_batch(weight) * (1 - epsilon * inverse**2),
    }
    try:
        rest = where.normal_form(in_names(difference)).xreplace(moments)
        rest = where.normal_form(rest)
        bound = {limit[0]: Dummy("j", integer=True) for sum_ in rest.atoms(Sum) for limit in sum_.limits}
        rest = rest.xreplace(bound if len(bound) == 1 else {})  # j₁ of the normal form → j
        return rest if len(Add.make_args(rest)) > 12 else sp.factor_terms(rest)
    except Unprovable:
        return None


__all__ = ["TARGETS", "FormulaError", "Judgement", "judge"]
