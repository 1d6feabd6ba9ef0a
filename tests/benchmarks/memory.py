"""Memory: the peak of one forward and backward pass over the bytes of the input, each case in a process of its own."""

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks.contenders import BUILT_IN, FUSED, OURS

DTYPES = ("float32", "bfloat16", "float16")
# About 200 MB of float32: what else a process needs is small beside it.
SHAPE, QUICK_SHAPE = (64, 112, 112, 64), (16, 56, 56, 32)
WARM_UP = (1, 4, 4)


def measure(*, quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Records of all dtypes and contenders: peak bytes beyond x and its cotangent, over the bytes of x.

    y and dx, which a step has to return, are 2 of these.
    """
    shape = QUICK_SHAPE if quick else SHAPE
    records = []
    for dtype in DTYPES[:1] if quick else DTYPES:
        for name in (BUILT_IN, OURS, FUSED):
            ratio = in_a_process("tests.benchmarks.memory", name, dtype, *shape)
            records.append({"case": "×".join(map(str, shape)), "dtype": dtype, "contender": name})
            records[-1]["peak_over_input"] = ratio
            say(f"{records[-1]['case']} {dtype:8s} {name:24s} {ratio:.2f} × input")
    return records


def _peak_over_input(name: str, dtype: str, shape: tuple[int, ...]) -> float:
    import numpy as np
    import tensorflow as tf

    from tests.benchmarks import contenders

    if name == FUSED:
        function, variables = contenders.fused_batch_norm(tf.zeros([*shape], dtype))
    else:
        layer = contenders.layer(name, shape, dtype="float32" if dtype == "float32" else f"mixed_{dtype}")
        function, variables = (lambda x: layer(x, training=True)), [layer.gamma, layer.beta]
    dtype = tf.as_dtype(dtype).as_numpy_dtype
    signature = [tf.TensorSpec([None, None, None, shape[-1]], dtype)] * 2

    @tf.function(input_signature=signature, autograph=False)
    def step(x: tf.Tensor, dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, *tape.gradient(y, [x, *variables], output_gradients=dy)

    def inputs(sizes: tuple[int, ...]) -> list[tf.Tensor]:
        rng = np.random.default_rng(0)
        made = [tf.constant(rng.standard_normal(sizes, "float32").astype(dtype)) for _ in range(2)]
        tf.constant(np.zeros(1))  # TensorFlow lets go of arrays when it is given the next
        return made

    step(*inputs((*WARM_UP[: len(shape) - 1], shape[-1])))  # the code and the plans of the kernels
    x, dy = inputs(shape)
    return peak(lambda: step(x, dy))[0] / (x.dtype.size * np.prod(shape))


def peak(run: Callable[[], Any]) -> tuple[int, int]:
    """The largest resident size while something runs, in bytes beyond that before, and that before."""
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back: a step must ask for all that it needs
    before = _resident("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak starts anew from here
    run()
    return _resident("VmHWM") - before, before


def in_a_process(module: str, *arguments: Any) -> Any:
    """What a module prints on its last line, as JSON, when it is run apart with these arguments."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _resident(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    print(json.dumps(float(_peak_over_input(sys.argv[1], sys.argv[2], tuple(map(int, sys.argv[3:]))))))
