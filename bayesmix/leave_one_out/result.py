"""`loo`: the expected log predictive density of a fit, explained row by row and repaired on request."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from arviz_stats.utils import ELPDDataLOO

from ..randomness import generator
from ..tables import POSTERIOR
from .coordinates import FreePosterior
from .influence import explain, influential_rows
from .moment_matching import match_moments
from .psis import counted_rows, leave_one_out, why_not
from .refit import predictive_without, sampled

REPAIRS = ("moment matching", "refit")


@dataclass(kw_only=True, repr=False)
class LeaveOneOut(ELPDDataLOO):
    """ArviZ's result of leave-one-out cross-validation, with the rows that it fails for explained.

    `arviz.compare`, `arviz.plot_khat` and others take it as it is.

    Attributes
    ----------
    elpd, se, p, elpd_i, pareto_k, good_k, ... :
        As ArviZ has them; after a repair those of the repaired rows are new. ``pareto_k`` of a refitted row is 0, and its
        ``log_weights`` are NaN, as those of all repaired rows.
    basis : str
        What the draws are.
    influential : pandas.DataFrame
        The rows with a Pareto k-hat above ``good_k``, as `influential_rows` has them; after a repair with
        ``elpd_before``, ``elpd`` and its Monte Carlo standard error ``mcse``, ``pareto_k_after`` and ``repaired``.
    explanation : tuple of str
        The same in sentences. Printing the result shows them.
    repair : str or None
        "moment matching", "refit" or None.
    """

    basis: str = ""
    influential: Any = None  # pandas.DataFrame
    explanation: tuple = ()
    repair: str | None = None

    def _footer(self):
        return super()._footer() + "\n\n" + "\n".join(self.explanation)


def loo(fit, repair: str | None = None, *, random_seed=None, progressbar: bool = True) -> LeaveOneOut:
    """Leave-one-out cross-validation of a fit; see `Fit.loo`."""
    if repair is not None and repair not in REPAIRS:
        raise ValueError(f'repair={repair!r} is not known; use "moment matching", "refit", or None.')
    if reason := why_not(fit):
        raise ValueError(f"there is no leave-one-out cross-validation of this fit: {reason}.")
    if repair is not None and fit.engine not in (*POSTERIOR, "advi"):
        raise ValueError(
            f"repair={repair!r} is for posteriors, but this fit is by {fit.engine.upper()}, whose draws are not of one; use "
            "bm.nuts, or BIC."
        )
    found, basis = leave_one_out(fit)
    if fit.data.units is not None:
        return _of_units(fit, found, basis, repair)
    k = np.full(fit.data.n_obs, -np.inf)
    k[counted_rows(fit)] = found.pareto_k
    table = influential_rows(fit, k, found.good_k)
    sentences = explain(fit, table, found.good_k)
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    rng, done = generator(random_seed), {}
    if repair is not None and len(table):
        repairing = _matched if repair == "moment matching" else _refitted
        done, said = repairing(fit, table, found, rng, progressbar)
        values |= _replaced(fit, found, done)
        sentences += said
    elif len(table):
        able = 'repair="moment matching" or "refit"' if fit.engine in POSTERIOR else 'repair="refit"'
        sentences.append(
            f"{able} estimates the elpd of these rows anew." if fit.engine != "em" else "bm.nuts can do better."
        )
    if repair is not None:
        table = _with_repairs(fit, table, found, done)
    return LeaveOneOut(**values, basis=basis, influential=table, explanation=tuple(sentences), repair=repair)


def _of_units(fit, found, basis: str, repair) -> LeaveOneOut:
    """The result where whole groups of rows, or rows with their labels, are left out: which of them it fails for."""
    if repair is not None:
        raise ValueError(
            f"repair={repair!r} is for rows by themselves, but those of this fit are grouped or have known labels; fit again "
            "without the rows, and score them."
        )
    k, counted = np.asarray(found.pareto_k), counted_rows(fit)
    bad = np.flatnonzero(k > found.good_k)
    dim = fit.tree["log_likelihood/x"].dims[-1]
    names = fit.tree["log_likelihood/x"][dim].values[counted[bad]]
    table = pd.DataFrame({"position": counted[bad], "pareto_k": k[bad]}, index=pd.Index(names, name=str(dim)))
    what = "groups is left out whole" if fit.data.units.grouped else "rows is left out with its label"
    said = [f"Each of the {len(counted)} {what}."]
    if len(bad):
        listed = ", ".join(map(str, names[:8])) + (", ..." if len(bad) > 8 else "")
        said.append(
            f"k-hat is above {found.good_k:.2f} for {len(bad)} of them, whose elpd is not to be trusted: {listed}."
        )
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return LeaveOneOut(**values, basis=basis, influential=table, explanation=tuple(said), repair=None)


# -- repairs: elpd, its error and k-hat by position, and what there is to say -------------------------------------------------
def _matched(fit, table, found, rng, progressbar):
    free, done = FreePosterior.of(fit), {}
    try:
        for i, k in zip(_tracked(table["position"], "moment matching", progressbar), table["pareto_k"], strict=True):
            one = match_moments(free.vectors, free.log_density, lambda vectors, i=i: free.log_likelihood(vectors, i))
            if one.moves and one.pareto_k < k:
                done[i] = one.elpd, one.mcse, one.pareto_k
    except KeyboardInterrupt:
        return done, [_interrupted(done, table)]
    left = [i for i in table["position"] if i not in done or done[i][2] > found.good_k]
    said = [f"Moment matching repaired {len(table) - len(left)} of {_rows(len(table))}."]
    if left:
        said.append(f'It left {_named(fit, left)} with too large a k-hat: use repair="refit".')
    return done, said


def _refitted(fit, table, found, rng, progressbar):
    done, failed = {}, []
    try:
        whole = sampled(fit, int(rng.integers(2**31 - 1)))
        for i in _tracked(table["position"], "refits", progressbar):
            elpd, mcse, converged = predictive_without(whole, i, int(rng.integers(2**31 - 1)))
            done[i] = elpd, mcse, 0.0
            if not converged:
                failed.append(i)
    except KeyboardInterrupt:
        return done, [_interrupted(done, table)]
    said = [f"The posterior was sampled anew without {'each of ' * (len(table) > 1)}the {_rows(len(table))}."]
    if failed:
        said.append(f"Without {_named(fit, failed)} it did not converge: their elpd is rough.")
    return done, said


def _rows(n):
    return f"{n} row{'s' * (n != 1)}"


def _named(fit, positions):
    return f"row{'s' * (len(positions) != 1)} {', '.join(str(fit.data.obs[i]) for i in positions)}"


def _interrupted(done, table):
    return f"The repair was interrupted: {len(done)} of {len(table)} rows were repaired."


def _tracked(positions, label, progressbar):
    from ..engines.progress import display, track

    with display(progressbar) as progress:
        yield from track(progress, [int(i) for i in positions], label)


def _replaced(fit, found, done: dict) -> dict:
    """Fields of the result with the values of the repaired rows."""
    from scipy.special import logsumexp

    kept = counted_rows(fit)
    log_likelihood = fit.tree["log_likelihood"].dataset["x"].values.reshape(-1, fit.data.n_obs)[:, kept]
    lpd = logsumexp(log_likelihood, axis=0) - np.log(len(log_likelihood))
    elpd, k = found.elpd_i.copy(deep=True), found.pareto_k.copy(deep=True)
    log_weights = None if found.log_weights is None else found.log_weights.copy(deep=True)
    for position, (value, _, after) in done.items():
        i = int(np.searchsorted(kept, position))
        elpd[i], k[i] = value, after
        if log_weights is not None:
            log_weights[{"obs": i}] = np.nan  # they belong to draws that the posterior group does not hold
    return {
        "elpd": float(elpd.sum()),
        "se": float(np.sqrt(elpd.size * elpd.var())),
        "p": float(lpd.sum() - elpd.sum()),
        "elpd_i": elpd,
        "pareto_k": k,
        "log_weights": log_weights,
        "influence_pareto_k": found.pareto_k,
        "warning": bool((k > found.good_k).any()),
    }


def _with_repairs(fit, table, found, done: dict):
    before = found.elpd_i.values[np.searchsorted(counted_rows(fit), table["position"].values)]
    kept = zip(table["position"], before, table["pareto_k"], strict=True)
    triples = [done.get(i, (value, np.nan, k)) for i, value, k in kept]
    return table.assign(
        elpd_before=before,
        elpd=[value for value, _, _ in triples],
        mcse=[error for _, error, _ in triples],
        pareto_k_after=[k for _, _, k in triples],
        repaired=[i in done and done[i][2] <= found.good_k for i in table["position"]],
    )
