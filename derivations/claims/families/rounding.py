"""How far floating point takes the shipped formulas from what they mean, for every batch size.

Each claim bounds |computed − exact| for every batch, every center within k standard deviations of the mean, and every
order of summation in which no summand is added to more than d times. None of the bounds of training grows with
|mean|/std: that is what the two-step centering is for.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from derivations.claims.error_bounds import ErrorBound, Execution
from derivations.notation import Definitions
from derivations.notation.settings import Setting
from derivations.rounding import samples
from derivations.rounding.arguments import BATCH, ONE_PASS, PARTS
from derivations.rounding.magnitudes import ONE, G, Poly
from derivations.rounding.magnitudes import number as n
from derivations.rounding.model import KERNEL_ROOT, ROOT, assumptions
from derivations.rounding.samples import Sample
from keras_bn.formulas import inference as shipped_inference
from keras_bn.formulas import merging as shipped_merging
from keras_bn.formulas import training as shipped_training

u, d, k, h, z, q = (G[name] for name in ("u", "d", "k", "h", "z", "q"))
gamma, beta, delta, share, D, E, mu = (G[name] for name in ("gamma", "beta", "delta", "share", "D", "E", "mu"))

# Where the proofs of training promise a bound of a quantity: plain, and with weights that are numbers. Each is what the
# functions have, in first order, with a little to spare for what is of higher order.
PROMISES: dict[str, dict[str, Poly]] = {
    "plain": {
        "mean": u * (mu + (n(1.01) * d + n(1.1)) * h + 2 * k),
        "variance": u * ((n(1.01) * d + n(5.1)) * q + (n(0.01) * d + n(2.2)) * h),
        "y": u * (gamma * ((n(0.507) * d + h + n(8.8)) * z + (n(1.02) * d + n(1.7)) * h + 6 * k) + n(2.01) * beta),
        "x": u * gamma * (
            (n(0.51) * d + h + n(7.8)) * delta
            + share * D * (n(1.55) * d + n(1.2) * h + 13 + ((n(1.03) * d + n(1.7)) * h + (2 * d + 5) * k) * z)
            + share * E * ((n(1.06) * d + n(4.5)) * h + 8 * k + (n(2.54) * d + 3 * h + n(28.2)) * z)
        ),
        "gamma": u * (E * (n(1.52) * d + h + n(8.9)) + D * ((n(1.02) * d + n(1.2)) * h + (2 * d + 5) * k)),
        "beta": u * n(1.01) * d * D,
    },
    "weighted": {
        "mean": u * (mu + (n(1.02) * d + n(2.1)) * h + (d + 2) * k),
        "variance": u * ((n(2.02) * d + n(6.1)) * q + (n(0.03) * d + n(2.4)) * h),
        "y": u * (
            gamma * ((n(1.03) * d + h + n(9.5)) * z + (n(1.06) * d + n(3.1)) * h + (d + 6) * k) + n(2.01) * beta
        ),
        "x": u * gamma * (
            (n(1.03) * d + h + n(8.5)) * delta
            + share * D * (n(3.15) * d + n(1.2) * h + n(14.2) + ((n(1.06) * d + n(2.9)) * h + (3 * d + 5) * k) * z)
            + share * E * ((n(1.2) * d + n(7.1)) * h + (d + 8) * k + (n(5.1) * d + 3 * h + n(30.4)) * z)
        ),
        "gamma": u * (E * (n(2.03) * d + h + n(9.5)) + D * ((n(1.03) * d + n(2.3)) * h + (3 * d + 5) * k)),
        "beta": u * n(1.01) * d * D,
    },
}  # fmt: skip
INFERENCE = u * (gamma * z * n(6.1) + beta)
# Of ⟨q²⟩ − ⟨q⟩² for residuals q = x − c, or x itself, whose mean is k·σ away from 0: a factor 1 + k², not more.
ONE_PASS_PROMISES = {
    "variance": u * ((d + 8) * k**2 + 2 * d * k * h + (n(1.01) * d + n(4.1)) * q + n(0.01) * d + n(0.1)),
    "y": u * (
        gamma * z * (n(0.52) * d + 11 + (n(0.5) * d + 4) * k**2 + d * k * h + (n(0.03) * d + n(0.3)) * h**2)
        + gamma * ((n(1.02) * d + n(0.2)) * h + 2 * k)
        + beta
    ),
}  # fmt: skip
# Of the formulas, given statistics in one pass and inputs whose mean is k·σ.
_BY_ONE_PASS = (n(0.5) * d + 4) * k**2 + d * k * h + (n(0.03) * d + n(0.3)) * h**2
PRODUCTS_PROMISES = {
    "y": u * (
        gamma * z * (n(0.52) * d + n(7.4) + _BY_ONE_PASS)
        + gamma * ((n(0.07) * d + n(0.8)) * h**3 + (n(1.03) * d + n(0.8)) * h + n(0.01) * d + 5 * k + n(0.3))
        + n(2.01) * beta
    ),
    "x": u * gamma * (
        (n(0.52) * d + n(7.4) + _BY_ONE_PASS) * delta
        + share * D * (n(1.56) * d + n(12.3) + _BY_ONE_PASS + (n(0.12) * d + 1) * h**2)
        + share * D * z * ((2 * d + 4) * k + (n(1.05) * d + n(0.4)) * h + n(0.03) * d + n(0.4))
        + share * E * ((n(0.28) * d + n(3.5)) * h**3 + (n(1.14) * d + n(3.9)) * h + n(0.04) * d + 7 * k + n(1.9))
        + share * E * z * (n(2.58) * d + n(25.2) + 3 * _BY_ONE_PASS + (n(0.01) * d + n(0.3)) * h**2)
    ),
    "gamma": u * (
        E * (n(1.53) * d + n(7.4) + _BY_ONE_PASS)
        + D * ((2 * d + 4) * k + (n(1.02) * d + n(0.2)) * h + n(0.02) * d + n(0.2))
    ),
    "beta": u * n(1.01) * d * D,
}  # fmt: skip
MERGED = {
    "merge.mean": u * ((n(2.02) * d + n(3.1)) * mu + n(1.01) * d + n(1.1)),
    "merge.variance": (
        u * (n(2.03) * d + n(7.2) + (n(0.03) * d + n(0.2)) * mu) + u**2 * (n(4.5) * d**2 + 13 * d + 10) * mu**2
    ),
    "merge_moments.mean": u * (mu + (n(1.02) * d + n(3.2)) * h + (d + 4) * k),
    "merge_moments.variance": u * (n(2.04) * d + 4 * k + 2 * h + n(10.1)),
}
EXACT = {
    "mean": mu,
    "variance": q,
    "y": gamma * z + beta,
    "x": gamma * (delta - share * D - share * E * z),
    "gamma": E,
    "beta": D,
}
_TITLES = {
    "mean": "the mean",
    "variance": "the variance",
    "y": "the output",
    "x": "the gradient of x",
    "gamma": "the gradient of γ",
    "beta": "the gradient of β",
}
_FUNCTIONS = {
    "mean": "moments", "variance": "moments", "y": "normalize", "x": "backward", "gamma": "backward", "beta": "backward"
}  # fmt: skip
_WHY = {
    "mean": "The sum is of residuals, not of x: its error is in units of the deviation; |μ| is rounded once.",
    "variance": "A sum of squares has a relative error; that of the mean enters in second order.",
    "y": "The mean is subtracted as a pair, so that nothing cancels.",
    "x": "The sums of the cotangents have errors relative to the sums of their absolute values.",
    "gamma": "Relative to Σ|δz|, and to Σ|δ| for the error of the mean.",
    "beta": "A sum of depth d.",
}


def training(functions: Any, ops: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What training computes in a batch."""
    return _with_statistics(functions, ops, given, given["x"], functions.moments(ops, given["x"]))


def _with_statistics(functions: Any, ops: Any, given: Mapping[str, Any], x: Any, statistics: Any) -> dict[str, Any]:
    y, saved = functions.normalize(ops, x, statistics, *(given[name] for name in ("gamma", "beta", "epsilon")))
    none = 0 * given["gamma"]
    gradients = functions.backward(ops, given["delta"], none, none, x, given["gamma"], saved)
    return {"mean": statistics.mean, "variance": statistics.variance, "y": y, **gradients._asdict()}


def claims(functions: Any = shipped_training) -> Iterator[ErrorBound]:
    """The claims about ``functions`` in training, then those about inference and about the merge of parts."""
    for kind in ("plain", "weighted"):
        yield from of_training(functions, kind)
    yield from of_inference()
    yield from of_one_pass()
    yield from of_merging()


def _bound(identifier: str, title: str, because: str, root: Any = ROOT, **fields: Any) -> ErrorBound:
    return ErrorBound(
        f"rounding.{identifier}",
        title,
        (),
        Setting({}),
        Definitions({}),
        because,
        assumptions=assumptions(root),
        **fields,
    )


def of_training(functions: Any, kind: str) -> Iterator[ErrorBound]:
    """The claims about training, ``kind`` plain or weighted."""
    weighted = kind == "weighted"
    execution = Execution(lambda ops, given: training(functions, ops, given), BATCH, weighted=weighted)
    for quantity, promise in PROMISES[kind].items():
        yield _bound(
            f"training.{kind}.{quantity}",
            f"the error of {_TITLES[quantity]}{', weighted' * weighted}",
            _WHY[quantity],
            about=f"{functions.__name__}.{_FUNCTIONS[quantity]}",
            execution=execution,
            exact=EXACT[quantity],
            quantity=quantity,
            key=quantity,
            promise=promise,
            samples=batches(weighted=weighted),
        )


def of_inference(functions: Any = shipped_inference) -> Iterator[ErrorBound]:
    """The claim about inference; there are no sums."""

    def run(ops: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        names = ("x", "mean", "variance", "gamma", "beta", "epsilon")
        return {"y": functions.normalize(ops, *(given[name] for name in names))}

    yield _bound(
        "inference.y",
        "the error of the output in inference",
        "The mean is subtracted first: the folded form x·a + b would round |M|/σ.",
        about=f"{functions.__name__}.normalize",
        execution=Execution(run, BATCH),
        exact=EXACT["y"],
        quantity="y",
        key="y",
        promise=INFERENCE,
        samples=batches(weighted=False),
    )


def one_pass(ops: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What TensorFlow's fused kernels are given, and what they make of it (axiom A2), operation by operation.

    Their inverse roots are less precise. The mean square comes with the mean, in one pass; their difference loses a
    factor 1 + k², where the mean is k·σ.
    """
    residual = given["residual"]
    mean, variance = _in_one_pass(ops, residual)
    parameters = (given[name] for name in ("gamma", "beta", "epsilon"))
    return {"variance": variance, "y": shipped_inference.normalize(ops, residual, mean, variance, *parameters)}


def products(ops: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine of sums by products computes of inputs whose mean is small: the formulas, with a center of 0."""
    residual = given["residual"]
    mean, variance = _in_one_pass(ops, residual)
    statistics = shipped_training.Moments(0, mean, variance)
    return _with_statistics(shipped_training, ops, given, residual, statistics)


def _in_one_pass(ops: Any, residual: Any) -> tuple[Any, Any]:
    mean = ops.mean(residual)
    return mean, ops.mean(residual * residual) - mean * mean


def of_one_pass() -> Iterator[ErrorBound]:
    """The claims about statistics in one pass: given to the fused kernels, and followed by the formulas themselves."""
    yield from _of_residuals(
        "one_pass",
        Execution(one_pass, ONE_PASS, root=KERNEL_ROOT),
        ONE_PASS_PROMISES,
        by="statistics in one pass",
        because="⟨q²⟩ is 1 + k² times v, and so is its error: a guard must keep k small.",
        about="what fused kernels are given",
    )
    yield from _of_residuals(
        "products",
        Execution(products, ONE_PASS),
        PRODUCTS_PROMISES,
        by="sums of products",
        because="As in two steps, but that the variance has the error of one pass.",
        about="the engine of sums by products",
    )


def _of_residuals(
    family: str, execution: Execution, promises: Mapping[str, Poly], *, by: str, because: str, about: str
) -> Iterator[ErrorBound]:
    for quantity, promise in promises.items():
        yield _bound(
            f"{family}.{quantity}",
            f"the error of {_TITLES[quantity]} by {by}",
            because,
            execution.root,
            about=about,
            execution=execution,
            exact=EXACT[quantity],
            quantity=quantity,
            key=quantity,
            promise=promise,
            samples=(*batches(weighted=False), *far_from_center()),
        )


def of_merging(functions: Any = shipped_merging) -> Iterator[ErrorBound]:
    """The claims about parts, whose own statistics are given: σ² is the merged variance."""

    def run(ops: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        mean, variance = functions.merge(ops, given["mean"], given["variance"])
        pairs = shipped_training.Moments(given["center"], given["shift"], given["variance"])
        merged = functions.merge_moments(ops, pairs)
        return {
            "merge.mean": mean,
            "merge.variance": variance,
            "merge_moments.mean": merged.mean,
            "merge_moments.variance": merged.variance,
        }

    execution = Execution(run, PARTS, weighted=True)
    for name, promise in MERGED.items():
        function, quantity = name.split(".")
        yield _bound(
            name,
            f"the error of {_TITLES[quantity]} of merged parts{', kept as pairs' * (function == 'merge_moments')}",
            "Means that are one number are rounded at |μ|; pairs are not."
            if function == "merge"
            else "Only distances from the common center are summed.",
            about=f"{functions.__name__}.{function}",
            execution=execution,
            exact=mu if quantity == "mean" else ONE,
            quantity=quantity,
            key=name,
            promise=promise,
            samples=merged_parts(),
        )


def batches(*, weighted: bool) -> tuple[Sample, ...]:
    """Small batches of every kind: random, of two values, with an outlier, at mean/std 0 and 1000, centers off by k."""
    rng = np.random.default_rng(0)
    size = 7
    shapes = {
        "random": np.round(rng.normal(size=size) * 64) / 64,
        "two values": np.arange(size) % 2 * 1.0,
        "outlier": np.r_[np.zeros(size - 1), 8.0],
        "constant": np.ones(size),
    }
    found = []
    for number_, x in enumerate(shapes.values()):
        delta = np.round(rng.normal(size=size) * 64) / 64
        weights = np.round(rng.uniform(0.1, 2.0, size) * 64) / 64 if weighted else None
        ratio = 1000.0 * (number_ % 2)
        std = x.std() or 1 / 32
        center = x.mean() + std * (0.0, 0.9, -0.5, 0.5)[number_]
        found.append(
            samples.batch(
                x + ratio * std, delta, gamma=1.25, beta=-0.5, epsilon=2.0**-10, center=center + ratio * std,
                weights=weights,
            )
        )  # fmt: skip
    return tuple(found)


def far_from_center() -> tuple[Sample, ...]:
    """Batches whose mean is two to four deviations away from 0, which is what is subtracted."""
    x = np.round(np.random.default_rng(2).normal(size=7) * 64) / 64
    return tuple(
        samples.batch(x + ratio * x.std(), np.ones(7), gamma=1.25, beta=0.5, epsilon=2.0**-10, center=0.0)
        for ratio in (2.0, 4.0)
    )


def merged_parts() -> tuple[Sample, ...]:
    """A few parts, near 0 and far from it."""
    rng = np.random.default_rng(1)
    size = 5
    return tuple(
        samples.parts(
            rng.normal(size=size) + ratio,
            rng.uniform(0.5, 2, size),
            rng.integers(1, 9, size),
            distances=rng.normal(size=size) / 8,
            center=ratio,
        )
        for ratio in (0.0, 30.0)
    )
