"""A batch of unknown size: the operations of ``keras_bn.formulas.operations.Operations`` on symbolic expressions.

A value per element is one expression in the free index i; its sum over the batch is Σ_j of that expression. The
functions that TensorFlow runs on tensors run on it unchanged; what they return is then a theorem for every batch size.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import sympy as sp
from sympy import Expr, Rational, Symbol

from derivations.notation import i, m, over_batch, w
from derivations.notation.settings import Condition
from derivations.notation.worlds import Clip


class SymbolicBatch:
    """A value per element, or per channel, as a SymPy expression.

    A formula that compared values would be one thing for some batches and another for others, and a comparison that
    Python answers with False would hide that. Comparison, truth, conversion to a number and hashing are errors.
    """

    __array_ufunc__ = None  # NumPy must leave mixed operations to this class.

    def __init__(self, expression: Any, *, per_element: bool | None = None) -> None:
        """``per_element`` says whether there is one value an element, by default: if the expression holds i.

        Raises:
            TypeError: the expression holds a float, or is a truth value.
            SympifyError: it is no expression at all.
        """
        self.expression: Expr = sp.sympify(expression, strict=True)
        if not isinstance(self.expression, Expr) or self.expression.has(sp.Float):
            raise TypeError(f"a symbolic batch holds exact values. Received: {type(expression).__name__} {expression}")
        self.per_element = i in self.expression.free_symbols if per_element is None else per_element

    def __repr__(self) -> str:
        return f"SymbolicBatch({self.expression}, per_element={self.per_element})"

    def __add__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: a + b)

    def __radd__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: b + a)

    def __sub__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: a * b)

    def __rmul__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: b * a)

    def __truediv__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> "SymbolicBatch":
        return self._combined(other, lambda a, b: b / a)

    def __pow__(self, exponent: Any) -> "SymbolicBatch":
        """A whole or half power."""
        return SymbolicBatch(self.expression ** Rational(exponent), per_element=self.per_element)

    def __neg__(self) -> "SymbolicBatch":
        return SymbolicBatch(-self.expression, per_element=self.per_element)

    def __pos__(self) -> "SymbolicBatch":
        return self

    def _combined(self, other: Any, operation: Callable[[Expr, Expr], Expr]) -> "SymbolicBatch":
        value = lifted(other)
        return SymbolicBatch(
            operation(self.expression, value.expression), per_element=self.per_element or value.per_element
        )

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(
            "a formula must not compare the values of a batch, or branch on them: it would hold for some batches only"
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __hash__ = _refuse
    # float(), int(), len() and iteration raise TypeError by themselves; defining them would make SymPy try them.


def lifted(value: Any) -> SymbolicBatch:
    """``value`` as a symbolic batch; a number or an expression without i is a value per channel."""
    return value if isinstance(value, SymbolicBatch) else SymbolicBatch(value)


def _per_element(value: Any) -> SymbolicBatch:
    value = lifted(value)
    if not value.per_element:
        raise TypeError(f"{value.expression} is a value per channel: there is nothing to sum over the batch")
    return value


class SymbolicOperations:
    """The ``Operations`` of one symbolic batch, plain or with weights w_i.

    ``conditions`` collects the denominators and radicands met on the way, before SymPy can cancel them; ``constants``
    the symbols that stand for values held constant, with those values; ``clips`` what was clipped.
    """

    def __init__(self, *, weighted: bool = False) -> None:
        self.weighted = weighted
        self.conditions: set[Condition] = set()
        self.constants: dict[Symbol, Expr] = {}
        self.clips: list[Clip] = []

    def sum(self, value: Any) -> SymbolicBatch:
        """Σ over the elements, whatever their weights.

        Raises:
            TypeError: ``value`` is one a channel already; on a tensor such a sum could pass unseen.
        """
        return SymbolicBatch(over_batch(_per_element(value).expression), per_element=False)

    def sum_of_products(self, a: Any, b: Any) -> SymbolicBatch:
        """Σ a·b over the elements."""
        return self.sum(a * b)

    def over_replicas(self, *sums: Any) -> tuple[Any, ...]:
        """The sums as they are: this batch is whole."""
        return sums

    def mean(self, value: Any) -> SymbolicBatch:
        """Σ share·value.

        Raises:
            TypeError: as for ``sum``.
        """
        return self.sum(_per_element(value) * self.share())

    def near_mean(self, value: Any) -> SymbolicBatch:
        """The mean; formulas use it only as a constant, which may be any."""
        return self.mean(value)

    def share(self) -> SymbolicBatch:
        """1/m, or w_i/Σw."""
        if not self.weighted:
            return SymbolicBatch(1 / m)
        weight = over_batch(w[i])
        self.conditions.add(Condition(weight, "≠ 0"))
        return SymbolicBatch(w[i] / weight)

    def squared_difference(self, a: Any, b: Any) -> SymbolicBatch:
        """(a − b)²."""
        difference = lifted(a) - b
        return difference * difference

    def inverse_root(self, value: Any) -> SymbolicBatch:
        """value^(−1/2), for values above 0; that it is 0 at 0 is a convention of its own (equation 14)."""
        value = lifted(value)
        self.conditions.add(Condition(value.expression, "> 0"))
        return SymbolicBatch(value.expression ** Rational(-1, 2), per_element=value.per_element)

    def finite(self, value: Any, otherwise: Any) -> SymbolicBatch:
        """The value: every real number is finite."""
        return lifted(value)

    def or_else(self, value: Any, fallback: Any) -> SymbolicBatch:
        """The value: that an element counts, Σ w ≠ 0, is a condition of every share."""
        return lifted(value)

    def clip(self, value: Any, low: Any, high: Any) -> SymbolicBatch:
        """A function of which nothing is known: a new symbol, whose arguments ``clips`` keeps for claims about them."""
        if low is None and high is None:
            return lifted(value)
        self.clips.append(Clip(value, low, high))
        return self.constant(value)

    def regular(self, value: Any) -> SymbolicBatch:
        """The value: every real number is finite."""
        return lifted(value)

    def scaled(self, value: Any, factor: Any) -> SymbolicBatch:
        """value · factor."""
        return lifted(value) * factor

    def constant(self, value: Any) -> SymbolicBatch:
        """A new symbol: what is proved with it holds for every constant, not only for the one at hand.

        Raises:
            TypeError: ``value`` is one an element.
        """
        value = lifted(value)
        if value.per_element:
            raise TypeError(f"only a value per channel may be held constant. Received: {value.expression}")
        symbol = sp.Dummy("c", real=True)
        self.constants[symbol] = value.expression
        return SymbolicBatch(symbol)
