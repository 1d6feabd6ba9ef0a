"""TensorFlow's fused kernels, of which the proofs know nothing but axioms: ``AXIOMS``."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from derivations.graphs.walk import UnknownGraph

AXIOMS = {
    "A1": "FusedBatchNormV3(is_training=True) returns y = γ·(x − μ)·(v + ε)^(−1/2) + β, μ and v·m/max(m − 1, 1), on "
    "a CPU and for m ≥ 1; its reserve spaces 1 and 2 are μ and v. Tested numerically, m = 1 included; a test is not a "
    "proof.",
    "A2": "FusedBatchNormV3(is_training=False) returns y = γ·(x − M)·(V + ε)^(−1/2) + β, where M and V are the mean "
    "and the variance that it is given, for m ≥ 1. Tested numerically, m = 1 included; a test is not a proof.",
    "A3": "FusedBatchNormGradV3(is_training=False) returns dx = γ·s·δ, dγ = Σ δ·(x − M)·s and dβ = Σ δ, where "
    "s = (V + ε)^(−1/2), and M and V are its reserve spaces 1 and 2, for m ≥ 1. Tested numerically, m = 1 included; a "
    "test is not a proof.",
    "A4": "FusedBatchNormGradV3(is_training=True) returns, with z = (x − M)·s, dx = γ·s·(δ − ⟨δ⟩ − z·⟨δ·z⟩), "
    "dγ = Σ δ·z and dβ = Σ δ, where s = (V + ε)^(−1/2), and M and V are its reserve spaces 1 and 2, on a CPU and for "
    "m ≥ 1. Tested numerically, m = 1 included; a test is not a proof.",
}


class Kernel(NamedTuple):
    """How values are added, multiplied and summed: symbolically, or in a field."""

    of: Callable[..., Any]  # of(function, *values): elementwise
    mean: Callable[[Any], Any]  # over all axes but the last
    total: Callable[[Any], Any]  # Σ over all axes but the last
    inverse_root: Callable[[Any], Any]
    unbiased: Callable[[Any, Any], Any]  # v·m/max(m − 1, 1), of v and x

    def standardized(self, x: Any, mean: Any, variance: Any, epsilon: Any) -> tuple[Any, Any]:
        """(x − mean)·s, and s."""
        inv_std = self.inverse_root(self.of(lambda v: v + epsilon, variance))
        return self.of(lambda a, b, s: (a - b) * s, x, mean, inv_std), inv_std

    def moments(self, x: Any) -> tuple[Any, Any]:
        """Mean and biased variance."""
        mean = self.mean(x)
        return mean, self.mean(self.of(lambda a, b: (a - b) * (a - b), x, mean))


def axiom(operation: Any) -> str:
    """The axiom on a kernel as it is called."""
    forward = operation.type == "FusedBatchNormV3"
    if operation.get_attr("is_training"):
        return "A1" if forward else "A4"
    return "A2" if forward else "A3"


def forward(
    operation: Any, kernel: Kernel, x: Any, scale: Any, offset: Any, mean: Any, variance: Any, epsilon: Any
) -> tuple[Any, ...]:
    """The six outputs of ``FusedBatchNormV3``; None for those of which the axiom says nothing.

    Raises:
        UnknownGraph: the kernel does something else here.
    """
    _check(operation)
    training = operation.get_attr("is_training")
    if training:
        mean, variance = kernel.moments(x)
    z, _ = kernel.standardized(x, mean, variance, epsilon)
    y = kernel.of(lambda z, g, b: g * z + b, z, scale, offset)
    return (y, mean, kernel.unbiased(variance, x), mean, variance, None) if training else (y, *[None] * 5)


def backward(
    operation: Any, kernel: Kernel, dy: Any, x: Any, scale: Any, reserved: tuple[Any, ...], epsilon: Any
) -> tuple[Any, ...]:
    """The outputs of ``FusedBatchNormGradV3``; the last two are empty.

    Raises:
        UnknownGraph: reserve spaces 1 and 2 are no data.
    """
    _check(operation)
    of, (mean, variance) = kernel.of, reserved[:2]
    if mean is None or variance is None:
        raise UnknownGraph(f"{operation.name} is not given mean and variance")
    z, inv_std = kernel.standardized(x, mean, variance, epsilon)
    product = of(lambda d, z: d * z, dy, z)
    if operation.get_attr("is_training"):
        dx = of(
            lambda d, z, g, s, d_beta, d_gamma: g * s * (d - d_beta - z * d_gamma),
            dy, z, scale, inv_std, kernel.mean(dy), kernel.mean(product),
        )  # fmt: skip
    else:
        dx = of(lambda d, g, s: g * s * d, dy, scale, inv_std)
    return dx, kernel.total(product), kernel.total(dy), None, None


def _check(operation: Any) -> None:
    if operation.get_attr("data_format") != b"NHWC":
        raise UnknownGraph(f"{operation.name}, of which no axiom speaks")


def check_pointwise(operation: Any, sizes: Iterable[Any], channels: Any) -> None:
    """Raise UnknownGraph unless a depthwise convolution has one weight a channel, and moves by one element."""
    attributes = {"strides": [1, 1, 1, 1], "padding": b"VALID", "data_format": b"NHWC"}
    given = {name: operation.get_attr(name) for name in attributes}
    if given != attributes or list(sizes) != [1, 1, channels, 1]:
        raise UnknownGraph(f"{operation.name} with {given} and a filter of the sizes {list(sizes)}")
