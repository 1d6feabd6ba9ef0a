"""Mechanical mutants of the shipped graphs: each is refused, refuted, or equal to the original in float64."""

import numpy as np
import pytest

from derivations.claims.claim import Verdict
from derivations.claims.families.graphs import claims_about
from derivations.graphs.shipped import GRAPHS, Traced, trace
from derivations.graphs.walk import UnknownGraph
from tests.graph_mutants import mutants, values_of

NAMED = {graph.name: graph for graph in GRAPHS}
SIZES = ((1,), (3,), (40,), (70,), (300,))


def fate(graph, original, mutant):
    """What becomes of one mutant: no graph at all, refused, refuted, or equal; a wrong one that is proved fails."""
    try:
        function = mutant.build()
    except (ValueError, TypeError):
        return "no graph"
    try:
        claims = [claim.settle() for claim in claims_about(graph, Traced(function, None))]
    except UnknownGraph:
        return "refused"
    proved = {claim.identifier.split(".")[-1] for claim in claims if claim.verdict is Verdict.PROVED}
    for sizes in SIZES:
        values = values_of(graph, sizes)
        for name, ours, theirs in zip(graph.outputs, function(*values), original.function(*values), strict=True):
            if name in proved:
                np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=f"{mutant.name}, {name}")
    return "equal" if proved == set(graph.outputs) else "refuted"


def fates(name, every):
    graph = NAMED[name]
    original = trace(graph)
    return [fate(graph, original, mutant) for mutant in list(mutants(original))[::every]]


def test_mutants_of_graphs_are_caught():
    found = fates("batch_norm", 25) + fates("control", 11)
    assert found.count("refused") + found.count("refuted") >= 15
    assert found.count("refuted") >= 3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "every"), [("control", 1), ("batch_norm", 3), ("control.second", 4)])
def test_all_mutants_of_graphs_are_caught(name, every):
    """Of the larger graphs every third or fourth one, which takes two minutes."""
    found = fates(name, every)
    assert len(found) - found.count("no graph") >= 50
    assert found.count("refuted") >= 15
    # Of second derivatives much is computed that no output uses.
    assert found.count("equal") <= len(found) // (2 if name.endswith("second") else 4)
