"""Tensors with symbolic axes: each axis has a size and an index, and a tensor is one expression in its indices.

The elements that share statistics have one *flat* index i = 1 … m, whatever the axes over which they are laid out: an
axis of size N and one of size H·W are two *parts* of it, and a reshape in row-major order cuts or joins parts without
touching i. Summing over one part leaves the expression *pending* until the other parts are summed too; then Σ_i stands.

Long sums are taken in stages: of N = n·K + r entries the *head* 1 … n·K is cut off and summed in blocks of n. A
tensor that was cut off says where its entries lie, by an indicator h_i, 1 in the head and 0 in the rest, or by 1 − h_i;
the indicator becomes a factor as soon as something is summed. Nothing needs to be known of h, for what the stages add
up to is Σ h·f + Σ (1 − h)·f = Σ f.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import sympy as sp
from sympy import Add, Expr, Indexed, IndexedBase, KroneckerDelta, Mul, S, Sum, Symbol

from derivations.graphs.walk import UnknownGraph
from derivations.notation.expressions import free_symbols, rewritten

# The lengths of the blocks that the shipped code sums.
BLOCKS = (64, 256)


@dataclass(frozen=True)
class Axis:
    """One axis.

    size: how many entries; 1 without an index.
    index: of which the axis is a part, or all.
    last: the last value of the index.
    stride: by how much the index grows from one entry to the next.
    """

    size: Expr
    index: Symbol | None = None
    last: Expr = S.One
    stride: Expr = S.One


ONE = Axis(S.One)


@dataclass(frozen=True)
class Tensor:
    """An expression in the indices of its axes.

    pending: indices over some of whose parts the expression has still to be summed.
    where: indicators of the part of an axis to which the entries are confined.
    """

    axes: tuple[Axis, ...]
    expression: Expr
    pending: frozenset[Symbol] = field(default=frozenset())
    where: frozenset[Expr] = field(default=frozenset())

    def sizes(self) -> list[Expr]:
        return [axis.size for axis in self.axes]

    def depends_on(self, axis: Axis) -> bool:
        return axis.index is not None and (axis.index in free_symbols(self.expression) or axis.index in self.pending)

    def varies(self) -> list[int]:
        """The positions of the axes on which the expression depends."""
        return [position for position, axis in enumerate(self.axes) if self.depends_on(axis)]

    def with_indices(self, names: dict[Symbol, Symbol]) -> "Tensor":
        """The same with other names for its indices."""
        lasts = {names.get(a.index, a.index): a.last for a in self.axes}
        axes = (a if a.index is None else replace(a, index=names.get(a.index, a.index)) for a in self.axes)
        where = frozenset(rewritten(indicator, names) for indicator in self.where)
        pending = frozenset(names.get(index, index) for index in self.pending)
        assert pending <= lasts.keys()
        return Tensor(tuple(axes), rewritten(self.expression, names), pending, where)

    def renamed(self) -> "Tensor":
        """The same with fresh indices, so that no two tensors share one."""
        return self.with_indices({axis.index: new_index() for axis in self.axes if axis.index is not None})


def new_index() -> Symbol:
    return sp.Dummy("i", integer=True, positive=True)


def laid_out(sizes: Sequence[Expr], last: Expr) -> list[Axis]:
    """Axes of these sizes, all parts of one new index."""
    index, axes, stride = new_index(), [], S.One
    for size in reversed(sizes):
        axes.append(Axis(size, index, last, stride))
        stride = stride * size
    return axes[::-1]


class Sizes:
    """How many whole blocks there are in an axis of a given size, and which entries lie in them."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[Expr, int], Symbol] = {}
        self.heads: dict[tuple[Expr, Expr], IndexedBase] = {}

    def blocks(self, size: Expr, length: int) -> Expr:
        """size // length."""
        if size.is_Integer:
            return sp.Integer(int(size) // length)
        if not all(factor.is_Symbol for factor in Mul.make_args(size)):
            raise UnknownGraph(f"{size} // {length}")
        if (size, length) not in self._blocks:
            self._blocks[size, length] = Symbol(f"blocks{len(self._blocks)}", integer=True, nonnegative=True)
        return self._blocks[size, length]

    def lengths(self) -> dict[Expr, int]:
        """Of the blocks, by the symbols for how many there are."""
        return {symbol: length for (_, length), symbol in self._blocks.items()}

    def is_whole(self, head: Expr, size: Expr) -> bool:
        """Whether ``head`` is how many entries lie in whole blocks of one length."""
        return any(head == length * self.blocks(size, length) for length in BLOCKS)

    def head(self, size: Expr, whole: Expr, index: Symbol) -> Expr:
        """The indicator of the first ``whole`` entries of the axis of this size."""
        return self.heads.setdefault((size, whole), IndexedBase(f"head{len(self.heads)}", real=True))[index]

    def axis(self, size: Expr) -> Axis:
        """A new axis of this size, with an index of its own."""
        return ONE if size == 1 else Axis(size, new_index(), size)

    def only_heads(self, expression: Expr, index: Symbol) -> bool:
        """Whether the expression depends on the index through such indicators alone."""
        entries = [e for e in expression.atoms(Indexed, KroneckerDelta) if index in free_symbols(e)]
        return all(isinstance(e, Indexed) and e.base in self.heads.values() for e in entries)


def joined(expression: Expr, heads: Collection[IndexedBase]) -> Expr:
    """Heads and rests put together again: h·f + (1 − h)·f = f, under a sum and without one."""
    if not any(element.base in heads for element in expression.atoms(Indexed)):
        return expression
    groups: dict[tuple[Expr, tuple[Expr, ...] | None], Expr] = {}
    names: dict[Expr, Symbol] = {}
    for term in Add.make_args(expression):
        sums = [factor for factor in Mul.make_args(term) if isinstance(factor, Sum)]
        limits, inner = None, term
        if len(sums) == 1 and len(sums[0].limits) == 1 and not _marks(term / sums[0], heads):
            ((index, first, last),) = sums[0].limits
            name = names.setdefault(last, index)
            limits, inner = (name, first, last), term / sums[0] * sums[0].function.xreplace({index: name})
        marks, rest = S.One, S.One
        for factor in Mul.make_args(inner):
            if factor.is_Rational or _marks(factor, heads):
                marks *= factor
            else:
                rest *= factor
        groups[rest, limits] = groups.get((rest, limits), S.Zero) + marks
    terms = []
    for (rest, limits), marks in groups.items():
        value = sp.expand(marks) * rest
        terms.append(Sum(value, limits) if limits and value != 0 else value)
    return Add(*terms)


def _marks(factor: Expr, heads: Collection[IndexedBase]) -> bool:
    """Whether a factor is made of indicators alone."""
    elements = factor.atoms(Indexed)
    return bool(elements) and all(element.base in heads for element in elements) and not factor.has(Sum)


def elementwise(function: Callable[..., Expr], *tensors: Tensor, sizes: Sizes) -> Tensor:
    """The function of each entry, with broadcasting. That it may be applied to what is pending, the caller checks.

    Raises:
        UnknownGraph: the axes do not fit.
    """
    rank = max(len(tensor.axes) for tensor in tensors)
    padded = [replace(t, axes=(*[ONE] * (rank - len(t.axes)), *t.axes)).renamed() for t in tensors]
    aligned = list(_aligned(padded, sizes))
    axes = []
    for position in range(rank):
        own = [t for t in aligned if t.axes[position].index is not None]
        chosen = next((t for t in own if t.depends_on(t.axes[position])), own[0] if own else None)
        if any(t.axes[position].size != chosen.axes[position].size for t in own if chosen):
            raise UnknownGraph(f"axes of the sizes {', '.join(str(t.axes[position].size) for t in own)}")
        axes.append(chosen.axes[position] if chosen else ONE)
    value = function(*(tensor.expression for tensor in aligned))
    pending = frozenset[Symbol]().union(*(tensor.pending for tensor in aligned))
    where = frozenset[Expr]().union(*(tensor.where for tensor in aligned))
    return Tensor(tuple(axes), value, pending, where)


def _aligned(tensors: Sequence[Tensor], sizes: Sizes) -> Iterator[Tensor]:
    """The tensors, with one index for what stands at one position."""
    spans: dict[Symbol, tuple[Tensor, list[int]]] = {}
    for tensor in tensors:
        for position in tensor.varies():
            spans.setdefault(tensor.axes[position].index, (tensor, []))[1].append(position)
    names: dict[Symbol, Symbol] = {}
    # The flat index of several axes names that of each of them.
    for index, (tensor, span) in sorted(spans.items(), key=lambda item: -len(item[1][1])):
        name = next((o for o in spans if o in names.values() and set(span) & set(spans[o][1])), index)
        names[index] = name
        other, others = spans[name]
        mine, theirs = ([t.axes[position] for position in s] for t, s in ((tensor, span), (other, others)))
        if [(a.size, a.stride, a.last) for a in mine] != [(a.size, a.stride, a.last) for a in theirs] or span != others:
            confined = sizes.only_heads(tensor.expression, index) and len(span) == 1 and index not in tensor.pending
            if not confined or mine[0].size != other.axes[span[0]].size:
                raise UnknownGraph(
                    f"axes of the sizes {[a.size for a in mine]} and {[a.size for a in theirs]} that do not match"
                )
    for tensor in tensors:
        yield tensor.with_indices(names) if tensor.varies() else tensor


def summed(tensor: Tensor, positions: Sequence[int], *, keep: bool) -> Tensor:
    """Σ over some axes."""
    chosen = {position % len(tensor.axes) for position in positions}
    for position in sorted(chosen):
        tensor = _summed(tensor, position)
    return replace(tensor, axes=tuple(axis for n, axis in enumerate(tensor.axes) if keep or n not in chosen))


def _summed(tensor: Tensor, position: int) -> Tensor:
    axis = tensor.axes[position]
    axes = (*tensor.axes[:position], ONE, *tensor.axes[position + 1 :])
    if axis.index is None or not tensor.depends_on(axis):
        return replace(tensor, axes=axes, expression=axis.size * tensor.expression)
    index = axis.index
    confined = {indicator for indicator in tensor.where if index in indicator.free_symbols}
    expression = Mul(tensor.expression, *confined)
    where = tensor.where - confined
    if any(other.index == index for other in axes):
        return Tensor(axes, expression, tensor.pending | {index}, where)
    # What does not depend on the index stands before the sum: of a mean of means that is a count, which cancels.
    factor, rest = expression.as_independent(index, as_Add=False) if expression.is_Mul else (S.One, expression)
    return Tensor(axes, factor * Sum(rest, (index, 1, axis.last)), tensor.pending - {index}, where)


def cut(tensor: Tensor, position: int, whole: Expr, *, head: bool, sizes: Sizes) -> Tensor:
    """The first ``whole`` entries of an axis, or the rest."""
    axis = tensor.axes[position]
    if axis.index is None:
        raise UnknownGraph("a slice of an axis of size 1")
    axes = list(tensor.axes)
    axes[position] = replace(axis, size=whole if head else axis.size - whole)
    if not tensor.depends_on(axis):
        return replace(tensor, axes=tuple(axes))
    indicator = _indicator(axis, whole, head, sizes)
    if axis.index in tensor.pending:  # of which only sums and multiples are taken
        return replace(tensor, axes=tuple(axes), expression=tensor.expression * indicator)
    return replace(tensor, axes=tuple(axes), where=tensor.where | {indicator})


def padded(tensor: Tensor, position: int, size: Expr, whole: Expr, *, head: bool, sizes: Sizes) -> Tensor:
    """The inverse of ``cut``: zeros around it."""
    axis = tensor.axes[position]
    if axis.size != (whole if head else size - whole) or axis.index in tensor.pending:
        raise UnknownGraph(f"an axis of size {axis.size} padded to {size}")
    target = replace(axis, size=size) if tensor.depends_on(axis) else sizes.axis(size)
    indicator = _indicator(target, whole, head, sizes)
    if tensor.depends_on(axis) and not (indicator in tensor.where or sizes.only_heads(tensor.expression, axis.index)):
        raise UnknownGraph("a slice padded elsewhere than it was cut out")
    axes = list(tensor.axes)
    axes[position] = target
    return Tensor(tuple(axes), tensor.expression * indicator, tensor.pending, tensor.where - {indicator})


def _indicator(axis: Axis, whole: Expr, head: bool, sizes: Sizes) -> Expr:
    indicator = sizes.head(axis.size, whole, axis.index)
    return indicator if head else 1 - indicator


def reshaped(tensor: Tensor, target: Sequence[Expr]) -> Tensor:
    """Row-major reshape: axes of size 1 come and go, neighbours are joined, an axis is cut into several.

    Raises:
        UnknownGraph: anything else.
    """
    source = [axis for axis in tensor.axes if axis.index is not None]
    axes: list[Axis] = []
    remaining = list(target)
    while remaining:
        if remaining[0] == 1:
            remaining.pop(0)
            axes.append(ONE)
        elif cuts := _leading(remaining, source[0].size if source else S.Zero):
            axis = source.pop(0)
            stride, parts = axis.stride, []
            for size in reversed([remaining.pop(0) for _ in range(cuts)]):
                parts.append(ONE if size == 1 else replace(axis, size=size, stride=stride))
                stride = stride * size
            axes += parts[::-1]
        elif joins := _leading([axis.size for axis in source], remaining[0]):
            axes.append(_joined_axes(tensor, [source.pop(0) for _ in range(joins)], remaining.pop(0)))
        else:
            break
    if source or remaining:
        raise UnknownGraph(f"a reshape of {tensor.sizes()} to {list(target)}")
    return replace(tensor, axes=tuple(axes))


def _leading(sizes: Sequence[Expr], product: Expr) -> int:
    """How many of the first sizes multiply to the product; 0 if it is none."""
    so_far = S.One
    for n, size in enumerate(sizes):
        so_far = so_far * size
        if so_far == product:
            return n + 1
    return 0


def _joined_axes(tensor: Tensor, parts: list[Axis], size: Expr) -> Axis:
    dependent = [axis for axis in parts if tensor.depends_on(axis)]
    if not dependent:
        return Axis(size, new_index(), size)
    index = dependent[0].index
    strides_fit = all(a.stride == b.stride * b.size for a, b in pairwise(parts))
    if any(axis.index != index for axis in parts) or not strides_fit or index in tensor.pending:
        raise UnknownGraph(f"axes of the sizes {[axis.size for axis in parts]} joined, of which not all are one index")
    return replace(parts[-1], size=size)
