"""Backward from the output of an activation: the input x is not kept, but recovered from what came out (equation 10).

φ is a leaky ReLU, φ(y) = a·y, where a > 0 is its slope at the element. What an element is apart from its mean follows
from y = γ·s·(x − μ) + β, for γ ≠ 0; then ``training.backward`` goes on as if x had been kept.
"""

from keras_bn.formulas.operations import Value


def before_activation(d_out: Value, out: Value, slope: Value) -> tuple[Value, Value]:
    """δ = ∂L/∂y and y, for the cotangent of φ(y), φ(y) itself, and the slope a of φ at each element."""
    return slope * d_out, out / slope


def residual(y: Value, gamma: Value, beta: Value, inv_std: Value) -> Value:
    """x − μ = (y − β) / (γ·s)."""
    return (y - beta) / (gamma * inv_std)
