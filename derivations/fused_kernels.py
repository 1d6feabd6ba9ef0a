"""TensorFlow's fused kernels, of which the proofs know nothing but an axiom.

A1: ``FusedBatchNormV3(is_training=True)`` returns y = γ·(x − μ)·(v + ε)^(−1/2) + β, μ and v·m/max(m − 1, 1), for m ≥ 1;
its reserve spaces are tokens for ``FusedBatchNormGradV3``, which returns the gradients of equation 1 for that x and ε.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from derivations.symbolic_axes import UnknownGraph

A1 = "A1"
STATEMENT = (
    "A1: FusedBatchNormV3(is_training=True) returns y = γ·(x − μ)·(v + ε)^(−1/2) + β, μ and v·m/max(m − 1, 1), for "
    "m ≥ 1; its reserve spaces are tokens for FusedBatchNormGradV3, which returns the gradients of equation 1. Tested "
    "numerically, m = 1 included; a test is not a proof."
)


class Token(NamedTuple):
    """A reserve space: of which input, and of which ε, the kernel has kept something."""

    x: Any
    epsilon: Any


class Kernel(NamedTuple):
    """How values are added, multiplied and summed: symbolically, or in a field."""

    of: Callable[..., Any]  # of(function, *values): elementwise
    mean: Callable[[Any], Any]  # over all axes but the last
    total: Callable[[Any], Any]  # Σ over all axes but the last
    inverse_root: Callable[[Any], Any]
    unbiased: Callable[[Any, Any], Any]  # v·m/max(m − 1, 1), of v and x
    same: Callable[[Any, Any], bool]


def forward(operation: Any, kernel: Kernel, x: Any, scale: Any, offset: Any, epsilon: Any) -> tuple[Any, ...]:
    """The six outputs of ``FusedBatchNormV3`` by A1.

    Raises:
        UnknownGraph: the kernel does something else here.
    """
    _check(operation)
    of = kernel.of
    mean = kernel.mean(x)
    residual = of(lambda a, b: a - b, x, mean)
    variance = kernel.mean(of(lambda a: a * a, residual))
    inv_std = kernel.inverse_root(of(lambda v: v + epsilon, variance))
    y = of(lambda r, s, g, b: g * r * s + b, residual, inv_std, scale, offset)
    token = Token(x, epsilon)
    return y, mean, kernel.unbiased(variance, x), token, token, token


def backward(operation: Any, kernel: Kernel, dy: Any, x: Any, scale: Any, token: Any, epsilon: Any) -> tuple[Any, ...]:
    """The outputs of ``FusedBatchNormGradV3`` by A1; the last two are empty.

    Raises:
        UnknownGraph: the tokens are not those of the same x and ε.
    """
    _check(operation)
    if not isinstance(token, Token) or token.epsilon != epsilon or not kernel.same(token.x, x):
        raise UnknownGraph(f"{operation.name} is not given what FusedBatchNormV3 kept of the same input")
    of = kernel.of
    mean = kernel.mean(x)
    residual = of(lambda a, b: a - b, x, mean)
    variance = kernel.mean(of(lambda a: a * a, residual))
    inv_std = kernel.inverse_root(of(lambda v: v + epsilon, variance))
    z = of(lambda r, s: r * s, residual, inv_std)
    product = of(lambda d, z: d * z, dy, z)
    dx = of(
        lambda d, z, g, s, d_beta, d_gamma: g * s * (d - d_beta - z * d_gamma),
        dy, z, scale, inv_std, kernel.mean(dy), kernel.mean(product),
    )  # fmt: skip
    return dx, kernel.total(product), kernel.total(dy), None, None


def _check(operation: Any) -> None:
    if not operation.get_attr("is_training") or operation.get_attr("data_format") != b"NHWC":
        raise UnknownGraph(f"{operation.name}, of which A1 says nothing")
