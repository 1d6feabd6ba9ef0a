"""What the functions of students import from a module of their own."""

import numpy as np


def softmax(z):
    """As it is written so that nothing overflows."""
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def centred(x):
    """Made by NumPy's creators, which have nothing to dispatch on."""
    return x - np.ones((x.shape[0], 1)) * x.mean(axis=0)
