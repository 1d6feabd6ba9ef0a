"""Batch normalization with the statistics of the batch, forward and backward.

Index legend: k runs over the elements that share statistics, one channel at a time; every formula is the same for each
channel. μ mean, v variance (biased), s = (v + ε)^(−1/2) inverse standard deviation, z = (x − μ)·s, δ = ∂L/∂y.
"""

from typing import NamedTuple

from keras_bn.formulas.operations import Operations, Value


class Moments(NamedTuple):
    """Mean and variance of a batch; the mean is the unevaluated pair ``center + shift``.

    One float of the input's precision cannot hold the mean to better than ulp(mean), which is 0.4 % of a standard
    deviation at mean/std = 10⁵ in float32. The pair can, for one vector more.
    """

    center: Value
    shift: Value
    variance: Value

    @property
    def mean(self) -> Value:
        return self.center + self.shift


class Saved(NamedTuple):
    """What backward needs besides x and γ: vectors of one value a channel.

    x_hat is recomputed from x; keeping it would cost another copy of the input, and recomputing costs two operations in
    a pass that reads x anyway.
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
    center = ops.constant(ops.mean(x))
    residual = x - center
    shift = ops.mean(residual)
    return Moments(center, shift, ops.mean(ops.square(residual - shift)))


def centered(x: Value, statistics: Moments | Saved) -> Value:
    """x − μ, the two parts of the mean subtracted one after the other."""
    return (x - statistics.center) - statistics.shift


def forward(
    ops: Operations, x: Value, gamma: Value, beta: Value, epsilon: Value
) -> tuple[Value, Moments, Saved]:
    """y = γ·z + β (equation 1).

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), Algorithm 1.
    """
    statistics = moments(ops, x)
    inv_std = ops.rsqrt(statistics.variance + epsilon)
    y = centered(x, statistics) * (inv_std * gamma) + beta
    return y, statistics, Saved(statistics.center, statistics.shift, inv_std)


def backward(
    ops: Operations,
    dy: Value,
    d_mean: Value,
    d_variance: Value,
    x: Value,
    gamma: Value,
    saved: Saved,
) -> Gradients:
    """Gradients for the cotangents δ of y (equations 1 and 4), g_μ of the mean and g_v of the variance (equation 2).

    ∂β = Σδ,  ∂γ = Σδz,  ∂x = γs[δ − (w/W)(∂β + z·∂γ)] + (w/W)(g_μ + 2·g_v·(x − μ)), where w/W is 1/m without weights.
    """
    x_centered = centered(x, saved)
    x_hat = x_centered * saved.inv_std
    share = ops.share()
    d_beta = ops.sum(dy)
    d_gamma = ops.sum(dy * x_hat)
    through_y = (gamma * saved.inv_std) * (dy - share * (d_beta + x_hat * d_gamma))
    through_statistics = share * (d_mean + 2 * d_variance * x_centered)
    return Gradients(through_y + through_statistics, d_gamma, d_beta)
