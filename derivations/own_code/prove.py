"""``prove_gradient``: NumPy code is proved to compute the gradient of other NumPy code, for every size."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import cycle
from typing import Any

import numpy as np

from derivations.own_code.algebra.atoms import begun_again
from derivations.own_code.algebra.polynomials import TooComplex
from derivations.own_code.counterexamples import ROUNDED, Counterexamples, difference
from derivations.own_code.proof import (
    NOT_PROVED,
    PROVED,
    REFUTED,
    VALUES_ARE_RIGHT,
    Counterexample,
    GradientVerdict,
    Proof,
)
from derivations.own_code.refusal import NotUnderstood, short
from derivations.own_code.running.calling import Pair, Shape, concrete, shapes_of
from derivations.own_code.running.floats import exact_as_floats, same_at_every_size, same_in_every_call
from derivations.own_code.running.seeing import seen_through
from derivations.own_code.running.ways import Way
from derivations.own_code.symbolic.creators import symbolic_names
from derivations.own_code.symbolic.decision import Symbolic, cotangents, decide, free_of_maxima, thresholds, variable
from derivations.own_code.symbolic.journal import SymbolicAlgebra
from derivations.own_code.symbolic.shapes import lift


def prove_gradient(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    inputs: Mapping[str, Sequence[str | int | None]],
    wrt: Sequence[str] | None = None,
    pass_inputs: bool | None = None,
    order: int = 1,
) -> Proof:
    """Prove, or refute, that code computes the gradient of other code, for every size.

    With ``backward``, both are NumPy functions. ``forward(*inputs)`` returns y or (y, cache); with several outputs it
    returns ((y1, y2), cache), and dy is a tuple. ``backward`` is called as ``backward(dy, cache)`` or as
    ``backward(dy, *inputs)``. A method of an object that keeps what it needs may take dy alone. ``backward`` returns
    the gradients of Σ dy·y, in the order of the inputs or as a dictionary.

    Without ``backward``, ``forward`` is a function of TensorFlow tensors, and the gradient that TensorFlow takes is
    proved, including any ``tf.custom_gradient``.

    Args:
        forward: The function. Pass constants by closure, by default arguments, or by ``functools.partial``.
        backward: Its gradient; None for a function of TensorFlow.
        inputs: A name and a shape for each input, in the order in which they are passed. In a shape, a name or None
            stands for an unknown size, and a number for a known size. Equal names are equal sizes.
        wrt: The inputs whose gradients are judged, by name; by default all. Of the others, such as labels, backward may
            return None, or leave them out.
        pass_inputs: Whether backward gets the inputs instead of the cache; by default its signature decides.
        order: 2 also compares the gradients that TensorFlow takes of its first gradient with the second derivatives of
            the forward pass. What the forward pass wraps in ``tf.stop_gradient`` is a constant.

    Returns:
        The verdict on each gradient. It is true if all gradients are proved. Its text shows a counterexample for each
        gradient that is refuted.

    Raises:
        NotUnderstood: the code does something about which nothing can be proved; the message names the line.

    >>> proof = prove_gradient(lambda x: x * x, lambda dy, x: 2 * x * dy, inputs={"x": ("N",)})
    >>> print(proof)
    dx  proved for every N
    """
    shapes = shapes_of(inputs)
    judged = _judged(wrt, shapes)
    try:
        return _proof(forward, backward, shapes, judged, pass_inputs, order)
    except NotUnderstood:
        raise
    except Exception as error:
        first = [name for name, shape in inputs.items() if shape and shape[0] is None]
        if len(first) < 2:
            raise
        try:  # the code may be one that takes a batch in several inputs
            proof = _proof(forward, backward, shapes_of(inputs, one_batch=True), judged, pass_inputs, order)
        except Exception:
            raise error from None
        return replace(proof, note=f"{' and '.join(first)} are taken to be equally long, as the code demands")


def _judged(wrt: Any, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The inputs whose gradients are judged."""
    if wrt is None:
        return tuple(shapes)
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    if not names or not set(names) <= set(shapes) or len(set(names)) != len(names):
        raise NotUnderstood(f"wrt names some of the inputs ({', '.join(shapes)}), each once. Received: {wrt!r}")
    return tuple(name for name in shapes if name in names)


def _proof(
    forward: Any, backward: Any, shapes: dict[str, Shape], wrt: tuple[str, ...], pass_inputs: bool | None, order: int
) -> Proof:
    if backward is None:
        from derivations.own_code.graphs.judge import prove_operation

        return prove_operation(forward, shapes, wrt, order)
    if not callable(forward) or not callable(backward):
        raise NotUnderstood("forward and backward must be functions")
    if order != 1:
        raise NotUnderstood("order=2 is for functions of TensorFlow; a NumPy pair has gradients of first order")
    return Judge(Pair(forward, backward, tuple(shapes), wrt, pass_inputs), shapes, wrt).proof()


class Judge(Counterexamples):
    """One pair of functions, judged by both proofs."""

    def __init__(self, pair: Any, shapes: Mapping[str, Any], wrt: Sequence[str] = ()) -> None:
        super().__init__(pair, shapes, wrt)
        self.absent: set[str] = set()  # the inputs for which None is returned
        self.thresholds: tuple[Fraction, ...] = ()  # numbers with which values are compared
        self.way: Way | None = None  # through the whole code, on arrays of unknown sizes

    # Real code: the user's own errors pass through

    def try_out(self) -> None:
        """Run the code once on floats. The user sees the errors that it raises."""
        sizes = dict(zip(self.letters, cycle((3, 4, 5, 2, 6, 7, 8))))
        rng = np.random.default_rng(0)
        inputs = [rng.uniform(0.5, 1.5, concrete(shape, sizes)) for shape in self.shapes.values()]
        with seen_through([self.pair.forward, self.pair.backward], {}), np.errstate(all="ignore"):
            try:
                self._try_out(inputs, rng)
            except NotUnderstood:
                raise
            except Exception as error:
                shapes = ", ".join(
                    f"{name} of shape {np.shape(a)}" for name, a in zip(self.shapes, inputs, strict=True)
                )
                error.add_note(
                    f"prove_gradient called the code with {shapes}, since unknown sizes may be any. Sizes that "
                    "must be equal are given one name in inputs; if the code holds arrays of a fixed size, such as the "
                    "parameters of a layer, give that size as a number."
                )
                raise

    def _try_out(self, inputs: Sequence[Any], rng: Any) -> None:
        ys, cache = self.pair.run_forward(inputs)
        for y in ys:
            if not isinstance(y, np.ndarray | np.generic | float | int):
                raise NotUnderstood(f"forward returned {type(y).__name__}; it returns an array y, or (y, cache)")
        dys = [rng.uniform(0.5, 1.5, np.shape(y)) for y in ys]
        for name, gradient in self.pair.run_backward(dys, cache, inputs).items():
            if gradient is None:
                self.absent.add(name)
            elif np.asarray(gradient).dtype.kind not in "fiub":
                raise NotUnderstood(
                    f"the gradient of {name} is {type(gradient).__name__}; it must be an array of numbers"
                )

    def proof(self) -> Proof:
        """The verdicts."""
        with warnings.catch_warnings(action="ignore"):  # of NumPy, about sizes such as 1
            self.try_out()
            if self.pair.forward is not None:  # not a graph
                same_in_every_call(self)
            try:
                symbolic = self.symbolic()
            except NotUnderstood as refused:
                if refused.may_be_refuted and (found := self._refuted_although(refused)) is not None:
                    return found
                raise
            self._defined = self._guarded(exact_as_floats, self) or not symbolic.conditions
            gradients = {name: self._verdict(name, symbolic) for name in self.names}
            if self.way is not None and any(gradients.values()):
                same_at_every_size(self, self.way, [name for name, found in gradients.items() if found])
        return Proof(gradients, tuple(self.letters), held=symbolic.held, note=self.not_judged())

    def not_judged(self) -> str:
        """The inputs that ``wrt`` leaves out, in words."""
        left_out = [name for name in self.shapes if name not in self.names]
        return f"not judged: the gradient{'s' * (len(left_out) > 1)} of {' and '.join(left_out)}" if left_out else ""

    def _refuted_although(self, refused: NotUnderstood) -> Proof | None:
        """What is not understood for every size may be wrong at one: then the counterexample is the verdict."""
        with suppress(Exception):
            exact_as_floats(self)
            gradients = {name: GradientVerdict(name, NOT_PROVED, reason=str(refused)) for name in self.names}
            for name in set(self.names) - self.absent:
                equal, where = self.examine(name)
                example = self.counterexample(name, where) if equal is False else None
                if example and not (mistake := self.mistake(name, example)).startswith(VALUES_ARE_RIGHT):
                    gradients[name] = GradientVerdict(name, REFUTED, mistake=mistake, counterexample=example)
            if any(gradient.verdict == REFUTED for gradient in gradients.values()):
                return Proof(gradients, tuple(self.letters), note=self.not_judged())
        return None

    _defined = False

    # First proof

    def symbolic(self) -> Symbolic:
        """The code run on arrays of unknown sizes, and decided by the normal form."""
        for builtin in (False, True):
            try:
                return self._symbolic(builtin=builtin)
            except NotUnderstood:
                pass
        return self._symbolic(builtin=True, follows_maxima=True)

    def _symbolic(self, *, builtin: bool, follows_maxima: bool = False) -> Symbolic:
        def run(apart: frozenset[int]) -> Symbolic:
            algebra = SymbolicAlgebra(apart, follows_maxima=follows_maxima, labels=self.shapes.keys() - set(self.names))
            self.builtin = builtin
            found = self._decided(algebra, builtin)
            self.thresholds, self.labels = thresholds(algebra), tuple(algebra.journal.labels)
            self.blocks = algebra.blocks()
            return found

        found: Symbolic = begun_again(run)
        return found

    def _decided(self, algebra: SymbolicAlgebra, builtin: bool) -> Symbolic:
        functions = [self.pair.forward, self.pair.backward]
        inputs = [variable(algebra, name, shape) for name, shape in self.shapes.items()]
        before = [a._memory.version for a in inputs]
        try:
            self.way = None
            way = Way()
            follow = way.followed() if self.pair.forward is not None else nullcontext()
            with seen_through(functions, symbolic_names(algebra), builtin), follow:
                outputs, cache = self.pair.run_forward(inputs)
                ys = [lift(algebra, y) for y in outputs]
                if [a._memory.version for a in inputs] != before:
                    raise NotUnderstood("forward changes its inputs in place; nothing is claimed of such a function")
                dys, given = (cotangents(algebra, ys) for _ in range(2))
                returned = self.pair.run_backward(given, cache, inputs)
            self.way = way if self.pair.forward is not None else None
        except NotUnderstood:
            raise
        except TooComplex as error:
            return Symbolic({}, dict.fromkeys(self.names, str(error)), ())
        except Exception as error:
            raise NotUnderstood(
                f"{_where(error)}: this code runs on numbers, but not on arrays of unknown size: "
                f"{type(error).__name__}: {error}"
            ) from error
        try:
            gradients = [value for name in self.names if (value := returned[name]) is not None]
            free_of_maxima(algebra, [*ys, *(lift(algebra, value) for value in gradients)])
            return decide(ys, dys, {name: self.shapes[name] for name in self.names}, returned)
        except TooComplex as error:
            return Symbolic({}, dict.fromkeys(self.names, str(error)), ())

    # Verdicts

    def _verdict(self, name: str, symbolic: Symbolic) -> GradientVerdict:
        if name in self.absent:
            reason = (
                "None was returned. If no gradient of it is needed, leave it out of wrt; otherwise return it, or zeros"
            )
            return GradientVerdict(name, NOT_PROVED, reason=reason)
        equal, where = self._guarded(self.examine, name)
        proved = symbolic.proved.get(name, False)
        if proved and equal:
            if not self._defined:
                reason = f"no real numbers were found at which {' and '.join(symbolic.conditions)}, as it demands"
                return GradientVerdict(name, NOT_PROVED, reason=reason)
            return GradientVerdict(name, PROVED, conditions=symbolic.conditions)
        if equal is not True or not proved:
            example = None if equal is True else self._guarded(self.counterexample, name, where)
            if example or (example := self._guarded(self.around, name, self.thresholds)):
                mistake = self.mistake(name, example)
                if mistake.startswith(VALUES_ARE_RIGHT):
                    return GradientVerdict(name, NOT_PROVED, reason=mistake)
                if 0 < (apart := difference(example)) < ROUNDED:
                    reason = f"what is returned differs from the derivative by {apart:.0e} of it at most, where it was "
                    reason += "tried, as where a constant is rounded; write it in full, or as np.sqrt(2) and the like"
                    return GradientVerdict(name, NOT_PROVED, reason=reason)
                return GradientVerdict(name, REFUTED, mistake=mistake, counterexample=example)
            if proved and equal is None:
                reason = "the exact runs found no point at which the code has a value"
            elif equal is False:
                at = f" at {_sizes_text(where)}" if where else ""
                reason = f"exact runs differ{at}, and no small counterexample was found"
                reason += "; a constant may be rounded"
            else:
                reason = symbolic.reasons.get(name, "") or "the normal form leaves a difference"
                reason += "; exact runs at several sizes found no error" if equal else ""
            return GradientVerdict(name, NOT_PROVED, reason=reason)
        raise AssertionError(name)

    @staticmethod
    def _guarded(run: Callable[..., Any], *given: Any) -> Any:
        """Refuse code that runs on floats but fails on exact numbers."""
        try:
            return run(*given)
        except NotUnderstood:
            raise
        except Exception as error:
            raise NotUnderstood(
                f"{_where(error)}: this code runs on floats, but not on exact numbers: {type(error).__name__}: {error}"
            ) from error

    def mistake(self, name: str, example: Counterexample) -> str:
        """The name of the mistake if it is a known one, otherwise an empty text."""
        from derivations.own_code.mistakes import named

        try:
            return named(self, name, example)
        except Exception:  # without a name for the mistake the refutation stands
            return ""


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


__all__ = ["Judge", "prove_gradient"]
