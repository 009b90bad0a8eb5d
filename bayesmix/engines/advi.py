"""The posterior by variational inference."""

import time
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..chunks import refuse_streamed
from ..fit import Fit
from ..mixture import Mixture, check_mixture
from ..posterior import posterior_of
from ..posterior.mode import Mode
from ..randomness import generator
from ..relabelling import relabel
from ..whole_numbers import is_whole
from .interrupts import finishing
from .nuts import modes_of, notes_on_weights, starting_points
from .progress import display

KHAT_DRAWS = 10_000  # k-hat of fewer draws is itself uncertain by about 0.2
NEARLY_EXACT = 0.05  # standard deviation of log ratios: weights within a few per cent of each other
GOOD_KHAT = 0.7  # Vehtari et al. (2024): importance weights are usable below
MOST_DRAWS = 4096  # of the fixed draws of the objective
WINDOW = 200  # steps over which the ELBO of minibatches is averaged
MOST_STEPS = 20_000


def advi(
    mixture: Mixture,
    data,
    *,
    weights=None,
    method: str = "fullrank",
    draws: int = 1000,
    batch_size: int | None = None,
    init="em",
    random_seed=None,
    progressbar: bool = True,
) -> Fit:
    r"""Approximate the posterior of a mixture by a normal distribution of greatest ELBO.

    Automatic differentiation variational inference (Kucukelbir et al. 2017) in the free coordinates of the parameters:
    ``ELBO = E_q[log p(data, theta) - log q(theta)]`` is maximised over normal distributions q, starting at the mode
    near EM's optimum. Without minibatches the expectation is taken over fixed draws, so that the optimum is found by
    L-BFGS to full accuracy; the number of draws is doubled until the ELBO at fresh draws agrees with the optimum's
    (Giordano, Ingram & Broderick 2024). With `batch_size` it is stochastic gradient ascent (Adam), stopped when the
    averaged ELBO no longer rises.

    Parameters
    ----------
    mixture : Mixture
        The specification with its priors; ``mixture.priors(data)`` shows them.
    data : array_like, data frame or xarray object
        Rows of observations, as for `bayesmix.em`.
    weights : array_like, shape (obs,), optional
        Weight of each row.
    method : {"fullrank", "meanfield"}
        A free covariance matrix, or independent coordinates: the latter is quicker and understates spread.
    draws : int
        Draws from q that are kept; at least 100, from which the k-hat is found.
    batch_size : int, optional
        Rows per step; for data so large that passes over all of them are slow.
    init : {"em"} or Fit
        Where to start: EM's best optimum, or the estimates of a fit.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same result.
    progressbar : bool
        Show progress.

    Returns
    -------
    Fit
        Groups ``posterior`` (one chain), ``sample_stats`` with ``log_p`` and ``log_q`` of every draw, ``elbo`` (the trace),
        ``labels``, ``log_likelihood``, ``posterior_predictive``. Attributes ``elbo`` in nats and ``khat``, the Pareto
        k-hat of the importance weights p / q (Vehtari et al. 2024): below 0.7 they can correct the approximation, above
        it is not to be trusted, and the message says so.

    Raises
    ------
    TypeError, ValueError
        If the data do not suit the mixture, or an argument is out of range.
    """
    check_mixture(mixture, data)
    refuse_streamed(data, "bm.advi")
    checked = mixture.check(data, weights)
    if method not in ("fullrank", "meanfield"):
        raise ValueError(f'method={method!r} is not known; use "fullrank" or "meanfield".')
    if not is_whole(draws, 100):
        raise ValueError(f"draws={draws!r} but at least 100 draws are needed to judge the approximation.")
    if batch_size is not None and (
        isinstance(batch_size, bool)
        or not isinstance(batch_size, int | np.integer)
        or not 0 < batch_size <= checked.n_obs
    ):
        raise ValueError(f"batch_size={batch_size!r} but it must be a number of rows between 1 and {checked.n_obs}.")
    rng = generator(random_seed)
    started = time.perf_counter()
    optima = starting_points(mixture, checked, init, rng, progressbar)
    posterior = posterior_of(mixture, checked)
    mode = modes_of(posterior, optima)[0]
    family = _Normal.around(mode, posterior, method)
    with display(progressbar) as progress:
        if batch_size is None:
            found = maximise_on_fixed_draws(posterior, family, rng, progress)
        else:
            found = maximise_on_minibatches(posterior, family, int(batch_size), rng, progress)
    cells = checked.n_obs * mixture.n_components * checked.n_features
    judged = max(draws, min(KHAT_DRAWS, int(2e8 / cells)))
    vectors, log_q = found.family.draw(rng.standard_normal((judged, posterior.n_dim)))
    full = posterior_of(mixture, checked) if batch_size is not None else posterior
    log_p = np.array([full.value_and_gradient(vector)[0] for vector in vectors])
    khat = pareto_khat(log_p - log_q)
    elbo = float(np.mean(log_p - log_q))
    error = float(np.std(log_p - log_q) / np.sqrt(judged))
    vectors, log_p, log_q = vectors[:draws], log_p[:draws], log_q[:draws]
    sampled = {name: value[None] for name, value in full.from_vector(vectors).items()}
    message = [_describe(found, method, elbo, error, khat), notes_on_weights(mixture, checked, sampled)]
    coords = {"chain": [0], "draw": np.arange(draws)}
    groups = {
        "sample_stats": xr.Dataset(
            {"log_p": (("chain", "draw"), log_p[None]), "log_q": (("chain", "draw"), log_q[None])}, coords=coords
        ),
        "elbo": xr.Dataset({"elbo": (("iteration",), found.trace)}),
    }
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
    }
    with finishing("the draws are relabelled"):
        return relabel(Fit.assemble(mixture, checked, draws=sampled, groups=groups, attrs=attrs, rng=rng))


def _describe(found, method, elbo, error, khat):
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
    return f"{ended}. k-hat is {khat:.2f}: {advice}"


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
        mean = inside.mean(axis=0)
        if self.method == "meanfield":
            return np.concatenate([mean, np.mean(inside * z, axis=0) * np.exp(self.parameters[self.n_dim :]) + 1.0])
        outer = inside.T @ z / len(z)
        diagonal = np.diag_indices(self.n_dim)
        outer[diagonal] = outer[diagonal] * np.diag(self.factor()) + 1.0
        return np.concatenate([mean, outer[np.tril_indices(self.n_dim)]])


def _diagonal_positions(n):
    return np.cumsum(np.arange(1, n + 1)) - 1


@dataclass(frozen=True)
class _Found:
    """Where an optimiser ended."""

    family: _Normal
    trace: np.ndarray
    converged: bool
    reason: str = ""


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
    m = int(2 ** np.ceil(np.log2(max(128, 8 * n))))
    task = None if progress is None else progress.add_task("ADVI", total=None)
    while True:
        z = standardised_draws(m, n, rng)

        def objective(parameters, z=z, family=family):
            value, gradient, _ = _elbo_and_gradient(posterior, family.at(parameters), z)
            if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
                return 1e300, np.zeros_like(parameters)
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
            return _Found(family, np.array(trace), bool(agrees), reason)
        if m >= MOST_DRAWS:
            return _Found(family, np.array(trace), False, f"the optimiser stopped with: {result.message}")
        m *= 2


def standardised_draws(m: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Make m standard normal draws (m, n) with mean exactly 0 and covariance exactly the identity, in antithetic pairs.

    With these a normal posterior is found without any Monte Carlo error; they start as scrambled Sobol' points.
    """
    from scipy.stats.qmc import MultivariateNormalQMC

    half = MultivariateNormalQMC(np.zeros(n), rng=rng).random(m // 2)
    z = np.concatenate([half, -half])
    return np.linalg.solve(np.linalg.cholesky(z.T @ z / m), z.T).T


def maximise_on_minibatches(posterior, family: _Normal, batch_size: int, rng, progress=None) -> _Found:
    """Maximise the ELBO by Adam (Kingma & Ba 2015) on minibatches of rows, with the average of the last iterates.

    Every 200 steps the mean ELBO is compared with that of the 200 steps before. Three times without a rise beyond its
    Monte Carlo error end the run; each time the step length is halved.
    """
    n_obs, n = posterior.data.n_obs, family.n_dim
    total_draws, rate = 4, 0.05
    parameters, first, second = family.parameters.copy(), 0.0, 0.0
    average, trace, means, flat = parameters.copy(), [], [], 0
    task = None if progress is None else progress.add_task("ADVI", total=None)
    for step in range(1, MOST_STEPS + 1):
        rows = np.sort(rng.choice(n_obs, batch_size, replace=False))
        part = posterior.on_rows(rows, n_obs / batch_size)
        half = rng.standard_normal((total_draws // 2, n))
        value, gradient, _ = _elbo_and_gradient(part, family.at(parameters), np.concatenate([half, -half]))
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            rate *= 0.5
            parameters = average.copy()
            continue
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        parameters = parameters + rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        average = 0.99 * average + 0.01 * parameters
        trace.append(value)
        if progress is not None and step % 20 == 0:
            progress.update(task, advance=20, description=f"ADVI: ELBO {np.mean(trace[-WINDOW:]):.2f}")
        if len(trace) % WINDOW == 0:
            window = np.array(trace[-WINDOW:])
            means.append((window.mean(), window.std() / np.sqrt(WINDOW)))
            if len(means) > 1 and means[-1][0] - means[-2][0] < 2.0 * np.hypot(means[-1][1], means[-2][1]):
                flat, rate = flat + 1, 0.5 * rate
            if flat == 3:
                return _Found(family.at(average), np.array(trace), True)
    return _Found(family.at(average), np.array(trace), False, f"the ELBO was still rising after {MOST_STEPS} steps")


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
