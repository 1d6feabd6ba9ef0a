"""The graphs that TensorFlow traces from the shipped code, with an unknown batch size, against the textbook.

The layer's training step in three layouts, plain, masked and renormalized, its inference, and both with the other
engines; ``batch_norm`` with the cotangents of mean and variance; and, as a control, the plain formula that TensorFlow
differentiates by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import sympy as sp
from sympy import Expr, Rational

from derivations.claims import steps
from derivations.claims.claim import Claim, Disagreement, Settlement, Verdict
from derivations.claims.families import inference, second_order
from derivations.graphs import kernel_axioms
from derivations.graphs.exact.judge import DEGREES, Run, judged
from derivations.graphs.shipped import BOUNDS, GRAPHS, LAYOUTS, Graph, Traced, trace
from derivations.graphs.symbolic.arithmetic import POSITIVE
from derivations.graphs.symbolic.interpretation import FINITE
from derivations.graphs.symbolic.outputs import Interpreted, S, V, a, interpret, mean_ref, rho, std_ref
from derivations.graphs.symbolic.predicates import POPULATED
from derivations.graphs.walk import CASTS, UnknownGraph
from derivations.normal_form.finite_sums import open_conditions
from derivations.notation import (
    Definitions,
    J,
    M,
    Partial,
    Phi,
    beta,
    delta,
    epsilon,
    g_mu,
    g_v,
    gamma,
    k,
    m,
    mu,
    over_batch,
    printing,
    s,
    u,
    u_beta,
    u_gamma,
    v,
    x,
    x_hat,
    y,
)
from derivations.notation import i as element
from derivations.notation.expressions import Unprovable
from derivations.notation.worlds import Computed

Runs = Mapping[bool | None, Mapping[str, Run]]


@dataclass(frozen=True)
class GraphClaim(Claim):
    """A claim on an output of a graph: the interpretation proves it for every size, and the graph itself is run.

    run: what the runs of the graph found of this output; None for what is no output, but an argument of a function of
        which nothing is known. The outputs into which that enters are run.
    held: what symbols in the members stand for, where that is known: values held constant. What is proved with the
        symbols holds for every constant.
    relative: whether more is assumed than holds at every point that is run: the members hold r and d, about whose
        values there are claims of their own, or a hypothesis is about the data.
    engine: The same expression, met in another graph of the engine, is not proved twice; of another engine it is, since
        the claims of the two engines may be settled by two processes.
    """

    run: Run | None = None
    held: tuple[tuple[Any, Expr], ...] = ()
    relative: bool = False
    engine: str = ""
    _proved: ClassVar[dict[Any, tuple[str, Settlement]]] = {}

    def _settled_twice(self) -> Settlement:
        first = self._for_every_size(self._by_normal_form())
        run = self.run
        if run is None:
            return first
        if run.found and first.verdict is Verdict.PROVED and not (self.relative or first.side_conditions):
            raise Disagreement(f"{self.identifier}: proved by the interpretation, but {run.found}")
        if run.equal and first.verdict is Verdict.PROVED:
            return replace(first, steps=(*first.steps, str(run)), examination=run)
        if run.found:
            reason = first.reason if first.verdict is Verdict.REFUTED else run.found
            return replace(first, verdict=Verdict.REFUTED, reason=reason, steps=(run.found,), examination=run)
        if first.verdict is Verdict.REFUTED and run.equal:
            reason = f"the interpretation is refuted, the graph is not: {first.reason}"
            return replace(first, verdict=Verdict.NOT_PROVED, reason=reason, examination=run)
        if first.verdict is Verdict.PROVED:
            return replace(first, verdict=Verdict.NOT_PROVED, reason=run.undecided, examination=run)
        return replace(first, examination=run)

    def _for_every_size(self, first: Settlement) -> Settlement:
        """A quotient or a root that has no value for some sizes of the batch is no proof for every size."""
        if first.verdict is not Verdict.PROVED or not first.side_conditions:
            return first
        of_sizes = [c for c in open_conditions(self.setting, self.conditions) if _depends_on_the_size(c.expression)]
        if not of_sizes:
            return first
        texts = (f"{printing.unicode(c.expression)} {c.relation}" for c in of_sizes)
        reason = f"it may have no value for some size of the batch: nothing says that {' and '.join(texts)}"
        return replace(first, verdict=Verdict.NOT_PROVED, reason=reason)

    def _by_normal_form(self) -> Settlement:
        """With any constants in place of those held; where that is no proof, with their values."""
        values = tuple(member.value if isinstance(member, Computed) else member for member in self.members)
        key = self.engine, values, id(self.setting), self.definitions, self.conditions, self.held, self.run is None
        if key in self._proved:
            name, settlement = self._proved[key]
            return replace(settlement, steps=(f"this is, term by term, the expression of {name}, proved there",))
        settlement = self._attempt(self)
        if settlement.verdict is not Verdict.PROVED and self.held:
            settlement = self._attempt(replace(self, members=tuple(map(self._resolved, self.members))))
        if settlement.verdict is Verdict.PROVED:
            self._proved[key] = self.identifier, settlement
        return settlement

    def _attempt(self, claim: "GraphClaim") -> Settlement:
        try:
            if self.run is None:
                return Claim._settled_twice(claim)
            return claim._settle(equal=self.run.equal)
        except Unprovable as error:
            return Settlement(Verdict.NOT_PROVED, 0.0, reason=error.worded(printing.unicode))

    def _resolved(self, member: Any) -> Any:
        if not isinstance(member, Computed):
            return member
        value, known = member.value, {symbol: _with_fresh_indices(held) for symbol, held in self.held}
        for _ in known:  # one may hold another
            value = value.xreplace(known)
        return member._replace(value=value)


def _depends_on_the_size(e: Expr) -> bool:
    """Whether some factor is one of the size alone, and may have another sign for another size."""
    factors = sp.Mul.make_args(sp.factor(e))
    return any(f.free_symbols == {m} and not f.is_positive for f in factors) or e.free_symbols <= {m}


def _with_fresh_indices(e: Expr) -> Expr:
    """The same with other bound indices, so that it may stand in any sum."""
    bound = {limit[0] for sum_ in e.atoms(sp.Sum) for limit in sum_.limits}
    return e.xreplace({index: sp.Dummy("j", integer=True, positive=True) for index in bound})


def claims(graphs: Sequence[Graph] = GRAPHS) -> Iterator[Claim]:
    """The claims about each graph; a graph is traced and interpreted when its first claim is asked for."""
    traced: dict[Graph, tuple[Traced, Runs]] = {}
    for graph in graphs:
        both = graph._replace(name="", branch=None)  # one graph has both branches
        if both not in traced:
            found = trace(graph)
            traced[both] = found, judged(graph, found)
        function, runs = traced[both]
        yield from _claims(graph, interpret(graph, function), runs)


def claims_about(graph: Graph, traced: Traced) -> Iterator[Claim]:
    """The claims about a graph that was traced elsewhere, of the arguments and outputs that ``graph`` says.

    Raises:
        UnknownGraph: it does what is not understood.
    """
    found = interpret(graph, traced)  # first: it may be refused
    yield from _claims(graph, found, judged(graph, traced))


def _claims(graph: Graph, found: Interpreted, runs: Runs) -> Iterator[Claim]:
    kernels = graph.branch and not graph.second
    center = () if kernels or not graph.training or graph.source == "control" else ("a center held constant",)
    textbook, statements = _statements(graph, found)
    # Training takes any number for the moving variance; inference takes its root.
    given = {} if graph.training else {V: inference.V}
    known = tuple((symbol, value) for symbol, value in found.held.items() if value is not None)
    for name, (title, output, truth) in statements.items():
        assumed = found.assumed[name] if name in found.assumed else frozenset[str]()
        axioms = tuple(sorted(assumed & kernel_axioms.AXIOMS.keys()))
        named = sorted(assumed - {POSITIVE, *axioms})
        yield GraphClaim(
            f"graphs.{graph.name}.{name}",
            f"{title}, {graph.name.replace('.', ', ').replace('_', ' ')}",
            (Computed(f"graph.{name}", output.xreplace({element: k, **given})), truth),
            steps.setting(graph.masked) if graph.training else inference.SETTING,
            textbook,
            because="The graph is interpreted operation by operation, its sums in stages included.",
            about=f"the graph traced from {_SOURCES[graph.source]}, inputs {LAYOUTS[graph.layout][0]}",
            assumptions=(
                "m ≥ 1", "ε > 0", *(("V ≥ 0",) if given else ()), *named, *((found.guard,) if found.guard else ()),
                *center,
            ),
            in_words=("Proved is the traced graph, not what compilers make of it.",),
            conditions=frozenset(c._replace(expression=c.expression.xreplace(given)) for c in found.conditions),
            axioms=axioms,
            engine=graph.engine,
            run=runs.get(graph.branch, {}).get(name, NOT_RUN) if name in found.outputs else None,
            held=known,
            relative=graph.renorm or not set(named) <= ANYWHERE,
        )  # fmt: skip


# Hypotheses that hold at every point at which graphs are run.
ANYWHERE = {FINITE, POPULATED, CASTS}
NOT_RUN = Run(False, DEGREES, (0, 0), 0, 1.0, (), "no run of the graph took this branch")
_SOURCES = {
    "own": "a function of one's own",
    "layer": "keras_bn.BatchNormalization",
    "batch_norm": "keras_bn.functional.batch_norm",
    "control": "derivations.graphs.shipped.plain_formula",
}
_TITLES = {
    "y": "the output", "mean": "the mean", "variance": "the variance", "d_x": "the gradient of x",
    "d_gamma": "the gradient of γ", "d_beta": "the gradient of β", "dd_delta": "the second gradient, of δ",
    "dd_gamma": "the second gradient, of γ", "dd_x": "the second gradient, of x",
    "new_moving_mean": "the moving mean", "new_moving_variance": "the moving variance",
    "new_moving_stddev": "the moving deviation", "new_renorm_mean": "the reference mean",
    "new_renorm_stddev": "the reference deviation",
}  # fmt: skip


@cache
def _textbook(masked: bool, second: bool, cotangents: bool, r: Any, d: Any) -> Definitions:
    """The definitions of training, with the loss: one object for equal arguments."""
    textbook = steps.definitions(masked)
    if second:
        # First-order gradients in the closed form, which is proved to be the derivative.
        none = {second_order.g_mu: sp.Integer(0), second_order.g_v: sp.Integer(0)}
        d_x = second_order.first_order(masked).xreplace(none).xreplace({gamma: gamma * r})
        d_gamma = r * steps.D_GAMMA + d * steps.D_BETA
        return textbook.with_loss(Phi, over_batch(u[element] * d_x) + u_gamma * d_gamma + u_beta * steps.D_BETA)
    output = gamma * (r * x_hat[k] + d) + beta
    loss = over_batch(delta[k] * output, of=k)
    return textbook.with_loss(J, loss + g_mu * mu + g_v * v if cotangents else loss)


Statement = tuple[str, Expr, Any]


def _statements(graph: Graph, found: Interpreted) -> tuple[Definitions, dict[str, Statement]]:
    """What the outputs should be: title, output, truth."""
    r, d = list(found.held)[-2:] if graph.renorm else (sp.Integer(1), sp.Integer(0))
    if graph.training:
        textbook = _textbook(graph.masked, graph.second, graph.source == "batch_norm", r, d)
    else:
        textbook = second_order.of_inference()
    truths: dict[str, Any] = {
        "y": gamma * (r * x_hat[k] + d) + beta if graph.renorm else y[k],
        "mean": mu, "variance": v, "d_x": Partial(J, x[k]), "d_gamma": Partial(J, gamma), "d_beta": Partial(J, beta),
        "dd_delta": Partial(Phi, delta[k]), "dd_gamma": Partial(Phi, gamma), "dd_x": Partial(Phi, x[k]),
        "new_moving_mean": a * M + (1 - a) * mu,
        "new_moving_variance": (a * S + (1 - a) / s) ** 2 - epsilon if graph.renorm else a * V + (1 - a) * v,
        "new_moving_stddev": a * S + (1 - a) / s, "new_renorm_mean": rho * mean_ref + (1 - rho) * mu,
        "new_renorm_stddev": rho * std_ref + (1 - rho) / s,
    }  # fmt: skip
    statements: dict[str, Statement] = {
        name: (_TITLES[name], _where_positive(name, output, found), truths[name])
        for name, output in found.outputs.items()
    }
    if graph.renorm and not graph.second:
        statements |= _clipped(found)
    return textbook, statements


def _where_positive(name: str, output: Expr, found: Interpreted) -> Expr:
    """Of the moving variance of renormalization, which is clipped at 0, what it is above."""
    applied = found.applied.get(output)
    clipped = name == "new_moving_variance" and applied is not None and applied.function == "relu"
    return applied.arguments[0] if clipped and applied else output


def _clipped(found: Interpreted) -> dict[str, Statement]:
    """What is clipped, and to which bounds: r between its bounds, d too, σ_ref above √ε, the variance above 0."""

    def argument(symbol: Expr | None, function: str, position: int = 0) -> Expr:
        applied = found.applied.get(symbol)
        if applied is None or applied.function != function:
            raise UnknownGraph(f"{symbol}, where {function} is expected")
        return applied.arguments[position]

    held = [found.held[symbol] for symbol in list(found.held)[-2:]]
    statements: dict[str, Statement] = {}
    for name, upper, low, high in (
        ("r", held[0], BOUNDS["rmin"], BOUNDS["rmax"]),
        ("d", held[1], -BOUNDS["dmax"], BOUNDS["dmax"]),
    ):
        lower = argument(upper, "min")
        ratio = argument(lower, "max")
        (std,) = [symbol for symbol in ratio.free_symbols if symbol in found.applied]
        truth = (v + epsilon) ** Rational(1, 2) / std if name == "r" else (mu - mean_ref) / std
        statements[f"{name}.clipped"] = (f"what is clipped to give {name}", ratio, truth)
        statements[f"{name}.low"] = (f"the lower bound of {name}", argument(lower, "max", 1), sp.Rational(low))
        statements[f"{name}.high"] = (f"the upper bound of {name}", argument(upper, "min", 1), sp.Rational(high))
        statements[f"{name}.std"] = ("what σ_ref is where it is large", argument(std, "max"), std_ref)
        statements[f"{name}.least"] = ("what σ_ref is at least", argument(std, "max", 1), epsilon ** Rational(1, 2))
    return statements


__all__ = ["GRAPHS", "Graph", "claims", "interpret"]
