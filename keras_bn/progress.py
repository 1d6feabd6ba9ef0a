"""Progress on a terminal, or in a file: no step is silent for long."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds between two dots of a step that is still at work.
INTERVAL = 1.0
# Seconds that a function of the library may take without a word.
PATIENCE = 2.0


class Step:
    """A step that has begun; ``result`` ends its line."""

    result = ""


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def step(label: str) -> Iterator[Step]:
    """Print ``label``, then a dot every second, and at the end the result: plain text, that a file can hold as well."""
    print(f"{label} ", end="", flush=True)
    current, done = Step(), threading.Event()

    def tick() -> None:
        while not done.wait(INTERVAL):
            print(".", end="", flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield current
    finally:
        done.set()
        ticker.join()
        say(f" {current.result}" if current.result else "")


class Task:
    """A task that has begun; ``detail`` says how far it is."""

    detail = ""


@contextmanager
def task(label: str) -> Iterator[Task]:
    """Say nothing of a task that is done within two seconds; of a longer one, ``label`` and then dots and details.

    Written to standard error: what a function of the library prints is not among the results of its caller.
    """
    current, done = Task(), threading.Event()

    def tick() -> None:
        shown, begun = "", False
        wait = PATIENCE
        while not done.wait(wait):
            detail = current.detail
            head = "" if begun else f"{label} "
            print(head + (f"[{detail}] " if detail and detail != shown else "."), end="", flush=True, file=sys.stderr)
            begun, shown, wait = True, detail, INTERVAL
        if begun:
            print(flush=True, file=sys.stderr)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield current
    finally:
        done.set()
        ticker.join()
