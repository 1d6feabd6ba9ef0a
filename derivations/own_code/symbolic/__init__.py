"""The first proof: NumPy's arrays with unknown sizes, on which code runs unchanged."""
