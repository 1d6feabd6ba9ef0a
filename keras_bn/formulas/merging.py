"""The moments of a whole from those of its parts: ghost batches, replicas, passes over a data set."""

from keras_bn.formulas.operations import Operations, Value


def merge(parts: Operations, mean: Value, variance: Value) -> tuple[Value, Value]:
    """Mean and variance of the whole (equation 7).

    ``parts`` is a batch whose elements are the parts, weighted by their counts: μ = ⟨μ_r⟩, v = ⟨v_r + (μ_r − μ)²⟩. The
    spread of the means is summed as such; the equal ⟨v_r + μ_r²⟩ − μ² would cancel.
    """
    merged = parts.mean(mean)
    return merged, parts.mean(variance + parts.squared_difference(mean, merged))
