"""Mistakes that are known by name, told by what the code returned."""

import random
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.numbers_dual import Forgetting, Number, Reals


def named(judge: Any, name: str, example: Any) -> str:
    """The name of the mistake by which the gradient of this input is wrong; empty if it is none of these."""
    return ""


__all__ = ["Forgetting", "Fraction", "Number", "Reals", "named", "np", "random"]
