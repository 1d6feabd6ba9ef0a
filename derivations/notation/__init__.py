"""The notation of the derivation: its symbols, what they stand for, and how they are printed."""

from derivations.notation.definitions import Definitions, Partial
from derivations.notation.symbols import (
    J,
    L,
    M,
    Phi,
    beta,
    delta,
    epsilon,
    g_mu,
    g_v,
    gamma,
    i,
    k,
    m,
    mu,
    over_batch,
    s,
    u,
    u_beta,
    u_gamma,
    v,
    w,
    x,
    x_hat,
    y,
)  # fmt: skip

__all__ = [
    "Definitions", "J", "L", "M", "Partial", "Phi", "beta", "delta", "epsilon", "g_mu", "g_v", "gamma", "i", "k", "m",
    "mu", "over_batch", "s", "u", "u_beta", "u_gamma", "v", "w", "x", "x_hat", "y",
]  # fmt: skip
