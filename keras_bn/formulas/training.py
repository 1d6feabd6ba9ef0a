"""Batch normalization with the statistics of the batch, forward and backward.

Index legend: k runs over the elements that share statistics, one channel at a time; every formula is the same for each
channel. μ mean, v variance (biased), s = (v + ε)^(−1/2) inverse standard deviation, z = (x − μ)·s, δ = ∂L/∂y.

The mean is kept as an unevaluated pair, μ = center + shift: one float cannot hold it to better than ulp(μ), which is
0.4 % of a standard deviation at mean/std = 10⁵ in float32. Only ``center`` is ever subtracted from the elements;
``shift``, which is small, is folded into vectors of one value a channel.
"""

from typing import NamedTuple

from keras_bn.formulas.operations import Operations, Value


class Moments(NamedTuple):
    """Mean, as the pair ``center + shift``, and biased variance of a batch."""

    center: Value
    shift: Value
    variance: Value

    @property
    def mean(self) -> Value:
        return self.center + self.shift


class Fallback(NamedTuple):
    """Statistics for channels in which no element counts."""

    mean: Value
    variance: Value


class Saved(NamedTuple):
    """What backward needs besides x and γ: vectors of one value a channel.

    z is recomputed from x: keeping it would cost another copy of the input, recomputing it costs one pass over x, which
    backward reads anyway.
    """

    center: Value
    shift: Value
    inv_std: Value


class Gradients(NamedTuple):
    x: Value
    gamma: Value
    beta: Value


def moments(ops: Operations, x: Value) -> Moments:
    """μ = ⟨x⟩ and v = ⟨(x − μ)²⟩, centred in two steps (equation 9).

    For any constant c, μ = c + ⟨x − c⟩. With c near μ the residuals are of the size of the standard deviation, so that
    neither sum loses digits to a large mean.
    """
    center = ops.constant(ops.near_mean(x))
    residual = x - center
    shift = ops.mean(residual)
    # Where the sum overflowed, so does the variance, whatever it is taken about.
    return Moments(center, shift, ops.mean(ops.squared_difference(residual, ops.regular(shift))))


def normalize(
    ops: Operations, x: Value, statistics: Moments, gamma: Value, beta: Value, epsilon: Value
) -> tuple[Value, Saved]:
    """y = γ·z + β (equation 1), and what ``backward`` needs.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), Algorithm 1.
    """
    center, shift, variance = statistics
    inv_std = ops.inverse_root(variance + epsilon)
    scale = inv_std * gamma
    return (x - center) * scale + (beta - ops.scaled(shift, scale)), Saved(center, shift, inv_std)


def backward(
    ops: Operations, dy: Value, d_mean: Value, d_variance: Value, x: Value, gamma: Value, saved: Saved
) -> Gradients:
    """Gradients for the cotangents δ of y (equations 1 and 4), g_μ of the mean and g_v of the variance (equation 2).

    ∂β = Σδ,  ∂γ = Σδz,  ∂x = γs·δ − (w/W)·(γs·(∂β + z·∂γ) − g_μ − 2·g_v·(x − μ)); w/W is 1/m without weights.
    The bracket is an affine function of x, so its coefficients are formed once a channel. They are linear in the sums
    and in the cotangents: replicas that share a batch add up their own coefficients, and return their own ∂γ and ∂β.
    """
    center, shift, inv_std = saved
    residual = ops.finite(x - center, shift)
    d_beta = ops.sum(dy)
    d_gamma = ops.scaled(ops.sum_of_products(dy, residual) - shift * d_beta, inv_std)
    slope, offset = through_statistics(ops, d_gamma, d_beta, d_mean, d_variance, gamma, saved)
    slope, offset = ops.over_replicas(slope, offset)
    share = ops.share()
    dx = gamma * inv_std * dy - (share * offset + (share * slope) * residual)
    return Gradients(dx, d_gamma, d_beta)


def through_statistics(
    ops: Operations, d_gamma: Value, d_beta: Value, d_mean: Value, d_variance: Value, gamma: Value, saved: Saved
) -> tuple[Value, Value]:
    """Slope and offset of (x − center) in what ``backward`` subtracts: the route of dx through mean and variance."""
    _, shift, inv_std = saved
    scale = gamma * inv_std
    slope = scale * inv_std * d_gamma - 2 * d_variance
    return slope, scale * d_beta - d_mean - ops.scaled(shift, slope)
