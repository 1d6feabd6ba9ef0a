"""Batch normalization with given statistics: an affine map of each element."""

from keras_bn.formulas.operations import Operations, Value


def normalize(
    ops: Operations, x: Value, mean: Value, variance: Value, gamma: Value, beta: Value, epsilon: Value
) -> Value:
    """y = γ·(x − M)·(V + ε)^(−1/2) + β (equation 5).

    The mean is subtracted first: the folded form x·a + (β − M·a) cancels where |M| is much larger than the deviations.
    It is added times −1, which rounds alike: TFLite folds sums into the layer before, but no differences, into which
    TensorFlow turns sums with −M.
    """
    return (x + -1 * mean) * (ops.inverse_root(variance + epsilon) * gamma) + beta
