"""Sums over bound indices, named by the smallest of all orders; and the renaming of indices."""

import math
from abc import ABC
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain, permutations, product
from typing import Any

from derivations.own_code.algebra.arithmetic import Arithmetic
from derivations.own_code.algebra.polynomials import (
    Monomial,
    Polynomial,
    Renaming,
    TooComplex,
    flat,
    frozen,
    plain,
    renamed_indices,
    single,
)

BOUND = 12  # indices of one sum
ORDERS = 720  # of indices that nothing tells apart, tried for the smallest
CANONICAL = 10**5  # names of the free indices in a rule
RENAMED = 250_000  # atoms under other indices in one proof, about half a minute; an LSTM cell needs some thousand
_MARK = 10**8  # stands for the index that is looked at


class Sums(Arithmetic, ABC):
    """Polynomials with sums."""

    # Sums

    def total(self, a: Polynomial, index: int, size: Polynomial) -> Polynomial:
        """Σ over one index. Over a part of an axis it is the sum over the whole of it, of what is there in the part."""
        if cut := self.cuts.get(frozen(size)):
            here, whole = self.within(index, size), cut[1]
            alone = {monomial: c for monomial, c in a.items() if all(index not in self.free[x] for x, _ in monomial)}
            there = self.multiply(self.add(a, alone, -1), here)
            return self.add(self.total(there, index, whole), self.multiply(alone, size))
        result: Polynomial = {}
        for monomial, coefficient in a.items():
            inside = [(atom, power) for atom, power in monomial if index in self.free[atom]]
            outside = {tuple(pair for pair in monomial if index not in self.free[pair[0]]): coefficient}
            result = self.add(result, self.multiply(outside, self._sum(inside, index, size)))
        return result

    def _sum(self, inside: list[tuple[int, Any]], index: int, size: Polynomial) -> Polynomial:
        if not inside:
            return size
        for atom, _ in inside:
            if self.atoms[atom][0] == "d":
                a, b = self.atoms[atom][1]
                rest: Polynomial = {tuple(pair for pair in inside if pair[0] != atom): Fraction(1)}
                return self.rename(rest, {index: b if a == index else a})
        if set(size) == {()} and size[()] in self.apart:
            length, total = int(size[()]), dict[Any, Fraction]()
            for place in range(length):
                total = self.add(total, self.rename({tuple(inside): Fraction(1)}, {index: self.place(place, length)}))
            return total
        if several := self._over_several(tuple(inside), index):
            return several
        if len(inside) == 1 and inside[0][0] in self.masks:
            name = self.atoms[inside[0][0]][1]
            return next(dict(first) for first, cut in self.cuts.items() if cut[0] == name and cut[2])
        bound = [(next(self._fresh), frozen(size))]
        powers: dict[int, Any] = {}

        def take(polynomial: Polynomial, power: Any) -> None:
            ((monomial, coefficient),) = polynomial.items()
            if coefficient != 1:
                raise TooComplex("a sum that is no monomial")
            for atom, e in monomial:
                powers[atom] = powers.get(atom, 0) + e * power

        for atom, power in inside:
            parts = self.atoms[atom]
            if parts[0] == "S" and isinstance(power, int) and power > 0:
                _, sizes, monomial, names = parts
                for _ in range(power):
                    fresh = {name: next(self._fresh) for name in names}
                    bound += [(fresh[name], n) for name, n in zip(names, sizes, strict=True)]
                    for inner, e in monomial:
                        take(self.renamed_atom(inner, {**fresh, index: bound[0][0]}), e)
            else:
                take(self.renamed_atom(atom, {index: bound[0][0]}), power)
        return self._unsplit(powers, bound) or single(self._moment(powers, bound))

    def _over_several(self, monomial: Monomial, index: int) -> Polynomial:
        """A sum over an index that counts through several axes, as one over theirs; nothing where it counts itself."""
        places = self.split_places({monomial: Fraction(1)})
        for text in sorted({place[2] for place in places if place[0] == index and place[2] in self.joint}):
            sizes = self.joint[text]
            names = [next(self._fresh) for _ in sizes]
            apart = self.rename({monomial: Fraction(1)}, {(index, str(n), text): name for n, name in enumerate(names)})
            if index not in self.indices(apart):
                return self._resummed(apart, [(name, dict(size)) for name, size in zip(names, sizes, strict=True)])
        return {}

    def _unsplit(self, powers: dict[int, Any], bound: list[tuple[int, Any]]) -> Polynomial:
        """A sum over both parts of an axis that is split, as one over the whole axis; nothing if there is none."""
        size_of = {name: dict(size) for name, size in bound}
        monomial = tuple(sorted((atom, plain(power)) for atom, power in powers.items()))
        for place in self.split_places({monomial: Fraction(1)}):
            if not size_of.keys() >= set(place[:2]) or not self.is_rounded(size_of[place[0]]):
                continue
            one = next(self._fresh)
            whole = self.rename({monomial: Fraction(1)}, {place: one})
            if not self.indices(whole).isdisjoint(place[:2]):
                continue
            outer, inner = (size_of.pop(name) for name in place[:2])
            return self._resummed(whole, [(one, self.multiply(outer, inner)), *size_of.items()])
        return {}

    def _moment(self, powers: dict[int, Any], bound: list[tuple[int, Any]]) -> int:
        """The atom of a sum, its bound indices named by the smallest of all orders."""
        if len(bound) > BOUND:
            raise TooComplex(f"a sum over more than {BOUND} indices at once")
        base = max(self.depth[atom] for atom in powers)
        best: tuple[Any, ...] | None = None
        for order in self._orders(powers, bound):
            sizes = tuple(size for _, size in order)
            names = {name: -(base + 1 + n) for n, (name, _) in enumerate(order)}
            renamed: dict[int, Any] = {}
            for atom, power in powers.items():
                (((inner, e),),) = self.renamed_atom(atom, names).keys()
                renamed[inner] = renamed.get(inner, 0) + e * power
            candidate = sizes, tuple(sorted((atom, plain(power)) for atom, power in renamed.items()))
            if best is None or candidate < best:
                best = candidate
        assert best is not None
        atom = self.atom("S", best[0], best[1], tuple(-(base + 1 + n) for n in range(len(bound))))
        if all((power == int(power) and power % 2 == 0) or inner in self.positive for inner, power in best[1]):
            self.nonnegative.add(atom)
        return atom

    def _orders(self, powers: dict[int, Any], bound: list[tuple[int, Any]]) -> Iterable[list[tuple[int, Any]]]:
        """The orders of bound indices that agree with what tells them apart: their sizes, and where they stand."""
        if len(bound) == 1:
            return [bound]
        names = [name for name, _ in bound]
        color = {name: sorted({size for _, size in bound}).index(size) for name, size in bound}
        for _ in range(len(bound)):
            signs = {}
            for name in names:
                marked = {other: _MARK + 1 + color[other] for other in names if other != name} | {name: _MARK}
                seen = [
                    (tuple(self.renamed_atom(atom, marked)), power)
                    for atom, power in powers.items()
                    if name in self.free[atom]
                ]
                signs[name] = (color[name], sorted(seen))
            ranks = sorted(signs.values())
            new = {name: ranks.index(sign) for name, sign in signs.items()}
            if len(set(new.values())) == len(set(color.values())):
                break
            color = new
        groups = [[pair for pair in bound if color[pair[0]] == c] for c in sorted(set(color.values()))]
        if math.prod(math.factorial(len(group)) for group in groups) > ORDERS:
            raise TooComplex("a sum over many indices that nothing tells apart")
        return ([*chain.from_iterable(choice)] for choice in product(*map(permutations, groups)))

    def _summand(self, atom: int) -> tuple[Polynomial, list[tuple[int, Polynomial]]]:
        """What an atom S sums, and its indices, with names of their own."""
        _, sizes, monomial, names = self.atoms[atom]
        fresh = {name: next(self._fresh) for name in names}
        inner = self.rename({monomial: Fraction(1)}, fresh)
        return inner, [(fresh[name], dict(size)) for name, size in zip(names, sizes, strict=True)]

    def _resummed(self, inner: Polynomial, bound: list[tuple[int, Polynomial]]) -> Polynomial:
        for index, size in bound:
            inner = self.total(inner, index, size)
        return inner

    # Names of indices

    def rename(self, a: Polynomial, names: Renaming) -> Polynomial:
        if not names or self.indices(a).isdisjoint(chain.from_iterable(map(_names_in, names))):
            return a
        return self.mapped(a, lambda atom, power: self._raised(self.renamed_atom(atom, names), power))

    def renamed_atom(self, atom: int, names: Renaming) -> Polynomial:
        free = self.free[atom]
        kept = [pair for pair in names.items() if pair[0] != pair[1] and free.issuperset(_names_in(pair[0]))]
        key = atom, tuple(sorted(kept, key=_old_name))
        if not key[1]:
            return single(atom)
        if key not in self._renamed:
            if len(self._renamed) > RENAMED:
                raise TooComplex("the expressions hold too many sums within sums")
            new = self._rename_atom(atom, dict(key[1]))
            self._renamed[key] = new
            if len(new) == 1 and len(next(iter(new))) == 1:
                (((inner, _),),) = new.keys()
                for known in (self.positive, self.nonnegative):
                    if atom in known:
                        known.add(inner)
        return self._renamed[key]

    def _rename_atom(self, atom: int, names: Renaming) -> Polynomial:
        parts = self.atoms[atom]
        match parts[0]:
            case "e":
                return self.element(parts[1], renamed_indices(parts[2], names))
            case "d":
                a, b = (names.get(index, index) for index in parts[1])
                return self.equal_indices(a, b)
            case "S":
                _, sizes, monomial, bound = parts
                if len(bound) == 1 and (same := self._renamed_within(monomial, names)):
                    return single(self.atom("S", sizes, same, bound))
                fresh = {name: next(self._fresh) for name in bound}
                powers: dict[int, Any] = {}
                for inner, power in monomial:
                    (((new, e),),) = self.renamed_atom(inner, {**names, **fresh}).keys()
                    powers[new] = powers.get(new, 0) + power * e
                pairs = [(fresh[name], size) for name, size in zip(bound, sizes, strict=True)]
                return single(self._moment(powers, pairs))
            case "q":
                return {((self.atom("q", frozen(self.rename(dict(parts[1]), names))), 1),): Fraction(1)}
            case "h":
                return self.held(self.rename(dict(parts[1]), names))
        inner_polynomial = self.rename(dict(parts[2]), names)
        return single(self.atom("f", parts[1], frozen(inner_polynomial)))

    def _renamed_within(self, monomial: Monomial, names: Renaming) -> Monomial | None:
        """What a sum over one index sums, at other free indices; None where two factors become one.

        The name of the bound index stays: it depends on how deep sums are nested, and on nothing else.
        """
        renamed: dict[int, Any] = {}
        for atom, power in monomial:
            (((new, e),),) = self.renamed_atom(atom, names).keys()
            renamed[new] = power * e
        return tuple(sorted(renamed.items())) if len(renamed) == len(monomial) else None

    def _canonical(self, atom: int) -> tuple[int, dict[int, int]]:
        """The atom with its free indices in the smallest order, and the way back."""
        if atom not in self._canonical_names:
            self._canonical_names[atom] = self._smallest(atom)
        return self._canonical_names[atom]

    def _smallest(self, atom: int) -> tuple[int, dict[int, int]]:
        best: tuple[int, dict[int, int]] | None = None
        for order in permutations(sorted(self.free[atom])):
            names = {name: CANONICAL + n for n, name in enumerate(order)}
            ((renamed, _),) = next(iter(self.renamed_atom(atom, names)))
            if best is None or renamed < best[0]:
                best = renamed, {new: old for old, new in names.items()}
        assert best is not None
        return best


def _names_in(old: Any) -> tuple[int, ...]:
    """The names in what is renamed: one, or those in a place of an axis that is split."""
    return (old,) if isinstance(old, int) else flat((old,))


def _old_name(pair: tuple[Any, Any]) -> tuple[int, ...]:
    return _names_in(pair[0])
