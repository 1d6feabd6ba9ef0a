"""The kernels that multiply and sum at once: products of matrices, a filter's gradient, fused batch normalization."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import sympy as sp
from sympy import Expr, Rational, S

from derivations.graphs import kernel_axioms
from derivations.graphs.kernel_axioms import check_pointwise
from derivations.graphs.symbolic import axes
from derivations.graphs.symbolic.arithmetic import Arithmetic
from derivations.graphs.symbolic.axes import Tensor
from derivations.graphs.symbolic.sizes import SideBySide, Value, as_data, integers
from derivations.graphs.walk import UnknownGraph


class Kernels(Arithmetic):
    """Methods ``_<Type>`` for kernels; ``epsilon`` are symbols for the numbers that they add to the variance."""

    epsilon: Mapping[float, Expr]
    _Maximum: Callable[..., Value]

    def _MatMul(self, operation: Any, a: Value, b: Value) -> Tensor:
        a_flipped, b_flipped = (operation.get_attr(f"transpose_{name}") for name in "ab")
        return self._product_of_matrices(as_data(a), as_data(b), a_flipped, b_flipped)

    def _BatchMatMulV2(self, operation: Any, a: Value, b: Value) -> Tensor:
        a_flipped, b_flipped = (operation.get_attr(f"adj_{name}") for name in "xy")
        return self._product_of_matrices(as_data(a), as_data(b), a_flipped, b_flipped)

    def _product_of_matrices(self, a: Tensor, b: Tensor, a_flipped: bool, b_flipped: bool) -> Tensor:
        """Σ_k a_ik·b_kj, over the last two axes."""
        (*batch, rows, inner), (*others, outer, columns) = a.axes, b.axes
        if a_flipped:
            rows, inner = inner, rows
        if b_flipped:
            outer, columns = columns, outer
        if inner.size != outer.size:
            raise UnknownGraph(f"a product of matrices of the sizes {a.sizes()} and {b.sizes()}")
        left = replace(a, axes=(*batch, rows, inner, axes.ONE))
        right = replace(b, axes=(*others, axes.ONE, outer, columns))
        return axes.summed(self.of_known(lambda p, q: p * q, left, right), [-2], keep=False)

    def _Einsum(self, operation: Any, *values: Value) -> Tensor:
        """Σ over the letters that the result lacks, of two factors at most."""
        inputs, _, output = operation.get_attr("equation").decode().partition("->")
        terms, letters = inputs.split(","), sorted(set(inputs) - {","})
        if "." in inputs or len(values) > 2 or any(len(set(term)) < len(term) for term in terms):
            raise UnknownGraph("an Einsum with an ellipsis, a diagonal or three factors; without them it is one")
        sizes: dict[str, Any] = {}
        for value, term in zip(values, terms, strict=True):
            for letter, size in zip(term, as_data(value).sizes(), strict=True):
                if sizes.setdefault(letter, size) != size:
                    raise UnknownGraph(f"an Einsum of axes {letter} of the sizes {sizes[letter]} and {size}")
        spread = [_spread(as_data(value), term, letters) for value, term in zip(values, terms, strict=True)]
        product = self.of_known(lambda p, *q: p * sp.Mul(*q), *spread)
        total = axes.summed(product, [n for n, letter in enumerate(letters) if letter not in output], keep=False)
        kept = [letter for letter in letters if letter in output]
        return replace(total, axes=tuple(total.axes[kept.index(letter)] for letter in output))

    def _DepthwiseConv2dNativeBackpropFilter(self, operation: Any, x: Any, sizes: Value, dy: Any) -> SideBySide:
        """Σ x·δ over all axes but that of the channels, for a filter of one weight a channel."""
        if not isinstance(x, SideBySide) or not isinstance(dy, SideBySide):
            raise UnknownGraph(f"{operation.name} of other data than rows side by side")
        check_pointwise(operation, integers(sizes), sp.Mul(*x.tensor.sizes()[-2:]))
        product = self.of_known(lambda p, q: p * q, x.tensor, dy.tensor)
        return SideBySide(axes.summed(product, range(3), keep=True))

    def _FusedBatchNormV3(
        self, operation: Any, x: Value, scale: Value, offset: Value, mean: Value, variance: Value
    ) -> tuple[Any, ...]:
        self.assume(kernel_axioms.axiom(operation))
        epsilon = self._epsilon_of(operation)
        return kernel_axioms.forward(operation, self._kernel(), x, scale, offset, mean, variance, epsilon)

    def _FusedBatchNormGradV3(
        self, operation: Any, dy: Value, x: Value, scale: Value, *reserved: Any
    ) -> tuple[Any, ...]:
        self.assume(kernel_axioms.axiom(operation))
        return kernel_axioms.backward(operation, self._kernel(), dy, x, scale, reserved, self._epsilon_of(operation))

    def _epsilon_of(self, operation: Any) -> Expr:
        number = float(operation.get_attr("epsilon"))
        return self.epsilon.get(number, Rational(Fraction(number)))

    def _kernel(self) -> kernel_axioms.Kernel:
        def count(value: Tensor) -> Expr:
            return sp.Mul(*value.sizes()[:-1])

        def total(value: Tensor) -> Tensor:
            return axes.summed(value, range(len(value.axes) - 1), keep=False)

        def mean(value: Tensor) -> Tensor:
            summed = total(value)
            return replace(summed, expression=summed.expression / count(value))

        def unbiased(variance: Tensor, x: Tensor) -> Tensor:
            at_least_one = self._Maximum(None, Tensor((), count(x) - 1), Tensor((), S.One))
            return self.elementwise(lambda v, q: v * count(x) / q, variance, at_least_one)

        return kernel_axioms.Kernel(
            of=self.of_known,
            mean=mean,
            total=total,
            inverse_root=lambda value: self._Rsqrt(None, value),
            unbiased=unbiased,
        )


def _spread(value: Tensor, term: str, letters: Sequence[str]) -> Tensor:
    """The axes, named by letters, in the order of all letters; those that it lacks with one entry."""
    own = dict(zip(term, value.axes, strict=True))
    return replace(value, axes=tuple(own.get(letter, axes.ONE) for letter in letters))


def side_by_side(value: Tensor, target: Sequence[Expr]) -> SideBySide | None:
    """The tensor reshaped such that its last two axes, of different indices, are joined; None if it is not."""
    if len(value.axes) < 2:
        return None
    *others, rows, channels = value.axes
    if None in (rows.index, channels.index) or rows.index == channels.index:
        return None
    kept = [axis.size for axis in others if axis.size != 1]
    if [size for size in target[:-1] if size != 1] != kept or target[-1] != rows.size * channels.size:
        return None
    return SideBySide(axes.reshaped(value, [*target[:-1], rows.size, channels.size]))
