"""Traced graphs: proved, equal to TensorFlow's own run, and refused where unknown."""

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy as sp
import tensorflow as tf

from derivations.claims import steps
from derivations.claims.claim import Verdict
from derivations.claims.families import graphs
from derivations.graphs import shipped
from derivations.graphs.shipped import CHANNELS, EPSILON, GRAPHS, LAYOUTS, MOMENTUM, RENORM_MOMENTUM, Graph, traced
from derivations.graphs.symbolic import outputs as graph_outputs
from derivations.graphs.symbolic.axes import BLOCKS
from derivations.graphs.symbolic.interpretation import Interpretation
from derivations.graphs.walk import Assumed, GraphWalk, Resource, UnknownGraph
from derivations.notation import epsilon as epsilon_symbol
from derivations.notation import i, m, mu, over_batch, x
from derivations.notation.settings import Condition
from keras_bn import batch, moving_state
from keras_bn.engines import column_sums, fused, products, second_order, small_means
from keras_bn.formulas import inference, moving_statistics, renormalization, training

RUN, BLOCK = BLOCKS

NAMED = {graph.name: graph for graph in GRAPHS}
# Below one block, a whole one, and several with a rest; along each axis that is summed in stages.
SIZES: dict[str, list[tuple[int, ...]]] = {
    "rows": [(1,), (3,), (RUN + 1,), (BLOCK,), (2 * BLOCK + 2,)],
    "channels_last": [(1, 1, 1), (3, 2, 1), (2, 16, 8), (3, 17, 13)],
    "channels_first": [(1, 1, 1), (2, 3, 1), (1, 16, 16), (3, 17, 16), (BLOCK + 1, 2, 1)],
    "runs": [(1, 5, 7), (9, 5, 7)],
    "wide": [(1, 1, 1), (2, 16, 9)],
}
# Graphs of second order are wide; of these the quick run takes some.
QUICK = ("rows.masked.second", "channels_last.renormalized.second", "batch_norm.second")


def with_marks(graph: Graph, *values: Any) -> Any:
    slow = graph.second and graph.name not in QUICK
    name = "-".join([graph.name, *map(str, values)])
    return pytest.param(graph, *values, id=name, marks=[pytest.mark.slow] if slow else [])


# Those that another one of the same layout, or of the same engine, stands for in the quick run.
ALIKE = {"channels_first.masked", "channels_first.renormalized", "fused.half.kernel", "fused.wide.masked.kernel"}


def at_sizes(graph: Graph, sizes: tuple[int, ...]) -> Any:
    case = with_marks(graph, sizes)
    return pytest.param(*case.values, id=case.id, marks=pytest.mark.slow) if graph.name in ALIKE else case


RUNS = [
    at_sizes(graph, sizes)
    for graph in GRAPHS
    for sizes in (SIZES[graph.layout][:: len(SIZES[graph.layout]) - 1] if graph.second else SIZES[graph.layout])
]

interpreted = cache(graph_outputs.interpret)


@cache
def settled(graph: Graph) -> tuple[Any, ...]:
    return tuple(claim.settle() for claim in graphs.claims((graph,)))


@pytest.mark.parametrize("graph", [with_marks(graph) for graph in GRAPHS])
def test_what_tensorflow_traces_is_proved(graph):
    for claim in settled(graph):
        assert claim.verdict is Verdict.PROVED, claim.line()
        assert claim.settlement.side_conditions == ()
        # An axiom on a kernel is assumed only where one is used.
        without = not graph.name.startswith("fused") or graph.name == "fused.masked.closed_form" or graph.second
        assert not (without and claim.axioms), claim.line()
    guards = [text for text in settled(graph)[0].assumptions if "everywhere" in text]
    assert len(guards) == (graph.branch is not None)
    assert all(text.startswith("not") is not graph.branch for text in guards)


def test_what_is_proved_elsewhere_is_not_proved_under_other_conditions():
    claim = settled(NAMED["rows.plain"])[0]
    zero = steps.definitions().unfold(over_batch(x[i] - mu))
    assert replace(claim, conditions=claim.conditions | {Condition(zero, "≠ 0")}).settle().verdict is Verdict.NOT_PROVED


def test_what_a_training_step_of_the_layer_leaves_behind_has_claims():
    for name, graph in NAMED.items():
        if graph.source == "layer" and graph.training and not graph.second:
            outputs = {claim.identifier.removeprefix(f"graphs.{name}.") for claim in settled(graph)}
            state = {"new_moving_mean", "new_moving_variance"}
            if graph.renorm:
                state |= {"new_moving_stddev", "new_renorm_mean", "new_renorm_stddev", "r.clipped", "d.clipped"}
            assert outputs >= {"y", "d_x", "d_gamma", "d_beta", *state}


def test_inference_assigns_nothing():
    of_inference = [graph for graph in GRAPHS if not graph.training and not graph.second]
    kinds = {*SIZES.keys() - {"runs", "wide"}, "fused"}
    assert {graph.name for graph in of_inference} == {f"{kind}.inference" for kind in kinds}
    for graph in of_inference:
        assert set(interpreted(graph).outputs) == {"y", "d_x", "d_gamma", "d_beta"}
        assert "V ≥ 0" in settled(graph)[0].assumptions


def test_the_axioms_of_each_kernel():
    kernels = {
        "kernel": ("A2", "A4", "A4", "A4", "", ""),
        "closed_form": ("A2", "A4", "A4", "A4", "", ""),  # without weights, the kernels are given x less its center
        "half.kernel": ("A1", "A1 A4", "A1 A4", "A1 A4", "A1", "A1"),
        "masked.kernel": ("A2", "A2 A3", "A3", "A3", "", ""),
    }
    outputs = ("y", "d_x", "d_gamma", "d_beta", "new_moving_mean", "new_moving_variance")
    for name in ("kernel", "closed_form", "half.kernel", "masked.kernel", "wide.kernel", "wide.masked.kernel"):
        axioms = {c.identifier.split(".")[-1]: " ".join(c.axioms) for c in settled(NAMED[f"fused.{name}"])}
        assert axioms == dict(zip(outputs, kernels[name.removeprefix("wide.")], strict=True))
    assert {claim.axioms for claim in settled(NAMED["fused.inference"])} == {("A2",), ("A2", "A3")}


# The commuting square.


def values_of(graph: Graph, sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Arguments and variables, elements as TensorFlow wants them."""
    rng = np.random.default_rng(sum(sizes))
    layer = traced(graph).layer
    names = [*graph.names, *(variable.name for variable in layer.weights)] if layer else graph.names
    values = {}
    for name in names:
        unknown = iter(sizes)
        shape = [next(unknown) if size is None else size for size in graph.shape(name)]
        values[name] = rng.normal(size=shape)
        if name == "w":
            values[name] = np.arange(int(np.prod(shape))).reshape(shape) % 3 != 1
        elif name in ("moving_variance", "moving_stddev"):
            values[name] = rng.uniform(1, 2, size=shape)
        elif name == "renorm_stddev":
            values[name] = np.array([0.01, 0.5, 1.0, 9.0])  # below √ε, inside the bounds, and beyond
        elif name == "x" and graph.branch is False:
            values[name] += 1000  # where the kernel loses digits
    own = {name: graph.dtype(name).as_numpy_dtype for name in graph.names}  # variables have 32 bits, or 64
    wide = np.float32 if graph.half else graph.dtype("x").as_numpy_dtype
    return {name: value.astype(own.get(name, wide)) for name, value in values.items()}


def by_channel(graph: Graph, name: str, value: Any) -> np.ndarray:
    """[M, C], [M] or [C]: in the order of the flat index."""
    value = np.asarray(value)
    if name == "w":
        return value.reshape(-1)
    if value.ndim == 1:
        return value
    return np.moveaxis(value, LAYOUTS[graph.layout][1], -1).reshape(-1, graph.channels)


@pytest.mark.parametrize(("graph", "sizes"), RUNS)
def test_the_interpretation_at_numbers_is_what_tensorflow_computes(graph, sizes):
    values = values_of(graph, sizes)
    function, layer = traced(graph)
    for variable in layer.weights if layer else ():
        variable.assign(values[variable.name])
    found = dict(zip(graph.outputs, function(*(tf.constant(values[name]) for name in graph.names)), strict=True))
    interpretation = interpreted(graph)
    for name, expression in interpretation.outputs.items():
        output = getattr(layer, name.removeprefix("new_")) if name.startswith("new_") else found[name]
        expected = by_channel(graph, name, output.numpy())
        scale = max(1.0, float(np.abs(expected).max()))
        tolerance = 1e-9 if graph.dtype("x") == tf.float64 else 2e-4 if graph.branch is False else 2e-5
        if graph.half and name in graph_outputs.PER_ELEMENT:
            tolerance = 1e-3  # two roundings to 11 bits
        for channel in {0, 1, 2, graph.channels - 1}:
            own = {n: by_channel(graph, n, v).astype(np.float64) for n, v in values.items()}
            own = {n: v[:, channel] if v.ndim == 2 else v if n == "w" else v[channel] for n, v in own.items()}
            result = at_numbers(expression, own, interpretation)
            given = expected[..., channel]
            np.testing.assert_allclose(
                np.broadcast_to(result, given.shape), given, rtol=tolerance, atol=tolerance * scale, err_msg=name
            )


FUNCTIONS = {"max": np.maximum, "min": np.minimum, "relu": lambda a: np.maximum(a, 0), "abs": np.abs}


def at_numbers(expression: sp.Expr, own: Mapping[str, Any], found: graph_outputs.Interpreted) -> Any:
    symbols = {name: graph_outputs.SYMBOLS[name] for name in own}
    arguments = {name: sp.Symbol(f"argument_{name}") for name in own}
    elements = {symbols[name]: arguments[name] for name in own if isinstance(symbols[name], sp.IndexedBase)}
    names = {symbols[name]: arguments[name] for name in own}
    body = steps._on_arrays(expression, elements).xreplace(names)
    numbers = {
        graph_outputs.a: MOMENTUM,
        graph_outputs.rho: RENORM_MOMENTUM,
        epsilon_symbol: EPSILON,
        m: float(len(own["x"])),
    }
    for symbol in body.free_symbols - set(arguments.values()) - numbers.keys():
        if symbol in found.applied:
            name, parts = found.applied[symbol]
            numbers[symbol] = FUNCTIONS[name](*(at_numbers(part, own, found) for part in parts))
        else:
            value = found.held[symbol]
            numbers[symbol] = 0.25 if value is None else at_numbers(value, own, found)  # any center
    parameters = [*arguments.values(), *numbers]
    compute = sp.lambdify(parameters, body, modules=[{"_sum_of_array": np.sum}, "numpy"], cse=True)
    return compute(*(own[name] for name in arguments), *numbers.values())


# Errors are seen through the graph.

PLANTED: list[tuple[Any, str, str, str, str, str | None]] = [
    (training, "through_statistics", "2 * d_variance", "3 * d_variance", "batch_norm", "d_x"),
    (training, "through_statistics", "2 * d_variance", "3 * d_variance", "rows.plain", None),  # no such cotangent
    (training, "backward", "(share * slope) * residual", "slope * residual", "channels_last.plain", "d_x"),
    (training, "backward", "(share * slope) * residual", "slope * residual", "rows.plain.second", "dd_x"),
    (training, "through_statistics", "gamma * inv_std", "gamma", "channels_first.masked", "d_x"),
    (training, "backward", "gamma * inv_std * dy", "gamma * dy", "channels_first.masked", "d_x"),
    (training, "backward", "- shift * d_beta", "+ shift * d_beta", "channels_first.plain", "d_gamma"),
    (training, "backward", "- shift * d_beta", "+ shift * d_beta", "channels_last.plain", "d_gamma"),
    (training, "moments", "ops.regular(shift)))", "2 * ops.regular(shift)))", "rows.plain", "new_moving_variance"),
    # With a mask the center is the mean itself, and the shift 0.
    (training, "moments", "ops.regular(shift)))", "2 * ops.regular(shift)))", "rows.masked", None),
    (training, "normalize", "variance + epsilon", "variance + 2 * epsilon", "channels_last.masked", "y"),
    (batch.TensorBatch, "share", "tf.cast(self._weights, self.dtype)", "1", "rows.masked", "d_x"),
    (batch.TensorBatch, "mean", "tf.where(self._counts, value, tf.zeros_like(value))", "value", "rows.masked", "y"),
    (renormalization, "compose", "gamma * correction.r,", "gamma,", "channels_last.renormalized", "d_x"),
    (renormalization, "gradient_of_gamma", "+ correction.d", "- correction.d", "rows.renormalized", "d_gamma"),
    (renormalization, "correction", "reference.r_max", "2 * reference.r_max", "rows.renormalized", "r.high"),
    (renormalization, "correction", "(mean - reference.mean)", "mean", "channels_first.renormalized", "d.clipped"),
    (renormalization, "correction", "epsilon**0.5", "epsilon", "rows.renormalized", "r.least"),
    (moving_statistics, "update", "(1 - momentum)", "(1 + momentum)", "rows.plain", "new_moving_mean"),
    (moving_state, "renewed", 'state["renorm_mean"], mean,', 'state["renorm_mean"], 2 * mean,',
     "rows.renormalized", "new_renorm_mean"),
    (inference, "normalize", "+ beta", "- beta", "rows.inference", "y"),
    (inference, "normalize", "(x + -1 * mean)", "x", "channels_first.inference", "d_gamma"),
    (inference, "normalize", " * gamma)", ")", "channels_last.inference", "d_x"),
    (inference, "normalize", "(variance +", "(2 * variance +", "rows.inference.second", "dd_x"),
    (fused, "inference", "offset=beta", "offset=gamma", "fused.inference", "y"),
    (fused, "inference", "variance=variance", "variance=mean", "fused.inference", "d_x"),
    (small_means, "near", "- tf.square(mean)", "", "fused.wide.kernel", "new_moving_variance"),
    (fused, "_weighted", "route = ", "route = 2 * ", "fused.wide.masked.kernel", "d_x"),
    (small_means, "near", "- tf.square(mean)", "", "fused.kernel", "d_x"),
    (small_means, "near", "- tf.square(mean)", "", "products.runs.small_means", "d_x"),
    (fused, "_of_small_means", "(shift, variance, variance)", "(shift, shift, variance)", "fused.kernel", "d_gamma"),
    (small_means, "near", "x - center)", "x + center)", "fused.closed_form", "y"),
    (small_means, "near", "x - center)", "x + center)", "products.large_means", "y"),
    (small_means, "near", "x - center)", "x + center)", "fused.kernel", None),  # the other branch
    (small_means, "near", "batch.regular(shift)", "2 * batch.regular(shift)", "fused.closed_form", "d_x"),
    (fused, "_of_small_means", "return kernel(dy)", "return kernel(2 * dy)", "fused.closed_form", "d_x"),
    (fused, "_own_statistics", " * batch.biased()", "", "fused.half.kernel", "new_moving_variance"),
    (small_means, "near", "over_count(total_square)", "over_count(2 * total_square)", "fused.wide.kernel", "y"),
    (products.Rows, "sum", "return column", "return 2 * column", "products.runs.small_means", "d_beta"),
    (batch.TensorBatch, "sum", "return self", "return 2 * self", "products.small_means", "d_beta"),
    (products.Rows, "sum_of_products", "(a, b, self", "(a, a, self", "products.runs.small_means", "d_gamma"),
    (products, "training", "rows.elements(dy), 0.0", "rows.elements(dy), 1.0", "products.small_means", "d_x"),
    (products, "training", "center=0.0", "center=1.0", "products.small_means", "y"),
    (column_sums, "weighted", "weights[", "2 * weights[", "fused.kernel", "new_moving_mean"),
    (fused, "_guarded", "tf.shape(x)), d_gamma, d_beta", "tf.shape(x)), d_beta, d_gamma",
     "fused.masked.kernel", "d_gamma"),
    (fused, "_guarded", "exact()[1](dy,", "exact()[1](2 * dy,", "fused.masked.closed_form", "d_x"),
    (fused, "_guarded", "exact()[1](dy,", "exact()[1](2 * dy,", "fused.masked.kernel", None),  # the other branch
    (second_order, "backward", "first = exact(dy,", "first = exact(2 * dy,", "fused.kernel.second", "dd_x"),
    (second_order, "backward", "first = exact(dy,", "first = exact(2 * dy,", "products.small_means.second", "dd_x"),
    (fused, "_weighted", "tf.reshape(batch.share(), _images(-1, channels, 1)) *", "", "fused.masked.kernel", "d_x"),
    (fused, "_weighted", "route = ", "route = 2 * ", "fused.masked.kernel", "d_x"),
    (fused, "_weighted", "route = ", "route = 2 * ", "fused.masked.closed_form", None),  # the other branch
    (fused, "_weighted", "slope, offset, epsilon=0.0", "slope, offset, epsilon=epsilon", "fused.masked.kernel", "d_x"),
    (fused, "_weighted", "(mean, variance, variance)", "(mean, mean, variance)", "fused.masked.kernel", "d_gamma"),
    (fused, "_weighted", "batch.squared_difference(x, mean)", "tf.square(x)", "fused.masked.kernel", "y"),
    (batch.TensorBatch, "over_count", "/ self._divisor", "/ (2 * self._divisor)", "fused.masked.kernel", "y"),
    (training, "through_statistics", "scale * d_beta", "d_beta", "fused.masked.kernel", "d_x"),
    (training, "through_statistics", "scale * d_beta", "d_beta", "fused.masked.kernel.second", "dd_x"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "function", "old", "new", "name", "claim"), PLANTED)
def test_planted_errors_are_refuted_through_the_graph(owner, function, old, new, name, claim, monkeypatch):
    source = textwrap.dedent(inspect.getsource(getattr(owner, function)))
    assert old in source
    module = owner if isinstance(owner, ModuleType) else inspect.getmodule(owner)
    space = dict(vars(module))
    exec(source.replace(old, new), space)
    monkeypatch.setattr(owner, function, space[function])
    verdicts = {c.identifier: c.settle().verdict for c in graphs.claims((NAMED[name],))}
    if claim is None:
        assert set(verdicts.values()) == {Verdict.PROVED}
    else:
        assert verdicts[f"graphs.{name}.{claim}"] is Verdict.REFUTED


def test_a_sum_that_loses_its_rest_is_no_sum(monkeypatch):
    def headless(value, axis, length):
        whole = tf.shape(value)[axis] // BLOCK * BLOCK
        assert axis == 0
        return tf.reduce_sum(value[:whole], 0)

    monkeypatch.setattr(batch, "staged_sum", headless)
    with pytest.raises(UnknownGraph, match="head"):
        graph_outputs.interpret(NAMED["rows.plain"])


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [("squares", "tf.square(rows", "(rows"), ("weighted", "reduce_sum(heads", "reduce_sum(2 * heads")],
)
def test_blocks_that_are_summed_otherwise_than_the_rest_are_no_sum(function, old, new, monkeypatch):
    source = inspect.getsource(getattr(column_sums, function))
    assert old in source
    space = dict(vars(column_sums))
    exec(source.replace(old, new), space)
    monkeypatch.setattr(column_sums, function, space[function])
    with pytest.raises(UnknownGraph, match="head"):
        graph_outputs.interpret(NAMED["fused.kernel"])


def test_rows_in_one_layout_are_no_factor_of_rows_in_another(monkeypatch):
    source = inspect.getsource(fused._weighted)
    share = "tf.reshape(batch.share(), _images(-1, channels, 1))"
    assert share in source
    space = dict(vars(fused))
    exec(source.replace(share, "tf.reshape(batch.share(), _images(-1, 4, 1))"), space)
    monkeypatch.setattr(fused, "_weighted", space["_weighted"])
    graph_outputs.interpret(NAMED["fused.masked.kernel"])
    with pytest.raises(UnknownGraph, match=r"a reshape of \[H\*N\*W, 1, H\*N\*W, 260\]"):
        graph_outputs.interpret(NAMED["fused.wide.masked.kernel"])


ROWS = Graph("wrong", source="wrong")
IMAGES = ROWS._replace(layout="channels_last")


@pytest.mark.parametrize(
    ("graph", "wrong", "message"),
    [
        (ROWS, lambda x, mean: tf.exp(x), "operation Exp"),
        (ROWS, lambda x, mean: tf.cast(tf.cast(x, tf.int32), x.dtype), "data cast to int32"),
        (ROWS, lambda x, mean: tf.maximum(x, 0.0), "per channel of which all"),
        (ROWS, lambda x, mean: tf.abs(x), "per channel of which all"),
        (ROWS, lambda x, mean: tf.where(x > 0, x, mean), "a selection by a comparison"),
        (ROWS, lambda x, mean: tf.where(x <= 0, x, mean), "a selection by a comparison"),
        (ROWS, lambda x, mean: tf.cond(tf.reduce_all(x <= 0), lambda: x, lambda: 2 * x), "the graph is to have none"),
        (ROWS, lambda x, mean: tf.cumsum(x), "operation Cumsum"),
        (ROWS, lambda x, mean: tf.stop_gradient(x[::3]), "only a value per channel"),
        (ROWS, lambda x, mean: x - tf.reduce_mean(x[::3], 0), "may only be held constant"),
        (ROWS, lambda x, mean: x - tf.where(mean > 0, tf.reduce_mean(x[::3], 0), mean), "a selection by a comparison"),
        (ROWS, lambda x, mean: x[:3], "a slice from 0 to 3"),
        (ROWS, lambda x, mean: x[::3], "every n-th entry"),
        (
            ROWS,
            lambda x, mean: tf.stop_gradient(tf.gather(x, tf.range(0, tf.shape(x)[0], 3))),
            "only a value per channel",
        ),
        (ROWS, lambda x, mean: tf.gather(x, tf.range(1, tf.shape(x)[0], 3)), "from 0 on"),
        (ROWS, lambda x, mean: tf.gather(x, tf.range(0, tf.shape(x)[0] - 1, 3)), "of every n-th entry"),
        (ROWS, lambda x, mean: tf.gather(x, [0, 1]), "of every n-th entry"),
        (IMAGES, lambda x, mean: x - tf.stop_gradient(tf.reduce_mean(x[::3], [0, 1])), "only a value per channel"),
        (ROWS, lambda x, mean: x @ tf.transpose(x) @ x, "of another channel"),
        (ROWS, lambda x, mean: x + tf.reduce_sum(x, 1, keepdims=True), "of another channel"),
        (ROWS, lambda x, mean: x[1:], "a slice from"),
        (ROWS, lambda x, mean: x * tf.constant([1.0, 2.0, 3.0, 4.0], tf.float64), "several values"),
        (ROWS, lambda x, mean: tf.reverse(x, [0]), "operation ReverseV2"),
        (ROWS, lambda x, mean: x * tf.cast(tf.shape(x)[0] // 2, x.dtype), r"m // 2"),
        (ROWS, lambda x, mean: tf.transpose(x), "an output of the shape"),
        (IMAGES, lambda x, mean: x + tf.square(tf.reduce_sum(x, 1, keepdims=True)), "still to be summed"),
        (IMAGES, lambda x, mean: x * tf.reduce_sum(x, [0, 1], keepdims=True), "still to be summed"),
        (IMAGES, lambda x, mean: x + tf.reduce_mean(x, [1, 2], keepdims=True), "still to be summed"),
        (IMAGES, lambda x, mean: tf.transpose(x, [0, 2, 1, 3]), "exchanges axes"),
        (IMAGES, lambda x, mean: x * tf.cast(tf.shape(x)[1], x.dtype), "how the batch is laid out"),
    ],
)
def test_what_is_not_understood_is_an_error(graph, wrong, message):
    def forward(given):
        mean = tf.reduce_mean(given["x"], [0] if graph is ROWS else [0, 1, 2])
        return wrong(given["x"], mean), mean, mean

    with pytest.raises(UnknownGraph, match=message):
        graph_outputs.interpret(graph, shipped.trace(graph, forward))


def test_a_slice_is_confined_to_where_it_was_cut():
    """A function of the head, summed over the head: what it is of 0 in the rest must not count."""

    def forward(given):
        x = given["x"]
        whole = tf.shape(x)[0] // BLOCK * BLOCK
        head = tf.reduce_sum(tf.math.rsqrt(tf.square(x[:whole]) + 1), 0)
        total = head + tf.reduce_sum(tf.math.rsqrt(tf.square(x[whole:]) + 1), 0)
        return x, total, total

    total = graph_outputs.interpret(ROWS, shipped.trace(ROWS, forward)).outputs["mean"]
    (sum_,) = total.atoms(sp.Sum)
    assert total == sum_
    assert sum_.function == 1 / sp.sqrt(x[sum_.variables[0]] ** 2 + 1)


def test_variables_are_read_before_they_are_assigned():
    variable = tf.Variable([1.0] * CHANNELS, dtype=tf.float64, name="gamma")

    @tf.function(input_signature=[tf.TensorSpec([None, CHANNELS], tf.float64)], autograph=False)
    def read_late(x):
        before = x * variable
        variable.assign(2 * variable)
        return before * variable

    interpretation = Interpretation({})
    given = graph_outputs.argument(ROWS, "gamma")
    with pytest.raises(UnknownGraph, match="gamma is read after it was assigned"):
        interpretation.run(read_late.get_concrete_function(), [graph_outputs.argument(ROWS, "x")], {"gamma": given})
    walk = GraphWalk()
    walk._assign(Resource("gamma"), Assumed(None, frozenset()))
    with pytest.raises(UnknownGraph, match="a second assignment"):
        walk._assign(Resource("gamma"), Assumed(None, frozenset()))


# The axioms are tested, which is no proof.


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 1), (3, 5, 7), (105, 1, 1)])
@pytest.mark.parametrize("channels", [1, 4, fused.WIDE + 4])
def test_the_axioms_on_fused_kernels_hold_numerically(sizes, channels, training):
    """A1 and A4 in training, A2 and A3 without; but for A1, with statistics that are not those of the batch."""
    rng = np.random.default_rng(sum(sizes))
    x, dy = (rng.normal(size=(*sizes, channels)).astype(np.float32) for _ in range(2))
    gamma, beta, mean = (rng.normal(size=channels).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.1, 2, size=channels).astype(np.float32)
    options = {"epsilon": EPSILON, "is_training": training}
    flat, delta = (value.astype(np.float64).reshape(-1, channels) for value in (x, dy))
    count = len(flat)

    def standardized(mean, variance):
        s = 1 / np.sqrt(variance.astype(np.float64) + EPSILON)
        return (flat - mean) * s, s

    given = {"mean": [], "variance": []} if training else {"mean": mean, "variance": variance}
    kernel = tf.raw_ops.FusedBatchNormV3(x=x, scale=gamma, offset=beta, **given, **options)
    own = (flat.mean(axis=0), flat.var(axis=0)) if training else (mean, variance)
    expected = [(kernel.y, gamma * standardized(*own)[0] + beta)]
    if training:
        unbiased = own[1] * count / max(count - 1, 1)
        expected += [(kernel.batch_mean, own[0]), (kernel.batch_variance, unbiased)]
        expected += [(kernel.reserve_space_1, own[0]), (kernel.reserve_space_2, own[1])]

    reserved = {"reserve_space_1": mean, "reserve_space_2": variance, "reserve_space_3": variance}
    gradients = tf.raw_ops.FusedBatchNormGradV3(y_backprop=dy, x=x, scale=gamma, **reserved, **options)
    z, s = standardized(mean, variance)
    d_beta, d_gamma = delta.sum(axis=0), (delta * z).sum(axis=0)
    through_statistics = (d_beta + z * d_gamma) / count if training else 0
    expected += [
        (gradients.x_backprop, gamma * s * (delta - through_statistics)),
        (gradients.scale_backprop, d_gamma),
        (gradients.offset_backprop, d_beta),
    ]
    for found, truth in expected:
        np.testing.assert_allclose(found.numpy().reshape(truth.shape), truth, rtol=2e-5, atol=2e-5)


def test_every_layout_is_traced():
    kinds = [(False, False, True), (True, False, True), (False, True, True), (False, False, False)]
    traced = {(g.layout, g.masked, g.renorm, g.training) for g in GRAPHS if g.engine == "closed_form"}
    assert traced == {(layout, *kind) for layout in SIZES.keys() - {"runs", "wide"} for kind in kinds}
    assert {g.engine for g in GRAPHS if g.layout == "runs"} == {"fused", "products"}
    assert {g.engine for g in GRAPHS if g.layout == "wide"} == {"fused"}
