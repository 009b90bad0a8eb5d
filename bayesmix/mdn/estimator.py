"""A mixture density network behind scikit-learn's fit and predict."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..components import MvNormal, Normal
from ..engines.advi import advi
from .engines import map_estimate
from .specification import MDN


class MDNRegressor(RegressorMixin, BaseEstimator):
    r"""Regression of whole distributions by a mixture density network, for scikit-learn.

    `fit` calls `bayesmix.map_estimate` or `bayesmix.advi`; the `bayesmix.MDNFit` that it returns is kept as ``fit_`` and
    offers more: ``fit_.quantile(X, q)``, ``fit_.crps(X, y)``, ``fit_.sample(X)``.

    Parameters
    ----------
    component : Component, optional
        The family of the components; `bayesmix.Normal` by default, `bayesmix.MvNormal` for several responses.
    n_components : int
        Number of components K.
    hidden : tuple of int
        Units of the hidden layers.
    method : {"map", "advi"}
        Which engine: a point estimate with early stopping, or a variational posterior.
    members : int
        Networks of the ensemble.
    temperature : float or "auto"
        Of `bayesmix.advi`.
    epochs : int, optional
        Passes over the rows.
    random_state : int, RandomState or None
        Seed.
    verbose : int
        1 for a progress bar.

    Attributes
    ----------
    fit_ : bayesmix.MDNFit
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np, bayesmix as bm
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = bm.sklearn.MDNRegressor(n_components=1, epochs=100, random_state=0).fit(X, 2 * X[:, 0])
    >>> bool(abs(model.predict([[0.5]])[0] - 1.0) < 0.2)
    True
    """

    def __init__(
        self,
        component=None,
        n_components=3,
        *,
        hidden=(50,),
        method="map",
        members=3,
        temperature="auto",
        epochs=None,
        random_state=None,
        verbose=0,
    ):
        self.component = component
        self.n_components = n_components
        self.hidden = hidden
        self.method = method
        self.members = members
        self.temperature = temperature
        self.epochs = epochs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Covariates, numbers.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Responses.

        Returns
        -------
        self
        """
        if self.method not in ("map", "advi"):
            raise ValueError(f'method={self.method!r} but it must be "map" or "advi".')
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=float, ensure_min_samples=2)
        y = np.asarray(y, dtype=float)
        several = y.ndim == 2 and y.shape[1] > 1
        component = self.component if self.component is not None else MvNormal() if several else Normal()
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        options: Any = {
            "members": self.members,
            "epochs": self.epochs,
            "random_seed": seed,
            "progressbar": bool(self.verbose),
        }
        mdn = MDN(component, n_components=self.n_components, hidden=self.hidden)
        if self.method == "advi":
            self.fit_ = advi(mdn, X, y, temperature=self.temperature, **options)
        else:
            self.fit_ = map_estimate(mdn, X, y, **options)
        self._columns = y.ndim == 2 and not several
        return self

    def predict(self, X) -> np.ndarray:
        """Mean of the response, (n_samples,) or (n_samples, n_outputs)."""
        found = self.fit_for(X).mean(self._covariates(X)).values
        return found[:, None] if self._columns else found

    def score(self, X, y, sample_weight=None) -> float:
        """Share of the variance of the responses that the predicted means explain, R squared; 1 is best."""
        return super().score(X, y, sample_weight)

    def log_density(self, X, y) -> np.ndarray:
        """Log density of each response given its covariates, in nats: (n_samples,)."""
        return self.fit_for(X).logpdf(self._covariates(X), np.asarray(y, dtype=float)).values

    def fit_for(self, X):
        """The `bayesmix.MDNFit`, or scikit-learn's error if there is none yet."""
        check_is_fitted(self, "fit_")
        return self.fit_

    def _covariates(self, X):
        return validate_data(self, X, reset=False, dtype=float)

    def __sklearn_tags__(self):
        """State that several responses are welcome."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # of 20 networks' steps, on the little data of the checks
        return tags
