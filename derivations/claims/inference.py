"""The shipped ``formulas.inference``: the affine map with given statistics (equation 5)."""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import Rational

from derivations.claim import Claim, Computed
from derivations.finite_sums import InverseRoot, Setting
from derivations.notation import Definitions, beta, epsilon, gamma, i, m, s, x, x_hat, y
from derivations.symbolic_batch import SymbolicBatch, SymbolicOperations
from keras_bn.formulas import inference as shipped

M = sp.Symbol("M", real=True)  # the given mean
V = sp.Symbol("V", nonnegative=True)  # the given variance

TEXTBOOK = Definitions(
    {s: (V + epsilon) ** Rational(-1, 2), x_hat[i]: (x[i] - M) * s, y[i]: gamma * x_hat[i] + beta},
)
SETTING = Setting({i: m}, InverseRoot(s, epsilon, V), positive=(V + epsilon,))


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``."""
    ops = SymbolicOperations()
    output = functions.normalize(ops, *map(SymbolicBatch, (x[i], M, V, gamma, beta, epsilon)))
    yield Claim(
        "inference.normalize.y",
        "the output",
        (Computed("y", output.expression), y[i], gamma * s * x[i] + (beta - gamma * s * M)),
        SETTING,
        TEXTBOOK,
        because="What the function returns is the definition; the folded form is the same affine map.",
        about=f"{functions.__name__}.normalize",
        assumptions=("V ≥ 0", "ε > 0"),
        conditions=frozenset(ops.conditions),
    )
