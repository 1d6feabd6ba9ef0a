"""The graphs that TensorFlow traces from the shipped code, with an unknown batch size, against the textbook.

The layer's training step in three layouts, plain, masked and renormalised, and with the fused engine; ``batch_norm``
with the cotangents of mean and variance; and, as a control, the plain formula that TensorFlow differentiates by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import sympy as sp
from sympy import Dummy, Expr, Indexed, IndexedBase, Rational, Sum, Symbol

from derivations import fused_kernels, steps
from derivations.claim import Claim, Computed, Settlement, Verdict
from derivations.claims import second_order
from derivations.claims.training import g_mu, g_v
from derivations.finite_sums import Condition, Shorthand
from derivations.graph_arithmetic import POSITIVE
from derivations.graph_walk import Assumed
from derivations.layer_graphs import (
    BOUNDS,
    CHANNELS,
    EPSILON,
    GRAPHS,
    LAYOUTS,
    MOMENTUM,
    RENORM_MOMENTUM,
    Graph,
    Traced,
    trace,
)
from derivations.notation import (
    Definitions,
    Partial,
    beta,
    delta,
    epsilon,
    gamma,
    k,
    m,
    mu,
    over_batch,
    s,
    v,
    w,
    x,
    x_hat,
    y,
)
from derivations.notation import i as element
from derivations.symbolic_axes import Tensor, UnknownGraph, laid_out, new_index
from derivations.traced_graph import Interpretation

J, Phi = Shorthand("J", real=True), Shorthand("Phi", real=True)
u, u_gamma, u_beta = second_order.u, second_order.u_gamma, second_order.u_beta
N, H, W = sp.symbols("N H W", integer=True, positive=True)  # m = N·H·W
a, rho = sp.symbols("a rho", real=True)  # the momenta
M, V, S = sp.symbols("M V S", real=True)  # the moving mean, variance and deviation
mean_ref, std_ref = Symbol("mean_ref", real=True), Symbol("std_ref", real=True)

SYMBOLS: dict[str, Any] = {
    "x": x, "delta": delta, "u": u, "w": w,
    "gamma": gamma, "beta": beta, "g_mu": g_mu, "g_v": g_v, "u_gamma": u_gamma, "u_beta": u_beta,
    "moving_mean": M, "moving_variance": V, "moving_stddev": S, "renorm_mean": mean_ref, "renorm_stddev": std_ref,
}  # fmt: skip
PER_ELEMENT = ("y", "d_x", "dd_delta", "dd_x")
GUARD = {True: "the kernel's statistics are found reliable", False: "the kernel's statistics are found unreliable"}


@dataclass(frozen=True)
class Interpreted:
    """The outputs of a graph, and what it assigns, as expressions of one channel, per element at the index i."""

    outputs: dict[str, Expr]
    assumed: dict[str, frozenset[str]]
    conditions: frozenset[Condition]
    interpretation: Interpretation


def interpret(graph: Graph, traced: Traced | None = None) -> Interpreted:
    """The graph, interpreted; ``traced`` is what TensorFlow traces for it, if that is at hand.

    Raises:
        UnknownGraph: it does what the interpretation does not cover.
    """
    function, layer = traced or trace(graph)
    place, sizes = new_index(), _sizes(graph.shape("x"))
    mask_sum = Sum(w[place], (place, 1, sp.Mul(*sizes)))
    interpretation = Interpretation(_constants(), positive=[mask_sum], branch=graph.branch)
    variables = {variable.name: _input(graph, variable.name) for variable in layer.weights} if layer else {}
    inputs = [_input(graph, name) for name in graph.names]
    results = dict(zip(graph.outputs, interpretation.run(function, inputs, variables), strict=True))

    def output(name: str, result: Assumed) -> Expr:
        tensor = _finished(result)
        expected = _input(graph, "x" if name in PER_ELEMENT else "gamma").sizes()
        if tensor.sizes() != expected:
            raise UnknownGraph(f"an output of the shape {tensor.sizes()}, where it should be {expected}")
        return one_channel(replace(tensor, expression=interpretation.unfold(tensor.expression)))

    if not graph.second:
        results |= {f"new_{name}": value for name, value in interpretation.assigned.items()}
    held = {symbol: _anonymous(value) for symbol, value in interpretation.held.items()}
    # Nobody differentiates a new state: there a value is what it is, but for the center of the closed form, which may
    # be any constant everywhere.
    exact = dict(held) if graph.branch else {c: e for c, e in held.items() if e.free_symbols & held.keys()}
    outputs = {}
    for name, result in results.items():
        resolved = exact if name.startswith("new_") else {}
        outputs[name] = output(name, result).xreplace(resolved).xreplace(resolved)
    outputs = {name: _alike(value)[0] for name, value in outputs.items()}
    conditions = set()
    for expression, relation in interpretation.conditions:
        denominator = _anonymous(interpretation.unfold(expression))
        conditions.add(Condition(_alike(denominator)[0], relation))
    assumed = {name: result.on for name, result in results.items()}
    return Interpreted(outputs, assumed, frozenset(conditions), interpretation)


def _anonymous(e: Expr) -> Expr:
    """A value per channel, without the index of the channel."""
    channels = {entry.indices[-1] for entry in e.atoms(Indexed) if entry.base != w}
    return flattened(e, next(iter(channels), None))


def _sizes(shape: Sequence[int | None]) -> list[Expr]:
    unknown = sum(size is None for size in shape)
    return [m] if unknown == 1 else [N, H, W][:unknown]


def _constants() -> dict[float, Expr]:
    """What stands for the numbers in the graphs, also as float32 rounds them."""
    numbers = {
        EPSILON: epsilon, EPSILON**0.5: epsilon ** Rational(1, 2),
        MOMENTUM: a, 1 - MOMENTUM: 1 - a, RENORM_MOMENTUM: rho, 1 - RENORM_MOMENTUM: 1 - rho,
    }  # fmt: skip
    return {**{float(np.float32(number)): symbol for number, symbol in numbers.items()}, **numbers}


def _input(graph: Graph, name: str) -> Tensor:
    """An argument or a variable: x_{i,c}, w_i, γ_c."""
    shape = graph.shape(name)
    batch = laid_out(_sizes(shape), sp.Mul(*_sizes(shape)))
    channel = laid_out([sp.Integer(CHANNELS)], sp.Integer(CHANNELS))
    axes, elements = [], iter(batch)
    for size in shape:
        axes.append(next(elements) if size is None else channel[0])
    indices = ([batch[0].index] if batch else []) + ([channel[0].index] if CHANNELS in shape else [])
    symbol = SYMBOLS[name]
    base = symbol if isinstance(symbol, IndexedBase) else IndexedBase(symbol.name, real=True)
    return Tensor(tuple(axes), base[tuple(indices)])


def _finished(result: Assumed) -> Tensor:
    tensor = result.value
    if not isinstance(tensor, Tensor) or tensor.pending or any(map(tensor.depends_on, _confined(tensor))):
        raise UnknownGraph("an output that is no data, or is not summed up")
    return tensor


def _confined(tensor: Tensor) -> list[Any]:
    return [axis for axis in tensor.axes for indicator in tensor.where if axis.index in indicator.free_symbols]


def one_channel(tensor: Tensor) -> Expr:
    """The expression for one channel, in which x_{i,c} is written x_i, and m for N·H·W.

    Raises:
        UnknownGraph: it holds values of other channels, or depends on how the batch is laid out.
    """
    (channel,) = {axis.index for axis in tensor.axes if axis.size == CHANNELS}
    places = {axis.index for axis in tensor.axes if axis.size != CHANNELS and tensor.depends_on(axis)}
    if len(places) > 1:
        raise UnknownGraph("an output with several indices over the batch")
    return flattened(tensor.expression, channel, next(iter(places), None))


def flattened(expression: Expr, channel: Symbol | None, place: Symbol | None = None) -> Expr:
    """``one_channel`` of an expression in the indices of its channel and its element."""
    symbols = {str(getattr(symbol, "label", symbol)): symbol for symbol in SYMBOLS.values()}
    stripped = {}
    for entry in expression.atoms(Indexed):
        symbol, indices = symbols.get(str(entry.base.label)), entry.indices
        if symbol is None:
            raise UnknownGraph(f"{entry} in an output")
        if symbol != w and indices[-1] != channel:
            raise UnknownGraph(f"{entry}, of another channel")
        stripped[entry] = symbol[indices[0]] if isinstance(symbol, IndexedBase) else symbol
    flat = expression.xreplace(stripped).xreplace({N: m / (H * W)}).xreplace({place: element} if place else {})
    if flat.free_symbols & {H, W, channel}:
        raise UnknownGraph("an output that depends on how the batch is laid out, or on the number of its channel")
    return flat


_BOUND = [Dummy(f"j{n}", integer=True, positive=True) for n in range(64)]


def _alike(e: Expr) -> tuple[Expr, int]:
    """The expression with bound indices named by depth, and that depth: equal expressions are then one object."""
    if not e.args or isinstance(e, Indexed):
        return e, 0
    parts = [_alike(arg) for arg in (e.args[:1] if isinstance(e, Sum) else e.args)]
    depth = max(d for _, d in parts)
    if not isinstance(e, Sum):
        return e.func(*(part for part, _ in parts)), depth
    names = {limit[0]: _BOUND[depth + n] for n, limit in enumerate(e.limits)}
    limits = [(names[j], first, last) for j, first, last in e.limits]
    return Sum(parts[0][0].xreplace(names), *limits), depth + len(limits)


@dataclass(frozen=True)
class GraphClaim(Claim):
    """A claim on an output of a graph. The same expression, met in another graph, is not proved a second time."""

    _proved: ClassVar[dict[Any, tuple[str, Settlement]]] = {}

    def _settled_twice(self) -> Settlement:
        values = tuple(member.value if isinstance(member, Computed) else member for member in self.members)
        key = values, id(self.setting), self.definitions, self.conditions
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
    center = () if kernels or graph.source == "control" else ("any constant as center",)
    textbook, statements = _statements(graph, found)
    for name, (title, output, truth) in statements.items():
        assumed = found.assumed[name] if name in found.assumed else frozenset[str]()
        axioms = tuple(sorted(assumed & fused_kernels.AXIOMS.keys()))
        named = sorted(assumed - {POSITIVE, *axioms})
        yield GraphClaim(
            f"graphs.{graph.name}.{name}",
            f"{title}, {graph.name.replace('.', ', ').replace('_', ' ')}",
            (Computed(f"graph.{name}", output.xreplace({element: k})), truth),
            steps.setting(graph.masked),
            textbook,
            because="The graph is interpreted operation by operation, its sums in stages included.",
            about=f"the graph traced from {_SOURCES[graph.source]}, inputs {LAYOUTS[graph.layout][0]}",
            assumptions=("m ≥ 1", "ε > 0", *named, *hypotheses, *center),
            in_words=("Proved is the traced graph, not what compilers make of it.",),
            conditions=found.conditions,
            axioms=axioms,
        )


_SOURCES = {
    "layer": "keras_bn.BatchNormalization",
    "batch_norm": "keras_bn.functional.batch_norm",
    "control": "derivations.layer_graphs.plain_formula",
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
    """The definitions, with the loss: one object for equal arguments."""
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
    textbook = _textbook(graph.masked, graph.second, graph.source == "batch_norm", r, d)
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
        ratio = _anonymous(argument(lower, "max"))
        (std,) = [symbol for symbol in ratio.free_symbols if symbol in interpretation.applied]
        truth = (v + epsilon) ** Rational(1, 2) / std if name == "r" else (mu - mean_ref) / std
        statements[f"{name}.clipped"] = (f"what is clipped to give {name}", ratio, truth)
        statements[f"{name}.low"] = (f"the lower bound of {name}", argument(lower, "max", 1), sp.Rational(low))
        statements[f"{name}.high"] = (f"the upper bound of {name}", argument(upper, "min", 1), sp.Rational(high))
        statements[f"{name}.std"] = ("what σ_ref is where it is large", _anonymous(argument(std, "max")), std_ref)
        statements[f"{name}.least"] = ("what σ_ref is at least", argument(std, "max", 1), epsilon ** Rational(1, 2))
    new = argument(found.outputs["new_moving_variance"], "relu")
    truth = (a * S + (1 - a) / s) ** 2 - epsilon
    statements["new_moving_variance"] = ("the moving variance, where that is not negative", _anonymous(new), truth)
    return statements


__all__ = ["GRAPHS", "Graph", "claims", "interpret", "one_channel"]
