"""The shipped ``formulas.inference``: the affine map with given statistics (equation 5)."""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import Rational

from derivations.claim import Claim
from derivations.execution import Execution, World
from derivations.finite_sums import InverseRoot, Setting
from derivations.notation import Definitions, beta, epsilon, gamma, i, m, s, x, x_hat, y
from keras_bn.formulas import inference as shipped

M = sp.Symbol("M", real=True)  # the given mean
V = sp.Symbol("V", nonnegative=True)  # the given variance

TEXTBOOK = Definitions(
    {s: (V + epsilon) ** Rational(-1, 2), x_hat[i]: (x[i] - M) * s, y[i]: gamma * x_hat[i] + beta},
)
SETTING = Setting({i: m}, InverseRoot(s, epsilon, V), positive=(V + epsilon,))


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``."""

    def run(world: World) -> dict[str, Any]:
        return {"y": functions.normalize(world.ops, *map(world.value, (x[i], M, V, gamma, beta, epsilon)))}

    execution = Execution(run)
    yield Claim(
        "inference.normalize.y",
        "the output",
        (execution.returned("y"), y[i], gamma * s * x[i] + (beta - gamma * s * M)),
        SETTING,
        TEXTBOOK,
        because="What the function returns is the definition; the folded form is the same affine map.",
        about=f"{functions.__name__}.normalize",
        assumptions=("V ≥ 0", "ε > 0"),
        conditions=execution.conditions,
    )
