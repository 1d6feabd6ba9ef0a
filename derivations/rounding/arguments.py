"""What the arguments of the formulas mean, in units of σ = √(v + ε)."""

from derivations.rounding.magnitudes import G
from derivations.rounding.rounded_batch import RoundedBatch, given

# Of training and inference: x = μ + z, and v + ε = 1.
BATCH: dict[str, RoundedBatch] = {
    "x": given(G["mu"] + G["z"], per_element=True),
    "delta": given(G["delta"], per_element=True),
    "gamma": given(G["gamma"]),
    "beta": given(G["beta"]),
    "epsilon": given(1 - G["q"]),
    "mean": given(G["mu"]),
    "variance": given(G["q"]),
}
# Of statistics in one pass, over x − c for a constant c that is k deviations away from the mean, or over x for c = 0.
ONE_PASS: dict[str, RoundedBatch] = {**BATCH, "residual": given(G["z"] + G["k"], per_element=True)}
# Of parts that are merged: the mean of part i is μ + zᵢ, and σ² is the merged variance.
PARTS: dict[str, RoundedBatch] = {
    "mean": given(G["mu"] + G["z"], per_element=True),
    "variance": given(G["part"], per_element=True),
    "center": given(G["mu"] + G["z"] + G["a"], per_element=True),
    "shift": given(-G["a"], per_element=True),
}
