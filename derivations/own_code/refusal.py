"""What is not understood is refused, with the line of the user's code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_HERE = str(Path(__file__).parent)


class NotUnderstood(ValueError):
    """The code does something of which nothing can be proved; the message says what, where, and what to do instead.

    may_be_refuted: whether that is a limit of the first proof alone, so that a counterexample is sought all the same.
    """

    may_be_refuted = False


_runs: list[list[NotUnderstood]] = []  # the refusals in each run that is going on


def refusal(operation: str, rule: str, *, may_be_refuted: bool = False) -> NotUnderstood:
    """The refusal of an operation, at the line of the user's code that is running."""
    place = line_of_user()
    error = NotUnderstood(f"{place}: {operation} is not understood: {rule}" if place else f"{operation}: {rule}")
    error.may_be_refuted = may_be_refuted
    if _runs:
        _runs[-1].append(error)
    return error


@contextmanager
def remembered() -> Iterator[None]:
    """A run of user code, which ends with its first refusal, whatever the code made of it.

    Code such as ``try: n = int(x.shape[0]) except Exception: n = …`` would otherwise go on with other values.
    """
    found: list[NotUnderstood] = []
    _runs.append(found)
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:
        if found:
            raise found[0] from None
        raise
    finally:
        _runs.pop()
    if found:
        raise found[0]


def asked_by_user(frames: int = 2) -> bool:
    """Whether user code is running, and it is what called a method of ours, directly or through a builtin."""
    return bool(_runs) and not is_ours(sys._getframe(frames).f_code.co_filename)


def is_ours(file: str) -> bool:
    """Whether this file is one of this folder's, or one of NumPy's, SciPy's or TensorFlow's."""
    return file.startswith(_HERE) or any(part in file for part in ("/numpy/", "/scipy/", "/tensorflow/", "<frozen"))


def short(file: str) -> str:
    """The name of a file; a notebook's cells have none that lasts."""
    return "cell" if "ipykernel" in file else Path(file).name


_operations: list[Any] = []  # of a TensorFlow graph, that are being run, one within another


@contextmanager
def running(operation: Any) -> Iterator[None]:
    """While an operation of a graph is run, the line of the user's code is where it was made."""
    _operations.append(operation)
    try:
        yield
    finally:
        _operations.pop()


def line_of_user(full: bool = False) -> str:
    """``file:line`` of the innermost frame that is neither ours nor a library's; empty if there is none."""
    for operation in reversed(_operations):
        if line := _line_of(operation, full):
            return line
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not is_ours(file):
            name = file if full else short(file)
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _line_of(operation: Any, full: bool = False) -> str:
    """``file:line`` of the user's code that made an operation; empty if it is not known."""
    frames = [
        f for f in operation.traceback or () if "site-packages" not in f.filename and "own_code" not in f.filename
    ]
    return f"{frames[-1].filename if full else short(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def refused_operation(operation: Any, rule: str) -> NotUnderstood:
    """The refusal of an operation of a graph, at the line of the user's code that made it."""
    line = _line_of(operation) or "the function"
    return NotUnderstood(f"{line}: TensorFlow's {operation.type} ({operation.name}) is not understood: {rule}")


class NoRandomNumbers:
    """In the place of ``numpy.random``."""

    def __getattr__(self, name: str) -> Any:
        raise refusal(f"numpy.random.{name}", "random numbers have no derivative; make them an input")
