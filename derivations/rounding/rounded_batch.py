"""A batch in floating point: the ``Operations`` of the formulas on exact values with their rounding errors.

A computed value is exact + Σ coefficient·ε + rest. The ε are the roundings, unknown numbers of which a bound is known;
their coefficients are exact, so that they cancel where the formula makes them: an error of the mean moves the variance
in second order only. ``rest`` bounds everything of second order, which is kept, not dropped. The functions that
TensorFlow runs on tensors run here unchanged; what they return is a bound for every batch size.
"""

from dataclasses import dataclass, field
from typing import Any, NoReturn

from sympy import QQ

from derivations.rounding import lemmas
from derivations.rounding.magnitudes import ONE, ZERO, G, Poly, is_small, magnitude, number, text, truncated
from derivations.rounding.model import DIVISION, ROOT

u = G["u"]


@dataclass(frozen=True, eq=False)
class Rounding:
    """An unknown number ε, or one for each element; ``size`` bounds |ε|."""

    size: Poly
    per_element: bool


@dataclass(frozen=True, eq=False)
class RoundedBatch:
    """A value per element, or per channel: exact + Σ coefficient·ε + what is at most ``rest`` in absolute value."""

    exact: Poly
    per_element: bool
    terms: dict[Rounding, Poly] = field(default_factory=dict)
    rest: Poly = ZERO

    __array_ufunc__ = None

    @property
    def error(self) -> Poly:
        """A bound of |computed − exact|, of order u² at most."""
        return truncated(sum((magnitude(c) * rounding.size for rounding, c in self.terms.items()), self.rest))

    @property
    def is_zero(self) -> bool:
        return not (self.exact or self.terms or self.rest)

    def rounded(self, size: Poly = u) -> "RoundedBatch":
        """The value times 1 + ε, |ε| ≤ size."""
        if self.is_zero:
            return self
        terms = {**self.terms, Rounding(size, self.per_element): self.exact}
        return RoundedBatch(self.exact, self.per_element, terms, truncated(self.rest + self.error * size))

    def _plus(self, other: Any, sign: int) -> "RoundedBatch":
        b = lifted(other)
        if b.is_zero:
            return self
        if self.is_zero:
            return b if sign > 0 else -b
        terms = dict(self.terms)
        for rounding, coefficient in b.terms.items():
            terms[rounding] = terms.get(rounding, ZERO) + sign * coefficient
        per_element = self.per_element or b.per_element
        return RoundedBatch(self.exact + sign * b.exact, per_element, terms, self.rest + b.rest).rounded()

    def __add__(self, other: Any) -> "RoundedBatch":
        return self._plus(other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "RoundedBatch":
        return self._plus(other, -1)

    def __rsub__(self, other: Any) -> "RoundedBatch":
        return lifted(other) - self

    def __neg__(self) -> "RoundedBatch":
        return RoundedBatch(-self.exact, self.per_element, {r: -c for r, c in self.terms.items()}, self.rest)

    def __pos__(self) -> "RoundedBatch":
        return self

    def __mul__(self, other: Any) -> "RoundedBatch":
        b = lifted(other)
        product = self.times(b)
        return product if _is_power_of_two(self) or _is_power_of_two(b) else product.rounded()

    __rmul__ = __mul__

    def times(self, b: "RoundedBatch") -> "RoundedBatch":
        """The product, not yet rounded."""
        terms = {rounding: coefficient * b.exact for rounding, coefficient in self.terms.items()}
        for rounding, coefficient in b.terms.items():
            terms[rounding] = terms.get(rounding, ZERO) + coefficient * self.exact
        rest = magnitude(self.exact) * b.rest + magnitude(b.exact) * self.rest + self.error * b.error
        return RoundedBatch(self.exact * b.exact, self.per_element or b.per_element, terms, truncated(rest))

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a formula must not compare the values of a batch, or branch on them")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __hash__ = _refuse


def lifted(value: Any) -> RoundedBatch:
    """A number as a value without error."""
    return value if isinstance(value, RoundedBatch) else RoundedBatch(number(value), False)


def given(exact: Poly, *, per_element: bool = False) -> RoundedBatch:
    """A floating-point number that the formula is given: without error."""
    return RoundedBatch(exact, per_element)


def _is_power_of_two(value: RoundedBatch) -> bool:
    if value.terms or value.rest or not value.exact.is_ground:
        return False
    factor = abs(QQ(value.exact.coeff(1)))
    numerator, denominator = int(factor.numerator), int(factor.denominator)
    return bool(numerator) and numerator & (numerator - 1) == 0 and denominator & (denominator - 1) == 0


class RoundedOperations:
    """The ``Operations`` of one batch; its sums have the depth d, whatever their order.

    Args:
        weighted: Whether elements have weights that are numbers; those of a boolean mask multiply exactly.
        root: The relative error of an inverse root, in units of u.

    Its bounds hold where d·u·(1 + k)² ≤ 1/500, for every center within k standard deviations of the mean.
    """

    def __init__(self, *, weighted: bool = False, root: Any = ROOT) -> None:
        self.weighted, self.root = weighted, root

    def sum(self, value: Any) -> RoundedBatch:
        """Σ over the elements, whatever their weights."""
        return self._summed(_per_element(value), lemmas.total, lambda exact: lemmas.total(magnitude(exact)))

    def sum_of_products(self, a: Any, b: Any) -> RoundedBatch:
        """Σ a·b over the elements."""
        return self.sum(a * b)

    def over_replicas(self, *sums: Any) -> tuple[Any, ...]:
        """The sums as they are: what replicas add to each other counts in the depth."""
        return sums

    def mean(self, value: Any) -> RoundedBatch:
        """Σ share·value: a sum of depth d, divided by a count, or by a sum of weights of the same depth."""
        value = _per_element(value)
        if self.weighted:
            value = value.rounded()  # the product with the weight
        result = self._summed(value, lemmas.mean, lemmas.mean_of_absolute)
        result = result.rounded(DIVISION * u + u**2)
        return result.rounded(lemmas.of_divisor()) if self.weighted else result

    def _summed(self, value: RoundedBatch, exactly: Any, absolutely: Any) -> RoundedBatch:
        """An element's own roundings join to one, of which nothing but a bound is known; the others keep their sum."""
        bounded = lemmas.total if exactly is lemmas.total else lemmas.mean_magnitude
        terms: dict[Rounding, Poly] = {}
        for rounding, coefficient in value.terms.items():
            if rounding.per_element:
                terms[Rounding(absolutely(coefficient) * rounding.size, False)] = ONE
            else:
                terms[rounding] = exactly(coefficient)
        theta = lemmas.of_sum()
        terms[Rounding(absolutely(value.exact) * theta, False)] = ONE
        rest = bounded(truncated(value.rest + theta * value.error))
        return RoundedBatch(exactly(value.exact), False, terms, rest)

    def near_mean(self, value: Any) -> Any:
        """The value itself: formulas use a mean of few elements only as a constant, which may be any."""
        return value

    def constant(self, value: Any) -> RoundedBatch:
        """Any floating-point number c within k standard deviations of the mean: c = μ − κ."""
        return given(G["mu"] - G["k"])

    def share(self) -> RoundedBatch:
        """1/m, rounded once, or w/Σw."""
        one = given(G["share"], per_element=self.weighted).rounded()
        return one.rounded(lemmas.of_divisor()) if self.weighted else one

    def squared_difference(self, a: Any, b: Any) -> RoundedBatch:
        """(a − b)²."""
        difference = lifted(a) - b
        return difference * difference

    def inverse_root(self, value: Any) -> RoundedBatch:
        """value^(−1/2) for a value that means σ² = 1 (lemmas "root" and "reciprocal root").

        Raises:
            TypeError: it means something else, or has an error that may be large.
        """
        value = lifted(value)
        if value.exact != ONE:
            raise TypeError(f"the radicand means {value.exact} and not v + ε: there is no lemma on its root")
        eta = value.error
        if not is_small(eta):
            raise TypeError(f"the relative error of the radicand may be large: it is bounded by {text(eta)}")
        terms = {rounding: -coefficient / 2 for rounding, coefficient in value.terms.items()}
        rest = truncated(value.rest / 2 + eta**2 / 2)
        return RoundedBatch(ONE, value.per_element, terms, rest).rounded(self.root * u + 2 * u**2)

    def finite(self, value: Any, otherwise: Any) -> Any:
        """The value: every value is finite."""
        return value

    def or_else(self, value: Any, fallback: Any) -> Any:
        """The value: some element counts."""
        return value

    def scaled(self, value: Any, factor: Any) -> RoundedBatch:
        """value · factor."""
        return lifted(value) * factor

    def clip(self, value: Any, low: Any, high: Any) -> Any:
        """Nothing is known of a clipped value.

        Raises:
            TypeError: there are bounds.
        """
        if low is None and high is None:
            return value
        raise TypeError("there is no lemma on the error of a clipped value")

    def regular(self, value: Any) -> Any:
        """The value: every value is finite."""
        return value


def _per_element(value: Any) -> RoundedBatch:
    if not isinstance(value, RoundedBatch) or not value.per_element:
        raise TypeError("a value per channel: there is nothing to sum over the batch")
    return value
