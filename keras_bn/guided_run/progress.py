"""Progress on a terminal, or in a file: no step is silent for long."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds between two dots of a step that is still at work.
INTERVAL = 1.0


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
