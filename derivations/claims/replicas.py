"""Statistics of a whole from those of its parts: replicas of unequal sizes, ghost batches (equation 7).

The shipped ``merge`` is proved for any number m of parts; what replicas have to sum, for two of them.
"""

from collections.abc import Iterator
from typing import Any

from sympy import IndexedBase

from derivations import steps
from derivations.claim import Claim
from derivations.claims import sums_of_replicas
from derivations.execution import Execution, World
from derivations.finite_sums import Setting
from derivations.notation import Definitions, i, m, mu, over_batch, v, w, x
from keras_bn.formulas import merging as shipped

variances = IndexedBase("V", nonnegative=True)


def claims(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about ``functions``, then those about the sums of replicas."""
    yield from _merged(functions)
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
