"""The names that formulas know: ours, those of others that can mean one thing only, and hints for the rest."""

from dataclasses import dataclass

# The names in which formulas are kept. Those of elements have a value for each element of the batch.
ELEMENTS = ("x", "delta", "x_hat")
NUMBERS = ("gamma", "beta", "mu", "var", "s", "epsilon", "m")
WEIGHTS = ("w", "W")
# What some names stand for, by others.
MEANING = {
    "W": "sum(w)", "mu": "mean(x)", "var": "mean((x - mu)**2)", "s": "(var + epsilon)**(-1/2)", "x_hat": "(x - mu)*s",
}  # fmt: skip

ALIASES = {
    "dy": "delta", "dout": "delta", "grad_output": "delta", "grad_out": "delta", "grad_y": "delta", "δ": "delta",
    "delta_y": "delta", "dL_dy": "delta", "dldy": "delta", "h": "x", "X": "x", "inputs": "x",
    "xhat": "x_hat", "x̂": "x_hat", "x_norm": "x_hat", "xnorm": "x_hat", "x_normalized": "x_hat", "x_normed": "x_hat",
    "normalized": "x_hat", "X_norm": "x_hat", "X_hat": "x_hat", "Xhat": "x_hat",
    "γ": "gamma", "β": "beta",
    "mean_x": "mu", "μ": "mu", "mean": "mu", "sample_mean": "mu", "batch_mean": "mu", "x_mean": "mu", "mu_x": "mu",
    "xmean": "mu", "μ_B": "mu", "mu_B": "mu",
    "v": "var", "variance": "var", "sample_var": "var", "batch_var": "var", "x_var": "var", "var_x": "var",
    "sigma2": "var", "sigma_sq": "var", "sigma_squared": "var", "σ²": "var", "batch_variance": "var",
    "inv_std": "s", "ivar": "s", "istd": "s", "invstd": "s", "std_inv": "s", "rstd": "s", "inv_sqrt_var": "s",
    "ε": "epsilon", "eps": "epsilon", "EPS": "epsilon", "ϵ": "epsilon",
    "N": "m", "n": "m", "batch_size": "m", "M": "m",
}  # fmt: skip
# Those that are the length of the first axis to some, and m where no other axis belongs to the batch.
BATCH = ("N", "n", "batch_size")
# Names of others that stand for more than a name of ours.
PHRASES = {
    "xmu": "x - mu", "x_mu": "x - mu", "xc": "x - mu", "x_centered": "x - mu", "centered": "x - mu", "X_mu": "x - mu",
    "sqrtvar": "sqrt(var + epsilon)", "sqrt_var": "sqrt(var + epsilon)", "std_eps": "sqrt(var + epsilon)",
    "dxhat": "gamma*delta", "dx_hat": "gamma*delta", "dx_norm": "gamma*delta", "dxnorm": "gamma*delta",
}  # fmt: skip
# What may have been meant where it cannot be known, in lower case.
HINTS = {
    "z": "x_hat", "g": "delta", "dl": "delta", "grad": "delta", "upstream": "delta", "weight": "gamma", "bias": "beta",
    "rsqrt": "1/sqrt", "scale": "gamma", "shift": "beta", "offset": "beta",
}  # fmt: skip
# Names that mean one thing to some and another to others.
AMBIGUOUS = {
    **dict.fromkeys(("sigma", "σ", "std", "stddev", "sd"), "sqrt(var + epsilon)"),
    **dict.fromkeys(("inv_var", "invvar", "var_inv"), "1/sqrt(var + epsilon)"),
}
# By which names code assigns what a target asks for.
ASSIGNED = {
    "dx": ("dx", "dX", "grad_x", "dinputs", "dh", "dinput", "grad_input"),
    "dgamma": ("dgamma", "grad_gamma", "dGamma"),
    "dbeta": ("dbeta", "grad_beta", "dBeta"),
    "dx_hat": ("dx_hat", "dxhat", "dx_norm", "dxnorm"),
    "dmean": ("dmean", "dmu"),
    "dvariance": ("dvariance", "dvar", "dv"),
}
LETTERS = {"ᵢ": "ᵢ", "ⱼ": "ⱼ", "ₖ": "ₖ", "_i": "ᵢ", "_j": "ⱼ", "_k": "ₖ"}


@dataclass(frozen=True)
class Names:
    """The names that one problem knows.

    elements: a value for each element.
    numbers: a value per channel.
    any_number: every other name is a number too, as in a user's own forward pass.
    textbook: the forward pass is batch normalization, whose names in others' code are understood.
    """

    elements: tuple[str, ...] = ELEMENTS
    numbers: tuple[str, ...] = NUMBERS
    any_number: bool = False
    textbook: bool = True

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.elements, *self.numbers)


TEXTBOOK = Names()
WEIGHTED = Names((*ELEMENTS, "w"), (*NUMBERS, "W"))
