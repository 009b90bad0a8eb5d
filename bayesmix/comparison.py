"""`compare`: fits of the same data side by side. Parameters, predictive accuracy, diagnostics, agreement, in words."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .agreement import Agreement, agreement, responsibilities
from .fit import Fit
from .labels.align import align_to
from .leave_one_out import leave_one_out
from .mdn.comparison import compare_networks
from .mdn.fit import MDNFit
from .mdn.specification import MDN
from .tables import POSTERIOR, TRUSTED, Entry, check_probability, entries, number, parameters_of
from .units import same_units

QUANTITIES = ("estimate", "se", "lower", "upper")
DOUBTFUL_MARGIN = 0.05  # share of the rows by which a matching of components must beat the second best
KHAT = 0.7  # above this an approximation is not corrected by importance weights (Vehtari et al. 2024)
CLOSE, FAR = 0.5, 1.0  # differences of estimates in standard errors: below CLOSE they agree, above FAR they differ
WIDTH = 1.25  # standard errors whose ratio is beyond this, or its inverse, are spoken of
SAME_ELPD = 4.0  # nats: smaller differences in elpd say little (Sivula, Magnusson & Vehtari 2020)
ENGINES = {"em": "EM", "nuts": "NUTS", "gibbs": "Gibbs", "laplace": "Laplace", "advi": "ADVI", "parameters": "given"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Fits of the same data side by side; made by `bayesmix.compare`. Printing it shows the tables.

    Attributes
    ----------
    fits : dict of Fit
        The fits by name, with the components of all those that have as many in the order of the reference's.
    reference : str
        Name of the fit that the others are matched to.
    ci_prob : float
        Probability of the intervals.
    parameters : xarray.Dataset
        Every parameter, (fit, quantity, cluster, ...), quantity being ``estimate``, ``se``, ``lower``, ``upper``:
        the estimate (EM) or posterior mean; the standard deviation of its sampling distribution (EM) or of the
        posterior; the ends of the equal-tailed interval: ``parameters["mu"].sel(fit="NUTS", quantity="estimate")``.
        Coordinate ``basis`` says which, by fit. NaN where a fit has none: EM without ``uncertainty``, and fits of
        another family or number of components.
    elpd : pandas.DataFrame
        Expected log predictive density by leave-one-out cross-validation, best first, in nats: the columns of
        `arviz.compare`, ``khat_max`` and ``khat_bad`` (rows whose Pareto k is too large, out of ``n_rows``), and
        ``basis``, on what it rests. Fits without draws have no elpd.
    diagnostics : pandas.DataFrame
        One row per method: how the run went and what it costs.
    agreement : Agreement
        How far each pair of fits agrees.
    conclusion : tuple of str
        What it comes to, in sentences.
    notes : tuple of str
        What to bear in mind, in sentences.
    """

    fits: dict
    reference: str
    ci_prob: float
    parameters: xr.Dataset
    elpd: Any  # pandas.DataFrame, which is not imported for its name alone
    diagnostics: Any
    agreement: Agreement
    conclusion: tuple
    notes: tuple

    @property
    def entries(self) -> list[Entry]:
        """The entries of the parameters that tables and pictures show."""
        return _entries({name: fit for name, fit in self.fits.items() if self._is_shown(name)})

    def _is_shown(self, name) -> bool:
        return _alike(self.fits[name], self.fits[self.reference])

    def table(self):
        """Tell the parameters for reading: rows such as "mu[0, eruptions]", one column of text per method.

        A cell holds "estimate ± se [lower, upper]", rounded to two digits of the standard error. Of a symmetric
        matrix each entry is shown once, and zeros that belong to the structure are left out.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        rows, shown = self.entries, [name for name in self.fits if self._is_shown(name)]
        cells = {
            name: [_cell(self.parameters[e.variable].sel({"fit": name}).values[:, *e.index]) for e in rows]
            for name in shown
        }
        table = pd.DataFrame(cells, index=pd.Index([e.label for e in rows], name="parameter"))
        table.attrs["cell"] = f"estimate ± standard error [{self.ci_prob:.0%} equal-tailed interval]"
        return table

    def plot(self, units: Mapping | None = None):
        """Draw the fitted densities over the data, and below the estimates with their intervals side by side.

        Parameters
        ----------
        units : dict, optional
            Units of the columns, for the axis labels: ``{"waiting": "min"}``.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from .plots.comparison import plot_comparison

        return plot_comparison(self, units=units)

    def report(self, path, **settings):
        """Write one HTML file that needs nothing else, for readers without Python; return its path.

        Parameters and returns are those of `bayesmix.report.html.write_report`.
        """
        from .report import write_report

        return write_report(self, path, **settings)

    def readable(self) -> dict:
        """All tables as text for people, by title; the report, the command line and printing show these.

        Returns
        -------
        dict of pandas.DataFrame
        """
        tables = {f"Parameters: {self.table().attrs['cell']}": self.table()}
        if len(self.elpd):
            tables["Expected log predictive density, in nats; higher is better"] = _readable_elpd(self.elpd)
        tables["Diagnostics"] = _readable_diagnostics(self.diagnostics)
        if len(self.fits) > 1:
            tables["Agreement"] = self.agreement.table().map(lambda value: number(value, 2))
        return tables

    def __repr__(self):
        parts = [f"Comparison of {_listed(list(self.fits))}", "\n".join(self.conclusion)]
        parts += [f"{title}\n{_plain(table)}" for title, table in self.readable().items()]
        if self.notes:
            parts.append("Notes\n" + "\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts)

    def _repr_html_(self):
        from .report.html import fragment

        return fragment(self)


def compare(
    fits,
    *,
    X=None,
    y=None,
    folds: int | None = None,
    engine=None,
    reference: str | None = None,
    ci_prob: float = 0.89,
    random_seed=None,
    progressbar: bool = True,
) -> Any:
    """Put fits of the same data side by side.

    Components of fits with as many components are matched by the rows that they claim, so that component 0 is the
    same group everywhere. Fits of other families or with another number of components may take part: they share
    elpd, diagnostics and the agreement of densities and of classes, and have NaN among the parameters.

    Parameters
    ----------
    fits : dict of Fit, or sequence of Fit
        By name; a sequence is named by engine. Or fits of networks, `MDNFit`: these are judged by the density of rows
        that they were not fitted to. Or, with `folds`, a dict of specifications of networks, `MDN`.
    X, y : array_like, data frame or xarray object, optional
        Covariates and responses of those rows, for networks; with `folds`, all rows there are.
    folds : int, optional
        Networks are fitted to all parts of the rows but one, and judged by that one, for each of as many parts, the same
        for all of them (K-fold cross-validation).
    engine : function, or dict of functions by name, optional
        How they are fitted, called as ``engine(mdn, X, y, random_seed=..., progressbar=False)``: by default
        `bayesmix.map_estimate`; ``functools.partial(bm.advi, temperature=0.3)`` for example.
    reference : str, optional
        The fit to whose components the others are matched, and whose parameters are compared. The first if not given.
    ci_prob : float
        Probability of the intervals, equal-tailed.
    random_seed : int, numpy.random.Generator or None
        For the folds and the fits to them.
    progressbar : bool
        Show which fold is fitted?

    Returns
    -------
    Comparison, or NetworkComparison of networks

    Raises
    ------
    TypeError, ValueError
        If there are no fits, something else than a fit among them, or the fits are not of the same data.

    Examples
    --------
    >>> import bayesmix as bm
    >>> data = bm.datasets.load("faithful")["waiting"]
    >>> mixture = bm.Mixture(bm.Normal(), n_components=2)
    >>> fit = bm.em(mixture, data, uncertainty="laplace", random_seed=1, progressbar=False)
    >>> result = bm.compare({"EM": fit})
    """
    fits = _named(fits)
    networks = [isinstance(fit, MDNFit | MDN) for fit in fits.values()]
    if all(networks):
        return compare_networks(fits, X, y, folds, engine, random_seed, progressbar)
    if any(networks):
        raise TypeError(
            "mixtures and networks cannot be compared: a mixture describes the responses without covariates."
        )
    if not all(value is None for value in (X, y, folds, engine, random_seed)):
        raise TypeError(
            "X, y, folds, engine and random_seed are for networks; mixtures are compared by the rows they were fitted to."
        )
    check_probability(ci_prob)
    reference = next(iter(fits)) if reference is None else reference
    if reference not in fits:
        raise ValueError(f"reference={reference!r} is not the name of a fit; the names are {', '.join(fits)}.")
    check_same_data(fits)
    fits, posterior_of_labels, notes = _align(fits, reference)
    comparable = {name: fit for name, fit in fits.items() if _alike(fit, fits[reference])}
    others = [name for name in fits if name not in comparable]
    if others:
        notes.append(
            f"{_listed(others)} {'is' if len(others) == 1 else 'are'} of another family or number of components than "
            f"{reference}: parameters are not compared, all else is."
        )
    notes += [
        f'{name} has no standard errors: pass uncertainty="laplace" or "bootstrap" to bm.em for these, and for elpd.'
        for name, fit in fits.items()
        if fit.engine == "em" and not fit.has_draws
    ]
    parameters = _parameters(fits, comparable, reference, ci_prob)
    elpd, remarks, accuracy = _elpd(fits)
    notes += remarks
    template = _without_draws(fits[reference])
    draws = {name: _draws(fit) if name in comparable and fit.has_draws else None for name, fit in fits.items()}
    agreed = agreement(fits, posterior_of_labels, draws, _entries(comparable), template)
    conclusion = _conclude(fits, comparable, reference, parameters, agreed, accuracy)
    return Comparison(
        fits, reference, ci_prob, parameters, elpd, _diagnostics(fits), agreed, tuple(conclusion), tuple(notes)
    )


# -- what is compared ------------------------------------------------------------------------------------------------
def _named(fits) -> dict[str, Any]:
    if isinstance(fits, Fit | MDNFit):
        raise TypeError('fits is one fit; give a dict of names and fits, for example {"EM": mle, "NUTS": post}.')
    if isinstance(fits, Mapping):
        named = dict(fits)
    else:
        named = {}
        for fit in fits:
            name = start = ENGINES.get(getattr(fit, "engine", ""), getattr(fit, "engine", type(fit).__name__))
            count = 1
            while name in named:
                count += 1
                name = f"{start} {count}"
            named[name] = fit
    if not named:
        raise ValueError('there are no fits to compare; give at least one, for example {"EM": bm.em(mixture, data)}.')
    for name, fit in named.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"names of fits are text, but one is {name!r}.")
        if isinstance(fit, MDNFit | MDN):
            continue
        if not isinstance(fit, Fit):
            raise TypeError(
                f"{name!r} is of type {type(fit).__name__}; only fits, as the engines return them, can be compared."
            )
        if fit.data.n_obs == 0:
            raise ValueError(f"{name!r} has no data to compare on: {fit.why_no_data}.")
    return named


def check_same_data(fits) -> None:
    """Raise `ValueError` unless all fits, by name, are of the same rows with the same weights."""
    (first, fit), *others = fits.items()
    data = fit.data
    for name, other in others:
        own = other.data
        said = f"fits can be compared on the same data only, but {name!r} differs from {first!r}"
        if own.values.shape != data.values.shape:
            shapes = [f"{d.n_obs} rows and {d.n_features} column{'s' * (d.n_features != 1)}" for d in (own, data)]
            raise ValueError(f"{said}: {shapes[0]} instead of {shapes[1]}.")
        if own.named and data.named and own.feature != data.feature:
            raise ValueError(f"{said}: its columns are {', '.join(own.feature)} instead of {', '.join(data.feature)}.")
        if not np.array_equal(own.values, data.values):
            rows = np.flatnonzero((own.values != data.values).any(axis=1))
            raise ValueError(
                f"{said}: {len(rows)} of {data.n_obs} rows have other values, the first is obs {data.obs[rows[0]]}."
            )
        mine, given = (np.ones(d.n_obs) if d.weights is None else d.weights for d in (own, data))
        if not np.array_equal(mine, given):
            raise ValueError(f"{said}: its rows have other weights.")
        if not same_units(own.units, data.units):
            raise ValueError(f"{said}: its rows have other groups or known labels.")


def _align(fits, reference):
    """Fits with the components of the reference's order, their responsibilities, and what there is to say about it."""
    found = {name: responsibilities(fit) for name, fit in fits.items()}
    aligned, notes = {}, []
    for name, fit in fits.items():
        if fit.verdict not in TRUSTED and fit.has_draws and fit.engine != "em":
            notes.append(f"{name}: {spoken(fit)}")
        if name != reference and fit.mixture.n_components == fits[reference].mixture.n_components:
            groups = fit.mixture.exchangeable()
            order, margin = align_to(found[reference], found[name], groups)
            if margin < DOUBTFUL_MARGIN:
                notes.append(
                    f"The components of {name} could be matched to those of {reference} only doubtfully: another "
                    f"matching is worse by {margin:.1%} of the rows. Do not compare single components."
                )
            fit, found[name] = permuted(fit, order), found[name][:, order]
        aligned[name] = fit
    return aligned, found, notes


def permuted(fit: Fit, order: np.ndarray) -> Fit:
    """Make the same fit with its components in another order: component c is what `order[c]` was."""
    if np.array_equal(order, np.arange(fit.mixture.n_components)):
        return fit
    tree = xr.DataTree()
    dims = {"cluster", *(parameter.cluster_dim for parameter in fit.mixture.component.parameters)}
    for name, group in fit.tree.children.items():
        dataset = group.to_dataset()
        for dim in dims & set(map(str, dataset.dims)):
            labels = dataset[dim].values
            own = [labels.tolist().index(order[label]) for label in labels]
            dataset = dataset.isel({dim: own}).assign_coords({dim: labels})
        tree[name] = dataset
    tree.attrs = dict(fit.tree.attrs)
    return Fit(fit.mixture, tree)


def _alike(fit, other) -> bool:
    """Tell whether two fits have the same parameters, of the same shape."""
    first, second = fit.mixture.component, other.mixture.component
    return (
        type(first) is type(second)
        and fit.mixture.n_components == other.mixture.n_components
        and [parameter.name for parameter in first.parameters] == [parameter.name for parameter in second.parameters]
        and np.array_equal(fit.mixture.exchangeable(), other.mixture.exchangeable())
    )


# -- parameters ------------------------------------------------------------------------------------------------------
def _draws(fit) -> dict:
    """Draws of the parameters in group posterior, (draws, cluster, ...); of EM those of the sampling distribution."""
    posterior = parameters_of(fit, "posterior")
    return {str(n): a.values.reshape(-1, *a.shape[2:]) for n, a in posterior.data_vars.items()}


def _without_draws(fit) -> xr.Dataset:
    """Take the parameters, (cluster, ...), with their dims and coords."""
    dataset = parameters_of(fit, "point" if "point" in fit.tree.children else "posterior")
    return dataset.isel({dim: 0 for dim in ("chain", "draw") if dim in dataset.dims}, drop=True)


def _entries(fits: Mapping) -> list[Entry]:
    """Entries that any of these fits shows, in the order of the parameters."""
    groups = [parameters_of(fit, "posterior" if fit.has_draws else "point") for fit in fits.values()]
    order = [str(name) for name in groups[0].data_vars]
    found = {(e.variable, e.index): e for group in reversed(groups) for e in entries(group)}
    return sorted(found.values(), key=lambda e: (order.index(e.variable), e.index))


def _parameters(fits, comparable, reference, ci_prob) -> xr.Dataset:
    template = _without_draws(fits[reference])
    values = {str(n): np.full((len(fits), len(QUANTITIES), *a.shape), np.nan) for n, a in template.data_vars.items()}
    tails = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
    for i, (name, fit) in enumerate(fits.items()):
        if name not in comparable:
            continue
        estimates = fit.mixture.component.once(fit.estimates, 0)
        draws = _draws(fit) if fit.has_draws else {}
        for variable in values:
            values[variable][i, 0] = estimates[variable]
            if draws:
                values[variable][i, 1] = draws[variable].std(axis=0, ddof=1)
                values[variable][i, 2:] = np.quantile(draws[variable], tails, axis=0)
    dataset = xr.Dataset(
        {name: (("fit", "quantity", *template[name].dims), value) for name, value in values.items()},
        coords={"fit": list(fits), "quantity": list(QUANTITIES), **template.coords},
        attrs={"interval": f"equal-tailed, probability {ci_prob:g}", "ci_prob": ci_prob, "reference": reference},
    )
    bases = [basis(fit) if name in comparable else "not compared" for name, fit in fits.items()]
    dataset.coords["basis"] = "fit", bases
    return dataset


def basis(fit: Fit) -> str:
    """Say what the estimates and standard errors of a fit are."""
    if fit.engine == "em":
        uncertainty = fit.tree.attrs.get("uncertainty", "draws")
        method = "Laplace approximation" if uncertainty == "laplace" else uncertainty
        draws = f"standard deviation of its sampling distribution ({method})" if fit.has_draws else "none"
        return f"maximum-likelihood estimate; standard error: {draws}"
    if not fit.has_draws:
        return "parameters as given"
    kind = "variational posterior" if fit.engine == "advi" else "posterior"
    return f"{kind} mean; standard error: {kind} standard deviation"


def _cell(quantities) -> str:
    """One cell of the table: the estimate, its standard error, the interval."""
    estimate, se, lower, upper = quantities
    if not np.isfinite(estimate):
        return ""
    if not np.isfinite(se):
        return number(estimate, 4)
    return f"{number(estimate, 2, se)} ± {number(se, 2)} [{number(lower, 2, se)}, {number(upper, 2, se)}]"


# -- predictive accuracy ---------------------------------------------------------------------------------------------
def _elpd(fits):
    """Make the table of elpd, notes, and a sentence on the differences."""
    import pandas as pd

    found, bases, notes = {}, {}, []
    for name, fit in fits.items():
        if not fit.has_draws:
            if fit.engine != "em":
                notes.append(f"{name} has no draws, hence no elpd.")
            else:
                notes.append(f"{name} has no elpd, which needs draws; its BIC, AIC and ICL are in the diagnostics.")
        elif not np.all(np.isfinite(fit.tree["log_likelihood/x"].values)):
            notes.append(f"{name} has no elpd: under some of its draws a row is impossible (log density -inf).")
        elif fit.tree["log_likelihood/x"].shape[-1] < 2:
            notes.append(f"{name} has no elpd: there is one row only.")
        else:
            found[name], bases[name] = leave_one_out(fit)
    if not found:
        columns = ["rank", "elpd", "se", "elpd_diff", "dse", "weight", "khat_max", "khat_bad", "n_rows", "basis"]
        return pd.DataFrame(columns=columns), notes, None
    table = _rank(found)
    khat = {name: np.asarray(loo.pareto_k) for name, loo in found.items()}
    table["khat_max"] = [float(khat[name].max()) for name in table.index]
    table["khat_bad"] = [int((khat[name] > found[name].good_k).sum()) for name in table.index]
    table["n_rows"] = [khat[name].size for name in table.index]
    table["basis"] = [bases[name] for name in table.index]
    for name in table.index:
        if bad := int(table.loc[name, "khat_bad"]):
            notes.append(
                f"{name}: {_rows(bad)} of {khat[name].size} ha{'s' if bad == 1 else 've'} a Pareto k above "
                f"{found[name].good_k:.2f} (largest {table.loc[name, 'khat_max']:.2f}): its elpd is not reliable. "
                "Its fit.loo() says which and why, and can repair them."
            )
    if len({fits[name].mixture.component.discrete for name in found}) > 1:
        notes.append("Families of counts and of continuous values are compared: their elpd are per unit of the data.")
    if next(iter(fits.values())).data.weights is not None:
        notes.append("Rows have weights: elpd leaves out a row with all its weight at once.")
    return table, notes, _accuracy(found, table) if len(found) > 1 else None


def _rank(found: dict):
    """Make the table of `arviz.compare`, best first."""
    import arviz as az
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small differences and few rows: columns diag_diff and diag_elpd say so
        table = pd.DataFrame(az.compare(found, method="stacking", round_to="none"))
    return table.rename_axis("method")


def _diagnostics(fits):
    import pandas as pd

    rows = []
    for fit in fits.values():
        attrs, maximum = fit.tree.attrs, fit.engine in ("em", "parameters")
        row = {"engine": fit.engine, "components": fit.mixture.n_components, "converged": fit.converged}
        row |= {"verdict": fit.verdict, "message": fit.message}
        wanted = ("rhat_raw", "rhat_relabelled", "rhat_invariant", "ess_raw", "ess_relabelled", "ess_invariant")
        row |= {name: float(attrs.get(name, np.nan)) for name in (*wanted, "divergences", "khat")}
        row |= {"log_likelihood": fit.log_likelihood, "n_parameters": fit.n_parameters}
        row |= {name: getattr(fit, name) if maximum else np.nan for name in ("bic", "aic", "icl")}
        rows.append(row | {"seconds": float(attrs.get("seconds", np.nan))})
    return pd.DataFrame(rows, index=pd.Index(list(fits), name="method"))


# -- words -----------------------------------------------------------------------------------------------------------
def _conclude(fits, comparable, reference, parameters, agreed, accuracy) -> list[str]:
    """Say what the comparison comes to."""
    sentences = []
    trusted = [name for name, fit in fits.items() if fit.engine in POSTERIOR and fit.verdict in TRUSTED]
    for name, fit in fits.items():
        if not fit.converged or (fit.engine in POSTERIOR and fit.verdict not in TRUSTED):
            sentences.append(f"Mind {name}: {spoken(fit)}")
        khat = fit.tree.attrs.get("khat", np.nan)
        if khat > KHAT:
            sentences.append(
                f"By its k-hat of {khat:.2f} (limit {KHAT}) {name} approximates the posterior poorly: "
                + (f"rely on the intervals of {trusted[0]}." if trusted else "use bm.nuts for intervals.")
            )
    yardstick = trusted[0] if trusted else reference
    sentences += [_pair(name, yardstick, comparable, parameters, agreed) for name in fits if name != yardstick]
    sentences += [
        said
        for name in comparable
        if name != yardstick and yardstick in comparable and (said := _widths(name, yardstick, comparable, parameters))
    ]
    if accuracy:
        sentences.append(accuracy)
    if not sentences:
        sentences.append(f"{reference}: {fits[reference].message}")
    return sentences


def spoken(fit: Fit) -> str:
    """Say the verdict and the message of a fit, the verdict once."""
    begins = fit.message.lower().startswith(fit.verdict.partition(" (")[0].lower())
    return fit.message if begins or fit.verdict == "converged" else f"{fit.verdict}. {fit.message}"


def _pair(name, yardstick, comparable, parameters, agreed) -> str:
    """How far one fit agrees with the yardstick."""
    i = _find(agreed, name, yardstick)
    alike = float(agreed.classification["alike"][i])
    variation = float(agreed.density["total_variation"][i])
    n = len(agreed.rows)
    density = f"the fitted densities are {variation:.2g} apart (total variation; 0 is the same, 1 disjoint)"
    if name not in comparable or yardstick not in comparable:
        rand = float(agreed.classification["rand"][i])
        apart = density if np.isfinite(variation) else "their densities cannot be compared"
        return (
            f"{name} and {yardstick} are different mixtures: {apart}; the adjusted Rand index of their classes is "
            f"{rand:.2f}."
        )
    both = {name: comparable[name], yardstick: comparable[yardstick]}
    steps = [(abs(_at(parameters, e, name, 0) - _at(parameters, e, yardstick, 0)), e) for e in _entries(both)]
    scales = [np.nanmax([_at(parameters, e, yardstick, 1), -1.0]) for _, e in steps]
    own = [np.nanmax([_at(parameters, e, name, 1), -1.0]) for _, e in steps]
    scales = [s if s > 0 else o for s, o in zip(scales, own, strict=True)]
    classified = f"{round(alike * n)} of {n} rows are classified alike"
    sized = [(d / s, e.label) for (d, e), s in zip(steps, scales, strict=True) if s > 0]
    if not sized:
        return f"{name} and {yardstick}: {classified}; {density}."
    largest, label = max(sized)
    posterior = comparable[yardstick].engine in (*POSTERIOR, "advi")
    unit = "posterior standard deviations" if posterior else "standard errors"
    verb = "agree roughly"
    if largest <= CLOSE and alike >= 0.95:
        verb = "agree"
    elif largest > FAR or alike < 0.9:
        verb = "differ"
    return (
        f"{name} and {yardstick} {verb}: the largest difference of an estimate is {number(largest, 2)} {unit} "
        f"({label}), {classified}, and {density}."
    )


def _widths(name, yardstick, comparable, parameters) -> str:
    """Write a sentence on standard errors that differ from the yardstick's, or nothing."""
    ratios = []
    for e in _entries({name: comparable[name], yardstick: comparable[yardstick]}):
        own, other = _at(parameters, e, name, 1), _at(parameters, e, yardstick, 1)
        if own > 0 and other > 0:
            ratios.append((own / other, e.label))
    if not ratios:
        return ""
    (least, narrowest), (most, widest) = min(ratios), max(ratios)
    if least >= 1 / WIDTH and most <= WIDTH:
        return ""
    return (
        f"Standard errors of {name} are {number(least, 2)} ({narrowest}) to {number(most, 2)} ({widest}) times those "
        f"of {yardstick}."
    )


def _accuracy(found: dict, table) -> str:
    """Write a sentence on the differences in elpd, of methods that are reliable in at least 95 % of the rows."""
    doubtful = list(table.index[table["khat_bad"] > 0.05 * table["n_rows"]])
    caveat = f" That of {_listed(doubtful)} is not reliable: Pareto k is too large in many rows." if doubtful else ""
    found = {name: loo for name, loo in found.items() if name not in doubtful}
    if len(found) < 2:
        return f"Expected predictive accuracy (elpd) cannot be compared.{caveat}"
    ranked = _rank(found)
    ahead = {str(name): (-row["elpd_diff"], row["dse"]) for name, row in ranked.iloc[1:].iterrows()}
    clear = {name: pair for name, pair in ahead.items() if pair[0] > max(2 * pair[1], SAME_ELPD)}
    if not clear:
        largest = max(difference for difference, _ in ahead.values())
        return (
            f"Expected predictive accuracy (elpd) is about the same: differences are at most {number(largest, 2)} "
            f"nats, less than {SAME_ELPD:g} or than twice their standard error.{caveat}"
        )
    said = _listed([f"{name} by {difference:.1f} ± {error:.1f} nats" for name, (difference, error) in clear.items()])
    return f"{ranked.index[0]} is expected to predict new rows best (elpd): it is ahead of {said}.{caveat}"


def _at(parameters, entry, method, quantity) -> float:
    return float(parameters[entry.variable].sel({"fit": method}).values[quantity, *entry.index])


def _find(agreed, a, b) -> int:
    pairs = list(zip(agreed.density["first"].values, agreed.density["second"].values, strict=True))
    return pairs.index((a, b)) if (a, b) in pairs else pairs.index((b, a))


def _listed(names) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _rows(n) -> str:
    return f"{n} row{'s' * (n != 1)}"


# -- tables for people -----------------------------------------------------------------------------------------------
def _readable_elpd(elpd):
    import pandas as pd

    def with_error(value, error):
        return f"{number(value, 2, max(error, 1.0))} ± {number(error, 2)}" if error > 0 else "best"

    return pd.DataFrame(
        {
            "elpd ± se": [f"{e:.1f} ± {s:.1f}" for e, s in zip(elpd["elpd"], elpd["se"], strict=True)],
            "difference ± its se": [with_error(d, s) for d, s in zip(elpd["elpd_diff"], elpd["dse"], strict=True)],
            "stacking weight": [f"{w:.2f}" for w in elpd["weight"]],
            "largest Pareto k": [f"{k:.2f}" for k in elpd["khat_max"]],
            "rows with too large a k": [str(k) for k in elpd["khat_bad"]],
            "rests on": list(elpd["basis"]),
        },
        index=elpd.index,
    )


DIAGNOSTICS = {  # column: how it is called, and how its values are written
    "components": ("components", str),
    "n_parameters": ("free parameters", str),
    "verdict": ("verdict", str),
    "log_likelihood": ("log-likelihood (EM: at the estimate; else average over draws)", "{:.2f}".format),
    "bic": ("BIC", "{:.2f}".format),
    "aic": ("AIC", "{:.2f}".format),
    "icl": ("ICL", "{:.2f}".format),
    "rhat_raw": ("largest R-hat, draws as sampled", "{:.3f}".format),
    "rhat_relabelled": ("largest R-hat, relabelled", "{:.3f}".format),
    "rhat_invariant": ("largest R-hat, label-free quantities", "{:.3f}".format),
    "ess_relabelled": ("smallest bulk ESS, relabelled", "{:.0f}".format),
    "ess_invariant": ("smallest bulk ESS, label-free quantities", "{:.0f}".format),
    "divergences": ("divergent transitions", "{:.0f}".format),
    "khat": ("k-hat of the approximation", "{:.2f}".format),
    "seconds": ("seconds", lambda value: number(value, 2)),
}


def _readable_diagnostics(table):
    """Quantities in rows, methods in columns; rows that no method has are left out."""
    import pandas as pd

    rows = {}
    for column, (called, write) in DIAGNOSTICS.items():
        if table[column].notna().any():
            rows[called] = ["" if pd.isna(value) else write(value) for value in table[column]]
    return pd.DataFrame(rows, index=table.index).T.rename_axis(None, axis="columns")


def _plain(table) -> str:
    """Write a data frame of text as plain text, whole."""
    return table.rename_axis(index=None).to_string(justify="left")
