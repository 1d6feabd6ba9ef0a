"""Layers that another layer holds, as attributes or in containers, exchanged for others."""

from typing import Any

import keras

from keras_bn import keras_internals


def exchange(owner: keras.Layer, exchanged: dict[int, keras.Layer]) -> None:
    """Put other layers in the place of some that ``owner`` holds, by their identities, in the same order.

    Raises:
        ValueError: ``owner`` holds one where it cannot be exchanged.
    """
    if not exchanged:
        return
    olds = [layer for layer in keras_internals.held_layers(owner) if id(layer) in exchanged]
    for old in olds:
        keras_internals.track_instead(owner, old, exchanged[id(old)])
    met: set[int] = set()
    for name, value in keras_internals.attributes(owner).items():
        swapped = _swapped(value, exchanged, met)
        if swapped is not value:
            setattr(owner, name, swapped)
    if missed := [old.name for old in olds if id(old) not in met]:
        raise ValueError(
            f"the layers of {owner.name!r}, a {type(owner).__name__}, must be attributes of it, or in lists, tuples, "
            f"dictionaries or sets that are. Received: {', '.join(missed)}, held otherwise."
        )


def _swapped(value: Any, exchanged: dict[int, keras.Layer], met: set[int]) -> Any:
    if isinstance(value, keras.Layer):
        met.add(id(value))
        return exchanged.get(id(value), value)
    if isinstance(value, list):
        value[:] = [_swapped(item, exchanged, met) for item in value]
    elif isinstance(value, dict):
        for key, item in list(value.items()):
            swapped = _swapped(item, exchanged, met)
            if swapped is not item:
                value[key] = swapped
    elif isinstance(value, set):
        for item in list(value):
            swapped = _swapped(item, exchanged, met)
            if swapped is not item:
                # Not Keras' own methods: the tracker has made the exchange, and its store has no second removal.
                set.discard(value, item)
                set.add(value, swapped)
    elif isinstance(value, tuple):
        items = [_swapped(item, exchanged, met) for item in value]
        if any(a is not b for a, b in zip(items, value, strict=True)):
            # TensorFlow wraps the tuples that a layer holds.
            kind = type(getattr(value, "__wrapped__", value))
            return kind._make(items) if hasattr(kind, "_make") else tuple(items)
    return value
