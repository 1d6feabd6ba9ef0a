"""The moving statistics of a finished model, from a data set instead of from its training."""

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn import arguments, keras_internals, masking, moving_state, ragged
from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form, from_output
from keras_bn.formulas import merging
from keras_bn.formulas.training import Fallback
from keras_bn.layer import BatchNormalization
from keras_bn.model_tools import copying_models, data_sets
from keras_bn.model_tools.options import check_known
from keras_bn.progress import task
from keras_bn.tensors import as_real
from keras_bn.untracked import is_batch_normalization

# One pass at a time: it exchanges the calls of classes.
_PASS = threading.RLock()
# Batches of a shape that run without a graph.
EAGER = 8


def recalibrate(
    model: keras.Model, data: Any, *, steps: int | None = None, batch_size: int = 32, in_place: bool = True
) -> keras.Model:
    """Set the moving statistics of ``model`` itself to the exact statistics of a data set, and return it.

    PyTorch's ``update_bn`` averages the statistics of the batches to the same end. It helps networks whose moving
    statistics lag behind their weights: after a spike of the learning rate, averaging of weights, or a change of the
    data. Every batch normalization, ours or built-in, frozen or not, gets the mean and the variance of its inputs over
    the whole data set. The statistics of the batches are merged with their counts (equation 7), in float64, so that for
    a single layer the result does not depend on the size of the batches. Elements that a mask leaves out do not count;
    neither does a batch that is all padding.

    What a class derived from these computes around their ``call`` remains; a ``call`` that is set on a layer itself is
    left out. Ragged inputs count by their values.

    This takes one pass over the data. In it, batch normalization normalizes with the statistics of each whole batch,
    without ``virtual_batch_size`` and ``renorm``; all other layers are in inference. A layer that sees no data keeps
    its statistics. What ``renorm`` and ``momentum=None`` store is set to fit the new statistics.

    Algorithm 2 of the paper (lines 8 to 11) averages instead: E[x] = E[μ], Var[x] = m/(m − 1)·E[σ²] over batches of
    equal size m. Its correction m/(m − 1) makes up, for independent samples, for the spread of the means of the
    batches, which E[σ²] lacks and which is counted here as it is: σ² + (μ − E[μ])². Here the result is the variance of
    this data set, without a correction, also with ``unbiased_variance``. Going layer by layer instead, each layer after
    the statistics of those before it are final, would take as many passes as there are layers and give the statistics
    of what a layer sees in inference; in one pass a layer's input is that of training, and depends, through the layers
    before it, on the batches. Batches as large as in training, or larger, keep the difference small.

    Args:
        model: Built model: Functional, Sequential or subclassed.
        data: An array, or a list or dictionary of arrays for several inputs; a ``tf.data.Dataset``, a
            ``keras.utils.PyDataset``, a generator (with ``steps``) or another iterable of batches, such as a list of
            tuples. A tuple, of arrays or as a batch, is inputs, targets and sample weights, the latter two of which
            are not used. A list of arrays is several inputs, never several batches; a batch that is a list is read as
            a tuple, as ``fit`` does.
        steps: How many batches to take; by default all.
        batch_size: The number of samples in a batch, for arrays.
        in_place: False leaves ``model`` as it is and returns a copy with the new statistics.

    Returns:
        ``model``, or the copy. A pass that fails or is interrupted leaves the old statistics. A model of your own class
        runs eagerly, and so does every ``tf.function`` in it: what such a function traced before would ignore the
        pass, and what it traced during the pass would remain afterwards.

    Raises:
        TypeError: ``model`` is no Keras model, or ``data`` has none of these forms.
        ValueError: a size is not positive, ``steps`` is missing or larger than the data, the inputs are not those that
            the model takes, or statistics are not finite; with ``in_place=False``, if the model cannot be copied.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), Algorithm 2.

    >>> norm = BatchNormalization()
    >>> model = recalibrate(keras.Sequential([keras.Input((1,)), norm]), np.array([[0.0], [3.0], [6.0]]), batch_size=2)
    >>> norm.moving_mean.numpy().tolist(), norm.moving_variance.numpy().tolist()
    ([3.0], [6.0])
    """
    if not isinstance(model, keras.Layer):
        raise TypeError(f"recalibrate() takes a Keras model. Received: {type(model).__name__}.")
    arguments.flags(in_place=in_place)
    steps = None if steps is None else data_sets.whole("steps", steps)
    batch_size = data_sets.whole("batch_size", batch_size)
    total = data_sets.count(data, steps=steps, batch_size=batch_size)
    new = model if in_place else copying_models.rebuild(model, lambda layer: None)
    layers = [layer for layer in copying_models.all_layers(new) if is_batch_normalization(layer)]
    if not layers:
        warnings.warn(f"{model.name} has no batch normalization, and is as it was.", stacklevel=2)
    unbuilt = [layer for layer in layers if not layer.built]
    _check_built(unbuilt, if_any=not model.built)
    layers = [layer for layer in layers if layer.built]
    accumulators = [_Accumulator(layer) for layer in layers]
    with _PASS, _recording(layers, accumulators), task(f"Recalibrating {model.name}", total, "batch") as advance:
        run = _runner(new)
        for inputs in data_sets.inputs(data, steps=steps, batch_size=batch_size):
            data_sets.check_fit(inputs, new)
            run(inputs)
            advance()
    _check_built([layer for layer in unbuilt if layer.built], if_any=True)
    # All at once and last: a pass that failed on the way has left the layers as they were.
    statistics = [accumulator.result() for accumulator in accumulators]
    for layer, found in zip(layers, statistics, strict=True):
        if found is not None:
            _set(layer, found)
        elif type(layer).call not in (BatchNormalization.call, keras.layers.BatchNormalization.call):
            warnings.warn(
                f"{layer.name} keeps its statistics: the model did not call it, or the call() of its class, "
                f"{type(layer).__name__}, does not come to that of batch normalization.",
                stacklevel=2,
            )
    return new


def _check_built(unbuilt: list[keras.Layer], *, if_any: bool) -> None:
    """Raise ValueError for layers without weights; one that the model never calls may be so."""
    if unbuilt and if_any:
        names = ", ".join(layer.name for layer in unbuilt)
        raise ValueError(f"every layer must be built. Received: {names} without weights. Call the model on data.")


class _Statistics(NamedTuple):
    mean: np.ndarray
    variance: np.ndarray
    batches: np.ndarray
    """In how many batches an element counted; where in none, the old statistics stay."""


class _Accumulator:
    """Count, mean and variance of all that a layer has seen so far, and in how many batches something counted."""

    def __init__(self, layer: keras.layers.BatchNormalization) -> None:
        check_known(layer, "recalibrate()")
        self._name = layer.name
        shape = tuple(layer.moving_mean.shape)
        # TensorFlow's variables: the layer would track Keras' own as weights.
        self._state = tf.Variable(tf.zeros([4, *shape], tf.float64), trainable=False)

    def add(self, batch: TensorBatch, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Merge the statistics of a batch with those so far (equation 7)."""
        old_count, old_mean, old_variance, seen = tf.unstack(self._state)
        count = tf.broadcast_to(tf.cast(batch.count(), tf.float64), tf.shape(old_count))
        means = tf.stack([old_mean, tf.cast(mean, tf.float64)])
        variances = tf.stack([old_variance, tf.cast(variance, tf.float64)])
        axes = tuple(range(1, means.shape.rank))
        parts = TensorBatch(means, axes, tuple(means.shape[1:]), weights=tf.stack([old_count, count]))
        merged = merging.merge(parts, parts.elements(means), parts.elements(variances))
        seen += tf.cast(count > 0, tf.float64)
        self._state.assign(tf.stack([old_count + count, *(parts.vector(value) for value in merged), seen]))

    def result(self) -> _Statistics | None:
        """What was accumulated; None if nothing counted."""
        _, mean, variance, seen = self._state.numpy()
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            raise ValueError(
                f"statistics must be finite. Received: NaN or infinite inputs of {self._name}. Nothing changed; look "
                "for such values in the data, or in the weights before this layer."
            )
        return _Statistics(mean, variance, seen) if seen.any() else None


@contextmanager
def _recording(layers: list[keras.layers.BatchNormalization], accumulators: list[_Accumulator]) -> Iterator[None]:
    """Let the layers normalize with the statistics of each batch, and add these to the accumulators.

    It is the call of the two classes that is exchanged: what a class derived from them computes around it remains.
    """
    recorders = {
        id(layer): _recording_call(layer, accumulator) for layer, accumulator in zip(layers, accumulators, strict=True)
    }
    classes = BatchNormalization, keras.layers.BatchNormalization
    originals = [kind.call for kind in classes]
    # A call that a layer has of its own may hold the original: it comes back afterwards.
    own = [vars(layer).pop("call", None) for layer in layers]

    def recorded(original: Any) -> Any:
        def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            recorder = recorders.get(id(self))
            if recorder is None:
                return original(self, inputs, training, mask)
            if mask is None and tf.is_tensor(training):  # where Keras leaves it to the layer to look for its mask
                mask = keras_internals.attached_mask(inputs)
            return recorder(inputs, mask)

        return call

    try:
        for kind, original in zip(classes, originals, strict=True):
            kind.call = recorded(original)
        yield
    finally:
        for kind, original in zip(classes, originals, strict=True):
            kind.call = original
        for layer, call in zip(layers, own, strict=True):
            if call is not None:
                object.__setattr__(layer, "call", call)


def _recording_call(layer: keras.layers.BatchNormalization, accumulator: _Accumulator) -> Any:
    def call(inputs: Any, mask: Any) -> Any:
        if isinstance(inputs, tf.RaggedTensor):
            rows, mask = ragged.rows(inputs, mask, layer)
            return ragged.like(inputs, call(rows, mask))
        is_ours = isinstance(layer, BatchNormalization)
        # The built-in layer reads every mask as one that covers the leading axes.
        is_propagated = mask is not None and (not is_ours or masking.is_propagated(mask, inputs))
        x = as_real("inputs", inputs, layer.compute_dtype)
        axes = arguments.axes(layer.axis)
        shape = tuple(layer.moving_mean.shape)
        weights = None
        if mask is not None:
            mask = tf.convert_to_tensor(mask)
            weights = masking.propagated(mask, x) if is_propagated else masking.explicit(mask, x, axes)
        batch = TensorBatch(x, axes, shape, weights)
        gamma, beta, moving_mean, moving_variance = (
            tf.fill(shape, tf.cast(otherwise, batch.dtype)) if variable is None else tf.cast(variable, batch.dtype)
            for variable, otherwise in (
                (layer.gamma, 1.0),
                (layer.beta, 0.0),
                (layer.moving_mean, 0.0),
                (layer.moving_variance, 1.0),
            )
        )
        # The engine itself: nothing is differentiated here.
        (y, center, shift, variance), _ = closed_form.training(
            batch,
            x,
            gamma,
            beta,
            epsilon=layer.epsilon,
            fallback=masking.fallback(Fallback(moving_mean, moving_variance), batch, propagated=is_propagated),
        )
        accumulator.add(batch, tf.cast(center, tf.float64) + tf.cast(shift, tf.float64), variance)
        return tf.cast(from_output.activate(y, getattr(layer, "activation", None)), layer.compute_dtype)

    return call


def _set(layer: keras.layers.BatchNormalization, found: _Statistics) -> None:
    def renew(variable: Any, value: Any) -> None:
        variable.assign(np.where(found.batches > 0, value, variable.numpy()))

    renew(layer.moving_mean, found.mean)
    renew(layer.moving_variance, found.variance)
    if layer.renorm:
        for name, value in moving_state.references_from(found.mean, found.variance, layer.epsilon).items():
            renew(getattr(layer, name), value)
    if getattr(layer, "keeps_count", False):
        # So many batches have a part in the layer's own average, at most.
        most = np.inf if layer.momentum in (None, 1) else 1 / (1 - layer.momentum)
        renew(layer.update_count, np.minimum(found.batches, most))


def _runner(model: keras.Model) -> Callable[[Any], None]:
    """The model in inference, its outputs left out: only what the layers record on the way counts.

    Tracing takes as long as about a dozen batches run eagerly, so that only shapes which come often get a graph, with
    all of their sizes: one with unknown sizes takes longer still.
    """
    if any(map(_runs_code_of_its_own, copying_models.all_layers(model))):
        return lambda inputs: _eagerly(model, inputs)
    times: Counter[Any] = Counter()

    def run(inputs: Any) -> None:
        model(inputs, training=False)

    graph = tf.function(run, autograph=False)

    def choose(inputs: Any) -> None:
        shapes = tuple((tuple(leaf.shape), leaf.dtype) for leaf in keras.tree.flatten(inputs))
        times[shapes] += 1
        (run if times[shapes] <= EAGER or getattr(model, "run_eagerly", False) else graph)(inputs)

    return choose


def _runs_code_of_its_own(layer: keras.Layer) -> bool:
    """Whether a call of the layer runs code of the user's, which may hold a ``tf.function``."""
    known = type(layer).__module__.split(".")[0] in ("keras", "keras_bn") or copying_models.is_graph(layer)
    return not known or "call" in vars(layer)


def _eagerly(model: keras.Model, inputs: Any) -> None:
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        model(inputs, training=False)
    finally:
        tf.config.run_functions_eagerly(before)
