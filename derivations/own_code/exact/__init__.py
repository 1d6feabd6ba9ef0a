"""The second proof: NumPy's arrays of exact numbers that carry their derivatives."""
