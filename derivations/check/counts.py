"""Lengths of axes in pasted code, N, C, H, W = x.shape: which product of them is the size m of the batch."""

from collections.abc import Sequence

from derivations.check.tree import FormulaError, Node

OTHER_SIZE = "a size of which a formula for one channel knows nothing"


def length(axes: Sequence[int], position: int, name: str = "") -> Node:
    """The number of places along some axes together."""
    return Node(
        "length", position, name=name or f"the length of axis {axes[0]}", index=",".join(map(str, sorted(axes)))
    )


def _axes(node: Node) -> set[int]:
    return {int(axis) for axis in node.index.split(",")}


def merged(parts: Sequence[Node]) -> list[Node]:
    """The factors of a product, its lengths multiplied with each other, and those that it is divided by."""
    for divides in (False, True):
        own = [part for part in parts if _length_of(part, divides=divides)]
        if len(own) < 2:
            continue
        lengths = [part.parts[0] if divides else part for part in own]
        whole = length(
            [*set[int]().union(*map(_axes, lengths))], own[0].position, "·".join(one.name for one in lengths)
        )
        new = Node("/", own[0].position, (whole,)) if divides else whole
        parts = [new if part is own[0] else part for part in parts if part is own[0] or part not in own[1:]]
    return list(parts)


def _length_of(part: Node, *, divides: bool) -> bool:
    if divides:
        return part.kind == "/" and part.parts[0].kind == "length"
    return part.kind == "length"


def resolved(node: Node, summed: tuple[int, ...], text: str) -> Node:
    """The formula with m for the lengths of the axes of the batch.

    Args:
        summed: The axes over which the formula sums; () where it does not say.
        text: What was typed.

    Raises:
        FormulaError: some other length stands in it.
    """
    if node.kind == "length":
        batch, axes = set(summed) or {0}, _axes(node)
        if axes == batch:
            return Node("name", node.position, name="m")
        if not axes & batch:
            raise FormulaError(f"{node.name} is {OTHER_SIZE}; the batch is axis 0", text, node.position)
        shown = "·".join(f"x.shape[{axis}]" for axis in sorted(batch))
        raise FormulaError(
            f"{node.name} is not how many elements share statistics: the sums run over the axes "
            f"{', '.join(map(str, sorted(batch)))}; write m, or {shown}",
            text,
            node.position,
        )
    parts = tuple(resolved(part, summed, text) for part in node.parts)
    if all(new is old for new, old in zip(parts, node.parts, strict=True)):
        return node
    return Node(node.kind, node.position, parts, node.name, node.value, node.element, node.index)
