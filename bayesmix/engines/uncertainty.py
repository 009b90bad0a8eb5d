r"""The sampling distribution of a maximum-likelihood estimate: normal from the information, or by a bootstrap.

Four ways, chosen by name. ``laplace`` takes the inverse of the observed information I (Louis 1982) as covariance of the
estimate in free coordinates theta, and standard errors from it by the delta method. The others refit to data sets made
anew: ``bootstrap`` from rows drawn with replacement (Efron 1979), ``parametric bootstrap`` from the fitted mixture itself
(Efron 1979; McLachlan & Peel 2000, ch. 2), ``bayesian bootstrap`` from the same rows with weights
Dirichlet(1, ..., 1) (Rubin 1981).

They answer the same question only if the model is right: ``laplace`` and ``parametric bootstrap`` take the model at its
word, ``bootstrap`` and ``bayesian bootstrap`` take the data at theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Data
from ..components.base import Guard
from ..cores import available_cores, in_order
from ..likelihood.likelihood import Likelihood
from .climb import Climb, climb
from .progress import track

DOUBTFUL = 0.05  # share of the rows by which the best assignment of labels must beat the second
LABEL_ROWS = 2000  # rows by which replicates are matched to the estimate
REFIT_TOL = 1e-6  # of a replicate: a millionth of a standard deviation of a component


@dataclass(frozen=True)
class SamplingDistribution:
    """What is known of how an estimate varies from sample to sample."""

    draws: dict | None  # (chain = 1, draw, cluster, ...) of the parameters by name
    note: str  # how far they can be trusted
    standard_error: dict | None = None  # (cluster, ...), where there is a formula
    attrs: dict = field(default_factory=dict)  # what to record about the run


def sampling_distribution(
    likelihood: Likelihood,
    best: Climb,
    method: str,
    n_draws: int,
    rng: np.random.Generator,
    run: dict[str, Any],
    cores: int | None = None,
    progress=None,
) -> SamplingDistribution:
    """Draws of the parameters by one of the methods of `METHODS`, with standard errors where there is a formula."""
    if method == "laplace":
        return laplace(likelihood, best, n_draws, rng, run["guard"])
    return bootstrap(likelihood, best, RESAMPLES[method], n_draws, rng, run, cores or available_cores(), progress)


# -- from the information ------------------------------------------------------------------------------------------------
def laplace(
    likelihood: Likelihood, best: Climb, n_draws: int, rng: np.random.Generator, guard: Guard | None
) -> SamplingDistribution:
    """Normal draws with the inverse observed information as covariance, in free coordinates; and standard errors.

    Logarithms of scales and weight ratios are nearer to normal than the parameters themselves, and no draw leaves the
    parameter space. The information is that of the objective, guard included.

    Where the information is not positive definite, because the optimum is flat or lies on the boundary, there are
    neither: None, and a note that says why.
    """
    theta = likelihood.to_vector(best.params)
    if not np.all(np.isfinite(theta)):
        return SamplingDistribution(
            None,
            "There are no standard errors: the estimate lies on the boundary (a weight, rate or scale is zero, or a "
            'probability 0 or 1), where the information says nothing; use uncertainty="bootstrap", or fewer components.',
        )
    information = likelihood.information(theta, guard)
    size = np.sqrt(np.abs(np.diag(information)))
    eigenvalues = np.linalg.eigvalsh(information / np.outer(size, size)) if np.all(size > 0) else np.array([0.0])
    if eigenvalues.min(initial=np.inf) <= 1e-10:
        return SamplingDistribution(
            None,
            "There are no standard errors: the observed information is not positive definite "
            f"(smallest eigenvalue {eigenvalues.min():.1e} of its "
            "correlation form): the likelihood is flat in some direction, as with too many components. "
            'Use uncertainty="bootstrap", or fewer components.',
        )
    cholesky = np.linalg.cholesky(information)
    normal = rng.standard_normal((n_draws, len(theta)))
    draws = theta + np.linalg.solve(cholesky.T, normal.T).T
    return SamplingDistribution(
        {name: value[None] for name, value in likelihood.from_vector(draws).items()},
        "",
        standard_errors(likelihood, best.params, information),
    )


def standard_errors(likelihood: Likelihood, params: dict, information: np.ndarray) -> dict:
    r"""Standard errors of weights and parameters by name, (cluster, ...) each, by the delta method.

    :math:`\operatorname{se}(g) = \sqrt{J I^{-1} J'}` with I the observed information in free coordinates (Louis 1982) and
    J the derivatives of g in them, exact. What is fixed, such as covariances in a diagonal matrix, has 0.
    """
    root = np.linalg.cholesky(information)  # J I^-1 J' is the squared length of root^-1 J'
    errors = {}
    for name, jacobian in likelihood.jacobian(params).items():
        columns = np.linalg.solve(root, jacobian.reshape(params[name].size, len(root)).T)
        errors[name] = np.sqrt((columns**2).sum(axis=0)).reshape(params[name].shape)
    return errors


# -- data sets made anew -------------------------------------------------------------------------------------------------
def drawn_rows(likelihood: Likelihood, params: dict, rng: np.random.Generator) -> Data:
    """As many rows as there are, drawn with replacement (Efron 1979); a weight says how many rows a row stands for."""
    data = likelihood.data
    if data.units is not None and data.units.grouped:
        return _drawn_groups(data, rng)
    if data.weights is None:
        counts = rng.multinomial(data.n_obs, np.full(data.n_obs, 1.0 / data.n_obs))
        return data.reweighted(counts.astype(float))
    total, n = data.total_weight, _whole_rows(data)
    return data.reweighted(rng.multinomial(n, data.weights / total) * (total / n))


def _drawn_groups(data: Data, rng: np.random.Generator) -> Data:
    """As many groups as there are, drawn with replacement, all their rows with them."""
    units = data.units
    place = np.unique(units.group, return_inverse=True)[1].ravel()
    weights = np.ones(data.n_obs) if data.weights is None else data.weights
    of_group = weights[units.first_rows]
    total = of_group.sum()
    n = max(1, round(total))
    return data.reweighted((rng.multinomial(n, of_group / total) * (total / n))[place])


def drawn_from_the_fit(likelihood: Likelihood, params: dict, rng: np.random.Generator) -> Data:
    """As many rows as there are, drawn from the mixture at these parameters."""
    data, n = likelihood.data, _whole_rows(likelihood.data)
    labels = rng.choice(likelihood.n_components, n, p=params["weights"])
    if data.units is not None:
        data, labels = _with_drawn_labels(data, labels)
    weights, rows, own = None, np.arange(n), {k: v[labels] for k, v in params.items() if k != "weights"}
    if data.weights is not None:
        weights = np.full(n, data.total_weight / n)
        if data.missing or data.given:  # those of rows that occur as often
            rows = rng.choice(data.n_obs, n, p=data.weights / data.total_weight)
    given = data.values[rows, data.n_features :] if data.given else None
    values = likelihood.component.sample_rows(own, rng, given)
    if data.missing:  # the same cells
        values = np.where(np.isnan(data.modelled[rows]), np.nan, values)
    values = values if given is None else np.concatenate([values, given], axis=1)
    return replace(data, values=np.ascontiguousarray(values), obs=np.arange(n), weights=weights)


def _with_drawn_labels(data: Data, labels: np.ndarray) -> tuple[Data, np.ndarray]:
    """The label of its first row for every row of a group; those that were known are known again."""
    if data.weights is not None:
        raise ValueError(
            'uncertainty="parametric bootstrap" draws as many rows as the weights sum to, which groups and known labels do not go '
            'with; use "bootstrap".'
        )
    units = data.units
    first, place = np.unique(units.group, return_index=True, return_inverse=True)[1:]
    labels = labels[first][place.ravel()]
    return replace(data, units=replace(units, known=np.where(units.known >= 0, labels, units.known))), labels


def dirichlet_weights(likelihood: Likelihood, params: dict, rng: np.random.Generator) -> Data:
    """The same rows with weights n Dirichlet(1, ..., 1) (Rubin 1981): exponential, made to sum to n.

    A row that stands for w rows has the sum of w such weights, a gamma variable of shape w.
    """
    data = likelihood.data
    shapes = np.ones(data.n_obs) if data.weights is None else data.weights
    if data.units is not None and data.units.grouped:  # one weight for each group
        first, place = np.unique(data.units.group, return_index=True, return_inverse=True)[1:]
        weights = rng.standard_gamma(shapes[first])
        return data.reweighted((weights * (shapes[first].sum() / weights.sum()))[place.ravel()])
    weights = rng.standard_gamma(shapes)
    return data.reweighted(weights * (data.total_weight / weights.sum()))


RESAMPLES: dict[str, Callable[[Likelihood, dict, np.random.Generator], Data]] = {
    "bootstrap": drawn_rows,
    "parametric bootstrap": drawn_from_the_fit,
    "bayesian bootstrap": dirichlet_weights,
}
METHODS = ("laplace", *RESAMPLES)


def _whole_rows(data):
    return data.n_obs if data.weights is None else max(1, round(data.total_weight))


# -- refits --------------------------------------------------------------------------------------------------------------
class _Refit(NamedTuple):
    params: dict  # components in the order of the estimate's
    margin: float  # share of the rows by which that order beats the second best
    converged: bool
    collapsed: bool


def bootstrap(
    likelihood: Likelihood,
    best: Climb,
    resample: Callable[[Likelihood, dict, np.random.Generator], Data],
    n_draws: int,
    rng: np.random.Generator,
    run: dict[str, Any],
    cores: int = 1,
    progress=None,
) -> SamplingDistribution:
    """Refits to data sets that `resample` makes, each started at the estimate, in `cores` threads.

    The components of a replicate are matched to the estimate's by the assignment that maximises the shared
    responsibilities of the original rows. Replicates in which the best assignment beats the second by less than 5 % of
    the rows are doubtful: their share is in the note and in attrs. Each replicate has a generator of its own, so that
    the draws do not depend on the number of threads. An interrupt (Ctrl-C) keeps the replicates made until then.
    """
    from ..labels.align import align_to

    rows, groups = _rows_for_labels(likelihood), likelihood.exchangeable()
    reference = rows.responsibilities(best.params)
    if rows.data.weights is not None:
        reference = reference * rows.data.weights[:, None] * (len(reference) / rows.data.total_weight)
    options = run | {"tol": max(run["tol"], REFIT_TOL)}

    def refit(stream):
        data = resample(likelihood, best.params, stream)
        found = climb(likelihood.with_rows(data), best.params, **options)
        if found.collapsed:
            return _Refit(found.params, np.nan, False, True)
        order, margin = align_to(reference, rows.responsibilities(found.params), groups)
        params = {name: value[order] for name, value in found.params.items()}
        return _Refit(params, margin, found.converged, False)

    streams = (rng.spawn(1)[0] for _ in range(n_draws))
    refits = []
    try:
        for one in track(progress, in_order(refit, streams, cores), "bootstrap", n_draws):
            refits.append(one)
    except KeyboardInterrupt:
        if sum(not one.collapsed for one in refits) < 2:
            raise
    return _summed_up(refits, n_draws)


def _summed_up(refits: list[_Refit], n_draws: int) -> SamplingDistribution:
    """Draws of the refits that did not collapse, and words and numbers on how they went."""
    kept = [one for one in refits if not one.collapsed]
    made, collapsed = len(kept), len(refits) - len(kept)
    if made == 0:
        return SamplingDistribution(
            None,
            f"There are no standard errors: all {collapsed} replicates of the bootstrap collapsed; use fewer components.",
            attrs={"replicates": 0, "replicates_collapsed": collapsed},
        )
    doubtful, failed = sum(one.margin < DOUBTFUL for one in kept), sum(not one.converged for one in kept)
    note = f"Bootstrap: labels were doubtful in {doubtful} of {made} replicates ({doubtful / made:.1%})."
    if collapsed:
        note += f" {collapsed} replicates collapsed and are left out."
    if len(refits) < n_draws:
        note += f" It was interrupted before {n_draws} replicates were made."
    if failed:
        note += f" {failed} replicates did not converge; they are kept."
    return SamplingDistribution(
        {name: np.array([one.params[name] for one in kept])[None] for name in kept[0].params},
        note,
        attrs={
            "replicates": made,
            "replicates_doubtful": doubtful / made,
            "replicates_collapsed": collapsed,
            "replicates_not_converged": failed,
        },
    )


def _rows_for_labels(likelihood: Likelihood) -> Likelihood:
    """At most 2000 rows, spread over the data, that have weight."""
    data = likelihood.data
    rows = np.arange(data.n_obs) if data.weights is None else np.flatnonzero(data.weights > 0)
    if len(rows) > LABEL_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, LABEL_ROWS).astype(int)]
    return likelihood.with_rows(data.take(rows))
