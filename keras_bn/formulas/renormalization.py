"""Batch renormalization: the batch's own statistics, corrected towards those of earlier batches.

y = γ·(r·z + d) + β (equation 8) is the formula of training with γr for γ and γd + β for β; r and d are held constant.
Source: Ioffe, "Batch Renormalization" (2017).
"""

from typing import NamedTuple

from keras_bn.formulas.operations import Operations, Value


class Correction(NamedTuple):
    """The factor r and the offset d, one value a channel."""

    r: Value
    d: Value


class Reference(NamedTuple):
    """Mean and standard deviation of earlier batches, and the bounds of the correction; None is no bound."""

    mean: Value
    std: Value
    r_min: Value | None = None
    r_max: Value | None = None
    d_max: Value | None = None


def standard_deviation(ops: Operations, variance: Value, epsilon: Value) -> Value:
    """(v + ε)^(1/2)."""
    return (variance + epsilon) * ops.inverse_root(variance + epsilon)


def correction(ops: Operations, mean: Value, variance: Value, reference: Reference, epsilon: Value) -> Correction:
    """r = σ/σ_ref and d = (μ − μ_ref)/σ_ref, clipped; 1 and 0 where no element counts."""
    std = ops.clip(reference.std, epsilon**0.5, None)
    r = ops.clip(standard_deviation(ops, variance, epsilon) / std, reference.r_min, reference.r_max)
    d_min = None if reference.d_max is None else -reference.d_max
    d = ops.clip((mean - reference.mean) / std, d_min, reference.d_max)
    return Correction(ops.or_else(ops.constant(r), 1), ops.or_else(ops.constant(d), 0))


def compose(gamma: Value, beta: Value, correction: Correction) -> tuple[Value, Value]:
    """The γ and β with which the formula of training gives the corrected output (equation 8)."""
    return gamma * correction.r, gamma * correction.d + beta


def gradient_of_gamma(d_gamma: Value, d_beta: Value, correction: Correction) -> Value:
    """Σδ(rz + d), from the gradients Σδz and Σδ for the composed γ and β (equation 8)."""
    return correction.r * d_gamma + correction.d * d_beta
