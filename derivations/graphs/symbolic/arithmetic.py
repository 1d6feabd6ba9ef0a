"""The operations that act on data element by element: which of them may act on what has still to be summed, and how."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sympy import Expr, Rational, S

from derivations.graphs.symbolic import axes
from derivations.graphs.symbolic.axes import Sizes, Tensor
from derivations.graphs.symbolic.sizes import Value, as_data
from derivations.graphs.walk import UnknownGraph

POSITIVE = "v + ε > 0"


class Arithmetic:
    """Methods ``_<Type>`` for arithmetic; ``conditions`` collects the denominators before SymPy can cancel them."""

    assume: Callable[[str], None]

    def __init__(self) -> None:
        self.sizes = Sizes()
        self.conditions: list[tuple[Tensor, str]] = []

    def elementwise(self, function: Callable[..., Expr], *values: Value) -> Tensor:
        return axes.elementwise(function, *map(as_data, values), sizes=self.sizes)

    def of_known(self, function: Callable[..., Expr], *values: Value) -> Tensor:
        """A function that is not linear: not of what has still to be summed."""
        if not any(isinstance(value, Tensor) for value in values):
            raise UnknownGraph(
                "a power of a size, in integers, which may wrap round; cast to a floating-point type first"
            )
        if any(as_data(value).pending for value in values):
            raise UnknownGraph("only sums and multiples of what has still to be summed over a part of its axes")
        return self.elementwise(function, *values)

    def _summed_up(self, function: Callable[..., Expr], *values: Value) -> Value:
        """A sum or a difference: either of all or of none is something still to be summed."""
        if not any(isinstance(value, Tensor) for value in values):
            return np.asarray(function(*values), dtype=object)
        data = [as_data(value) for value in values]
        if any(t.pending for t in data) and not all(t.pending or t.expression == 0 for t in data):
            raise UnknownGraph("the sum of what has still to be summed and of what has not")
        result = self.elementwise(function, *data)
        return replace(result, expression=axes.joined(result.expression, set(self.sizes.heads.values())))

    def _multiple(self, function: Callable[..., Expr], *values: Value) -> Value:
        """A product or a quotient: of what has still to be summed with what is constant over the sum alone."""
        if not any(isinstance(value, Tensor) for value in values):
            if function is not _times:
                raise UnknownGraph("a quotient of sizes that is not rounded")
            return np.asarray(function(*values), dtype=object)
        data = [as_data(value) for value in values]
        for one, other in (data, data[::-1]):
            if one.pending:
                summed = {n - len(one.axes) for n, axis in enumerate(one.axes) if axis.index in one.pending}
                if other.pending or any(n - len(other.axes) in summed for n in other.varies()):
                    raise UnknownGraph("what has still to be summed, times what is not constant over the sum")
        if function is not _times:
            if data[1].pending:
                raise UnknownGraph("a quotient by what has still to be summed")
            self.require(data[1], "≠ 0")
        return self.elementwise(function, *data)

    def _AddV2(self, operation: Any, a: Value, b: Value) -> Value:
        return self._summed_up(lambda p, q: p + q, a, b)

    def _AddN(self, operation: Any, *values: Value) -> Value:
        return self._summed_up(lambda *terms: sum(terms[1:], terms[0]), *values)

    def _Sub(self, operation: Any, a: Value, b: Value) -> Value:
        return self._summed_up(lambda p, q: p - q, a, b)

    def _Neg(self, operation: Any, a: Value) -> Value:
        return self._summed_up(lambda p: -p, a)

    def _Mul(self, operation: Any, a: Value, b: Value) -> Value:
        return self._multiple(_times, a, b)

    def _MulNoNan(self, operation: Any, a: Value, b: Value) -> Value:
        self.assume(POSITIVE)
        return self._multiple(_times, a, b)

    def _RealDiv(self, operation: Any, a: Value, b: Value) -> Value:
        return self._multiple(_over, a, b)

    def _DivNoNan(self, operation: Any, a: Value, b: Value) -> Value:
        self.assume(POSITIVE)
        return self._multiple(_over, a, b)

    def _Reciprocal(self, operation: Any, a: Value) -> Value:
        return self._multiple(_over, Tensor((), S.One), a)

    def _ReciprocalGrad(self, operation: Any, y: Value, dy: Value) -> Tensor:
        return self.of_known(lambda p, q: -q * p**2, y, dy)

    def _Square(self, operation: Any, a: Value) -> Tensor:
        return self.of_known(lambda p: p * p, a)

    def _SquaredDifference(self, operation: Any, a: Value, b: Value) -> Tensor:
        return self.of_known(lambda p, q: (p - q) * (p - q), a, b)

    def _Sqrt(self, operation: Any, a: Value) -> Tensor:
        return self._power(a, Rational(1, 2))

    def _Rsqrt(self, operation: Any, a: Value) -> Tensor:
        return self._power(a, Rational(-1, 2))

    def _Pow(self, operation: Any, a: Value, b: Value) -> Tensor:
        exponent = as_data(b)
        twice = 2 * exponent.expression
        if not twice.is_Integer or abs(twice) > 64:
            raise UnknownGraph("Pow by something else than a constant multiple of ½")
        power = self._power(a, exponent.expression)
        return self.elementwise(lambda p, _: p, power, replace(exponent, expression=S.Zero))

    def _power(self, a: Value, exponent: Rational) -> Tensor:
        if not exponent.is_Integer:
            self.require(as_data(a), "> 0" if exponent.is_negative else "≥ 0")
        elif exponent.is_negative:
            self.require(as_data(a), "≠ 0")
        return self.of_known(lambda p: p**exponent, a)

    def _SqrtGrad(self, operation: Any, y: Value, dy: Value) -> Tensor:
        self.require(as_data(y), "≠ 0")
        return self.of_known(lambda p, q: q / (2 * p), y, dy)

    def _RsqrtGrad(self, operation: Any, y: Value, dy: Value) -> Tensor:
        return self.of_known(lambda p, q: -q * p**3 / 2, y, dy)

    def require(self, data: Tensor, relation: str) -> None:
        """What was computed is defined only where this holds.

        Raises:
            UnknownGraph: it holds nowhere.
        """
        e = data.expression
        if e.is_number:
            if e.is_zero and relation != "≥ 0":
                raise UnknownGraph("a division by 0")
            if e.is_negative and relation != "≠ 0":
                raise UnknownGraph(f"the root of {e}")
        if not (e.is_number or e.is_positive):
            self.conditions.append((data, relation))

    _Add, _Div, _Inv = _AddV2, _RealDiv, _Reciprocal
    _InvGrad = _ReciprocalGrad


def _times(a: Any, b: Any) -> Any:
    return a * b


def _over(a: Any, b: Any) -> Any:
    return a / b
