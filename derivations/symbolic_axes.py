"""Tensors with symbolic axes: each axis has a size and an index, and a tensor is one expression in its indices.

Sums are staged: blocks of 256 elements are summed first. With N = 256·K + r, the *head* 1 … 256·K of an axis is
written as the whole axis with a factor h_i, 1 in the head and 0 in the rest, and the *rest* with 1 − h_i. An axis of
blocks keeps the index of the elements: a value that is still to be summed over its block is *pending*. Nothing needs to
be known of h: what the stages add up to is Σ h·f + Σ (1 − h)·f = Σ f.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import sympy as sp
from sympy import Add, Expr, Indexed, IndexedBase, Mul, S, Sum, Symbol

BLOCK = 256


class UnknownGraph(NotImplementedError):
    """The graph does what the interpretation does not cover: nothing is claimed about it."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    size: how many entries; 1 without an index.
    index: the index, of an element even where the entries are blocks.
    last: the last value of the index.
    kind: "element"; "block", an entry a block; "within", the 256 places in each block of the axis with the same index;
        "pending", an entry a block, over which the expression has still to be summed.
    """

    size: Expr
    index: Symbol | None = None
    last: Expr = S.One
    kind: str = "element"


ONE = Axis(S.One)


@dataclass(frozen=True)
class Tensor:
    """An expression in the indices of its axes."""

    axes: tuple[Axis, ...]
    expression: Expr

    def sizes(self) -> list[Expr]:
        return [axis.size for axis in self.axes]

    def depends_on(self, axis: Axis) -> bool:
        return axis.index is not None and axis.index in self.expression.free_symbols

    def renamed(self) -> "Tensor":
        """The same with fresh indices, so that no two tensors share one."""
        fresh = {axis.index: new_index() for axis in self.axes if axis.index is not None}
        axes = (replace(axis, index=fresh.get(axis.index)) for axis in self.axes)
        return Tensor(tuple(axes), self.expression.xreplace(fresh))


def new_index() -> Symbol:
    return sp.Dummy("i", integer=True, positive=True)


class Sizes:
    """How many whole blocks there are in an axis of a given size, and which elements lie in them."""

    def __init__(self) -> None:
        self._blocks: dict[Expr, Symbol] = {}
        self.heads: dict[Expr, IndexedBase] = {}

    def blocks(self, size: Expr) -> Expr:
        """size // 256."""
        if size.is_Integer:
            return sp.Integer(int(size) // BLOCK)
        if not size.is_Symbol:
            raise UnknownGraph(f"{size} // {BLOCK}")
        if size not in self._blocks:
            self._blocks[size] = Symbol(f"blocks{len(self._blocks)}", integer=True, nonnegative=True)
        return self._blocks[size]

    def head(self, size: Expr) -> IndexedBase:
        """The indicator of the elements that lie in whole blocks of an axis of this size."""
        return self.heads.setdefault(size, IndexedBase(f"head{len(self.heads)}", real=True))

    def last(self, size: Expr) -> Expr:
        """The last element index of an axis of this size: that of the elements themselves where it counts blocks."""
        for whole, blocks in self._blocks.items():
            if blocks == size:
                return self.last(whole)
        return size

    def divided(self, blocks: Expr) -> Expr:
        """The size of the axis whose blocks these are."""
        found = [size for size, count in self._blocks.items() if count == blocks]
        if not found:
            raise UnknownGraph(f"{blocks} is no number of blocks")
        return found[0]

    def is_block_count(self, size: Expr) -> bool:
        return size in self._blocks.values()

    def axis(self, size: Expr) -> Axis:
        """A new axis of this size."""
        if size == 1:
            return ONE
        kind = "block" if self.is_block_count(size) else "element"
        return Axis(size, new_index(), self.last(size), kind)


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


def elementwise(function: Callable[..., Expr], *tensors: Tensor, linear: bool = False) -> Tensor:
    """The function of each entry, with broadcasting; ``linear`` if it is linear in each pending tensor.

    Raises:
        UnknownGraph: the axes do not fit.
    """
    rank = max(len(tensor.axes) for tensor in tensors)
    tensors = tuple(tensor.renamed() for tensor in tensors)
    padded = [Tensor((*[ONE] * (rank - len(t.axes)), *t.axes), t.expression) for t in tensors]
    if not linear and any(axis.kind == "pending" for t in padded for axis in t.axes):
        raise UnknownGraph("only sums and multiples of values that have still to be summed over a block")
    axes: list[Axis] = []
    renaming: list[dict[Symbol, Symbol]] = [{} for _ in padded]
    for position in range(rank):
        # An axis on which a tensor depends says what the entries are.
        own = [(t, t.axes[position]) for t in padded if t.axes[position].index is not None]
        chosen = next((axis for t, axis in own if t.depends_on(axis)), own[0][1] if own else ONE)
        for tensor, names in zip(padded, renaming, strict=True):
            axis = tensor.axes[position]
            if axis.index is None:
                continue
            if axis.size != chosen.size or (tensor.depends_on(axis) and axis.kind != chosen.kind):
                raise UnknownGraph(f"axes of sizes {axis.size} ({axis.kind}) and {chosen.size} ({chosen.kind})")
            if chosen.index is not None:
                names[axis.index] = chosen.index
        axes.append(chosen)
    values = [t.expression.xreplace(names) for t, names in zip(padded, renaming, strict=True)]
    return Tensor(tuple(axes), function(*values))


def summed(tensor: Tensor, positions: Sequence[int], *, keep: bool) -> Tensor:
    """Σ over some axes."""
    expression, axes = tensor.expression, list(tensor.axes)
    for position in sorted(position % len(axes) for position in positions):
        axis = axes[position]
        if axis.index is None:
            pass
        elif axis.index not in expression.free_symbols:
            expression = axis.size * expression
        elif axis.kind == "within":
            axes = [replace(a, kind="pending") if a.index == axis.index and a is not axis else a for a in axes]
        elif axis.kind == "block":
            raise UnknownGraph("a sum over blocks of what is one value a block")
        elif any(a.index == axis.index and a is not axis for a in axes):
            raise UnknownGraph("a sum over blocks before that within them")
        else:
            expression = Sum(expression, (axis.index, 1, axis.last))
        axes[position] = ONE
    kept = [axis for n, axis in enumerate(axes) if keep or n not in [p % len(axes) for p in positions]]
    return Tensor(tuple(kept), expression)


def cut(tensor: Tensor, position: int, *, head: bool, sizes: Sizes) -> Tensor:
    """The whole blocks of an axis, or the rest."""
    axis = tensor.axes[position]
    if axis.index is None:
        raise UnknownGraph("a slice of an axis of size 1")
    whole = BLOCK * sizes.blocks(axis.size)
    indicator = sizes.head(axis.size)[axis.index]
    axes = list(tensor.axes)
    axes[position] = replace(axis, size=whole if head else axis.size - whole)
    return Tensor(tuple(axes), tensor.expression * (indicator if head else 1 - indicator))


def padded(tensor: Tensor, position: int, size: Expr, *, head: bool, sizes: Sizes) -> Tensor:
    """The inverse of ``cut``: zeros around it."""
    axis = tensor.axes[position]
    target = sizes.axis(size)
    whole = BLOCK * sizes.blocks(size)
    if axis.size != (whole if head else size - whole) or target.index is None or axis.index is None:
        raise UnknownGraph(f"an axis of size {axis.size} padded to {size}")
    if tensor.depends_on(axis) and (axis.kind, axis.last) != (target.kind, target.last):
        raise UnknownGraph(f"an axis of {axis.kind}s padded to one of {target.kind}s")
    indicator = sizes.head(size)[target.index]
    axes = list(tensor.axes)
    axes[position] = target
    expression = tensor.expression.xreplace({axis.index: target.index})
    return Tensor(tuple(axes), expression * (indicator if head else 1 - indicator))


def reshaped(tensor: Tensor, target: Sequence[Expr], sizes: Sizes) -> Tensor:
    """Row-major reshape: axes of size 1 come and go, an axis is split into blocks of 256, or blocks are joined.

    Raises:
        UnknownGraph: anything else.
    """
    source = [axis for axis in tensor.axes if axis.index is not None]
    axes: list[Axis] = []
    expression = tensor.expression
    remaining = list(target)
    while remaining:
        size = remaining.pop(0)
        if source and source[0].size == size:
            axes.append(source.pop(0))
        elif size == 1:
            axes.append(ONE)
        elif source and remaining and remaining[0] == BLOCK and source[0].size == BLOCK * size:
            axis = source.pop(0)
            remaining.pop(0)
            kind = "pending" if axis.kind == "pending" else "block"
            axes += [replace(axis, size=size, kind=kind), replace(axis, size=sp.Integer(BLOCK), kind="within")]
        elif len(source) > 1 and source[1].size == BLOCK and size == BLOCK * source[0].size:
            blocks, within = source.pop(0), source.pop(0)
            free = Tensor((), expression)
            if free.depends_on(within) and within.index != blocks.index:
                raise UnknownGraph("places within blocks that are no elements")
            if blocks.kind == "pending":
                raise UnknownGraph("a value that has still to be summed over its block, spread over the block")
            # Where the blocks are those of an axis of blocks, its entries are blocks again.
            kind = "block" if sizes.is_block_count(sizes.divided(blocks.size)) else "element"
            axes.append(replace(blocks, size=size, kind=kind))
        else:
            raise UnknownGraph(f"a reshape of {tensor.sizes()} to {list(target)}")
    if source:
        raise UnknownGraph(f"a reshape of {tensor.sizes()} to {list(target)}")
    return Tensor(tuple(axes), expression)
