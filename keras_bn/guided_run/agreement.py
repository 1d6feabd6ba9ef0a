"""Whether training with our layer and with Keras' built-in one is the same training.

Four runs go in step, from the same weights and over the same batches: each layer in float64 and in float32.

In float64 the two must agree: at every step of the first epochs the losses to 1e-12 and the gradients to 1e-9 of the
largest element of the whole gradient. (Of the whole: an element of its own may vanish, and then is all rounding.)

In float32 they cannot agree for long. Two runs that differ by a rounding drift apart, and where a rounding moves an
activation across the kink of a ReLU, or Adam divides a tiny gradient by its own size, they jump apart by orders of
magnitude, whichever layer they use. What can be asked is that ours stays as close to the float64 run as the built-in
one. The distance at a step is ‖g₃₂ − g₆₄‖ / ‖g₆₄‖, where g is the whole gradient at the point that the run has reached;
that of the weights would show little but the rounding of the weights themselves. Our distance over the built-in layer's
must be at most 2 in the *median* over all steps of several trainings, which the jumps of single runs cannot move.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_bn.guided_run.training import BUILT_IN, OURS, Digits, Trainer, batches

LOSS_TOLERANCE = 1e-12
GRADIENT_TOLERANCE = 1e-9
DISTANCE_RATIO = 2.0


class Step(NamedTuple):
    """How far the runs are apart at one step."""

    loss: float
    """float64: |difference| of the losses, in nats."""
    gradient: float
    """float64: max|difference| of the gradients over max|gradient|."""
    our_distance: float
    """float32: from our run to the float64 run."""
    built_in_distance: float
    """float32: from the built-in layer's run to the float64 run."""


class Agreement(NamedTuple):
    """The verdict on all steps: the largest differences in float64, the medians in float32."""

    loss: float
    gradient: float
    our_distance: float
    built_in_distance: float
    ratio: float
    """Median over the steps of our distance over the built-in layer's; not the ratio of the two medians above."""

    @property
    def held(self) -> bool:
        """Whether all three assertions hold; never so with a NaN."""
        return self.loss <= LOSS_TOLERANCE and self.gradient <= GRADIENT_TOLERANCE and self.ratio <= DISTANCE_RATIO


def summarize(steps: Sequence[Step]) -> Agreement:
    """The verdict on the steps of one or more trainings."""
    loss, gradient, ours, built_in = np.array(steps).T
    return Agreement(
        loss=float(loss.max()),
        gradient=float(gradient.max()),
        our_distance=float(np.median(ours)),
        built_in_distance=float(np.median(built_in)),
        ratio=float(np.median(ours / built_in)),
    )


class Comparison:
    """The four runs of one network; their traces serve every seed.

    Args:
        build: Makes the model, from a variant and a dtype.
    """

    def __init__(self, build: Callable[[str, str], keras.Model]) -> None:
        self._runs = [
            Trainer(build, variant, dtype) for dtype in ("float64", "float32") for variant in (OURS, BUILT_IN)
        ]

    def run(self, digits: Digits, *, seed: int, epochs: int) -> Iterator[Step]:
        """Train all four from the start, with ``seed`` for weights and order; yields each step."""
        for run in self._runs:
            run.reset(seed)
        for epoch in range(epochs):
            for images, labels in batches(digits, seed, epoch):
                (our_loss, ours, _), (loss, exact, _), (_, ours_32, _), (_, built_in_32, _) = [
                    run.step(images, labels) for run in self._runs
                ]
                yield Step(
                    loss=abs(our_loss - loss),
                    gradient=float(np.abs(ours - exact).max() / np.abs(exact).max()),
                    our_distance=_distance(ours_32, exact),
                    built_in_distance=_distance(built_in_32, exact),
                )


def _distance(gradient: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact))
