"""The two walks: every operation of the table, every attribute; whatever graph comes, one kind of error."""

import contextlib
import random

import numpy as np
import pytest
import tensorflow as tf

from derivations.graphs.exact import judge
from derivations.graphs.exact.degrees import counted
from derivations.graphs.exact.elementwise import PLAIN
from derivations.graphs.exact.run import ExactRun
from derivations.graphs.nodes import nodes_of
from derivations.graphs.operations import OPERATIONS
from derivations.graphs.shipped import EPSILON, trace
from derivations.graphs.symbolic.interpretation import Interpretation
from derivations.graphs.symbolic.outputs import argument
from derivations.graphs.walk import CASTS, PASSED, UnknownGraph
from derivations.prime_fields.arrays import FIELDS, NoPoint, Numbers, drawn
from derivations.prime_fields.dual_numbers import Degrees
from tests.graph_cases import ROWS, changed, plain

BY_THE_WALK = {*PASSED, "Placeholder", "PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf"}
P = FIELDS[0]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_table_says_what_each_walk_does(name):
    row = OPERATIONS[name]
    if name not in BY_THE_WALK:
        assert hasattr(Interpretation, f"_{name}") is (row.symbolic is not None)
        assert (hasattr(ExactRun, f"_{name}") or name in PLAIN) is (row.exact is not None)


def test_the_walks_do_nothing_beside_the_table():
    for walk in (Interpretation, ExactRun):
        rules = {name[1:] for name in dir(walk) if name[0] == "_" and name[1].isupper()}
        assert rules <= OPERATIONS.keys()
    assert PLAIN.keys() <= OPERATIONS.keys()


def traced(function, *shapes):
    signature = [tf.TensorSpec(shape, tf.float64) for shape in shapes]
    return tf.function(function, input_signature=signature, autograph=False).get_concrete_function()


def interpreted(function):
    return Interpretation({}).run(traced(function, [None, 4]), [argument(ROWS, "x")])


def run(function, value):
    return ExactRun(P).run(traced(function, [None, 4]), [value])


def test_attributes_are_looked_at():
    def averaged(x):
        return tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(x, tf.float32)[None, None], scale=[1.0] * 4, offset=[0.0] * 4, mean=[0.0] * 4,
            variance=[1.0] * 4, epsilon=EPSILON, exponential_avg_factor=0.5,
        ).y  # fmt: skip

    for walk in (lambda: interpreted(averaged), lambda: run(averaged, drawn((3, 4), P, np.random.default_rng(0)))):
        with pytest.raises(UnknownGraph, match=r"exponential_avg_factor = 0\.5; 1\.0 is understood") as caught:
            walk()
        assert caught.value.operation == "FusedBatchNormV3"
        assert caught.value.name


def test_a_cast_that_loses_bits_is_an_assumption():
    for through, assumed in ((tf.float16, {CASTS}), (tf.float64, set())):
        (result,) = interpreted(lambda x, through=through: tf.cast(tf.cast(x, through), tf.float64) + 0.0)
        assert result.on == assumed


def test_whatever_is_captured_is_a_constant_or_refused():
    constant = tf.constant([2.0] * 4, tf.float64)
    (result,) = run(lambda x: x * constant, Numbers.of(np.ones((2, 4), np.int64), P))
    assert (result.value.real == 2).all()
    variable = tf.Variable([1.0] * 4, dtype=tf.float64, name="scale")
    with pytest.raises(UnknownGraph, match="the variable scale, of which no value is given"):
        interpreted(lambda x: x * variable)


UNARY = [
    tf.square, tf.sqrt, tf.abs, tf.sign, tf.floor, tf.nn.relu, tf.negative, tf.exp, tf.math.reciprocal, tf.identity,
    tf.stop_gradient, tf.zeros_like, lambda a: tf.reduce_sum(a, 0), lambda a: tf.reduce_mean(a, -1, keepdims=True),
    lambda a: tf.reduce_max(a, 0), lambda a: a[::2], lambda a: a[:1], lambda a: a[..., None], lambda a: a[tf.newaxis],
    lambda a: tf.reshape(a, [-1]), tf.transpose, lambda a: tf.cumsum(a, 0), lambda a: tf.reverse(a, [0]),
    lambda a: tf.cast(tf.cast(a, tf.int32), a.dtype), lambda a: tf.cast(a > 0, a.dtype), lambda a: tf.gather(a, [0]),
    lambda a: tf.cast(tf.reduce_all(a > 0), a.dtype), lambda a: tf.cast(tf.shape(a)[0] // 3, a.dtype), tf.linalg.diag,
    lambda a: tf.cast(tf.shape(a)[0] % 3, a.dtype), lambda a: tf.tile(a, [2] * a.shape.rank), tf.math.is_finite,
    lambda a: tf.cond(tf.reduce_any(a > 0), lambda: a, lambda: -a), lambda a: tf.pow(a, 1.5), tf.sort, tf.unstack,
    lambda a: tf.clip_by_value(a, -1.0, float("inf")), tf.nn.softmax, lambda a: tf.where(a > 0, a, 0.0), tf.size,
]  # fmt: skip
BINARY = [tf.add, tf.subtract, tf.multiply, tf.divide, tf.maximum, tf.minimum, tf.math.divide_no_nan, tf.matmul,
          lambda a, b: tf.stack([a, b]), lambda a, b: tf.concat([a, b], 0), tf.equal, tf.math.floordiv]  # fmt: skip


def grown(seed):
    """A function of x made of operations at random, as far as TensorFlow takes them, and its gradient."""
    chosen = random.Random(seed)

    def function(x):
        values = [x]
        for _ in range(8):
            a, b = chosen.choice(values), chosen.choice(values)
            try:
                value = chosen.choice(UNARY)(a) if chosen.random() < 0.6 else chosen.choice(BINARY)(a, b)
            except (ValueError, TypeError, tf.errors.OpError):
                continue
            if isinstance(value, tf.Tensor):
                values.append(value)
        return values[-1]

    return traced(function, [None, 4])


@pytest.mark.parametrize("seed", range(60))
def test_whatever_graph_comes_it_is_run_or_refused(seed):
    function = grown(seed)
    with contextlib.suppress(UnknownGraph):
        Interpretation({}).run(function, [argument(ROWS, "x")])
    x = np.random.default_rng(seed).normal(size=(3, 4)).round(2)
    try:
        (result,) = ExactRun(P).run(function, [Numbers.of(x, P)])
    except (UnknownGraph, NoPoint):
        return
    try:
        expected = function(tf.constant(x))
    except tf.errors.InvalidArgumentError:  # TensorFlow traces some graphs that it does not run
        return
    found = result.value.real if isinstance(result.value, Numbers) else result.value
    np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected, rtol=1e-9, atol=1e-9)


def test_nodes_are_read_once():
    graph = traced(lambda x: x + 1, [None, 4]).graph
    assert nodes_of(graph) is nodes_of(graph)


def degrees(forward):
    graph = ROWS
    return counted(graph, trace(graph, forward), (3,), FIELDS[0], 1e-15)


def test_degrees_are_counted():
    """Of differences: of the textbook's numbers, and of those of the graph."""
    plainly = degrees(plain(ROWS))
    assert plainly["d_beta"] == Degrees(1, 0, 2)  # Σδ; what is drawn is a root of δ
    assert plainly["variance"].elements == 2
    more = degrees(changed(lambda y, x, mean, v, given: y + x**30))
    assert more["y"].elements >= 30
    assert more["y"].total >= 60
    rooted = degrees(changed(lambda y, x, mean, v, given: y + tf.sqrt(v + 2.0)))
    assert rooted["y"].elements >= 2 * plainly["y"].elements  # each further root has two signs


def test_degrees_above_those_that_are_settled_are_no_proof():
    output = judge._Output()
    output.sizes.append(3)
    assert output.result({}, FIELDS[:2], Degrees(50, 9, 200)).equal
    above = output.result({}, FIELDS[:2], Degrees(50, 9, judge.DEGREES.total + 1))
    assert not above.equal
    assert f"of degree {judge.DEGREES.total + 1}" in above.undecided
