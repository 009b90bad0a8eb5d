"""Fitting a mixture density network: a point estimate, or a variational posterior over its weights."""

import time
from numbers import Real

import numpy as np

from ..engines.progress import display
from ..randomness import generator
from ..whole_numbers import is_whole
from .fit import MDNFit
from .problem import Model
from .specification import MDN
from .training import Plan, Problem, Trained, epochs_for, mean_log_density, split, train

HELD_OUT = 0.15  # share of rows for early stopping and for the choice of the temperature
PATIENCE = 30  # epochs
TEMPERATURES = (0.1, 0.3, 1.0)  # that "auto" chooses among
TRIALS = 3  # splits of the data for each of them
JUDGING = 60  # draws by which held-out densities are averaged
MOST_CURVATURE = 4000  # weights of the last layer up to which a full covariance matrix is kept


def map_estimate(
    mdn: MDN,
    X,
    y,
    *,
    members: int = 3,
    restarts: int = 1,
    batch_size: int = 32,
    epochs: int | None = None,
    early_stopping: bool = True,
    method: str = "point",
    draws: int = 100,
    random_seed=None,
    progressbar: bool = True,
) -> MDNFit:
    r"""Fit a mixture density network by stochastic gradient steps to a penalised maximum of the likelihood.

    ``log p(y | X, w) + log p(w)`` with independent normal priors is climbed by Adam; with early stopping 15 % of the rows,
    others for every member, are held out, and the weights at which these were likeliest are kept. Without, a network with
    enough units learns every row by heart.

    Parameters
    ----------
    mdn : MDN
        The specification.
    X : array_like, data frame or xarray object
        Covariates (obs, covariate): numbers, or categories as text; missing cells are taken for values of their own.
    y : array_like, data frame or xarray object
        Responses (obs,) or (obs, response).
    members : int
        Networks of the ensemble: their densities are averaged (Lakshminarayanan, Pritzel & Blundell 2017). Three predict
        better than one on every data set of the benchmarks.
    restarts : int
        Networks trained for each member, of which the one likeliest on its held-out rows is kept (or, without early
        stopping, on its own).
    batch_size : int
        Rows of a step.
    epochs : int, optional
        Passes over the rows; by default as many as make about 40 000 steps, between 20 and 200.
    early_stopping : bool
        Hold out rows, and stop when these have not become likelier for 30 epochs?
    method : {"point", "lastlayer-laplace"}
        One set of weights, or a normal approximation to the posterior of those of the last layer, with the curvature of the
        likelihood at the estimate (Daxberger et al. 2021).
    draws : int
        Draws kept of that approximation, for each member.
    random_seed : int, Generator or None
        The same seed gives the same network.
    progressbar : bool
        Show the progress of training?

    Returns
    -------
    MDNFit

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or the data cannot be read.

    Examples
    --------
    >>> import numpy as np, bayesmix as bm
    >>> x = np.linspace(-1, 1, 200)
    >>> y = x + 0.1 * np.random.default_rng(0).normal(size=200)
    >>> fit = bm.map_estimate(bm.MDN(bm.Normal(), n_components=1), x, y, random_seed=1, progressbar=False)
    >>> bool(abs(fit.mean([0.5]).item() - 0.5) < 0.1)
    True
    """
    _check(mdn, members=members, restarts=restarts, batch_size=batch_size, epochs=epochs, draws=draws)
    if method not in ("point", "lastlayer-laplace"):
        raise ValueError(f'method={method!r} but it must be "point" or "lastlayer-laplace".')
    began, rng = (time.perf_counter(), time.process_time()), generator(random_seed)
    model, inputs, data = Model.learn(mdn, X, y)
    problem = model.problem(inputs, data.values, training=True)
    every = np.arange(problem.n_obs)
    n = members * restarts
    rows, held_out = split(problem.n_obs, n, HELD_OUT, rng) if early_stopping else (np.tile(every, (n, 1)), None)
    plan = Plan(
        np.zeros(problem.layout.n_weights, dtype=bool),
        np.ones(n),
        batch_size,
        epochs or epochs_for(rows.shape[1], batch_size),
        PATIENCE if early_stopping else None,
    )
    with display(progressbar) as progress:
        trained = train(problem, plan, rows, held_out, rng, progress)
    judged = held_out if held_out is not None else rows
    kept = _best(problem.log_likelihood(trained.mean, judged).mean(axis=1), members)
    weights = trained.mean[kept][:, None]
    if method == "lastlayer-laplace":
        weights = _last_layer_laplace(problem, trained.mean[kept], rows[kept], draws, rng)
    message = _message(trained, plan, early_stopping)
    attrs = {
        "engine": "map_estimate",
        "method": method,
        "batch_size": batch_size,
        "early_stopping": int(early_stopping),
    }
    return MDNFit.assemble(
        model, inputs, X, data, weights, _history(trained, kept), attrs | _ending(trained, began, message)
    )


def advi_mdn(
    mdn: MDN,
    X,
    y,
    *,
    method: str = "meanfield",
    draws: int = 100,
    batch_size: int = 32,
    temperature="auto",
    members: int = 1,
    restarts: int = 1,
    epochs: int | None = None,
    random_seed=None,
    progressbar: bool = True,
) -> MDNFit:
    r"""Variational posterior over the weights of a network; called by `bayesmix.advi`.

    Independent normal distributions of the weights maximise

    .. math:: E_q[\log p(y \mid X, w)] - T\, \mathrm{KL}(q \,\|\, p),

    with local reparametrisation (Kingma, Salimans & Welling 2015) and minibatches. Only with T = 1 is this a bound on the
    evidence. Smaller T make a posterior that is too narrow for the model, and often predicts better (Wenzel et al. 2020).

    Parameters
    ----------
    mdn, X, y, batch_size, epochs, members, random_seed, progressbar
        As for `bayesmix.map_estimate`.
    method : {"meanfield", "lastlayer"}
        Random weights in all layers, or in the last one.
    draws : int
        Draws of the weights kept for each member.
    temperature : float or "auto"
        T; "auto" takes the one of 0.1, 0.3 and 1 under which 15 % held-out rows are likeliest, by three splits each, and
        then fits all rows.
    restarts : int
        Networks trained for each member, of which that with the greatest objective is kept.

    Returns
    -------
    MDNFit
    """
    _check(mdn, members=members, restarts=restarts, batch_size=batch_size, epochs=epochs, draws=draws)
    if method not in ("meanfield", "lastlayer"):
        raise ValueError(f'method={method!r} but for a network it must be "meanfield" or "lastlayer".')
    auto = isinstance(temperature, str) and temperature == "auto"
    if not auto and (
        isinstance(temperature, bool) or not isinstance(temperature, Real) or not 0.0 < float(temperature)
    ):
        raise ValueError(f'temperature={temperature!r} but it must be a positive number or "auto".')
    began, rng = (time.perf_counter(), time.process_time()), generator(random_seed)
    model, inputs, data = Model.learn(mdn, X, y)
    problem = model.problem(inputs, data.values, training=True)
    random = np.ones(problem.layout.n_weights, dtype=bool)
    if method == "lastlayer":
        random[: -problem.layout.sizes[-1] * (problem.layout.sizes[-2] + 1)] = False
    scores = {}
    with display(progressbar) as progress:
        if auto:
            scores = _judge_temperatures(problem, random, batch_size, epochs, rng, progress)
            temperature = max(scores, key=lambda t: scores[t])
        n = members * restarts
        rows = np.tile(np.arange(problem.n_obs), (n, 1))
        plan = Plan(random, np.full(n, float(temperature)), batch_size, epochs or epochs_for(problem.n_obs, batch_size))
        trained = train(problem, plan, rows, None, rng, progress, "fitting")
    objective = np.mean(trained.objective[-max(1, len(trained.objective) // 10) :], axis=0)
    objective = objective - float(temperature) * divergence(problem, trained) / problem.n_obs
    kept = _best(objective, members)
    weights = trained.draws(draws, rng)[kept]
    attrs = {"engine": "advi", "method": method, "batch_size": batch_size, "temperature": float(temperature)}
    attrs |= {f"held_out_at_{t:g}": float(score) for t, score in scores.items()}
    message = _message(trained, plan, False) + (
        "" if temperature == 1.0 else f" The objective at temperature {temperature:g} is no bound on the evidence."
    )
    return MDNFit.assemble(
        model, inputs, X, data, weights, _history(trained, kept), attrs | _ending(trained, began, message)
    )


def divergence(problem: Problem, trained: Trained) -> np.ndarray:
    """Kullback-Leibler divergence of the weights' distributions from the prior, in nats, without that of points: (member,)."""
    sd, scale = trained.sd, problem.scale
    with np.errstate(divide="ignore"):
        random = np.log(scale / np.where(sd > 0, sd, scale)) + 0.5 * ((sd / scale) ** 2 - (sd > 0))
    return (random + 0.5 * (trained.mean / scale) ** 2).sum(axis=1)


def _judge_temperatures(problem, random, batch_size, epochs, rng, progress):
    """Mean held-out log density, nats per row, by temperature."""
    rows, held_out = split(problem.n_obs, TRIALS, HELD_OUT, rng)
    rows, held_out = (np.ascontiguousarray(np.tile(a, (len(TEMPERATURES), 1))) for a in (rows, held_out))
    strength = np.repeat(TEMPERATURES, TRIALS)
    plan = Plan(random, strength, batch_size, epochs or epochs_for(rows.shape[1], batch_size))
    trained = train(problem, plan, rows, None, rng, progress, "choosing the temperature")
    if trained.interrupted:
        raise KeyboardInterrupt
    score = mean_log_density(problem, trained.draws(JUDGING, rng), held_out)
    return dict(zip(TEMPERATURES, score.reshape(-1, TRIALS).mean(axis=1), strict=True))


def _last_layer_laplace(problem, weights, rows, draws, rng):
    """Draws (member, draw, weight) of the last layer's weights from a normal distribution with the curvature at `weights`.

    The curvature is that of the scores of single rows (the empirical Fisher information) plus the prior's.
    """
    layout = problem.layout
    units, n_outputs = layout.sizes[-2], layout.sizes[-1]
    size = n_outputs * (units + 1)
    if size > MOST_CURVATURE:
        raise ValueError(
            f"the last layer has {size} weights, but the Laplace approximation keeps a matrix of up to {MOST_CURVATURE}: take "
            'fewer units in the last hidden layer, or bm.advi(..., method="lastlayer").'
        )
    found = np.repeat(weights[:, None], draws, axis=1)
    for member in range(len(weights)):
        information = np.diag(problem.scale[-size:] ** -2.0)
        for begin in range(0, rows.shape[1], 512):
            these = np.ascontiguousarray(rows[member : member + 1, begin : begin + 512])
            hidden, gradient = problem.last_layer(weights[member : member + 1], these)
            scores = (gradient[:, None] * hidden[None]).reshape(size - n_outputs, -1)
            scores = np.concatenate([scores, gradient])
            information += scores @ scores.T
        factor = np.linalg.cholesky(information)
        noise = rng.standard_normal((size, draws))
        found[member, :, -size:] += np.linalg.solve(factor.T, noise).T
    return found


def _best(value, members):
    """Of each member's restarts the one of greatest value: (member,) places."""
    value = np.where(np.isfinite(value), value, -np.inf).reshape(members, -1)
    return np.argmax(value, axis=1) + np.arange(members) * value.shape[1]


def _history(trained, kept):
    return {
        name: np.array(value)[:, kept]
        for name, value in (("log_density", trained.objective), ("held_out", trained.held_out))
        if value
    }


def _message(trained, plan, early_stopping):
    if trained.interrupted:
        return f"Interrupted after {trained.epochs} of {plan.epochs} epochs."
    if early_stopping and trained.epochs < plan.epochs:
        return f"Stopped after {trained.epochs} epochs: the held-out rows became no likelier for {PATIENCE}."
    return f"{trained.epochs} epochs."


def _ending(trained, began, message):
    return {
        "message": message,
        "converged": int(not trained.interrupted),
        "epochs": trained.epochs,
        "seconds": time.perf_counter() - began[0],
        "cpu_seconds": time.process_time() - began[1],
    }


def _check(mdn, **whole):
    if not isinstance(mdn, MDN):
        raise TypeError(f"the first argument must be a bm.MDN, such as bm.MDN(bm.Normal()), but it is {mdn!r}.")
    for name, value in whole.items():
        if name == "epochs" and value is None:
            continue
        if not is_whole(value, 1):
            raise ValueError(f"{name}={value!r} but it must be a whole number, at least 1.")
