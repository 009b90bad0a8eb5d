"""Several networks side by side, on rows that none of them was fitted to."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .fit import MDNFit

COVERAGE = 0.9  # probability of the interval whose coverage is counted


@dataclass(frozen=True, eq=False)
class NetworkComparison:
    """What `bayesmix.compare` says of networks.

    Attributes
    ----------
    fits : dict of MDNFit
    elpd : pandas.DataFrame
        By fit, the best first: ``elpd``, the sum of the log densities of the held-out rows in nats, its standard error
        ``se``, the difference ``elpd_diff`` from the best with its standard error ``dse``, over rows (Vehtari, Gelman &
        Gabry 2017, eq. 24), the mean log density ``mean`` of a row, and of one response the mean ``crps``, in its unit,
        and the share ``coverage`` of rows inside their 90 % intervals.
    pointwise : pandas.DataFrame
        Log density of every row (obs, fit), in nats.
    """

    fits: dict[str, MDNFit]
    elpd: Any
    pointwise: Any

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


def compare_networks(fits: dict[str, MDNFit], X, y) -> NetworkComparison:
    """Judge fits by rows that were held out; see `bayesmix.compare`."""
    import pandas as pd

    if X is None or y is None:
        raise TypeError(
            "networks are compared by rows that they were not fitted to: bm.compare(fits, X=..., y=...). The log-likelihood of "
            "fitted rows, corrected by importance sampling, is not valid for draws of a variational posterior."
        )
    pointwise = pd.DataFrame({name: fit.logpdf(X, y).to_series() for name, fit in fits.items()})
    best = pointwise.sum().idxmax()
    n, rows = len(pointwise), {}
    for name, fit in fits.items():
        own, off = pointwise[name], pointwise[name] - pointwise[best]
        row = {
            "elpd": own.sum(),
            "se": np.sqrt(n) * own.std(ddof=1),
            "elpd_diff": off.sum(),
            "dse": np.sqrt(n) * off.std(ddof=1),
            "mean": own.mean(),
        }
        if len(fit.model.feature) == 1:
            pit = fit.pit(X, y, random_seed=0).values
            row |= {"crps": float(fit.crps(X, y).mean()), "coverage": np.mean(np.abs(pit - 0.5) < COVERAGE / 2)}
        rows[name] = row
    elpd = pd.DataFrame(rows).T.sort_values("elpd", ascending=False)
    return NetworkComparison(fits, elpd, pointwise)
