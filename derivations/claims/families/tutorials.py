"""Sentences of tutorials: the right ones proved, the wrong ones refuted, the corrected statement proved beside them.

They speak of g = ∂L/∂x̂, so that γ is already inside.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import sympy as sp
from sympy import Expr, IndexedBase, Rational

from derivations.claims import steps
from derivations.claims.claim import Claim, Disagreement, Settlement, Verdict
from derivations.claims.families import bounds
from derivations.normal_form.counterexamples import Counterexample, Value, evaluate
from derivations.notation import Definitions, L, Partial, epsilon, i, k, m, mu, over_batch, printing, s, v, x, x_hat

g = IndexedBase("g", real=True)
ANSWER = "“deep learning. what is batch normalization?”, by Microsoft (Windows) Copilot"
EXPLAINED = "“Batch Normalization Explained”"


class Sentence(NamedTuple):
    """What a text says, and what is true.

    true: the quantity by definition.
    said: what the text says that it is.
    correct: what it is; None where the text is right.
    """

    name: str
    title: str
    source: str
    quote: str
    true: Expr
    said: Expr
    correct: Expr | None
    because: str


@cache
def _definitions() -> Definitions:
    names = {name: value for name, value in steps.definitions().items() if name in (mu, v, s, x_hat[i])}
    return Definitions({**names, L: over_batch(g[i] * x_hat[i])})


def sentences() -> list[Sentence]:
    """The sentences, in the order of FORMULAS A to F."""
    d_beta, d_gamma = over_batch(g[i]), over_batch(g[i] * x_hat[i])
    d_x = s * (g[k] - d_beta / m - x_hat[k] * d_gamma / m)
    true_x = Partial(L, x[k])
    residual = ((x[k] - mu) / (v + epsilon)) ** 2
    own = s * (1 - 1 / m - x_hat[k] ** 2 / m)
    return [
        Sentence(
            "A",
            "the gradient of x",
            ANSWER,
            r"The gradient with respect to \( x \) is \( \frac{\partial L}{\partial x} = \frac{1}{\sqrt{\sigma^2 "
            r"+ \epsilon}} \left( \frac{\partial L}{\partial \hat{x}} - \frac{1}{N} \sum_{i=1}^{N} "
            r"\frac{\partial L}{\partial \hat{x}_i} \right) \), where \( N \) is the batch size.",
            true_x,
            s * (g[k] - d_beta / m),
            d_x,
            "It lacks −s·x̂·⟨g·x̂⟩, and is right only if the variance is held constant.",
        ),
        Sentence(
            "B1",
            "the gradient of the mean",
            ANSWER,
            r"The gradient with respect to the mean \( \mu \) is \( \frac{\partial L}{\partial \mu} = "
            r"\sum_{i=1}^{N} \frac{\partial L}{\partial x_i} \).",
            Partial(L, mu),
            over_batch(true_x, of=k),
            -s * d_beta,
            "The gradients of x sum to 0.",
        ),
        Sentence(
            "B2",
            "the gradient of the variance",
            ANSWER,
            r"The gradient with respect to the variance \( \sigma^2 \) is \( \frac{\partial L}{\partial "
            r"\sigma^2} = \sum_{i=1}^{N} \frac{\partial L}{\partial x_i} \cdot \left( -\frac{1}{2} \left( "
            r"\frac{x_i - \mu}{\sigma^2 + \epsilon} \right)^2 \right) \).",
            Partial(L, v),
            over_batch(true_x * -residual / 2, of=k),
            -((v + epsilon) ** Rational(-3, 2)) * over_batch(g[i] * (x[i] - mu)) / 2,
            "The power rule on (σ² + ε)^(−1/2); x − μ stands once, and ∂L/∂x̂ in the place of ∂L/∂x.",
        ),
        Sentence(
            "C",
            "the gradient of x",
            EXPLAINED,
            r"\frac{\partial L}{\partial x_k^{(i)}} = \frac{1}{m} \frac{1}{\sqrt{\sigma_k^2 + \epsilon}} \left( "
            r"m \frac{\partial L}{\partial \hat{x}_k^{(i)}} - \sum_{j=1}^{m} \frac{\partial L}{\partial "
            r"\hat{x}_k^{(j)}} - \hat{x}_k^{(i)} \sum_{j=1}^{m} \left( \frac{\partial L}{\partial "
            r"\hat{x}_k^{(j)}} \hat{x}_k^{(j)} \right) \right)",
            true_x,
            s * (m * g[k] - d_beta - x_hat[k] * d_gamma) / m,
            None,
            "The closed form, times m/m.",
        ),
        Sentence(
            "D",
            "the derivative of an element's own normalized value",
            EXPLAINED,
            r"\frac{\partial \hat{x}_k^{(i)}}{\partial x_k^{(i)}} = \frac{1}{\sqrt{\tilde{\sigma}_k^2}} - "
            r"\frac{(x_k^{(i)} - \mu_k)}{(\tilde{\sigma}_k^2)^{3/2}} \cdot \frac{\partial \sigma_k^2}{\partial "
            r"x_k^{(i)}}",
            Partial(x_hat[k], x[k]),
            s - (x[k] - mu) * s**3 * Partial(v, x[k]),
            own,
            "It lacks the factor ½ of the root, and −s/m, since the mean depends on x too.",
        ),
        Sentence(
            "E",
            "the derivative of the variance",
            EXPLAINED,
            r"$\frac{\partial \sigma_k^2}{\partial x_k^{(i)}} = \frac{2}{m} (x_k^{(i)} - \mu_k) - \frac{2}{m} "
            r"\sum_{j=1}^{m} (x_k^{(j)} - \mu_k) \cdot \frac{\partial \mu_k}{\partial x_k^{(i)}}$",
            Partial(v, x[k]),
            2 * (x[k] - mu) / m - 2 * over_batch(x[i] - mu) / m * Partial(mu, x[k]),
            None,
            "Its second term is 0.",
        ),
    ]


def claims() -> Iterator[Claim]:
    """Each sentence, and beside a wrong one the corrected statement; then the bound."""
    where, textbook = steps.setting(), _definitions()
    for sentence in sentences():
        right = sentence.correct is None
        yield Claim(
            f"tutorials.{sentence.name}",
            sentence.title,
            (sentence.true, sentence.said),
            where,
            textbook,
            sentence.because,
            about=sentence.source,
            expected=Verdict.PROVED if right else Verdict.REFUTED,
            quote=sentence.quote,
        )
        if sentence.correct is not None:
            yield Claim(
                f"tutorials.{sentence.name}.corrected",
                f"{sentence.title}, corrected",
                (sentence.true, sentence.correct),
                where,
                textbook,
                sentence.because,
            )
    yield Bounded(
        "tutorials.F",
        "the size of normalized inputs",
        (x_hat[k] ** 2, sp.Integer(1)),
        where,
        textbook,
        "Right is |x̂| ≤ √(m − 1), which is above 1 for m ≥ 3.",
        about=EXPLAINED,
        expected=Verdict.REFUTED,
        quote="After this stage, elements of the tensor is between values [-1, 1]",
    )
    yield replace(next(iter(bounds.claims())), identifier="tutorials.F.corrected")


class Bounded(Claim):
    """A claim that the first member is at most the second, refuted by the first small batch at which it is not."""

    @property
    def statement(self) -> str:
        return f"{printing.unicode(self.members[0])} ≤ {printing.unicode(self.members[1])}"

    @property
    def latex(self) -> str:
        return rf"{printing.latex(self.members[0])} \leq {printing.latex(self.members[1])}"

    def _settled_twice(self) -> Settlement:
        left, right = (self.definitions.unfold(member) for member in self.members)
        for size in range(1, 5):
            for entries in itertools.product(range(2), repeat=size):
                x_values = tuple(map(Fraction, entries))
                shift = Fraction(1, 1000)
                values: dict[Any, Value] = {m: Fraction(size), x: x_values, epsilon: shift, k: Fraction(size)}
                value, limit = evaluate(left, values), evaluate(right, values)
                found = Counterexample(values, value, limit)
                mean = sum(x_values, Fraction(0)) / size
                variance = sum(((entry - mean) ** 2 for entry in x_values), Fraction(0)) / size
                again = (x_values[-1] - mean) ** 2 / (variance + shift)
                if value != again:  # computed a second time, without an expression
                    raise Disagreement(f"{self.identifier}: {value} and {again} at {entries}")
                if again > limit:
                    return Settlement(Verdict.REFUTED, 0.0, counterexample=found, reason="false at the counterexample")
        return Settlement(Verdict.NOT_PROVED, 0.0, reason="no counterexample among small batches")
