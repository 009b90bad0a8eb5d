"""Training: stochastic steps of Adam for many members at once, by the compiled network and likelihood.

A member is one network: an element of an ensemble, a restart, a candidate for the temperature. Members share the data,
not the rows that they are trained on, nor the batches.
"""

import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numba
import numpy as np

from ..engines.progress import track
from ..likelihood.rowwise import Rowwise
from .network import Layout, adam, backward, forward, penalty, squared_softplus, threads

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
class State:
    """What training goes on from after an epoch, bit for bit.

    Attributes
    ----------
    mean, rho : ndarray (member, weight)
        Of the weights; their standard deviations are softplus(rho). No columns of rho: they are points.
    moments : list of ndarray
        Adam's averages of the gradient and of its square, of the means and of rho.
    best : Best
        The weights of each member at which the held-out rows were likeliest.
    step : int
        Steps that were made.
    objective, held_out : list of ndarray (member,)
        As in `Trained`.
    generator : dict
        State of the random generator.
    """

    mean: np.ndarray
    rho: np.ndarray
    moments: list
    best: "Best"
    step: int = 0
    objective: list = field(default_factory=list)
    held_out: list = field(default_factory=list)
    generator: Any = field(default_factory=dict)

    @classmethod
    def start(cls, mean: np.ndarray, random: bool) -> "State":
        """Before the first epoch."""
        rho = np.full(mean.shape, NARROW) if random else np.empty((len(mean), 0))
        return cls(mean, rho, [np.zeros(a.shape) for a in (mean, mean, rho, rho)], Best.start(mean, rho))

    @property
    def epochs(self) -> int:
        """Epochs that were made."""
        return len(self.objective)

    def copy(self) -> "State":
        """Make one that further steps leave alone."""
        moments, best = [a.copy() for a in self.moments], self.best.copy()
        lists = {"objective": list(self.objective), "held_out": list(self.held_out)}
        return replace(self, mean=self.mean.copy(), rho=self.rho.copy(), moments=moments, best=best, **lists)

    def arrays(self) -> dict[str, np.ndarray]:
        """Write as named arrays, for files."""
        members = len(self.mean)
        found = {"mean": self.mean, "rho": self.rho, "step": np.array(self.step)}
        found |= {f"moment_{i}": a for i, a in enumerate(self.moments)}
        found |= {f"best_{name}": a for name, a in vars(self.best).items()}
        for name in ("objective", "held_out"):
            found[name] = np.array(getattr(self, name)).reshape(-1, members)
        found["generator"] = np.array(json.dumps(self.generator, default=np.ndarray.tolist))
        return {name: a for name, a in found.items() if a.size}

    @classmethod
    def from_arrays(cls, arrays: Mapping) -> "State":
        """Inverse of `arrays`."""
        empty = np.empty((len(arrays["mean"]), 0))
        own = defaultdict(lambda: empty.copy(), {name: np.array(value) for name, value in arrays.items()})
        best = Best(*(own[f"best_{name}"] for name in ("value", "since", "mean", "rho")))
        moments = [own[f"moment_{i}"] for i in range(4)]
        objective, held_out = (list(own[name]) if name in own else [] for name in ("objective", "held_out"))
        state = cls(own["mean"], own["rho"], moments, best, int(own["step"]), objective, held_out)
        state.generator = json.loads(str(own["generator"]))
        return state


@dataclass
class Best:
    """The weights of each member at which the held-out rows were likeliest, and how many epochs ago that was."""

    value: np.ndarray
    since: np.ndarray
    mean: np.ndarray
    rho: np.ndarray

    @classmethod
    def start(cls, mean, rho) -> "Best":
        """Before rows were held against them."""
        return cls(np.full(len(mean), -np.inf), np.zeros(len(mean), dtype=int), mean.copy(), rho.copy())

    def copy(self) -> "Best":
        """Make one that `see` leaves alone."""
        return Best(*(a.copy() for a in vars(self).values()))

    def see(self, value, mean, rho) -> None:
        """Take note of the members that improved."""
        better = value > self.value
        self.value = np.where(better, value, self.value)
        self.mean[better], self.rho[better] = mean[better], rho[better]
        self.since = np.where(better, 0, self.since + 1)


@dataclass
class Trained:
    """Members after training.

    Attributes
    ----------
    mean, sd : ndarray (member, weight)
        Of the weights; sd is 0 where they are points.
    state : State
        After the last epoch.
    interrupted : bool
        Was Ctrl-C pressed?
    """

    mean: np.ndarray
    sd: np.ndarray
    state: State
    interrupted: bool = False

    @property
    def objective(self) -> list:
        """Mean log-likelihood of the batches of each epoch, nats per row: (member,) each."""
        return self.state.objective

    @property
    def held_out(self) -> list:
        """Mean log density of the held-out rows after each epoch, if there are any: (member,) each."""
        return self.state.held_out

    @property
    def epochs(self) -> int:
        """How many were made."""
        return self.state.epochs

    def draws(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Weights (member, draw, weight) of the variational distributions; one draw of points."""
        n = n if np.any(self.sd > 0.0) else 1
        noise = rng.standard_normal((len(self.mean), n, self.mean.shape[1]))
        return self.mean[:, None] + self.sd[:, None] * noise


def epochs_for(n_rows: int, batch_size: int) -> int:
    """How many epochs make about enough steps."""
    steps = max(n_rows // batch_size, 1)
    return int(np.clip(STEPS // steps, LEAST_EPOCHS, MOST_EPOCHS))


def train(
    feed,
    plan: Plan,
    rng: np.random.Generator,
    progress=None,
    label: str = "training",
    state: State | None = None,
    keep: Callable[[State], Any] | None = None,
) -> Trained:
    """Train the members of a `bayesmix.mdn.feed.Feed` on its rows.

    Every epoch passes over each member's rows in an order of its own. Ctrl-C keeps what there was after the last epoch;
    `keep` is called with the state after each, and given such a `state` training goes on as if it had not ended.
    """
    if state is None:
        state = State.start(feed.problem.start(feed.n_members, rng), bool(plan.random.any()))
        state.generator = rng.bit_generator.state
    else:
        state = state.copy()
        rng.bit_generator.state = state.generator
    steps = Steps(feed, plan)
    kept, interrupted, patient = state.copy(), False, plan.patience is not None and feed.held_out is not None
    try:
        with threads(feed.problem.layout, steps.batch):
            for _ in track(progress, range(state.epochs, plan.epochs), label):
                if patient and np.all(state.best.since >= plan.patience):
                    break
                state.objective.append(steps(state, rng) + feed.problem.left_out)
                if patient:
                    state.held_out.append(feed.held_out_density(state.mean))
                    state.best.see(state.held_out[-1], state.mean, state.rho)
                state.generator = rng.bit_generator.state
                kept = state.copy()
                if keep is not None:
                    keep(kept)
    except KeyboardInterrupt:
        if not kept.epochs:
            raise
        interrupted, rng.bit_generator.state = True, kept.generator
        warnings.warn(
            f"interrupted after {kept.epochs} of {plan.epochs} epochs: the network is what it was then, and may be better "
            "after more. It can go on: resume=.",
            UserWarning,
            stacklevel=5,
        )
    mean, rho = (kept.best.mean, kept.best.rho) if patient else (kept.mean, kept.rho)
    sd = np.zeros(mean.shape)
    if rho.size:
        squared_softplus(rho, plan.random, sd)
    return Trained(mean, np.sqrt(sd), kept, interrupted)


class Steps:
    """Steps of Adam over all batches of an epoch, with the arrays that they write to."""

    def __init__(self, feed, plan: Plan):
        n_members, n_rows = feed.n_members, feed.n_rows
        problem: Problem = feed.problem
        layout, random = problem.layout, bool(plan.random.any())
        self.feed, self.plan = feed, plan
        self.batch = min(plan.batch_size, n_rows)
        self.n = n_rows // self.batch
        self.strength = plan.strength / n_rows
        weights = (n_members, layout.n_weights)
        self.d_mean = np.empty(weights)
        self.variance, self.d_variance = (np.empty(weights if random else (n_members, 0)) for _ in range(2))
        self.space = layout.workspace(n_members, self.batch)
        self.y = np.empty((n_members, len(problem.y), self.batch))
        self.value = np.empty((n_members, self.batch))
        self.noise = np.empty((n_members, layout.n_units, self.batch if random else 0))

    def __call__(self, state: State, rng: np.random.Generator) -> np.ndarray:
        """Follow the batches of all rows in random order; the mean of their log-likelihood, (member,)."""
        total = np.zeros(len(state.mean))
        for problem, order in self.feed.parts(self.batch, rng):
            for begin in range(0, order.shape[1] - self.batch + 1, self.batch):
                angle = np.pi * state.step / (self.plan.epochs * self.n)
                rate = self.plan.rate * (LEAST_RATE + (1.0 - LEAST_RATE) * 0.5 * (1.0 + np.cos(angle)))
                state.step += 1
                rows = np.ascontiguousarray(order[:, begin : begin + self.batch])
                self._step(problem, rows, state, rate, rng)
                total += self.value.mean(axis=1)
        return total / self.n

    def _step(self, problem: Problem, rows, state: State, rate, rng):
        mean, rho, moments = state.mean, state.rho, state.moments
        variance, noise, arguments = self.variance, self.noise, problem.layout.arguments
        space = self.space
        gather(problem.x, problem.y, rows, space.activations, self.y)
        if rho.size:
            squared_softplus(rho, self.plan.random, variance)
            rng.standard_normal(out=noise)
        forward(mean, variance, noise, arguments, *space)
        outputs = np.ascontiguousarray(space.before[:, -problem.layout.sizes[-1] :])
        gradient = np.empty(outputs.shape)
        likelihood = problem.rowwise.functions.log_likelihood
        likelihood(self.y, outputs, problem.kinds, problem.settings, self.value, gradient)
        gradient *= -1.0 / self.batch
        backward(mean, variance, noise, arguments, *space, gradient, self.d_mean, self.d_variance)  # pyright: ignore
        penalty(mean, rho, problem.scale, self.strength, self.d_mean, self.d_variance, variance)
        adam(mean, self.d_mean, moments[0], moments[1], state.step, rate, LARGEST_GRADIENT)
        if rho.size:
            adam(rho, self.d_variance, moments[2], moments[3], state.step, rate, LARGEST_GRADIENT)
