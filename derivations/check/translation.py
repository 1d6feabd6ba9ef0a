"""A formula as an expression; its denominators and radicands are examined before SymPy can cancel them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sympy import Abs, Add, Dummy, Expr, Indexed, Mul, Rational, S, Sum, factor

from derivations.check.inequalities import never_negative, not_negative
from derivations.check.names import Names
from derivations.check.ranges import value_range
from derivations.check.text import typed
from derivations.check.tree import FormulaError, Node
from derivations.claims.problem import Problem
from derivations.normal_form.finite_sums import normal_form, open_conditions, residual
from derivations.notation import i, k, m, over_batch, w
from derivations.notation.expressions import Unprovable
from derivations.notation.settings import Condition


@dataclass(frozen=True)
class Target:
    """A gradient: by definition, in closed form if one is known, and how it is written."""

    truth: Expr
    closed: Expr | None
    shown: str

    @property
    def per_element(self) -> bool:
        return k in self.truth.free_symbols


@dataclass(frozen=True, eq=False)
class FormulaProblem:
    """A problem, and what the names of formulas mean in it.

    expressions: the names as expressions, at the element i.
    meaning: what the names that are not free stand for, as formulas.
    assigned: what lines of the forward pass have assigned.
    conditions: where the forward pass is defined.
    note: a line that tells more about the names, for the verdict.
    """

    problem: Problem
    names: Names
    expressions: Mapping[str, Expr]
    meaning: Mapping[str, Node]
    targets: Mapping[str, Target]
    assigned: Mapping[str, Node]
    weighted: bool = False
    conditions: tuple[str, ...] = ()
    note: str = ""

    @property
    def free(self) -> dict[str, Any]:
        """The names that may be chosen, with their symbols."""
        return {name: variable.symbol for name, variable in self.problem.variables.items()}


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
        return self.summed and self.node.per_element

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


class Translation:
    """A parsed formula as an expression; ``text`` is what an error points into."""

    def __init__(self, text: str, problem: FormulaProblem) -> None:
        self.text, self.names = text, problem.expressions
        self.share = w[i] / over_batch(w[i]) if problem.weighted else 1 / m
        self.setting, self.definitions = problem.problem.setting, problem.problem.definitions
        variables = problem.problem.variables.values()
        self.elements = tuple(variable.at(i) for variable in variables if variable.axes)
        self.weighted = problem.weighted
        self._open: dict[tuple[Expr, bool], _Requirement] = {}
        self._known: dict[tuple[int, bool], Expr] = {}  # by the identity of a node
        self._nodes: list[Node] = []  # which are kept, so that no other gets their identity

    def expression(self, node: Node, summed: bool = False) -> Expr:
        """The expression at the element i; ``summed``: inside of a sum."""
        key = id(node), summed
        if key not in self._known:
            self._nodes.append(node)
            self._known[key] = self._expression(node, summed)
        return self._known[key]

    def _expression(self, node: Node, summed: bool) -> Expr:
        if node.kind == "number":
            return Rational(node.value.numerator, node.value.denominator)
        if node.kind == "name":
            return self.names[node.name]
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

    def unfolded(self, expression: Expr) -> Expr:
        """In the variables alone, at the element k."""
        return self.definitions.unfold(expression).xreplace({i: k})

    def _power(self, base: Expr, exponent: Expr, node: Node, summed: bool) -> Expr:
        rooted = not exponent.is_Integer
        (inner,) = node.parts
        if rooted or exponent.is_negative:
            relation = "≠ 0" if not rooted else "> 0" if exponent.is_negative else "≥ 0"
            self._require(base, _Requirement(inner, relation, node.position, summed))
        # A radicand that is nowhere above 0 is 0 wherever its root is defined; SymPy would go on with complex numbers.
        if rooted and (value_range(inner).high.at <= 0 or self.definitions.unfold(base).is_nonpositive):
            return S.Zero
        return self._rooted(base, exponent) if rooted else base**exponent

    def _rooted(self, base: Expr, exponent: Expr) -> Expr:
        """A half power; squares and positive factors of the radicand are drawn out, so that √(4·A) and 2·√A are one.

        Over a prime field the root of a square may have either sign; here the sign is known, or |A| remains.
        """
        try:
            normal = normal_form(self.setting, self.definitions.unfold(base))
        except Unprovable:
            return base**exponent
        names = {atom: _stand_in(atom) for atom in normal.atoms(Sum, Indexed)}
        factored = factor(normal.xreplace(names)) if normal.is_Add else normal.xreplace(names)
        if factored.is_Add:
            return base**exponent
        drawn = factored**exponent
        return base**exponent if drawn.has(Abs) else drawn.xreplace({dummy: atom for atom, dummy in names.items()})

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
            holds = self._by_normal_form(expression, required.relation)
        if holds is False:
            raise FormulaError(required.refusal(), self.text, required.position)
        if holds is None:
            self._open[key] = required

    def _by_normal_form(self, expression: Expr, relation: str) -> bool | None:
        """Whether the condition holds everywhere or nowhere; None if it may do either."""
        unfolded = self.unfolded(expression)
        try:
            normal = residual(self.setting, unfolded)
            if normal == 0:
                return relation == "≥ 0"
            if not open_conditions(self.setting, [Condition(unfolded, relation)]):
                return True
            if not open_conditions(self.setting, [Condition(-unfolded, "> 0")]):
                return relation == "≠ 0"
            found = (
                "" if self.weighted else never_negative(self.setting, self.definitions, unfolded, normal, self.elements)
            )
            return True if found and (found == "> 0" or relation == "≥ 0") else None
        except Unprovable:  # of what the normal form does not cover nothing is claimed
            return None


def _stand_in(atom: Expr) -> Dummy:
    """A symbol for an element or a sum, that is known not to be negative where that is seen."""
    return Dummy("a", real=True, nonnegative=True) if not_negative(atom) else Dummy("a", real=True)
