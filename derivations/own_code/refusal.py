"""What is not understood is refused, with the line of the user's code."""

import sys
from pathlib import Path
from types import FrameType

_HERE = str(Path(__file__).parent)


class NotUnderstood(ValueError):
    """The code does something of which nothing can be proved; the message says what, where, and what to do instead."""


def refusal(operation: str, rule: str) -> NotUnderstood:
    """The refusal of an operation, at the line of the user's code that is running."""
    place = line_of_user()
    return NotUnderstood(f"{place}: {operation} is not understood: {rule}" if place else f"{operation}: {rule}")


def short(file: str) -> str:
    """The name of a file; a notebook's cells have none that lasts."""
    return "cell" if "ipykernel" in file else Path(file).name


def line_of_user(full: bool = False) -> str:
    """``file:line`` of the innermost frame that is neither ours nor a library's; empty if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_HERE) and not any(f"{part}" in file for part in ("/numpy/", "/tensorflow/", "<frozen")):
            name = file if full else short(file)
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
