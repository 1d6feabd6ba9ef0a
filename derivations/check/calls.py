"""Functions, methods and attributes, as NumPy, TensorFlow and PyTorch spell them."""

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from derivations.check import counts
from derivations.check.tokens import Token
from derivations.check.tree import Node, difference, number, power, quotient

if TYPE_CHECKING:
    from derivations.check.parser import Parser

MODULES = ("np", "numpy", "jnp", "tf", "torch", "math", "K", "ops", "keras", "xp", "backend")
OBJECTS = ("self", "ctx", "cache")
_REDUCTIONS = {"sum": "sum", "reduce_sum": "sum", "mean": "mean", "average": "mean", "reduce_mean": "mean"}
_SPREADS = {"var": 1, "variance": 1, "reduce_variance": 1, "std": Fraction(1, 2), "reduce_std": Fraction(1, 2)}
_POWERS = {"square": Fraction(2), "rsqrt": Fraction(-1, 2), "reciprocal": Fraction(-1)}
_TWO = ("multiply", "divide", "true_divide", "add", "subtract", "power", "pow")
_SAME = ("array", "asarray", "float", "float32", "float64", "copy", "int", "cast")
_FILLED = {"ones": 1, "ones_like": 1, "zeros": 0, "zeros_like": 0}
FUNCTIONS = (*_REDUCTIONS, *_SPREADS, *_POWERS, "sqrt", "negative", "len", *_TWO, *_SAME, *_FILLED)
_PRODUCT = "write sum(a*b) for a sum of products over the batch"
REFUSED = {
    **dict.fromkeys(("dot", "matmul", "einsum", "outer", "inner", "vdot", "tensordot"), _PRODUCT),
    **dict.fromkeys(("abs", "absolute", "maximum", "minimum", "where", "sign", "clip"), "no cases are distinguished"),
    **dict.fromkeys(("exp", "log", "tanh", "sigmoid", "relu"), "formulas are made of + - * / ** and sqrt"),
}
_KEYWORDS = ("axis", "dim", "keepdims", "keepdim", "ddof", "correction", "unbiased", "dtype", "a", "x")


class _Argument(NamedTuple):
    keyword: str
    value: "Node | tuple[int, ...] | bool | None"
    position: int


def call(parser: "Parser", name: Token, *, module: str = "") -> Node:
    """The function of this name and the arguments that follow.

    ``module``: such as np of np.sum, which adds up channels where a value has no batch; sum( ) is over the batch.
    """
    function = name.text
    if function in _FILLED:
        _skip(parser)
        return number(_FILLED[function], name.position)
    return _apply(parser, name, _arguments(parser, function), module=module)


def trailer(parser: "Parser", node: Node) -> Node:
    """What follows a value: .mean(axis=0), .shape[0], .T and the like."""
    mark = parser.take()
    if mark.kind == "[":
        if not node.per_element and _only_new_axes(parser):
            return node
        raise parser.error("elements are written without an index: x, not x[i]", mark.position)
    name = parser.expect("name", "after '.'")
    match name.text:
        case "shape" | "size" if parser.token.kind == ("[" if name.text == "shape" else "("):
            opening = parser.take()
            axis = parser.expect("number", f"in {name.text}")
            parser.expect("]" if opening.kind == "[" else ")", f"to close {opening.text!r}")
            return _size(parser, node, axis)
        case "reshape" | "squeeze" | "ravel" | "flatten" if not node.per_element:  # one number a channel remains that
            _skip(parser)
            return node
        case "copy" | "astype" | "float" | "double" | "numpy":
            _skip(parser, whole_numbers=True)
            return node
    if parser.token.kind != "(" or name.text not in (*_REDUCTIONS, *_SPREADS, *_POWERS, "sqrt", "pow"):
        raise parser.error(
            f".{name.text} is not understood: formulas know .sum, .mean, .var and .shape[0]", name.position
        )
    return _apply(
        parser,
        name,
        [_Argument("", node, node.position), *_arguments(parser, name.text, method=True)],
        module="a method",
    )


def _size(parser: "Parser", node: Node, axis: Token) -> Node:
    if not node.per_element:
        raise parser.error("this has no axis of the batch: the sizes of x are understood", axis.position)
    if not axis.text.isdigit():
        raise parser.error("an axis is a whole number", axis.position)
    return counts.length([int(axis.text)], axis.position)


def _only_new_axes(parser: "Parser") -> bool:
    """Past [None, :] and the like, which leave a value per channel as it is."""
    while parser.token.kind in (":", ",", ".") or parser.token.text in ("None", "np", "tf", "newaxis"):
        parser.take()
    return parser.take().kind == "]"


def _no_whole_numbers(parser: "Parser", token: Token) -> None:
    if token.kind == "name" and token.text.lstrip("u").startswith(("int", "bool", "long")):
        raise parser.error("a cast to whole numbers is not understood: it rounds", token.position)


def _skip(parser: "Parser", *, whole_numbers: bool = False) -> None:
    """Past arguments that do not matter; casts to whole numbers do."""
    parser.expect("(", "after the name")
    depth = 1
    while depth:
        token = parser.take()
        if token.kind == "end":
            raise parser.error("expected ')' to close '(', found the end", token.position)
        if whole_numbers:
            _no_whole_numbers(parser, token)
        depth += (token.kind in ("(", "[")) - (token.kind in (")", "]"))


def _arguments(parser: "Parser", function: str, *, method: bool = False) -> list[_Argument]:
    parser.expect("(", f"after {function}")
    if method and parser.token.kind == ")":
        parser.take()
        return []
    found: list[_Argument] = []
    while True:
        keyword, position = "", parser.token.position
        if parser.token.kind == "name" and parser.ahead().kind == "=":
            keyword = parser.take().text
            parser.take()
            if keyword not in _KEYWORDS:
                raise parser.error(f"{keyword}= is not understood in {function}( )", position)
        if keyword == "dtype" or (function == "cast" and found):
            while parser.token.kind in ("name", "."):
                _no_whole_numbers(parser, parser.take())
        elif keyword in ("axis", "dim") or ((found or method) and function in (*_REDUCTIONS, *_SPREADS)):
            found.append(_Argument(keyword or "axis", _literal(parser), position))
        elif keyword in ("keepdims", "keepdim", "unbiased", "ddof", "correction"):
            found.append(_Argument(keyword, _literal(parser), position))
        else:
            found.append(_Argument("", parser.deeper(parser.formula), position))
        if parser.token.kind != ",":
            break
        parser.take()
        if parser.token.kind == ")":
            break
    parser.expect(")", f"to close {function}(")
    return found


def _literal(parser: "Parser") -> tuple[int, ...] | bool | None:
    """None, True, False, a whole number or several."""
    token = parser.take()
    if token.kind == "name" and token.text in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[token.text]
    if token.kind in ("(", "["):
        values: tuple[int, ...] = ()
        while parser.token.kind not in (")", "]", "end"):
            inner = _literal(parser)
            if not isinstance(inner, tuple):
                raise parser.error("an axis is a whole number", token.position)
            values += inner
            if parser.token.kind == ",":
                parser.take()
        parser.take()
        return values
    sign = 1
    if token.kind == "-":
        sign, token = -1, parser.take()
    if token.kind == "number" and token.text.isdigit():
        return (sign * int(token.text),)
    raise parser.error("expected a whole number such as axis=0, None, True or False", token.position)


def _apply(parser: "Parser", name: Token, arguments: list[_Argument], *, module: str) -> Node:
    function, position = name.text, name.position
    values = [argument.value for argument in arguments if isinstance(argument.value, Node)]
    settings = {argument.keyword: argument for argument in arguments if not isinstance(argument.value, Node)}
    wanted = 2 if function in _TWO else 1
    if len(values) != wanted:
        raise parser.error(f"{function}( ) takes {wanted} formula{'s' * (wanted > 1)}", position)
    if function in _REDUCTIONS or function in _SPREADS:
        (value,) = values
        if (module or {"axis", "dim"} & settings.keys()) and not value.per_element:
            raise parser.error(
                f"what is added up here is one number a channel already: {function}( ) would add up the channels",
                position,
            )
        _check_axis(parser, function, settings)
        if module and not any(settings[key].value for key in ("axis", "dim") if key in settings):
            parser.axes.add(())
        if function in _REDUCTIONS:
            return parser.summed(_REDUCTIONS[function], position, value)
        return _spread(parser, function, value, settings, position, of_torch=module == "torch" or "dim" in settings)
    if function in _POWERS:
        return power(values[0], _POWERS[function])
    match function:
        case "sqrt":
            return Node("sqrt", position, (values[0],))
        case "negative":
            return Node("-", position, (values[0],))
        case "len" if not values[0].per_element:
            raise parser.error("this has no axis of the batch: len(x) is understood", position)
        case "len":
            return counts.length([0], position, "len( )")
        case "int" if values[0].kind != "length" and values[0].name != "m" and parser.number_of(values[0]) is None:
            raise parser.error("a cast to whole numbers is not understood: it rounds", position)
        case "multiply":
            return Node("*", position, tuple(values))
        case "add":
            return Node("+", position, tuple(values))
        case "subtract":
            return difference(*values)
        case "divide" | "true_divide":
            return quotient(*values)
        case "power" | "pow":
            return Node("**", position, (values[0],), value=parser.exponent(values[1]))
    return values[0]


def _check_axis(parser: "Parser", function: str, settings: dict[str, _Argument]) -> None:
    for keyword in ("axis", "dim"):
        given = settings.get(keyword)
        if given is None or given.value is None:
            continue
        if not isinstance(given.value, tuple) or len(set(given.value)) != len(given.value):
            raise parser.error("expected an axis, such as axis=0", given.position)
        if 0 not in given.value:
            raise parser.error(
                f"axis {', '.join(map(str, given.value))} is not the batch: {function} over it mixes channels; "
                "the batch is axis 0",
                given.position,
            )
        parser.axes.add(given.value)


def _spread(
    parser: "Parser", function: str, value: Node, settings: dict[str, _Argument], position: int, *, of_torch: bool
) -> Node:
    """The variance of a value per element, or its root; divided by m − ddof if that is said.

    PyTorch divides by m − 1 where nothing is said.
    """
    less = int(of_torch)
    for keyword, argument in settings.items():
        if keyword == "unbiased":
            less = int(bool(argument.value))
        elif keyword in ("ddof", "correction") and isinstance(argument.value, tuple):
            (less,) = argument.value
    squares = power(difference(value, parser.summed("mean", position, value)), 2)
    if less:
        size = difference(Node("name", position, name="m"), number(less, position))
        variance = quotient(parser.summed("sum", position, squares), size)
    else:
        variance = parser.summed("mean", position, squares)
    return variance if _SPREADS[function] == 1 else Node("sqrt", position, (variance,))
