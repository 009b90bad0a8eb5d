"""Fitting a mixture density network: a point estimate, or a variational posterior over its weights."""

import time
from numbers import Real

import numpy as np
import xarray as xr

from ..engines.interrupts import finishing
from ..engines.progress import display
from ..whole_numbers import is_whole
from .fit import MDNFit
from .resuming import GROUP, Run
from .rows import rows_of
from .specification import MDN
from .training import Plan, Problem, Trained, epochs_for, train

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
    store=None,
    resume=None,
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
        Covariates (obs, covariate): numbers, or categories as text; missing cells are taken for values of their own. Those
        that are not in memory (`numpy.memmap`, Dask, objects that yield blocks, as for `bayesmix.em`) are read in pieces.
    y : array_like, data frame or xarray object
        Responses (obs,) or (obs, response), in memory or not.
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
    store : path, optional
        A folder to be made, in which the state of training is kept while it runs: what a killed run has written is gone on
        with by `resume`. It is written after an epoch, at most every 10 seconds.
    resume : MDNFit or path, optional
        A fit that was interrupted (Ctrl-C), as it is or loaded from a file, or the folder of a stored run: training goes on
        after its last epoch, and ends with the network that it would have made without a break, bit for bit. The
        specification, data and all other arguments are those of that run; its generator goes on, so leave `random_seed` out.
    random_seed : int, Generator or None
        The same seed gives the same network.
    progressbar : bool
        Show the progress of training?

    Returns
    -------
    MDNFit
        After an interrupt (Ctrl-C) the network after the last full epoch; `message` says so, and `converged` is False.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, the data cannot be read, or those of a run to be resumed were others.
    FileExistsError, FileNotFoundError
        If the folder `store` is there already, or the folder `resume` is not.

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
    began = (time.perf_counter(), time.process_time())
    rows = rows_of(mdn, X, y)
    settings = {"members": members, "restarts": restarts, "batch_size": batch_size, "epochs": epochs}
    settings |= {"early_stopping": bool(early_stopping), "method": method, "draws": draws}
    run = Run.begin("map_estimate", mdn, rows.digest, settings, random_seed, store, resume)
    rng, problem = run.rng, rows.problem
    n = members * restarts
    feed = rows.split(n, HELD_OUT, rng) if early_stopping else rows.feed(n)
    plan = Plan(
        np.zeros(problem.layout.n_weights, dtype=bool),
        np.ones(n),
        batch_size,
        epochs or epochs_for(feed.n_rows, batch_size),
        PATIENCE if early_stopping else None,
    )
    with display(progressbar) as progress:
        trained = _trained(run, "weights", feed, plan, progress, "training")
    kept = _best(feed.density(trained.mean), members)
    weights = trained.mean[kept][:, None]
    if method == "lastlayer-laplace":
        weights = _last_layer_laplace(feed, trained.mean, kept, draws, rng)
    message = _message(trained, plan, early_stopping)
    attrs = {
        "engine": "map_estimate",
        "method": method,
        "batch_size": batch_size,
        "early_stopping": int(early_stopping),
    }
    return _finished(run, trained, rows, weights, kept, attrs | _ending(trained, began, message))


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
    store=None,
    resume=None,
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
    mdn, X, y, batch_size, epochs, members, store, resume, random_seed, progressbar
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
    began = (time.perf_counter(), time.process_time())
    rows = rows_of(mdn, X, y)
    settings = {"method": method, "draws": draws, "batch_size": batch_size, "temperature": temperature}
    settings |= {"members": members, "restarts": restarts, "epochs": epochs}
    run = Run.begin("advi", mdn, rows.digest, settings, random_seed, store, resume)
    rng, problem = run.rng, rows.problem
    random = np.ones(problem.layout.n_weights, dtype=bool)
    if method == "lastlayer":
        random[: -problem.layout.sizes[-1] * (problem.layout.sizes[-2] + 1)] = False
    attrs = {"engine": "advi", "method": method, "batch_size": batch_size}
    with display(progressbar) as progress:
        if auto and not run.scores:
            plan, trained, scores = _judge_temperatures(rows, random, batch_size, epochs, run, progress)
            temperature = max(scores, key=lambda t: scores[t])
            if trained.interrupted:
                kept = np.flatnonzero(plan.strength == temperature)
                message = _message(trained, plan, False) + (
                    f" The temperature was being chosen: these are networks at {temperature:g}, the best so far, each of 85 % "
                    "of the rows."
                )
                attrs |= {"temperature": float(temperature)} | _ending(trained, began, message)
                return _finished(run, trained, rows, trained.draws(draws, rng)[kept], kept, attrs)
            run.scores = scores
        temperature = max(run.scores, key=lambda t: run.scores[t]) if auto else temperature
        n = members * restarts
        feed = rows.feed(n)
        plan = Plan(random, np.full(n, float(temperature)), batch_size, epochs or epochs_for(feed.n_rows, batch_size))
        trained = _trained(run, "weights", feed, plan, progress, "fitting")
    objective = np.mean(trained.objective[-max(1, len(trained.objective) // 10) :], axis=0)
    objective = objective - float(temperature) * divergence(problem, trained) / rows.n_obs
    kept = _best(objective, members)
    weights = trained.draws(draws, rng)[kept]
    attrs |= {"temperature": float(temperature)}
    attrs |= {f"held_out_at_{t:g}": float(score) for t, score in run.scores.items()}
    message = _message(trained, plan, False) + (
        "" if temperature == 1.0 else f" The objective at temperature {temperature:g} is no bound on the evidence."
    )
    return _finished(run, trained, rows, weights, kept, attrs | _ending(trained, began, message))


def _trained(run, phase, feed, plan, progress, label) -> Trained:
    """Train in a run: from the state it has in this phase, and keeping what is reached."""
    state = run.state_for(phase)
    keep = run.keeper(phase, plan.epochs)
    trained = train(feed, plan, run.rng, progress, label, state, keep)
    run.end(trained.state)
    return trained


def _finished(run, trained, rows, weights, kept, attrs) -> MDNFit:
    """Make the fit; of an interrupted run with what it goes on from."""
    with finishing("the network is put together"):
        inputs, X, data = rows.kept
        fit = MDNFit.assemble(
            rows.model, inputs, X, data, weights, _history(trained, kept), attrs | {"n_rows": rows.n_obs}
        )
        if trained.interrupted:
            state, about = run.remains()
            fit.tree[GROUP] = xr.DataTree(state)
            fit.tree.attrs |= about
    return fit


def divergence(problem: Problem, trained: Trained) -> np.ndarray:
    """Kullback-Leibler divergence of the weights' distributions from the prior, in nats, without that of points: (member,)."""
    sd, scale = trained.sd, problem.scale
    with np.errstate(divide="ignore"):
        random = np.log(scale / np.where(sd > 0, sd, scale)) + 0.5 * ((sd / scale) ** 2 - (sd > 0))
    return (random + 0.5 * (trained.mean / scale) ** 2).sum(axis=1)


def _judge_temperatures(rows, random, batch_size, epochs, run, progress):
    """Networks at all temperatures, how they were trained, and their mean held-out log density, nats per row."""
    feed = rows.split(TRIALS, HELD_OUT, run.rng, len(TEMPERATURES))
    strength = np.repeat(TEMPERATURES, TRIALS)
    plan = Plan(random, strength, batch_size, epochs or epochs_for(feed.n_rows, batch_size))
    trained = _trained(run, "temperature", feed, plan, progress, "choosing the temperature")
    score = feed.averaged_density(trained.draws(JUDGING, run.rng)).reshape(-1, TRIALS).mean(axis=1)
    return plan, trained, {t: float(value) for t, value in zip(TEMPERATURES, score, strict=True)}


def _last_layer_laplace(feed, weights, kept, draws, rng):
    """Draws (member, draw, weight) of the last layer's weights from a normal distribution with the curvature at `weights`.

    The curvature is that of the scores of single rows (the empirical Fisher information) plus the prior's.
    """
    layout = feed.problem.layout
    units, n_outputs = layout.sizes[-2], layout.sizes[-1]
    size = n_outputs * (units + 1)
    if size > MOST_CURVATURE:
        raise ValueError(
            f"the last layer has {size} weights, but the Laplace approximation keeps a matrix of up to {MOST_CURVATURE}: take "
            'fewer units in the last hidden layer, or bm.advi(..., method="lastlayer").'
        )
    information = np.tile(np.diag(feed.problem.scale[-size:] ** -2.0), (len(kept), 1, 1))
    for problem, rows in feed.parts(1):
        for i, member in enumerate(kept):
            for begin in range(0, rows.shape[1], 512):
                these = np.ascontiguousarray(rows[member : member + 1, begin : begin + 512])
                hidden, gradient = problem.last_layer(weights[member : member + 1], these)
                scores = (gradient[:, None] * hidden[None]).reshape(size - n_outputs, -1)
                scores = np.concatenate([scores, gradient])
                information[i] += scores @ scores.T
    found = np.repeat(weights[kept][:, None], draws, axis=1)
    for i in range(len(kept)):
        factor = np.linalg.cholesky(information[i])
        found[i, :, -size:] += np.linalg.solve(factor.T, rng.standard_normal((size, draws))).T
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
