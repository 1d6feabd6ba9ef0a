"""``batch_norm`` against independent oracles, in every mode, for every kind of axis."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from keras_bn import batch_norm
from tests import oracles, tolerances
from tests.cases import EPSILON, LARGE, MODES, SMALL, Case, draw, in_mode


def shipped(case: Case, engine: str = "closed_form"):
    return lambda x, gamma, beta: batch_norm(x, gamma, beta, axis=case.axis, epsilon=EPSILON, engine=engine)


def run(case: Case, inputs, mode: str = "eager") -> oracles.Result:
    tensors = inputs.tensors()
    function = in_mode(mode, lambda *a: oracles.gradients(shipped(case), *a), tensors)
    return oracles.Result(*(value.numpy() for value in function(*tensors)))


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.id)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_autodiff_of_the_definition(case, mode, dtype):
    inputs = draw(case, dtype=dtype)
    found, true = run(case, inputs, mode), oracles.autodiff(inputs, case)
    tolerance = tolerances.gradient_tolerance(dtype)
    assert oracles.output_error(found.y, true.y) < tolerance
    assert oracles.output_error(found.mean, true.mean) < tolerance
    assert oracles.output_error(found.variance, true.variance) < tolerance
    assert oracles.dx_error(found.dx, inputs, true, case) < 2 * tolerance  # the cotangents of the statistics add theirs
    sums = tolerances.SUMS_FLOAT32 if dtype == "float32" else tolerance
    assert oracles.output_error(found.dgamma, true.dgamma) < sums
    assert oracles.output_error(found.dbeta, true.dbeta) < sums
    assert {value.dtype for value in found} == {np.dtype(dtype)}


@pytest.mark.parametrize("case", [Case((3, 2), -1), Case((2, 3, 4), 1)], ids=lambda case: case.id)
def test_agrees_with_central_differences(case):
    inputs = draw(case)
    found, true = run(case, inputs), oracles.central_differences(inputs, case)
    for a, b in zip(found[3:], true, strict=True):
        assert oracles.output_error(a, b) < tolerances.CENTRAL_DIFFERENCES


def test_agrees_with_the_derivation():
    from derivations.claims.steps import numeric_gradients

    case = Case((11, 4), -1)
    inputs = draw(case)
    found = run(case, inputs._replace(d_mean=np.zeros(4), d_variance=np.zeros(4)))
    true = numeric_gradients()(inputs.x, inputs.dy, inputs.gamma, EPSILON)
    for a, b in zip(found[3:], true, strict=True):
        assert oracles.output_error(a, b) < tolerances.FLOAT64


@pytest.mark.parametrize("mean_over_std", tolerances.FLOAT32)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", [*SMALL[:4], *LARGE], ids=lambda case: case.id)
def test_a_large_mean_costs_no_accuracy(case, mode, mean_over_std):
    inputs = draw(case, mean_over_std=mean_over_std, dtype="float32")
    inputs = inputs._replace(d_mean=np.zeros_like(inputs.d_mean), d_variance=np.zeros_like(inputs.d_variance))
    found, true = run(case, inputs, mode), oracles.autodiff(inputs, case)
    assert oracles.output_error(found.y, true.y) < tolerances.FLOAT32[mean_over_std]
    assert oracles.dx_error(found.dx, inputs, true, case) < tolerances.FLOAT32[mean_over_std]


@pytest.mark.parametrize("mode", MODES)
def test_the_first_elements_may_be_unlike_the_others(mode):
    """The center is the mean of elements from everywhere: the first block alone may be 20 deviations away."""
    case = Case((100_000, 8), -1)
    inputs = draw(case, dtype="float32")
    inputs.x[:256] += 1e4
    tensors = inputs.tensors()
    y = in_mode(mode, lambda *a: batch_norm(*a[:3], epsilon=EPSILON, engine="closed_form").y, tensors, -1)(*tensors)
    others = slice(256, None)
    assert oracles.output_error(y.numpy()[others], oracles.autodiff(inputs, case).y[others]) < tolerances.FLOAT32[0.5]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.id)
def test_second_order(case, mode):
    inputs, directions = draw(case), draw(case, seed=1)
    tensors = [*inputs.tensors(), *(tf.constant(u) for u in (directions.dy, directions.gamma, directions.beta))]
    found = in_mode(mode, lambda *a: oracles.second_order(shipped(case), *a), tensors)(*tensors)
    true = oracles.second_order(lambda *a: oracles.plain(*a, case), *tensors)
    for a, b in zip(found, true, strict=True):
        assert oracles.output_error(a.numpy(), b.numpy()) < tolerances.SECOND_ORDER


def test_unknown_rank_is_refused_with_the_remedy():
    function = tf.function(lambda x: batch_norm(x, tf.ones(3), tf.zeros(3)).y, input_signature=[tf.TensorSpec(None)])
    with pytest.raises(ValueError, match=r"unknown rank.*tf.ensure_shape"):
        function(tf.ones([2, 3]))


def test_static_shape_is_kept():
    @tf.function(input_signature=[tf.TensorSpec([None, 5, None, 3])])
    def f(x):
        y, mean, variance = batch_norm(x, tf.ones(3), tf.zeros(3))
        assert y.shape.as_list() == [None, 5, None, 3]
        assert mean.shape == variance.shape == [3]
        return y

    f(tf.ones([2, 5, 4, 3]))


def test_half_precision_keeps_its_dtype_and_float32_statistics():
    x = draw(Case((50, 3), -1)).x.astype("float16")
    y, mean, variance = batch_norm(x, np.ones(3), np.zeros(3))
    assert (y.dtype, mean.dtype, variance.dtype) == (tf.float16, tf.float32, tf.float32)
    np.testing.assert_allclose(mean, x.astype("float64").mean(0), rtol=1e-6)  # a float32 sum of 50 numbers


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        ((np.ones((3, 2), int), np.ones(2), np.zeros(2)), {}, TypeError, "int64"),
        ((np.ones(3), np.ones(3), np.zeros(3)), {}, ValueError, r"rank 2 or more.*shape=\(3,\)"),
        ((np.ones((3, 2)), np.ones(3), np.zeros(3)), {}, ValueError, r"gamma.shape=\(3,\).*x.shape=\(3, 2\)"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(3)), {}, ValueError, r"beta.shape=\(3,\)"),
        ((np.ones((3, 2)), np.ones((1, 2)), np.zeros(2)), {}, ValueError, r"gamma.shape=\(1, 2\)"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"axis": 2}, ValueError, r"\[-2, 2\).*axis=2"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"epsilon": -1.0}, ValueError, "epsilon=-1.0"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"epsilon": float("nan")}, ValueError, "epsilon=nan"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"epsilon": float("inf")}, ValueError, "epsilon=inf"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"epsilon": "small"}, ValueError, "epsilon='small'"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"axis": "1"}, TypeError, "axis='1'"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"axis": 1.0}, TypeError, "axis=1.0"),
        ((np.ones((3, 2)), np.ones(2), np.zeros(2)), {"axis": (1, 1)}, ValueError, r"axis=\(1, 1\)"),
        ((None, np.ones(2), np.zeros(2)), {}, TypeError, "x must be a dense.*Received: None"),
        ((np.ones((3, 2)), None, np.zeros(2)), {}, TypeError, "gamma must be a dense.*Received: None"),
        ((tf.sparse.eye(3), np.ones(3), np.zeros(3)), {}, TypeError, "SparseTensor.*to_dense"),
        ((tf.ragged.constant([[1.0]]), np.ones(1), np.zeros(1)), {}, TypeError, "RaggedTensor"),
    ],
)
def test_bad_input_is_named(arguments, options, error, said):
    with pytest.raises(error, match=said):
        batch_norm(*arguments, **options)


def test_a_list_of_axes():
    x = np.random.default_rng(0).normal(size=(4, 3, 2))
    found, expected = (batch_norm(x, np.ones((3, 2)), np.zeros((3, 2)), axis=axis) for axis in ([1, 2], (1, 2)))
    np.testing.assert_array_equal(found.y, expected.y)


@pytest.mark.parametrize("engine", ["closed_form", "products", "fused"])
def test_a_graph_that_is_no_longer_used_is_freed(engine):
    """TensorFlow keeps the gradient of a ``tf.custom_gradient`` for ever, and with it the graph."""

    def traced():
        @tf.function(autograph=False)
        def second_order(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = batch_norm(x, tf.ones(3), tf.zeros(3), engine=engine).y
                dx = inner.gradient(y, x, output_gradients=x)
            return outer.gradient(dx, x, output_gradients=x)

        second_order(tf.random.normal((7, 3)))
        return weakref.ref(second_order.get_concrete_function(tf.TensorSpec((7, 3))).graph)

    gc.collect()
    registered = len(gradient_registry.list())
    graph = traced()
    gc.collect()
    assert graph() is None
    assert len(gradient_registry.list()) == registered
