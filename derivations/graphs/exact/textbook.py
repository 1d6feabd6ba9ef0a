"""What a shipped graph should return, at one point: the textbook's definition on ``Numbers``, differentiated by duals.

It is stated here apart from the formulas that ship and from the symbolic definition. Arrays are [m, C]: the elements
that share statistics, and the channels.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from derivations.prime_fields.arrays import Numbers, where

FIRST, SECOND = 1, 2  # tangents
PARAMETERS = ("x", "gamma", "beta")


class Options(NamedTuple):
    """What the graph is to compute.

    training: with the statistics of the batch; else with those given.
    renorm: with their correction, within the bounds.
    epsilon, momentum, renorm_momentum: as numbers of the field; root is that of ε.
    bounds: rmin, rmax and dmax.
    """

    training: bool
    renorm: bool
    epsilon: Numbers
    root: Numbers
    momentum: Numbers
    renorm_momentum: Numbers
    bounds: Mapping[str, float]


Values = Mapping[str, Numbers]


class Statistics(NamedTuple):
    mean: Numbers
    variance: Numbers
    deviation: Numbers


def statistics(values: Values, options: Options) -> Statistics:
    """μ, v and √(v + ε) of the batch, or those given."""
    x = values["x"]
    if options.training:
        weight = values["w"] if "w" in values else Numbers.of(np.ones((x.shape[0], 1), np.int64), x.p)
        total = weight.sum()
        mean = (weight * x).sum(0) / total
        variance = (weight * (x - mean) * (x - mean)).sum(0) / total
    else:
        mean, variance = values["moving_mean"], values["moving_variance"]
    return Statistics(mean, variance, (variance + options.epsilon).root())


def output(values: Values, options: Options) -> Numbers:
    """y = γ·(r·(x − μ)/√(v + ε) + d) + β; r = 1 and d = 0 but in renormalization, which holds them constant."""
    mean, _, deviation = statistics(values, options)
    z = (values["x"] - mean) / deviation
    if options.renorm:
        least, bounds = options.root, options.bounds
        reference = _clipped(values["renorm_stddev"], least, None)
        r = _clipped(deviation / reference, bounds["rmin"], bounds["rmax"]).held()
        d = _clipped((mean - values["renorm_mean"]) / reference, -bounds["dmax"], bounds["dmax"]).held()
        z = r * z + d
    return values["gamma"] * z + values["beta"]


def loss(values: Values, options: Options) -> Numbers:
    """J = Σ δ·y, and the cotangents of mean and variance, if they are given, times these."""
    total = (values["delta"] * output(values, options)).sum()
    if "g_mu" in values:
        mean, variance, _ = statistics(values, options)
        total = total + (values["g_mu"] * mean).sum() + (values["g_v"] * variance).sum()
    return total


def slope_of_loss(values: Values, options: Options) -> Numbers:
    """Φ = Σ u·∂J/∂x + Σ u_γ·∂J/∂γ + Σ u_β·∂J/∂β, which is one derivative of J."""
    moved = dict(values)
    for name, along in zip(PARAMETERS, ("u", "u_gamma", "u_beta"), strict=True):
        moved[name] = values[name].along(values[along], SECOND)
    return loss(moved, options).derivative(SECOND)


def derivative(name: str, direction: Numbers, values: Values, options: Options, *, second: bool) -> Numbers:
    """Of J, or of Φ, with respect to one variable, along a direction."""
    moved = {**values, name: values[name].along(direction, FIRST)}
    return (slope_of_loss if second else loss)(moved, options).derivative(FIRST)


def new_states(values: Values, options: Options) -> dict[str, Numbers]:
    """The moving statistics after this batch, by the names of the variables."""
    mean, variance, deviation = statistics(values, options)

    def moved(name: str, to: Numbers, momentum: Numbers) -> Numbers:
        return values[name] * momentum + to * (1 - momentum)

    a, rho = options.momentum, options.renorm_momentum
    states = {"moving_mean": moved("moving_mean", mean, a)}
    if not options.renorm:
        return states | {"moving_variance": moved("moving_variance", variance, a)}
    std = moved("moving_stddev", deviation, a)
    return states | {
        "moving_stddev": std,
        "moving_variance": _clipped(std * std - options.epsilon, 0.0, None),
        "renorm_mean": moved("renorm_mean", mean, rho),
        "renorm_stddev": moved("renorm_stddev", deviation, rho),
    }


def _clipped(value: Numbers, low: Numbers | float | None, high: Numbers | float | None) -> Numbers:
    """No less than ``low``, no more than ``high``."""
    for bound, above in ((low, False), (high, True)):
        if bound is not None:
            limit = bound if isinstance(bound, Numbers) else Numbers.of(np.array(bound), value.p)
            value = where(value.real > limit.real if above else value.real < limit.real, limit, value)
    return value
