"""What is assumed of the arithmetic, in one place: every bound rests on it, and on nothing else."""

# The unit roundoff u: the relative error of one rounding to nearest.
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
# The relative error of value^(−1/2) in units of u: a root and a reciprocal, 2u + u², and as much again to spare.
ROOT = 3
# Roundings of a division by a count: the count, or its reciprocal, may itself be rounded.
DIVISION = 2

ASSUMPTIONS = (
    "every batch size",
    "d·u·(1 + k)² ≤ 1/200",
    "sums of depth d in any order",
    "a center within k·σ of the mean",
    "no overflow or underflow",
    f"an inverse root within {ROOT}·u",
    "σ² = v + ε",
)
