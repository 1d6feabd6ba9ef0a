"""Keeps what TensorFlow writes while it is imported off the terminal of a command.

TensorFlow writes to file descriptor 2 from C++ code that no environment variable silences altogether. The descriptor is
therefore held back around the import, and what was written is shown only if the import failed.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; write it there after all if the block raises."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
