"""The degrees of what a graph computes, counted by running it on numbers that know theirs."""

from typing import Any

import numpy as np

from derivations.graphs.exact.points import Point, Sizes, nominal
from derivations.graphs.exact.run import ExactRun
from derivations.graphs.shipped import Graph, Traced
from derivations.prime_fields.arrays import Numbers, with_degrees
from derivations.prime_fields.dual_numbers import Degree, Degrees


class CountingRun(ExactRun):
    """A run in which numbers of elements are of degree 1 in the size."""

    def count(self, number: Any) -> Numbers:
        return with_degrees(super().count(number), Degrees(0, 1, 0))


def counted(graph: Graph, traced: Traced, sizes: Sizes, p: int, near: float) -> dict[str, Degrees]:
    """Of each output, bounds on the degrees of its difference from the textbook, cleared of denominators and of roots.

    They are counted for single entries, and hold at every size: sums add no degree. Random directions, along which
    gradients are compared, add one.
    """
    point = Point(sizes, p, mask="all true", counted=True)
    run = CountingRun(p, nominal(p), near)
    _, compared = point.compared(graph, traced, run, np.random.default_rng(0))
    return {name: _largest(ours - truth) for name, (ours, truth) in compared.items()}


def _largest(difference: Numbers) -> Degrees:
    found = Degrees(0, 0, 0)
    for entry in difference.residue.ravel():
        if isinstance(entry, Degree):
            found = found.at_least(Degrees(*(degree * 2 ** len(entry.roots) for degree in entry.top)))
    return found


__all__ = ["counted"]
