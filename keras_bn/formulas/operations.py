"""The few operations that a formula may use, besides ``+ - * /``."""

from typing import Any, Protocol

# A tensor, a symbolic batch, an array of field elements: whatever the operations at hand work on.
Value = Any


class Operations(Protocol):
    """One batch of elements that share statistics, and how its values are summed.

    Axes, masks, ghost batches and replicas differ only in these sums and shares; the formulas do not know which kind of
    batch they are given. Values per element broadcast against values per channel.
    """

    def sum(self, value: Value) -> Value:
        """Σ over every element at hand, whatever its weight."""

    def sum_of_products(self, a: Value, b: Value) -> Value:
        """Σ a·b over every element at hand."""

    def over_replicas(self, *sums: Value) -> tuple[Value, ...]:
        """Sums over the elements at hand, added up over the replicas that share the batch, if any do."""

    def mean(self, value: Value) -> Value:
        """Σ w·value / Σ w; without weights, Σ value / m."""

    def near_mean(self, value: Value) -> Value:
        """A value per channel near the mean: within a few standard deviations, and cheaper than the mean."""

    def share(self) -> Value:
        """w / Σ w, an element's share in the statistics; without weights, 1 / m."""

    def finite(self, value: Value, otherwise: Value) -> Value:
        """The value; ``otherwise`` where it is not finite and does not count."""

    def or_else(self, value: Value, fallback: Value) -> Value:
        """The value per channel; ``fallback`` where no element counts."""

    def squared_difference(self, a: Value, b: Value) -> Value:
        """(a − b)²."""

    def inverse_root(self, value: Value) -> Value:
        """value^(−1/2), and 0 where the value is 0 (equation 14)."""

    def scaled(self, value: Value, factor: Value) -> Value:
        """value · factor, which is 0 where the factor is, even if the value overflowed."""

    def clip(self, value: Value, low: Value | None, high: Value | None) -> Value:
        """The value, no less than ``low`` and no more than ``high``; None is no bound."""

    def regular(self, value: Value) -> Value:
        """The value per channel; 0 where it is not finite."""

    def constant(self, value: Value) -> Value:
        """``regular``, held constant by differentiation. Formulas use it only where they hold for every constant."""
