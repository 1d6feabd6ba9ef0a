"""What the layer and ``batch_norm`` accept; every error states the rule, the value and the remedy."""

import math
import os
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bn import renorm_bounds

# Whose statistics normalize: as ``training`` and ``trainable`` say, always the moving ones, always the batch's.
STATISTICS = ("auto", "moving", "batch")

# Activations that are computed with the normalization, named and defined as in keras.activations.
ACTIVATIONS = ("relu", "leaky_relu")


def axis(value: Any) -> int | tuple[int, ...]:
    """An int, or a tuple of distinct ints; a sequence of one int, as old configs have it, is that int."""
    axes = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not axes or any(not isinstance(a, Integral) or isinstance(a, bool) for a in axes):
        raise TypeError(
            f"axis must be an int or a tuple of at least one int. Received: axis={value!r}. The default is -1."
        )
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis must name distinct axes. Received: axis={value!r}. Leave out the repeated ones.")
    return int(axes[0]) if len(axes) == 1 else tuple(int(a) for a in axes)


def axes(value: Any) -> tuple[int, ...]:
    """The same as a tuple, also of one."""
    checked = axis(value)
    return checked if isinstance(checked, tuple) else (checked,)


def compute_dtype(name: str) -> None:
    """The name of a floating-point dtype."""
    if not tf.as_dtype(name).is_floating:
        raise TypeError(
            f"dtype must be floating-point. Received: dtype={name!r}. Inputs of whole numbers are converted by "
            "themselves."
        )


def flags(**values: Any) -> None:
    """True or False: a word such as "no" would count as true."""
    for name, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} must be True or False. Received: {name}={value!r}.")


def path(name: str, value: Any) -> Path:
    """The path of a file or a directory."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path. Received: {name}={value!r}.")
    return Path(value)


def prefix(value: Any) -> str:
    """What names of entries start with, up to and with the dot."""
    if not isinstance(value, str):
        raise TypeError(f'prefix must be a text, such as "layer1.0.bn1". Received: prefix={value!r}.')
    return value if not value or value.endswith(".") else f"{value}."


def momentum(name: str, value: Any, *, optional: bool = False) -> None:
    """A number in [0, 1]; or None, where that is optional."""
    if value is None and optional:
        return
    if not _is_number(value) or not 0 <= value <= 1:
        alternative = ", or None for the average of all batches" if optional else ""
        if hasattr(value, "assign") or callable(value):
            raise ValueError(
                f"{name} must be a number in [0, 1]{alternative}. Received: {name}={value!r}. A schedule is a callback "
                f"that sets layer.{name} and compiles the model again."
            )
        raise ValueError(
            f"{name} must be in [0, 1]{alternative}. Received: {name}={value!r}. It is the weight of the old value: "
            "PyTorch's momentum is 1 minus this one."
        )


def epsilon(value: Any) -> None:
    """A finite number that is not negative."""
    if not _is_number(value) or not 0 <= value < math.inf:
        raise ValueError(
            f"epsilon must be a finite number and not negative. Received: epsilon={value!r}. A typical value is 1e-3."
        )


def statistics(value: Any) -> None:
    """One of ``STATISTICS``."""
    if not isinstance(value, str) or value not in STATISTICS:
        raise ValueError(
            f"statistics must be one of {', '.join(map(repr, STATISTICS))}. Received: statistics={value!r}. "
            "'moving' never uses those of the batch, 'batch' always does; 'auto' does in training, unless frozen."
        )


def renorm_clipping(value: Any) -> None:
    """None, or a dictionary with any of rmin, rmax, dmax: numbers, scalar variables, or schedules."""
    bounds = {} if value is None else value
    if not isinstance(bounds, Mapping) or set(bounds) - {"rmin", "rmax", "dmax"}:
        raise ValueError(
            "renorm_clipping must be a dictionary with any of the keys 'rmin', 'rmax', 'dmax'. "
            f"Received invalid keys or no dictionary: renorm_clipping={value!r}."
        )
    changing = {name for name, b in bounds.items() if renorm_bounds.is_schedule(b) or renorm_bounds.is_variable(b)}
    given = {name: bound for name, bound in bounds.items() if bound is not None and name not in changing}
    for name, bound in given.items():
        if not _is_number(bound) or not bound >= 0:
            raise ValueError(
                f"renorm_clipping: {name} should be non-negative: a number, a scalar variable, or a schedule. "
                f"Received: {name}={bound!r}."
            )
    if given.get("rmin", 0) > given.get("rmax", math.inf):
        raise ValueError(
            "renorm_clipping: rmax should be greater than rmin, or equal. "
            f"Received: rmin={given['rmin']!r}, rmax={given['rmax']!r}. Typical values are 1/3 and 3."
        )


def virtual_batch_size(value: Any, axis: int | tuple[int, ...], *, synchronized: bool, renorm: bool) -> None:
    """None, or a whole number of 1 and more, which neither ``synchronized`` nor ``renorm`` goes with."""
    if value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"virtual_batch_size must be None or a whole number of at least 1. Received: virtual_batch_size={value!r}."
        )
    if synchronized or renorm:
        other = "synchronized=True" if synchronized else "renorm=True"
        raise ValueError(
            f"virtual_batch_size divides the batch, which {other} is meant to make larger: they exclude each other. "
            f"Received: virtual_batch_size={value}, {other}. Leave out one of them."
        )
    if 0 in (axis if isinstance(axis, tuple) else (axis,)):
        raise ValueError(
            "virtual_batch_size groups samples along axis 0, which must not be a channel axis. "
            f"Received: virtual_batch_size={value}, axis={axis}."
        )


def activation(value: Any) -> None:
    """None, or the name of an activation that the layer takes part in."""
    if value not in (None, *ACTIVATIONS):
        raise ValueError(
            f"activation must be None, {', '.join(map(repr, ACTIVATIONS[:-1]))} or {ACTIVATIONS[-1]!r}. Received: "
            f"activation={value!r}. Put any other activation behind the layer, as a layer of its own."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
