"""Which engine may serve which request, and why not."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

ENGINES = ("auto", "closed_form", "fused")

# Elements from which the fused kernel's calls cost less than what it saves (measured on 2 CPU cores, see
# tests/benchmarks), and channels below which the kernel is slow.
WORTHWHILE_ELEMENTS = 100_000
WORTHWHILE_CHANNELS = 8
# The size that an unknown batch size counts as, and any other unknown size.
USUAL_BATCH, USUAL_SIZE = 32, 32


class Request(NamedTuple):
    """What an engine is asked to normalize."""

    shape: tuple[int | None, ...]
    axes: tuple[int, ...]
    dtype: tf.DType
    epsilon: float
    training: bool = True
    mask: bool = False
    channel_weights: bool = False
    renorm: bool = False
    ghost_batches: bool = False
    synchronized: bool = False
    jit_compile: bool = False


class Choice(NamedTuple):
    """An engine, and why it was taken."""

    engine: str
    reason: str


def check_name(engine: Any) -> None:
    """Raise ValueError unless ``engine`` is the name of one."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}. Received: engine={engine!r}.")


@lru_cache(maxsize=256)
def choose(engine: str, request: Request) -> Choice:
    """The engine for a request.

    Raises:
        ValueError: the engine named does not support the request.
    """
    if engine == "closed_form":
        return Choice("closed_form", "it was asked for")
    obstacle = _obstacle(request)
    if engine == "fused" and request.training:  # inference takes the best there is
        if obstacle is not None:
            raise ValueError(
                f"engine='fused' cannot serve this request: {obstacle}. Received: inputs of shape {request.shape}, "
                f"dtype {request.dtype.name}, axis={request.axes}. Use engine='auto', which takes what can."
            )
        return Choice("fused", "it was asked for")
    if obstacle is not None:
        return Choice("closed_form", obstacle)
    if request.training:
        channels = request.shape[request.axes[0]]
        if channels is not None and channels < WORTHWHILE_CHANNELS:
            return Choice("closed_form", f"the fused kernel is slow at fewer than {WORTHWHILE_CHANNELS} channels")
        elements = _elements(request.shape)
        if elements < WORTHWHILE_ELEMENTS:
            return Choice("closed_form", f"for about {elements} elements the calls of the fused kernel cost more")
    return Choice("fused", "the fused kernel is the fastest")


def _obstacle(request: Request) -> str | None:
    """Why the fused kernel cannot serve a request, or None."""
    rank = len(request.shape)
    obstacles = {
        "XLA replaces the fused kernel by one that cancels where the mean is large": request.jit_compile,
        "the fused kernel has no float64": request.dtype == tf.float64,
        "the fused kernel wants the channels last": [a % rank for a in request.axes] != [rank - 1],
        "with a mask the fused kernel is used on float32, with the same weights for all channels": (
            request.training and request.mask and (request.dtype != tf.float32 or request.channel_weights)
        ),
        "batch renormalization needs the statistics before the output": request.renorm and request.training,
        "the fused kernel knows no ghost batches": request.ghost_batches and request.training,
        "the fused kernel does not share statistics between replicas": request.synchronized and request.training,
        "the fused kernel divides by the deviation of a constant batch": request.epsilon < np.finfo(np.float32).tiny,
        "in inference the fused kernel is used on inputs of rank 4": not request.training and rank != 4,
    }
    return next((reason for reason, holds in obstacles.items() if holds), None)


def _elements(shape: tuple[int | None, ...]) -> int:
    elements = USUAL_BATCH if shape[0] is None else shape[0]
    for size in shape[1:]:
        elements *= USUAL_SIZE if size is None else size
    return elements
