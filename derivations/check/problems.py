"""What a formula is judged against: the textbook's forward pass, or a user's own."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sympy import IndexedBase, Rational, Symbol, expand_mul

from derivations.check.lines import read
from derivations.check.names import ALIASES, TEXTBOOK, WEIGHTED, Names
from derivations.check.parser import meanings
from derivations.check.ranges import value_range
from derivations.check.text import typed
from derivations.check.translation import FormulaProblem, Target, Translation
from derivations.check.tree import FormulaError, Node
from derivations.claims import steps
from derivations.claims.problem import Problem, Variable, batch_normalization
from derivations.normal_form.finite_sums import normal_form
from derivations.notation import (
    Definitions,
    L,
    Partial,
    beta,
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
from derivations.notation import delta as delta_base
from derivations.notation import y as output
from derivations.notation.expressions import Shorthand, Unprovable
from derivations.notation.printing import symbol_name
from derivations.notation.settings import InverseRoot, Setting

_z = IndexedBase("z", real=True)  # the normalized input as a variable of its own
_r = Shorthand("r", positive=True)  # the inverse root of a user's own forward pass


def textbook(weighted: bool = False) -> FormulaProblem:
    """Batch normalization, y = γ·x̂ + β, with the gradients on the paper's route."""
    whole = over_batch(w[i])
    share = w[k] / whole if weighted else 1 / m
    d_x = gamma * s * (delta_base[k] - share * steps.D_BETA - share * x_hat[k] * steps.D_GAMMA)
    loss_of_x_hat = over_batch(delta_base[i] * (gamma * _z[i] + beta))
    targets = {
        "dx": Target(Partial(L, x[k]), d_x, "∂L/∂xₖ"),
        "dgamma": Target(Partial(L, gamma), steps.D_GAMMA, "∂L/∂γ"),
        "dbeta": Target(Partial(L, beta), steps.D_BETA, "∂L/∂β"),
        "dx_hat": Target(Partial(loss_of_x_hat, _z[k]), gamma * delta_base[k], "∂L/∂x̂ₖ"),
        "dmean": Target(Partial(L, mu), -gamma * s * steps.D_BETA, "∂L/∂μ"),
        "dvariance": Target(Partial(L, v), -gamma * s**2 * steps.D_GAMMA / 2, "∂L/∂v"),
    }
    expressions = {
        "x": x[i], "delta": delta_base[i], "x_hat": x_hat[i], "gamma": gamma, "beta": beta, "mu": mu, "var": v, "s": s,
        "epsilon": epsilon, "m": m, "w": w[i], "W": whole,
    }  # fmt: skip
    names = WEIGHTED if weighted else TEXTBOOK
    return FormulaProblem(batch_normalization(weighted), names, expressions, meanings(names), targets, {}, weighted)


TARGETS = tuple(textbook().targets)


def own(forward: str, elements: tuple[str, ...] = ()) -> FormulaProblem:
    """A user's own forward pass, y = the formula. Any name that is not known is a number, or listed as an element.

    Raises:
        FormulaError: the forward pass is no formula, or defined nowhere.
    """
    if wrong := [name for name in elements if not name.isidentifier() or elements.count(name) > 1]:
        raise FormulaError(f"--elements takes names, each once. Received: {wrong[0]!r}", forward, 0)
    statistics = ("mu", "var", "s", "epsilon", "m")
    program = read(forward, Names(("x", "x_hat", *elements), statistics, True, False))
    if reserved := [
        name for name in (*program.letters, *elements) if ALIASES.get(name, name) in ("delta", "y", *statistics)
    ]:
        raise FormulaError(f"{reserved[0]} has a meaning of its own: choose another name for what is given", forward, 0)
    per_element = program.value.per_element
    meaning = meanings(TEXTBOOK)
    used = _names_of(program.value, meaning)
    letters = [name for name in ("x", *elements, *program.letters, "epsilon") if name in used]
    variables = {name: _variable(name, name == "x" or name in elements) for name in letters}
    delta: Any = delta_base if per_element else Symbol("delta", real=True)
    y: Any = output if per_element else Shorthand("y", real=True)
    variables["delta"] = Variable(delta, (m,) if per_element else ())
    expressions = {
        "x": x[i], "x_hat": x_hat[i], "mu": mu, "var": v, "s": s, "epsilon": epsilon, "m": m,
        **{name: variable.at(*[i] * len(variable.axes)) for name, variable in variables.items()},
        "y": y[i] if per_element else y,
    }  # fmt: skip

    named = {name: value for name, value in steps.definitions().items() if name in (mu, v, s, x_hat[i])}
    plain = FormulaProblem(
        Problem(variables, Definitions(named), Setting({i: m, k: m}, None, (epsilon,))),
        TEXTBOOK, expressions, meaning, {}, {},
    )  # fmt: skip
    translation = Translation(forward, plain)
    translation.expression(program.value)
    root = _root(program.value, meaning, translation)
    if root is not None:  # once more, with a name for it
        named[root.symbol] = (root.variance + epsilon) ** Rational(-1, 2)
        setting = Setting({i: m, k: m}, root, (root.variance + epsilon, epsilon))
        plain = replace(plain, problem=Problem(variables, Definitions(named), setting))
        translation = Translation(forward, plain)
    value = translation.expression(program.value)
    loss = over_batch(delta[i] * y[i]) if per_element else delta * y
    definitions = Definitions({**named, expressions["y"]: value, L: loss})
    problem = Problem(
        variables,
        definitions,
        plain.problem.setting,
        assumptions=("m ≥ 1", *(("ε > 0",) if "epsilon" in letters else ())),
    )
    inner = ("delta", "y")
    return FormulaProblem(
        problem,
        Names(
            ("x", "x_hat", *elements, *(inner if per_element else ())),
            (*statistics, *program.letters, *(() if per_element else inner)),
            textbook=False,
        ),
        expressions,
        {**meaning, "y": program.value},
        {f"d{name}": _target(name, variables[name]) for name in letters},
        program.assigned,
        note=f"{_at('y', per_element)} = {typed(program.value)}",
        conditions=translation.open_conditions(),
    )


def _target(name: str, variable: Variable) -> Target:
    return Target(Partial(L, variable.at(*[k] * len(variable.axes))), None, f"∂L/∂{_at(name, bool(variable.axes))}")


def _at(name: str, per_element: bool) -> str:
    return symbol_name(Symbol(name)) + ("ₖ" if per_element else "")


def _variable(name: str, per_element: bool) -> Variable:
    known = batch_normalization().variables.get(name)  # whose symbols print as they should
    if known is not None and bool(known.axes) == per_element:
        return known
    return Variable(IndexedBase(name, real=True), (m,)) if per_element else Variable(Symbol(name, real=True))


def _names_of(node: Node, meaning: Mapping[str, Node]) -> set[str]:
    """The names in a formula, and in what they stand for."""
    names = {part.name for part in node.walk() if part.kind == "name"}
    return names.union(*(_names_of(meaning[name], meaning) for name in names if name in meaning))


def _radicands(node: Node, meaning: Mapping[str, Node]) -> Iterator[Node]:
    """What a formula takes the root of, the roots in what its names stand for included."""
    for part in node.walk():
        if part.kind == "sqrt" or (part.kind == "**" and part.value.denominator == 2):
            yield part.parts[0]
        elif part.kind == "name" and part.name in meaning:
            yield from _radicands(meaning[part.name], meaning)


def _root(node: Node, meaning: Mapping[str, Node], translation: Translation) -> InverseRoot | None:
    """The inverse root of the first radicand A + c·ε that is positive everywhere, up to the factor c."""
    for radicand in _radicands(node, meaning):
        if radicand.per_element or value_range(radicand).satisfies("> 0") is not True:
            continue
        terms = translation.expression(radicand)
        try:
            unfolded = normal_form(Setting({i: m, k: m}), translation.unfolded(terms))
        except Unprovable:
            continue
        factor, rest = unfolded.coeff(epsilon, 1), unfolded.coeff(epsilon, 0)
        if factor.is_positive and epsilon not in factor.free_symbols and unfolded == factor * epsilon + rest:
            return InverseRoot(_r, epsilon, expand_mul(rest / factor))
    return None
