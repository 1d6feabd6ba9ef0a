"""Settings that every test shares."""

import gc
import os
from collections.abc import Iterator

# Before TensorFlow is imported by any test: its start-up messages would bury pytest's own.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import pytest

MOST_PROCESSES = 4  # of which each needs a gigabyte and more
REPLICAS = 4  # on one machine, for the tests of tf.distribute

# Deterministic examples: a red build is red again when it is looked into.
hypothesis.settings.register_profile("keras_bn", deadline=None, derandomize=True)
hypothesis.settings.load_profile("keras_bn")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core where everything is run; none besides this one for what is named."""
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return 0
    config.option.dist = "worksteal"
    return min(os.cpu_count() or 1, MOST_PROCESSES)


def pytest_configure(config: pytest.Config) -> None:
    """Devices for the replicas, which TensorFlow takes before its first operation only.

    The process that only deals out tests to others does without TensorFlow, and so does this module until here.
    """
    if config.getoption("numprocesses") and not hasattr(config, "workerinput"):
        return
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * REPLICAS
    )


def pytest_collection_finish() -> None:
    """What was imported by now stays: the collections of garbage between modules need not look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_keras() -> None:
    """The same initial weights, shuffles and dtypes in every run, whatever ran before."""
    import keras

    keras.utils.set_random_seed(0)
    keras.config.set_floatx("float32")
    # Keras keeps the policy that it made of an earlier floatx.
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def float64(fresh_keras: None) -> None:
    """Models, losses and metrics in float64; what comes next starts in float32 again."""
    import keras

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")


@pytest.fixture(autouse=True, scope="module")
def forgotten_graphs() -> Iterator[None]:
    """What a module traced is freed before the next one: memory would grow by gigabytes otherwise.

    Of every function that calls another, and of every ``tf.custom_gradient``, TensorFlow registers the gradient under a
    numbered name, and with it keeps the graph for ever.
    """
    import keras
    from tensorflow.python.framework.ops import gradient_registry

    before = set(gradient_registry.list())
    yield
    for name in set(gradient_registry.list()) - before:
        if "-" in name:
            del gradient_registry._registry[name]
    keras.backend.clear_session()  # which collects garbage


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run everything: the quick run and the rest")
    parser.addoption("--rest", action="store_true", help="run what the quick run leaves out: about half an hour")
    parser.addoption(
        "--update",
        action="store_true",
        help="rewrite what is committed and made by the code: the report, tables in pages",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The quick run: no slow tests, and of a table as many cases as hold each value of each parameter once.

    A test that is named on the command line, by ``::``, is run as it stands, and so is what ``-m`` selects.
    """
    named = config.getoption("markexpr") or any("::" in argument for argument in config.args)
    if config.getoption("--all") or (named and not config.getoption("--rest")):
        return
    quick = quick_cases([item for item in items if not item.get_closest_marker("slow")])
    kept = [item for item in items if (item in quick) != config.getoption("--rest")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def quick_cases(items: list[pytest.Item]) -> set[pytest.Item]:
    """The first cases of each test that together hold every value of each of its parameters."""
    kept, met = set(), set()
    for item in items:
        test, parameters = item.nodeid.partition("[")[0], item.callspec.params if hasattr(item, "callspec") else {}
        # The cases of a table share the objects that are their values.
        values = {(test, name, id(value)) for name, value in parameters.items()} or {(test,)}
        if not values <= met:
            kept.add(item)
            met |= values
    return kept
