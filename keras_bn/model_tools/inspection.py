"""What the weights and statistics of a batch normalization say about its health."""

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_bn.untracked import is_batch_normalization

# |gamma| up to this scales a channel to nothing.
DEAD_GAMMA = 1e-4
# A variance of up to this share of epsilon leaves a channel constant: its normalized values stay below √(1/1000).
DEAD_VARIANCE = 1e-3

# Channels that a message lists.
LISTED = 5


class Health(NamedTuple):
    """The state of one batch normalization; ranges are (smallest, largest) over the channels."""

    name: str
    kind: str
    """"ours", "built-in", or the name of another class; with the activation that is part of it, as in "ours + relu"."""
    channels: int
    trainable: bool
    statistics: str
    """As the layer's argument; "auto" of the built-in one."""
    gamma: tuple[float, float]
    """(1, 1) without scale."""
    beta: tuple[float, float]
    """(0, 0) without center."""
    mean: tuple[float, float]
    variance: tuple[float, float]
    dead: int
    """How many channels have a constant output: gamma ≈ 0 or variance ≈ 0."""
    defect: str
    """Which channels have a weight or statistic that is NaN or infinite, or a negative variance; "" if none has."""
    untouched: bool
    """Whether the moving statistics are those of a new layer, 0 and 1, though inference depends on them."""

    @property
    def verdict(self) -> str:
        """What is wrong, in a few words; "ok" if nothing is."""
        found = [self.defect] if self.defect else []
        found += [f"{self.dead} dead"] if self.dead else []
        found += ["statistics never updated"] if self.untouched else []
        return ", ".join(found) or "ok"


def examine(layer: keras.layers.BatchNormalization, name: str | None = None) -> Health:
    """The health of a built layer, ours or built-in."""
    mean, variance = as_array(layer.moving_mean), as_array(layer.moving_variance)
    gamma = as_array(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = as_array(layer.beta) if layer.center else np.zeros_like(mean)
    kinds = {"keras_bn": "ours", "keras": "built-in"}
    kind = kinds.get(type(layer).__module__.split(".")[0]) if type(layer).__name__ == "BatchNormalization" else None
    activation = getattr(layer, "activation", None)
    return Health(
        name=name or layer.name,
        kind=(kind or type(layer).__name__) + (f" + {activation}" if activation else ""),
        channels=int(mean.size),
        trainable=layer.trainable,
        statistics=getattr(layer, "statistics", "auto"),
        gamma=span(gamma),
        beta=span(beta),
        mean=span(mean),
        variance=span(variance),
        dead=int(dead_channels(gamma, variance, layer.epsilon).sum()),
        defect=defect_of(layer),
        untouched=is_batch_normalization(layer) and bool((mean == 0).all() and (variance == 1).all()),
    )


def defect_of(layer: keras.layers.BatchNormalization) -> str:
    """The channels of a built layer that cannot be right, in words: not finite, or of negative variance; or ""."""
    vectors = [layer.moving_mean, layer.moving_variance, *([layer.gamma] if layer.scale else [])]
    vectors += [layer.beta] if layer.center else []
    wrong = ~np.all([np.isfinite(as_array(vector)) for vector in vectors], axis=0)
    negative = as_array(layer.moving_variance) < 0
    found = {"not finite": wrong, "negative variance": negative}
    return ", ".join(f"{text} in {_channels(where)}" for text, where in found.items() if where.any())


def _channels(where: np.ndarray) -> str:
    numbers = np.flatnonzero(where).tolist()
    shown = ", ".join(map(str, numbers[:LISTED])) + (", …" if len(numbers) > LISTED else "")
    return f"channel {shown}" if len(numbers) == 1 else f"{len(numbers)} channels ({shown})"


def dead_channels(gamma: np.ndarray, variance: np.ndarray, epsilon: float) -> np.ndarray:
    """Where gamma or the variance is about 0."""
    return (np.abs(gamma) <= DEAD_GAMMA) | (variance <= DEAD_VARIANCE * epsilon)


def table(rows: list[Health]) -> str:
    """Layers, one a line, in aligned columns."""
    head = ("layer", "class", "channels", "trainable", "statistics", "gamma", "beta", "mean", "variance", "health")
    cells = [head] + [
        (
            row.name,
            row.kind,
            str(row.channels),
            "yes" if row.trainable else "no",
            row.statistics,
            *(f"{low:.3g} … {high:.3g}" for low, high in (row.gamma, row.beta, row.mean, row.variance)),
            row.verdict,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_array(variable: Any) -> np.ndarray:
    """The values of a variable in float64."""
    return variable.numpy().astype(np.float64)


def span(values: np.ndarray) -> tuple[float, float]:
    """(smallest, largest)."""
    return float(values.min()), float(values.max())
