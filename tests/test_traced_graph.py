"""Traced graphs: proved, equal to TensorFlow's own run, run exactly over a prime field, and refused where unknown."""

import inspect
import itertools
import random
from functools import cache

import numpy as np
import pytest
import sympy as sp
import tensorflow as tf

from derivations import steps
from derivations.claim import Verdict
from derivations.claims import graphs
from derivations.claims.graphs import BOUNDS, CHANNELS, EPSILON, GRAPHS, Graph
from derivations.dual_numbers import PRIMES, Dual, NoRoot
from derivations.field_graph import FieldGraph
from derivations.notation import m
from derivations.symbolic_axes import BLOCK, UnknownGraph
from keras_bn.formulas import training

NAMES = [graph.name for graph in GRAPHS]
# Below one block, a whole one, and several with a rest.
SIZES = (1, 3, BLOCK, 2 * BLOCK + 2)


interpreted, traced = cache(graphs.interpret), cache(graphs.trace)


def proved(graph: Graph) -> dict[str, Verdict]:
    return {claim.identifier: claim.settle().verdict for claim in graphs.claims((graph,))}


@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
def test_what_tensorflow_traces_is_proved(graph):
    assert set(proved(graph).values()) == {Verdict.PROVED}


def arrays(graph: Graph, size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(size)
    names = ("x", "gamma", "beta", *graph.arguments, "delta", *(("u", "u_gamma", "u_beta") if graph.second else ()))
    values = {name: rng.normal(size=(size, CHANNELS) if graphs._NAMED[name][0] else CHANNELS) for name in names}
    if "w" in values:
        values["w"] = np.arange(size) % 3 != 1
    if "std" in values:
        values["std"] = np.array([0.01, 0.5, 1.0, 9.0])  # below √ε, inside the bounds, and beyond
    return values


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
def test_the_interpretation_at_numbers_is_what_tensorflow_computes(graph, size):
    values = arrays(graph, size)
    expressions, interpretation = interpreted(graph)
    function, names = traced(graph)
    found = function(*(tf.constant(values[name]) for name in names))
    symbols = [graphs._NAMED[name][1] for name in names]
    arguments = [sp.Symbol(f"argument{n}") for n in range(len(names))]
    held = list(interpretation.held)
    free = sorted(set().union(*(e.free_symbols for e in expressions)) & set(held), key=str)
    for channel, (expression, output) in itertools.product(range(CHANNELS), zip(expressions, found, strict=True)):
        bases = {s: a for s, a in zip(symbols, arguments, strict=True) if isinstance(s, sp.IndexedBase)}
        body = steps._on_arrays(expression, bases).xreplace(dict(zip(symbols, arguments, strict=True)))
        compute = sp.lambdify(
            [*arguments, m, graphs.epsilon, *free], body, modules=[{"_sum_of_array": np.sum}, "numpy"], cse=True
        )
        own = [v[:, channel] if v.ndim == 2 else v if v.dtype == bool else v[channel] for v in values.values()]
        own = [np.asarray(value, np.float64) for value in own]
        constants = constants_of(graph, dict(zip(names, own, strict=True)), held)
        result = compute(*own, float(size), EPSILON, *(constants[symbol] for symbol in free))
        expected = output.numpy()[..., channel]
        np.testing.assert_allclose(np.broadcast_to(result, expected.shape), expected, rtol=1e-9, atol=1e-9)


def constants_of(graph: Graph, values: dict[str, np.ndarray], held: list[sp.Symbol]) -> dict[sp.Symbol, float]:
    """Any center; r and d as renormalization defines them."""
    constants = dict.fromkeys(held, 0.25)
    if "std" in values:
        std = max(float(values["std"]), EPSILON**0.5)
        r = np.clip(np.sqrt(values["x"].var() + EPSILON) / std, BOUNDS["r_min"], BOUNDS["r_max"])
        d = np.clip((values["x"].mean() - values["mean"]) / std, -BOUNDS["d_max"], BOUNDS["d_max"])
        constants.update(zip(held[-2:], (float(r), float(d)), strict=True))
    return constants


P = PRIMES[0]


@pytest.mark.parametrize("size", [1, 3, BLOCK + 3])
@pytest.mark.parametrize("graph", [g for g in GRAPHS if "mean" not in g.arguments], ids=lambda graph: graph.name)
def test_the_graph_runs_exactly_over_a_prime_field(graph, size):
    function, names = traced(graph)
    rng = random.Random(size)
    for _ in range(500):  # until v + ε is a square in every channel
        epsilon = Dual({0: rng.randrange(P)}, P)
        runner = FieldGraph(P, {EPSILON: epsilon})
        drawn = {
            name: np.arange(size) % 3 != 1
            if name == "w"
            else runner.array(draw(rng, (size, CHANNELS) if graphs._NAMED[name][0] else (CHANNELS,)))
            for name in names
        }
        try:
            outputs = runner.run(function.graph, [drawn[name] for name in names], function.outputs)
        except NoRoot:
            continue
        break
    along = {name: runner.array(draw(rng, drawn[name].shape)) for name in ("x", "gamma", "beta", "delta")}
    if graph.second:
        gradients = dict(zip(("delta", "gamma", "x"), outputs, strict=True))
        value = second_loss(
            {n: v + tangent(along[n]) if n in gradients else v for n, v in drawn.items()}, runner, epsilon
        )
    else:
        gradients = dict(zip(("x", "gamma", "beta"), outputs[3:], strict=True))
        moved = {n: v + tangent(along[n]) if n in gradients else v for n, v in drawn.items()}
        value = (drawn["delta"] * forward(moved, runner, epsilon)[0]).sum()
    directional = sum((gradients[name] * along[name]).sum() for name in gradients)
    assert (value.tangent(1) - directional).vanishes()


def draw(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    return np.array([rng.randrange(P) for _ in range(int(np.prod(shape)))], dtype=object).reshape(shape)


def tangent(direction: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda value: Dual({0: 0, 1: value.value}, P), otypes=[object])(direction)


def forward(values, runner, epsilon):
    """The textbook, in the field: y, s, z, and what W is."""
    x = values["x"]
    weight = (
        runner.array(values["w"].astype(int))[:, None] if "w" in values else runner.array(np.ones((len(x), 1), int))
    )
    total = weight.sum()
    mean = (weight * x).sum(axis=0) / total
    variance = (weight * (x - mean) * (x - mean)).sum(axis=0) / total
    s = 1 / runner._Sqrt(None, variance + epsilon)
    z = (x - mean) * s
    return values["gamma"] * z + values["beta"], s, z, weight / total


def second_loss(values, runner, epsilon):
    """Σu·∂x + u_γ·∂γ + u_β·∂β, with the first-order closed form."""
    _, s, z, share = forward(values, runner, epsilon)
    delta = values["delta"]
    d_beta, d_gamma = delta.sum(axis=0), (delta * z).sum(axis=0)
    d_x = values["gamma"] * s * (delta - share * (d_beta + z * d_gamma))
    return (values["u"] * d_x).sum() + (values["u_gamma"] * d_gamma).sum() + (values["u_beta"] * d_beta).sum()


PLAIN = GRAPHS[0]


@pytest.mark.parametrize(
    ("function", "old", "new", "claim"),
    [
        ("backward", "2 * d_variance", "3 * d_variance", None),  # no cotangent of the variance in these graphs
        ("backward", "(share * slope) * residual", "slope * residual", "d_x"),
        ("backward", "gamma * inv_std\n", "gamma\n", "d_x"),
        ("backward", "- shift * d_beta", "+ shift * d_beta", "d_gamma"),
        ("moments", "residual, ops.regular(shift)", "residual, 2 * ops.regular(shift)", "variance"),
        ("normalize", "variance + epsilon", "variance + 2 * epsilon", "y"),
    ],
)
def test_planted_errors_are_refuted_through_the_graph(function, old, new, claim, monkeypatch):
    source = inspect.getsource(getattr(training, function))
    assert old in source
    space = dict(vars(training))
    exec(source.replace(old, new), space)
    monkeypatch.setattr(training, function, space[function])
    verdicts = proved(PLAIN)
    if claim is None:
        assert set(verdicts.values()) == {Verdict.PROVED}
    else:
        assert verdicts[f"graphs.plain.{claim}"] is Verdict.REFUTED


def test_a_sum_that_loses_its_rest_is_no_sum(monkeypatch):
    from keras_bn import batch

    def headless(value, axis, stages=2):
        whole = tf.shape(value)[axis] // BLOCK * BLOCK
        assert axis == 0
        return tf.reduce_sum(value[:whole], 0)

    monkeypatch.setattr(batch, "_staged_sum", headless)
    with pytest.raises(UnknownGraph, match="head"):
        proved(PLAIN)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, mean: tf.abs(x), "operation Abs"),
        (lambda x, mean: tf.cast(tf.cast(x, tf.int32), x.dtype), "data cast to int32"),
        (lambda x, mean: tf.maximum(x, 0.0), "per channel may be clipped"),
        (lambda x, mean: tf.where(x > 0, x, mean), "without a hypothesis"),
        (lambda x, mean: tf.cumsum(x), "operation Cumsum"),
        (lambda x, mean: tf.stop_gradient(x), "only a value per channel"),
        (lambda x, mean: x + tf.reduce_sum(x, 1, keepdims=True), "of another channel"),
        (lambda x, mean: x[1:], "a slice from"),
        (lambda x, mean: x * tf.constant([1.0, 2.0, 3.0, 4.0], tf.float64), "several values"),
        (lambda x, mean: tf.reverse(x, [0]), "operation ReverseV2"),
    ],
)
def test_what_is_not_understood_is_an_error(wrong, message):
    def forward(x, gamma, beta):
        mean = tf.reduce_mean(x, 0)
        return wrong(x, mean), mean, mean

    with pytest.raises(UnknownGraph, match=message):
        graphs.interpret(Graph("wrong", forward))
