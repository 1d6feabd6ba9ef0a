"""The mathematics: plain functions over an ``Operations`` namespace.

Nothing here imports TensorFlow or SymPy. TensorFlow runs these functions on tensors; ``derivations`` runs the very same
functions on a batch of unknown size and proves them. Equation numbers are those of the README.
"""
