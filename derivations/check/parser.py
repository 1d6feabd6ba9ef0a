"""A user's formula, from text to a tree of our own: nothing is evaluated, and limits are checked on that tree.

    formula = term {("+" | "-") term}         term  = factor {("*" | "/") factor}
    factor  = ("+" | "-") factor | power      power = atom ["**" factor]
    atom    = number | name | function "(" formula ")" | "(" formula ")"

Exponents are whole or half numbers, such as 2, -1, 0.5 or (-3/2); ² and ⁻¹ may stand for ** 2 and ** -1.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction

MAX_LENGTH = 2000
MAX_DEPTH = 50
MAX_EXPONENT = 12  # of nested powers, the product
MAX_TERMS = 8000  # of numerator or denominator, multiplied out
MAX_DEGREE = 24  # in the elements, of numerator or denominator
MAX_DECIMALS = 40

FUNCTIONS = ("sum", "mean", "sqrt")
# How many terms each name has when it is multiplied out in the elements x, and of what degree.
SIZES = {
    "x": (1, 1), "delta": (1, 1), "x_hat": (2, 1), "gamma": (1, 0), "beta": (1, 0), "mu": (1, 1), "var": (2, 2),
    "s": (1, 0), "epsilon": (3, 2), "m": (1, 0),
}  # fmt: skip
WEIGHTED_SIZES = {"w": (1, 1), "W": (1, 1)}
ALIASES = {
    "dy": "delta", "mean_x": "mu", "inv_std": "s", "v": "var", "x̂": "x_hat", "δ": "delta", "γ": "gamma", "β": "beta",
    "μ": "mu", "ε": "epsilon",
}  # fmt: skip
# What others call these quantities, in lower case.
MEANT = {
    "xhat": "x_hat", "x_norm": "x_hat", "z": "x_hat", "n": "m", "batch_size": "m", "eps": "epsilon", "mean_": "mu",
    "sigma": "1/s", "σ": "1/s", "std": "1/s", "rstd": "s", "rsqrt": "1/sqrt", "variance": "var", "sigma2": "var",
    "dl": "delta", "dout": "delta", "dldy": "delta", "grad": "delta", "g": "delta", "weight": "gamma", "bias": "beta",
}  # fmt: skip
OPERATORS = {"·": "*", "−": "-", "^": "**"}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d⁰¹²³⁴-⁹][^\W⁰¹²³⁴-⁹]*\u0302?[ᵢⱼₖ]?)|(?P<power>⁻?[⁰¹²³⁴-⁹]+)|(?P<operator>\*\*|[-+*/()·−^]))"
)


class FormulaError(ValueError):
    """A formula that cannot be judged: where, and why."""

    def __init__(self, message: str, text: str, position: int) -> None:
        self.message, self.text, self.position = message, text, position
        super().__init__(message)

    def pointed(self) -> str:
        """The message, and the formula with a mark under the character."""
        start = max(0, self.position - 60)
        shown = re.sub(r"\s", " ", self.text[start : self.position + 40])
        return f"{self.message}\n  {shown}\n  {' ' * (self.position - start)}^ character {self.position + 1}"


@dataclass(frozen=True)
class Node:
    """One part of a formula.

    kind: "number", "name", "+", "*", "**", the name of a function, or "-" and "/", which have one operand: a − b is
    a + (−b) and a/b is a·(/b), so that a long chain is no deep tree. Two that are equal stand for the same.
    """

    kind: str
    position: int = field(compare=False)
    parts: tuple["Node", ...] = ()
    name: str = ""  # of a number, how it was typed
    value: Fraction = Fraction(0)  # of a number; of a power, its exponent

    def walk(self) -> Iterator["Node"]:
        """This node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True)
class _Token:
    kind: str  # "number", "name", "end" or the operator itself
    text: str
    position: int


def parse(text: str, *, weighted: bool = False) -> Node:
    """The formula as a tree.

    Raises:
        FormulaError: it is no formula, or larger than what is judged.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"the formula has {len(text)} characters; at most {MAX_LENGTH} are judged", text, MAX_LENGTH)
    return _Parser(text, SIZES | WEIGHTED_SIZES if weighted else SIZES).formula()


class _Parser:
    def __init__(self, text: str, names: dict[str, tuple[int, int]]) -> None:
        self.text, self.names = text, names
        self.tokens = self._tokens()
        self.next = 0
        self.depth = 0

    def _tokens(self) -> list[_Token]:
        tokens, position = [], 0
        end = len(self.text.rstrip())
        while position < end:
            match = _TOKEN.match(self.text, position)
            if match is None:
                start = position + len(self.text[position:]) - len(self.text[position:].lstrip())
                raise self._error(f"{self.text[start]!r} is not part of a formula", start)
            kind, text = str(match.lastgroup), match[match.lastgroup or 0]
            start, position = match.start(kind), match.end()
            if kind == "power":  # s² as s**2
                text = text.translate(SUPERSCRIPTS)
                tokens += [_Token("**", "**", start)] + [_Token("-", "-", start)] * text.startswith("-")
                kind, text = "number", text.lstrip("-")
            tokens.append(_Token(OPERATORS.get(text, text) if kind == "operator" else kind, text, start))
        return [*tokens, _Token("end", "", len(self.text.rstrip()))]

    def _error(self, message: str, position: int) -> FormulaError:
        return FormulaError(message, self.text, position)

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def _take(self) -> _Token:
        self.next += 1
        return self.tokens[self.next - 1]

    def _expect(self, kind: str, after: str) -> None:
        if self.token.kind != kind:
            found = f"{self.token.text!r}" if self.token.text else "the end"
            raise self._error(f"expected {kind!r} {after}, found {found}", self.token.position)
        self._take()

    def _deeper(self, parse: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH}", self.token.position)
        node = parse()
        self.depth -= 1
        return node

    def formula(self) -> Node:
        if self.token.kind == "end":
            raise self._error("the formula is empty", 0)
        node = self._sum()
        if self.token.kind != "end":
            raise self._error(f"unexpected {self.token.text!r}: an operator is missing before it", self.token.position)
        self._check_size(node)
        return node

    def _sum(self) -> Node:
        parts = [self._product()]
        position = parts[0].position
        while self.token.kind in ("+", "-"):
            sign = self._take()
            part = self._product()
            parts.append(part if sign.kind == "+" else Node("-", sign.position, (part,)))
        return parts[0] if len(parts) == 1 else Node("+", position, tuple(parts))

    def _product(self) -> Node:
        parts = [self._factor()]
        position = parts[0].position
        while self.token.kind in ("*", "/"):
            operator = self._take()
            part = self._factor()
            parts.append(part if operator.kind == "*" else Node("/", operator.position, (part,)))
        return parts[0] if len(parts) == 1 else Node("*", position, tuple(parts))

    def _factor(self) -> Node:
        if self.token.kind in ("+", "-"):
            sign = self._take()
            part = self._deeper(self._factor)
            return part if sign.kind == "+" else Node("-", sign.position, (part,))
        base = self._atom()
        if self.token.kind != "**":
            return base
        operator = self._take()
        exponent = self._deeper(self._factor)
        return Node("**", operator.position, (base,), value=self._exponent(exponent))

    def _exponent(self, node: Node) -> Fraction:
        value = self._constant(node)
        if value.denominator not in (1, 2):
            raise self._error("exponents must be whole or half numbers", node.position)
        if abs(value) > MAX_EXPONENT:
            raise self._error(f"the exponent is above {MAX_EXPONENT}", node.position)
        return value

    def _constant(self, node: Node) -> Fraction:
        match node.kind:
            case "number":
                return node.value
            case "-":
                return -self._constant(node.parts[0])
            case "/" if divisor := self._constant(node.parts[0]):
                return Fraction(1) / divisor
            case "*":
                return math.prod(map(self._constant, node.parts), start=Fraction(1))
        raise self._error("an exponent must be a number, such as 2, -1, 0.5 or (-3/2)", node.position)

    def _atom(self) -> Node:
        token = self._take()
        match token.kind:
            case "number":
                return Node("number", token.position, name=token.text, value=self._number(token))
            case "name" if token.text in FUNCTIONS:
                self._expect("(", f"after {token.text}")
                inner = self._deeper(self._sum)
                self._expect(")", f"to close {token.text}(")
                return Node(token.text, token.position, (inner,))
            case "name":
                name = ALIASES.get(token.text, token.text)
                if name not in self.names:
                    raise self._error(self._unknown(token.text), token.position)
                if self.token.kind == "(":
                    raise self._error(f"{token.text} is no function: write * to multiply", self.token.position)
                return Node("name", token.position, name=name)
            case "(":
                inner = self._deeper(self._sum)
                self._expect(")", "to close '('")
                return inner
        found = f"{token.text!r}" if token.text else "the end"
        raise self._error(f"expected a number, a name or '(', found {found}", token.position)

    def _unknown(self, name: str) -> str:
        known = [*self.names, *FUNCTIONS]
        if name in WEIGHTED_SIZES:
            return f"there is no {name!r} without weights: w and W are known with --weighted"
        bare = name.rstrip("ᵢⱼₖ")  # such as δₖ, as results are printed
        close = get_close_matches(name, [*known, *ALIASES], n=1, cutoff=0.75)
        meant = MEANT.get(name.lower()) or ALIASES.get(bare) or (bare if bare in known else next(iter(close), ""))
        guess = f"did you mean {meant}? " if meant else ""
        return f"there is no {name!r}: {guess}known are {', '.join(known)}"

    def _number(self, token: _Token) -> Fraction:
        mantissa, _, exponent = token.text.lower().partition("e")
        if len(exponent) > 4 or abs(int(exponent or 0)) > MAX_DECIMALS or len(mantissa) > MAX_DECIMALS:
            raise self._error(f"a number may have {MAX_DECIMALS} digits, and as large an exponent", token.position)
        return Fraction(token.text)

    def _check_size(self, node: Node) -> None:
        self._exponents(node, Fraction(1))
        self._terms(node)

    def _exponents(self, node: Node, outer: Fraction) -> None:
        if node.kind == "**":
            outer *= max(abs(node.value), Fraction(1))
            if outer > MAX_EXPONENT:
                raise self._error(f"nested exponents multiply to more than {MAX_EXPONENT}", node.position)
        for part in node.parts:
            self._exponents(part, outer)

    def _terms(self, node: Node) -> "_Size":
        """How large numerator and denominator are at most, multiplied out."""
        parts = [self._terms(part) for part in node.parts]
        match node.kind:
            case "number":
                size = _Size()
            case "name":
                terms, degree = self.names[node.name]
                size = _Size(terms, degree)
            case "+":
                size = parts[0]
                for part in parts[1:]:
                    size = size.plus(part)
                    self._check_terms(size, node)
            case "*":
                size = parts[0]
                for part, factor in zip(parts[1:], node.parts[1:], strict=True):
                    size = size.times(part)
                    self._check_terms(size, factor)
            case "/":
                size = parts[0].inverse()
            case "**":
                base = parts[0] if node.value >= 0 else parts[0].inverse()
                size = _Size()
                for _ in range(int(abs(node.value) + Fraction(1, 2))):
                    size = size.times(base)
                    self._check_terms(size, node)
            case _:
                size = parts[0]
        self._check_terms(size, node)
        return size

    def _check_terms(self, size: "_Size", node: Node) -> None:
        if max(size.top, size.bottom) > MAX_TERMS:
            raise self._error(f"multiplied out, this has more than {MAX_TERMS} terms", node.position)
        if max(size.top_degree, size.bottom_degree) > MAX_DEGREE:
            raise self._error(f"the degree of this is above {MAX_DEGREE}", node.position)


@dataclass(frozen=True)
class _Size:
    """Terms and degrees of numerator and denominator."""

    top: int = 1
    top_degree: int = 0
    bottom: int = 1
    bottom_degree: int = 0

    def plus(self, other: "_Size") -> "_Size":
        if self.bottom == other.bottom == 1 and self.bottom_degree == other.bottom_degree == 0:
            return _Size(self.top + other.top, max(self.top_degree, other.top_degree))
        a, b = self.times(_Size(other.bottom, other.bottom_degree)), other.times(_Size(self.bottom, self.bottom_degree))
        common = self.times(other)
        top, degree = a.top + b.top, max(a.top_degree, b.top_degree)
        return _Size(top, degree, common.bottom, common.bottom_degree)

    def times(self, other: "_Size") -> "_Size":
        return _Size(
            self.top * other.top,
            self.top_degree + other.top_degree,
            self.bottom * other.bottom,
            self.bottom_degree + other.bottom_degree,
        )

    def inverse(self) -> "_Size":
        return _Size(self.bottom, self.bottom_degree, self.top, self.top_degree)
