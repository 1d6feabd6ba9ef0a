"""Mutants of the shipped formulas: made mechanically, and each refuted or proved to be the same function.

Each term and each factor is dropped, each sign flipped, each operand scaled by 1.001, each operation and each variable
exchanged for its neighbours. A proof that would let a wrong formula pass would let some of these pass.
"""

import ast
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module

from sympy import Rational

from derivations.claims.claim import Claim, Verdict
from derivations.prime_fields.examination import examine

SCALE = Rational(1001, 1000)

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
    "variance": ["epsilon", "shift", "mean"],
    "epsilon": ["variance"],
    "mean": ["variance"],
    "share": ["offset", "slope"],
    "moving": ["batch"],
    "batch": ["moving"],
    "momentum": ["batch"],
    "std": ["mean", "variance"],
    "r": ["d", "std"],
    "d": ["r"],
    "d_min": ["d"],
    "d_out": ["out"],
    "out": ["d_out"],
    "y": ["beta"],
}
FIELDS = {
    "mean": ["std"], "std": ["mean"], "r_min": ["r_max"], "r_max": ["r_min", "d_max"], "d_max": ["r_max"],
    "r": ["d"], "d": ["r"], "center": ["shift"], "shift": ["center"], "variance": ["shift"],
}  # fmt: skip
OPERATIONS = {"sum": ["mean"], "mean": ["sum"], "near_mean": ["sum"], "inverse_root": ["constant"]}
FLIPPED: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}

# Modules of formulas, and the claims that are made about the functions of each.
FAMILIES = {
    "training": "training",
    "inference": "inference",
    "moving_statistics": "moving_statistics",
    "merging": "replicas",
    "renormalization": "renormalization",
    "output": "output",
}


@dataclass(frozen=True)
class Mutant:
    """A module of formulas with one change.

    function: that was changed.
    change: the statement, the expression in it, and what was put in its place.
    """

    function: str
    change: str
    module: types.ModuleType


@dataclass(frozen=True)
class Equivalence:
    """Mutants that are the same function.

    because: the proof that they are, in words; all claims about them are proved as well.
    accuracy: the test by which floating point tells them apart nevertheless.
    """

    because: str
    accuracy: str
    changes: tuple[str, ...]


@dataclass
class Tally:
    """What became of the mutants of one function."""

    name: str
    refuted: int = 0
    equivalent: list[tuple[str, Equivalence]] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.refuted + len(self.equivalent)


# By equation 9 every result is the same whatever the center, which the proofs therefore take as a free symbol.
CENTER = "center = ops.constant(ops.near_mean(x))"
CENTER_OF_PARTS = "center = parts.constant(parts.mean(moments.center))"
EQUIVALENT = {
    ("training", "moments"): Equivalence(
        "Equation 9: no result depends on the center; proved as training.plain.moments.center_of_mean and its likes.",
        "tests/test_proofs_can_fail.py::test_equivalent_mutants_are_told_apart_by_floating_point",
        (
            f"{CENTER}: ops.constant(ops.near_mean(x)) → SCALE * ops.constant(ops.near_mean(x))",
            f"{CENTER}: ops.near_mean(x) → SCALE * ops.near_mean(x)",
            f"{CENTER}: ops.near_mean(x) → ops.sum(x)",
            f"{CENTER}: x → SCALE * x",
        ),
    ),
    ("merging", "merge_moments"): Equivalence(
        "Equation 9: neither mean nor variance depends on the common center; proved as "
        "replicas.merge_moments.center_of_mean and center_of_variance.",
        "tests/test_proofs_can_fail.py::test_equivalent_mergers_are_told_apart_by_floating_point",
        (
            f"{CENTER_OF_PARTS}: parts.constant(parts.mean(moments.center)) → "
            "SCALE * parts.constant(parts.mean(moments.center))",
            f"{CENTER_OF_PARTS}: parts.mean(moments.center) → SCALE * parts.mean(moments.center)",
            f"{CENTER_OF_PARTS}: parts.mean(moments.center) → parts.sum(moments.center)",
            f"{CENTER_OF_PARTS}: moments.center → SCALE * moments.center",
            f"{CENTER_OF_PARTS}: moments.center → moments.shift",
        ),
    ),
    ("training", "backward"): Equivalence(
        "Every real number is finite: what stands in for a masked value that is none is never used.",
        "tests/test_proofs_can_fail.py::test_equivalent_mutants_are_told_apart_by_floating_point",
        (
            "residual = ops.finite(x - center, shift): shift → center",
            "residual = ops.finite(x - center, shift): shift → SCALE * shift",
        ),
    ),
}

Change = tuple[ast.expr, str]  # the expression to be replaced, and the source to replace it with


def mutants(module: types.ModuleType) -> Iterator[Mutant]:
    """Every mutant of a module of formulas."""
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
                    yield Mutant(function.name, change, mutant)
                known |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def changes(node: ast.expr, known: set[str]) -> Iterator[Change]:
    """Every change to one expression and, in turn, to its parts; ``known`` names exist where it stands."""
    source = ast.unparse(node)
    parts: Sequence[ast.expr] = ()
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
        case ast.IfExp(body=body, orelse=orelse):
            parts = (body, orelse)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            parts = (operand,)
            yield node, ast.unparse(operand)
        case ast.BinOp(left=left, op=ast.Pow()):
            parts = (left,)
            yield node, f"SCALE * ({source})"
            yield node, ast.unparse(left)
        case ast.BinOp(left=left, op=op, right=right):
            parts = (left, right)
            yield node, f"SCALE * ({source})"
            nothing = "1 + 0 *" if isinstance(op, ast.Mult | ast.Div) else "0 *"  # per element where the operand is
            for dropped in parts:
                yield dropped, f"{nothing} ({ast.unparse(dropped)})"
            if flipped := FLIPPED.get(type(op)):
                yield node, ast.unparse(ast.BinOp(left, flipped(), right))
        case ast.Name(id=name) if name in NEIGHBOURS:
            yield node, f"SCALE * {source}"
            yield from ((node, other) for other in NEIGHBOURS[name] if other in known)
        case ast.Attribute(value=owner, attr=name) if name in FIELDS:
            yield node, f"SCALE * {source}"
            yield from ((node, f"{ast.unparse(owner)}.{other}") for other in FIELDS[name])
        case ast.Constant(value=int() | float() as number):
            yield node, f"SCALE * {source}" if number else "1"
    for part in parts:
        yield from changes(part, known)


def _replaced(text: str, node: ast.expr, replacement: str) -> str:
    lines = text.encode().splitlines(keepends=True)  # columns count bytes
    assert node.lineno == node.end_lineno, "a mutated expression must stand on one line"
    line = lines[node.lineno - 1]
    lines[node.lineno - 1] = line[: node.col_offset] + replacement.encode() + line[node.end_col_offset :]
    return b"".join(lines).decode()


def refutation(family: types.ModuleType, mutant: Mutant) -> Claim | None:
    """The first claim of a family that the mutant breaks, by exact values that differ; None if all are proved.

    Raises:
        AssertionError: a claim is neither: a mutant must be refused by an inequality, not for want of a proof.
    """
    claims = []
    for claim in family.claims(mutant.module):
        if not examine(claim.members, claim.setting, claim.definitions).equal:
            return claim
        claims.append(claim)
    for claim in claims:
        settled = claim.settle()
        assert settled.verdict is Verdict.PROVED, settled.line()
    return None


def tallies(progress: Callable[[str], None] = lambda text: None) -> list[Tally]:
    """What became of every mutant of every shipped formula.

    Raises:
        AssertionError: a mutant passes that is not known to be the same function, or one that is known fails.
    """
    found: dict[str, Tally] = {}
    for name, family in FAMILIES.items():
        claims = import_module(f"derivations.claims.families.{family}")
        tried = list(mutants(import_module(f"keras_bn.formulas.{name}")))
        for n, mutant in enumerate(tried):
            progress(f"{name}: mutant {n + 1} of {len(tried)}")
            tally = found.setdefault(f"{name}.{mutant.function}", Tally(f"{name}.{mutant.function}"))
            known = EQUIVALENT.get((name, mutant.function))
            same = known if known and mutant.change in known.changes else None
            refuted = refutation(claims, mutant)
            assert (refuted is None) is (same is not None), f"{name}.{mutant.function}: {mutant.change}"
            if same is None:
                tally.refuted += 1
            else:
                tally.equivalent.append((mutant.change, same))
    return list(found.values())
