"""A claim: a statement, what it assumes, what it is about, and how it was settled."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

from sympy import Add, Expr

from derivations.normal_form.counterexamples import Counterexample, search
from derivations.normal_form.finite_sums import normal_form, open_conditions, residual
from derivations.notation import Definitions, printing
from derivations.notation.expressions import Unprovable, check_form
from derivations.notation.settings import Condition, Setting, conditions_of
from derivations.notation.worlds import Computed
from derivations.prime_fields.examination import Examination, examine


class Verdict(StrEnum):
    PROVED = "proved"
    REFUTED = "refuted"
    NOT_PROVED = "not proved"


class Disagreement(AssertionError):
    """Two proofs that share neither arithmetic nor derivatives contradict each other.

    One of them is wrong, and no verdict can be trusted.
    """


@dataclass(frozen=True)
class Settlement:
    """How a claim was settled."""

    verdict: Verdict
    seconds: float
    steps: tuple[str, ...] = ()
    side_conditions: tuple[str, ...] = ()
    counterexample: Counterexample | None = None
    reason: str = ""
    examination: Examination | None = None


@dataclass(frozen=True)
class Claim:
    """Several expressions, claimed to be equal for every batch size.

    identifier: such as ``training.backward.x``.
    title: what it says, in a few words.
    members: the expressions, in named quantities, or what a function returned; each is proved equal to the next.
    because: the justification, in one sentence.
    about: the function that was executed, or the text, of which the claim speaks.
    assumptions: in words; the symbolic ones are in ``setting``.
    conditions: denominators and radicands that arose in computing the members, and that SymPy may have cancelled.
    in_words: steps of the argument that are no identities of sums.
    expected: the verdict that it should meet; a sentence known to be wrong is claimed in order to be refuted.
    quote: the sentence of the text that the claim is about.
    axioms: on which a proof rests, by name; the verdict carries them.
    """

    identifier: str
    title: str
    members: tuple[Expr | Computed, ...]
    setting: Setting
    definitions: Definitions
    because: str = ""
    about: str = "the textbook definition"
    assumptions: tuple[str, ...] = ("m ≥ 1", "ε > 0")
    conditions: frozenset[Condition] = frozenset()
    in_words: tuple[str, ...] = ()
    expected: Verdict = Verdict.PROVED
    quote: str = ""
    axioms: tuple[str, ...] = ()
    settlement: Settlement | None = field(default=None, compare=False)

    @property
    def statement(self) -> str:
        """The equation in Unicode."""
        return " = ".join(map(_text, self.members))

    @property
    def latex(self) -> str:
        """The equation in LaTeX."""
        return " = ".join(
            rf"\texttt{{{_escaped(member.name)}}}" if isinstance(member, Computed) else printing.latex(member)
            for member in self.members
        )

    @property
    def family(self) -> str:
        return self.identifier.split(".")[0]

    @property
    def verdict(self) -> Verdict:
        """Raises ValueError before the claim is settled."""
        if self.settlement is None:
            raise ValueError(f"the claim {self.identifier} has not been settled: call settle()")
        return self.settlement.verdict

    @property
    def verdict_text(self) -> str:
        """The verdict, with the axioms that a proof rests on."""
        proved_on = self.axioms if self.verdict is Verdict.PROVED else ()
        return f"{self.verdict} assuming {', '.join(proved_on)}" if proved_on else str(self.verdict)

    def settle(self) -> "Claim":
        """The claim with its settlement: a proof, an exact counterexample, or the reason why there is neither.

        Raises:
            Disagreement: the normal form and the second proof contradict each other.
        """
        start = time.perf_counter()
        try:
            settlement = self._settled_twice()
        except Unprovable as error:
            settlement = Settlement(Verdict.NOT_PROVED, 0.0, reason=error.worded(printing.unicode))
        return replace(self, settlement=replace(settlement, seconds=time.perf_counter() - start))

    def line(self) -> str:
        """One line: verdict, time, title, equation."""
        seconds = f"{self.settlement.seconds * 1e3:5.0f} ms" if self.settlement else ""
        return f"{self.verdict_text:<10} {seconds}  {self.title}: {self.statement}"

    def _settled_twice(self) -> Settlement:
        """The second proof comes first: it costs little, and tells whether to look for a counterexample."""
        try:
            examination = examine(self.members, self.setting, self.definitions)
        except Unprovable:
            first = self._settle(equal=False)
            if first.verdict is Verdict.REFUTED:  # by an exact counterexample, which stands alone
                return first
            raise
        first = self._settle(equal=examination.equal)
        if examination.equal != (first.verdict is Verdict.PROVED) and first.verdict is not Verdict.NOT_PROVED:
            found = "equal" if examination.equal else "different"
            raise Disagreement(f"{self.identifier}: {first.verdict} by the first proof, {found} by the second")
        steps = (*first.steps, str(examination)) if examination.equal else first.steps
        return replace(first, steps=steps, examination=examination)

    def _settle(self, *, equal: bool) -> Settlement:
        sides = [
            member.value if isinstance(member, Computed) else self.definitions.unfold(member) for member in self.members
        ]
        for side in sides:
            check_form(side)
        conditions = self.conditions.union(*map(conditions_of, sides))
        side_conditions = tuple(
            f"{printing.unicode(c.expression)} {c.relation}" for c in open_conditions(self.setting, conditions)
        )
        steps: list[str] = []
        for n, (left, right) in enumerate(pairwise(sides)):
            settlement = _settle_equation(left, right, self.setting, equal=equal)
            if settlement.verdict is not Verdict.PROVED:
                reason = f"{_text(self.members[n])} = {_text(self.members[n + 1])}: {settlement.reason}"
                return replace(settlement, side_conditions=side_conditions, reason=reason)
            steps += settlement.steps
        return Settlement(Verdict.PROVED, 0.0, (*steps, *self.in_words), side_conditions)


def _settle_equation(left: Expr, right: Expr, setting: Setting, *, equal: bool) -> Settlement:
    # Exact values: of what is expected to be equal one point, which checks the normal form.
    few: dict[str, Any] = {"sizes": (3,), "tries": 1} if equal else {"sizes": (2, 3), "tries": 3}
    if found := search(left, right, setting, **few):
        return _refuted(found)
    difference = residual(setting, left, right)
    if difference == 0:
        moments = len(Add.make_args(normal_form(setting, right)))
        terms = f"{moments} term{'s' * (moments > 1)}"
        return Settlement(Verdict.PROVED, 0.0, (f"both sides have one normal form, of {terms}",))
    if found := search(left, right, setting, seed=1):
        return _refuted(found)
    # A difference such as (m − 1)·(m − 2)·… vanishes for small sizes.
    if not equal and (found := search(left, right, setting, sizes=range(5, 17), tries=2)):
        return _refuted(found)
    reason = f"neither proof nor counterexample; the normal form of the difference is {printing.unicode(difference)}"
    return Settlement(Verdict.NOT_PROVED, 0.0, reason=reason)


def _refuted(found: Counterexample) -> Settlement:
    return Settlement(Verdict.REFUTED, 0.0, counterexample=found, reason="false at the counterexample")


def all_proved(claims: Iterable[Claim]) -> bool:
    return all(claim.verdict is Verdict.PROVED for claim in claims)


def all_as_expected(claims: Iterable[Claim]) -> bool:
    """Whether what should be proved is, and what should be refuted is."""
    return all(claim.verdict is claim.expected for claim in claims)


def _text(member: Expr | Computed) -> str:
    return member.name if isinstance(member, Computed) else printing.unicode(member)


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")
