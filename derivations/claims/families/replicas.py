"""Statistics of a whole from those of its parts: replicas of unequal sizes, ghost batches (equation 7).

The shipped ``merge`` and ``merge_moments`` are proved for any number m of parts; what replicas have to sum, for two of
them.
"""

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import IndexedBase

from derivations.claims import steps
from derivations.claims.claim import Claim
from derivations.claims.execution import Execution
from derivations.claims.families import sums_of_replicas
from derivations.notation import Definitions, i, m, mu, over_batch, v, w, x
from derivations.notation.settings import Setting
from derivations.notation.worlds import World
from keras_bn.formulas import merging as shipped
from keras_bn.formulas.training import Moments

variances = IndexedBase("V", nonnegative=True)
shifts = IndexedBase("h", real=True)


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``, then those about the sums of replicas."""
    yield from _merged(functions)
    yield from _merged_pairs(functions)
    yield from sums_of_replicas.claims()


def _merged(functions: Any) -> Iterator[Claim]:
    def run(world: World) -> dict[str, Any]:
        mean, variance = functions.merge(world.ops, world.value(x[i]), world.value(variances[i]))
        return {"mean": mean, "variance": variance}

    execution = Execution(run, weighted=True)
    weight = over_batch(w[i])
    mean = over_batch(w[i] * x[i]) / weight
    squares = over_batch(w[i] * (variances[i] + x[i] ** 2))
    words = "Part r with w_r elements, mean x_r and variance V_r contributes w_r·x_r to Σx and w_r·(V_r + x_r²) to Σx²."
    for name, title, textbook in (
        ("mean", "the mean of the whole", mean),
        ("variance", "the variance of the whole", squares / weight - mean**2),
    ):
        yield Claim(
            f"replicas.merge.{name}",
            title,
            (execution.returned(name, f"merge.{name}"), textbook),
            Setting({i: m}, positive=(weight,)),
            Definitions({}),
            because=words,
            about=f"{functions.__name__}.merge",
            assumptions=("any number m of parts", "w_r ≥ 0", "Σ w > 0"),
            conditions=execution.conditions,
            in_words=("A part without elements has w_r = 0 and adds nothing.",),
        )
    yield Claim(
        "replicas.part",
        "what a part contributes to Σx²",
        (over_batch(x[i] ** 2), m * (v + mu**2)),
        steps.setting(),
        steps.definitions(),
        because="The definition of the variance, multiplied out.",
    )


def _merged_pairs(functions: Any) -> Iterator[Claim]:
    """Part r has the center x_r and the shift h_r: its mean is x_r + h_r."""

    def run(world: World) -> dict[str, Any]:
        parts = Moments(*(world.value(value) for value in (x[i], shifts[i], variances[i])))
        merged = functions.merge_moments(world.ops, parts)
        return {"mean": merged.mean, "variance": merged.variance}

    execution = Execution(run, weighted=True)
    weight, means = over_batch(w[i]), x[i] + shifts[i]
    mean = over_batch(w[i] * means) / weight
    squares = over_batch(w[i] * (variances[i] + means**2))
    rows = [
        (name, f"{title}, whose means are pairs", (execution.returned(name, f"merge_moments.{name}"), textbook), words)
        for name, title, textbook, words in (
            (
                "mean",
                "the mean of the whole",
                mean,
                "A common center is subtracted from every part's, and added again.",
            ),
            ("variance", "the variance of the whole", squares / weight - mean**2, "Shifts differ as the means do."),
        )
    ]
    rows += [
        (
            f"center_of_{name}",
            f"{name} does not depend on the common center",
            (execution.returned(name, f"∂{name}/∂center", wrt=center), sp.Integer(0)),
            "The results are the same for every center (equation 9).",
        )
        for center in execution.constants
        for name in ("mean", "variance")
    ]
    for name, title, members, words in rows:
        yield Claim(
            f"replicas.merge_moments.{name}",
            title,
            members,
            Setting({i: m}, positive=(weight,)),
            Definitions({}),
            because=words,
            about=f"{functions.__name__}.merge_moments",
            assumptions=("any number m of parts", "w_r ≥ 0", "Σ w > 0", "any constant as center"),
            conditions=execution.conditions,
        )
