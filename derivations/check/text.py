"""A formula as it was typed, in the field's notation: nothing is cancelled, multiplied out or reordered."""

from sympy import Symbol

from derivations.check.tree import Node
from derivations.notation import printing

_NAMES = {"x_hat": "xhat", "var": "v"}
_LOOSE, _TIGHT, _POWER, _ATOM = range(4)  # how strongly a node binds
_BINDING = {"+": _LOOSE, "-": _LOOSE, "*": _TIGHT, "/": _TIGHT, "**": _POWER}


def typed(node: Node, index: str = "ₖ") -> str:
    """The formula; an element outside of any sum carries the index.

    >>> from derivations.check.parser import parse
    >>> print(typed(parse("gamma*s*(delta - mean(delta*x_hat)) + 0/(m - 1)**2")))
    γ·s·(δₖ − mean(δ·x̂)) + 0/(m − 1)²
    """
    match node.kind:
        case "number":
            return node.name if node.value >= 0 else f"({node.name})"
        case "name":
            name = printing.symbol_name(Symbol(_NAMES.get(node.name, node.name)))
            return name + index if node.element else name
        case "+":
            return _chain(node, index, " + ", "-", " − ", _TIGHT)
        case "-":
            return f"−{_factor(node.parts[0], index)}"
        case "*" if node.parts[0].kind != "/":
            return _chain(node, index, "·", "/", "/", _POWER)
        case "*":  # such as Σ 1/x
            return typed(Node("*", node.position, (Node("number", node.position, name="1"), *node.parts)), index)
        case "/":
            return f"1/{_factor(node.parts[0], index, _POWER)}"
        case "**":
            base = _factor(node.parts[0], index, _ATOM)
            exponent = str(node.value)
            if node.value.denominator == 1:
                return base + exponent.translate(printing.SUPERSCRIPTS)
            return f"{base}^({exponent.replace('-', '−')})"
    return f"{node.kind}({typed(node.parts[0], '' if node.kind != 'sqrt' else index)})"


def _chain(node: Node, index: str, operator: str, inverted: str, inverse: str, binding: int) -> str:
    """A sum or a product; ``inverse`` stands before a part of the kind ``inverted``. A minus at the start is bare."""
    first, *others = node.parts
    text = typed(first, index) if first.kind == "-" else _factor(first, index)
    for part in others:
        sign, factor = (inverse, part.parts[0]) if part.kind == inverted else (operator, part)
        text += sign + _factor(factor, index, binding)
    return text


def _factor(node: Node, index: str, binding: int = _TIGHT) -> str:
    """The node, in brackets where it binds less strongly than is needed."""
    text = typed(node, index)
    return f"({text})" if _BINDING.get(node.kind, _ATOM) < binding else text
