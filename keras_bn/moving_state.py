"""The state of the layer: what the statistics of a batch make of it."""

from typing import Any

import keras
import tensorflow as tf

from keras_bn import xla
from keras_bn.batch import TensorBatch
from keras_bn.formulas import moving_statistics, renormalization
from keras_bn.formulas.training import Moments

State = dict[str, tf.Tensor]

# How many batches moving statistics of unknown origin count as: so many have a part in an average of momentum 0.99.
TRAINED_BATCHES = 100.0


def read(weights: list[keras.Variable], dtype: tf.DType) -> State:
    """The weights of a layer by name, each read once, so that its new value depends on that very read.

    TensorFlow's graph optimizer has been seen to let a second read, ordered before the assignment by a control
    dependency alone, come after it.
    """
    # Not tf.cast alone: of a variable that has the dtype it returns the variable, which is then read at every use.
    return {weight.name: tf.cast(tf.convert_to_tensor(weight.value), dtype) for weight in weights}


def renewed(layer: Any, state: State, batch: TensorBatch, moments: Moments) -> State:
    """The state after a batch; a channel whose statistics are not finite keeps what it had (equation 11).

    Args:
        layer: Whose ``momentum``, ``unbiased_variance``, ``renorm``, ``renorm_momentum`` and ``epsilon`` count.
        state: The weights of the layer, by name. With an ``update_count`` the averages are those of the batches alone.
        batch: The batch, for its counts.
        moments: Its moments, shaped like gamma.
    """
    mean, variance, epsilon = moments.mean, moments.variance, layer.epsilon
    # One test for NaN, overflow and, by a division by 0, a batch in which nothing counts: where the mean is not finite,
    # the variance about it is not either.
    valid = xla.is_finite(batch.per_count(variance))
    unbiased = variance
    if layer.unbiased_variance:
        factor = batch.bessel()
        unbiased = variance * factor
        valid = valid & tf.math.is_finite(factor) & (factor > 0)
    new = {}
    weight: Any = layer.momentum
    if "update_count" in state:
        old = 1.0 if layer.momentum is None else layer.momentum
        new["update_count"] = moving_statistics.effective_count(_counted(layer, state), old)
        weight = moving_statistics.debiased_momentum(new["update_count"])
    update = moving_statistics.update
    new["moving_mean"] = update(state["moving_mean"], mean, weight)
    if not layer.renorm:
        new["moving_variance"] = update(state["moving_variance"], unbiased, weight)
    else:
        # Keras averages the standard deviation, as the paper does, and derives the variance from it.
        std, unbiased_std = (
            renormalization.standard_deviation(batch, value, epsilon) for value in (variance, unbiased)
        )
        new["renorm_mean"] = update(state["renorm_mean"], mean, layer.renorm_momentum)
        new["renorm_stddev"] = update(state["renorm_stddev"], std, layer.renorm_momentum)
        new["moving_stddev"] = update(state["moving_stddev"], unbiased_std, weight)
        new["moving_variance"] = tf.nn.relu(tf.square(new["moving_stddev"]) - epsilon)
    new = {name: tf.where(valid, value, state[name]) for name, value in new.items()}
    if "renorm_step" in state:
        new["renorm_step"] = state["renorm_step"] + 1
    return new


def _counted(layer: Any, state: State) -> tf.Tensor:
    """The count so far. Statistics that were assigned without one, as from a checkpoint, count as they do in files."""
    count, mean, variance = (state[name] for name in ("update_count", "moving_mean", "moving_variance"))
    initializers = layer.moving_mean_initializer, layer.moving_variance_initializer
    if not all(map(isinstance, initializers, (keras.initializers.Zeros, keras.initializers.Ones))):
        return count  # what a new layer starts from cannot be told from what was assigned
    return tf.where(count == 0, count_of(mean, variance, TRAINED_BATCHES), count)


def kept(state: State) -> State:
    """What ``renewed`` would renew, as it is."""
    return {name: value for name, value in state.items() if name not in ("gamma", "beta")}


def references_from(moving_mean: Any, moving_variance: Any, epsilon: float) -> State:
    """What a layer with renorm keeps besides, where the moving statistics are all that is known."""
    stddev = tf.sqrt(tf.convert_to_tensor(moving_variance) + epsilon)
    return {"moving_stddev": stddev, "renorm_mean": tf.convert_to_tensor(moving_mean), "renorm_stddev": stddev}


def count_of(moving_mean: Any, moving_variance: Any, batches: float) -> tf.Tensor:
    """The ``update_count`` of moving statistics that come without one: ``batches``, and 0 for those of a new layer.

    A new layer is told by a mean of 0 with a variance of 1, which the first batch is to replace.
    """
    mean, variance = tf.convert_to_tensor(moving_mean), tf.convert_to_tensor(moving_variance)
    return tf.where(
        (mean == 0) & (variance == 1), tf.zeros_like(mean), tf.fill(mean.shape, tf.cast(batches, mean.dtype))
    )


def start_references(layer: Any) -> None:
    """Let a layer with renorm start from its moving statistics, as after it took the weights of one without."""
    for name, value in references_from(layer.moving_mean, layer.moving_variance, layer.epsilon).items():
        getattr(layer, name).assign(value)


def start_count(layer: Any, momentum: float | None) -> None:
    """Let a layer that keeps a count start from moving statistics of an average with this momentum.

    1/(1 − momentum) batches have a part in them; None for the mean of an unknown number.
    """
    batches = TRAINED_BATCHES if momentum is None else 1 / max(1 - momentum, 1e-6)
    layer.update_count.assign(count_of(layer.moving_mean, layer.moving_variance, batches))
