"""The peers, each as a function that runs one forward and backward pass and returns (y, dx) as NumPy sees them."""

import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_bn
from tests.benchmarks import machine

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

EPSILON = 1e-3
BUILT_IN, OURS, FUSED = "keras", "keras_bn", "tf.nn.fused_batch_norm"
CLOSED_FORM = f"{OURS}, closed_form"
# With a leaky ReLU wherever a network has a ReLU: the two layers apart, or ours with the activation in it.
LEAKY, OURS_LEAKY, IN_PLACE = f"{BUILT_IN} + LeakyReLU", f"{OURS} + LeakyReLU", f"{OURS}, activation=leaky_relu"
TORCH, TORCH_FIRST, FLOOR, NONE = "torch", "torch channels-first", "memory floor", "none"

Step = Callable[[], tuple[Any, Any]]


def scale(channels: int) -> np.ndarray:
    """A gamma that is not 1."""
    return np.linspace(0.5, 1.5, channels, dtype="float32")


def layer(name: str, shape: tuple[int, ...], *, axis: int = -1, engine: str = "auto", dtype: str = "float32") -> Any:
    """A built layer, Keras' or ours, with a scale that is not 1."""
    options = {"axis": axis, "epsilon": EPSILON, "dtype": dtype}
    made = (
        keras.layers.BatchNormalization(**options)
        if name == BUILT_IN
        else keras_bn.BatchNormalization(**options, engine=engine)
    )
    made.build(shape)
    made.gamma.assign(scale(shape[axis]))
    return made


def training_step(function: Any, x: tf.Tensor, dy: tf.Tensor, mode: str, variables: Any = ()) -> Step:
    """Forward and backward pass of ``function(x)`` eagerly, as a graph, or compiled by XLA."""

    def step(x: tf.Tensor, dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, *tape.gradient(y, [x, *variables], output_gradients=dy)

    return _timed(_in_mode(step, mode), x, dy)


def second_order_step(function: Any, x: tf.Tensor, dy: tf.Tensor, mode: str) -> Step:
    """The same with a second backward pass, of Σ dx²: a gradient penalty."""

    def step(x: tf.Tensor, dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x)
            dx = inner.gradient(y, x, output_gradients=dy)
        return y, outer.gradient(dx, x, output_gradients=dx)

    return _timed(_in_mode(step, mode), x, dy)


def inference_step(function: Any, x: tf.Tensor, mode: str) -> Step:
    """The forward pass alone."""
    return _timed(_in_mode(lambda x: (function(x),) * 2, mode), x)


def fused_batch_norm(x: tf.Tensor) -> tuple[Any, list[tf.Variable]]:
    """TensorFlow's function, for channels that come last, and its variables."""
    channels = x.shape[-1]
    gamma, beta = tf.Variable(scale(channels)), tf.Variable(tf.zeros(channels))

    def function(x: tf.Tensor) -> tf.Tensor:
        images = x if x.shape.rank == 4 else tf.reshape(x, [1, 1, -1, channels])
        return tf.reshape(tf.compat.v1.nn.fused_batch_norm(images, gamma, beta, epsilon=EPSILON)[0], tf.shape(x))

    return function, [gamma, beta]


def torch_step(
    x: np.ndarray, dy: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, channels_last: bool = True
) -> Step:
    """``torch.nn.BatchNorm1d`` or ``2d`` on the same numbers, in one of its memory formats."""
    torch.set_num_threads(machine.threads())
    kind = torch.nn.BatchNorm2d if x.ndim == 4 else torch.nn.BatchNorm1d
    module = kind(x.shape[-1], eps=EPSILON, momentum=0.01)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(gamma))
        module.bias.copy_(torch.from_numpy(beta))
    values = [torch.from_numpy(value) for value in (x, dy)]
    if x.ndim == 4:
        values = [value.permute(0, 3, 1, 2) for value in values]  # a view: the memory stays channels-last
        values = values if channels_last else [value.contiguous() for value in values]
    inputs, cotangent = values
    inputs.requires_grad_()

    def step() -> tuple[Any, Any]:
        inputs.grad = None
        module.zero_grad()
        y = module(inputs)
        y.backward(cotangent)
        return tuple(  # type: ignore[return-value]
            value.detach().permute(0, 2, 3, 1) if x.ndim == 4 else value.detach() for value in (y, inputs.grad)
        )

    return step


def floor_step(x: np.ndarray) -> Callable[[], None]:
    """The memory traffic that no implementation avoids: eight times the bytes of x, as four copies by all cores.

    Forward reads x for the statistics, reads it again and writes y; backward reads x and the cotangent twice and writes
    dx.
    """
    source, target = x.reshape(-1), np.empty(x.size, x.dtype)
    parts = np.array_split(np.arange(x.size), machine.threads())
    slices = [slice(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]

    def copy(part: slice) -> None:
        for _ in range(4):
            np.copyto(target[part], source[part])

    def step() -> None:
        threads = [threading.Thread(target=copy, args=(part,)) for part in slices]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return step


def _in_mode(step: Any, mode: str) -> Any:
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla", autograph=False)


def _timed(step: Any, *arguments: tf.Tensor) -> Step:
    # Outputs are read only after the last operation has run; on CPU reading copies nothing.
    return lambda: tuple(step(*arguments)[:2])
