"""Settings that every test shares."""

import os

# Before TensorFlow is imported by any test: its start-up messages would bury pytest's own.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import keras
import pytest
import tensorflow as tf

# Replicas on one machine, for the tests of tf.distribute; TensorFlow takes this before its first operation only.
REPLICAS = 4
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * REPLICAS
)

# Deterministic examples: a red build is red again when it is looked into.
hypothesis.settings.register_profile("keras_bn", deadline=None, derandomize=True)
hypothesis.settings.load_profile("keras_bn")


@pytest.fixture(autouse=True)
def fresh_keras() -> None:
    """The same initial weights, shuffles and dtypes in every run, whatever ran before."""
    keras.utils.set_random_seed(0)
    keras.config.set_floatx("float32")
    # Keras keeps the policy that it made of an earlier floatx.
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def float64(fresh_keras: None) -> None:
    """Models, losses and metrics in float64; what comes next starts in float32 again."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update", action="store_true", help="rewrite derivations/REPORT.md, and the README's links to tests"
    )
