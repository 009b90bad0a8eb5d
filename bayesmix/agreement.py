"""How far fits agree: marginals that overlap, densities that lie together, rows that are classified alike.

The measures work on plain arrays; `Agreement` holds what they say of every pair of fits.
"""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from .fit import Fit

DRAWS = 300  # draws, evenly spaced, that a posterior density is averaged over
POINTS = 1000  # points drawn from each of two densities to compare them
GRID = 1024  # points of a kernel density estimate
LARGEST_SUM = 100_000  # support points of a discrete family that are summed one by one


@dataclass(frozen=True)
class Agreement:
    """How far every pair of fits agrees.

    Attributes
    ----------
    marginals : xarray.Dataset
        Overlap of the marginal distributions of each parameter, (pair, cluster, ...), between 0 and 1; see `overlap`.
        NaN where a fit has no draws, or not these parameters.
    density : xarray.Dataset
        Distance between the fitted densities, (pair,): ``hellinger`` and ``total_variation``, both between 0 (the
        same) and 1 (apart), and their Monte Carlo standard errors, 0 where the integral was computed; see `distance`.
    classification : xarray.Dataset
        For each pair: ``alike``, the share of rows put into the same component; ``rand``, the adjusted Rand index;
        ``difference``, the mean over rows of the total variation distance between responsibilities, and
        ``largest_difference``, its maximum. All but the Rand index need as many components, and are NaN otherwise.
    rows : pandas.DataFrame
        One row per row of the data: the most probable component by each method, and ``largest_difference``, the
        largest total variation distance between responsibilities over all pairs.
    """

    marginals: xr.Dataset
    density: xr.Dataset
    classification: xr.Dataset
    rows: Any  # pandas.DataFrame

    def __getitem__(self, name: str):
        """`agreement["density"]` is `agreement.density`."""
        if name not in ("marginals", "density", "classification", "rows"):
            raise KeyError(f"{name!r} is none of marginals, density, classification, rows.")
        return getattr(self, name)

    def table(self):
        """One row per pair: the smallest and the median overlap, the distances, and how rows are classified.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        pairs = self.density["pair"].values
        per_pair = [self.marginals[name].values.reshape(len(pairs), -1) for name in self.marginals.data_vars]
        overlaps = np.concatenate(per_pair, axis=1) if per_pair else np.full((len(pairs), 1), np.nan)
        known = [row[np.isfinite(row)] for row in overlaps]
        return pd.DataFrame(
            {
                "smallest overlap": [row.min() if len(row) else np.nan for row in known],
                "median overlap": [np.median(row) if len(row) else np.nan for row in known],
                "total variation": self.density["total_variation"].values,
                "Hellinger": self.density["hellinger"].values,
                "rows alike": self.classification["alike"].values,
                "adjusted Rand index": self.classification["rand"].values,
            },
            index=pd.Index(pairs, name="pair"),
        )


def agreement(fits: dict[str, Fit], responsibilities: dict, draws: dict, entries: list, template) -> Agreement:
    """Compare every pair of fits, whose components have been matched before.

    Parameters
    ----------
    fits : dict of Fit
        On the same data.
    responsibilities : dict of array (obs, cluster)
        Of the rows of the data, by fit.
    draws : dict of dict of array (draws, cluster, ...), or None
        Draws of the parameters, by fit; None where there are none, or not of the parameters in `entries`.
    entries : list of Entry
        The entries of the parameters to compare; see `bayesmix.tables.entries`.
    template : xarray.Dataset
        Parameters (cluster, ...) whose dims and coords the overlaps take over.
    """
    pairs = list(combinations(fits, 2))
    names = np.array([f"{a} and {b}" for a, b in pairs], dtype=object)
    coords = {"pair": names, "first": ("pair", [a for a, _ in pairs]), "second": ("pair", [b for _, b in pairs])}
    density = distances(fits, pairs)
    classes = {name: r.argmax(axis=1) for name, r in responsibilities.items()}
    return Agreement(
        xr.Dataset(_overlaps(pairs, draws, entries, template), coords=coords),
        xr.Dataset({name: ("pair", [found[name] for found in density]) for name in DISTANCES}, coords=coords),
        xr.Dataset(_classified(pairs, responsibilities, classes), coords=coords),
        _rows(fits, pairs, responsibilities, classes),
    )


# -- marginals -------------------------------------------------------------------------------------------------------
def overlap(a: np.ndarray, b: np.ndarray) -> float:
    r"""Shared area of the distributions that two sets of draws come from: :math:`\int \min(f, g)`.

    1 for the same distribution, 0 for distributions apart; 1 minus the total variation distance. Densities are
    estimated by kernels; with 1000 draws each the result is good to a few hundredths, and the same distribution
    gives about 0.97 (Inman & Bradley 1989, Communications in Statistics 18, 3851).

    Parameters
    ----------
    a, b : array (draws,)

    Returns
    -------
    float
        NaN if either set of draws does not vary.
    """
    return _shared_area(kernel_density(a), kernel_density(b))


def kernel_density(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Estimate a density from draws: points and density there, or None if the draws do not vary.

    A Gaussian kernel with bandwidth 0.9 min(sd, IQR / 1.34) n^(-1/5) (Silverman 1986, eq. 3.31), with the draws drawn
    towards their mean so that the estimate keeps their variance (ibid., section 6.4).
    """
    draws = np.asarray(draws, dtype=float)
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2 or np.ptp(draws) <= 1e-14 * np.abs(draws).max():
        return None
    mean, sd = draws.mean(), draws.std()
    low, high = np.quantile(draws, [0.25, 0.75])
    bandwidth = 0.9 * (min(sd, (high - low) / 1.34) or sd) * len(draws) ** -0.2
    draws = mean + (draws - mean) * np.sqrt(max(0.0, 1.0 - (bandwidth / sd) ** 2))
    low, high = draws.min() - 5 * bandwidth, draws.max() + 5 * bandwidth
    size = int(np.clip(4 * (high - low) / bandwidth, GRID, 64 * GRID))
    grid = np.linspace(low, high, size)
    step = grid[1] - grid[0]
    place = (draws - low) / step  # each draw is shared between the two points beside it
    left = np.minimum(place.astype(int), size - 2)
    right = place - left
    mass = np.bincount(left, 1 - right, minlength=size) + np.bincount(left + 1, right, minlength=size)
    reach = int(np.ceil(5 * bandwidth / step))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / bandwidth) ** 2)
    density = np.convolve(mass, kernel, mode="full")[reach : reach + size]
    return grid, density / (density.sum() * step)


def _shared_area(first, second) -> float:
    if first is None or second is None:
        return np.nan
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    if high <= low:
        return 0.0
    points = np.linspace(low, high, 2 * GRID)
    f, g = (np.interp(points, *estimate, left=0.0, right=0.0) for estimate in (first, second))
    return float(min(1.0, np.trapezoid(np.minimum(f, g), points)))


def _overlaps(pairs, draws, entries, template) -> dict:
    """Overlaps of all entries, as DataArrays (pair, cluster, ...) by variable."""
    estimates = {
        name: {entry: kernel_density(own[entry.variable][:, *entry.index]) for entry in entries}
        for name, own in draws.items()
        if own is not None
    }
    out = {}
    for variable in dict.fromkeys(entry.variable for entry in entries):
        values = np.full((len(pairs), *template[variable].shape), np.nan)
        for i, (a, b) in enumerate(pairs):
            for entry in entries:
                if entry.variable == variable and a in estimates and b in estimates:
                    values[i, *entry.index] = _shared_area(estimates[a][entry], estimates[b][entry])
        out[variable] = xr.DataArray(values, dims=("pair", *template[variable].dims), coords=template[variable].coords)
    return out


# -- densities -------------------------------------------------------------------------------------------------------
DISTANCES = ("hellinger", "total_variation", "hellinger_error", "total_variation_error")


def distances(fits: dict[str, Fit], pairs) -> list[dict]:
    """`distance` of each pair; points are drawn, and densities computed there, once for each fit."""
    thin = {name: thinned(fit, DRAWS) for name, fit in fits.items()}
    points, log_density = {}, {}

    def sampled(name):
        if name not in points:
            points[name] = _drawn(thin[name])
        return points[name]

    def at(name, source):
        if (name, source) not in log_density:
            log_density[name, source] = np.asarray(thin[name].logpdf(sampled(source)))
        return log_density[name, source]

    found = []
    for a, b in pairs:
        components = [fits[name].mixture.component for name in (a, b)]
        support = common_support(thin[a], thin[b])
        if components[0].discrete != components[1].discrete:
            found.append(dict.fromkeys(DISTANCES, np.nan))  # densities of different measures
        elif components[0].given != components[1].given:
            found.append(dict.fromkeys(DISTANCES, np.nan))  # densities given different columns
        elif support is not None:
            log_p, log_q = (np.asarray(thin[name].logpdf(support[0][:, None])) for name in (a, b))
            found.append(distance(log_p, log_q, support[1]))
        else:
            log_p, log_q = (np.concatenate([at(name, source) for source in (a, b)]) for name in (a, b))
            found.append(distance(log_p, log_q))
    return found


def distance(log_p: np.ndarray, log_q: np.ndarray, weights: np.ndarray | None = None) -> dict:
    r"""Hellinger and total variation distance between two densities.

    :math:`H^2 = \frac12 \int (\sqrt p - \sqrt q)^2` and :math:`TV = \frac12 \int |p - q|`, both between 0 and 1. With
    points drawn from (p + q) / 2, and :math:`t = (\log p - \log q) / 2`, they are the means of
    :math:`1 - 1/\cosh t` and of :math:`|\tanh t|`.

    Parameters
    ----------
    log_p, log_q : array (points,)
        Log densities, in nats.
    weights : array (points,), optional
        Quadrature weights of the points. Without, half of the points are taken to be drawn from p, half from q.

    Returns
    -------
    dict of float
        ``hellinger``, ``total_variation``, and their Monte Carlo standard errors, 0 with quadrature.
    """
    if weights is not None:
        p, q = np.exp(log_p), np.exp(log_q)
        squared = 0.5 * float(weights @ (np.sqrt(p) - np.sqrt(q)) ** 2)
        variation = 0.5 * float(weights @ np.abs(p - q))
        return dict(zip(DISTANCES, (np.sqrt(np.clip(squared, 0, 1)), min(variation, 1.0), 0.0, 0.0), strict=True))
    t = np.clip(0.5 * (log_p - log_q), -300.0, 300.0)
    squares, variations = 2 * np.sinh(0.5 * t) ** 2 / np.cosh(t), np.abs(np.tanh(t))
    squared, root_n = squares.mean(), np.sqrt(len(t))
    error = squares.std() / root_n / (2 * np.sqrt(squared)) if squared > 0 else 0.0
    values = (np.sqrt(squared), variations.mean(), error, variations.std() / root_n)
    return dict(zip(DISTANCES, map(float, values), strict=True))


def common_support(first: Fit, second: Fit) -> tuple[np.ndarray, np.ndarray] | None:
    """Points and quadrature weights for two densities on one column, or None where points must be drawn.

    Continuous: the trapezoid rule on quantiles of all components, -8 to 8 standard normal deviates 1/45 apart.
    Discrete: every whole number between the extreme quantiles.
    """
    from scipy.special import ndtr

    if first.mixture.component.given or second.mixture.component.given:
        return None
    if first.data.n_features > 1 or first.mixture.component.discrete != second.mixture.component.discrete:
        return None
    levels = ndtr(np.linspace(-8, 8, 721))
    quantiles = [
        fit.mixture.component.marginal_quantile(level, {n: v for n, v in fit.estimates.items() if n != "weights"})
        for fit in (first, second)
        for level in (levels[[0, -1]] if fit.mixture.component.discrete else levels)
    ]
    points = np.unique(np.concatenate([q.ravel() for q in quantiles]))
    points = points[np.isfinite(points)]
    if first.mixture.component.discrete:
        low, high = points[0], points[-1] + 5
        return None if high - low > LARGEST_SUM else (np.arange(low, high + 1), np.ones(int(high - low) + 1))
    steps = np.diff(points)
    return points, 0.5 * (np.append(steps, 0.0) + np.insert(steps, 0, 0.0))


def _as_rows(values):
    return values if values.ndim == 2 else values[:, None]


def _drawn(fit: Fit):
    """Points drawn from a density; of one given columns, at random rows of the data."""
    if not fit.mixture.component.given:
        return _as_rows(fit.sample(POINTS, random_seed=0).values)
    rows = fit.data.take(np.random.default_rng(0).integers(fit.data.n_obs, size=POINTS))
    drawn = _as_rows(fit.sample(data=rows, random_seed=0).values)
    return replace(rows, values=np.concatenate([drawn, rows.values[:, rows.n_features :]], axis=1), weights=None)


def thinned(fit: Fit, n_draws: int) -> Fit:
    """Keep at most so many draws of a fit, evenly spaced; its predictions then cost as much less."""
    if "point" in fit.tree.children or not fit.has_draws:
        return fit
    posterior = fit.tree["posterior"].to_dataset()
    step = -(-posterior.sizes["chain"] * posterior.sizes["draw"] // n_draws)
    if step == 1:
        return fit
    kept = {"observed_data", "constant_data"} & set(fit.tree.children)
    groups = {name: fit.tree[name].to_dataset() for name in kept}
    tree = xr.DataTree.from_dict({"posterior": posterior.isel(draw=slice(step // 2, None, step)), **groups})
    tree.attrs = dict(fit.tree.attrs)
    return Fit(fit.mixture, tree)


# -- rows ------------------------------------------------------------------------------------------------------------
def responsibilities(fit: Fit) -> np.ndarray:
    """Responsibilities (obs, cluster) of the fit's own rows, over at most 2000 draws."""
    return np.asarray(thinned(fit, 2000).responsibilities())


def adjusted_rand_index(a: np.ndarray, b: np.ndarray) -> float:
    r"""Agreement of two partitions of the same rows, corrected for chance: 1 the same, 0 as by chance.

    :math:`\frac{\sum_{ij}\binom{n_{ij}}{2} - E}{\frac12(\sum_i\binom{a_i}{2} + \sum_j\binom{b_j}{2}) - E}` with
    :math:`E = \sum_i\binom{a_i}{2}\sum_j\binom{b_j}{2} / \binom{n}{2}` (Hubert & Arabie 1985, Journal of
    Classification 2, eq. 5). Names of the classes play no part.

    Parameters
    ----------
    a, b : array (obs,)
        Classes of the rows.
    """
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1.0)

    def pairs(count):
        return float((count * (count - 1) / 2).sum())

    both, in_a, in_b, total = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0)), pairs(np.array(len(a)))
    expected = in_a * in_b / total if total else 0.0
    largest = 0.5 * (in_a + in_b)
    return 1.0 if largest == expected else float((both - expected) / (largest - expected))


def _apart(first, second):
    """Total variation distance between the responsibilities of each row, (obs,)."""
    return 0.5 * np.abs(first - second).sum(axis=1)


def _classified(pairs, responsibilities, classes) -> dict:
    columns = {"alike": [], "rand": [], "difference": [], "largest_difference": []}
    for a, b in pairs:
        columns["rand"].append(adjusted_rand_index(classes[a], classes[b]))
        same = responsibilities[a].shape == responsibilities[b].shape
        apart = _apart(responsibilities[a], responsibilities[b]) if same else np.array([np.nan])
        columns["alike"].append(float(np.mean(classes[a] == classes[b])) if same else np.nan)
        columns["difference"].append(float(apart.mean()))
        columns["largest_difference"].append(float(apart.max()))
    return {name: ("pair", values) for name, values in columns.items()}


def _rows(fits, pairs, responsibilities, classes):
    import pandas as pd

    table = pd.DataFrame(dict(classes), index=pd.Index(next(iter(fits.values())).data.obs, name="obs"))
    apart = [
        _apart(responsibilities[a], responsibilities[b])
        for a, b in pairs
        if responsibilities[a].shape == responsibilities[b].shape
    ]
    table["largest_difference"] = np.max(apart, axis=0) if apart else np.nan
    return table
