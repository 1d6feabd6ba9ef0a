"""No tool ignores an option of the layer that it does not know."""

import inspect

import keras
import numpy as np
import pytest

import keras_bn
from keras_bn.model_tools.options import OPTIONS


def test_the_table_holds_every_option_of_the_layer():
    options = set(inspect.signature(keras_bn.BatchNormalization).parameters) - {"kwargs"}
    assert set(OPTIONS) == options
    assert all(all(treatment) for treatment in OPTIONS.values())


@pytest.mark.parametrize(
    "tool",
    [
        keras_bn.fold,
        keras_bn.revert,
        lambda model: keras_bn.to_torch_state_dict(model.layers[-1]),
        lambda model: keras_bn.recalibrate(model, np.ones((4, 3), "float32")),
    ],
    ids=["fold", "revert", "to_torch", "recalibrate"],
)
def test_an_unknown_option_is_refused(tool, monkeypatch):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras_bn.BatchNormalization(name="norm")])
    known = keras_bn.BatchNormalization.get_config
    monkeypatch.setattr(keras_bn.BatchNormalization, "get_config", lambda self: known(self) | {"gain": 2.0})
    with pytest.raises(ValueError, match="Received: norm with gain, which it does not know"):
        tool(model)
