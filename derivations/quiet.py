"""Keeps TensorFlow's start-up chatter off the terminal of a command.

TensorFlow writes to file descriptor 2 while it is imported and first used, from C++ code that no environment variable
silences altogether. A command therefore holds that descriptor back and shows what was written only if it failed.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# The variable that TensorFlow's logging reads; 3 leaves errors that end the process.
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextmanager
def held_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; write it there after all if the block raises.

    Leaving by ``SystemExit`` is no failure: a command that exits has said what it had to say.
    """
    os.environ.setdefault(_LEVEL, "3")
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except SystemExit:
            raise
        except BaseException:
            sys.stderr.flush()
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
