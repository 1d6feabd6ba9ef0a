"""Networks of PyTorch moved to Keras: ten steps of training side by side, in float64, in both frameworks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bn import UntrackedBatchNormalization, from_torch, to_torch

torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")
nn = torch.nn

# Ten steps from equal weights. Training amplifies rounding; a control measures by how much.
STEPS, TOLERANCE = 10, 1e-9
# Exact in float32: Keras' optimizer rounds these to it in float64 as well, and PyTorch's does not.
RATE, MOMENTUM = 2**-5, 0.875


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut that has one of its own, as in a ResNet where the width changes."""

    def __init__(self, make, **options):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), make(6, **options)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), make(6, **options)
        self.short, self.bn3 = nn.Conv2d(3, 6, 1, stride=2, bias=False), make(6, **options)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.bn3(self.short(x)))


class Perceptron(nn.Module):
    """Dense layers; of rank 3 the channels come second."""

    def __init__(self, make, **options):
        super().__init__()
        self.lin1, self.bn1 = nn.Linear(5, 8), make(8, **options)
        self.lin2, self.bn2 = nn.Linear(8, 4), make(4, **options)

    def forward(self, x):
        return self.bn2(self.lin2(torch.tanh(self.bn1(self.lin1(x)))))


class Sequence(nn.Module):
    def __init__(self, make, **options):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(4, 6, 3), make(6, **options)
        self.conv2, self.bn2 = nn.Conv1d(6, 3, 3, dilation=2), make(3, **options)

    def forward(self, x):
        return self.bn2(self.conv2(torch.tanh(self.bn1(self.conv1(x)))))


class UNetPiece(nn.Module):
    """Down, up, and the early features beside the late ones."""

    def __init__(self, make, **options):
        super().__init__()
        self.down, self.bn1 = nn.Conv3d(2, 4, 2, stride=2), make(4, **options)
        self.up, self.bn2 = nn.ConvTranspose3d(4, 3, 2, stride=2), make(3, **options)
        self.last, self.bn3 = nn.Conv3d(5, 2, 1), make(2, **options)

    def forward(self, x):
        y = torch.relu(self.bn2(self.up(torch.relu(self.bn1(self.down(x))))))
        return self.bn3(self.last(torch.cat([x, y], 1)))


def residual_block(layers, x):
    y = keras.ops.relu(layers["bn1"](layers["conv1"](keras.ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]))))
    y = layers["conv2"](keras.ops.pad(y, [(0, 0), (1, 1), (1, 1), (0, 0)]))
    return keras.ops.relu(layers["bn2"](y) + layers["bn3"](layers["short"](x)))


def chain(layers, x):
    first, last = ("lin1", "lin2") if "lin1" in layers else ("conv1", "conv2")
    return layers["bn2"](layers[last](keras.ops.tanh(layers["bn1"](layers[first](x)))))


def unet_piece(layers, x):
    y = keras.ops.relu(layers["bn2"](layers["up"](keras.ops.relu(layers["bn1"](layers["down"](x))))))
    return layers["bn3"](layers["last"](keras.ops.concatenate([x, y], -1)))


# The module, its batch normalization, the same graph in Keras, the shape of a batch there (channels last).
NETWORKS = {
    "residual block": (ResidualBlock, nn.BatchNorm2d, residual_block, (8, 8, 8, 3)),
    "residual block, SyncBatchNorm": (ResidualBlock, nn.SyncBatchNorm, residual_block, (8, 8, 8, 3)),
    "perceptron": (Perceptron, nn.BatchNorm1d, chain, (16, 5)),
    "sequence": (Sequence, nn.BatchNorm1d, chain, (8, 12, 4)),
    "piece of a UNet": (UNetPiece, nn.BatchNorm3d, unet_piece, (6, 4, 4, 4, 2)),
}
OPTIONS = [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}, {"momentum": 0.3, "eps": 1e-2}]


def moved(module):
    """The Keras layer of a module of PyTorch, built."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return from_torch(module)
    if isinstance(module, nn.Linear):
        kernel, layer = module.weight.T, keras.layers.Dense(module.out_features)
        layer.build((None, module.in_features))
    else:
        rank = len(module.kernel_size)
        name = f"Conv{rank}D{'Transpose' if module.transposed else ''}"
        options = {} if module.transposed else {"dilation_rate": module.dilation}
        layer = getattr(keras.layers, name)(
            module.out_channels,
            module.kernel_size,
            strides=module.stride,
            use_bias=module.bias is not None,
            **options,
        )
        layer.build((None, *[None] * rank, module.in_channels))
        # [out, in, …] or, transposed, [in, out, …] becomes […, in, out] or […, out, in].
        kernel = module.weight.permute(*range(2, rank + 2), 1, 0)
    layer.set_weights([value.detach().numpy() for value in (kernel, module.bias) if value is not None])
    return layer


def channels_second(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def train_torch(module, batches, targets):
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)
    module.train()
    losses = []
    for x in batches:
        optimizer.zero_grad()
        loss = ((module(x) - targets) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def statistics(module):
    found = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return [value.numpy() for m in found if m.track_running_stats for value in (m.running_mean, m.running_var)]


# All options where ranks are 2 and 4; what changes the weights in the rest.
CASES = [
    (name, options)
    for name in NETWORKS
    for options in (OPTIONS if name in ("residual block", "perceptron") else OPTIONS[:3])
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_ten_steps_of_training(float64, name, options):
    kind, make, graph, shape = NETWORKS[name]
    torch.manual_seed(0)
    module, control = kind(make, **options).double(), kind(make, **options).double()
    rng = np.random.default_rng(0)
    for parameter in module.parameters():
        if parameter.dim() == 1:  # gamma, beta and biases unlike those of a new module
            parameter.data.copy_(torch.tensor(rng.uniform(0.5, 1.5, parameter.shape)))
    control.load_state_dict(module.state_dict())
    start = {key: value.detach().clone() for key, value in module.named_parameters()}

    layers = {key: moved(child) for key, child in module.named_children()}
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, graph(layers, inputs))
    batches = rng.normal(1, 2, size=(STEPS, *shape))
    y = model(batches[0]).numpy()
    np.testing.assert_allclose(y, np.moveaxis(module.eval()(channels_second(batches[0])).detach().numpy(), 1, -1), 1e-9)
    targets = rng.normal(size=y.shape)

    model.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), loss="mse", run_eagerly=True)
    ours = [model.train_on_batch(tf.constant(x), tf.constant(targets)) for x in batches]
    torch_targets = torch.tensor(np.moveaxis(targets, -1, 1).copy()) if y.ndim > 2 else torch.tensor(targets)
    torch_batches = [channels_second(x) if x.ndim > 2 else torch.tensor(x) for x in batches]
    theirs = train_torch(module, torch_batches, torch_targets)
    # PyTorch against itself, the inputs moved to the next number: what training makes of rounding alone.
    nudged = train_torch(
        control, [torch.nextafter(x, torch.full_like(x, torch.inf)) for x in torch_batches], torch_targets
    )

    assert np.max(np.abs(np.divide(nudged, theirs) - 1)) < TOLERANCE, "this rate amplifies rounding by itself"
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE)
    moved_by = [float((p.detach() - start[key]).norm() / start[key].norm()) for key, p in module.named_parameters()]
    assert max(moved_by) > 0.05, "training has to get somewhere"
    tracked = [
        layer
        for layer in (layers[key] for key, _ in module.named_children())
        if hasattr(layer, "moving_mean") and not isinstance(layer, UntrackedBatchNormalization)
    ]
    found = [value.numpy() for layer in tracked for value in (layer.moving_mean, layer.moving_variance)]
    assert len(found) == len(statistics(module))
    for value, expected in zip(found, statistics(module), strict=True):
        np.testing.assert_allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE)

    # The trained layers go back, and PyTorch infers with them what Keras does.
    for key, layer in layers.items():
        if hasattr(layer, "moving_mean"):
            setattr(control, key, to_torch(layer))
        else:
            control.get_submodule(key).load_state_dict(module.get_submodule(key).state_dict())
    x = rng.normal(1, 2, size=shape)
    back = control.eval()(channels_second(x) if x.ndim > 2 else torch.tensor(x)).detach().numpy()
    back = np.moveaxis(back, 1, -1) if y.ndim > 2 else back
    np.testing.assert_allclose(back, model(x), rtol=TOLERANCE, atol=TOLERANCE)
