"""The numbered equations, once; docstrings cite them by number, and a test compares."""

EQUATIONS = {
    1: "Training: the forward pass and the gradients of x, γ and β",
    2: "Cotangents of the returned mean and variance",
    3: "The gradient of x as an affine map of δ and x",
    4: "Weighted statistics",
    5: "Inference: given statistics",
    6: "Second order: the gradients of the gradients",
    7: "Merged statistics: replicas, ghost batches, passes over a data set",
    8: "Batch renormalization",
    9: "Shift invariance: any constant as center",
    10: "Backward from the output",
    11: "Moving statistics",
    12: "The bound on normalized inputs",
    13: "Folding into a linear map",
    14: "Degenerate statistics: s := 0 where v + ε = 0",
}
