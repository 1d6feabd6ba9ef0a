"""Batch normalization for Keras 3 on TensorFlow, with a closed-form backward pass that is proved symbolically."""

import os
import sys

_BACKEND_HINT = (
    "keras_bn needs Keras' TensorFlow backend. Received: KERAS_BACKEND={}. "
    "Set it before Keras is imported: export KERAS_BACKEND=tensorflow"
)

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    # This comes before the import of Keras, which would fail first if that backend is not installed.
    raise ImportError(_BACKEND_HINT.format(os.environ["KERAS_BACKEND"]))

# Everything is imported at once, since Keras finds a registered layer only after its import. ``python -m keras_bn`` is
# an exception: Python imports this package to find the command, which then imports TensorFlow itself to keep it quiet.
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
