"""Lines of assignments, as students paste them: mu = mean(x); s = 1/sqrt(var + epsilon); …

Each name is replaced by what was assigned to it, so that one formula remains. Lines that say nothing about values are
passed over: comments, imports, the head of a function, unpacked caches whose names are known, the shape of x.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from derivations.check import counts
from derivations.check.names import ALIASES, ASSIGNED, PHRASES, Names
from derivations.check.parser import Parser
from derivations.check.tokens import Token
from derivations.check.tree import FormulaError, Node

_SIZES = ("m", "epsilon")  # what a formula holds for whatever its value is


@dataclass(frozen=True)
class Program:
    """What lines come to.

    value: that of the last line, or of the name that is asked for.
    assigned: each name with its last value.
    letters: names of numbers that are known to no one, in the order in which they occur.
    """

    value: Node
    assigned: Mapping[str, Node]
    letters: tuple[str, ...]


def read(text: str, names: Names, target: str = "", known: Mapping[str, Node] | None = None) -> Program:
    """The value of the lines, or of one formula.

    Args:
        target: Such as "dx": a line that assigns it is what is asked for, although others may follow.
        known: Names that were assigned before, such as in a forward pass.

    Raises:
        FormulaError: they are no formulas, or larger than what is judged.
    """
    return _Lines(text, names, known or {}).program(target)


class _Lines(Parser):
    def __init__(self, text: str, names: Names, known: Mapping[str, Node]) -> None:
        super().__init__(text, names)
        self.assigned.update(known)
        self.own: dict[str, Node] = {}
        self.last: tuple[str, Node] | None = None  # the name that was assigned, if any, and the value

    def program(self, target: str) -> Program:
        while self.token.kind != "end":
            if self.token.kind == "newline":
                self.take()
                continue
            self._line()
            if self.token.kind not in ("newline", "end"):
                raise self.unexpected()
        if self.last is None:
            raise self.error("there is no formula in these lines" if self.text.strip() else "the formula is empty", 0)
        name, value = self.last
        if name:
            asked = [other for other in ASSIGNED.get(target, (target,)) if other in self.own]
            if asked:
                value = self.own[asked[-1]]
            else:
                self._check_target(name, target, value)
        self.check(value)
        own = {}
        for other, assigned in self.own.items():
            with suppress(FormulaError):  # a size that is not asked for
                own[other] = self.resolved(assigned)
        return Program(self.resolved(value), own, tuple(self.letters))

    def _check_target(self, name: str, target: str, value: Node) -> None:
        for other, spellings in ASSIGNED.items():
            if target and other != target and name in spellings:
                raise self.error(
                    f"the last line assigns {name}, and none assigns {target}: choose --target {other}, or name the "
                    f"gradient of the target {target}",
                    value.position,
                )

    def _line(self) -> None:
        first = self.token
        if first.kind == "name" and first.text == "return":
            self.take()
            if self._is_list():
                self._pass_over()
                return
            value = self.formula()
            returned = [name for name, other in self.own.items() if other is value]
            self.last = (returned[-1] if returned else "", value)
            return
        if (names := self._unpacked()) is not None:
            self._unpack(names)
            return
        if first.kind == "name" and self.ahead().kind in ("=", "+=", "-=", "*=", "/="):
            self._assignment()
            return
        if first.kind == "name" and self.ahead().kind == "==":
            raise self.error("== compares: an assignment has one =", self.ahead().position)
        self.last = ("", self.formula())

    def _assignment(self) -> None:
        name, operator = self.take(), self.take()
        if self.token.kind == "name" and self.token.text == "cache":
            self._unpack([name.text])
            return
        value = self.formula()
        while self.token.kind == "=":  # a = b = value
            raise self.error("one assignment a line", self.token.position)
        if operator.kind != "=":
            before = self._value(name.text, "", name)
            match operator.kind:
                case "+=":
                    value = Node("+", name.position, (before, value))
                case "-=":
                    value = Node("+", name.position, (before, Node("-", value.position, (value,))))
                case "*=":
                    value = Node("*", name.position, (before, value))
                case _:
                    value = Node("*", name.position, (before, Node("/", value.position, (value,))))
        elif (known := self.number_of(value)) is not None and (meant := ALIASES.get(name.text, name.text)) in _SIZES:
            if meant == "m":
                raise self.error("a formula is judged for every size m: leave this line out", name.position)
            if known <= 0:
                raise self.error("epsilon is above 0 here: a formula is judged for every ε > 0", name.position)
            return  # eps = 1e-5: what holds for every ε > 0 holds for this one
        self._assign(name.text, value)

    def _assign(self, name: str, value: Node) -> None:
        self.check(value)
        self.assigned[name] = self.own[name] = value
        self.last = (name, value)

    def _unpacked(self) -> list[str] | None:
        """The names before a =, where there are several."""
        names: list[str] = []
        place = self.next
        bracketed = self.tokens[place].kind == "("
        place += bracketed
        while self.tokens[place].kind == "name":
            names.append(self.tokens[place].text)
            place += 1
            if self.tokens[place].kind != ",":
                break
            place += 1
        place += bracketed and self.tokens[min(place, len(self.tokens) - 1)].kind == ")"
        if len(names) < 2 or self.tokens[min(place, len(self.tokens) - 1)].kind != "=":
            return None
        self.next = place + 1
        return names

    def _unpack(self, names: list[str]) -> None:
        """N, D = x.shape or a cache, whose names must be known."""
        if any(token.text == "shape" for token in self._rest()):
            of = self.token
            has_batch = of.kind != "name" or self._value(of.text, "", of).per_element
            for axis, name in enumerate(names):
                self.assigned[name] = counts.length([axis], of.position, name) if has_batch else None
            self._pass_over()
            return
        if self.token.text != "cache" and not any(token.text == "cache" for token in self._rest()):
            raise self.error("several names are assigned at once: write a line for each", self.token.position)
        for name in names:
            meant = ALIASES.get(name, name)
            if name not in self.assigned and meant not in self.names.all and name not in PHRASES and name != "_":
                raise self.error(
                    self.unknown(name).replace("there is", "the cache is not known here: there is", 1),
                    self.token.position,
                )
        self._pass_over()

    def _rest(self) -> list[Token]:
        """The words to the end of the line."""
        end = self.next
        while self.tokens[end].kind not in ("newline", "end"):
            end += 1
        return self.tokens[self.next : end]

    def _is_list(self) -> bool:
        depth = 0
        for token in self._rest():
            depth += (token.kind in ("(", "[")) - (token.kind in (")", "]"))
            if token.kind == "," and depth == 0:
                return True
        return False

    def _pass_over(self) -> None:
        while self.token.kind not in ("newline", "end"):
            self.take()
