"""What each tool does with each option of the layer: one table, which every new option must enter.

A tool that does not know an option would ignore it, and return a wrong model without a word. So the tools refuse a
layer with an option that is not in the table, and a test compares the table with the layer's constructor.
"""

from typing import Any, NamedTuple

from keras_bn.layer import BatchNormalization


class Treatment(NamedTuple):
    """What becomes of one option, tool by tool."""

    fold: str
    revert: str
    to_torch: str
    recalibrate: str


_SAME = "kept"
_TRAINING = "no part in inference"
_PASSED = "used as it is"
_WEIGHTS = Treatment("folded: its weight is", _SAME, "kept: its weight is", _PASSED)
_START = Treatment("no part: the weights are there", _SAME, "no part: the weights are there", "no part")
_PENALTY = Treatment("no part in inference", _SAME, "left out: PyTorch has it in the optimizer", "no part")

OPTIONS: dict[str, Treatment] = {
    "axis": Treatment("several: not folded", "several: refused", "several: refused", _PASSED),
    "momentum": Treatment(_TRAINING, "None: refused, or left out", "1 minus it", "says how much the new ones count"),
    "epsilon": Treatment("folded", _SAME, _SAME, _PASSED),
    "center": _WEIGHTS,
    "scale": _WEIGHTS,
    **{f"{name}_initializer": _START for name in ("beta", "gamma", "moving_mean", "moving_variance")},
    **{f"{name}_{kind}": _PENALTY for name in ("beta", "gamma") for kind in ("regularizer", "constraint")},
    "renorm": Treatment(_TRAINING, _SAME, "refused", "its references are set, too"),
    "renorm_clipping": Treatment(_TRAINING, "a schedule: refused, or left out", "with renorm, refused", "no part"),
    "renorm_momentum": Treatment(_TRAINING, _SAME, "with renorm, refused", "no part"),
    "synchronized": Treatment(_TRAINING, _SAME, "SyncBatchNorm", "no part: the pass runs on one replica"),
    "statistics": Treatment("'batch': not folded", "'batch': refused; 'moving': or left out", "refused", "no part"),
    "zero_debias": Treatment(_TRAINING, "refused, or left out", "refused", "its count is set, too"),
    "unbiased_variance": Treatment(_TRAINING, "refused, or left out", "always so there", "followed"),
    "virtual_batch_size": Treatment(_TRAINING, "refused, or left out", "refused", "whole batches"),
    "activation": Treatment("not folded", "a layer of its own", "refused", "applied"),
    "engine": Treatment(_TRAINING, "left out", "left out", "no part"),
}  # fmt: skip
# Of every Keras layer; and a second name for "axis" in files.
_OF_EVERY_LAYER = {"name", "trainable", "dtype", "axes"}


def check_known(layer: Any, tool: str) -> None:
    """Raise ValueError if a layer of ours has an option of which the table does not say what becomes of it."""
    if type(layer) is not BatchNormalization:
        return
    if unknown := sorted(set(layer.get_config()) - set(OPTIONS) - _OF_EVERY_LAYER):
        raise ValueError(
            f"{tool} honours or refuses every option of a layer that it knows. Received: {layer.name} with "
            f"{', '.join(unknown)}, which it does not know. Add a row to OPTIONS in keras_bn/model_tools/options.py."
        )


__all__ = ["OPTIONS", "Treatment", "check_known"]
