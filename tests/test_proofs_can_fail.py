"""Every mutant of the shipped formulas is refuted by an exact counterexample, or is the same formula and listed so."""

import inspect
import types
from importlib import import_module

import numpy as np
import pytest
import tensorflow as tf

from derivations.claims import mutants
from derivations.claims.claim import Verdict
from derivations.claims.families import sums_of_replicas
from derivations.claims.families import training as training_claims
from derivations.claims.mutants import EQUIVALENT, FAMILIES, Mutant, Tally
from keras_bn import functional
from keras_bn.batch import TensorBatch
from keras_bn.formulas import training
from keras_bn.formulas.training import Moments
from tests.oracles import output_error
from tests.tolerances import FLOAT32, SUMS_FLOAT32

CASES = [
    pytest.param(module, function, marks=pytest.mark.slow if module == "training" else ())
    for module, functions in {
        "training": ("mean", "moments", "normalize", "backward", "through_statistics"),
        "inference": ("normalize",),
        "moving_statistics": ("update", "effective_count", "debiased_momentum"),
        "merging": ("merge", "merge_moments"),
        "renormalization": ("standard_deviation", "correction", "compose", "gradient_of_gamma"),
        "output": ("before_activation", "residual"),
    }.items()
    for function in functions
]


def formulas(name: str) -> types.ModuleType:
    return import_module(f"keras_bn.formulas.{name}")


def test_every_function_is_mutated():
    listed = {case.values for case in CASES}
    assert listed == {(name, mutant.function) for name in FAMILIES for mutant in mutants.mutants(formulas(name))}
    assert set(EQUIVALENT) <= listed


@pytest.mark.slow
@pytest.mark.parametrize(("module", "function"), CASES)
def test_mutants_are_refuted(module, function):
    claims = import_module(f"derivations.claims.families.{FAMILIES[module]}")
    tried = [mutant for mutant in mutants.mutants(formulas(module)) if mutant.function == function]
    survivors = set()
    for mutant in tried:
        refuted = mutants.refutation(claims, mutant)
        if refuted is None:
            survivors.add(mutant.change)
        else:  # by the second proof; the first has to find a counterexample
            settled = refuted.settle()
            assert settled.verdict is Verdict.REFUTED, f"{mutant.change}: {settled.line()}"
    assert len(tried) >= 4
    known = EQUIVALENT.get((module, function))
    assert survivors == (set(known.changes) if known else set())


EQUIVALENTS = [(key, change) for key, same in EQUIVALENT.items() for change in same.changes if key[0] == "training"]
MERGERS = EQUIVALENT["merging", "merge_moments"].changes


def only(module: types.ModuleType, change: str) -> types.ModuleType:
    """The module with that change, for floating point."""
    (mutant,) = [mutant for mutant in mutants.mutants(module) if mutant.change == change]
    mutant.module.SCALE = 1.001
    return mutant.module


@pytest.mark.parametrize("change", MERGERS)
def test_equivalent_mergers_are_told_apart_by_floating_point(change):
    """Three parts whose means are pairs, about 10⁶ times as large as they differ."""
    counts = np.array([[3.0], [5.0], [8.0]], np.float32)
    center = np.array([[2.0**20], [2.0**20 + 1], [2.0**20 + 2]], np.float32)
    shift = np.array([[0.01], [-0.02], [0.03]], np.float32)
    variance = np.array([[1.0], [0.5], [2.0]], np.float32)
    share, means = counts.astype(np.float64) / counts.sum(), center.astype(np.float64) + shift
    true_mean = (share * means).sum()
    true_variance = (share * (variance + (means - true_mean) ** 2)).sum()

    def error(module: types.ModuleType) -> float:
        parts = TensorBatch(tf.constant(center), (1,), (1,), tf.constant(counts))
        merged = module.merge_moments(parts, Moments(*map(tf.constant, (center, shift, variance))))
        mean = merged.center.numpy().astype(np.float64) + merged.shift.numpy()
        return max(abs(mean.item() - true_mean), abs(merged.variance.numpy().item() - true_variance))

    limit = 4 * np.finfo(np.float32).eps  # a few roundings of numbers about 1
    assert error(formulas("merging")) <= limit
    assert error(only(formulas("merging"), change)) > limit


@pytest.mark.parametrize(("key", "change"), EQUIVALENTS, ids=[change for _, change in EQUIVALENTS])
def test_equivalent_mutants_are_told_apart_by_floating_point(key, change, monkeypatch):
    """What is one function over the reals is none in float32, where the mean is large or a masked value is NaN."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(512, 4)) + 1e6).astype(np.float32)
    dy = rng.normal(size=x.shape).astype(np.float32)
    gamma, beta = rng.normal(size=(2, 4)).astype(np.float32)
    counts = np.ones(len(x), bool)
    if key[1] == "backward":
        # A mean between two floats, so that the pair's second part is no small one, and a large cotangent on the NaN.
        x = (2.0**27 + 16 * np.round(4 * rng.normal(size=x.shape))).astype(np.float32)
        counts[0], x[0], dy[0] = False, np.nan, 1000.0
    counted = x[counts].astype(np.float64)
    z = (counted - counted.mean(axis=0)) / np.sqrt(counted.var(axis=0) + 1e-3)
    true_y, true_gamma = gamma * z + beta, (dy[counts] * z).sum(axis=0)

    def error() -> float:
        values = [tf.constant(value) for value in (x, gamma, beta)]
        with tf.GradientTape() as tape:
            tape.watch(values)
            y, *_ = functional.batch_norm(*values, mask=counts, engine="closed_form")
        d_gamma = tape.gradient(y, values[1], output_gradients=tf.constant(dy))
        return max(output_error(y.numpy()[counts], true_y), output_error(d_gamma.numpy(), true_gamma))

    limit = max(FLOAT32[1e5], SUMS_FLOAT32)
    assert error() <= limit
    module = formulas(key[0])
    monkeypatch.setattr(module, key[1], getattr(only(module, change), key[1]))
    assert error() > limit


def test_a_surviving_mutant_fails_the_tally(monkeypatch):
    monkeypatch.setattr(mutants, "FAMILIES", {"moving_statistics": "moving_statistics"})
    assert [(t.name, t.tried, t.equivalent) for t in mutants.tallies()] == [
        ("moving_statistics.update", 23, []),
        ("moving_statistics.effective_count", 9, []),
        ("moving_statistics.debiased_momentum", 8, []),
    ]
    monkeypatch.setattr(mutants, "refutation", lambda family, mutant: None)
    with pytest.raises(AssertionError, match=r"moving_statistics\.update: return moving"):
        mutants.tallies()
    assert Tally("nothing").tried == 0


def changed(old: str, new: str, function: str) -> Mutant:
    text = inspect.getsource(training)
    assert old in text
    module = types.ModuleType(training.__name__)
    exec(text.replace(old, new), module.__dict__)
    return Mutant(function, f"{old} → {new}", module)


def test_a_formula_right_but_for_the_weights_is_refuted_by_the_weighted_claims():
    mutant = changed("share = ops.share()", "share = 1 / ops.sum(dy * 0 + 1)", "backward")
    found = mutants.refutation(training_claims, mutant)
    assert found is not None
    assert found.identifier == "training.weighted.backward.x"
    assert found.settle().verdict is Verdict.REFUTED


def test_a_forward_pass_with_another_epsilon_is_refuted_although_its_gradient_follows():
    found = mutants.refutation(training_claims, changed("variance + epsilon", "variance + 2 * epsilon", "normalize"))
    assert found is not None
    assert found.identifier == "training.plain.normalize.inv_std"


@pytest.mark.parametrize(
    "instead", ["slope, offset", "ops.over_replicas(offset, slope)", "tuple(2 * a for a in (slope, offset))"]
)
def test_replicas_that_do_not_add_up_their_sums_are_refuted(instead):
    # The first replica still needs what the second would give.
    right, wrong = "slope, offset = ops.over_replicas(slope, offset)", "ops.over_replicas(slope, offset)"
    mutant = changed(right, f"{wrong}; slope, offset = {instead}", "backward")
    verdicts = [claim.settle().verdict for claim in sums_of_replicas.executed(mutant.module)]
    assert verdicts == [Verdict.REFUTED, Verdict.PROVED, Verdict.PROVED]
