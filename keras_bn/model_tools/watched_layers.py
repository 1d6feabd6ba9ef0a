"""What the batches of an epoch tell of a layer that is being trained."""

from typing import Any

import keras
import numpy as np

from keras_bn.model_tools import inspection

QUANTITIES = ("gamma_min", "gamma_max", "beta_min", "beta_max", "mean_gap", "variance_gap", "dead")
# Gaps from which on inference normalizes visibly otherwise than training: half a standard deviation; a factor of two.
LAGGING_MEAN, LAGGING_VARIANCE = 0.5, float(np.log(2))


class WatchedLayer:
    """A layer, and what its batches of the present epoch told."""

    def __init__(self, name: str, layer: keras.layers.BatchNormalization) -> None:
        self.name, self.layer = name, layer
        self.now: list[np.ndarray] | None = None
        """The values of ``variables``."""
        self._before: list[np.ndarray] | None = None

    def variables(self) -> list[Any]:
        """The moving mean and variance; with renormalization the deviation that is averaged, as the last."""
        layer = self.layer
        return [layer.moving_mean, layer.moving_variance, *([layer.moving_stddev] if layer.renorm else [])]

    def begin(self) -> None:
        self._before = self.now
        self._sums, self._batches = [np.zeros(()), np.zeros(())], 0

    def update(self, steps: int) -> None:
        """Solve for the statistics of the last ``steps`` batches."""
        before, self._before = self._before, self.now
        momentum = 1.0 if self.layer.momentum is None else self.layer.momentum
        keeps_count = getattr(self.layer, "keeps_count", False)
        learns = {"auto": self.layer.trainable, "moving": False, "batch": True}
        if before is None or self.now is None or steps < 1 or (momentum == 1 and not keeps_count):
            return
        if not learns[getattr(self.layer, "statistics", "auto")]:
            return
        kept = momentum**steps
        if keeps_count:
            # The weights of the new batches, of all in the count.
            count = float(inspection.as_array(self.layer.update_count).max())
            kept = 1 - sum(momentum**older for older in range(steps)) / count if count else 1.0
        if kept >= 1:
            return
        mean, *_, spread = ((new - kept * old) / (1 - kept) for new, old in zip(self.now, before, strict=True))
        variance = spread**2 - self.layer.epsilon if self.layer.renorm else spread
        self._sums = [self._sums[0] + steps * mean, self._sums[1] + steps * variance]
        self._batches += steps

    def defect(self) -> str:
        """What cannot be right, by channels; "" if nothing, or if the layer is not built."""
        return inspection.defect_of(self.layer) if self.layer.built else ""

    def summary(self) -> dict[str, float]:
        layer = self.layer
        if not layer.built or self.now is None:
            return dict.fromkeys(QUANTITIES, float("nan"))
        moving_mean, moving_variance = self.now[:2]
        gamma = inspection.as_array(layer.gamma).reshape(-1) if layer.scale else np.ones_like(moving_mean)
        beta = inspection.as_array(layer.beta).reshape(-1) if layer.center else np.zeros_like(moving_mean)
        (gamma_min, gamma_max), (beta_min, beta_max) = inspection.span(gamma), inspection.span(beta)
        mean_gap = variance_gap = float("nan")
        if self._batches:
            mean, variance = (total / self._batches for total in self._sums)
            # Rounding may take it below zero.
            variance = np.maximum(variance, 0) + layer.epsilon
            moving = np.maximum(moving_variance, 0) + layer.epsilon
            with np.errstate(divide="ignore", invalid="ignore"):
                mean_gap = float(np.max(np.abs(moving_mean - mean) / np.sqrt(variance)))
                variance_gap = float(np.max(np.abs(np.log(moving / variance))))
        dead = float(inspection.dead_channels(gamma, moving_variance, layer.epsilon).sum())
        values = (gamma_min, gamma_max, beta_min, beta_max, mean_gap, variance_gap, dead)
        return dict(zip(QUANTITIES, values, strict=True))
