"""Which way the user's code took: instruction by instruction, so that one run can be compared with another.

A proof for every size rests on the code's doing the same at every size. What asks for types, texts or exceptions might
see through the arrays of unknown sizes, and then take another way than with NumPy's.
"""

import dis
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from derivations.own_code.refusal import is_ours, short

_LIBRARIES = tuple({sysconfig.get_paths()["stdlib"], *site.getsitepackages(), site.getusersitepackages()})
Step = tuple[CodeType, int]  # an instruction; −1 where a function begins


class Way:
    """The instructions of user code in the order in which they were executed."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._of_user: dict[CodeType, bool] = {}

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Within this, the way is written down."""
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code not in self._of_user:
            file = code.co_filename
            module = str(frame.f_globals.get("__name__", ""))  # for methods that dataclasses generate
            self._of_user[code] = not (
                is_ours(file) or file.startswith(_LIBRARIES) or module.startswith(("derivations.", "numpy."))
            )
        if not self._of_user[code]:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.steps.append((code, -1))
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            self.steps.append((frame.f_code, frame.f_lasti))
        return self._step

    def parts_from(self, other: "Way") -> str:
        """``file:line`` where the two ways part; empty if they do not."""
        if self.steps == other.steps:
            return ""
        together = 0
        for one, two in zip(self.steps, other.steps, strict=False):
            if one != two:
                break
            together += 1
        return _place(self.steps[max(together - 1, 0)]) if self.steps else "the code"


def _place(step: Step) -> str:
    code, offset = step
    line = max((line for start, line in dis.findlinestarts(code) if line and start <= max(offset, 0)), default=0)
    return f"{short(str(Path(code.co_filename)))}:{line or code.co_firstlineno}"
