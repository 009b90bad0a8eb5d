"""The posterior by Gibbs sampling with data augmentation, for a fixed and for a random number of components."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from ..arrays import refuse_missing
from ..chunks import refuse_streamed
from ..cores import available_cores
from ..fit import Fit
from ..labels.verdict import DRAWS_FOR_RHAT, ESS_PER_CHAIN, RHAT, RHAT_MOST
from ..mixture import Mixture, check_mixture
from ..randomness import generator
from ..relabelling import relabel
from ..stick_breaking import StickBreaking
from ..weight_priors import CONCENTRATION, Dirichlet
from ..whole_numbers import check_whole, is_whole
from .gibbs_kernels import Record, allocate, run
from .gibbs_problem import Setup, few_components, setup
from .interrupts import finishing
from .nuts import NATS_OF_MODES, notes_on_weights, starting_points
from .progress import display
from .starts import start

TUNE = 500  # draws thrown away
THIN_RANDOM = 10  # sweeps for one draw where the number of components is random
TIMES = 3.0  # where it is fixed, draws for one that is independent, by an estimate that tends to be low: a verdict grants six
MOST_SWEEPS = 50  # for one draw, unless asked for
MOST_CELLS = 3e9  # rows x components x numbers of a density x sweeps: about a minute of one core
LEAST_SEEN = 50  # tuning draws of a chain from which autocorrelation is told
PIECE = 0.05  # seconds of compiled work between looks at the clock and at Ctrl-C
PIECE_CELLS = 2e6  # most numbers recorded in that time
KEPT_OF_ALL = ("scale", "n_components", "alpha", "log_likelihood", "log_prior", "exchanged")  # one for each draw


def gibbs(
    mixture: Mixture,
    data,
    *,
    weights=None,
    labels=None,
    group=None,
    draws: int = 2000,
    tune: int | str = "auto",
    thin: int | str = "auto",
    chains: int = 4,
    cores: int | None = None,
    init="em",
    random_seed=None,
    progressbar: bool = True,
) -> Fit:
    """Draw from the posterior of a mixture by Gibbs sampling with data augmentation (Diebolt & Robert 1994).

    Each sweep draws the component of every row given the parameters, the parameters given the rows of each component,
    and the weights given how many these are. It takes no gradients: many components, or more than the data need, are no
    obstacle, and the number of components may itself be random (weights ``bm.MFM``), by the telescoping sampler of
    Frühwirth-Schnatter, Malsiner-Walli & Grün (2021). Where components overlap strongly and the rows are many, draws
    are highly autocorrelated: `bayesmix.nuts` is then the better tool.

    Priors must be conditionally conjugate, as the defaults are: normal for means, `ScaledInverseChiSquared` or
    `HierarchicalInverseGamma` for standard deviations, `InverseWishart` for covariance matrices, Gamma or
    `HierarchicalGamma` for Poisson rates; `Dirichlet`, `MFM` or `StickBreaking` for the weights, the concentration fixed
    or random. Sticks are broken as Ishwaran & James (2001, sec. 5.2) do, and components exchange their places among
    them (Papaspiliopoulos & Roberts 2008).

    Parameters
    ----------
    mixture : Mixture
        The specification with its priors; ``mixture.priors(data)`` shows them.
    data : array_like, data frame or xarray object
        Rows of observations, as for `bayesmix.em`.
    weights : array_like, shape (obs,), optional
        How often each row occurs: whole numbers.
    labels, group : None
        Known components, and rows that share one, are for the other engines: an error here.
    draws : int
        Draws kept of each chain.
    tune : int or "auto"
        Draws of each chain thrown away before. "auto" takes 500.
    thin : int or "auto"
        Sweeps for one draw. "auto" takes 10 with a random number of components, which changes slowly. Otherwise it
        takes as many as make one draw in three independent, at most 50 and about a minute of work, as the second half
        of the tuning draws shows of the log-likelihood and the sorted weights: 1 where components are distinct, more
        where there are too many of them. Where it is more than 1, as many draws again are thrown away.
    chains : int
        Number of chains; at least 2, for R-hat 4.
    cores : int, optional
        Chains run at the same time; by default as many as there are cores. Does not change the draws.
    init : {"em"} or Fit
        Where chains start: EM's optima, or the estimates of a fit. Where the number of components is random, chains
        start from k-means of at most 10 components, each by itself.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same draws.
    progressbar : bool
        Show draws and time left.

    Returns
    -------
    Fit
        Groups as of `bayesmix.nuts`; ``sample_stats`` holds ``K_plus``, the number of occupied components of the sampled
        partition, ``log_likelihood``, and ``lp``, the log posterior up to a constant, both marginal over allocations; where
        they are random also ``K``, ``concentration`` and ``sigma_rate`` or ``mu_rate``, the rate shared by a
        hierarchical prior; with `StickBreaking` also ``exchange_rate``, the share of exchanges that were accepted.
        Attribute ``thin`` holds the sweeps for one draw.

        With a random number of components, or a random concentration of `Dirichlet`, ``sample_stats`` is the main
        result: it has all draws, and ``fit.message`` begins with the posterior of K_plus. The other groups, and
        ``fit.mixture``, are those of the commonest K_plus: draws with so many occupied components, as many of each
        chain, these components alone, relabelled, with weights that sum to 1; there is no group ``log_prior``. An
        interrupt (Ctrl-C) ends sampling and keeps the draws made so far.

    Raises
    ------
    TypeError, ValueError
        If the data do not suit the mixture, a prior has no full conditional, row weights are not whole numbers, or an
        argument is out of range.
    """
    check_mixture(mixture, data, random_n_components=True)
    refuse_streamed(data, "bm.gibbs")
    if labels is not None or group is not None:
        what = "labels" if labels is not None else "group"
        raise ValueError(
            f"{what}= is given, but bm.gibbs draws the component of every row by itself, from all of them; bm.nuts, bm.laplace and "
            "bm.advi take known labels and groups."
        )
    checked = mixture.check(data, weights)
    mixture = mixture.resolved(checked)
    refuse_missing(checked, "bm.gibbs")
    check_whole(draws=draws, chains=chains, cores=1 if cores is None else cores)
    if draws < (least := 4 if chains > 1 else 8):
        raise ValueError(f"draws={draws} but at least {least} draws per chain are needed to judge convergence.")
    problem, rng = setup(mixture, checked), generator(random_seed)
    tune = _whole("tune", tune, 0, TUNE)
    thin = _whole("thin", thin, 1, THIN_RANDOM if problem.random_partition else 0)
    started = time.perf_counter()
    streams = rng.spawn(chains)
    states = [
        problem.state(params, stream)
        for params, stream in zip(_starts(problem, init, chains, rng, streams, progressbar), streams, strict=True)
    ]
    cores = min(chains, cores or available_cores())
    more = tune
    if thin == 0:
        thin, more = _tune(problem, states, streams, draws, tune, cores, progressbar)
    sampled, interrupted = _run(problem, states, streams, draws, more, thin, cores, progressbar)
    length = len(sampled[0].alpha)
    notes = ""
    if interrupted:
        notes = f"Sampling was interrupted: {len(sampled)} chains of {length} draws of the {draws} asked for are kept."
    attrs = {
        "engine": "gibbs",
        "converged": 0,
        "message": "",
        "tune": tune,
        "thin": thin,
        "interrupted": int(interrupted),
        "seconds": time.perf_counter() - started,
        "notes": notes,
    }
    stats = _statistics(problem, sampled)
    with finishing("the draws are relabelled"):
        if problem.random_partition:
            return _conditional_fit(problem, checked, sampled, stats, attrs, rng)
        values = _parameters(problem, sampled, [np.arange(length)] * len(sampled))
        if mixture.weights.hyper:
            values[CONCENTRATION] = stats[CONCENTRATION].values
        attrs["notes"] = " ".join(filter(None, (notes, notes_on_weights(mixture, checked, values))))
        fit = Fit.assemble(mixture, checked, draws=values, groups={"sample_stats": stats}, attrs=attrs, rng=rng)
        return relabel(fit)


def _whole(name, value, least, auto) -> int:
    """A number of draws or sweeps, which may be left to the engine."""
    if isinstance(value, str) and value == "auto":
        return auto
    if not is_whole(value, least):
        raise ValueError(f'{name}={value!r} but it must be "auto" or a whole number, at least {least}.')
    return int(value)


def _tune(problem: Setup, states, streams, draws, tune, cores, progressbar) -> tuple[int, int]:
    """Run the tuning draws, a sweep each; sweeps for one draw, and draws still to be thrown away."""
    if tune < 2 * LEAST_SEEN:
        return 1, tune
    seen = tune - tune // 2
    sampled, interrupted = _run(problem, states, streams, seen, tune // 2, 1, cores, progressbar, "Gibbs tuning")
    if interrupted:
        raise KeyboardInterrupt("sampling was interrupted while chains were tuned: there is nothing to keep.")
    cells = problem.data.n_obs * problem.room * problem.scale.size * draws * len(states)
    most = min(MOST_SWEEPS, int(MOST_CELLS / cells))
    thin = max(1, min(most, round(_autocorrelation(sampled) / TIMES)))
    return thin, 0 if thin == 1 else tune


def _autocorrelation(sampled: list["Chain"]) -> float:
    """Draws for one that is independent, of the log-likelihood or a sorted weight, whichever is slowest."""
    import arviz as az

    shape = len(sampled), len(sampled[0].alpha)
    weights = np.sort(np.exp([chain.log_weights.reshape(shape[1], -1) for chain in sampled]), axis=-1)
    columns = [np.array([chain.log_likelihood for chain in sampled]), *np.moveaxis(weights, -1, 0)]
    sizes = [float(az.ess(column)) for column in columns if np.all(np.ptp(column, axis=1) > 0)]
    return shape[0] * shape[1] / min(sizes, default=np.inf)


# -- where chains start -------------------------------------------------------------------------------------------------------
def _starts(problem: Setup, init, chains, rng, streams, progressbar) -> list[dict]:
    """Parameters of each chain's start: comparable optima of EM in turn, or k-means where K is random."""
    mixture, likelihood = problem.mixture, problem.likelihood
    if isinstance(init, Fit) or init != "em" or not problem.random_partition:
        if isinstance(init, Fit) and problem.random_partition:
            largest = int(np.flatnonzero(problem.problem.log_prior_k > -np.inf)[-1]) + 1
            if init.mixture.n_components > largest:
                raise ValueError(
                    f"init is a fit of {init.mixture.n_components} components, but the prior allows at most {largest}."
                )
            mixture = replace(mixture, n_components=init.mixture.n_components, weights=Dirichlet(1.0))
        optima = starting_points(mixture, problem.data, init, rng, progressbar)
        heights = np.array([replace(likelihood, n_components=len(p["weights"])).log_likelihood(p) for p in optima])
        near = [optima[i] for i in np.flatnonzero(heights > heights.max() - NATS_OF_MODES)]
        return [near[chain % len(near)] for chain in range(chains)]
    few = few_components(problem)
    return [start(few, "kmeans", stream) for stream in streams]


# -- chains -------------------------------------------------------------------------------------------------------------------
@dataclass
class Chain:
    """Draws of a chain: components of all draws one after another, `sizes` of them in each draw."""

    log_weights: np.ndarray  # (component of some draw,)
    location: np.ndarray  # (component of some draw, feature)
    spread: np.ndarray  # (component of some draw, feature, E)
    sizes: np.ndarray  # (draw,)
    scale: np.ndarray  # (draw, feature, E)
    n_components: np.ndarray  # (draw, 2): K and how many are occupied
    alpha: np.ndarray  # (draw,)
    log_likelihood: np.ndarray  # (draw,)
    log_prior: np.ndarray  # (draw,)
    exchanged: np.ndarray  # (draw,)

    def cut(self, length: int) -> "Chain":
        """The first draws."""
        end = int(self.sizes[:length].sum())
        return Chain(
            **{
                name: value[:end] if name in ("log_weights", "location", "spread") else value[:length]
                for name, value in vars(self).items()
            }
        )


@dataclass
class _Progress:
    """What the threads tell the one that waits for them, and it them."""

    done: list
    stop: threading.Event = field(default_factory=threading.Event)


def _run(
    problem: Setup, states, streams, draws, tune, thin, cores, progressbar, what="Gibbs draws"
) -> tuple[list[Chain], bool]:
    """Run all chains in threads; the chains with draws to keep, cut to one length, and whether interrupted."""
    told, interrupted = _Progress([0] * len(states)), False
    with display(progressbar) as progress, ThreadPoolExecutor(cores) as pool:
        task = None if progress is None else progress.add_task(what, total=len(states) * (tune + draws))
        waiting = [
            pool.submit(_run_chain, problem, state, stream, draws, tune, thin, told, i)
            for i, (state, stream) in enumerate(zip(states, streams, strict=True))
        ]
        futures = list(waiting)
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=0.1, return_when="FIRST_EXCEPTION")
                if any(future.exception() for future in finished):
                    break
                if progress is not None and task is not None:
                    progress.update(task, completed=sum(told.done))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            told.stop.set()
    chains = [future.result() for future in futures]
    lengths = np.array([len(chain.alpha) for chain in chains])
    kept = np.flatnonzero(lengths >= max(4, 0.5 * lengths.max()))
    if not len(kept):
        raise KeyboardInterrupt(
            "sampling was interrupted before a chain had made four draws: there is nothing to keep."
        )
    return [chains[i].cut(int(lengths[kept].min())) for i in kept], interrupted


def _run_chain(problem: Setup, state, rng, draws, tune, thin, told: _Progress, index: int) -> Chain:
    """Run a chain in pieces of about `PIECE` seconds."""
    room, (d, e) = problem.room, problem.scale.shape
    most = max(1, int(PIECE_CELLS // (room * (d * e + d + 2))))
    pieces, size, made = [], 1, -tune
    while made < draws and not told.stop.is_set():
        adapt = made < 0
        size = min(size, most, -made if adapt else draws - made)
        record = Record(
            log_weights=np.empty((size, room)), location=np.empty((size, room, d)), spread=np.empty((size, room, d, e)),
            scale=np.empty((size, d, e)), occupied=np.empty((size, room), dtype=bool),
            n_components=np.empty((size, 2), dtype=np.int64), alpha=np.empty(size), log_likelihood=np.empty(size),
            log_prior=np.empty(size), exchanged=np.empty(size),
        )  # fmt: skip
        begun = time.perf_counter()
        run(rng, problem.problem, state, record, thin, adapt)
        taken = time.perf_counter() - begun
        made += size
        told.done[index] = made + tune
        if not adapt:
            pieces.append(_kept(problem, record))
        if taken < 0.5 * PIECE:
            size *= 2
        elif taken > 2.0 * PIECE:
            size = max(1, size // 2)
    last = allocate(rng, problem.problem, state)
    if not pieces:
        empty = {name: np.empty(0) for name in Chain.__dataclass_fields__}
        return Chain(**empty | {"sizes": np.empty(0, dtype=int)})
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    before = joined.pop("log_likelihood")  # of the state before each sweep, so that those of the draws come one later
    log_likelihood = np.append(before[1:], last) + problem.likelihood.rows.log_base_measure
    return Chain(log_likelihood=log_likelihood, **joined)


def _kept(problem: Setup, record) -> dict:
    """What is kept of a record: components one after another, all K of them, or the occupied if the number is random."""
    shown = record.occupied if problem.random_partition else np.ones_like(record.occupied)
    return {
        "log_weights": record.log_weights[shown],
        "location": record.location[shown],
        "spread": record.spread[shown],
        "sizes": shown.sum(axis=1),
        **{name: getattr(record, name) for name in KEPT_OF_ALL},
    }


# -- results --------------------------------------------------------------------------------------------------------------------
def _parameters(problem: Setup, sampled: list[Chain], which: list[np.ndarray]) -> dict:
    """Parameters (chain, draw, cluster, ...) of some draws of each chain, which have the same number of components."""
    chains = []
    for chain, chosen in zip(sampled, which, strict=True):
        k = int(chain.sizes[chosen[0]])
        begins = np.cumsum(chain.sizes) - chain.sizes
        rows = begins[chosen][:, None] + np.arange(k)
        log_weights = chain.log_weights[rows]
        log_weights = log_weights - np.logaddexp.reduce(log_weights, axis=1, keepdims=True)
        chains.append(problem.params(log_weights, chain.location[rows], chain.spread[rows]))
    return {name: np.stack([params[name] for params in chains]) for name in chains[0]}


def _statistics(problem: Setup, sampled: list[Chain]) -> xr.Dataset:
    """Group sample_stats: all draws of all chains."""

    def stacked(name):
        return np.stack([getattr(chain, name) for chain in sampled])

    n_components = stacked("n_components")
    coords: dict = {"chain": np.arange(len(sampled)), "draw": np.arange(n_components.shape[1])}
    log_likelihood, log_prior, weights = stacked("log_likelihood"), stacked("log_prior"), problem.mixture.weights
    if isinstance(weights, StickBreaking):
        log_weights = stacked("log_weights").reshape(*log_prior.shape, -1)
        log_prior += weights.log_density_unordered(log_weights, stacked("alpha"))
    values = {
        "lp": log_likelihood + log_prior,
        "log_likelihood": log_likelihood,
        "K_plus": n_components[..., 1],
    }
    if not weights.fixed_n_components:
        values["K"] = n_components[..., 0]
    if isinstance(weights, StickBreaking):
        values["exchange_rate"] = stacked("exchanged")
    if weights.hyper:
        values[CONCENTRATION] = stacked("alpha")
    variables: dict = {name: (("chain", "draw"), value) for name, value in values.items()}
    if problem.hyper_name:
        scale, dims = stacked("scale"), ("chain", "draw", "feature", "feature_2")
        if scale.shape[3] == 1:  # a rate for each feature, or one for all
            scale, dims = scale[..., : problem.problem.hyper.shape[1], 0], dims[:3]
        if scale.shape[2] == 1:
            scale, dims = scale.reshape(scale.shape[:2]), dims[:2]
        variables[problem.hyper_name] = (dims, scale)
        coords |= {name: np.array(problem.data.feature) for name in dims[2:]}
    return xr.Dataset(variables, coords=coords)


def _conditional_fit(problem: Setup, checked, sampled, stats, attrs, rng) -> Fit:
    """The fit of the draws whose number of occupied components is the commonest, those components alone."""
    values, counts = np.unique(stats["K_plus"].values, return_counts=True)
    k_plus = int(values[np.argmax(counts)])
    found = [np.flatnonzero(chain.n_components[:, 1] == k_plus) for chain in sampled]
    lengths = np.array([len(chosen) for chosen in found])
    least = max(8, 0.25 * lengths.max())
    kept = np.flatnonzero(lengths >= min(least, lengths.max()))
    length = int(lengths[kept].min())
    which = [found[i][np.linspace(0, lengths[i] - 1, length).round().astype(int)] for i in kept]
    draws = _parameters(problem, [sampled[i] for i in kept], which)
    alpha = np.concatenate([sampled[i].alpha[chosen] for i, chosen in zip(kept, which, strict=True)])
    if getattr(problem.mixture.weights, "dynamic", False):
        ks = np.concatenate([sampled[i].n_components[chosen, 0] for i, chosen in zip(kept, which, strict=True)])
        alpha = alpha / ks
    given = replace(problem.mixture, n_components=k_plus, weights=Dirichlet(float(np.median(alpha))))
    said, fine = _describe(problem, stats)
    attrs |= {"random_mixture": str(problem.mixture), "K_plus": k_plus}
    if length < 8:
        said += f" Only {length} draws of each chain have {k_plus} occupied components; draw more."
    groups = {"sample_stats": stats}
    fit = Fit.assemble(given, checked, draws=draws, groups=groups, attrs=attrs, rng=rng)
    fit = Fit(fit.mixture, fit.tree.drop_nodes("log_prior", errors="ignore"))  # not the prior that was sampled under
    chains = f"{len(kept)} chain{'s' * (len(kept) > 1)}" + f" of {len(sampled)}" * (len(kept) < len(sampled))
    share = f"Given K_plus = {k_plus} ({chains}, {length} draws each, weights rescaled to sum to 1): "
    if length < 4 or (len(kept) == 1 and length < 8):
        tree = fit.tree.copy()
        tree.attrs = {**tree.attrs, "message": said}
        return Fit(fit.mixture, tree)
    fit = relabel(fit)
    message = f"{said} {share}{fit.message[0].lower()}{fit.message[1:]}"
    fit.tree.attrs = {**fit.tree.attrs, "message": message, "converged": int(fine)}
    return fit


def _describe(problem: Setup, stats: xr.Dataset) -> tuple[str, bool]:
    """The posterior of K_plus and K in words, and whether chains agree on them and on the log-likelihood."""
    import arviz as az

    said = []
    for name in ("K_plus", "K"):
        if name in stats:
            values, counts = np.unique(stats[name].values, return_counts=True)
            shares = counts / counts.sum()
            shown = values[shares >= 0.01]
            said.append(f"{name}: " + ", ".join(f"{v} ({shares[values == v][0]:.2f})" for v in shown))
    rhat, ess, worst = 1.0, np.inf, ""
    for name in ("K_plus", "K", "log_likelihood", "concentration"):
        if name in stats and np.ptp(stats[name].values) > 0:
            column = stats[name].values.astype(float)
            if len(column) == 1:
                half = column.shape[1] // 2
                column = column[0, : 2 * half].reshape(2, half)
            with np.errstate(divide="ignore", invalid="ignore"):
                own = float(az.rhat(column))
                ess = min(ess, float(az.ess(column)))
            if not own <= rhat:
                rhat, worst = own, name
    limit = float(np.clip(1.0 + DRAWS_FOR_RHAT / stats["K_plus"].size, RHAT, RHAT_MOST))
    least = ESS_PER_CHAIN * stats.sizes["chain"]
    fine = rhat <= limit and ess >= least
    numbers = f"over all draws R-hat is at most {rhat:.3f} (limit {limit:.3f}) and the effective sample size at least "
    numbers += f"{min(ess, stats['K_plus'].size):.0f} (needed {least:.0f})"
    if not fine:
        numbers += f"; the worst is {worst or 'the effective sample size'}: draw more"
    return "; ".join(said) + f"; {numbers}.", fine
