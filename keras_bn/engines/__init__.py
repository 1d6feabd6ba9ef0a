"""Interchangeable ways to evaluate the same formulas on tensors."""
