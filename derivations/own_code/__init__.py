"""A proof for the gradient of a user's own code: NumPy functions and TensorFlow operations."""
