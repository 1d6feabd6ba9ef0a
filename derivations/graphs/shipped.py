"""The graphs that are proved: what TensorFlow traces from the layer, from ``batch_norm``, and from the plain formula.

Every graph takes δ, the cotangent of y, with an unknown batch size. First order: the outputs, their gradients, and what
is assigned to variables. Second order: the gradients of those gradients, by TensorFlow's differentiation of the graph,
for the cotangents u, u_γ and u_β. The control is the textbook's formula, differentiated by TensorFlow alone.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from keras_bn import BatchNormalization, functional
from keras_bn.engines import fused

CHANNELS = 4
EPSILON, MOMENTUM, RENORM_MOMENTUM = 1e-3, 0.99, 0.9
BOUNDS = {"rmin": 0.5, "rmax": 2.0, "dmax": 3.0}
# The static shapes of x and of a mask, and which axis is that of the channels.
LAYOUTS: dict[str, tuple[list[int | None], int]] = {
    "rows": ([None, CHANNELS], 1),
    "channels_last": ([None, None, None, CHANNELS], 3),
    "channels_first": ([None, CHANNELS, None, None], 1),
    # Whole runs of rows in each sample; numbers of their own, as below.
    "runs": ([None, 5, 7, CHANNELS], 3),
    # So many channels that the fused engine gives the kernels each row as a sample of its own; another number than that
    # of the blocks in which sums are taken, so that neither is taken for the other.
    "wide": ([None, None, None, fused.WIDE + CHANNELS], 3),
}


class Graph(NamedTuple):
    """One graph.

    name: as it stands in the identifiers of claims.
    source: what is traced.
    layout: the key of ``LAYOUTS``.
    masked, renorm, engine: of the layer.
    half: whether x and δ have 16 bits.
    training: whether the statistics are those of the batch.
    branch: which branch of a ``tf.cond`` is taken; None where there is none.
    """

    name: str
    source: str = "layer"
    layout: str = "rows"
    masked: bool = False
    renorm: bool = False
    half: bool = False
    training: bool = True
    engine: str = "closed_form"
    branch: bool | None = None
    second: bool = False

    @property
    def policy(self) -> str:
        """The dtype of the layer."""
        return "mixed_float16" if self.half else "float64" if self.engine == "closed_form" else "float32"

    def dtype(self, name: str) -> tf.DType:
        """The dtype of an argument."""
        if name == "w":
            return tf.bool
        if self.half:
            return tf.float16 if name in ("x", "delta", "u") else tf.float32
        return tf.as_dtype(self.policy)

    @property
    def channels(self) -> int:
        """How many channels x has."""
        sizes, axis = LAYOUTS[self.layout]
        channels = sizes[axis]
        assert channels is not None
        return channels

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments of the graph."""
        return (
            "x",
            *(() if self.source == "layer" else ("gamma", "beta")),
            *(("w",) if self.masked else ()),
            "delta",
            *(("g_mu", "g_v") if self.source == "batch_norm" and not self.second else ()),
            *(("u", "u_gamma", "u_beta") if self.second else ()),
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it returns."""
        if self.second:
            return "dd_delta", "dd_gamma", "dd_x"
        statistics = () if self.source == "layer" else ("mean", "variance")
        return "y", *statistics, "d_x", "d_gamma", "d_beta"

    def shape(self, name: str) -> list[int | None]:
        """The static shape of an argument."""
        sizes, axis = LAYOUTS[self.layout]
        if name == "w":
            return sizes[:axis] + sizes[axis + 1 :]
        return sizes if name in ("x", "delta", "u") else [self.channels]


def _all_graphs() -> Iterator[Graph]:
    for layout in ("rows", "channels_last", "channels_first"):
        yield from _both(Graph(f"{layout}.plain", layout=layout))
        yield from _both(Graph(f"{layout}.masked", layout=layout, masked=True))
        yield from _both(Graph(f"{layout}.renormalized", layout=layout, renorm=True))
        yield from _both(Graph(f"{layout}.inference", layout=layout, training=False))
    yield from _both(Graph("channels_last.half", layout="channels_last", half=True))
    yield from _both(Graph("batch_norm", source="batch_norm"))
    yield from _both(Graph("control", source="control"))
    images = Graph("fused", layout="channels_last", engine="fused")
    for kind, masked in (("", False), ("masked.", True)):
        yield from _both(images._replace(name=f"fused.{kind}kernel", masked=masked, branch=True))
        yield from _both(images._replace(name=f"fused.{kind}closed_form", masked=masked, branch=False))
        # The second order is the closed form's, whatever the kernels are given.
        yield images._replace(name=f"fused.wide.{kind}kernel", masked=masked, branch=True, layout="wide")
    # Where the kernel computes the statistics itself.
    yield images._replace(name="fused.half.kernel", half=True, branch=True)
    yield from _both(images._replace(name="fused.inference", training=False))
    yield images._replace(name="fused.runs.kernel", layout="runs", branch=True)
    products = Graph("products", layout="channels_last", engine="products")
    yield from _both(products._replace(name="products.small_means", branch=True))
    yield from _both(products._replace(name="products.large_means", branch=False))
    yield products._replace(name="products.runs.small_means", layout="runs", branch=True)


def _both(graph: Graph) -> Iterator[Graph]:
    """First order and second."""
    yield graph
    yield graph._replace(name=f"{graph.name}.second", second=True)


GRAPHS = tuple(_all_graphs())


def plain_formula(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The textbook's formula in TensorFlow, for TensorFlow to differentiate."""
    mean = tf.reduce_mean(x, 0)
    variance = tf.reduce_mean(tf.square(x - mean), 0)
    return gamma * (x - mean) * tf.math.rsqrt(variance + EPSILON) + beta, mean, variance


def layer_of(graph: Graph) -> BatchNormalization:
    """The layer that is traced, built."""
    sizes, axis = LAYOUTS[graph.layout]
    layer = BatchNormalization(
        axis=axis,
        momentum=MOMENTUM,
        epsilon=EPSILON,
        renorm=graph.renorm,
        renorm_clipping=BOUNDS if graph.renorm else None,
        renorm_momentum=RENORM_MOMENTUM,
        engine=graph.engine,
        dtype=graph.policy,
    )
    layer.build(tuple(sizes))
    return layer


Forward = Callable[[Mapping[str, tf.Tensor]], tuple[tf.Tensor, ...]]


class Traced(NamedTuple):
    """A concrete function, and the layer whose variables it captures, if there is one."""

    function: Any
    layer: BatchNormalization | None


def trace(graph: Graph, forward: Forward | None = None) -> Traced:
    """The graph that TensorFlow traces; ``forward`` takes the place of what ``graph.source`` names."""
    layer = layer_of(graph) if graph.source == "layer" and forward is None else None

    def normalized(given: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        if layer is not None:
            return (layer(given["x"], training=graph.training, mask=given.get("w")),)
        point = [given[name] for name in ("x", "gamma", "beta")]
        if graph.source == "control":
            return plain_formula(*point)
        return tuple(functional.batch_norm(*point, epsilon=EPSILON, engine=graph.engine))

    forward = forward or normalized
    signature = [tf.TensorSpec(graph.shape(name), graph.dtype(name), name) for name in graph.names]

    def first_order(given: Mapping[str, tf.Tensor], parameters: list[Any]) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch([value for value in given.values() if value.dtype.is_floating])
            outputs = forward(given)
        cotangents = [given[name] for name in ("delta", "g_mu", "g_v") if name in given]
        sources = [given["x"], *parameters]
        return outputs, tape.gradient(outputs[: len(cotangents)], sources, cotangents, unconnected_gradients="zero")

    @tf.function(input_signature=signature, autograph=False)
    def traced(*values: tf.Tensor) -> Any:
        given = dict(zip(graph.names, values, strict=True))
        parameters = [layer.gamma.value, layer.beta.value] if layer else [given["gamma"], given["beta"]]
        if not graph.second:
            outputs, gradients = first_order(given, parameters)
            return *outputs, *gradients
        with tf.GradientTape() as tape:
            tape.watch([value for value in given.values() if value.dtype.is_floating])
            _, gradients = first_order(given, parameters)
        cotangents = [given[name] for name in ("u", "u_gamma", "u_beta")]
        return tape.gradient(gradients, [given["delta"], parameters[0], given["x"]], cotangents)

    return Traced(traced.get_concrete_function(), layer)


traced = cache(trace)

__all__ = ["CHANNELS", "GRAPHS", "LAYOUTS", "Forward", "Graph", "Traced", "trace", "traced"]
