"""The operations of TensorFlow that the walks know: what each returns, how either walk runs it, what it leaves behind.

``symbolic`` and ``exact`` say how it is run where that is not simply what it ``means``; None means that it is refused
there. ``condition`` must hold for the result to be defined. ``attributes`` lists the values that are understood; a walk
refuses any other value, and any attribute that is not listed. ``LOOKED_AT`` stands for one that the walk acts on.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

LOOKED_AT = object()


class Operation(NamedTuple):
    """One row."""

    means: str
    condition: str = ""
    symbolic: str | None = ""
    exact: str | None = ""
    attributes: Mapping[str, Any] = {}


_PASSED = Operation("its arguments")
_ORDER = "settled by a hypothesis, or a predicate of which one branch is taken; else refused"
_REAL = "decided by the real numbers"
_UNKNOWN = "of values per channel: a function of which nothing is known but that equal arguments give equal values"
_KEEP = {"keep_dims": LOOKED_AT}
_SLICE = dict.fromkeys(("begin_mask", "end_mask", "shrink_axis_mask", "ellipsis_mask", "new_axis_mask"), LOOKED_AT)
_BRANCHES = {"then_branch": LOOKED_AT, "else_branch": LOOKED_AT, "output_shapes": LOOKED_AT}
_CALL = {"f": LOOKED_AT, "config": LOOKED_AT, "config_proto": LOOKED_AT, "executor_type": LOOKED_AT}
_FUSED = {
    "epsilon": LOOKED_AT, "data_format": (b"NHWC",), "is_training": (True, False), "exponential_avg_factor": (1.0,),
}  # fmt: skip
_INT = "of sizes alone"

OPERATIONS: dict[str, Operation] = {
    # What only passes values on, and what stands in every graph.
    "Placeholder": Operation("an argument", attributes={"shape": LOOKED_AT}),
    "Const": Operation("a constant", attributes={"value": LOOKED_AT}, symbolic="ε where it is added under a root"),
    "Identity": _PASSED, "IdentityN": _PASSED, "OptionalFromValue": _PASSED, "Snapshot": _PASSED,
    "OptionalGetValue": Operation("its arguments", attributes={"output_shapes": LOOKED_AT}),
    "OptionalNone": Operation("no value"),
    "PreventGradient": Operation("its arguments", attributes={"message": LOOKED_AT}),
    "EnsureShape": Operation("its argument, which must have this shape at every size", attributes={"shape": LOOKED_AT}),
    "NoOp": Operation("nothing"),
    "PartitionedCall": Operation("a function, walked", attributes=_CALL),
    "StatefulPartitionedCall": Operation("a function, walked", attributes=_CALL),
    "If": Operation("a branch, walked", symbolic="each branch in a walk of its own", exact=_REAL, attributes=_BRANCHES),
    "StatelessIf": Operation(
        "a branch, walked", symbolic="each branch in a walk of its own", exact=_REAL, attributes=_BRANCHES
    ),
    "ReadVariableOp": Operation("the variable, before it is assigned"),
    "AssignVariableOp": Operation("the variable's new value", attributes={"validate_shape": LOOKED_AT}),
    "StopGradient": Operation(
        "its argument, with derivative 0", symbolic="any constant in its place; where that is not enough, its value"
    ),
    "Cast": Operation(
        "its argument; “casts are exact” is a hypothesis where bits are lost",
        symbolic="data to integers: refused",
        exact="data to integers: the whole part of the real number",
        attributes={"Truncate": LOOKED_AT},
    ),
    # Arithmetic.
    "AddV2": Operation("a + b"), "Add": Operation("a + b"), "AddN": Operation("Σ", attributes={"N": LOOKED_AT}),
    "Sub": Operation("a − b"), "Neg": Operation("−a"), "Mul": Operation("a·b"),
    "MulNoNan": Operation("a·b", symbolic="under the hypothesis v + ε > 0"),
    "RealDiv": Operation("a/b", "b ≠ 0"), "Div": Operation("a/b", "b ≠ 0"),
    "DivNoNan": Operation("a/b; 0 where b = 0", "b ≠ 0", symbolic="under the hypothesis v + ε > 0"),
    "Reciprocal": Operation("1/a", "a ≠ 0"), "Inv": Operation("1/a", "a ≠ 0"),
    "ReciprocalGrad": Operation("−dy·y²; 0 where dy = 0"), "InvGrad": Operation("−dy·y²; 0 where dy = 0"),
    "Square": Operation("a²"), "SquaredDifference": Operation("(a − b)²"),
    "Pow": Operation("a^b for a constant b, a multiple of ½", "a > 0, or a ≠ 0, or a ≥ 0, as b demands"),
    "Sqrt": Operation("√a", "a ≥ 0"), "Rsqrt": Operation("a^(−1/2)", "a > 0"),
    "SqrtGrad": Operation("dy/(2y); 0 where dy = 0", "y ≠ 0"), "RsqrtGrad": Operation("dy·y³/−2; 0 where dy = 0"),
    # Sums.
    "Sum": Operation("Σ over axes", attributes=_KEEP), "Mean": Operation("Σ/m over axes", "m ≠ 0", attributes=_KEEP),
    "MatMul": Operation(
        "Σ over the inner axis",
        attributes={"transpose_a": LOOKED_AT, "transpose_b": LOOKED_AT, "grad_a": LOOKED_AT, "grad_b": LOOKED_AT},
    ),
    "BatchMatMulV2": Operation(
        "Σ over the inner axis",
        attributes={"adj_x": LOOKED_AT, "adj_y": LOOKED_AT, "grad_x": LOOKED_AT, "grad_y": LOOKED_AT},
    ),
    "Einsum": Operation("Σ over shared axes", attributes={"equation": LOOKED_AT, "N": LOOKED_AT}),
    "DepthwiseConv2dNativeBackpropFilter": Operation(
        "Σ over all axes but that of the channels, for one weight a channel",
        attributes={
            "strides": ([1, 1, 1, 1],), "padding": (b"VALID",), "data_format": (b"NHWC",),
            "explicit_paddings": ([],), "dilations": ([1, 1, 1, 1],),
        },
    ),
    "FusedBatchNormV3": Operation("by the axioms A1 and A2", "v + ε > 0", attributes=_FUSED),
    "FusedBatchNormGradV3": Operation(
        "by the axioms A3 and A4", "v + ε > 0",
        attributes={name: value for name, value in _FUSED.items() if name != "exponential_avg_factor"},
    ),
    # Shapes.
    "Shape": Operation("the sizes"), "ShapeN": Operation("the sizes", attributes={"N": LOOKED_AT}),
    "Size": Operation("the product of the sizes"), "Rank": Operation("the number of axes", symbolic=None),
    "Pack": Operation("a new axis", symbolic=_INT, attributes={"N": LOOKED_AT, "axis": LOOKED_AT}),
    "Unpack": Operation("an axis taken apart", symbolic=None, attributes={"num": LOOKED_AT, "axis": LOOKED_AT}),
    "ConcatV2": Operation("one behind the other", symbolic=_INT, attributes={"N": LOOKED_AT}),
    "GatherV2": Operation(
        "entries by number", symbolic="of sizes alone; of every n-th entry of data nothing is known",
        attributes={"batch_dims": (0,)},
    ),
    "Prod": Operation("Π over axes", symbolic=_INT, attributes=_KEEP),
    "Range": Operation("start, start + step, …", symbolic=_INT),
    "FloorDiv": Operation("the quotient, rounded down", symbolic="of sizes: where it divides, or by a whole block"),
    "FloorMod": Operation("the remainder", symbolic="of known sizes alone"),
    "InvertPermutation": Operation("the inverse order"),
    "DynamicStitch": Operation("entries by number", attributes={"N": LOOKED_AT}),
    "BroadcastGradientArgs": Operation("over which axes a gradient is summed"),
    "Reshape": Operation("the same in row-major order"), "Transpose": Operation("axes exchanged"),
    "ExpandDims": Operation("an axis of size 1 more"),
    "Squeeze": Operation("axes of size 1 fewer", attributes={"squeeze_dims": LOOKED_AT}),
    "BroadcastTo": Operation("repeated"), "Tile": Operation("repeated", symbolic=None),
    "Fill": Operation("one value repeated", attributes={"index_type": LOOKED_AT}),
    "ZerosLike": Operation("0"), "OnesLike": Operation("1"),
    "StridedSlice": Operation(
        "a slice", symbolic="whole axes, new ones, whole blocks and the rest; of every n-th nothing is known",
        attributes=_SLICE,
    ),
    "StridedSliceGrad": Operation("zeros around a slice", attributes=_SLICE),
    "Slice": Operation("a slice", symbolic=None),
    "Pad": Operation("zeros around", symbolic=None), "Cumsum": Operation(
        "partial sums", symbolic=None, attributes={"exclusive": LOOKED_AT, "reverse": LOOKED_AT}
    ),
    "ReverseV2": Operation("axes turned round", symbolic=None),
    # Order, and what is chosen by it.
    "IsFinite": Operation("whether it is a number", symbolic="true, under the hypothesis “every value is finite”"),
    "IsInf": Operation("whether it overflowed", symbolic="false, under the hypothesis “every value is finite”"),
    **{
        name: Operation(f"a {sign} b", symbolic=_ORDER, exact=_REAL)
        for name, sign in (("Greater", ">"), ("GreaterEqual", "≥"), ("Less", "<"), ("LessEqual", "≤"))
    },
    **{
        name: Operation(f"a {sign} b", symbolic=_ORDER, exact=_REAL, attributes={"incompatible_shape_error": (True,)})
        for name, sign in (("Equal", "="), ("NotEqual", "≠"))
    },
    "LogicalNot": Operation("not a"), "LogicalAnd": Operation("a and b"), "LogicalOr": Operation("a or b"),
    "All": Operation("whether all are true", symbolic="of a predicate, or of what is true", attributes=_KEEP),
    "Any": Operation("whether one is true", symbolic="of a predicate, or of what is true", attributes=_KEEP),
    "Select": Operation("a where the condition holds, else b"),
    "SelectV2": Operation("a where the condition holds, else b"),
    "Maximum": Operation("the larger", symbolic=_UNKNOWN, exact=_REAL),
    "Minimum": Operation("the smaller", symbolic=_UNKNOWN, exact=_REAL),
    "Relu": Operation("max(a, 0)", symbolic=_UNKNOWN, exact=_REAL),
    "Abs": Operation("|a|", symbolic=_UNKNOWN, exact=_REAL),
    "ReluGrad": Operation("dy where a > 0, else 0", symbolic="under the hypothesis that a > 0", exact=_REAL),
    "Sign": Operation("−1, 0 or 1", symbolic="under the hypothesis that a > 0", exact=_REAL),
    "Max": Operation("the largest", symbolic=None, exact=_REAL, attributes=_KEEP),
    "Min": Operation("the smallest", symbolic=None, exact=_REAL, attributes=_KEEP),
}  # fmt: skip
