"""``MultiWorkerMirroredStrategy``: two processes that talk over the loopback interface alone.

Every process is started here, ended here, and given a limited time.
"""

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests import worker

ROOT = Path(__file__).parents[1]
LIMIT = 150.0


def free_ports() -> list[str]:
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def run(directory: Path, *, other: str = "trains", timeout: float = 0.0) -> tuple[int, str, float]:
    """Return code and messages of worker 0, and its time; worker 1 is ended afterwards, whatever became of it."""
    ports, start, processes = free_ports(), time.monotonic(), []
    try:
        for task, role in enumerate(("trains", other)):
            command = [sys.executable, "-m", "tests.worker", str(task), *ports, role]
            command += [str(directory / f"{task}.json"), str(timeout)]
            with open(directory / f"{task}.log", "wb") as log:
                processes.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        code = processes[0].wait(LIMIT)
        if other == "trains":
            processes[1].wait(LIMIT)
        return code, (directory / "0.log").read_text(errors="replace"), time.monotonic() - start
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_ten_steps_in_two_processes(tmp_path):
    """Batches of 4/4, 6/2 and 8/0 rows, against one process with the whole batches."""
    code, messages, _ = run(tmp_path)
    assert code == 0, messages
    first, second = (json.loads((tmp_path / f"{task}.json").read_text()) for task in range(2))
    assert first == second  # to the last bit, synchronized or not
    x, y = worker.data()
    one_device = tf.distribute.OneDeviceStrategy("CPU:0")
    with one_device.scope():
        network = worker.Network(synchronized=True)
    for step in range(worker.STEPS):
        one_device.run(network.step, [tf.constant(value[worker.rows(step, None)]) for value in (x, y)])
    for name, value in network.values().items():
        np.testing.assert_allclose(first["True"][name], value, rtol=1e-9, atol=1e-9)
        assert np.abs(np.subtract(first["False"][name], value)).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "timeout", "said"),
    [
        ("dies", 0.0, "UnavailableError"),
        ("freezes", 0.0, "UnavailableError.*heartbeat"),
        ("absent", 5.0, "DeadlineExceededError.*timed out"),
    ],
)
def test_a_lost_worker_is_an_error(tmp_path, other, timeout, said):
    """The one that waits for it in a collective is told so, and ends."""
    code, messages, seconds = run(tmp_path, other=other, timeout=timeout)
    assert code == 1
    assert re.search(said, messages, re.DOTALL), messages[-2000:]
    # The layer's, or one of the optimizer's of the step before, which worker 0 may still be in when the other is gone.
    assert re.search(r"node [\w/]*CollectiveReduceV2", messages), messages[-2000:]
    assert seconds < LIMIT / 2
