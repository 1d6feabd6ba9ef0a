"""A formula as it was typed, in the field's notation: nothing is cancelled, multiplied out or reordered."""

from sympy import Symbol

from derivations.check.parser import FUNCTIONS, Node
from derivations.notation import printing

ELEMENTS = ("x", "delta", "x_hat", "w")  # the names that have a value for each element
_NAMES = {"x_hat": "xhat", "var": "v"}
_LOOSE, _TIGHT, _POWER, _ATOM = range(4)  # how strongly a node binds
_BINDING = {"+": _LOOSE, "-": _LOOSE, "*": _TIGHT, "**": _POWER}


def typed(node: Node, index: str = "ₖ") -> str:
    """The formula; an element outside of any sum carries the index.

    >>> from derivations.formula_parser import parse
    >>> print(typed(parse("gamma*s*(delta - mean(delta*x_hat)) + 0/(m - 1)**2")))
    γ·s·(δₖ − mean(δ·x̂)) + 0/(m − 1)²
    """
    match node.kind:
        case "number":
            return node.name
        case "name":
            name = printing.symbol_name(Symbol(_NAMES.get(node.name, node.name)))
            return name + index if node.name in ELEMENTS else name
        case "+":
            return _chain(node, index, " + ", "-", " − ", _TIGHT)
        case "-":
            return f"−{_factor(node.parts[0], index)}"
        case "*":
            return _chain(node, index, "·", "/", "/", _POWER)
        case "**":
            base = _factor(node.parts[0], index, _ATOM)
            exponent = str(node.value)
            if node.value.denominator == 1:
                return base + exponent.translate(printing.SUPERSCRIPTS)
            return f"{base}^({exponent.replace('-', '−')})"
    return f"{node.kind}({typed(node.parts[0], '' if node.kind != 'sqrt' else index)})"


def per_element(node: Node) -> bool:
    """Whether there is a value for each element, outside of any sum."""
    if node.kind in FUNCTIONS and node.kind != "sqrt":
        return False
    return node.name in ELEMENTS if node.kind == "name" else any(map(per_element, node.parts))


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
