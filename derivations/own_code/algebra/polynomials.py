"""The first proof for code: polynomials in elements and in sums over axes of unknown size, with a normal form.

A polynomial maps monomials to rational coefficients; a monomial is a product of *atoms*, each to a rational power:

- ``n``: a size, such as N; ``e``: an element of an input, such as x at two indices; ``d``: [i = j];
- ``S``: a sum over bound indices of a monomial that they connect; factors without them are drawn out;
- ``q``: a polynomial of several terms that is divided by, or has a root taken; ``f``: a function of one, such as exp;
- ``c``: a prime number, for its root; ``h``: a polynomial whose derivative is held at 0.

What is divided by must be recognized again where it stands multiplied out: each ``q`` = P comes with the rule that
replaces one term of P, of degree 1 if there is one, by q and the others. So Σx² is written by the root that it stands
under, and everything is a polynomial in powers of that. Sums are flattened, and bound indices named by the smallest of
all orders, so that equal sums are one atom.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

Monomial = tuple[tuple[int, Any], ...]
Polynomial = dict[Monomial, Fraction]
Renaming = Mapping[Any, Any]  # of a name, or the place on an axis that is split, to another

ONE: Polynomial = {(): Fraction(1)}

# Names from here on are no indices but places, such as 2 of 4, on axes whose length is known.
_PLACES, _OF_LENGTH = 3 * 10**8, 10**4
JOINT = " × "  # between the lengths of axes that have one index together
LONGEST = 32  # of the axes on which a place can stand by itself


class TooComplex(ValueError):
    """The normal form would grow beyond its limits, or does not cover the expression; nothing is claimed."""


class DividesByZero(ArithmeticError):
    """What is divided by is identically 0."""


def single(atom: int, power: Any = 1) -> Polynomial:
    """One atom to a power."""
    return {((atom, power),): Fraction(1)}


def frozen(a: Polynomial) -> tuple[tuple[Monomial, Fraction], ...]:
    return tuple(sorted(a.items()))


def plain(power: Any) -> Any:
    return int(power) if power == int(power) else Fraction(power)


def flat(indices: tuple[Any, ...]) -> tuple[int, ...]:
    """The names of indices, of which an axis that was split has several, and a text with the length of the last.

    An index of several axes as one has a text for which of them it stands.
    """
    parts = (part for index in indices for part in (flat(index) if isinstance(index, tuple) else (index,)))
    return tuple(part for part in parts if isinstance(part, int) and not place_of(part))


def place_name(place: int, length: int) -> int:
    """The name of one place on an axis of a known length, which stands where an index may."""
    return _PLACES + length * _OF_LENGTH + place


def place_of(name: int) -> tuple[int, int] | None:
    """The place, and the length of its axis; None for an index."""
    if name < _PLACES:
        return None
    length, place = divmod(name - _PLACES, _OF_LENGTH)
    return place, length


def renamed_indices(indices: tuple[Any, ...], names: Renaming) -> tuple[Any, ...]:
    return tuple(
        _merged(renamed_indices(index[:2], names), index[2])
        if isinstance(index, tuple) and index not in names
        else names.get(index, index)
        for index in indices
    )


def _merged(parts: tuple[Any, ...], length: str) -> Any:
    """The place on an axis that is split, from the places on its parts; or on one of several that share an index."""
    outer, inner = parts
    if isinstance(inner, str):
        return _apart(outer, length.split(JOINT)).get(inner, (outer, inner, length))
    if isinstance(outer, int) and isinstance(inner, int) and (one := place_of(outer)) and (two := place_of(inner)):
        return place_name(one[0] * two[1] + two[0], one[1] * two[1])
    return outer, inner, length


def _apart(place: Any, lengths: list[str]) -> dict[str, Any]:
    """The places on several axes that had one index together, where that was split into axes of these lengths again."""
    found: list[Any] = []
    for length in reversed(lengths[1:]):
        if not isinstance(place, tuple) or place[2] != length:
            return {}
        place, inner, _ = place
        found.append(inner)
    return {str(n): part for n, part in enumerate([place, *reversed(found)])}


_NUMBER = re.compile(r"\d+")


def matched(places: tuple[Any, ...], indices: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Which name becomes which, for the places of an element."""
    names: list[tuple[int, Any]] = []
    for place, index in zip(places, indices, strict=True):
        if any(isinstance(one, tuple) and isinstance(one[1], str) for one in (place, index)) and place != index:
            raise TooComplex("several axes that are cut as one")
        if isinstance(place, int) and isinstance(index, tuple) and (known := place_of(place)):
            inner = int(_NUMBER.findall(index[2])[0])
            outer = place_name(known[0] // inner, known[1] // inner)
            names += matched((outer, place_name(known[0] % inner, inner)), index[:2])
        elif isinstance(place, tuple) and isinstance(index, int) and place_of(index):
            names += [(part, one) for one, part in matched((index,), (place,))]
        elif not isinstance(place, tuple):
            names.append((place, index))
        elif isinstance(index, tuple) and index[2] == place[2]:
            names += matched(place[:2], index[:2])
        else:
            raise TooComplex("an axis that is split in two ways")
    return names


def prime_factors(value: Fraction) -> dict[int, int]:
    """The primes of a number > 0, with their powers; what is left of a large number counts as one."""
    found: dict[int, int] = {}
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        prime = 2
        while prime * prime <= number and prime < 10_000:
            while number % prime == 0:
                number //= prime
                found[prime] = found.get(prime, 0) + sign
            prime += 1
        if number > 1:
            root = math.isqrt(number)
            base, times = (root, 2) if root * root == number else (number, 1)
            found[base] = found.get(base, 0) + sign * times
    return found
