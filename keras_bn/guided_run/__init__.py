"""The guided run, ``python -m keras_bn``: check the gradients, train on real data, compare, draw.

Nothing here proves anything or knows SymPy; ``keras_bn/__main__.py`` brings the proofs and the derived expressions.
"""
