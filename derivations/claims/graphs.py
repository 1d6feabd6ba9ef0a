"""The graphs that TensorFlow traces from the shipped code, with an unknown batch size, against the textbook.

First order: y, mean, variance and the gradients of (x, γ, β). Second order: the gradients of those, by TensorFlow's
differentiation of the closed form. The control is the plain formula, differentiated by TensorFlow alone.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
import tensorflow as tf
from sympy import Expr, Indexed, IndexedBase, Sum, Symbol

from derivations import steps
from derivations.claim import Claim, Computed
from derivations.claims import second_order
from derivations.finite_sums import Shorthand
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
    v,
    w,
    x,
    x_hat,
    y,
)
from derivations.notation import i as element
from derivations.symbolic_axes import Axis, Tensor, UnknownGraph, new_index
from derivations.traced_graph import Interpretation
from keras_bn import functional
from keras_bn.batch import TensorBatch
from keras_bn.formulas.renormalization import Reference

CHANNELS, EPSILON = 4, 1e-3
J, Phi = Shorthand("J", real=True), Shorthand("Phi", real=True)
u, u_gamma, u_beta = second_order.u, second_order.u_gamma, second_order.u_beta
BOUNDS = {"r_min": 0.5, "r_max": 2.0, "d_max": 3.0}

Forward = Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def shipped(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mask: tf.Tensor | None = None) -> Any:
    """The closed-form engine, through the public function."""
    return functional.batch_norm(x, gamma, beta, epsilon=EPSILON, mask=mask, engine="closed_form")


def renormalized(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, std: tf.Tensor) -> Any:
    """The closed-form engine with batch renormalization, as the layer calls it."""
    batch = TensorBatch(x, (1,), (CHANNELS,))
    y, moments = functional.train(
        "closed_form", batch, x, gamma, beta, epsilon=EPSILON, reference=Reference(mean, std, **BOUNDS)
    )
    return y, moments.mean, moments.variance


def plain_formula(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
    """The textbook's formula in TensorFlow, for TensorFlow to differentiate."""
    mean = tf.reduce_mean(x, 0)
    variance = tf.reduce_mean(tf.square(x - mean), 0)
    return gamma * (x - mean) * tf.math.rsqrt(variance + EPSILON) + beta, mean, variance


class Graph(NamedTuple):
    """One traced graph.

    arguments: what the forward takes besides x, γ and β.
    """

    name: str
    forward: Forward
    arguments: tuple[str, ...] = ()
    second: bool = False


GRAPHS = tuple(
    Graph(f"{name}{'.second' if second else ''}", forward, arguments, second)
    for name, forward, arguments in (
        ("plain", shipped, ()),
        ("masked", shipped, ("w",)),
        ("renormalized", renormalized, ("mean", "std")),
        ("control", plain_formula, ()),
    )
    for second in (False, True)
)
_NAMED: dict[str, tuple[bool, Any]] = {  # per element, and the symbol of each input
    "x": (True, x), "gamma": (False, gamma), "beta": (False, beta), "delta": (True, delta), "u": (True, u),
    "u_gamma": (False, u_gamma), "u_beta": (False, u_beta), "w": (True, w),
    "mean": (False, Symbol("mean_ref", real=True)), "std": (False, Symbol("std_ref", real=True)),
}  # fmt: skip


def trace(graph: Graph, dtype: tf.DType = tf.float64) -> tuple[Any, tuple[str, ...]]:
    """The concrete function of a graph, and the names of its inputs."""
    names = ("x", "gamma", "beta", *graph.arguments, "delta", *(("u", "u_gamma", "u_beta") if graph.second else ()))

    def spec(name: str) -> tf.TensorSpec:
        if name == "w":
            return tf.TensorSpec([None], tf.bool)
        return tf.TensorSpec([None, CHANNELS] if _NAMED[name][0] else [CHANNELS], dtype)

    @tf.function(input_signature=[spec(name) for name in names], autograph=False)
    def traced(*values: tf.Tensor) -> Any:
        given = dict(zip(names, values, strict=True))
        point = [given[name] for name in ("x", "gamma", "beta")]
        with tf.GradientTape() as outer:
            outer.watch([*point, given["delta"]])
            with tf.GradientTape() as inner:
                inner.watch(point)
                y, mean, variance = graph.forward(*point, *(given[name] for name in graph.arguments))
            gradients = inner.gradient(y, point, output_gradients=given["delta"])
            if not graph.second:
                return y, mean, variance, *gradients
        cotangents = [given[name] for name in ("u", "u_gamma", "u_beta")]
        return outer.gradient(gradients, [given["delta"], given["gamma"], given["x"]], output_gradients=cotangents)

    return traced.get_concrete_function(), names


def interpret(graph: Graph) -> tuple[list[Expr], Interpretation]:
    """The outputs of a graph as expressions of one channel, per element at the index i."""
    function, names = trace(graph)
    place = new_index()
    mask_sum = Sum(IndexedBase("w", nonnegative=True)[place], (place, 1, m))
    constants = {EPSILON: epsilon, float(np.float32(EPSILON)): epsilon}
    interpretation = Interpretation(constants, positive=[mask_sum])
    outputs = interpretation.run(function.graph, [_input(name) for name in names], function.outputs)
    return [one_channel(output) for output in outputs], interpretation


def _input(name: str) -> Tensor:
    per_element, symbol = _NAMED[name]
    rows = Axis(m, new_index(), m)
    columns = Axis(sp.Integer(CHANNELS), new_index(), sp.Integer(CHANNELS))
    axes = ((rows,) if name == "w" else (rows, columns)) if per_element else (columns,)
    base = symbol if isinstance(symbol, IndexedBase) else IndexedBase(symbol.name, real=True)
    return Tensor(axes, base[tuple(axis.index for axis in axes)])


def one_channel(tensor: Tensor) -> Expr:
    """The expression for one channel, in which x_{i,c} is written x_i.

    Raises:
        UnknownGraph: it holds values of other channels.
    """
    rows = [axis for axis in tensor.axes if axis.size == m]
    columns = [axis for axis in tensor.axes if axis.size == CHANNELS]
    if len(columns) != 1 or len(rows) > 1 or len(rows) + 1 != len(tensor.axes):
        raise UnknownGraph(f"an output of the shape {tensor.sizes()}")
    channel = columns[0].index
    symbols = {symbol.name: symbol for per_element, symbol in _NAMED.values() if not per_element}
    bases = {str(symbol.label): symbol for per_element, symbol in _NAMED.values() if per_element}
    stripped = {}
    for entry in tensor.expression.atoms(Indexed):
        name, indices = str(entry.base.label), entry.indices
        if name != "w" and indices[-1] != channel:
            raise UnknownGraph(f"{entry}, of another channel")
        if name in symbols and len(indices) == 1:
            stripped[entry] = symbols[name]
        elif name in bases:
            stripped[entry] = bases[name][indices[0]]
        else:
            raise UnknownGraph(f"{entry} in an output")
    expression = tensor.expression.xreplace(stripped)
    if channel in expression.free_symbols:
        raise UnknownGraph("the index of the channel itself in an output")
    return expression.xreplace({rows[0].index: element} if rows else {})


def claims(graphs: tuple[Graph, ...] = GRAPHS) -> Iterator[Claim]:
    """The claims about each graph; a graph is traced and interpreted when its first claim is asked for."""
    for graph in graphs:
        yield from _claims(graph)


def _claims(graph: Graph) -> Iterator[Claim]:
    outputs, interpretation = interpret(graph)
    weighted = "w" in graph.arguments
    where, textbook, rows = steps.setting(weighted), *_statements(graph, interpretation)
    hypotheses = ("m ≥ 1", "ε > 0", *sorted(interpretation.hypotheses - {"v + ε > 0"}), "any constant as center")
    for (name, truth), output in zip(rows, outputs, strict=True):
        yield Claim(
            f"graphs.{graph.name}.{name}",
            f"{_TITLES[name]}, {graph.name.replace('.', ', ')}",
            (Computed(f"graph.{name}", output.xreplace({element: k})), truth),
            where,
            textbook,
            because="The graph is interpreted operation by operation, its sums in stages included.",
            about=f"the graph traced from {graph.forward.__module__}.{graph.forward.__name__}",
            assumptions=hypotheses,
            in_words=(
                "What reaches StopGradient is any constant. Proved is the traced graph, not what compilers make of it.",
            ),
        )


_TITLES = {
    "y": "the output", "mean": "the mean", "variance": "the variance", "d_x": "the gradient of x",
    "d_gamma": "the gradient of γ", "d_beta": "the gradient of β", "dd_delta": "the second gradient, of δ",
    "dd_gamma": "the second gradient, of γ", "dd_x": "the second gradient, of x",
}  # fmt: skip


def _statements(graph: Graph, interpretation: Interpretation) -> tuple[Definitions, list[tuple[str, Any]]]:
    """What the outputs should be."""
    weighted = "w" in graph.arguments
    textbook = steps.definitions(weighted)
    r, d = list(interpretation.held)[-2:] if "mean" in graph.arguments else (sp.Integer(1), sp.Integer(0))
    output = gamma * (r * x_hat[k] + d) + beta if "mean" in graph.arguments else y[k]
    textbook = textbook.with_loss(J, over_batch(delta[k] * output, of=k))
    if not graph.second:
        gradients = [("d_x", Partial(J, x[k])), ("d_gamma", Partial(J, gamma)), ("d_beta", Partial(J, beta))]
        return textbook, [("y", output), ("mean", mu), ("variance", v), *gradients]
    # First-order gradients in the closed form, which is proved to be the derivative.
    none = {second_order.g_mu: sp.Integer(0), second_order.g_v: sp.Integer(0)}
    d_x = second_order.first_order(weighted).xreplace(none).xreplace({gamma: gamma * r})
    d_gamma = r * steps.D_GAMMA + d * steps.D_BETA
    phi = over_batch(u[element] * d_x) + u_gamma * d_gamma + u_beta * steps.D_BETA
    textbook = textbook.with_loss(Phi, phi)
    return textbook, [
        ("dd_delta", Partial(Phi, delta[k])),
        ("dd_gamma", Partial(Phi, gamma)),
        ("dd_x", Partial(Phi, x[k])),
    ]


__all__ = ["GRAPHS", "Graph", "claims", "interpret", "one_channel", "trace"]
