"""Where a graph is run: sizes of the batch, what is drawn there, and what the graph should return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np

from derivations.graphs.exact import textbook
from derivations.graphs.exact.run import ExactRun, at_point
from derivations.graphs.shipped import BOUNDS, EPSILON, LAYOUTS, MOMENTUM, RENORM_MOMENTUM, Graph, Traced
from derivations.graphs.walk import UnknownGraph
from derivations.prime_fields.arrays import Numbers, Part, drawn, with_degrees
from derivations.prime_fields.dual_numbers import Degrees

POSITIVE = ("moving_variance", "moving_stddev")
# Below √ε, inside of the bounds, and beyond; as many as there are channels.
DEVIATIONS = np.array([0.01, 0.5, 1.0, 9.0])
LARGE_MEAN = 1000.0

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """One size of the batch, one field, and what is special about the data.

    counted: whether numbers know their degrees (``degrees``).
    """

    sizes: Sizes
    p: int
    mask: str = "random"
    large_mean: bool = False
    counted: bool = False

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
            truth = Truth(graph, values, _options(graph, self.p), rng, counted=self.counted)
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
        numbers = drawn(shape, self.p, rng, real)
        # Drawn is a root: the residue is its square.
        return with_degrees(numbers, Degrees(int(None in graph.shape(name)), 0, 2)) if self.counted else numbers


class Truth:
    """The textbook at one point."""

    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, Any],
        options: textbook.Options,
        rng: np.random.Generator,
        *,
        counted: bool = False,
    ) -> None:
        p = options.epsilon.p
        self._graph, self._options, self._along = graph, options, _unit if counted else partial(drawn, rng=rng)
        self._values = {name: _by_channel(graph, name, value, p) for name, value in values.items()}
        if counted:  # their sum is of degree 1 in the size
            ones = Numbers.of(np.ones((self._values["x"].shape[0], 1), np.int64), p)
            self._values["w"] = with_degrees(self._values.get("w", ones), Degrees(0, 1, 0))
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
                along = self._along(self._values[wrt].shape, value.p)
                truth = textbook.derivative(wrt, along, self._values, self._options, second=self._graph.second)
                ours = (ours * along).sum()
            compared[name] = ours, truth
        return compared


def _unit(shape: Sequence[int], p: int) -> Numbers:
    """The direction of one entry."""
    real = np.zeros(shape)
    real.ravel()[0] = 1
    return Numbers({0: Part(real, real.astype(int).astype(object))}, p)


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
def nominal(p: int) -> tuple[tuple[float, Numbers], ...]:
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
    """What a graph is to compute."""
    epsilon, a, _, rho, _, root = (meant for _, meant in nominal(p))
    return textbook.Options(graph.training, graph.renorm, epsilon, root, a, rho, BOUNDS)
