"""`calibrate`: does an engine's posterior cover the truth as often as it says? Simulation-based calibration."""

import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from .arrays import Data
from .engines.progress import display, track
from .fit import Fit
from .labels import ordering
from .likelihood import formula
from .mixture import Mixture
from .randomness import generator
from .whole_numbers import check_whole

BAND = 0.95  # probability that a calibrated engine stays in the bands of all quantities
BAND_SIMULATIONS = 2000


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the truth falls among the draws of an engine, over many data sets of which the truth is known.

    Attributes
    ----------
    mixture : Mixture
        The specification, with the priors that truths were drawn from.
    engine : str
        Name of the engine.
    tree : xarray.DataTree
        Group ``prior_sbc``: for each quantity, and each data set as ``draw``, the share of the posterior's draws below the
        truth (PIT), as `arviz.plot_ecdf_pit` reads it. Group ``simulations``: ``converged`` and ``verdict`` of each fit.
    failures : tuple of str
        Messages of the fits that failed, which have no ranks.
    """

    mixture: Mixture
    engine: str
    tree: xr.DataTree
    failures: tuple

    @property
    def table(self):
        """One row for each quantity: how far its PIT strays beyond the simultaneous band, and at which end.

        Columns: ``inside``, whether the cumulative distribution of the PIT stays in the band; ``excess``, the largest
        distance beyond it (0 inside), as a probability; ``p_value``, of the PIT of this one quantity being uniform, see
        `p_value`; ``mean`` and ``sd`` of the PIT, 0.5 and 0.289 when calibrated: a mean that is larger says that the
        truth tends to lie above the draws, a larger sd that intervals are too narrow.
        """
        import pandas as pd

        rows = {}
        for name, (_, ecdf, lower, upper) in self.curves().items():
            excess = float(np.max(np.maximum(np.maximum(lower - ecdf, ecdf - upper), 0.0)))
            pit = self.tree["prior_sbc"].dataset[name].values[0]
            rows[name] = {
                "inside": excess <= 1e-12,
                "excess": excess,
                "p_value": p_value(pit),
                "mean": pit.mean(),
                "sd": pit.std(),
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def n(self) -> int:
        """Number of data sets that were fitted."""
        return self.tree["prior_sbc"].dataset.sizes["draw"]

    @property
    def calibrated(self) -> bool:
        """Do all quantities stay in their bands?"""
        return bool(self.table["inside"].all())

    @property
    def message(self) -> str:
        """What was found, in words."""
        table, n = self.table, self.n
        bad = table[~table["inside"]]
        if bad.empty:
            said = f"All {len(table)} quantities stay in their simultaneous {BAND:.0%} bands over {n} data sets."
        else:
            narrow = [str(name) for name in bad.index if bad.loc[name, "sd"] > 1 / np.sqrt(12)]
            wide = [str(name) for name in bad.index if name not in narrow]
            said = (
                f"{len(bad)} of {len(table)} quantities leave their simultaneous {BAND:.0%} bands over {n} data sets."
            )
            if narrow:
                said += f" The truth is in the tails too often, intervals are too narrow: {', '.join(narrow)}."
            if wide:
                said += f" The truth is off to one side, or in the middle too often: {', '.join(wide)}."
        doubtful = int((self.tree["simulations"].dataset["converged"].values == 0).sum())
        if doubtful:
            said += f" {doubtful} fits say that they have not converged; they are counted all the same."
        if self.failures:
            said += f" {len(self.failures)} fits failed and have no ranks; the first: {self.failures[0]}"
        return said

    @classmethod
    def from_ranks(cls, mixture, engine, pit, converged, verdict, failures=(), *, draws, n_obs) -> "Calibration":
        """Make a calibration from what its attributes hold, for example read back from a file.

        Parameters
        ----------
        mixture : Mixture
            The specification with its priors.
        engine : str
            Name of the engine.
        pit : dict of str to array_like (data set,)
            Share of the draws below the truth, of each quantity by name.
        converged, verdict : array_like (data set,)
            What each fit says of itself.
        failures : iterable of str
            Messages of the fits that failed.
        draws, n_obs : int
            Draws that truths were ranked among, and rows of each data set.
        """
        coords = {"draw": np.arange(len(converged))}
        sbc = {name: (("chain", "draw"), np.asarray(values)[None]) for name, values in pit.items()}
        fits = {"converged": ("draw", np.asarray(converged)), "verdict": ("draw", np.asarray(verdict))}
        tree = xr.DataTree.from_dict(
            {
                "prior_sbc": xr.Dataset(sbc, coords={"chain": [0], **coords}),
                "simulations": xr.Dataset(fits, coords=coords),
            }
        )
        tree.attrs = {"mixture": json.dumps(mixture.to_dict()), "draws": int(draws), "n_obs": int(n_obs)}
        return cls(mixture, engine, tree, tuple(failures))

    @staticmethod
    def combine(parts) -> "Calibration":
        """Several calibrations of one engine under the same priors, by different seeds, as one over all their data sets.

        Raises
        ------
        ValueError
            If there are none, or engine, priors, rows or draws differ.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("no calibrations were given; at least 1 is needed.")
        first = parts[0]
        for part in parts[1:]:
            if part.engine != first.engine or dict(part.tree.attrs) != dict(first.tree.attrs):
                raise ValueError(
                    f"calibrations of {first.engine} ({first.mixture}, {first.tree.attrs['n_obs']} rows) and of "
                    f"{part.engine} ({part.mixture}, {part.tree.attrs['n_obs']} rows) are not of one kind: engine, priors, "
                    "rows and draws must be the same."
                )
        pieces = [part.tree["prior_sbc"].dataset for part in parts]
        columns = {name: np.concatenate([piece[name].values[0] for piece in pieces]) for name in pieces[0].data_vars}
        fits = [part.tree["simulations"].dataset for part in parts]
        records = {name: np.concatenate([piece[name].values for piece in fits]) for name in ("converged", "verdict")}
        failures = [message for part in parts for message in part.failures]
        kind = {name: first.tree.attrs[name] for name in ("draws", "n_obs")}
        return Calibration.from_ranks(first.mixture, first.engine, columns, **records, failures=failures, **kind)

    def curves(self) -> dict:
        """For each quantity: points, cumulative distribution of the PIT, lower and upper end of its band."""
        values = self.tree["prior_sbc"].dataset
        each = 1.0 - (1.0 - BAND) / len(values.data_vars)
        return {str(name): band(values[name].values[0], each) for name in values.data_vars}

    def plot(self, **kwargs):
        """Draw how far each PIT is from uniform, with its band; see `bayesmix.plots.plot_calibration`."""
        from .plots import plot_calibration

        return plot_calibration(self, **kwargs)

    def __str__(self):
        title = f"Calibration of {self.engine}: {self.mixture}"
        return "\n".join(
            [*textwrap.wrap(title, 80), *textwrap.wrap(self.message, 80), "", self.table.round(3).to_string()]
        )

    __repr__ = __str__


def calibrate(
    mixture: Mixture,
    n: int = 100,
    *,
    data=None,
    n_obs: int = 50,
    engine: Callable[..., Fit] | None = None,
    draws: int = 99,
    random_seed=None,
    progressbar: bool = True,
    **options,
) -> Calibration:
    r"""Check an engine by simulation: fit data whose parameters are known, and see where these fall among the draws.

    Parameters :math:`\theta` are drawn from the prior and data from the mixture at :math:`\theta`; if the engine draws
    from the posterior, the rank of :math:`\theta` among its draws is uniform (Talts, Betancourt, Simpson, Vehtari &
    Gelman 2018, theorem 1). That holds for every function of parameters and data; the ones looked at here know
    nothing of labels: parameters after the components were put in the order of their first one, and the log-likelihood.

    Parameters
    ----------
    mixture : Mixture
        The specification. Default priors need `data`, from which they are made once: they then stay as they are for all
        simulated data.
    n : int
        Number of data sets.
    data : array_like, data frame or xarray object, optional
        Data whose size, columns and default priors are taken.
    n_obs : int
        Rows of each data set, if there are no `data`.
    engine : callable
        Any engine that gives draws of the posterior: ``bm.nuts`` (the default), ``bm.advi``, ``bm.laplace``,
        ``bm.gibbs``.
    draws : int
        Draws of each fit that the truth is ranked among, evenly spaced over all of them.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same result.
    progressbar : bool
        Show progress.
    **options
        Passed on to the engine, for example ``draws`` under the name ``engine_draws``, ``chains``, ``tune``.

    Returns
    -------
    Calibration
        Printing it shows the verdict and a table; ``plot()`` draws the bands. An interrupt (Ctrl-C) keeps the fits made.

    Raises
    ------
    TypeError, ValueError
        If the priors need data and there are none, or an argument is out of range.
    """
    if engine is None:
        from .engines.nuts import nuts as engine
    assert engine is not None
    check_whole(10, n=n)
    check_whole(19, draws=draws)
    check_whole(2, n_obs=n_obs)
    if "engine_draws" in options:
        options["draws"] = options.pop("engine_draws")
    rng = generator(random_seed)
    design = _design(mixture, data, n_obs)
    fixed = with_priors_of(mixture, design)
    truths, sets = from_prior(fixed, design, int(n), rng)
    seeds = rng.integers(2**31 - 1, size=int(n))
    ranks, records, failures = [], [], []
    try:
        with display(progressbar) as progress:
            for i in track(progress, range(int(n)), "calibration"):
                x = replace(design, values=sets[i], weights=None)
                truth = {name: value[i] for name, value in truths.items()}
                try:
                    fit = engine(fixed, x, random_seed=int(seeds[i]), progressbar=False, **options)
                except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
                    failures.append(f"{type(error).__name__}: {error}")
                    continue
                ranks.append(pits(fixed, x, truth, fit.posterior_draws, int(draws), rng))
                records.append((int(fit.converged), fit.verdict))
    except KeyboardInterrupt:
        if len(ranks) < 10:
            raise
    if len(ranks) < 10:
        raise ValueError(f"only {len(ranks)} of {n} fits succeeded; the first failure: {failures[0]}")
    columns = {name: np.array([row[name] for row in ranks]) for name in ranks[0]}
    said = {"converged": [converged for converged, _ in records], "verdict": [verdict for _, verdict in records]}
    name = getattr(engine, "__name__", str(engine))
    return Calibration.from_ranks(fixed, name, columns, **said, failures=failures, draws=draws, n_obs=design.n_obs)


# -- truths and data -----------------------------------------------------------------------------------------------------
def _design(mixture: Mixture, data, n_obs: int) -> Data:
    """The data given, or rows that only have the right size and kind."""
    if data is not None:
        return mixture.check(data)
    component = mixture.component
    without = [
        p for p in component.default_priors(_placeholder(n_obs, 2, component), 2) if not getattr(component, p, None)
    ]
    if without:
        raise ValueError(
            f"the default priors of {', '.join(without)} are made from data: give data=, or a prior for each in the mixture."
        )
    widths = [getattr(prior, "n_features", None) for prior in component._settings().values()]
    known = [width for width in widths if width is not None]
    if component.multivariate and not known:
        raise ValueError("the priors do not say how many features there are: give data=.")
    return _placeholder(n_obs, max(known, default=1) if component.multivariate else 1, component)


def _placeholder(n_obs, n_features, component):
    rng = np.random.default_rng(0)
    shape = (n_obs, n_features if component.multivariate else 1)
    values = rng.poisson(5.0, shape).astype(float) if component.discrete else rng.normal(size=shape)
    return Data(values, tuple(range(shape[1])), False, np.arange(n_obs), None)


def with_priors_of(mixture: Mixture, data: Data) -> Mixture:
    """The same mixture with the priors that are in force for these data, whatever data it meets."""
    component: Any = mixture.component.resolved(data)
    priors = component.priors(data, mixture.n_components)
    return replace(mixture, component=component.with_priors(priors))


def from_prior(mixture: Mixture, design: Data, n: int, rng: np.random.Generator) -> tuple[dict, np.ndarray]:
    """Parameters by name, (n, cluster, ...), from the prior, and data (n, obs, feature) from the mixture at each."""
    import pymc as pm

    names = ["weights", *(parameter.name for parameter in mixture.component.parameters)]
    model = mixture.to_pymc(design)
    drawn: Any = pm.draw([model[name] for name in names], draws=n, random_seed=int(rng.integers(2**31 - 1)))
    truths = dict(zip(names, (np.asarray(value) for value in drawn), strict=True))
    truths = mixture.component.for_each(truths, 1, mixture.n_components)
    sets = np.repeat(design.values[None], n, axis=0)
    for i in range(n):
        labels = rng.choice(mixture.n_components, size=design.n_obs, p=truths["weights"][i])
        own = {name: truths[name][i][labels] for name in names[1:]}
        given = design.values[:, design.n_features :]
        sets[i][:, : design.n_features] = mixture.component.sample_rows(own, rng, given)
    return truths, sets


# -- ranks ---------------------------------------------------------------------------------------------------------------
def pits(mixture: Mixture, data: Data, truth: dict, posterior: dict, draws: int, rng: np.random.Generator) -> dict:
    """Share of draws below the truth, ties broken at random, (rank + u) / (draws + 1), of every quantity by name.

    posterior: parameters by name, (draw, cluster, ...).
    """
    total = len(posterior["weights"])
    kept = np.linspace(0, total - 1, min(draws, total)).round().astype(int)
    true = quantities(mixture, data, {name: value[None] for name, value in truth.items()})
    drawn = quantities(mixture, data, {name: posterior[name][kept] for name in truth})
    found = {}
    for name, value in true.items():
        below, equal = np.sum(drawn[name] < value[0]), np.sum(drawn[name] == value[0])
        found[name] = float((below + rng.uniform() * (equal + 1)) / (len(kept) + 1))
    return found


def quantities(mixture: Mixture, data: Data, params: dict) -> dict:
    """Numbers that do not depend on labels, by name, (draw,): ordered parameters and the log-likelihood."""
    leading = mixture.component.leading({name: value for name, value in params.items() if name != "weights"})
    order = ordering(leading, mixture.exchangeable()).permutation
    found = {}
    for name, value in params.items():
        ordered = np.take_along_axis(value, order.reshape(order.shape + (1,) * (value.ndim - 2)), axis=1)
        for index in np.ndindex(ordered.shape[1:]):
            if name == "weights" and index[0] >= mixture.weights.n_free(mixture.n_components):
                continue  # the last weight is what the others leave
            if len(index) == 3 and index[2] > index[1]:
                continue  # matrices are symmetric
            if not np.isnan(ordered[(0, *index)]):  # which it is for components of families without this parameter
                found[f"{name}[{', '.join(map(str, index))}]"] = ordered[(slice(None), *index)]
    log_weights = formula.log_of_weights(params["weights"])[:, None]
    own = {name: value[:, None] for name, value in params.items() if name != "weights"}
    found["log_likelihood"] = formula.log_likelihood(mixture.component, data.values, log_weights, own).sum(axis=1)
    return found


def band(pit: np.ndarray, probability: float):
    """Points, cumulative distribution of the PIT, and its simultaneous band (Säilynoja et al. 2022), by ArviZ."""
    from arviz_stats.ecdf_utils import compute_ecdf, get_pointwise_confidence_band

    points = np.arange(1, len(pit)) / len(pit)
    lower, upper = get_pointwise_confidence_band(_pointwise(len(pit), probability), len(pit), points)
    return points, compute_ecdf(pit, points), lower, upper


@lru_cache(maxsize=32)
def _pointwise(n: int, probability: float) -> float:
    """Probability of the band at a single point, so that all points together have this one."""
    from arviz_stats.ecdf_utils import simulate_confidence_bands

    points = np.arange(1, n) / n
    return simulate_confidence_bands(n, 1, points, probability, BAND_SIMULATIONS, np.random.default_rng(0))


def p_value(pit: np.ndarray) -> float:
    """Probability that n uniform numbers stray at least as far from uniform as `pit`, (n,), does, by simulation.

    How far is told by the smallest two-sided binomial probability, over the points 1/n, ..., (n - 1)/n, of as many
    numbers below the point (Säilynoja, Bürkner & Vehtari 2022, sec. 2.2): the band holds the curve if that is not too small.
    """
    drawn = _smallest_tails(len(pit))
    return float((1 + np.sum(drawn <= _smallest_tail(pit[None])[0] * (1 + 1e-9))) / (len(drawn) + 1))


def _smallest_tail(pits: np.ndarray) -> np.ndarray:
    """Smallest two-sided probability over all points, (sample,), of samples (sample, n)."""
    from scipy.stats import binom

    n = pits.shape[1]
    cell = np.clip(np.ceil(pits * n), 1, n).astype(int) - 1  # counted below i / n if the cell is less than i
    hits = np.zeros((len(pits), n), dtype=int)
    np.add.at(hits, (np.arange(len(pits))[:, None], cell), 1)
    below, points = np.cumsum(hits, axis=1)[:, :-1], np.arange(1, n) / n
    tails = np.minimum(binom.cdf(below, n, points), binom.sf(below - 1, n, points))
    return 2.0 * tails.min(axis=1)


@lru_cache(maxsize=32)
def _smallest_tails(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([_smallest_tail(rng.uniform(size=(100, n))) for _ in range(BAND_SIMULATIONS // 100)])
