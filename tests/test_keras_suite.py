"""Keras' own tests of its layer, run against ours."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

SUITE = "keras.src.layers.normalization.batch_normalization_test"

# Their tests that enshrine a defect of the built-in layer, with the reason; at most three.
DESELECTED: dict[str, str] = {}


@pytest.mark.slow
@pytest.mark.skipif(find_spec(SUITE) is None, reason="this version of Keras ships no tests (3.14 does not, 3.15 does)")
def test_keras_own_tests_pass():
    assert len(DESELECTED) <= 3
    options = [option for name in DESELECTED for option in ("--deselect", f"{SUITE}::{name}")]
    # Without the project's configuration: Keras' tests give warnings, which are errors here.
    module = [sys.executable, "-m", "tests.keras_suite_with_our_layer"]
    found = subprocess.run(
        [*module, "-q", "-p", "no:cacheprovider", "-c", "/dev/null", *options, "--pyargs", SUITE],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout[-4000:]
    passed = re.search(r"(\d+) passed", found.stdout)
    assert passed is not None
    assert int(passed[1]) >= 30, "Keras 3.15 has 33 tests"
