"""Batch normalization for Keras 3 on TensorFlow, with a closed-form backward pass that is proved symbolically."""

import os

from keras_bn.quiet import quiet_import

_BACKEND_HINT = (
    "keras_bn needs Keras' TensorFlow backend. Received: KERAS_BACKEND={}. "
    "Set it before Keras is imported: export KERAS_BACKEND=tensorflow"
)

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    # Before Keras is imported: it would fail first where that backend is not installed.
    raise ImportError(_BACKEND_HINT.format(os.environ["KERAS_BACKEND"]))

with quiet_import():
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ImportError(_BACKEND_HINT.format(keras.backend.backend()))

    from keras_bn.functional import BatchNormOutput, batch_norm
    from keras_bn.layer import BatchNormalization

__version__ = "0.1.0"

__all__ = ["BatchNormOutput", "BatchNormalization", "__version__", "batch_norm"]
