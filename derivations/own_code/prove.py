"""``prove_gradient``: NumPy code is proved to compute the gradient of other NumPy code, for every size."""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from derivations.own_code.algebra import DividesByZero, Polynomial, TooComplex
from derivations.own_code.arrays import (
    Requirement,
    SymbolicAlgebra,
    SymbolicArray,
    _split,
    axis_of,
    lift,
    names_of_axis,
)
from derivations.own_code.calling import Pair, Shape, concrete, letters, shapes_of
from derivations.own_code.numbers_dual import (
    Forgetting,
    NoRoot,
    Number,
    Reals,
    Residues,
    Transcendental,
    Undefined,
    wrapped,
)
from derivations.own_code.proof import NOT_PROVED, PROVED, REFUTED, Counterexample, GradientVerdict, Proof
from derivations.own_code.refusal import NotUnderstood, short
from derivations.own_code.seeing import exact_names, seen_through, symbolic_names
from derivations.own_code.sizes import Size, as_size
from derivations.prime_fields.dual_numbers import PRIMES, PRIMES_WITH_ROOTS

RESERVE = tuple(2**exponent - 1 for exponent in (107, 127, 521))  # primes ≡ 3 (mod 4), for what is no square so far
ATTEMPTS = 24  # points drawn until all radicands are squares
_DY, _DIRECTION = "dy", "direction"
_NO_VALUE = (ZeroDivisionError, NoRoot, Undefined)


def prove_gradient(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    inputs: Mapping[str, Sequence[str | int | None]],
    pass_inputs: bool | None = None,
    order: int = 1,
) -> Proof:
    """Prove, or refute, that code computes the gradient of other code, for every size.

    With ``backward``, both are NumPy functions: ``forward(*inputs)`` returns y or (y, cache), and
    ``backward(dy, cache)`` or ``backward(dy, *inputs)`` the gradients of Σ dy·y, in the order of the inputs, or as a
    dictionary. Without it, ``forward`` is a function of TensorFlow tensors, and what is proved is the gradient that
    TensorFlow takes, any ``tf.custom_gradient`` included.

    Args:
        forward: The function. Constants come by closure, by default arguments, or by ``functools.partial``.
        backward: Its gradient; None for a function of TensorFlow.
        inputs: A name and a shape for each input, in the order in which they are passed. A name or None is an unknown
            size, a number a known one; equal names are equal sizes.
        pass_inputs: Whether backward gets the inputs instead of the cache; by default its signature tells.
        order: 2 proves the second derivatives of a TensorFlow function as well.

    Returns:
        The verdict on each gradient. It is true if all are proved; printed, it shows a counterexample for each that is
        refuted.

    Raises:
        NotUnderstood: the code does something of which nothing can be proved; the message names the line.

    >>> proof = prove_gradient(lambda x: x * x, lambda dy, x: 2 * x * dy, inputs={"x": ("N",)})
    >>> print(proof)
    dx  proved for every N
    """
    shapes = shapes_of(inputs)
    if backward is None:
        from derivations.own_code.tensorflow_code import prove_operation

        return prove_operation(forward, shapes, order)
    if not callable(forward) or not callable(backward):
        raise NotUnderstood("forward and backward must be functions")
    if order != 1:
        raise NotUnderstood("order=2 is for functions of TensorFlow; a NumPy pair has gradients of first order")
    return Judge(Pair(forward, backward, tuple(shapes), pass_inputs), shapes).proof()


@dataclass(frozen=True)
class Symbolic:
    """What the symbolic run gave, for each input: whether the gradient is proved, or why not."""

    proved: Mapping[str, bool]
    reasons: Mapping[str, str]
    conditions: tuple[str, ...]
    held: tuple[str, ...] = ()


class Judge:
    """One pair of functions and the shapes of its inputs."""

    def __init__(self, pair: Any, shapes: Mapping[str, Shape]) -> None:
        self.pair, self.shapes, self.letters = pair, shapes, letters(shapes)
        self.names = tuple(shapes)

    # Real code: the user's own errors pass through

    def try_out(self) -> None:
        """Run the code on floats, once: what it raises there is the user's to see."""
        sizes = dict(zip(self.letters, (3, 4, 5, 2, 6, 7, 8), strict=False))
        rng = np.random.default_rng(0)
        inputs = [rng.uniform(0.5, 1.5, concrete(shape, sizes)) for shape in self.shapes.values()]
        with seen_through([self.pair.forward, self.pair.backward], {}), np.errstate(all="ignore"):
            self._try_out(inputs, rng)

    def _try_out(self, inputs: Sequence[Any], rng: Any) -> None:
        ys, cache = self.pair.run_forward(inputs)
        for y in ys:
            if not isinstance(y, np.ndarray | np.generic | float | int):
                raise NotUnderstood(f"forward returned {type(y).__name__}; it returns an array y, or (y, cache)")
        dys = [rng.uniform(0.5, 1.5, np.shape(y)) for y in ys]
        for name, gradient in self.pair.run_backward(dys, cache, inputs).items():
            if gradient is not None and np.asarray(gradient).dtype.kind not in "fiub":
                raise NotUnderstood(
                    f"the gradient of {name} is {type(gradient).__name__}; it must be an array of numbers"
                )

    def proof(self) -> Proof:
        """The verdicts."""
        with warnings.catch_warnings(action="ignore"):  # of NumPy, about sizes such as 1
            self.try_out()
            symbolic = self.symbolic()
            self._guarded(self.compare_with_floats)
            gradients = {name: self._verdict(name, symbolic) for name in self.names}
        return Proof(gradients, tuple(self.letters), held=symbolic.held)

    def compare_with_floats(self) -> None:
        """Refuse code that does on floats what exact arithmetic does not, such as rounding to integers.

        Results are compared to a thousandth: single precision passes, a number cut off does not.
        """
        rng = random.Random(5)
        sizes = dict(zip(self.letters, (2, 3, 1, 2, 1, 2, 1), strict=False))
        for _ in range(3):
            found = self.point(sizes, lambda: Fraction(rng.randint(3, 40), rng.choice((7, 11))), rng, 7)
            if found is None:
                continue
            _, inputs, returned, dys = found
            given = [_floats(value) for value in inputs.values()]
            with (
                seen_through([self.pair.forward, self.pair.backward], {}),
                np.errstate(all="ignore"),
                warnings.catch_warnings(action="ignore"),
            ):
                _, cache = self.pair.run_forward(given)
                floats = self.pair.run_backward([_floats(dy) for dy in dys], cache, given)
            for name, value in returned.items():
                if value is None or floats[name] is None:
                    continue
                exact_value, shown = _floats(value), np.asarray(floats[name], dtype=float)
                scale = 1e-3 * (np.abs(exact_value).max(initial=0) + 1e-3)
                if shown.shape != exact_value.shape or not (np.abs(shown - exact_value) <= scale).all():
                    raise NotUnderstood(
                        f"the gradient of {name} on floats is not what exact arithmetic gives: the code rounds or cuts "
                        "off numbers, keeps a state between calls, or is random; nothing can be proved of that"
                    )
            return

    # First proof

    def symbolic(self) -> Symbolic:
        """The code run on arrays of unknown sizes, and decided by the normal form."""
        try:
            return self._symbolic(builtin=False)
        except NotUnderstood:
            return self._symbolic(builtin=True)

    def _symbolic(self, *, builtin: bool) -> Symbolic:
        algebra = SymbolicAlgebra()
        functions = [self.pair.forward, self.pair.backward]
        inputs = [variable(algebra, name, shape) for name, shape in self.shapes.items()]
        before = [a._memory.version for a in inputs]
        try:
            with seen_through(functions, symbolic_names(algebra), builtin):
                outputs, cache = self.pair.run_forward(inputs)
                ys = [lift(algebra, y) for y in outputs]
                if [a._memory.version for a in inputs] != before:
                    raise NotUnderstood("forward changes its inputs in place; nothing is claimed of such a function")
                dys, given = (cotangents(algebra, ys) for _ in range(2))
                returned = self.pair.run_backward(given, cache, inputs)
        except NotUnderstood:
            raise
        except TooComplex as error:
            return Symbolic({}, dict.fromkeys(self.names, str(error)), ())
        except Exception as error:
            raise NotUnderstood(
                f"{_where(error)}: this code runs on numbers, but not on arrays of unknown size: "
                f"{type(error).__name__}: {error}"
            ) from error
        free_of_maxima(algebra, [*ys, *(lift(algebra, value) for value in returned.values() if value is not None)])
        return decide(ys, dys, self.shapes, returned)

    # Second proof

    def sizes(self) -> Iterator[dict[str, int]]:
        """Sizes to run at: all 1, all different, some equal."""
        count = len(self.letters)
        tables: dict[int, list[tuple[int, ...]]] = {
            0: [()],
            1: [(3,), (1,), (2,), (5,), (4,)],
            2: [(3, 2), (1, 2), (2, 1), (2, 2), (2, 3), (1, 1), (4, 1), (3, 3), (5, 2)],
            3: [(2, 3, 1), (1, 2, 2), (2, 1, 2), (2, 2, 2), (1, 1, 1), (3, 1, 1), (1, 3, 2)],
        }
        many = [tuple(2 if n % 2 else 1 for n in range(count)), tuple(1 + n % 3 for n in range(count))]
        rows = tables.get(count) or [*many, *([2 if n == k else 1 for n in range(count)] for k in range(count))][:8]
        for row in rows:
            yield dict(zip(self.letters, row, strict=True))

    def _arrays(self, ring: Any, sizes: Mapping[str, int], entry: Callable[[], Any]) -> dict[str, Any]:
        return {name: self._array(ring, concrete(shape, sizes), entry) for name, shape in self.shapes.items()}

    @staticmethod
    def _array(ring: Any, shape: tuple[int, ...], entry: Callable[[], Any]) -> Any:
        result = np.empty(shape, dtype=object)
        for place in np.ndindex(shape):
            result[place] = Number(ring, entry())
        return wrapped(result)

    def run(
        self, ring: Any, inputs: Mapping[str, Any], dy: Callable[[tuple[int, ...]], Any]
    ) -> tuple[dict[str, Any], list[Any]]:
        """The gradients that the code returns, and the cotangents."""
        with seen_through([self.pair.forward, self.pair.backward], exact_names(ring)):
            given = [value.copy() for value in inputs.values()]
            ys, cache = self.pair.run_forward(given)
            dys = [dy(wrapped(y).shape) for y in ys]
            return self.pair.run_backward([dy.copy() for dy in dys], cache, given), dys

    def slope(
        self, ring: Any, inputs: Mapping[str, Any], name: str, direction: Any, dys: Any, forgetting: Any = None
    ) -> Any:
        """The derivative of Σ dy·y in a direction of one input, by dual numbers."""
        changed = {key: value.copy() for key, value in inputs.items()}
        for place in np.ndindex(changed[name].shape):
            changed[name][place] = Number(ring, changed[name][place].a, direction(place))
        given = list(changed.values())
        for value in given:
            value.forgetting = forgetting
        with seen_through([self.pair.forward, self.pair.backward], exact_names(ring)):
            ys, _ = self.pair.run_forward(given)
        total = Number(ring, ring.of(Fraction(0)))
        for y, dy in zip(ys, dys, strict=True):
            for value, weight in zip(wrapped(y).ravel(), dy.ravel(), strict=True):
                total = total + value * weight
        return ring.of(Fraction(0)) if total.b is None else total.b

    def examine(self, name: str) -> tuple[bool | None, dict[str, int] | None]:
        """Whether the code agrees with dual numbers wherever it was run; None if it could not be run; where not."""
        if name not in self._examined:
            self._examine_all()
        return self._examined[name]

    _examined_cache: dict[str, tuple[bool | None, dict[str, int] | None]] | None = None

    @property
    def _examined(self) -> dict[str, tuple[bool | None, dict[str, int] | None]]:
        if self._examined_cache is None:
            self._examined_cache = {}
        return self._examined_cache

    def _examine_all(self) -> None:
        rng = random.Random(1)
        results: dict[str, tuple[bool | None, dict[str, int] | None]] = dict.fromkeys(self.names, (None, None))
        for n, sizes in enumerate(self.sizes()):
            primes = (PRIMES_WITH_ROOTS[n % 2],) if n > 1 else PRIMES_WITH_ROOTS
            for p in primes:
                outcome = self._at(sizes, p, rng)
                if outcome is None:
                    continue
                for name, equal in outcome.items():
                    if results[name][0] is not False:
                        results[name] = (equal, None if equal else sizes)
        self._examined.update(results)

    def _at(self, sizes: Mapping[str, int], p: int, rng: random.Random) -> dict[str, bool] | None:
        for attempt in range(ATTEMPTS):
            prime = p if attempt < ATTEMPTS // 2 else (*PRIMES, *RESERVE)[attempt % 5]
            ring = Residues(prime)
            draw = partial(rng.randrange, 1, prime)
            inputs = self._arrays(ring, sizes, draw)
            try:
                returned, dys = self.run(ring, inputs, partial(self._array, ring, entry=draw))
                return {name: self._agrees(ring, inputs, name, returned[name], dys, rng) for name in self.names}
            except (*_NO_VALUE,):
                continue
            except Transcendental:
                return self._at_reals(sizes, rng)
        return None

    def _agrees(self, ring: Any, inputs: Any, name: str, returned: Any, dys: Any, rng: random.Random) -> bool:
        if returned is None or np.shape(returned) != inputs[name].shape:
            return False
        steps = {place: rng.randrange(1, ring.p) for place in np.ndindex(inputs[name].shape)}
        true = self.slope(ring, inputs, name, lambda place: steps[place], dys)
        claimed = Number(ring, 0)
        for place, step in steps.items():
            claimed = claimed + as_number(ring, returned, place) * Number(ring, step)
        return not ring.differ(claimed.a, true)

    def _at_reals(self, sizes: Mapping[str, int], rng: random.Random) -> dict[str, bool] | None:
        for _ in range(4):
            found = self.point(sizes, lambda: Fraction(rng.randint(1, 19), rng.choice((4, 5, 7))), rng)
            if found is not None:
                ring, inputs, returned, dys = found
                return {
                    name: np.shape(returned[name]) == inputs[name].shape
                    and not self._different(ring, inputs, name, returned[name], dys)
                    for name in self.names
                }
        return None

    # Counterexamples

    def point(
        self, sizes: Mapping[str, int], entry: Callable[[], Fraction], rng: random.Random, denominator: int = 1
    ) -> Any:
        """The code run on rational numbers; None where it has no value."""
        ring = Reals()
        inputs = self._arrays(ring, sizes, entry)
        try:
            returned, dys = self.run(
                ring, inputs, lambda shape: self._array(ring, shape, lambda: Fraction(rng.randint(-2, 3), denominator))
            )
        except (*_NO_VALUE, OverflowError):
            return None
        return ring, inputs, returned, dys

    def _true(self, ring: Any, inputs: Any, name: str, dys: Any) -> list[Any]:
        one, zero = Fraction(1), Fraction(0)
        return [
            self.slope(ring, inputs, name, lambda p, at=place: one if p == at else zero, dys)
            for place in np.ndindex(inputs[name].shape)
        ]

    def _different(self, ring: Any, inputs: Any, name: str, returned: Any, dys: Any) -> bool:
        true = self._true(ring, inputs, name, dys)
        places = list(np.ndindex(inputs[name].shape))
        return any(
            ring.differ(as_number(ring, returned, place).a, value) for place, value in zip(places, true, strict=True)
        )

    def counterexample(self, name: str, where: Mapping[str, int] | None = None) -> Counterexample | None:
        """Small numbers at which the gradient of this input is wrong; exact ones where they are found."""
        rng = random.Random(0)
        tried = sorted(self.sizes(), key=lambda sizes: (np.prod([1, *sizes.values()]), *sizes.values()))
        irrational: Counterexample | None = None
        for sizes in [*tried, *([dict(where)] if where else [])]:
            for attempt in range(12):
                low, high = ((0, 3), (-2, 3), (1, 4))[attempt % 3]
                entry = partial(_small, rng, low, high)
                found = self.point(sizes, entry, rng)
                if found is None:
                    continue
                ring, inputs, returned, dys = found
                try:
                    example = self._example(ring, inputs, name, returned[name], dys, sizes)
                except (*_NO_VALUE, OverflowError):
                    continue
                if example is None:
                    if attempt > 4 and irrational is None:
                        break
                    continue
                if _rational(example.returned) and _rational(example.correct):
                    return example
                irrational = irrational or example
            if irrational is not None:
                return irrational
        return irrational

    def _example(
        self, ring: Any, inputs: Any, name: str, returned: Any, dys: Any, sizes: Mapping[str, int]
    ) -> Counterexample | None:
        true = self._true(ring, inputs, name, dys)
        shape = inputs[name].shape
        correct = np.empty(shape, dtype=object)
        for place, value in zip(np.ndindex(shape), true, strict=True):
            correct[place] = value
        if returned is None or (np.shape(returned) == shape and not self._different(ring, inputs, name, returned, dys)):
            return None
        shown = np.empty(np.shape(returned), dtype=object)
        for place in np.ndindex(shown.shape):
            shown[place] = as_number(ring, returned, place).a
        given = {key: plain(value) for key, value in inputs.items()}
        return Counterexample(
            {**given, **{name: plain(dy) for name, dy in zip(names_of_cotangents(len(dys)), dys, strict=True)}},
            shown.tolist(),
            correct.tolist(),
            dict(sizes),
        )

    # Verdicts

    def _verdict(self, name: str, symbolic: Symbolic) -> GradientVerdict:
        equal, where = self._guarded(self.examine, name)
        proved = symbolic.proved.get(name, False)
        if proved and equal:
            return GradientVerdict(name, PROVED, conditions=symbolic.conditions)
        if equal is not True or not proved:
            if equal is not True and (example := self._guarded(self.counterexample, name, where)):
                mistake = self.mistake(name, example)
                if mistake.startswith("the values are right"):
                    return GradientVerdict(name, NOT_PROVED, reason=mistake)
                return GradientVerdict(name, REFUTED, mistake=mistake, counterexample=example)
            if proved and equal is None:
                reason = "the exact runs found no point at which the code has a value"
            elif equal is False:
                reason = (
                    f"right for most sizes, but not at {_sizes_text(where)}, where no small counterexample was found"
                )
            else:
                reason = symbolic.reasons.get(name, "") or "the normal form leaves a difference"
                reason += "; exact runs at several sizes found no error" if equal else ""
            return GradientVerdict(name, NOT_PROVED, reason=reason)
        raise AssertionError(name)

    @staticmethod
    def _guarded(run: Callable[..., Any], *given: Any) -> Any:
        """Code that fails on exact numbers, though it runs on floats, is refused."""
        try:
            return run(*given)
        except NotUnderstood:
            raise
        except Exception as error:
            raise NotUnderstood(
                f"{_where(error)}: this code runs on floats, but not on exact numbers: {type(error).__name__}: {error}"
            ) from error

    def mistake(self, name: str, example: Counterexample) -> str:
        """The mistake, where it is one that is known."""
        from derivations.own_code.mistakes import named

        try:
            return named(self, name, example)
        except Exception:  # without a name for the mistake the refutation stands
            return ""


def _small(rng: random.Random, low: int, high: int) -> Fraction:
    return Fraction(rng.randint(low, high))


def as_number(ring: Any, value: Any, place: tuple[int, ...]) -> Number:
    """The entry of an array of exact numbers, or of what is constant."""
    entry = value[place] if isinstance(value, np.ndarray) else value
    return Number(ring, ring.of(Fraction(0))) + entry


def plain(array: Any) -> Any:
    return np.vectorize(lambda number: number.a, otypes=[object])(array.view(np.ndarray)).tolist()


def _floats(array: Any) -> Any:
    """An array of exact numbers as floats."""

    def as_float(number: Any) -> float:
        value = number.a if isinstance(number, Number) else number
        return float(value.mid) if hasattr(value, "mid") else float(value)

    return np.vectorize(as_float, otypes=[float])(np.asarray(array, dtype=object))


def _rational(value: Any) -> bool:
    return all(map(_rational, value)) if isinstance(value, list) else isinstance(value, Fraction)


def _sizes_text(sizes: Mapping[str, int] | None) -> str:
    return ", ".join(f"{name} = {n}" for name, n in (sizes or {}).items())


def _where(error: BaseException) -> str:
    """The line of the user's code at which an error arose."""
    import traceback
    from pathlib import Path

    here = str(Path(__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(here)]
    own = [f for f in frames if "/numpy/" not in f.filename and "site-packages" not in f.filename]
    return f"{short(own[-1].filename)}:{own[-1].lineno}" if own else "the code"


def variable(algebra: SymbolicAlgebra, name: str, shape: Shape) -> SymbolicArray:
    """An input as an array of free elements."""
    axes = [axis_of(algebra, Size(algebra, algebra.size(n)) if isinstance(n, str) else n) for n in shape]
    return _free(algebra, name, axes)


def names_of_cotangents(count: int) -> list[str]:
    """dy, or dy1, dy2, …"""
    return [_DY] if count == 1 else [f"{_DY}{n + 1}" for n in range(count)]


def cotangents(algebra: SymbolicAlgebra, ys: Sequence[SymbolicArray]) -> list[SymbolicArray]:
    """Free arrays of the shapes of the outputs."""
    return [_free(algebra, name, y.axes) for name, y in zip(names_of_cotangents(len(ys)), ys, strict=True)]


def _free(algebra: SymbolicAlgebra, name: str, axes: Sequence[Any]) -> SymbolicArray:
    places: tuple[Any, ...] = ()
    for n, axis in enumerate(axes):
        places += tuple(names_of_axis(len(axes) - 1 - n, axis))
    return SymbolicArray(algebra, axes, algebra.element(name, places))


def decide(
    ys: Sequence[SymbolicArray],
    dys: Sequence[SymbolicArray],
    shapes: Mapping[str, Shape],
    returned: Mapping[str, Any],
) -> Symbolic:
    """Whether each array returned is the derivative of Σ dy·y."""
    algebra = ys[0].algebra
    proved, reasons = {}, {}
    for name, shape in shapes.items():
        try:
            proved[name], reasons[name] = _decide_one(ys, dys, variable(algebra, name, shape), name, returned[name])
        except TooComplex as error:
            proved[name], reasons[name] = False, str(error)
        except DividesByZero:
            proved[name], reasons[name] = False, "a denominator is identically 0"
    return Symbolic(proved, reasons, conditions(algebra))


def _decide_one(
    ys: Sequence[SymbolicArray], dys: Sequence[SymbolicArray], given: SymbolicArray, name: str, returned: Any
) -> tuple[bool, str]:
    algebra = given.algebra
    if returned is None:
        return False, "None was returned in the place of this gradient"
    array = lift(algebra, returned)
    if _lengths(array) != _lengths(given):
        return False, f"its shape is {array.shape}; that of {name} is {given.shape}"
    derivatives = [algebra.derivative(y.polynomial, name, _DIRECTION) for y in ys]
    used = [places for derivative in derivatives for places in algebra.places_of(derivative, _DIRECTION)]
    real = [n for n, axis in enumerate(given.axes) if axis]
    for places in used:
        for n, place in zip(real, places, strict=True):
            if isinstance(place, tuple) and len(array.axes[n]) == 1:
                inner = next(size for size in _parts_of(place, array.axes[n]))
                array = _split(array, n, inner)
    target: list[Any] = []
    for n in real:
        names = names_of_axis(array.ndim - 1 - n, array.axes[n])
        if len(names) == 1:
            target.append(names[0])
        else:
            whole: Any = names[0]
            for inner_name, part in zip(names[1:], array.axes[n][1:], strict=True):
                whole = (whole, inner_name, str(part))
            target.append(whole)
    true: Polynomial = {}
    for y, dy, derivative in zip(ys, dys, derivatives, strict=True):
        free = [
            (index, dict(size))
            for n, axis in enumerate(y.axes)
            for index, size in zip(names_of_axis(y.ndim - 1 - n, axis), axis, strict=True)
        ]
        true = algebra.add(true, algebra.gradient(derivative, dy.polynomial, free, _DIRECTION, tuple(target)))
    difference = algebra.add(algebra.released(array.polynomial), algebra.released(true), -1)
    return algebra.vanishes(difference), ""


def _parts_of(place: tuple[Any, ...], axis: Any) -> Iterator[Any]:
    """The lengths into which an axis was split, from a place that names the last one."""
    text = place[2]
    digits = [int(part) for part in "".join(c if c.isdigit() else " " for c in text).split()]
    inner = digits[0]
    whole = int(axis[0][0][1])
    first = (((), Fraction(whole // inner)),)
    yield (first, (((), Fraction(inner)),))


def _lengths(a: SymbolicArray) -> list[Any]:
    from derivations.own_code.arrays import length

    return [length(a.algebra, axis) for axis in a.axes]


def free_of_maxima(algebra: SymbolicAlgebra, arrays: Sequence[SymbolicArray]) -> None:
    """Refuse what depends on a maximum of values; softmax, from whose input one is subtracted, does not."""
    for name, place in algebra.journal.largest.items():
        for array in arrays:
            if not algebra.vanishes(algebra.derivative(array.polynomial, name, _DIRECTION)):
                raise NotUnderstood(
                    f"{place}: a maximum or minimum of values is understood only where the result does not depend on "
                    "it, as in softmax(x − max x); here it does"
                )


def conditions(algebra: SymbolicAlgebra) -> tuple[str, ...]:
    """What must hold, in words, for everything to be defined."""
    found: dict[Any, tuple[Requirement, str]] = {}
    for requirement in algebra.journal.requirements:
        key = _what_matters(algebra, requirement.polynomial)
        if key != ():
            known = found.get(key)
            relation = "> 0" if known and known[1] != requirement.relation else requirement.relation
            found[key] = (known[0] if known else requirement, relation)
    return (
        *dict.fromkeys(algebra.journal.notes),
        *dict.fromkeys(_condition(algebra, requirement, relation) for requirement, relation in found.values()),
    )


def _what_matters(algebra: SymbolicAlgebra, polynomial: Polynomial) -> Any:
    """The factors of what is required not to be 0 that are not known to be positive."""
    polynomial = algebra.reduce(polynomial)
    if len(polynomial) != 1:
        return tuple(sorted(polynomial.items()))
    ((monomial, coefficient),) = polynomial.items()
    return () if not monomial and coefficient else tuple(sorted(a for a, _ in monomial if a not in algebra.positive))


def _condition(algebra: SymbolicAlgebra, requirement: Requirement, relation: str) -> str:
    polynomial = requirement.polynomial
    pure = all(algebra.atoms[atom][0] == "n" for monomial in polynomial for atom, _ in monomial)
    if pure:
        return f"{as_size(algebra, polynomial)!r} {relation}"
    what = "the divisor" if requirement.relation == "≠ 0" else "the radicand"
    return f"{what} in {requirement.place} is {relation}"


__all__ = ["Forgetting", "Judge", "prove_gradient"]
