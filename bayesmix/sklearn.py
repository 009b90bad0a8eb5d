"""Estimators for scikit-learn: `em` behind fit, predict, score_samples, for pipelines and searches.

A thin layer: `fit` calls `bayesmix.em`, predictions come from the `bayesmix.Fit` that it returns, kept as ``fit_``.
Needs scikit-learn, which the extra ``bayesmix[sklearn]`` brings.
"""

import warnings
from abc import ABCMeta, abstractmethod
from numbers import Integral
from typing import Any, Self, cast

import numpy as np
import xarray as xr

from .arrays import Data, as_data
from .components import Component, MvNormal, Poisson
from .components.base import full_shape
from .components.covariance import ALIASES, STRUCTURES
from .components.covariance.base import diagonal_of
from .engines.em import em
from .fit import Fit
from .mixture import Mixture

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'bayesmix.sklearn needs scikit-learn 1.6 or newer, which is optional: pip install "bayesmix[sklearn]".'
    ) from error

from .mdn.estimator import MDNRegressor

__all__ = ["GaussianMixture", "MDNRegressor", "PoissonMixture"]

STARTS = {  # scikit-learn's names of starting methods, and ours
    "auto": "auto",
    "kmeans": "kmeans",
    "k-means++": "kmeans",
    "random": "random",
    "random_from_data": "random",
}


class _MixtureEstimator(DensityMixin, BaseEstimator, metaclass=ABCMeta):
    """What the estimators share: a family of components, fitted by `em`; everything else is asked of ``fit_``."""

    guard: Any = "default"  # a parameter of the families whose components can collapse

    def __init__(
        self,
        n_components=1,
        *,
        tol=1e-8,
        max_iter=5000,
        n_init="auto",
        init_params="auto",
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # -- what a family says --------------------------------------------------------------------------------------------
    @abstractmethod
    def _component(self) -> Component:
        """The family of components that the parameters describe; raises if they have no equivalent."""

    @abstractmethod
    def _set_estimates(self, estimates: dict) -> None:
        """Set the attributes of the parameters from those of ``fit_``, in scikit-learn's shapes."""

    def _given_start(self, mixture: Mixture, data: Data) -> Fit | None:
        """Parameters to start from, if the user gave any."""
        return None

    # -- fitting -------------------------------------------------------------------------------------------------------
    def fit(self, X, y=None, sample_weight=None) -> Self:
        """Fit the mixture by maximum likelihood.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Rows of observations.
        y : ignored
            For the interface only.
        sample_weight : array-like (n_samples,), optional
            How often each row counts; a weight of 2 counts as the row twice.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the data do not suit the mixture, or a parameter is out of range or has no equivalent here.

        Warns
        -----
        ConvergenceWarning
            If EM did not converge, or a component collapsed; the message is that of ``fit_``.
        """
        progressbar = _progressbar(self.verbose)
        if not isinstance(self.init_params, str) or self.init_params not in STARTS:
            raise ValueError(f"init_params={self.init_params!r} is not known; use one of {', '.join(STARTS)}.")
        mixture = Mixture(self._component(), self.n_components)
        values = self._values(X, reset=True)
        names = getattr(self, "feature_names_in_", None)
        table = xr.DataArray(values, dims=("obs", "feature"), coords={} if names is None else {"feature": names})
        data = as_data(table, weights=sample_weight)
        start: Any = self.fit_ if self.warm_start and hasattr(self, "fit_") else self._given_start(mixture, data)
        self.fit_ = em(
            mixture,
            data,
            init=STARTS[self.init_params] if start is None else start,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            guard=self.guard,
            random_seed=self._seed(),
            progressbar=progressbar,
        )
        self.converged_ = self.fit_.converged
        self.n_iter_ = int(self.fit_.tree.attrs["n_passes"])
        self.lower_bound_ = self.fit_.log_likelihood / data.total_weight
        estimates = {name: value.copy() for name, value in self.fit_.estimates.items()}
        self.weights_ = estimates["weights"]
        self._set_estimates(estimates)
        if not self.converged_:
            warnings.warn(self.fit_.message, ConvergenceWarning, stacklevel=2)
        return self

    def fit_predict(self, X, y=None, sample_weight=None) -> np.ndarray:
        """Fit the mixture, and return the most probable component of each row, (n_samples,); see `fit`."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def _values(self, X, reset: bool = False) -> np.ndarray:
        """X as float64 (n_samples, n_features), checked and with its names compared as scikit-learn does."""
        if not reset:
            check_is_fitted(self)
        return cast(np.ndarray, validate_data(self, X, dtype=np.float64, reset=reset, ensure_min_samples=1 + reset))

    def _seed(self):
        """random_state as a seed of ours: whole numbers and Generators as they are, else drawn as scikit-learn does."""
        if isinstance(self.random_state, Integral | np.random.Generator):
            return self.random_state
        return check_random_state(self.random_state).randint(2**31 - 1)

    # -- prediction ----------------------------------------------------------------------------------------------------
    def predict(self, X) -> np.ndarray:
        """Most probable component of each row.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Rows of observations.

        Returns
        -------
        ndarray (n_samples,)
        """
        values = self._values(X)
        return self.fit_.classify(values).values

    def predict_proba(self, X) -> np.ndarray:
        """Probability that each row comes from each component.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Rows of observations.

        Returns
        -------
        ndarray (n_samples, n_components)
            Rows sum to 1.
        """
        values = self._values(X)
        return np.asarray(self.fit_.responsibilities(values))

    def score_samples(self, X) -> np.ndarray:
        """Log density of the mixture at each row, in nats; log probability for counts.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Rows of observations.

        Returns
        -------
        ndarray (n_samples,)
        """
        values = self._values(X)
        return np.asarray(self.fit_.logpdf(values))

    def score(self, X, y=None) -> float:
        """Mean log density of the rows, in nats: higher is better. What `GridSearchCV` compares by default.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Rows of observations.
        y : ignored
            For the interface only.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    def bic(self, X) -> float:
        """Bayesian information criterion of the fitted mixture on X: -2 L + p log n, smaller is better.

        On the data of the fit this is ``fit_.bic``, which takes row weights into account.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Rows of observations.

        Returns
        -------
        float
        """
        log_density = self.score_samples(X)
        return float(-2.0 * log_density.sum() + self.fit_.n_parameters * np.log(len(log_density)))

    def aic(self, X) -> float:
        """Akaike's information criterion of the fitted mixture on X: -2 L + 2 p, smaller is better.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Rows of observations.

        Returns
        -------
        float
        """
        return float(-2.0 * self.score_samples(X).sum() + 2.0 * self.fit_.n_parameters)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw new rows from the fitted mixture, in random order; ``random_state`` is the seed.

        Parameters
        ----------
        n_samples : int
            Number of rows, at least 1.

        Returns
        -------
        X : ndarray (n_samples, n_features)
            The rows.
        y : ndarray (n_samples,)
            The component that each comes from.

        Raises
        ------
        ValueError
            If n_samples is not a whole number, at least 1.
        """
        check_is_fitted(self)
        rows = self.fit_.sample(n_samples, self._seed())
        return rows.values.reshape(len(rows), -1), rows["cluster"].values


class GaussianMixture(_MixtureEstimator):
    r"""Mixture of multivariate normal components, fitted by maximum likelihood, for scikit-learn.

    :math:`p(x) = \sum_{k=1}^K \pi_k\, N(x; \mu_k, \Sigma_k)`. Parameters, methods and attributes are those of
    `sklearn.mixture.GaussianMixture` where these mean the same; the fit is `bayesmix.em` of a mixture of
    `bayesmix.MvNormal` components. Components come in the order of their first mean, unless a start is given.

    Parameters
    ----------
    n_components : int
        Number of components K, at least 1.
    covariance_type : {"full", "tied", "diag", "spherical"}
        Structure of the covariance matrices: one free matrix per component, one matrix shared by all, diagonal
        matrices, multiples of the identity.
    tol : float
        A run has converged when its projected distance to the optimum is below this, in standard deviations of the
        components (locations) and in logarithms (scales, weights). Not scikit-learn's tol, which is a gain of
        log-likelihood.
    reg_covar : float
        Only 0: nothing is added to the variances. `guard` keeps components from collapsing.
    max_iter : int
        Largest number of EM updates of a run.
    n_init : int or "auto"
        Number of starts. "auto" takes 60, of which the best 8 go on to convergence.
    init_params : {"auto", "kmeans", "k-means++", "random", "random_from_data"}
        How runs start: "kmeans" and "k-means++" by k-means from k-means++ seeds, "random" and "random_from_data"
        around random rows, "auto" by both.
    weights_init : array-like (n_components,), optional
        Weights to start from, positive with sum 1; equal if only `means_init` is given.
    means_init : array-like (n_components, n_features), optional
        Means to start from, in one run, in which components keep their order; `n_init` and `init_params` are not used.
    precisions_init : array-like, optional
        Inverse covariances to start from, in the shape of ``precisions_``; the data's own covariance if only
        `means_init` is given.
    random_state : int, RandomState, Generator or None
        The same seed gives the same result, an int that of `bayesmix.em` with this ``random_seed``.
    warm_start : bool
        Start from the solution of the last call of `fit`.
    verbose : {0, 1}
        1 shows progress.
    guard : {"default", None} or float
        A weak penalty that keeps components from collapsing onto a few rows; see `bayesmix.em`. None is plain maximum
        likelihood.

    Attributes
    ----------
    fit_ : Fit
        The fit itself, to plot, summarise, save, or compare with a posterior.
    weights_ : ndarray (n_components,)
        Weights of the components.
    means_ : ndarray (n_components, n_features)
        Means of the components.
    covariances_ : ndarray
        Covariances: (n_components, n_features, n_features) if "full", (n_features, n_features) if "tied",
        (n_components, n_features) if "diag", (n_components,) if "spherical".
    precisions_ : ndarray
        Inverse covariances, in the same shape.
    precisions_cholesky_ : ndarray
        Upper triangular U with :math:`\Sigma^{-1} = U U'`, in the same shape; 1 / standard deviation if "diag" or
        "spherical".
    converged_ : bool
        Did EM converge? ``fit_.message`` says how.
    n_iter_ : int
        Number of EM updates of the run that gave the estimate.
    lower_bound_ : float
        Mean log-likelihood of the rows, in nats.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, where X had them.

    See Also
    --------
    bayesmix.em : The engine, which also takes other families and gives standard errors.

    Examples
    --------
    >>> import bayesmix as bm
    >>> data = bm.datasets.load("faithful").to_dataframe()
    >>> gm = bm.sklearn.GaussianMixture(n_components=2, random_state=1).fit(data)
    >>> gm.means_.round(2)
    array([[ 2.04, 54.48],
           [ 4.29, 79.97]])
    """

    def __init__(
        self,
        n_components=1,
        *,
        covariance_type="full",
        tol=1e-8,
        reg_covar=0.0,
        max_iter=5000,
        n_init="auto",
        init_params="auto",
        weights_init=None,
        means_init=None,
        precisions_init=None,
        random_state=None,
        warm_start=False,
        verbose=0,
        guard="default",
    ):
        super().__init__(
            n_components=n_components,
            tol=tol,
            max_iter=max_iter,
            n_init=n_init,
            init_params=init_params,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
        )
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.guard = guard

    def _component(self):
        if not isinstance(self.covariance_type, str) or self.covariance_type not in ALIASES:
            raise ValueError(f"covariance_type={self.covariance_type!r} is not known; use one of {', '.join(ALIASES)}.")
        if self.reg_covar != 0:
            raise ValueError(
                f"reg_covar={self.reg_covar!r} but nothing is added to the variances here; leave it at 0. Components "
                'are kept from collapsing by guard="default"; a number in its place makes that stronger or weaker.'
            )
        return MvNormal(covariance=self.covariance_type)

    def _given_start(self, mixture, data):
        if self.means_init is None:
            given = [name for name in ("weights_init", "precisions_init") if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"{' and '.join(given)} without means_init: until components have means, it is not said which is "
                    "which. Give means_init too."
                )
            return None
        k, d = mixture.n_components, data.n_features
        mu = full_shape(self.means_init, (k, d), "means_init", f"{k} components of {d} features")
        weights = np.full(k, 1.0 / k)
        if self.weights_init is not None:
            weights = full_shape(self.weights_init, (k,), "weights_init", f"{k} components")
        if np.any(weights <= 0) or abs(weights.sum() - 1.0) > 1e-6:
            raise ValueError(
                f"weights_init must be positive and sum to 1, but they are {weights} with sum {weights.sum():.10g}."
            )
        if self.precisions_init is not None:
            cov = _inverse(self.precisions_init, self.covariance_type, k, d)
        else:
            mixture.component.check_data(data, k)  # a covariance may be none
            cov = mixture.component.initial_params(data, k)["cov"]
        return Fit.from_parameters(mixture, weights=weights / weights.sum(), mu=mu, cov=cov)

    def _set_estimates(self, estimates):
        kind, cov = self.covariance_type, estimates["cov"]
        factor = STRUCTURES[ALIASES[kind]].factor(cov)  # P with Sigma^-1 = P'P, or 1 / sigma
        self.means_ = estimates["mu"]
        if kind in ("full", "tied"):
            upper = np.swapaxes(factor, 1, 2).copy()
            every = 0 if kind == "tied" else slice(None)
            self.covariances_, self.precisions_, self.precisions_cholesky_ = (
                cov[every],
                (upper @ factor)[every],
                upper[every],
            )
        else:
            every = 0 if kind == "spherical" else slice(None)
            self.covariances_, self.precisions_, self.precisions_cholesky_ = (
                diagonal_of(cov)[:, every].copy(),
                factor[:, every] ** 2,
                factor[:, every],
            )


class PoissonMixture(_MixtureEstimator):
    r"""Mixture of Poisson components for counts in one column, fitted by maximum likelihood, for scikit-learn.

    :math:`p(x) = \sum_{k=1}^K \pi_k\, \mu_k^x e^{-\mu_k} / x!`, by `bayesmix.em` of a mixture of `bayesmix.Poisson`
    components, which come in the order of their rates. X has shape (n_samples, 1) or (n_samples,).

    Parameters
    ----------
    n_components : int
        Number of components K, at least 1.
    tol, max_iter, n_init, init_params, random_state, warm_start, verbose
        As for `GaussianMixture`.

    Attributes
    ----------
    rates_ : ndarray (n_components,)
        Rates of the components.
    fit_, weights_, converged_, n_iter_, lower_bound_, n_features_in_, feature_names_in_
        As for `GaussianMixture`.

    Examples
    --------
    >>> import bayesmix as bm
    >>> counts = [0, 1, 0, 2, 1, 9, 0, 1, 11, 8, 1, 10]
    >>> bm.sklearn.PoissonMixture(n_components=2, random_state=1).fit(counts).rates_.round(1)
    array([0.7, 9.5])
    """

    def __sklearn_tags__(self):
        """State that X is one column of numbers, 0 or more."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.positive_only = True, False, True
        return tags

    def _component(self):
        return Poisson()

    def _values(self, X, reset=False):
        return super()._values(np.reshape(np.asarray(X), (-1, 1)) if np.ndim(X) == 1 else X, reset)

    def _set_estimates(self, estimates):
        self.rates_ = estimates["mu"]


def _progressbar(verbose) -> bool:
    if not isinstance(verbose, Integral) or verbose not in (0, 1):
        raise ValueError(f"verbose={verbose!r} but it must be 0, or 1 for a progress bar; there are no other levels.")
    return bool(verbose)


def _inverse(precisions, kind: str, k: int, d: int) -> np.ndarray:
    """Covariances of precisions in the compact form of a structure, in that form."""
    shape = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[kind]
    array = full_shape(precisions, shape, "precisions_init", f'covariance_type="{kind}" with K={k}, D={d}')
    matrices = kind in ("full", "tied")
    symmetric = not matrices or np.allclose(array, np.swapaxes(array, -1, -2), rtol=1e-8)
    if not symmetric or np.any((np.linalg.eigvalsh(array) if matrices else array) <= 0):
        raise ValueError("precisions_init must be positive, and matrices symmetric and positive definite.")
    return np.linalg.inv(array) if matrices else 1.0 / array
