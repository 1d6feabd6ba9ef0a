"""Functions of TensorFlow: their graphs, run by NumPy's functions."""
