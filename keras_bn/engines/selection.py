"""Which engine may serve which request, and why not."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bn.engines.staged_sums import BLOCK

try:
    from tensorflow.python.util._pywrap_util_port import IsMklEnabled as runs_onednn
except ImportError:  # a private module: without it, oneDNN is taken to run, as on most CPUs

    def runs_onednn() -> bool:
        """Whether oneDNN runs TensorFlow's operations on CPUs."""
        return True


ENGINES = ("auto", "closed_form", "products", "fused")

# Elements from which the calls of the other engines cost less than what they save (measured on 2 CPU cores, see
# tests/benchmarks), and channels below which these are slow.
WORTHWHILE_ELEMENTS, WORTHWHILE_CHANNELS = 100_000, 8
# The same for sums by products of more than BLOCK rows, and elements from which the fused kernel is faster than these.
WORTHWHILE_IN_MANY_ROWS, TOO_MANY_ELEMENTS = 30_000, 8_000_000
NAMES = {"fused": "the fused kernel", "products": "the engine of sums by products"}
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
    eager: bool = False


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
    if engine != "auto" and request.training:  # inference takes the best there is
        obstacle = _obstacle(engine, request)
        if obstacle is not None:
            raise ValueError(
                f"engine={engine!r} cannot serve this request: {obstacle}. Received: inputs of shape {request.shape}, "
                f"dtype {request.dtype.name}, axis={request.axes}. Use engine='auto', which takes what can."
            )
        return Choice(engine, "it was asked for")
    obstacle = _obstacle("fused", request)
    if obstacle is not None:
        return Choice("closed_form", obstacle)
    if request.training:
        channels, elements = request.shape[request.axes[0]], _elements(request.shape)
        if channels is not None and channels < WORTHWHILE_CHANNELS:
            return Choice("closed_form", f"the other engines are slow at fewer than {WORTHWHILE_CHANNELS} channels")
        if _products_win(request, elements):
            return Choice("products", "without oneDNN, sums by products of matrices are the fastest")
        if elements < WORTHWHILE_ELEMENTS:
            return Choice("closed_form", f"for about {elements} elements the calls of the other engines cost more")
    return Choice("fused", f"{NAMES['fused']} is the fastest")


def _products_win(request: Request, elements: int) -> bool:
    """Whether sums by products are the fastest: without oneDNN, in a graph, for neither few nor very many elements."""
    if runs_onednn() or request.eager or tf.config.list_logical_devices("GPU"):
        return False
    many_rows = elements > BLOCK * (request.shape[request.axes[0]] or USUAL_SIZE)
    least = WORTHWHILE_IN_MANY_ROWS if many_rows else WORTHWHILE_ELEMENTS
    return _obstacle("products", request) is None and least <= elements < TOO_MANY_ELEMENTS


def _obstacle(engine: str, request: Request) -> str | None:
    """Why the fused kernel, or the engine of sums by products, cannot serve a request; or None."""
    rank, training, name = len(request.shape), request.training, NAMES[engine]
    kernel, not_float32 = engine == "fused", request.dtype != tf.float32
    obstacles = {
        f"XLA replaces {name} by what cancels where the mean is large": request.jit_compile,
        f"{name} has no float64": kernel and request.dtype == tf.float64,
        f"{name} is used on float32": not kernel and not_float32,
        f"{name} wants the channels last": [a % rank for a in request.axes] != [rank - 1],
        f"{name} knows no masks": not kernel and request.mask,
        f"with a mask {name} is used on float32, with the same weights for all channels": (
            training and request.mask and (not_float32 or request.channel_weights)
        ),
        "batch renormalization needs the statistics before the output": request.renorm and training,
        f"{name} knows no ghost batches": request.ghost_batches and training,
        f"{name} does not share statistics between replicas": request.synchronized and training,
        f"{name} divides by the deviation of a constant batch": kernel and request.epsilon < np.finfo(np.float32).tiny,
        f"in inference {name} is used on inputs of rank 4": not training and rank != 4,
    }
    return next((reason for reason, holds in obstacles.items() if holds), None)


def _elements(shape: tuple[int | None, ...]) -> int:
    elements = USUAL_BATCH if shape[0] is None else shape[0]
    for size in shape[1:]:
        elements *= USUAL_SIZE if size is None else size
    return elements
