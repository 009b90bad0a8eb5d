"""`Fit`: what every engine returns. Estimates, predictions and persistence, on an xarray DataTree that ArviZ reads."""

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from . import prediction
from .arrays import Data, as_data
from .likelihood import formula
from .likelihood.units import responsibilities as units_responsibilities
from .mixture import Mixture
from .randomness import generator
from .units import UNKNOWN, Units, n_units, with_units, without_columns

POINTWISE_CELLS = 5e7  # of group log_likelihood (400 MB): beyond, it holds evenly spaced draws only
PREDICTIVE_DRAWS = 200  # replicated data sets kept in group posterior_predictive


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted mixture: the specification and everything that an engine found, in one tree.

    ``tree`` is an `xarray.DataTree` with groups as ArviZ names them: ``posterior`` (chain, draw, cluster, ...),
    ``sample_stats``, ``log_likelihood`` (one number per row, or per group of rows; of large data at evenly spaced draws),
    ``log_prior`` where the priors have a formula, ``posterior_predictive``, ``observed_data``, ``constant_data`` and
    ``labels`` (the permutation applied to each draw). A fit by EM holds its estimate in group ``point``, the objective in
    ``trace``, and in ``posterior`` draws from its sampling distribution if they were asked for, with ``standard_error``
    beside them where there is a formula.
    Parameters are called ``weights`` and as in PyMC.

    A fit is never changed: `bayesmix.relabel` and others return a new one.
    """

    mixture: Mixture
    tree: xr.DataTree

    # -- making ----------------------------------------------------------------------------------------------------------
    @classmethod
    def assemble(
        cls,
        mixture,
        data,
        *,
        point=None,
        draws=None,
        standard_error=None,
        trace=None,
        starts=None,
        groups=None,
        attrs=None,
        rng=None,
    ) -> "Fit":
        """Build a fit from what an engine found.

        Parameters
        ----------
        mixture : Mixture
        data : Data
        point : dict, optional
            Estimated parameters.
        draws : dict, optional
            Draws of the parameters, (chain, draw, cluster, ...).
        standard_error : dict, optional
            Standard errors of the parameters by a formula, shaped like `point`.
        trace, starts : optional
            Objective by iteration, and what the restarts found: both of EM.
        groups : dict of xarray.Dataset, optional
            Further groups, such as ``sample_stats``.
        attrs : dict, optional
            What to record about the run: numbers and text.
        rng : numpy.random.Generator, optional
            For the posterior predictive draws.
        """
        from . import __version__

        data = data.copied()
        tree = xr.DataTree()
        coords = _coords(mixture, data)
        if draws is not None:
            tree["posterior"] = _dataset(mixture, draws, ("chain", "draw"), coords)
        if point is not None:
            tree["point"] = _dataset(mixture, point, (), coords)
        if standard_error is not None:
            tree["standard_error"] = _dataset(mixture, standard_error, (), coords)
        shape, dims = (
            (data.modelled, ("obs", "feature")) if mixture.component.multivariate else (data.values[:, 0], ("obs",))
        )
        tree["observed_data"] = xr.Dataset({"x": (dims, shape)}, coords={d: coords[d] for d in dims})
        if (constants := constant_data(data)) is not None:
            tree["constant_data"] = constants
        if trace is not None:
            tree["trace"] = xr.Dataset({"objective": (("iteration",), trace)})
        if starts is not None:
            tree["starts"] = xr.Dataset({name: (("optimum",), value) for name, value in starts.items()})
        for name, group in (groups or {}).items():
            tree[name] = group
        free = mixture.component.n_free(mixture.n_components, data.n_features)
        tree.attrs = {
            **(attrs or {}),
            "n_parameters": int(mixture.weights.n_free(mixture.n_components) + free + mixture.component.n_profiled),
            "feature_names": _labels(data.feature),
            "given_names": _labels(data.given),
            "named_features": int(data.named),
            "label_names": json.dumps([] if data.units is None else list(data.units.label_names)),
            "mixture": json.dumps(mixture.to_dict()),
            "created_by": f"bayesmix {__version__}",
        }
        fit = cls(mixture, tree)
        _add_pointwise(fit, data, np.random.default_rng(rng))
        if draws is not None and point is None and data.n_obs > 0:
            from .log_prior import log_prior

            densities = log_prior(mixture, data, draws)
            if densities is not None:
                tree["log_prior"] = densities
        return fit

    @classmethod
    def from_parameters(cls, mixture: Mixture, data=None, **params) -> "Fit":
        """Make a fit from known parameters: to predict with them, or to start an engine there.

        Parameters
        ----------
        mixture : Mixture
            The specification.
        data : array_like, data frame or xarray object, optional
            Data to score the parameters on; they give the features their names.
        **params : array_like
            ``weights`` (cluster,) and every parameter of the family by its name, the component axis first:
            ``Fit.from_parameters(mixture, weights=[.4, .6], mu=[0, 3], sigma=[1, 1])``.

        Raises
        ------
        TypeError, ValueError
            If a parameter is missing, unknown, of the wrong shape or outside its support.
        """
        names = ["weights", *(parameter.name for parameter in mixture.component.parameters)]
        missing, unknown = [n for n in names if n not in params], [n for n in params if n not in names]
        if missing or unknown:
            said = "; ".join(
                f"{word} {', '.join(which)}" for word, which in (("missing", missing), ("unknown", unknown)) if which
            )
            raise TypeError(f"the parameters of this mixture are {', '.join(names)}: {said}.")
        weights = np.asarray(params["weights"], dtype=float)
        if weights.shape != (mixture.n_components,):
            raise ValueError(
                f"weights has shape {weights.shape}, but {mixture.n_components} components need ({mixture.n_components},)."
            )
        if not np.all(weights >= 0) or not np.isclose(weights.sum(), 1.0, rtol=0, atol=1e-8):
            raise ValueError(
                f"weights must be nonnegative and sum to 1, but they are {weights} with sum {weights.sum():.10g}."
            )
        known = mixture.weights.known
        if known is not None and not np.allclose(weights, known, rtol=0, atol=1e-8):
            raise ValueError(f"weights are fixed at {known}, but they are {weights}.")
        point = {"weights": weights / weights.sum() if known is None else known}
        if data is not None:
            mixture = mixture.resolved(mixture.check(data))
        point |= mixture.component.check_parameters({n: params[n] for n in names[1:]}, mixture.n_components)
        attrs = {"engine": "parameters", "converged": 1, "message": "Parameters as given."}
        if data is None:
            d, given = mixture.component.n_features_of(point), mixture.component.given
            free = tuple(j for j in range(d + len(given)) if j not in given)[:d]
            checked = Data(np.empty((0, d + len(given))), free, False, np.arange(0), None, given)
        else:
            checked = mixture.check(data)
            from .likelihood.likelihood import Likelihood

            attrs["log_likelihood"] = Likelihood.of(mixture, checked).log_likelihood(point)
        return cls.assemble(mixture, checked, point=point, attrs=attrs)

    # -- what was found ---------------------------------------------------------------------------------------------------
    @property
    def engine(self) -> str:
        """Which engine made this fit: "em", "online_em", "nuts", "gibbs", "laplace", "advi", or "parameters"."""
        return self.tree.attrs["engine"]

    @property
    def converged(self) -> bool:
        """Did the engine converge? `message` says how."""
        return bool(self.tree.attrs["converged"])

    @property
    def message(self) -> str:
        """How the run ended, in words, and what to do if it did not end well."""
        return self.tree.attrs["message"]

    @property
    def verdict(self) -> str:
        """One of the outcomes of `bayesmix.labels.judge` for posterior draws; for EM whether it converged."""
        return self.tree.attrs.get("verdict", "converged" if self.converged else "not converged")

    @property
    def data(self) -> Data:
        """The data of the fit, (obs, feature), with names and row weights; without rows if they were not in memory."""
        x = self.tree["observed_data"].dataset["x"]
        values = np.ascontiguousarray(x.values if x.ndim == 2 else x.values[:, None])
        paths = self._paths
        constants = self.tree["constant_data"].dataset if "constant_data" in self.tree.children else {}
        weights = constants["row_weights"].values if "constant_data/row_weights" in paths else None
        feature = tuple(json.loads(self.tree.attrs["feature_names"]))
        given = tuple(json.loads(self.tree.attrs.get("given_names", "[]")))
        if given:
            values = np.concatenate([values, constants["given"].values], axis=1)
        units = units_of(constants, tuple(json.loads(self.tree.attrs.get("label_names", "[]"))))
        return Data(values, feature, bool(self.tree.attrs["named_features"]), x["obs"].values, weights, given, units)

    @property
    def n_obs(self) -> int:
        """Number of rows that were fitted, whether they are kept in `data` or not."""
        return int(self.tree.attrs.get("n_rows", self.data.n_obs))

    @property
    def total_weight(self) -> float:
        """Sum of the weights of the rows that were fitted; their number when there are none."""
        return float(self.tree.attrs.get("total_weight", self.data.total_weight))

    @property
    def n_units(self) -> float:
        """Number of groups that were fitted, by weight, where rows were grouped; else `total_weight`."""
        data = self.data
        return n_units(data) if data.units is not None else self.total_weight

    @property
    def label_names(self) -> tuple:
        """Names of components 0, 1, ... where known labels were given as text; otherwise empty."""
        return tuple(json.loads(self.tree.attrs.get("label_names", "[]")))

    @property
    def why_no_data(self) -> str:
        """Why this fit has no rows, and what gives it some: part of an error message."""
        if "n_rows" in self.tree.attrs:
            return (
                "it was fitted to data that are not in memory and keeps no rows; give it some of them with "
                "bm.Fit.from_parameters(fit.mixture, rows, **fit.estimates)"
            )
        if "derived" in self.tree.attrs:
            return f"it was made from another fit and has no rows of its own ({self.tree.attrs['derived']})"
        return "it has no data; pass data= to Fit.from_parameters"

    @property
    def _paths(self):
        return {f"{name}/{variable}" for name, group in self.tree.children.items() for variable in group.data_vars}

    @property
    def has_draws(self) -> bool:
        """Are there draws of the parameters?"""
        return "posterior" in self.tree.children

    @property
    def estimates(self) -> dict:
        """Parameters by name, (cluster, ...) arrays: the estimate of EM, the posterior mean of the others."""
        if "point" in self.tree.children:
            return self._values("point")
        return {name: value.mean(axis=(0, 1)) for name, value in self._values("posterior").items()}

    @property
    def _names(self):
        return ["weights", *(parameter.name for parameter in self.mixture.component.parameters)]

    def _values(self, group: str) -> dict:
        """Parameters of a group by name, (..., cluster, ...): those that the components share are repeated for each."""
        dataset, k = self.tree[group].dataset, self.mixture.n_components
        found = {name: dataset[name].values for name in self._names}
        return self.mixture.component.for_each(found, found["weights"].ndim - 1, k)

    @property
    def draws(self) -> dict:
        """Parameters by name, (draws, cluster, ...) with the chains one after another; one draw for a point estimate."""
        if "point" in self.tree.children:
            return {name: value[None] for name, value in self.estimates.items()}
        return self.posterior_draws

    @property
    def posterior_draws(self) -> dict:
        """Draws of group ``posterior`` by name, (draws, cluster, ...), the chains one after another."""
        return {name: value.reshape(-1, *value.shape[2:]) for name, value in self._values("posterior").items()}

    @property
    def standard_errors(self) -> xr.Dataset:
        r"""Standard errors of the estimates of EM, variables and dims as in group ``point``.

        With ``uncertainty="laplace"`` group ``standard_error``: :math:`\sqrt{J I^{-1} J'}`, the delta method, with I the
        observed information in free coordinates (Louis 1982) and J the derivatives of the parameter in them. With a
        bootstrap the standard deviation over the replicates (Efron 1979). What is fixed has 0.
        """
        self._need_em("standard_errors")
        if "standard_error" in self.tree.children:
            return self.tree["standard_error"].to_dataset()
        if not self.has_draws:
            raise AttributeError(
                'this fit has no standard errors: pass uncertainty="laplace" or "bootstrap" to bm.em; '
                "where that was done, the message says why there are none."
            )
        return self.tree["posterior"].to_dataset()[self._names].std(("chain", "draw"), ddof=1)

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of the data in nats: at the estimate (EM), averaged over the draws (posterior)."""
        if "log_likelihood" in self.tree.attrs:
            return float(self.tree.attrs["log_likelihood"])
        if "log_likelihood" not in self.tree.children:
            why = self.tree.attrs.get("derived", self.why_no_data).rstrip(".")
            raise ValueError(f"there is no log-likelihood of this fit: {why}.")
        pointwise = self.tree["log_likelihood"].dataset["x"]
        return float(pointwise.sum(set(pointwise.dims) - {"chain", "draw"}).mean())

    @property
    def n_parameters(self) -> int:
        """Number of free parameters, weights included."""
        return int(self.tree.attrs["n_parameters"])

    @property
    def trace(self) -> xr.DataArray:
        """Objective of EM after each iteration, in nats: the log-likelihood plus the guard. It never decreases."""
        self._need_em("trace")
        return self.tree["trace"].dataset["objective"]

    @property
    def bic(self) -> float:
        """Bayesian information criterion -2 L + p log n, n the total weight of the rows; smaller is better (EM).

        Where rows are grouped n is that of the groups, which are what is independent.
        """
        self._need_em("bic")
        return -2.0 * self.log_likelihood + self.n_parameters * float(np.log(self.n_units))

    @property
    def aic(self) -> float:
        """Akaike's information criterion -2 L + 2 p; smaller is better (EM)."""
        self._need_em("aic")
        return -2.0 * self.log_likelihood + 2.0 * self.n_parameters

    @property
    def icl(self) -> float:
        """Integrated completed likelihood: BIC - 2 sum log r of each row's, or group's, most likely component (EM).

        Biernacki, Celeux & Govaert (2000); smaller is better, as for BIC.
        """
        self._need_em("icl")
        data = self.data
        if data.n_obs == 0:
            raise ValueError(f"icl needs the responsibilities of all rows, but {self.why_no_data}.")
        largest = np.asarray(self.responsibilities(data)).max(axis=1)
        weights = np.ones(data.n_obs) if data.weights is None else data.weights
        if data.units is not None:
            first = data.units.first_rows
            largest, weights = largest[first], weights[first]
        return self.bic - 2.0 * float(np.sum(weights * np.log(largest)))

    def _need_em(self, what):
        if self.engine not in ("em", "online_em", "parameters"):
            raise AttributeError(
                f"{what} belongs to a maximum-likelihood fit, but this one is by {self.engine.upper()}; "
                "bm.compare gives elpd, which all engines have."
            )

    # -- tables and pictures ------------------------------------------------------------------------------------------------
    def summary(self, ci_prob: float = 0.89):
        """Table of the estimates, one row per parameter, component and feature.

        With draws the columns are ArviZ's: mean, sd, equal-tailed interval, effective sample sizes, R-hat, Monte Carlo
        errors. Without, the estimate alone. The table's ``attrs["message"]`` repeats the fit's message; where the
        labels of the components are not to be trusted, a `UserWarning` says so.

        Parameters
        ----------
        ci_prob : float
            Probability of the interval.

        Returns
        -------
        pandas.DataFrame
        """
        from .tables import summarise

        return summarise(self, ci_prob)

    def loo(self, repair: str | None = None, *, random_seed=None, progressbar: bool = True):
        """Expected log predictive density by leave-one-out cross-validation, with the rows explained that it fails for.

        By Pareto-smoothed importance sampling (Vehtari, Gelman & Gabry 2017). Rows with a high Pareto k-hat change the
        posterior so much that its draws cannot be reweighted to do without them: the result says which they are, which
        component each of them keeps alive, and what is left of the component without it.

        Parameters
        ----------
        repair : {"moment matching", "refit"}, optional
            For the rows with a high k-hat. "moment matching" moves the draws until their weights are good (Paananen,
            Piironen, Bürkner & Vehtari 2021), for fits by `bayesmix.nuts` or `bayesmix.gibbs`: quick, and its k-hat
            says whether it worked. "refit" samples the posterior without the row: exact, one fit for each row.
        random_seed : int, numpy.random.Generator or None
            For refits.
        progressbar : bool
            Show the progress of a repair.

        Returns
        -------
        bayesmix.leave_one_out.result.LeaveOneOut
            ArviZ's result (``elpd``, ``se``, ``p``, ``elpd_i``, ``pareto_k``), which `arviz.compare` and
            `arviz.plot_khat` take as it is, with ``influential`` (a table), ``explanation`` (sentences) and ``basis``.
            An interrupt (Ctrl-C) during a repair keeps the rows repaired so far.

        Raises
        ------
        ValueError
            If the fit has no draws or no rows, or cannot be repaired in this way.
        """
        from .leave_one_out.result import loo

        return loo(self, repair, random_seed=random_seed, progressbar=progressbar)

    def plot(self, **kwargs):
        """Draw the fitted density over the data, with the components and, for a posterior, a band.

        See `bayesmix.plots.density`; returns a matplotlib Figure.
        """
        from .plots.density import plot_fit

        return plot_fit(self, **kwargs)

    # -- prediction ---------------------------------------------------------------------------------------------------------
    def _rows(self, x, missing: bool = True) -> Data:
        data, component = self.data, self.mixture.component
        labels = data.feature + data.given
        if isinstance(x, Data) and (x.feature, x.given) == (data.feature, data.given) and (missing or not x.missing):
            return x
        if (made := component.read_rows(x)) is not None:
            return made
        read: dict = {"missing": missing and component.takes_missing, "given": data.given}
        if data.named:
            rows = as_data(x, feature=labels, **read)
            return rows.arranged(range(data.n_features), range(data.n_features, len(labels)))
        if any(isinstance(name, str) for name in labels):  # only those that are given have names
            return component.arrange(as_data(x, **read))
        rows = as_data(x, feature=tuple(range(len(set(labels)))), **read)
        return rows.arranged(data.feature, data.given)

    def logpdf(self, x, interval: float | None = None):
        """Log density of the mixture at rows x, in nats; log probability for discrete families.

        For a posterior, the log of the density averaged over the draws: the posterior predictive density.

        Parameters
        ----------
        x : array_like, data frame or xarray object
            Rows; named columns are matched by name. Of a row with missing cells it is the density of the others.
        interval : float, optional
            Probability of an equal-tailed interval over the draws.

        Returns
        -------
        xarray.DataArray (obs), or xarray.Dataset with ``estimate``, ``lower``, ``upper`` if an interval is asked for
        """
        return prediction.over_rows(self, self._rows(x), _logpdf, ("obs",), interval, average=prediction.log_mean_exp)

    def cdf(self, x, interval: float | None = None):
        """P(X <= x), for every feature at once if there are several; averaged over the draws of a posterior.

        Parameters and returns are those of `logpdf`, but no cell may be missing. With several features each probability is
        an integral, so that at most 100 draws are used, evenly spaced.
        """
        most = 100 if self.data.n_features > 1 else None
        return prediction.over_rows(self, self._rows(x, missing=False), _cdf, ("obs",), interval, most_draws=most)

    def quantile(self, q, interval: float | None = None, *, data=None):
        """Quantile of the mixture: the smallest x at which its cdf reaches q. For vectors, of each feature by itself.

        Parameters
        ----------
        q : float or array_like
            Probabilities strictly between 0 and 1.
        interval : float, optional
            Probability of an equal-tailed interval over the draws.
        data : data frame or xarray object, optional
            Rows with the covariates of a regression, whose quantiles differ from row to row.

        Returns
        -------
        xarray.DataArray (quantile[, feature]), or xarray.Dataset as in `logpdf`; with `data` (quantile, obs)
        """
        if data is None:
            return prediction.quantiles(self, q, interval)
        if interval is not None:
            raise ValueError(
                "quantiles of rows have no interval over the draws; leave interval out, or use fit.predict."
            )
        return prediction.row_quantiles(self, q, self._rows_without_response(data))

    def predict(self, data, interval: float | None = None) -> xr.Dataset:
        """Mean of the response at rows, of the mixture and of each component; averaged over the draws of a posterior.

        Parameters
        ----------
        data : data frame or xarray object
            Rows with the covariates of a regression; the response need not be there.
        interval : float, optional
            Probability of an equal-tailed interval over the draws: of the mean, not of the response, for which there is
            `quantile`.

        Returns
        -------
        xarray.Dataset
            ``mean`` (obs) and ``component_mean`` (obs, cluster); with an interval also their ``_lower`` and ``_upper``.

        Raises
        ------
        ValueError
            If covariates are missing or unknown, or the family has no mean.
        """
        return prediction.predict(self, self._rows_without_response(data), interval)

    def _rows_without_response(self, data) -> Data:
        made = self.mixture.component.read_rows(data, needs_response=False)
        return self._rows(data) if made is None else made

    def responsibilities(self, x=None, interval: float | None = None, *, labels=None, group=None):
        """Probability that each row comes from each component; averaged over the draws of a posterior.

        Parameters
        ----------
        x : array_like, data frame or xarray object, optional
            Rows, as for `logpdf`; the rows of the fit, with their groups and known labels, if not given.
        interval : float, optional
            Probability of an equal-tailed interval over the draws.
        labels, group : array_like (obs,) or str, optional
            Known components of these rows, and groups whose rows share a component, as for `bayesmix.em`.

        Returns
        -------
        xarray.DataArray (obs, cluster), or xarray.Dataset as in `logpdf`
            All rows of a group have the same.
        """
        rows = self._rows_of_units(x, labels, group)
        if rows.units is None:
            return prediction.over_rows(self, rows, _responsibilities, ("obs", "cluster"), interval)
        return prediction.over_rows(self, rows, units_responsibilities, ("obs", "cluster"), interval, by_units=True)

    def _rows_of_units(self, x, labels, group) -> Data:
        """Rows with what is known of their components."""
        if x is None:
            if self.data.n_obs == 0:
                raise ValueError(f"there are no rows: {self.why_no_data}.")
            x = self.data
        if labels is not None or group is not None:
            x, (labels, group) = without_columns(x, labels, group)
        return with_units(self._rows(x), labels, group, self.mixture.n_components)

    def classify(self, x=None, *, labels=None, group=None) -> xr.DataArray:
        """Most probable component of each row, (obs,); parameters are those of `responsibilities`."""
        responsibilities = xr.DataArray(self.responsibilities(x, labels=labels, group=group))
        return responsibilities.argmax("cluster").rename("cluster")

    def impute(
        self, data=None, *, interval: float | None = None, draws: int | None = None, random_seed=None
    ) -> xr.Dataset:
        """Estimate missing cells from the cells that are there, and say how surely.

        The mean and standard deviation of a missing cell given the others of its row, over components, weighted by how
        probable they are for this row, and over the draws of the parameters: those of a posterior, those of the sampling
        distribution of an estimate if it has some, otherwise the estimate alone. It is assumed that what is missing
        depends, if on anything, on cells that are there (missing at random, Rubin 1976).

        Parameters
        ----------
        data : array_like, data frame or xarray object, optional
            Rows; those of the fit if not given. Named columns are matched by name.
        interval : float, optional
            Probability of an equal-tailed interval, by 4000 draws of each cell.
        draws : int, optional
            Draw so many completed data sets (multiple imputation), each at a draw of the parameters of its own.
        random_seed : int, numpy.random.Generator or None
            For the interval and the draws.

        Returns
        -------
        xarray.Dataset
            ``estimate`` and ``sd``, (obs, feature), or (obs,) for families on one column; ``lower`` and ``upper`` with an
            interval, ``draws`` (imputation, obs, feature). Cells that are there keep their value, with sd 0.

        Raises
        ------
        ValueError
            If the fit keeps no rows and none are given, the family takes no missing cells, or an argument is out of range.
        """
        from .imputation import impute

        rows = self.data if data is None else self._rows(data)
        if rows.n_obs == 0:
            raise ValueError(f"there are no rows to impute: {self.why_no_data}.")
        return impute(self, rows, interval, draws, generator(random_seed))

    def sample(self, n: int | None = None, random_seed=None, *, data=None) -> xr.DataArray:
        """Draw n new rows from the mixture; for a posterior, from the posterior predictive distribution.

        Parameters
        ----------
        n : int
            Number of rows.
        random_seed : int, numpy.random.Generator or None
            The same seed gives the same rows.
        data : array_like, data frame or xarray object, optional
            Rows to draw for, one draw each, in place of `n`: where components condition on columns of the data, these are
            taken from them. What the rows hold in the columns that are drawn is not used.

        Returns
        -------
        xarray.DataArray
            (obs, feature), or (obs,) for families on one column, with each row's component as coordinate ``cluster``.

        Raises
        ------
        TypeError, ValueError
            If n is not a whole number, at least 1, or the seed is none.
        """
        return prediction.sample(
            self, n, None if data is None else self._rows_without_response(data), generator(random_seed)
        )

    # -- some of the columns ------------------------------------------------------------------------------------------------
    def marginal(self, columns) -> "Fit":
        """Distribution of some of the columns, whatever the others are: a mixture again, with the same weights.

        Parameters
        ----------
        columns : sequence of str or int, or one
            Their names; numbers where the data had none.

        Returns
        -------
        Fit
            With groups ``point`` and ``posterior`` as far as this fit has them, the parameters restricted at every draw,
            and ``observed_data``. ``mixture`` is restated: one column of `MvNormal` is `Normal`, one part of a product
            that part. Groups about the fit to all columns (``log_likelihood``, ``sample_stats``, ``labels``, ``log_prior``,
            ``posterior_predictive``, ``standard_error``, ``trace``) are left out, priors are the defaults, and there is no
            BIC: these columns were not fitted by themselves.

        Raises
        ------
        TypeError, ValueError
            If there is no such column, all are named, or the family is not closed under marginalisation.
        """
        from .conditionals import marginal

        return marginal(self, columns)

    def condition(self, given=None, /, **values) -> "Fit":
        r"""Distribution of the other columns in rows where some columns have given values: a mixture again.

        .. math:: p(x_a \mid x_b) = \sum_k \pi_k(x_b)\, p(x_a \mid x_b, \theta_k), \qquad
                  \pi_k(x_b) \propto \pi_k\, p(x_b \mid \theta_k)

        At every draw of a posterior by itself: the values that are given are not used to learn about the parameters.

        Parameters
        ----------
        given : mapping, optional
            Values by column, where a name cannot be written as a keyword or is a number: ``{0: 3.0}``.
        **values : float
            ``fit.condition(eruptions=3.0)``.

        Returns
        -------
        Fit
            Without rows; groups and specification as of `marginal`.

        Raises
        ------
        TypeError, ValueError
            If there is no such column, all are given, a value is no finite number or has density zero, or the family is
            not closed under conditioning.
        """
        from .conditionals import condition

        return condition(self, dict(given or {}) | values)

    # -- allocations --------------------------------------------------------------------------------------------------------
    def allocation_uncertainty(self, x) -> xr.Dataset:
        """How sure the component of each row is: entropy (nats), 1 - largest responsibility, and the same normalised.

        From the responsibilities averaged over the draws; see
        `bayesmix.partitions.uncertainty.allocation_uncertainty`. Parameters are those of `logpdf`.

        Returns
        -------
        xarray.Dataset
            ``entropy``, ``uncertainty`` and ``normalised``, (obs,) each.
        """
        from .partitions import allocation_uncertainty

        return allocation_uncertainty(xr.DataArray(self.responsibilities(x)))

    def coclustering(self, rows=None, draws: int | None = None) -> xr.DataArray:
        """Probability that two rows of the data come from the same component, (obs, obs_2): the similarity matrix.

        Parameters
        ----------
        rows : int or array_like, optional
            So many rows, evenly spaced, or positions of rows; all if not given.
        draws : int, optional
            Use so many draws only, evenly spaced.

        Raises
        ------
        ValueError
            If the matrix would take more than 2 GB; see `bayesmix.partitions.coclustering`.
        """
        from .partitions import coclustering

        return coclustering(self, rows, draws)

    def partition(
        self, loss: str = "vi", *, rows=None, draws: int = 1000, max_clusters: int | None = None, random_seed=None
    ):
        """One clustering of the rows that stands for the posterior: the one of least expected loss.

        Parameters
        ----------
        loss : {"vi", "binder"}
            Variation of information, or Binder's loss (Wade & Ghahramani 2018).
        rows : int or array_like, optional
            So many rows, evenly spaced, or positions of rows; all if not given.
        draws : int
            Number of sampled partitions.
        max_clusters : int, optional
            Most clusters that are tried.
        random_seed : int, numpy.random.Generator or None
            For the sampled partitions and the search.

        Returns
        -------
        bayesmix.partitions.Partition
            With ``labels``, ``expected_loss``, `credible_ball` and `plot`.
        """
        from .partitions import point_partition

        return point_partition(self, loss, rows=rows, draws=draws, max_clusters=max_clusters, random_seed=random_seed)

    def plot_uncertainty(self, **kwargs):
        """Draw how sure the component of each row is, over the data and in order.

        See `bayesmix.plots.partitions.plot_uncertainty`; returns a matplotlib Figure.
        """
        from .plots.partitions import plot_uncertainty

        return plot_uncertainty(self, **kwargs)

    def n_occupied(self) -> xr.DataArray:
        r"""Posterior distribution of :math:`K_+`, the number of components that at least one row belongs to.

        From ``K_plus`` of group ``sample_stats``: at each draw of the parameters the rows are allocated to the
        components by chance, as their responsibilities have it, and the occupied ones counted. Of large data it may be
        evenly spaced draws, as the variable's attribute ``note`` says.

        Returns
        -------
        xarray.DataArray
            Probabilities by coordinate ``K_plus`` = 1, ..., K.

        Raises
        ------
        AttributeError
            If the fit is no posterior, or has no data.
        """
        if "sample_stats/K_plus" not in self._paths:
            why = self.why_no_data if self.has_draws and "point" not in self.tree.children else "it is an estimate"
            raise AttributeError(
                f"n_occupied is a posterior distribution, which this fit by {self.engine} does not have: {why}. Use bm.nuts."
            )
        values = self.tree["sample_stats"].dataset["K_plus"].values
        values = values[np.isfinite(values)].astype(int)
        counts = np.bincount(values, minlength=self.mixture.n_components + 1)[1:]
        return xr.DataArray(
            counts / len(values), dims="K_plus", coords={"K_plus": np.arange(1, len(counts) + 1)}, name="probability"
        )

    # -- persistence --------------------------------------------------------------------------------------------------------
    def save(self, path) -> None:
        """Write the fit, specification included, to a netCDF file, or to a Zarr store if the name ends in .zarr.

        The file appears whole or not at all. Read it back with `bayesmix.load`.
        """
        from .storage import save

        save(self, path)

    def __repr__(self):
        groups = ", ".join(self.tree.children)
        return f"<Fit by {self.engine}: {self.mixture}; {self.n_obs} rows; groups {groups}>\n{self.message}"


def constant_data(data: Data) -> xr.Dataset | None:
    """What is known of the rows beside what is modelled, as group ``constant_data``; None if there is nothing."""
    found = {}
    if data.weights is not None:
        found["row_weights"] = ("obs", data.weights)
    if data.given:
        found["given"] = (("obs", "given_column"), data.values[:, data.n_features :])
    if data.units is not None:
        if data.units.grouped:
            found["group"] = ("obs", data.units.names[data.units.group])
        if len(data.units.labelled):
            found["known_label"] = ("obs", data.units.known)
    return xr.Dataset(found, coords={"obs": data.obs}) if found else None


def units_of(constants, label_names: tuple) -> Units | None:
    """Groups and known labels of rows, from group ``constant_data``."""
    if "group" not in constants and "known_label" not in constants:
        return None
    n_obs = constants["obs"].size
    names, group = None, np.arange(n_obs)
    if "group" in constants:
        names, group = np.unique(constants["group"].values, return_inverse=True)
    known = constants["known_label"].values if "known_label" in constants else np.full(n_obs, UNKNOWN)
    return Units(group.ravel(), known, names is not None, names, label_names)


def _labels(names) -> str:
    return json.dumps([name if isinstance(name, str) else int(name) for name in names])


def _coords(mixture: Mixture, data: Data) -> dict:
    common = {"cluster": np.arange(mixture.n_components), "obs": data.obs, "feature": np.array(data.feature)}
    return common | mixture.component.coords(data)


def _dataset(mixture: Mixture, values: dict, lead: tuple, coords: dict) -> xr.Dataset:
    """Weights and parameters as a Dataset with named dims, `lead` in front."""
    shared = mixture.component.shared
    own = {p.name: p for p in mixture.component.parameters}
    dims = {"weights": ("cluster",)} | {
        name: p.event_dims if name in shared else (p.cluster_dim, *p.event_dims) for name, p in own.items()
    }
    dims |= {name: () for name in mixture.weights.hyper if name in values}  # of no component
    names = {d for name in dims for d in dims[name]}
    values = mixture.component.reported({name: np.asarray(values[name]) for name in dims}, len(lead))
    values = mixture.component.once(values, len(lead))
    return xr.Dataset(
        {name: ((*lead, *dims[name]), values[name]) for name in dims},
        coords={name: coords[name] for name in coords if name in names}
        | {name: np.arange(values["weights"].shape[i]) for i, name in enumerate(lead)},
    )


def _add_pointwise(fit: Fit, data: Data, rng: np.random.Generator) -> None:
    """Fill groups log_likelihood and posterior_predictive of a new fit."""
    if data.n_obs == 0:
        return
    if fit.has_draws:
        draws = fit._values("posterior")
    else:
        draws = {name: value[None, None] for name, value in fit.estimates.items()}
    chains, length = draws["weights"].shape[:2]
    kept = np.arange(0, length, max(1, int(np.ceil(chains * length * data.n_obs / POINTWISE_CELLS))))
    rows = prediction.log_likelihood_of_draws(
        fit.mixture, data, {name: value[:, kept] for name, value in draws.items()}
    )
    name, labels = ("obs", data.obs)
    if data.units is not None and data.units.grouped:
        name, labels = "group", data.units.names[np.unique(data.units.group)]
    coords = {"chain": np.arange(chains), "draw": kept, name: labels}
    fit.tree["log_likelihood"] = xr.Dataset({"x": (("chain", "draw", name), rows)}, coords=coords)
    fit.tree["posterior_predictive"] = prediction.posterior_predictive(fit, data, draws, PREDICTIVE_DRAWS, rng)
    if fit.has_draws and "point" not in fit.tree.children and "sample_stats/K_plus" not in fit._paths:
        _add_occupied(fit, data, draws, rng)


def _add_occupied(fit: Fit, data: Data, draws: dict, rng: np.random.Generator) -> None:
    """Add K_plus to group sample_stats: not to posterior, where a number that never varies has no R-hat."""
    from .occupied import count_occupied

    counts, said = count_occupied(fit.mixture, data, draws, rng)
    coords = {"chain": np.arange(counts.shape[0]), "draw": np.arange(counts.shape[1])}
    stats = fit.tree["sample_stats"].to_dataset() if "sample_stats" in fit.tree.children else xr.Dataset(coords=coords)
    attrs = {"long_name": "number of occupied components"} | ({"note": said} if said else {})
    fit.tree["sample_stats"] = xr.DataTree(stats.assign(K_plus=(("chain", "draw"), counts, attrs)))
    if "notes" in fit.tree.attrs and np.nanmin(counts) < fit.mixture.n_components:
        shares = (f"{k} in {share:.0%}" for k, share in fit.n_occupied().to_series().items() if share > 0)
        note = f"The number of occupied components is {', '.join(shares)} of the draws (fit.n_occupied())."
        fit.tree.attrs = {**fit.tree.attrs, "notes": f"{fit.tree.attrs['notes']} {note}".strip()}


def _logpdf(component, x, log_weights, params):
    return formula.log_likelihood(component, x, log_weights, params)


def _cdf(component, x, log_weights, params):
    return (np.exp(formula.log_of_rows(component, x, log_weights, params)) * component.cdf(x, params)).sum(axis=-1)


def _responsibilities(component, x, log_weights, params):
    return formula.responsibilities(component, x, log_weights, params)
