"""The second proof of a claim about a shipped graph: the graph is run, exactly, and compared with the textbook.

It is run at random points over prime fields, for batches of many sizes: small ones; so many and so large ones that a
difference of the degrees below cannot vanish at all of them (``prime_fields.examination``); and sizes on both sides of
every block in which sums are taken. Gradients are compared along a random direction, with what dual numbers give for
the textbook's loss: of two vectors that differ, the products with a random vector differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from derivations.graphs.exact import textbook
from derivations.graphs.exact.run import ExactRun, at_point
from derivations.graphs.shipped import BOUNDS, EPSILON, LAYOUTS, MOMENTUM, RENORM_MOMENTUM, Graph, Traced
from derivations.graphs.walk import UnknownGraph
from derivations.prime_fields.arrays import FIELDS, Numbers, drawn
from derivations.prime_fields.dual_numbers import Degrees
from derivations.prime_fields.examination import Examination

# What is settled: differences of these degrees, in the elements, in the size of the batch, and in all.
DEGREES = Degrees(32, 7, 500)
BOUND = 1e-6  # 500·4/p, of one point at a size; each root has two values. Of two points in two fields, its square
POSITIVE = ("moving_variance", "moving_stddev")
# Below √ε, inside of the bounds, and beyond; as many as there are channels.
DEVIATIONS = np.array([0.01, 0.5, 1.0, 9.0])
LARGE_MEAN = 1000.0

Sizes = tuple[int, ...]
_SMALL: dict[str, list[Sizes]] = {
    "rows": [(1,), (2,), (3,), *((m,) for m in range(33, 41)), (64,), (131,), (256,), (515,)],
    "channels_last": [
        (1, 1, 1), (2, 1, 3), (3, 11, 1), (2, 17, 1), (5, 7, 1), (2, 3, 6), (37, 1, 1), (1, 2, 19), (3, 1, 13),
        (2, 4, 5), (2, 16, 8), (3, 17, 13),
    ],
    "wide": [],
}  # fmt: skip
_SMALL["channels_first"] = [*_SMALL["channels_last"][:-2], (1, 16, 16), (3, 17, 16), (257, 2, 1)]
# The kernels are not used for fewer elements than a block.
_LARGE: list[Sizes] = [
    (2, 16, 8), (257, 1, 1), (2, 3, 43), (7, 37, 1), (4, 5, 13), (3, 29, 3), (2, 131, 1), (1, 1, 263), (2, 16, 17),
]  # fmt: skip


@dataclass(frozen=True)
class Run(Examination):
    """What the runs found of one output.

    undecided: why neither is found, if so.
    not_run: the sizes at which the graph could not be run, with the reason.
    found: where a difference was found.
    """

    undecided: str = ""
    not_run: Mapping[str, str] = field(default_factory=dict)
    found: str = ""

    def __str__(self) -> str:
        fields = ", ".join(f"GF({p})" for p in self.primes)
        text = (
            f"second proof: the graph itself, run exactly at {self.points} random points over {fields}, at batches of "
            f"{self.sizes[0]}…{self.sizes[1]} elements, is the textbook; that settles differences of degrees up to "
            f"{DEGREES.elements} in the elements and {DEGREES.sizes} in the size (the graph's own are not counted); "
            f"one of degree {DEGREES.total} in all passes with a probability below {self.bound:.0e}"
        )
        return text + "".join(f"; not run at {sizes}: {reason}" for sizes, reason in self.not_run.items())


def judged(graph: Graph, traced: Traced, primes: Sequence[int] = FIELDS[:2]) -> dict[bool | None, dict[str, Run]]:
    """What the runs found of each output, by the first branch that they took; None where there is none."""
    primes = primes[: 1 if graph.layout == "wide" else None]  # of more than a thousand channels, to be affordable
    collected: dict[bool | None, dict[str, _Output]] = {}
    not_run: dict[str, str] = {}
    near = 1e-15 if graph.policy == "float64" else 1e-7
    runs = {p: ExactRun(p, _nominal(p), near) for p in primes}
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
        branch: {name: output.result(not_run, tuple(primes)) for name, output in outputs.items()}
        for branch, outputs in collected.items()
    }


@dataclass(frozen=True)
class _Point:
    """One size of the batch, one field, and what is special about the data."""

    sizes: Sizes
    p: int
    mask: str = "random"
    large_mean: bool = False

    def __str__(self) -> str:
        special = f", a mask of {self.mask}" if self.mask != "random" else ""
        return f"{'×'.join(map(str, self.sizes))}{special}"

    @property
    def elements(self) -> int:
        return int(np.prod(self.sizes))

    def compared(
        self, graph: Graph, traced: Traced, run: ExactRun, rng: np.random.Generator
    ) -> tuple[bool | None, dict[str, tuple[Numbers, Numbers]]]:
        """For each output, what the graph and what the textbook gives; and the first branch that was taken."""
        weights = [variable.name for variable in traced.layer.weights] if traced.layer else []
        names = list(dict.fromkeys((*graph.names, *weights)))

        def evaluate(values: Mapping[str, Any]) -> tuple[bool | None, dict[str, tuple[Numbers, Numbers]]]:
            truth = _Truth(graph, values, _options(graph, self.p), rng)
            given = {name: values[name] for name in weights}
            results = run.run(traced.function, [values[name] for name in graph.names], given)
            found = {name: result.value for name, result in zip(graph.outputs, results, strict=True)}
            if not graph.second:
                found |= {f"new_{name}": result.value for name, result in run.assigned.items()}
            return (run.branches[0] if run.branches else None), truth.beside(found)

        return at_point(evaluate, lambda name: self._drawn(graph, name, rng), names)

    def _drawn(self, graph: Graph, name: str, rng: np.random.Generator) -> Any:
        unknown = iter(self.sizes)
        shape = [next(unknown) if size is None else size for size in graph.shape(name)]
        if name == "w":
            mask = rng.integers(0, 2, size=shape).astype(bool) if self.mask == "random" else np.full(shape, True)
            mask.ravel()[0] = True  # one element counts
            return mask if self.mask != "all false" else np.full(shape, False)
        real = rng.normal(size=shape)
        if name in POSITIVE:
            real = rng.uniform(0.5, 2.0, size=shape)
        elif name == "renorm_stddev":
            real = np.resize(DEVIATIONS, shape)
        elif name == "x" and self.large_mean:
            real = real + LARGE_MEAN
        return drawn(shape, self.p, rng, real)


def _points(graph: Graph, primes: Sequence[int]) -> Iterator[_Point]:
    kernels = graph.engine == "fused" and graph.training
    sizes = _LARGE if graph.layout == "wide" or kernels else _SMALL[graph.layout]
    if kernels and graph.layout != "wide":
        sizes = [*_SMALL[graph.layout], *_LARGE]
    for chosen in sizes:
        for p in primes:
            yield _Point(chosen, p)
            if kernels and graph.layout != "wide" and chosen in _LARGE[::4]:
                yield _Point(chosen, p, large_mean=True)
    if graph.masked:
        few = sizes[3] if len(sizes) > 3 else sizes[0]
        yield from (_Point(few, primes[0], mask) for mask in ("all true", "all false"))


class _Truth:
    """The textbook at one point."""

    def __init__(
        self, graph: Graph, values: Mapping[str, Any], options: textbook.Options, rng: np.random.Generator
    ) -> None:
        self._graph, self._options, self._rng = graph, options, rng
        self._values = {name: _by_channel(graph, name, value, options.epsilon.p) for name, value in values.items()}
        # At once: whatever has no value by chance is drawn again before the graph is run.
        self._statistics = textbook.statistics(self._values, options)
        self._states = (
            {}
            if graph.second or not graph.training
            else textbook.new_states(self._values, options)
            if "moving_mean" in self._values
            else {}
        )

    def beside(self, found: Mapping[str, Any]) -> dict[str, tuple[Numbers, Numbers]]:
        """Each output of the graph, and what it should be."""
        compared = {}
        for name, value in found.items():
            if not isinstance(value, Numbers):
                raise UnknownGraph(f"the output {name} that is no data")
            ours = _by_channel(self._graph, name, value, value.p)
            if name == "y":
                truth = textbook.output(self._values, self._options)
            elif name in ("mean", "variance"):
                truth = getattr(self._statistics, name)
            elif name.startswith("new_"):
                truth = self._states[name.removeprefix("new_")]
            else:
                wrt = name.removeprefix("dd_" if self._graph.second else "d_")
                along = drawn(self._values[wrt].shape, value.p, self._rng)
                truth = textbook.derivative(wrt, along, self._values, self._options, second=self._graph.second)
                ours = (ours * along).sum()
            compared[name] = ours, truth
        return compared


class _Output:
    """What was found of one output so far."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.found = self.undecided = ""

    def add(self, point: _Point, ours: Numbers, truth: Numbers) -> None:
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

    def result(self, not_run: Mapping[str, str], primes: tuple[int, ...]) -> Run:
        sizes = (min(self.sizes), max(self.sizes)) if self.sizes else (0, 0)
        undecided = self.undecided
        if not self.sizes:
            undecided = f"the graph was run at no point: {next(iter(not_run.values()), 'none is defined')}"
        elif not_run and not undecided:
            undecided = "the graph could not be run at {}: {}".format(*next(iter(not_run.items())))
        equal = not (self.found or undecided)
        return Run(equal, DEGREES, sizes, len(self.sizes), BOUND ** len(primes), primes, undecided, not_run, self.found)


def _by_channel(graph: Graph, name: str, value: Any, p: int) -> Any:
    """[m, C], [m, 1] for weights, or [C]: in the order of the flat index."""
    if name == "w":
        return Numbers.of(np.asarray(value).astype(np.int64).reshape(-1, 1), p)
    axis, rank = LAYOUTS[graph.layout][1], len(LAYOUTS[graph.layout][0])
    if value.ndim != rank:
        return value
    channels = value.shape[axis]
    return value.mapped(lambda array: np.moveaxis(array, axis, -1).reshape(-1, channels))


@cache
def _nominal(p: int) -> tuple[tuple[float, Numbers], ...]:
    """The numbers that the shipped graphs hold, as they are meant."""

    def exactly(fraction: Fraction, near: float) -> tuple[float, Numbers]:
        return near, Numbers.of(np.array(fraction, dtype=object), p)

    epsilon = exactly(Fraction(1, 1000), EPSILON)
    a, rho = Fraction(99, 100), Fraction(9, 10)
    pairs = [
        epsilon,
        *(exactly(value, float(value)) for value in (a, 1 - a, rho, 1 - rho)),
    ]
    pairs.append((EPSILON**0.5, epsilon[1].root()))
    assert (float(a), float(rho)) == (MOMENTUM, RENORM_MOMENTUM)
    return tuple(pairs)


def _options(graph: Graph, p: int) -> textbook.Options:
    epsilon, a, _, rho, _, root = (meant for _, meant in _nominal(p))
    return textbook.Options(graph.training, graph.renorm, epsilon, root, a, rho, BOUNDS)


__all__ = ["BOUND", "DEGREES", "Run", "judged"]
