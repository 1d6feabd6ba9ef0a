"""Averaged weights: the moving statistics that belong to them come and go with them."""

import keras
import numpy as np
import pytest

import keras_bn

X = np.random.default_rng(0).normal(2.0, 3.0, (64, 4)).astype("float32")
Y = (X @ [[1.0], [2.0], [3.0], [4.0]]).astype("float32")


def network(kind: type = keras_bn.BatchNormalization, **optimizer) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), kind(name="norm"), keras.layers.Dense(1)])
    options = {"use_ema": True, "ema_momentum": 0.9, **optimizer}
    model.compile(keras.optimizers.SGD(0.01, **options), "mse")
    return model


def inputs_of_norm(model: keras.Model) -> np.ndarray:
    kernel, bias = (weight.numpy().astype("float64") for weight in model.layers[0].weights)
    return X @ kernel + bias


class Recorder(keras.callbacks.Callback):
    """What is in the model at the end of epochs and of evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def on_test_begin(self, logs=None):
        norm = self.model.get_layer("norm")
        self.seen.append((inputs_of_norm(self.model).mean(0), norm.moving_mean.numpy()))


@pytest.mark.parametrize("kind", [keras_bn.BatchNormalization, keras.layers.BatchNormalization])
@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_32_statistics_are_those_of_the_averaged_weights(kind, swap_on_epoch):
    model, seen = network(kind), Recorder()
    callback = keras_bn.SwapEMAWeights(X, batch_size=64, swap_on_epoch=swap_on_epoch)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0, validation_data=(X, Y), callbacks=[callback, seen])
    assert len(seen.seen) == 2
    for expected, moving_mean in seen.seen:
        np.testing.assert_allclose(moving_mean, expected, rtol=1e-4, atol=1e-4)
    # After fit, the averages are in the model, and their statistics.
    np.testing.assert_allclose(model.get_layer("norm").moving_mean, inputs_of_norm(model).mean(0), rtol=1e-4, atol=1e-4)
    x = inputs_of_norm(model)
    np.testing.assert_allclose(model.get_layer("norm").moving_variance, x.var(0), rtol=1e-4)


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_what_training_had_comes_back(call):
    model = network()
    model.fit(X, Y, batch_size=16, verbose=0)
    model.train_on_batch(X, Y)
    before = [weight.numpy() for weight in model.weights]
    callback = keras_bn.SwapEMAWeights(X, batch_size=64)
    arguments = (X, Y) if call == "evaluate" else (X,)
    getattr(model, call)(*arguments, verbose=0, callbacks=[callback])
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-6)  # Keras swaps by adding and subtracting
    assert model.get_layer("norm").moving_mean.numpy().tolist() == before[4].tolist()


def test_keras_own_callback_leaves_the_old_statistics():
    model, seen = network(), Recorder()
    model.fit(
        X, Y, batch_size=16, verbose=0, validation_data=(X, Y), callbacks=[keras.callbacks.SwapEMAWeights(), seen]
    )
    ((expected, moving_mean),) = seen.seen
    assert np.abs(moving_mean - expected).max() > 0.1


def test_an_optimizer_without_averages_is_named():
    model = network(use_ema=False, ema_momentum=0.99)
    with pytest.raises((ValueError, AttributeError), match=r"use_ema|moving_average"):
        model.evaluate(X, Y, verbose=0, callbacks=[keras_bn.SwapEMAWeights(X)])


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (None, {}, TypeError),
        (np.zeros((4, 2)), {"batch_size": 0}, ValueError),
        (np.zeros((4, 2)), {"steps": "a"}, (TypeError, ValueError)),
        ((np.zeros((4, 2)) for _ in range(3)), {"steps": 3}, ValueError),
        (np.zeros((4, 2)), {"swap_on_epoch": "no"}, TypeError),
    ],
)
def test_what_it_cannot_use_is_refused_before_training(data, options, error):
    with pytest.raises(error, match="Received"):
        keras_bn.SwapEMAWeights(data, **options)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_after_a_pass_that_failed_the_model_is_as_in_training(swap_on_epoch):
    class Breaks:
        def __len__(self):
            return 1

        def __iter__(self):
            raise RuntimeError("the disk is gone")

    model = keras.Sequential([keras.Input((2,)), keras_bn.BatchNormalization(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    x = np.random.default_rng(0).normal(3, 1, (16, 2))
    before = []

    class Sees(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            before[:] = [value.copy() for value in self.model.get_weights()]

    swap = keras_bn.SwapEMAWeights(Breaks(), swap_on_epoch=swap_on_epoch)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        model.fit(x, x[:, :1], validation_data=(x, x[:, :1]), callbacks=[Sees(), swap], verbose=0)
    for found, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-6)  # swapped by additions in float32
