"""Memory of steps: the peak of a whole training step beyond what was resident before, each in a process of its own."""

import json
import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks import memory
from tests.benchmarks.contenders import BUILT_IN, IN_PLACE, LEAKY, NONE, OURS

# Application, size of an image and of a batch, dtype, contenders.
CASES = [
    ("ResNet50", 160, 32, "float32", (BUILT_IN, OURS, NONE, LEAKY, IN_PLACE)),
    ("ResNet50V2", 160, 32, "float32", (BUILT_IN, OURS, NONE, LEAKY, IN_PLACE)),
    ("DenseNet121", 160, 32, "float32", (BUILT_IN, OURS, NONE, LEAKY, IN_PLACE)),
    ("ResNet50", 160, 32, "bfloat16", (BUILT_IN, OURS, NONE)),
    ("DenseNet121", 160, 32, "bfloat16", (BUILT_IN, OURS, NONE)),
]
QUICK = [("MobileNet", 32, 4, "float32", (BUILT_IN, OURS))]


def measure(*, quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Records of all networks, dtypes and contenders, in megabytes; ``before`` is what was resident before the step.

    That holds weights, code, graphs, and what TensorFlow's allocator keeps after steps of one and two samples.
    """
    records = []
    for application, size, batch, dtype, contenders in QUICK if quick else CASES:
        for name in contenders:
            arguments = (name, application, size, batch, dtype)
            peak, before = memory.in_a_process("tests.benchmarks.step_memory", *arguments)
            record = {"model": f"{application} {batch}×{size}×{size}", "dtype": dtype, "contender": name}
            records.append({**record, "peak": peak / 1e6, "before": before / 1e6})
            say(f"{record['model']} {dtype:8s} {name:34s} {peak / 1e6:5.0f} MB, {before / 1e6:5.0f} before")
    return records


def _peak(name: str, application: str, size: int, batch: int, dtype: str) -> tuple[int, int]:
    import keras
    import tensorflow as tf

    from tests.benchmarks import networks

    if dtype != "float32":
        keras.config.set_dtype_policy(f"mixed_{dtype}")
    network = networks.Network(application, networks.application(application, size), batch)
    plain = network.make()
    model = networks.contender(name, plain, masked=False)
    x, labels = network.data(plain)
    del plain
    model.compile(keras.optimizers.SGD(networks.RATE), "mse")
    for few in (1, 2):  # after the second size, what is traced serves batches of any size
        model.train_on_batch(tf.constant(x[:few]), tf.constant(labels[:few]))
    inputs = tf.constant(x), tf.constant(labels)
    return memory.peak(lambda: model.train_on_batch(*inputs))


if __name__ == "__main__":
    print(json.dumps(_peak(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])))
