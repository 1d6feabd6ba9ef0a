"""Batch normalization for Keras 3 on TensorFlow, with a closed-form backward pass that is proved symbolically."""

import os
import sys

_BACKEND_HINT = (
    "keras_bn needs Keras' TensorFlow backend. Received: KERAS_BACKEND={}. "
    "Set it before Keras is imported: export KERAS_BACKEND=tensorflow"
)

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    # Before Keras is imported: it would fail first where that backend is not installed.
    raise ImportError(_BACKEND_HINT.format(os.environ["KERAS_BACKEND"]))

# Eager, since Keras finds a registered layer only once it is imported. But Python imports this package also to find the
# command ``python -m keras_bn``, which is to keep TensorFlow quiet, and therefore imports it itself.
if not (sys.argv[0] == "-m" and "keras_bn" in sys.orig_argv):
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ImportError(_BACKEND_HINT.format(keras.backend.backend()))

    from keras_bn.functional import BatchNormOutput, batch_norm
    from keras_bn.layer import BatchNormalization
    from keras_bn.model_tools.averaged_weights import SwapEMAWeights
    from keras_bn.model_tools.folding import Fold, FoldReport, fold
    from keras_bn.model_tools.keras_conversion import convert, revert
    from keras_bn.model_tools.monitoring import BatchNormMonitor
    from keras_bn.model_tools.old_models import load_old_model
    from keras_bn.model_tools.recalibration import recalibrate
    from keras_bn.model_tools.torch_conversion import from_torch, to_torch, to_torch_state_dict
    from keras_bn.untracked import UntrackedBatchNormalization

__version__ = "0.1.0"

__all__ = [
    "BatchNormMonitor",
    "BatchNormOutput",
    "BatchNormalization",
    "Fold",
    "FoldReport",
    "SwapEMAWeights",
    "UntrackedBatchNormalization",
    "__version__",
    "batch_norm",
    "convert",
    "fold",
    "from_torch",
    "load_old_model",
    "recalibrate",
    "revert",
    "to_torch",
    "to_torch_state_dict",
]
