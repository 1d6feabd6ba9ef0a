"""NumPy's products of arrays of unknown sizes that are sums: matmul, dot, einsum."""

import string
from typing import Any

from derivations.own_code.refusal import refusal
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.elementwise import total
from derivations.own_code.symbolic.reductions import only_out
from derivations.own_code.symbolic.shapes import lift, rearranged
from derivations.own_code.symbolic.ufuncs import multiply


def einsum(*operands: Any, optimize: Any = None, **options: Any) -> Any:
    """np.einsum with its subscripts as text."""
    subscripts, *given = operands
    only_out("einsum", options)
    if not isinstance(subscripts, str):
        raise refusal("numpy.einsum of this form", "give the subscripts as letters")
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    algebra = next(a.algebra for a in given if isinstance(a, SymbolicArray))
    arrays = [lift(algebra, a) for a in given]
    if len(terms) != len(arrays):
        raise refusal(f"numpy.einsum({subscripts!r}) of {len(arrays)} arrays", "one group of letters an array")
    if not arrow:
        right = "".join(sorted(letter for letter in set(left) - {",", "."} if left.count(letter) == 1))
        right = "..." * ("..." in left) + right
    if "..." in text:
        counts = [a.ndim - len(term) + 3 if "..." in term else 0 for term, a in zip(terms, arrays, strict=True)]
        spare = "".join(letter for letter in string.ascii_letters if letter not in text)
        named = [spare[max(counts) - count : max(counts)] for count in counts]
        terms = [term.replace("...", letters) for term, letters in zip(terms, named, strict=True)]
        left, right = ",".join(terms), right.replace("...", spare[: max(counts)])
    summed = [letter for letter in dict.fromkeys(left.replace(",", "")) if letter not in right]
    order = [*right, *summed]
    wide = []
    for term, a in zip(terms, arrays, strict=True):
        if len(term) != a.ndim or len(set(term)) != len(term):
            raise refusal(
                f"numpy.einsum({subscripts!r})", "each axis has a letter, and each letter occurs once an array"
            )
        wide.append(rearranged(a, [term.index(letter) if letter in term else None for letter in order]))
    if all(a.is_truth for a in wide):
        raise refusal("a product of matrices of truth values", "it is one of truth values; use .astype(float)")
    product = wide[0]
    for a in wide[1:]:
        product = multiply(product, a)
    return total(product, list(range(len(right), len(order))))


def matmul(a: SymbolicArray, b: SymbolicArray) -> Any:
    """a @ b."""
    if not a.ndim or not b.ndim:
        raise refusal("@ of a number", "use *")
    rank = max(a.ndim, b.ndim, 2)
    letters = string.ascii_letters
    batch = letters[3 : 3 + rank - 2]
    left = (batch[len(batch) - (a.ndim - 2) :] if a.ndim > 2 else "") + ("ik" if a.ndim > 1 else "k")
    right = (batch[len(batch) - (b.ndim - 2) :] if b.ndim > 2 else "") + ("kj" if b.ndim > 1 else "k")
    return einsum(f"{left},{right}->{batch}{'i' * (a.ndim > 1)}{'j' * (b.ndim > 1)}", a, b)


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """np.dot."""
    algebra = (a if isinstance(a, SymbolicArray) else b).algebra
    a, b = lift(algebra, a), lift(algebra, b)
    if not a.ndim or not b.ndim:
        return multiply(a, b)
    if b.ndim > 2:
        raise refusal("numpy.dot of more than two axes", "use einsum or @")
    return matmul(a, b)


def outer(a: SymbolicArray, b: SymbolicArray, flat: bool = True) -> Any:
    """np.outer of two vectors."""
    if flat and (a.ndim != 1 or b.ndim != 1):
        raise refusal("numpy.outer of more than one axis", "use einsum")
    wide = rearranged(a, [*range(a.ndim), *[None] * b.ndim])
    return multiply(wide, b)


def tensordot(a: SymbolicArray, b: SymbolicArray, axes: Any = 2) -> Any:
    """np.tensordot."""
    if isinstance(axes, int):
        pairs = list(zip(range(a.ndim - axes, a.ndim), range(axes), strict=True))
    else:
        first, second = ([n] if isinstance(n, int) else list(n) for n in axes)
        pairs = [(n % a.ndim, k % b.ndim) for n, k in zip(first, second, strict=True)]
    left = list(string.ascii_lowercase[: a.ndim])
    right = list(string.ascii_uppercase[: b.ndim])
    for n, k in pairs:
        right[k] = left[n]
    kept = [c for n, c in enumerate(left) if n not in {n for n, _ in pairs}]
    kept += [c for k, c in enumerate(right) if k not in {k for _, k in pairs}]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)
