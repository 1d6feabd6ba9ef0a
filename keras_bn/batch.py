"""Which elements of a tensor share statistics, and how they are summed.

Adjacent axes that are both kept, or both reduced, act as one: any tensor is viewed, without copying, as alternating
runs of axes, such as [M, C] where the channels come last and [N, C, H·W] where they come second. A value per channel
has the size 1 along the reduced runs, and broadcasts.
"""

import functools
import itertools
import math
import operator
from typing import Any

import tensorflow as tf

from keras_bn import xla
from keras_bn.engines.staged_sums import BLOCK, RUN, staged_sum
from keras_bn.formulas import training
from keras_bn.formulas.training import Moments
from keras_bn.tensors import sizes_of


class TensorBatch:
    """The batch that a tensor ``x`` is to be normalized over: the ``Operations`` of the formulas on tensors.

    Args:
        x: Floating-point tensor of known rank.
        axis: The kept axes, those of the channels, in the order of the axes of γ and β.
        channels: The shape of γ and β.
        weights: None, or a boolean or floating-point tensor of the rank of x, each of whose sizes is 1 or that of x.

    Statistics and sums have the dtype of x, or float32 where that is narrower.
    """

    def __init__(
        self, x: tf.Tensor, axis: tuple[int, ...], channels: tuple[int, ...], weights: tf.Tensor | None = None
    ) -> None:
        rank = x.shape.rank
        kept = [a % rank for a in axis]
        self.dtype = statistics_dtype(x.dtype)
        self.weights = weights
        self._like = x.dtype, x.shape
        sizes = sizes_of(x)
        self._shape = list(sizes)
        for position, size in zip(kept, channels, strict=True):
            sizes[position] = size
        runs = [(is_kept, list(run)) for is_kept, run in itertools.groupby(range(rank), lambda i: i in kept)]
        self._view = [_product([sizes[i] for i in run]) for _, run in runs]
        self._reduced = [number for number, (is_kept, _) in enumerate(runs) if not is_kept]
        # Where the channels come last and nowhere else, a value per channel broadcasts without ones in front.
        self._left_out = 0 if self._reduced == [0] and len(runs) == 2 else None
        self._per_channel = self._without_reduced(self._view)
        self._channels = channels
        self._ascending = sorted(range(len(kept)), key=kept.__getitem__)
        count = _product([self._view[number] for number in self._reduced])
        self._weights = None if weights is None else self._weights_view(weights, sizes, runs)
        self._size = float(count) if isinstance(count, int) else tf.cast(count, self.dtype)
        self._total = self._size if self._weights is None else self._reduce(tf.cast(self._weights, self.dtype))
        self._derive_from_total()

    def _derive_from_total(self) -> None:
        # None where it is known that elements count.
        self._populated = None if isinstance(self._total, float) and self._total > 0 else self._total > 0
        # Where nothing counts every sum is 0, and so are the quotients, instead of 0/0.
        self._divisor = self.or_else(self._total, 1.0) if self._weights is not None else _at_least_one(self._total)

    def _weights_view(self, weights: tf.Tensor, sizes: list[Any], runs: list[tuple[bool, list[int]]]) -> tf.Tensor:
        full, view = [], []
        for is_kept, run in runs:
            single = is_kept and all(weights.shape[i] == 1 for i in run)
            full += [1 if single else sizes[i] for i in run]
            view.append(1 if single else _product([sizes[i] for i in run]))
        weights = tf.reshape(tf.broadcast_to(weights, full), view)
        if weights.dtype == tf.bool:
            return weights
        weights = tf.cast(weights, self.dtype)
        return tf.where(weights > 0, weights, tf.zeros_like(weights))  # NaN is no weight either

    def elements(self, value: tf.Tensor) -> tf.Tensor:
        """A tensor shaped like x, as this batch views it."""
        value = tf.cast(value, self.dtype)
        return value if value.shape.rank == len(self._view) else tf.reshape(value, self._view)

    def like_input(self, value: tf.Tensor) -> tf.Tensor:
        """The inverse of ``elements``: shape and dtype of x."""
        dtype, static_shape = self._like
        value = tf.cast(value, dtype)
        value = value if static_shape.rank == len(self._view) else tf.reshape(value, self._shape)
        value.set_shape(static_shape)
        return value

    def channel(self, value: tf.Tensor) -> tf.Tensor:
        """A value per channel in the shape of γ, as this batch views it."""
        if self._ascending != sorted(self._ascending):
            value = tf.transpose(value, self._ascending)
        return _reshaped(tf.cast(value, self.dtype), self._per_channel)

    def vector(self, value: tf.Tensor) -> tf.Tensor:
        """The inverse of ``channel``: the shape of γ. A value that all channels share is repeated."""
        if value.shape.rank != len(self._per_channel) or 1 in value.shape:
            value = tf.broadcast_to(value, self._per_channel)
        if self._ascending == sorted(self._ascending):
            return _reshaped(value, self._channels)
        value = tf.reshape(value, [self._channels[i] for i in self._ascending])
        return tf.transpose(value, sorted(range(len(self._ascending)), key=self._ascending.__getitem__))

    def is_empty(self) -> tf.Tensor:
        """Whether no element counts in any channel."""
        return tf.constant(False) if self._populated is None else tf.logical_not(tf.reduce_any(self._populated))

    def count(self) -> tf.Tensor:
        """Σ w, in the shape of γ; m without weights."""
        return self.vector(tf.cast(self._total, self.dtype))

    def size(self) -> tf.Tensor:
        """m, the number of elements, whatever their weights."""
        return tf.cast(self._size, self.dtype)

    def per_count(self, value: tf.Tensor) -> tf.Tensor:
        """A value in the shape of γ, over Σ w where that may be 0: then, and only then, it is made not finite."""
        if self._populated is None:
            return value
        return value / (self._total if self._weights is None else self.count())

    def bessel(self) -> tf.Tensor:
        """W / (W − Σw² / W), the unbiased variance in units of the biased one, in the shape of γ.

        Without weights it is m / (m − 1).

        Not finite, or negative by rounding, where there is no unbiased variance.
        """
        total = tf.cast(self._total, self.dtype)
        return self.vector(total / (total - self._mean_weight()))

    def _mean_weight(self) -> Any:
        """Σw² / W, in which no square overflows; 1 but for weights that are numbers."""
        if self._weights is None or self._weights.dtype == tf.bool:
            return 1.0
        return self._reduce(self._weights * (self._weights / self._divisor))

    def moments(self, elements: tf.Tensor) -> Moments:
        """Mean and variance of the batch."""
        return training.moments(self, elements)

    def biased(self) -> tf.Tensor | float:
        """max(m − 1, 1) / m: the biased variance in units of the one that TensorFlow's fused kernel returns."""
        return _at_least_one(self._total - 1) / self._divisor

    def _without_reduced(self, sizes: list[Any]) -> list[Any]:
        return [1 if i in self._reduced else size for i, size in enumerate(sizes) if i != self._left_out]

    def _reduce(self, value: tf.Tensor) -> tf.Tensor:
        # Weights may have the size 1 along the channels.
        sizes = self._view if self._weights is None else sizes_of(value)
        per_channel = self._without_reduced(sizes)
        for number in reversed(self._reduced):
            value = staged_sum(value, number, sizes[: number + 1])
        return _reshaped(value, per_channel)

    # What the formulas use.

    def sum(self, value: tf.Tensor) -> tf.Tensor:
        """Σ over every element at hand, whatever its weight."""
        return self._reduce(value)

    def sum_of_products(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Σ a·b over every element at hand."""
        return self.sum(a * b)

    def over_replicas(self, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The sums as they are: this batch is whole."""
        return sums

    def mean(self, value: tf.Tensor) -> tf.Tensor:
        """Σ w·value / Σ w, or 0 where nothing counts. An element of weight 0 is left out, NaN or not."""
        if self._weights is None:
            if self._reduced == [0] and isinstance(self._total, float) and 0 < self._total <= RUN:
                return _reshaped(tf.reduce_mean(value, 0), self._per_channel)
            return self._reduce(value) / self._divisor
        if self._weights.dtype != tf.bool:
            value = self._weights * value
        return self._reduce(tf.where(self._counts, value, tf.zeros_like(value))) / self._divisor

    def near_mean(self, value: tf.Tensor) -> tf.Tensor:
        """The mean of about BLOCK elements, evenly spread over the first reduced axis; with weights, the mean.

        Of m elements, n have a mean that is at most √(m/n) standard deviations away from that of all, for n of them
        contribute n/m · (distance)² to the variance; and usually it is a small part of one.
        """
        if self._weights is not None:
            return self.mean(value)
        first, *others = self._reduced
        size = self._view[first]
        few = BLOCK if not others else 1
        if not isinstance(size, int) or size > few:
            step = size // few if isinstance(size, int) else tf.maximum(size // few, 1)
            # A slice with steps would say the same, and take TensorFlow up to twenty times as long.
            value = tf.gather(value, tf.range(0, size, step), axis=first)
            value.set_shape([None if axis == first else n for axis, n in enumerate(value.shape)])
        return _reshaped(tf.reduce_mean(value, self._reduced), self._per_channel)

    def over_count(self, total: tf.Tensor) -> tf.Tensor:
        """total / Σ w, or the total where nothing counts; total / m without weights."""
        return total / self._divisor

    @property
    def row_weights(self) -> tf.Tensor | None:
        """The weights as [M, 1] where they are that, for channels that come last; else None."""
        if self._weights is None or self._left_out is None or self._weights.shape[1] != 1:
            return None
        return tf.cast(self._weights, self.dtype)

    def share(self) -> tf.Tensor:
        """w / Σ w; 1 / m without weights."""
        return (1 if self._weights is None else tf.cast(self._weights, self.dtype)) / self._divisor

    @property
    def _counts(self) -> tf.Tensor:
        """Which elements have weight."""
        assert self._weights is not None
        return self._weights if self._weights.dtype == tf.bool else self._weights > 0

    def finite(self, value: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
        """The value; ``otherwise`` where an element of weight 0 is not finite."""
        if self._weights is None:
            return value
        return tf.where(xla.is_finite(value) | self._counts, value, otherwise)

    def or_else(self, value: tf.Tensor, fallback: tf.Tensor) -> tf.Tensor:
        """The value per channel; ``fallback`` where no element counts."""
        if self._populated is None:
            return value
        return tf.where(self._populated, tf.cast(value, self.dtype), tf.cast(fallback, self.dtype))

    def squared_difference(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """(a − b)², in one pass."""
        return tf.math.squared_difference(a, b)

    def inverse_root(self, value: tf.Tensor) -> tf.Tensor:
        """value^(−1/2), and 0 where the value is 0 (equation 14)."""
        return tf.math.reciprocal_no_nan(tf.sqrt(value))

    def clip(self, value: tf.Tensor, low: Any, high: Any) -> tf.Tensor:
        """The value, no less than ``low`` and no more than ``high``, numbers or scalars; None is no bound."""
        value = value if low is None else tf.maximum(value, self._constant(low))
        return value if high is None else tf.minimum(value, self._constant(high))

    def _constant(self, number: Any) -> tf.Tensor:
        # tf.cast alone would round a Python number to float32 first.
        return tf.cast(number, self.dtype) if tf.is_tensor(number) else tf.constant(number, self.dtype)

    def scaled(self, value: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        """value · factor, and 0 where the factor is 0, even if the value overflowed."""
        return tf.math.multiply_no_nan(value, factor)

    def regular(self, value: tf.Tensor) -> tf.Tensor:
        """The value per channel; 0 where it is not finite."""
        return tf.where(xla.is_finite(value), value, tf.zeros_like(value))

    def constant(self, value: tf.Tensor) -> tf.Tensor:
        """``regular``, held constant by differentiation.

        Without that selection XLA's compiler would fuse the division that ends a mean into every subtraction of it, as
        a multiply-add that does not round the quotient: each use would see another constant.
        """
        return tf.stop_gradient(self.regular(value))


def statistics_dtype(dtype: tf.DType) -> tf.DType:
    """The dtype of the statistics of inputs of ``dtype``: at least float32."""
    return tf.float32 if dtype.size < 4 else dtype


def _at_least_one(count: Any) -> Any:
    return max(count, 1.0) if isinstance(count, float) else tf.maximum(count, 1)


def _product(sizes: list[Any]) -> Any:
    """Product of sizes, as an int where all are known."""
    known = math.prod(size for size in sizes if isinstance(size, int))
    unknown = [size for size in sizes if not isinstance(size, int)]
    return functools.reduce(operator.mul, unknown, known) if unknown else known


def _reshaped(value: tf.Tensor, shape: list[Any] | tuple[Any, ...]) -> tf.Tensor:
    """``tf.reshape``, left out where it is known to change nothing."""
    return value if value.shape.as_list() == list(shape) else tf.reshape(value, shape)
