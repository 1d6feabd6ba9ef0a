"""Two replicas of unequal sizes: every sum over the whole batch is a sum over the parts (equation 7).

Replica 1 has n₁ elements x, replica 2 n₂ elements p; two stand for any number of them.
"""

from collections.abc import Iterator
from functools import cache

import sympy as sp
from sympy import Expr, IndexedBase, Rational, Symbol

from derivations.claim import Claim
from derivations.finite_sums import InverseRoot, Setting, Shorthand, total
from derivations.notation import Definitions, L, Partial, beta, delta, epsilon, gamma, i, k, mu, s, v, x, x_hat, y

n1, n2 = (Symbol(name, integer=True, positive=True) for name in ("n1", "n2"))
p, delta_p = IndexedBase("p", real=True), IndexedBase("deltap", real=True)  # elements and δ of the second replica
p_hat = IndexedBase(Shorthand("phat", real=True))
y_p = IndexedBase(Shorthand("yp", real=True))
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
            assumptions=("n₁ ≥ 1", "n₂ ≥ 1", "ε > 0"),
        )


def averages() -> tuple[tuple[str, str, Expr, Expr], ...]:
    """Averages of averages: what they are taken for, and what they are."""
    half = sp.Rational(1, 2)
    return (
        ("average_of_variances", "the mean of the replicas' variances", v, half * (v1 + v2)),
        ("weighted_average_of_variances", "the same, weighted by sizes", v, (n1 * v1 + n2 * v2) / (n1 + n2)),
        ("average_of_means", "the mean of the replicas' means", mu, half * (mu1 + mu2)),
    )
