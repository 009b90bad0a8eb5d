"""The posterior by variational inference."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, cast

import numpy as np
import xarray as xr

from ..arrays import Data
from ..chunks import Streamed, look, source_of
from ..fit import Fit, constant_data
from ..likelihood.likelihood import MANY_ROWS
from ..likelihood.streamed import StreamedLikelihood
from ..log_prior import log_prior
from ..mdn.engines import advi_mdn
from ..mdn.specification import MDN
from ..mixture import Mixture, check_mixture
from ..posterior import posterior_of
from ..posterior.batch import log_densities
from ..posterior.direct import DirectPosterior
from ..posterior.mode import Mode, find_mode
from ..randomness import generator
from ..relabelling import relabel
from ..units import refuse_units
from ..whole_numbers import is_whole
from .em import params_of_fit, search_optima
from .interrupts import finishing
from .minibatches import Objective, batches_in_memory, batches_of_source, maximise_on_minibatches
from .newton import newton_mode
from .nuts import FAR_BELOW, check_init, modes_of, notes_on_weights, starting_points
from .progress import display
from .search import SUBSAMPLE, distinct_optima
from .streamed_posterior import POOL_CELLS, StreamedPosterior, prior_of, with_fixed_priors

KHAT_DRAWS = 10_000  # k-hat of fewer draws is itself uncertain by about 0.2
NEARLY_EXACT = 0.05  # standard deviation of log ratios: weights within a few per cent of each other
GOOD_KHAT = 0.7  # Vehtari et al. (2024): importance weights are usable below
MOST_DRAWS = 4096  # of the fixed draws of the objective
NO_DENSITY = 1e300  # what stands for the objective where it is not finite
FEW = 1000  # draws from which k-hat is only roughly known
BATCH = 10_000  # rows of a step, of data that are not in memory
MOST_CELLS = 1e10  # rows times components times features times draws, to judge data that are not in memory
LEAST_JUDGED = 200  # draws, however many rows there are


def advi(
    mixture: Mixture | MDN,
    data,
    y=None,
    *,
    weights=None,
    labels=None,
    group=None,
    method: str | None = None,
    draws: int | None = None,
    batch_size: int | None = None,
    init="em",
    random_seed=None,
    progressbar: bool = True,
    client=None,
    temperature="auto",
    members: int = 1,
    restarts: int = 1,
    epochs: int | None = None,
    store=None,
    resume=None,
) -> Any:
    r"""Approximate the posterior of a mixture, or of a network's weights, by a normal distribution of greatest ELBO.

    Automatic differentiation variational inference (Kucukelbir et al. 2017) in the free coordinates of the parameters:
    ``ELBO = E_q[log p(data, theta) - log q(theta)]`` is maximised over normal distributions q, starting at the mode
    near EM's optimum. Without minibatches the expectation is taken over fixed draws, so that the optimum is found by
    L-BFGS to full accuracy; the number of draws is doubled until the ELBO at fresh draws agrees with the optimum's
    (Giordano, Ingram & Broderick 2024). With `batch_size` steps are stochastic, with what is known at the mode as control
    variate (see `bayesmix.engines.minibatches`), until the Monte Carlo error of the parameters is negligible.

    Parameters
    ----------
    mixture : Mixture or MDN
        The specification with its priors; ``mixture.priors(data)`` shows them. ``bm.advi(mdn, X, y)`` fits a mixture density
        network and returns an `MDNFit`: see `bayesmix.mdn.engines.advi_mdn` for what is said of it, and for its further arguments.
    data : array_like, data frame or xarray object
        Rows of observations, as for `bayesmix.em`; those that are not in memory too. Of a network the covariates.
    y : array_like, data frame or xarray object, optional
        Responses of a network; mixtures have none.
    weights : array_like, shape (obs,), optional
        Weight of each row.
    labels : array_like, shape (obs,), or str, optional
        Known components, as for `bayesmix.em`.
    group : array_like, shape (obs,), or str, optional
        Rows that share a component, as for `bayesmix.em`; not with `batch_size`.
    method : {"fullrank", "meanfield"}
        A free covariance matrix, the default, or independent coordinates: the latter is quicker and understates spread.
    draws : int
        Draws from q that are kept, 1000 if nothing is said; at least 100, from which the k-hat is found.
    batch_size : int, optional
        Rows per step; for data so large that passes over all of them are slow. Data that are not in memory always take
        minibatches, of 10 000 rows if nothing is said: they are picked from all chunks, some hundred batches in a pass.
    init : {"em"} or Fit
        Where to start: EM's best optimum, or the estimates of a fit.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same result.
    progressbar : bool
        Show progress.
    client : distributed.Client, optional
        Cluster whose workers hold the chunks of Dask data; by default the current client, if there is one.
    temperature, members, restarts, epochs, store, resume
        Of networks, see `bayesmix.mdn.engines.advi_mdn`.

    Returns
    -------
    Fit
        Groups ``posterior`` (one chain), ``sample_stats`` with ``log_p`` and ``log_q`` of every draw, ``elbo`` (the trace),
        ``labels``, ``log_likelihood``, ``posterior_predictive``. Attributes ``elbo`` in nats and ``khat``, the Pareto
        k-hat of the importance weights p / q (Vehtari et al. 2024): below 0.7 they can correct the approximation, above
        it is not to be trusted, and the message says so.

        Data that are not in memory leave no rows in the fit, and no values of single rows. Their k-hat is found in one
        pass, from at least 200 draws; labels are matched by the rows of a sample.

    Raises
    ------
    TypeError, ValueError
        If the data do not suit the mixture, or an argument is out of range.
    """
    network = {"temperature": temperature, "members": members, "restarts": restarts, "epochs": epochs}
    network |= {"store": store, "resume": resume}
    if isinstance(mixture, MDN):
        given = {"method": method, "draws": draws, "batch_size": batch_size}
        of_mixtures = [weights, labels, group, client]
        if not all(value is None for value in of_mixtures) or not (isinstance(init, str) and init == "em"):
            raise TypeError("weights, labels, group, init and client belong to mixtures; a network does not take them.")
        given = {name: value for name, value in given.items() if value is not None}
        return advi_mdn(mixture, data, y, random_seed=random_seed, progressbar=progressbar, **given, **network)
    check_mixture(mixture, data)
    changed = [name for name, value in network.items() if value != signature(advi).parameters[name].default]
    if y is not None or changed:
        unknown = ", ".join([*(["y"] if y is not None else []), *changed])
        raise TypeError(
            f"{unknown} given, but only a network, bm.MDN, takes that; a mixture has bm.advi(mixture, data)."
        )
    method, draws = method or "fullrank", 1000 if draws is None else draws
    if method not in ("fullrank", "meanfield"):
        raise ValueError(f'method={method!r} is not known; use "fullrank" or "meanfield".')
    if not is_whole(draws, 100):
        raise ValueError(f"draws={draws!r} but at least 100 draws are needed to judge the approximation.")
    source = source_of(data, weights, client)
    if source is not None:
        refuse_units(labels, group)
    rng = generator(random_seed)
    started = time.perf_counter()
    if source is None:
        checked = mixture.check(data, weights, labels, group)
        mixture = mixture.resolved(checked)
        problem = _in_memory(mixture, checked, batch_size, init, rng, progressbar)
    else:
        problem = _streamed(mixture, source, batch_size, init, rng, progressbar)
        mixture = mixture.resolved(problem.found)  # pyright: ignore[reportArgumentType]
    posterior, mode = problem.posterior, problem.mode
    family = _Normal.around(mode, posterior, method)
    with display(progressbar) as progress:
        if problem.batches is None:
            found = maximise_on_fixed_draws(posterior, family, rng, progress)
        else:
            objective = Objective(family, mode, *posterior.value_and_gradient(mode.vector))
            found = _Found(*maximise_on_minibatches(objective, family, problem.batches, rng, progress))
    judged = problem.n_judged(draws)
    vectors, log_q = found.family.draw(rng.standard_normal((max(judged, draws), posterior.n_dim)))
    log_p, known = problem.log_densities(vectors[:judged])
    log_ratios = log_p - log_q[:judged]
    khat, elbo = pareto_khat(log_ratios), float(np.mean(log_ratios))
    error = float(np.std(log_ratios) / np.sqrt(judged))
    log_p = np.concatenate([log_p, np.full(max(0, draws - judged), np.nan)])[:draws]
    sampled = {name: value[None] for name, value in posterior.from_vector(vectors[:draws]).items()}
    message = [
        _describe(found, method, elbo, error, khat, judged),
        notes_on_weights(mixture, problem.data, sampled),
        problem.note,
    ]
    stats = xr.Dataset(
        {"log_p": (("chain", "draw"), log_p[None]), "log_q": (("chain", "draw"), log_q[None, :draws])},
        coords={"chain": [0], "draw": np.arange(draws)},
    )
    if judged < draws:
        stats["log_p"].attrs["note"] = f"found for the first {judged} draws only, in one pass over the data"
    groups = {"sample_stats": stats, "elbo": xr.Dataset({"elbo": (("iteration",), found.trace)})}
    attrs = {
        "engine": "advi",
        "method": method,
        "converged": int(found.converged and bool(np.isfinite(elbo))),
        "message": " ".join(filter(None, message)),
        "elbo": elbo,
        "elbo_error": error,
        "khat": khat,
        "iterations": len(found.trace),
        "seconds": time.perf_counter() - started,
        **known,
    }
    with finishing("the draws are relabelled"):
        return problem.assemble(mixture, draws=sampled, groups=groups, attrs=attrs, rng=rng)


def _describe(found, method, elbo, error, khat, judged):
    name = {"fullrank": "full-rank", "meanfield": "mean-field"}[method]
    ended = (
        f"The ELBO of the {name} approximation converged at {elbo:.2f} nats (Monte Carlo error {error:.2f})"
        if found.converged
        else f"The ELBO of the {name} approximation did not converge: {found.reason}; it stands at {elbo:.2f} nats"
    )
    if not np.isfinite(khat) or khat >= GOOD_KHAT:
        advice = "the approximation is too far from the posterior, and no weights can correct it; use bm.nuts."
    elif khat >= 0.5:
        advice = "rather far from the posterior; importance weights still correct it."
    else:
        advice = "close to the posterior; importance weights correct what is left."
    few = f" (of {judged} draws, roughly)" if judged < FEW else ""
    return f"{ended}. k-hat is {khat:.2f}{few}: {advice}"


# -- the rows ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _InMemory:
    """A posterior whose rows are in memory, its mode, and its minibatches if they were asked for."""

    data: Data
    posterior: Any
    mode: Mode
    batches: Iterator | None
    note: str = ""

    def n_judged(self, draws: int) -> int:
        """How many draws k-hat is found from: all that are kept, and more where that is quick."""
        cells = self.data.n_obs * self.posterior.mixture.n_components * self.data.n_features
        return max(draws, min(KHAT_DRAWS, int(2e8 / cells)))

    def log_densities(self, vectors) -> tuple[np.ndarray, dict]:
        """Log posterior at each vector, and what else to record."""
        posterior = self.posterior
        if self.batches is not None and not isinstance(posterior, DirectPosterior):  # it holds the rows of a batch
            posterior = posterior.on_rows(np.arange(self.data.n_obs), 1.0)
        return log_densities(posterior, vectors), {}

    def assemble(self, mixture, **found) -> Fit:
        """Make the fit, relabelled."""
        return relabel(Fit.assemble(mixture, self.data, **found))


@dataclass(frozen=True)
class _Streamed:
    """The same for rows that are read in passes."""

    found: Streamed
    posterior: Any
    mode: Mode
    batches: Iterator | None
    note: str = ""

    @property
    def data(self) -> Streamed:
        """What is known of the rows."""
        return self.found

    def n_judged(self, draws: int) -> int:
        """How many draws k-hat is found from: some hundreds, as each takes the arithmetic of a pass."""
        cells = self.found.n_obs * self.posterior.mixture.n_components * self.found.n_features
        return int(np.clip(MOST_CELLS / cells, min(draws, LEAST_JUDGED), draws))

    def log_densities(self, vectors) -> tuple[np.ndarray, dict]:
        """Log posterior at each vector, and the mean log-likelihood."""
        streamed = isinstance(self.posterior, StreamedPosterior)
        log_p = self.posterior.log_densities(vectors) if streamed else log_densities(self.posterior, vectors)
        prior = prior_of(self.posterior.rows if streamed else self.posterior)
        log_prior = np.array([prior.value_and_gradient(vector)[0] for vector in vectors])
        return log_p, {"log_likelihood": float(np.mean(log_p - log_prior))}

    def assemble(self, mixture, *, draws, groups, attrs, rng) -> Fit:
        """Make a fit without rows, relabelled and judged by those of the sample."""
        attrs = attrs | {"n_rows": self.found.n_obs, "total_weight": float(self.found.total_weight)}
        fit = Fit.assemble(mixture, self.found.without_rows(), draws=draws, groups=groups, attrs=attrs, rng=rng)
        with_rows, sample = fit.tree.copy(), self.found.sample
        x = sample.modelled if mixture.component.multivariate else sample.values[:, 0]
        coords = {"obs": np.arange(sample.n_obs)}
        with_rows["observed_data"] = xr.Dataset({"x": (("obs", "feature")[: x.ndim], x)}, coords=coords)
        constants = constant_data(replace(sample, obs=coords["obs"]))
        if constants is not None:
            with_rows["constant_data"] = constants
        tree = relabel(Fit(mixture, with_rows)).tree
        tree["observed_data"] = fit.tree["observed_data"]
        tree = tree.filter(lambda node: node.name != "constant_data")
        if "constant_data" in fit.tree.children:
            tree["constant_data"] = fit.tree["constant_data"]
        draws = Fit(mixture, tree)._values("posterior")
        densities = log_prior(self.posterior.mixture, cast(Any, self.found), draws)
        if densities is not None:
            tree["log_prior"] = densities
        return Fit(mixture, tree)


def _in_memory(mixture, data, batch_size, init, rng, progressbar) -> _InMemory:
    if batch_size is not None:
        _check_batch_size(batch_size, data.n_obs)
        if data.units is not None and data.units.grouped:
            raise ValueError(
                "batch_size= draws rows by themselves, but group= says which belong together; leave one of them out."
            )
    optima = starting_points(mixture, data, init, rng, progressbar)
    posterior = posterior_of(mixture, data)
    climb = find_mode if data.n_obs < MANY_ROWS else _quick_climb(posterior)
    mode = modes_of(posterior, optima, climb)[0]
    batches = None if batch_size is None else batches_in_memory(posterior, int(batch_size), rng)
    return _InMemory(data, posterior, mode, batches)


def _streamed(mixture, source, batch_size, init, rng, progressbar) -> _Streamed:
    if batch_size is not None:
        _check_batch_size(batch_size, source.n_obs)
    seen = look(mixture, source, rng, SUBSAMPLE)
    mixture = mixture.resolved(seen)  # pyright: ignore[reportArgumentType]
    likelihood = StreamedLikelihood.of(mixture, seen, source=source)
    if isinstance(init, Fit):
        optima = [params_of_fit(likelihood, init)]
    else:
        check_init(init)
        runs = distinct_optima(likelihood, search_optima(likelihood, rng, progressbar))
        highest = max(run.objective for run in runs)
        optima = [run.params for run in runs if highest - run.objective < FAR_BELOW + likelihood.n_parameters]
    if seen.table is not None:
        posterior = posterior_of(with_fixed_priors(mixture, seen), seen.table)
        note = f"The rows hold {seen.table.n_obs} distinct ones; all were used in each step, with their counts."
        return _Streamed(seen, posterior, modes_of(posterior, optima)[0], None, note)
    posterior = StreamedPosterior(mixture, likelihood)
    batch = min(BATCH, source.n_obs) if batch_size is None else int(batch_size)
    pool = max(batch, POOL_CELLS // source.n_features // batch * batch)
    mode = modes_of(posterior, optima, _quick_climb(posterior, posterior.rows))[0]
    note = f"The rows are not in memory: {batch} of them, drawn at random, in each step. There are no values of single rows."
    return _Streamed(seen, posterior, mode, batches_of_source(posterior, batch, pool, rng), note)


def _quick_climb(posterior, rows=None):
    """The way to the mode in few passes, where the curvature of the likelihood has a formula."""
    rows = posterior if rows is None else rows
    if not isinstance(rows, DirectPosterior):
        return find_mode
    prior = prior_of(rows)
    return lambda _, start: newton_mode(posterior, prior, start)


def _check_batch_size(batch_size, n_obs):
    if not is_whole(batch_size) or batch_size > n_obs:
        raise ValueError(f"batch_size={batch_size!r} but it must be a number of rows between 1 and {n_obs}.")


# -- the variational family --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Normal:
    """Normal distributions of vector = center + basis (m + L z), z standard normal.

    The variational parameters are m and, for "meanfield", the logarithms of a diagonal L; for "fullrank" the lower
    triangle of L with logarithms on the diagonal. In the basis of the mode the full-rank family starts at the
    Laplace approximation m = 0, L = I; the mean-field family has the coordinates' own axes as basis.
    """

    center: np.ndarray
    basis: np.ndarray
    method: str
    parameters: np.ndarray

    @classmethod
    def around(cls, mode: Mode, posterior, method: str) -> "_Normal":
        """Start the family at a mode, as wide as its curvature says."""
        n = posterior.n_dim
        if method == "fullrank":
            return cls(mode.vector, mode.basis, method, np.zeros(n + n * (n + 1) // 2))
        precision = np.sum(np.linalg.inv(mode.basis) ** 2, axis=0)  # diagonal of the negative Hessian
        return cls(mode.vector, np.diag(1.0 / np.sqrt(precision)), method, np.zeros(2 * n))

    @property
    def n_dim(self):
        return len(self.center)

    def at(self, parameters: np.ndarray) -> "_Normal":
        """The member of the family with these parameters."""
        return _Normal(self.center, self.basis, self.method, parameters)

    @property
    def mean(self) -> np.ndarray:
        """The vector m."""
        return self.parameters[: self.n_dim]

    def factor(self) -> np.ndarray:
        """The matrix L."""
        rest = self.parameters[self.n_dim :]
        if self.method == "meanfield":
            return np.diag(np.exp(rest))
        factor = np.zeros((self.n_dim, self.n_dim))
        factor[np.tril_indices(self.n_dim)] = rest
        np.fill_diagonal(factor, np.exp(np.diag(factor)))
        return factor

    def log_det(self) -> float:
        """Logarithm of the determinant of basis L."""
        rest = self.parameters[self.n_dim :]
        own = rest if self.method == "meanfield" else rest[_diagonal_positions(self.n_dim)]
        return float(own.sum() + np.linalg.slogdet(self.basis)[1])

    def draw(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (draws, n) from standard normal z (draws, n), and their log density under q."""
        vectors = self.center + (self.parameters[: self.n_dim] + z @ self.factor().T) @ self.basis.T
        log_q = -0.5 * np.sum(z**2, axis=1) - 0.5 * self.n_dim * np.log(2 * np.pi) - self.log_det()
        return vectors, log_q

    def entropy(self) -> float:
        """Entropy of q, in nats."""
        return 0.5 * self.n_dim * (1 + np.log(2 * np.pi)) + self.log_det()

    def pull_back(self, z: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        """Gradient of the ELBO in the parameters, from gradients (draws, n) of the log posterior at the draws of z."""
        inside = gradients @ self.basis
        return self.in_parameters(inside.mean(axis=0), inside.T @ z / len(z))

    def in_parameters(self, in_mean: np.ndarray, in_factor: np.ndarray) -> np.ndarray:
        """Gradient in the parameters from that in m (n,) and L (n, n); that of the entropy is added."""
        own = np.diag(in_factor) * np.diag(self.factor()) + 1.0
        if self.method == "meanfield":
            return np.concatenate([in_mean, own])
        in_factor = in_factor.copy()
        np.fill_diagonal(in_factor, own)
        return np.concatenate([in_mean, in_factor[np.tril_indices(self.n_dim)]])

    def curvature_of_parameters(self, curvature: np.ndarray) -> np.ndarray:
        """Minus the second derivatives of the ELBO in the parameters at L = I, if the log posterior has this curvature."""
        own = np.diag(curvature)
        if self.method == "meanfield":
            return np.concatenate([own, 2.0 * own])
        of_factor = np.tile(own[:, None], (1, self.n_dim))
        of_factor[np.diag_indices(self.n_dim)] *= 2.0
        return np.concatenate([own, of_factor[np.tril_indices(self.n_dim)]])


def _diagonal_positions(n):
    return np.cumsum(np.arange(1, n + 1)) - 1


@dataclass(frozen=True)
class _Found:
    """Where an optimiser ended."""

    family: _Normal
    trace: np.ndarray
    reason: str = ""  # why it did not converge

    @property
    def converged(self) -> bool:
        """Did it?"""
        return not self.reason


def _elbo_and_gradient(posterior, family: _Normal, z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """ELBO over draws z, its gradient in the family's parameters, and the log posterior at each draw."""
    vectors, _ = family.draw(z)
    values, gradients = np.empty(len(z)), np.empty_like(vectors)
    for i, vector in enumerate(vectors):
        values[i], gradients[i] = posterior.value_and_gradient(vector)
    return values.mean() + family.entropy(), family.pull_back(z, gradients), values


def maximise_on_fixed_draws(posterior, family: _Normal, rng: np.random.Generator, progress=None) -> _Found:
    """Maximise the ELBO over fixed standardised draws by L-BFGS, with as many draws as fresh ones confirm.

    The optimum over M fixed draws promises more than fresh draws give. M is doubled until the difference is less than
    0.02 nats per coordinate or twice its Monte Carlo error, but not beyond 4096.
    """
    from scipy.optimize import minimize

    n, trace = family.n_dim, []
    per_coordinate = 4 if family.method == "meanfield" else 8  # it has two parameters for each, not many
    m = int(2 ** np.ceil(np.log2(max(128, per_coordinate * n))))
    task = None if progress is None else progress.add_task("ADVI", total=None)
    while True:
        z = standardised_draws(m, n, rng)

        def objective(parameters, z=z, family=family):
            value, gradient, _ = _elbo_and_gradient(posterior, family.at(parameters), z)
            if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
                return NO_DENSITY, np.zeros_like(parameters)
            if not trace:
                trace.append(value)  # where it starts
            if progress is not None:
                progress.update(task, advance=1, description=f"ADVI: ELBO {value:.2f}")
            return -value, -gradient

        def follow(intermediate_result):
            trace.append(-float(intermediate_result.fun))

        trace.clear()  # more draws are another objective
        options = {"maxiter": 500, "maxcor": 30, "ftol": 1e-12, "gtol": 1e-4}
        result = minimize(objective, family.parameters, jac=True, method="L-BFGS-B", options=options, callback=follow)
        if result.fun >= NO_DENSITY:
            return _Found(family, np.array(trace), "the log posterior is not finite at some draws about the mode")
        family = family.at(result.x)
        fresh = rng.standard_normal((m, n))
        value, _, values = _elbo_and_gradient(posterior, family, fresh)
        _, log_q = family.draw(fresh)
        error = np.std(values - log_q) / np.sqrt(m)
        agrees = -result.fun - value <= max(0.02 * n, 2.0 * error)
        if result.success and np.isfinite(value) and (agrees or m >= MOST_DRAWS):
            reason = (
                ""
                if agrees
                else f"fresh draws give {value:.2f}, {-result.fun - value:.2f} nats less than {m} fixed ones"
            )
            return _Found(family, np.array(trace), reason)
        if m >= MOST_DRAWS:
            return _Found(family, np.array(trace), f"the optimiser stopped with: {result.message}")
        m *= 2


def standardised_draws(m: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Make m standard normal draws (m, n) with mean exactly 0 and covariance exactly the identity, in antithetic pairs.

    With these a normal posterior is found without any Monte Carlo error; they start as scrambled Sobol' points.
    """
    from scipy.stats.qmc import MultivariateNormalQMC

    half = MultivariateNormalQMC(np.zeros(n), rng=rng).random(m // 2)
    z = np.concatenate([half, -half])
    return np.linalg.solve(np.linalg.cholesky(z.T @ z / m), z.T).T


def pareto_khat(log_ratios: np.ndarray) -> float:
    """Pareto k-hat of importance ratios (Vehtari et al. 2024), by ArviZ.

    Infinite if a ratio is not finite; 0 if the ratios hardly differ, where there is no tail to fit.
    """
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    if not np.all(np.isfinite(log_ratios)):
        return float("inf")
    if np.std(log_ratios) < NEARLY_EXACT:
        return 0.0
    return float(np.asarray(array_stats.psislw(-log_ratios)[1]))  # ArviZ takes log-likelihoods: ratios are exp(-x)
