"""What a traced graph returns and assigns, as expressions of one channel in the notation of the textbook."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Indexed, IndexedBase, Rational, Sum, Symbol

from derivations.graphs.shipped import EPSILON, LAYOUTS, MOMENTUM, RENORM_MOMENTUM, Graph, Traced, trace
from derivations.graphs.symbolic.axes import Tensor, laid_out, new_index
from derivations.graphs.symbolic.interpretation import Applied, Interpretation
from derivations.graphs.symbolic.names import alike
from derivations.graphs.symbolic.predicates import described
from derivations.graphs.walk import Assumed, UnknownGraph
from derivations.notation import M, beta, delta, epsilon, g_mu, g_v, gamma, m, printing, u, u_beta, u_gamma, w, x
from derivations.notation import i as element
from derivations.notation.expressions import rewritten
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
    """The outputs of a graph, and what it assigns, as expressions of one channel, per element at the index i.

    held: what symbols for values held constant stand for; None where only any constant is known to do.
    applied: what symbols for functions of which nothing is known stand for.
    guard: the predicate on which the graph branches, as it is taken to hold or not; "" if it has no branches.
    """

    outputs: dict[str, Expr]
    assumed: dict[str, frozenset[str]]
    conditions: frozenset[Condition]
    held: dict[Symbol, Expr | None]
    applied: dict[Symbol, Applied]
    guard: str


def interpret(graph: Graph, traced: Traced | None = None) -> Interpreted:
    """The graph, interpreted; ``traced`` is what TensorFlow traces for it, if that is at hand.

    Raises:
        UnknownGraph: it does what the interpretation does not cover.
    """
    function, layer = traced or trace(graph)
    place, sizes = new_index(), _sizes(graph)
    mask_sum = Sum(w[place], (place, 1, sp.Mul(*sizes)))
    exactly = graph.policy == "float64"
    numbers, added = (_NUMBERS, _EPSILON) if exactly else (_rounded(_NUMBERS), _rounded(_EPSILON))
    interpretation = Interpretation(numbers, [mask_sum], graph.branch, added)
    variables = {variable.name: argument(graph, variable.name) for variable in layer.weights} if layer else {}
    inputs = [argument(graph, name) for name in graph.names]
    found = interpretation.run(function, inputs, variables)
    if len(found) != len(graph.outputs):
        raise UnknownGraph(
            f"{len(found)} outputs, where there should be {len(graph.outputs)}: a gradient without a path"
        )
    results = dict(zip(graph.outputs, found, strict=True))
    if not graph.second:
        results |= {f"new_{name}": value for name, value in interpretation.assigned.items()}
    flat = Flattened(interpretation, graph.channels, sizes)
    outputs = {}
    for name, result in results.items():
        tensor = _finished(result)
        expected = argument(graph, "x" if name in PER_ELEMENT else "gamma").sizes()
        if tensor.sizes() != expected:
            raise UnknownGraph(f"an output of the shape {tensor.sizes()}, where it should be {expected}")
        outputs[name] = flat.tensor(tensor)
    conditions = frozenset(Condition(flat.tensor(data), relation) for data, relation in interpretation.conditions)
    assumed = {name: result.on for name, result in results.items()}
    held = {flat.symbols[base]: flat.channel(value) for base, value in interpretation.held.items()}
    applied = {
        flat.symbols[base]: found._replace(arguments=tuple(map(flat.channel, found.arguments)))
        for base, found in interpretation.applied.items()
    }
    guard = ""
    if interpretation.guard is not None and graph.branch is not None:
        guard = described(interpretation.guard, graph.branch, lambda e: printing.unicode(flat.channel(e)))
    return Interpreted(outputs, assumed, conditions, held, applied, guard)


class Flattened:
    """Expressions of one channel, in which x_{i,c} is written x_i, and m for N·H·W, the product of ``sizes``.

    ``symbols`` maps the bases that an interpretation introduced to symbols of one channel.
    """

    def __init__(self, interpretation: Interpretation, channels: int, sizes: Sequence[Expr]) -> None:
        self._unfold, self._channels = interpretation.unfold, channels
        self._samples = m / sp.Mul(*sizes[1:])
        introduced = [*interpretation.held, *interpretation.applied]
        self.symbols = {base: getattr(base, "label", base) for base in introduced}
        self._names = {str(getattr(symbol, "label", symbol)): symbol for symbol in SYMBOLS.values()}
        self._names |= {str(symbol): symbol for base, symbol in self.symbols.items() if isinstance(base, IndexedBase)}

    def tensor(self, tensor: Tensor) -> Expr:
        """The expression of a tensor, per element at the index i.

        Raises:
            UnknownGraph: it holds values of other channels, or depends on how the batch is laid out.
        """
        varying = [tensor.axes[position] for position in tensor.varies()]
        channels = {axis.index for axis in varying if axis.size == self._channels}
        places = {axis.index for axis in varying if axis.size != self._channels}
        if len(channels) > 1 or len(places) > 1:
            raise UnknownGraph("a value of several channels, or with several indices over the batch")
        if any(axis.last.is_Integer for axis in varying if axis.size != self._channels):
            raise UnknownGraph("a value that depends on an axis which is neither the batch's nor that of the channels")
        unfolded = self._unfold(tensor.expression)
        own = next(iter(channels), None) or _channel_in(unfolded)
        return self._flat(unfolded, own, next(iter(places), None))

    def channel(self, e: Expr | None) -> Expr | None:
        """A value per channel, without the index of the channel."""
        return None if e is None else self._flat(unfolded := self._unfold(e), _channel_in(unfolded))

    def _flat(self, expression: Expr, channel: Symbol | None, place: Symbol | None = None) -> Expr:
        stripped = {}
        for entry in expression.atoms(Indexed):
            symbol, indices = self._names.get(str(entry.base.label)), entry.indices
            if symbol is None:
                raise UnknownGraph(f"{entry} in an output")
            if symbol != w and indices[-1] != channel:
                raise UnknownGraph(f"{entry}, of another channel; each channel apart is understood")
            stripped[entry] = symbol[indices[0]] if isinstance(symbol, IndexedBase) else symbol
        flat = rewritten(rewritten(expression, stripped), {N: self._samples})
        flat = rewritten(flat, {place: element} if place else {})
        if flat.free_symbols & {H, W, channel}:
            raise UnknownGraph("an output that depends on how the batch is laid out, or on the number of its channel")
        return alike(flat)


def _channel_in(e: Expr) -> Symbol | None:
    """The free index of the channel in a value that has one alone."""
    bound = {limit[0] for sum_ in e.atoms(Sum) for limit in sum_.limits}
    channels = {entry.indices[-1] for entry in e.atoms(Indexed) if entry.base != w} - bound
    return next(iter(channels)) if len(channels) == 1 else None


def _sizes(graph: Graph) -> list[Expr]:
    """The sizes of the axes of the batch: m, or N·H·W, of which some may be known."""
    sizes, axis = LAYOUTS[graph.layout]
    batch = sizes[:axis] + sizes[axis + 1 :]
    if len(batch) == 1:
        return [m]
    return [name if size is None else sp.Integer(size) for name, size in zip((N, H, W), batch, strict=True)]


def _rounded(numbers: dict[float, Expr]) -> dict[float, Expr]:
    """The numbers, also as float32 rounds them."""
    return {**{float(np.float32(number)): symbol for number, symbol in numbers.items()}, **numbers}


_EPSILON = {EPSILON: epsilon}
_NUMBERS = {
    EPSILON**0.5: epsilon ** Rational(1, 2), MOMENTUM: a, 1 - MOMENTUM: 1 - a,
    RENORM_MOMENTUM: rho, 1 - RENORM_MOMENTUM: 1 - rho,
}  # fmt: skip


def argument(graph: Graph, name: str) -> Tensor:
    """An argument or a variable: x_{i,c}, w_i, γ_c."""
    shape, sizes = graph.shape(name), _sizes(graph)
    channels = sp.Integer(graph.channels)
    batch, channel = laid_out(sizes, sp.Mul(*sizes)), laid_out([channels], channels)
    if len(shape) == 1 and name != "w":
        axes, indices = channel, [channel[0].index]
    else:
        indices = [batch[0].index, *([] if name == "w" else [channel[0].index])]
        at = LAYOUTS[graph.layout][1]
        axes = batch if name == "w" else [*batch[:at], *channel, *batch[at:]]
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
