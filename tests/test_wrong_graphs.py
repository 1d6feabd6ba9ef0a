"""No wrong graph is proved: a table of graphs by hand, each wrong one shown wrong by TensorFlow in float64."""

import numpy as np
import pytest
import tensorflow as tf

from derivations.claims.claim import Disagreement, Verdict
from derivations.claims.families.graphs import claims_about
from derivations.graphs.shipped import trace
from derivations.graphs.walk import UnknownGraph
from tests.graph_cases import CASES, MASKED, plain
from tests.graph_mutants import values_of

SIZES = {
    "rows": [(1,), (5,), (7,), (40,), (300,)],
    "channels_last": [(1, 1, 1), (2, 3, 5), (2, 16, 9)],
    "channels_first": [(1, 1, 1), (2, 3, 5), (2, 16, 9)],
}


def wrong_outputs(case, traced):
    """Which outputs differ from those of the plain formula, by TensorFlow's own runs."""
    truth = trace(case.graph, plain(case.graph))
    wrong = set()
    for sizes in SIZES[case.graph.layout]:
        values = values_of(case.graph, sizes)
        expected = truth.function(*values)
        try:
            found = traced.function(*values)
        except tf.errors.InvalidArgumentError:  # no value at these sizes
            wrong |= {*case.graph.outputs}
            continue
        for name, ours, theirs in zip(case.graph.outputs, found, expected, strict=True):
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-9, atol=1e-9):
                wrong.add(name)
    return wrong


def settled(case, traced):
    """The verdict on each output; none if the graph is refused."""
    try:
        claims = list(claims_about(case.graph, traced))
    except UnknownGraph:
        return {}
    return {claim.identifier.split(".")[-1]: claim.settle().verdict for claim in claims}


@pytest.mark.parametrize("name", CASES)
def test_no_wrong_graph_is_proved(name):
    case = CASES[name]
    traced = trace(case.graph, case.forward)
    wrong = wrong_outputs(case, traced)
    assert bool(wrong) is (case.kind == "wrong"), wrong
    try:
        verdicts = settled(case, traced)
    except Disagreement as error:
        pytest.fail(f"the interpretation is fooled: {error}")
    assert not [output for output in wrong if verdicts.get(output) is Verdict.PROVED]
    if case.kind == "right":
        assert set(verdicts.values()) == {Verdict.PROVED}
        assert set(verdicts) == set(case.graph.outputs)
    if case.kind == "refused":
        assert Verdict.PROVED not in verdicts.values()


def test_there_are_enough_of_each_kind():
    kinds = [case.kind for case in CASES.values()]
    assert len(kinds) >= 60
    assert kinds.count("wrong") >= 40
    assert {case.graph.layout for case in CASES.values()} == set(SIZES)
    assert MASKED in {case.graph for case in CASES.values()}
    assert any(case.graph.second for case in CASES.values())
