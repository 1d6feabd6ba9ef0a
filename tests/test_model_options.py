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


@pytest.fixture
def model(request):
    """A layer with an option that is not the default, statistics that are no longer those of a new one, and another."""
    norm = keras_bn.BatchNormalization(name="norm", **OTHER[request.param])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), norm, keras.layers.BatchNormalization()])
    rng = np.random.default_rng(0)
    for weight in norm.weights:
        if weight.dtype == "float32" and weight.name != "update_count":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


X = np.random.default_rng(1).normal(1, 2, (8, 3)).astype("float32")


def infer_torch(model):
    """The first normalization of the model by the state dictionary, by PyTorch's formula for inference."""
    norm = model.layers[1]
    state = keras_bn.to_torch_state_dict(norm)
    mean, variance, scale, offset = (
        np.asarray(state[name]) for name in ("running_mean", "running_var", "weight", "bias")
    )
    h = (model.layers[0](X).numpy() - mean) / np.sqrt(variance + norm.epsilon) * scale + offset
    return model.layers[2](h, training=False)


def recalibrated_second_layer(model):
    """What the second normalization learned, when the batch had passed the first."""
    norm = model.layers[1]
    h = model.layers[0](X)
    # Renormalization would give back what the old statistics make of the batch.
    h = keras_bn.batch_norm(h, norm.gamma, norm.beta, epsilon=norm.epsilon).y if norm.renorm else norm(h, training=True)
    second = keras_bn.recalibrate(model, X).layers[2]
    np.testing.assert_allclose(second.moving_mean, np.mean(h, 0), rtol=1e-5, atol=1e-6)


TOOLS = {
    "fold": lambda model: keras_bn.fold(model)(X, training=False),
    "revert": lambda model: keras_bn.revert(model)(X, training=False),
    "revert, lossy": lambda model: keras_bn.revert(model, lossy=True)(X, training=False),
    "to_torch": infer_torch,
    "recalibrate": recalibrated_second_layer,
}


@pytest.mark.parametrize("model", OTHER, indirect=True)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_keeps_what_inference_gives_or_refuses_the_option(tool, model, request):
    option = request.node.callspec.params["model"]
    expected = model(X, training=False)
    refused, found = "", None
    with warnings.catch_warnings(action="ignore"):  # that nothing was folded, or is lost
        try:
            found = TOOLS[tool](model)
        except ValueError as error:
            refused = str(error)
    if refused:
        assert option.split("_")[0] in refused
        assert "Received" in refused
    elif found is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)  # float32, of the order 1
    says = getattr(OPTIONS[option], tool.partition(",")[0])
    assert "refused" in says if refused else says != "refused"
