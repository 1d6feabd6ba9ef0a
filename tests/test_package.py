"""What importing the packages does and does not do."""

import os
import subprocess
import sys
from types import ModuleType

import keras_bn


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, timeout=120
    )


def test_public_names_are_all():
    public = {name for name, value in vars(keras_bn).items() if not isinstance(value, ModuleType)}
    public = {name for name in public if not name.startswith("_")}
    assert set(keras_bn.__all__) == public | {"__version__"}
    assert sorted(keras_bn.__all__) == list(keras_bn.__all__)


def test_importing_the_layer_imports_no_symbolic_mathematics():
    found = python("import sys, keras_bn; print([m for m in ('sympy', 'derivations') if m in sys.modules])")
    assert found.stdout.strip() == "[]", found.stderr


def test_formulas_need_neither_tensorflow_nor_sympy():
    # The package's __init__ imports TensorFlow, so the formulas are loaded from their files alone.
    code = """
import importlib.machinery, sys, types
from pathlib import Path
root = Path("keras_bn").resolve()
for name, path in (("keras_bn", root), ("keras_bn.formulas", root / "formulas")):
    package = types.ModuleType(name)
    package.__path__ = [str(path)]
    sys.modules[name] = package
for file in sorted((root / "formulas").glob("*.py")):
    __import__(f"keras_bn.formulas.{file.stem}")
print([m for m in ("tensorflow", "keras", "sympy", "numpy") if m in sys.modules])
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=os.path.dirname(os.path.dirname(__file__))
    )
    assert found.stdout.strip() == "[]", found.stderr


def test_another_backend_is_refused_with_the_remedy():
    found = python("import keras_bn", KERAS_BACKEND="jax")
    assert found.returncode == 1
    assert "KERAS_BACKEND=jax" in found.stderr
    assert "export KERAS_BACKEND=tensorflow" in found.stderr


def test_the_command_can_be_found_without_tensorflow():
    code = "import sys; sys.argv, sys.orig_argv = ['-m'], ['python', '-m', {!r}]; import keras_bn; "
    code += "print('keras' in sys.modules)"
    assert python(code.format("keras_bn")).stdout.strip() == "False"
    # Another package whose command imports ours gets all of it.
    assert python(code.format("training")).stdout.strip() == "True"


def test_held_output_is_shown_only_on_failure():
    code = """
import os
from derivations.quiet import held_stderr
with held_stderr():
    os.write(2, b"chatter")
print("went on")
with held_stderr():
    os.write(2, b"reason")
    raise RuntimeError("failed")
"""
    found = python(code)
    assert found.stdout.strip() == "went on"
    assert "chatter" not in found.stderr
    assert "reason" in found.stderr
    assert "RuntimeError: failed" in found.stderr
