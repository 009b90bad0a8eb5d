"""Why a row has a high Pareto k-hat: which component it keeps alive, or how far out it lies."""

import numpy as np

from ..likelihood import formula
from ..tables import POSTERIOR, TRUSTED

ALIVE = 0.1  # share of a component's effective rows from which a row is said to keep it alive
SHOWN = 6  # columns of a row that a sentence shows


def influential_rows(fit, pareto_k: np.ndarray, limit: float):
    r"""Rows whose Pareto k-hat is above the limit, with the component that each of them weighs most in.

    A row of weight w (1 if rows have none) and responsibilities r at the posterior mean makes up the share
    :math:`w r_k / N_k` of the :math:`N_k = \sum_n w_n r_{nk}` effective rows of component k; without it the weight of the
    component would be :math:`(N_k - w r_k) / (\sum_n w_n - w)`.

    Parameters
    ----------
    fit : Fit
    pareto_k : ndarray (obs,)
        Pareto k-hat of every row.
    limit : float
        The k-hat above which importance sampling is not to be trusted.

    Returns
    -------
    pandas.DataFrame
        One row per such row, the largest k-hat first, by the label of the row: ``position``, ``pareto_k``, ``component``
        (the one with the largest share), ``responsibility``, ``share``, ``effective_rows``, ``weight``,
        ``weight_without`` and ``rank``, the number of rows whose density at the posterior mean is lower.
    """
    import pandas as pd

    data = fit.data
    w = np.ones(data.n_obs) if data.weights is None else data.weights
    r, density = _at_the_mean(fit)
    effective = w @ r
    rows = np.flatnonzero(pareto_k > limit)
    rows = rows[np.argsort(-pareto_k[rows], kind="stable")]
    share = w[rows, None] * r[rows] / np.maximum(effective, 1e-300)
    component = share.argmax(axis=1)
    chosen = np.arange(len(rows)), component
    rest = np.maximum(w.sum() - w[rows], 1e-300)
    return pd.DataFrame(
        {
            "position": rows,
            "pareto_k": pareto_k[rows],
            "component": component,
            "responsibility": r[rows, component],
            "share": share[chosen],
            "effective_rows": effective[component],
            "weight": effective[component] / w.sum(),
            "weight_without": (effective[component] - w[rows] * r[rows, component]) / rest,
            "rank": np.searchsorted(np.sort(density), density[rows]),
        },
        index=pd.Index(data.obs[rows], name="obs"),
    )


def _at_the_mean(fit) -> tuple[np.ndarray, np.ndarray]:
    """Responsibilities (obs, cluster) and log density (obs,) of the rows at the posterior mean of the parameters."""
    params = dict(fit.estimates)
    log_weights, x = formula.log_of_weights(params.pop("weights")), fit.data.values
    component = fit.mixture.component
    return (
        np.asarray(formula.responsibilities(component, x, log_weights, params)),
        np.asarray(formula.log_likelihood(component, x, log_weights, params)),
    )


def explain(fit, table, limit: float) -> list[str]:
    """Write sentences on the rows of `influential_rows`: a summary, and one for each row."""
    n = fit.data.n_obs
    if len(table) == 0:
        return [f"All {n} rows have a Pareto k-hat below {limit:.2f}: the elpd is reliable."]
    many = len(table) > 1
    sentences = [
        f"{len(table)} of {n} rows ha{'ve' if many else 's'} a Pareto k-hat above {limit:.2f}: without "
        f"{'one of them' if many else 'it'} the posterior is too different for its draws to be reweighted."
    ]
    if fit.engine in POSTERIOR and fit.verdict not in TRUSTED:
        sentences.append(
            f"Labels of components are not to be trusted ({fit.verdict}), and so neither are the shares below."
        )
    khat = fit.tree.attrs.get("khat", 0.0)
    if fit.engine == "advi" and khat > limit:
        sentences.append(f"The approximation itself has a k-hat of {khat:.2f}: use bm.nuts before blaming rows.")
    sentences += [_sentence(fit, label, row) for label, row in zip(table.index, table.itertuples(), strict=True)]
    return sentences


def _sentence(fit, label, row) -> str:
    """Say what one row is to the mixture."""
    said = f"Row {label} ({describe(fit.data, row.position)}) has k-hat {row.pareto_k:.2f}: "
    k, effective, single = row.component, f"{row.effective_rows:.3g}", fit.mixture.n_components == 1
    if row.share >= ALIVE and not single:
        return said + (
            f"it keeps component {k} alive, as {row.share:.0%} of its {effective} effective rows; without it the weight of "
            f"that component would be {round(row.weight_without, 4):.2g} instead of {row.weight:.2g}."
        )
    lower = f"{row.rank} row{'s have' if row.rank > 1 else ' has'}" if row.rank else "no row has"
    whose = "" if single else f", though it is only {row.share:.1%} of the {effective} effective rows of component {k}"
    return said + f"it lies far out or pulls hard{whose}; {lower} a lower density."


def describe(data, position: int) -> str:
    """Values of the columns of a row: "eruptions 3.6, waiting 79"."""
    values = data.modelled[position]
    names = data.feature if data.named else ["x"] if data.n_features == 1 else [f"x[{name}]" for name in data.feature]
    shown = ["missing" if np.isnan(value) else f"{value:.6g}" for value in values[:SHOWN]]
    said = [f"{name} {value}" for name, value in zip(names[:SHOWN], shown, strict=True)]
    return ", ".join(said) + (", ..." if len(values) > SHOWN else "")
