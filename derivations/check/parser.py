"""A user's formula, from text to a tree: nothing is evaluated, and limits are checked on that tree.

    formula = term {("+" | "-") term}         term  = factor {("*" | "/") factor}
    factor  = ("+" | "-") factor | power      power = atom ["**" factor]
    atom    = number | name | function "(" formula ")" | "(" formula ")" | ("Σ" | "Σⱼ") term

Exponents are whole or half numbers, such as 2, -1, 0.5 or (-3/2); ² and ⁻¹ may stand for ** 2 and ** -1. Functions may
be spelled as in NumPy, np.mean(x, axis=0) or x.mean(axis=0). ``lines`` reads several assignments.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from keyword import iskeyword

from derivations.check import calls, counts, hints
from derivations.check.names import (
    ALIASES,
    AMBIGUOUS,
    BATCH,
    LETTERS,
    MEANING,
    PHRASES,
    TEXTBOOK,
    Names,
)
from derivations.check.tokens import Token, tokens
from derivations.check.tree import FormulaError, Node, number

MAX_DEPTH = 50  # of what is typed
MAX_TREE_DEPTH = 120  # with every assigned name written out
MAX_PARTS = 4000
MAX_EXPONENT = 12  # of nested powers, the product
MAX_DECIMALS = 40
MAX_FACTORS = 100  # of a product, multiplied out
SMALL = Fraction(1, 100)  # up to which a number under a root is taken for an ε


def parse(text: str, names: Names = TEXTBOOK) -> Node:
    """The formula as a tree.

    Raises:
        FormulaError: it is no formula, or larger than what is judged.
    """
    parser = Parser(text, names)
    if parser.token.kind == "end":
        raise parser.error("the formula is empty", 0)
    node = parser.formula()
    if parser.token.kind != "end":
        raise parser.unexpected()
    parser.check(node)
    return parser.resolved(node)


class Parser:
    """Reads formulas from the words of a text.

    assigned: what lines before have defined; it goes before names of the problem.
    letters: names that are known to no one, in a problem in which any name is a number.
    """

    def __init__(self, text: str, names: Names) -> None:
        self.text, self.names = text, names
        self.tokens = tokens(text)
        self.next = 0
        self.depth = 0
        self.assigned: dict[str, Node | None] = {}
        self.letters: dict[str, None] = {}
        self.axes: set[tuple[int, ...]] = set()

    def error(self, message: str, position: int) -> FormulaError:
        return FormulaError(message, self.text, position)

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def ahead(self, count: int = 1) -> Token:
        return self.tokens[min(self.next + count, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.token
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def unexpected(self) -> FormulaError:
        """What is wrong with a word after the end of a formula."""
        token = self.token
        reason = {
            ")": "there is no '(' that it closes",
            "]": "there is no '[' that it closes",
            ",": "one formula is judged, and not several",
        }.get(token.text, "an operator is missing before it")
        if token.kind == "name" and iskeyword(token.text):
            reason = hints.NO_CASES
        return self.error(f"unexpected {token.text!r}: {reason}", token.position)

    def resolved(self, node: Node) -> Node:
        """The formula, with m for the lengths of the axes of the batch."""
        return counts.resolved(node, max(self.axes, default=()), self.text)

    def expect(self, kind: str, after: str) -> Token:
        if self.token.kind != kind:
            raise self.error(f"expected {kind!r} {after}, found {self._found(self.token)}", self.token.position)
        return self.take()

    def _found(self, token: Token) -> str:
        return "the end" if token.kind == "end" else "the end of the line" if token.text == "\n" else repr(token.text)

    def deeper(self, parse: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}", self.token.position)
        node = parse()
        self.depth -= 1
        return node

    def formula(self) -> Node:
        """A sum, to where it ends."""
        parts = [self._product()]
        position = parts[0].position
        while self.token.kind in ("+", "-"):
            sign = self.take()
            part = self._product()
            parts.append(part if sign.kind == "+" else Node("-", sign.position, (part,)))
        return parts[0] if len(parts) == 1 else Node("+", position, tuple(parts))

    def _product(self) -> Node:
        parts = [self._factor()]
        position = parts[0].position
        while self.token.kind in ("*", "/", "@"):
            operator = self.take()
            if operator.kind == "@":
                raise self.error("@ is no product of elements: write sum(a*b) over the batch", operator.position)
            part = self._factor()
            parts.append(part if operator.kind == "*" else Node("/", operator.position, (part,)))
        parts = counts.merged(parts)
        return parts[0] if len(parts) == 1 else Node("*", position, tuple(parts))

    def _factor(self) -> Node:
        if self.token.kind in ("+", "-"):
            sign = self.take()
            part = self.deeper(self._factor)
            return part if sign.kind == "+" else Node("-", sign.position, (part,))
        base = self._atom()
        if self.token.kind != "**":
            return base
        operator = self.take()
        exponent = self.deeper(self._factor)
        return Node("**", operator.position, (base,), value=self.exponent(exponent))

    def exponent(self, node: Node) -> Fraction:
        """The value of an exponent."""
        value = self.constant(node)
        if value.denominator not in (1, 2):
            raise self.error("exponents must be whole or half numbers", node.position)
        if abs(value) > MAX_EXPONENT:
            raise self.error(f"the exponent is above {MAX_EXPONENT}", node.position)
        return value

    def constant(self, node: Node) -> Fraction:
        """The value of what holds numbers alone."""
        match node.kind:
            case "number":
                return node.value
            case "-":
                return -self.constant(node.parts[0])
            case "/" if divisor := self.constant(node.parts[0]):
                return Fraction(1) / divisor
            case "*":
                return math.prod(map(self.constant, node.parts), start=Fraction(1))
            case "**" if node.value.denominator == 1 and (base := self.constant(node.parts[0])):
                return Fraction(base) ** int(node.value)
        raise self.error("an exponent must be a number, such as 2, -1, 0.5 or (-3/2)", node.position)

    def number_of(self, node: Node) -> Fraction | None:
        """The value of what holds numbers alone; None of what does not."""
        try:
            return self.constant(node)
        except FormulaError:
            return None

    def _atom(self) -> Node:
        token = self.take()
        match token.kind:
            case "number":
                node = Node("number", token.position, name=token.text, value=self._number(token))
            case "sum":
                return self._sigma(token)
            case "sqrt":  # √
                return Node("sqrt", token.position, (self.deeper(self._atom),))
            case "name":
                node = self._named(token)
            case "(":
                node = self.deeper(self.formula)
                self.expect(")", "to close '('")
            case "⟨":
                inner = self.deeper(self.formula)
                self.expect("⟩", "to close '⟨'")
                node = self.summed("mean", token.position, inner)
            case _:
                raise self.error(f"expected a number, a name or '(', found {self._found(token)}", token.position)
        while self.token.kind in (".", "["):
            node = calls.trailer(self, node)
        return node

    def _sigma(self, token: Token) -> Node:
        """Σⱼ and all factors that follow, as sums are printed; Σ(…) without an index as sum(…)."""
        letter = token.text[1:]
        if not letter and self.token.kind == "(":
            return self.summed("sum", token.position, self.deeper(self._atom))
        body = self.deeper(self._product)
        factors = body.parts if body.kind == "*" else (body,)
        outside = [factor for factor in factors if letter and factor.letters and letter not in factor.letters]
        inside = [factor for factor in factors if not any(factor is other for other in outside)]
        if not inside:
            inside = [number(1, token.position)]
        summand = inside[0] if len(inside) == 1 and inside[0].kind != "/" else Node("*", body.position, tuple(inside))
        result = self.summed("sum", token.position, summand, letter)
        return Node("*", token.position, (result, *outside)) if outside else result

    def summed(self, kind: str, position: int, inner: Node, letter: str = "") -> Node:
        """A sum or a mean over the batch, of a value at one index."""
        if len(inner.letters) > 1 or (letter and inner.letters - {letter}):
            raise self.error(
                f"this holds elements at {' and '.join(sorted(inner.letters))}: a sum runs over one index; "
                "take what has another out of it",
                position,
            )
        return Node(kind, position, (inner,))

    def _named(self, token: Token, *, module: str = "") -> Node:
        name, index = token.text, ""
        if self.token.kind == "." and (name in calls.MODULES or (name in calls.OBJECTS and name not in self.assigned)):
            self.take()
            return self._named(self.expect("name", f"after {name}."), module=name if name in calls.MODULES else "")
        if self.token.kind == "(" and name in calls.FUNCTIONS:
            return calls.call(self, token, module=module)
        for ending, letter in LETTERS.items():
            if name.endswith(ending) and len(name) > len(ending) and name not in self.assigned:
                base = name[: -len(ending)]
                if base in self.assigned or ALIASES.get(base, base) in self.names.all:
                    name, index = base, letter
                    break
        if self.token.kind == "(":
            if name in self.assigned or ALIASES.get(name, name) in self.names.all:
                raise self.error(f"{token.text} is no function: write * to multiply", self.token.position)
            raise self.error(hints.of_function(name), token.position)
        return self._value(name, index, token)

    def _value(self, name: str, index: str, token: Token) -> Node:
        if name in self.assigned:
            if (value := self.assigned[name]) is None:
                raise self.error(f"{name} is {counts.OTHER_SIZE}", token.position)
            return value
        if name in BATCH and "m" in self.names.all and name not in self.names.all:
            return counts.length([0], token.position, name)
        if name in self.names.all:
            canonical = name
        elif ALIASES.get(name) in self.names.all:
            canonical = ALIASES[name]
        elif self.names.textbook and name in PHRASES:
            return self._phrase(PHRASES[name], token)
        elif self.names.any_number and name.isidentifier() and not name.startswith("__"):
            self.letters[name] = None
            canonical = name
        else:
            if name in calls.FUNCTIONS and name not in AMBIGUOUS:
                self.expect("(", f"after {name}")
            raise self.error(self.unknown(token.text), token.position)
        element = canonical in self.names.elements
        if index and not element:
            raise self.error(f"{name} is one number, and has no index", token.position)
        return Node("name", token.position, name=canonical, element=element, index=index)

    def _phrase(self, text: str, token: Token) -> Node:
        return moved(Parser(text, self.names).formula(), token.position)

    def unknown(self, name: str) -> str:
        """What to say of a name that is known to no one."""
        return hints.of_name(name, self.names, self.assigned)

    def _number(self, token: Token) -> Fraction:
        mantissa, _, exponent = token.text.lower().partition("e")
        if len(exponent) > 4 or abs(int(exponent or 0)) > MAX_DECIMALS or len(mantissa) > MAX_DECIMALS:
            raise self.error(f"a number may have {MAX_DECIMALS} digits, and as large an exponent", token.position)
        return Fraction(token.text)

    def check(self, node: Node) -> None:
        """Raise ``FormulaError`` where the tree is larger than what is judged, or not of one element."""
        if node.count > MAX_PARTS or node.depth > MAX_TREE_DEPTH:
            raise self.error(
                f"written out, this has more than {MAX_PARTS} parts, or too many nested ones", node.position
            )
        if len(node.letters) > 1:
            raise self.error(f"the formula has two indices, {' and '.join(sorted(node.letters))}", node.position)
        if len(self.axes) > 1:
            shown = " and ".join(f"axis={axes}" if axes else "no axis" for axes in sorted(self.axes))
            raise self.error(
                f"the sums run over different axes, {shown}: the elements that share statistics are the same in all of "
                "them",
                node.position,
            )
        self._exponents(node, Fraction(1))
        if node.degree > MAX_FACTORS:
            raise self.error(f"multiplied out, this has products of more than {MAX_FACTORS} factors", node.position)
        if self.names.textbook:
            self._shifts(node)

    def _shifts(self, node: Node) -> None:
        """Refuse sqrt(var + 1e-5): ε is a letter here, since a gradient holds for every ε > 0."""
        if node.kind == "sqrt" or (node.kind == "**" and node.value.denominator == 2):
            (radicand,) = node.parts
            for part in radicand.parts if radicand.kind == "+" else ():
                if 0 < (self.number_of(part) or 0) <= SMALL:
                    raise self.error(
                        f"write epsilon for {part.name or 'this number'}: a formula is judged for every ε > 0",
                        part.position,
                    )
        for part in node.parts:
            self._shifts(part)

    def _exponents(self, node: Node, outer: Fraction) -> None:
        if node.kind == "**":
            outer *= max(abs(node.value), Fraction(1))
            if outer > MAX_EXPONENT:
                raise self.error(f"nested exponents multiply to more than {MAX_EXPONENT}", node.position)
        for part in node.parts:
            self._exponents(part, outer)


def moved(node: Node, position: int) -> Node:
    """The same tree, as if it had been typed at one place."""
    parts = tuple(moved(part, position) for part in node.parts)
    return Node(node.kind, position, parts, node.name, node.value, node.element)


def meanings(names: Names) -> Mapping[str, Node]:
    """What the names of a problem stand for that are not free."""
    return {name: Parser(text, names).formula() for name, text in MEANING.items() if name in names.all}
