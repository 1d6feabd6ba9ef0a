"""Progress of long work: commands show it by ``rich``, which Keras brings along; functions of the library by Keras."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# Seconds that a function of the library may take without a word.
PATIENCE = 2.0


class Step:
    """A step of a command that has begun; ``result`` ends its line, and ``advance`` says that a part of it is done."""

    result = ""

    def __init__(self, advance: Callable[[], None]) -> None:
        self.advance = advance


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def step(label: str, parts: int | None = None) -> Iterator[Step]:
    """On a terminal a bar while the block works; in its place, and in a file, the label and the result at the end."""
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    bar = Progress(*(columns if parts else (*columns[:2], columns[3])), transient=True, console=Console())
    task = bar.add_task(label, total=parts)
    current = Step(lambda: bar.advance(task))
    if bar.console.is_terminal:
        with bar:
            yield current
    else:
        yield current
    say(f"{label} {current.result}".rstrip())


@contextmanager
def task(label: str, parts: int | None, unit: str) -> Iterator[Callable[[], None]]:
    """Say nothing of a task that is done within two seconds; of a longer one, show the bar that ``fit`` shows.

    Yields what is to be called after each part. ``keras.config.disable_interactive_logging()`` silences it.
    """
    # In a file Keras' bar would be a heap of control characters; there it says one line at the end.
    is_seen = sys.stdout.isatty() or "ipykernel" in sys.modules
    bar = keras.utils.Progbar(parts, verbose=1 if is_seen else 2, unit_name=unit)
    silent = not keras.config.is_interactive_logging_enabled()
    start, done, begun = time.monotonic(), 0, False

    def advance() -> None:
        nonlocal done, begun
        done += 1
        if silent or time.monotonic() - start < PATIENCE:
            return
        if not begun:
            say(label)
        begun = True
        bar.update(done, finalize=False)

    yield advance
    if begun:
        bar.update(done, finalize=True)
