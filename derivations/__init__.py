"""Symbolic derivation and proof of the batch normalization gradients, for every batch size.

``for claim in prove(): print(claim.line())`` settles one claim after the other.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derivations.claims.claim import Claim
    from derivations.own_code.prove import prove_gradient
    from derivations.own_code.refusal import NotUnderstood

__all__ = ["FAMILIES", "WITHOUT_TENSORFLOW", "NotUnderstood", "prove", "prove_gradient"]

# In the order of the argument.
FAMILIES = {
    "steps": "derivations.claims.steps",
    "training": "derivations.claims.families.training",
    "forms": "derivations.claims.families.forms",
    "inference": "derivations.claims.families.inference",
    "second_order": "derivations.claims.families.second_order",
    "replicas": "derivations.claims.families.replicas",
    "renormalization": "derivations.claims.families.renormalization",
    "output": "derivations.claims.families.output",
    "moving_statistics": "derivations.claims.families.moving_statistics",
    "bounds": "derivations.claims.families.bounds",
    "rounding": "derivations.claims.families.rounding",
    "degenerate": "derivations.claims.families.degenerate",
    "mistakes": "derivations.claims.families.mistakes",
    "tutorials": "derivations.claims.families.tutorials",
    "graphs": "derivations.claims.families.graphs",
}
# The others execute functions of keras_bn, and so import TensorFlow.
WITHOUT_TENSORFLOW = ("steps", "forms", "bounds", "tutorials")
# These run only if the caller names them: statements that are meant to be refuted, and slow proofs of traced graphs.
BY_NAME_ONLY = ("mistakes", "tutorials", "graphs")


def prove(families: Iterable[str] | None = None) -> "Iterator[Claim]":
    """The claims of the named families. Each is settled when the iterator reaches it.

    By default these are all families except those in ``BY_NAME_ONLY``.

    Raises:
        ValueError: there is no family of that name.

    >>> claims = list(prove(["steps"]))
    >>> claims[0].statement, str(claims[0].verdict)
    ('∂μ/∂xₖ = 1/m', 'proved')
    """
    names = list([name for name in FAMILIES if name not in BY_NAME_ONLY] if families is None else families)
    if unknown := [name for name in names if name not in FAMILIES]:
        raise ValueError(f"there is no family {', '.join(unknown)}. The families are {', '.join(FAMILIES)}.")
    return (claim.settle() for name in names for claim in import_module(FAMILIES[name]).claims())


# Imported on first use: the proof of the claims needs neither.
_OWN_CODE = {"prove_gradient": "derivations.own_code.prove", "NotUnderstood": "derivations.own_code.refusal"}


def __getattr__(name: str) -> Any:
    if name in _OWN_CODE:
        return getattr(import_module(_OWN_CODE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
