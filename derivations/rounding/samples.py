"""A batch of numbers, and the magnitudes that bounds are stated in, for one channel.

Bounds are in units of σ = √(v + ε), by ``UNITS``. Numbers are float64: what that rounds is 10⁻⁹ of what is bounded in
float32.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derivations.rounding.magnitudes import SMALL, Poly, value

Array = np.ndarray

# What a quantity is measured in, as a power of σ.
UNITS = {"mean": 1, "variance": 2, "y": 0, "x": -1, "gamma": 0, "beta": 0}


@dataclass(frozen=True)
class Sample:
    """The arguments of a formula by name, what is held constant, and the magnitudes of the data.

    weights: None, or one an element.
    known: The value of each magnitude that the data determine; ``k`` and the like by the name of ``SYMBOLS``.
    sigma: √(v + ε).
    """

    given: dict[str, Any]
    center: float
    weights: Array | None
    known: dict[str, Any] = field(repr=False)
    sigma: float

    @property
    def size(self) -> int:
        return max(np.size(value) for value in self.given.values())

    def is_covered(self, *, u: float, depth: float) -> bool:
        """Whether the bounds hold for it: d·u·(1 + k)² ≤ 1/500."""
        return bool(depth * u * (1 + self.known["k"]) ** 2 <= float(SMALL))

    def at(self, bound: Poly, quantity: str, *, u: float, depth: float) -> Array:
        """The bound of one quantity for these data, per element where it is one an element."""
        return np.asarray(value(bound, u=u, d=depth, **self.known)) * self.sigma ** UNITS[quantity]


def batch(
    x: Any,
    delta: Any,
    *,
    gamma: float = 1.0,
    beta: float = 0.0,
    epsilon: float = 1e-3,
    center: float | None = None,
    weights: Any = None,
) -> Sample:
    """The arguments of training, and of inference with the batch's own statistics; the usual center is the mean."""
    x, delta = np.asarray(x, np.float64), np.asarray(delta, np.float64)
    share = np.full(x.shape, 1 / x.size) if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
    mean = float(np.sum(share * x))
    variance = float(np.sum(share * (x - mean) ** 2))
    sigma = (variance + epsilon) ** 0.5
    z = (x - mean) / sigma
    center = mean if center is None else center
    known = {
        "k": abs(mean - center) / sigma,
        "z": np.abs(z),
        "delta": np.abs(delta),
        "D": float(np.sum(np.abs(delta))),
        "E": float(np.sum(np.abs(delta * z))),
        "share": share,
        "gamma": abs(gamma),
        "beta": abs(beta),
        "mu": abs(mean) / sigma,
        "q": variance / sigma**2,
    }
    arguments = {"x": x, "delta": delta, "gamma": gamma, "beta": beta, "epsilon": epsilon}
    arguments |= {"mean": mean, "variance": variance, "residual": x - center}
    return Sample(arguments, center, None if weights is None else np.asarray(weights, np.float64), known, sigma)


def parts(means: Any, variances: Any, counts: Any, *, distances: Any, center: float) -> Sample:
    """Parts of a batch, to be merged; the center of each is ``distances`` away from its mean."""
    means, variances, counts = (np.asarray(values, np.float64) for values in (means, variances, counts))
    share = counts / counts.sum()
    mean = float(np.sum(share * means))
    sigma = float(np.sum(share * (variances + (means - mean) ** 2))) ** 0.5
    known = {
        "k": max(abs(mean - center), float(np.max(np.abs(distances)))) / sigma,
        "z": np.abs(means - mean) / sigma,
        "mu": abs(mean) / sigma,
        "q": float(np.sum(share * (means - mean) ** 2)) / sigma**2,
    }
    centers = means + distances
    arguments = {"mean": means, "variance": variances, "center": centers, "shift": means - centers}
    return Sample(arguments, center, counts, known, sigma)
