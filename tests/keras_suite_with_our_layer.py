"""Run by ``test_keras_suite`` in a process of its own: Keras' tests of its layer, with ours in its place."""

import sys
from types import ModuleType

import keras
import pytest

import keras_bn


class _Layers(ModuleType):
    """``keras.layers`` as Keras' test module sees it, but for the layer under test."""

    BatchNormalization = keras_bn.BatchNormalization

    def __getattr__(self, name: str):
        return getattr(keras.layers, name)


class PutOursInPlace:
    """A pytest plugin that replaces the name ``layers`` in the collected module."""

    def pytest_pycollect_makemodule(self, module_path, parent):
        import keras.src.layers.normalization.batch_normalization_test as suite

        suite.layers = _Layers("layers")


if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:], plugins=[PutOursInPlace()]))
