"""The second proof: an identity is tested at random points over two prime fields.

Nothing of the normal form is used, and no derivative of SymPy's: names are evaluated by their definitions, ∂ by dual
numbers, and the shipped functions run on field elements themselves. Why equality at a few points proves the identity:

- A difference of two sides, cleared of denominators, is a polynomial in what is drawn. If it is not 0, it vanishes at a
  random point with a probability of at most degree/p (Schwartz, Zippel).
- It holds for every size if it holds for a few. Let it be of degree d in the elements and e in the size m, with f free
  indices. Products of moments of total degree ≤ d are linearly independent on ≥ d + f elements; so if the difference
  vanishes for e + 1 such sizes, each of its coefficients, a polynomial in m of degree ≤ e, vanishes.

d, e and the degree come from evaluating the same members on degrees.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sympy import Expr, Sum, Symbol

from derivations.notation import Definitions
from derivations.notation.expressions import Unprovable
from derivations.notation.settings import Setting
from derivations.notation.worlds import Computed
from derivations.prime_fields.dual_numbers import LARGEST, PRIMES, PRIMES_WITH_ROOTS, Degree, Degrees, Dual, NoRoot
from derivations.prime_fields.points import Draw, Member, Place, Point

ATTEMPTS = 40  # points drawn until all radicands are squares
SMALLEST = 2  # elements: with one the variance is 0, and what is divided by it has no value


@dataclass(frozen=True)
class Examination:
    """What the second proof found."""

    equal: bool
    degrees: Degrees
    sizes: tuple[int, int]  # the smallest and the largest
    points: int
    bound: float  # of the probability that a false claim is found equal
    primes: tuple[int, ...]

    def __str__(self) -> str:
        exponents = [(p + 1).bit_length() - 1 for p in self.primes]
        fields = " and ".join(
            f"GF(2^{e}−1)" if p == 2**e - 1 else f"GF(p), p ≈ 2^{e}"
            for p, e in zip(self.primes, exponents, strict=True)
        )
        return (
            f"second proof: equal at {self.points} random points over {fields}, sizes {self.sizes[0]}…{self.sizes[1]}; "
            f"degrees {self.degrees.elements} in the elements, {self.degrees.sizes} in the sizes, {self.degrees.total} "
            f"in all; a false claim passes with a probability below {self.bound:.0e}"
        )


def examine(members: Sequence[Member], setting: Setting, definitions: Definitions, *, seed: int = 0) -> Examination:
    """Whether all members are equal at random points, enough of them to prove that they are the same for every size.

    Raises:
        Unprovable: no point was found at which all members are defined, or too large ones would be needed.
    """
    expressions = [member.value if isinstance(member, Computed) else member for member in members]
    free = [index for index in setting.ranges if any(index in e.free_symbols for e in expressions)]
    symbols = sorted(_sizes(expressions, setting, definitions), key=str)
    draw = _Drawing(members, setting, definitions, random.Random(seed))

    # Degrees are of the sides as written; the sizes at which they are counted do not matter.
    place = Place({symbol: 3 + len(free) + n for n, symbol in enumerate(symbols)}, dict.fromkeys(free, 1))
    degrees, roots, primes = draw.degrees(place)
    first = max(SMALLEST, degrees.elements + len(free))
    sizes = range(first, first + degrees.sizes + 1) if symbols else range(1, 2)
    if sizes[-1] > LARGEST:
        raise Unprovable(f"the second proof would need batches of {sizes[-1]} elements; it goes to {LARGEST}")
    bound = degrees.total * 4.0**roots / min(primes)

    points = 0
    equal = True
    for p in primes:
        for chosen in itertools.product(sizes, repeat=len(symbols)):
            for positions in _coincidences(len(free)):
                points += 1
                place = Place(dict(zip(symbols, chosen, strict=True)), dict(zip(free, positions, strict=True)))
                if not draw.equal(place, p):
                    equal = False
                    return Examination(equal, degrees, (sizes[0], sizes[-1]), points, bound, primes)
    return Examination(equal, degrees, (sizes[0], sizes[-1]), points, bound, primes)


def _coincidences(free: int) -> Iterator[tuple[int, ...]]:
    """One choice of positions for each way in which free indices may coincide."""
    choices: list[tuple[int, ...]] = [()]
    for _ in range(free):
        choices = [(*known, new) for known in choices for new in range(1, 2 + max(known, default=0))]
    yield from choices


def _sizes(expressions: Sequence[Expr], setting: Setting, definitions: Definitions) -> set[Symbol]:
    """The symbols that are sizes: limits of sums and ends of ranges."""
    everything = [*expressions, *(value for _, value in definitions.items())]
    if setting.root:
        everything.append(setting.root.variance)
    limits = {limit[2] for e in everything for sum_ in e.atoms(Sum) for limit in sum_.limits}
    return {size for size in {*limits, *setting.ranges.values()} if isinstance(size, Symbol)}


class _Drawing:
    """Points at which the members of one claim are evaluated."""

    def __init__(
        self, members: Sequence[Member], setting: Setting, definitions: Definitions, rng: random.Random
    ) -> None:
        self.members, self.setting, self.definitions, self.rng = members, setting, definitions, rng

    def _values(self, place: Place, p: int, counting: bool) -> tuple[list[Dual], Point]:
        error: ArithmeticError = ArithmeticError()
        for _ in range(ATTEMPTS):
            point = Point(self.setting, self.definitions, place, Draw(p, self.rng, counting))
            try:
                return [point.member(member) for member in self.members], point
            except (NoRoot, ZeroDivisionError) as found:
                error = found
        reason = "a denominator is 0" if isinstance(error, ZeroDivisionError) else "a radicand is no square"
        raise Unprovable(f"the second proof found no point at which everything is defined: {reason}")

    def equal(self, place: Place, p: int) -> bool:
        values, _ = self._values(place, p, False)
        return all((a - b).vanishes() for a, b in pairwise(values))

    def degrees(self, place: Place) -> tuple[Degrees, int, tuple[int, ...]]:
        """Of all differences, cleared of denominators; how many roots besides s they hold; where they have values."""
        primes = PRIMES
        try:
            values, point = self._values(place, primes[0], True)
            rooted = bool(point.draw.roots)
        except Unprovable:
            rooted = True
        if rooted:
            primes = PRIMES_WITH_ROOTS
            values, point = self._values(place, primes[0], True)
        bound = Degrees(0, 0, 1)
        for a, b in pairwise(values):
            difference = (a - b).value
            if isinstance(difference, Degree):
                bound = bound.at_least(difference.top)
        roots = len(point.draw.roots)
        return Degrees(*(degree * 2**roots for degree in bound)), roots, primes
