"""Ten training steps beside ``torch.nn.BatchNorm1d/2d/3d``, in float64."""

import numpy as np
import pytest
import tensorflow as tf

import keras_bn

torch = pytest.importorskip("torch", reason="torch is an optional extra")

SHAPES = {"BatchNorm1d": (6, 3), "BatchNorm2d": (4, 3, 5, 2), "BatchNorm3d": (3, 3, 2, 4, 2)}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 0.4, None])
@pytest.mark.parametrize("affine", [True, False])
def test_ten_steps(name, momentum, affine):
    shape = SHAPES[name]
    theirs = getattr(torch.nn, name)(3, eps=1e-5, momentum=momentum, affine=affine).double()
    ours = keras_bn.BatchNormalization(
        axis=1,
        momentum=None if momentum is None else 1 - momentum,
        epsilon=1e-5,
        center=affine,
        scale=affine,
        unbiased_variance=True,
        dtype="float64",
    )
    ours.build(shape)
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, dy = rng.normal(2.0, 3.0, shape), rng.normal(size=shape)
        x_torch, x_ours = torch.tensor(x, requires_grad=True), tf.constant(x)
        y_torch = theirs(x_torch)
        y_torch.backward(torch.tensor(dy))
        with tf.GradientTape() as tape:
            tape.watch(x_ours)
            y = ours(x_ours, training=True)
        weights = [weight.value for weight in ours.trainable_variables]
        dx, *gradients = tape.gradient(y, [x_ours, *weights], dy)
        np.testing.assert_allclose(y, y_torch.detach(), atol=1e-12)
        np.testing.assert_allclose(dx, x_torch.grad, atol=1e-12)
        for parameter, weight, gradient in zip(theirs.parameters(), weights, gradients, strict=True):
            np.testing.assert_allclose(gradient, parameter.grad, atol=1e-11)
            weight.assign_sub(0.1 * gradient)
            with torch.no_grad():
                parameter -= 0.1 * parameter.grad
            parameter.grad = None
    np.testing.assert_allclose(ours.moving_mean, theirs.running_mean, atol=1e-12)
    np.testing.assert_allclose(ours.moving_variance, theirs.running_var, atol=1e-12)
    x = rng.normal(size=shape)
    np.testing.assert_allclose(ours(x), theirs.eval()(torch.tensor(x)).detach(), atol=1e-12)
