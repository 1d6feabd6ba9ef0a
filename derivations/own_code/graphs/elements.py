"""TensorFlow's operations on elements by NumPy's functions, for arrays of unknown size and exact numbers alike."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.own_code.exact.arrays import wrapped
from derivations.own_code.exact.dual_numbers import Number
from derivations.own_code.graphs.parts import PARTS
from derivations.own_code.graphs.sizes import known, maximum_of_sizes
from derivations.own_code.refusal import refused_operation
from derivations.own_code.symbolic.arrays import SymbolicArray
from derivations.own_code.symbolic.elementwise import function_of
from derivations.own_code.symbolic.sizes import Size
from derivations.own_code.written_numbers import exact


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(run: Any, operation: Any, a: Any, axes: Any) -> Any:
        chosen = tuple(axes) if isinstance(axes, list) else (axes,)
        chosen = tuple(dict.fromkeys(n % a.ndim for n in chosen)) if np.ndim(a) else ()
        keep = operation.get_attr("keep_dims")
        return function(a, axis=chosen, keepdims=keep) if chosen else a

    return reduce


def _matmul(run: Any, operation: Any, a: Any, b: Any) -> Any:
    names = ("transpose_a", "transpose_b") if operation.type == "MatMul" else ("adj_x", "adj_y")
    a, b = (
        np.swapaxes(value, -1, -2) if operation.get_attr(name) else value
        for value, name in zip((a, b), names, strict=True)
    )
    return np.matmul(a, b)


def _cast(run: Any, operation: Any, value: Any) -> Any:
    source, target = operation.inputs[0].dtype, operation.outputs[0].dtype
    if source.is_bool:
        return value.astype(float) if isinstance(value, SymbolicArray) else run.like(np.asarray(value, dtype=float))
    if target.size < _NARROWEST:
        raise refused_operation(operation, f"a cast to {target.name} loses digits; compute in float32 or float64")
    if source.is_floating and target.size < source.size and isinstance(value, SymbolicArray):
        note = f"the casts from {source.name} to {target.name} are taken as exact"
        value.algebra.journal.notes.append(note)
    return Fraction(value) if isinstance(value, int) else value


_NARROWEST = 4  # bytes of a floating-point type whose casts are taken as exact


def _filled(run: Any, operation: Any, shape: Any, value: Any) -> Any:
    return _broadcast(run, operation, value, shape)


def _broadcast(run: Any, operation: Any, value: Any, shape: Any) -> Any:
    value = run.array(value)
    if isinstance(value, np.ndarray | Number):
        return wrapped(np.broadcast_to(np.asarray(value, dtype=object), tuple(shape)).copy())
    return np.broadcast_to(value, tuple(shape))


def _tiled(run: Any, operation: Any, value: Any, reps: Any) -> Any:
    return np.tile(value, tuple(reps))


def _squeezed(run: Any, operation: Any, value: Any) -> Any:
    axes = tuple(operation.get_attr("squeeze_dims"))
    return np.squeeze(value, axis=axes) if axes else np.squeeze(value)


def _reshaped(run: Any, operation: Any, value: Any, shape: Any) -> Any:
    if isinstance(value, Number):
        value = wrapped(np.array(value, dtype=object))
    value = run.array(value)
    return value if shape == [] and not np.ndim(value) else np.reshape(value, tuple(shape))


def _sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def _erf(a: Any) -> Any:
    if isinstance(a, SymbolicArray):
        return function_of("erf", a)
    return a.erf() if isinstance(a, Number) else wrapped(np.vectorize(Number.erf, otypes=[object])(a))


def _bias(run: Any, operation: Any, a: Any, bias: Any) -> Any:
    if operation.get_attr("data_format") not in (b"NHWC", "NHWC"):
        raise refused_operation(operation, "the data format NCHW")
    return a + bias


def _softmax(run: Any, operation: Any, a: Any) -> Any:
    powers = np.exp(a)
    return powers / np.sum(powers, axis=-1, keepdims=True)


def _log_softmax(a: Any) -> Any:
    return a - np.log(np.sum(np.exp(a), axis=-1, keepdims=True))


def _einsum(run: Any, operation: Any, *given: Any) -> Any:
    return np.einsum(operation.get_attr("equation").decode(), *given)


def _exponent(run: Any, operation: Any, a: Any, exponent: Any) -> Any:
    if isinstance(exponent, SymbolicArray):
        return np.power(a, exponent)
    value = exponent.flat[0] if isinstance(exponent, np.ndarray) else exponent
    return a ** (value.ring.rational(value.a) if isinstance(value, Number) else value)


def _selected(run: Any, operation: Any, condition: Any, a: Any, b: Any) -> Any:
    if isinstance(condition, bool):
        return a if condition else b
    return np.where(condition, run.array(a), run.array(b))


def _truth(run: Any, value: int) -> Any:
    """A truth value, the same for all elements."""
    made = run.like(Fraction(value))
    return made > run.like(Fraction(0)) if isinstance(made, SymbolicArray) else np.bool_(value)


def _maximum_of(run: Any, operation: Any, a: Any, b: Any) -> Any:
    return maximum_of_sizes(a, b) if known(a) and known(b) else np.maximum(a, b)


def _where(
    condition: Callable[..., Any], value: Callable[..., Any], otherwise: Callable[..., Any]
) -> Callable[..., Any]:
    """A gradient by cases, of dy and what the operation gave or took."""
    return lambda run, operation, dy, y: np.where(condition(y), value(dy, y), otherwise(dy, y))


def _leaky(run: Any, operation: Any, a: Any) -> Any:
    return np.where(a > 0, a, a * _alpha(operation))


def _leaky_slope(run: Any, operation: Any, dy: Any, a: Any) -> Any:
    return np.where(a > 0, dy, dy * _alpha(operation))


def _alpha(operation: Any) -> Fraction:
    return exact(np.float32(operation.get_attr("alpha")))  # which is how graphs keep it


def _selu(run: Any, operation: Any, a: Any) -> Any:
    scale, below = _scales_of_selu(operation)
    return np.where(a > 0, a * scale, (np.exp(a) - 1) * below)


def _selu_slope(run: Any, operation: Any, dy: Any, y: Any) -> Any:
    scale, below = _scales_of_selu(operation)
    return np.where(y > 0, dy * scale, dy * (y + below))


def _scales_of_selu(operation: Any) -> tuple[Fraction, Fraction]:
    """Its scale, and scale·alpha, as its kernel has them."""
    of_type = operation.outputs[0].dtype.as_numpy_dtype
    return exact(of_type(1.0507009873554805)), exact(of_type(1.7580993408473768))


def _by(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda run, operation, *given: function(*given)


# Operations on numbers that do not depend on data as well.
ON_SIZES = ("AddV2", "Sub", "Mul", "RealDiv", "Neg", "Maximum", "Cast", "Select", "SelectV2", "Reshape", "Fill")

REALS: dict[str, Callable[..., Any]] = {
    **PARTS,
    "Maximum": _maximum_of,
    "Minimum": _by(np.minimum),
    "ClipByValue": _by(np.clip),
    "Select": _selected,
    "SelectV2": _selected,
    "Greater": _by(np.greater),
    "GreaterEqual": _by(np.greater_equal),
    "Less": _by(np.less),
    "LessEqual": _by(np.less_equal),
    "LogicalAnd": _by(np.logical_and),
    "LogicalOr": _by(np.logical_or),
    "LogicalNot": _by(np.logical_not),
    "Equal": _by(np.equal),
    "NotEqual": _by(np.not_equal),
    # Of real numbers.
    "IsFinite": lambda run, operation, a: _truth(run, 1),
    "IsNan": lambda run, operation, a: _truth(run, 0),
    "IsInf": lambda run, operation, a: _truth(run, 0),
    "Relu": _by(lambda a: np.maximum(a, 0)),
    "ReluGrad": _where(lambda y: y > 0, lambda dy, y: dy, lambda dy, y: dy * 0),
    "Relu6": _by(lambda a: np.clip(a, 0, 6)),
    "Relu6Grad": _where(lambda y: np.logical_and(y > 0, y < 6), lambda dy, y: dy, lambda dy, y: dy * 0),
    "LeakyRelu": _leaky,
    "LeakyReluGrad": _leaky_slope,
    "Elu": _by(lambda a: np.where(a > 0, a, np.exp(a) - 1)),
    "EluGrad": _where(lambda y: y > 0, lambda dy, y: dy, lambda dy, y: dy * (y + 1)),
    "Selu": _selu,
    "SeluGrad": _selu_slope,
    "Xlogy": _by(lambda a, b: a * np.log(b)),
    "Xdivy": _by(lambda a, b: a / b),
    "Softsign": _by(lambda a: a / (1 + np.abs(a))),
    "SoftsignGrad": _by(lambda dy, a: dy / ((1 + np.abs(a)) * (1 + np.abs(a)))),
    "DivNoNan": _by(lambda a, b: a / b),
    "MulNoNan": _by(lambda a, b: a * b),
    "Cosh": _by(np.cosh),
    "Sinh": _by(np.sinh),
    "AddV2": _by(lambda a, b: a + b),
    "Add": _by(lambda a, b: a + b),
    "Sub": _by(lambda a, b: a - b),
    "Mul": _by(lambda a, b: a * b),
    # Fractions would ask a size for its numerator.
    "RealDiv": lambda run, operation, a, b: run.array(a) / run.array(b) if isinstance(b, Size) else a / b,
    "Div": _by(lambda a, b: a / b),
    "AddN": _by(lambda *given: sum(given[1:], given[0])),
    "Neg": _by(lambda a: -a),
    "Square": _by(lambda a: a * a),
    "SquaredDifference": _by(lambda a, b: (a - b) * (a - b)),
    "Sqrt": _by(lambda a: a**0.5),
    "Rsqrt": _by(lambda a: a**-0.5),
    "Reciprocal": _by(lambda a: 1 / a),
    "Inv": _by(lambda a: 1 / a),
    "Pow": _exponent,
    "Exp": _by(np.exp),
    "Expm1": _by(lambda a: np.exp(a) - 1),
    "Log": _by(np.log),
    "Log1p": _by(lambda a: np.log(1 + a)),
    "Tanh": _by(np.tanh),
    "Sin": _by(np.sin),
    "Cos": _by(np.cos),
    "Erf": _by(_erf),
    "Erfc": _by(lambda a: 1 - _erf(a)),
    "Sigmoid": _by(_sigmoid),
    "Softplus": _by(lambda a: np.log(1 + np.exp(a))),
    "Abs": _by(np.abs),
    "Sign": _by(np.sign),
    "RsqrtGrad": _by(lambda y, dy: dy * y * y * y * -0.5),
    "SqrtGrad": _by(lambda y, dy: dy * 0.5 / y),
    "ReciprocalGrad": _by(lambda y, dy: -dy * y * y),
    "InvGrad": _by(lambda y, dy: -dy * y * y),
    "TanhGrad": _by(lambda y, dy: dy * (1 - y * y)),
    "SigmoidGrad": _by(lambda y, dy: dy * y * (1 - y)),
    "SoftplusGrad": _by(lambda dy, x: dy * _sigmoid(x)),
    "Sum": _reduction(np.sum),
    "Mean": _reduction(np.mean),
    "Max": _reduction(np.max),
    "Min": _reduction(np.min),
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMul": _matmul,
    "Einsum": _einsum,
    "Transpose": _by(lambda a, order: np.transpose(a, order)),
    "Reshape": _reshaped,
    "ExpandDims": _by(lambda a, axis: np.expand_dims(a, axis)),
    "Squeeze": _squeezed,
    "BroadcastTo": _broadcast,
    "Fill": _filled,
    "Tile": _tiled,
    "ZerosLike": _by(lambda a: a * 0),
    "OnesLike": _by(lambda a: a * 0 + 1),
    "Cast": _cast,
    "BiasAdd": _bias,
    "BiasAddGrad": _by(lambda dy: np.sum(dy, axis=tuple(range(dy.ndim - 1)))),
    "L2Loss": _by(lambda a: np.sum(a * a) / 2),
    "Softmax": _softmax,
    "LogSoftmax": _by(_log_softmax),
}


def cross_entropy(logits: Any, labels: Any) -> list[Any]:
    """SoftmaxCrossEntropyWithLogits: the losses, and what the kernel multiplies in their gradient."""
    logarithms = _log_softmax(logits)
    return [-np.sum(labels * logarithms, axis=-1), np.exp(logarithms) - labels]


def sparse_cross_entropy(run: Any, logits: Any, labels: list[int]) -> list[Any]:
    """SparseSoftmaxCrossEntropyWithLogits, of labels that are constants."""
    table = np.asarray(labels)[:, None] == np.arange(logits.shape[-1])
    return cross_entropy(logits, run.like(table.astype(float)))
