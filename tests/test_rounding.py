"""The bounds on rounding errors: the world they come from, its lemmas, and formulas that must not be given them."""

import time
import types
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from sympy import QQ

from derivations.claims.claim import Disagreement, Verdict
from derivations.claims.error_bounds import ARITHMETICS
from derivations.claims.families import rounding
from derivations.rounding import lemmas, rounded_batch, samples
from derivations.rounding.magnitudes import (
    ONE,
    PLACE,
    RING,
    SMALL,
    SYMBOLS,
    ZERO,
    G,
    excess,
    first_order,
    is_small,
    magnitude,
    number,
    text,
    truncated,
    value,
)
from derivations.rounding.model import KERNEL_ROOT, ROOT, UNIT_ROUNDOFF
from derivations.rounding.rounded_batch import RoundedOperations, given
from keras_bn.formulas import training as shipped

u, d, k, h, z = (G[name] for name in ("u", "d", "k", "h", "z"))
U = UNIT_ROUNDOFF["float32"]


# Magnitudes.


def monomials() -> st.SearchStrategy[dict[tuple[int, ...], Any]]:
    """Magnitudes of order u and beyond, never with more d than u."""

    @st.composite
    def monomial(draw: Any) -> tuple[int, ...]:
        exponents = [0] * len(SYMBOLS)
        exponents[PLACE["u"]] = draw(st.integers(1, 5))
        exponents[PLACE["d"]] = draw(st.integers(0, exponents[PLACE["u"]]))
        for name in ("k", "h", "K", "z"):
            exponents[PLACE[name]] = draw(st.integers(0, 3))
        return tuple(exponents)

    return st.dictionaries(monomial(), st.integers(1, 40).map(lambda n: QQ(n, 7)), min_size=1, max_size=5)


@examples(monomials(), st.floats(0, 20), st.integers(1, 5000), st.floats(0, 50), st.floats(1e-3, 1))
def test_higher_orders_are_kept(
    terms: dict[tuple[int, ...], Any], distance: float, depth: int, size: float, part: float
):
    """The shorter bounds are no smaller, up to the edge of the hypothesis."""
    roundoff = part * float(SMALL) / (depth * (1 + distance) ** 2)
    bound = RING.from_dict(terms)
    at = {"u": roundoff, "d": depth, "k": distance, "z": size}
    exact = value(bound, **at)
    assert exact <= value(truncated(bound), **at) * (1 + 1e-12)
    assert exact <= value(first_order(bound), **at) * (1 + 1e-12)
    if is_small(bound):
        assert exact <= 1 / 8


@examples(monomials(), monomials(), st.floats(0, 9), st.integers(1, 99))
def test_what_has_no_excess_is_no_larger(
    first: dict[tuple[int, ...], Any], second: dict[tuple[int, ...], Any], distance: float, depth: int
):
    a, b = RING.from_dict(first), RING.from_dict(second)
    at = {"u": 0.01, "d": depth, "k": distance, "z": 1.7}
    assert value(a, **at) <= (value(b, **at) + value(excess(a, b), **at)) * (1 + 1e-12)
    assert not excess(a, a + b)
    assert excess(a + b, a)


def test_magnitudes_are_printed_as_products():
    assert text(u * (d * z + number(0.5) * z + 3)) == "u·((d + 0.5)·|zᵢ| + 3)"
    assert text(u * d + u**2 * G["mu"] ** 2 * (d + 1)) == "u·d + u²·(d + 1)·(|μ|/σ)²"
    assert text(ZERO) == "0"


# The lemmas, each with what would break it.


def test_lemma_of_the_model():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=100_000).astype("f4") * np.float32(10.0) ** rng.integers(-6, 7, 100_000) for _ in range(2))
    a, b = a.astype("f4"), b.astype("f4")
    for operation in (np.add, np.subtract, np.multiply, np.divide):
        exact = operation(a.astype(np.longdouble), b.astype(np.longdouble))
        relative = np.abs(operation(a, b) - exact) / np.abs(exact)
        assert 0.9 * U < relative.max() <= U
    assert (np.float32(256) * a == a.astype(np.float64) * 256).all()


@pytest.mark.parametrize("n", [3, 64, 1000])
def test_lemma_of_sums(n: int):
    """Each addition of 1 + u/2 to a power of 2 rounds down by nearly u: the bound is nearly met."""
    small = np.float32(U * (1 - 2**-20))
    summands = np.full(n, small)
    summands[0] = 1
    total = np.float32(0)
    for summand in summands:
        total = np.float32(total + summand)
    exact = summands.astype(np.float64).sum()
    bound = value(lemmas.of_sum(), u=U, d=n - 1) * exact
    assert 0.9 * bound < abs(total - exact) <= bound


@pytest.mark.parametrize("fraction", [Fraction(1, 8), Fraction(1, 100), Fraction(1, 10**6)])
@pytest.mark.parametrize("depth", [1, 2, 7, 200])
def test_lemmas_of_sums_and_quotients_at_their_edges(fraction: Fraction, depth: int):
    roundoff = fraction / depth
    theta = max((1 + roundoff) ** depth - 1, 1 - (1 - roundoff) ** depth)
    assert theta <= fraction + Fraction(8, 7) * fraction**2
    assert theta > fraction - fraction**2
    theta = fraction / (1 - fraction)
    assert max(1 / (1 - theta) - 1, 1 - 1 / (1 + theta)) <= fraction + Fraction(8, 3) * fraction**2


def test_lemma_of_the_root():
    eta = np.linspace(-1 / 8, 1 / 8, 100_001, dtype=np.longdouble)
    rho = np.abs((1 + eta) ** np.longdouble(-0.5) - (1 - eta / 2))
    assert (rho <= eta**2 / 2 + 1e-18).all()
    assert rho.max() > 0.4 * (1 / 8) ** 2
    beyond = np.longdouble(-0.3)
    assert abs((1 + beyond) ** np.longdouble(-0.5) - (1 - beyond / 2)) > beyond**2 / 2


def test_lemma_of_cauchy_and_schwarz_holds_for_the_worst_batch_that_is_found():
    rng = np.random.default_rng(0)
    for mean in (lambda z, c: np.mean(np.abs(z + c), -1), lambda z, c: np.mean(np.abs(z * (z + c)), -1)):
        best = 0.0
        batch = rng.normal(size=8)
        for step in range(4000):
            tried = batch + rng.normal(size=(16, 8)) * 0.5 ** (step // 500)
            tried /= np.sqrt(np.mean((tried - tried.mean(-1, keepdims=True)) ** 2, -1, keepdims=True)) + 1e-9
            kappa = tried.mean(-1)  # z is what is left
            ratio = mean(tried - kappa[:, None], kappa[:, None]) / np.sqrt(1 + kappa**2)
            if ratio.max() > best:
                best, batch = ratio.max(), tried[ratio.argmax()]
        assert 0.95 < best <= 1 + 1e-9


def test_lemma_of_no_cancellation():
    exact = 3 * z**2 + 2 * G["part"]
    assert lemmas.mean_of_absolute(exact) == lemmas.mean(exact) == 3 * G["q"] + 2 * (1 - G["q"])
    # Of what may be negative the mean says nothing.
    assert lemmas.mean(z * ONE) == ZERO
    assert lemmas.mean_of_absolute(z * ONE) == ONE
    assert lemmas.mean_of_absolute(2 * z + 2 * k) == 2 * h
    assert lemmas.mean_of_absolute(z**2 + z * k) == h
    assert lemmas.mean_of_absolute(z + 2 * k) == 1 + 2 * k


@pytest.mark.parametrize("unknown", [z**3, z * G["part"], G["delta"]])
def test_sums_of_which_nothing_is_known_are_refused(unknown: Any):
    for function in (lemmas.mean, lemmas.mean_magnitude, lemmas.total):
        if not (function is lemmas.total and unknown == G["delta"]):
            with pytest.raises(TypeError, match="nothing is known of the sum"):
                function(unknown)


# The world.


def test_a_batch_of_roundings_refuses_to_be_compared_or_summed_twice():
    ops = RoundedOperations()
    x = given(z, per_element=True)
    for attempt in (lambda: x < 1, lambda: bool(x), lambda: x == x, lambda: hash(x)):
        with pytest.raises(TypeError, match="compare"):
            attempt()
    with pytest.raises(TypeError, match="value per channel"):
        ops.mean(ops.mean(x))
    with pytest.raises(TypeError, match="no lemma on its root"):
        ops.inverse_root(x)
    with pytest.raises(TypeError, match="clipped"):
        ops.clip(x, 0, None)


def test_products_with_powers_of_two_and_sums_with_zero_do_not_round():
    x = given(z, per_element=True)
    for exact in (2 * x, x * 0.5, -4 * x, x + 0, 0 - x):
        assert exact.error == ZERO
    assert (3 * x).error == 3 * u * z
    assert (x - given(G["mu"])).error == u * (z + G["mu"])


# The claims.

CLAIMS = {claim.identifier: claim for claim in rounding.claims()}


def test_everything_is_proved_by_both_proofs():
    start = time.process_time()
    settled = [claim.settle() for claim in CLAIMS.values()]
    assert time.process_time() - start < 10
    assert [claim.identifier for claim in settled if claim.verdict is not Verdict.PROVED] == []
    assert {claim.identifier.split(".")[1] for claim in settled} == {
        "training", "inference", "one_pass", "products", "merge", "merge_moments"
    }  # fmt: skip
    for claim in settled:
        assert "roundings chosen against the bound" in claim.settlement.steps[1]


def test_bounds_of_training_do_not_know_the_mean():
    """Only the mean itself, one number, is rounded at |μ|."""
    for kind in ("plain", "weighted"):
        for name in rounding.PROMISES[kind]:
            derived = CLAIMS[f"rounding.training.{kind}.{name}"].derived()
            assert (name == "mean") is any(monomial[PLACE["mu"]] for monomial in derived)


@pytest.mark.parametrize("identifier", sorted(CLAIMS))
def test_a_promise_that_is_too_small_is_refuted_by_the_adversary(identifier: str):
    """What the model allows comes to a third of each bound at least: the slack is below 3."""
    claim = CLAIMS[identifier]
    settled = replace(claim, promise=claim.promise * QQ(1, 3)).settle()
    assert settled.verdict is Verdict.REFUTED
    assert "roundings were found" in settled.settlement.reason
    assert "error" in str(settled.settlement.counterexample.left)


def test_a_bound_that_is_proved_and_exceeded_is_an_error(monkeypatch: pytest.MonkeyPatch):
    claim = CLAIMS["rounding.training.plain.y"]
    monkeypatch.setattr(rounding.ErrorBound, "_gap", lambda self: "")
    with pytest.raises(Disagreement, match="exceeded"):
        replace(claim, promise=claim.promise * QQ(1, 3)).settle()


# Worse formulas, equal on paper.


def e_of_squares(ops: Any, x: Any) -> Any:
    """⟨x²⟩ − ⟨x⟩²."""
    mean = ops.mean(x)
    return shipped.Moments(mean, 0 * mean, ops.mean(x * x) - mean * mean)


def one_centering(ops: Any, x: Any) -> Any:
    """The mean as one number, rounded at |μ|."""
    mean = ops.mean(x)
    return shipped.Moments(mean, 0 * mean, ops.mean(ops.squared_difference(x, mean)))


def folded(ops: Any, x: Any, statistics: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
    """x·a + (β − μ·a)."""
    scale = ops.inverse_root(statistics.variance + epsilon) * gamma
    mean = statistics.mean
    return x * scale + (beta - mean * scale), shipped.Saved(mean, 0 * mean, scale)


def worse(**changed: Any) -> Any:
    return types.SimpleNamespace(**{**vars(shipped), "__name__": "worse", **changed})


WORSE = {
    "⟨x²⟩ − ⟨x⟩²": worse(moments=e_of_squares),
    "one centering": worse(moments=one_centering),
    "x·a + b": worse(normalize=folded),
}


@pytest.mark.parametrize("name", WORSE)
def test_worse_formulas_are_refused_the_bound(name: str):
    claims = {c.identifier.rsplit(".", 1)[1]: c for c in rounding.of_training(WORSE[name], "plain")}
    settled = claims["y"].settle()
    assert settled.verdict is Verdict.REFUTED
    point = settled.settlement.counterexample
    assert float(point.left.split()[-1]) > float(point.right.split()[-1])
    assert "μ" in settled.settlement.reason


class Float32:
    """The operations of one batch in NumPy's float32, added one after the other."""

    def sum(self, value: Any) -> Any:
        return np.add.accumulate(value, dtype=np.float32)[-1]

    def mean(self, value: Any) -> Any:
        return np.float32(self.sum(value) / np.float32(len(value)))

    def squared_difference(self, a: Any, b: Any) -> Any:
        return (a - b) * (a - b)

    def inverse_root(self, value: Any) -> Any:
        return np.float32(1) / np.sqrt(value)

    def near_mean(self, value: Any) -> Any:
        return value[:: max(1, len(value) // 8)].mean(dtype=np.float32)

    def scaled(self, value: Any, factor: Any) -> Any:
        return value * factor

    constant = regular = staticmethod(lambda value: value)


@pytest.mark.parametrize(("name", "exceeds"), [("shipped", False), *((name, True) for name in WORSE)])
def test_worse_formulas_exceed_the_bound_in_float32(name: str, exceeds: bool):
    functions, ops = WORSE.get(name, shipped), Float32()
    x = (np.random.default_rng(0).normal(size=500) + 1000).astype("f4")
    gamma, beta, epsilon = (np.float32(v) for v in (1.5, 0.25, 1e-3))
    statistics = functions.moments(ops, x)
    y, _ = functions.normalize(ops, x, statistics, gamma, beta, epsilon)
    center = float(shipped.moments(ops, x).center)
    sample = samples.batch(x, np.ones(len(x)), gamma=1.5, beta=0.25, epsilon=float(epsilon), center=center)
    exact = (x.astype(np.longdouble) - x.astype(np.longdouble).mean()) / np.longdouble(sample.sigma) * 1.5 + 0.25
    bound = sample.at(rounding.PROMISES["plain"]["y"], "y", u=U, depth=len(x) - 1)
    assert bool((np.abs(y - exact) > bound).any()) is exceeds


def test_a_formula_that_means_something_else_is_refused():
    def wrong(ops: Any, x: Any) -> Any:
        statistics = shipped.moments(ops, x)
        return statistics._replace(shift=2 * statistics.shift)

    claims = {c.identifier.rsplit(".", 1)[1]: c for c in rounding.of_training(worse(moments=wrong), "plain")}
    with pytest.raises(TypeError, match="it means"):
        claims["mean"].derived()
    assert claims["mean"].settle().verdict is not Verdict.PROVED


# The hypotheses on the arithmetic.


def test_lemma_of_reciprocal_roots():
    """Every float32 from 1 to 4, that is every mantissa with either exponent; tested as TensorFlow computes it."""
    import tensorflow as tf

    from keras_bn.batch import TensorBatch

    batch = TensorBatch(tf.zeros([2, 1]), (-1,), (1,))
    traced, compiled = (tf.function(batch.inverse_root, jit_compile=jit_compile) for jit_compile in (False, True))
    edges = np.linspace(0x3F800000, 0x40800000, 9).astype(np.int64)
    worst = 0.0
    for first, last in pairwise(edges):
        values = np.arange(first, last, dtype=np.int32).view(np.float32)
        exact = values.astype(np.float64) ** -0.5
        for function in (batch.inverse_root, traced, compiled):
            worst = max(worst, np.max(np.abs(function(tf.constant(values)).numpy() / exact - 1)))
    assert 0.999 * float(ROOT) * U < worst <= float(ROOT) * U + 2 * U**2


def test_the_inverse_roots_of_the_fused_kernels():
    """A million variances; of y = x·v^(−1/2) for x = 1, whose product with 1 is exact."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    variance = rng.uniform(1, 4, 2**20).astype("f4")
    one, zero = np.ones_like(variance), np.zeros_like(variance)
    y = tf.raw_ops.FusedBatchNormV3(
        x=one.reshape(1, 1, 1, -1), scale=one, offset=zero, mean=zero, variance=variance, epsilon=0.0, is_training=False
    ).y
    worst = np.max(np.abs(y.numpy().ravel() * np.sqrt(variance.astype("f8")) - 1))
    assert worst <= float(KERNEL_ROOT) * U


def test_magnitudes_bound_what_they_stand_for():
    assert magnitude(z * k - 2 * G["a"]) == z * k + 2 * k
    assert value(h * G["K"], k=2.0) == pytest.approx(5**0.5 * 3)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_samples_are_instances_of_the_hypothesis(claim: Any):
    """In float32 all of them, and in the coarse arithmetic some."""
    (fine, coarse) = ARITHMETICS
    assert all(sample.is_covered(u=fine[0], depth=fine[1]) for sample in claim.samples)
    assert any(sample.is_covered(u=coarse[0], depth=coarse[1]) for sample in claim.samples)


# The world itself: what it derives is put to the adversary, without what a promise has to spare.


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_the_adversary_does_not_exceed_what_is_derived(claim: Any):
    assert replace(claim, promise=claim.derived()).settle().verdict is Verdict.PROVED


def forgets_roots(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RoundedOperations, "root", property(lambda self: 0, lambda self, root: None), raising=False)


def forgets_products(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rounded_batch.RoundedBatch, "__mul__", lambda a, b: a.times(rounded_batch.lifted(b)))


def forgets_sums_of_two(patch: pytest.MonkeyPatch) -> None:
    plus = rounded_batch.RoundedBatch._plus

    def unrounded(a: Any, other: Any, sign: int) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(rounded_batch.RoundedBatch, "rounded", lambda self: self)
            return plus(a, other, sign)

    patch.setattr(rounded_batch.RoundedBatch, "_plus", unrounded)


def forgets_half_of_the_depth(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lemmas, "of_sum", lambda: u * d / 2)


@pytest.mark.parametrize(
    ("forget", "identifier"),
    [
        (forgets_roots, "inference.y"),
        (forgets_products, "inference.y"),
        (forgets_sums_of_two, "inference.y"),
        (forgets_half_of_the_depth, "training.plain.beta"),
        (forgets_half_of_the_depth, "training.plain.mean"),
        (forgets_half_of_the_depth, "training.plain.variance"),
        (forgets_half_of_the_depth, "merge.mean"),
    ],
)
def test_a_world_that_forgets_is_found_out(forget: Any, identifier: str, monkeypatch: pytest.MonkeyPatch):
    forget(monkeypatch)
    claim = next(claim for claim in rounding.claims() if claim.identifier == f"rounding.{identifier}")
    with pytest.raises(Disagreement, match="exceeded"):
        replace(claim, promise=claim.derived()).settle()
