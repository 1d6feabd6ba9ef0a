"""Replicas on one machine: strategies over the logical CPUs of ``conftest``, and values dealt out to them."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

Sizes = tuple[int, ...]  # rows of each replica


@functools.cache
def strategy(replicas: int) -> tf.distribute.Strategy:
    """One strategy for each number of replicas: TensorFlow knows its collectives by numbers that all of them share.

    For the same reason two numbers of replicas cannot both use collectives in one process.
    """
    if replicas == 1:
        return tf.distribute.OneDeviceStrategy("CPU:0")
    devices = [f"CPU:{i}" for i in range(replicas)]
    reduction = tf.distribute.ReductionToOneDevice() if replicas > 2 else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)


def distributed(value: np.ndarray, sizes: Sizes):
    """The rows of a value, dealt out to the replicas."""
    parts = np.split(value, np.cumsum(sizes)[:-1])
    return strategy(len(sizes)).experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def on_replicas(function: Callable, sizes: Sizes, *values: np.ndarray, graph: bool = False) -> list[list[np.ndarray]]:
    """Each result of ``function``, one entry a replica."""
    here = strategy(len(sizes))

    def run(*parts):
        return here.run(function, parts)

    results = (tf.function(run) if graph else run)(*(distributed(value, sizes) for value in values))
    return [[part.numpy() for part in here.experimental_local_results(result)] for result in results]


def copies_of(variable) -> list[np.ndarray]:
    """The values of a Keras variable, one a replica."""
    return [value.numpy() for value in getattr(variable.value, "values", [variable.value])]
