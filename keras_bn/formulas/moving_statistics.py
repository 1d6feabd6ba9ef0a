"""The moving averages that inference uses in place of the batch's own statistics."""

from keras_bn.formulas.operations import Value


def update(moving: Value, batch: Value, momentum: Value) -> Value:
    """a·r + (1 − a)·b: the moving value r after a batch with value b, momentum a (equation 11)."""
    return moving * momentum + batch * (1 - momentum)


def effective_count(count: Value, momentum: Value) -> Value:
    """a·n + 1: how many batches the moving value stands for after one more, where older ones count a-fold less each.

    From n = 0 it grows to (1 − a^t)/(1 − a), and to t for a = 1 (equation 11).
    """
    return count * momentum + 1


def debiased_momentum(count: Value) -> Value:
    """(n − 1)/n: with this momentum the moving value is a weighted mean of the batches alone (equation 11).

    The initial value has no part in it, as in Adam: with n the ``effective_count`` after the batch, the result is
    (r_t − a^t·r_0)/(1 − a^t), and for a = 1 the plain mean of all batches.
    Source: Kingma and Ba, "Adam" (2015), section 3.
    """
    return (count - 1) / count
