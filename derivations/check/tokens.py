"""The words of a formula, or of lines of assignments."""

import re
from typing import NamedTuple

from derivations.check.tree import FormulaError

MAX_LENGTH = 6000
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
OPERATORS = {"·": "*", "×": "*", "⋅": "*", "−": "-", "^": "**", "÷": "/", "√": "sqrt", "∑": "Σ"}

_TOKEN = re.compile(
    r"[^\S\n]*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<sum>[Σ∑][ᵢⱼₖ]?)"
    r"|(?P<name>[^\W\d⁰¹²³⁴-⁹Σ][^\W⁰¹²³⁴-⁹Σ]*\u0302?[ᵢⱼₖ]?)"
    r"|(?P<power>⁻?[⁰¹²³⁴-⁹]+)"
    r"|(?P<newline>\n|;)"
    r"|(?P<operator>\*\*=?|[-+*/]=|==|[-+*/()\[\]·×⋅÷−^√,.=:⟨⟩@]))"
)
# What is not looked at: comments, and in a copied function its head, its imports and its documentation.
_PASSED_OVER = re.compile(
    r"#[^\n]*|\\\n|^[^\S\n]*(\w+)[^\S\n]*=[^\S\n]*(?:self\.)?cache\[['\"]\1['\"]\][^\S\n]*$|^[^\S\n]*(?:def|import|from)\b[^\n]*|(?P<quotes>\"\"\"|''').*?(?P=quotes)",
    re.MULTILINE | re.DOTALL,
)


class Token(NamedTuple):
    """kind: "number", "name", "sum", "newline", "end" or the operator itself."""

    kind: str
    text: str
    position: int


def tokens(text: str) -> list[Token]:
    """The words, with an "end".

    Raises:
        FormulaError: a character belongs to none, or there are too many.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"the formula has {len(text)} characters; at most {MAX_LENGTH} are judged", text, MAX_LENGTH)
    source = _PASSED_OVER.sub(lambda match: re.sub(r"[^\n]", " ", match[0]) if match[0] != "\\\n" else "  ", text)
    found: list[Token] = []
    position, end, depth = 0, len(source.rstrip()), 0
    while position < end:
        match = _TOKEN.match(source, position)
        if match is None:
            start = position + len(source[position:]) - len(source[position:].lstrip())
            raise FormulaError(_foreign(source[start]), text, start)
        kind, word = str(match.lastgroup), match[match.lastgroup or 0]
        start, position = match.start(kind), match.end()
        if kind == "power":  # s² as s**2
            word = word.translate(SUPERSCRIPTS)
            if word == "2" and found and found[-1].text in ("σ", "σ_B"):  # the variance, as papers have it
                found[-1] = found[-1]._replace(text="σ²")
                continue
            found += [Token("**", "**", start)] + [Token("-", "-", start)] * word.startswith("-")
            kind, word = "number", word.lstrip("-")
        depth += (word in ("(", "[")) - (word in (")", "]"))
        if kind != "newline" or depth <= 0 or word == ";":
            found.append(Token(OPERATORS.get(word, word) if kind == "operator" else kind, word, start))
    return [*found, Token("end", "", end)]


def _foreign(character: str) -> str:
    said = f"{character!r} is not part of a formula"
    if character == "\\":
        return f"{said}: LaTeX is not understood; write gamma for \\gamma and a/b for \\frac{{a}}{{b}}"
    return said
