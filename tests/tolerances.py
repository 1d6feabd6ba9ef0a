"""Every tolerance of the numeric tests, with its reason."""

# Output and dx in float32 against float64 (`oracles.output_error`, `dx_error`), by mean/std. One rounding is 6e-8; y is
# the result of about six, and the sums add two or three. Measured: at most 4e-7 in every mode up to 4·10⁵ elements.
FLOAT32 = {0.5: 1e-6, 1e2: 1e-6, 1e4: 1e-6, 1e5: 2e-6}

# The same in float64, where one rounding is 1.1e-16; the oracle itself is off by that much times sqrt(M) and mean/std.
FLOAT64 = 1e-12

# y and dx in float32 where statistics are taken in one pass: ⟨x²⟩ − μ² loses (1 + r²) roundings at r = |mean|/std, at
# most 4 (`engines.small_means.LIMIT`), of sums of 10⁵ numbers; the fused kernel adds the cotangents serially. Measured:
# at most 2.2e-6.
AUTO = 5e-6

# The kernel's second derivative in float32, relative to the largest entry: the first order's error, passed through once
# more by TensorFlow's separate operations.
SECOND_ORDER_FUSED = 1e-4

# Sums over a channel (dγ, dβ) in float32, relative to the largest: as FLOAT32, but a sum of M random terms cancels to
# about its square root, so that its relative error is larger by up to sqrt(M), which is 65 over the small cases.
SUMS_FLOAT32 = 1e-5

# Central differences of step h = 1e-5 in float64: h² times a third derivative, and 1e-16·loss/h from rounding.
CENTRAL_DIFFERENCES = 1e-7

# float64 second order, relative to the largest entry: twice the operations of the first order.
SECOND_ORDER = 1e-12

# Loss of ten steps of training in float64, ours against the built-in layer's.
TRAINING_FLOAT64 = 1e-12


def gradient_tolerance(dtype: str) -> float:
    """Output and dx tolerance of the small cases, mean/std 0.5."""
    return FLOAT64 if dtype == "float64" else FLOAT32[0.5]
