"""What is assumed of the arithmetic, in one place: every bound rests on it, and on nothing else."""

from typing import Any

from sympy import QQ

from derivations.rounding.magnitudes import SMALL

# The unit roundoff u: the relative error of one rounding to nearest.
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
# The relative error of value^(−1/2) in units of u, but for 2·u²: a root and a reciprocal (lemma "reciprocal root").
ROOT = QQ(3, 2)
# The same within TensorFlow's fused kernels, which compute it in their own way; a test measures it.
KERNEL_ROOT = QQ(4)
# Roundings of a division by a count: the count, or its reciprocal, may itself be rounded.
DIVISION = 2


def assumptions(root: Any = ROOT) -> tuple[str, ...]:
    """What a bound takes for granted, in words."""
    return (
        "every batch size",
        f"d·u·(1 + k)² ≤ {SMALL}",
        "sums of depth d in any order",
        "a center within k·σ of the mean",
        "no overflow or underflow",
        f"an inverse root within {root}·u",
        "σ² = v + ε",
    )
