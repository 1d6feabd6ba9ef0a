"""The state of the layer: what the statistics of a batch make of it, and how plain and renorm layers exchange it."""

from typing import Any

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.formulas import moving_statistics, renormalization

State = dict[str, tf.Tensor]


def renewed(
    state: State,
    batch: TensorBatch,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    momentum: float | None,
    unbiased_variance: bool,
    renorm_momentum: float | None,
    epsilon: float,
) -> State:
    """The state after a batch; a channel whose statistics are not finite keeps what it had (equation 11).

    Args:
        state: The weights of the layer besides gamma and beta, by name.
        batch: The batch, for its counts.
        mean: Its mean, shaped like gamma.
        variance: Its biased variance.
        momentum: Weight of the old values; None for the average of all batches.
        unbiased_variance: Whether the unbiased variance is stored.
        renorm_momentum: Weight of the old references of batch renormalization; None without it.
        epsilon: Added to the variance.
    """
    # One test for NaN, overflow and, by a division by 0, a batch in which nothing counts: where the mean is not finite,
    # the variance about it is not either.
    valid = tf.math.is_finite(batch.per_count(variance))
    unbiased = variance
    if unbiased_variance:
        factor = batch.bessel()
        unbiased = variance * factor
        valid = valid & tf.math.is_finite(factor) & (factor > 0)
    new = {}
    weight: Any = momentum
    if momentum is None:
        new["update_count"] = state["update_count"] + 1
        weight = moving_statistics.cumulative_momentum(new["update_count"])
    update = moving_statistics.update
    new["moving_mean"] = update(state["moving_mean"], mean, weight)
    if renorm_momentum is None:
        new["moving_variance"] = update(state["moving_variance"], unbiased, weight)
    else:
        # Keras averages the standard deviation, as the paper does, and derives the variance from it.
        std, unbiased_std = (
            renormalization.standard_deviation(batch, value, epsilon) for value in (variance, unbiased)
        )
        new["renorm_mean"] = update(state["renorm_mean"], mean, renorm_momentum)
        new["renorm_stddev"] = update(state["renorm_stddev"], std, renorm_momentum)
        new["moving_stddev"] = update(state["moving_stddev"], unbiased_std, weight)
        new["moving_variance"] = tf.nn.relu(tf.square(new["moving_stddev"]) - epsilon)
    return {name: tf.where(valid, value, state[name]) for name, value in new.items()}


def reference(state: State, bounds: dict[str, float] | None) -> renormalization.Reference:
    """What batch renormalization corrects the statistics of a batch towards, and the bounds of that correction."""
    r_min, r_max, d_max = ((bounds or {}).get(name) for name in ("rmin", "rmax", "dmax"))
    return renormalization.Reference(state["renorm_mean"], state["renorm_stddev"], r_min, r_max, d_max)


def references_from(moving_mean: Any, moving_variance: Any, epsilon: float) -> State:
    """What a layer with renorm keeps besides, where the moving statistics are all that is known."""
    stddev = tf.sqrt(tf.convert_to_tensor(moving_variance) + epsilon)
    return {"moving_stddev": stddev, "renorm_mean": tf.convert_to_tensor(moving_mean), "renorm_stddev": stddev}


def start_references(layer: Any) -> None:
    """Let a layer with renorm start from its moving statistics, as after it took the weights of one without."""
    for name, value in references_from(layer.moving_mean, layer.moving_variance, layer.epsilon).items():
        getattr(layer, name).assign(value)


def of_store(layer: Any, store: Any) -> Any:
    """The stored weights of a layer, as this one has them, which may differ from it by ``renorm``."""
    plain = layer.scale + layer.center + 2
    if layer.momentum is None:
        return store
    if layer.renorm and len(store) == plain:
        values = [store[str(i)] for i in range(plain)]
        references = references_from(values[-2], values[-1], layer.epsilon)
        values += [references[name] for name in ("moving_stddev", "renorm_mean", "renorm_stddev")]
        return {str(i): value for i, value in enumerate(values)}
    if not layer.renorm and len(store) == plain + 3:
        return {str(i): store[str(i)] for i in range(plain)}
    return store
