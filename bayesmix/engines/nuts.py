"""The posterior by the No-U-Turn sampler."""

import time

import numpy as np
import xarray as xr

from ..chunks import refuse_streamed
from ..cores import available_cores
from ..fit import Fit
from ..likelihood.likelihood import MANY_ROWS, Likelihood, interruptible
from ..mixture import Mixture, check_mixture
from ..posterior import posterior_of
from ..posterior.mode import Mode, find_mode
from ..relabelling import relabel
from ..whole_numbers import check_whole, is_whole
from .em import generator, params_of_fit, search_optima
from .interrupts import finishing
from .sampler import load_nutpie, tree_of
from .search import distinct_optima
from .store import RunStore, fingerprint

NATS_OF_MODES = 10.0  # modes whose evidence is this close to the best's get chains of their own
FAR_BELOW = 50.0  # nats, and one for each coordinate: no prior or curvature makes up for so much
NEARLY_NORMAL = 0.5  # nats by which the log density may differ from the normal one, where that has fallen by 2
TUNE = {"normal": 100, "direct": 200, "graph": 500, "pymc": 1000}
ACCEPT = {"normal": 0.6, "other": 0.8}  # mean acceptance that steps are made for: longer ones where that does no harm
FEW_COORDINATES = 30  # in more, longer steps are accepted too rarely to pay
_STATISTICS = {  # nutpie's names, and the ones that PyMC and ArviZ use
    "diverging": "diverging",
    "logp": "lp",
    "energy": "energy",
    "depth": "tree_depth",
    "maxdepth_reached": "reached_max_treedepth",
    "mean_tree_accept": "acceptance_rate",
    "n_steps": "n_steps",
    "step_size": "step_size",
}


def nuts(
    mixture: Mixture,
    data,
    *,
    weights=None,
    labels=None,
    group=None,
    draws: int = 1000,
    tune="auto",
    chains: int = 4,
    cores: int | None = None,
    sampler: str = "nutpie",
    init="em",
    store=None,
    random_seed=None,
    progressbar: bool = True,
) -> Fit:
    """Draw from the posterior of a mixture with the No-U-Turn sampler (Hoffman & Gelman 2014).

    Chains start around the optimum that EM finds, or around all optima whose evidence is comparable, and sample the
    likelihood marginal over the labels without an ordering constraint. The draws are relabelled afterwards, and a
    verdict says in words whether they have converged; see `bayesmix.relabel`.

    Parameters
    ----------
    mixture : Mixture
        The specification with its priors; ``mixture.priors(data)`` shows them.
    data : array_like, data frame or xarray object
        Rows of observations, as for `bayesmix.em`.
    weights : array_like, shape (obs,), optional
        Weight of each row: its log-likelihood counts that often.
    labels : array_like, shape (obs,), or str, optional
        Known components, as for `bayesmix.em`.
    group : array_like, shape (obs,), or str, optional
        Rows that share a component, as for `bayesmix.em`.
    draws : int
        Draws kept of each chain.
    tune : int or "auto"
        Draws of each chain for adaptation, thrown away. "auto" takes 200 in the coordinates of the mode (priors of the
        documented list), 100 where the posterior is close to normal in them; 500 otherwise, 1000 for PyMC's sampler.
    chains : int
        Number of chains; at least 2, for R-hat 4.
    cores : int, optional
        Chains run at the same time; by default as many as there are cores. Does not change the draws.
    sampler : {"nutpie", "pymc"}
        nutpie, or PyMC's own sampler on the same model.
    init : {"em"} or Fit
        Where chains start: EM's optima, or the estimates of a fit.
    store : path, optional
        A folder to be made, in which nutpie keeps the draws while it samples (Zarr), for long runs: what a killed run
        has written is read by `bayesmix.recover`.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same draws.
    progressbar : bool
        Show chains, draws, divergences and time left.

    Returns
    -------
    Fit
        Groups ``posterior`` (relabelled), ``labels``, ``sample_stats``, ``log_likelihood``, ``posterior_predictive``.
        An interrupt (Ctrl-C) ends sampling and keeps the draws made so far.

    Raises
    ------
    TypeError, ValueError
        If the data do not suit the mixture, or an argument is out of range.
    """
    check_mixture(mixture, data)
    refuse_streamed(data, "bm.nuts")
    checked = mixture.check(data, weights, labels, group)
    mixture = mixture.resolved(checked)
    check_whole(draws=draws, chains=chains, cores=1 if cores is None else cores)
    if draws < (least := 4 if chains > 1 else 8):
        raise ValueError(f"draws={draws} but at least {least} draws per chain are needed to judge convergence.")
    if sampler not in ("nutpie", "pymc"):
        raise ValueError(f'sampler={sampler!r} is not known; use "nutpie" or "pymc".')
    if store is not None and sampler == "pymc":
        raise ValueError('store= keeps the draws of sampler="nutpie"; PyMC\'s own sampler cannot write them.')
    if tune != "auto" and not is_whole(tune, 10):
        raise ValueError(f'tune={tune!r} but it must be "auto" or a number of draws, at least 10.')
    rng = generator(random_seed)
    started = time.perf_counter()
    optima = starting_points(mixture, checked, init, rng, progressbar)
    posterior = posterior_of(mixture, checked)
    modes = modes_of(posterior, optima)
    cores = min(chains, cores or available_cores())
    seed = int(rng.integers(2**31 - 1))
    if sampler == "nutpie":
        length = tuning(posterior, modes) if tune == "auto" else int(tune)
        kept_in = None
        if store is not None:
            settings = {"draws": int(draws), "tune": length, "chains": int(chains), "modes": len(modes), "seed": seed}
            kept_in = RunStore.create(store, mixture, checked, **settings)
        sampled, stats, interrupted = _run_nutpie(
            posterior, modes, draws, length, chains, cores, seed, progressbar, kept_in
        )
    else:
        length = TUNE["pymc"] if tune == "auto" else tune
        starts = [posterior.from_vector(mode.vector) for mode in modes]
        sampled, stats, interrupted = _run_pymc(
            mixture, checked, starts, draws, length, chains, cores, seed, progressbar
        )
    attrs = {"sampler": sampler, "tune": int(length), "seconds": time.perf_counter() - started}
    return _finish(mixture, checked, sampled, stats, interrupted, draws, len(modes), attrs, rng)


def recover(path, data, *, weights=None, labels=None, group=None, random_seed=None) -> Fit:
    """Read the draws of a run of `bayesmix.nuts` that was stored while it sampled, and perhaps killed.

    Parameters
    ----------
    path : path
        The folder given as ``store=``.
    data : array_like, data frame or xarray object
        The data of the run: the store holds draws and the specification, not the rows.
    weights : array_like, shape (obs,), optional
        Their weights, if there were some.
    labels, group : array_like, shape (obs,), or str, optional
        Their known components and groups, if there were some.
    random_seed : int, numpy.random.Generator or None
        For the posterior predictive draws.

    Returns
    -------
    Fit
        As `bayesmix.nuts` returns it after an interrupt: chains cut to one length, those that had hardly begun left out.

    Raises
    ------
    FileNotFoundError
        If there is no stored run.
    ValueError
        If the data are others, or no chain had made four draws.
    """
    kept_in = RunStore.open(path)
    record = kept_in.record
    mixture = Mixture.from_dict(record["mixture"])
    checked = mixture.check(data, weights, labels, group)
    if fingerprint(checked) != record["data"]:
        raise ValueError(
            f"the data differ from those of the run in {path}; give the same rows, columns, weights, labels and groups."
        )
    finished = [tree for tree in map(_finished, kept_in.trees()) if tree is not None]
    if not finished:
        raise ValueError(f"no chain of the run in {path} had made four draws: there is nothing to recover.")
    sampled, stats = _joined(posterior_of(mixture, checked), finished)
    complete = sampled["weights"].shape[:2] == (record["chains"], record["draws"])
    attrs = {"sampler": "nutpie", "tune": record["tune"], "recovered_from": str(path)}
    rng = generator(random_seed)
    return _finish(mixture, checked, sampled, stats, not complete, record["draws"], record["modes"], attrs, rng)


def _finish(mixture, data, sampled, stats, interrupted, draws, n_modes, attrs, rng) -> Fit:
    """Make a relabelled and judged fit of the draws of all chains."""
    notes = _notes(interrupted, sampled["weights"].shape[:2], draws, n_modes), notes_on_weights(mixture, data, sampled)
    attrs = {
        "engine": "nuts",
        "converged": 0,
        "message": "",
        "interrupted": int(interrupted),
        "divergences": int(stats["diverging"].sum()),
        "starting_modes": n_modes,
        "notes": " ".join(filter(None, notes)),
        **attrs,
    }
    with finishing("the draws are relabelled"):
        return relabel(Fit.assemble(mixture, data, draws=sampled, groups={"sample_stats": stats}, attrs=attrs, rng=rng))


def tuning(posterior, modes) -> int:
    """Draws for adaptation: few in the coordinates of a mode whose curvature is that of the posterior.

    Fewest where the posterior is close to normal: there nothing but the length of a step is left to be learnt.
    """
    if not (hasattr(posterior, "block") and all(mode.regular for mode in modes)):
        return TUNE["graph"]
    return TUNE["normal" if all(_is_close_to_normal(posterior, mode) for mode in modes) else "direct"]


def acceptance(posterior, mode) -> float:
    """Mean acceptance probability that the length of a step is adapted to.

    0.8 as everywhere (Hoffman & Gelman 2014), but 0.6 for few coordinates in which the posterior is close to normal: steps
    of one standard deviation are then stable, and three of them reach what takes seven shorter ones.
    """
    easy = hasattr(posterior, "block") and mode.regular and posterior.n_dim <= FEW_COORDINATES
    return ACCEPT["normal" if easy and _is_close_to_normal(posterior, mode) else "other"]


def _is_close_to_normal(posterior, mode) -> bool:
    """Is the log density that of the normal distribution, two standard deviations from the mode along each axis?"""
    ends = mode.vector + 2.0 * np.concatenate([mode.basis.T, -mode.basis.T])
    fall = mode.log_density - np.array([posterior.value_and_gradient(end)[0] for end in ends])
    return bool(np.all(np.abs(fall - 2.0) < NEARLY_NORMAL))


def _notes(interrupted, kept, draws, n_modes):
    notes = []
    if interrupted:
        notes.append(
            f"Sampling was interrupted: {kept[0]} chains of {kept[1]} draws of the {draws} asked for are kept."
        )
    if n_modes > 1:
        where = "each" if n_modes <= kept[0] else f"the {kept[0]} with most evidence"
        notes.append(
            f"The posterior has {n_modes} modes whose evidence is within 10 nats; chains were started in {where}."
        )
    return " ".join(notes)


def notes_on_weights(mixture, data, sampled: dict) -> str:
    """What the prior of the weights has to say about the draws (chain, draw, ...), for the message."""
    return mixture.weights.notes(
        {n: sampled[n] for n in mixture.weights.hyper}, mixture.n_components, data.total_weight
    )


# -- where chains start ----------------------------------------------------------------------------------------------------
def starting_points(mixture, data, init, rng, progressbar) -> list[dict]:
    """Parameters of EM's distinct optima, best first, or the estimates of a given fit."""
    if isinstance(init, Fit):
        return [params_of_fit(Likelihood.of(mixture, data), init)]
    check_init(init)
    likelihood = Likelihood.of(mixture, data)
    return [run.params for run in distinct_optima(likelihood, search_optima(likelihood, rng, progressbar))]


def check_init(init) -> None:
    """Raise `ValueError` unless chains start at EM's optima."""
    if not isinstance(init, str) or init != "em":
        raise ValueError(f'init={init!r} is not known; use "em" or a Fit.')


def modes_of(posterior, optima: list[dict], climb=find_mode) -> list[Mode]:
    """Posterior modes near the optima, distinct and of comparable evidence by Laplace's approximation, best first.

    `climb` finds the mode near a start. Of many rows, where that takes long, optima far below the best are left out.
    """
    starts = []
    for params in optima:
        params = params | {"weights": np.maximum(params["weights"], 1e-6) / np.maximum(params["weights"], 1e-6).sum()}
        if posterior.data.units is None or not len(posterior.data.units.labelled):  # known components keep their places
            order = posterior.mixture.weights.best_order(params["weights"])
            params = {name: value[order] for name, value in params.items()}
        try:
            start = posterior.to_vector(params)
            start = np.where(np.isneginf(start), -30.0, start)  # the logarithm of a rate of zero
        except ValueError:  # outside the support of a prior
            continue
        if np.all(np.isfinite(start)) and np.isfinite(value := posterior.value_and_gradient(start)[0]):
            starts.append((value, start))
    highest = max((value for value, _ in starts), default=0.0)
    reach = FAR_BELOW + posterior.n_dim if posterior.data.n_obs >= MANY_ROWS else np.inf
    found = [climb(posterior, start) for value, start in starts if highest - value < reach]
    if not found:
        raise ValueError(
            "the posterior has no density at the optimum of EM: a prior excludes it. Look at mixture.priors(data), "
            "or pass a Fit whose parameters the priors allow as init."
        )
    found.sort(key=lambda mode: mode.log_evidence, reverse=True)
    likelihood = Likelihood.of(posterior.mixture, posterior.data)
    kept, seen = [], []
    for mode in found:
        density = likelihood.fingerprint(posterior.from_vector(mode.vector))
        near = found[0].log_evidence - mode.log_evidence < NATS_OF_MODES
        if near and all(np.abs(density - other).max() > 1e-2 for other in seen):
            kept.append(mode)
            seen.append(density)
    return kept


# -- the samplers ------------------------------------------------------------------------------------------------------------
def _run_nutpie(posterior, modes, draws, tune, chains, cores, seed, progressbar, kept_in=None):
    """Sample with nutpie, each mode with its share of the chains: parameters, statistics, and whether interrupted."""
    nutpie = load_nutpie()
    shares = [len(part) for part in np.array_split(np.arange(chains), min(len(modes), chains))]
    pieces, interrupted = [], False
    for i, (mode, share) in enumerate(zip(modes, shares, strict=False)):
        model = posterior.nutpie_model(mode, 1.0 if mode.regular else 0.1)
        background = nutpie.sample(
            model, draws=draws, tune=tune, chains=share, cores=min(cores, share), seed=seed + i, progress_bar=progressbar,
            target_accept=acceptance(posterior, mode), save_warmup=False, blocking=False, return_raw_trace=kept_in is None,
            zarr_store=None if kept_in is None else kept_in.for_mode(i),
        )  # fmt: skip
        try:
            found = background.wait()
        except KeyboardInterrupt:
            found, interrupted = background.abort(), True
        except BaseException:
            background.cancel()
            raise
        pieces.append(tree_of(found, _STATISTICS) if kept_in is None else found)
        if interrupted:
            break
    finished = [tree for tree in (_finished(tree) for tree in pieces) if tree is not None]
    if not finished:
        raise KeyboardInterrupt(
            "sampling was interrupted before a chain had made four draws: there is nothing to keep."
        )
    return *_joined(posterior, finished), interrupted


def _joined(posterior, trees):
    """Parameters and statistics of all chains, cut to one length."""
    params = [posterior.read_nutpie(tree["posterior"].dataset) for tree in trees]
    length = min(part["weights"].shape[1] for part in params)
    joined = {name: np.concatenate([part[name][:, :length] for part in params]) for name in params[0]}
    stats = {
        name: np.concatenate([tree["sample_stats"].dataset[theirs].values[:, :length] for tree in trees])
        for theirs, name in _STATISTICS.items()
    }
    return joined, _statistics(stats)


def _finished(tree):
    """Chains with draws to keep, cut to one length; None if there are none.

    An interrupt leaves chains of unequal length, filled up with NaN: chains shorter than half the longest are left
    out, the others cut to the shortest of them. Of a killed run some variables may be a few draws ahead of others.
    """
    lengths = _lengths(tree["sample_stats"].dataset["energy"].values)
    tree = tree.isel(draw=slice(0, int(lengths.max())))
    if "posterior" in tree.children:
        values = [variable.values for variable in tree["posterior"].dataset.data_vars.values()]
        lengths = np.min([lengths, *map(_lengths, values)], axis=0)
    kept = np.flatnonzero(lengths >= max(4, 0.5 * lengths.max()))
    return tree.isel(chain=kept, draw=slice(0, int(lengths[kept].min()))) if len(kept) else None


def _lengths(values):
    """How many draws of each chain (chain, draw, ...) are there before the first that is not finite."""
    made = np.isfinite(values.reshape(*values.shape[:2], -1)).all(axis=2)
    return np.logical_and.accumulate(made, axis=1).sum(axis=1)


def _run_pymc(mixture, data, starts, draws, tune, chains, cores, seed, progressbar):
    """Sample the same model with PyMC's sampler, each chain from one of the starts."""
    import pymc as pm

    from ..model import sampling_model, start_values

    model = sampling_model(mixture, data)
    initial = [start_values(mixture, data, starts[part % len(starts)]) for part in range(chains)]
    with model, interruptible():
        tree = pm.sample(
            draws=draws, tune=tune, chains=chains, cores=cores, random_seed=seed, progressbar=progressbar, quiet=not progressbar,
            nuts_sampler="pymc", init="adapt_diag", initvals=initial, compute_convergence_checks=False,
        )  # fmt: skip
    names = ["weights", *mixture.weights.hyper, *(parameter.name for parameter in mixture.component.parameters)]
    sampled = {name: tree["posterior"].dataset[name].values for name in names}
    sampled = mixture.component.for_each(sampled, 2, mixture.n_components)
    stats = {name: tree["sample_stats"].dataset[name].values for name in _STATISTICS.values()}
    return sampled, _statistics(stats), sampled["weights"].shape[:2] != (chains, draws)


def _statistics(stats: dict) -> xr.Dataset:
    shape = stats["diverging"].shape
    coords = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    return xr.Dataset({name: (("chain", "draw"), value) for name, value in stats.items()}, coords=coords)
