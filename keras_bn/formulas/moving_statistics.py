"""The moving averages that inference uses in place of the batch's own statistics."""

from keras_bn.formulas.operations import Value


def update(moving: Value, batch: Value, momentum: Value) -> Value:
    """a·r + (1 − a)·b: the moving value r after a batch with value b, momentum a (equation 11)."""
    return moving * momentum + batch * (1 - momentum)


def cumulative_momentum(count: Value) -> Value:
    """(t − 1)/t: with this momentum the t-th update makes the moving value the mean of all t batches (equation 11)."""
    return (count - 1) / count
