"""The second proof of a claim about a shipped graph: the graph is run, exactly, and compared with the textbook.

It is run at random points over prime fields, for batches of many sizes: small ones; so many and so large ones that a
difference of the degrees below cannot vanish at all of them (``prime_fields.examination``); and sizes on both sides of
every block in which sums are taken. Gradients are compared along a random direction, with what dual numbers give for
the textbook's loss: of two vectors that differ, the products with a random vector differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from derivations.graphs.exact.degrees import counted
from derivations.graphs.exact.points import Point, Sizes, nominal
from derivations.graphs.exact.run import ExactRun
from derivations.graphs.shipped import Graph, Traced
from derivations.graphs.walk import UnknownGraph
from derivations.prime_fields.arrays import FIELDS, Numbers
from derivations.prime_fields.dual_numbers import Degrees
from derivations.prime_fields.examination import Examination

# Settled for every size are differences of these degrees in the elements and in the size of the batch. The degree in
# all of a graph's own difference is counted, and must not be above this one.
DEGREES = Degrees(32, 7, 2000)
BOUND = 1e-6  # 2000/p, of one point at a size. Of two points in two fields, its square
_SMALL: dict[str, list[Sizes]] = {
    "rows": [(1,), (2,), (3,), *((m,) for m in range(33, 41)), (64,), (131,), (256,), (515,)],
    "channels_last": [
        (1, 1, 1), (2, 1, 3), (3, 11, 1), (2, 17, 1), (5, 7, 1), (2, 3, 6), (37, 1, 1), (1, 2, 19), (3, 1, 13),
        (2, 4, 5), (2, 16, 8), (3, 17, 13),
    ],
    "runs": [(n, 5, 7) for n in (1, 2, 3, 5)],
    "wide": [],
}  # fmt: skip
_SMALL["channels_first"] = [*_SMALL["channels_last"][:-2], (1, 16, 16), (3, 17, 16), (257, 2, 1)]
# Statistics in one pass are not used for fewer elements than a block.
_LARGE: dict[str, list[Sizes]] = {
    "channels_last": [
        (2, 16, 8), (257, 1, 1), (2, 3, 43), (7, 37, 1), (4, 5, 13), (3, 29, 3), (2, 131, 1), (1, 1, 263), (2, 16, 17),
    ],
    "runs": [(n, 5, 7) for n in (8, 9, 10, 11, 13, 15, 16, 17, 19)],
}  # fmt: skip
_LARGE["wide"] = _LARGE["channels_last"]


@dataclass(frozen=True)
class Run(Examination):
    """What the runs found of one output.

    undecided: why neither is found, if so.
    not_run: the sizes at which the graph could not be run, with the reason.
    found: where a difference was found.
    own: the degrees of the graph's own difference from the textbook, as they are counted; None where they are not.
    """

    undecided: str = ""
    not_run: Mapping[str, str] = field(default_factory=dict)
    found: str = ""
    own: Degrees | None = None

    def __str__(self) -> str:
        fields = ", ".join(f"GF({p})" for p in self.primes)
        text = (
            f"second proof: the graph itself, run exactly at {self.points} random points over {fields}, at batches of "
            f"{self.sizes[0]}…{self.sizes[1]} elements, is the textbook; a difference of degree {DEGREES.total} in all "
            f"passes at a size with a probability below {self.bound:.0e}, and {self._own()}; differences of degrees up "
            f"to {DEGREES.elements} in the elements and {DEGREES.sizes} in the size are settled for every size"
        )
        return text + "".join(f"; not run at {sizes}: {reason}" for sizes, reason in self.not_run.items())

    def _own(self) -> str:
        if self.own is None:
            return "that of the graph's own is not counted"
        return f"that of the graph's own, counted, is {self.own.total} ({self.own.elements} in the elements)"


def judged(graph: Graph, traced: Traced, primes: Sequence[int] = FIELDS[:2]) -> dict[bool | None, dict[str, Run]]:
    """What the runs found of each output, by the first branch that they took; None where there is none."""
    primes = primes[: 1 if graph.layout == "wide" else None]  # of more than a thousand channels, to be affordable
    collected: dict[bool | None, dict[str, _Output]] = {}
    not_run: dict[str, str] = {}
    near = 1e-15 if graph.policy == "float64" else 1e-7
    runs = {p: ExactRun(p, nominal(p), near) for p in primes}
    own = _own_degrees(graph, traced, near)
    for number, point in enumerate(_points(graph, primes)):
        try:
            branch, compared = point.compared(graph, traced, runs[point.p], np.random.default_rng(number))
        except UnknownGraph as error:
            not_run[str(point)] = str(error)
            continue
        branch = None if graph.branch is None else branch
        for name, (ours, truth) in compared.items():
            collected.setdefault(branch, {}).setdefault(name, _Output()).add(point, ours, truth)
    if not collected:
        nothing = _Output().result(not_run, tuple(primes))
        return {graph.branch: dict.fromkeys((*graph.outputs,), nothing)}
    return {
        branch: {name: output.result(not_run, tuple(primes), own.get(name)) for name, output in outputs.items()}
        for branch, outputs in collected.items()
    }


# Where degrees are counted: at few elements, since sums add no degree.
_COUNTED: dict[str, Sizes] = {"rows": (3,), "channels_last": (1, 2, 2), "channels_first": (1, 2, 2), "runs": (1, 5, 7)}


def _own_degrees(graph: Graph, traced: Traced, near: float) -> dict[str, Degrees]:
    """The degrees of the outputs, by name; of a graph with too many channels, or one that cannot be run, none."""
    if graph.layout == "wide":
        return {}
    with suppress(UnknownGraph):
        return counted(graph, traced, _COUNTED[graph.layout], FIELDS[0], near)
    return {}


def _points(graph: Graph, primes: Sequence[int]) -> Iterator[Point]:
    in_one_pass = graph.engine != "closed_form" and graph.training
    large = _LARGE[graph.layout] if graph.layout == "wide" or in_one_pass else []
    sizes = [*_SMALL[graph.layout], *large]
    for chosen in sizes:
        for p in primes:
            yield Point(chosen, p)
            if in_one_pass and graph.layout != "wide" and chosen in large[::4]:
                yield Point(chosen, p, large_mean=True)
    if graph.masked:
        few = sizes[3] if len(sizes) > 3 else sizes[0]
        yield from (Point(few, primes[0], mask) for mask in ("all true", "all false"))


class _Output:
    """What was found of one output so far."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.found = self.undecided = ""

    def add(self, point: Point, ours: Numbers, truth: Numbers) -> None:
        defined = np.isfinite(truth.real)
        if not defined.any():
            return
        self.sizes.append(point.elements)
        if self.found:
            return
        shape = np.broadcast_shapes(ours.shape, truth.shape)
        if ours.shape != shape or truth.shape != shape:
            self.found = f"an output of the shape {ours.shape}, where it should be {truth.shape}"
            return
        ours_real, truth_real = ours.real[defined], truth.real[defined]
        different = (ours.residue != truth.residue)[defined]
        scale = float(np.abs(truth_real).max()) + 1.0
        if not np.isfinite(ours_real).all():
            self.found = f"at {point} the graph has no value where the textbook has one"
        elif different.any():
            place = int(np.argmax(np.where(different, np.abs(ours_real - truth_real), -1.0)))
            text = f"{ours_real[place]:.6g} instead of {truth_real[place]:.6g}"
            if abs(ours_real[place] - truth_real[place]) > 1e-9 * scale:
                self.found = f"at {point} the graph gives {text}, and another residue"
            else:
                self.undecided = f"at {point} the residues differ, the real numbers hardly: {text}"
        elif not np.allclose(ours_real, truth_real, rtol=1e-3, atol=1e-3 * scale):
            self.undecided = f"at {point} the residues are equal, the real numbers are not"

    def result(self, not_run: Mapping[str, str], primes: tuple[int, ...], own: Degrees | None = None) -> Run:
        sizes = (min(self.sizes), max(self.sizes)) if self.sizes else (0, 0)
        undecided = self.undecided
        if not self.sizes:
            undecided = f"the graph was run at no point: {next(iter(not_run.values()), 'none is defined')}"
        elif not_run and not undecided:
            undecided = "the graph could not be run at {}: {}".format(*next(iter(not_run.items())))
        elif own is not None and own.total > DEGREES.total and not undecided:
            undecided = f"it is of degree {own.total}, and the points settle degrees up to {DEGREES.total}"
        equal = not (self.found or undecided)
        bound = BOUND ** len(primes)
        return Run(equal, DEGREES, sizes, len(self.sizes), bound, primes, undecided, not_run, self.found, own)


__all__ = ["BOUND", "DEGREES", "Run", "judged"]
