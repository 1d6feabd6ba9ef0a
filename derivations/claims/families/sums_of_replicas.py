"""Two replicas of unequal sizes: every sum over the whole batch is a sum over the parts (equation 7).

Replica 1 has n₁ elements x, replica 2 n₂ elements p; two stand for any number of them. The shipped backward pass is run
on both, and what it gives to ``over_replicas`` is added up.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import sympy as sp
from sympy import Expr, IndexedBase, Rational, Symbol

from derivations.claims.claim import Claim
from derivations.normal_form.symbolic_batch import SymbolicBatch, SymbolicOperations, lifted
from derivations.notation import Definitions, J, L, Partial, beta, delta, epsilon, gamma, i, k, mu, s, v, x, x_hat, y
from derivations.notation.expressions import Shorthand, total
from derivations.notation.settings import InverseRoot, Setting
from derivations.notation.worlds import Computed
from keras_bn.formulas import training as shipped

n1, n2 = (Symbol(name, integer=True, positive=True) for name in ("n1", "n2"))
p, delta_p = IndexedBase("p", real=True), IndexedBase("deltap", real=True)  # elements and δ of the second replica
p_hat = IndexedBase(Shorthand("phat", real=True))
y_p = IndexedBase(Shorthand("yp", real=True))
# Those of the mean and of the variance of the whole, on each replica.
COTANGENTS = tuple(sp.symbols(f"g_mu{r} g_v{r}", real=True) for r in (1, 2))
ASSUMPTIONS = ("n₁ ≥ 1", "n₂ ≥ 1", "ε > 0")
mu1, mu2, v1, v2 = (Shorthand(name, real=True) for name in ("mu1", "mu2", "v1", "v2"))


@cache
def definitions() -> Definitions:
    """Two replicas, their own statistics and those of the whole."""
    N = n1 + n2

    def whole(of_x: Expr, of_p: Expr) -> Expr:
        return total(of_x, i, n1) + total(of_p, i, n2)

    return Definitions(
        {
            mu1: total(x[i], i, n1) / n1,
            mu2: total(p[i], i, n2) / n2,
            v1: total((x[i] - mu1) ** 2, i, n1) / n1,
            v2: total((p[i] - mu2) ** 2, i, n2) / n2,
            mu: whole(x[i], p[i]) / N,
            v: whole((x[i] - mu) ** 2, (p[i] - mu) ** 2) / N,
            s: (v + epsilon) ** Rational(-1, 2),
            x_hat[i]: (x[i] - mu) * s,
            p_hat[i]: (p[i] - mu) * s,
            y[i]: gamma * x_hat[i] + beta,
            y_p[i]: gamma * p_hat[i] + beta,
            L: whole(delta[i] * y[i], delta_p[i] * y_p[i]),
        }
    )


@cache
def setting() -> Setting:
    """Indices run over the first replica; s is the inverse root for the whole."""
    variance = definitions().unfold(v)
    return Setting({i: n1, k: n1}, InverseRoot(s, epsilon, variance), positive=(variance + epsilon,))


def claims() -> Iterator[Claim]:
    """The claims about two replicas."""
    N = n1 + n2
    d_beta = [total(delta[i], i, n1), total(delta_p[i], i, n2)]
    d_gamma = [total(delta[i] * x_hat[i], i, n1), total(delta_p[i] * p_hat[i], i, n2)]
    rows: list[tuple[str, str, tuple[Expr, ...], str]] = [
        (
            "mean",
            "the mean, from those of two replicas",
            (mu, (n1 * mu1 + n2 * mu2) / N),
            "Weighted by the sizes: an average of averages would be wrong.",
        ),
        (
            "variance",
            "the variance, from those of two replicas",
            (v, (n1 * (v1 + (mu1 - mu) ** 2) + n2 * (v2 + (mu2 - mu) ** 2)) / N),
            "Within the replicas, and between them.",
        ),
        (
            "d_x",
            "the gradient of x on the first replica",
            (Partial(L, x[k]), gamma * s * (delta[k] - sum(d_beta) / N - x_hat[k] * sum(d_gamma) / N)),
            "The formula of one batch with global sums; an all-reduce is a sum by assumption.",
        ),
        (
            "d_gamma",
            "the gradient of γ is the sum of the replicas' own",
            (Partial(L, gamma), d_gamma[0] + d_gamma[1]),
            "Each returns its local sum, the strategy adds them: a global sum on each would count twice.",
        ),
        (
            "d_beta",
            "the gradient of β is the sum of the replicas' own",
            (Partial(L, beta), d_beta[0] + d_beta[1]),
            "As for γ.",
        ),
        (
            "ghost",
            "a batch that is normalized in groups",
            (Partial(total(delta[i] * (x[i] - mu1), i, n1), x[k]), delta[k] - total(delta[i], i, n1) / n1),
            "No other group occurs: each is a batch of its own. That a reshape brings each element to its group is a "
            "bijection of indices, tested on concrete shapes.",
        ),
    ]
    for name, title, members, because in rows:
        yield Claim(
            f"replicas.two.{name}",
            title,
            members,
            setting(),
            definitions(),
            because,
            assumptions=ASSUMPTIONS,
        )
    yield from executed()


class Part(SymbolicOperations):
    """The ``Operations`` of one of two replicas.

    Args:
        size: How many elements it has.
        others: What the other replica gives to ``over_replicas``; None while that is not known.
    """

    def __init__(self, size: Symbol, others: tuple[SymbolicBatch, ...] | None = None) -> None:
        super().__init__()
        self.size, self.others = size, others
        self.given: tuple[SymbolicBatch, ...] = ()

    def sum(self, value: Any) -> SymbolicBatch:
        """Σ over the elements of this replica."""
        return SymbolicBatch(total(lifted(value).expression, i, self.size), per_element=False)

    def share(self) -> SymbolicBatch:
        """1/N."""
        return SymbolicBatch(1 / (n1 + n2))

    def over_replicas(self, *sums: Any) -> tuple[SymbolicBatch, ...]:
        """The sums of both replicas."""
        self.given = tuple(lifted(value) for value in sums)
        return tuple(a + b for a, b in zip(self.given, self.others or self.given, strict=True))


def executed(functions: Any = shipped) -> Iterator[Claim]:
    """The claims about the shipped backward pass on the first of two replicas that share their batch."""
    unfold = definitions().unfold
    saved = functions.Saved(*(SymbolicBatch(unfold(value)) for value in (mu1, mu - mu1, s)))

    def backward(part: Part, elements: Expr, cotangent: Expr, d_mean: Symbol, d_variance: Symbol) -> Any:
        arguments = (SymbolicBatch(value) for value in (cotangent, d_mean, d_variance, elements, gamma))
        return functions.backward(part, *arguments, saved)

    second = Part(n2)
    backward(second, p[i], delta_p[i], *COTANGENTS[1])
    gradients = backward(Part(n1, second.given), x[i], delta[i], *COTANGENTS[0])
    d_mean, d_variance = (sum(both) for both in zip(*COTANGENTS, strict=True))
    rows: list[tuple[str, Expr, str]] = [
        ("x", Partial(J, x[k]), "Sums and cotangents of the statistics are those of both replicas."),
        ("gamma", total(delta[i] * x_hat[i], i, n1), "Its own sum: the strategy adds them."),
        ("beta", total(delta[i], i, n1), "Its own sum: the strategy adds them."),
    ]
    for name, textbook, because in rows:
        value = lifted(getattr(gradients, name)).expression.xreplace({i: k})
        yield Claim(
            f"replicas.two.backward.{name}",
            f"the gradient of {name} that the first replica returns",
            (Computed(f"gradients.{name}", value), textbook),
            setting(),
            definitions().with_loss(J, L + d_mean * mu + d_variance * v),
            because,
            about=f"{functions.__name__}.backward",
            assumptions=ASSUMPTIONS,
        )


def averages() -> tuple[tuple[str, str, Expr, Expr], ...]:
    """Averages of averages: what they are taken for, and what they are."""
    half = sp.Rational(1, 2)
    return (
        ("average_of_variances", "the mean of the replicas' variances", v, half * (v1 + v2)),
        ("weighted_average_of_variances", "the same, weighted by sizes", v, (n1 * v1 + n2 * v2) / (n1 + n2)),
        ("average_of_means", "the mean of the replicas' means", mu, half * (mu1 + mu2)),
    )
