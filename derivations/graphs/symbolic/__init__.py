"""A graph interpreted on tensors with symbolic axes: its outputs as expressions, for every batch size."""
