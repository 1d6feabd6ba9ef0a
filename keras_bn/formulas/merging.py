"""The moments of a whole from those of its parts: ghost batches, replicas, passes over a data set.

``parts`` is a batch whose elements are the parts, weighted by their counts.
"""

from keras_bn.formulas.operations import Operations, Value
from keras_bn.formulas.training import Moments


def merge(parts: Operations, mean: Value, variance: Value) -> tuple[Value, Value]:
    """Mean and variance of the whole (equation 7): μ = ⟨μ_r⟩, v = ⟨v_r + (μ_r − μ)²⟩.

    The spread of the means is summed as such; the equal ⟨v_r + μ_r²⟩ − μ² would cancel.
    """
    merged = parts.mean(mean)
    # As for elements: where the sum overflowed, so does the variance, whatever it is taken about.
    return merged, parts.mean(variance + parts.squared_difference(mean, parts.regular(merged)))


def merge_moments(parts: Operations, moments: Moments) -> Moments:
    """``merge`` of means that are kept as pairs, about a center that the parts have in common (equation 9)."""
    center = parts.constant(parts.mean(moments.center))
    shift, variance = merge(parts, (moments.center - center) + moments.shift, moments.variance)
    return Moments(center, shift, variance)
