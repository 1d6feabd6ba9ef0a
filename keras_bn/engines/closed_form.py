"""The formulas of ``keras_bn.formulas``, run operation by operation on TensorFlow tensors."""

from collections.abc import Callable

import tensorflow as tf

from keras_bn.batch import TensorBatch
from keras_bn.formulas import inference as inference_formulas
from keras_bn.formulas import renormalization
from keras_bn.formulas import training as training_formulas
from keras_bn.formulas.renormalization import Reference
from keras_bn.formulas.training import Fallback, Moments

Outputs = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
Gradients = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Backward = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], Gradients]


def training(
    batch: TensorBatch,
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    epsilon: float,
    fallback: Fallback | None = None,
    reference: Reference | None = None,
) -> tuple[Outputs, Backward]:
    """(y, center, shift, variance), and the function that maps their cotangents to those of (x, gamma, beta).

    The mean is center + shift; its cotangent is that of the shift, since the center may be any constant (equation 9).
    Between the two, x itself and a few vectors of one value a channel are kept.
    """
    elements = batch.elements(x)
    scale, offset = batch.channel(gamma), batch.channel(beta)
    moments = statistics(batch, elements, fallback)
    correction = None
    if reference is not None:
        reference = reference._replace(mean=batch.channel(reference.mean), std=batch.channel(reference.std))
        correction = renormalization.correction(batch, moments.mean, moments.variance, reference, epsilon)
        scale, offset = renormalization.compose(scale, offset, correction)
    y, saved = training_formulas.normalize(batch, elements, moments, scale, offset, epsilon)

    def backward(dy: tf.Tensor, _: tf.Tensor, d_shift: tf.Tensor, d_variance: tf.Tensor) -> Gradients:
        gradients = training_formulas.backward(
            batch,
            batch.elements(dy),
            batch.channel(d_shift),
            batch.channel(d_variance),
            batch.elements(x),
            scale,
            saved,
        )
        d_gamma = gradients.gamma
        if correction is not None:
            d_gamma = renormalization.gradient_of_gamma(d_gamma, gradients.beta, correction)
        return batch.like_input(gradients.x), batch.vector(d_gamma), batch.vector(gradients.beta)

    return (batch.like_input(y), *(batch.vector(value) for value in moments)), backward


def statistics(batch: TensorBatch, elements: tf.Tensor, fallback: Fallback | None) -> Moments:
    """The moments of the batch, and the fallback where no element counts, as values per channel."""
    moments = batch.moments(elements)
    if fallback is None:
        return moments
    return moments._replace(
        center=batch.or_else(moments.center, batch.channel(fallback.mean)),
        variance=batch.or_else(moments.variance, batch.channel(fallback.variance)),
    )


def inference(
    batch: TensorBatch,
    x: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    axes: tuple[int, ...],
    epsilon: float,
) -> tf.Tensor:
    """y, normalized with the given statistics; TensorFlow differentiates this affine map itself.

    Of x as it is: a reshape of it would keep TFLite from folding the map into the layer before it.
    """
    mean, variance, gamma, beta = (_along(axes, x.shape.rank, value) for value in (mean, variance, gamma, beta))
    y = inference_formulas.normalize(batch, tf.cast(x, mean.dtype), mean, variance, gamma, beta, epsilon)
    return tf.cast(y, x.dtype)


def _along(axes: tuple[int, ...], rank: int, value: tf.Tensor) -> tf.Tensor:
    """A value per channel in a shape that broadcasts with inputs of this rank."""
    places = [a % rank for a in axes]
    if places == [rank - 1]:
        return value
    order = sorted(range(len(places)), key=places.__getitem__)
    sizes = dict(zip(places, value.shape, strict=True))
    return tf.reshape(tf.transpose(value, order), [sizes.get(i, 1) for i in range(rank)])
