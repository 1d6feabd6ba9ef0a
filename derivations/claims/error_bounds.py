"""A claim that a rounding error is at most so large, for every batch size and every order of summation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from sympy import IndexedBase, Symbol

from derivations.claims.claim import Claim, Disagreement, Settlement, Verdict
from derivations.normal_form.counterexamples import Counterexample
from derivations.rounding.adversary import PerturbedOperations, worst_error
from derivations.rounding.magnitudes import ONE, PLACE, ZERO, Poly, excess, first_order, replaced, text
from derivations.rounding.model import ROOT
from derivations.rounding.rounded_batch import RoundedBatch, RoundedOperations, lifted
from derivations.rounding.samples import UNITS, Sample

# A function of the operations at hand and of the arguments by name, which returns results by name.
Run = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]

# Of the adversary: float32, and an arithmetic so coarse that higher orders count.
ARITHMETICS = ((2.0**-24, 40), (2.0**-12, 4))


class Execution:
    """A function run on exact values with their roundings, once for all claims about it.

    Args:
        run: The function.
        arguments: What it is given, with their meanings.
        weighted: Whether elements have weights that are numbers.
        root: The relative error of an inverse root, in units of u.
    """

    def __init__(
        self, run: Run, arguments: Mapping[str, RoundedBatch], *, weighted: bool = False, root: Any = ROOT
    ) -> None:
        self.run, self.arguments, self.weighted, self.root = run, arguments, weighted, root

    @cached_property
    def results(self) -> Mapping[str, Any]:
        """What the function returns.

        Raises:
            TypeError: it does something of which no lemma speaks.
        """
        return self.run(RoundedOperations(weighted=self.weighted, root=self.root), self.arguments)


@dataclass(frozen=True)
class ErrorBound(Claim):
    """|computed − exact| ≤ promise.

    It is proved by running the function on exact values with their roundings, and comparing what comes out with the
    promise, monomial by monomial. Then roundings are chosen against it, on ``samples``. An error above the promise
    refutes the claim, or, if the claim was proved, shows that one of the proofs is wrong.

    execution: The function.
    exact: What the result means.
    quantity: Whose error is bounded, one of ``samples.UNITS``; ``key`` is its name among the results.
    promise: The bound, in units of σ.
    """

    execution: Execution = field(default=Execution(lambda ops, given: {}, {}), compare=False)
    exact: Poly = ZERO
    quantity: str = "y"
    key: str = ""
    promise: Poly = ZERO
    samples: Sequence[Sample] = field(default=(), compare=False)

    @property
    def statement(self) -> str:
        """The inequality in Unicode."""
        unit = {1: "σ·", 2: "σ²·", -1: "s·"}.get(UNITS[self.quantity], "")
        bound = text(self.promise)
        return f"|Δ{_NAMES[self.quantity]}| ≤ {unit}{f'({bound})' if unit and ' + u' in bound else bound}"

    @property
    def latex(self) -> str:
        """The inequality as text."""
        return rf"\text{{{self.statement}}}"

    def _settled_twice(self) -> Settlement:
        reason = self._gap()
        exceeded, worst = self._challenged()
        if exceeded is not None:
            if not reason:
                raise Disagreement(f"{self.identifier}: proved, and yet exceeded by {exceeded}")
            because = f"{reason}; and roundings were found whose error exceeds it"
            return Settlement(Verdict.REFUTED, 0.0, counterexample=exceeded, reason=because)
        if reason:
            return Settlement(Verdict.NOT_PROVED, 0.0, reason=reason)
        steps = (
            "the function was run on exact values with their roundings; no monomial of its bound is above the promise",
            f"second proof: on {len(self.samples)} samples, roundings chosen against the bound come to {worst:.0%} of "
            "it at most",
            *self.in_words,
        )
        return Settlement(Verdict.PROVED, 0.0, steps)

    def derived(self) -> Poly:
        """The bound that the function has, of first order in u, except the terms with |μ|².

        Raises:
            TypeError: it does something of which no lemma speaks, or does not compute what it is to.
        """
        result = lifted(self.execution.results[self.key])
        if result.exact != self.exact:
            raise TypeError(f"it means {result.exact}, not {self.exact}")
        bound = first_order(result.error)
        # v ≤ σ², unless the promise is relative to v.
        relative = any(monomial[PLACE["q"]] for monomial in self.promise)
        return bound if relative else replaced(bound, "q", ONE)

    def _gap(self) -> str:
        try:
            left = excess(self.derived(), self.promise)
        except TypeError as error:
            return f"no bound: {error}"
        return f"the function's bound has {text(left)} beyond it" if left else ""

    def _challenged(self) -> tuple[Counterexample | None, float]:
        """A sample on which the promise is exceeded, if there is one, and the largest error in units of the promise."""
        worst = 0.0
        for sample in self.samples:
            for u, depth in ARITHMETICS:
                if not sample.is_covered(u=u, depth=depth):
                    continue
                promised = sample.at(self.promise, self.quantity, u=u, depth=depth)
                for at in {0, int(np.argmax(sample.known["z"]))}:
                    limit = float(promised.ravel()[at if promised.size > 1 else 0])
                    found = worst_error(
                        self._on(sample),
                        sample.size,
                        u=u,
                        depth=depth,
                        center=sample.center,
                        weights=sample.weights,
                        at=at,
                        root=float(self.execution.root),
                    )
                    worst = max(worst, found / limit)
                    if found > limit:
                        values = {Symbol("u"): Fraction(u), Symbol("d"): depth, Symbol("center"): sample.center}
                        values |= {
                            IndexedBase(name) if np.ndim(value) else Symbol(name): _shown(value)
                            for name, value in sample.given.items()
                        }
                        return Counterexample(values, f"error {found:.2e}", f"bound {limit:.2e}"), worst  # type: ignore[arg-type]
        return None, worst

    def _on(self, sample: Sample) -> Callable[[PerturbedOperations], Any]:
        def run(ops: PerturbedOperations) -> Any:
            return self.execution.run(ops, {name: ops.given(value) for name, value in sample.given.items()})[self.key]

        return run


_NAMES = {
    "mean": "mean",
    "variance": "variance",
    "y": "yᵢ",
    "x": "∂xᵢ",
    "gamma": "∂γ",
    "beta": "∂β",
}


def _shown(value: Any) -> Any:
    return tuple(float(f"{v:.6g}") for v in value) if np.ndim(value) else float(f"{value:.6g}")
