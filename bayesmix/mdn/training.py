"""Training: stochastic steps of Adam for many members at once, by the compiled network and likelihood.

A member is one network: an element of an ensemble, a restart, a candidate for the temperature. Members share the data,
not the rows that they are trained on, nor the batches.
"""

import warnings
from dataclasses import dataclass, field

import numba
import numpy as np

from ..engines.progress import track
from ..likelihood.rowwise import Rowwise
from ..prediction import log_mean_exp
from .network import Layout, adam, backward, forward, penalty, squared_softplus

RATE = 1e-2  # of Adam at the beginning; it falls along half a cosine (Loshchilov & Hutter 2017)
LEAST_RATE = 0.02  # of that, at the end
LARGEST_GRADIENT = 10.0  # norm of a gradient, in nats per row, that a step follows
NARROW = -5.0  # softplus of it is the standard deviation of weights at the start
STEPS = 40_000  # about how many steps are enough
MOST_EPOCHS, LEAST_EPOCHS = 200, 20
ROWS = 2048  # rows of a pass outside training

_compiled = numba.njit(cache=True, nogil=True)


@dataclass(frozen=True)
class Problem:
    """Data as the compiled functions read them, and the functions.

    Attributes
    ----------
    x : ndarray (obs, input)
    y : ndarray (column, obs)
        As `Rowwise.prepare` returns them.
    layout : Layout
    rowwise : Rowwise
    kinds : ndarray (cluster,)
    settings : ndarray
    offsets : ndarray (cluster, output)
        Outputs of components spread over the data, to start from.
    scale : ndarray (weight,)
        Prior standard deviation of each weight.
    left_out : float
        What the log density of a row lacks, in nats, as responses are standardised.
    """

    x: np.ndarray
    y: np.ndarray
    layout: Layout
    rowwise: Rowwise
    kinds: np.ndarray
    settings: np.ndarray
    offsets: np.ndarray
    scale: np.ndarray
    left_out: float = 0.0

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return len(self.x)

    def start(self, n_members: int, rng: np.random.Generator) -> np.ndarray:
        """Weights (member, weight): outputs near those of components at quantiles of the responses, in any order."""
        weights = self.layout.start(n_members, rng)
        k, p = self.offsets.shape
        last = self.layout.views(weights)[-1][1]
        for member in range(n_members):
            order = rng.permutation(k) if np.all(self.kinds == self.kinds[0]) else np.arange(k)
            last[member, k:] = (self.offsets[order] + 0.1 * rng.normal(size=(k, p))).ravel()
        return weights

    def log_likelihood(self, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Log density of rows (member, row) under weights (member, weight), in nats: (member, row)."""
        found = np.empty(rows.shape)
        for begin in range(0, rows.shape[1], ROWS):
            these = np.ascontiguousarray(rows[:, begin : begin + ROWS])
            outputs, y = self.outputs(weights, these)
            value = np.empty(these.shape)
            self.rowwise.functions.log_likelihood(y, outputs, self.kinds, self.settings, value, outputs)
            found[:, begin : begin + ROWS] = value + self.left_out
        return found

    def outputs(self, weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs (member, output, row) of networks, and the rows' columns (member, column, row)."""
        space, y = self._forward(weights, rows)
        return np.ascontiguousarray(space.before[:, -self.layout.sizes[-1] :]), y

    def last_layer(self, weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of one member, what its last layer reads (unit, row), and the gradient of each row's log density in its outputs."""
        space, y = self._forward(weights, rows)
        units, n_outputs = self.layout.sizes[-2:]
        outputs = np.ascontiguousarray(space.before[:, -n_outputs:])
        gradient = np.empty(outputs.shape)
        self.rowwise.functions.log_likelihood(y, outputs, self.kinds, self.settings, np.empty(rows.shape), gradient)
        return space.activations[0, -n_outputs - units : -n_outputs], gradient[0]

    def _forward(self, weights, rows):
        """The workspace after a pass with these weights, and the rows' columns."""
        space = self.layout.workspace(*rows.shape)
        y = np.empty((len(rows), len(self.y), rows.shape[1]))
        gather(self.x, self.y, rows, space.activations, y)
        none = np.empty((len(rows), 0))
        forward(weights, none, none[:, :, None], self.layout.arguments, *space)
        return space, y


@_compiled
def gather(x, y, rows, activations, columns):
    """Put rows (member, row) of the inputs x (obs, input) and columns y (column, obs) where the passes read them."""
    for e in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            n = rows[e, i]
            for j in range(x.shape[1]):
                activations[e, j, i] = x[n, j]
            for j in range(y.shape[0]):
                columns[e, j, i] = y[j, n]


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes
    ----------
    random : ndarray (weight,) of bool
        Weights with a variational distribution; none for a point estimate.
    strength : ndarray (member,)
        Factor of the divergence from the prior, the temperature, for each member.
    batch_size, epochs : int
    patience : int or None
        Epochs without a better value on the held-out rows until a member stops; its best weights are kept. None: the last.
    rate : float
        Of Adam.
    """

    random: np.ndarray
    strength: np.ndarray
    batch_size: int
    epochs: int
    patience: int | None = None
    rate: float = RATE


@dataclass
class Trained:
    """Members after training.

    Attributes
    ----------
    mean, sd : ndarray (member, weight)
        Of the weights; sd is 0 where they are points.
    objective : list of ndarray (member,)
        Mean log-likelihood of the batches of each epoch, nats per row.
    held_out : list of ndarray (member,)
        Mean log density of the held-out rows after each epoch, if there are any.
    epochs : int
        How many were made.
    interrupted : bool
        Was Ctrl-C pressed?
    """

    mean: np.ndarray
    sd: np.ndarray
    objective: list = field(default_factory=list)
    held_out: list = field(default_factory=list)
    epochs: int = 0
    interrupted: bool = False

    def draws(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Weights (member, draw, weight) of the variational distributions; one draw of points."""
        n = n if np.any(self.sd > 0.0) else 1
        noise = rng.standard_normal((len(self.mean), n, self.mean.shape[1]))
        return self.mean[:, None] + self.sd[:, None] * noise


def epochs_for(n_rows: int, batch_size: int) -> int:
    """How many epochs make about enough steps."""
    steps = max(n_rows // batch_size, 1)
    return int(np.clip(STEPS // steps, LEAST_EPOCHS, MOST_EPOCHS))


def train(problem: Problem, plan: Plan, rows: np.ndarray, held_out, rng, progress=None, label="training") -> Trained:
    """Train members on rows (member, row) of the data; held_out (member, row) or None.

    Every epoch passes over each member's rows in an order of its own. Ctrl-C keeps what there is.
    """
    layout, n_members = problem.layout, len(rows)
    batch = min(plan.batch_size, rows.shape[1])
    mean = problem.start(n_members, rng)
    rho = np.full(mean.shape, NARROW) if plan.random.any() else np.empty((n_members, 0))
    variance, d_variance, d_mean = np.empty(rho.shape), np.empty(rho.shape), np.empty(mean.shape)
    state = [np.zeros(a.shape) for a in (mean, mean, rho, rho)]
    space = layout.workspace(n_members, batch)
    y = np.empty((n_members, len(problem.y), batch))
    value = np.empty((n_members, batch))
    noise = np.empty((n_members, layout.n_units, batch if rho.size else 0))
    strength = plan.strength / rows.shape[1]
    steps, step, n_outputs = rows.shape[1] // batch, 0, layout.sizes[-1]
    free, arguments, likelihood = plan.random, layout.arguments, problem.rowwise.functions.log_likelihood
    trained, best = Trained(mean, np.zeros(mean.shape)), _Best(mean, rho)
    try:
        for _ in track(progress, range(plan.epochs), label):
            order = rng.permuted(rows, axis=1)
            total = np.zeros(n_members)
            for i in range(steps):
                rate = plan.rate * (
                    LEAST_RATE + (1.0 - LEAST_RATE) * 0.5 * (1.0 + np.cos(np.pi * step / (plan.epochs * steps)))
                )
                step += 1
                gather(
                    problem.x,
                    problem.y,
                    np.ascontiguousarray(order[:, i * batch : (i + 1) * batch]),
                    space.activations,
                    y,
                )
                if rho.size:
                    squared_softplus(rho, free, variance)
                    rng.standard_normal(out=noise)
                forward(mean, variance, noise, arguments, *space)
                outputs = np.ascontiguousarray(space.before[:, -n_outputs:])
                gradient = np.empty(outputs.shape)
                likelihood(y, outputs, problem.kinds, problem.settings, value, gradient)
                gradient *= -1.0 / batch
                backward(mean, variance, noise, arguments, *space, gradient, d_mean, d_variance)
                penalty(mean, rho, problem.scale, strength, d_mean, d_variance, variance)
                adam(mean, d_mean, state[0], state[1], step, rate, LARGEST_GRADIENT)
                if rho.size:
                    adam(rho, d_variance, state[2], state[3], step, rate, LARGEST_GRADIENT)
                total += value.mean(axis=1)
            trained.objective.append(total / steps + problem.left_out)
            trained.epochs += 1
            if held_out is not None:
                trained.held_out.append(problem.log_likelihood(mean, held_out).mean(axis=1))
                if plan.patience is not None and best.see(trained.held_out[-1], mean, rho, plan.patience):
                    break
    except KeyboardInterrupt:
        if not trained.epochs:
            raise
        trained.interrupted = True
        warnings.warn(
            f"interrupted after {trained.epochs} of {plan.epochs} epochs: the network is what it was then, and may be better "
            "after more.",
            UserWarning,
            stacklevel=4,
        )
    if plan.patience is not None and held_out is not None:
        mean, rho = best.mean, best.rho
    trained.mean = mean
    if rho.size:
        variance = np.empty(rho.shape)
        squared_softplus(rho, free, variance)
        trained.sd = np.sqrt(variance)
    return trained


class _Best:
    """The weights of each member at which the held-out rows were likeliest."""

    def __init__(self, mean, rho):
        self.value, self.since = np.full(len(mean), -np.inf), np.zeros(len(mean), dtype=int)
        self.mean, self.rho = mean.copy(), rho.copy()

    def see(self, value, mean, rho, patience) -> bool:
        """Take note of the members that improved; is every one out of patience?"""
        better = value > self.value
        self.value = np.where(better, value, self.value)
        self.mean[better], self.rho[better] = mean[better], rho[better]
        self.since = np.where(better, 0, self.since + 1)
        return bool(np.all(self.since >= patience))


def split(n_obs: int, n_members: int, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out, (member, row) each, a split of its own for each member."""
    order = rng.permuted(np.tile(np.arange(n_obs), (n_members, 1)), axis=1)
    n = min(max(int(round(share * n_obs)), 1), n_obs - 1)
    return np.ascontiguousarray(order[:, n:]), np.ascontiguousarray(order[:, :n])


def mean_log_density(problem: Problem, draws: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean over rows (member, row) of the log of the density averaged over draws (member, draw, weight): (member,)."""
    n = draws.shape[1]
    every = np.stack([problem.log_likelihood(np.ascontiguousarray(draws[:, s]), rows) for s in range(n)])
    return log_mean_exp(every, axis=0).mean(axis=1)
