"""The table of inputs that the numeric tests run through, and how an input is drawn."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

EPSILON = 1e-3


class Case(NamedTuple):
    """A shape and its channel axis."""

    shape: tuple[int, ...]
    axis: int

    @property
    def channels(self) -> int:
        return self.shape[self.axis]

    @property
    def reduced(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.shape)) if i != self.axis % len(self.shape))

    @property
    def id(self) -> str:
        return f"{'x'.join(map(str, self.shape))}@{self.axis}"


# Every rank and kind of axis; M = 3 is the smallest that is not degenerate, 63, 65 and 4096 + 65 cross the block sizes.
SMALL = [
    Case((3, 5), -1),
    Case((63, 2), 1),
    Case((65, 4), -1),
    Case((4161, 2), -1),
    Case((4, 3, 2), -1),
    Case((4, 3, 7), 1),
    Case((2, 5, 4, 3), -1),
    Case((2, 3, 5, 4), 1),
    Case((2, 5, 3, 4), -2),
    Case((3, 66), 0),
    Case((2, 2, 3, 2, 3), -1),
    Case((2, 3, 2, 2, 3), 1),
    Case((7, 1), -1),
]

# Up to 4·10⁵ elements a channel. In multiples of 64·64 rows no remainder separates the stages of a sum.
LARGE = [
    Case((400_000, 3), -1),
    Case((393_216, 2), -1),
    Case((32, 56, 56, 4), -1),
    Case((4, 3, 316, 316), 1),
    Case((1, 2, 632, 632), 1),
    Case((2, 400_000), 0),
]

MODES = ["eager", "graph", "xla"]


class Inputs(NamedTuple):
    """What batch normalization and its gradient take; all cotangents are random."""

    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    dy: np.ndarray
    d_mean: np.ndarray
    d_variance: np.ndarray

    def astype(self, dtype: str) -> "Inputs":
        return Inputs(*(value.astype(dtype) for value in self))

    def tensors(self) -> list[tf.Tensor]:
        return [tf.constant(value) for value in self]


def draw(case: Case, *, mean_over_std: float = 0.5, dtype: str = "float64", seed: int = 0) -> Inputs:
    """Random inputs; every channel has its own scale, and the mean that ``mean_over_std`` asks for.

    The cotangent of y is not centred, so that a lost mean shows.
    """
    rng = np.random.default_rng(seed)
    channels = case.channels
    broadcast = [1] * len(case.shape)
    broadcast[case.axis] = channels
    std = rng.uniform(0.5, 2.0, channels).reshape(broadcast)
    return Inputs(
        x=(rng.normal(size=case.shape) + mean_over_std) * std,
        gamma=rng.uniform(0.5, 1.5, channels) * rng.choice([-1, 1], channels),
        beta=rng.normal(size=channels),
        dy=rng.normal(size=case.shape) + 0.5,
        d_mean=rng.normal(size=channels),
        d_variance=rng.normal(size=channels),
    ).astype(dtype)


def in_mode(mode: str, function, example: list[tf.Tensor], known_axis: int | None = None):
    """``function`` run eagerly, as a graph, or compiled by XLA.

    Traced with every size unknown, but for those of vectors and of ``known_axis``.
    """
    if mode == "eager":
        return function

    def specification(value: tf.Tensor) -> tf.TensorSpec:
        sizes = list(value.shape) if value.shape.rank < 2 else [None] * value.shape.rank
        if known_axis is not None and len(sizes) > 1:
            sizes[known_axis] = value.shape[known_axis]
        return tf.TensorSpec(sizes, value.dtype)

    signature = [specification(value) for value in example]
    return tf.function(function, input_signature=signature, jit_compile=mode == "xla")
