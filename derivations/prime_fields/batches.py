"""A batch of field elements: the ``Operations`` of the formulas on dual numbers over a prime field.

The functions that TensorFlow runs on tensors run here on exact values, of one channel; what they return is compared
with the textbook's at random points, which decides identities (``finite_field``).
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from derivations.notation.worlds import Clip
from derivations.prime_fields.dual_numbers import Dual


class FieldBatch:
    """A value per element, or one per channel. Comparison and truth are errors, as for a symbolic batch."""

    def __init__(
        self, entries: Sequence[Dual], per_element: bool, inverse_root: Callable[[Dual], Dual] | None = None
    ) -> None:
        self.entries, self.per_element = list(entries), per_element
        self._inverse_root = inverse_root

    def _combined(self, other: Any, operation: Callable[[Any, Any], Dual]) -> "FieldBatch":
        if not isinstance(other, FieldBatch):
            return FieldBatch([operation(entry, other) for entry in self.entries], self.per_element, self._inverse_root)
        size = max(len(self.entries), len(other.entries)) if self.per_element or other.per_element else 1
        left, right = (value.entries if value.per_element else value.entries * size for value in (self, other))
        return FieldBatch(
            [operation(a, b) for a, b in zip(left, right, strict=True)],
            self.per_element or other.per_element,
            self._inverse_root or other._inverse_root,
        )

    def __add__(self, other: Any) -> "FieldBatch":
        return self._combined(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> "FieldBatch":
        return self._combined(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> "FieldBatch":
        return self._combined(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> "FieldBatch":
        return self._combined(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> "FieldBatch":
        return self._combined(other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> "FieldBatch":
        return self._combined(other, lambda a, b: b / a)

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, exponent: Any) -> "FieldBatch":
        """A whole power, or a half one of what was computed from given values."""
        if exponent == int(exponent):
            return FieldBatch([entry ** int(exponent) for entry in self.entries], self.per_element)
        if self._inverse_root is None or 2 * exponent != int(2 * exponent):
            raise TypeError(f"no exponent {exponent}")
        return FieldBatch([self._inverse_root(entry) ** int(-2 * exponent) for entry in self.entries], self.per_element)

    def __neg__(self) -> "FieldBatch":
        return self * -1

    def __pos__(self) -> "FieldBatch":
        return self

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a formula must not compare the values of a batch, or branch on them")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __hash__ = _refuse


class FieldOperations:
    """The ``Operations`` of one batch, plain or with weights.

    Args:
        size: The elements' number, as a number of the field.
        weights: None, or one an element.
        inverse_root: value^(−1/2) of a number of the field.
        constants: What ``constant`` returns, call by call: like a symbolic batch, it puts any constant for the value.
    """

    def __init__(
        self,
        size: Dual,
        weights: Sequence[Dual] | None,
        inverse_root: Callable[[Dual], Dual],
        constants: Sequence[Dual] = (),
    ) -> None:
        self._share = FieldBatch([1 / size], False)
        if weights is not None:
            everything = sum(weights[1:], weights[0])
            self._share = FieldBatch([weight / everything for weight in weights], True)
        self._inverse_root = inverse_root
        self._constants = iter(constants)
        self.held: list[Any] = []  # the values for which a constant was put
        self.clips: list[Clip] = []

    def sum(self, value: Any) -> FieldBatch:
        """Σ over the elements."""
        if not isinstance(value, FieldBatch) or not value.per_element:
            raise TypeError("a value per channel: there is nothing to sum over the batch")
        return FieldBatch([sum(value.entries[1:], value.entries[0])], False, self._inverse_root)

    def sum_of_products(self, a: Any, b: Any) -> FieldBatch:
        """Σ a·b over the elements."""
        return self.sum(a * b)

    def over_replicas(self, *sums: Any) -> tuple[Any, ...]:
        """The sums as they are: this batch is whole."""
        return sums

    def mean(self, value: Any) -> FieldBatch:
        """Σ share·value."""
        if not isinstance(value, FieldBatch) or not value.per_element:
            raise TypeError("a value per channel: there is nothing to sum over the batch")
        return self.sum(value * self.share())

    def near_mean(self, value: Any) -> FieldBatch:
        """The mean; formulas use it only as a constant, which may be any."""
        return self.mean(value)

    def share(self) -> FieldBatch:
        """1/m, or w/Σw."""
        return self._share

    def squared_difference(self, a: Any, b: Any) -> FieldBatch:
        """(a − b)²."""
        return (a - b) * (a - b)

    def inverse_root(self, value: Any) -> FieldBatch:
        """value^(−1/2)."""
        return FieldBatch([self._inverse_root(entry) for entry in value.entries], value.per_element, self._inverse_root)

    def finite(self, value: Any, otherwise: Any) -> Any:
        """The value: every number is finite."""
        return value

    def or_else(self, value: Any, fallback: Any) -> Any:
        """The value: some element counts."""
        return value

    def clip(self, value: Any, low: Any, high: Any) -> Any:
        """The value if there are no bounds; else the next constant."""
        if low is None and high is None:
            return value
        self.clips.append(Clip(value, low, high))
        return self.constant(value)

    def regular(self, value: Any) -> Any:
        """The value: every number is finite."""
        return value

    def scaled(self, value: Any, factor: Any) -> Any:
        """value · factor."""
        return value * factor

    def constant(self, value: Any) -> FieldBatch:
        """The next constant, in place of the value.

        Raises:
            StopIteration: a function asked for more constants than it did of the symbolic batch.
        """
        self.held.append(value)
        return FieldBatch([next(self._constants)], False, self._inverse_root)
