"""Several networks side by side, on rows that none of them was fitted to: given ones, or those of each fold."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import as_data
from ..chunks import refuse_streamed
from ..engines.progress import display, track
from ..randomness import generator
from ..whole_numbers import is_whole
from .engines import map_estimate
from .fit import row_labels
from .specification import MDN
from .tables import take_rows

COVERAGE = 0.9  # probability of the interval whose coverage is counted


@dataclass(frozen=True, eq=False)
class NetworkComparison:
    """What `bayesmix.compare` says of networks.

    Attributes
    ----------
    fits : dict of MDNFit
        Of cross-validation by name a list of them, one for each fold.
    elpd : pandas.DataFrame
        By fit, the best first: ``elpd``, the sum of the log densities of the held-out rows in nats, its standard error
        ``se``, the difference ``elpd_diff`` from the best with its standard error ``dse``, over rows (Vehtari, Gelman &
        Gabry 2017, eq. 24), the mean log density ``mean`` of a row, and of one response the mean ``crps``, in its unit,
        and the share ``coverage`` of rows inside their 90 % intervals.
    pointwise : pandas.DataFrame
        Log density of every row (obs, fit), in nats.
    folds : ndarray (obs,) or None
        Of cross-validation: in which fold each row was held out, from 0 on.
    """

    fits: dict[str, Any]
    elpd: Any
    pointwise: Any
    folds: np.ndarray | None = None

    def __str__(self):
        return str(self.elpd.round(3))

    __repr__ = __str__

    def plot(self, ax=None):
        """Differences of elpd from the best fit, with two standard errors.

        Returns
        -------
        matplotlib Axes
        """
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.subplots(figsize=(6.4, 1.2 + 0.4 * len(self.elpd)), layout="constrained")[1]
        table = self.elpd.iloc[::-1]
        ax.errorbar(table.elpd_diff, range(len(table)), xerr=2 * table.dse, fmt="o", capsize=3)
        ax.axvline(0.0, color="0.6", lw=0.8)
        ax.set_yticks(range(len(table)), table.index)
        ax.set(xlabel="elpd - elpd of the best, nats (± 2 standard errors)", ylim=(-0.6, len(table) - 0.4))
        return ax


def compare_networks(given: dict, X, y, folds=None, engine=None, random_seed=None, progressbar=True):
    """Judge fits by rows that were held out, or specifications by K-fold cross-validation; see `bayesmix.compare`."""
    if X is None or y is None:
        raise TypeError(
            "networks are compared by rows that they were not fitted to: bm.compare(fits, X=..., y=...). The log-likelihood of "
            "fitted rows, corrected by importance sampling, is not valid for draws of a variational posterior."
        )
    if folds is not None:
        return _compared_by_folds(given, X, y, folds, engine, random_seed, progressbar)
    if engine is not None or random_seed is not None:
        raise TypeError("engine and random_seed are for cross-validation: give folds= too, for example folds=5.")
    unfitted = [name for name, one in given.items() if isinstance(one, MDN)]
    if unfitted:
        raise TypeError(
            f"{', '.join(unfitted)} {'are' if len(unfitted) > 1 else 'is'} not fitted: give fits of other rows, or folds=5 "
            "for cross-validation."
        )
    scores = {name: _scores(fit, X, y) for name, fit in given.items()}
    return NetworkComparison(given, *_tables(scores, row_labels(X, len(next(iter(scores.values()))["elpd"]))))


def _compared_by_folds(given, X, y, folds, engine, random_seed, progressbar):
    """Fit each specification to all folds but one, judge it by that one, and pool the rows."""
    refuse_streamed(X, "cross-validation")
    refuse_streamed(y, "cross-validation")
    fitted = [name for name, one in given.items() if not isinstance(one, MDN)]
    if fitted:
        raise TypeError(
            f"{', '.join(fitted)}: cross-validation fits specifications itself; give those, fit.mdn, and how in engine=."
        )
    n = as_data(y).n_obs
    if not is_whole(folds, 2) or folds > n:
        raise ValueError(f"folds={folds!r} but it must be a number of parts between 2 and {n}, the number of rows.")
    engines = dict.fromkeys(given, engine or map_estimate) if not isinstance(engine, dict) else engine
    wrong = [name for name in given if not callable(engines.get(name))]
    if wrong:
        raise TypeError(
            f"engine={engine!r} but it must be a function such as bm.map_estimate, or a dict with one for each name; there is "
            f"none for {', '.join(wrong)}."
        )
    rng = generator(random_seed)
    fold = rng.permutation(n) % folds
    seeds = rng.integers(2**31 - 1, size=folds)
    fits, parts = {name: [] for name in given}, {name: [] for name in given}
    with display(progressbar) as progress:
        for f, (name, mdn) in track(progress, [(f, one) for f in range(folds) for one in given.items()], "folds"):
            (X_in, y_in), (X_out, y_out) = (
                (take_rows(X, rows), take_rows(y, rows)) for rows in map(np.flatnonzero, (fold != f, fold == f))
            )
            fit = engines[name](mdn, X_in, y_in, random_seed=int(seeds[f]), progressbar=False)
            fits[name].append(fit)
            parts[name].append(_scores(fit, X_out, y_out))
    order = np.argsort(np.argsort(fold, kind="stable"), kind="stable")
    scores = {
        name: {key: np.concatenate([one[key] for one in each])[order] for key in each[0]}
        for name, each in parts.items()
    }
    return NetworkComparison(fits, *_tables(scores, row_labels(X, n)), fold)


def _scores(fit, X, y) -> dict:
    """Log density of each row, and of one response its CRPS and whether it is inside the interval: (obs,) each."""
    found = {"elpd": fit.logpdf(X, y).values}
    if len(fit.model.feature) == 1:
        pit = fit.pit(X, y, random_seed=0).values
        found |= {"crps": fit.crps(X, y).values, "coverage": np.abs(pit - 0.5) < COVERAGE / 2}
    return found


def _tables(scores, labels):
    """The table of elpd, and the log density of every row, from the scores of each."""
    import pandas as pd

    pointwise = pd.DataFrame({name: one["elpd"] for name, one in scores.items()}, index=pd.Index(labels, name="obs"))
    best = pointwise.sum().idxmax()
    n, rows = len(pointwise), {}
    for name, one in scores.items():
        own, off = pointwise[name], pointwise[name] - pointwise[best]
        rows[name] = {
            "elpd": own.sum(),
            "se": np.sqrt(n) * own.std(ddof=1),
            "elpd_diff": off.sum(),
            "dse": np.sqrt(n) * off.std(ddof=1),
            "mean": own.mean(),
        } | {key: float(np.mean(one[key])) for key in ("crps", "coverage") if key in one}
    return pd.DataFrame(rows).T.sort_values("elpd", ascending=False), pointwise
