"""The sampling distribution of a maximum-likelihood estimate: normal from the information, or by the bootstrap."""

from typing import Any

import numpy as np

from ..components.base import Guard
from ..likelihood.likelihood import Likelihood
from .climb import Climb, climb


def sampling_distribution(
    likelihood: Likelihood, best: Climb, method: str, n_draws: int, rng, run: dict, progress=None
):
    """Draws (chain = 1, draw, cluster, ...) of the parameters, and a note on how far they can be trusted."""
    if method == "laplace":
        return laplace(likelihood, best, n_draws, rng, run["guard"])
    return bootstrap(likelihood, best, n_draws, rng, run, progress)


def laplace(likelihood: Likelihood, best: Climb, n_draws: int, rng: np.random.Generator, guard: Guard | None):
    """Normal draws with the inverse observed information as covariance, in free coordinates.

    Logarithms of scales and weight ratios are nearer to normal than the parameters themselves, and no draw leaves the
    parameter space.

    Where the information is not positive definite, because the optimum is flat or lies on the boundary, there are no
    draws: None, and a note that says why.
    """
    theta = likelihood.to_vector(best.params)
    if not np.all(np.isfinite(theta)):
        return None, (
            "There are no standard errors: the estimate lies on the boundary (a weight, rate or scale is zero), where "
            'the information says nothing; use uncertainty="bootstrap", or fewer components.'
        )
    information = likelihood.information(theta, guard)
    size = np.sqrt(np.abs(np.diag(information)))
    eigenvalues = np.linalg.eigvalsh(information / np.outer(size, size)) if np.all(size > 0) else np.array([0.0])
    if eigenvalues.min() <= 1e-10:
        return None, (
            "There are no standard errors: the observed information is not positive definite "
            f"(smallest eigenvalue {eigenvalues.min():.1e} of its "
            "correlation form): the likelihood is flat in some direction, as with too many components. "
            'Use uncertainty="bootstrap", or fewer components.'
        )
    cholesky = np.linalg.cholesky(information)
    normal = rng.standard_normal((n_draws, len(theta)))
    draws = theta + np.linalg.solve(cholesky.T, normal.T).T
    return {name: value[None] for name, value in likelihood.from_vector(draws).items()}, ""


def bootstrap(
    likelihood: Likelihood, best: Climb, n_draws: int, rng: np.random.Generator, run: dict[str, Any], progress=None
):
    """Refits to resampled rows (Efron 1979), each started at the estimate, labels aligned by responsibilities.

    A replicate draws as many rows as there are, with replacement (frequencies in `weights` are resampled as rows).
    Its components are matched to the estimate's by the assignment that maximises the shared responsibilities of the
    original rows. Replicates in which the best assignment beats the second by less than 5 % of the rows are doubtful.
    """
    from ..labels.align import align_to

    data = likelihood.data
    reference = responsibilities_at(likelihood, best.params)
    if data.weights is not None:
        reference = reference * data.weights[:, None] * (data.n_obs / data.total_weight)
    names = list(best.params)
    options = run | {"tol": max(run["tol"], 1e-6)}
    draws, failed, doubtful, collapsed = {name: [] for name in names}, 0, 0, 0
    try:
        for _ in _track(progress, range(n_draws), "bootstrap"):
            rows = data.reweighted(_resampled_weights(data, rng))
            refit = climb(Likelihood(likelihood.component, rows, likelihood.n_components), best.params, **options)
            if refit.collapsed:
                collapsed += 1
                continue
            failed += not refit.converged
            order, margin = align_to(reference, responsibilities_at(likelihood, refit.params))
            doubtful += margin < 0.05
            for name in names:
                draws[name].append(refit.params[name][order])
    except KeyboardInterrupt:
        if len(draws[names[-1]]) < 2:
            raise
    made = len(draws[names[-1]])
    note = f"Bootstrap: labels were doubtful in {doubtful} of {made} replicates."
    if collapsed:
        note += f" {collapsed} replicates collapsed and are left out."
    if made + collapsed < n_draws:
        note += f" It was interrupted before {n_draws} replicates were made."
    if failed:
        note += f" {failed} replicates did not converge; they are kept."
    return {name: np.array(values[:made])[None] for name, values in draws.items()}, note


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
