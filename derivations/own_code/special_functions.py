"""SciPy's functions, by NumPy's: for arrays of unknown size and exact numbers alike.

SciPy is not needed; where the user's code has it, these take its functions' place.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def _expit(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


# SciPy's ufuncs, by name.
SPECIAL_UFUNCS: dict[str, Callable[..., Any]] = {
    "expit": _expit,
    "log_expit": lambda a: -np.log(1 + np.exp(-a)),
    "logit": lambda a: np.log(a / (1 - a)),
    "xlogy": lambda a, b: a * np.log(b),
    "xlog1py": lambda a, b: a * np.log(1 + b),
    "entr": lambda a: -a * np.log(a),
    "rel_entr": lambda a, b: a * np.log(a / b),
}


def _logsumexp(a: Any, axis: Any = None, b: Any = 1, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(a) * b, axis=axis, keepdims=keepdims))


def _softmax(x: Any, axis: Any = None) -> Any:
    powers = np.exp(x)
    return powers / np.sum(powers, axis=axis, keepdims=True)


def _log_softmax(x: Any, axis: Any = None) -> Any:
    return x - _logsumexp(x, axis, keepdims=True)


def special_functions() -> tuple[Any, dict[str, Any]]:
    """The module ``scipy.special``, None if nobody imported it, and its functions that NumPy cannot dispatch."""
    replaced = {"logsumexp": _logsumexp, "softmax": _softmax, "log_softmax": _log_softmax}
    return sys.modules.get("scipy.special"), replaced
