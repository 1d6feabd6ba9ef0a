"""Mistakes that are easily made, each refuted by the smallest counterexample that was found."""

from collections.abc import Iterator

from sympy import Expr, Rational

from derivations.claims import steps
from derivations.claims.claim import Claim, Verdict
from derivations.claims.families import sums_of_replicas as replicas
from derivations.notation import L, Partial, delta, epsilon, gamma, k, m, over_batch, s, v, w, x, x_hat


def claims() -> Iterator[Claim]:
    """The claims; every one of them should be refuted."""
    for name, title, true, mistaken in replicas.averages():
        yield Claim(
            f"mistakes.{name}",
            title,
            (true, mistaken),
            replicas.setting(),
            replicas.definitions(),
            because="Right is the merge of equation 7: weighted by the sizes, with the spread of the means.",
            about="a common mistake",
            assumptions=("n₁ ≥ 1", "n₂ ≥ 1", "ε > 0"),
            expected=Verdict.REFUTED,
        )
    share = w[k] / over_batch(w[k], of=k)
    weighted_sums = over_batch(w[k] * delta[k], of=k) + x_hat[k] * over_batch(w[k] * delta[k] * x_hat[k], of=k)
    rows: list[tuple[str, str, tuple[Expr, Expr], bool, str]] = [
        (
            "mean_only",
            "the variance taken for a constant",
            (Partial(L, x[k]), gamma * s * (delta[k] - steps.D_BETA / m)),
            False,
            "It lacks −γ·s·x̂·⟨δx̂⟩.",
        ),
        (
            "unbiased_backward",
            "m − 1 in the place of m",
            (Partial(L, x[k]) * (m - 1), gamma * s * ((m - 1) * delta[k] - steps.D_BETA - x_hat[k] * steps.D_GAMMA)),
            False,
            "The batch is normalized with the biased variance; the unbiased one is only stored.",
        ),
        (
            "epsilon_outside",
            "ε added to the deviation",
            (s, 1 / (v ** Rational(1, 2) + epsilon)),
            False,
            "√(v + ε) is not √v + ε.",
        ),
        (
            "weighted_sums",
            "weights inside the sums of the gradient",
            (Partial(L, x[k]), gamma * s * (delta[k] - share * weighted_sums)),
            True,
            "Every output counts in the loss, whatever its weight in the statistics.",
        ),
    ]
    for name, title, members, weighted, because in rows:
        yield Claim(
            f"mistakes.{name}",
            title,
            members,
            steps.setting(weighted),
            steps.definitions(weighted),
            because,
            about="a common mistake",
            assumptions=("m ≥ 1", "ε > 0", *(("w ≥ 0", "Σ w > 0") if weighted else ())),
            expected=Verdict.REFUTED,
        )
