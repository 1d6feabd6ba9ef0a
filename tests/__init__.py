"""Verification of keras_bn and derivations; ``python -m tests.benchmarks`` measures."""
