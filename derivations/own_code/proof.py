"""What was found: a verdict for each gradient, with a proof's conditions or a counterexample."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

PROVED, REFUTED, NOT_PROVED = "proved", "refuted", "not proved"
VALUES_ARE_RIGHT = "the values are right"  # how the name of a mistake begins that is one of the shape alone

_SHOWN = 4  # conditions
_LONG = 10**7  # a denominator that nobody reads


@dataclass(frozen=True)
class Counterexample:
    """Numbers at which a function returns something other than the gradient.

    inputs: by name, the cotangent ``dy`` among them. Values are exact where they are rational. The text has
        ten digits of them where they are long.
    """

    inputs: Mapping[str, Any]
    returned: Any
    correct: Any
    sizes: Mapping[str, int]

    def lines(self, name: str) -> list[str]:
        """As assignments that can be pasted."""
        lines = [f"{key} = {pasted(value)}" for key, value in self.inputs.items()]
        return [*lines, f"returned d{name} = {pasted(self.returned)}", f"correct  d{name} = {pasted(self.correct)}"]


@dataclass(frozen=True)
class GradientVerdict:
    """The verdict on the gradient of one input."""

    name: str
    verdict: str
    reason: str = ""
    mistake: str = ""
    conditions: tuple[str, ...] = ()
    counterexample: Counterexample | None = None

    def __bool__(self) -> bool:
        return self.verdict == PROVED


@dataclass(frozen=True)
class Proof:
    """The verdicts on all gradients of a function; true only if all of them are proved.

    gradients: by the names of the inputs.
    sizes: the names of the unknown sizes.
    held: where values are held constant.
    note: what else was assumed, in words.
    """

    gradients: Mapping[str, GradientVerdict]
    sizes: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    note: str = ""

    def __bool__(self) -> bool:
        return self.verdict == PROVED

    @property
    def verdict(self) -> str:
        """The worst of the verdicts: "refuted", "not proved" or "proved"."""
        found = {gradient.verdict for gradient in self.gradients.values()}
        return next((v for v in (REFUTED, NOT_PROVED) if v in found), PROVED)

    @property
    def counterexample(self) -> Counterexample | None:
        """The first counterexample, or None."""
        return next((g.counterexample for g in self.gradients.values() if g.counterexample), None)

    def _for_every(self) -> str:
        return f" for every {', '.join(self.sizes)}" if self.sizes else ""

    def _line(self, gradient: GradientVerdict) -> str:
        if gradient.verdict == PROVED:
            few, rest = gradient.conditions[:_SHOWN], len(gradient.conditions) - _SHOWN
            where = f" where {' and '.join(few)}" if few else ""
            where += f" and {rest} more conditions hold, which .conditions lists" if rest > 0 else ""
            return f"proved{self._for_every()}{where}"
        if gradient.verdict == REFUTED:
            return f"refuted: {gradient.mistake}" if gradient.mistake else "refuted by a counterexample"
        return f"not proved: {gradient.reason}"

    def __str__(self) -> str:
        width = max(len(name) for name in self.gradients)
        lines = []
        for name, gradient in self.gradients.items():
            lines.append(f"d{name:<{width}}  {self._line(gradient)}")
            if gradient.counterexample:
                lines += [f"    {line}" for line in gradient.counterexample.lines(name)]
        if self.held:
            lines.append(f"held constant: {', '.join(self.held)}")
        lines += [self.note] if self.note else []
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colors = {PROVED: "#2a7d2a", REFUTED: "#b02020", NOT_PROVED: "#8a6d00"}
        rows = []
        for name, gradient in self.gradients.items():
            body = escape(self._line(gradient))
            if gradient.counterexample:
                body += f"<pre>{escape(chr(10).join(gradient.counterexample.lines(name)))}</pre>"
            rows.append(
                f'<tr><td style="text-align:left">∂L/∂{escape(name)}</td>'
                f'<td style="text-align:left;color:{colors[gradient.verdict]}">{body}</td></tr>'
            )
        return f"<table>{''.join(rows)}</table>"

    def _repr_latex_(self) -> str:
        marks = {PROVED: r"\checkmark", REFUTED: r"\text{refuted}", NOT_PROVED: r"\text{not proved}"}
        quantifier = r"\forall\, " + ", ".join(self.sizes) + r":\; " if self.sizes else ""
        rows = []
        for name, gradient in self.gradients.items():
            sign = r"\neq" if gradient.verdict == REFUTED else "=" if gradient else r"\overset{?}{=}"
            escaped = name.replace("_", r"\_")
            left = rf"\mathrm{{d{escaped}}}"
            rows.append(
                rf"{left} &{sign} \frac{{\partial L}}{{\partial \mathrm{{{escaped}}}}} && {marks[gradient.verdict]}"
            )
        return (
            rf"$$\begin{{aligned}} {quantifier} & L = \sum \mathrm{{dy}} \cdot y \\ "
            + r" \\ ".join(rows)
            + r"\end{aligned}$$"
        )


def pasted(value: Any) -> str:
    """A nested list of numbers, or one number, as NumPy reads it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"np.array({_entries(value)})"
    return _entry(value)


def _entries(value: Any) -> str:
    return f"[{', '.join(map(_entries, value))}]" if isinstance(value, list) else _entry(value)


def _entry(value: Any) -> str:
    from fractions import Fraction

    if isinstance(value, Fraction):
        return str(value) if value.denominator < _LONG else f"{float(value):.10g}"
    if not hasattr(value, "mid"):
        return str(value)
    return "0" if value.a <= 0 <= value.b else f"{float(value.mid):.10g}"
