"""Batch normalization from PyTorch and back: outputs, gradients and running statistics of both, side by side."""

import contextlib
import copy
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bn import BatchNormalization, UntrackedBatchNormalization, convert, from_torch, to_torch, to_torch_state_dict

torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")

SHAPES = {
    "BatchNorm1d": [(6, 3), (6, 3, 5)],
    "BatchNorm2d": [(4, 3, 5, 2)],
    "BatchNorm3d": [(3, 3, 2, 4, 2)],
    "SyncBatchNorm": [(6, 3), (4, 3, 5, 2)],
}
CASES = [(name, shape) for name, shapes in SHAPES.items() for shape in shapes]
OPTIONS = [
    {},
    {"momentum": None},
    {"momentum": 0.3, "eps": 1e-2},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
]


def draw(name, shape, dtype=torch.float64, **options):
    """A module that has seen some batches, and whose weights are not those of a new one."""
    module = getattr(torch.nn, name)(3, **options).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand(3, generator=generator) + 0.5)
    for _ in range(3):
        module(2 * torch.rand(shape, generator=generator).to(dtype) + 3)
    return module


def channels_last(values):
    return np.moveaxis(np.asarray(values), 1, -1)


def training_step(module, layer, x, dy, axis):
    """(outputs, dx, dgamma, dbeta) of both in training."""
    x_torch = torch.tensor(x, requires_grad=True)
    module.zero_grad()
    y_torch = module(x_torch)
    y_torch.backward(torch.tensor(dy))
    place = channels_last if axis == -1 else np.asarray
    theirs = [place(y_torch.detach()), place(x_torch.grad)]
    theirs += [parameter.grad.numpy().copy() for parameter in module.parameters()]
    x_ours = tf.Variable(place(x))
    with tf.GradientTape() as tape:
        y = layer(x_ours, training=True)
    weights = [v.value for v in layer.trainable_variables]
    return theirs, [y, *tape.gradient(y, [x_ours, *weights], tf.constant(place(dy)))]


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_inference_training_and_running_statistics(name, shape, options, axis):
    module = draw(name, shape, **options)
    layer = from_torch(module, axis=axis, dtype="float64")
    rng = np.random.default_rng(0)
    place = channels_last if axis == -1 else np.asarray
    for _ in range(10):
        x, dy = rng.normal(size=(2, *shape)) + 1
        for theirs, ours in zip(*training_step(module.train(), layer, x, dy, axis), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            layer(place(x)), place(module.eval()(torch.tensor(x)).detach()), rtol=1e-9, atol=1e-9
        )
    if module.running_mean is not None:
        np.testing.assert_allclose(layer.moving_mean, module.running_mean, rtol=1e-12)
        np.testing.assert_allclose(layer.moving_variance, module.running_var, rtol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_there_and_back(name, shape, options):
    module = draw(name, shape, **options)
    layer = from_torch(module)
    layer(channels_last(np.ones(shape)))
    back = to_torch(layer)
    untracked_sync = name == "SyncBatchNorm" and not module.track_running_stats
    assert untracked_sync or type(back) is type(module)
    assert (back.eps, back.momentum, back.affine, back.track_running_stats) == (
        module.eps,
        module.momentum,
        module.affine,
        module.track_running_stats,
    )
    theirs, ours = module.state_dict(), back.state_dict()
    assert list(ours) == list(theirs)
    for entry in theirs:
        assert torch.equal(ours[entry], theirs[entry]), entry
    state = to_torch_state_dict(layer)
    assert list(state) == list(theirs)
    module.load_state_dict(state)


def test_modules_are_not_changed():
    module = draw("BatchNorm2d", (4, 3, 2, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    layer = from_torch(module)
    layer(np.random.default_rng(0).normal(size=(4, 2, 2, 3)), training=True)
    layer.gamma.assign([9.0, 9.0, 9.0])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    module = to_torch(layer)
    module(torch.ones(2, 3, 1, 1, dtype=torch.float64))
    assert not np.array_equal(layer.moving_mean, module.running_mean)


@pytest.mark.parametrize("shape", [(2, 3), (2, 7, 3)], ids=str)
def test_a_layer_of_unknown_rank_takes_that_of_its_first_call(shape):
    module = draw("BatchNorm1d", (6, 3))
    layer = from_torch(module)
    np.testing.assert_array_equal(layer.moving_mean, module.running_mean)
    x = np.random.default_rng(0).normal(size=shape)
    theirs = module.eval()(torch.tensor(np.moveaxis(x, -1, 1))).detach()
    np.testing.assert_allclose(layer(x), channels_last(theirs), rtol=1e-12)
    with pytest.raises(ValueError, match=f"inputs of rank {len(shape)}"):
        layer(np.ones((2, 4, 4, 3)))
    assert len(layer.get_build_config()["input_shape"]) == len(shape)
    with pytest.raises(ValueError, match="inputs of rank 2"):
        from_torch(module, rank=2)(np.ones((2, 4, 3)))


COPIES = {
    "convert": lambda layer: convert(layer, engine="closed_form"),
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "in a model": lambda layer: convert(keras.Sequential([layer])).layers[0],
}


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3)], ids=str)
def test_a_copy_made_before_the_first_call_has_the_weights(shape, name):
    module = draw("BatchNorm1d", (6, 3), momentum=None)
    module.bias.requires_grad_(False)
    layer = COPIES[name](from_torch(module))
    # What Keras saves does not tell which variables are trainable.
    assert name in ("deepcopy", "pickle") or [v.name for v in layer.trainable_variables] == ["gamma"]
    assert layer.update_count.numpy().tolist() == [3, 3, 3]
    x = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(layer(x), from_torch(module)(x), rtol=1e-12)


def test_a_frozen_layer_is_frozen_in_a_model():
    layer = from_torch(draw("BatchNorm2d", (4, 3, 2, 2), torch.float32), trainable=False)
    model = keras.Sequential([keras.Input((2, 2, 3)), layer, keras.layers.Dense(1)])
    assert [variable.name for variable in model.trainable_variables] == ["kernel", "bias"]


def test_renormalization_starts_from_the_running_statistics():
    module = draw("BatchNorm2d", (4, 3, 2, 2))
    layer = from_torch(module, renorm=True)
    np.testing.assert_array_equal(layer.renorm_mean, module.running_mean)
    np.testing.assert_allclose(layer.renorm_stddev, np.sqrt(module.running_var.numpy() + module.eps), rtol=1e-12)


STATE = {"weight": np.ones(3), "bias": np.ones(3), "running_mean": np.ones(3), "running_var": np.ones(3)}


@pytest.mark.parametrize(
    ("module", "options", "error", "said"),
    [
        (torch.nn.BatchNorm2d(3), {"rank": 2}, ValueError, "rank must be 4 for BatchNorm2d. Received: rank=2"),
        (torch.nn.BatchNorm1d(3), {"rank": 4}, ValueError, "rank must be 2 or 3 for BatchNorm1d. Received: rank=4"),
        (torch.nn.SyncBatchNorm(3), {"rank": 1}, ValueError, "at least 2 for SyncBatchNorm. Received: rank=1"),
        (STATE, {"rank": 2.0}, ValueError, "rank=2.0"),
        (STATE, {"rank": "4"}, ValueError, "rank='4'"),
        (STATE, {"rank": 2, "axis": 2}, ValueError, r"\[-2, 2\).*axis=2"),
        (torch.nn.BatchNorm1d(3), {"axis": 3}, ValueError, r"\[-3, 3\).*axis=3"),
        (torch.nn.BatchNorm2d(3), {"axis": "last"}, TypeError, "axis='last'"),
        (torch.nn.BatchNorm2d(3), {"axis": (1, 2)}, TypeError, r"one channel axis. Received: axis=\(1, 2\)"),
        (STATE | {"bias": np.ones(2)}, {}, ValueError, r"bias of shape \(2,\).*3 features"),
        (STATE | {"running_mean": np.ones((3, 1))}, {}, ValueError, r"running_mean of shape \(3, 1\)"),
        (STATE | {"running_mean": 0.0}, {}, ValueError, r"running_mean of shape \(\)"),
        (STATE | {"running_var": np.array([1, -2, 1.0])}, {}, ValueError, "not be negative. Received: -2.0"),
        (STATE, {"scale": False}, ValueError, "gamma, which scale=False"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(module, options, error, said):
    with pytest.raises(error, match=said):
        from_torch(module, **options)


def test_a_module_with_a_negative_variance():
    module = torch.nn.BatchNorm2d(2)
    module.running_var[0] = -1
    with pytest.raises(ValueError, match="running_var must not be negative"):
        from_torch(module)


def test_a_state_of_lists_and_whole_numbers():
    layer = from_torch({"running_mean": [1, 2], "running_var": np.array([4, 9])}, epsilon=0.0)
    np.testing.assert_allclose(layer(np.array([[3.0, 5.0]])), [[1.0, 1.0]], rtol=1e-6)


def test_in_a_saved_model(tmp_path):
    module = draw("BatchNorm2d", (4, 3, 2, 2), torch.float32, momentum=None)
    untracked = draw("BatchNorm1d", (4, 3), torch.float32, track_running_stats=False)
    layers = [from_torch(module), keras.layers.GlobalAveragePooling2D(), from_torch(untracked)]
    model = keras.Sequential([keras.Input((2, 2, 3)), *layers])
    x = np.random.default_rng(0).normal(size=(5, 2, 2, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    theirs = untracked.eval()(module.eval()(torch.tensor(np.moveaxis(x, -1, 1))).mean((2, 3))).detach()
    np.testing.assert_allclose(model(x), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype):
    layer = from_torch(draw("BatchNorm2d", (4, 3, 2, 2), getattr(torch, dtype)))
    assert layer.compute_dtype == dtype
    # The layer keeps its statistics in float32 at least, and so does its module.
    assert {v.dtype for v in to_torch(layer).parameters()} == {getattr(torch, layer.moving_mean.dtype)}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_statistics_of_a_16_bit_layer_keep_their_digits(policy):
    layer = BatchNormalization(dtype=policy)
    layer.build((None, 4, 4, 2))
    # Beyond the range of float16, and with more digits than bfloat16 has.
    layer.moving_mean.assign([1234567.0, 1.0001])
    layer.moving_variance.assign([1e6, 1.0001])
    module = to_torch(layer).eval()
    for entry, value in ((module.running_mean, layer.moving_mean), (module.running_var, layer.moving_variance)):
        assert entry.dtype == torch.float32
        np.testing.assert_array_equal(entry, value)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float16")
    x = tf.cast(x, layer.compute_dtype)
    theirs = module(torch.tensor(np.moveaxis(x.numpy().astype("float32"), -1, 1)).to(getattr(torch, x.dtype.name)))
    rounding = 1e-3 if x.dtype == tf.float16 else 8e-3
    ours = tf.cast(layer(x), tf.float32)
    np.testing.assert_allclose(channels_last(theirs.detach().float()), ours, rtol=rounding, atol=rounding)


def test_what_does_not_require_grad_is_not_trained():
    module = draw("BatchNorm2d", (4, 3, 2, 2))
    module.bias.requires_grad_(False)
    layer = from_torch(module)
    assert [variable.name for variable in layer.trainable_variables] == ["gamma"]
    assert [parameter.requires_grad for parameter in to_torch(layer).parameters()] == [True, False]


class FrozenBatchNorm2d(torch.nn.Module):
    """As torchvision and detectron2 have it: four buffers, and nothing else."""

    def __init__(self, features, eps=1e-5):
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(features) + 0.5)

    def forward(self, x):
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


def without_gradients():
    return draw("BatchNorm2d", (4, 3, 2, 2), torch.float32).requires_grad_(False).eval()


@pytest.mark.parametrize("make", [lambda: FrozenBatchNorm2d(3), without_gradients])
def test_what_is_frozen_there_is_frozen_here(make):
    module = make()
    layer = from_torch(module)
    assert not layer.trainable
    assert layer.trainable_variables == []
    assert layer.statistics == ("moving" if isinstance(module, FrozenBatchNorm2d) else "auto")
    before = layer.get_weights()
    x = np.random.default_rng(0).normal(3, 2, size=(4, 3, 5, 5)).astype("float32")
    expected = channels_last(module(torch.tensor(x)).detach())
    np.testing.assert_allclose(layer(channels_last(x), training=True), expected, rtol=1e-5, atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), before, strict=True))
    back = to_torch(layer)
    assert type(back) is torch.nn.BatchNorm2d
    np.testing.assert_allclose(channels_last(back(torch.tensor(x)).detach()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "option", [{"statistics": "batch"}, {"statistics": "moving"}, {"zero_debias": True}, {"renorm": True}]
)
def test_options_that_pytorch_lacks_are_refused(option):
    layer = BatchNormalization(**option)
    layer.build((None, 3))
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"cannot express {name}={value!r}"):
        to_torch(layer)
    to_torch(convert(layer, **{name: "auto" if name == "statistics" else False}))  # what the message advises


def test_several_axes_are_refused():
    layer = BatchNormalization(axis=(1, 2))
    layer.build((None, 3, 2, 4))
    with pytest.raises(ValueError, match="one channel axis"):
        to_torch(layer)


def test_statistics_that_move_on_without_gradients():
    layer = from_torch(without_gradients(), trainable=True)
    assert layer.trainable_variables == []
    before = layer.moving_mean.numpy()
    layer(np.ones((2, 4, 4, 3), "float32"), training=True)
    assert np.abs(layer.moving_mean.numpy() - before).min() > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of its own, while it imports its compiler
def test_compiled_modules():
    module = draw("BatchNorm2d", (4, 3, 2, 2))
    compiled = torch.compile(module)
    assert compiled is not module
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3))
    np.testing.assert_array_equal(from_torch(compiled)(x), from_torch(module)(x))
    network = torch.compile(torch.nn.Sequential(torch.nn.Conv2d(1, 3, 1), module))
    np.testing.assert_array_equal(from_torch(network.state_dict(), prefix="1", rank=4)(x), from_torch(module)(x))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_count_of_batches_comes_back(momentum):
    layer = from_torch(draw("BatchNorm1d", (6, 3), momentum=momentum), rank=2)
    assert to_torch(layer).num_batches_tracked == 3
    assert to_torch_state_dict(layer)["num_batches_tracked"] == 3


def test_inputs_as_pytorch_has_them_name_the_axis():
    layer = from_torch(draw("BatchNorm2d", (4, 3, 5, 2), torch.float32))
    with pytest.raises(ValueError, match=r"Their axis 1 has that size: axis=1 makes it the channel axis"):
        layer(np.ones((4, 3, 5, 2), "float32"))


@pytest.mark.parametrize(("scale", "center"), [(True, False), (False, True)])
def test_one_of_gamma_and_beta(scale, center):
    layer = BatchNormalization(scale=scale, center=center, dtype="float64")
    layer.build((None, 4, 4, 3))
    for variable in layer.weights:
        variable.assign(np.array([0.5, 1.0, 2.0]))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    module = to_torch(layer).eval()
    np.testing.assert_allclose(layer(channels_last(x)), channels_last(module(torch.tensor(x)).detach()), rtol=1e-12)
    assert (from_torch(module).scale, from_torch(module).center) == (scale, center)


def test_the_built_in_layer_to_torch():
    layer = keras.layers.BatchNormalization(axis=1)
    x = np.random.default_rng(0).normal(size=(8, 3, 4, 4)).astype("float32")
    layer(x, training=True)
    module = to_torch(layer)
    assert module.momentum == 0.01
    np.testing.assert_allclose(module.eval()(torch.tensor(x)).detach(), layer(x), rtol=1e-5, atol=1e-5)


def test_frozen_layers_are_evaluated():
    layer = BatchNormalization(trainable=False)
    layer.build((None, 3))
    module = to_torch(layer)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_state_dict_of_a_network():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.BatchNorm2d(4)
    ).double()
    network(torch.rand(3, 3, 8, 8, dtype=torch.float64))
    state = network.state_dict()
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 5))
    layer = from_torch(state, prefix="3", rank=4)
    np.testing.assert_allclose(
        layer(channels_last(x)), channels_last(network[3].eval()(torch.tensor(x)).detach()), rtol=1e-12, atol=1e-12
    )
    arrays = {name: value.numpy() for name, value in state.items()}
    np.testing.assert_array_equal(from_torch(arrays, prefix="3.", rank=4)(channels_last(x)), layer(channels_last(x)))
    network.load_state_dict(state | to_torch_state_dict(layer, prefix="1"))
    assert torch.equal(network[1].running_var, network[3].running_var)


def test_an_average_that_is_started_anew():
    x = np.random.default_rng(0).normal(5, 2, (64, 3)).astype("float32")
    module = torch.nn.BatchNorm1d(3)
    module(torch.tensor(x))
    module.momentum = None
    module.num_batches_tracked.zero_()
    layer = from_torch(module)
    assert to_torch_state_dict(layer)["num_batches_tracked"] == 0
    for batch in (x, x + 1):
        module(torch.tensor(batch))
        layer(batch, training=True)
        np.testing.assert_allclose(layer.moving_mean, module.running_mean, rtol=1e-6)
        np.testing.assert_allclose(layer.moving_variance, module.running_var, rtol=1e-5)


def test_a_layer_of_unknown_rank_asks_for_it():
    with pytest.raises(ValueError, match=r"not known before its first call. Pass rank=, such as rank=2"):
        to_torch(from_torch(torch.nn.BatchNorm1d(3)))


@pytest.mark.parametrize(
    ("state", "prefix", "received"),
    [
        ({}, None, "Received: 0"),
        ({"a.running_mean": 0, "b.running_mean": 0}, None, "Received: 2: 'a', 'b'"),
        (
            {"a.running_mean": np.zeros(2), "a.running_var": np.ones(2)},
            "b",
            "prefix='b' with none of them; there are 'a'",
        ),
    ],
)
def test_state_dicts_without_one_batch_normalization(state, prefix, received):
    with pytest.raises(ValueError, match=received):
        from_torch(state, prefix=prefix)


@pytest.mark.parametrize("module", [torch.nn.InstanceNorm2d(3), torch.nn.Linear(2, 2), torch.nn.BatchNorm2d, 3])
def test_other_modules(module):
    with pytest.raises(TypeError, match=r"Received: (InstanceNorm2d|Linear|the class BatchNorm2d|int)"):
        from_torch(module)


def test_lazy_modules():
    lazy = torch.nn.LazyBatchNorm1d()
    with pytest.raises(ValueError, match="LazyBatchNorm1d"):
        from_torch(lazy)
    lazy(torch.rand(4, 3))
    assert from_torch(lazy, rank=2).moving_mean.shape == (3,)


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({"axis": (1, 2)}, r"axis=\(1, 2\)"),
        ({"renorm": True}, "renorm=True"),
        ({"virtual_batch_size": 2}, "virtual_batch_size=2"),
    ],
)
def test_what_torch_cannot_express(options, received):
    layer = BatchNormalization(**options)
    layer.build((None, 4, 3))
    with pytest.raises(ValueError, match=received):
        to_torch(layer)


def test_unbuilt_layers():
    with pytest.raises(ValueError, match="not built"):
        to_torch(BatchNormalization())
    with pytest.raises(TypeError, match="Received: Dense"):
        to_torch(keras.layers.Dense(1))


@pytest.mark.parametrize("option", ["renorm", "synchronized"])
def test_untracked_layers_exclude(option):
    with pytest.raises(ValueError, match=f"{option}=True"):
        UntrackedBatchNormalization(**{option: True})


def test_untracked_layers_compute_as_they_are_asked_to():
    x = tf.constant(np.random.default_rng(0).normal(2, 3, size=(64, 8)).astype("float32"))
    for engine in ("closed_form", "fused"):
        layer = UntrackedBatchNormalization(engine=engine)
        graph = tf.function(lambda x, layer=layer: layer(x)).get_concrete_function(x).graph
        assert any("FusedBatchNorm" in op.type for op in graph.get_operations()) == (engine == "fused")
        assert layer.engine_for(x.shape, training=False).engine == engine
        np.testing.assert_allclose(layer(x), BatchNormalization()(x, training=True), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="engine='fused' cannot serve"):
        UntrackedBatchNormalization(engine="fused", epsilon=0.0)(x)


@pytest.mark.parametrize("engine", ["closed_form", "fused"])
def test_what_an_untracked_layer_makes_of_padding(engine):
    x = np.random.default_rng(0).normal(2, 3, size=(64, 8)).astype("float32")
    layer = UntrackedBatchNormalization(engine=engine)
    np.testing.assert_allclose(layer(x, mask=np.zeros(64, bool)), x / np.sqrt(1 + layer.epsilon), rtol=1e-5)


def test_importing_keras_bn_does_not_import_torch():
    code = "import sys, keras_bn; from keras_bn import from_torch; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "False", found.stderr


def test_a_class_with_a_call_of_its_own_is_refused():
    class Doubled(BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training, mask=mask)

    class Named(BatchNormalization):
        pass

    for kind, fits in ((Doubled, False), (Named, True)):
        layer = kind()
        layer.build((None, 3))
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match=r"Received: .* of class Doubled"):
            to_torch_state_dict(layer)
