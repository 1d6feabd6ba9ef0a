"""Graphs of which each computes batch normalization, or nearly: right ones, wrong ones, and ones that are refused.

A case is what stands in for the forward pass, of the values by name; custom gradients make the backward pass wrong
alone. Whether a wrong one is wrong is not taken on trust: TensorFlow runs it beside the plain formula, in float64.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from derivations.graphs.shipped import EPSILON, LAYOUTS, Graph

BLOCK = 256
ROWS = Graph("own", source="own")
IMAGES = ROWS._replace(layout="channels_last")
FIRST = ROWS._replace(layout="channels_first")
MASKED = ROWS._replace(masked=True)
MASKED_IMAGES, MASKED_FIRST = IMAGES._replace(masked=True), FIRST._replace(masked=True)
SECOND = ROWS._replace(second=True)

Given = Mapping[str, tf.Tensor]
Outputs = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class Case(NamedTuple):
    kind: str  # "right", "wrong" or "refused"
    graph: Graph
    forward: Callable[[Given], Outputs]


def axes_of(graph: Graph) -> list[int]:
    sizes, axis = LAYOUTS[graph.layout]
    return [n for n in range(len(sizes)) if n != axis]


def spread(graph: Graph, value: tf.Tensor) -> tf.Tensor:
    """A value per channel, to be combined with x."""
    return tf.reshape(value, [1, -1, 1, 1]) if graph.layout == "channels_first" else value


def plain(graph: Graph) -> Callable[[Given], Outputs]:
    """The textbook's formula, with or without weights."""

    def forward(given: Given) -> Outputs:
        x, axes = given["x"], axes_of(graph)
        if graph.masked:
            weight = tf.expand_dims(tf.cast(given["w"], x.dtype), LAYOUTS[graph.layout][1])
            mean = tf.reduce_sum(weight * x, axes) / tf.reduce_sum(weight)
            variance = tf.reduce_sum(weight * (x - spread(graph, mean)) ** 2, axes) / tf.reduce_sum(weight)
        else:
            mean = tf.reduce_mean(x, axes)
            variance = tf.reduce_mean(tf.square(x - spread(graph, mean)), axes)
        y = (x - spread(graph, mean)) * spread(graph, tf.math.rsqrt(variance + EPSILON) * given["gamma"])
        return y + spread(graph, given["beta"]), mean, variance

    return forward


def normalized(x, mean, variance, given):
    return (x - mean) * tf.math.rsqrt(variance + EPSILON) * given["gamma"] + given["beta"]


def moments(x, axes=(0,)):
    mean = tf.reduce_mean(x, axes)
    return mean, tf.reduce_mean(tf.square(x - mean), axes)


def changed(change: Callable[..., Any], graph: Graph = ROWS) -> Callable[[Given], Outputs]:
    """The plain formula, whose output y is changed: of y, x, mean, variance and the values."""

    def forward(given: Given) -> Outputs:
        y, mean, variance = plain(graph)(given)
        return change(y, given["x"], mean, variance, given), mean, variance

    return forward


def with_moments(of: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]) -> Callable[[Given], Outputs]:
    """Rows, normalized with moments computed in another way."""

    def forward(given: Given) -> Outputs:
        mean, variance = of(given["x"])
        return normalized(given["x"], mean, variance, given), mean, variance

    return forward


def with_gradient(graph: Graph, change: Callable[..., Any]) -> Callable[[Given], Outputs]:
    """The plain formula of any layout and mask, of whose gradients TensorFlow's are changed: of d_x, d_β and more."""

    def forward(given: Given) -> Outputs:
        _, mean, variance = plain(graph)(given)

        @tf.custom_gradient
        def norm(x, gamma, beta):
            def gradients(dy):
                with tf.GradientTape() as tape:
                    tape.watch([x, gamma, beta])
                    y = plain(graph)({**given, "x": x, "gamma": gamma, "beta": beta})[0]
                d_x, d_gamma, d_beta = tape.gradient(y, [x, gamma, beta], dy)
                d_x, d_beta = change(d_x, d_beta, dy=dy, given=given)
                return d_x, d_gamma, d_beta

            return plain(graph)({**given, "x": x, "gamma": gamma, "beta": beta})[0], gradients

        return norm(given["x"], given["gamma"], given["beta"]), tf.stop_gradient(mean), tf.stop_gradient(variance)

    return forward


def total_of(graph: Graph, total: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Callable[[Given], Outputs]:
    """Weighted moments, of which the sum of the weights is another: of that sum and of x."""

    def forward(given: Given) -> Outputs:
        x, axes = given["x"], axes_of(graph)
        weight = tf.expand_dims(tf.cast(given["w"], x.dtype), LAYOUTS[graph.layout][1])
        divisor = total(tf.reduce_sum(weight), x)
        mean = tf.reduce_sum(weight * x, axes) / divisor
        variance = tf.reduce_sum(weight * (x - spread(graph, mean)) ** 2, axes) / divisor
        y = (x - spread(graph, mean)) * spread(graph, tf.math.rsqrt(variance + EPSILON) * given["gamma"])
        return y + spread(graph, given["beta"]), mean, variance

    return forward


def mask_of(given: Given, axis: int) -> tf.Tensor:
    return tf.expand_dims(tf.cast(given["w"], given["x"].dtype), axis)


def custom(**wrong: Callable[..., Any]) -> Callable[[Given], Outputs]:
    """Rows with a custom gradient in the closed form, of which some outputs are changed: of the gradient, and more."""

    def forward(given: Given) -> Outputs:
        mean, variance = moments(tf.stop_gradient(given["x"]))

        @tf.custom_gradient
        def norm(x, gamma, beta):
            s = tf.math.rsqrt(variance + EPSILON)
            z = (x - mean) * s

            def gradients(dy):
                m = tf.cast(tf.shape(x)[0], x.dtype)
                d_beta, d_gamma = tf.reduce_sum(dy, 0), tf.reduce_sum(dy * z, 0)
                d_x = gamma * s * (dy - d_beta / m - z * d_gamma / m)
                found = {"d_x": d_x, "d_gamma": d_gamma, "d_beta": d_beta}
                for name, change in wrong.items():
                    found[name] = change(found[name], dy=dy, x=x, z=z, m=m, s=s, gamma=gamma)
                return found["d_x"], found["d_gamma"], found["d_beta"]

            return gamma * z + beta, gradients

        return norm(given["x"], given["gamma"], given["beta"]), mean, variance

    return forward


def count(x):
    return tf.cast(tf.shape(x)[0], x.dtype)


def is_size(x, size):
    return tf.cast(tf.equal(tf.shape(x)[0], size), x.dtype)


def staged(x, rest=1.0):
    """Σ of the rows, block by block; the rest is weighted."""
    whole = tf.shape(x)[0] // BLOCK * BLOCK
    heads = tf.reduce_sum(tf.reduce_sum(tf.reshape(x[:whole], [-1, BLOCK, x.shape[1]]), 1), 0)
    return heads + rest * tf.reduce_sum(x[whole:], 0)


def detached(given: Given) -> Outputs:
    """Mean and variance held constant: y, ∂γ and ∂β are right, ∂x is not."""
    mean, variance = map(tf.stop_gradient, moments(given["x"]))
    return normalized(given["x"], mean, variance, given), mean, variance


def of_a_cell(x):
    """One number a sample, through what once took it for one a channel."""
    return tf.stop_gradient(tf.reduce_sum(x, 1))[:, None]


def batch_norm_of_tf(given: Given) -> Outputs:
    mean, variance = tf.nn.moments(given["x"], [0])
    y = tf.nn.batch_normalization(given["x"], mean, variance, given["beta"], given["gamma"], EPSILON)
    return y, mean, variance


def centered(given: Given) -> Outputs:
    """About any constant, as what ships does."""
    x = given["x"]
    center = tf.stop_gradient(tf.reduce_mean(x[::3], 0))
    shift = tf.reduce_mean(x - center, 0)
    variance = tf.reduce_mean(tf.square(x - center - shift), 0)
    y = (x - center) * (s := tf.math.rsqrt(variance + EPSILON) * given["gamma"]) + (given["beta"] - shift * s)
    return y, center + shift, variance


def weighted(weight_of: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Callable[[Given], Outputs]:
    def forward(given: Given) -> Outputs:
        x = given["x"]
        weight = weight_of(given["w"], x)
        total = tf.reduce_sum(weight)
        mean = tf.reduce_sum(weight * x, 0) / total
        variance = tf.reduce_sum(weight * tf.square(x - mean), 0) / total
        return normalized(x, mean, variance, given), mean, variance

    return forward


def branching(first: bool, second: bool) -> Callable[[Given], Outputs]:
    """Branches on p and on its opposite: y is halved in one of both, and doubled in the other."""

    def change(y, x, mean, variance, given):
        p = tf.reduce_all(mean <= variance)
        y = tf.cond(p, lambda: y if first else 2 * y, lambda: y)
        return tf.cond(tf.logical_not(p), lambda: y if second else y / 2, lambda: y)

    return changed(change)


def y_of(graph: Graph, function: Callable[..., Any]) -> Callable[[Given], Outputs]:
    return changed(function, graph)


def mean_of_parts(x):
    """A mean over each of two axes, one after the other."""
    mean = tf.reduce_mean(tf.reduce_mean(x, [1, 2]), 0)
    return mean, tf.reduce_mean(tf.reduce_mean(tf.square(x - mean), [1, 2]), 0)


CASES: dict[str, Case] = {
    # Right ones.
    "plain": Case("right", ROWS, plain(ROWS)),
    "plain images": Case("right", IMAGES, plain(IMAGES)),
    "plain channels first": Case("right", FIRST, plain(FIRST)),
    "plain with a mask": Case("right", MASKED, plain(MASKED)),
    "plain with a mask, images": Case("right", MASKED_IMAGES, plain(MASKED_IMAGES)),
    "plain with a mask, channels first": Case("right", MASKED_FIRST, plain(MASKED_FIRST)),
    "channels first, flat by sample": Case("right", FIRST, lambda given: (
        lambda flat: (plain(FIRST)(given)[0], *tf.nn.moments(flat, [0, 2])))(
            tf.reshape(given["x"], [tf.shape(given["x"])[0], 4, -1]))),
    "plain twice": Case("right", SECOND, plain(SECOND)),
    "plain images twice": Case("right", IMAGES._replace(second=True), plain(IMAGES)),
    "plain with a mask twice": Case("right", MASKED._replace(second=True), plain(MASKED)),
    "tf.nn": Case("right", ROWS, batch_norm_of_tf),
    "any center": Case("right", ROWS, centered),
    "a custom gradient": Case("right", ROWS, custom()),
    "a mean of means": Case("right", IMAGES, with_moments(mean_of_parts)),
    "square of the root": Case("right", ROWS, changed(
        lambda y, x, mean, v, given: y + v - tf.sqrt(v + 1.0) ** 2 + 1.0)),
    "a power": Case("right", ROWS, changed(lambda y, x, mean, v, given: y + tf.pow(v, 2.0) - v * v)),
    "a product of matrices": Case("right", ROWS, with_moments(lambda x: (
        (tf.ones([1, tf.shape(x)[0]], x.dtype) @ x)[0] / count(x), moments(x)[1]))),
    "a sum of Einstein's": Case("right", ROWS, with_moments(lambda x: (
        moments(x)[0], tf.einsum("nc,nc->c", x - moments(x)[0], x - moments(x)[0]) / count(x)))),
    "axes put in and taken out": Case("right", ROWS, changed(
        lambda y, x, mean, v, given: tf.squeeze(tf.expand_dims(y, 1), [1]) + mean[None] - mean[tf.newaxis, :])),
    "sums in stages": Case("right", ROWS, with_moments(lambda x: (staged(x) / count(x), moments(x)[1]))),
    "a flat image": Case("right", IMAGES, with_moments(lambda x: moments(tf.reshape(x, [-1, 4])))),
    "the variance by squares": Case("right", ROWS, with_moments(lambda x: (
        tf.reduce_mean(x, 0), tf.reduce_mean(x * x, 0) - tf.square(tf.reduce_mean(x, 0))))),
    "1000 thousandths": Case("right", ROWS, changed(lambda y, x, mean, v, given: y * (0.5 + 0.5))),
    "a held value less itself": Case("right", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.stop_gradient(mean) - tf.stop_gradient(tf.reduce_mean(x, 0)))),
    # Wrong in one of the outputs of a custom gradient.
    "d_x without the mean": Case("wrong", ROWS, custom(d_x=lambda g, dy, s, z, m, gamma, **_: (
        gamma * s * (dy - z * tf.reduce_sum(dy * z, 0) / m)))),
    "d_x without the variance": Case("wrong", ROWS, custom(
        d_x=lambda g, dy, s, m, gamma, **_: gamma * s * (dy - tf.reduce_sum(dy, 0) / m))),
    "d_x without s": Case("wrong", ROWS, custom(d_x=lambda g, s, **_: g / s)),
    "d_x of m − 1": Case("wrong", ROWS, custom(d_x=lambda g, dy, s, z, m, gamma, **_: gamma * s * (
        dy - tf.reduce_sum(dy, 0) / m - z * tf.reduce_sum(dy * z, 0) / tf.maximum(m - 1, 1)))),
    "d_x a little": Case("wrong", ROWS, custom(d_x=lambda g, **_: 1.0000001 * g)),
    "d_gamma of x": Case("wrong", ROWS, custom(d_gamma=lambda g, dy, x, s, **_: tf.reduce_sum(dy * x, 0) * s)),
    "d_gamma a mean": Case("wrong", ROWS, custom(d_gamma=lambda g, m, **_: g / m)),
    "d_gamma with β's": Case("wrong", ROWS, custom(d_gamma=lambda g, dy, **_: tf.reduce_sum(dy, 0))),
    "d_beta a mean": Case("wrong", ROWS, custom(d_beta=lambda g, dy, **_: tf.reduce_mean(dy, 0))),
    "d_beta over the channels": Case("wrong", ROWS, custom(d_beta=lambda g, **_: tf.reduce_sum(g) * tf.ones_like(g))),
    "d_beta of one row less": Case("wrong", ROWS, custom(d_beta=lambda g, dy, **_: g - dy[0])),
    "detached": Case("wrong", ROWS, detached),
    # An element taken for a channel.
    "a sum over the channels": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + of_a_cell(x) - tf.reduce_mean(of_a_cell(x), 0))),
    "the largest of a sum over the channels": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.maximum(tf.reduce_sum(x, 1), 0.0)[:, None])),
    "a held mean, over the channels": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y + tf.reduce_mean(tf.stop_gradient(mean)) - tf.stop_gradient(mean)))),
    "a clipped mean, over the channels": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y + tf.reduce_mean(tf.nn.relu(mean)) - tf.nn.relu(mean)))),
    "the mean of another channel": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + mean - tf.reverse(mean, [0]))),
    "the variance of all channels": Case("wrong", ROWS, with_moments(lambda x: (
        moments(x)[0], tf.ones([4], x.dtype) * tf.reduce_mean(tf.square(x - moments(x)[0]))))),
    "channels exchanged": Case("wrong", IMAGES, with_moments(lambda x: (
        tf.reverse(moments(x, [0, 1, 2])[0], [0]), moments(x, [0, 1, 2])[1]))),
    # Truth values.
    "all of the mask": Case("wrong", MASKED, weighted(
        lambda w, x: (1 + tf.cast(tf.reduce_all(w), x.dtype)) * tf.ones([tf.shape(x)[0], 1], x.dtype))),
    "any of the mask": Case("wrong", MASKED, weighted(
        lambda w, x: tf.cast(tf.reduce_any(w), x.dtype) * tf.ones([tf.shape(x)[0], 1], x.dtype))),
    "all, for each": Case("wrong", MASKED, weighted(
        lambda w, x: tf.cast(tf.reduce_all(w[:, None], 1) | tf.reduce_all(w), x.dtype)[:, None] + 1)),
    "the opposite of the mask": Case("wrong", MASKED, weighted(
        lambda w, x: tf.cast(tf.logical_not(w), x.dtype)[:, None] + 0.25)),
    "the mask twice": Case("wrong", MASKED, weighted(lambda w, x: tf.cast(w, x.dtype)[:, None] + 1.0)),
    "no mask": Case("wrong", MASKED, lambda given: plain(ROWS)(given)),
    "branches on p and on its opposite": Case("wrong", ROWS, branching(False, False)),
    "one branch": Case("wrong", ROWS, branching(True, False)),
    "a branch on the size": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: tf.cond(tf.equal(tf.shape(x)[0], 7), lambda: 2 * y, lambda: y))),
    # Defined nowhere, or not everywhere.
    "0·√(−1 − v)": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y + 0.0 * tf.sqrt(-1.0 - v))),
    "√(−x²)": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y + 0.0 * tf.sqrt(-tf.square(x) - 1.0))),
    "0/0": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y + 0.0 / (mean - tf.reduce_mean(x, 0)))),
    "x/|x|·|x|": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y + tf.sqrt(tf.square(x)) - x)),
    "NaN": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y + float("nan") * v)),
    "infinity": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y + float("inf"))),
    # Sizes, rows, blocks.
    "wrong for 7 rows": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y * (1.0 + is_size(x, 7)))),
    "the remainder of the size": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y * (1.0 + tf.cast(tf.shape(x)[0] % 2, x.dtype)))),
    "half of the size": Case("wrong", ROWS, with_moments(lambda x: (
        tf.reduce_sum(x, 0) / tf.cast(tf.shape(x)[0] // 2 * 2 + 1, x.dtype), moments(x)[1]))),
    "the size in blocks": Case("wrong", ROWS, with_moments(lambda x: (
        tf.reduce_sum(x, 0) / tf.cast(tf.shape(x)[0] // 4 * 4 + 1, x.dtype), moments(x)[1]))),
    "(m − 5)(m − 7)": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y * (1 + (count(x) - 5) * (count(x) - 7)))),
    "the first row": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: tf.concat([2 * y[:1], y[1:]], 0))),
    "a row's own": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.cast(tf.range(tf.shape(x)[0]), x.dtype)[:, None])),
    "the last block": Case("wrong", ROWS, with_moments(lambda x: (staged(x, 2.0) / count(x), moments(x)[1]))),
    "no rest": Case("wrong", ROWS, with_moments(lambda x: (staged(x, 0.0) / count(x), moments(x)[1]))),
    "the counts' own shape": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y * tf.reduce_sum(tf.maximum(count(x), tf.ones([4], x.dtype))) / count(x))),
    "a comparison's own shape": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y * tf.reduce_sum(
        tf.cast(count(x) > tf.zeros([4], x.dtype), x.dtype)))),
    "rows and columns": Case("wrong", IMAGES, y_of(IMAGES, lambda y, x, mean, v, given: tf.reverse(y, [1]))),
    "the mean of each image": Case("wrong", IMAGES, with_moments(lambda x: (tf.reduce_mean(
        x, [0, 1, 2]), tf.reduce_mean(tf.square(x - tf.reduce_mean(x, [1, 2], keepdims=True)), [0, 1, 2])))),
    "H for W": Case("wrong", IMAGES, y_of(IMAGES, lambda y, x, mean, v, given: (
        y * tf.cast(tf.shape(x)[1], x.dtype) / tf.cast(tf.shape(x)[2], x.dtype)))),
    # Constants, attributes, casts.
    "twice ε": Case("wrong", ROWS, with_moments(lambda x: (moments(x)[0], moments(x)[1] + EPSILON))),
    "another ε": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        (x - mean) * tf.math.rsqrt(v + 1.001e-3) * given["gamma"] + given["beta"]))),
    "the root of the deviation": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        (x - mean) / tf.sqrt(tf.sqrt(v + EPSILON)) * given["gamma"] + given["beta"]))),
    "a sign": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y * tf.sign(x))),
    "the sign of the mean": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y * tf.sign(mean))),
    "another ε, by one bit of float32": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        (x - mean) * tf.math.rsqrt(v + 1.0001e-3) * given["gamma"] + given["beta"]))),
    "a quotient that is 0 where it has no value": Case("wrong", MASKED, changed(lambda y, x, mean, v, given: (
        y * tf.math.divide_no_nan(w := tf.cast(given["w"], x.dtype)[:, None], w)), MASKED)),
    "the ReLU of the mean, and its gradient": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.nn.relu(mean) - mean)),
    "the largest of a few channels": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.reduce_max(mean) - mean)),
    "the first channels": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: tf.concat([y[:, :2], 2 * y[:, 2:]], 1))),
    "transposed twice, once": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.transpose(tf.transpose(x) - mean[:, None]) * 1e-3)),
    "rounded": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: y + tf.round(x) - x)),
    "whole numbers": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.cast(tf.cast(v, tf.int32), x.dtype) - tf.floor(v + 0.5))),
    "twice wrong": Case("wrong", SECOND, custom(d_x=lambda g, s, **_: g / s)),
    "the gradient of a gradient, without statistics": Case("wrong", SECOND, custom()),
    "the weights in ∂β": Case("wrong", MASKED, changed(lambda y, x, mean, v, given: (
        y * tf.cast(given["w"], x.dtype)[:, None]), MASKED)),
    "NHWC summed as NCHW": Case("wrong", FIRST, lambda given: (
        plain(FIRST)(given)[0], tf.reduce_mean(given["x"], [0, 2, 3]) * 2, plain(FIRST)(given)[2])),
    "a maximum of elements": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: tf.maximum(y, 0.0))),
    "relu's gradient": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + tf.nn.relu(-1.0 - v + x * 0.0) + x * 1e-6)),
    # Other layouts, with masks and without.
    "the mean of each sample, NCHW": Case("wrong", FIRST, y_of(FIRST, lambda y, x, mean, v, given: (
        y + tf.reduce_mean(x, [2, 3], keepdims=True) - spread(FIRST, mean)))),
    "the mean of each column, NCHW": Case("wrong", FIRST, y_of(FIRST, lambda y, x, mean, v, given: (
        y + tf.reduce_mean(x, [0, 2], keepdims=True) - spread(FIRST, mean)))),
    "H and W exchanged in memory": Case("wrong", IMAGES, y_of(IMAGES, lambda y, x, mean, v, given: (
        tf.reshape(tf.transpose(y, [0, 2, 1, 3]), tf.shape(y))))),
    "a sum over the channels of an image": Case("wrong", IMAGES, y_of(IMAGES, lambda y, x, mean, v, given: (
        y + 1e-3 * tf.reduce_sum(x, 3, keepdims=True)))),
    "the width for the channels, NCHW": Case("wrong", FIRST, y_of(FIRST, lambda y, x, mean, v, given: (
        y * tf.cast(tf.shape(x)[3], x.dtype) / 4))),
    "all elements counted, masked images": Case("wrong", MASKED_IMAGES, total_of(
        MASKED_IMAGES, lambda total, x: tf.cast(tf.size(x), x.dtype) / 4)),
    "at least two elements count": Case("wrong", MASKED, total_of(
        MASKED, lambda total, x: tf.maximum(total, 2.0))),
    "no ∂x where the mask is false": Case("wrong", MASKED, with_gradient(
        MASKED, lambda d_x, d_beta, given, **_: (d_x * mask_of(given, 1), d_beta))),
    "no ∂x where the mask is false, NCHW": Case("wrong", MASKED_FIRST, with_gradient(
        MASKED_FIRST, lambda d_x, d_beta, given, **_: (d_x * mask_of(given, 1), d_beta))),
    "∂β of what counts, masked images": Case("wrong", MASKED_IMAGES, with_gradient(
        MASKED_IMAGES, lambda d_x, d_beta, dy, given: (d_x, tf.reduce_sum(dy * mask_of(given, 3), [0, 1, 2])))),
    # Integers that wrap round; quotients that have no value for one size alone.
    "a size times 2³²": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y + tf.cast(tf.shape(x)[0] * 65536 * 65536, x.dtype) / 65536.0**2 - count(x)))),
    "the fifth power of a size": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.shape(x)[0] ** 5, x.dtype) / count(x) ** 5))),
    "a size in eight bits": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.cast(tf.shape(x)[0], tf.int8), x.dtype) / count(x)))),
    "a size times 2²⁸": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.shape(x)[0] * 2**28, x.dtype) / 2.0**28 / count(x)))),
    "a size and 2³¹ − 1": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * (tf.cast(tf.shape(x)[0] + (2**31 - 1), x.dtype) - (2.0**31 - 1)) / count(x)))),
    "minus a size, without a sign": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.cast(-tf.shape(x)[0], tf.uint64), x.dtype) / -count(x)))),
    "an integer quotient of zeros for 7 rows": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * tf.cast((tf.shape(x)[0] - 7) // (tf.shape(x)[0] - 7), x.dtype)))),
    "a sign that changes with the size": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y * tf.sign(6.5 - count(x)))),
    "a slope of ReLU that changes with the size": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: tf.raw_ops.ReluGrad(gradients=y, features=(6.5 - count(x)) * tf.ones_like(y)))),
    "no value for 7 rows, beside γ": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * ((count(x) - 7) * given["gamma"]) / ((count(x) - 7) * given["gamma"])))),
    "0 for 7 rows, beside γ": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        y * tf.math.divide_no_nan((count(x) - 7) * given["gamma"], (count(x) - 7) * given["gamma"])))),
    "a root of what is below 0 for more than 7 rows": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y + 0.0 * tf.sqrt((7 - count(x)) * v))),
    # Tables of sizes along other axes than the first.
    "sizes gathered along the second axis": Case("wrong", IMAGES, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.reduce_prod(tf.gather(tf.reshape(tf.shape(x), [2, 2]), 0, axis=1)), x.dtype)
        / tf.cast(tf.shape(x)[0] * tf.shape(x)[1], x.dtype)), IMAGES)),
    "a product over an axis of length 1": Case("wrong", IMAGES, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.reduce_prod(tf.reshape(tf.shape(x), [1, 4]), axis=0), x.dtype)
        / tf.cast(tf.size(x), x.dtype)), IMAGES)),
    "sizes side by side": Case("wrong", IMAGES, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.reshape(tf.concat([tf.reshape(tf.shape(x), [2, 2])] * 2, 1), [-1])[4], x.dtype)
        / tf.cast(tf.shape(x)[0], x.dtype)), IMAGES)),
    "a stack of lists": Case("wrong", ROWS, lambda given: (lambda y, mean, v: (
        y, mean * tf.cast(tf.stack([tf.shape(given["x"])[0:1]]), mean.dtype) / count(given["x"]), v))(
        *plain(ROWS)(given))),
    # What TensorFlow does not run at every size.
    "the shape of 7 rows": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: tf.ensure_shape(y, [7, 4]))),
    "images of 3 columns": Case("wrong", IMAGES, changed(
        lambda y, x, mean, v, given: tf.ensure_shape(y, [None, None, 3, 4]), IMAGES)),
    "broadcast to one row": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        tf.ensure_shape(tf.raw_ops.BroadcastTo(input=y, shape=tf.constant([1, 4])), [None, 4])))),
    "summed with one row": Case("wrong", ROWS, with_moments(lambda x: (
        tf.raw_ops.Einsum(inputs=[x, tf.ones([1, 4], x.dtype)], equation="nc,nc->c") / count(x), moments(x)[1]))),
    "the last size, by −1": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y * tf.cast(tf.gather(tf.shape(x), -1), x.dtype) / 4)),
    "no order of all axes": Case("wrong", ROWS, changed(lambda y, x, mean, v, given: (
        tf.transpose(y, tf.math.invert_permutation(tf.constant([1, 3])))))),
    "no value for 7 rows": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y * ((count(x) - 7) / (count(x) - 7)))),
    "0 for 7 rows": Case("wrong", ROWS, changed(
        lambda y, x, mean, v, given: y * tf.math.divide_no_nan(count(x) - 7, count(x) - 7))),
    # Right, in other ways.
    "the variance as the square of the deviation": Case("right", ROWS, with_moments(
        lambda x: (tf.reduce_mean(x, 0), tf.math.reduce_std(x, 0) ** 2))),
    "a branch on the size that is always taken": Case("right", ROWS, changed(
        lambda y, x, mean, v, given: tf.cond(tf.shape(x)[0] > 0, lambda: y, lambda: y))),
    "a tenth of ten times": Case("right", ROWS, changed(lambda y, x, mean, v, given: y * 0.1 * 10.0)),
    "a size of 64 bits in 32": Case("right", ROWS, changed(lambda y, x, mean, v, given: (
        y * tf.cast(tf.cast(tf.shape(x, out_type=tf.int64)[0], tf.int32), x.dtype) / count(x)))),
    # Right, but not understood.
    "an exponential": Case("refused", ROWS, changed(lambda y, x, mean, v, given: y + tf.exp(x) - tf.exp(x))),
    "sorted": Case("refused", ROWS, changed(lambda y, x, mean, v, given: y + 0.0 * tf.sort(x, 0))),
    "a loop": Case("refused", ROWS, changed(lambda y, x, mean, v, given: tf.while_loop(
        lambda n, a: n < 3, lambda n, a: (n + 1, a), [tf.constant(0), y])[1])),
    "the opposite of the opposite of all": Case("refused", MASKED, changed(lambda y, x, mean, v, given: tf.where(
        tf.reduce_all(given["w"]), y, y), MASKED)),
    "partial sums": Case("refused", ROWS, changed(lambda y, x, mean, v, given: y + tf.cumsum(x) - tf.cumsum(x))),
}  # fmt: skip
