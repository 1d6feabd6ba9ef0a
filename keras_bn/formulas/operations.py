"""The few operations that a formula may use, besides ``+ - *``."""

from typing import Any, Protocol

# A tensor, a symbolic batch, an array of field elements: whatever the operations at hand work on.
Value = Any


class Operations(Protocol):
    """One batch of elements that share statistics, and how its values are summed.

    Axes, masks, ghost batches and replicas differ only in these sums and shares; the formulas do not know which kind of
    batch they are given. Values per element broadcast against values per channel.
    """

    def sum(self, value: Value) -> Value:
        """Σ over every element, whatever its weight."""

    def mean(self, value: Value) -> Value:
        """Σ w·value / Σ w; without weights, Σ value / m."""

    def share(self) -> Value:
        """w / Σ w, an element's share in the statistics; without weights, 1 / m."""

    def squared_difference(self, a: Value, b: Value) -> Value:
        """(a − b)²."""

    def rsqrt(self, value: Value) -> Value:
        """value^(−1/2)."""

    def constant(self, value: Value) -> Value:
        """A constant near the value. Formulas use it only where they hold for every constant."""
