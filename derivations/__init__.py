"""Symbolic derivation and proof of the batch normalization gradients, for every batch size."""
