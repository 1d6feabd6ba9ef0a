"""The moving average that inference uses in place of the batch's own statistics."""

from keras_bn.formulas.operations import Value


def update(moving: Value, batch: Value, momentum: Value) -> Value:
    """a·r + (1 − a)·b: the moving value r after a batch with value b, momentum a (equation 11)."""
    return moving * momentum + batch * (1 - momentum)
