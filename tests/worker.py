"""One worker of ``tests/test_multi_worker.py``: ``python -m tests.worker TASK PORT PORT ROLE FILE TIMEOUT``.

It trains and writes what came out to FILE. With another ROLE than "trains" it stops before its fourth step, in which
the other worker waits for it: it "dies", it "freezes", or it is "absent", alive but never there.
"""

import json
import os
import signal
import sys
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import keras_bn

STEPS, SIZES = 10, [(4, 4), (6, 2), (8, 0)]


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8 * STEPS, 4)) + np.linspace(0, 2, 8 * STEPS)[:, None]
    return x, np.sin(x.sum(1, keepdims=True))


class Network(tf.Module):
    """y = tanh(BN(x·W))·v, trained by gradient descent on a sum of squares."""

    def __init__(self, synchronized: bool) -> None:
        super().__init__()
        rng = np.random.default_rng(1)
        self.first = tf.Variable(rng.normal(size=(4, 6)))
        self.norm = keras_bn.BatchNormalization(synchronized=synchronized, dtype="float64", momentum=0.9)
        self.norm.build((None, 6))
        self.last = tf.Variable(rng.normal(size=(6, 1)))

    def step(self, x: tf.Tensor, y: tf.Tensor) -> None:
        variables = [self.first, self.norm.gamma.value, self.norm.beta.value, self.last]
        with tf.GradientTape() as tape:
            hidden = tf.tanh(self.norm(x @ self.first, training=True))
            loss = tf.reduce_sum(tf.square(hidden @ self.last - y))
        gradients = tape.gradient(loss, variables)
        for variable, gradient in zip(
            variables, tf.distribute.get_replica_context().all_reduce("sum", gradients), strict=True
        ):
            variable.assign_sub(0.01 * gradient)

    def values(self) -> dict[str, list]:
        weights = {weight.name: weight.numpy().tolist() for weight in self.norm.weights}
        return {"first": self.first.numpy().tolist(), "last": self.last.numpy().tolist(), **weights}


def rows(step: int, worker: int | None) -> slice:
    """Which rows of the data a worker gets in a step; None for all."""
    start, first = 8 * step, SIZES[step % len(SIZES)][0]
    return {None: slice(start, start + 8), 0: slice(start, start + first), 1: slice(start + first, start + 8)}[worker]


def stop(role: str) -> None:
    if role == "absent":
        time.sleep(600)
    elif role != "trains":
        os.kill(os.getpid(), {"dies": signal.SIGKILL, "freezes": signal.SIGSTOP}[role])


def main(task: int, ports: list[str], role: str, path: str, timeout: float) -> None:
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]}, "task": {"type": "worker", "index": task}}
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(timeout_seconds=timeout or None)
    )
    x, y = data()
    results = {}
    for synchronized in (True, False):
        with strategy.scope():
            network = Network(synchronized)
        step = tf.function(
            lambda x, y, network=network: strategy.run(network.step, (x, y)),
            input_signature=[tf.TensorSpec([None, 4], tf.float64), tf.TensorSpec([None, 1], tf.float64)],
        )
        for number in range(STEPS):
            if number == 3:
                stop(role)
            own = rows(number, task)
            step(tf.constant(x[own]), tf.constant(y[own]))
        results[str(synchronized)] = network.values()
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2:4], sys.argv[4], sys.argv[5], float(sys.argv[6]))
    except tf.errors.OpError:
        # At once: threads of TensorFlow that still wait in the collective may crash while Python takes it down.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
