"""No tool ignores an option of the layer that it does not know."""

import inspect
import warnings

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


# For each option of our own a value that is not the default.
OTHER = {
    "renorm_clipping": {"renorm": True, "renorm_clipping": {"rmax": 2.0}},
    "statistics": {"statistics": "batch"},
    "zero_debias": {"zero_debias": True},
    "unbiased_variance": {"unbiased_variance": True},
    "virtual_batch_size": {"virtual_batch_size": 2},
    "activation": {"activation": "relu"},
    "engine": {"engine": "closed_form"},
}


def test_there_is_a_value_for_each_option_that_the_built_in_layer_lacks():
    ours, theirs = (
        set(inspect.signature(layer).parameters)
        for layer in (keras_bn.BatchNormalization, keras.layers.BatchNormalization)
    )
    assert ours - theirs <= set(OTHER)


@pytest.mark.parametrize("option", OTHER)
def test_an_option_is_in_the_config(option):
    layer = keras_bn.BatchNormalization(**OTHER[option])
    assert layer.get_config()[option] != keras_bn.BatchNormalization().get_config().get(option)
    again = keras_bn.BatchNormalization.from_config(layer.get_config())
    assert again.get_config()[option] == layer.get_config()[option]


@pytest.mark.parametrize("option", OTHER)
@pytest.mark.parametrize(
    "tool",
    [
        keras_bn.fold,
        lambda model: keras_bn.revert(model, lossy=True),
        lambda model: keras_bn.to_torch_state_dict(model.layers[-1]),
        lambda model: keras_bn.recalibrate(model, np.ones((4, 3), "float32")),
    ],
    ids=["fold", "revert", "to_torch", "recalibrate"],
)
def test_a_tool_does_with_an_option_what_the_table_says_or_refuses_it(tool, option):
    norm = keras_bn.BatchNormalization(name="norm", **OTHER[option])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), norm])
    refused = ""
    with warnings.catch_warnings(action="ignore"):  # that nothing was folded, or is lost
        try:
            tool(model)
        except ValueError as error:
            refused = str(error)
    assert not refused or (option.split("_")[0] in refused and "Received" in refused)
