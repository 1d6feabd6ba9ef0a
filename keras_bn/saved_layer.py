"""How the layer is built and filled from what files hold of it."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_bn import arguments, old_files
from keras_bn.settable_options import SettableOptions
from keras_bn.tensors import check_shape, with_channels


class SavedLayer(SettableOptions):
    """The built-in layer, with what ours reads from files of its own and of others."""

    _channels: tuple[int, ...]
    # None: that of the first call, as for a layer from PyTorch, which may not know it.
    _rank: int | None = None
    # Whether the axis may be one too large: tf.keras 2 wrote that of the inputs divided into groups.
    _axis_counts_groups = False

    def get_build_config(self) -> dict[str, Any] | None:
        config = super().get_build_config()
        if config is None or self._rank == len(config["input_shape"]):
            return config
        shape = tf.TensorShape([None] * (self._rank or len(config["input_shape"])))
        known = with_channels(shape, self._axes, self._channels)
        return {"input_shape": known, "any_rank": True} if self._rank is None else {"input_shape": known}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build for the ``input_shape`` of the config; with ``any_rank`` the first call decides about the rank."""
        super().build_from_config(config)
        if config.get("any_rank"):
            self._rank = None

    def _settled_rank(self, shape: tf.TensorShape) -> int:
        """The rank that the layer was built for; that of its first inputs, where it was left to them."""
        if self._rank is None:
            check_shape(shape, self._axes)
            self._rank = shape.rank
        return self._rank

    def _settle_axis(self, rank: int | None) -> None:
        """Take 1 from an axis that counts the groups of ``virtual_batch_size``, which its being too large tells."""
        if self._axis_counts_groups and rank is not None and max(self._axes) == rank:
            self.axis = arguments.axis(tuple(a - 1 for a in self._axes))

    def load_own_variables(self, store: Any) -> None:
        """Load the weights of this layer, or those of one that counts or renormalizes otherwise, or is older.

        What is missing starts from the moving statistics: the references of ``renorm``, and the count of batches, at
        the 100 that have a part in an average of the default momentum. Files know weights by their position alone, so
        the layer that wrote them must have the same ``center`` and ``scale``.

        Raises:
            ValueError: the weights do not fit, or may be those of a layer with another ``center`` or ``scale``.
        """
        super().load_own_variables(old_files.own_weights(self, store, self._rank))

    def set_weights(self, weights: Any) -> None:
        """Take the values of ``weights``, which may be those of another such layer as in ``load_own_variables``."""
        store = {str(i): np.asarray(value) for i, value in enumerate(weights)}
        super().set_weights([np.asarray(value) for value in old_files.own_weights(self, store, self._rank).values()])
