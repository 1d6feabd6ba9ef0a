"""Judge a formula typed by a user against the definition of a gradient; ``keras_bn`` is not involved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import sympy as sp
from sympy import Add, Dummy, Expr, Indexed, IndexedBase, Sum, Symbol

from derivations.check.lines import read
from derivations.check.points import FormulaPoint, points
from derivations.check.problems import TARGETS, own, textbook
from derivations.check.text import typed
from derivations.check.translation import FormulaProblem, Target, Translation
from derivations.check.tree import FormulaError, Node
from derivations.claims.claim import Claim, Disagreement, Settlement, Verdict
from derivations.normal_form.counterexamples import Counterexample, Undefined, enclosed
from derivations.normal_form.finite_sums import normal_form
from derivations.normal_form.intervals import differ
from derivations.notation import beta, delta, epsilon, gamma, i, k, m, mu, over_batch, printing, s, v, w, x, x_hat
from derivations.notation.expressions import Unprovable
from derivations.notation.settings import Setting

_CONFIRMATIONS = 3  # points at which a formula that was proved is computed


@dataclass(frozen=True)
class Judgement:
    """The verdict on a formula.

    formula: as it was typed, in the notation of the claim.
    """

    target: Target
    formula: str
    claim: Claim
    note: str = ""  # about the forward pass, or the shape of the formula
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
        lines.append(f"  claim              {self.target.shown} = {self.formula}")
        lines += [f"  {line}" for line in self.note.splitlines()]
        if settlement.counterexample:
            lines += _point_lines(settlement.counterexample)
            lines.append(f"  true value         {settlement.counterexample.right}")
            lines.append(f"  formula's value    {settlement.counterexample.left}")
        if self.residual and settlement.verdict is Verdict.REFUTED:
            lines.append(f"  what is missing    {printing.unicode(self.residual)}")
        if self.target.closed is not None:
            lines.append(f"  correct            {self.target.shown} = {printing.unicode(self.target.closed)}")
        lines.append(f"  assuming           {', '.join(self.claim.assumptions)}")
        lines += [f"  {step}" for step in dict.fromkeys(settlement.steps)]
        return "\n".join(lines)


def judge(
    text: str, target: str = "dx", *, weighted: bool = False, forward: str = "", elements: tuple[str, ...] = ()
) -> Judgement:
    """The verdict on the formula, or on lines of assignments, as a statement of the gradient ``target``.

    What it divides by and takes roots of must be admissible at some point; where this is not so at every point, a proof
    names the condition, and a counterexample obeys it.

    Args:
        weighted: Mean and variance are weighted.
        forward: A forward pass of one's own, y = the formula, in place of batch normalization's. The targets are d and
            a letter of it: dx, dgamma.
        elements: Further names in it that have a value for each element.

    Raises:
        FormulaError: the text is no formula, too large, or defined nowhere, such as 0/0 or sqrt(-1).

    >>> print(judge("sum(delta)", "dbeta").text().splitlines()[0])
    proved for every batch size m
    >>> print(judge("sum(delta)*(m - 1)/(m - 1)", "dbeta").text().splitlines()[0])
    proved where m − 1 ≠ 0
    >>> print(judge("gamma*s*(delta - mean(delta))").text().splitlines()[0])
    refuted by a counterexample
    >>> print(judge("delta - mean(delta)", forward="x - mean(x)").text().splitlines()[0])
    proved for every batch size m
    """
    problem = own(forward, elements) if forward else textbook(weighted)
    if target not in problem.targets:
        known = f"choose from {', '.join(problem.targets)}" if problem.targets else "the forward pass holds no letters"
        raise FormulaError(f"there is no target {target} here: {known}", text, 0)
    aim = problem.targets[target]
    tree = read(text, problem.names, target, problem.assigned).value
    translation = Translation(text, problem)
    formula = translation.expression(tree).xreplace({i: k})
    conditions = tuple(dict.fromkeys((*problem.conditions, *translation.open_conditions())))
    members = (formula, aim.truth) if aim.closed is None else (formula, aim.truth, aim.closed)
    claim = _settled(problem.problem.claim(f"check.{target}", "a formula", *members))
    claim = replace(claim, settlement=_confirmed(claim, tree, conditions, problem))
    residual = None
    if claim.verdict is Verdict.REFUTED and aim.closed is not None:
        residual = _readable(aim.closed - formula, weighted)
    notes = [problem.note] if problem.note else []
    if tree.per_element and not aim.per_element:
        notes.append(
            f"note               {aim.shown} is one number a channel, but the formula has a value for each element: "
            "add up over the batch"
        )
    return Judgement(aim, typed(tree), claim, "\n".join(notes), residual)


def _settled(claim: Claim) -> Claim:
    """The claim, settled. Over a prime field a root may have another sign than it has for real numbers.

    If the two proofs contradict each other for that reason, real values decide (``_confirmed``); nothing is claimed.
    """
    try:
        return claim.settle()
    except Disagreement:
        reason = "found equal by one proof, but not confirmed by the second, where roots may have other signs"
        return replace(claim, settlement=Settlement(Verdict.NOT_PROVED, 0.0, reason=reason))


def _confirmed(claim: Claim, tree: Node, conditions: tuple[str, ...], problem: FormulaProblem) -> Settlement:
    """The settlement for the formula as it was typed: SymPy may have cancelled what is not defined everywhere.

    Its values are compared with those of the gradient at real points, where it is defined.
    """
    settlement = claim.settlement
    assert settlement is not None
    settlement = replace(settlement, side_conditions=conditions)
    proved, found = settlement.verdict is Verdict.PROVED, settlement.counterexample
    try:
        gradient = claim.definitions.unfold(claim.members[-1])
    except Unprovable:  # the derivative is outside of what is understood, which the settlement says
        return settlement
    shown = _shown(tree, gradient, problem)
    first = [FormulaPoint(found.values, problem)] if found else []
    defined = 0
    for point in chain(first, points(tree, problem)):
        try:
            value, true = point.value(tree), enclosed(gradient, point.values)
        except Undefined:
            continue
        defined += 1
        if differ(value, true):
            if proved:
                raise Disagreement(f"{claim.identifier}: proved, but {value} is not {true} at {point.values}")
            values = {symbol: entry for symbol, entry in point.values.items() if symbol in shown}
            return replace(
                settlement, verdict=Verdict.REFUTED, counterexample=Counterexample(values, value, true), reason=""
            )
        if proved and defined == _CONFIRMATIONS:
            break
    if proved and defined:
        return settlement
    if not defined:
        reason = f"found no point at which the formula is defined, that is, {' and '.join(conditions)}"
    elif found or settlement.examination:
        reason = "neither proof nor counterexample was found"
    else:
        reason = settlement.reason
    return Settlement(Verdict.NOT_PROVED, settlement.seconds, side_conditions=conditions, reason=reason)


def _shown(tree: Node, gradient: Expr, problem: FormulaProblem) -> set[Any]:
    """The symbols of which a counterexample tells the values."""
    names = {node.name for node in tree.walk()}
    free = problem.problem.variables
    shown = {m, *(variable.symbol for name, variable in free.items() if variable.axes or name in names)}
    shown |= {epsilon, *gradient.free_symbols} | ({k} if tree.per_element or k in gradient.free_symbols else set())
    return shown


def _point_lines(found: Counterexample) -> list[str]:
    """The point, in the order in which one would compute with it."""
    values: Mapping[Any, Any] = found.values
    order = [m, x, w, delta, gamma, beta, epsilon]
    others = [symbol for symbol in values if symbol not in order and symbol != k]
    lines = []
    for symbol in [*order[:4], *others, *order[4:], k]:
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
