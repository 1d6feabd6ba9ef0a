"""What is proved of the rounding errors of one request, beside what random data of that kind gave."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from derivations.claims.families.rounding import ONE_PASS_PROMISES, PRODUCTS_PROMISES, PROMISES
from derivations.graphs.depths import depth_of
from derivations.rounding import samples
from derivations.rounding.magnitudes import SMALL, value
from derivations.rounding.model import UNIT_ROUNDOFF

# The engines whose statistics are taken in one pass, of x itself.
ONE_PASS = {
    "fused": ONE_PASS_PROMISES,
    "products": {"variance": ONE_PASS_PROMISES["variance"], **PRODUCTS_PROMISES},
}
# Of the data: |z| is at most Z, and the center at most K deviations away from the mean; for an engine in ``ONE_PASS``
# the mean at most as many as its guard allows.
Z, K = 10.0, 1.0
EPSILON = 1e-3
CHANNELS, LARGE = 8, 2_000_000  # elements of a channel from which one is measured

# What a bound is stated in, by quantity.
UNITS = {
    "mean": ("mean", "σ"),
    "variance": ("variance", "σ²"),
    "y": ("y", "|γ|"),
    "x": ("∂x", "|γ|·s·max|δ|"),
    "gamma": ("∂γ", "Σ|δ|"),
    "beta": ("∂β", "Σ|δ|"),
}


class Request(NamedTuple):
    """A batch of so many elements a channel.

    ratio: mean/std.
    engine: Of keras_bn; those with statistics in one pass are bounded in float32 and without a mask, and of "fused" the
        forward pass alone.
    mask: Whether half of the elements count.
    jit_compile: Whether XLA compiles.
    """

    elements: int
    ratio: float = 0.0
    dtype: str = "float32"
    mask: bool = False
    jit_compile: bool = False
    engine: str = "closed_form"

    @property
    def distance(self) -> float:
        """k: how many deviations the mean may be away from what is subtracted."""
        if self.engine not in ONE_PASS:
            return K
        from keras_bn.engines.small_means import LIMIT

        return LIMIT


class Row(NamedTuple):
    """One quantity: the bound for all data with |z| ≤ Z, that for the random data, and their error, in ``unit``."""

    name: str
    unit: str
    proved: float
    of_data: float
    measured: float


class Table(NamedTuple):
    """The rows, and the depth that the graph has."""

    request: Request
    depth: float
    rows: list[Row]

    def text(self) -> str:
        """A table for the terminal."""
        request = self.request
        lines = [
            f"Rounding errors in training, {request.dtype}, {request.elements} elements a channel, "
            f"mean/std {request.ratio:g}{', masked' * request.mask}{', compiled by XLA' * request.jit_compile}, "
            f"engine {request.engine}.",
            f"No number is added more than d = {self.depth:.6g} times: read from the graph that TensorFlow traces.",
            "",
            f"{'':9}{'in units of':16}{'proved, any data':>17}{'proved, these':>15}{'measured':>12}",
        ]
        lines += [
            f"{row.name:9}{row.unit:16}{row.proved:17.1e}{row.of_data:15.1e}{row.measured:12.1e}" for row in self.rows
        ]
        center = f"a center within {K:g}·σ of the mean"
        if request.engine in ONE_PASS:
            center = f"|mean| ≤ {request.distance:g}·σ, up to which the inputs are taken as they are"
        limits = f"|z| ≤ {Z:g}, {center}, |β| ≤ |γ|, σ² = v + ε"
        lines += ["", f"Any data: {limits}.", "These: normal, with random γ, β and δ; the worst channel."]
        return "\n".join(lines)


def table(request: Request, *, seed: int = 0) -> Table:
    """Bounds and measurements of one request.

    Raises:
        ValueError: the bounds do not hold for sums that are so deep.
    """
    in_one_pass = request.engine in ONE_PASS
    if in_one_pass and (
        request.mask or request.jit_compile or request.dtype != "float32" or request.ratio > request.distance
    ):
        raise ValueError(
            f"engine {request.engine} is bounded in float32, without a mask or XLA, up to the mean/std of its guard, "
            f"{request.distance:g}; elsewhere the closed form is used"
        )
    call = _random_call(request, seed)
    depth, u = call.depth(), UNIT_ROUNDOFF[request.dtype]
    if depth * u * (1 + request.distance) ** 2 > float(SMALL):
        raise ValueError(
            f"sums of depth {depth:.6g} are too deep for {request.dtype}: d·u·(1 + k)² must be at most {SMALL}"
        )
    promises = ONE_PASS.get(request.engine, PROMISES["weighted" if request.mask else "plain"])
    ratio, of_data, measured = request.ratio, dict.fromkeys(promises, 0.0), dict.fromkeys(promises, 0.0)
    for sample, errors in call.channels():
        gamma, delta = sample.known["gamma"], sample.known["delta"]
        units = {"mean": sample.sigma, "variance": sample.sigma**2, "y": gamma, "x": gamma / sample.sigma * delta.max()}
        units |= dict.fromkeys(("gamma", "beta"), sample.known["D"])
        for name, promise in promises.items():
            bound = sample.at(promise, name, u=u, depth=depth)
            of_data[name] = max(of_data[name], float(np.max(bound)) / units[name])
            measured[name] = max(measured[name], float(np.max(np.abs(errors[name]))) / units[name])
        ratio = max(ratio, sample.known["mu"])
    m, counted = request.elements, request.elements if call.mask is None else int(np.sum(call.mask))
    general = {"k": request.distance, "z": Z, "D": m, "E": m, "share": 1 / counted, "mu": ratio, "u": u, "d": depth}
    proved = {name: float(value(promise, **general)) for name, promise in promises.items()}
    proved |= {name: proved[name] / m for name in ("gamma", "beta") if name in proved}
    rows = [Row(*UNITS[name], proved[name], of_data[name], measured[name]) for name in promises]
    return Table(request, depth, rows)


def largest_distance(limit: float, depth: float) -> float:
    """The guard of the fused kernels that follows from a promise: up to which |mean|/std y is within ``limit``·|γ|.

    Proved, in float32, for |z| ≤ Z and |β| ≤ |γ|; 0 where not even a mean of 0 allows it.
    """
    known = {"u": UNIT_ROUNDOFF["float32"], "d": depth, "z": Z}
    low, high = 0.0, (float(SMALL) / (depth * known["u"])) ** 0.5 - 1  # where the hypothesis ends
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if value(ONE_PASS_PROMISES["y"], k=middle, **known) <= limit else (low, middle)
    return low


def _random_call(request: Request, seed: int) -> "Call":
    rng = np.random.default_rng(seed)
    channels = CHANNELS if request.elements < LARGE else 1
    shape = (request.elements, channels)
    std = rng.uniform(0.5, 2.0, channels)
    values = [
        (rng.normal(size=shape) + request.ratio) * std,
        rng.normal(size=shape),
        rng.uniform(0.5, 1.5, channels),
        rng.uniform(-0.5, 0.5, channels),
    ]
    mask = rng.permutation(np.arange(request.elements) % 2 == 0) if request.mask else None
    return Call(
        *(array.astype(request.dtype) for array in values),
        mask=mask,
        jit_compile=request.jit_compile,
        engine=request.engine,
    )


class Call:
    """A call of the shipped operation, and of its gradient.

    Args:
        x, delta: [m, C].
        gamma, beta: [C].
        mask: None, or [m], which elements count.
        jit_compile: Whether XLA compiles.
        engine: Of keras_bn.
    """

    def __init__(
        self,
        x: Any,
        delta: Any,
        gamma: Any,
        beta: Any,
        *,
        mask: Any = None,
        jit_compile: bool = False,
        engine: str = "closed_form",
    ) -> None:
        self.inputs = [x, delta, gamma, beta]
        self.mask, self.jit_compile, self.engine = mask, jit_compile, engine

    @cached_property
    def function(self) -> Any:
        """The traced call: x, δ, γ, β to y, mean, variance, their gradients, and the center that was taken."""
        import tensorflow as tf

        from keras_bn import functional
        from keras_bn.batch import TensorBatch

        def call(x: Any, delta: Any, gamma: Any, beta: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch([x, gamma, beta])
                outputs = functional.batch_norm(x, gamma, beta, epsilon=EPSILON, mask=self.mask, engine=self.engine)
            gradients = tape.gradient(outputs.y, [x, gamma, beta], delta)
            weights = None if self.mask is None else tf.constant(self.mask[:, None])
            if self.engine in ONE_PASS:
                return *outputs, *gradients, tf.zeros_like(gamma)
            center = tf.stop_gradient(TensorBatch(x, (-1,), tuple(gamma.shape), weights).near_mean(x))
            return *outputs, *gradients, center

        function = tf.function(call, autograph=False, jit_compile=self.jit_compile)
        return function.get_concrete_function(*(tf.TensorSpec(a.shape, a.dtype) for a in self.inputs))

    def depth(self) -> float:
        """The depth of its sums."""
        return depth_of(self.function, self.inputs[0].dtype.name, branches=self.engine in ONE_PASS)

    def channels(self) -> Iterator[tuple[samples.Sample, dict[str, Any]]]:
        """For each channel its data, and the errors of all quantities."""
        import tensorflow as tf

        y, mean, variance, dx, dgamma, dbeta, center = (
            np.asarray(value) for value in self.function(*map(tf.constant, self.inputs))
        )
        x, delta, gamma, beta = self.inputs
        weights = np.ones(len(x)) if self.mask is None else np.asarray(self.mask, np.float64)
        epsilon = float(np.asarray(EPSILON, x.dtype))
        for c in range(x.shape[1]):
            parameters = {"gamma": float(gamma[c]), "beta": float(beta[c]), "epsilon": epsilon}
            of_statistics: dict[str, Any] = {"center": float(center.ravel()[c])}
            of_statistics["weights"] = None if self.mask is None else weights
            sample = samples.batch(x[:, c], delta[:, c], **parameters, **of_statistics)
            exact = _exactly(x[:, c], delta[:, c], weights, **parameters)
            found = {"mean": mean[c], "variance": variance[c], "y": y[:, c], "x": dx[:, c]}
            found |= {"gamma": dgamma[c], "beta": dbeta[c]}
            yield sample, {name: found[name] - exact[name] for name in found}


def _exactly(x: Any, delta: Any, weights: Any, *, gamma: float, beta: float, epsilon: float) -> dict[str, Any]:
    """The textbook, in the longest floating-point numbers at hand."""
    x, delta, weights = (np.asarray(array, np.longdouble) for array in (x, delta, weights))
    share = weights / weights.sum()
    mean = (share * x).sum()
    variance = (share * (x - mean) ** 2).sum()
    s = 1 / np.sqrt(variance + epsilon)
    z = (x - mean) * s
    d_beta, d_gamma = delta.sum(), (delta * z).sum()
    dx = gamma * s * (delta - share * (d_beta + z * d_gamma))
    return {"mean": mean, "variance": variance, "y": gamma * z + beta, "x": dx, "gamma": d_gamma, "beta": d_beta}
