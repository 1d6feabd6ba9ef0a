"""What a traced graph returns and assigns, as expressions of one channel in the notation of the textbook."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from sympy import Dummy, Expr, Indexed, IndexedBase, Rational, Sum, Symbol

from derivations.graphs.shipped import EPSILON, MOMENTUM, RENORM_MOMENTUM, Graph, Traced, trace
from derivations.graphs.symbolic.axes import Tensor, laid_out, new_index
from derivations.graphs.symbolic.interpretation import Interpretation
from derivations.graphs.walk import Assumed, UnknownGraph
from derivations.notation import M, beta, delta, epsilon, g_mu, g_v, gamma, m, u, u_beta, u_gamma, w, x
from derivations.notation import i as element
from derivations.notation.settings import Condition

N, H, W = sp.symbols("N H W", integer=True, positive=True)  # m = N·H·W
a, rho = sp.symbols("a rho", real=True)  # the momenta
V, S = sp.symbols("V S", real=True)  # the moving variance and deviation
mean_ref, std_ref = Symbol("mean_ref", real=True), Symbol("std_ref", real=True)

SYMBOLS: dict[str, Any] = {
    "x": x, "delta": delta, "u": u, "w": w,
    "gamma": gamma, "beta": beta, "g_mu": g_mu, "g_v": g_v, "u_gamma": u_gamma, "u_beta": u_beta,
    "moving_mean": M, "moving_variance": V, "moving_stddev": S, "renorm_mean": mean_ref, "renorm_stddev": std_ref,
}  # fmt: skip
PER_ELEMENT = ("y", "d_x", "dd_delta", "dd_x")


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
    variables = {variable.name: argument(graph, variable.name) for variable in layer.weights} if layer else {}
    inputs = [argument(graph, name) for name in graph.names]
    results = dict(zip(graph.outputs, interpretation.run(function, inputs, variables), strict=True))

    def output(name: str, result: Assumed) -> Expr:
        tensor = _finished(result)
        expected = argument(graph, "x" if name in PER_ELEMENT else "gamma").sizes()
        if tensor.sizes() != expected:
            raise UnknownGraph(f"an output of the shape {tensor.sizes()}, where it should be {expected}")
        return one_channel(replace(tensor, expression=interpretation.unfold(tensor.expression)), graph.channels)

    if not graph.second:
        results |= {f"new_{name}": value for name, value in interpretation.assigned.items()}
    held = {symbol: per_channel(value) for symbol, value in interpretation.held.items()}
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
        denominator = per_channel(interpretation.unfold(expression))
        conditions.add(Condition(_alike(denominator)[0], relation))
    assumed = {name: result.on for name, result in results.items()}
    return Interpreted(outputs, assumed, frozenset(conditions), interpretation)


def per_channel(e: Expr) -> Expr:
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


def argument(graph: Graph, name: str) -> Tensor:
    """An argument or a variable: x_{i,c}, w_i, γ_c."""
    shape = graph.shape(name)
    batch = laid_out(_sizes(shape), sp.Mul(*_sizes(shape)))
    channels = sp.Integer(graph.channels)
    channel = laid_out([channels], channels)
    axes, elements = [], iter(batch)
    for size in shape:
        axes.append(next(elements) if size is None else channel[0])
    indices = ([batch[0].index] if batch else []) + ([channel[0].index] if graph.channels in shape else [])
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


def one_channel(tensor: Tensor, channels: int) -> Expr:
    """The expression for one channel, in which x_{i,c} is written x_i, and m for N·H·W.

    Raises:
        UnknownGraph: it holds values of other channels, or depends on how the batch is laid out.
    """
    (channel,) = {axis.index for axis in tensor.axes if axis.size == channels}
    places = {axis.index for axis in tensor.axes if axis.size != channels and tensor.depends_on(axis)}
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
