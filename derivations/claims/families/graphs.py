"""The graphs that TensorFlow traces from the shipped code, with an unknown batch size, against the textbook.

The layer's training step in three layouts, plain, masked and renormalised, its inference, and both with the fused
engine; ``batch_norm`` with the cotangents of mean and variance; and, as a control, the plain formula that TensorFlow
differentiates by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import sympy as sp
from sympy import Expr, Rational

from derivations.claims import steps
from derivations.claims.claim import Claim, Settlement, Verdict
from derivations.claims.families import inference, second_order
from derivations.graphs import kernel_axioms as fused_kernels
from derivations.graphs.shipped import BOUNDS, GRAPHS, LAYOUTS, Graph, Traced, trace
from derivations.graphs.symbolic.arithmetic import POSITIVE
from derivations.graphs.symbolic.outputs import Interpreted, S, V, a, interpret, mean_ref, per_channel, rho, std_ref
from derivations.graphs.walk import UnknownGraph
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
    mu,
    over_batch,
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
from derivations.notation.worlds import Computed

GUARD = {True: "the statistics are found reliable", False: "the statistics are found unreliable"}


@dataclass(frozen=True)
class GraphClaim(Claim):
    """A claim on an output of a graph. The same expression, met in another graph of the engine, is not proved twice.

    Of another engine it is: the claims of the two engines may be settled by two processes.
    """

    engine: str = ""
    _proved: ClassVar[dict[Any, tuple[str, Settlement]]] = {}

    def _settled_twice(self) -> Settlement:
        values = tuple(member.value if isinstance(member, Computed) else member for member in self.members)
        key = self.engine, values, id(self.setting), self.definitions, self.conditions
        if key in self._proved:
            name, settlement = self._proved[key]
            return replace(settlement, steps=(f"this is, term by term, the expression of {name}, proved there",))
        settlement = super()._settled_twice()
        if settlement.verdict is Verdict.PROVED:
            self._proved[key] = self.identifier, settlement
        return settlement


def claims(graphs: Sequence[Graph] = GRAPHS) -> Iterator[Claim]:
    """The claims about each graph; a graph is traced and interpreted when its first claim is asked for."""
    traced: dict[Graph, Traced] = {}
    for graph in graphs:
        both = graph._replace(name="", branch=None)  # one graph has both branches
        if both not in traced:
            traced[both] = trace(graph)
        yield from _claims(graph, traced[both])


def _claims(graph: Graph, traced: Traced) -> Iterator[Claim]:
    found = interpret(graph, traced)
    hypotheses = () if graph.branch is None else (GUARD[graph.branch],)
    kernels = graph.branch and not graph.second
    center = () if kernels or not graph.training or graph.source == "control" else ("any constant as center",)
    textbook, statements = _statements(graph, found)
    # Training takes any number for the moving variance; inference takes its root.
    given = {} if graph.training else {V: inference.V}
    for name, (title, output, truth) in statements.items():
        assumed = found.assumed[name] if name in found.assumed else frozenset[str]()
        axioms = tuple(sorted(assumed & fused_kernels.AXIOMS.keys()))
        named = sorted(assumed - {POSITIVE, *axioms})
        yield GraphClaim(
            f"graphs.{graph.name}.{name}",
            f"{title}, {graph.name.replace('.', ', ').replace('_', ' ')}",
            (Computed(f"graph.{name}", output.xreplace({element: k, **given})), truth),
            steps.setting(graph.masked) if graph.training else inference.SETTING,
            textbook,
            because="The graph is interpreted operation by operation, its sums in stages included.",
            about=f"the graph traced from {_SOURCES[graph.source]}, inputs {LAYOUTS[graph.layout][0]}",
            assumptions=("m ≥ 1", "ε > 0", *(("V ≥ 0",) if given else ()), *named, *hypotheses, *center),
            in_words=("Proved is the traced graph, not what compilers make of it.",),
            conditions=frozenset(c._replace(expression=c.expression.xreplace(given)) for c in found.conditions),
            axioms=axioms,
            engine=graph.engine,
        )


_SOURCES = {
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
    r, d = list(found.interpretation.held)[-2:] if graph.renorm else (sp.Integer(1), sp.Integer(0))
    if graph.training:
        textbook = _textbook(graph.masked, graph.second, graph.source == "batch_norm", r, d)
    else:
        textbook = second_order.of_inference()
    truths: dict[str, Any] = {
        "y": gamma * (r * x_hat[k] + d) + beta if graph.renorm else y[k],
        "mean": mu, "variance": v, "d_x": Partial(J, x[k]), "d_gamma": Partial(J, gamma), "d_beta": Partial(J, beta),
        "dd_delta": Partial(Phi, delta[k]), "dd_gamma": Partial(Phi, gamma), "dd_x": Partial(Phi, x[k]),
        "new_moving_mean": a * M + (1 - a) * mu, "new_moving_variance": a * V + (1 - a) * v,
        "new_moving_stddev": a * S + (1 - a) / s, "new_renorm_mean": rho * mean_ref + (1 - rho) * mu,
        "new_renorm_stddev": rho * std_ref + (1 - rho) / s,
    }  # fmt: skip
    statements: dict[str, Statement] = {
        name: (_TITLES[name], output, truths[name]) for name, output in found.outputs.items()
    }
    if graph.renorm and not graph.second:
        statements |= _clipped(found)
    return textbook, statements


def _clipped(found: Interpreted) -> dict[str, Statement]:
    """What is clipped, and to which bounds: r between its bounds, d too, σ_ref above √ε, the variance above 0."""
    interpretation = found.interpretation

    def argument(symbol: Expr, function: str, position: int = 0) -> Expr:
        applied = interpretation.applied.get(symbol)
        if applied is None or applied.function != function:
            raise UnknownGraph(f"{symbol}, where {function} is expected")
        return applied.arguments[position]

    held = [interpretation.held[symbol] for symbol in list(interpretation.held)[-2:]]
    statements: dict[str, Statement] = {}
    for name, upper, low, high in (
        ("r", held[0], BOUNDS["rmin"], BOUNDS["rmax"]),
        ("d", held[1], -BOUNDS["dmax"], BOUNDS["dmax"]),
    ):
        lower = argument(upper, "min")
        ratio = per_channel(argument(lower, "max"))
        (std,) = [symbol for symbol in ratio.free_symbols if symbol in interpretation.applied]
        truth = (v + epsilon) ** Rational(1, 2) / std if name == "r" else (mu - mean_ref) / std
        statements[f"{name}.clipped"] = (f"what is clipped to give {name}", ratio, truth)
        statements[f"{name}.low"] = (f"the lower bound of {name}", argument(lower, "max", 1), sp.Rational(low))
        statements[f"{name}.high"] = (f"the upper bound of {name}", argument(upper, "min", 1), sp.Rational(high))
        statements[f"{name}.std"] = ("what σ_ref is where it is large", per_channel(argument(std, "max")), std_ref)
        statements[f"{name}.least"] = ("what σ_ref is at least", argument(std, "max", 1), epsilon ** Rational(1, 2))
    new = argument(found.outputs["new_moving_variance"], "relu")
    truth = (a * S + (1 - a) / s) ** 2 - epsilon
    statements["new_moving_variance"] = ("the moving variance, where that is not negative", per_channel(new), truth)
    return statements


__all__ = ["GRAPHS", "Graph", "claims", "interpret"]
