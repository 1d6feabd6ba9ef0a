"""The symbols of the derivation.

Index legend: i, k free indices over the m elements that share statistics; j the index of a sum.
"""

from typing import Any

import sympy as sp
from sympy import Expr, IndexedBase, Symbol

from derivations.notation.expressions import Shorthand, index, total

m = Symbol("m", integer=True, positive=True)  # elements that share statistics
i, k = index("i"), index("k")

x = IndexedBase("x", real=True)  # input
w = IndexedBase("w", nonnegative=True)  # weights
delta = IndexedBase("delta", real=True)  # δ = ∂L/∂y, the upstream gradient
gamma, beta = sp.symbols("gamma beta", real=True)
epsilon = Symbol("epsilon", positive=True)

mu = Shorthand("mu", real=True)  # mean
v = Shorthand("v", nonnegative=True)  # biased variance
s = Shorthand("s", positive=True)  # inverse standard deviation
x_hat = IndexedBase(Shorthand("xhat", real=True))  # normalized input
y = IndexedBase(Shorthand("y", real=True))  # output
L = Shorthand("L", real=True)  # loss

g_mu, g_v = sp.symbols("g_mu g_v", real=True)  # cotangents of mean and variance
u = IndexedBase("u", real=True)  # cotangent of ∂x
u_gamma, u_beta = sp.symbols("u_gamma u_beta", real=True)  # cotangents of ∂γ and ∂β
J, Phi = (
    Shorthand("J", real=True),
    Shorthand("Phi", real=True),
)  # what they are the cotangents for: losses of all outputs
M = Symbol("M", real=True)  # the given mean of inference


def over_batch(term: Any, of: Symbol = i) -> Expr:
    """Σ term over the batch."""
    return total(term, of, m)
