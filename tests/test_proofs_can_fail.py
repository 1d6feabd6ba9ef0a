"""Every mutant of the shipped formulas is refuted by an exact counterexample, or is the same formula and listed so.

The mutants are made mechanically from the source: each term and each factor dropped, each sign flipped, each operand
scaled by 1.001, each operation and each variable exchanged for its neighbours.
"""

import ast
import inspect
import types
from collections.abc import Iterator

import pytest
import sympy as sp

from derivations.claim import Claim, Verdict
from derivations.claims import inference as inference_claims
from derivations.claims import moving_statistics as moving_claims
from derivations.claims import renormalization as renormalization_claims
from derivations.claims import replicas as replicas_claims
from derivations.claims import sums_of_replicas
from derivations.claims import training as training_claims
from derivations.finite_field import examine
from keras_bn.formulas import inference, merging, moving_statistics, renormalization, training

SCALE = sp.Rational(1001, 1000)

# What may be mistaken for what; a neighbour is tried only where it exists.
NEIGHBOURS = {
    "gamma": ["inv_std", "beta", "scale"],
    "beta": ["gamma"],
    "inv_std": ["gamma", "scale"],
    "scale": ["gamma", "inv_std"],
    "d_beta": ["d_gamma"],
    "d_gamma": ["d_beta"],
    "d_mean": ["d_variance"],
    "d_variance": ["d_mean"],
    "dy": ["residual", "x"],
    "x": ["residual", "dy"],
    "residual": ["dy", "x"],
    "center": ["shift"],
    "shift": ["center"],
    "slope": ["offset"],
    "offset": ["slope"],
    "variance": ["epsilon", "shift"],
    "epsilon": ["variance"],
    "mean": ["variance"],
    "share": ["offset", "slope"],
    "moving": ["batch"],
    "batch": ["moving"],
    "momentum": ["batch"],
}
OPERATIONS = {"sum": ["mean"], "mean": ["sum"], "inverse_root": ["constant"]}
FLIPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add}

# Mutants that are the same function. By equation 9 every result is the same whatever the center, which the proofs
# therefore take as a free symbol; how it is chosen decides only the accuracy in floating point.
ANY_CENTER = "no result depends on the center (equation 9)"
# What stands in for a masked NaN is no matter of real numbers; test_masks.py refutes these two.
EVERY_NUMBER_IS_FINITE = "every real number is finite"
SAME_MOMENTS = {
    "center = ops.constant(ops.mean(x)): ops.constant(ops.mean(x)) → SCALE * ops.constant(ops.mean(x))": ANY_CENTER,
    "center = ops.constant(ops.mean(x)): ops.mean(x) → SCALE * ops.mean(x)": ANY_CENTER,
    "center = ops.constant(ops.mean(x)): ops.mean(x) → ops.sum(x)": ANY_CENTER,
    "center = ops.constant(ops.mean(x)): x → SCALE * x": ANY_CENTER,
}

SAME_BACKWARD = {
    "residual = ops.finite(x - center, shift): shift → center": EVERY_NUMBER_IS_FINITE,
    "residual = ops.finite(x - center, shift): shift → SCALE * shift": EVERY_NUMBER_IS_FINITE,
}
CENTER_OF_PARTS = "center = parts.constant(parts.mean(moments.center))"
SAME_MERGE_MOMENTS = {
    f"{CENTER_OF_PARTS}: parts.constant(parts.mean(moments.center)) → "
    "SCALE * parts.constant(parts.mean(moments.center))": ANY_CENTER,
    f"{CENTER_OF_PARTS}: parts.mean(moments.center) → SCALE * parts.mean(moments.center)": ANY_CENTER,
    f"{CENTER_OF_PARTS}: parts.mean(moments.center) → parts.sum(moments.center)": ANY_CENTER,
    f"{CENTER_OF_PARTS}: moments.center → SCALE * moments.center": ANY_CENTER,
}
SAME = {
    (training, "moments"): SAME_MOMENTS,
    (training, "backward"): SAME_BACKWARD,
    (merging, "merge_moments"): SAME_MERGE_MOMENTS,
}

Change = tuple[ast.expr, str]  # the expression to be replaced, and the source to replace it with


def changes(node: ast.expr, known: set[str]) -> Iterator[Change]:
    """Every change to one expression and, in turn, to its parts; ``known`` names exist where it stands."""
    source = ast.unparse(node)
    match node:
        case ast.Tuple(elts=parts) | ast.Call(func=ast.Name(), args=parts):
            pass  # what a function returns
        case ast.Call(func=ast.Attribute(attr="over_replicas"), args=parts):
            pass  # as many values as it is given
        case ast.Call(func=ast.Attribute(attr=operation), args=parts):
            yield node, f"SCALE * {source}"
            yield from (
                (node, source.replace(f".{operation}(", f".{other}(", 1)) for other in OPERATIONS.get(operation, [])
            )
        case ast.BinOp(left=left, op=op, right=right):
            parts = [left, right]
            yield node, f"SCALE * ({source})"
            nothing = "1 + 0 *" if isinstance(op, ast.Mult | ast.Div) else "0 *"  # per element where the operand is
            for dropped in (left, right):
                yield dropped, f"{nothing} ({ast.unparse(dropped)})"
            if flipped := FLIPPED.get(type(op)):
                yield node, ast.unparse(ast.BinOp(left, flipped(), right))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            parts = []
            if name in NEIGHBOURS:
                yield node, f"SCALE * {source}"
                yield from ((node, source.replace(name, other)) for other in NEIGHBOURS[name] if other in known)
        case _:
            parts = []
            yield node, f"SCALE * {source}"
    for part in parts:
        yield from changes(part, known)


def mutants(module: types.ModuleType) -> Iterator[tuple[str, str, types.ModuleType]]:
    """The function that was changed, what was changed, and the module with that one change."""
    text = inspect.getsource(module)
    for function in [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]:
        known = {argument.arg for argument in function.args.args}
        for statement in function.body:
            if isinstance(statement, ast.Assign | ast.Return) and statement.value is not None:
                for node, replacement in changes(statement.value, known):
                    mutant = types.ModuleType(module.__name__)
                    mutant.__dict__["SCALE"] = SCALE
                    exec(_replaced(text, node, f"({replacement})"), mutant.__dict__)
                    change = f"{ast.unparse(statement)}: {ast.unparse(node)} → {replacement}"
                    yield function.name, change, mutant
                known |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _replaced(text: str, node: ast.expr, replacement: str) -> str:
    lines = text.encode().splitlines(keepends=True)  # columns count bytes
    assert node.lineno == node.end_lineno, "a mutated expression must stand on one line"
    line = lines[node.lineno - 1]
    lines[node.lineno - 1] = line[: node.col_offset] + replacement.encode() + line[node.end_col_offset :]
    return b"".join(lines).decode()


def refutation(family: types.ModuleType, function: str, mutant: types.ModuleType) -> Claim | None:
    """The first claim with a counterexample, for ``backward`` those about it first; None if all are proved.

    Any other end fails the test: a mutant must be refused by an inequality, not by an exception or for want of a proof.
    """
    claims = list(family.claims(mutant))
    # The second proof is the quicker one; where it finds a difference, the first has to confirm it.
    for claim in sorted(claims, key=lambda claim: not claim.about.endswith(function)):
        if not examine(claim.members, claim.setting, claim.definitions).equal:
            settled = claim.settle()
            assert settled.verdict is Verdict.REFUTED, settled.line()
            return settled
    for claim in claims:
        settled = claim.settle()
        assert settled.verdict is Verdict.PROVED, settled.line()
    return None


FAMILIES = {
    training: training_claims,
    inference: inference_claims,
    moving_statistics: moving_claims,
    merging: replicas_claims,
    renormalization: renormalization_claims,
}
# What is clipped is any constant to the proofs: where it is clipped is tested on numbers, in test_layer_options.py.
CLIPPING = {(renormalization, "correction"), (renormalization, "standard_deviation")}
SLOW = ("moments", "normalize", "backward")
CASES = [
    pytest.param(module, function, marks=pytest.mark.slow if function in SLOW else ())
    for module, functions in {
        training: ("mean", "moments", "normalize", "backward"),
        inference: ("normalize",),
        moving_statistics: ("update", "cumulative_momentum"),
        merging: ("merge", "merge_moments"),
        renormalization: ("compose", "gradient_of_gamma"),
    }.items()
    for function in functions
]


def test_every_function_is_mutated():
    listed = {case.values for case in CASES} | CLIPPING
    for module in FAMILIES:
        assert {(module, function) for function, _, _ in mutants(module)} == {c for c in listed if c[0] is module}


@pytest.mark.parametrize(("module", "function"), CASES)
def test_mutants_are_refuted(module, function):
    tried = [(description, mutant) for name, description, mutant in mutants(module) if name == function]
    survivors = {description for description, mutant in tried if not refutation(FAMILIES[module], function, mutant)}
    assert len(tried) >= 4
    assert survivors == SAME.get((module, function), {}).keys()


def test_a_formula_right_but_for_the_weights_is_refuted_by_the_weighted_claims():
    text = inspect.getsource(training).replace("share = ops.share()", "share = 1 / ops.sum(dy * 0 + 1)")
    mutant = types.ModuleType(training.__name__)
    exec(text, mutant.__dict__)
    found = refutation(training_claims, "backward", mutant)
    assert found is not None
    assert found.identifier == "training.weighted.backward.x"


def test_a_forward_pass_with_another_epsilon_is_refuted_although_its_gradient_follows():
    mutant = types.ModuleType(training.__name__)
    exec(inspect.getsource(training).replace("variance + epsilon", "variance + 2 * epsilon"), mutant.__dict__)
    found = refutation(training_claims, "normalize", mutant)
    assert found is not None
    assert found.identifier == "training.plain.normalize.inv_std"


@pytest.mark.parametrize(
    "instead", ["slope, offset", "ops.over_replicas(offset, slope)", "tuple(2 * a for a in (slope, offset))"]
)
def test_replicas_that_do_not_add_up_their_sums_are_refuted(instead):
    text = inspect.getsource(training)
    right = "slope, offset = ops.over_replicas(slope, offset)"
    assert right in text
    mutant = types.ModuleType(training.__name__)
    # The first replica still needs what the second would give.
    exec(text.replace(right, f"ops.over_replicas(slope, offset); slope, offset = {instead}"), mutant.__dict__)
    verdicts = [claim.settle().verdict for claim in sums_of_replicas.executed(mutant)]
    assert verdicts == [Verdict.REFUTED, Verdict.PROVED, Verdict.PROVED]
