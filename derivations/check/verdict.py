"""Judge a formula typed by a user against the definition in ``derivations.steps``; ``keras_bn`` is not involved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import sympy as sp
from sympy import Add, Dummy, Expr, Indexed, IndexedBase, Mul, Rational, S, Sum, Symbol

from derivations.check.parser import FormulaError, Node, parse
from derivations.check.points import FormulaPoint, points
from derivations.check.ranges import value_range
from derivations.check.text import per_element, typed
from derivations.claims import steps
from derivations.claims.claim import Claim, Disagreement, Settlement, Verdict
from derivations.normal_form.counterexamples import Counterexample, Undefined, enclosed
from derivations.normal_form.finite_sums import normal_form, open_conditions, residual
from derivations.normal_form.intervals import differ
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
    printing,
    s,
    v,
    w,
    x,
    x_hat,
)
from derivations.notation.expressions import Unprovable
from derivations.notation.settings import Condition, Setting

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
    """The verdict on a formula.

    formula: as it was typed, in the notation of the claim.
    """

    target: str
    formula: str
    claim: Claim
    residual: Expr | None = None  # true − formula, in named quantities

    def text(self) -> str:
        """The verdict in words, first of all the line with it."""
        settlement = self.claim.settlement
        assert settlement is not None
        if settlement.verdict is Verdict.PROVED:
            where = " and ".join(settlement.side_conditions)
            lines = [f"proved where {where}" if where else "proved for every batch size m"]
        elif settlement.verdict is Verdict.REFUTED:
            lines = ["refuted by a counterexample"]
        else:
            lines = [f"not proved: {settlement.reason}"]
        lines.append(f"  claim              {self.target} = {self.formula}")
        if settlement.counterexample:
            lines += _point_lines(settlement.counterexample)
            lines.append(f"  true value         {settlement.counterexample.right}")
            lines.append(f"  formula's value    {settlement.counterexample.left}")
        if self.residual and settlement.verdict is not Verdict.PROVED:
            lines.append(f"  what is missing    {printing.unicode(self.residual)}")
        lines.append(f"  correct            {self.target} = {printing.unicode(self.claim.members[-1])}")
        lines.append(f"  assuming           {', '.join(self.claim.assumptions)}")
        lines += [f"  {step}" for step in dict.fromkeys(settlement.steps)]
        return "\n".join(lines)


def judge(text: str, target: str = "dx", *, weighted: bool = False) -> Judgement:
    """The verdict on the formula as a statement of the gradient ``target``.

    What it divides by and takes roots of must be admissible at some point; where this is not so at every point, a proof
    names the condition, and a counterexample obeys it.

    Raises:
        FormulaError: the text is no formula, too large, or defined nowhere, such as 0/0 or sqrt(-1).

    >>> print(judge("sum(delta)", "dbeta").text().splitlines()[0])
    proved for every batch size m
    >>> print(judge("sum(delta)*(m - 1)/(m - 1)", "dbeta").text().splitlines()[0])
    proved where m − 1 ≠ 0
    >>> print(judge("gamma*s*(delta - mean(delta))").text().splitlines()[0])
    refuted by a counterexample
    """
    tree = parse(text, weighted=weighted)
    translation = _Translation(text, weighted)
    formula = translation.expression(tree).xreplace({i: k})
    conditions = translation.open_conditions()
    truth, closed, name = _targets(weighted)[target]
    claim = Claim(
        f"check.{target}",
        "a formula",
        (formula, truth, closed),
        translation.setting,
        translation.definitions,
        assumptions=("m ≥ 1", "ε > 0", *(("w ≥ 0", "Σ w > 0") if weighted else ())),
    ).settle()
    claim = replace(claim, settlement=_where_defined(claim, tree, conditions, weighted))
    residual = None if claim.verdict is Verdict.PROVED else _readable(closed - formula, weighted)
    return Judgement(name, typed(tree), claim, residual)


def _where_defined(claim: Claim, tree: Node, conditions: tuple[str, ...], weighted: bool) -> Settlement:
    """The settlement for the formula as it was typed: SymPy may have cancelled what is not defined everywhere."""
    settlement = claim.settlement
    assert settlement is not None
    settlement = replace(settlement, side_conditions=conditions)
    proved, found = settlement.verdict is Verdict.PROVED, settlement.counterexample
    if not conditions and (proved or found):
        return settlement
    gradient = claim.definitions.unfold(claim.members[-1])
    names = {node.name for node in tree.walk()}
    shown = {m, x, w, delta, epsilon, *(symbol for symbol in (gamma, beta) if symbol.name in names)}
    shown |= gradient.free_symbols | ({k} if per_element(tree) else set())
    first = [FormulaPoint(found.values, weighted=weighted)] if found else []
    defined = False
    for point in chain(first, points(tree, weighted=weighted)):
        try:
            value, true = point.value(tree), enclosed(gradient, point.values)
        except Undefined:
            continue
        defined = True
        if differ(value, true):
            if proved:
                raise Disagreement(f"{claim.identifier}: proved, but {value} is not {true} at {point.values}")
            values = {symbol: entry for symbol, entry in point.values.items() if symbol in shown}
            return replace(
                settlement, verdict=Verdict.REFUTED, counterexample=Counterexample(values, value, true), reason=""
            )
        if proved:
            return settlement
    if not defined:
        reason = f"found no point at which the formula is defined, that is, {' and '.join(conditions)}"
    elif found or settlement.examination:
        reason = "neither proof nor counterexample was found"
    else:
        reason = settlement.reason
    return Settlement(Verdict.NOT_PROVED, settlement.seconds, side_conditions=conditions, reason=reason)


@dataclass(frozen=True)
class _Requirement:
    """What must hold for the formula to be defined; ``summed``: inside of a sum."""

    node: Node
    relation: str  # "≠ 0", "> 0" or "≥ 0"
    position: int
    summed: bool

    @property
    def everywhere(self) -> bool:
        """Whether it must hold for all elements, not for k alone."""
        return self.summed and per_element(self.node)

    @property
    def shown(self) -> str:
        return typed(self.node, "ⱼ" if self.everywhere else "ₖ")

    @property
    def text(self) -> str:
        return f"{self.shown} {self.relation}" + (" for all j" if self.everywhere else "")

    def refusal(self) -> str:
        if self.relation == "≠ 0":
            return "the formula is defined nowhere: it divides by something that is identically 0, as in 0/0"
        rule = "a radicand must be ≥ 0" if self.relation == "≥ 0" else "a radicand that is divided by must be > 0"
        return f"the formula is defined nowhere: {rule}, and “{self.shown}” never is; check its sign"


class _Translation:
    """A parsed formula as an expression; denominators and radicands are examined before SymPy can cancel them."""

    def __init__(self, text: str, weighted: bool) -> None:
        self.text = text
        self.share = w[i] / _W if weighted else 1 / m
        self.setting, self.definitions = steps.setting(weighted), steps.definitions(weighted)
        self._open: dict[tuple[Expr, bool], _Requirement] = {}
        self._known: dict[tuple[int, bool], Expr] = {}  # by the identity of a node

    def expression(self, node: Node, summed: bool = False) -> Expr:
        """The expression at the element i; ``summed``: inside of a sum."""
        key = id(node), summed
        if key not in self._known:
            self._known[key] = self._expression(node, summed)
        return self._known[key]

    def _expression(self, node: Node, summed: bool) -> Expr:
        if node.kind == "number":
            return Rational(node.value.numerator, node.value.denominator)
        if node.kind == "name":
            return _NAMES[node.name]
        parts = [self.expression(part, summed or node.kind in ("sum", "mean")) for part in node.parts]
        match node.kind:
            case "+":
                return Add(*parts)
            case "*":
                return Mul(*parts)
            case "-":
                return -parts[0]
            case "/":
                return self._power(parts[0], Rational(-1), node, summed)
            case "sqrt":
                return self._power(parts[0], Rational(1, 2), node, summed)
            case "**":
                exponent = Rational(node.value.numerator, node.value.denominator)
                return self._power(parts[0], exponent, node, summed)
            case "sum":
                return over_batch(parts[0])
        return over_batch(self.share * parts[0])

    def open_conditions(self) -> tuple[str, ...]:
        """The conditions that hold at some points and not at others."""
        return tuple(dict.fromkeys(requirement.text for requirement in self._open.values()))

    def _power(self, base: Expr, exponent: Expr, node: Node, summed: bool) -> Expr:
        rooted = not exponent.is_Integer
        (inner,) = node.parts
        if rooted or exponent.is_negative:
            relation = "≠ 0" if not rooted else "> 0" if exponent.is_negative else "≥ 0"
            self._require(base, _Requirement(inner, relation, node.position, summed))
        # A radicand that is nowhere above 0 is 0 wherever its root is defined; SymPy would go on with complex numbers.
        if rooted and (value_range(inner).high.at <= 0 or self.definitions.unfold(base).is_nonpositive):
            return S.Zero
        return base**exponent

    def _require(self, expression: Expr, required: _Requirement) -> None:
        node = required.node
        if required.relation == "≠ 0" and expression != 0 and node.kind in ("*", "-", "/", "**", "sqrt"):
            for part in node.parts if node.kind != "/" else ():  # a quotient has required it of its divisor
                self._require(self.expression(part, required.summed), replace(required, node=part))
            return
        key = expression, required.everywhere
        if (known := self._open.get(key)) and known.relation != required.relation:
            required = replace(required, relation="> 0")  # of ≥ 0, ≠ 0 and > 0 any two come to this
        holds = value_range(required.node).satisfies(required.relation)
        if holds is None:
            holds = self._by_normal_form(self.definitions.unfold(expression), required.relation)
        if holds is False:
            raise FormulaError(required.refusal(), self.text, required.position)
        if holds is None:
            self._open[key] = required

    def _by_normal_form(self, unfolded: Expr, relation: str) -> bool | None:
        """Whether the condition holds everywhere or nowhere; None if it may do either."""
        unfolded = unfolded.xreplace({i: k})
        try:
            if residual(self.setting, unfolded) == 0:
                return relation == "≥ 0"
            if not open_conditions(self.setting, [Condition(unfolded, relation)]):
                return True
            if not open_conditions(self.setting, [Condition(-unfolded, "> 0")]):
                return False
            variance = self.definitions.unfold(v)
            return True if relation == "≥ 0" and residual(self.setting, unfolded, variance) == 0 else None
        except Unprovable:  # of what the normal form does not cover nothing is claimed
            return None


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
        normal_form(where, over_batch(weight * element[i])): sp.Integer(0),
        normal_form(where, over_batch(weight * element[i] ** 2)): over_batch(weight) * (1 - epsilon * inverse**2),
    }
    try:
        rest = normal_form(where, in_names(difference)).xreplace(moments)
        rest = normal_form(where, rest)
        bound = {limit[0]: Dummy("j", integer=True) for sum_ in rest.atoms(Sum) for limit in sum_.limits}
        rest = rest.xreplace(bound if len(bound) == 1 else {})  # j₁ of the normal form → j
        return rest if len(Add.make_args(rest)) > 12 else sp.factor_terms(rest)
    except Unprovable:
        return None


__all__ = ["TARGETS", "FormulaError", "Judgement", "judge"]
