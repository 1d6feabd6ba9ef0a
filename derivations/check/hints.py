"""What may have been meant by a name, or a function, that formulas do not know."""

from collections.abc import Iterable
from difflib import get_close_matches
from keyword import iskeyword

from derivations.check import calls
from derivations.check.names import ALIASES, AMBIGUOUS, HINTS, PHRASES, WEIGHTS, Names

NO_CASES = "loops, cases and functions are not understood; write formulas and assignments"


def of_name(name: str, names: Names, assigned: Iterable[str]) -> str:
    """What to say of a name that is known to no one."""
    known = [*names.all, *assigned, "sum", "mean", "sqrt"]
    listed = f"known are {', '.join(known)}"
    if name in WEIGHTS:
        return f"there is no {name!r} without weights: w and W are known with --weighted"
    if iskeyword(name):
        return f"there is no {name!r}: {NO_CASES}"
    if sum(name.count(letter) for letter in "ᵢⱼₖ") > 1:
        return f"there is no {name!r}: write · between factors"
    if name.lower() in AMBIGUOUS:
        phrase = AMBIGUOUS[name.lower()]
        return f"there is no {name!r}: did you mean {phrase}? Say so in a line before, {name} = {phrase}; {listed}"
    spelled = [*known, *ALIASES, *PHRASES]
    close = get_close_matches(name, spelled, n=1, cutoff=0.75)
    meant = HINTS.get(name.lower()) or ALIASES.get(name.lower()) or next(iter(close), "")
    if name[0] == "d" and name[1:] in spelled:  # a gradient of something
        return f"there is no {name!r}: define it in a line before, {name} = …; {listed}"
    return f"there is no {name!r}: {f'did you mean {meant}? ' if meant else ''}{listed}"


def of_function(name: str) -> str:
    """What to say of a function that is known to no one."""
    if name in calls.REFUSED:
        return f"{name} is not understood: {calls.REFUSED[name]}"
    close = get_close_matches(name, calls.FUNCTIONS, n=1, cutoff=0.7)
    return (
        f"there is no function {name!r}: {f'did you mean {close[0]}? ' if close else ''}"
        f"known are sum, mean, sqrt, var, std and square, as in NumPy"
    )
