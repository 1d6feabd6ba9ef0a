"""Batch normalization from PyTorch to Keras and back. PyTorch is imported only where one of its modules is made."""

from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bn import arguments, moving_state
from keras_bn.layer import BatchNormalization
from keras_bn.model_tools import torch_state
from keras_bn.model_tools.options import check_known
from keras_bn.model_tools.torch_state import ENTRIES
from keras_bn.tensors import check_shape
from keras_bn.untracked import UntrackedBatchNormalization

# The class that BatchNorm1d, 2d, 3d and SyncBatchNorm derive from, and InstanceNorm does not.
_BASE = "_BatchNorm"
# Of torchvision and detectron2: fixed statistics and weights, all of them buffers.
_FROZEN = "FrozenBatchNorm2d"
# Ranks of the inputs, by class; SyncBatchNorm takes any.
_RANKS = {"BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,), _FROZEN: (4,)}
# PyTorch's defaults, which a state dict does not hold.
_EPSILON, _MOMENTUM = 1e-5, 0.9


def from_torch(
    module: Any, *, axis: int = -1, prefix: str | None = None, rank: int | None = None, **options: Any
) -> BatchNormalization:
    """A layer that computes what a batch normalization module of PyTorch does.

    Weights, running statistics, eps and dtype are taken over; momentum becomes 1 − momentum (PyTorch's is the weight
    of the new value), and None stays None, with its count of batches. The moving variance follows the unbiased
    variance, as PyTorch's does. ``SyncBatchNorm`` becomes ``synchronized=True``; a module with
    ``track_running_stats=False`` a layer that normalizes with the batch's own statistics also in inference,
    ``UntrackedBatchNormalization``. Weights without ``requires_grad`` are not trainable; where none requires it, as of
    a ``FrozenBatchNorm2d`` of torchvision or detectron2, the layer is frozen, statistics included, unless
    ``trainable=True`` is passed. What ``torch.compile`` returns is taken for the module in it. Whether the module is in
    its training mode does not matter: Keras is told at each call. ``num_batches_tracked`` is kept for ``to_torch``;
    only with ``momentum=None`` it goes on being counted.

    Args:
        module: ``nn.BatchNorm1d``, ``2d``, ``3d`` or ``SyncBatchNorm``, or of a class derived from one; or a state
            dict, its values tensors or arrays, which states neither eps nor momentum: PyTorch's defaults 1e-5 and 0.1
            are assumed unless the options ``epsilon=`` and ``momentum=`` (ours) say otherwise.
        axis: The channel axis of the layer's inputs, one: 1 for inputs as PyTorch has them; Keras' usual one is −1.
        prefix: For a state dict: what the names of the entries start with, such as ``"layer1.0.bn1"``. May be left out
            where it holds only one batch normalization.
        rank: Rank of the layer's inputs. Known of ``BatchNorm2d`` and ``3d``; of the others, a layer for which it is
            not given takes that of its first call.
        **options: Constructor arguments of ``BatchNormalization`` that override: ``name=``, ``dtype=``, ``engine=``, ….

    Returns:
        A built ``BatchNormalization``; gamma, beta, moving_mean and moving_variance have the shape [num_features].

    Raises:
        TypeError: ``module`` is neither a batch normalization nor a state dict; or ``axis`` is not one int.
        ValueError: a lazy module has no features yet; the state dict holds no, or several, batch normalizations;
            entries are of different lengths, or a variance is negative; ``rank``, ``axis`` or an option do not fit.

    Source: torch.nn.BatchNorm1d, 2d, 3d; torch.nn.SyncBatchNorm.

    >>> state = {"running_mean": np.array([1.0, 2.0]), "running_var": np.array([4.0, 9.0])}
    >>> layer = from_torch(state, rank=2, dtype="float64", epsilon=0.0)
    >>> layer(np.array([[3.0, 5.0]])).numpy().tolist()
    [[1.0, 1.0]]
    """
    if isinstance(module, Mapping):
        entries = torch_state.entries_of(module, prefix)
        config: dict[str, Any] = {"epsilon": _EPSILON, "momentum": _MOMENTUM}
        tracked, name = True, "a state dict"
    else:
        # What torch.compile makes of a module holds it.
        module = getattr(module, "_orig_mod", module)
        _check_module(module)
        if prefix is not None:
            raise ValueError(f"prefix= names entries of a state dict. Received: prefix={prefix!r} with a module.")
        entries = {name: getattr(module, name) for name in ENTRIES if getattr(module, name, None) is not None}
        config = {"epsilon": float(module.eps), "momentum": _one_minus(getattr(module, "momentum", 1 - _MOMENTUM))}
        tracked, name = "running_mean" in entries, _torch_name(module)
        if name == "SyncBatchNorm" and tracked:
            config["synchronized"] = True
        if not any(value.requires_grad for value in _affine(entries)) and (_affine(entries) or name == _FROZEN):
            # Of the former not even ``model.trainable = True`` lets the statistics move.
            config |= {"trainable": False, "statistics": "moving" if name == _FROZEN else "auto"}
    values = {ENTRIES[entry]: torch_state.as_array(value) for entry, value in entries.items()}
    features = values["moving_mean"].size if tracked else int(module.num_features)
    torch_state.check_values(entries, values, features)
    ranks = _RANKS.get(name, ()) if rank is None else (_checked_rank(rank, name),)
    shape = _shape(axis, ranks, features)
    config |= {"axis": axis, "scale": "weight" in entries, "center": "bias" in entries, "unbiased_variance": True}
    dtype = torch_state.dtype_of(entries)
    config |= {"dtype": dtype} if dtype else {}
    layer = (BatchNormalization if tracked else UntrackedBatchNormalization)(**(config | options))
    if layer.momentum is not None:
        layer.num_batches_tracked = int(values.pop("update_count", 0))
    layer.build_from_config({"input_shape": shape, "any_rank": len(ranks) != 1})
    for variable_name, value in values.items():
        variable = getattr(layer, variable_name)
        if variable is None:
            raise ValueError(
                f"the weights of {name} must have a place. Received: {variable_name}, which scale={layer.scale}, "
                f"center={layer.center} leave out. Leave out that option."
            )
        variable.assign(np.broadcast_to(value, variable.shape))
    if layer.renorm:
        moving_state.start_references(layer)
    if layer.update_count is not None and "update_count" not in values:
        moving_state.start_count(layer, layer.momentum)
    elif layer.update_count is not None and not values["update_count"]:
        # PyTorch starts its average anew, whatever the statistics are. A count of 0 would be taken for an unknown one.
        layer.update_count.assign(np.full(layer.update_count.shape, 1e-30))
    if not isinstance(module, Mapping):
        # The values of a state dict never require gradients.
        for entry in ("weight", "bias"):
            if entry in entries and not entries[entry].requires_grad:
                getattr(layer, ENTRIES[entry]).trainable = False
    return layer


def _affine(entries: Mapping[str, Any]) -> list[Any]:
    return [entries[name] for name in ("weight", "bias") if name in entries]


def to_torch(layer: keras.layers.BatchNormalization, *, rank: int | None = None) -> Any:
    """A module of PyTorch that computes what a layer does: the inverse of ``from_torch``.

    Its channels are axis 1, PyTorch's convention, whatever the layer's ``axis``. PyTorch always stores the unbiased
    variance: where the layer has ``unbiased_variance=False``, outputs and gradients are equal, and only where training
    goes on does running_var follow m/(m − 1) times what the layer would have stored.

    Args:
        layer: Built layer, ours or the built-in one, with one channel axis.
        rank: Rank of the module's inputs, to choose between ``BatchNorm1d``, ``2d`` and ``3d``; that of the layer's
            inputs unless given.

    Returns:
        ``nn.BatchNorm1d`` (rank 2 and 3), ``2d``, ``3d``, or ``nn.SyncBatchNorm`` for ``synchronized=True``, with the
        dtype of the layer's statistics: float32 of a 16-bit layer of ours, which takes 16-bit inputs all the same. In
        training mode, except that a layer with ``trainable=False`` gives a module in evaluation mode without
        ``requires_grad``.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: ``layer`` is no batch normalization.
        ValueError: the layer is not built, or PyTorch has no counterpart of its options; these are listed.

    >>> import torch
    >>> layer = BatchNormalization(epsilon=0.0)
    >>> layer.build((None, 2))
    >>> to_torch(layer, rank=2).eval()(torch.tensor([[0.0, 1.0], [2.0, 5.0]])).tolist()
    [[0.0, 1.0], [2.0, 5.0]]
    """
    _check_layer(layer)
    torch = _import_torch()
    tracked = not isinstance(layer, UntrackedBatchNormalization)
    momentum = _one_minus(layer.momentum)
    name = "SyncBatchNorm" if layer.synchronized else _module_name(layer, rank)
    values = torch_state.values_of(layer)
    # That of the weights and statistics; inputs may be narrower, here as there.
    dtype = getattr(torch, layer.moving_mean.dtype)
    module = getattr(torch.nn, name)(
        int(values["running_mean"].shape[0]),
        eps=layer.epsilon,
        momentum=momentum,
        affine=layer.scale or layer.center,
        track_running_stats=tracked,
        dtype=dtype,
    )
    for entry, given in (("weight", layer.scale), ("bias", layer.center)):
        if not given and module.affine:
            module.register_parameter(entry, None)
    with torch.no_grad():
        for entry, value in values.items():
            target = getattr(module, entry)
            if target is not None:
                target.copy_(torch.as_tensor(value))
    for entry in ("weight", "bias"):
        if getattr(module, entry) is not None:
            getattr(module, entry).requires_grad_(layer.trainable and getattr(layer, ENTRIES[entry]).trainable)
    return module.train(layer.trainable)


def to_torch_state_dict(layer: keras.layers.BatchNormalization, *, prefix: str = "") -> dict[str, Any]:
    """The entries of a layer in a state dict of PyTorch: ``module.load_state_dict(to_torch_state_dict(layer))``.

    Args:
        layer: As in ``to_torch``.
        prefix: What the names of the entries are to start with, such as ``"layer1.0.bn1"``.

    Returns:
        weight, bias, running_mean, running_var (each [C]) and num_batches_tracked (a scalar, int64), as tensors of
        PyTorch; without those that the layer does not have.

    Raises:
        ImportError, TypeError, ValueError: As in ``to_torch``.

    >>> import torch
    >>> layer = BatchNormalization()
    >>> layer.build((None, 2))
    >>> sorted(to_torch_state_dict(layer, prefix="bn1"))
    ['bn1.bias', 'bn1.num_batches_tracked', 'bn1.running_mean', 'bn1.running_var', 'bn1.weight']
    """
    _check_layer(layer)
    torch = _import_torch()
    values = torch_state.values_of(layer)
    if isinstance(layer, UntrackedBatchNormalization):
        values = {name: value for name, value in values.items() if name in ("weight", "bias")}
    start = arguments.prefix(prefix)
    return {start + name: torch.as_tensor(value) for name, value in values.items()}


def _check_module(module: Any) -> None:
    if isinstance(module, type) or not {_BASE, _FROZEN} & {cls.__name__ for cls in type(module).__mro__}:
        received = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise TypeError(
            "from_torch() takes nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm or a state dict. "
            f"Received: {received}. Of a larger module, pass its batch normalizations one by one."
        )
    if _torch_name(module) != _FROZEN and not module.num_features:
        raise ValueError(
            f"a lazy module has no features before its first call. Received: {module}. Call it on data first."
        )


def _check_layer(layer: Any) -> None:
    if not isinstance(layer, keras.layers.BatchNormalization):
        raise TypeError(f"a batch normalization layer is needed. Received: {type(layer).__name__}.")
    if not layer.built:
        raise ValueError(
            f"{layer.name} has no weights yet. Received: a layer that is not built. Call it on data first."
        )
    check_known(layer, "to_torch()")
    if type(layer).call not in (BatchNormalization.call, keras.layers.BatchNormalization.call):
        raise ValueError(
            f"a layer of a class with a call of its own may compute something else. Received: {layer.name}, of class "
            f"{type(layer).__name__}. Convert a BatchNormalization with its weights: set_weights(layer.get_weights())."
        )
    activation = getattr(layer, "activation", None)
    if activation is not None:
        raise ValueError(
            f"PyTorch's batch normalization has no activation. Received: {layer.name} with activation={activation!r}. "
            "revert(layer) makes two layers of it, of which the first can be converted."
        )
    # The value of each option that PyTorch's module has.
    expressible = {"renorm": False, "virtual_batch_size": None, "zero_debias": False, "statistics": "auto"}
    given = {name: getattr(layer, name, value) for name, value in expressible.items()}
    if given["statistics"] == "moving" and not layer.trainable:  # as a module without gradients in evaluation mode
        given["statistics"] = "auto"
    lacking = {name: value for name, value in given.items() if value != expressible[name]}
    if isinstance(layer.axis, tuple):
        raise ValueError(
            f"PyTorch's batch normalization has one channel axis. Received: {layer.name} with axis={layer.axis}. "
            "Reshape its inputs, and use a layer of one axis."
        )
    if lacking:
        options = ", ".join(f"{name}={expressible[name]!r}" for name in lacking)
        raise ValueError(
            "PyTorch's batch normalization cannot express "
            f"{', '.join(f'{name}={value!r}' for name, value in lacking.items())}. Received: {layer.name}. "
            f"convert(layer, {options}) makes a layer that it can."
        )


def _checked_rank(rank: Any, name: str) -> int:
    allowed = _RANKS.get(name)
    is_whole = isinstance(rank, Integral) and not isinstance(rank, bool)
    if not is_whole or (rank not in allowed if allowed else rank < 2):
        expected = " or ".join(map(str, allowed)) if allowed else "a whole number of at least 2"
        raise ValueError(f"rank must be {expected} for {name}. Received: rank={rank!r}.")
    return int(rank)


def _shape(axis: Any, ranks: tuple[int, ...], features: int) -> tuple[int | None, ...]:
    """Inputs with the features along ``axis``, of the lowest of the ranks that has it; of any rank if none is given."""
    place = arguments.axis(axis)
    if isinstance(place, tuple):
        raise TypeError(f"PyTorch has one channel axis. Received: axis={axis!r}. The default is -1.")
    least = max(2, place + 1, -place)
    if ranks:
        check_shape(tf.TensorShape([None] * max(ranks)), (place,))
        least = min(rank for rank in ranks if rank >= least)
    shape: list[int | None] = [None] * least
    shape[place] = features
    return tuple(shape)


def _torch_name(module: Any) -> str:
    """The name of the class of PyTorch that the module is of, or that its class derives from."""
    names = [cls.__name__ for cls in type(module).__mro__]
    known = (*_RANKS, "SyncBatchNorm")
    return next((name for name in names if name in known), names[0])


def _module_name(layer: keras.layers.BatchNormalization, rank: int | None) -> str:
    config = layer.get_build_config() or {}
    if rank is None and not config.get("any_rank"):
        rank = len(config.get("input_shape", ()))
    names = {value: name for name, values in _RANKS.items() if name != _FROZEN for value in values}
    if rank not in names:
        received = f"rank={rank}" if rank else "a layer whose rank is not known before its first call"
        raise ValueError(f"PyTorch normalizes inputs of rank 2 to 5. Received: {received}. Pass rank=, such as rank=2.")
    return names[rank]


def _one_minus(momentum: float | None) -> float | None:
    """1 − momentum as the decimal fraction that the user would write: 0.9 gives 0.1, not 0.09999999999999998."""
    return None if momentum is None else float(1 - Decimal(repr(float(momentum))))


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            'PyTorch is needed and not installed. Install it with: pip install "keras-bn[torch]"'
        ) from error
    return torch
