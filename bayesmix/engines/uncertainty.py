"""The sampling distribution of a maximum-likelihood estimate: normal from the information, or by the bootstrap."""

import numpy as np

from ..components.base import Guard
from ..likelihood.likelihood import Likelihood
from .climb import Climb, climb


def sampling_distribution(likelihood: Likelihood, best: Climb, method: str, n_draws: int, rng, run: dict, progress=None):
    """Draws (chain = 1, draw, cluster, ...) of the parameters, and a note on how far they can be trusted."""
    if method == "laplace":
        return laplace(likelihood, best, n_draws, rng, run["guard"])
    return bootstrap(likelihood, best, n_draws, rng, run, progress)


def laplace(likelihood: Likelihood, best: Climb, n_draws: int, rng: np.random.Generator, guard: Guard | None):
    """Normal draws with the inverse observed information as covariance, in free coordinates.

    Logarithms of scales and weight ratios are nearer to normal than the parameters themselves, and no draw leaves the
    parameter space.

    Raises
    ------
    ValueError
        If the information is not positive definite: the optimum is flat, or lies on the boundary.
    """
    theta = likelihood.to_vector(best.params)
    if not np.all(np.isfinite(theta)):
        raise ValueError(
            "the estimate lies on the boundary (a weight, rate or scale is zero), where the information says nothing; "
            'use uncertainty="bootstrap", or fewer components.'
        )
    information = likelihood.information(theta, guard)
    size = np.sqrt(np.abs(np.diag(information)))
    eigenvalues = np.linalg.eigvalsh(information / np.outer(size, size)) if np.all(size > 0) else np.array([0.0])
    if eigenvalues.min() <= 1e-10:
        raise ValueError(
            f"the observed information is not positive definite (smallest eigenvalue {eigenvalues.min():.1e} of its "
            "correlation form): the likelihood is flat in some direction, as with too many components. "
            'Use uncertainty="bootstrap", or fewer components.'
        )
    cholesky = np.linalg.cholesky(information)
    normal = rng.standard_normal((n_draws, len(theta)))
    draws = theta + np.linalg.solve(cholesky.T, normal.T).T
    return {name: value[None] for name, value in likelihood.from_vector(draws).items()}, ""


def bootstrap(likelihood: Likelihood, best: Climb, n_draws: int, rng: np.random.Generator, run: dict, progress=None):
    """Refits to resampled rows (Efron 1979), each started at the estimate, labels aligned by responsibilities.

    A replicate draws as many rows as there are, with replacement (frequencies in `weights` are resampled as rows).
    Its components are matched to the estimate's by the assignment that maximises the shared responsibilities of the
    original rows. Replicates in which the best assignment beats the second by less than 5 % of the rows are doubtful.
    """
    from ..labels.align import align_to

    data = likelihood.data
    reference = responsibilities_at(likelihood, best.params)
    names = list(best.params)
    draws = {name: np.empty((1, n_draws, *best.params[name].shape)) for name in names}
    failed = doubtful = 0
    for i in _track(progress, range(n_draws), "bootstrap"):
        resampled = Likelihood(likelihood.component, data.reweighted(_resampled_weights(data, rng)), likelihood.n_components)
        refit = climb(resampled, best.params, **(run | {"tol": max(run["tol"], 1e-6)}))
        failed += refit.collapsed or not refit.converged
        order, margin = align_to(reference, responsibilities_at(likelihood, refit.params))
        doubtful += margin < 0.05
        for name in names:
            draws[name][0, i] = refit.params[name][order]
    note = f"Bootstrap: labels were doubtful in {doubtful} of {n_draws} replicates."
    if failed:
        note += f" {failed} replicates did not converge or collapsed; they are kept."
    return draws, note


def _resampled_weights(data, rng) -> np.ndarray:
    """Weights of a bootstrap replicate: counts of the rows drawn, out of as many as there are."""
    if data.weights is None:
        return rng.multinomial(data.n_obs, np.full(data.n_obs, 1.0 / data.n_obs)).astype(float)
    total = data.weights.sum()
    return rng.multinomial(max(1, round(total)), data.weights / total).astype(float) * (total / max(1, round(total)))


def responsibilities_at(likelihood: Likelihood, params: dict) -> np.ndarray:
    """Responsibilities (obs, cluster) of the data's rows at these parameters."""
    from ..likelihood.formula import log_of_weights, responsibilities

    own = {name: value for name, value in params.items() if name != "weights"}
    return responsibilities(likelihood.component, likelihood.data.values, log_of_weights(params["weights"]), own)


def _track(progress, items, label):
    return items if progress is None else progress.track(items, description=label)
