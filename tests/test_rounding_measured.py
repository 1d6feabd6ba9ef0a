"""Measured errors, beside the bounds that are proved: no data may exceed them, and they must mean something."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from derivations import __main__ as command
from derivations.check import rounding_errors
from derivations.check.rounding_errors import Call, Request, table
from derivations.claims.families.rounding import PROMISES
from derivations.graphs import depths
from derivations.graphs.walk import UnknownGraph
from derivations.rounding.model import UNIT_ROUNDOFF
from keras_bn.engines import staged_sums

U = UNIT_ROUNDOFF["float32"]
# One number in a sum that takes in all others: what is added before it is lost, what after it is kept.
HUGE = 2.0**45


def worst(call: Call) -> dict[str, float]:
    """The largest error of each quantity in units of its bound, over all elements and channels."""
    depth = call.depth()
    promises = PROMISES["plain" if call.mask is None else "weighted"]
    found = dict.fromkeys(promises, 0.0)
    for sample, errors in call.channels():
        assert sample.is_covered(u=U, depth=depth)
        for name, promise in promises.items():
            bound = sample.at(promise, name, u=U, depth=depth)
            # Where the bound is 0, so is the error: of gradients of a cotangent that is 0.
            ratio = np.abs(errors[name]) / np.where(bound > 0, bound, 1)
            found[name] = max(found[name], float(np.max(np.where(bound > 0, ratio, np.sign(np.abs(errors[name]))))))
    return found


SHAPES: dict[str, Callable[[Any, int], Any]] = {
    "normal": lambda rng, m: rng.normal(size=m),
    "relu": lambda rng, m: np.maximum(rng.normal(size=m), 0),
    "log-normal": lambda rng, m: np.exp(2 * rng.normal(size=m)),
    "an outlier": lambda rng, m: np.r_[np.ones(m - 1), 50.0],
    "alternating signs": lambda rng, m: np.where(np.arange(m) % 2, 1.0, -1.0),
    "almost constant": lambda rng, m: 1 + 1e-5 * rng.normal(size=m),
    "constant": lambda rng, m: np.ones(m),
    "rare": lambda rng, m: (rng.random(m) < 0.01) * 1.0,
    "sorted": lambda rng, m: np.sort(rng.normal(size=m)),
}


def structured(m: int, ratio: float) -> tuple[Any, ...]:
    """One channel for each shape, at a mean of so many deviations, and cotangents that do not cancel."""
    rng = np.random.default_rng(0)
    columns = [make(rng, m) for make in SHAPES.values()]
    x = np.stack([(column - column.mean()) / (column.std() or 1) + ratio for column in columns], 1)
    delta = rng.normal(size=x.shape) + np.sign(x - x.mean(0))
    parameters = rng.uniform(0.5, 1.5, x.shape[1]), rng.normal(size=x.shape[1])
    return tuple(value.astype("f4") for value in (x, delta, *parameters))


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("ratio", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("m", [5, 64, 1000, 20_000])
def test_no_data_exceed_the_bounds(m: int, ratio: float, jit_compile: bool, masked: bool):
    inputs = structured(m, ratio)
    mask = np.random.default_rng(1).random(m) < 0.7 if masked else None
    if mask is not None:
        mask[0] = True
    found = worst(Call(*inputs, mask=mask, jit_compile=jit_compile))
    assert max(found.values()) <= 1, found
    # Bounds that mean something: none is 1000 times what these data gave. Of XLA's sums any order is allowed for,
    # and so much the less do the bounds on sums of cotangents, which hardly err, say there.
    if not masked and ratio == 0:
        close = ("y", "x", "mean", "variance") if jit_compile else ("y", "x", "mean", "variance", "gamma")
        assert min(found[name] for name in close) > 1e-3, found


@pytest.mark.parametrize("quantity", ["y", "x", "gamma", "variance"])
def test_the_worst_small_batch_that_is_found_does_not_exceed_the_bound(quantity: str):
    """Hill climbing over x and δ, 64 candidates at a time, one a channel."""
    rng = np.random.default_rng(0)
    m, candidates = 6, 64
    best, x, delta = 0.0, rng.normal(size=(m, 1)) + 3, rng.normal(size=(m, 1))
    ones, zeros = np.ones(candidates, "f4"), np.zeros(candidates, "f4")
    call = Call(np.zeros((m, candidates), "f4"), np.zeros((m, candidates), "f4"), ones, zeros)
    depth = call.depth()
    promise = PROMISES["plain"][quantity]
    for step in range(40):
        width = 0.5 ** (step // 4)
        xs = (x + width * rng.normal(size=(m, candidates))).astype("f4")
        deltas = (delta + width * rng.normal(size=(m, candidates))).astype("f4")
        call.inputs = [xs, deltas, ones, zeros]
        for c, (sample, errors) in enumerate(call.channels()):
            ratio = float(np.max(np.abs(errors[quantity]) / sample.at(promise, quantity, u=U, depth=depth)))
            if ratio > best:
                best, x, delta = ratio, xs[:, [c]], deltas[:, [c]]
    assert 0.03 < best <= 1


# What is promised.


@pytest.mark.parametrize("ratio", [0.0, 1e3, 1e6])
def test_ordinary_data_of_any_mean_are_proved_to_four_digits_at_least(ratio: float):
    """|z| ≤ 10, a center within one deviation: y to 1e-5 for a thousand elements, and to 4e-5 for any number."""
    for elements, limit in ((1000, 1e-5), (100_352, 4e-5)):
        rows = {row.name: row for row in table(Request(elements, ratio)).rows}
        assert rows["y"].proved <= limit
        assert rows["∂x"].proved <= 10 * limit
        assert rows["y"].of_data <= 2e-5  # of normal data
        assert all(row.measured <= row.of_data for row in rows.values())
        assert rows["y"].of_data < 100 * rows["y"].measured


def test_depth_does_not_grow_with_the_batch():
    sizes = 64, 65, 1024, 1025, 1_000_000
    calls = [Call(*(np.zeros(shape, "f4") for shape in ((m, 3), (m, 3), 3, 3))) for m in sizes]
    # One for the cast from float64, where even a million additions count as next to nothing.
    assert [round(call.depth(), 3) for call in calls] == [63, 7 + 1, 7 + 1, 63 + 1, 63 + 1]


# What reductions do inside.


def measured_depth(total: Callable[[tf.Tensor], tf.Tensor], n: int, leaf: int, width: int = 64) -> int:
    """How often the number ``leaf`` is added to others in a sum of n.

    A huge number there, its opposite elsewhere and ones besides: the ones that are added before the two meet are lost.
    How many are left tells how large the subtree is where they meet, and each of its ancestors has another size.
    """
    found: set[float] = set()
    others = [j for j in range(n) if j != leaf]
    for first in range(0, n - 1, width):
        chosen = others[first : first + width]
        x = np.ones((n, width), np.float32)
        x[leaf] = HUGE
        x[chosen, np.arange(len(chosen))] = -HUGE
        found |= set(total(tf.constant(x)).numpy()[: len(chosen)].tolist())
    return len(found)


def test_depths_are_measured_right():
    pairwise = lambda x: x[0] + x[1] + (x[2] + x[3])  # noqa: E731
    assert [measured_depth(pairwise, 4, leaf) for leaf in range(4)] == [2, 2, 2, 2]
    serial = lambda x: ((x[0] + x[1]) + x[2]) + x[3]  # noqa: E731
    assert [measured_depth(serial, 4, leaf) for leaf in range(4)] == [3, 3, 2, 1]


@pytest.mark.parametrize("n", [2, 64, 1000, 4096, 8192])
def test_axiom_s1_on_sums_along_the_last_axis(n: int):
    last = lambda x: tf.reduce_sum(tf.transpose(x), 1)  # noqa: E731
    found = max(measured_depth(last, n, leaf) for leaf in (0, n // 2))
    assert found <= depths.along_last_axis(n)
    if n >= 4096:
        assert found > depths.along_last_axis(n) / 2  # the axiom is no wider than it need be


@pytest.mark.parametrize("mode", ["eager", "xla"])
@pytest.mark.parametrize("n", [65, 700, 2500])
def test_the_depth_read_from_the_graph_is_no_smaller_than_what_is_measured(mode: str, n: int):
    """With XLA this is axiom S2."""

    def total(x: tf.Tensor) -> tf.Tensor:
        return staged_sums.staged_sum(x, 0, [n])

    function = tf.function(total, jit_compile=mode == "xla")
    read = depths.depth_of(function.get_concrete_function(tf.TensorSpec([n, 64])))
    # The two additions in float64, of the runs and of what is left over, are measured as whole ones.
    finer = 2 if mode == "eager" else 0
    assert max(measured_depth(function, n, leaf) for leaf in (0, 1, n // 2, n - 1)) <= read + finer
    assert read <= (65 if mode == "eager" else 3 + 255 + n // 2048 + 2)


def test_sums_of_unknown_size_and_graphs_within_graphs_are_refused():
    unknown = tf.function(lambda x: tf.reduce_sum(x, 0)).get_concrete_function(tf.TensorSpec([None, 3]))
    with pytest.raises(UnknownGraph, match="not known"):
        depths.depth_of(unknown)
    branch = tf.function(lambda x: tf.cond(x[0] > 0, lambda: tf.reduce_sum(x), lambda: x[0]))
    with pytest.raises(UnknownGraph, match="a graph within the graph"):
        depths.depth_of(branch.get_concrete_function(tf.TensorSpec([5])))


def test_depths_of_chains():
    def depth(function: Callable[[tf.Tensor], Any], dtype: str = "float32") -> int:
        traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec([100, 8], dtype))
        return depths.depth_of(traced, dtype)

    assert depth(lambda x: tf.reduce_sum(x, 0)) == 99
    assert depth(lambda x: tf.reduce_sum(tf.reduce_sum(x, 0) / 8) + 1) == 99 + 7  # to add a constant is no sum
    assert depth(lambda x: tf.reduce_sum(x, 0) + x[0]) == 99 + 1
    assert depth(lambda x: tf.add_n([tf.reduce_sum(x, 0), x[0], tf.stop_gradient(x[1])])) == 99 + 1
    assert depth(lambda x: tf.reduce_sum(tf.square(tf.reduce_sum(x, 0)))) == 99  # a sum of other numbers
    assert depth(lambda x: tf.cast(tf.reduce_sum(tf.cast(x, "float64"), 0), "float32")) == 99 * 2**-29 + 1
    assert depth(lambda x: tf.reduce_sum(x, 0), "float64") == 99
    assert depth(lambda x: x - tf.stop_gradient(tf.reduce_sum(x, 0))) == 0


# The command.


def test_the_command(capsys: pytest.CaptureFixture[str]):
    assert command.main(["bound", "--elements", "5e2", "--ratio", "1e3", "--mask"]) == 0
    printed = capsys.readouterr().out
    assert "500 elements a channel, mean/std 1000, masked" in printed
    assert "d = 8 times" in printed
    rows = re.findall(r"^(\S+) +\S+ +(\S+e-\d\d) +(\S+e-\d\d) +(\S+e-\d\d)$", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["mean", "variance", "y", "∂x", "∂γ", "∂β"]
    for _, *values in rows:
        proved, of_data, measured = map(float, values)
        assert measured <= of_data <= proved < 0.01


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (["--elements", "0"], "--elements must be from 1 to 20000000. Received: 0"),
        (["--elements", "1.5"], "--elements: must be a whole number, such as 100352 or 1e5. Received: 1.5"),
        (["--elements", "many"], "--elements: must be a whole number, such as 100352 or 1e5. Received: many"),
        (["--ratio", "-1"], "--ratio is |mean|/std, at least 0 and below 1e30. Received: -1.0"),
        (["--ratio", "nan"], "--ratio is |mean|/std, at least 0"),
    ],
)
def test_bad_input_is_refused(given: list[str], rule: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        command.main(["bound", *given])
    assert caught.value.code == 2
    assert rule in capsys.readouterr().err


def test_sums_too_deep_for_the_bounds_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounding_errors.Call, "depth", lambda self: 10**5)
    with pytest.raises(ValueError, match="sums of depth 100000 are too deep for float32"):
        table(Request(100))


def test_sums_by_products_are_bounded_backward_too(capsys: pytest.CaptureFixture[str]):
    assert command.main(["bound", "--elements", "1000", "--engine", "products"]) == 0
    assert "engine products" in capsys.readouterr().out
    for ratio in (0.0, 3.0):
        rows = {row.name: row for row in table(Request(1000, ratio, engine="products")).rows}
        assert set(rows) == {"y", "variance", "∂x", "∂γ", "∂β"}
        for row in rows.values():
            assert row.measured <= row.of_data <= row.proved * (1 + 1e-12)  # these are float64


def test_the_guard_of_the_fused_kernels_follows_from_a_promise(capsys: pytest.CaptureFixture[str]):
    assert command.main(["bound", "--elements", "5000", "--engine", "fused", "--ratio", "3"]) == 0
    printed = capsys.readouterr().out
    assert "engine fused" in printed
    assert "|mean| ≤ 4·σ" in printed
    rows = {row.name: row for row in table(Request(5000, 3.0, engine="fused")).rows}
    assert set(rows) == {"y", "variance"}
    for row in rows.values():
        assert row.measured <= row.of_data <= row.proved
    # What is proved at the guard is the promise from which it follows.
    depth = Call(*(np.zeros(shape, "f4") for shape in ((5000, 8), (5000, 8), 8, 8)), engine="fused").depth()
    assert rounding_errors.largest_distance(rows["y"].proved, depth) == pytest.approx(4, rel=1e-6)
    assert rounding_errors.largest_distance(1e-4, 66) < rounding_errors.largest_distance(1e-3, 66)
    assert rounding_errors.largest_distance(1e-7, 66) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("engine", ["products", "fused"])
@pytest.mark.parametrize("options", [{"ratio": 5.0}, {"mask": True}, {"jit_compile": True}, {"dtype": "float64"}])
def test_engines_are_bounded_only_where_they_are_used(options: dict[str, Any], engine: str):
    with pytest.raises(ValueError, match="the closed form is used"):
        table(Request(5000, engine=engine, **options))


def test_depths_of_products():
    def depth(function: Callable[[tf.Tensor], Any]) -> int:
        return depths.depth_of(tf.function(function).get_concrete_function(tf.TensorSpec([100, 8])), branches=True)

    assert depth(lambda x: tf.matmul(x, x, transpose_a=True)) == 99
    assert depth(lambda x: tf.matmul(tf.ones([1, 100]), x)) == 99
    assert depth(lambda x: tf.reduce_sum(tf.matmul(tf.ones([4, 1, 25]), tf.reshape(x, [4, 25, 8])), [0, 1])) == 24 + 3
    assert depth(lambda x: tf.cond(x[0, 0] > 0, lambda: tf.reduce_sum(x, 0), lambda: x[0])) == 0
