"""A small Gaussian process for log figures: prior trend + main effects + interactions + noise.

    y = basis @ slopes + sum over knobs of f_k(x_k) + f(x) + noise

with Matern-3/2 kernels (Rasmussen & Williams 2006, eq. 4.17), one length scale per knob: inference has cliffs (caches,
whole tiles, hyper-threads), which smoother kernels would not expect. Main effects let a few trials
tell what a knob does everywhere; the last term learns what knobs do to each other. Hyperparameters are those of
greatest posterior density: marginal likelihood times log-normal priors. As scores are logs of figures, the priors have
a meaning: 0.3 is a difference of about 30 %. A few trials leave them in doubt, and who takes the likeliest ones for
certain stays where a little is sure to be gained; so processes with other ones, drawn from the posterior, are asked too
(Snoek, Larochelle & Adams 2012, section 3.2; drawn here from its normal approximation at the maximum).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infertune.search.parts.arrays import Floats, Whole, squares
from infertune.search.parts.features import Inputs, stacked

LENGTH = 4.0  # octaves
MAIN = 0.3
MIXED = 0.2
NOISE = 0.036
OWN = 0.5
"""What a point has of its own that no neighbour tells of (a thread count that suits the tiles), in units of the noise
of a launch: another launch finds the same again. Nothing tells the two apart before a point was launched twice."""
SPREAD = 0.8  # standard deviation of the log of each of the above
LOW, HIGH = -3.0, 3.0  # bounds of hyperparameters, as logs of ratios to the above
STEP = 1e-3
"""Of logs of hyperparameters, to see how fast their density falls."""
LEARN_FROM = 112
"""Trials that hyperparameters are learned from; thinking must stay cheap."""
AT_MOST = 1000
"""Trials that a process is conditioned on."""


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Trials to learn from. ``weights[i]``: the variance of ``y[i]`` in units of that of one clean launch."""

    inputs: Inputs
    y: Floats
    weights: Floats

    def __getitem__(self, rows: Whole) -> Data:
        return Data(self.inputs[rows], self.y[rows], self.weights[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Mean and standard deviation of the slopes of a trend."""

    mean: Floats
    sd: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Theta:
    """Hyperparameters: length scale per knob, sd of main effects, of their interactions, and of one launch."""

    lengths: Floats
    main: float
    mixed: float
    noise: float

    @property
    def own(self) -> float:
        return OWN * self.noise


def unpack(logs: Floats) -> Theta:
    ratios = np.exp(logs)
    return Theta(LENGTH * ratios[:-3], MAIN * ratios[-3], MIXED * ratios[-2], NOISE * ratios[-1])


def usual(inputs: Inputs) -> Theta:
    """What the priors say before any trial."""
    return unpack(np.zeros(max(inputs.groups) + 4))


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A process conditioned on data. ``lower``: Cholesky factor of the covariance of ``data.y``."""

    data: Data
    prior: Prior
    theta: Theta
    level: float
    lower: Floats
    alpha: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What a process believes of some points; ``spent`` holds what is already explained, for `assume`."""

    fitted: Fitted
    inputs: Inputs
    mean: Floats
    var: Floats
    spent: Floats

    @property
    def sd(self) -> Floats:
        return np.sqrt(self.var)


def learn(data: Data, prior: Prior, draws: int = 0) -> tuple[Fitted, ...]:
    """Hyperparameters from the data, then the data themselves: with the likeliest ones, then ``draws`` others."""
    return tuple(condition(data, prior, theta) for theta in _likely(data, prior, draws))


def condition(data: Data, prior: Prior, theta: Theta) -> Fitted:
    from scipy import linalg

    data = data[_telling(data, AT_MOST)]
    rest = data.y - data.inputs.basis @ prior.mean
    level = float(np.median(rest)) if len(rest) else 0.0
    covariance = kernel(theta, prior, data.inputs, data.inputs) + np.diag(theta.noise**2 * data.weights)
    lower = safe_cholesky(covariance)
    alpha = linalg.cho_solve((lower, True), rest - level) if len(rest) else rest
    return Fitted(data, prior, theta, level, lower, alpha)


def presume(fitted: Fitted, inputs: Inputs) -> Fitted:
    """The process if ``inputs`` were launched once each and came out as expected ("kriging believer")."""
    data = fitted.data
    y = np.concatenate([data.y, believe(fitted, inputs).mean])
    weights = np.concatenate([data.weights, np.ones(len(inputs))])
    return condition(Data(stacked([data.inputs, inputs]), y, weights), fitted.prior, fitted.theta)


def believe(fitted: Fitted, inputs: Inputs) -> Belief:
    """Mean and variance of the figure itself, without the noise of a launch."""
    from scipy import linalg

    cross = kernel(fitted.theta, fitted.prior, fitted.data.inputs, inputs)
    mean = fitted.level + inputs.basis @ fitted.prior.mean + cross.T @ fitted.alpha
    spent = linalg.solve_triangular(fitted.lower, cross, lower=True) if len(cross) else cross
    var = diagonal(fitted.theta, fitted.prior, inputs) - np.sum(spent**2, axis=0)
    return Belief(fitted, inputs, mean, np.maximum(var, 1e-12), spent)


def assume(belief: Belief, row: int) -> Belief:
    """The belief if that point had been launched once and came out as expected: what `presume` does, for one more."""
    fitted = belief.fitted
    here = belief.inputs[np.asarray([row])]
    shared = kernel(fitted.theta, fitted.prior, here, belief.inputs)[0] - belief.spent[:, row] @ belief.spent
    explained = shared / np.sqrt(belief.var[row] + fitted.theta.noise**2)
    var = np.maximum(belief.var - explained**2, 1e-12)
    return Belief(fitted, belief.inputs, belief.mean, var, np.vstack([belief.spent, explained]))


# ---------------------------------------------------------------- kernels


def kernel(theta: Theta, prior: Prior, a: Inputs, b: Inputs) -> Floats:
    """Covariance (points of a, points of b) of the figure."""
    total = (a.basis * prior.sd**2) @ b.basis.T
    inverse = theta.lengths[np.asarray(a.groups)] ** -1
    total += theta.mixed**2 * matern(squares(a.x * inverse, b.x * inverse))
    for knob, ((mine, at), (theirs, bt)) in enumerate(zip(a.levels, b.levels, strict=True)):
        table = theta.main**2 * matern(squares(mine, theirs) / theta.lengths[knob] ** 2)
        total += table[:, bt][at]  # columns first: whole rows are then copied
    total += theta.own**2 * (a.tags[:, None] == b.tags[None, :])
    return total


def diagonal(theta: Theta, prior: Prior, inputs: Inputs) -> Floats:
    """The diagonal of ``kernel(theta, prior, inputs, inputs)``."""
    knobs = theta.main**2 * len(theta.lengths) + theta.mixed**2
    return (inputs.basis**2) @ prior.sd**2 + knobs + theta.own**2


def matern(squared: Floats) -> Floats:
    root = np.sqrt(3.0 * squared)
    return np.asarray((1.0 + root) * np.exp(-root))


def safe_cholesky(matrix: Floats) -> Floats:
    """Lower factor; adds as little to the diagonal as makes it work."""
    jitter = 0.0
    for exponent in range(-10, 1, 2):
        try:
            return np.asarray(np.linalg.cholesky(matrix + jitter * np.eye(len(matrix))), dtype=np.float64)
        except np.linalg.LinAlgError:
            jitter = 10.0**exponent * float(np.mean(np.diag(matrix)))
    raise ArithmeticError("a covariance that no jitter makes positive definite")


# ---------------------------------------------------------------- hyperparameters


def _likely(data: Data, prior: Prior, draws: int) -> list[Theta]:
    """The likeliest hyperparameters, then draws; with fewer than three trials what the priors say, alone."""
    from scipy import optimize

    start = np.zeros(max(data.inputs.groups) + 4)
    if len(data.y) < 3:
        return [unpack(start)]
    density = Posterior(data[_telling(data, LEARN_FROM)], prior)
    found = optimize.minimize(
        density, start, jac=True, method="L-BFGS-B", bounds=[(LOW, HIGH)] * len(start), options={"maxiter": 30}
    )
    others = _drawn(density, found.x, draws, np.random.default_rng(len(data.y))) if draws else []
    return [unpack(logs) for logs in (found.x, *others)]


def _drawn(density: Posterior, peak: Floats, draws: int, rng: np.random.Generator) -> list[Floats]:
    """Draws around the peak, in pairs to both sides of it, from the normal distribution with its curvature.

    Where the density falls less than half as fast as the priors alone, their half counts: a flat likelihood, or a
    peak at a bound.
    """
    slope = density(peak)[1]
    steps = STEP * np.eye(len(peak))
    curvature = np.stack([(density(peak + step)[1] - slope) / STEP for step in steps])
    widths, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    scale = axes / np.sqrt(np.maximum(widths, 0.5 / SPREAD**2))
    found: list[Floats] = []
    while len(found) < draws:
        away = scale @ rng.normal(size=len(peak))
        found += [np.clip(peak + away, LOW, HIGH), np.clip(peak - away, LOW, HIGH)]
    return found[:draws]


def _telling(data: Data, most: int) -> Whole:
    """The trials that say most: the newest half of ``most``, and the highest of the rest."""
    count = len(data.y)
    if count <= most:
        return np.arange(count)
    rest = np.arange(count - most // 2)
    highest = rest[np.argsort(-data.y[rest], kind="stable")[: most - most // 2]]
    return np.sort(np.concatenate([highest, np.arange(count - most // 2, count)]))


class Posterior:
    """Minus the log posterior density of hyperparameters (logs of ratios to their priors), and its gradient."""

    def __init__(self, data: Data, prior: Prior) -> None:
        rest = data.y - data.inputs.basis @ prior.mean
        self.y = rest - np.median(rest)
        self.weights = data.weights
        self.trend = (data.inputs.basis * prior.sd**2) @ data.inputs.basis.T
        self.levels = [(squares(levels, levels), at) for levels, at in data.inputs.levels]
        self.squares = np.stack([table[at][:, at] for table, at in self.levels])

    def __call__(self, logs: Floats) -> tuple[float, Floats]:
        theta = unpack(logs)
        inverse = theta.lengths**-2
        root = np.sqrt(3.0 * np.tensordot(inverse, self.squares, 1))
        fall = np.exp(-root)
        mixed = theta.mixed**2 * (1.0 + root) * fall
        mains, slopes = self._mains(theta)
        noise = theta.noise**2 * (self.weights + OWN**2)
        lower = safe_cholesky(self.trend + mains + mixed + np.diag(noise))
        half = np.linalg.solve(lower, np.column_stack([np.eye(len(lower)), self.y]))
        alpha = half[:, :-1].T @ half[:, -1]
        pull = np.outer(alpha, alpha) - half[:, :-1].T @ half[:, :-1]
        steep = theta.mixed**2 * 3.0 * fall * pull
        lengths = 0.5 * inverse * np.tensordot(self.squares, steep, 2)
        lengths += np.asarray([0.5 * np.sum(pull * slope) for slope in slopes])
        rest = [np.sum(pull * mains), np.sum(pull * mixed), np.sum(np.diag(pull) * noise)]
        loss = 0.5 * float(half[:, -1] @ half[:, -1]) + float(np.sum(np.log(np.diag(lower))))
        prior = 0.5 * float(np.sum((logs / SPREAD) ** 2))
        return loss + prior, logs / SPREAD**2 - np.concatenate([lengths, rest])

    def _mains(self, theta: Theta) -> tuple[Floats, list[Floats]]:
        """Covariance of the main effects, and its derivative by the log of each length scale."""
        total = np.zeros_like(self.trend)
        slopes = []
        for (table, at), length in zip(self.levels, theta.lengths, strict=True):
            root = np.sqrt(3.0 * table) / length
            fall = theta.main**2 * np.exp(-root)
            total += ((1.0 + root) * fall)[at][:, at]
            slopes.append((root**2 * fall)[at][:, at])
        return total, slopes
